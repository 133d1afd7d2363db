"""`batcat logs`: what an execution did and what its containers wrote, as one tail.

Each look takes the new events of the history and the new lines of every job's log, and gives them
in order of time. Logs are read by the page, so memory goes with what is written side by side.
CloudWatch Logs shows lines late and out of order: whoever follows reads the last minute of a log
again, and a line that was given is known by its event id.
"""

from __future__ import annotations

import heapq
import re
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from batcat_runtime.errors import UserError
from batcat_runtime.log import report
from batcat_runtime.operate.connection import Project, open_project
from batcat_runtime.operate.executions import (
    Execution,
    asked_again,
    awaited,
    describe,
    find_execution,
    object_of,
)
from batcat_runtime.operate.failures import own_words, reason_in
from batcat_runtime.operate.history import JOB_LOG_GROUP, SILENT, History, StateRun, details_of
from batcat_runtime.operate.loglines import LogLine, instance_of, job_source, time_of
from batcat_runtime.text import clean, format_seconds, one_line

_AGO = re.compile(r"(\d+)\s*([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_WORKFLOW = "workflow"
# Of what has the same millisecond, what opens comes before what was written, and that before ends.
_OPENS, _WRITTEN, _ENDS = range(3)
# In milliseconds: what is read again; how long a log is looked at after its last line should have
# been written; and how much later, by clocks that differ, that line may be.
_OVERLAP, _LINGER, _LATEST = 60_000, 30_000, 300_000
_QUIET_SECONDS = 10
_LOOKS_AFTER_THE_END = 3

Entry = tuple[int, int, LogLine]


def logs(
    execution: str | None = None,
    *,
    follow: bool = False,
    since: str | datetime | timedelta | None = None,
    lines: int | None = None,
    every: float = 2.0,
    folder: str | Path | None = None,
    purpose: str | None = None,
) -> Generator[LogLine, None, Execution]:
    """Yield what an execution did and what its containers wrote, in order of time.

    Parameters
    ----------
    execution : str, optional
        Its name, the start of it, or its ARN; by default the newest of the project.
    follow : bool
        Whether to go on until the execution ends, and its last lines have arrived.
    since : str, datetime or timedelta, optional
        Nothing older: a time (``2022-01-08T05:00``, of this machine's zone if it names none) or how
        long ago (``10m``, ``2h``, ``1d``).
    lines : int, optional
        Of what is there already only the last lines.
    every : float
        Seconds between two looks while following.
    folder : str or Path, optional
        The project's folder; by default the working directory.
    purpose : str, optional
        One pipeline of several.

    Returns
    -------
    generator of LogLine
        Lines with `time`, `source` and `text`: one line each, without escape sequences. The last
        one of an execution that has ended says how. The generator returns the `Execution`.

    Raises
    ------
    NoSuchExecutionError
        There is none.
    UserError
        `since` is no time; nothing was asked.
    WaitInterruptedError
        While following: Ctrl-C, or credentials or a network that are lost. The execution goes on.

    Examples
    --------
    >>> for line in bc.logs(follow=True):  # doctest: +SKIP
    ...     print(line.source, line.text)
    """
    start = _since(since)
    if lines is not None and lines < 0:
        raise UserError(f"lines={lines} is no number of lines.", fix="Give 0 or more.")
    if every <= 0:
        raise UserError(f"every={every:g} is no number of seconds.", fix="Give 2, or less.")
    project = open_project(folder)
    tail = _Tail(project, find_execution(project, execution, purpose), start)
    return tail.follow(lines, every) if follow else tail.read(lines)


@dataclass
class _JobLog:
    """The log of a processing job that an execution started; times in milliseconds."""

    name: str
    run: StateRun
    step: str
    attempt: int
    instances: int
    started: int
    wanted: int  # nothing older is
    ended: int | None = None
    lines: int = 0
    known: dict[str, int] = field(default_factory=dict)
    newest: int = 0

    @property
    def last(self) -> int | None:
        """When the job was over at the latest; another's failure may have ended it."""
        left = self.run.left
        return self.ended if self.ended is not None else _millis(left) if left else None

    def open(self, now: int) -> bool:
        """Tell whether there may be something new; the first look is always worth it."""
        return not self.known or self.last is None or now < self.last + _LINGER

    def read(self, project: Project, ask: Callable[[Callable[[], Any]], Any]) -> Iterator[Entry]:
        """Yield its lines that were not given yet."""
        floor = max(0, max(self.started, self.wanted, self.newest) - _OVERLAP)
        asked: dict[str, Any] = {"logGroupName": JOB_LOG_GROUP, "startTime": floor}
        asked["logStreamNamePrefix"] = f"{self.name}/"
        if self.last is not None:
            # Without an end CloudWatch would search the group up to today, page by empty page.
            asked["endTime"] = max(self.last + _LATEST, floor)
        nothing_yet = {"ResourceNotFoundException"}
        place = f"the log group {JOB_LOG_GROUP}"
        while True:
            page = ask(
                lambda: project.call("logs:FilterLogEvents", place, absent=nothing_yet, **asked)
            )
            for event in page.get("events", []):
                when = event["timestamp"]
                if event["eventId"] not in self.known and when >= self.wanted:
                    self.lines += 1
                    for text in clean(event["message"]).rstrip("\n").split("\n"):
                        line = LogLine(time_of(event), self._source(event["logStreamName"]), text)
                        yield when, _WRITTEN, line
                self.known[event["eventId"]] = when
                self.newest = max(self.newest, when)
            oldest = self.newest - _OVERLAP
            self.known = {one: when for one, when in self.known.items() if when >= oldest}
            if not page.get("nextToken"):
                return
            asked["nextToken"] = page["nextToken"]

    def _source(self, stream: str) -> str:
        return job_source(
            self.step,
            item=self.run.item,
            attempt=self.attempt if self.attempt > 1 else 0,
            instance=instance_of(stream),
            count=self.instances,
        )


class _Tail:
    """One reading of an execution's history and logs, from a time in milliseconds on."""

    def __init__(self, project: Project, execution: Execution, start: int) -> None:
        self._project = project
        self._execution = execution
        self._start = start
        self._history = History()
        self._tries: dict[int, int] = {}
        self._last_event = 0
        self._jobs: dict[str, _JobLog] = {}

    def read(self, lines: int | None) -> Generator[LogLine, None, Execution]:
        """Yield what there is."""
        yield from _last(self._look(lambda call: call()), lines)
        self._report_silence()
        if self._execution.running:
            report(
                f"The execution {self._execution.name} still runs: follow it with "
                f"`batcat logs {self._execution.name} -f`."
            )
        elif lines != 0:
            yield _outcome_of(self._execution)
        return self._execution

    def follow(self, lines: int | None, every: float) -> Generator[LogLine, None, Execution]:
        """Yield what there is, and what comes, until the execution has ended."""
        begun, looks, said = time.monotonic(), 0, False
        with awaited(self._execution.name):
            while True:
                written = self._written
                yield from _last(self._look(asked_again), lines)
                lines = None
                looks += not self._execution.running
                # The last lines of a container may come after the end.
                if looks > _LOOKS_AFTER_THE_END and written == self._written:
                    break
                if not (said or self._written or time.monotonic() < begun + _QUIET_SECONDS):
                    said = True
                    report("No line yet: it takes AWS some minutes to start an instance.")
                time.sleep(every)
        self._report_silence()
        yield _outcome_of(self._execution)
        return self._execution

    @property
    def _written(self) -> int:
        """How many lines the jobs have written."""
        return sum(job.lines for job in self._jobs.values())

    def _look(self, ask: Callable[[Callable[[], Any]], Any]) -> Iterator[LogLine]:
        """Yield what is new, in order of time."""
        execution = self._execution
        if execution.running:
            # The state before the events: all that led to it is among them then.
            self._execution = ask(lambda: describe(self._project, execution.purpose, execution.arn))
        did = [entry for event in ask(self._new_events) for entry in self._entries(event)]
        did = sorted((e for e in did if e[0] >= self._start), key=lambda entry: entry[:2])
        now = int(time.time() * 1000)
        logs = [job.read(self._project, ask) for job in self._jobs.values() if job.open(now)]
        for *_, line in heapq.merge(did, *logs, key=lambda entry: entry[:2]):
            yield line

    def _new_events(self) -> list[dict[str, Any]]:
        """Return the events since the last look, oldest first; the newest pages suffice for it."""
        asked: dict[str, Any] = {"executionArn": self._execution.arn, "reverseOrder": True}
        asked["PaginationConfig"] = {"PageSize": 1000}
        place, found = f"the history of {self._execution.name}", []
        for event in self._project.pages("states:GetExecutionHistory", place, **asked):
            if event["id"] <= self._last_event:
                break
            found.append(event)
        self._last_event = found[0]["id"] if found else self._last_event
        return found[::-1]

    def _entries(self, event: dict[str, Any]) -> Iterator[Entry]:
        """Take in an event of the history; yield what is shown of it."""
        run = self._history.note(event)
        kind, when = str(event["type"]), event["timestamp"]
        if kind == "ExecutionStarted":
            window = f" for {self._execution.window}" if self._execution.window else ""
            yield _entry(when, _OPENS, f"execution {self._execution.name} started{window}")
        elif run is None or run.kind in SILENT or kind.startswith(("Execution", "MapIteration")):
            return
        elif kind.endswith("StateEntered"):
            yield _entry(when, _OPENS, f"{_name(run)} entered")
        elif kind.endswith("StateExited") and run.status != "failed":
            took = format_seconds((when - run.entered).total_seconds())
            yield _entry(when, _ENDS, f"{_name(run)} left after {took}")
        elif kind.endswith("Scheduled"):
            yield from self._scheduled(run, event)
        elif kind.endswith(("Failed", "TimedOut", "Succeeded", "Aborted")):
            yield from self._done(run, event)

    def _scheduled(self, run: StateRun, event: dict[str, Any]) -> Iterator[Entry]:
        tries = self._tries[id(run)] = self._tries.get(id(run), 0) + 1
        asked = object_of(details_of(event).get("parameters"))
        name = str(asked.get("ProcessingJobName") or "")
        words = [f"{_name(run)} retried, attempt {tries}"] if tries > 1 else []
        if name:
            cluster = (asked.get("ProcessingResources") or {}).get("ClusterConfig") or {}
            step = str((asked.get("Environment") or {}).get("BATCAT_STEP") or run.name)
            count, started = int(cluster.get("InstanceCount") or 1), _millis(event["timestamp"])
            attempt = len(run.jobs)
            self._jobs[name] = _JobLog(name, run, step, attempt, count, started, self._start)
            words = [*(words or [_name(run).rstrip(",")]), f"job {name} created"]
        if words:
            yield _entry(event["timestamp"], _OPENS, ": ".join(words))

    def _done(self, run: StateRun, event: dict[str, Any]) -> Iterator[Entry]:
        kind, when = str(event["type"]), event["timestamp"]
        of_state = kind.startswith(("ParallelState", "MapState"))
        if run.jobs and run.jobs[-1] in self._jobs and not of_state:
            self._jobs[run.jobs[-1]].ended = _millis(when)
        if kind.endswith(("Failed", "TimedOut")):
            whole = run
            while of_state and whole.inside and not kind.startswith(whole.kind):
                whole = whole.inside
            said = details_of(event)
            reason = _reason(str(said.get("error") or ""), str(said.get("cause") or ""))
            how = "failed" if kind.endswith("Failed") else "timed out"
            yield _entry(when, _ENDS, f"{_name(whole)} {how}" + (f": {reason}" if reason else ""))

    def _report_silence(self) -> None:
        """Name the jobs that wrote nothing."""
        silent = [job for job in self._jobs.values() if not job.lines and not self._start]
        if silent:
            more = f" and {len(silent) - 1} more jobs" if silent[1:] else ""
            yet = "" if silent[0].last else " yet: it takes AWS some minutes to start an instance"
            report(f"The job {silent[0].name}{more} wrote no line{yet}.")


def _outcome_of(execution: Execution) -> LogLine:
    """Return the line that says how an execution ended."""
    reason = _reason(execution.error, execution.cause)
    took = format_seconds(execution.seconds)
    text = f"execution {execution.name} {execution.status} after {took}"
    moment = execution.stopped or execution.started
    return LogLine(moment, _WORKFLOW, text + (f": {reason}" if reason else ""))


def _reason(error: str, cause: str) -> str:
    """Return error and cause on one line.

    A job's cause is its description, whose exit message holds the script's last lines; they are in
    the log already, so the one that names the exception is enough.
    """
    described = object_of(cause)
    if described.get("FailureReason"):
        message = own_words(str(described.get("ExitMessage") or ""))
        # Every job that fails has this error.
        parts = [error] if error not in ("", "States.TaskFailed") else []
        parts += [str(described["FailureReason"]), *([message] if message else [])]
        return one_line("; ".join(parts))
    return ": ".join(one_line(text) for text in (error, reason_in(cause)) if text.strip())


def _last(found: Iterable[LogLine], lines: int | None) -> Iterable[LogLine]:
    return found if lines is None else deque(found, maxlen=lines)


def _millis(moment: datetime) -> int:
    """Return a time as CloudWatch has it: milliseconds since 1970."""
    return int(moment.timestamp() * 1000)


def _entry(when: datetime, rank: int, text: str) -> Entry:
    return _millis(when), rank, LogLine(when, _WORKFLOW, text)


def _name(run: StateRun) -> str:
    return run.name if run.item is None else f"{run.name}, item {run.item},"


def _since(since: str | datetime | timedelta | None) -> int:
    """Return the time before which nothing is wanted, in milliseconds; 0 for none."""
    if since is None:
        return 0
    if isinstance(since, str):
        ago = _AGO.fullmatch(since.strip().lower())
        try:
            since = (
                timedelta(**{_UNITS[ago[2]]: int(ago[1])})
                if ago
                else datetime.fromisoformat(since.strip())
            )
        except (ValueError, OverflowError) as error:
            raise UserError(
                f"since={since!r} is no time.",
                fix="Write how long ago (10m, 2h, 1d) or a time (2022-01-31T05:00).",
            ) from error
    try:
        return max(0, _millis(datetime.now(UTC) - since if isinstance(since, timedelta) else since))
    except (OverflowError, ValueError, OSError):
        return 0
