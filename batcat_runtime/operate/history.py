"""What an execution did: the states it went through, and their processing jobs.

Events of branches that run side by side are mixed in a history. Each event names the one before it
in its own branch, so the way back from an event tells which state it belongs to, and which Parallel
or Map state it is inside.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

RunStatus = Literal["running", "succeeded", "failed", "stopped"]
Job = dict[str, Any]
JOB_LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
_OPENS = ("ParallelStateStarted", "MapStateStarted", "MapIterationStarted")
_FAILS = ("Failed", "TimedOut", "Aborted")
# States that only carry data, and the questions and endings around the steps.
SILENT = frozenset({"Pass", "Choice", "Succeed", "Fail"})
_NO_SUCH_JOB = {"ValidationException", "ResourceNotFound"}


@dataclass
class StateRun:
    """One run of a state of the workflow.

    Attributes
    ----------
    name, kind : str
        The state's name, and "Task", "Parallel" and so on.
    entered, left : datetime
        When; `left` is None while it runs.
    status : {"running", "succeeded", "failed", "stopped"}
        "stopped" for what ran when another branch, or the execution, failed.
    reason : str
        The name of the error that it failed with.
    inside : StateRun or None
        The Parallel or Map state around it.
    jobs : list of str
        Names of the processing jobs that it started, one for each attempt.
    item : int or None
        The number, from 0, of the Map state's item that it works on.
    """

    name: str
    kind: str
    entered: datetime
    left: datetime | None = None
    status: RunStatus = "running"
    reason: str = ""
    inside: StateRun | None = None
    jobs: list[str] = field(default_factory=list)
    item: int | None = None

    @property
    def depth(self) -> int:
        """How many states are around it."""
        return 0 if self.inside is None else self.inside.depth + 1


def read_states(states: Any, execution: str) -> list[StateRun]:
    """Return the states that an execution visited so far, in order of entering.

    Parameters
    ----------
    states : botocore client
        For Step Functions.
    execution : str
        The execution's ARN.
    """
    history = History()
    pages = states.get_paginator("get_execution_history").paginate(executionArn=execution)
    for event in (event for page in pages for event in page["events"]):
        history.note(event)
    return history.runs


class History:
    """The states so far; for each event the state that it belongs to, and what it is inside."""

    def __init__(self) -> None:
        self.runs: list[StateRun] = []
        self._owner: dict[int, StateRun | None] = {}
        self._inside: dict[int, StateRun | None] = {}
        self._item: dict[int, int | None] = {}

    def note(self, event: dict[str, Any]) -> StateRun | None:
        """Take in the next event; return the state that it belongs to."""
        kind, before = event["type"], int(event.get("previousEventId") or 0)
        owner, inside = self._owner.get(before), self._inside.get(before)
        item = self._item.get(before)
        if kind.endswith("StateEntered"):
            name = event["stateEnteredEventDetails"]["name"]
            state = kind.removesuffix("StateEntered")
            owner = StateRun(name, state, event["timestamp"], inside=inside, item=item)
            self.runs.append(owner)
        elif kind.endswith("StateExited"):
            owner = self._left(event["stateExitedEventDetails"]["name"], owner)
            inside, item = (owner.inside, owner.item) if owner else (None, None)
            if owner:
                self._end(owner, event["timestamp"], "succeeded")
        elif kind in _OPENS:
            inside = owner
            item = event.get("mapIterationStartedEventDetails", {}).get("index", item)
        elif kind.startswith("Execution"):
            if kind != "ExecutionStarted":
                good = kind == "ExecutionSucceeded"
                for run in self.runs:
                    self._end(run, event["timestamp"], "succeeded" if good else "failed")
        elif owner:
            self._noted(owner, event)
        self._owner[event["id"]], self._inside[event["id"]] = owner, inside
        self._item[event["id"]] = item
        return owner

    def _left(self, name: str, owner: StateRun | None) -> StateRun | None:
        if owner is not None and owner.name == name:
            return owner
        # A Parallel state's exit follows the last event of one of its branches.
        open_ones = (run for run in reversed(self.runs) if run.name == name and run.left is None)
        return next(open_ones, None)

    def _end(self, run: StateRun, when: datetime, status: RunStatus) -> None:
        if run.left is not None:
            return
        run.left = when
        if run.status == "running":
            run.status = status
        for child in self.runs:
            if child.inside is run:
                self._end(child, when, "stopped" if run.status != "succeeded" else "succeeded")

    def _noted(self, run: StateRun, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind in ("ParallelStateFailed", "MapStateFailed"):
            whole = self._around(run, kind.removesuffix("StateFailed"))
            if whole is not None:
                whole.status = "failed"
            return
        detail = details_of(event)
        if kind.endswith("Scheduled"):
            run.status, run.reason = "running", ""
            run.jobs += _job_names(detail.get("parameters"))
        elif kind.endswith(_FAILS):
            run.status, run.reason = "failed", detail.get("error") or kind

    def _around(self, run: StateRun, kind: str) -> StateRun | None:
        place: StateRun | None = run
        while place is not None and place.kind != kind:
            place = place.inside
        return place


def details_of(event: dict[str, Any]) -> dict[str, Any]:
    """Return the part of an event that only events of its type have."""
    return next((value for key, value in event.items() if key.endswith("EventDetails")), {})


def _job_names(parameters: Any) -> Iterator[str]:
    try:
        name = json.loads(parameters or "{}").get("ProcessingJobName")
    except (json.JSONDecodeError, AttributeError, TypeError):
        return  # a task of another service
    if name:
        yield str(name)


@dataclass(frozen=True)
class JobRun:
    """One processing job, which is one attempt of a step.

    Attributes
    ----------
    name, status : str
        As SageMaker has them; the status is empty while nobody has asked for it.
    instances : str
        ``2 x ml.m5.xlarge``.
    seconds : float or None
        How long it ran; None when it never did, or while it runs.
    reason, exit_message : str
        FailureReason, and what it said itself at its end.
    """

    name: str
    status: str = ""
    instances: str = ""
    seconds: float | None = None
    reason: str = ""
    exit_message: str = ""


@dataclass(frozen=True)
class State:
    """One run of a state, as it is shown.

    Attributes
    ----------
    state, kind : str
        Its name, and "Task", "Parallel" and so on.
    status : {"running", "succeeded", "failed", "stopped"}
        How it ended.
    entered, left : datetime
        When; `left` is None while it runs.
    depth : int
        How many Parallel or Map states are around it.
    reason : str
        The name of the error that it failed with.
    jobs : tuple of JobRun
        The processing jobs that it started, one for each attempt.
    """

    state: str
    kind: str
    status: RunStatus
    entered: datetime
    left: datetime | None
    depth: int
    reason: str
    jobs: tuple[JobRun, ...]

    @property
    def seconds(self) -> float:
        """How long it took, or has been running."""
        return max(0.0, ((self.left or datetime.now(UTC)) - self.entered).total_seconds())


def states_of(runs: Sequence[StateRun], jobs: Sequence[Job] = ()) -> tuple[State, ...]:
    """Return the states that a reader wants to see, each followed by those inside it.

    Parameters
    ----------
    runs : sequence of StateRun
        What the history tells.
    jobs : sequence of dict
        SageMaker's descriptions of their jobs; those that are missing have their names only.
    """
    described = {job["ProcessingJobName"]: job for job in jobs}

    def inside(whole: StateRun | None) -> Iterator[State]:
        for run in runs:
            if run.inside is whole and run.kind not in SILENT:
                started = tuple(_job_run(name, described.get(name)) for name in run.jobs)
                when = (run.entered, run.left, run.depth)
                yield State(run.name, run.kind, run.status, *when, run.reason, started)
                yield from inside(run)

    return tuple(inside(None))


def read_jobs(sagemaker: Any, runs: Iterable[StateRun]) -> list[Job]:
    """Return the descriptions of the jobs that states started, oldest first.

    What SageMaker refused to start is left out: there never was such a job.
    """
    from botocore.exceptions import ClientError

    jobs = []
    for name in [name for run in runs for name in run.jobs]:
        try:
            jobs.append(sagemaker.describe_processing_job(ProcessingJobName=name))
        except ClientError as error:
            if error.response["Error"]["Code"] not in _NO_SUCH_JOB:
                raise
    return sorted(jobs, key=lambda job: job["CreationTime"])


def step_of(job: Job) -> str:
    """Return the step that a job runs."""
    return str(job.get("Environment", {}).get("BATCAT_STEP") or job["ProcessingJobName"])


def _job_run(name: str, job: Job | None) -> JobRun:
    if job is None:
        return JobRun(name)
    cluster = job.get("ProcessingResources", {}).get("ClusterConfig", {})
    started, ended = job.get("ProcessingStartTime"), job.get("ProcessingEndTime")
    count = cluster.get("InstanceCount", 1)
    return JobRun(
        name=name,
        status=job["ProcessingJobStatus"],
        instances=f"{count} x {cluster.get('InstanceType', '')}",
        seconds=(ended - started).total_seconds() if started and ended else None,
        reason=job.get("FailureReason") or "",
        exit_message=job.get("ExitMessage") or "",
    )
