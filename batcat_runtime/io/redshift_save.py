"""A DataFrame into a table of Redshift, by COPY from S3, all or nothing.

Every column is cast to exactly what the table has, or refused, before anything is written. The
table then lies as Parquet below a prefix of its own, is copied into a temporary table of the same
types (COPY of Parquet goes by position, and wants the file's types to be the table's), and inserted
from there by name. Everything after the upload is one transaction: readers see the old rows or the
new ones. TRUNCATE would end that transaction, so "overwrite" deletes.

Not `wr.redshift.copy`: it needs a connection, which the Data API has not, and what it does not save
over one either (zero rows, names in Chinese, times, only gaps, zones) is
test_what_awswrangler_does_not_copy. These statements are the same over both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from batcat_runtime.errors import DataFormatError, QueryError, UserError
from batcat_runtime.io.parameters import redshift_literal
from batcat_runtime.io.redshift import DATA, role_sql
from batcat_runtime.io.redshift_data import DataApi, data_api
from batcat_runtime.io.redshift_types import Column, fitted, new_column
from batcat_runtime.io.redshift_wire import DATABASE, PORT, USER, Login, Wire, connected, log_in
from batcat_runtime.io.save import save_to_bucket
from batcat_runtime.io.staging import Staging

if TYPE_CHECKING:
    import boto3
    import pandas as pd
    import pyarrow as pa

Mode: TypeAlias = Literal["append", "overwrite", "upsert"]

_STAGE = '"batcat_stage"'
_LONGEST_NAME = 127
_ROWS_PER_FILE = 1_000_000
_WAYS = {  # what COPY does not read from Parquet: how it is staged, and what makes it the column's
    "time": ("VARCHAR(15)", "{}::time"),
    "super": ("VARCHAR(65535)", "JSON_PARSE({})"),
    "timestamptz": ("TIMESTAMP", "{} AT TIME ZONE 'UTC'"),
}


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
        A column has no type in Redshift, or holds a value that the table's column would round or
        cut; nothing was changed.
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
    role, target = role_sql(iam_role), _quoted_table(table_name)
    table = _checked(df)
    keys = [primary_keys] if isinstance(primary_keys, str) else list(primary_keys)
    _check_keys(table, mode, keys)
    session = boto3_session or boto3.Session(region_name=region)
    staging = Staging(s3_staging_dir, region=region, boto3_session=session)
    with contextlib.ExitStack() as stack:
        warehouse: DataApi | Wire
        ways = (secret_name, cluster_identifier, workgroup_name)
        if secret_name and not host:
            named = None if database == DATABASE else database
            warehouse = data_api(secret_name, region, *ways[1:], named, timeout, session)
        else:
            given = Login(host or "", int(port), database, user, password or "")
            login = log_in(given, *ways, region, session)
            warehouse = stack.enter_context(connected(login, ssl=ssl, timeout=timeout))
        columns, table = _fitted(table, _columns(warehouse, target))
        stack.enter_context(staging)
        _upload(table, staging, session)
        source = f"{redshift_literal(staging.uri + DATA)} IAM_ROLE {role}"
        by = [
            column.name
            for column, name in zip(columns, table.column_names, strict=True)
            if name in keys
        ]
        warehouse.together(_statements(target, columns, source, mode, by))
    return int(table.num_rows)


def _checked(df: pd.DataFrame | pa.Table) -> pa.Table:
    """Return the table as Arrow's; refuse names that Redshift does not have."""
    import pyarrow as pa

    try:
        plain = isinstance(df, pa.Table)
        table = df if plain else pa.Table.from_pandas(df, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataFormatError(
            f"The table does not fit into Redshift: {'; '.join(map(str, error.args))}.",
            fix="Change the column with astype, for example to str, or rename it.",
        ) from error
    if not table.num_columns:
        raise UserError("The table has no columns.", fix="Give at least one.")
    folded = [name.lower() for name in table.column_names]
    for name in table.column_names:
        if folded.count(name.lower()) > 1 or not _is_name(name):
            raise DataFormatError(
                f"The column {name!r} cannot be one of Redshift's: names have 1 to 127 bytes, and "
                "differ in more than upper and lower case.",
                fix="Rename it with df.rename(columns=...).",
            )
    return table


def _columns(warehouse: DataApi | Wire, target: str) -> dict[str, Column]:
    """Return a table's columns by their names; none, if there is no such table."""
    try:
        result = warehouse.run(f"SELECT * FROM {target} LIMIT 0")
    except QueryError as error:
        if "does not exist" not in error.message:
            raise
        return {}
    return {column.name: column for column in result.columns}


def _fitted(table: pa.Table, known: dict[str, Column]) -> tuple[list[Column], pa.Table]:
    """Return the columns that the target has or gets, and the values as COPY reads them."""
    import pyarrow as pa

    plain = {
        pa.float16(): pa.float32(),
        pa.string_view(): pa.string(),
        pa.binary_view(): pa.binary(),
    }
    columns, staged = [], []
    for name, values in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        values = values.cast(plain.get(values.type, values.type))
        column = known.get(name) or known.get(name.lower()) or new_column(name, values)
        fit = fitted(name, values, column)
        way = {"time": pa.string(), "timestamptz": pa.timestamp("us")}.get(column.kind, fit.type)
        columns.append(column)
        staged.append(fit.cast(way))
    return columns, pa.table(staged, names=table.column_names)


def _statements(
    table: str, columns: Sequence[Column], source: str, mode: Mode, keys: Sequence[str]
) -> list[str]:
    """Return the statements of the transaction that loads Parquet files into a table."""
    quoted = [_quoted(column.name) for column in columns]
    types = [column.sql for column in columns]
    ways = [_WAYS.get(column.kind, (column.sql, "{}")) for column in columns]
    values = {name: value for name, (_, value) in zip(quoted, ways, strict=True)}
    final = ", ".join(map(" ".join, zip(quoted, types, strict=True)))
    stage = ", ".join(f"{name} {staged}" for name, (staged, _) in zip(quoted, ways, strict=True))
    selected = ", ".join(value.format(name) for name, value in values.items())
    deleted = {"append": [], "overwrite": [f"DELETE FROM {table}"]}
    same = " AND ".join(
        f"{table}.{key} = {values[key].format(f'{_STAGE}.{key}')}" for key in map(_quoted, keys)
    )
    return [
        f"CREATE TABLE IF NOT EXISTS {table} ({final})",
        f"CREATE TEMP TABLE {_STAGE} ({stage})",
        f"COPY {_STAGE} FROM {source} FORMAT AS PARQUET",
        *deleted.get(mode, [f"DELETE FROM {table} USING {_STAGE} WHERE {same}"]),
        f"INSERT INTO {table} ({', '.join(quoted)}) SELECT {selected} FROM {_STAGE}",
        f"DROP TABLE {_STAGE}",
    ]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _is_name(name: str) -> bool:
    return 0 < len(name.encode()) <= _LONGEST_NAME and "\0" not in name


def _quoted_table(name: str) -> str:
    parts = name.split(".") if isinstance(name, str) else []
    if not 1 <= len(parts) <= 2 or not all(map(_is_name, parts)):
        raise UserError(
            f"{name!r} is no name of a table.", fix="For example 'public.battery_usage'."
        )
    return ".".join(map(_quoted, parts))


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


def _upload(table: pa.Table, staging: Staging, session: boto3.Session) -> None:
    folder = staging.uri.split("/", 3)[3] + DATA
    for number, start in enumerate(range(0, max(table.num_rows, 1), _ROWS_PER_FILE)):
        part, key = table.slice(start, _ROWS_PER_FILE), f"{folder}{number:05d}.parquet"
        save_to_bucket(part, staging.bucket, key, boto3_session=session)
