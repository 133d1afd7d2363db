"""The parts of Step Functions around moto's interpreter.

moto interprets a state machine well, and keeps its books loosely: unnamed executions are all called
None, a second state machine of the same name silently is the first, a stopped execution has neither
error nor cause, and a timed-out one no end. These operations keep the books as AWS does.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from moto.core.exceptions import ServiceException
from moto.utilities.utils import get_partition
from werkzeug.exceptions import HTTPException

from ..operations import PASS, Operation
from ..wire import Call, ServiceError
from .iam import services
from .iam.gate import Access
from .workflow_definition import definition_errors
from .workflow_maps import MapRuns, stop_execution

_RUNNING = "RUNNING"
_STOP_WAIT_SECONDS = 5.0


class Executions:
    """State machines and executions of one embedded AWS.

    Parameters
    ----------
    backend : callable
        From a region to moto's Step Functions backend.
    access : Access
        To see whether a state machine's role allows what Step Functions does with it.
    map_runs : MapRuns
        Knows the child executions of Distributed Maps.
    """

    def __init__(
        self,
        backend: Callable[[str], Any],
        access: Access,
        map_runs: MapRuns,
    ) -> None:
        self._backend = backend
        self._map_runs = map_runs
        self._access = access
        self._stopped: dict[str, tuple[str | None, str | None]] = {}
        self._starting = threading.Lock()

    def operations(self) -> dict[tuple[str, str], Operation]:
        """Return the operations that this room performs."""
        mine: dict[str, Operation] = {
            "CreateStateMachine": self.create,
            "UpdateStateMachine": self.update,
            "ValidateStateMachineDefinition": self.validate,
            "StartExecution": self.start,
            "StopExecution": self.stop,
            "DescribeExecution": self.describe,
            "ListExecutions": self.list,
            "GetExecutionHistory": self.history,
        }
        return self._map_runs.operations() | {
            ("stepfunctions", name): operation for name, operation in mine.items()
        }

    def create(self, call: Call) -> Any:
        """Create a state machine; the same again is fine, another of that name is not."""
        backend = self._backend(call.region)
        name = call.params["name"]
        for machine in backend.state_machines:
            if machine.name == name:
                same = (
                    json.loads(machine.definition) == json.loads(call.params["definition"])
                    and machine.roleArn == call.params["roleArn"]
                    and machine.type == call.params.get("type", "STANDARD")
                )
                if not same:
                    raise ServiceError(
                        "StateMachineAlreadyExists",
                        f"State Machine Already Exists: '{machine.arn}'",
                    )
        self._check_role(call, str(call.params["roleArn"]))
        return PASS

    def update(self, call: Call) -> Any:
        """Change a state machine, if its role is sufficient for what it is to do."""
        arn = str(call.params["stateMachineArn"])
        machines = self._backend(call.region).state_machines
        role = next((one.roleArn for one in machines if one.arn == arn), "")
        role = call.params.get("roleArn") or role
        if role:
            self._check_role(call, str(role))
        return PASS

    def _check_role(self, call: Call, role: str) -> None:
        """Refuse a role with which Step Functions cannot wait for jobs, or write its log."""
        for what, wanted, refusal in (
            (
                "create a managed rule",
                services.managed_rules(str(call.params.get("definition") or ""), call.region),
                f"'{role}' is not authorized to create managed-rule.",
            ),
            (
                "deliver its log",
                services.log_delivery(call.params.get("loggingConfiguration") or {}),
                "The state machine IAM Role is not authorized to access the Log Destination",
            ),
        ):
            if self._access.require(role, call.region, "states", wanted, what=what):
                raise ServiceError("AccessDeniedException", refusal)

    def validate(self, call: Call) -> dict[str, Any]:
        """Report what is wrong with a definition."""
        definition = call.params["definition"]
        problems = definition_errors(definition, get_partition(call.region))
        found = [(one.code, one.message, one.location or "/") for one in problems]
        if not found:
            try:
                self._backend(call.region)._validate_definition(definition)
            except (ServiceException, HTTPException) as error:
                found = [("SCHEMA_VALIDATION_FAILED", _message(error), "/")]
        return {
            "result": "FAIL" if found else "OK",
            "diagnostics": [
                {"severity": "ERROR", "code": code, "message": message, "location": location}
                for code, message, location in found
            ],
            "truncated": False,
        }

    def start(self, call: Call) -> dict[str, Any]:
        """Start an execution, under the name given or a new one."""
        name = call.params.get("name") or str(uuid.uuid4())
        text = call.params.get("input") or "{}"
        try:
            json.loads(text)
        except ValueError as error:
            raise ServiceError(
                "InvalidExecutionInput", f"Invalid State Machine Execution Input: '{error}'"
            ) from None
        # One at a time: moto looks for the name first, and adds the execution afterwards.
        with self._starting, _moto_errors():
            execution = self._backend(call.region).start_execution(
                call.params["stateMachineArn"],
                name=name,
                execution_input=text,
                trace_header=call.params.get("traceHeader"),
            )
        return {"executionArn": execution.execution_arn, "startDate": execution.start_date}

    def stop(self, call: Call) -> dict[str, Any]:
        """Stop an execution and wait until its tasks have noticed."""
        execution = self._find(call)
        if execution.status == _RUNNING:
            error, cause = call.params.get("error"), call.params.get("cause")
            self._stopped[execution.execution_arn] = (error, cause)
            deadline = time.monotonic() + _STOP_WAIT_SECONDS
            stop_execution(execution, error, cause, _STOP_WAIT_SECONDS)
            while execution.status == _RUNNING and time.monotonic() < deadline:
                time.sleep(0.02)
        return {"stopDate": execution.stop_date or datetime.now(UTC)}

    def describe(self, call: Call) -> dict[str, Any]:
        """Describe an execution, whatever became of it."""
        execution = self._find(call)
        status = execution.status
        result = _summary(execution) | {
            "input": execution.execution_input,
            "inputDetails": {"included": True},
            "redriveCount": 0,
            "redriveStatus": "NOT_REDRIVABLE"
            if status in (_RUNNING, "SUCCEEDED")
            else "REDRIVABLE",
        }
        if status == "SUCCEEDED":
            result["output"] = _json(execution.output)
            result["outputDetails"] = {"included": True}
        error, cause = self._stopped.get(execution.execution_arn, (None, None))
        for name, value in (
            ("error", execution.error or error),
            ("cause", execution.cause or cause),
        ):
            if value is not None and status not in (_RUNNING, "SUCCEEDED"):
                result[name] = value
        return result

    def list(self, call: Call) -> dict[str, Any]:
        """List the executions of a state machine or the children of a Map Run, newest first."""
        if call.params.get("mapRunArn"):
            found = self._map_runs.children(call)
        else:
            with _moto_errors():
                found = (
                    self._backend(call.region)
                    .describe_state_machine(call.params["stateMachineArn"])
                    .executions
                )
        wanted = call.params.get("statusFilter")
        found = [one for one in [*found] if wanted in (None, one.status)]
        found.sort(key=lambda one: one.start_date, reverse=True)
        told = {name: call.params[name] for name in ("mapRunArn",) if name in call.params}
        rows, more = _page(call, found)
        return {"executions": [_summary(one) | told for one in rows], **more}

    def history(self, call: Call) -> dict[str, Any]:
        """Give a page of an execution's events, from either end."""
        found = self._find(call).to_history_output()
        events = sorted(found["events"], key=lambda event: int(event["id"]))
        if call.params.get("reverseOrder"):
            events.reverse()
        rows, more = _page(call, events)
        return {"events": rows, **more}

    def _find(self, call: Call) -> Any:
        arn = str(call.params["executionArn"])
        child = self._map_runs.child(arn)
        if child is not None:
            return child
        with _moto_errors():
            return self._backend(call.region).describe_execution(arn)


def _page(call: Call, rows: list[Any]) -> tuple[list[Any], dict[str, str]]:
    """Return the page that a call asks for, and the token of the next one if there is one."""
    start = int(call.params.get("nextToken") or 0)
    end = start + int(call.params.get("maxResults") or 100)
    return rows[start:end], {"nextToken": str(end)} if end < len(rows) else {}


def _summary(execution: Any) -> dict[str, Any]:
    ended = {} if execution.status == _RUNNING else {"stopDate": execution.stop_date}
    return {
        "executionArn": execution.execution_arn,
        "stateMachineArn": execution.state_machine_arn,
        "name": execution.name,
        "status": execution.status,
        "startDate": execution.start_date,
        **ended,
    }


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str)


@contextmanager
def _moto_errors() -> Iterator[None]:
    """Turn moto's errors, of both its generations, into ours."""
    try:
        yield
    except (ServiceException, HTTPException) as error:
        code = getattr(error, "error_type", None) or getattr(error, "code", None)
        name = str(code) if isinstance(code, str) else type(error).__name__
        raise ServiceError(name.split("#")[-1], _message(error)) from error


def _message(error: Exception) -> str:
    return str(getattr(error, "message", None) or error)
