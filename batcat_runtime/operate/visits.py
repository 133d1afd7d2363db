"""The states that an execution went through, with their jobs, as plain data to show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from batcat_runtime.operate.history import RunStatus, StateRun
from batcat_runtime.operate.jobs import Job

# States that only carry data, and the questions and endings around the steps.
_UNSEEN = {"Pass", "Choice", "Succeed", "Fail"}


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
    reason : str
        FailureReason.
    exit_message : str
        What it said itself at its end.
    """

    name: str
    status: str = ""
    instances: str = ""
    seconds: float | None = None
    reason: str = ""
    exit_message: str = ""


@dataclass(frozen=True)
class Visit:
    """One visit to a state.

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


def visits_of(states: Sequence[StateRun], jobs: Sequence[Job] = ()) -> tuple[Visit, ...]:
    """Return the states that a reader wants to see, each followed by those inside it.

    Parameters
    ----------
    states : sequence of StateRun
        What the history tells.
    jobs : sequence of dict
        SageMaker's descriptions of their jobs; those that are missing have their names only.
    """
    described = {job["ProcessingJobName"]: job for job in jobs}
    return tuple(_inside(None, states, described))


def _inside(
    whole: StateRun | None, states: Sequence[StateRun], jobs: Mapping[str, Job]
) -> Iterator[Visit]:
    for run in states:
        if run.inside is not whole or run.kind in _UNSEEN:
            continue
        yield Visit(
            run.name,
            run.kind,
            run.status,
            run.entered,
            run.left,
            run.depth,
            run.reason,
            tuple(_job(name, jobs.get(name)) for name in run.jobs),
        )
        yield from _inside(run, states, jobs)


def _job(name: str, job: Job | None) -> JobRun:
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
