"""Starting one execution and following it to its end; what `run` and `test_workflow` share."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from batcat_runtime.errors import (
    ConnectError,
    CredentialsError,
    ThrottledError,
    WaitInterruptedError,
)
from batcat_runtime.operate.executions import Execution, describe, not_deployed
from batcat_runtime.operate.history import StateRun, read_states
from batcat_runtime.operate.parameters import checked_params
from batcat_runtime.operate.project import Project
from batcat_runtime.operate.visits import visits_of
from batcat_runtime.operate.windows import Window
from batcat_runtime.text import format_seconds

Scalar = str | int | float | bool
# What ends a wait without ending what is waited for.
LOST = (CredentialsError, ConnectError, ThrottledError)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0


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


def execution_name(form: str, now: datetime | None = None) -> str:
    """Return a new name for an execution: what starts it, when, and six digits of chance."""
    return f"{(now or datetime.now(UTC)).strftime(form)}-{uuid.uuid4().hex[:6]}"


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
    machine = machine or project.machine_arn(purpose)
    with project.asked(f"the workflow of {purpose}", "states:StartExecution"):
        try:
            answer = project.client("stepfunctions").start_execution(
                stateMachineArn=machine, name=name, input=json.dumps(given)
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in {
                "StateMachineDoesNotExist",
                "StateMachineDeleting",
            }:
                raise not_deployed(project, purpose) from error
            raise
    return str(answer["executionArn"])


@dataclass(frozen=True)
class Look:
    """One look at an execution: how it stands, and the states that it has visited so far."""

    execution: Execution
    states: list[StateRun]


def follow(
    project: Project,
    purpose: str,
    arn: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
    timeout: float | None = None,
) -> Iterator[Look]:
    """Yield looks at an execution until it has ended; the last one is its end.

    Parameters
    ----------
    project, purpose, arn
        Which execution.
    sleep : callable
        Waits between two looks.
    timeout : float, optional
        Seconds after which the looking ends, with an execution that goes on.
    """
    client = project.client("stepfunctions")
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        execution = describe(project, purpose, arn)
        with project.asked(f"the execution {execution.name}", "states:GetExecutionHistory"):
            states = read_states(client, arn)
        yield Look(execution, states)
        if not execution.running or (deadline is not None and time.monotonic() > deadline):
            return
        sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


@dataclass
class Lines:
    """Tells the looks at an execution as lines: each state that is entered, and each that ends."""

    tell: Callable[[str], None]
    _told: dict[tuple[str, datetime], str] = field(default_factory=dict)

    def show(self, look: Look) -> None:
        """Tell what has changed since the last look."""
        for visit in visits_of(look.states):
            key = (visit.state, visit.entered)
            before = self._told.get(key)
            if before is None:
                self.tell(f"state {visit.state}: entered")
            if before != visit.status and visit.status != "running":
                took = format_seconds(visit.seconds)
                self.tell(f"state {visit.state}: {visit.status} after {took}")
            self._told[key] = visit.status


def goes_on(
    name: str,
    error: BaseException | None = None,
    *,
    started: bool = True,
) -> WaitInterruptedError:
    """Return the error for a wait that ended before the execution did.

    Parameters
    ----------
    name : str
        Which execution goes on.
    error : BaseException, optional
        What ended the wait, if not Ctrl-C: then the exit code is 1.
    started : bool
        Whether AWS has confirmed that it was started.
    """
    back = (
        f"Come back with `batcat status {name}` or `batcat logs {name} -f`. "
        f"To stop it: `batcat stop {name}`."
    )
    if not started:
        return WaitInterruptedError(
            f"Interrupted while the execution {name} was being started; it may go on.",
            fix=f"Look with `batcat status {name}`.",
        )
    if error is None:
        return WaitInterruptedError(f"No longer waiting; the execution {name} goes on.", fix=back)
    first = getattr(error, "fix", "")
    found = WaitInterruptedError(
        f"The execution {name} goes on, but waiting for it is over: "
        f"{getattr(error, 'message', error)}",
        fix=f"{first} {back}".strip(),
    )
    found.exit_code = 1
    return found
