"""Executions of a purpose's workflow: which there are, and what they compute."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from botocore.exceptions import ClientError

from batcat_runtime.errors import NoSuchExecutionError, NotDeployedError
from batcat_runtime.operate.project import Project
from batcat_runtime.operate.windows import Window

RUNNING = frozenset({"RUNNING", "PENDING_REDRIVE"})
_GONE = {"StateMachineDoesNotExist", "StateMachineDeleting"}


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

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.status in RUNNING

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
    client = project.client("stepfunctions")
    asked: dict[str, Any] = {
        "stateMachineArn": project.machine_arn(purpose),
        "PaginationConfig": {"PageSize": page_size},
    }
    if status:
        asked["statusFilter"] = status
    with project.asked(f"the workflow of {purpose}", "states:ListExecutions"):
        try:
            for page in client.get_paginator("list_executions").paginate(**asked):
                yield from page["executions"]
        except ClientError as error:
            if error.response["Error"]["Code"] in _GONE:
                raise not_deployed(project, purpose) from error
            raise


def last_executions(project: Project, purpose: str, count: int = 5) -> list[Execution]:
    """Return the newest executions of a purpose, newest first, each described."""
    listed = islice(list_executions(project, purpose), count)
    return [describe(project, purpose, one["executionArn"]) for one in listed]


def describe(project: Project, purpose: str, arn: str) -> Execution:
    """Return an execution by its ARN.

    Raises
    ------
    NoSuchExecutionError
        Step Functions does not know it, or no longer: it keeps executions for 90 days.
    """
    client = project.client("stepfunctions")
    name = arn.rpartition(":")[2]
    with project.asked(f"the execution {name}", "states:DescribeExecution"):
        try:
            answer = client.describe_execution(executionArn=arn)
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"ExecutionDoesNotExist", "InvalidArn"}:
                raise
            raise NoSuchExecutionError(
                f"There is no execution {name} of {purpose}.",
                fix="Step Functions forgets executions 90 days after they ended. See what there is "
                "with `batcat status`; results stay: `batcat results`.",
            ) from error
    given = _object(answer.get("input"))
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
        machine = execution.split(":")[6] if execution.count(":") >= 7 else ""
        for one in wanted:
            if project.names(one).state_machine == machine:
                return describe(project, one, execution)
        raise NoSuchExecutionError(
            f"The execution {execution} is of no pipeline of this project.",
            fix="See those that there are with `batcat status`.",
        )
    found: list[tuple[datetime, str, str]] = []
    missing: NotDeployedError | None = None
    for one in wanted if execution else ():
        # A whole name needs one request each, and no list of a hundred thousand.
        with contextlib.suppress(NoSuchExecutionError):
            return describe(project, one, execution_arn(project, one, str(execution)))
    for one in wanted:
        try:
            for listed in list_executions(project, one):
                if not execution or listed["name"].startswith(execution):
                    found.append((listed["startDate"], one, listed["executionArn"]))
                    break
        except NotDeployedError as error:
            missing = error
    if found:
        _, one, arn = max(found)
        return describe(project, one, arn)
    if missing and len(wanted) == 1:
        raise missing
    what = f"There is no execution {execution}" if execution else "Nothing has been started yet"
    raise NoSuchExecutionError(
        f"{what} in {', '.join(wanted)}.",
        fix="See those that there are with `batcat status`; start one with `batcat run`.",
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


def _object(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
