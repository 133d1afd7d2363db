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
from pathlib import Path
from typing import Any, Literal

from botocore.exceptions import ClientError

from batcat_runtime.errors import ImageError, JobError

from ...container.images import Image, ImageStore, find_in_registry
from . import packages, sandbox, spark, transfer
from .files import exit_message, job_environment, remove, s3_outputs, write_configuration
from .layout import Layout
from .lines import LineReader
from .transfer import TransferError

Status = Literal["Completed", "Failed", "Stopped"]
Log = Callable[[str, str], None]

_DAY = 86400
_POLL = 0.05
# Seconds between SIGTERM and SIGKILL; SageMaker gives 120.
_GRACE = 5.0


@dataclass(frozen=True)
class JobOutcome:
    """How a processing job ended, as DescribeProcessingJob tells it.

    Attributes
    ----------
    status : {"Completed", "Failed", "Stopped"}
        ProcessingJobStatus.
    failure_reason, exit_message : str or None
        FailureReason and ExitMessage.
    """

    status: Status
    failure_reason: str | None
    exit_message: str | None


@dataclass
class _Instance:
    """One of a job's machines: a sandbox and the process in it."""

    host: str
    stream: str
    layout: Layout
    process: subprocess.Popen[bytes] | None = None
    reader: LineReader | None = None


class _Stopped(Exception):  # noqa: N818 - an outcome, not an error
    """The job was told to stop, or ran for too long."""


class _Failed(Exception):  # noqa: N818
    """The job failed; the message is its FailureReason."""


@dataclass
class JobRun:
    """One processing job on its way.

    Parameters
    ----------
    request : dict
        A CreateProcessingJob request.
    arn, region : str
        The job's ARN and region.
    client : callable
        From a service to a client of the embedded AWS with the job's role.
    home : Path
        The embedded AWS's directory: images are found in it, sandboxes are made in it.
    environment : Mapping[str, str]
        What leads the job to the embedded AWS and nothing else: endpoint, credentials, region.
    log : Callable[[str, str], None]
        Receives a log stream's name and a line, from one thread for each instance.
    stop : threading.Event
        Set it to stop the job.
    """

    request: dict[str, Any]
    arn: str
    region: str
    client: Callable[[str], Any]
    home: Path
    environment: Mapping[str, str]
    log: Log
    stop: threading.Event
    _instances: list[_Instance] = field(default_factory=list)
    _mirror: spark.Mirror | None = None

    def run(self) -> JobOutcome:
        """Run the job to its end; whatever goes wrong is a failed job."""
        jobs, name = self.home / "jobs", self.request["ProcessingJobName"]
        jobs.mkdir(parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=jobs))
        status: Status = "Completed"
        reason: str | None = None
        try:
            self._prepare_and_run(directory)
        except _Stopped as stopped:
            status, reason = "Stopped", str(stopped) or None
        except (_Failed, JobError, TransferError) as failed:
            status, reason = "Failed", str(failed)
        except ImageError as error:
            status, reason = "Failed", f"ClientError: {error.message}"
        except ClientError as error:
            status, reason = "Failed", f"ClientError: {error}"
        except Exception as error:
            status, reason = "Failed", f"InternalServerError: {type(error).__name__}: {error}"
        message = None
        try:
            message = exit_message(instance.layout for instance in self._instances)
            self._upload(status)
        except TransferError as failed:
            if status == "Completed":
                status, reason = "Failed", str(failed)
        finally:
            remove(directory)
        return JobOutcome(status, reason, message)

    def _prepare_and_run(self, directory: Path) -> None:
        uri = self.request["AppSpecification"]["ImageUri"]
        on_spark, store = spark.is_spark(uri), ImageStore(self.home)
        image = (
            spark.image(self.home) if on_spark else find_in_registry(self.client("ecr"), uri, store)
        )
        folder = self.home / "pythons" / store.path(image.config_digest).name
        python, sites = packages.python_for(image.requirements, map(Path, image.wheels), folder)
        if on_spark and not spark.java_home().is_relative_to("/usr"):  # else it is there already
            sites += (spark.java_home(),)
        cluster = self.request["ProcessingResources"]["ClusterConfig"]
        count = int(cluster.get("InstanceCount") or 1)
        hosts = [f"algo-{number}" for number in range(1, count + 1)]
        moment = int(time.time() * 1000)
        copies = {path: Path(source) for path, source in image.copies.items()}
        for host in hosts:
            layout = Layout(directory / host, copies, image.workdir, python, sites)
            layout.make_directories()
            stream = f"{self.request['ProcessingJobName']}/{host}-{moment}"
            self._instances.append(_Instance(host, stream, layout))
            write_configuration(self.request, layout, host, hosts, self.arn)
        if on_spark:
            self._mirror = spark.Mirror(self.client("s3"), self._instances[0].layout, self.request)
        self._download()
        limit = self.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", _DAY)
        deadline = time.monotonic() + limit
        try:
            for instance in self._instances:
                self._start(instance, image)
            self._wait(deadline, limit)
        finally:
            self._end()

    def _download(self) -> None:
        for entry in self.request.get("ProcessingInputs") or []:
            if entry.get("AppManaged"):
                if self._mirror:
                    self._mirror.download(entry["S3Input"])
                continue
            if "S3Input" not in entry:
                raise TransferError(
                    f"ClientError: input {entry['InputName']!r} has no S3Input; dataset definitions"
                    " are not supported in the rehearsal"
                )
            below = transfer.check_local_path(entry["S3Input"].get("LocalPath", ""))
            targets = [instance.layout.ml_root / below for instance in self._instances]
            transfer.download(self.client("s3"), entry["S3Input"], targets)

    def _start(self, instance: _Instance, image: Image) -> None:
        specification = self.request["AppSpecification"]
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
        way = sandbox.choose_way()
        isolated = bool((self.request.get("NetworkConfig") or {}).get("EnableNetworkIsolation"))
        if isolated and way == "paths":
            self.log(instance.stream, "batcat: network isolation is not enforced on this machine")
        instance.process = sandbox.start(
            command,
            job_environment(self.request, image, self.environment, self.region),
            instance.layout,
            way=way,
            isolate_network=isolated,
            grace=_GRACE,
        )
        assert instance.process.stdout is not None
        stream = instance.stream
        instance.reader = LineReader(instance.process.stdout, lambda line: self.log(stream, line))

    def _wait(self, deadline: float, limit: int) -> None:
        waiting = {one.host: (one, one.process) for one in self._instances if one.process}
        while waiting:
            for host, (instance, process) in list(waiting.items()):
                code = process.poll()
                if code is None:
                    continue
                del waiting[host]
                if reason := sandbox.launch_failure(instance.layout):
                    raise _Failed(f"InternalServerError: the sandbox could not be made: {reason}")
                if code != 0:
                    raise _Failed(f"AlgorithmError: , exit code: {code}")
            if waiting and self.stop.wait(_POLL):
                raise _Stopped
            if waiting and time.monotonic() >= deadline:
                raise _Stopped(f"Processing job runtime exceeded MaxRuntimeInSeconds ({limit})")

    def _end(self) -> None:
        """Stop what still runs, and read the last of what was printed."""
        running = [one.process for one in self._instances if one.process]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(_GRACE + 5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for instance in self._instances:
            if instance.reader:
                instance.reader.finish()

    def _upload(self, status: Status) -> None:
        if self._mirror and status == "Completed":
            self._mirror.upload()
        outputs = [
            (
                instance.layout.ml_root / transfer.check_local_path(output["LocalPath"]),
                output["S3Uri"],
            )
            for mode, output in s3_outputs(self.request)
            for instance in self._instances
            if status == "Completed" or mode == "Continuous"
        ]
        transfer.upload(self.client("s3"), outputs)
