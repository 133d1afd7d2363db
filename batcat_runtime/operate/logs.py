"""`batcat logs`: what an execution did and what its containers wrote, as one tail.

Each look takes the new events of the history and the new lines of every log, and gives them in
order of time. Logs are read by the page, so memory goes with what is written side by side.
CloudWatch Logs shows lines late and out of order: whoever follows reads the last minute of a log
again, and a line that was given is known by its event id.
"""

from __future__ import annotations

import heapq
import re
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from batcat_runtime.errors import AccessDeniedError, NoSuchExecutionError, UserError
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
from batcat_runtime.operate.loglines import (
    LogLine,
    instance_of,
    job_source,
    time_of,
)
from batcat_runtime.text import clean, format_seconds, one_line

_AGO = re.compile(r"(\d+)\s*([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_WORKFLOW = "workflow"
# Of what has the same millisecond, what opens comes before what was written, and that before ends.
_OPENS, _WRITTEN, _ENDS = range(3)
_OVERLAP = 60_000
# For this long a log is looked at after its last line should have been written.
_LINGER = 30_000
# Clocks differ a little, and lines arrive late.
_LATEST = 300_000
# The function that started an execution says so at once; an event may come again for a while.
_TRIGGER = 120_000
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
    try:
        found = find_execution(project, execution, purpose)
    except NoSuchExecutionError as error:
        if execution:
            raise _still_in_cloudwatch(project, purpose, error) from error
        raise
    tail = _Tail(project, found, start)
    return tail.follow(lines, every) if follow else tail.read(lines)


@dataclass
class _Job:
    """A processing job that an execution started; times in milliseconds, None while it runs."""

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
        """When it was over at the latest; another's failure may have ended it."""
        left = self.run.left
        return self.ended if self.ended is not None else _millis(left) if left else None


class _Tail:
    """One reading of an execution's history and logs, from a time in milliseconds on."""

    def __init__(self, project: Project, execution: Execution, start: int) -> None:
        self._project = project
        self._execution = execution
        self._start = start
        self._history = History()
        self._tries: dict[int, int] = {}
        self._last_event = 0
        self._jobs: dict[str, _Job] = {}
        self._logs = self._around()

    def read(self, lines: int | None) -> Generator[LogLine, None, Execution]:
        """Yield what there is."""
        yield from _last(self._look(lambda call: call()), lines)
        self._say_who_wrote_nothing()
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
                before = sum(log.lines for log in self._logs.values())
                yield from _last(self._look(asked_again), lines)
                lines, written = None, sum(log.lines for log in self._logs.values())
                looks += not self._execution.running
                if looks > _LOOKS_AFTER_THE_END and written == before:
                    break
                if not (said or written or time.monotonic() < begun + _QUIET_SECONDS):
                    said = True
                    report("No line yet: it takes AWS some minutes to start an instance.")
                time.sleep(every)
        self._say_who_wrote_nothing()
        yield _outcome_of(self._execution)
        return self._execution

    def _look(self, ask: Callable[[Callable[[], Any]], Any]) -> Iterator[LogLine]:
        """Yield what is new, in order of time."""
        execution = self._execution
        if execution.running:
            # The state before the events: all that led to it is among them then.
            self._execution = ask(lambda: describe(self._project, execution.purpose, execution.arn))
        told = [entry for event in ask(self._new_events) for entry in self._told(event)]
        for name, job in self._jobs.items():
            if name not in self._logs:
                self._logs[name] = _job_log(name, job, self._start)
        now = int(time.time() * 1000)
        read = [log.read(self._project, ask) for log in self._logs.values() if log.open(now)]
        story = sorted((e for e in told if e[0] >= self._start), key=lambda entry: entry[:2])
        for *_, line in heapq.merge(story, *read, key=lambda entry: entry[:2]):
            yield line

    def _new_events(self) -> list[dict[str, Any]]:
        """Return the events since the last look, oldest first; the newest pages suffice for it."""
        client, name = self._project.client("stepfunctions"), self._execution.name
        asked: dict[str, Any] = {"executionArn": self._execution.arn, "reverseOrder": True}
        found: list[dict[str, Any]] = []
        with self._project.asked(f"the history of {name}", "states:GetExecutionHistory"):
            while True:
                page = client.get_execution_history(**asked, maxResults=1000)
                fresh = [event for event in page["events"] if event["id"] > self._last_event]
                found += fresh
                if len(fresh) < len(page["events"]) or not page.get("nextToken"):
                    break
                asked["nextToken"] = page["nextToken"]
        self._last_event = max([self._last_event, *(event["id"] for event in found)])
        return found[::-1]

    def _told(self, event: dict[str, Any]) -> Iterator[Entry]:
        """Take in an event of the history; yield what it is worth saying."""
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
            self._jobs[name] = _Job(run, step, len(run.jobs), count, started)
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

    def _around(self) -> dict[str, _Log]:
        """Return the logs of what is around the jobs: the trigger's function and the workflow."""
        execution, names = self._execution, self._project.names(self._execution.purpose)
        started = _millis(execution.started)

        def trigger(event: dict[str, Any]) -> str:
            mine = object_of(event["message"]).get("execution") == execution.name
            return "trigger" if mine else ""

        def workflow(event: dict[str, Any]) -> str:
            # What Step Functions itself writes there is in the history.
            echo = {"execution_arn", "type"} <= object_of(event["message"]).keys()
            return "" if echo or execution.arn not in event["message"] else _WORKFLOW

        def ended() -> int | None:
            stopped = self._execution.stopped
            return _millis(stopped) if stopped else None

        since = max(self._start, started)
        function, machine = names.function_log_group, names.workflow_log_group
        asked = {"logGroupName": function, "filterPattern": f'"{execution.name}"'}
        also = {"logGroupName": machine, "filterPattern": f'"{execution.arn}"'}
        return {
            "trigger": _Log(asked, trigger, since, lambda: started + _TRIGGER, optional=True),
            _WORKFLOW: _Log(also, workflow, since, ended, optional=True),
        }

    def _say_who_wrote_nothing(self) -> None:
        silent = [name for name in self._jobs if not self._logs[name].lines and not self._start]
        if silent:
            more = f" and {len(silent) - 1} more jobs" if silent[1:] else ""
            yet = " yet: it takes AWS some minutes to start an instance"
            running = self._jobs[silent[0]].last is None
            report(f"The job {silent[0]}{more} wrote no line{yet if running else ''}.")


class _Log:
    """One log, or the part of it that belongs to an execution.

    Parameters
    ----------
    asked : dict
        What FilterLogEvents is asked: the group, and which streams or lines of it.
    source : callable
        From an event to what to call its source, or "" to leave it out.
    since : int
        Where to begin, in milliseconds.
    until : callable
        Returns the time after which nothing is written to it any more; None while that is open.
    optional : bool
        Whether to do without it when it may not be read.
    """

    def __init__(
        self,
        asked: dict[str, Any],
        source: Callable[[dict[str, Any]], str],
        since: int,
        until: Callable[[], int | None],
        *,
        optional: bool = False,
    ) -> None:
        self.lines = 0
        self._asked = asked
        self._source = source
        self._floor = max(0, since - _OVERLAP)
        self._until = until
        self._optional = optional
        self._refused = False
        self._known: dict[str, int] = {}

    def open(self, now: int) -> bool:
        """Tell whether there may be something new; the first look is always worth it."""
        until = self._until()
        read_once = bool(self._known) or self._refused
        return not self._refused and (not read_once or until is None or now < until + _LINGER)

    def read(self, project: Project, ask: Callable[[Callable[[], Any]], Any]) -> Iterator[Entry]:
        """Yield its lines that were not given yet."""
        asked = {**self._asked, "startTime": self._floor}
        until = self._until()
        if until is not None:
            # Without an end CloudWatch would search the group up to today, page by empty page.
            asked["endTime"] = max(until + _LATEST, self._floor)
        while True:
            page = ask(lambda: self._page(project, asked))
            newest = self._floor + _OVERLAP
            for event in page.get("events", []):
                if event["eventId"] in self._known:
                    continue
                self._known[event["eventId"]] = event["timestamp"]
                newest = max(newest, event["timestamp"])
                source = self._source(event)
                if source:
                    self.lines += 1
                    for text in clean(event["message"]).rstrip("\n").split("\n"):
                        yield event["timestamp"], _WRITTEN, LogLine(time_of(event), source, text)
            self._floor = newest - _OVERLAP
            self._known = {one: when for one, when in self._known.items() if when >= self._floor}
            if not page.get("nextToken"):
                return
            asked["nextToken"] = page["nextToken"]

    def _page(self, project: Project, asked: dict[str, Any]) -> dict[str, Any]:
        client, group = project.client("logs"), self._asked["logGroupName"]
        try:
            with project.asked(f"the log group {group}", "logs:FilterLogEvents"):
                try:
                    return dict(client.filter_log_events(**asked))
                except client.exceptions.ResourceNotFoundException:
                    return {}  # nobody has written there yet
        except AccessDeniedError as error:
            if not self._optional:
                raise
            self._refused = True
            report(f"{error.message} Its lines are left out.")
            return {}


def _job_log(name: str, job: _Job, start: int) -> _Log:
    def source(event: dict[str, Any]) -> str:
        return "" if event["timestamp"] < start else job.source(event["logStreamName"])

    asked = {"logGroupName": JOB_LOG_GROUP, "logStreamNamePrefix": f"{name}/"}
    return _Log(asked, source, max(start, job.started), lambda: job.last)


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
        told = [str(described["FailureReason"]), *([message] if message else [])]
        # Every job that fails has this error.
        return one_line("; ".join(told if error in ("", "States.TaskFailed") else [error, *told]))
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


def _still_in_cloudwatch(
    project: Project, purpose: str | None, error: NoSuchExecutionError
) -> NoSuchExecutionError:
    """Return the error with where the lines of an execution's jobs are when it is forgotten."""
    config = project.config
    prefixes = dict.fromkeys(
        project.names(owner).job_name(step.name)
        for owner in project.purposes(purpose)
        for step in config.purposes[owner].steps
    )
    return NoSuchExecutionError(
        error.message,
        fix=f"{error.fix}\n  Step Functions forgets an execution 90 days after its end; what its "
        f"jobs wrote stays in CloudWatch, in streams that begin with {' or '.join(prefixes)}: "
        f"`aws logs tail {JOB_LOG_GROUP} --log-stream-name-prefix {next(iter(prefixes))} "
        f"--since 120d --region {config.region}`.",
    )
