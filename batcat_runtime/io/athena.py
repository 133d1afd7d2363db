"""Athena: the tutorial's `read_data_from_athena`.

A SELECT goes by UNLOAD: Athena writes Parquet below a prefix of its own in the staging place, which
is read side by side and deleted whatever happens. Athena's own result file, one CSV, takes over
where UNLOAD cannot do it: for SHOW, DESCRIBE and the like; for a result with an order, since UNLOAD
writes many files with no order among them; for types and names that Parquet lacks, such as a
timestamp with time zone or two columns of one name; and where an earlier result may be used again.
Either way the columns have the types that Athena declares.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from batcat_runtime.errors import BatcatError, QueryError, UserError
from batcat_runtime.io.athena_query import Settings, run_query
from batcat_runtime.io.athena_result import own_objects, result_tables
from batcat_runtime.io.clients import client
from batcat_runtime.io.dates import DateLike
from batcat_runtime.io.parameters import Params, athena_literal, for_athena
from batcat_runtime.io.results import check_result_options, chunks, whole
from batcat_runtime.io.staging import Staging, delete_keys, split_key
from batcat_runtime.io.statement import is_ordered, is_select, statement, with_dates
from batcat_runtime.io.types import DtypeBackend
from batcat_runtime.log import get_logger

if TYPE_CHECKING:
    import boto3
    import pandas as pd
    import pyarrow as pa

_DATA, _OWN = "data/", "query"
# Athena's words for results that Parquet or Hive cannot hold; all are said before data is read
_NO_UNLOAD = re.compile(
    r"NOT_SUPPORTED|unsupported|not supported|DUPLICATE_COLUMN_NAME|specified more than once|"
    r"COLUMN_TYPE_UNKNOWN|column type is unknown|MISSING_COLUMN_NAME|column name not specified|"
    r"duplicate column",
    re.IGNORECASE,
)
_LONGEST_REUSE = 10_080


def read_data_from_athena(
    query: str,
    region: str | None = None,
    s3_staging_dir: str | None = None,
    date_start: DateLike | None = None,
    date_end: DateLike | None = None,
    *,
    params: Params | None = None,
    workgroup: str = "primary",
    catalog: str | None = None,
    database: str | None = None,
    unload: bool = True,
    chunksize: int | None = None,
    dtype_backend: DtypeBackend | None = None,
    reuse_minutes: int | None = None,
    timeout: float | None = None,
    max_bytes_scanned: int | None = None,
    encryption: Literal["SSE_S3", "SSE_KMS", "CSE_KMS"] | None = None,
    kms_key: str | None = None,
    boto3_session: boto3.Session | None = None,
) -> pd.DataFrame | Iterator[pd.DataFrame]:
    """Read the result of a query from Athena.

    Parameters
    ----------
    query : str
        One statement; ``'{}'``, ``'{date_start}'`` and ``'{date_end}'`` are places for dates,
        ``:name`` or ``?`` for parameters.
    region : str, optional
        Where to ask, such as ``cn-northwest-1``; by default the session's region.
    s3_staging_dir : str, optional
        Where results may lie while they are read, such as ``s3://bucket/athena``. Leave it out if
        the workgroup has a place of its own; then there is no UNLOAD.
    date_start, date_end : datetime.date or datetime.datetime or str, optional
        The window of dates, such as ``2022-01-01`` or ``2022/01/01``.
    params : mapping or sequence, optional
        Values for the parameters; bound by Athena, never pasted. A list becomes several values.
    workgroup : str
    catalog, database : str, optional
        What unqualified names belong to.
    unload : bool
        Whether to use UNLOAD where it can be used.
    chunksize : int, optional
        Rows per DataFrame: an iterator is returned, and memory holds a few of Athena's files. The
        staging prefix is deleted when it is used up or closed.
    dtype_backend : {"numpy_nullable", "pyarrow"}, optional
        See `batcat_runtime.io.types.to_pandas`.
    reuse_minutes : int, optional
        An earlier result of the same query may be used again if it is no older; that costs nothing.
        Results then stay in the staging place.
    timeout : float, optional
        Seconds that the query may take; then it is stopped. No limit by default.
    max_bytes_scanned : int, optional
        How much it may read; then it is stopped. Athena charges by what is read.
    encryption : {"SSE_S3", "SSE_KMS", "CSE_KMS"}, optional
        For Athena's own result file; what UNLOAD writes is encrypted as the bucket says.
    kms_key : str, optional
        For the last two.
    boto3_session : boto3.Session, optional
        Whose credentials to use; by default those of the environment.

    Returns
    -------
    pandas.DataFrame or iterator of pandas.DataFrame
        Types as Athena declares them: integers keep their width, with pandas' nullable ones where
        there are gaps; decimals are exact; dates and timestamps are datetime64[us], those with a
        zone in UTC; arrays, maps and rows are lists and dicts, but text where Athena's own result
        file is used. A column name that occurs twice becomes ``a``, ``a.1``.

    Raises
    ------
    UserError
        A date, parameter or option is wrong; nothing was asked of AWS.
    QueryError
        Athena refused the query; with its words and the line that they are about.
    QueryTimeoutError
        The query took longer than `timeout`.
    ResultTooLargeError
        It scanned more than `max_bytes_scanned`.
    AccessDeniedError, CredentialsError, ThrottledError, ServiceError
        AWS refused.

    Examples
    --------
    >>> read_data_from_athena(
    ...     "SELECT vin, usage FROM cdc.dw_bms.battery_usage WHERE time >= '{}' AND time <= '{}'",
    ...     region="cn-northwest-1",
    ...     s3_staging_dir="s3://apac-athena-queryresult/ATHENA_QUERY",
    ...     date_start="2022-01-01",
    ...     date_end="2022-08-01",
    ... )  # doctest: +SKIP
    """
    text = statement(with_dates(query, date_start, date_end, "athena"), "athena")
    check_result_options(chunksize, dtype_backend, timeout)
    _check(reuse_minutes, max_bytes_scanned, encryption, kms_key)
    bound, values = for_athena(text, params)
    staging = None
    if s3_staging_dir is not None:
        staging = Staging(s3_staging_dir, region=region, boto3_session=boto3_session)
    secured = {"EncryptionOption": encryption or "", "KmsKey": kms_key or ""}
    settings = Settings(
        athena=client("athena", boto3_session, region),
        workgroup=workgroup,
        catalog=catalog,
        database=database,
        encryption={name: value for name, value in secured.items() if value},
        reuse_minutes=reuse_minutes,
        max_bytes=max_bytes_scanned,
    )
    if timeout is not None:
        settings = replace(settings, deadline=settings.clock() + timeout)
    s3 = client("s3", boto3_session, region)
    if reuse_minutes is not None or staging is None:
        output = f"{s3_staging_dir.rstrip('/')}/" if s3_staging_dir else ""
        tables = _kept(bound, values, replace(settings, output=output), s3)
    else:
        unload = unload and is_select(bound, "athena") and not is_ordered(bound, "athena")
        tables = _staged(bound, values, settings, s3, staging, unload, chunksize is None)
    if chunksize is not None:
        return chunks(tables, chunksize, dtype_backend)
    return whole(tables, dtype_backend)


def _kept(query: str, values: list[str], settings: Settings, s3: Any) -> Iterator[pa.Table]:
    """Give the result of a query whose result file is left where it is."""
    execution = run_query(query, values, settings)
    yield from result_tables(settings.athena, s3, execution)


def _staged(
    query: str,
    values: list[str],
    settings: Settings,
    s3: Any,
    staging: Staging,
    unload: bool,
    in_one: bool,
) -> Iterator[pa.Table]:
    """Give the result of a query by way of a prefix of its own."""
    settings = replace(settings, output=f"{staging.uri}{_OWN}/")
    with staging:
        if unload and _unloaded(query, values, settings, s3, staging):
            empty = True
            for table in staging.tables(_DATA, whole=in_one):
                empty = False
                yield table
            if not empty:
                return
            # without rows UNLOAD writes nothing, and so says nothing of the columns
            query = f"SELECT * FROM (\n{query}\n) LIMIT 0"
        execution = run_query(query, values, settings)
        try:
            yield from result_tables(settings.athena, s3, execution)
        finally:
            _delete_outside(execution, s3, staging)


def _unloaded(query: str, values: list[str], settings: Settings, s3: Any, staging: Staging) -> bool:
    """Run a query within UNLOAD, if that can carry its result."""
    target = athena_literal(staging.uri + _DATA)
    # gzip, the default, takes longer to read than snappy takes to fetch
    wrapper = f"UNLOAD (\n{{}}\n) TO {target} WITH (format = 'PARQUET', compression = 'SNAPPY')"
    try:
        execution = run_query(query, values, settings, wrapper=wrapper)
    except QueryError as error:
        if not _NO_UNLOAD.search(error.message):
            raise
        get_logger().info("Athena cannot UNLOAD this result: %s", error.message.splitlines()[0])
        return False
    _delete_outside(execution, s3, staging)
    return True


def _delete_outside(execution: dict[str, Any], s3: Any, staging: Staging) -> None:
    """Delete what Athena wrote elsewhere, because the workgroup insists on a place of its own."""
    for uri in own_objects(execution):
        if not uri.startswith(staging.uri):
            bucket, key = split_key(uri)
            try:
                delete_keys(s3, bucket, [{"Key": key}])
            except BatcatError as error:
                get_logger().info("%s stays: %s", uri, error.message)


def _check(
    reuse_minutes: int | None,
    max_bytes_scanned: int | None,
    encryption: str | None,
    kms_key: str | None,
) -> None:
    if reuse_minutes is not None and not 0 <= reuse_minutes <= _LONGEST_REUSE:
        raise UserError(
            f"reuse_minutes={reuse_minutes} is out of range.",
            fix=f"Give 0 to {_LONGEST_REUSE:,} minutes (a week).",
        )
    if max_bytes_scanned is not None and not max_bytes_scanned > 0:
        raise UserError(
            f"max_bytes_scanned={max_bytes_scanned} lets no query run.",
            fix="For example 10_000_000_000 for 10 GB.",
        )
    if encryption not in (None, "SSE_S3", "SSE_KMS", "CSE_KMS"):
        raise UserError(
            f"There is no encryption {encryption!r}.", fix="Give SSE_S3, SSE_KMS or CSE_KMS."
        )
    if (encryption in ("SSE_KMS", "CSE_KMS")) != bool(kms_key):
        raise UserError(
            "A kms_key goes with the encryption SSE_KMS or CSE_KMS, and only with these.",
            fix="For example encryption='SSE_KMS', kms_key='alias/athena'.",
        )
