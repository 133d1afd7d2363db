"""Athena's API for queries, in front of moto: work groups, named and prepared queries stay moto's.

StartQueryExecution checks what Athena checks before it accepts a query, and answers at once; the
query runs in a thread (`athena_executions.py`, `athena_statements.py`).
"""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from ...clients import Clients
from ...operations import Operation
from ...wire import Call, ServiceError
from .athena_executions import FINAL, Execution, Workers
from .athena_query import Context, trino_functions
from .athena_results import page
from .athena_statements import Run, Statement
from .athena_text import kind_of, plain, refuse_several
from .catalogue import GLUE_CATALOG, Catalogue
from .engine import connect
from .failures import QueryFailure
from .objects import error_code, split_location

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
        self._folder.mkdir(parents=True, exist_ok=True)
        self._engine = connect(self._folder, settings=trino_functions())
        self._executions: dict[str, Execution] = {}
        self._catalogues: dict[str, Catalogue] = {}
        self._workers = Workers()
        self._lock = threading.Lock()

    def operations(self) -> dict[tuple[str, str], Operation]:
        """Return the operations that this room performs."""
        own: dict[str, Operation] = {
            "StartQueryExecution": self.start,
            "GetQueryExecution": self.get,
            "BatchGetQueryExecution": self.batch_get,
            "ListQueryExecutions": self.list,
            "StopQueryExecution": self.stop,
            "GetQueryResults": self.results,
        }
        return {("athena", name): operation for name, operation in own.items()}

    def shut_down(self, seconds: float) -> None:
        """Cancel what runs."""
        self._workers.shut_down(seconds)

    def start(self, call: Call) -> dict[str, Any]:
        """Accept a query and start it."""
        token = call.params.get("ClientRequestToken")
        with self._lock:
            known = list(self._executions.values()) if token else []
        for one in known:
            if one.request.get("ClientRequestToken") == token:
                if one.request["QueryString"] != call.params["QueryString"]:
                    raise _invalid(
                        "Idempotent parameters do not match: the same ClientRequestToken was used "
                        "with another query"
                    )
                return {"QueryExecutionId": one.statement.id}
        execution = self._accepted(call)
        reused = self._reusable(execution)
        with self._lock:
            self._executions[execution.statement.id] = execution
        if reused is not None:
            execution.result, execution.configuration = reused.result, reused.configuration
            execution.reused = True
            execution.end("SUCCEEDED")
        else:
            self._workers.start(execution)
        return {"QueryExecutionId": execution.statement.id}

    def get(self, call: Call) -> dict[str, Any]:
        """Describe one execution."""
        return {"QueryExecution": self._find(call, call.params["QueryExecutionId"]).description()}

    def batch_get(self, call: Call) -> dict[str, Any]:
        """Describe up to 50 executions."""
        found, missing = [], []
        for one in call.params["QueryExecutionIds"]:
            try:
                found.append(self._find(call, one).description())
            except ServiceError as error:
                told = {"ErrorCode": "INVALID_QUERY_EXECUTION_ID", "ErrorMessage": error.message}
                missing.append({"QueryExecutionId": one, **told})
        return {"QueryExecutions": found, "UnprocessedQueryExecutionIds": missing}

    def list(self, call: Call) -> dict[str, Any]:
        """List the ids of a work group's executions, newest first."""
        group = str(call.params.get("WorkGroup") or "primary")
        self._workgroup(call, group)
        with self._lock:
            ids = [
                one.statement.id
                for one in reversed(self._executions.values())
                if one.statement.context.region == call.region and one.workgroup == group
            ]
        start = _offset(call.params.get("NextToken"))
        end = start + int(call.params.get("MaxResults") or 50)
        following = {"NextToken": str(end)} if end < len(ids) else {}
        return {"QueryExecutionIds": ids[start:end], **following}

    def stop(self, call: Call) -> dict[str, Any]:
        """Cancel an execution."""
        self._workers.stop(self._find(call, call.params["QueryExecutionId"]))
        return {}

    def results(self, call: Call) -> dict[str, Any]:
        """Return a page of an execution's result."""
        execution = self._find(call, call.params["QueryExecutionId"])
        if execution.state not in FINAL:
            raise _invalid(f"Query has not yet finished. Current state: {execution.state}")
        if execution.result is None:
            raise _invalid(
                f"Query did not finish successfully. Final query state: {execution.state}"
            )
        start = _offset(call.params.get("NextToken"))
        with self._engine.cursor() as connection:
            size = call.params.get("MaxResults")
            answer, following = page(connection, execution.result, start, size)
        return {**answer, **({"NextToken": str(following)} if following else {})}

    def _accepted(self, call: Call) -> Execution:
        """Check a request as Athena does before it accepts a query."""
        request = dict(call.params)
        text = plain(str(request["QueryString"]))
        if len(str(request["QueryString"]).encode()) > _MAX_QUERY_BYTES:
            raise _invalid("Query string exceeds the maximum length of 262144 bytes")
        group_name = str(request.get("WorkGroup") or "primary")
        group = self._workgroup(call, group_name)
        if group.get("State") == "DISABLED":
            raise _invalid(f"WorkGroup {group_name} is disabled.")
        configuration = _configuration(request, group)
        output = self._output(call, configuration)
        parameters = [str(one) for one in request.get("ExecutionParameters") or []]
        try:
            if not text:
                raise QueryFailure("line 1:1: mismatched input '<EOF>'")
            refuse_several(text)
            kinds = kind_of(text)
        except QueryFailure as failure:
            # What does not even parse is refused at once, as a malformed request.
            raise _invalid(failure.reason.removeprefix("SYNTAX_ERROR: ")) from failure
        given = request.get("QueryExecutionContext") or {}
        context = Context(
            call.region,
            str(given.get("Catalog") or GLUE_CATALOG).strip('`"').lower(),
            # Athena takes it in quotes, too, and awswrangler sends it so.
            str(given.get("Database") or "").strip('`"').lower() or None,
        )
        encryption = dict(configuration.get("EncryptionConfiguration") or {})
        identity = str(uuid.uuid4())
        folder = self._folder / identity
        return Execution(
            Statement(identity, text, kinds[1], context, output, parameters, encryption),
            request,
            kinds,
            {**configuration, "OutputLocation": f"{output}{identity}{_suffix(kinds[1])}"},
            group_name,
            call.access_key,
            Run(
                self._catalogue_for(call.access_key),
                self._for(call.access_key).get("s3", call.region),
                self._engine,
                folder / "work",
                folder / "result",
            ),
        )

    def _output(self, call: Call, configuration: dict[str, Any]) -> str:
        """Return the place for results, which must be in a bucket that exists."""
        location = str(configuration.get("OutputLocation") or "")
        if not location:
            raise _invalid(
                "No output location provided. An output location is required either through the "
                "Workgroup result configuration setting or as an API input."
            )
        try:
            bucket, _ = split_location(location)
            self._clients.get("s3", call.region).head_bucket(Bucket=bucket)
        except ValueError:
            raise _invalid(f"outputLocation is not a valid S3 path: {location}") from None
        except ClientError as error:
            if error_code(error) in ("404", "NoSuchBucket", "InvalidBucketName", "400"):
                raise _invalid(f"Unable to verify/create output bucket {bucket}") from error
            raise
        return location if location.endswith("/") else location + "/"

    def _workgroup(self, call: Call, name: str) -> dict[str, Any]:
        found = self._clients.get("athena", call.region).get_work_group(WorkGroup=name)
        if not found.get("WorkGroup"):
            raise _invalid(f"WorkGroup {name} is not found.")
        return dict(found["WorkGroup"])

    def _find(self, call: Call, identity: str) -> Execution:
        with self._lock:
            execution = self._executions.get(identity)
        if execution is None or execution.statement.context.region != call.region:
            raise _invalid(f"QueryExecution {identity} was not found")
        return execution

    def _reusable(self, execution: Execution) -> Execution | None:
        """Return an earlier execution whose result the caller is content with."""
        asked = execution.request.get("ResultReuseConfiguration") or {}
        asked = asked.get("ResultReuseByAgeConfiguration") or {}
        if not asked.get("Enabled") or execution.kinds[1] != "SELECT":
            return None
        youngest = execution.submitted - timedelta(minutes=int(asked.get("MaxAgeInMinutes") or 60))
        same = ("QueryString", "ExecutionParameters", "QueryExecutionContext")
        with self._lock:
            for one in reversed(self._executions.values()):
                if (
                    one.state == "SUCCEEDED"
                    and not one.reused
                    and one.statement.context == execution.statement.context
                    and (one.workgroup, one.caller) == (execution.workgroup, execution.caller)
                    and (one.completed or one.submitted) >= youngest
                    and all(one.request.get(key) == execution.request.get(key) for key in same)
                ):
                    return one
        return None

    def _for(self, access_key: str) -> Clients:
        return self._clients.acting_for(access_key, "athena") if access_key else self._clients

    def _catalogue_for(self, access_key: str) -> Catalogue:
        with self._lock:
            if access_key not in self._catalogues:
                self._catalogues[access_key] = Catalogue(self._for(access_key), self._home)
            return self._catalogues[access_key]


def _invalid(message: str) -> ServiceError:
    return ServiceError("InvalidRequestException", message)


def _configuration(request: dict[str, Any], group: dict[str, Any]) -> dict[str, Any]:
    """Return the result configuration in force: the work group's when it enforces its own."""
    settings = group.get("Configuration") or {}
    of_group = dict(settings.get("ResultConfiguration") or {})
    if settings.get("EnforceWorkGroupConfiguration") and of_group.get("OutputLocation"):
        return of_group
    return {**of_group, **(request.get("ResultConfiguration") or {})}


def _suffix(kind: str) -> str:
    if kind == "SELECT":
        return ".csv"
    return "" if kind in ("UNLOAD", "INSERT", "CREATE_TABLE_AS_SELECT") else ".txt"


def _offset(token: Any) -> int:
    if token is not None and not str(token).isdigit():
        raise _invalid("Invalid NextToken")
    return int(token or 0)
