"""Redshift's Data API: run statements over HTTPS, without a connection to the cluster.

Plain boto3: awswrangler's `data_api` gives up after five minutes, leaves the statement running when
it does, and returns dates and numerics as the texts that the API sends.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import (
    AccessDeniedError,
    BatcatError,
    QueryError,
    QueryTimeoutError,
    ResultTooLargeError,
    ThrottledError,
)
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.parameters import Params, for_data_api
from batcat_runtime.io.progress import Progress
from batcat_runtime.io.query import line_and_column, query_error
from batcat_runtime.io.redshift_types import arrow_table, data_api_column
from batcat_runtime.log import get_logger

if TYPE_CHECKING:
    import pyarrow as pa

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_STOPPING_LOOKS, _STOPPING_PAUSE = 20, 0.2
_ENDED = ("FINISHED", "FAILED", "ABORTED")
_POSITION = re.compile(r"\s*Position: (\d+);?\s*")
_TOO_LARGE = re.compile(r"result.*(too large|exceed|maximum|limit)", re.IGNORECASE | re.DOTALL)
_BUSY = {"ActiveStatementsExceededException", "ActiveSessionsExceededException"}
_NAME = "batcat"


@dataclass(frozen=True)
class DataApi:
    """A warehouse as the Data API reaches it.

    Attributes
    ----------
    service : botocore client
        Of ``redshift-data``.
    target : dict
        ClusterIdentifier or WorkgroupName, Database, SecretArn: as every request names them.
    timeout : float or None
        Seconds that a statement may take.
    clock, sleep : callable
    """

    service: Any
    target: dict[str, str]
    timeout: float | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def run(self, query: str, params: Params | None = None) -> dict[str, Any]:
        """Run one statement and wait until it is done.

        Returns
        -------
        dict
            What DescribeStatement says of it.

        Raises
        ------
        QueryError
            Redshift refused it; with its words, and the place that it names.
        QueryTimeoutError
            It took longer than `timeout`; it was cancelled.
        ResultTooLargeError
            Its result is more than the Data API carries.
        AccessDeniedError, CredentialsError, ThrottledError, ServiceError
            AWS refused.
        """
        text, values = for_data_api(query, params)
        request: dict[str, Any] = {"Sql": text, "StatementName": _NAME, **self.target}
        if values:
            request["Parameters"] = values
        answer = self._ask("ExecuteStatement", self.service.execute_statement, request)
        return self._ended(str(answer["Id"]), text)

    def run_together(self, statements: Sequence[str]) -> dict[str, Any]:
        """Run statements in one transaction: all of them count, or none."""
        request = {"Sqls": list(statements), "StatementName": _NAME, **self.target}
        answer = self._ask("BatchExecuteStatement", self.service.batch_execute_statement, request)
        return self._ended(str(answer["Id"]), "")

    def tables(self, description: dict[str, Any]) -> Iterator[pa.Table]:
        """Give a statement's result, a page at a time; nothing if it has none."""
        if not description.get("HasResultSet"):
            return
        request = {"Id": description["Id"]}
        while True:
            page = self._ask("GetStatementResult", self.service.get_statement_result, request)
            columns = [data_api_column(one) for one in page["ColumnMetadata"]]
            rows = [[_value(field) for field in record] for record in page["Records"]]
            yield arrow_table(columns, rows)
            if not page.get("NextToken"):
                return
            request["NextToken"] = page["NextToken"]

    def _ask(self, action: str, call: Callable[..., Any], request: dict[str, Any]) -> Any:
        place = self.target.get("ClusterIdentifier") or self.target.get("WorkgroupName")
        with translated(f"Redshift's Data API for {place!r}", f"redshift-data:{action}"):
            try:
                return call(**request)
            except self.service.exceptions.ClientError as error:
                detail = error.response.get("Error", {})
                if detail.get("Code") in _BUSY:
                    raise ThrottledError(
                        f"Too many statements are running on {place!r} ({detail.get('Message')}).",
                        fix="Try again later, or run less at once.",
                    ) from error
                raise

    def _ended(self, number: str, query: str) -> dict[str, Any]:
        ended = False
        try:
            description = self._wait(number)
            ended = True
        finally:
            if not ended:  # also when the user interrupts
                self._cancel(number)
        if description["Status"] != "FINISHED":
            parts = [one for one in description.get("SubStatements", ()) if one.get("Error")]
            failed = parts[0] if parts else description
            raise _failure(description["Status"], failed, failed.get("QueryString") or query)
        return description

    def _wait(self, number: str) -> dict[str, Any]:
        started, pause = self.clock(), _FIRST_PAUSE
        with Progress("Redshift") as progress:
            while True:
                description = self._describe(number)
                if description["Status"] in _ENDED:
                    return description
                progress.add(note=description["Status"])
                if self.timeout is not None and self.clock() - started > self.timeout:
                    raise QueryTimeoutError(
                        f"Redshift took longer than {self.timeout:g} s; the statement was "
                        "cancelled.",
                        fix="Give a longer `timeout`, or read less: fewer days, fewer columns.",
                    )
                self.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _cancel(self, number: str) -> None:
        """Cancel a statement and wait for its end: what it still writes could not be cleaned up."""
        try:
            self._ask("CancelStatement", self.service.cancel_statement, {"Id": number})
            for _ in range(_STOPPING_LOOKS):
                if self._describe(number)["Status"] in _ENDED:
                    return
                self.sleep(_STOPPING_PAUSE)
        except BatcatError as error:
            get_logger().warning("The statement %s may still run: %s", number, error.message)

    def _describe(self, number: str) -> dict[str, Any]:
        call = self.service.describe_statement
        description: dict[str, Any] = self._ask("DescribeStatement", call, {"Id": number})
        return description


def _value(field: dict[str, Any]) -> Any:
    if field.get("isNull"):
        return None
    return next(iter(field.values()), None)


def _failure(status: str, failed: dict[str, Any], query: str) -> BatcatError:
    reason = str(failed.get("Error") or status)
    if status == "ABORTED":
        return query_error("Redshift", f"it was cancelled ({reason})")
    if re.search(r"permission denied", reason):
        return AccessDeniedError(
            f"Redshift denied access: {reason}.", fix="Ask the owner for a GRANT on it."
        )
    if _TOO_LARGE.search(reason):
        return too_large(reason)
    found = _POSITION.search(reason)
    if not found:
        return query_error("Redshift", reason)
    line, column = line_and_column(query, int(found[1]))
    return query_error("Redshift", reason[: found.start()], query, line=line, column=column)


def too_large(reason: str) -> QueryError:
    """Return the error for a result that the Data API does not carry."""
    return ResultTooLargeError(
        f"The result is more than Redshift's Data API carries: {reason}",
        fix="Give iam_role and s3_staging_dir, so that it goes by UNLOAD; or read less.",
    )
