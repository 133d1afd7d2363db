"""`batcat status`: what ran last, how it went, and why the newest one failed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, overload
from urllib.parse import quote

from batcat_runtime.errors import (
    AccessDeniedError,
    NoSuchExecutionError,
    NotDeployedError,
    UserError,
)
from batcat_runtime.operate.connection import Project, open_project
from batcat_runtime.operate.executions import (
    Execution,
    describe,
    find_execution,
    history,
    list_executions,
    not_deployed,
)
from batcat_runtime.operate.history import State, read_jobs, states_of
from batcat_runtime.operate.manifests import Result, folder_of, result_of
from batcat_runtime.text import Table

if TYPE_CHECKING:
    from batcat_runtime.operate.failures import Failure

LAST = 5
_MOST_LAST = 1000
_AT_ONCE = 8
_CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


@dataclass(frozen=True)
class Row:
    """One execution in the list.

    Attributes
    ----------
    execution : Execution
        Its name, status, times, window and parameters.
    origin : str
        What started it: ``schedule``, ``upload``, ``backfill``, ``run``, ``test`` or ``hand``.
    seconds : float
        How long it took, or has been running.
    rows : int or None
        The rows of its result; None when it has none.
    missing : str
        What is missing of the result of an execution that succeeded; empty when nothing is.
    """

    execution: Execution
    origin: str
    seconds: float
    rows: int | None = None
    missing: str = ""


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
    console : str
        The workflow's page in the AWS console.
    """

    purpose: str
    region: str
    account: str
    deployed: bool
    timezone: str
    schedule: ScheduleState | None = None
    executions: tuple[Row, ...] = ()
    failure: Failure | None = None
    console: str = ""


@dataclass(frozen=True)
class Detail:
    """One execution in full.

    Attributes
    ----------
    row : Row
        As in the list.
    timezone : str
        As for the pipeline.
    states : tuple of State
        The states that it went through, with their jobs.
    result : Result or None
        What it left, with its files.
    result_uri : str
        The ``s3://`` folder of the result; empty without one.
    failure : Failure or None
        Why it did not succeed.
    console : str
        Its page in the AWS console.
    """

    row: Row
    timezone: str
    states: tuple[State, ...]
    result: Result | None
    result_uri: str
    failure: Failure | None
    console: str


@overload
def status(
    execution: None = None,
    *,
    last: int = LAST,
    folder: str | Path | None = None,
    purpose: str | None = None,
) -> Table[PurposeStatus]: ...
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
) -> Table[PurposeStatus] | Detail:
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
        return _detail(project, execution, purpose)
    wanted = project.purposes(purpose)
    found = [_purpose(project, each, last) for each in wanted]
    if not any(each.deployed for each in found):
        raise not_deployed(project, ", ".join(wanted))
    return Table(
        found,
        {
            "Pipeline": lambda each: each.purpose,
            "Schedule": lambda each: each.schedule.state if each.schedule else "none",
            "Newest": lambda each: each.executions[0].execution.name if each.executions else None,
            "State": lambda each: each.executions[0].execution.status if each.executions else None,
            "Why": lambda each: each.failure.summary if each.failure else None,
        },
    )


def timezone_of(project: Project, purpose: str) -> str:
    """Return the zone that a purpose's windows are reckoned in, and its times are shown in."""
    schedule = project.config.purposes[purpose].schedule
    return schedule.timezone if schedule else "UTC"


def _purpose(project: Project, purpose: str, last: int) -> PurposeStatus:
    deployed, rows = True, []
    try:
        listed = [each["executionArn"] for each in islice(list_executions(project, purpose), last)]
    except NotDeployedError:
        deployed, listed = False, []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        looked_up = pool.map(lambda arn: _row(project, purpose, arn), listed)
        rows = [row for row in looked_up if row is not None]
    machine = project.machine_arn(purpose)
    return PurposeStatus(
        purpose=purpose,
        region=project.config.region,
        account=project.account,
        deployed=deployed,
        timezone=timezone_of(project, purpose),
        schedule=_schedule(project, purpose),
        executions=tuple(rows),
        failure=_why(project, rows[0].execution) if rows else None,
        console=_console(project, f"statemachines/view/{machine}"),
    )


def _row(project: Project, purpose: str, arn: str) -> Row | None:
    try:
        execution = describe(project, purpose, arn)
    except NoSuchExecutionError:
        return None  # forgotten since it was listed
    result, missing = None, ""
    if execution.succeeded:
        try:
            result = result_of(project, purpose, execution.name, execution.day)
        except AccessDeniedError:
            missing = "not ours to read"
    return _row_of(execution, result, missing)


def _row_of(execution: Execution, result: Result | None, missing: str = "") -> Row:
    if execution.succeeded and not missing:
        missing = result.missing if result else "it left no result"
    rows = result.rows if result else None
    return Row(execution, execution.origin, execution.seconds, rows, missing)


def _why(project: Project, execution: Execution) -> Failure | None:
    if execution.running or execution.succeeded:
        return None
    from batcat_runtime.operate.failures import explain

    return explain(project, execution)


def _console(project: Project, page: str) -> str:
    """Return a page of Step Functions in the console of the right partition."""
    host = _CONSOLES[project.config.partition]
    return f"https://{host}/states/home?region={project.config.region}#/{quote(page, safe=':/')}"


def _detail(project: Project, name: str, purpose: str | None) -> Detail:
    found = find_execution(project, name, purpose)
    states = history(project, found.arn)
    with project.asked("sagemaker:DescribeProcessingJob", f"the jobs of {found.name}"):
        jobs = read_jobs(project.client("sagemaker"), states)
    result = result_of(project, found.purpose, found.name, found.day)
    return Detail(
        row=_row_of(found, result),
        timezone=timezone_of(project, found.purpose),
        states=states_of(states, jobs),
        result=result,
        result_uri=folder_of(project, result) if result else "",
        failure=_why(project, found),
        console=_console(project, f"v2/executions/details/{found.arn}"),
    )


def _schedule(project: Project, purpose: str) -> ScheduleState | None:
    wanted = project.config.purposes[purpose].schedule
    if wanted is None:
        return None
    name, absent = project.names(purpose).schedule, {"ResourceNotFoundException"}
    try:
        place = f"the schedule {name}"
        found = project.call("scheduler:GetSchedule", place, absent=absent, Name=name)
        states = {"ENABLED": "on", "DISABLED": "off"}
        state = states.get(found.get("State", ""), "not deployed")
    except AccessDeniedError:
        state = "unknown"
    return ScheduleState(wanted.expression, wanted.timezone, state)
