"""Query executions: their states, their statistics, and the threads that run them."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .failures import Cancelled, QueryFailure, error_fields
from .results import Result
from .running import Run, Statement

log = logging.getLogger(__name__)

FINAL = ("SUCCEEDED", "FAILED", "CANCELLED")
ENGINE_VERSION = {
    "SelectedEngineVersion": "AUTO",
    "EffectiveEngineVersion": "Athena engine version 3",
}
_AT_ONCE = 4
_INTERRUPT_SECONDS = 0.1


@dataclass
class Execution:
    """One query execution.

    Attributes
    ----------
    query : str
        As it was sent.
    kinds : tuple of str
        StatementType and SubstatementType.
    request : dict
        What StartQueryExecution was asked.
    configuration : dict
        The ResultConfiguration in force.
    """

    id: str
    region: str
    query: str
    kinds: tuple[str, str]
    request: dict[str, Any]
    configuration: dict[str, Any]
    context: dict[str, Any]
    workgroup: str
    caller: str
    state: str = "QUEUED"
    reason: str | None = None
    submitted: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: datetime | None = None
    completed: datetime | None = None
    engine_seconds: float = 0.0
    failure: QueryFailure | None = None
    result: Result | None = None
    output: str = ""
    reused_from: Execution | None = None
    run: Run | None = None
    scanned: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    def description(self) -> dict[str, Any]:
        """Return the member `QueryExecution` that GetQueryExecution answers."""
        status: dict[str, Any] = {"State": self.state, "SubmissionDateTime": self.submitted}
        if self.completed is not None:
            status["CompletionDateTime"] = self.completed
        if self.reason:
            status["StateChangeReason"] = self.reason
        if self.failure is not None:
            status["AthenaError"] = error_fields(self.failure)
        found: dict[str, Any] = {
            "QueryExecutionId": self.id,
            "Query": self.query,
            "StatementType": self.kinds[0],
            "SubstatementType": self.kinds[1],
            "ResultConfiguration": self.configuration,
            "ResultReuseConfiguration": self.request.get("ResultReuseConfiguration")
            or {"ResultReuseByAgeConfiguration": {"Enabled": False}},
            "QueryExecutionContext": self.context,
            "Status": status,
            "Statistics": self.statistics(),
            "WorkGroup": self.workgroup,
            "EngineVersion": ENGINE_VERSION,
        }
        if self.request.get("ExecutionParameters"):
            found["ExecutionParameters"] = self.request["ExecutionParameters"]
        return found

    def statistics(self) -> dict[str, Any]:
        """Return how long it took and what it read."""
        end = self.completed or datetime.now(UTC)
        queued = _milliseconds((self.started or end), self.submitted)
        total = _milliseconds(end, self.submitted)
        engine = round(self.engine_seconds * 1000)
        found: dict[str, Any] = {
            "EngineExecutionTimeInMillis": engine,
            "DataScannedInBytes": 0 if self.reused_from else self.scanned,
            "TotalExecutionTimeInMillis": total,
            "QueryQueueTimeInMillis": queued,
            "QueryPlanningTimeInMillis": max(total - queued - engine, 0),
            "ServicePreProcessingTimeInMillis": 0,
            "ServiceProcessingTimeInMillis": 0,
            "ResultReuseInformation": {"ReusedPreviousResult": self.reused_from is not None},
        }
        if self.result is not None and self.state == "SUCCEEDED" and not self.result.suffix:
            found["DataManifestLocation"] = f"{self.output}{self.id}-manifest.csv"
        return found


class Workers:
    """Threads that run query executions, a few at a time.

    Parameters
    ----------
    clock : callable
        The time, as a float of seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._slots = threading.Semaphore(_AT_ONCE)
        self._lock = threading.Lock()
        self._active: dict[str, Execution] = {}
        self._closed = False

    def start(self, execution: Execution, run: Run, statement: Statement) -> None:
        """Run an execution in a thread of its own, when there is a free slot."""
        execution.run = run
        with self._lock:
            self._active[execution.id] = execution
        thread = threading.Thread(
            target=self._work, args=(execution, run, statement), daemon=True, name=execution.id
        )
        thread.start()

    def stop(self, execution: Execution) -> None:
        """Cancel an execution unless it has ended."""
        with self._lock:
            if execution.state in FINAL:
                return
            if execution.state == "QUEUED":
                self._end(execution, "CANCELLED", "Query cancelled by user")
            run = execution.run
        if run is not None:
            threading.Thread(target=self._interrupt, args=(execution, run), daemon=True).start()

    def _interrupt(self, execution: Execution, run: Run) -> None:
        # DuckDB interrupts what it executes at that moment; between two statements that is nothing.
        while True:
            run.cancel()
            if execution.done.wait(_INTERRUPT_SECONDS):
                return

    def shut_down(self, seconds: float) -> None:
        """Cancel what runs, and wait for it so long."""
        self._closed = True
        with self._lock:
            active = list(self._active.values())
        for execution in active:
            self.stop(execution)
        end = self._clock() + seconds
        for execution in active:
            execution.done.wait(max(end - self._clock(), 0))

    def _work(self, execution: Execution, run: Run, statement: Statement) -> None:
        with self._slots:
            with self._lock:
                if execution.state != "QUEUED" or self._closed:
                    self._active.pop(execution.id, None)
                    execution.done.set()
                    return
                execution.state, execution.started = "RUNNING", datetime.now(UTC)
            begin = self._clock()
            state, reason = "SUCCEEDED", None
            try:
                execution.result = run.perform(statement)
            except Cancelled:
                state, reason = "CANCELLED", "Query cancelled by user"
            except QueryFailure as failure:
                limit = "Bytes scanned limit" in failure.message
                state, reason = "CANCELLED" if limit else "FAILED", failure.message
                execution.failure = None if limit else failure
            except Exception as crash:
                log.exception("query %s failed", execution.id)
                reason = f"GENERIC_INTERNAL_ERROR: The embedded AWS failed: {crash!r}"
                state, execution.failure = "FAILED", QueryFailure(reason, category=1, type=200)
            execution.engine_seconds = self._clock() - begin
            execution.scanned = run.scanned
            with self._lock:
                self._end(execution, state, reason)
                self._active.pop(execution.id, None)
            execution.done.set()

    def _end(self, execution: Execution, state: str, reason: str | None) -> None:
        execution.state, execution.reason = state, reason
        execution.completed = datetime.now(UTC)
        execution.run = None


def new_id() -> str:
    """Return an id for a query execution."""
    return str(uuid.uuid4())


def _milliseconds(end: datetime, start: datetime) -> int:
    return max(round((end - start).total_seconds() * 1000), 0)
