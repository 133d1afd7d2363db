"""Athena's API for queries, in front of moto: work groups, named queries and tags stay moto's.

StartQueryExecution checks what Athena checks before it accepts a query, and answers at once; the
query runs in a thread (`executions.py`, `running.py`).
"""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlglot
from botocore.exceptions import ClientError
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import TokenType

from ...clients import Clients
from ...operations import Operation
from ...wire import Call, ServiceError
from ..catalogue import GLUE_CATALOG, Catalogue
from ..objects import error_code, split_location
from .catalogs import DataCatalogs
from .engine import Engine
from .executions import FINAL, Execution, Workers, new_id
from .failures import QueryFailure
from .parsing import kind_of, plain
from .planning import Context
from .prepared import prepared
from .results import page
from .running import Run, Statement

_INVALID = "InvalidRequestException"
_MAX_QUERY_BYTES = 262_144


class Athena:
    """All query executions of one embedded AWS.

    Parameters
    ----------
    clients : Clients
        To ask the other services.
    home : pathlib.Path
        The server's work directory.
    """

    def __init__(self, clients: Clients, home: Path) -> None:
        self._clients = clients
        self._home = home
        self._folder = home / "athena"
        self._executions: dict[str, Execution] = {}
        self._tokens: dict[tuple[str, str], str] = {}
        self._catalogues: dict[str, Catalogue] = {}
        self._workers = Workers()
        self._engine = Engine(self._folder)
        self._lock = threading.Lock()
        self._data_catalogs = DataCatalogs(self.catalogue_for)

    def operations(self) -> dict[tuple[str, str], Operation]:
        """Return the operations that this room performs."""
        own: dict[str, Operation] = {
            "StartQueryExecution": self.start,
            "GetQueryExecution": self.get,
            "BatchGetQueryExecution": self.batch_get,
            "ListQueryExecutions": self.list,
            "StopQueryExecution": self.stop,
            "GetQueryResults": self.results,
            "GetQueryRuntimeStatistics": self.runtime_statistics,
        }
        glue = self.catalogue_for("").accounts.operations()
        return {
            **{("athena", name): operation for name, operation in own.items()},
            **self._data_catalogs.operations(),
            **glue,
        }

    def shut_down(self, seconds: float) -> None:
        """Cancel what runs."""
        self._workers.shut_down(seconds)

    def catalogue_for(self, access_key: str) -> Catalogue:
        """Return the catalogue as whoever has an access key may see it."""
        with self._lock:
            if access_key not in self._catalogues:
                self._catalogues[access_key] = Catalogue(self._for(access_key), self._home)
            return self._catalogues[access_key]

    def start(self, call: Call) -> dict[str, Any]:
        """Accept a query and start it."""
        request = dict(call.params)
        token = (call.region, str(request.get("ClientRequestToken")))
        with self._lock:
            if request.get("ClientRequestToken") and token in self._tokens:
                known = self._executions[self._tokens[token]]
                if known.query != request["QueryString"]:
                    raise ServiceError(
                        _INVALID,
                        "Idempotent parameters do not match: the same ClientRequestToken was "
                        "used with another query",
                    )
                return {"QueryExecutionId": known.id}
        execution, statement = self._accepted(call, request)
        with self._lock:
            self._executions[execution.id] = execution
            if request.get("ClientRequestToken"):
                self._tokens[token] = execution.id
        reused = self._reusable(execution)
        if reused is not None:
            now = datetime.now(UTC)
            execution.result, execution.reused_from = reused.result, reused
            execution.configuration = reused.configuration
            execution.state, execution.started, execution.completed = "SUCCEEDED", now, now
            execution.done.set()
            return {"QueryExecutionId": execution.id}
        folder = self._folder / execution.id
        run = Run(
            self._for(call.access_key),
            self.catalogue_for(call.access_key),
            self._engine,
            folder / "work",
            folder / "result",
        )
        self._workers.start(execution, run, statement)
        return {"QueryExecutionId": execution.id}

    def get(self, call: Call) -> dict[str, Any]:
        """Describe one execution."""
        return {
            "QueryExecution": self._find(call, str(call.params["QueryExecutionId"])).description()
        }

    def batch_get(self, call: Call) -> dict[str, Any]:
        """Describe up to 50 executions."""
        found, missing = [], []
        for one in call.params["QueryExecutionIds"]:
            try:
                found.append(self._find(call, str(one)).description())
            except ServiceError as error:
                missing.append(
                    {
                        "QueryExecutionId": one,
                        "ErrorCode": "INVALID_QUERY_EXECUTION_ID",
                        "ErrorMessage": error.message,
                    }
                )
        return {"QueryExecutions": found, "UnprocessedQueryExecutionIds": missing}

    def list(self, call: Call) -> dict[str, Any]:
        """List the ids of a work group's executions, newest first."""
        group = str(call.params.get("WorkGroup") or "primary")
        self._workgroup(call, group)
        with self._lock:
            ids = [
                one.id
                for one in reversed(self._executions.values())
                if one.region == call.region and one.workgroup == group
            ]
        start = _offset(call.params.get("NextToken"))
        size = int(call.params.get("MaxResults") or 50)
        answer: dict[str, Any] = {"QueryExecutionIds": ids[start : start + size]}
        if start + size < len(ids):
            answer["NextToken"] = str(start + size)
        return answer

    def stop(self, call: Call) -> dict[str, Any]:
        """Cancel an execution."""
        self._workers.stop(self._find(call, str(call.params["QueryExecutionId"])))
        return {}

    def results(self, call: Call) -> dict[str, Any]:
        """Return a page of an execution's result."""
        execution = self._find(call, str(call.params["QueryExecutionId"]))
        if execution.state not in FINAL:
            raise ServiceError(
                _INVALID,
                f"Query has not yet finished. Current state: {execution.state}",
            )
        if execution.state != "SUCCEEDED" or execution.result is None:
            raise ServiceError(
                _INVALID,
                f"Query did not finish successfully. Final query state: {execution.state}",
            )
        start = _offset(call.params.get("NextToken"))
        answer, following = page(execution.result, start, call.params.get("MaxResults"))
        if following is not None:
            answer["NextToken"] = str(following)
        return answer

    def runtime_statistics(self, call: Call) -> dict[str, Any]:
        """Return what an execution took, as a timeline and as counts of rows."""
        execution = self._find(call, str(call.params["QueryExecutionId"]))
        told = execution.statistics()
        rows = execution.result.row_count if execution.result is not None else 0
        times = {
            "QueryQueueTimeInMillis": told["QueryQueueTimeInMillis"],
            "QueryPlanningTimeInMillis": told["QueryPlanningTimeInMillis"],
            "EngineExecutionTimeInMillis": told["EngineExecutionTimeInMillis"],
            "ServiceProcessingTimeInMillis": 0,
            "TotalExecutionTimeInMillis": told["TotalExecutionTimeInMillis"],
        }
        counts = {"InputBytes": told["DataScannedInBytes"], "OutputRows": rows}
        return {"QueryRuntimeStatistics": {"Timeline": times, "Rows": counts}}

    def _accepted(self, call: Call, request: dict[str, Any]) -> tuple[Execution, Statement]:
        """Check a request as Athena does before it accepts a query."""
        text = plain(str(request["QueryString"]))
        if len(str(request["QueryString"]).encode()) > _MAX_QUERY_BYTES:
            raise ServiceError(_INVALID, "Query string exceeds the maximum length of 262144 bytes")
        if not text:
            raise ServiceError(_INVALID, "line 1:1: mismatched input '<EOF>'")
        _refuse_several(text)
        group_name = str(request.get("WorkGroup") or "primary")
        group = self._workgroup(call, group_name)
        if group.get("State") == "DISABLED":
            raise ServiceError(_INVALID, f"WorkGroup {group_name} is disabled.")
        configuration = _configuration(request, group)
        output = self._output(call, configuration)
        context = dict(request.get("QueryExecutionContext") or {})
        parameters = [str(one) for one in request.get("ExecutionParameters") or []]
        try:
            if re.match(r"EXECUTE\b", text, re.IGNORECASE):
                text, parameters = prepared(
                    self._clients.get("athena", call.region), group_name, text, parameters
                )
            kinds = kind_of(text)
        except QueryFailure as failure:
            # What does not even parse is refused at once, as a malformed request.
            message = failure.message.removeprefix("SYNTAX_ERROR: ")
            raise ServiceError(_INVALID, message) from failure
        place = Context(
            call.region,
            str(context.get("Catalog") or GLUE_CATALOG).strip('`"').lower(),
            # Athena takes it in quotes, too, and awswrangler sends it so.
            str(context.get("Database") or "").strip('`"').lower() or None,
        )
        limit = (group.get("Configuration") or {}).get("BytesScannedCutoffPerQuery")
        execution_id = new_id()
        statement = Statement(
            id=execution_id,
            text=text,
            kind=kinds[1],
            parameters=parameters,
            context=place,
            output=output,
            max_scanned=int(limit) if limit else None,
            encryption=dict(configuration.get("EncryptionConfiguration") or {}),
        )
        shown = {**configuration, "OutputLocation": _result_address(output, execution_id, kinds)}
        execution = Execution(
            id=execution_id,
            region=call.region,
            query=str(request["QueryString"]),
            kinds=kinds,
            request=request,
            configuration=shown,
            context=context,
            workgroup=group_name,
            caller=call.access_key,
            output=output,
        )
        return execution, statement

    def _output(self, call: Call, configuration: dict[str, Any]) -> str:
        """Return the place for results, which must be in a bucket that exists."""
        location = str(configuration.get("OutputLocation") or "")
        if not location:
            raise ServiceError(
                _INVALID,
                "No output location provided. An output location is required either through the "
                "Workgroup result configuration setting or as an API input.",
            )
        try:
            bucket, _ = split_location(location)
            if not location.startswith("s3://"):
                raise ValueError(location)
        except ValueError:
            raise ServiceError(
                _INVALID, f"outputLocation is not a valid S3 path: {location}"
            ) from None
        try:
            self._clients.get("s3", call.region).head_bucket(Bucket=bucket)
        except ClientError as error:
            if error_code(error) in ("404", "NoSuchBucket", "InvalidBucketName", "400"):
                raise ServiceError(
                    _INVALID,
                    "Unable to verify/create output bucket " + bucket,
                ) from error
            raise
        return location if location.endswith("/") else location + "/"

    def _workgroup(self, call: Call, name: str) -> dict[str, Any]:
        group = (
            self._clients.get("athena", call.region).get_work_group(WorkGroup=name).get("WorkGroup")
        )
        if not group:
            raise ServiceError(_INVALID, f"WorkGroup {name} is not found.")
        return dict(group)

    def _find(self, call: Call, execution_id: str) -> Execution:
        with self._lock:
            execution = self._executions.get(execution_id)
        if execution is None or execution.region != call.region:
            raise ServiceError(_INVALID, f"QueryExecution {execution_id} was not found")
        return execution

    def _reusable(self, execution: Execution) -> Execution | None:
        """Return an earlier execution whose result the caller is content with."""
        asked = (execution.request.get("ResultReuseConfiguration") or {}).get(
            "ResultReuseByAgeConfiguration"
        ) or {}
        if not asked.get("Enabled") or execution.kinds[1] != "SELECT":
            return None
        youngest = execution.submitted - timedelta(minutes=int(asked.get("MaxAgeInMinutes") or 60))
        same = ("QueryString", "ExecutionParameters", "QueryExecutionContext")
        with self._lock:
            for one in reversed(self._executions.values()):
                fits = (
                    one is not execution
                    and one.state == "SUCCEEDED"
                    and one.reused_from is None
                    and one.region == execution.region
                    and one.workgroup == execution.workgroup
                    and one.caller == execution.caller
                    and (one.completed or one.submitted) >= youngest
                    and all(one.request.get(key) == execution.request.get(key) for key in same)
                )
                if fits:
                    return one
        return None

    def _for(self, access_key: str) -> Clients:
        return self._clients.acting_for(access_key, "athena") if access_key else self._clients


def _refuse_several(text: str) -> None:
    """Refuse a request with more than one statement."""
    try:
        tokens = sqlglot.tokenize(text, dialect="trino")
    except TokenError:
        return
    if any(token.token_type == TokenType.SEMICOLON for token in tokens):
        raise ServiceError(_INVALID, f"Only one sql statement is allowed. Got: {text}")


def _configuration(request: dict[str, Any], group: dict[str, Any]) -> dict[str, Any]:
    """Return the result configuration in force: the work group's when it enforces its own."""
    settings = group.get("Configuration") or {}
    of_group = dict(settings.get("ResultConfiguration") or {})
    of_request = dict(request.get("ResultConfiguration") or {})
    if settings.get("EnforceWorkGroupConfiguration") and of_group.get("OutputLocation"):
        return of_group
    return {**of_group, **of_request}


def _result_address(output: str, execution_id: str, kinds: tuple[str, str]) -> str:
    if kinds[1] == "SELECT":
        return f"{output}{execution_id}.csv"
    if kinds[1] in ("UNLOAD", "INSERT", "CREATE_TABLE_AS_SELECT"):
        return f"{output}{execution_id}"
    return f"{output}{execution_id}.txt"


def _offset(token: Any) -> int:
    if token is None:
        return 0
    if not str(token).isdigit():
        raise ServiceError(_INVALID, "Invalid NextToken")
    return int(token)
