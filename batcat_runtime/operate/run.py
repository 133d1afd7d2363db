"""`batcat run`: start a pipeline once, follow it, show what it made or why it failed."""

# ruff: noqa: PT028 - test_workflow is the original BatCat's name; it is no test

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from batcat_runtime.account import check_bucket
from batcat_runtime.config import Config, get_config
from batcat_runtime.errors import BatcatError, WaitInterruptedError
from batcat_runtime.log import report
from batcat_runtime.operate.connection import Project, open_project
from batcat_runtime.operate.executions import (
    Execution,
    Look,
    Scalar,
    describe,
    follow,
    input_of,
    new_name,
    start,
    window_of,
)
from batcat_runtime.operate.history import State, states_of
from batcat_runtime.operate.manifests import Result, folder_of, result_of
from batcat_runtime.text import format_seconds

if TYPE_CHECKING:
    from batcat_runtime.deploy.stack import StackChange
    from batcat_runtime.operate.failures import Failure

NAME = "run-%Y%m%d-%H%M%S"
_BEGINNING = 65_536


@dataclass(frozen=True)
class Preview:
    """The first rows of a result's first CSV file, as text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, repr=False)
class Run:
    """One execution that was started here, and how it ended.

    Attributes
    ----------
    execution : Execution
        Its name, status, times, window and parameters.
    states : tuple of State
        The states that it went through; empty when it was not awaited.
    result : Result or None
        What it left in the result bucket; None when it did not succeed or was not awaited.
    result_uri : str
        The ``s3://`` folder of the result; empty without one.
    preview : Preview or None
        The first rows of the result's first CSV file; None without one.
    failure : Failure or None
        Why it did not succeed.
    """

    execution: Execution
    states: tuple[State, ...] = ()
    result: Result | None = None
    result_uri: str = ""
    preview: Preview | None = None
    failure: Failure | None = None

    @property
    def succeeded(self) -> bool:
        """Whether all is well."""
        return self.execution.status == "SUCCEEDED"

    def __repr__(self) -> str:
        """Return it on one line."""
        said = self.failure.summary if self.failure else self.result_uri
        return f"{self.execution.name} {self.execution.status} {said}".rstrip()


def run(
    date_start: str | date | None = None,
    date_end: str | date | None = None,
    *,
    params: Mapping[str, Scalar] | None = None,
    wait: bool = True,
    timeout: float | None = None,
    folder: str | Path | None = None,
    purpose: str | None = None,
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
        Ctrl-C, the timeout, or credentials or a network that were lost: the execution goes on.

    Examples
    --------
    >>> run("2022-01-08", "2022-01-09", params={"limit": 10}).succeeded  # doctest: +SKIP
    True
    """
    window = window_of(date_start, date_end)
    given = input_of(window, params)
    project = open_project(folder)
    purpose = project.config.purpose_name(purpose)
    arn = begin(project, purpose, NAME, given)
    if not wait:
        return Run(describe(project, purpose, arn))
    look = followed(project, purpose, arn, timeout)
    return outcome_of(project, look)


def begin(project: Project, purpose: str, form: str, given: Mapping[str, object]) -> str:
    """Start an execution after a look at the result bucket; return its ARN.

    Raises
    ------
    WaitInterruptedError
        Ctrl-C, while it is not known whether AWS has started it.
    """
    name = new_name(form)
    try:
        check_bucket(project.config, s3=project.client("s3"), account=project.account)
        arn = start(project, purpose, name, given)
    except KeyboardInterrupt as error:
        raise WaitInterruptedError(
            f"Interrupted while the execution {name} was being started; it may go on.",
            fix=f"Look with `batcat status {name}`.",
        ) from error
    window = f"{given['date_start']} to {given['date_end']}" if "date_start" in given else ""
    report(f"execution {name} of {purpose}: started, {window or 'all data'}")
    return arn


def followed(project: Project, purpose: str, arn: str, timeout: float | None = None) -> Look:
    """Follow an execution to its end, reporting each state that begins and ends."""
    known: dict[tuple[str, object], str] = {}
    for look in follow(project, purpose, arn, timeout=timeout):
        for state in states_of(look.states):
            key = (state.state, state.entered)
            before = known.get(key)
            if before is None:
                report(f"state {state.state}: entered")
            if state.status not in ("running", before):
                report(f"state {state.state}: {state.status} after {format_seconds(state.seconds)}")
            known[key] = state.status
    ended = look.execution
    report(f"execution {ended.name}: {ended.status.lower()} after {format_seconds(ended.seconds)}")
    return look


def outcome_of(project: Project, look: Look) -> Run:
    """Return what an execution that has ended left, or why it failed."""
    execution, states = look.execution, states_of(look.states)
    if execution.status != "SUCCEEDED":
        from batcat_runtime.operate.failures import explain

        return Run(execution, states, failure=explain(project, execution, look.states))
    result = result_of(project, execution.purpose, execution.name, execution.day)
    if result is None:
        return Run(execution, states)
    return Run(execution, states, result, folder_of(project, result), _preview(project, result))


def _preview(project: Project, result: Result, count: int = 5) -> Preview | None:
    """Return the first rows of the first CSV file, from its beginning alone."""
    found = [file for file in result.files if file.key.endswith((".csv", ".csv.gz"))]
    if not found or not found[0].bytes:
        return None
    bucket, key = project.config.result_s3_bucket, found[0].key
    try:
        with project.asked("s3:GetObject", f"s3://{bucket}/{key}"):
            answer = project.client("s3").get_object(
                Bucket=bucket, Key=key, Range=f"bytes=0-{_BEGINNING - 1}"
            )
            content = answer["Body"].read()
    except BatcatError:
        return None  # it succeeded, whether or not its table can be shown
    if key.endswith(".gz"):
        content = zlib.decompressobj(31).decompress(content, 4 * _BEGINNING)
    text = content.decode("utf-8", "replace")
    rows = [tuple(row) for row in islice(csv.reader(io.StringIO(text)), count + 1)]
    return Preview(rows[0], tuple(rows[1:])) if rows else None


def test_workflow(
    workflow: StackChange | None = None,
    purpose: str | None = None,
    *,
    config: Config | None = None,
    date_start: str | date | None = None,
    date_end: str | date | None = None,
    params: Mapping[str, Scalar] | None = None,
    timeout: float = 3600.0,
) -> Execution:
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

    Returns
    -------
    Execution
        The outcome. A failed execution is an outcome, not an exception.

    Raises
    ------
    UserError
        The window or the parameters are impossible; nothing was started.
    NotDeployedError
        The workflow is not deployed.
    WaitInterruptedError
        The execution has not ended in time; it goes on.
    """
    config = config or get_config()
    purpose = config.purpose_name(purpose)
    given = input_of(window_of(date_start, date_end), params)
    project = Project(Path(), config)
    machine = workflow.outputs["StateMachineArn"] if workflow else ""
    arn = start(project, purpose, new_name(NAME.replace("run", "test")), given, machine)
    report(f"execution {arn.rpartition(':')[2]}: started")
    if not timeout:
        return describe(project, purpose, arn)
    done = followed(project, purpose, arn, timeout).execution
    if done.error:
        report(f"execution {done.name}: {done.error}: {done.cause}")
    return done


test_workflow.__test__ = False  # type: ignore[attr-defined]  # for pytest: it is no test
