"""Everything that an execution did and wrote, read once or followed to its end.

Who follows sees a line some seconds late, because only what is a few seconds old is taken: by then
the lines of all containers have arrived, and they can be put in order.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Generator, Iterator
from datetime import datetime
from typing import Any

from batcat_runtime.errors import CredentialsError, WaitInterruptedError
from batcat_runtime.operate.executions import Execution, describe
from batcat_runtime.operate.happenings import (
    SOURCE,
    Happening,
    Job,
    Story,
    millis,
    outcome_of,
)
from batcat_runtime.operate.loglines import JOB_LOG_GROUP, LogLine
from batcat_runtime.operate.tail import Log, merged
from batcat_runtime.operate.waiting import Connection

# For this long a log is looked at after its last line should have been written.
_LINGER = 30_000
# The function that started an execution says so at once; an event may come again for a while.
_TRIGGER = 120_000
# After this long without a line it is worth saying that this is normal.
_PATIENT = 10_000
# Looks after the end of an execution, before what has arrived counts as all.
_SETTLES = 3


class ExecutionLog:
    """One reading of an execution's history and logs.

    Parameters
    ----------
    connection : Connection
        To AWS.
    execution : Execution
        Whose log it is.
    start : int
        Nothing older, in milliseconds.
    lines : int or None
        Of what is there at first, only the last lines.
    progress : callable
        Called with what is worth knowing and no line of a log.
    """

    def __init__(
        self,
        connection: Connection,
        execution: Execution,
        *,
        start: int,
        lines: int | None,
        progress: Callable[[str], None],
    ) -> None:
        self._project = connection.project
        self._connection = connection
        self._execution = execution
        self._start = start
        self._lines = lines
        self._progress = progress
        self._story = Story(execution)
        self._waiting: list[Happening] = []
        self._last_event = 0
        self._logs: dict[str, Log] = self._around()

    def read(self) -> Generator[LogLine, None, Execution]:
        """Yield what there is."""
        self._look()
        found = merged(self._waiting, list(self._logs.values()), self._connection, None)
        yield from _last(found, self._lines) if self._lines is not None else found
        self._say_what_is_missing()
        if self._execution.running:
            self._progress(
                f"The execution {self._execution.name} still runs: follow it with "
                f"`batcat logs {self._execution.name} -f`."
            )
        elif self._lines != 0:
            yield outcome_of(self._execution)
        return self._execution

    def follow(
        self, every: float, sleep: Callable[[float], None]
    ) -> Generator[LogLine, None, Execution]:
        """Yield what there is, and what comes, until the execution has ended."""
        try:
            yield from self._follow(every, sleep)
        except KeyboardInterrupt:
            raise interrupted(self._execution) from None
        except CredentialsError as error:
            raise WaitInterruptedError(
                f"{error.message.rstrip('.')}. The execution {self._execution.name} goes on.",
                fix=f"Renew them, e.g. with `aws sso login`. {come_back(self._execution)}",
            ) from error
        yield outcome_of(self._execution)
        return self._execution

    def _follow(self, every: float, sleep: Callable[[float], None]) -> Iterator[LogLine]:
        lines, told, delay = self._lines, False, int(every * 1000)
        while True:
            self._look()
            now = self._connection.now
            ended = None if self._execution.running else millis(self._ended)
            settled = ended is not None and now - ended >= _SETTLES * delay
            last = None if settled else now - delay
            open_ones = [log for log in self._logs.values() if not log.closed]
            before = sum(log.lines for log in open_ones)
            ready = [one for one in self._waiting if last is None or one[0] <= last]
            self._waiting = self._waiting[len(ready) :]
            found = merged(ready, open_ones, self._connection, last)
            yield from _last(found, lines) if lines is not None else found
            lines = None
            self._close(now)
            quiet = sum(log.lines for log in open_ones) == before
            if ended is not None and settled and (quiet or now - ended > _LINGER):
                self._say_what_is_missing()
                return
            if not told and self._silent_since < now - _PATIENT:
                told = True
                self._progress("No line yet: it takes AWS some minutes to start an instance.")
            sleep(every)

    @property
    def _ended(self) -> datetime:
        return self._execution.stopped or self._execution.started

    @property
    def _silent_since(self) -> float:
        """When the first job began, if none has written a line; else never."""
        jobs = self._story.jobs
        if any(self._logs[name].lines for name in jobs if name in self._logs):
            return math.inf
        return min((job.started for job in jobs.values()), default=math.inf)

    def _look(self) -> None:
        """Take in how the execution stands, and its new events."""
        if self._execution.running:
            # The state before the events: all that led to it is among them then.
            self._execution = self._connection.ask(
                f"the execution {self._execution.name}", "states:DescribeExecution", self._describe
            )
        for event in self._new_events():
            self._waiting += [one for one in self._story.read(event) if one[0] >= self._start]
        self._waiting.sort(key=lambda one: one[:2])
        for name, job in self._story.jobs.items():
            over = job.last is not None and job.last + _LINGER < self._start
            if name not in self._logs and not over:
                self._logs[name] = self._log_of(job)

    def _describe(self) -> Execution:
        execution = self._execution
        return describe(self._project, execution.purpose, execution.arn)

    def _new_events(self) -> list[dict[str, Any]]:
        """Return the events since the last look, oldest first; the newest pages suffice for it."""
        client = self._project.client("stepfunctions")
        asked: dict[str, Any] = {
            "executionArn": self._execution.arn,
            "reverseOrder": True,
            "maxResults": 1000,
        }
        found: list[dict[str, Any]] = []
        while True:
            page = self._connection.ask(
                f"the history of {self._execution.name}",
                "states:GetExecutionHistory",
                lambda: client.get_execution_history(**asked),
            )
            fresh = [one for one in page["events"] if one["id"] > self._last_event]
            found += map(_lean, fresh)
            if len(fresh) < len(page["events"]) or not page.get("nextToken"):
                break
            asked["nextToken"] = page["nextToken"]
        self._last_event = max([self._last_event, *(one["id"] for one in found)])
        return found[::-1]

    def _around(self) -> dict[str, Log]:
        """Return the logs of what is around the jobs: the trigger's function and the workflow."""
        execution, names = self._execution, self._project.names(self._execution.purpose)
        started = millis(execution.started)

        def trigger(event: dict[str, Any]) -> str:
            mine = _object(event["message"]).get("execution") == execution.name
            return "trigger" if mine else ""

        def workflow(event: dict[str, Any]) -> str:
            # What Step Functions itself writes there is in the history.
            echo = {"execution_arn", "type"} <= _object(event["message"]).keys()
            return "" if echo or execution.arn not in event["message"] else SOURCE

        def ended() -> int | None:
            return None if self._execution.running else millis(self._ended)

        return {
            "trigger": Log(
                names.function_log_group,
                trigger,
                max(self._start, started),
                lambda: started + _TRIGGER,
                pattern=f'"{execution.name}"',
                optional=True,
            ),
            SOURCE: Log(
                names.workflow_log_group,
                workflow,
                max(self._start, started),
                ended,
                pattern=f'"{execution.arn}"',
                optional=True,
            ),
        }

    def _log_of(self, job: Job) -> Log:
        return Log(
            JOB_LOG_GROUP,
            lambda event: (
                "" if event["timestamp"] < self._start else job.source(event["logStreamName"])
            ),
            max(self._start, job.started),
            lambda: job.last,
            prefix=f"{job.name}/",
        )

    def _close(self, now: int) -> None:
        """Look no longer at logs to which nothing is written any more."""
        for log in self._logs.values():
            if log.refused:
                self._progress(f"{log.refused} Its lines are left out.")
                log.refused = ""
            until = log.until()
            log.closed = until is not None and now > until + _LINGER

    def _say_what_is_missing(self) -> None:
        self._close(self._connection.now)
        silent = [
            name
            for name in self._story.jobs
            if name in self._logs and not self._logs[name].lines and not self._start
        ]
        if silent:
            more = f" and {len(silent) - 1} more jobs" if silent[1:] else ""
            if self._logs[silent[0]].missing:
                why = f": there is no log group {JOB_LOG_GROUP} yet."
            elif self._story.jobs[silent[0]].last is None:
                why = " yet: it takes AWS some minutes to start an instance."
            else:
                why = "."
            self._progress(f"The job {silent[0]}{more} wrote no line{why}")


def _last(found: Iterator[LogLine], lines: int) -> Iterator[LogLine]:
    yield from deque(found, maxlen=lines)


def _lean(event: dict[str, Any]) -> dict[str, Any]:
    """Return an event without the data that is passed from state to state, which can be large."""
    return {
        key: {name: one for name, one in value.items() if name not in ("input", "output")}
        if key.endswith("EventDetails")
        else value
        for key, value in event.items()
    }


def interrupted(execution: Execution, why: str = "You stopped following") -> WaitInterruptedError:
    """Return the error for who does not follow any longer: what goes on, and how to come back."""
    return WaitInterruptedError(
        f"{why}; the execution {execution.name} goes on.", fix=come_back(execution)
    )


def come_back(execution: Execution) -> str:
    """Return how to come back to an execution."""
    return (
        f"Come back with `batcat logs {execution.name} -f`; how it ended says `batcat status`. "
        "The execution does not need you."
    )


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
