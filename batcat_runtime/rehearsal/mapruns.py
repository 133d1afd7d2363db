"""Distributed Maps: every item is a child execution of its own, as on AWS.

moto runs the items as threads of the parent's interpreter: its children cannot be listed, described
or stopped, the first item that fails outside of a state is forgotten, what is tolerated is not
looked at, and a parent that is stopped waits for whatever its items do. Here a child is an
execution like any other, of a state machine that is the ItemProcessor. The one loop of a Map Run
starts children up to its concurrency, counts those that ended, and stops all when the parent stops
or more has failed than is tolerated.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from . import hooks
from .access.evaluation import Need
from .access.gate import Access
from .operations import Operation, without_nones
from .wire import Call, ServiceError

_POLL_SECONDS: Final = 0.05
_STOP_SECONDS: Final = 10.0
_MOST_CHILDREN: Final = 10_000
_COUNTS = {"SUCCEEDED": "succeeded", "FAILED": "failed", "TIMED_OUT": "timed_out"}


class MapRunFailedError(Exception):
    """A Map Run failed: the error's name in the Amazon States Language, and its cause."""

    def __init__(self, error: str, cause: str) -> None:
        super().__init__(cause)
        self.error = error
        self.cause = cause


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

    def operations(self) -> dict[tuple[str, str], Operation]:
        """Return the operations that this room performs."""
        mine: dict[str, Operation] = {
            "DescribeMapRun": self.describe,
            "ListMapRuns": self.list_of_execution,
            "UpdateMapRun": self.update,
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

    def update(self, call: Call) -> dict[str, Any]:
        """Change the limits of a Map Run while it runs."""
        given = call.params
        self._run(call).record.update(
            given.get("maxConcurrency"),
            given.get("toleratedFailureCount"),
            given.get("toleratedFailurePercentage"),
        )
        return {}

    def child(self, arn: str) -> Any | None:
        """Return the child execution of an ARN, or None."""
        return next((run.children[arn] for run in self._all() if arn in run.children), None)

    def children(self, call: Call) -> list[Any]:
        """Return the child executions of the Map Run that a call names."""
        return list(self._run(call).children.values())

    def perform(
        self,
        env: Any,
        record: Any,
        state: str,
        read: Callable[[], list[Any]],
        select: Callable[..., Any],
    ) -> list[Any] | None:
        """Run a child for each item; return their outputs, or None when the parent was stopped.

        Parameters
        ----------
        env : moto's Environment
            The parent's.
        record : moto's MapRunRecord
            What is counted in.
        state : str
            The name of the Map state.
        read : callable
            Reads the items.
        select : callable
            From an item's index and the item to the input of its child.

        Raises
        ------
        MapRunFailedError
            More failed than is tolerated, or the role may not start the children.
        """
        region, parent = record.execution_arn.split(":")[3], self._execution(record.execution_arn)
        definition = json.loads(parent.state_machine.definition)
        described = _state_of(definition, state)
        if described is None:  # cannot be: it is being executed
            raise MapRunFailedError("States.Runtime", f"There is no state {state}.")
        machine = hooks.child_machine(
            parent.state_machine, record.map_state_machine_arn, _program(described, definition)
        )
        run = MapRun(record)
        with self._lock:
            self._runs[record.map_run_arn] = run
        self._require(parent, region)
        return _Loop(self._backend(region), env, run, machine, described, select).go(read())

    def _require(self, parent: Any, region: str) -> None:
        need = Need("states:StartExecution", parent.state_machine.arn.partition("/")[0])
        what = "start a child of the Distributed Map"
        if self._access.require(parent.role_arn, region, "states", [need], what=what):
            raise MapRunFailedError(
                "States.Permissions",
                f"The role {parent.role_arn} is not authorized to perform: {need.action} on "
                f"resource: {need.resource}",
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
        select: Callable[..., Any],
    ) -> None:
        self._backend = backend
        self._env = env
        self._run = run
        self._machine = machine
        self._state = state
        self._select = select
        self._outputs: dict[int, Any] = {}
        self._running: dict[int, Any] = {}
        self._failed = 0

    def go(self, items: list[Any]) -> list[Any] | None:
        """Start, count and stop children until nothing is left to do."""
        waiting = deque(enumerate(items))
        self._count("total", len(items))
        self._count("pending", len(items))
        while waiting or self._running:
            if not self._env.is_running():
                self._stop()
                return None
            limit = self._run.record.max_concurrency or _MOST_CHILDREN
            while waiting and len(self._running) < limit:
                self._start(*waiting.popleft())
            self._look()
            if self._too_many(len(items)):
                self._stop()
                raise MapRunFailedError(
                    "States.ExceedToleratedFailureThreshold",
                    "The specified tolerated failure threshold was exceeded",
                )
            time.sleep(_POLL_SECONDS)
        return [self._outputs[index] for index in sorted(self._outputs)]

    def _start(self, index: int, item: Any) -> None:
        given = json.dumps(self._select(index, item), separators=(",", ":"), ensure_ascii=False)
        child = hooks.start_child(self._backend, self._machine, str(uuid.uuid4()), given)
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
            hooks.stop_execution(child)
        deadline = time.monotonic() + _STOP_SECONDS
        while self._running and time.monotonic() < deadline:
            self._look()
            time.sleep(_POLL_SECONDS)

    def _count(self, what: str, number: int) -> None:
        for counter in (self._run.record.item_counter, self._run.record.execution_counter):
            getattr(counter, what).offset(number)


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
