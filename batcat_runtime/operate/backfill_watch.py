"""How a backfill stands, while it runs and at its end, in few requests.

While it runs, Step Functions' own counts of its Map Run are asked for, and its failed children only
when there are more of them than before. At its end, every window is looked at once more: what
counts is the whole result, not what the Map Run says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from botocore.exceptions import ClientError

from batcat_runtime.errors import (
    BatcatError,
    ConnectError,
    CredentialsError,
    NoSuchExecutionError,
    ThrottledError,
    WaitInterruptedError,
)
from batcat_runtime.operate.backfill_record import (
    Backfill,
    BackfillCounts,
    BackfillFailure,
    Record,
    read_record,
)
from batcat_runtime.operate.connection import Project
from batcat_runtime.operate.executions import Window, describe, execution_arn
from batcat_runtime.operate.survey import Survey, survey

MOST_REASONS = 100
_SHOWN = 5
_PATIENCE = 20  # looks in a row that may fail before waiting is given up


def follow(
    project: Project,
    purpose: str,
    record: Record,
    *,
    watch: Callable[[Backfill], None],
    sleep: Callable[[float], None],
) -> Backfill:
    """Look at a backfill again and again until it has ended; return its outcome.

    Raises
    ------
    WaitInterruptedError
        Ctrl-C, or AWS does not answer any more; the backfill goes on.
    """
    look = _Look(project, purpose, record)
    pause, lost = 0.4, 0
    try:
        while True:
            try:
                now = look.now()
                if now.status != "RUNNING":
                    watch(now)
                    return outcome(project, purpose, look.record)
                watch(now)
                lost = 0
            except (ConnectError, ThrottledError):
                lost += 1
                if lost > _PATIENCE:
                    raise
            # The last windows are watched more closely: somebody waits for the end.
            pause = min(1.0 if look.nearly_done else 5.0, pause * 1.3)
            sleep(pause)
    except (KeyboardInterrupt, CredentialsError, ConnectError, ThrottledError) as error:
        why = "" if isinstance(error, KeyboardInterrupt) else f" {error.message}"
        raise WaitInterruptedError(
            f"The backfill {record.name} goes on in AWS.{why}",
            fix=f"Come back to it with `batcat backfill show -p {purpose}`, or stop it with "
            f"`batcat backfill stop -p {purpose}`.",
        ) from error


def at_once(project: Project, purpose: str, record: Record) -> Backfill:
    """Return how a backfill stands, without waiting."""
    if record.running:
        return _Look(project, purpose, record).now()
    return outcome(project, purpose, record)


def outcome(project: Project, purpose: str, record: Record) -> Backfill:
    """Return what became of every window of a backfill that has ended."""
    found = survey(project, purpose, record.scope, since=record.since)
    running = 0
    for index in range(found.scope.count):
        if found.running[index] and not found.whole[index]:
            running += _still_runs(project, purpose, found, index)
    untried_is_waiting = record.status == "ABORTED" or record.failed_only
    left, waiting, stopped = [], 0, 0
    for index in found.missing():
        if untried_is_waiting and not found.attempts[index]:
            waiting += 1
            continue
        left.append(index)
        stopped += found.status(index) == "ABORTED"
    whole = sum(found.whole)
    skipped = min(record.skipped, whole)
    status = "ABORTED" if record.status == "ABORTED" else "FAILED" if left else "SUCCEEDED"
    return _backfill(
        purpose,
        record,
        status,
        BackfillCounts(whole - skipped, running, waiting, len(left) - stopped, stopped, skipped),
        tuple(_reasons(project, purpose, record, found, left)),
    )


def _still_runs(project: Project, purpose: str, found: Survey, index: int) -> bool:
    """Look at an execution that was listed as running: lists are behind by a moment."""
    try:
        one = describe(project, purpose, execution_arn(project, purpose, found.name(index)))
    except NoSuchExecutionError:
        return True  # of another name
    found.note_end(index, one.status)
    return one.running


class _Look:
    """One look after the other at a backfill that runs."""

    def __init__(self, project: Project, purpose: str, record: Record) -> None:
        self.project = project
        self.purpose = purpose
        self.record = record
        self.counts: BackfillCounts | None = None
        self._map_run = ""
        self._failures: tuple[BackfillFailure, ...] = ()
        self._failed = 0

    @property
    def nearly_done(self) -> bool:
        """Whether no window was waiting at the last look."""
        return self.counts is not None and self.counts.waiting == 0

    def now(self) -> Backfill:
        """Ask once more."""
        self.record = read_record(self.project, self.purpose, self.record.arn)
        record = self.record
        self._map_run = self._map_run or map_run_of(self.project, record.arn)
        self.counts = self._count()
        if self.counts.failed > self._failed:
            self._failed = self.counts.failed
            newest = failed_children(self.project, self._map_run)
            self._failures = tuple(islice(newest, _SHOWN))
        status = "RUNNING" if record.running else record.status
        return _backfill(self.purpose, record, status, self.counts, self._failures)

    def _count(self) -> BackfillCounts:
        record = self.record
        if not self._map_run:
            return BackfillCounts(waiting=record.windows, skipped=record.skipped)
        with self.project.asked(f"the backfill {record.name}", "states:DescribeMapRun"):
            answer = self.project.client("stepfunctions").describe_map_run(mapRunArn=self._map_run)
        counts = answer["itemCounts"]
        failed = counts["failed"] + counts["timedOut"]
        ended = counts["succeeded"] + failed + counts["aborted"]
        return BackfillCounts(
            done=counts["succeeded"],
            running=counts["running"],
            # Not `pending`: Step Functions may not have read the whole list yet.
            waiting=max(0, record.windows - ended - counts["running"]),
            failed=failed,
            stopped=counts["aborted"],
            skipped=record.skipped,
        )


def map_run_of(project: Project, arn: str) -> str:
    """Return the ARN of a backfill's Map Run; empty when it has not begun."""
    with project.asked(f"the backfill {arn.rpartition(':')[2]}", "states:ListMapRuns"):
        runs = project.client("stepfunctions").list_map_runs(executionArn=arn)["mapRuns"]
    return str(runs[0]["mapRunArn"]) if runs else ""


def list_children(project: Project, map_run: str, status: str) -> Iterator[dict[str, Any]]:
    """Yield the children of a Map Run that have a status, newest first, each described.

    A child that is forgotten by now is left out.
    """
    client = project.client("stepfunctions")
    pages = client.get_paginator("list_executions").paginate(mapRunArn=map_run, statusFilter=status)
    with project.asked("the windows of the backfill", "states:ListExecutions"):
        for page in pages:
            for one in page["executions"]:
                try:
                    yield client.describe_execution(executionArn=one["executionArn"])
                except ClientError as error:
                    if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
                        raise


def failed_children(project: Project, map_run: str) -> Iterator[BackfillFailure]:
    """Yield the failed windows of a Map Run, newest first, with their reasons."""
    for child in list_children(project, map_run, "FAILED"):
        given = json.loads(child["input"])
        error, cause = child.get("error") or "", child.get("cause") or ""
        nested = _nested(cause)
        status = str(nested.get("Status") or "")
        reason = _words(str(nested.get("Error") or error), str(nested.get("Cause") or cause))
        if nested and status == "ABORTED":
            reason = reason or "it was stopped"
        window = Window(given["date_start"], given["date_end"])
        yield BackfillFailure(window, given["name"], status, reason)


def _reasons(
    project: Project, purpose: str, record: Record, found: Survey, left: list[int]
) -> Iterator[BackfillFailure]:
    """Say why windows have no whole result: of the first hundred, by their executions."""
    others: dict[str, BackfillFailure] | None = None
    for index in left[:MOST_REASONS]:
        window, name = found.scope.window(index), found.name(index)
        try:
            one = describe(project, purpose, execution_arn(project, purpose, name))
            reason = _words(one.error, one.cause)
            if one.status == "SUCCEEDED":
                reason = "its execution succeeded, but the result is not whole"
            elif one.status == "ABORTED":
                reason = reason or "it was stopped"
            yield BackfillFailure(window, name, one.status, reason)
        except NoSuchExecutionError:
            if others is None:
                others = _never_started(project, record)
            yield others.get(
                name,
                BackfillFailure(window, name, "", record.error or "it was not started"),
            )


def _never_started(project: Project, record: Record) -> dict[str, BackfillFailure]:
    try:
        map_run = map_run_of(project, record.arn)
        found = islice(failed_children(project, map_run), MOST_REASONS) if map_run else ()
        return {one.execution: one for one in found}
    except BatcatError:
        return {}


def _backfill(
    purpose: str,
    record: Record,
    status: str,
    counts: BackfillCounts,
    failures: tuple[BackfillFailure, ...],
) -> Backfill:
    scope = record.scope
    return Backfill(
        purpose=purpose,
        name=record.name,
        arn=record.arn,
        status=status,
        start=scope.start,
        end=scope.end,
        every=scope.every,
        params=scope.params,
        concurrency=record.concurrency,
        counts=counts,
        failures=failures,
        started=record.started,
        stopped=record.stopped,
    )


def _words(error: str, cause: str) -> str:
    """Return a reason in one line: the last of a job's exit message says the most.

    The cause of a failed job is its description as JSON.
    """
    description = _object(cause)
    told = (description.get("FailureReason"), description.get("ExitMessage"))
    reason = "\n".join(str(text) for text in told if text) or cause
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    return lines[-1] if lines else error


def _nested(cause: str) -> dict[str, Any]:
    """Return the description of the nested execution within a child's cause."""
    value = _object(cause)
    return value if "ExecutionArn" in value else {}


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
