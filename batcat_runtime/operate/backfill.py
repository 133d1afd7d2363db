"""`batcat backfill`: compute the windows of a range that have no whole result.

What is missing is listed in S3, and the project's backfill machine starts one execution of the
workflow for each line. Nothing is kept of it here: a window with a whole result is done, one with a
running execution is being computed, and so the same call again goes on with what is left. An
execution's name follows from its window, its parameters and the number of the attempt; the first
attempt has the name that the schedule gives. Step Functions starts a name once, so two backfills
and the schedule never compute a window twice, and a window that failed can be tried again.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from batcat_runtime.errors import (
    ServiceError,
    UserError,
    WaitInterruptedError,
)
from batcat_runtime.log import report
from batcat_runtime.operate.connection import Project, code_of, open_project
from batcat_runtime.operate.executions import (
    LOST,
    RUNNING,
    Scalar,
    Window,
    checked_params,
    execution_arn,
    list_executions,
    object_of,
    window_of,
)
from batcat_runtime.operate.executions import (
    start as start_execution,
)
from batcat_runtime.operate.failures import reason_in
from batcat_runtime.operate.manifests import list_results
from batcat_runtime.window import midnight, moment, text_of

STEPS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}
AT_ONCE, MOST_AT_ONCE, MOST_WINDOWS = 4, 1000, 10_000
_SHOWN, _PAUSE = 20, 3.0
_GIVEN = ("start", "end", "every", "params", "since", "concurrency")
_STOP = {"error": "Stopped", "cause": "Stopped by `batcat backfill stop`"}


@dataclass(frozen=True)
class WindowFailure:
    """A window that was not computed: its last execution, how that ended, and why."""

    window: Window
    execution: str
    status: str
    reason: str


@dataclass(frozen=True)
class Backfill:
    """A backfill, as it is at the moment.

    Attributes
    ----------
    purpose, name : str
        The pipeline, and the execution of its backfill machine; empty if there was none to start.
    status : str
        ``RUNNING``, ``SUCCEEDED`` (nothing is left), ``FAILED`` or ``ABORTED`` (it was stopped).
    start, end, every, params, since : str, str, str, dict, str
        What it is for; see `backfill`.
    concurrency : int
        How many windows are computed at once.
    done, running, waiting, failed : int
        Of those that it is to compute.
    skipped : int
        Those that had a whole result already.
    failures : tuple of WindowFailure
        The first twenty, once it has ended.
    started, stopped : datetime or None
        When.
    """

    purpose: str
    name: str
    status: str
    start: str
    end: str
    every: str
    params: dict[str, Any]
    since: str = ""
    concurrency: int = AT_ONCE
    done: int = 0
    running: int = 0
    waiting: int = 0
    failed: int = 0
    skipped: int = 0
    failures: tuple[WindowFailure, ...] = ()
    started: datetime | None = None
    stopped: datetime | None = None

    def __repr__(self) -> str:
        return f"<Backfill {self.name or self.start} {self.status}: {self.counts}>"

    @property
    def counts(self) -> str:
        """How many windows are done, running and so on, in words."""
        words = ("done", "running", "waiting", "failed", "skipped")
        found = [f"{getattr(self, word):,} {word}" for word in words if getattr(self, word)]
        return ", ".join(found) or "no windows"


def backfill(
    start: str | date = "show",
    end: str | date | None = None,
    *,
    every: str = "day",
    concurrency: int = AT_ONCE,
    params: Mapping[str, Scalar] | None = None,
    since: str | datetime | None = None,
    wait: bool | None = None,
    folder: str | Path | None = None,
    purpose: str | None = None,
) -> Backfill:
    """Compute every window of a range that has no whole result, several at once.

    The same call again comes back to it while it runs, and goes on with what is left afterwards.

    Parameters
    ----------
    start : str or datetime.date
        The first window's start. Or, without `end`, ``"show"`` (how the last backfill stands) or
        ``"stop"`` (stop it).
    end : str or datetime.date, optional
        The last window's end, exclusive.
    every : {"day", "hour", "week"}
        How long a window is; the last may be shorter.
    concurrency : int
        How many windows are computed at once. Jobs beyond the account's quota for their instance
        type are tried again for 300 s (`retries` in the configuration), and then fail.
    params : mapping, optional
        Further parameters, as the script finds them in ``job.parameters``.
    since : str or datetime, optional
        Compute windows whose result is older than this, too; without a zone it is in UTC.
    wait : bool, optional
        Whether to wait for the end; by default that of a range is waited for.
    folder : path, optional
        The project; by default the one around the working directory.
    purpose : str, optional
        May be left out when the project has one.

    Returns
    -------
    Backfill
        How it stands. Windows that failed are an outcome, not an exception.

    Raises
    ------
    UserError
        The range, the concurrency or the parameters are impossible; nothing was changed.
    NotDeployedError
        The pipeline is not deployed; nothing was changed.
    WaitInterruptedError
        Ctrl-C, or a lost connection; the backfill goes on.

    Examples
    --------
    >>> backfill("2022-01-01", "2022-02-01", concurrency=8)  # doctest: +SKIP
    """
    project = open_project(folder)
    name = project.config.purpose_name(purpose)
    if str(start) in ("show", "stop") and end is None:
        last = _last(project, name)
        if start == "stop":
            _stop(project, name, last)
        return _follow(project, name, last) if wait else _look(project, name, last)
    asked = _asked(start, end, every, concurrency, params, since)
    begun = _begin(project, Backfill(purpose=name, name="", status="SUCCEEDED", **asked))
    if not begun.name:
        return begun
    if wait is False:
        return _look(project, name, begun.name)
    return _follow(project, name, begun.name)


def windows_between(start: str | date, end: str | date, every: str) -> list[Window]:
    """Return the windows of one hour, day or week from `start` up to `end`.

    Raises
    ------
    UserError
        An end is no date, the whole is empty, or `every` is unknown.
    """
    if every not in STEPS:
        raise UserError(
            f"There are no windows of one {every!r}.", fix=f"Take one of: {', '.join(STEPS)}."
        )
    window_of(start, end)
    first, last = moment(start, "start"), moment(end, "end")
    if every == "hour" or isinstance(first, datetime) or isinstance(last, datetime):
        first, last = midnight(first), midnight(last)
    count = -((first - last) // STEPS[every])
    if count > MOST_WINDOWS:
        raise UserError(
            f"{text_of(first)} to {text_of(last)} has {count:,} windows of one {every}; a backfill "
            f"has at most {MOST_WINDOWS:,}.",
            fix="Take longer windows, or one part of the range after the other.",
        )
    ends = [*(first + STEPS[every] * number for number in range(count)), last]
    texts = list(map(text_of, ends))
    return list(map(Window, texts, texts[1:]))


def execution_name(window: Window, params: Mapping[str, Scalar], attempt: int = 1) -> str:
    """Return the name of the execution that computes a window: the same for the same attempt.

    Examples
    --------
    >>> execution_name(Window("2022-01-08", "2022-01-09"), {}, 2)
    '2022-01-08_2022-01-09_3f2f4295_b2'
    """
    run = {"date_start": window.start, "date_end": window.end, "params": dict(params)}
    digest = hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()[:8]
    stem = f"{window.start}_{window.end}_{digest}".replace(":", "")
    return stem if attempt == 1 else f"{stem}_b{attempt}"


def _asked(
    start: str | date,
    end: str | date | None,
    every: str,
    concurrency: int,
    params: Mapping[str, Scalar] | None,
    since: str | datetime | None,
) -> dict[str, Any]:
    """Return what a backfill machine is told of what a caller asks for, checked."""
    if end is None:
        raise UserError(
            f"{str(start)!r} is no range.",
            fix="Give start and end: `batcat backfill 2022-01-01 2022-02-01`; or show, or stop.",
        )
    if not 1 <= concurrency <= MOST_AT_ONCE:
        raise UserError(
            f"A concurrency of {concurrency} is not possible.",
            fix=f"Give 1 to {MOST_AT_ONCE:,}, and no more than your account's quota for the "
            "instance type, which `batcat doctor` tells: jobs beyond it fail after 300 s.",
        )
    windows = windows_between(start, end, every)
    given = {"start": windows[0].start, "end": windows[-1].end, "every": every, "since": ""}
    if since:
        try:
            after = since if isinstance(since, datetime) else datetime.fromisoformat(since)
        except ValueError as error:
            raise UserError(
                f"since={since!r} is no time.", fix="Write 2022-01-31, or 2022-01-31T05:00."
            ) from error
        after = after if after.tzinfo else after.replace(tzinfo=UTC)
        given["since"] = after.astimezone(UTC).isoformat(timespec="seconds")
    return {
        **given,
        "params": dict(sorted(checked_params(params).items())),
        "concurrency": concurrency,
    }


@dataclass
class _Survey:
    """The windows of a range: those with a result, and number and status of each last attempt.

    Executions are read before results: what ends between the two looks is known by its result.
    """

    windows: list[Window]
    done: set[Window] = field(default_factory=set)
    attempts: dict[Window, tuple[int, str]] = field(default_factory=dict)

    def last(self, window: Window) -> tuple[int, str]:
        """Return the number of the last attempt, and its status; 0 and empty without one."""
        return self.attempts.get(window, (0, ""))

    def those(self, *statuses: str) -> list[Window]:
        """Return the windows without a result whose last attempt has one of these statuses."""
        left = (window for window in self.windows if window not in self.done)
        return [window for window in left if self.last(window)[1] in statuses]


def _survey(project: Project, asked: Backfill) -> _Survey:
    found = _Survey(windows_between(asked.start, asked.end, asked.every))
    stems = {execution_name(window, asked.params): window for window in found.windows}

    def note(name: str, status: str) -> None:
        stem, mark, number = name.rpartition("_b")
        window = stems.get(stem if number.isdecimal() and mark else name)
        attempt = int(number) if number.isdecimal() and mark else 1
        if window and (attempt > found.last(window)[0] or status in RUNNING):
            found.attempts[window] = (attempt, "RUNNING" if status in RUNNING else status)

    for listed in list_executions(project, asked.purpose, page_size=1000):
        note(listed["name"], listed["status"])
    first, last = found.windows[0].day, found.windows[-1].day
    known = set(found.windows)
    for result in list_results(project, asked.purpose, first=first, last=last):
        note(result.run_id, "SUCCEEDED")  # its execution may be forgotten; its folder is there
        if not result.window or not result.whole or result.ended < asked.since:
            continue
        if result.window in known and _typed(result.parameters) == _typed(asked.params):
            found.done.add(result.window)
    return found


def _typed(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters so that they can be compared: True is not 1."""
    return {name: (isinstance(value, bool), value) for name, value in params.items()}


def _begin(project: Project, asked: Backfill) -> Backfill:
    """Start a backfill of what is missing, or come back to the same one that runs."""
    purpose, bucket = asked.purpose, project.config.result_s3_bucket
    given = {name: getattr(asked, name) for name in _GIVEN}
    alike = json.dumps([asked.start, asked.end, asked.every, asked.params], sort_keys=True)
    digest = hashlib.sha256(alike.encode()).hexdigest()[:8]
    stem = f"{asked.start}_{asked.end}_{asked.every}_{digest}".replace(":", "")
    while True:
        numbers = [0]
        for listed in _backfills(project, purpose):
            name, _, number = listed["name"].rpartition("_b")
            if name == stem and listed["status"] in RUNNING:
                report(f"the backfill {listed['name']} runs already: coming back to it")
                return replace(asked, name=listed["name"], status="RUNNING")
            numbers += [int(number)] if name == stem and number.isdigit() else []
        report("looking which windows have a result")
        found = _survey(project, asked)
        missing = found.those("", "FAILED", "TIMED_OUT", "ABORTED", "SUCCEEDED")
        given |= {"windows": len(missing), "skipped": len(found.done)}
        if not missing:
            running = len(found.those("RUNNING"))
            return replace(asked, skipped=len(found.done), running=running)
        name = f"{stem}_b{max(numbers) + 1}"
        key = f"{project.names(purpose).backfill_prefix}/{name}-{uuid.uuid4().hex[:8]}.csv"
        place, file = f"s3://{bucket}/{key}", {"Bucket": bucket, "Key": key}
        try:
            project.call("s3:PutObject", place, Body=_listed(found, missing, asked.params), **file)
            start_execution(
                project,
                purpose,
                name,
                given | {"bucket": bucket, "key": key},
                machine=_machine(project, purpose),
            )
        except KeyboardInterrupt as error:
            raise _goes_on(project, purpose, name, "if it was started") from error
        except ServiceError as error:
            if code_of(error) != "ExecutionAlreadyExists":
                raise
            # Somebody else has begun the same one since we looked; look again.
            project.call("s3:DeleteObject", place, **file)
            time.sleep(0.5)
        else:
            many = f"{len(missing):,} window{'s' if missing[1:] else ''}"
            report(f"backfill {name}: {many}, {asked.concurrency} at once")
            return replace(asked, name=name, status="RUNNING")


def _listed(found: _Survey, missing: Sequence[Window], params: Mapping[str, Scalar]) -> bytes:
    """Return the list of windows that the backfill machine reads, as CSV."""
    lines = ["name,date_start,date_end"]
    for window in missing:
        name = execution_name(window, params, found.last(window)[0] + 1)
        lines.append(f"{name},{window.start},{window.end}")
    return "\n".join(lines).encode()


def _machine(project: Project, purpose: str) -> str:
    names = project.names(purpose)
    return names.arn("states", f"stateMachine:{names.backfill_machine}", project.account)


def _backfills(project: Project, purpose: str) -> Iterator[dict[str, Any]]:
    """Yield the backfills of a purpose, newest first, as ListExecutions has them."""
    place, absent = f"the backfills of {purpose}", {"StateMachineDoesNotExist"}
    asked = {"stateMachineArn": _machine(project, purpose)}
    return project.pages("states:ListExecutions", place, absent=absent, **asked)


def _last(project: Project, purpose: str) -> str:
    """Return the name of the newest backfill."""
    newest = next(_backfills(project, purpose), None)
    if newest is None:
        raise UserError(
            f"There has been no backfill of {purpose} in the last 90 days.",
            fix="Start one: `batcat backfill 2022-01-01 2022-02-01 --every day`.",
        )
    return str(newest["name"])


def _arn(project: Project, purpose: str, name: str) -> str:
    machine = project.names(purpose).backfill_machine
    return project.names(purpose).arn("states", f"execution:{machine}:{name}", project.account)


def _look(project: Project, purpose: str, name: str) -> Backfill:
    """Return how a backfill stands: by Step Functions' counts, at its end by what is there."""
    arn = _arn(project, purpose, name)
    described = project.call("states:DescribeExecution", f"the backfill {name}", executionArn=arn)
    given = json.loads(described["input"])
    asked = Backfill(
        purpose=purpose,
        name=name,
        status=described["status"],
        started=described["startDate"],
        stopped=described.get("stopDate"),
        skipped=given["skipped"],
        **{name: given[name] for name in _GIVEN},
    )
    if asked.status in RUNNING:
        return replace(asked, status="RUNNING", **_counts(project, arn, given["windows"]))
    found = _survey(project, asked)
    failed, waiting = found.those("FAILED", "TIMED_OUT", "SUCCEEDED"), found.those("", "ABORTED")
    done = min(given["windows"], max(0, len(found.done) - asked.skipped))
    left, failures = [*failed, *waiting], list[WindowFailure]()
    status = "ABORTED" if asked.status == "ABORTED" else "FAILED" if left else "SUCCEEDED"
    if left:
        lost = (failure for failure in _failures(project, arn) if failure.window in left)
        failures = list(islice(lost, _SHOWN))
    if status == "FAILED" and not failures:
        why = described.get("cause") or described.get("error") or "its result is not whole"
        failures = [WindowFailure(left[0], "", "", why)]
    return replace(
        asked,
        status=status,
        done=done,
        skipped=len(found.done) - done,  # and what others have computed meanwhile
        running=len(found.those("RUNNING")),
        waiting=len(waiting),
        failed=len(failed),
        failures=tuple(failures),
    )


def _counts(project: Project, arn: str, windows: int) -> dict[str, Any]:
    """Return how many windows are done, running, waiting and failed while a backfill runs."""
    for run in _map_runs(project, arn):
        place = "the windows of the backfill"
        counts = project.call("states:DescribeMapRun", place, mapRunArn=run)["itemCounts"]
        failed = counts["failed"] + counts["timedOut"] + counts["aborted"]
        done, running = counts["succeeded"], counts["running"]
        # Not `pending`: Step Functions may not have read the whole list yet.
        waiting = max(0, windows - done - running - failed)
        return {"done": done, "running": running, "waiting": waiting, "failed": failed}
    return {"waiting": windows}


def _failures(project: Project, arn: str) -> Iterator[WindowFailure]:
    """Yield the windows that failed or could not be started, and why."""
    for child in _children(project, arn, "FAILED"):
        given, cause = json.loads(child["input"]), child.get("cause") or child.get("error") or ""
        execution = object_of(cause)  # as DescribeExecution has it; a refusal is plain text
        # The last line of a job's exit message says the most.
        words = reason_in(execution.get("Cause") or cause).strip() or execution.get("Error", "")
        window = Window(given["date_start"], given["date_end"])
        status = execution.get("Status", "")
        yield WindowFailure(window, given["name"], status, words.rpartition("\n")[2].strip())


def _map_runs(project: Project, arn: str) -> list[str]:
    place = f"the backfill {arn.rpartition(':')[2]}"
    found = project.call("states:ListMapRuns", place, executionArn=arn)["mapRuns"]
    return [run["mapRunArn"] for run in found]


def _children(project: Project, arn: str, status: str) -> Iterator[dict[str, Any]]:
    """Yield the backfill machine's own executions, one a window, of a status, described."""
    place = "the windows of the backfill"
    for run in _map_runs(project, arn):
        asked = {"mapRunArn": run, "statusFilter": status}
        for child in project.pages("states:ListExecutions", place, **asked):
            named = {"executionArn": child["executionArn"]}
            yield project.call("states:DescribeExecution", place, **named)


def _follow(project: Project, purpose: str, name: str) -> Backfill:
    """Look at a backfill again and again until it has ended; report its counts as they change."""
    said, pause = "", 0.5
    try:
        while (found := _look(project, purpose, name)).status == "RUNNING":
            if found.counts != said:
                said = found.counts
                report(said)
            time.sleep(pause)
            # The last windows are watched more closely: somebody waits for the end.
            pause = min(_PAUSE if found.waiting else 1.0, pause * 1.3)
        return found
    except KeyboardInterrupt as error:
        raise _goes_on(project, purpose, name) from error
    except LOST as error:
        raise _goes_on(project, purpose, name, f"but: {error.message.rstrip('.')}") from error


def _goes_on(project: Project, purpose: str, name: str, why: str = "") -> WaitInterruptedError:
    option = project.option(purpose)
    return WaitInterruptedError(
        f"The backfill {name} goes on in AWS{why and ', '}{why}.",
        fix=f"See how it stands with `batcat backfill show{option}`, come back to it with `batcat "
        f"backfill show --wait{option}`, or stop it with `batcat backfill stop{option}`.",
    )


def _stop(project: Project, purpose: str, name: str) -> None:
    """Stop a backfill, its children, and the executions of the workflow that they started.

    Step Functions stops these with it, each "as best it can" (developer guide, "Run a Job"); what
    is left is stopped by name. A window that ended meanwhile keeps its result.
    """
    arn, started, pause = _arn(project, purpose, name), set(), 0.2
    report(f"stopping the backfill {name}")
    for _ in range(60):
        # One that started at the last moment shows up a little later.
        children = list(_children(project, arn, "RUNNING"))
        names = {json.loads(child["input"])["name"] for child in children}
        started |= {execution_arn(project, purpose, window) for window in names}
        arns = [arn, *(child["executionArn"] for child in children), *started]
        if not sum([_stopped(project, running) for running in arns]):  # each of them
            return
        time.sleep(pause)
        pause = min(2.0, pause * 1.5)


def _stopped(project: Project, arn: str) -> bool:
    """Stop an execution if it runs; return whether it did."""
    place, absent = f"the execution {arn.rpartition(':')[2]}", {"ExecutionDoesNotExist"}
    found = project.call("states:DescribeExecution", place, absent=absent, executionArn=arn)
    running = found.get("status") in RUNNING
    if running:
        project.call("states:StopExecution", place, executionArn=arn, **_STOP)
    return running
