"""SageMaker processing jobs that really run.

`CreateProcessingJob` checks what AWS checks before it accepts a job, then starts a thread that
hands the request to a `JobRun` (runner.py) and keeps the job's record: its status, its times,
why it failed, the message it left. Log lines go to `/aws/sagemaker/ProcessingJobs`.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from moto.utilities.utils import get_partition

from ...clients import Clients
from ...operations import PASS, Operation
from ...wire import ACCOUNT_ID, Call, ServiceError
from ..environment import job_variables
from ..iam import services
from ..iam.gate import Access
from .lines import LogWriter

log = logging.getLogger(__name__)

LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
_FINAL = ("Completed", "Failed", "Stopped")
_SUMMARY = (
    *("ProcessingJobName", "ProcessingJobArn", "ProcessingJobStatus", "FailureReason"),
    *("ExitMessage", "CreationTime", "LastModifiedTime", "ProcessingEndTime"),
)


@dataclass
class Job:
    """A processing job: the request that made it and what has become of it."""

    request: dict[str, Any]
    arn: str
    region: str
    created: datetime
    status: str = "InProgress"
    modified: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    failure_reason: str | None = None
    exit_message: str | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    def description(self) -> dict[str, Any]:
        """Return what DescribeProcessingJob answers."""
        echoed = {key: value for key, value in self.request.items() if key != "Tags"}
        # AWS fills in the default of one day; describing a job always shows it.
        echoed.setdefault("StoppingCondition", {"MaxRuntimeInSeconds": 86400})
        outcome = {
            "ProcessingJobArn": self.arn,
            "ProcessingJobStatus": self.status,
            "ExitMessage": self.exit_message,
            "FailureReason": self.failure_reason,
            "ProcessingStartTime": self.started,
            "ProcessingEndTime": self.ended,
            "CreationTime": self.created,
            "LastModifiedTime": self.modified or self.created,
        }
        return echoed | {key: value for key, value in outcome.items() if value is not None}


class ProcessingJobs:
    """All processing jobs of one embedded AWS.

    Parameters
    ----------
    clients : Clients
        To ask the other services.
    home : pathlib.Path
        The embedded AWS's work directory, for the runner.
    access : Access
        To see whether a job's role allows what SageMaker does with it.
    """

    def __init__(self, clients: Clients, home: Path, access: Access) -> None:
        self._clients = clients
        self._access = access
        self._home = home
        self._jobs: dict[tuple[str, str], Job] = {}
        self._lock = threading.Lock()

    def operations(self) -> dict[tuple[str, str], Operation]:
        """Return the operations that this room performs."""
        return {
            ("sagemaker", "CreateProcessingJob"): self.create,
            ("sagemaker", "DescribeProcessingJob"): self.describe,
            ("sagemaker", "StopProcessingJob"): self.stop,
            ("sagemaker", "ListProcessingJobs"): self.list,
            ("sagemaker", "ListTags"): self.list_tags,
        }

    def create(self, call: Call) -> dict[str, Any]:
        """Accept a job and start it."""
        request = call.params
        name = str(request["ProcessingJobName"])
        partition = get_partition(call.region)
        arn = f"arn:{partition}:sagemaker:{call.region}:{ACCOUNT_ID}:processing-job/{name}"
        check_request(request)
        with self._lock:
            if (call.region, name) in self._jobs:
                raise ServiceError(
                    "ResourceInUse",
                    "Job name must be unique within an AWS account and region, and a job with "
                    f"this name already exists ({arn})",
                )
            job = Job(dict(request), arn, call.region, datetime.now(UTC))
            self._jobs[call.region, name] = job
        job.thread = threading.Thread(target=self._run, args=(job,), daemon=True, name=name)
        job.thread.start()
        return {"ProcessingJobArn": arn}

    def describe(self, call: Call) -> dict[str, Any]:
        """Describe one job."""
        return self._find(call).description()

    def stop(self, call: Call) -> dict[str, Any]:
        """Ask a running job to stop; its status becomes Stopped when it has."""
        job = self._find(call)
        with self._lock:
            if job.status in _FINAL:
                raise ServiceError(
                    "ValidationException",
                    f"The request was rejected because the processing job is in status "
                    f"{job.status}.",
                )
            job.status, job.modified = "Stopping", datetime.now(UTC)
        job.stop.set()
        return {}

    def list(self, call: Call) -> dict[str, Any]:
        """List jobs, newest first; by a part of the name and by status, in one page."""
        part, status = call.params.get("NameContains") or "", call.params.get("StatusEquals")
        found = [
            {name: value for name, value in job.description().items() if name in _SUMMARY}
            for (region, name), job in list(self._jobs.items())
            if region == call.region and part in name and status in (None, job.status)
        ]
        return {"ProcessingJobSummaries": found[::-1][: call.params.get("MaxResults")]}

    def list_tags(self, call: Call) -> Any:
        """List a job's tags; other resources are moto's."""
        arn = str(call.params["ResourceArn"])
        job = next((job for job in self._jobs.values() if job.arn == arn), None)
        return {"Tags": job.request.get("Tags", [])} if job else PASS

    def shut_down(self, timeout: float) -> None:
        """Stop every running job and wait for them."""
        running = [job for job in self._jobs.values() if job.status not in _FINAL]
        for job in running:
            job.stop.set()
        for job in running:
            if job.thread is not None:
                job.thread.join(timeout)

    def _find(self, call: Call) -> Job:
        name = str(call.params["ProcessingJobName"])
        job = self._jobs.get((call.region, name))
        if job is None:
            raise ServiceError(
                "ValidationException", f"Could not find requested job with name: {name}"
            )
        return job

    def _run(self, job: Job) -> None:
        try:
            reason = self._missing_permission(job) or self._missing_input(job)
            if reason is not None:
                self._finish(job, "Failed", reason)
                return
            from .runner import JobRun

            job.started = datetime.now(UTC)
            keys = self._clients.keys_of(job.request["RoleArn"], "sagemaker", job.region)
            with LogWriter(self._client(job, "logs"), LOG_GROUP) as lines:
                run = JobRun(
                    job.request,
                    job.arn,
                    job.region,
                    lambda service: self._client(job, service),
                    self._home,
                    job_variables(self._clients.endpoint_url, job.region, keys),
                    lines.write,
                    job.stop,
                )
                outcome = run.run()
            self._finish(job, outcome.status, outcome.failure_reason, outcome.exit_message)
        except Exception as error:
            log.exception("Processing job %s", job.arn)
            self._finish(
                job, "Failed", f"InternalServerError: We encountered an internal error. {error!r}"
            )

    def _finish(
        self, job: Job, status: str, reason: str | None = None, message: str | None = None
    ) -> None:
        with self._lock:
            job.failure_reason = reason[:1024] if reason else None
            job.exit_message = message[:1024] if message else None
            job.ended = job.modified = datetime.now(UTC)
            # Last: who polls must find the rest in place once the status is final.
            job.status = status

    def _client(self, job: Job, service: str) -> Any:
        role = str(job.request["RoleArn"])
        return self._clients.as_role(role, job.region, "sagemaker").get(service, job.region)

    def _missing_permission(self, job: Job) -> str | None:
        request, role = job.request, str(job.request["RoleArn"])
        for what, wanted in (
            (
                "pull the image",
                services.image_pull(request["AppSpecification"]["ImageUri"], job.region),
            ),
            ("let Spark move its files", services.spark_moves(request, job.region)),
            ("make network interfaces", services.job_network(request, job.region)),
            ("use the keys", services.job_keys(request, job.region)),
        ):
            denied = self._access.require(role, job.region, "sagemaker", wanted, what=what)
            if denied:
                actions = ", ".join(sorted({need.action for need in denied}))
                return (
                    f"ClientError: SageMaker could not {what}: the role {role} does not allow "
                    f"{actions} on {denied[0].resource}"
                )
        # Without it a job has no metrics, and runs all the same.
        self._access.require(
            role, job.region, "sagemaker", services.job_metrics(), what="write metrics"
        )
        return None

    def _missing_input(self, job: Job) -> str | None:
        s3 = self._client(job, "s3")
        for entry in job.request.get("ProcessingInputs", []):
            source = entry.get("S3Input")
            if not source:
                continue
            absent = [name for name in ("LocalPath", "S3InputMode") if not source.get(name)]
            if absent and not entry.get("AppManaged"):
                return (
                    f"ClientError: Input {entry['InputName']} missing one or more required fields "
                    'for SageMaker-managed S3Input: "LocalPath", "S3DownloadMode", "S3InputMode"'
                )
            bucket, _, prefix = source["S3Uri"].removeprefix("s3://").partition("/")
            try:
                listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
            except ClientError:
                listed = {}
            if not listed.get("KeyCount"):
                return (
                    f'ClientError: No S3 objects found under S3 URL "{source["S3Uri"]}" given in '
                    "input data source. Please ensure that the bucket exists in the selected "
                    f"region ({job.region}), that objects exist under that S3 prefix, and that "
                    f'the role "{job.request["RoleArn"]}" has "s3:ListBucket" permissions on '
                    f'bucket "{bucket}".'
                )
        return None


def check_request(request: dict[str, Any]) -> None:
    """Check what SageMaker checks beyond its model.

    Parameters
    ----------
    request : dict
        The CreateProcessingJob request.

    Raises
    ------
    ServiceError
        When SageMaker would refuse the job.
    """
    places: list[str] = []
    names: list[str] = []
    for entry in request.get("ProcessingInputs", []):
        names.append(f"input {entry['InputName']}")
        places.append((entry.get("S3Input") or {}).get("LocalPath") or "")
    for entry in (request.get("ProcessingOutputConfig") or {}).get("Outputs", []):
        names.append(f"output {entry['OutputName']}")
        places.append((entry.get("S3Output") or {}).get("LocalPath") or "")
    for name, place in zip(names, places, strict=True):
        if place and not f"{place}/".startswith("/opt/ml/processing/"):
            raise ServiceError(
                "ValidationException",
                f"LocalPath {place} of {name} is invalid. It must start with /opt/ml/processing/",
            )
        if names.count(name) > 1:
            raise ServiceError(
                "ValidationException", f"Names must be unique: {name} is given more than once."
            )
