"""Athena: the tutorial's `read_data_from_athena`.

A SELECT goes by UNLOAD: Athena writes Parquet below a prefix of its own in the staging place, which
is read side by side and deleted whatever happens. Athena's own result file, one CSV, takes over
where UNLOAD cannot do it: for SHOW, DESCRIBE and the like; for a result with an order, since UNLOAD
writes many files with no order among them; for types and names that Parquet lacks, such as a
timestamp with time zone or two columns of one name; and where an earlier result may be used again.
Either way the columns have the types that Athena declares.

awswrangler starts, looks and stops. Its `wait_query` knows no deadline and leaves a query running
when the waiting is interrupted (`test_an_interrupt_stops_the_query_and_cleans_up`).
"""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from batcat_runtime.errors import (
    AccessDeniedError,
    BatcatError,
    QueryError,
    QueryTimeoutError,
    ResultTooLargeError,
    UserError,
)
from batcat_runtime.io.athena_result import result_tables
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.clients import aws_session
from batcat_runtime.io.parameters import Params, athena_literal, for_athena
from batcat_runtime.io.progress import Progress
from batcat_runtime.io.query import (
    DateLike,
    is_ordered,
    is_select,
    query_error,
    statement,
    with_dates,
)
from batcat_runtime.io.results import check_result_options, chunks, whole
from batcat_runtime.io.staging import Staging
from batcat_runtime.io.types import DtypeBackend
from batcat_runtime.log import get_logger, human_size

if TYPE_CHECKING:
    import boto3
    import pandas as pd
    import pyarrow as pa

_DATA = "data/"
# Athena's words for results that Parquet or Hive cannot hold; all are said before data is read
_NO_UNLOAD = re.compile(
    r"NOT_SUPPORTED|unsupported|not supported|DUPLICATE_COLUMN_NAME|specified more than once|"
    r"COLUMN_TYPE_UNKNOWN|column type is unknown|MISSING_COLUMN_NAME|column name not specified|"
    r"duplicate column",
    re.IGNORECASE,
)
_LONGEST_REUSE = 10_080
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_LINE = re.compile(r"\bline (\d+):(\d+)")
# not "not authorized" alone: Athena says that of every column that it does not find
_DENIED = re.compile(
    r"access denied|not authorized to perform|insufficient .*permission", re.IGNORECASE
)
_FIXES = {
    "TABLE_NOT_FOUND": "Check the name, and give `catalog` and `database`, or write "
    "catalog.database.table.",
    "SCHEMA_NOT_FOUND": "Check the name of the database, or give `catalog`.",
    "CATALOG_NOT_FOUND": "Check `catalog` with `aws athena list-data-catalogs`.",
    "TYPE_MISMATCH": "Athena converts nothing by itself: write a date as date '2022-01-31', a time "
    "as timestamp '2022-01-31 00:00:00' (with dates: timestamp '{}'), or cast(column as varchar).",
}


@dataclass(frozen=True)
class _Asked:
    """A query and how it runs.

    Attributes
    ----------
    query : str
        The query; the places that errors name are places in it.
    session : object
        Of `clients.aws_session`.
    options : dict
        For awswrangler's `start_query_execution`.
    staging : Staging or None
        What is deleted in the end, results elsewhere included; None: the result stays where it is.
    timeout, max_bytes : float
        How many seconds it may take, and how much it may scan, before it is stopped.
    """

    query: str
    session: Any
    options: dict[str, Any]
    staging: Staging | None
    timeout: float
    max_bytes: float


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
    if reuse_minutes is not None and not 0 <= reuse_minutes <= _LONGEST_REUSE:
        raise UserError(f"{reuse_minutes=} is out of range.", fix="Give 0 to 10,080 (a week).")
    if max_bytes_scanned is not None and not max_bytes_scanned > 0:
        raise UserError(f"{max_bytes_scanned=} lets no query run.", fix="Give 10**10 for 10 GB.")
    if encryption not in (None, "SSE_S3", "SSE_KMS", "CSE_KMS"):
        raise UserError(
            f"There is no encryption {encryption!r}.", fix="SSE_S3, SSE_KMS or CSE_KMS."
        )
    if (encryption in ("SSE_KMS", "CSE_KMS")) != bool(kms_key):
        raise UserError(
            "A kms_key goes with the encryption SSE_KMS or CSE_KMS, and only with these.",
            fix="For example encryption='SSE_KMS', kms_key='alias/athena'.",
        )
    bound, values = for_athena(text, params)
    staging = output = reuse = None
    if s3_staging_dir is not None:
        staging = Staging(s3_staging_dir, region=region, boto3_session=boto3_session)
        output = f"{staging.uri}query/"
    if reuse_minutes is not None:
        staging, output = None, s3_staging_dir and f"{s3_staging_dir.rstrip('/')}/"
        reuse = {"Enabled": True, "MaxAgeInMinutes": reuse_minutes}
    asked = _Asked(
        query=bound,
        session=aws_session(boto3_session, region),
        options={
            "params": values,
            # awswrangler asks for a workgroup that is named, and forgets a catalog without database
            # (`test_a_catalog_and_a_database`)
            "workgroup": None if workgroup == "primary" and output else workgroup,
            "data_source": catalog,
            "database": database or ("default" if catalog else None),
            "s3_output": output,
            "encryption": encryption,
            "kms_key": kms_key,
            "result_reuse_configuration": reuse and {"ResultReuseByAgeConfiguration": reuse},
        },
        staging=staging,
        timeout=timeout or math.inf,
        max_bytes=max_bytes_scanned or math.inf,
    )
    unload = unload and is_select(bound, "athena") and not is_ordered(bound, "athena")
    tables = _tables(asked, unload, chunksize is None)
    if chunksize is not None:
        return chunks(tables, chunksize, dtype_backend)
    with contextlib.closing(tables):
        return whole(tables, dtype_backend)


def _tables(asked: _Asked, unload: bool, in_one: bool) -> Generator[pa.Table]:
    """Give the result of a query, and delete what it left, if it has a prefix of its own."""
    around = ("", "")
    with asked.staging or contextlib.nullcontext() as staging:
        if unload and staging and _unloaded(asked, staging):
            tables = staging.tables(_DATA, whole=in_one)
            first = next(tables, None)
            if first is not None:
                yield first
                yield from tables
                return
            # without rows UNLOAD writes nothing, and so says nothing of the columns
            around = ("SELECT * FROM (\n", "\n) LIMIT 0")
        execution = _run(asked, *around)
        yield from result_tables(asked.session, execution, unloaded=around != ("", ""))


def _unloaded(asked: _Asked, staging: Staging) -> bool:
    """Run a query within UNLOAD, if that can carry its result."""
    target = athena_literal(staging.uri + _DATA)
    # gzip, the default, takes longer to read than snappy takes to fetch
    after = f"\n) TO {target} WITH (format = 'PARQUET', compression = 'SNAPPY')"
    try:
        _run(asked, "UNLOAD (\n", after)
    except QueryError as error:
        if not _NO_UNLOAD.search(error.message):
            raise
        get_logger().info("Athena cannot UNLOAD this result: %s", error.message.splitlines()[0])
        return False
    return True


def _run(asked: _Asked, before: str = "", after: str = "") -> dict[str, Any]:
    """Run a query, with text around it on lines of its own; return Athena's ``QueryExecution``."""
    lines = before.count("\n")
    number = _start(before + asked.query + after, asked, lines)
    try:
        execution = _wait(number, asked)
    except BaseException:  # also when the user interrupts
        _stop(number, asked.session)
        raise
    _report(execution)
    if asked.staging:  # a workgroup may insist on a place of its own
        place = execution.get("ResultConfiguration", {}).get("OutputLocation", "")
        manifest = execution.get("Statistics", {}).get("DataManifestLocation", "")
        written = [place, place and f"{place}.metadata", manifest]
        asked.staging.outside += [uri for uri in written if uri]
    status = execution["Status"]
    if status["State"] != "SUCCEEDED":
        reason = str(status.get("StateChangeReason") or "no reason was given")
        raise _failure(status["State"], reason, asked.query, lines)
    return execution


def _start(text: str, asked: _Asked, lines: int) -> str:
    import awswrangler as wr
    from botocore.exceptions import ClientError

    if asked.options["s3_output"] is None:
        _require_output(asked)
    with translated("Athena", "athena:StartQueryExecution"):
        try:
            return str(
                wr.athena.start_query_execution(
                    text, paramstyle="qmark", boto3_session=asked.session, **asked.options
                )
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidRequestException":
                raise
            reason = error.response["Error"]["Message"]
            raise _failure("FAILED", reason, asked.query, lines) from error


def _require_output(asked: _Asked) -> None:
    """Refuse a workgroup without a place: awswrangler would make a bucket, of a guessable name."""
    import awswrangler as wr

    with translated("Athena", "athena:GetWorkGroup"):
        answer = wr.athena.get_work_group(asked.options["workgroup"], boto3_session=asked.session)
    settings = answer["WorkGroup"]["Configuration"]
    place = settings.get("ResultConfiguration", {}).get("OutputLocation")
    if not place and not settings.get("ManagedQueryResultsConfiguration", {}).get("Enabled"):
        raise query_error(
            "Athena",
            "its workgroup has no output location.",
            fix="Give `s3_staging_dir`, for example 's3://bucket/athena-results'.",
        )


def _wait(number: str, asked: _Asked) -> dict[str, Any]:
    import awswrangler as wr

    pause, deadline = _FIRST_PAUSE, time.monotonic() + asked.timeout
    with Progress("Athena") as progress, translated("Athena", "athena:GetQueryExecution"):
        while True:
            execution = wr.athena.get_query_execution(number, boto3_session=asked.session)
            state = execution["Status"]["State"]
            if state in ("SUCCEEDED", "FAILED", "CANCELLED"):
                return dict(execution)
            scanned = int(execution.get("Statistics", {}).get("DataScannedInBytes", 0))
            progress.add(note=f"{state} {human_size(scanned)} scanned" if scanned else state)
            if time.monotonic() > deadline:
                raise QueryTimeoutError(
                    "Athena took longer than `timeout`; the query was stopped.",
                    fix="Give a longer `timeout`, or read less: fewer days, fewer columns.",
                )
            if scanned > asked.max_bytes:
                raise ResultTooLargeError(
                    f"Athena scanned {human_size(scanned)}, more than `max_bytes_scanned`; the "
                    "query was stopped.",
                    fix="Filter on partition columns, select fewer columns, or allow more.",
                )
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)


def _stop(number: str, session: Any) -> None:
    """Stop a query and wait for its end: what it still writes could not be cleaned up."""
    import awswrangler as wr

    ended = (wr.exceptions.QueryFailed, wr.exceptions.QueryCancelled)
    try:
        with translated("Athena", "athena:StopQueryExecution"), contextlib.suppress(*ended):
            wr.athena.stop_query_execution(number, boto3_session=session)
            wr.athena.wait_query(number, boto3_session=session)
    except BatcatError as error:
        get_logger().warning("The query %s may still run: %s", number, error.message)


def _report(execution: dict[str, Any]) -> None:
    numbers = execution.get("Statistics", {})
    reused = numbers.get("ResultReuseInformation", {}).get("ReusedPreviousResult")
    get_logger().info(
        "Athena %s after %.1f s (%.1f s of it queued), %s scanned%s.",
        str(execution["Status"]["State"]).lower(),
        int(numbers.get("TotalExecutionTimeInMillis", 0)) / 1000,
        int(numbers.get("QueryQueueTimeInMillis", 0)) / 1000,
        human_size(int(numbers.get("DataScannedInBytes", 0))),
        ", an earlier result was used again" if reused else "",
    )


def _failure(state: str, reason: str, query: str, lines: int) -> QueryError | AccessDeniedError:
    """Return the error for what Athena says, whose lines count those before the query too."""
    found = _LINE.search(reason)
    line = column = None
    if found and int(found[1]) > lines:
        line, column = int(found[1]) - lines, int(found[2])
        reason = f"{reason[: found.start()]}line {line}:{column}{reason[found.end() :]}"
    if state == "CANCELLED":
        return query_error("Athena", f"it was cancelled ({reason})")
    if _DENIED.search(reason):
        return AccessDeniedError(
            f"Athena was denied access: {reason}",
            fix="The role or user in use needs s3:GetObject and s3:ListBucket on the data, "
            "s3:PutObject on the staging place, and glue:GetTable and glue:GetPartitions.",
        )
    fix = next((fix for word, fix in _FIXES.items() if word in reason), "")
    return query_error("Athena", reason, query, line=line, column=column, fix=fix)
