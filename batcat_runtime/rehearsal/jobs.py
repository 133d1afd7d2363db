"""Runs a SageMaker processing job here: the request that AWS gets, the files that it sees.

The stages, for each instance side by side: a directory laid out as ``/opt/ml``, inputs downloaded,
``resourceconfig.json`` and ``processingjobconfig.json`` written, the image's entrypoint started in
a `sandbox` with a clean environment, its output sent line by line to the log; then the exit
message read, outputs uploaded, the directory removed. What ends badly ends in SageMaker's words.

Facts followed here, from the developer guide and the service model: the exit message is the first
1024 bytes of ``/opt/ml/output/message`` of all instances together, and must be UTF-8; output
directories exist before the entrypoint runs; ``EndOfJob`` output of a job that failed is not
uploaded, ``Continuous`` output is, as far as it was written.
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from batcat_runtime.errors import ImageError
from batcat_runtime.rehearsal import sandbox, staging
from batcat_runtime.rehearsal.images import Image, ImageStore, find_in_registry
from batcat_runtime.rehearsal.job_files import (
    exit_message,
    job_environment,
    remove,
    s3_outputs,
    write_configuration,
)
from batcat_runtime.rehearsal.linereader import LineReader
from batcat_runtime.rehearsal.sandbox_layout import Layout
from batcat_runtime.rehearsal.staging import TransferError

Status = Literal["Completed", "Failed", "Stopped"]
Log = Callable[[str, str], None]

REASON_LENGTH = 1024
_DAY = 86400
_POLL = 0.05


@dataclass(frozen=True)
class JobOutcome:
    """How a processing job ended, as DescribeProcessingJob tells it.

    Attributes
    ----------
    status : {"Completed", "Failed", "Stopped"}
        ProcessingJobStatus.
    failure_reason : str or None
        FailureReason; at most 1024 characters.
    exit_message : str or None
        ExitMessage; at most 1024 bytes.
    started, ended : datetime
        In UTC.
    """

    status: Status
    failure_reason: str | None
    exit_message: str | None
    started: datetime
    ended: datetime


@dataclass
class _Instance:
    """One of a job's machines: a sandbox and the process in it."""

    host: str
    stream: str
    layout: Layout
    process: subprocess.Popen[bytes] | None = None
    reader: LineReader | None = None


@dataclass
class _Job:
    """A job under way."""

    name: str
    request: dict[str, Any]
    directory: Path
    log: Log
    instances: list[_Instance] = field(default_factory=list)


class _Stopped(Exception):  # noqa: N818 - an outcome, not an error
    """The job was told to stop, or ran for too long."""


class _Failed(Exception):  # noqa: N818
    """The job failed; the message is its FailureReason."""


class ProcessingJobRunner:
    """Runs processing jobs against an embedded AWS.

    Parameters
    ----------
    endpoint_url : str
        Where the embedded AWS listens.
    region : str
        The job's region.
    home : Path
        The embedded AWS's directory: images are found in it, sandboxes are made in it.
    environment : Mapping[str, str]
        What every job gets so that it reaches the embedded AWS and nothing else: endpoint,
        credentials, region. It goes before the request's own environment.
    grace : float
        Seconds that a job has between SIGTERM and SIGKILL. SageMaker gives 120.
    """

    def __init__(
        self,
        *,
        endpoint_url: str,
        region: str,
        home: Path,
        environment: Mapping[str, str],
        grace: float = 5.0,
    ) -> None:
        self._endpoint_url = endpoint_url
        self._region = region
        self._home = home
        self._environment = dict(environment)
        self._grace = grace
        self._store = ImageStore(home)

    def run(self, request: dict[str, Any], *, log: Log, stop: threading.Event) -> JobOutcome:
        """Run a job to its end.

        Parameters
        ----------
        request : dict
            A CreateProcessingJob request.
        log : Callable[[str, str], None]
            Receives a log stream's name and a line, from one thread for each instance.
        stop : threading.Event
            Set it to stop the job.

        Returns
        -------
        JobOutcome
            Never an exception: whatever goes wrong is a failed job.
        """
        started = datetime.now(UTC)
        name = str(request["ProcessingJobName"])
        jobs = self._home / "jobs"
        jobs.mkdir(parents=True, exist_ok=True)
        job = _Job(name, request, Path(tempfile.mkdtemp(prefix=f"{name}-", dir=jobs)), log)
        status: Status = "Completed"
        reason: str | None = None
        try:
            self._prepare_and_run(job, started, stop)
        except _Stopped as stopped:
            status, reason = "Stopped", str(stopped) or None
        except (_Failed, TransferError) as failed:
            status, reason = "Failed", str(failed)
        except (ImageError, ClientError) as error:
            status, reason = "Failed", f"ClientError: {error}"
        except Exception as error:
            status, reason = "Failed", f"InternalServerError: {type(error).__name__}: {error}"
        try:
            message = exit_message(instance.layout for instance in job.instances)
            self._upload(job, status)
        except (_Failed, TransferError) as failed:
            message = None
            if status == "Completed":
                status, reason = "Failed", str(failed)
        finally:
            remove(job.directory)
        reason = reason[:REASON_LENGTH] if reason else None
        return JobOutcome(status, reason, message, started, datetime.now(UTC))

    def _client(self, service: str) -> Any:
        credentials = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        keys = tuple(self._environment.get(name) for name in credentials)
        return _client(service, self._endpoint_url, self._region, keys)

    # ------------------------------------------------------------ stages

    def _prepare_and_run(self, job: _Job, started: datetime, stop: threading.Event) -> None:
        image = self._find_image(job.request)
        way = sandbox.choose_way(self._environment.get("BATCAT_SANDBOX"))
        cluster = job.request["ProcessingResources"]["ClusterConfig"]
        for number in range(1, int(cluster.get("InstanceCount") or 1) + 1):
            host = f"algo-{number}"
            layout = Layout(
                job.directory / host,
                {path: Path(source) for path, source in image.copies.items()},
                image.workdir,
            )
            layout.make_directories()
            stream = f"{job.name}/{host}-{int(started.timestamp() * 1000)}"
            job.instances.append(_Instance(host, stream, layout))
        for instance in job.instances:
            hosts = [other.host for other in job.instances]
            write_configuration(job.request, instance.layout, instance.host, hosts, self._region)
        self._download(job)
        limit = job.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", _DAY)
        deadline = time.monotonic() + limit
        try:
            for instance in job.instances:
                self._start(job, instance, image, way)
            self._wait(job, deadline, stop, limit)
        finally:
            self._end(job)

    def _find_image(self, request: dict[str, Any]) -> Image:
        uri = request["AppSpecification"]["ImageUri"]
        return find_in_registry(self._client("ecr"), uri, self._store)

    def _download(self, job: _Job) -> None:
        for entry in job.request.get("ProcessingInputs") or []:
            if entry.get("AppManaged"):
                continue
            if "S3Input" not in entry:
                raise TransferError(
                    f"ClientError: input {entry['InputName']!r} has no S3Input; dataset definitions"
                    " are not supported in the rehearsal"
                )
            below = staging.check_local_path(entry["S3Input"].get("LocalPath", ""))
            targets = [instance.layout.ml_root / below for instance in job.instances]
            staging.download(self._client("s3"), entry["S3Input"], targets)

    def _start(self, job: _Job, instance: _Instance, image: Image, way: sandbox.Way) -> None:
        specification = job.request["AppSpecification"]
        arguments = list(specification.get("ContainerArguments") or [])
        entrypoint = specification.get("ContainerEntrypoint")
        # As docker: an entrypoint from outside drops the image's CMD, and so do arguments.
        command = (entrypoint or image.entrypoint) + (
            arguments or ([] if entrypoint else image.cmd)
        )
        if not command:
            raise _Failed(
                "ClientError: API error (400): no command specified: neither ContainerEntrypoint"
                " nor the image says what to run"
            )
        isolated = bool((job.request.get("NetworkConfig") or {}).get("EnableNetworkIsolation"))
        if isolated and way == "paths":
            job.log(instance.stream, "batcat: network isolation is not enforced on this machine")
        instance.process = sandbox.start(
            command,
            job_environment(job.request, instance.layout, image, self._environment, self._region),
            instance.layout,
            way=way,
            isolate_network=isolated,
            grace=self._grace,
        )
        assert instance.process.stdout is not None
        stream = instance.stream
        instance.reader = LineReader(instance.process.stdout, lambda line: job.log(stream, line))

    def _wait(self, job: _Job, deadline: float, stop: threading.Event, limit: int) -> None:
        waiting = {instance.host: instance for instance in job.instances}
        while waiting:
            for host, instance in list(waiting.items()):
                assert instance.process is not None
                code = instance.process.poll()
                if code is None:
                    continue
                del waiting[host]
                if reason := sandbox.launch_failure(instance.layout):
                    raise _Failed(f"InternalServerError: the sandbox could not be made: {reason}")
                if code != 0:
                    raise _Failed(f"AlgorithmError: , exit code: {code}")
            if waiting and stop.wait(_POLL):
                raise _Stopped
            if waiting and time.monotonic() >= deadline:
                raise _Stopped(f"Processing job runtime exceeded MaxRuntimeInSeconds ({limit})")

    def _end(self, job: _Job) -> None:
        """Stop what still runs, and read the last of what was printed."""
        running = [i for i in job.instances if i.process and i.process.poll() is None]
        for instance in running:
            assert instance.process is not None
            instance.process.terminate()
        for instance in running:
            assert instance.process is not None
            try:
                instance.process.wait(self._grace + 5)
            except subprocess.TimeoutExpired:
                instance.process.kill()
                instance.process.wait()
        for instance in job.instances:
            if instance.reader:
                instance.reader.finish()

    def _upload(self, job: _Job, status: Status) -> None:
        outputs = [
            (
                instance.layout.ml_root / staging.check_local_path(output["LocalPath"]),
                output["S3Uri"],
            )
            for mode, output in s3_outputs(job.request)
            for instance in job.instances
            if status == "Completed" or mode == "Continuous"
        ]
        staging.upload(self._client("s3"), outputs)


@cache
def _client(service: str, endpoint_url: str, region: str, keys: tuple[str | None, ...]) -> Any:
    """Make a client once for each embedded AWS: making one costs more than a short job."""
    key, secret, token = keys
    session: Any = boto3.session.Session(
        aws_access_key_id=key or "testing",
        aws_secret_access_key=secret or "testing",
        aws_session_token=token,
        region_name=region,
    )
    config = Config(
        proxies={},
        retries={"max_attempts": 3},
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return session.client(service, endpoint_url=endpoint_url, config=config)
