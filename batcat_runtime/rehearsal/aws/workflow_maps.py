"""Distributed Maps: every item is a child execution of its own, as on AWS.

moto runs the items as threads of the parent's interpreter: its children cannot be listed, described
or stopped, the first item that fails outside of a state is forgotten, what is tolerated is not
looked at, and a parent that is stopped waits for whatever its items do. Here a child is an
execution like any other, of a state machine that is the ItemProcessor. The one loop of a Map Run
starts children up to its concurrency, counts those that ended, and stops all when the parent stops
or more has failed than is tolerated.
"""

from __future__ import annotations

import copy
import json
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from botocore.exceptions import ClientError
from moto.stepfunctions.parser.asl.utils.json_path import NoSuchJsonPathError

from ..operations import Operation, without_nones
from ..wire import Call, ServiceError
from .iam.evaluation import Need
from .iam.gate import Access
from .moto.interpreter import failure
from .moto.patching import wraps

_POLL_SECONDS: Final = 0.05
_STOP_SECONDS: Final = 10.0
_MOST_CHILDREN: Final = 10_000
_COUNTS = {"SUCCEEDED": "succeeded", "FAILED": "failed", "TIMED_OUT": "timed_out"}


@dataclass
class MapRun:
    """One run of a Distributed Map.

    Attributes
    ----------
    record : moto's MapRunRecord
        Its ARN, its limits and its counters.
    children : dict of str to Execution
        moto's executions by ARN, in the order in which they started.
    """

    record: Any
    children: dict[str, Any] = field(default_factory=dict)


class MapRuns:
    """The Map Runs of one embedded AWS.

    Parameters
    ----------
    backend : callable
        From a region to moto's Step Functions backend.
    access : Access
        To see whether a state machine's role may start its own children.
    """

    def __init__(self, backend: Callable[[str], Any], access: Access) -> None:
        self._backend = backend
        self._access = access
        self._runs: dict[str, MapRun] = {}
        self._lock = threading.Lock()

    def install(self) -> None:
        """Let moto's interpreter run its Distributed Maps here."""
        from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration import (
            distributed_iteration_component as module,
        )

        @wraps(module.DistributedIterationComponent, "_eval_body")
        def _eval_body(_: Any, __: Any, env: Any) -> None:
            self.perform(env, env.stack.pop())

    def operations(self) -> dict[tuple[str, str], Operation]:
        """Return the operations that this room performs."""
        mine: dict[str, Operation] = {
            "DescribeMapRun": self.describe,
            "ListMapRuns": self.list_of_execution,
        }
        return {("stepfunctions", name): operation for name, operation in mine.items()}

    def describe(self, call: Call) -> dict[str, Any]:
        """Describe a Map Run with its counts, while it runs too."""
        record = self._run(call).record
        return without_nones(
            {
                "mapRunArn": record.map_run_arn,
                "executionArn": record.execution_arn,
                "status": record.status.value,
                "startDate": record.start_date,
                "stopDate": record.stop_date,
                "maxConcurrency": record.max_concurrency,
                "toleratedFailurePercentage": float(record.tolerated_failure_percentage),
                "toleratedFailureCount": record.tolerated_failure_count,
                "itemCounts": record.item_counter.describe(),
                "executionCounts": record.execution_counter.describe(),
                "redriveCount": 0,
            }
        )

    def list_of_execution(self, call: Call) -> dict[str, Any]:
        """List the Map Runs of an execution."""
        arn = call.params["executionArn"]
        found = [one.record for one in self._all() if one.record.execution_arn == arn]
        return {
            "mapRuns": [
                without_nones(
                    {
                        "executionArn": one.execution_arn,
                        "mapRunArn": one.map_run_arn,
                        "stateMachineArn": one.map_state_machine_arn,
                        "startDate": one.start_date,
                        "stopDate": one.stop_date,
                    }
                )
                for one in found
            ]
        }

    def child(self, arn: str) -> Any | None:
        """Return the child execution of an ARN, or None."""
        return next((run.children[arn] for run in self._all() if arn in run.children), None)

    def children(self, call: Call) -> list[Any]:
        """Return the child executions of the Map Run that a call names."""
        return list(self._run(call).children.values())

    def perform(self, env: Any, given: Any) -> None:
        """Run a child for each item, and put their outputs on the interpreter's stack.

        As in moto's own, the history tells that the Map Run started and how it ended.

        Parameters
        ----------
        env : moto's Environment
            The parent's.
        given : moto's DistributedIterationComponentEvalInput
            The items or where they are read, their selector, the limits and the counters.
        """
        from moto.stepfunctions.parser.api import MapRunStatus
        from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
            FailureEventException,
        )

        record = given.map_run_record
        started = {"mapRunStartedEventDetails": {"mapRunArn": record.map_run_arn}}
        _note(env, "MapRunStarted", started)
        try:
            outputs = self._outputs(env, given, record)
        except FailureEventException as error:
            name, cause = error.extract_error_cause_pair() or ("", "")
            failed = {"mapRunFailedEventDetails": {"error": name, "cause": cause}}
            _note(env, "MapRunFailed", failed)
            record.set_stop(status=MapRunStatus.FAILED)
            raise
        ended = MapRunStatus.ABORTED if outputs is None else MapRunStatus.SUCCEEDED
        _note(env, "MapRunAborted" if outputs is None else "MapRunSucceeded")
        record.set_stop(status=ended)
        env.stack.append(outputs or [])

    def _outputs(self, env: Any, given: Any, record: Any) -> list[Any] | None:
        """Return what the children gave; None when the parent was stopped."""
        region, parent = record.execution_arn.split(":")[3], self._execution(record.execution_arn)
        definition = json.loads(parent.state_machine.definition)
        described = _state_of(definition, given.state_name) or {}
        machine = copy.copy(parent.state_machine)
        machine.arn, machine.executions = record.map_state_machine_arn, []
        machine.name = machine.arn.rpartition(":")[2]
        machine.definition = _program(described, definition)
        run = MapRun(record)
        with self._lock:
            self._runs[record.map_run_arn] = run
        self._require(env, parent, region)
        loop = _Loop(self._backend(region), env, run, machine, described, given)
        return loop.go(_items(env, given))

    def _require(self, env: Any, parent: Any, region: str) -> None:
        need = Need("states:StartExecution", parent.state_machine.arn.partition("/")[0])
        what = "start a child of the Distributed Map"
        if self._access.require(parent.role_arn, region, "states", [need], what=what):
            raise failure(
                env,
                "States.Permissions",
                f"The role {parent.role_arn} is not authorized to perform: {need.action} on "
                f"resource: {need.resource}",
                "MapRunFailed",
            )

    def _execution(self, arn: str) -> Any:
        return self.child(arn) or self._backend(arn.split(":")[3]).describe_execution(arn)

    def _all(self) -> list[MapRun]:
        with self._lock:
            return list(self._runs.values())

    def _run(self, call: Call) -> MapRun:
        arn = call.params["mapRunArn"]
        with self._lock:
            found = self._runs.get(arn)
        if found is None:
            raise ServiceError("ResourceNotFound", f"Resource not found: '{arn}'")
        return found


class _Loop:
    """What one Map Run does from its first child to its last."""

    def __init__(
        self,
        backend: Any,
        env: Any,
        run: MapRun,
        machine: Any,
        state: dict[str, Any],
        given: Any,
    ) -> None:
        self._backend = backend
        self._env = env
        self._run = run
        self._machine = machine
        self._state = state
        self._given = given
        self._outputs: dict[int, Any] = {}
        self._running: dict[int, Any] = {}
        self._failed = 0

    def go(self, items: list[Any]) -> list[Any] | None:
        """Start, count and stop children until nothing is left to do; None: the parent stopped."""
        waiting = deque(enumerate(items))
        self._count("total", len(items))
        self._count("pending", len(items))
        try:
            while waiting or self._running:
                if not self._env.is_running():
                    self._stop()
                    return None
                limit = self._run.record.max_concurrency or _MOST_CHILDREN
                while waiting and len(self._running) < limit:
                    self._start(*waiting.popleft())
                self._look()
                if self._too_many(len(items)):
                    text = "The specified tolerated failure threshold was exceeded"
                    error = "States.ExceedToleratedFailureThreshold"
                    raise failure(self._env, error, text, "MapRunFailed")
                time.sleep(_POLL_SECONDS)
        except Exception:
            self._stop()  # whatever it was, no child outlives its Map Run
            raise
        return [self._outputs[index] for index in sorted(self._outputs)]

    def _start(self, index: int, item: Any) -> None:
        from moto.stepfunctions.parser.backend.execution import Execution

        selected = _selected(self._env, self._given, index, item)
        name, machine = str(uuid.uuid4()), self._machine
        child = Execution(
            name=name,
            sm_type=machine.sm_type,
            role_arn=machine.roleArn,
            exec_arn=f"{machine.arn.replace(':stateMachine:', ':execution:')}:{name}",
            account_id=self._backend.account_id,
            region_name=self._backend.region_name,
            state_machine=machine,
            start_date=datetime.now(UTC),
            cloud_watch_logging_session=None,
            activity_store={},
            input_data=json.dumps(selected, separators=(",", ":"), ensure_ascii=False),
        )
        child.start()
        self._run.children[child.execution_arn] = child
        self._running[index] = child
        self._count("pending", -1)
        self._count("running", 1)

    def _look(self) -> None:
        for index, child in list(self._running.items()):
            status = child.status
            if status == "RUNNING":
                continue
            del self._running[index]
            self._count("running", -1)
            self._count(_COUNTS.get(status, "aborted"), 1)
            if status == "SUCCEEDED":
                self._outputs[index] = child.output
            else:
                self._failed += 1

    def _too_many(self, total: int) -> bool:
        record = self._run.record
        by_count = any(name in self._state for name in _either("ToleratedFailureCount"))
        by_share = any(name in self._state for name in _either("ToleratedFailurePercentage"))
        if by_count and self._failed > record.tolerated_failure_count:
            return True
        if by_share:
            return bool(self._failed * 100 > record.tolerated_failure_percentage * total)
        return self._failed > 0 and not by_count

    def _stop(self) -> None:
        """Stop what runs, and wait until it has noticed; what has not begun never will."""
        for child in self._running.values():
            stop_execution(child)
        deadline = time.monotonic() + _STOP_SECONDS
        while self._running and time.monotonic() < deadline:
            self._look()
            time.sleep(_POLL_SECONDS)

    def _count(self, what: str, number: int) -> None:
        for counter in (self._run.record.item_counter, self._run.record.execution_counter):
            getattr(counter, what).offset(number)


def stop_execution(
    execution: Any, error: str | None = None, cause: str | None = None, seconds: float = 5.0
) -> None:
    """Stop an execution; its tasks notice a little later."""
    deadline = time.monotonic() + seconds
    # The interpreter makes its environment in a thread of its own; it may not be there yet, or may
    # not have begun.
    while time.monotonic() < deadline and execution.status == "RUNNING":
        env = execution.exec_worker.env
        if env is not None and env.is_running():
            break
        time.sleep(0.02)
    execution.stop(stop_date=datetime.now(UTC), error=error, cause=cause)


def _note(env: Any, event: str, details: Any = None) -> None:
    from moto.stepfunctions.parser.api import HistoryEventType

    env.event_manager.add_event(
        context=env.event_history_context,
        event_type=HistoryEventType(event),
        event_details=details,
    )


def _items(env: Any, given: Any) -> list[Any]:
    if not given.item_reader:
        return list(given.input_items)
    try:
        given.item_reader.eval(env=env)
    except ClientError as error:
        raise failure(env, "States.ItemReaderFailed", str(error), "MapRunFailed") from error
    return list(env.stack.pop())


def _selected(env: Any, given: Any, index: int, item: Any) -> Any:
    """Return the input of the child for an item."""
    chosen = given.item_selector or given.parameters
    if not chosen:
        return item
    frame = env.open_inner_frame()
    try:
        context = frame.states.context_object.context_object_data
        context["Map"] = {"Item": {"Index": index, "Value": item}}
        frame.states.reset(input_value=env.states.get_input())
        frame.stack.append(frame.states.get_input())
        chosen.eval(frame)
        return frame.stack[-1]
    except NoSuchJsonPathError as error:
        raise failure(env, "States.Runtime", str(error), "MapRunFailed") from error
    finally:
        env.delete_frame(frame)


def _either(name: str) -> tuple[str, str]:
    return name, f"{name}Path"


def _state_of(machine: dict[str, Any], name: str) -> dict[str, Any] | None:
    """Return the state of a name, at any depth."""
    for key, state in machine["States"].items():
        if key == name:
            return dict(state)
        inner = [*state.get("Branches", []), state.get("ItemProcessor"), state.get("Iterator")]
        for one in filter(None, inner):
            found = _state_of(one, name)
            if found is not None:
                return found
    return None


def _program(state: dict[str, Any], definition: dict[str, Any]) -> str:
    """Return the ItemProcessor of a Map state as a definition of its own."""
    inner = dict(state.get("ItemProcessor") or state["Iterator"])
    inner.pop("ProcessorConfig", None)
    language = definition.get("QueryLanguage")
    return json.dumps(({"QueryLanguage": language} if language else {}) | inner)
