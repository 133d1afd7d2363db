"""The processing jobs of an execution, as SageMaker describes them, and which of them to blame."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from batcat_runtime.operate.history import StateRun

Job = dict[str, Any]
_UNKNOWN = {"ValidationException", "ResourceNotFound"}


def read_jobs(sagemaker: Any, runs: Iterable[StateRun]) -> list[Job]:
    """Return the descriptions of the jobs that states started, oldest first.

    What SageMaker refused to start is left out: there never was such a job.
    """
    jobs = []
    for name in [name for run in runs for name in run.jobs]:
        try:
            jobs.append(sagemaker.describe_processing_job(ProcessingJobName=name))
        except ClientError as error:
            if error.response["Error"]["Code"] not in _UNKNOWN:
                raise
    return sorted(jobs, key=lambda job: job["CreationTime"])


def culprit(jobs: Sequence[Job]) -> Job | None:
    """Return the job to blame: the last that failed; one that was stopped only if none did.

    A job that fails takes along those that run beside it.
    """
    for status in ("Failed", "Stopped"):
        found = [job for job in jobs if job["ProcessingJobStatus"] == status]
        if found:
            return max(found, key=_ended)
    return next((job for job in reversed(jobs) if job["ProcessingJobStatus"] != "Completed"), None)


def _ended(job: Job) -> Any:
    # One that is known from a cause has no times, and is alone.
    return job.get("ProcessingEndTime") or job.get("CreationTime") or datetime.min


def step_of(job: Job) -> str:
    """Return the step that a job runs."""
    return str(job.get("Environment", {}).get("BATCAT_STEP") or job["ProcessingJobName"])


def job_in(cause: str) -> Job | None:
    """Return the job that the cause of a failure describes; None when it is plain text.

    Its times are milliseconds there, and are left out.
    """
    try:
        found = json.loads(cause)
    except ValueError:
        return None
    if not isinstance(found, dict) or "ProcessingJobName" not in found:
        return None
    return {key: value for key, value in found.items() if not key.endswith("Time")}
