"""One execution of a deployed workflow, from start to outcome: the quickest proof that it works."""

# ruff: noqa: PT028 - test_workflow is the original BatCat's name; it is no test

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from batcat_runtime.config import Config, get_config
from batcat_runtime.deploy.stack import StackChange
from batcat_runtime.errors import WorkflowError
from batcat_runtime.operate.connection import Project
from batcat_runtime.operate.executions import (
    Execution,
    Scalar,
    describe,
    input_of,
    new_name,
    start,
    window_of,
)
from batcat_runtime.operate.failures import reason_in
from batcat_runtime.operate.follow import follow

_NAME = "test-%Y%m%dT%H%M%S"


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
    params: Mapping[str, Scalar] | None = None,
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
    purpose = config.purpose_name(purpose)
    given = input_of(window_of(date_start, date_end), params)
    project = Project(Path(), config)
    name = new_name(_NAME)
    machine = workflow.outputs["StateMachineArn"] if workflow else ""
    arn = start(project, purpose, name, given, machine)
    progress(f"execution {name}: started")
    execution = describe(project, purpose, arn)
    if timeout:
        for look in follow(project, purpose, arn, sleep=sleep, timeout=timeout):
            execution = look.execution
        if execution.running:
            raise WorkflowError(
                f"The execution {arn} has not ended after {timeout:g} s; it goes on.",
                fix=f"Look at it with `batcat status {name}`, or give a longer timeout.",
            )
    run = _run(project, execution)
    why = f": {run.error}: {run.cause}" if run.error else ""
    progress(f"execution {name}: {run.status.lower()} after {run.seconds:.0f} s{why}")
    return run


test_workflow.__test__ = False  # type: ignore[attr-defined]  # for pytest: it is no test


def _run(project: Project, execution: Execution) -> WorkflowRun:
    return WorkflowRun(
        arn=execution.arn,
        name=execution.name,
        status=execution.status,
        error=execution.error,
        cause=reason_in(execution.cause) or execution.cause,
        result_prefix=f"{project.result_uri(execution.purpose)}/",
        seconds=execution.seconds,
    )
