"""An execution's events as lines of a log, and the processing jobs that they tell of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batcat_runtime.operate.executions import Execution
from batcat_runtime.operate.failures import reason_in
from batcat_runtime.operate.history import StateRun, Visits
from batcat_runtime.operate.loglines import LogLine, instance_of, job_source
from batcat_runtime.text import format_seconds, one_line

SOURCE = "workflow"
# Between lines of one millisecond: what opens comes before what was written, and that before ends.
OPENS, WRITTEN, ENDS = range(3)
_SILENT = frozenset({"Pass", "Choice", "Succeed", "Fail"})
_FAILED = ("Failed", "TimedOut")
_DONE = (*_FAILED, "Succeeded", "Aborted")

Happening = tuple[int, int, LogLine]


@dataclass
class Job:
    """A processing job that an execution started.

    Attributes
    ----------
    name : str
        SageMaker's name of it.
    run : StateRun
        The visit to the state that started it.
    step : str
        The step that it runs.
    attempt : int
        Which attempt of that visit it is, from 1.
    count : int
        How many instances it has.
    started, ended : int
        When, in milliseconds; `ended` is None while it runs.
    """

    name: str
    run: StateRun
    step: str
    attempt: int
    count: int
    started: int
    ended: int | None = None

    def source(self, stream: str) -> str:
        """Return what to call a stream of its log."""
        return job_source(
            self.step,
            item=self.run.item,
            attempt=self.attempt if self.attempt > 1 else 0,
            instance=instance_of(stream),
            count=self.count,
        )

    @property
    def last(self) -> int | None:
        """When it was over at the latest, as far as is known; another's failure may have ended it.

        None while it runs.
        """
        left = self.run.left
        return self.ended if self.ended is not None else millis(left) if left else None


class Story:
    """What happened in an execution so far.

    Parameters
    ----------
    execution : Execution
        Whose events `read` is given, each once and in order.
    """

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._visits = Visits()
        self._tries: dict[int, int] = {}
        self.jobs: dict[str, Job] = {}

    def read(self, event: dict[str, Any]) -> Iterator[Happening]:
        """Take in an event; yield what it is worth saying, with its time and rank."""
        run = self._visits.note(event)
        kind, when = str(event["type"]), event["timestamp"]
        if kind == "ExecutionStarted":
            window = self._execution.window
            yield _line(when, OPENS, f"execution {self._execution.name} started{_for(window)}")
        elif run is None or run.kind in _SILENT or kind.startswith(("Execution", "MapIteration")):
            return
        elif kind.endswith("StateEntered"):
            yield _line(when, OPENS, f"{_name(run)} entered")
        elif kind.endswith("StateExited"):
            if run.status != "failed":
                took = (when - run.entered).total_seconds()
                yield _line(when, ENDS, f"{_name(run)} left after {format_seconds(took)}")
        elif kind.endswith("Scheduled"):
            yield from self._scheduled(run, event)
        elif kind.endswith(_DONE):
            yield from self._done(run, event)

    def _scheduled(self, run: StateRun, event: dict[str, Any]) -> Iterator[Happening]:
        tries = self._tries[id(run)] = self._tries.get(id(run), 0) + 1
        asked = _object(_details(event).get("parameters"))
        name = str(asked.get("ProcessingJobName") or "")
        words = [f"{_name(run)} retried, attempt {tries}"] if tries > 1 else []
        if name:
            cluster = (asked.get("ProcessingResources") or {}).get("ClusterConfig") or {}
            self.jobs[name] = Job(
                name=name,
                run=run,
                step=str((asked.get("Environment") or {}).get("BATCAT_STEP") or run.name),
                attempt=len(run.jobs),
                count=int(cluster.get("InstanceCount") or 1),
                started=millis(event["timestamp"]),
            )
            words = words or [_name(run).rstrip(",")]
            words.append(f"job {name} created")
        if words:
            yield _line(event["timestamp"], OPENS, ": ".join(words))

    def _done(self, run: StateRun, event: dict[str, Any]) -> Iterator[Happening]:
        kind, when = str(event["type"]), event["timestamp"]
        of_state = kind.startswith(("ParallelState", "MapState"))
        if run.jobs and run.jobs[-1] in self.jobs and not of_state:
            self.jobs[run.jobs[-1]].ended = millis(when)
        if kind.endswith(_FAILED):
            whole = run
            while of_state and whole.inside and not kind.startswith(whole.kind):
                whole = whole.inside
            told = _details(event)
            reason = reason_of_failure(str(told.get("error") or ""), str(told.get("cause") or ""))
            how = "failed" if kind.endswith("Failed") else "timed out"
            yield _line(when, ENDS, f"{_name(whole)} {how}" + (f": {reason}" if reason else ""))


def outcome_of(execution: Execution) -> LogLine:
    """Return the line that says how an execution ended."""
    reason = reason_of_failure(execution.error, execution.cause)
    text = (
        f"execution {execution.name} {execution.status} after {format_seconds(execution.seconds)}"
    )
    moment = execution.stopped or execution.started
    return LogLine(moment, SOURCE, text + (f": {reason}" if reason else ""))


def reason_of_failure(error: str, cause: str) -> str:
    """Return error and cause on one line.

    A job's cause is its description, whose exit message holds the script's last lines; they are in
    the log already, so the very last is enough.
    """
    described = _object(cause)
    if described.get("FailureReason"):
        message = str(described.get("ExitMessage") or "").strip().splitlines()
        told = [str(described["FailureReason"]), *message[-1:]]
        # Every job that fails has this one.
        return one_line("; ".join(told if error in ("", "States.TaskFailed") else [error, *told]))
    return ": ".join(one_line(text) for text in (error, reason_in(cause)) if text.strip())


def millis(moment: datetime) -> int:
    """Return a time as CloudWatch has it: milliseconds since 1970."""
    return int(moment.timestamp() * 1000)


def _line(when: datetime, rank: int, text: str) -> Happening:
    return millis(when), rank, LogLine(when, SOURCE, text)


def _name(run: StateRun) -> str:
    return run.name if run.item is None else f"{run.name}, item {run.item},"


def _for(window: Any) -> str:
    return f" for {window}" if window else ""


def _details(event: dict[str, Any]) -> dict[str, Any]:
    return next((value for key, value in event.items() if key.endswith("EventDetails")), {})


def _object(text: Any) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except (ValueError, TypeError):
        return {}
    return value if isinstance(value, dict) else {}
