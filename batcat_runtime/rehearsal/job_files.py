"""What a processing job finds in its container, besides its data: configuration and environment.

The files under ``/opt/ml/config`` are those that SageMaker writes; the exit message is read back
from ``/opt/ml/output/message``.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from batcat_runtime.rehearsal import staging
from batcat_runtime.rehearsal.images import Image
from batcat_runtime.rehearsal.sandbox_layout import Layout
from batcat_runtime.rehearsal.staging import TransferError

MESSAGE_BYTES = 1024
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def write_configuration(
    request: dict[str, Any], layout: Layout, host: str, hosts: list[str], region: str
) -> None:
    """Write an instance's configuration files, and make the directories that SageMaker makes.

    Parameters
    ----------
    request : dict
        The CreateProcessingJob request.
    layout : Layout
        The instance's sandbox.
    host, hosts : str, list[str]
        The instance's name, and all of them.
    region : str
        The job's region.
    """
    ml = layout.ml_root
    for directory in ("config", "output", "processing/input", "processing/output"):
        (ml / directory).mkdir(parents=True, exist_ok=True)
    resources = {"current_host": host, "hosts": hosts, "network_interface_name": "eth0"}
    configuration = {
        "ProcessingJobArn": _arn(request, region),
        **{name: value for name, value in request.items() if name != "Tags"},
    }
    for name, content in (
        ("resourceconfig.json", resources),
        ("processingjobconfig.json", configuration),
    ):
        (ml / "config" / name).write_text(json.dumps(content), "utf-8")
    for _, output in s3_outputs(request):
        (ml / staging.check_local_path(output["LocalPath"])).mkdir(parents=True, exist_ok=True)


def _arn(request: dict[str, Any], region: str) -> str:
    # RoleArn is required: partition and account are the job's own.
    _, partition, _, _, account, *_ = f"{request.get('RoleArn', '')}::::::".split(":")
    name = request["ProcessingJobName"]
    return (
        f"arn:{partition or 'aws'}:sagemaker:{region}:{account or '123456789012'}"
        f":processing-job/{name.lower()}"
    )


def job_environment(
    request: dict[str, Any], layout: Layout, image: Image, ours: Mapping[str, str], region: str
) -> dict[str, str]:
    """Build a job's whole environment: nothing of this process's own gets in.

    Parameters
    ----------
    request : dict
        The CreateProcessingJob request.
    layout : Layout
        The instance's sandbox.
    image : Image
        Its variables come first.
    ours : Mapping[str, str]
        What leads to the embedded AWS: it goes before the request's variables, but for the region.
    region : str
        The job's region.
    """
    asked = {**image.env, "AWS_REGION": region, **(request.get("Environment") or {})}
    # A request may name another region; another endpoint would leave this machine.
    regions = ("AWS_REGION", "AWS_DEFAULT_REGION")
    ours = {n: value for n, value in ours.items() if n not in regions or n not in asked}
    theirs = {n: v for n, v in asked.items() if not n.startswith("AWS_ENDPOINT_URL")}
    theirs.pop("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", None)
    return {
        "HOME": str(layout.home),
        "TMPDIR": str(layout.temporary),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONUNBUFFERED": "1",
        **theirs,
        **ours,
        # This Python answers to `python` and `python3`, whatever the image would have.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{asked.get('PATH') or _PATH}",
    }


def s3_outputs(request: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """List the outputs that SageMaker uploads, each with its mode.

    Raises
    ------
    TransferError
        For a kind of output that the rehearsal does not have.
    """
    found = []
    for entry in (request.get("ProcessingOutputConfig") or {}).get("Outputs") or []:
        if entry.get("AppManaged"):
            continue
        if "S3Output" not in entry:
            raise TransferError(
                f"ClientError: output {entry['OutputName']!r} has no S3Output; a feature store is"
                " not supported in the rehearsal"
            )
        found.append((entry["S3Output"]["S3UploadMode"], entry["S3Output"]))
    return found


def exit_message(layouts: Iterable[Layout]) -> str | None:
    """Join the instances' messages and cut them to SageMaker's size.

    Raises
    ------
    TransferError
        When it is not UTF-8, which fails a job.
    """
    said = b""
    for layout in layouts:
        path = layout.ml_root / "output" / "message"
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                said += file.read(MESSAGE_BYTES + 4)
    try:
        # Decoded before it is cut: a character that the cut splits is no mistake of the job's.
        whole = said.decode("utf-8") if len(said) <= MESSAGE_BYTES else _lenient(said)
    except UnicodeDecodeError as error:
        raise TransferError(
            "ClientError: The exit message in /opt/ml/output/message is not UTF-8 encoded"
        ) from error
    return whole.encode()[:MESSAGE_BYTES].decode("utf-8", "ignore") or None


def _lenient(said: bytes) -> str:
    """Decode a text whose last character may be cut off."""
    try:
        return said.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < MESSAGE_BYTES - 4:
            raise
        return said[: error.start].decode("utf-8")


def remove(directory: Path) -> None:
    """Remove a sandbox, including directories that its job made unwritable."""
    for path, names, _ in os.walk(directory):
        for name in names:
            inner = Path(path, name)
            if not inner.is_symlink() and not os.access(inner, os.W_OK | os.X_OK | os.R_OK):
                inner.chmod(0o700)
    shutil.rmtree(directory, ignore_errors=True)
