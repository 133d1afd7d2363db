"""What there is to know of a backfill: its record, its progress, why windows failed.

The record is the input of the backfill's own execution. Whoever comes later, on another machine,
finds there which windows it was for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from batcat_runtime.errors import UserError
from batcat_runtime.operate.connection import Project
from batcat_runtime.operate.executions import RUNNING, Window
from batcat_runtime.operate.survey import Range

_NONE = {"StateMachineDoesNotExist", "StateMachineDeleting"}


@dataclass(frozen=True)
class BackfillFailure:
    """A window that a backfill did not compute.

    Attributes
    ----------
    window : Window
        Which.
    execution : str
        The name of the execution of the workflow that was to compute it.
    status : str
        How that ended: ``FAILED``, ``TIMED_OUT`` or ``ABORTED``; ``SUCCEEDED`` when its result is
        not whole; empty when it was not started.
    reason : str
        Why, in the job's own words where there are some.
    """

    window: Window
    execution: str
    status: str
    reason: str


@dataclass(frozen=True)
class BackfillCounts:
    """A backfill's windows by what became of them.

    Attributes
    ----------
    done, running, waiting, failed, stopped : int
        Of those that it is to compute; `stopped` were running when it was stopped.
    skipped : int
        Those that had a whole result already.
    """

    done: int = 0
    running: int = 0
    waiting: int = 0
    failed: int = 0
    stopped: int = 0
    skipped: int = 0


@dataclass(frozen=True)
class Backfill:
    """A backfill, as it is at the moment.

    Attributes
    ----------
    purpose, name, arn : str
        The pipeline, and the backfill's own execution; empty when there was nothing to start.
    status : str
        ``RUNNING``, ``SUCCEEDED`` (nothing failed), ``FAILED`` or ``ABORTED`` (it was stopped).
    start, end, every : str
        Its range.
    params : dict
        The further parameters of every window.
    concurrency : int
        How many windows are computed at once.
    counts : BackfillCounts
        The windows by what became of them.
    failures : tuple of BackfillFailure
        The last five while it runs; at the end the first hundred.
    started, stopped : datetime or None
        When.
    attached : bool
        Whether somebody else had started it already.
    """

    purpose: str
    name: str
    arn: str
    status: str
    start: str
    end: str
    every: str
    params: dict[str, Any]
    concurrency: int
    counts: BackfillCounts
    failures: tuple[BackfillFailure, ...] = ()
    started: datetime | None = None
    stopped: datetime | None = None
    attached: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether nothing failed or was stopped."""
        return self.status == "SUCCEEDED"

    @property
    def seconds(self) -> float:
        """How long it took, or has been running."""
        if self.started is None:
            return 0.0
        return max(0.0, ((self.stopped or datetime.now(UTC)) - self.started).total_seconds())


@dataclass(frozen=True)
class Record:
    """The input of a backfill's execution, and how that stands.

    Attributes
    ----------
    scope : Range
        All its windows.
    bucket, key : str
        Where the list of those to compute lies.
    concurrency : int
        How many at once.
    windows, skipped : int
        How many are listed; how many had a whole result.
    failed_only : bool
        Whether only those are listed that had failed before.
    since : str
        For a forced one: results must be at least this new.
    name, arn, status : str
        The execution's; empty before it is started.
    started, stopped : datetime or None
        Its times.
    """

    scope: Range
    bucket: str
    key: str
    concurrency: int
    windows: int
    skipped: int
    since: str = ""
    failed_only: bool = False
    name: str = ""
    arn: str = ""
    status: str = ""
    started: datetime | None = None
    stopped: datetime | None = None
    error: str = field(default="", repr=False)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.status in RUNNING

    def given(self) -> str:
        """Return the input, as JSON."""
        scope = self.scope
        return json.dumps(
            {
                **{"start": scope.start, "end": scope.end, "every": scope.every},
                **{"params": scope.params, "concurrency": self.concurrency},
                **{"bucket": self.bucket, "key": self.key},
                **{"windows": self.windows, "skipped": self.skipped, "since": self.since},
                "failed_only": self.failed_only,
            }
        )


def machine_arn(project: Project, purpose: str) -> str:
    """Return the ARN of the state machine of a purpose's backfills."""
    names = project.names(purpose)
    return names.arn("states", f"stateMachine:{names.backfill_machine}", project.account)


def list_backfills(
    project: Project, purpose: str, *, status: str | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the backfills of a purpose, newest first, as ListExecutions has them."""
    asked = {"stateMachineArn": machine_arn(project, purpose)}
    if status:
        asked["statusFilter"] = status
    pages = project.client("stepfunctions").get_paginator("list_executions").paginate(**asked)
    with project.asked(f"the backfills of {purpose}", "states:ListExecutions"):
        try:
            for page in pages:
                yield from page["executions"]
        except ClientError as error:
            if error.response["Error"]["Code"] not in _NONE:
                raise


def read_record(project: Project, purpose: str, arn: str) -> Record:
    """Return the record of a backfill by its execution's ARN."""
    with project.asked(f"the backfill {arn.rpartition(':')[2]}", "states:DescribeExecution"):
        answer = project.client("stepfunctions").describe_execution(executionArn=arn)
    given = json.loads(answer["input"])
    try:
        scope = Range(given["start"], given["end"], given["every"], given["params"])
        listed = (given["bucket"], given["key"], given["concurrency"], given["windows"])
        noted = (given["skipped"], given["since"], given["failed_only"])
    except KeyError as error:
        raise UserError(
            f"The execution {answer['name']} of the backfills of {purpose} is not BatCat's: its "
            f"input has no {error}.",
            fix="Start backfills with `batcat backfill`, not by hand.",
        ) from error
    return Record(
        scope,
        *listed,
        *noted,
        name=answer["name"],
        arn=arn,
        status=answer["status"],
        started=answer["startDate"],
        stopped=answer.get("stopDate"),
        error=": ".join(filter(None, (answer.get("error"), answer.get("cause")))),
    )


def last_record(project: Project, purpose: str) -> Record:
    """Return the newest backfill of a purpose.

    Raises
    ------
    UserError
        There has been none.
    """
    newest = next(list_backfills(project, purpose), None)
    if newest is None:
        raise UserError(
            f"There has been no backfill of {purpose} in the last 90 days.",
            fix="Start one: `batcat backfill 2022-01-01 2022-02-01 --every day`.",
        )
    return read_record(project, purpose, newest["executionArn"])
