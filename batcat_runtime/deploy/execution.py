"""One execution of a deployed workflow, from start to outcome: the quickest proof that it works."""

# ruff: noqa: PT028 - test_workflow is the original BatCat's name; it is no test

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from batcat_runtime.config import Config, get_config
from batcat_runtime.deploy.naming import Names
from batcat_runtime.deploy.session import account_of, session_for
from batcat_runtime.deploy.stack import StackChange
from batcat_runtime.errors import UserError, WorkflowError

_RUNNING = {"RUNNING", "PENDING_REDRIVE"}
_MOST_PARAMETERS = 256  # SageMaker's limit for an environment variable


@dataclass(frozen=True)
class WorkflowRun:
    """How an execution of a workflow ended.

    Attributes
    ----------
    arn, name : str
        The execution's.
    status : str
        ``SUCCEEDED``, ``FAILED``, ``TIMED_OUT`` or ``ABORTED``; ``RUNNING`` if it was not awaited.
    error, cause : str
        Why it did not succeed; empty otherwise.
    result_prefix : str
        The ``s3://`` prefix below which its result lies.
    seconds : float
        How long it took.
    """

    arn: str
    name: str
    status: str
    error: str
    cause: str
    result_prefix: str
    seconds: float

    @property
    def succeeded(self) -> bool:
        """Whether all is well."""
        return self.status == "SUCCEEDED"


def test_workflow(
    workflow: StackChange | None = None,
    purpose: str | None = None,
    *,
    config: Config | None = None,
    date_start: str | date | None = None,
    date_end: str | date | None = None,
    params: Mapping[str, str | int | float | bool] | None = None,
    timeout: float = 3600.0,
    progress: Callable[[str], None] = print,
    sleep: Callable[[float], None] = time.sleep,
) -> WorkflowRun:
    """Start the deployed workflow once, wait for it, say how it ended.

    Parameters
    ----------
    workflow : StackChange, optional
        What `setup_workflow` returned; by default the deployed workflow of `purpose`.
    purpose : str, optional
        May be left out when the project has one.
    config : Config, optional
        By default that of the project around the working directory.
    date_start, date_end : str or datetime.date, optional
        The half-open window of dates to compute; without it, all data.
    params : mapping, optional
        Further parameters, as the script finds them in ``job.parameters``.
    timeout : float
        Seconds to wait. The execution goes on after that. With 0, nothing is awaited.
    progress : callable
        Called with a line at each stage.
    sleep : callable
        Waits between two looks.

    Returns
    -------
    WorkflowRun
        The outcome. A failed execution is an outcome, not an exception.

    Raises
    ------
    UserError
        The window or the parameters are impossible; nothing was started.
    WorkflowError
        The workflow is not deployed, or the execution has not ended in time.
    """
    config = config or get_config()
    names = Names.of(config, purpose)
    given = _input(date_start, date_end, params)
    client = session_for(config.region).client("stepfunctions")
    machine = workflow.outputs["StateMachineArn"] if workflow else _machine_arn(config, names)
    started = datetime.now(UTC)
    name = f"test-{started:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    try:
        arn = client.start_execution(stateMachineArn=machine, name=name, input=json.dumps(given))[
            "executionArn"
        ]
    except client.exceptions.StateMachineDoesNotExist as error:
        raise WorkflowError(
            f"There is no state machine {machine}.",
            fix="Deploy it first: bash deploy/deploy.sh",
        ) from error
    progress(f"execution {name}: started")
    answer = client.describe_execution(executionArn=arn)
    deadline, pause = time.monotonic() + timeout, 0.2
    while timeout and answer["status"] in _RUNNING:
        if time.monotonic() > deadline:
            raise WorkflowError(
                f"The execution {arn} has not ended after {timeout:g} s; it goes on.",
                fix="Look at it in the Step Functions console, or give a longer timeout.",
            )
        sleep(pause)
        pause = min(pause * 1.5, 10.0)
        answer = client.describe_execution(executionArn=arn)
    run = WorkflowRun(
        arn=arn,
        name=name,
        status=answer["status"],
        error=answer.get("error") or "",
        cause=_reason(answer.get("cause") or ""),
        result_prefix=f"s3://{config.result_s3_bucket}/{names.result_prefix}/",
        seconds=(
            (answer.get("stopDate") or datetime.now(UTC)) - answer["startDate"]
        ).total_seconds(),
    )
    why = f": {run.error}: {run.cause}" if run.error else ""
    progress(f"execution {name}: {run.status.lower()} after {run.seconds:.0f} s{why}")
    return run


test_workflow.__test__ = False  # type: ignore[attr-defined]  # for pytest: it is no test


def _input(
    date_start: str | date | None,
    date_end: str | date | None,
    params: Mapping[str, str | int | float | bool] | None,
) -> dict[str, Any]:
    if (date_start is None) != (date_end is None):
        raise UserError("Give both date_start and date_end, or neither.")
    given: dict[str, Any] = {}
    for name, value in (("date_start", date_start), ("date_end", date_end)):
        if value is None:
            continue
        try:
            given[name] = date.fromisoformat(str(value)).isoformat()
        except ValueError as error:
            raise UserError(f"{name}={value!r} is no date.", fix="Write 2022-01-31.") from error
    if given and given["date_start"] >= given["date_end"]:
        raise UserError(
            f"The date window is empty: {given['date_start']} is not before {given['date_end']}.",
            fix="The end is exclusive: for one day give the next day as its end.",
        )
    if params:
        if not all(isinstance(value, str | int | float | bool) for value in params.values()):
            raise UserError("params must hold texts, numbers and booleans.")
        if len(json.dumps(dict(params))) > _MOST_PARAMETERS:
            raise UserError(f"params is longer than {_MOST_PARAMETERS} characters as JSON.")
        given["params"] = dict(params)
    return given


def _machine_arn(config: Config, names: Names) -> str:
    return names.arn("states", f"stateMachine:{names.state_machine}", account_of(config))


def _reason(cause: str) -> str:
    """Return the reason within a cause, which for a job is its description as JSON."""
    try:
        description = json.loads(cause)
    except json.JSONDecodeError:
        return cause
    if not isinstance(description, dict):
        return cause
    told = (description.get("FailureReason"), description.get("ExitMessage"))
    return "; ".join(text for text in told if text) or cause
