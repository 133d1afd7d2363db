"""Redshift, read over its own protocol: the tutorial's `read_data_from_redshift`.

A result comes in one of three ways:

- plainly: the server sends all rows, and they become Arrow columns piece by piece;
- in chunks: a cursor on the server is asked for some rows at a time, so memory stays flat;
- by UNLOAD, when a role and a staging place are given: Redshift's nodes write Parquet to S3 side by
  side, which is what makes a hundred million rows bearable. It falls back to the first way where
  UNLOAD cannot carry the result.

Nothing is committed: the transaction of a reading function is rolled back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from batcat_runtime.errors import QueryError, QueryTimeoutError
from batcat_runtime.io.parameters import Params, for_wire, with_literals
from batcat_runtime.io.query import DateLike, is_select, statement, with_dates
from batcat_runtime.io.redshift_login import DATABASE, PORT, USER, Login, redshift_login
from batcat_runtime.io.redshift_unload import DATA, schema_sql, unload_sql, wants_unload
from batcat_runtime.io.redshift_wire import columns_of, connection, execute, tables_of
from batcat_runtime.io.results import check_result_options, chunks, whole
from batcat_runtime.io.staging import Staging
from batcat_runtime.io.types import DtypeBackend
from batcat_runtime.log import get_logger

if TYPE_CHECKING:
    from typing import Any

    import boto3
    import pandas as pd
    import pyarrow as pa

_PAGE = 10_000
_SINGLE_NODE_PAGE = 1_000
_CURSOR = "batcat_cursor"


def read_data_from_redshift(
    query: str,
    host: str | None = None,
    password: str | None = None,
    port: int = PORT,
    database: str = DATABASE,
    user: str = USER,
    date_start: DateLike | None = None,
    date_end: DateLike | None = None,
    *,
    params: Params | None = None,
    chunksize: int | None = None,
    dtype_backend: DtypeBackend | None = None,
    timeout: float | None = None,
    ssl: bool | None = None,
    iam_role: str | None = None,
    s3_staging_dir: str | None = None,
    secret_name: str | None = None,
    cluster_identifier: str | None = None,
    workgroup_name: str | None = None,
    region: str | None = None,
    boto3_session: boto3.Session | None = None,
) -> pd.DataFrame | Iterator[pd.DataFrame]:
    """Read the result of a query from Redshift.

    Parameters
    ----------
    query : str
        One statement; ``'{}'``, ``'{date_start}'`` and ``'{date_end}'`` are places for dates,
        ``:name`` or ``?`` for parameters.
    host, password : str, optional
        Where Redshift is, and the user's password.
    port : int
    database, user : str
    date_start, date_end : datetime.date or datetime.datetime or str, optional
        The window of dates, such as ``2022-01-01`` or ``2022/01/01``.
    params : mapping or sequence, optional
        Values for the parameters; bound by the server, never pasted. A list becomes several values.
    chunksize : int, optional
        Rows per DataFrame: an iterator is returned, and memory stays flat. Close it, or use it up.
    dtype_backend : {"numpy_nullable", "pyarrow"}, optional
        See `batcat_runtime.io.types.to_pandas`.
    timeout : float, optional
        Seconds that the query may take; the server ends it then. No limit by default.
    ssl : bool, optional
        Whether to encrypt; by default yes, but not for a host that is this machine itself.
    iam_role, s3_staging_dir : str, optional
        Both together let Redshift UNLOAD the result to a prefix of its own there, which is deleted
        again. For large results.
    secret_name : str, optional
        Instead of host and password: a secret of Secrets Manager with host, port, username,
        password, dbname.
    cluster_identifier, workgroup_name : str, optional
        Instead of a password: log in with IAM to this cluster or serverless workgroup.
    region : str, optional
        Of the secret, cluster, workgroup and bucket; by default the session's.
    boto3_session : boto3.Session, optional
        Whose credentials to use; by default those of the environment.

    Returns
    -------
    pandas.DataFrame or iterator of pandas.DataFrame
        Types as Redshift declares them: integers keep their width, with pandas' nullable ones where
        there are gaps; NUMERIC is exact; dates and timestamps are datetime64[us]; SUPER is text. A
        column name that occurs twice becomes ``a``, ``a.1``.

    Raises
    ------
    UserError
        A date, parameter or option is wrong; nothing was connected to.
    ConnectError
        Redshift cannot be reached.
    CredentialsError
        It does not accept user and password.
    QueryError
        It refused the query; with its words and the line that they are about.
    QueryTimeoutError
        The query took longer than `timeout`.

    Examples
    --------
    >>> read_data_from_redshift(
    ...     "SELECT vin, usage FROM battery_usage WHERE time >= '{}' AND time <= '{}'",
    ...     host="0.1.1.1",
    ...     password="this_is_a_password",
    ...     date_start="2022-01-01",
    ...     date_end="2022-08-01",
    ... )  # doctest: +SKIP
    """
    text = statement(with_dates(query, date_start, date_end, "redshift"), "redshift")
    check_result_options(chunksize, dtype_backend, timeout)
    for_wire(text, params)  # refuses what it has to before anything is connected to
    unload = wants_unload(text, iam_role, s3_staging_dir)
    login = redshift_login(
        host=host,
        password=password,
        port=port,
        database=database,
        user=user,
        secret_name=secret_name,
        cluster_identifier=cluster_identifier,
        workgroup_name=workgroup_name,
        region=region,
        boto3_session=boto3_session,
    )
    staging = None
    if unload and s3_staging_dir:
        staging = Staging(s3_staging_dir, region=region, boto3_session=boto3_session)
    tables = _tables(login, text, params, ssl, timeout, staging, iam_role or "", chunksize)
    if chunksize is not None:
        return chunks(tables, chunksize, dtype_backend)
    return whole(tables, dtype_backend)


def _tables(
    login: Login,
    query: str,
    params: Params | None,
    ssl: bool | None,
    timeout: float | None,
    staging: Staging | None,
    iam_role: str,
    chunksize: int | None,
) -> Iterator[pa.Table]:
    with connection(login, ssl=ssl, timeout=timeout) as opened:
        if staging is not None:
            with staging:
                if _unloaded(opened, query, params, staging, iam_role):
                    yield from _read_back(opened, query, params, staging, chunksize is None)
                    return
        if chunksize is not None and is_select(query, "redshift"):
            yield from _by_cursor(opened, with_literals(query, params), chunksize)
            return
        cursor = execute(opened, query, params)
        yield from tables_of(cursor, columns_of(cursor))


def _unloaded(
    opened: Any, query: str, params: Params | None, staging: Staging, iam_role: str
) -> bool:
    """Try to UNLOAD; a query that is wrong itself fails again, in its own words, without it."""
    try:
        execute(opened, unload_sql(with_literals(query, params), staging.uri, iam_role))
    except QueryTimeoutError:
        raise
    except QueryError as error:
        opened.rollback()
        get_logger().warning("Redshift cannot UNLOAD, so rows come one by one: %s", error.message)
        return False
    return True


def _read_back(
    opened: Any, query: str, params: Params | None, staging: Staging, in_one: bool
) -> Iterator[pa.Table]:
    found = False
    for table in staging.tables(DATA, whole=in_one):
        found = True
        yield table
    if not found:
        cursor = execute(opened, schema_sql(query), params)
        yield from tables_of(cursor, columns_of(cursor))


def _by_cursor(opened: Any, query: str, chunksize: int) -> Iterator[pa.Table]:
    """Fetch from a cursor on the server, a page at a time."""
    page = min(chunksize, _PAGE)
    _declare(opened, query)
    try:
        cursor = _fetch(opened, page)
    except QueryError as error:
        if "single node" not in error.message.lower().replace("-", " "):
            raise
        # Redshift caps a FETCH on a cluster of one node at a thousand rows
        opened.rollback()
        page = min(chunksize, _SINGLE_NODE_PAGE)
        _declare(opened, query)
        cursor = _fetch(opened, page)
    while True:
        rows = 0
        for table in tables_of(cursor, columns_of(cursor)):
            rows += table.num_rows
            yield table
        if rows < page:
            return
        cursor = _fetch(opened, page)


def _declare(opened: Any, query: str) -> None:
    execute(opened, query, head=f"DECLARE {_CURSOR} CURSOR FOR ")


def _fetch(opened: Any, page: int) -> Any:
    return execute(opened, f"FETCH FORWARD {page} FROM {_CURSOR}")
