"""`batcat backfill`: compute the windows of a range that have no whole result.

What is missing is listed in S3, and the project's backfill machine starts one execution of the
workflow for each line. Nothing is kept of it here: a window with a whole result is done, one with a
running execution is being computed, and so the same call again goes on with what is left. An
execution's name follows from its window, its parameters and the number of the attempt; the first
attempt has the name that the schedule gives. Step Functions starts a name once, so two backfills
and the schedule never compute a window twice, and a window that failed can be tried again.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from batcat_runtime.errors import (
    ConnectError,
    CredentialsError,
    NoSuchExecutionError,
    ThrottledError,
    UserError,
    WaitInterruptedError,
)
from batcat_runtime.log import report
from batcat_runtime.operate.connection import Project, open_project
from batcat_runtime.operate.executions import (
    RUNNING,
    Scalar,
    Window,
    checked_params,
    describe,
    execution_arn,
    list_executions,
    not_deployed,
    window_of,
)
from batcat_runtime.operate.failures import reason_in
from batcat_runtime.operate.manifests import list_results
from batcat_runtime.window import midnight, moment, text_of

STEPS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}
AT_ONCE, MOST_AT_ONCE, MOST_WINDOWS = 4, 1000, 10_000
_SHOWN, _PAUSE = 20, 3.0
_NO_MACHINE = {"StateMachineDoesNotExist", "StateMachineDeleting"}
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
    begun = _begin(project, _asked(name, start, end, every, concurrency, params, since))
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
    purpose: str,
    start: str | date,
    end: str | date | None,
    every: str,
    concurrency: int,
    params: Mapping[str, Scalar] | None,
    since: str | datetime | None,
) -> Backfill:
    """Return the backfill that a caller asks for, checked."""
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
    given = dict(sorted(checked_params(params).items()))
    if since:
        try:
            told = since if isinstance(since, datetime) else datetime.fromisoformat(since)
        except ValueError as error:
            raise UserError(
                f"since={since!r} is no time.", fix="Write 2022-01-31, or 2022-01-31T05:00."
            ) from error
        told = told if told.tzinfo else told.replace(tzinfo=UTC)
        since = told.astimezone(UTC).isoformat(timespec="seconds")
    return Backfill(
        purpose=purpose,
        name="",
        status="SUCCEEDED",
        start=windows[0].start,
        end=windows[-1].end,
        every=every,
        params=given,
        since=str(since or ""),
        concurrency=concurrency,
    )


@dataclass
class _Survey:
    """What is known of the windows of a range: those with a result, and the last attempt of each.

    Executions are read before results: what ends between the two looks is known by its result.
    """

    windows: list[Window]
    done: set[Window] = field(default_factory=set)
    attempts: dict[Window, tuple[int, str]] = field(default_factory=dict)

    def last(self, window: Window) -> tuple[int, str]:
        """Return the number of the last attempt, and how it stands; 0 and empty without one."""
        return self.attempts.get(window, (0, ""))

    def those(self, *statuses: str) -> list[Window]:
        """Return the windows without a result whose last attempt stands so."""
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
    said = json.dumps([asked.start, asked.end, asked.every, asked.params], sort_keys=True)
    digest = hashlib.sha256(said.encode()).hexdigest()[:8]
    stem = f"{asked.start}_{asked.end}_{asked.every}_{digest}".replace(":", "")
    bucket = project.config.result_s3_bucket
    while True:
        numbers = [0]
        for listed in _backfills(project, asked.purpose):
            name, _, number = listed["name"].rpartition("_b")
            if name == stem and listed["status"] in RUNNING:
                report(f"the backfill {listed['name']} runs already: coming back to it")
                return replace(asked, name=listed["name"], status="RUNNING")
            numbers += [int(number)] if name == stem and number.isdigit() else []
        report("looking which windows have a result")
        found = _survey(project, asked)
        missing = found.those("", "FAILED", "TIMED_OUT", "ABORTED", "SUCCEEDED")
        skipped, running = len(found.done), len(found.those("RUNNING"))
        if not missing:
            return replace(asked, skipped=skipped, running=running)
        name = f"{stem}_b{max(numbers) + 1}"
        key = f"{project.names(asked.purpose).backfill_prefix}/{name}-{uuid.uuid4().hex[:8]}.csv"
        given = {
            **{"start": asked.start, "end": asked.end, "every": asked.every},
            **{"params": asked.params, "since": asked.since, "concurrency": asked.concurrency},
            **{"bucket": bucket, "key": key, "windows": len(missing), "skipped": skipped},
        }
        try:
            _write(project, bucket, key, found, missing, asked.params)
            started = _start_machine(project, asked.purpose, name, given)
        except KeyboardInterrupt as error:
            raise _goes_on(project, asked.purpose, name, "if it was started") from error
        if started:
            many = f"{len(missing):,} window{'s' if missing[1:] else ''}"
            report(f"backfill {name}: {many}, {asked.concurrency} at once")
            return replace(asked, name=name, status="RUNNING")
        # Somebody else has begun the same one since we looked; look again.
        with project.asked(f"s3://{bucket}/{key}", "s3:DeleteObject"):
            project.client("s3").delete_object(Bucket=bucket, Key=key)
        time.sleep(0.5)


def _start_machine(project: Project, purpose: str, name: str, given: Mapping[str, Any]) -> bool:
    """Start the backfill machine; return whether its execution's name was not taken."""
    client = project.client("stepfunctions")
    with project.asked(f"the backfills of {purpose}", "states:StartExecution"):
        try:
            client.start_execution(
                stateMachineArn=_machine(project, purpose), name=name, input=json.dumps(given)
            )
        except client.exceptions.ExecutionAlreadyExists:
            return False
        except client.exceptions.StateMachineDoesNotExist as error:
            raise not_deployed(project, purpose) from error
    return True


def _write(
    project: Project,
    bucket: str,
    key: str,
    found: _Survey,
    missing: Sequence[Window],
    params: Mapping[str, Scalar],
) -> None:
    """Write the list of windows to S3."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("name", "date_start", "date_end"))
    for window in missing:
        name = execution_name(window, params, found.last(window)[0] + 1)
        rows.writerow((name, window.start, window.end))
    with project.asked(f"s3://{bucket}/{key}", "s3:PutObject"):
        project.client("s3").put_object(Bucket=bucket, Key=key, Body=text.getvalue().encode())


def _machine(project: Project, purpose: str) -> str:
    names = project.names(purpose)
    return names.arn("states", f"stateMachine:{names.backfill_machine}", project.account)


def _backfills(project: Project, purpose: str) -> Iterator[dict[str, Any]]:
    """Yield the backfills of a purpose, newest first, as ListExecutions has them."""
    pages = project.client("stepfunctions").get_paginator("list_executions")
    with project.asked(f"the backfills of {purpose}", "states:ListExecutions"):
        try:
            for page in pages.paginate(stateMachineArn=_machine(project, purpose)):
                yield from page["executions"]
        except ClientError as error:
            if error.response["Error"]["Code"] not in _NO_MACHINE:
                raise


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
    client, arn = project.client("stepfunctions"), _arn(project, purpose, name)
    with project.asked(f"the backfill {name}", "states:DescribeExecution"):
        described = client.describe_execution(executionArn=arn)
    given = json.loads(described["input"])
    if "windows" not in given:
        raise UserError(
            f"The execution {name} of the backfill machine of {purpose} was started by hand.",
            fix="Start backfills with `batcat backfill`.",
        )
    asked = Backfill(
        purpose=purpose,
        name=name,
        status=described["status"],
        started=described["startDate"],
        stopped=described.get("stopDate"),
        **{key: given[key] for key in ("start", "end", "every", "params", "since", "concurrency")},
        skipped=given["skipped"],
    )
    if asked.status in RUNNING:
        return replace(asked, status="RUNNING", **_counts(project, arn, given["windows"]))
    found = _survey(project, asked)
    failed = found.those("FAILED", "TIMED_OUT", "SUCCEEDED")
    waiting = found.those("", "ABORTED")
    status = "ABORTED" if asked.status == "ABORTED" else "SUCCEEDED"
    if status == "SUCCEEDED" and (failed or waiting):
        status = "FAILED"
    failures = [_failure(project, asked, found, window) for window in failed[:_SHOWN]]
    if status == "FAILED" and waiting:
        failures.append(_not_started(project, arn, described, found, waiting[0]))
    done = min(given["windows"], max(0, len(found.done) - asked.skipped))
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
    client, runs = project.client("stepfunctions"), _map_runs(project, arn)
    if not runs:
        return {"waiting": windows}
    with project.asked("the windows of the backfill", "states:DescribeMapRun"):
        counts = client.describe_map_run(mapRunArn=runs[0])["itemCounts"]
    failed = counts["failed"] + counts["timedOut"] + counts["aborted"]
    done, running = counts["succeeded"], counts["running"]
    # Not `pending`: Step Functions may not have read the whole list yet.
    waiting = max(0, windows - done - running - failed)
    return {"done": done, "running": running, "waiting": waiting, "failed": failed}


def _failure(project: Project, asked: Backfill, found: _Survey, window: Window) -> WindowFailure:
    """Say why a window has no whole result."""
    name = execution_name(window, asked.params, found.last(window)[0])
    try:
        execution = describe(project, asked.purpose, execution_arn(project, asked.purpose, name))
    except NoSuchExecutionError:
        return WindowFailure(window, name, "", "its execution is forgotten")
    # The last line of a job's exit message says the most.
    lines = reason_in(execution.cause).strip().splitlines() or [execution.error]
    reason = lines[-1].strip()
    if execution.status == "SUCCEEDED":
        reason = "its execution succeeded, but the result is not whole"
    return WindowFailure(window, name, execution.status, reason)


def _not_started(
    project: Project, arn: str, described: Mapping[str, Any], found: _Survey, window: Window
) -> WindowFailure:
    """Say why the backfill machine did not start a window."""
    causes = [described.get("cause"), described.get("error")]
    for child in _children(project, arn, "FAILED"):
        causes.insert(0, child.get("cause"))
        break
    reason = next((cause for cause in causes if cause), "it was not started")
    return WindowFailure(window, "", found.last(window)[1], reason)


def _map_runs(project: Project, arn: str) -> list[str]:
    with project.asked(f"the backfill {arn.rpartition(':')[2]}", "states:ListMapRuns"):
        runs = project.client("stepfunctions").list_map_runs(executionArn=arn)["mapRuns"]
    return [run["mapRunArn"] for run in runs]


def _children(project: Project, arn: str, status: str) -> Iterator[dict[str, Any]]:
    """Yield the backfill machine's own executions, one a window, that stand so, described."""
    client = project.client("stepfunctions")
    for run in _map_runs(project, arn):
        pages = client.get_paginator("list_executions")
        with project.asked("the windows of the backfill", "states:ListExecutions"):
            for page in pages.paginate(mapRunArn=run, statusFilter=status):
                for child in page["executions"]:
                    yield client.describe_execution(executionArn=child["executionArn"])


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
    except (CredentialsError, ConnectError, ThrottledError) as error:
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
    arn = _arn(project, purpose, name)
    report(f"stopping the backfill {name}")
    started: set[str] = set()
    for pause in (*(0.2 * 1.5**number for number in range(6)), *[2.0] * 60):
        # One that started at the last moment shows up a little later.
        children = list(_children(project, arn, "RUNNING"))
        started |= {json.loads(child["input"])["name"] for child in children}
        runs = [execution_arn(project, purpose, window) for window in started]
        arns = [arn, *(child["executionArn"] for child in children), *runs]
        if not sum([_stop_one(project, one) for one in arns]):
            return
        time.sleep(pause)


def _stop_one(project: Project, arn: str) -> int:
    """Stop an execution if it runs; return whether it did."""
    client = project.client("stepfunctions")
    with project.asked(f"the execution {arn.rpartition(':')[2]}", "states:StopExecution"):
        try:
            if client.describe_execution(executionArn=arn)["status"] not in RUNNING:
                return 0
            client.stop_execution(executionArn=arn, **_STOP)
        except client.exceptions.ExecutionDoesNotExist:
            return 0
    return 1
