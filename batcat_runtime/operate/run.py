"""`batcat run`: start a pipeline once, follow it, show what it made or why it failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from batcat_runtime.deploy.bucket import check_bucket
from batcat_runtime.errors import BatcatError
from batcat_runtime.operate.connection import Project, open_project
from batcat_runtime.operate.executions import (
    Execution,
    Scalar,
    describe,
    execution_arn,
    input_of,
    new_name,
    start,
    window_of,
)
from batcat_runtime.operate.failures import Failure, explain
from batcat_runtime.operate.follow import LOST, Lines, Look, follow, goes_on
from batcat_runtime.operate.manifests import Result, folder_of, result_of
from batcat_runtime.operate.preview import Preview, preview_of
from batcat_runtime.operate.visits import Visit, visits_of
from batcat_runtime.text import format_seconds

_NAME = "run-%Y%m%d-%H%M%S"


@dataclass(frozen=True)
class Run:
    """One execution that was started here, and how it ended.

    Attributes
    ----------
    execution : Execution
        Its name, status, times, window and parameters.
    visits : tuple of Visit
        The states that it went through; empty when it was not awaited.
    result : Result or None
        What it left in the result bucket; None when it did not succeed or was not awaited.
    result_uri : str
        The ``s3://`` folder of the result; empty without one.
    preview : Preview or None
        The first rows of the result's first table; None when it has none that we can read.
    failure : Failure or None
        Why it did not succeed.
    """

    execution: Execution
    visits: tuple[Visit, ...] = ()
    result: Result | None = None
    result_uri: str = ""
    preview: Preview | None = None
    failure: Failure | None = None

    @property
    def succeeded(self) -> bool:
        """Whether all is well."""
        return self.execution.status == "SUCCEEDED"


def run(
    date_start: str | date | None = None,
    date_end: str | date | None = None,
    *,
    params: Mapping[str, Scalar] | None = None,
    wait: bool = True,
    timeout: float | None = None,
    folder: str | Path | None = None,
    purpose: str | None = None,
    progress: Callable[[str], None] = print,
    watch: Callable[[Look], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Run:
    """Start a deployed pipeline once and wait for its end.

    Parameters
    ----------
    date_start, date_end : str or datetime.date, optional
        The half-open window to compute, ``2022-01-08`` or ``2022-01-08T05:00``; without it, all
        data.
    params : mapping, optional
        Further parameters, as the script finds them in ``job.parameters``.
    wait : bool
        Whether to wait for its end.
    timeout : float, optional
        Seconds to wait. The execution goes on after that.
    folder : str or Path, optional
        The project's folder; by default the one around the working directory.
    purpose : str, optional
        May be left out when the project has one.
    progress : callable
        Called with a line at each stage.
    watch : callable, optional
        Called with each look at the execution instead of `progress` with its states.
    sleep : callable
        Waits between two looks.

    Returns
    -------
    Run
        The outcome. A failed execution is an outcome, not an exception.

    Raises
    ------
    UserError
        The window or the parameters are impossible, or the result bucket is another account's or
        in another region; nothing was started.
    NotDeployedError
        The pipeline is not deployed in this account and region.
    WaitInterruptedError
        Ctrl-C, the timeout, or credentials that expired: the execution goes on.

    Examples
    --------
    >>> run("2022-01-08", "2022-01-09", params={"limit": 10}).succeeded  # doctest: +SKIP
    True
    """
    window = window_of(date_start, date_end)
    given = input_of(window, params)
    project = open_project(folder)
    purpose = project.config.purpose_name(purpose)
    name = new_name(_NAME)
    arn = execution_arn(project, purpose, name)
    started = False
    try:
        check_bucket(project.config, s3=project.client("s3"), account=project.account)
        arn, started = start(project, purpose, name, given), True
        progress(f"execution {name} of {purpose}: started, {window or 'all data'}")
        if not wait:
            return Run(describe(project, purpose, arn))
        show = watch or Lines(progress).show
        for look in follow(project, purpose, arn, sleep=sleep, timeout=timeout):
            show(look)
    except KeyboardInterrupt as error:
        raise goes_on(name, started=started) from error
    except LOST as error:
        if not started:
            raise
        raise goes_on(name, error) from error
    if look.execution.running:
        late = BatcatError(f"it has not ended after {timeout:g} s.")
        raise goes_on(name, late)
    took = format_seconds(look.execution.seconds)
    progress(f"execution {name}: {look.execution.status.lower()} after {took}")
    return _outcome(project, look)


def _outcome(project: Project, look: Look) -> Run:
    execution, visits = look.execution, visits_of(look.states)
    if execution.status != "SUCCEEDED":
        return Run(execution, visits, failure=explain(project, execution, look.states))
    result = result_of(project, execution.purpose, execution.name, execution.day)
    if result is None:
        return Run(execution, visits)
    try:
        preview = preview_of(project, result)
    except BatcatError:
        preview = None  # it succeeded, whether or not its table can be shown
    return Run(execution, visits, result, folder_of(project, result), preview)
