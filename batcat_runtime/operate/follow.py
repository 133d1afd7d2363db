"""Starting one execution and following it to its end; what `run` and `test_workflow` share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from batcat_runtime.errors import (
    ConnectError,
    CredentialsError,
    ThrottledError,
    WaitInterruptedError,
)
from batcat_runtime.operate.connection import Project
from batcat_runtime.operate.executions import Execution, describe
from batcat_runtime.operate.history import StateRun, read_states
from batcat_runtime.operate.visits import visits_of
from batcat_runtime.text import format_seconds

# What ends a wait without ending what is waited for.
LOST = (CredentialsError, ConnectError, ThrottledError)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0


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
