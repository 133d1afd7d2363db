"""Redshift, read over its own protocol: the tutorial's `read_data_from_redshift`.

A result comes in one of three ways:

- plainly: the server sends all rows, and they become Arrow columns piece by piece;
- in chunks: a cursor on the server is asked for some rows at a time, so memory stays flat;
- by UNLOAD, when a role and a staging place are given: Redshift's nodes write Parquet to S3 side by
  side, which is what makes a hundred million rows bearable. Where UNLOAD cannot carry the result,
  it comes in one of the other ways.

Nothing is committed: the transaction of a reading function is rolled back.

Not awswrangler: a result of `wr.redshift.read_sql_query` without rows has no types
(test_no_rows_keep_columns_and_types), and `wr.redshift.unload` writes keys into the statement where
there is no role, and no backslash twice (test_unload_gives_what_the_wire_gives).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

from batcat_runtime.errors import QueryError, QueryTimeoutError, UserError
from batcat_runtime.io.parameters import Params, for_wire, redshift_literal, with_literals
from batcat_runtime.io.query import DateLike, is_ordered, is_select, statement, with_dates
from batcat_runtime.io.redshift_types import Result
from batcat_runtime.io.redshift_wire import DATABASE, PORT, USER, Login, Wire, connected, log_in
from batcat_runtime.io.results import check_result_options, chunks, whole
from batcat_runtime.io.staging import Staging, split_uri
from batcat_runtime.io.types import DtypeBackend
from batcat_runtime.log import get_logger

if TYPE_CHECKING:
    import boto3
    import pandas as pd
    import pyarrow as pa

Run: TypeAlias = Callable[..., Result]

DATA = "data/"
_ROLE = re.compile(r"arn:aws[a-z0-9-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+|default", re.ASCII)
_PAGE, _SINGLE_NODE_PAGE = 10_000, 1_000
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
    unload = unload_of(text, iam_role, s3_staging_dir, region, boto3_session)
    given = Login(host or "", int(port), database, user, password or "")
    login = log_in(given, secret_name, cluster_identifier, workgroup_name, region, boto3_session)
    tables = _tables(login, text, params, ssl, timeout, unload, chunksize)
    if chunksize is not None:
        return chunks(tables, chunksize, dtype_backend)
    return whole(tables, dtype_backend)


def _tables(
    login: Login,
    query: str,
    params: Params | None,
    ssl: bool | None,
    timeout: float | None,
    unload: Unload | None,
    chunksize: int | None,
) -> Iterator[pa.Table]:
    with connected(login, ssl=ssl, timeout=timeout) as wire:
        if unload is not None:
            yield from unload.tables(wire.run, query, params, whole=chunksize is None)
            if unload.done:
                return
        if chunksize is not None and is_select(query, "redshift"):
            yield from _by_cursor(wire, with_literals(query, params), chunksize)
        else:
            yield from wire.run(query, params).tables


def _by_cursor(wire: Wire, query: str, chunksize: int) -> Iterator[pa.Table]:
    """Fetch from a cursor on the server, a page at a time."""
    page = min(chunksize, _PAGE)
    while True:
        wire.run(query, head=f"DECLARE {_CURSOR} CURSOR FOR ")
        try:
            result = wire.run(f"FETCH FORWARD {page} FROM {_CURSOR}")
            break
        except QueryError as error:
            # Redshift caps a FETCH on a cluster of one node at a thousand rows
            said = error.message.lower().replace("-", " ")
            if page <= _SINGLE_NODE_PAGE or "single node" not in said:
                raise
            page = _SINGLE_NODE_PAGE
    while True:
        rows = 0
        for table in result.tables:
            rows += table.num_rows
            yield table
        if rows < page:
            return
        result = wire.run(f"FETCH FORWARD {page} FROM {_CURSOR}")


class Unload:
    """UNLOAD of one query's result: Redshift writes it to S3 as Parquet, from all nodes at once.

    Parameters
    ----------
    staging : Staging
        Where to.
    iam_role : str
        By which role.

    Attributes
    ----------
    done : bool
        Whether `tables` gave the result; if not, Redshift could not unload it.
    """

    def __init__(self, staging: Staging, iam_role: str) -> None:
        self._staging, self._role = staging, iam_role
        self.done = False

    def tables(
        self, run: Run, query: str, params: Params | None, *, whole: bool
    ) -> Iterator[pa.Table]:
        """Unload and give what was written, or nothing where Redshift cannot unload the query.

        A query that is wrong itself fails again, in its own words, when it is run without UNLOAD.
        """
        with self._staging as staging:
            # an ordered result by one writer, so that the files have that order by their names
            serial = " PARALLEL OFF" if is_ordered(query, "redshift") else ""
            source = redshift_literal(with_literals(query, params))
            try:
                run(
                    f"UNLOAD ({source}) TO {redshift_literal(staging.uri + DATA)} "
                    f"IAM_ROLE {role_sql(self._role)} FORMAT AS PARQUET{serial}"
                )
            except QueryTimeoutError:
                raise
            except QueryError as error:
                get_logger().warning(
                    "Redshift cannot UNLOAD, so rows come one by one: %s", error.message
                )
                return
            self.done = True
            empty = True
            for table in staging.tables(DATA, whole=whole):
                empty = False
                yield table
            if empty:  # without rows, UNLOAD writes nothing
                schema = f"SELECT * FROM (\n{query}\n) AS batcat LIMIT 0"
                yield from run(schema, params).tables


def unload_of(
    query: str,
    iam_role: str | None,
    s3_staging_dir: str | None,
    region: str | None,
    session: boto3.Session | None,
) -> Unload | None:
    """Return the UNLOAD for a query, if it is a SELECT and a role and a staging place are given.

    Raises
    ------
    UserError
        One of the two is missing or wrong.
    """
    if not iam_role and not s3_staging_dir:
        return None
    if not iam_role or not s3_staging_dir:
        missing = "s3_staging_dir" if iam_role else "iam_role"
        raise UserError(
            f"UNLOAD needs iam_role and s3_staging_dir; {missing} is missing.",
            fix=f"Give {missing} too, or neither.",
        )
    role_sql(iam_role)
    split_uri(s3_staging_dir, "s3_staging_dir")
    if not is_select(query, "redshift"):
        return None
    return Unload(Staging(s3_staging_dir, region=region, boto3_session=session), iam_role)


def role_sql(iam_role: str) -> str:
    """Return a role, or a chain of roles, as statements name it.

    Raises
    ------
    UserError
        It is no ARN of a role, nor ``default``.
    """
    if not all(_ROLE.fullmatch(role) for role in iam_role.split(",")):
        raise UserError(
            f"iam_role={iam_role!r} is no role.",
            fix="Give the ARN of a role that the cluster has, for example "
            "'arn:aws-cn:iam::123456789012:role/redshift-s3', or 'default'.",
        )
    return "default" if iam_role == "default" else redshift_literal(iam_role)
