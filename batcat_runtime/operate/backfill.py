"""Compute many windows of a pipeline: start, come back to, stop, resume or retry a backfill.

Stages of a start: look whether the same backfill runs already; look which windows are computed or
running; write the list of what is left to S3; start the state machine of backfills, which belongs
to the workflow's stack, under a name that follows from the range. Nothing is changed before the
whole request is known to be sound. From then on AWS does the work: nothing here needs to stay
alive.
"""

from __future__ import annotations

import csv
import io
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from batcat_runtime.errors import UserError
from batcat_runtime.operate.backfill_record import (
    Backfill,
    BackfillCounts,
    Record,
    last_record,
    list_backfills,
    machine_arn,
    read_record,
)
from batcat_runtime.operate.backfill_stop import stop_backfill
from batcat_runtime.operate.backfill_watch import at_once, follow
from batcat_runtime.operate.connection import Project, open_project
from batcat_runtime.operate.executions import checked_params, not_deployed
from batcat_runtime.operate.survey import Range, Survey, execution_name, survey

VERBS = ("stop", "resume", "retry", "show")
MOST_AT_ONCE = 10_000
MOST_WINDOWS = 100_000
_IN_MEMORY = 1 << 20


def backfill(
    start: str | date,
    end: str | date | None = None,
    *,
    every: str = "day",
    concurrency: int | None = None,
    params: Mapping[str, str | int | float | bool] | None = None,
    force: bool = False,
    wait: bool = True,
    progress: Callable[[str], None] = lambda line: None,
    watch: Callable[[Backfill], None] = lambda state: None,
    sleep: Callable[[float], None] = time.sleep,
    folder: str | Path | None = None,
    purpose: str | None = None,
) -> Backfill:
    """Compute every window of a range that has no whole result, several at once.

    Parameters
    ----------
    start : str or datetime.date
        The first window's start. Or, without `end`, one of ``"show"`` (the last backfill),
        ``"stop"`` (it), ``"resume"`` (what it has left) and ``"retry"`` (what failed in it).
    end : str or datetime.date, optional
        The last window's end, exclusive.
    every : {"day", "hour", "week"}
        How long a window is; the last may be shorter.
    concurrency : int, optional
        How many windows are computed at once; by default 4, or as many as before.
    params : mapping, optional
        Further parameters, as the script finds them in ``job.parameters``.
    force : bool
        Compute windows that have a whole result, too.
    wait : bool
        Whether to wait for the end.
    progress : callable
        Called with a line at each stage.
    watch : callable
        Called with the state at each look while waiting.
    sleep : callable
        Waits, in seconds.
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
        Ctrl-C, or lost credentials; the backfill goes on.

    Examples
    --------
    >>> backfill("2022-01-01", "2022-02-01", concurrency=8)  # doctest: +SKIP
    """
    project = open_project(folder)
    chosen = project.config.purpose_name(purpose)
    scope = _asked(start, end, every, concurrency, params, force)
    if scope is None:
        record = _by_verb(project, chosen, str(start), concurrency, progress, sleep)
    else:
        record = _start(project, chosen, scope, concurrency or 4, force, progress, sleep)
    if isinstance(record, Backfill):
        return record
    if wait and record.running:
        return follow(project, chosen, record, watch=watch, sleep=sleep)
    return at_once(project, chosen, record)


def _asked(
    start: str | date,
    end: str | date | None,
    every: str,
    concurrency: int | None,
    params: Mapping[str, Any] | None,
    force: bool,
) -> Range | None:
    """Return the range that a caller asks for, checked; None for a verb."""
    if concurrency is not None and not 1 <= concurrency <= MOST_AT_ONCE:
        raise UserError(
            f"A concurrency of {concurrency} is not possible.",
            fix=f"Give 1 to {MOST_AT_ONCE:,}; SageMaker's quota for your instance type decides "
            "how many jobs really run at once.",
        )
    if end is None:
        if str(start) in VERBS:
            if params or force:
                raise UserError(
                    f"`{start}` takes no parameters and no --force: it is about the last backfill, "
                    "which has its own.",
                    fix="To compute other windows, give start and end.",
                )
            return None
        raise UserError(
            f"{str(start)!r} is no range.",
            fix="Give start and end: `batcat backfill 2022-01-01 2022-02-01`; or one of "
            f"{', '.join(VERBS)}.",
        )
    if str(start) in VERBS:
        raise UserError(f"`{start}` takes no dates: it is about the last backfill.")
    scope = Range.of(start, end, every, checked_params(params))
    if scope.count > MOST_WINDOWS:
        raise UserError(
            f"{scope.start} to {scope.end} has {scope.count:,} windows of one {every}; a backfill "
            f"has at most {MOST_WINDOWS:,}.",
            fix="Take longer windows, or one part of the range after the other.",
        )
    return scope


def _by_verb(
    project: Project,
    purpose: str,
    verb: str,
    concurrency: int | None,
    progress: Callable[[str], None],
    sleep: Callable[[float], None],
) -> Record | Backfill:
    record = last_record(project, purpose)
    if verb == "show":
        return record
    if verb == "stop":
        return stop_backfill(project, purpose, record, progress=progress, sleep=sleep)
    if record.running:
        progress(f"the backfill {record.name} still runs: coming back to it")
        return record
    return _run(
        project,
        purpose,
        record.scope,
        concurrency or record.concurrency,
        record.since,
        progress,
        sleep,
        failed=verb == "retry",
    )


def _start(
    project: Project,
    purpose: str,
    scope: Range,
    concurrency: int,
    force: bool,
    progress: Callable[[str], None],
    sleep: Callable[[float], None],
) -> Record | Backfill:
    # Results that are ready by now do not count when all is to be computed again.
    since = datetime.now(UTC).isoformat(timespec="seconds") if force else ""
    return _run(project, purpose, scope, concurrency, since, progress, sleep)


def _run(
    project: Project,
    purpose: str,
    scope: Range,
    concurrency: int,
    since: str,
    progress: Callable[[str], None],
    sleep: Callable[[float], None],
    *,
    failed: bool = False,
) -> Record | Backfill:
    """Start a backfill of what is missing, or return the same one that runs already."""
    while True:
        there, number = _there(project, purpose, scope)
        if there is not None:
            progress(f"the backfill {there.name} runs already: coming back to it")
            return there
        many = f"{scope.count:,} window{'s' if scope.count > 1 else ''}"
        progress(f"looking at {many} of one {scope.every}")
        found = survey(project, purpose, scope, since=since)
        windows = sum(1 for _ in found.missing(failed=failed))
        skipped = sum(found.whole)
        if not windows:
            return _nothing(purpose, scope, concurrency, found)
        name = f"{scope.stem}_b{number}"
        key = f"{project.names(purpose).backfill_prefix}/{name}-{uuid.uuid4().hex[:8]}.csv"
        bucket = project.config.result_s3_bucket
        _write(project, found, found.missing(failed=failed), bucket, key)
        record = Record(scope, bucket, key, concurrency, windows, skipped, since, failed, name=name)
        started = _begin(project, purpose, record)
        if started is not None:
            many = f"{windows:,} window{'s' if windows > 1 else ''}"
            progress(f"backfill {name}: {many}, {concurrency} at once")
            return started
        # Somebody else has begun the same one since we looked; look again.
        _forget(project, bucket, key)
        sleep(0.5)


def _there(project: Project, purpose: str, scope: Range) -> tuple[Record | None, int]:
    """Return the same backfill if it runs, and the number of the next one."""
    number = 1
    for one in list_backfills(project, purpose):
        stem, _, last = one["name"].rpartition("_b")
        if stem != scope.stem or not last.isdigit():
            continue
        if one["status"] == "RUNNING":
            return read_record(project, purpose, one["executionArn"]), 0
        number = max(number, int(last) + 1)
    return None, number


def _nothing(purpose: str, scope: Range, concurrency: int, found: Survey) -> Backfill:
    whole = sum(found.whole)
    running = sum(one and not there for one, there in zip(found.running, found.whole, strict=True))
    counts = BackfillCounts(running=running, waiting=scope.count - whole - running, skipped=whole)
    return Backfill(
        purpose=purpose,
        name="",
        arn="",
        status="SUCCEEDED",
        start=scope.start,
        end=scope.end,
        every=scope.every,
        params=scope.params,
        concurrency=concurrency,
        counts=counts,
    )


def _write(project: Project, found: Survey, indexes: Iterator[int], bucket: str, key: str) -> None:
    """Write the list of windows to S3, through a file when it is long."""
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(("name", "date_start", "date_end"))
        for index in indexes:
            window = found.scope.window(index)
            name = execution_name(window, found.scope.params, found.attempts[index] + 1)
            rows.writerow((name, window.start, window.end))
        text.flush()
        text.detach()
        file.seek(0)
        with project.asked(f"s3://{bucket}/{key}", "s3:PutObject"):
            project.client("s3").upload_fileobj(file, bucket, key)


def _forget(project: Project, bucket: str, key: str) -> None:
    with project.asked(f"s3://{bucket}/{key}", "s3:DeleteObject"):
        project.client("s3").delete_object(Bucket=bucket, Key=key)


def _begin(project: Project, purpose: str, record: Record) -> Record | None:
    """Start the backfill's execution; None when its name is taken."""
    client = project.client("stepfunctions")
    with project.asked(f"the backfills of {purpose}", "states:StartExecution"):
        try:
            answer: dict[str, Any] = client.start_execution(
                stateMachineArn=machine_arn(project, purpose),
                name=record.name,
                input=record.given(),
            )
        except client.exceptions.ExecutionAlreadyExists:
            return None
        except client.exceptions.StateMachineDoesNotExist as error:
            raise not_deployed(project, purpose) from error
    return read_record(project, purpose, answer["executionArn"])
