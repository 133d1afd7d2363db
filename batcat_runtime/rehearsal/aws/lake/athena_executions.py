"""Query executions of Athena's: their states, and the threads that run them."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .athena_results import Result
from .athena_statements import Run, Statement
from .failures import Cancelled, QueryFailure

log = logging.getLogger(__name__)

FINAL = ("SUCCEEDED", "FAILED", "CANCELLED")
_AT_ONCE = 4
_INTERRUPT_SECONDS = 0.1
_ENGINE = {
    "SelectedEngineVersion": "AUTO",
    "EffectiveEngineVersion": "Athena engine version 3",
}


@dataclass
class Execution:
    """One query execution.

    Attributes
    ----------
    request : dict
        What StartQueryExecution was asked.
    kinds : tuple of str
        StatementType and SubstatementType.
    configuration : dict
        The ResultConfiguration in force, with the address of the result file.
    reused : bool
        Whether its result is that of an earlier execution.
    """

    statement: Statement
    request: dict[str, Any]
    kinds: tuple[str, str]
    configuration: dict[str, Any]
    workgroup: str
    caller: str
    run: Run
    state: str = "QUEUED"
    reason: str = ""
    failure: QueryFailure | None = None
    result: Result | None = None
    reused: bool = False
    submitted: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: datetime | None = None
    completed: datetime | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def end(self, state: str, reason: str = "") -> None:
        """Note how it ended."""
        self.state, self.reason, self.completed = state, reason, datetime.now(UTC)
        self.started = self.started or self.completed
        self.done.set()

    def description(self) -> dict[str, Any]:
        """Return the member `QueryExecution` that GetQueryExecution answers."""
        status: dict[str, Any] = {"State": self.state, "SubmissionDateTime": self.submitted}
        if self.completed is not None:
            status["CompletionDateTime"] = self.completed
        if self.reason:
            status["StateChangeReason"] = self.reason
        if self.failure is not None:
            status["AthenaError"] = self.failure.fields()
        reuse = {"ResultReuseByAgeConfiguration": {"Enabled": False}}
        found: dict[str, Any] = {
            "QueryExecutionId": self.statement.id,
            "Query": self.request["QueryString"],
            "StatementType": self.kinds[0],
            "SubstatementType": self.kinds[1],
            "ResultConfiguration": self.configuration,
            "ResultReuseConfiguration": self.request.get("ResultReuseConfiguration") or reuse,
            "QueryExecutionContext": self.request.get("QueryExecutionContext") or {},
            "Status": status,
            "Statistics": self._statistics(),
            "WorkGroup": self.workgroup,
            "EngineVersion": _ENGINE,
        }
        if self.request.get("ExecutionParameters"):
            found["ExecutionParameters"] = self.request["ExecutionParameters"]
        return found

    def _statistics(self) -> dict[str, Any]:
        end = self.completed or datetime.now(UTC)
        engine = _milliseconds(end, self.started or end)
        total = _milliseconds(end, self.submitted)
        scanned = self.result.scanned if self.result and not self.reused else 0
        found: dict[str, Any] = {
            "EngineExecutionTimeInMillis": engine,
            "DataScannedInBytes": scanned,
            "TotalExecutionTimeInMillis": total,
            "QueryQueueTimeInMillis": max(total - engine, 0),
            "ResultReuseInformation": {"ReusedPreviousResult": self.reused},
        }
        if self.kinds[1] in ("UNLOAD", "INSERT", "CREATE_TABLE_AS_SELECT") and self.result:
            manifest = f"{self.statement.output}{self.statement.id}-manifest.csv"
            found["DataManifestLocation"] = manifest
        return found


class Workers:
    """Threads that run query executions, a few at a time."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="athena")
        self._lock = threading.Lock()
        self._active: list[Execution] = []

    def start(self, execution: Execution) -> None:
        """Run an execution when there is a free thread."""
        self._active.append(execution)
        self._pool.submit(self._work, execution)

    def stop(self, execution: Execution) -> None:
        """Cancel an execution unless it has ended."""
        with self._lock:
            if execution.state == "QUEUED":
                execution.end("CANCELLED", "Query cancelled by user")
        threading.Thread(target=_interrupt, args=(execution,), daemon=True).start()

    def shut_down(self, seconds: float) -> None:
        """Cancel what runs, and wait for it so long."""
        end, active = time.monotonic() + seconds, list(self._active)
        for execution in active:
            self.stop(execution)
        for execution in active:
            execution.done.wait(max(end - time.monotonic(), 0))
        self._pool.shutdown(wait=False)

    def _work(self, execution: Execution) -> None:
        with self._lock:
            if execution.state == "QUEUED":
                execution.state, execution.started = "RUNNING", datetime.now(UTC)
        if execution.state == "RUNNING":
            execution.end(*_performed(execution))
        self._active.remove(execution)


def _interrupt(execution: Execution) -> None:
    # DuckDB interrupts what it executes at that moment; between two statements that is nothing.
    while not execution.done.is_set():
        execution.run.cancel()
        execution.done.wait(_INTERRUPT_SECONDS)


def _performed(execution: Execution) -> tuple[str, str]:
    try:
        execution.result = execution.run.perform(execution.statement)
    except Cancelled:
        return "CANCELLED", "Query cancelled by user"
    except QueryFailure as failure:
        execution.failure = failure
        return "FAILED", failure.reason
    except Exception as crash:
        log.exception("query %s failed", execution.statement.id)
        reason = f"GENERIC_INTERNAL_ERROR: The embedded AWS failed: {crash!r}"
        execution.failure = QueryFailure(reason, category=1)
        return "FAILED", reason
    return "SUCCEEDED", ""


def _milliseconds(end: datetime, start: datetime) -> int:
    return max(round((end - start).total_seconds() * 1000), 0)
