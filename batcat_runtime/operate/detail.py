"""One execution in full: its states and jobs, what it left, and what remains of it later."""

from __future__ import annotations

from dataclasses import dataclass

from batcat_runtime.errors import NoSuchExecutionError
from batcat_runtime.operate.connection import Project
from batcat_runtime.operate.executions import find_execution
from batcat_runtime.operate.failures import Failure, explain
from batcat_runtime.operate.history import read_states
from batcat_runtime.operate.jobs import read_jobs
from batcat_runtime.operate.manifests import Result, folder_of, result_of, results_of
from batcat_runtime.operate.rows import Row, row_of, timezone_of
from batcat_runtime.operate.visits import Visit, visits_of


@dataclass(frozen=True)
class Detail:
    """One execution in full.

    Attributes
    ----------
    row : Row
        As in the list.
    timezone : str
        As for the pipeline.
    visits : tuple of Visit
        The states that it went through, with their jobs.
    result : Result or None
        What it left, with its files.
    result_uri : str
        The ``s3://`` folder of the result; empty without one.
    failure : Failure or None
        Why it did not succeed.
    """

    row: Row
    timezone: str
    visits: tuple[Visit, ...]
    result: Result | None
    result_uri: str
    failure: Failure | None


def detail_of(project: Project, name: str, purpose: str | None = None) -> Detail:
    """Return one execution in full, by its name, the start of its name, or its ARN.

    Raises
    ------
    NoSuchExecutionError
        There is none, or Step Functions keeps it no longer; says what remains of it.
    """
    try:
        found = find_execution(project, name, purpose)
    except NoSuchExecutionError as error:
        raise _with_what_remains(project, name, purpose, error) from error
    states_client = project.client("stepfunctions")
    with project.asked(f"the execution {found.name}", "states:GetExecutionHistory"):
        states = read_states(states_client, found.arn)
    with project.asked(f"the jobs of {found.name}", "sagemaker:DescribeProcessingJob"):
        jobs = read_jobs(project.client("sagemaker"), states)
    result = result_of(project, found.purpose, found.name, found.day)
    return Detail(
        row=row_of(found, result, timezone_of(project, found.purpose)),
        timezone=timezone_of(project, found.purpose),
        visits=visits_of(states, jobs),
        result=result,
        result_uri=folder_of(project, result) if result else "",
        failure=explain(project, found, states),
    )


def _with_what_remains(
    project: Project, name: str, purpose: str | None, error: NoSuchExecutionError
) -> NoSuchExecutionError:
    """Return the error with the result that an execution left which is no longer known."""
    name = name.rpartition(":")[2]
    for one in project.purposes(purpose):
        for result in results_of(project, one, name):
            window = f", of {result.window}" if result.window else ""
            return NoSuchExecutionError(
                f"Step Functions knows no execution {name} of {one} any more. Its result is there: "
                f"{folder_of(project, result)} ({result.rows} rows{window}, written "
                f"{result.ended}).",
                fix="Step Functions forgets executions 90 days after they ended; results stay. "
                "See them all with `batcat results`.",
            )
    return error
