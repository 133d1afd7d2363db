"""A DataFrame into a table of Redshift, by COPY from S3, all or nothing.

The table is written as Parquet below a prefix of its own, copied into a temporary table that has
exactly its columns (COPY of Parquet goes by position and knows no list of columns), and inserted
from there by name. Everything after the upload is one transaction: readers see the old rows or the
new ones. TRUNCATE would end that transaction, so "overwrite" deletes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from batcat_runtime.errors import UserError
from batcat_runtime.io.parameters import redshift_literal
from batcat_runtime.io.redshift_columns import LONGEST_NAME, Target, prepared, quoted
from batcat_runtime.io.redshift_data import data_api
from batcat_runtime.io.redshift_login import DATABASE, PORT, USER, redshift_login
from batcat_runtime.io.redshift_unload import DATA, check_role
from batcat_runtime.io.redshift_wire import connection, execute
from batcat_runtime.io.staging import Staging

if TYPE_CHECKING:
    import boto3
    import pandas as pd
    import pyarrow as pa

Mode: TypeAlias = Literal["append", "overwrite", "upsert"]

_STAGE = '"batcat_stage"'
_ROWS_PER_FILE = 1_000_000


def save_df_to_redshift(
    df: pd.DataFrame | pa.Table,
    table_name: str,
    *,
    s3_staging_dir: str,
    iam_role: str,
    mode: Mode = "append",
    primary_keys: Sequence[str] = (),
    host: str | None = None,
    password: str | None = None,
    port: int = PORT,
    database: str = DATABASE,
    user: str = USER,
    secret_name: str | None = None,
    cluster_identifier: str | None = None,
    workgroup_name: str | None = None,
    region: str | None = None,
    timeout: float | None = None,
    ssl: bool | None = None,
    boto3_session: boto3.Session | None = None,
) -> int:
    """Save a table in Redshift.

    Parameters
    ----------
    df : pandas.DataFrame or pyarrow.Table
        The table, without its index.
    table_name : str
        Such as ``battery_usage`` or ``public.battery_usage``; it is created if it is not there.
    s3_staging_dir : str
        Where the data may lie on its way, such as ``s3://bucket/redshift``; in Redshift's region.
    iam_role : str
        The ARN of the role by which Redshift reads it, or ``default``.
    mode : {"append", "overwrite", "upsert"}
        Add rows; replace all rows; or replace those rows that have the same primary key.
    primary_keys : sequence of str
        For "upsert": the columns that tell rows apart. They may have no gaps and no repetition.
    host, password : str, optional
        Where Redshift is, and the user's password.
    port : int
    database, user : str
    secret_name : str, optional
        Instead of host and password: the Data API is used with this secret.
    cluster_identifier, workgroup_name : str, optional
        Instead of a password: log in with IAM. With `secret_name`: which warehouse it is for.
    region : str, optional
        By default the session's.
    timeout : float, optional
        Seconds that a statement may take.
    ssl : bool, optional
        Whether to encrypt; by default yes, but not for a host that is this machine itself.
    boto3_session : boto3.Session, optional
        Whose credentials to use; by default those of the environment.

    Returns
    -------
    int
        How many rows were saved.

    Raises
    ------
    UserError
        An argument is wrong; nothing was done.
    DataFormatError
        A column has no type in Redshift, or holds a text of more than 65,535 bytes.
    QueryError
        Redshift refused it; the table is as it was.
    ConnectError, CredentialsError, AccessDeniedError, ServiceError
        Redshift or AWS could not be reached, or refused.

    Examples
    --------
    >>> save_df_to_redshift(
    ...     frame,
    ...     "public.battery_usage",
    ...     s3_staging_dir="s3://2022-rnd-battery/redshift",
    ...     iam_role="arn:aws-cn:iam::123456789012:role/redshift-s3",
    ...     mode="upsert",
    ...     primary_keys=["vin", "time"],
    ...     secret_name="secret/manager",
    ...     region="cn-northwest-1",
    ... )  # doctest: +SKIP
    """
    import boto3

    if mode not in ("append", "overwrite", "upsert"):
        raise UserError(f"There is no mode {mode!r}.", fix="Give append, overwrite or upsert.")
    check_role(iam_role)
    table, targets = prepared(df)
    keys = [primary_keys] if isinstance(primary_keys, str) else list(primary_keys)
    _check_keys(table, mode, keys)
    session = boto3_session or boto3.Session(region_name=region)
    staging = Staging(s3_staging_dir, region=region, boto3_session=session)
    statements = load_statements(
        _quoted_table(table_name), targets, staging.uri + DATA, iam_role, mode, keys
    )
    where = {"cluster_identifier": cluster_identifier, "workgroup_name": workgroup_name}
    if secret_name and not host:
        named = None if database == DATABASE else database
        api = data_api(
            secret_name, region, **where, database=named, timeout=timeout, boto3_session=session
        )
        with staging:
            _upload(table, staging, session)
            api.run_together(statements)
        return int(table.num_rows)
    login = redshift_login(
        host=host,
        password=password,
        port=port,
        database=database,
        user=user,
        secret_name=secret_name,
        region=region,
        boto3_session=session,
        **where,
    )
    with staging, connection(login, ssl=ssl, timeout=timeout) as opened:
        _upload(table, staging, session)
        for one in statements:
            execute(opened, one)
        opened.commit()
    return int(table.num_rows)


def load_statements(
    table: str,
    targets: Sequence[Target],
    uri: str,
    iam_role: str,
    mode: Mode,
    primary_keys: Sequence[str],
) -> list[str]:
    """Return the statements of the transaction that loads Parquet files into a table."""
    staged = ", ".join(f"{quoted(one.name)} {one.staged}" for one in targets)
    final = ", ".join(f"{quoted(one.name)} {one.final}" for one in targets)
    names = ", ".join(quoted(one.name) for one in targets)
    values = ", ".join(one.value for one in targets)
    role = "default" if iam_role == "default" else redshift_literal(iam_role)
    statements = [
        f"CREATE TABLE IF NOT EXISTS {table} ({final})",
        f"CREATE TEMP TABLE {_STAGE} ({staged})",
        f"COPY {_STAGE} FROM {redshift_literal(uri)} IAM_ROLE {role} FORMAT AS PARQUET",
    ]
    if mode == "overwrite":
        statements.append(f"DELETE FROM {table}")
    if mode == "upsert":
        casts = {one.name: one.value for one in targets}
        keys = " AND ".join(
            f"{table}.{quoted(key)} = {casts[key].replace(quoted(key), f'{_STAGE}.{quoted(key)}')}"
            for key in primary_keys
        )
        statements.append(f"DELETE FROM {table} USING {_STAGE} WHERE {keys}")
    statements.append(f"INSERT INTO {table} ({names}) SELECT {values} FROM {_STAGE}")
    statements.append(f"DROP TABLE {_STAGE}")
    return statements


def _quoted_table(name: str) -> str:
    parts = name.split(".") if isinstance(name, str) else []
    good = all(part and len(part.encode()) <= LONGEST_NAME and "\0" not in part for part in parts)
    if not good or not 1 <= len(parts) <= 2:
        raise UserError(
            f"{name!r} is no name of a table.", fix="For example 'public.battery_usage'."
        )
    return ".".join(quoted(part) for part in parts)


def _check_keys(table: pa.Table, mode: str, keys: Sequence[str]) -> None:
    if (mode == "upsert") != bool(keys):
        raise UserError(
            "primary_keys go with mode='upsert', and only with it.",
            fix="For example mode='upsert', primary_keys=['vin', 'time'].",
        )
    for key in keys:
        if key not in table.column_names:
            raise UserError(
                f"There is no column {key!r}.", fix="Give primary_keys that the table has."
            )
        if table[key].null_count:
            raise UserError(f"The primary key {key!r} has gaps.", fix="Fill or drop these rows.")
    if keys and table.num_rows > table.group_by(keys).aggregate([]).num_rows:
        raise UserError(
            f"Several rows have the same primary key ({', '.join(keys)}).",
            fix="Keep one of each, for example with df.drop_duplicates.",
        )


def _upload(table: pa.Table, staging: Staging, session: Any) -> None:
    from batcat_runtime.io.save import save_to_bucket

    folder = re.sub(r"^s3://[^/]+/", "", staging.uri) + DATA
    for number, start in enumerate(range(0, max(table.num_rows, 1), _ROWS_PER_FILE)):
        save_to_bucket(
            table.slice(start, _ROWS_PER_FILE),
            staging.bucket,
            f"{folder}{number:05d}.parquet",
            boto3_session=session,
        )
