"""Executions of a purpose's workflow: what each computes, which there are, and starting one.

An execution computes a window of time, half-open: its ends are dates, or date-times of whole
minutes without a zone, since the schedule's own zone counts. They travel as text: ``2022-01-08``,
``2022-01-08T05:00``.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from batcat_runtime.errors import (
    BatcatError,
    ConnectError,
    CredentialsError,
    NoSuchExecutionError,
    NotDeployedError,
    ServiceError,
    ThrottledError,
    UserError,
    WaitInterruptedError,
)
from batcat_runtime.log import report
from batcat_runtime.operate.connection import Project, code_of
from batcat_runtime.operate.history import JOB_LOG_GROUP, StateRun, read_states
from batcat_runtime.text import format_seconds
from batcat_runtime.window import ends_of, text_of

RUNNING = frozenset({"RUNNING", "PENDING_REDRIVE"})
Scalar = str | int | float | bool
# Who starts an execution says so in its input, or by the form of its name.
_ORIGINS = (
    ("upload", re.compile(r"upload_[0-9a-f]{32}")),
    ("test", re.compile(r"test-\d{8}-\d{6}-[0-9a-f]{6}")),
    ("run", re.compile(r"run-\d{8}-\d{6}-[0-9a-f]{6}")),
)
ORIGINS = {
    "schedule": "by the schedule",
    "upload": "by an upload",
    "backfill": "by a backfill",
    "test": "by a test",
    "run": "by `batcat run`",
    "hand": "by hand",
}
# What ends a wait without ending what is waited for.
LOST = (CredentialsError, ConnectError, ThrottledError)
_LONGEST_LOSS = 300.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_LONGEST_PARAMS = 256  # SageMaker's limit for an environment variable


@dataclass(frozen=True, order=True)
class Window:
    """A half-open window ``[start, end)``.

    Attributes
    ----------
    start, end : str
        ``2022-01-08`` or ``2022-01-08T05:00``; both of the same form.
    """

    start: str
    end: str

    def __str__(self) -> str:
        return f"{self.start} to {self.end}"

    @property
    def day(self) -> str:
        """The day that it begins on, which names the folder of its results."""
        return self.start[:10]


@dataclass(frozen=True)
class Execution:
    """One execution of a workflow.

    Attributes
    ----------
    purpose, name, arn : str
        The pipeline, and the execution's own.
    status : str
        ``RUNNING``, ``SUCCEEDED``, ``FAILED``, ``TIMED_OUT`` or ``ABORTED``.
    started, stopped : datetime
        With time zone; `stopped` is None while it runs.
    window : Window or None
        What it computes; None for all data.
    params : dict
        Its further parameters.
    error, cause : str
        Why it did not succeed, as Step Functions has it; empty otherwise.
    origin : str
        What started it: ``schedule``, ``upload``, ``backfill``, ``run``, ``test`` or ``hand``.
    """

    purpose: str
    name: str
    arn: str
    status: str
    started: datetime
    stopped: datetime | None = None
    window: Window | None = None
    params: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    cause: str = ""
    origin: str = "hand"

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.status in RUNNING

    @property
    def succeeded(self) -> bool:
        """Whether it ended well."""
        return self.status == "SUCCEEDED"

    @property
    def seconds(self) -> float:
        """How long it took, or has been running."""
        return max(0.0, ((self.stopped or datetime.now(UTC)) - self.started).total_seconds())

    @property
    def day(self) -> str:
        """The day of the folder that its result lies in."""
        return self.window.day if self.window else f"{self.started.astimezone(UTC):%Y-%m-%d}"


def list_executions(
    project: Project, purpose: str, *, status: str | None = None, page_size: int = 100
) -> Iterator[dict[str, Any]]:
    """Yield the executions of a purpose, newest first, as ListExecutions has them.

    Raises
    ------
    NotDeployedError
        The purpose has no workflow in this account and region.
    """
    with _deployed(project, purpose):
        asked = {"statusFilter": status} if status else {}
        asked |= {"stateMachineArn": project.machine_arn(purpose)}
        paging = {"PageSize": page_size}
        place = f"the workflow of {purpose}"
        yield from project.pages("states:ListExecutions", place, PaginationConfig=paging, **asked)


def describe(project: Project, purpose: str, arn: str) -> Execution:
    """Return an execution by its ARN.

    Raises
    ------
    NoSuchExecutionError
        Step Functions does not know it, or no longer: it keeps executions for 90 days.
    """
    name = arn.rpartition(":")[2]
    absent = {"ExecutionDoesNotExist", "InvalidArn"}
    answer = project.call(
        "states:DescribeExecution", f"the execution {name}", absent=absent, executionArn=arn
    )
    if not answer:
        raise no_such_execution(project, name, [purpose])
    given = object_of(answer.get("input"))
    start, end = given.get("date_start"), given.get("date_end")
    params = given.get("params")
    return Execution(
        purpose=purpose,
        name=answer["name"],
        arn=answer["executionArn"],
        status=answer["status"],
        started=answer["startDate"],
        stopped=answer.get("stopDate"),
        window=Window(str(start), str(end)) if start and end else None,
        params=params if isinstance(params, dict) else {},
        error=answer.get("error") or "",
        cause=answer.get("cause") or "",
        origin=_origin(answer["name"], str(given.get("by") or "")),
    )


def find_execution(
    project: Project, execution: str | None = None, purpose: str | None = None
) -> Execution:
    """Return the execution that a person names: by ARN, by name, or the newest of all.

    Parameters
    ----------
    project : Project
        Where.
    execution : str, optional
        An ARN, a name, or the start of a name.
    purpose : str, optional
        Look in this pipeline only.

    Raises
    ------
    NoSuchExecutionError
        Nothing has been started yet, or nothing of that name.
    NotDeployedError
        No pipeline that could have it is deployed.
    """
    wanted = project.purposes(purpose)
    if execution and execution.startswith("arn:"):
        for owner in wanted:
            if execution.startswith(execution_arn(project, owner, "")):
                return describe(project, owner, execution)
        raise NoSuchExecutionError(
            f"The execution {execution} is of no pipeline of this project.",
            fix="See those that there are with `batcat status`.",
        )
    for owner in wanted if execution else ():
        # A whole name needs one request each, and no list of a hundred thousand.
        with contextlib.suppress(NoSuchExecutionError):
            return describe(project, owner, execution_arn(project, owner, str(execution)))
    found: list[tuple[datetime, str, str]] = []
    missing: NotDeployedError | None = None
    for owner in wanted:
        try:
            for listed in list_executions(project, owner):
                if listed["name"].startswith(execution or ""):
                    found.append((listed["startDate"], owner, listed["executionArn"]))
                    break
        except NotDeployedError as error:
            missing = error
    if found:
        _, owner, arn = max(found)
        return describe(project, owner, arn)
    if missing and len(wanted) == 1:
        raise missing
    if not execution:
        raise NoSuchExecutionError(
            f"Nothing has been started yet in {', '.join(wanted)}.",
            fix="Start it with `batcat run`.",
        )
    raise no_such_execution(project, execution, wanted)


def no_such_execution(project: Project, name: str, purposes: list[str]) -> NoSuchExecutionError:
    """Return the error for an execution that is not known, with what may be left of it."""
    prefix = " or ".join(project.names(owner).job_prefix for owner in purposes)
    return NoSuchExecutionError(
        f"There is no execution {name} of {', '.join(purposes)}.",
        fix="See those that there are with `batcat status`. Step Functions forgets an execution 90 "
        "days after its end: its result stays (`batcat results`), and what its jobs wrote: `aws "
        f"logs tail {JOB_LOG_GROUP} --since 120d --log-stream-name-prefix {prefix} --region "
        f"{project.config.region}`.",
    )


def execution_arn(project: Project, purpose: str, name: str) -> str:
    """Return the ARN that an execution of a purpose has by its name."""
    names = project.names(purpose)
    return names.arn("states", f"execution:{names.state_machine}:{name}", project.account)


def not_deployed(project: Project, purpose: str) -> NotDeployedError:
    """Return the error for a purpose whose workflow is not there."""
    return NotDeployedError(
        f"The pipeline {purpose} is not deployed in {project.config.region} "
        f"(account {project.account}).",
        fix="Deploy it with `batcat deploy`. If it was, look at `region` in script/config.json and "
        "at AWS_PROFILE.",
    )


def input_of(window: Window | None, params: Mapping[str, Scalar] | None) -> dict[str, Any]:
    """Return an execution's input.

    Raises
    ------
    UserError
        The parameters are impossible.
    """
    given: dict[str, Any] = {}
    if window:
        given = {"date_start": window.start, "date_end": window.end}
    if params:
        given["params"] = checked_params(params)
    return given


def new_name(form: str) -> str:
    """Return a new name for an execution: what starts it, when, and six digits of chance."""
    return f"{datetime.now(UTC).strftime(form)}-{uuid.uuid4().hex[:6]}"


def start(
    project: Project, purpose: str, name: str, given: Mapping[str, Any], machine: str = ""
) -> str:
    """Start an execution; return its ARN.

    Asking twice for the same, as a retry after a lost answer does, starts it once.

    Raises
    ------
    NotDeployedError
        The purpose has no workflow in this account and region.
    """
    asked = {"stateMachineArn": machine or project.machine_arn(purpose), "name": name}
    with _deployed(project, purpose):
        answer = project.call(
            "states:StartExecution",
            f"the workflow of {purpose}",
            input=json.dumps(given),
            **asked,
        )
    return str(answer["executionArn"])


@contextlib.contextmanager
def _deployed(project: Project, purpose: str) -> Iterator[None]:
    """Say of a state machine that is not there that the purpose is not deployed."""
    try:
        yield
    except ServiceError as error:
        if code_of(error) not in {"StateMachineDoesNotExist", "StateMachineDeleting"}:
            raise
        raise not_deployed(project, purpose) from error


@dataclass(frozen=True)
class Look:
    """One look at an execution: how it stands, and the states that it has run so far."""

    execution: Execution
    states: list[StateRun]


def follow(
    project: Project, purpose: str, arn: str, *, timeout: float | None = None
) -> Iterator[Look]:
    """Yield looks at an execution until it has ended; the last one is its end.

    Raises
    ------
    WaitInterruptedError
        Ctrl-C, the timeout (seconds), or credentials or a network that are lost: it goes on.
    """
    name = arn.rpartition(":")[2]
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = _FIRST_PAUSE

    with awaited(name):
        while True:
            seen = asked_again(lambda: Look(describe(project, purpose, arn), history(project, arn)))
            yield seen
            if not seen.execution.running:
                return
            if deadline is not None and time.monotonic() > deadline:
                raise goes_on(name, BatcatError(f"it has not ended after {timeout:g} s."))
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)


def history(project: Project, arn: str) -> list[StateRun]:
    """Return the states that an execution has run so far."""
    with project.asked("states:GetExecutionHistory", f"the execution {arn.rpartition(':')[2]}"):
        return read_states(project.client("stepfunctions"), arn)


def asked_again(call: Callable[[], Any]) -> Any:
    """Return what a call answers, asking again for five minutes while the connection is lost.

    Raises
    ------
    BatcatError
        It stayed lost, or AWS refused for a reason that does not pass.
    """
    lost, pause = 0.0, 1.0
    while True:
        try:
            answer = call()
        except BatcatError as error:
            if not _passes(error):
                raise
            if not lost:
                lost = time.monotonic()
                slow = isinstance(error, ThrottledError)
                what = "AWS asks to slow down" if slow else "The connection to AWS is lost"
                report(f"{what}; trying again for up to {format_seconds(_LONGEST_LOSS)}.")
            elif time.monotonic() - lost > _LONGEST_LOSS:
                raise
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        else:
            if lost:
                report("AWS answers again.")
            return answer


@contextlib.contextmanager
def awaited(name: str) -> Iterator[None]:
    """Say, when a wait for an execution is cut off, that it goes on and how to come back."""
    try:
        yield
    except KeyboardInterrupt:
        raise goes_on(name) from None
    except LOST as error:
        raise goes_on(name, error) from error


def goes_on(name: str, error: BatcatError | None = None) -> WaitInterruptedError:
    """Return the error for a wait that ended before the execution did.

    Without an `error`, which ended it, it was Ctrl-C; else the exit code is 1.
    """
    back = (
        f"Come back with `batcat status {name}` or `batcat logs {name} -f`. "
        f"To stop it: `batcat stop {name}`."
    )
    if error is None:
        return WaitInterruptedError(f"No longer waiting; the execution {name} goes on.", fix=back)
    found = WaitInterruptedError(
        f"The execution {name} goes on, but waiting for it is over: {error.message}",
        fix=f"{error.fix} {back}".strip(),
    )
    found.exit_code = 1
    return found


def _passes(error: BatcatError) -> bool:
    """Whether a refusal is one that passes by itself."""
    if isinstance(error, ConnectError | ThrottledError):
        return True
    response = getattr(error.__cause__, "response", None) or {}
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return isinstance(error, ServiceError) and int(status) >= 500


def _origin(name: str, by: str) -> str:
    if by in ORIGINS:
        return by
    return next((origin for origin, form in _ORIGINS if form.fullmatch(name)), "hand")


def window_of(start: str | date | None, end: str | date | None) -> Window | None:
    """Return the window from two ends as a caller gives them, or None when neither is given.

    Raises
    ------
    UserError
        One end is missing or no date, or the window is empty; nothing was started.
    """
    if (start is None) != (end is None):
        raise UserError("Give both date_start and date_end, or neither.")
    first, last = ends_of(start, end, ("date_start", "date_end"))
    return Window(text_of(first), text_of(last)) if first and last else None


def checked_params(params: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return parameters, checked.

    Raises
    ------
    UserError
        A value is no text, number or boolean, or all together are too long.
    """
    given = dict(params or {})
    if not all(isinstance(value, str | int | float | bool) for value in given.values()):
        raise UserError("params must hold texts, numbers and booleans.")
    if len(json.dumps(given)) > _LONGEST_PARAMS:
        raise UserError(
            f"params is longer than {_LONGEST_PARAMS} characters as JSON.",
            fix="Put what is long into a file in S3, and give its address.",
        )
    return given


def object_of(text: Any) -> dict[str, Any]:
    """Return what a text holds as JSON if that is an object, else an empty one."""
    try:
        value = json.loads(text or "{}")
    except (ValueError, TypeError):
        return {}
    return value if isinstance(value, dict) else {}
