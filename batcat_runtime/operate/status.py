"""`batcat status`: what ran last, how it went, and why the newest one failed."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, overload

from botocore.exceptions import ClientError

from batcat_runtime.errors import (
    AccessDeniedError,
    NoSuchExecutionError,
    NotDeployedError,
    UserError,
)
from batcat_runtime.operate.connection import Project, open_project
from batcat_runtime.operate.detail import Detail, detail_of
from batcat_runtime.operate.executions import describe, list_executions, not_deployed
from batcat_runtime.operate.failures import Failure, explain
from batcat_runtime.operate.manifests import result_of
from batcat_runtime.operate.rows import Row, row_of, timezone_of

LAST = 5
_MOST_LAST = 1000
_AT_ONCE = 8


@dataclass(frozen=True)
class ScheduleState:
    """The schedule of a pipeline.

    Attributes
    ----------
    expression, timezone : str
        As in the configuration.
    state : str
        ``on``, ``off``, ``not deployed``, or ``unknown`` when we may not ask.
    """

    expression: str
    timezone: str
    state: str


@dataclass(frozen=True)
class PurposeStatus:
    """What is to be said of one pipeline.

    Attributes
    ----------
    purpose, region, account : str
        Which pipeline, and where.
    deployed : bool
        Whether its workflow is there.
    timezone : str
        The zone that its windows are reckoned in: the schedule's, else UTC.
    schedule : ScheduleState or None
        None when the configuration has none.
    executions : tuple of Row
        The last ones, newest first.
    failure : Failure or None
        Why the newest one failed, if it did.
    """

    purpose: str
    region: str
    account: str
    deployed: bool
    timezone: str
    schedule: ScheduleState | None = None
    executions: tuple[Row, ...] = ()
    failure: Failure | None = None


@overload
def status(
    execution: None = None,
    *,
    last: int = LAST,
    folder: str | Path | None = None,
    purpose: str | None = None,
) -> list[PurposeStatus]: ...
@overload
def status(
    execution: str,
    *,
    last: int = LAST,
    folder: str | Path | None = None,
    purpose: str | None = None,
) -> Detail: ...
def status(
    execution: str | None = None,
    *,
    last: int = LAST,
    folder: str | Path | None = None,
    purpose: str | None = None,
) -> list[PurposeStatus] | Detail:
    """Return the last executions of each pipeline, and why the newest one failed if it did.

    Parameters
    ----------
    execution : str, optional
        Return this one in full instead: its name, the start of its name, or its ARN.
    last : int
        How many executions of each.
    folder : str or Path, optional
        The project's folder; by default the one around the working directory.
    purpose : str, optional
        One pipeline; by default all.

    Returns
    -------
    list of PurposeStatus, or Detail
        In the order of the configuration; or the one execution.

    Raises
    ------
    NotDeployedError
        None of them is deployed in this account and region.
    NoSuchExecutionError
        There is no such execution, or Step Functions keeps it no longer; says what remains of it.

    Examples
    --------
    >>> [row.execution.status for row in status()[0].executions]  # doctest: +SKIP
    ['SUCCEEDED', 'FAILED']
    """
    if not 1 <= last <= _MOST_LAST:
        raise UserError(f"last={last} is none of 1 to {_MOST_LAST}.", fix="For example --last 20.")
    project = open_project(folder)
    if execution is not None:
        return detail_of(project, execution, purpose)
    wanted = project.purposes(purpose)
    found = [_purpose(project, one, last) for one in wanted]
    if not any(one.deployed for one in found):
        raise not_deployed(project, ", ".join(wanted))
    return found


def _purpose(project: Project, purpose: str, last: int) -> PurposeStatus:
    deployed, rows = True, []
    try:
        listed = [one["executionArn"] for one in islice(list_executions(project, purpose), last)]
    except NotDeployedError:
        deployed, listed = False, []
    if listed:
        with ThreadPoolExecutor(min(_AT_ONCE, len(listed))) as pool:
            rows = [
                row
                for row in pool.map(lambda arn: _looked_up(project, purpose, arn), listed)
                if row is not None
            ]
    newest = rows[0].execution if rows else None
    return PurposeStatus(
        purpose=purpose,
        region=project.config.region,
        account=project.account,
        deployed=deployed,
        timezone=timezone_of(project, purpose),
        schedule=_schedule(project, purpose),
        executions=tuple(rows),
        failure=explain(project, newest) if newest else None,
    )


def _looked_up(project: Project, purpose: str, arn: str) -> Row | None:
    try:
        execution = describe(project, purpose, arn)
    except NoSuchExecutionError:
        return None  # forgotten since it was listed
    result, missing = None, ""
    if execution.status == "SUCCEEDED":
        try:
            result = result_of(project, purpose, execution.name, execution.day)
        except AccessDeniedError:
            missing = "not ours to read"
    return row_of(execution, result, timezone_of(project, purpose), missing)


def _schedule(project: Project, purpose: str) -> ScheduleState | None:
    wanted = project.config.purposes[purpose].schedule
    if wanted is None:
        return None
    name, state = project.names(purpose).schedule, "unknown"
    with (
        contextlib.suppress(AccessDeniedError),
        project.asked(f"the schedule {name}", "scheduler:GetSchedule"),
    ):
        try:
            found: dict[str, Any] = project.client("scheduler").get_schedule(Name=name)
            state = "on" if found["State"] == "ENABLED" else "off"
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            state = "not deployed"
    return ScheduleState(wanted.expression, wanted.timezone, state)
