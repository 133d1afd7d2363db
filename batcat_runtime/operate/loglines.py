"""Lines of logs as CloudWatch Logs has them: how they are asked for, and what their source is.

FilterLogEvents reads all containers of a job with one request, in order of time; GetLogEvents needs
one for each container, and DescribeLogStreams to find them. Both cost nothing. An account may ask
FilterLogEvents only a few times a second, so lines are asked for by the page of 10,000 (or 1 MB).
A page can be empty while there are more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from batcat_runtime.operate.history import JOB_LOG_GROUP


@dataclass(frozen=True)
class LogLine:
    """One line that something wrote.

    Attributes
    ----------
    time : datetime
        When, with its time zone.
    source : str
        Which log it went to: ``workflow``, ``trigger``, ``job features, attempt 2``.
    text : str
        What it says.
    """

    time: datetime
    source: str
    text: str


def job_source(
    step: str, *, item: int | None = None, attempt: int = 0, instance: int = 0, count: int = 1
) -> str:
    """Return what to call a container's log.

    Parameters
    ----------
    step : str
        The step that the job runs.
    item : int, optional
        Which item of a Map state it works on, from 0.
    attempt : int
        Which attempt it is, from 1; 0 leaves it out.
    instance, count : int
        Which of how many instances it is, from 1.

    Examples
    --------
    >>> job_source("features", attempt=2, instance=3, count=4)
    'job features, attempt 2, instance 3 of 4'
    """
    text = f"job {step}"
    if item is not None:
        text += f", item {item}"
    if attempt:
        text += f", attempt {attempt}"
    return f"{text}, instance {instance} of {count}" if count > 1 and instance else text


def instance_of(stream: str) -> int:
    """Return the number of the instance that a stream ``<job>/algo-2-1641600000`` is of, or 0."""
    number = stream.partition("/")[2].removeprefix("algo-").partition("-")[0]
    return int(number) if number.isdigit() else 0


def time_of(event: Mapping[str, Any]) -> datetime:
    """Return when an event of a log happened."""
    return datetime.fromtimestamp(event["timestamp"] / 1000, UTC)


def read_logs(logs: Any, groups: Mapping[str, str]) -> list[LogLine]:
    """Return every line of the log groups; `groups` maps a group's name to what to call it."""
    return [
        LogLine(time_of(event), source, event["message"].rstrip("\n"))
        for group, source in groups.items()
        for event in _events(logs, logGroupName=group)
    ]


def read_job_logs(logs: Any, jobs: list[dict[str, Any]]) -> list[LogLine]:
    """Return every line that the jobs wrote; each job, and each instance, is a source of its own.

    Parameters
    ----------
    logs : botocore client
        For CloudWatch Logs.
    jobs : list of dict
        What SageMaker says of each, oldest first.
    """
    names = {job["ProcessingJobName"]: job for job in jobs}
    return [
        LogLine(
            time_of(event),
            source_of_job(names, job, event["logStreamName"]),
            event["message"].rstrip("\n"),
        )
        for name, job in names.items()
        for event in _events(logs, logGroupName=JOB_LOG_GROUP, logStreamNamePrefix=f"{name}/")
    ]


def source_of_job(jobs: Mapping[str, dict[str, Any]], job: dict[str, Any], stream: str = "") -> str:
    """Return what to call a job's log: "job" when there is one only, else with its step."""
    count = job["ProcessingResources"]["ClusterConfig"]["InstanceCount"]
    if len(jobs) == 1 and count == 1:
        return "job"
    step = job.get("Environment", {}).get("BATCAT_STEP") or job["ProcessingJobName"]
    attempts = [
        name for name, one in jobs.items() if one.get("Environment", {}).get("BATCAT_STEP") == step
    ]
    several = len(attempts) > 1 and job["ProcessingJobName"] in attempts
    return job_source(
        step,
        attempt=attempts.index(job["ProcessingJobName"]) + 1 if several else 0,
        instance=instance_of(stream),
        count=count,
    )


def _events(logs: Any, **asked: Any) -> Iterator[dict[str, Any]]:
    try:
        for page in logs.get_paginator("filter_log_events").paginate(**asked):
            yield from page["events"]
    except logs.exceptions.ResourceNotFoundException:
        return  # nothing was ever written there
