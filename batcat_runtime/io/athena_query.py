"""One query in Athena: start it, wait for it, stop it, and say what went wrong.

Plain boto3 on purpose. awswrangler's `start_query_execution` asks for the workgroup before every
query, which is a request more and a permission that many roles lack; its wait has one fixed pause,
leaves a query running when the waiting is interrupted, and its errors have lost the line and column
of the engine's message by the time that UNLOAD is wrapped around the query.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from batcat_runtime.errors import (
    AccessDeniedError,
    BatcatError,
    QueryError,
    QueryTimeoutError,
    ResultTooLargeError,
)
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.progress import Progress, human_size
from batcat_runtime.io.query_errors import query_error
from batcat_runtime.log import get_logger

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_STOPPING_LOOKS, _STOPPING_PAUSE = 20, 0.2
_ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")
_PLACE = re.compile(r"\bline (\d+):(\d+)")
# not "not authorized" alone: Athena says that of every column that it does not find
_DENIED = re.compile(
    r"access denied|not authorized to perform|insufficient .*permission", re.IGNORECASE
)
_FIXES = {
    "TABLE_NOT_FOUND": "Check the name, and give `catalog` and `database`, or write "
    "catalog.database.table.",
    "SCHEMA_NOT_FOUND": "Check the name of the database, or give `catalog`.",
    "CATALOG_NOT_FOUND": "Check `catalog` with `aws athena list-data-catalogs`.",
    "output location": "Give `s3_staging_dir`, for example 's3://bucket/athena-results'.",
}


@dataclass(frozen=True)
class Settings:
    """How queries run.

    Attributes
    ----------
    athena : botocore client
    workgroup : str
    output : str
        The ``s3://`` prefix for what Athena itself writes; empty for the workgroup's own.
    catalog, database : str or None
        What unqualified names belong to.
    encryption : dict
        Athena's ``EncryptionConfiguration``; empty for none.
    reuse_minutes : int or None
        How old a result may be that is used again.
    deadline : float or None
        The clock's time at which a query is stopped.
    max_bytes : int or None
        How much a query may scan before it is stopped.
    clock, sleep : callable
    """

    athena: Any
    workgroup: str
    output: str = ""
    catalog: str | None = None
    database: str | None = None
    encryption: dict[str, str] = field(default_factory=dict)
    reuse_minutes: int | None = None
    deadline: float | None = None
    max_bytes: int | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def run_query(
    query: str, values: Sequence[str], settings: Settings, *, wrapper: str = "{}"
) -> dict[str, Any]:
    """Run a query and wait until it is done.

    Parameters
    ----------
    query : str
        The query; the places that errors name are places in it.
    values : sequence of str
        Literals for its question marks.
    settings : Settings
    wrapper : str
        The statement around it, such as UNLOAD, with the query's place on lines of its own.

    Returns
    -------
    dict
        Athena's ``QueryExecution``.

    Raises
    ------
    QueryError
        Athena refused the query, or it failed.
    QueryTimeoutError
        The deadline passed; the query was stopped.
    ResultTooLargeError
        It scanned more than it may; it was stopped.
    AccessDeniedError, CredentialsError, ThrottledError, ServiceError
        AWS refused the request.
    """
    before, _, after = wrapper.partition("{}")
    lines = before.count("\n")
    number = _start(before + query + after, query, values, settings, lines)
    ended = False
    try:
        execution = _wait(number, settings)
        ended = True
    finally:
        if not ended:  # also when the user interrupts
            _stop(number, settings)
    status = execution["Status"]
    _report(execution)
    if status["State"] != "SUCCEEDED":
        reason = str(status.get("StateChangeReason") or "no reason was given")
        raise _failure(status["State"], reason, query, lines)
    return execution


def _start(text: str, query: str, values: Sequence[str], settings: Settings, lines: int) -> str:
    context = {"Catalog": settings.catalog, "Database": settings.database}
    result: dict[str, Any] = {"OutputLocation": settings.output} if settings.output else {}
    if settings.encryption:
        result["EncryptionConfiguration"] = settings.encryption
    request: dict[str, Any] = {
        "QueryString": text,
        "WorkGroup": settings.workgroup,
        "QueryExecutionContext": {name: value for name, value in context.items() if value},
        "ResultConfiguration": result,
        "ExecutionParameters": list(values),
    }
    if settings.reuse_minutes is not None:
        reuse = {"Enabled": True, "MaxAgeInMinutes": settings.reuse_minutes}
        request["ResultReuseConfiguration"] = {"ResultReuseByAgeConfiguration": reuse}
    with translated("Athena", "athena:StartQueryExecution"):
        try:
            answer = settings.athena.start_query_execution(
                **{name: value for name, value in request.items() if value}
            )
        except settings.athena.exceptions.InvalidRequestException as error:
            reason = str(error.response["Error"].get("Message", error))
            raise _failure("FAILED", reason, query, lines) from error
    return str(answer["QueryExecutionId"])


def _wait(number: str, settings: Settings) -> dict[str, Any]:
    pause = _FIRST_PAUSE
    with Progress("Athena") as progress:
        while True:
            with translated("Athena", "athena:GetQueryExecution"):
                answer = settings.athena.get_query_execution(QueryExecutionId=number)
            execution: dict[str, Any] = answer["QueryExecution"]
            state = execution["Status"]["State"]
            if state in _ENDED:
                return execution
            scanned = int(execution.get("Statistics", {}).get("DataScannedInBytes", 0))
            progress.add(note=f"{state} {human_size(scanned)} scanned" if scanned else state)
            _check_limits(scanned, settings)
            settings.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)


def _check_limits(scanned: int, settings: Settings) -> None:
    if settings.deadline is not None and settings.clock() > settings.deadline:
        raise QueryTimeoutError(
            "Athena took longer than `timeout`; the query was stopped.",
            fix="Give a longer `timeout`, or read less: fewer days, fewer columns.",
        )
    if settings.max_bytes is not None and scanned > settings.max_bytes:
        raise ResultTooLargeError(
            f"Athena scanned {human_size(scanned)}, more than `max_bytes_scanned`; the query was "
            "stopped.",
            fix="Filter on partition columns, select fewer columns, or allow more.",
        )


def _stop(number: str, settings: Settings) -> None:
    """Stop a query and wait for its end: what it still writes could not be cleaned up."""
    try:
        with translated("Athena", "athena:StopQueryExecution"):
            settings.athena.stop_query_execution(QueryExecutionId=number)
        for _ in range(_STOPPING_LOOKS):
            with translated("Athena", "athena:GetQueryExecution"):
                answer = settings.athena.get_query_execution(QueryExecutionId=number)
            if answer["QueryExecution"]["Status"]["State"] in _ENDED:
                return
            settings.sleep(_STOPPING_PAUSE)
    except BatcatError as error:
        get_logger().warning("The query %s may still run: %s", number, error.message)


def _report(execution: dict[str, Any]) -> None:
    numbers = execution.get("Statistics", {})
    seconds = int(numbers.get("TotalExecutionTimeInMillis", 0)) / 1000
    queued = int(numbers.get("QueryQueueTimeInMillis", 0)) / 1000
    reused = numbers.get("ResultReuseInformation", {}).get("ReusedPreviousResult")
    get_logger().info(
        "Athena %s after %.1f s (%.1f s of it queued), %s scanned%s.",
        str(execution["Status"]["State"]).lower(),
        seconds,
        queued,
        human_size(int(numbers.get("DataScannedInBytes", 0))),
        ", an earlier result was used again" if reused else "",
    )


def _failure(state: str, reason: str, query: str, lines: int) -> QueryError | AccessDeniedError:
    found = _PLACE.search(reason)
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
