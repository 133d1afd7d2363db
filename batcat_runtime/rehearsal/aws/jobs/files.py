"""What a processing job finds in its container, besides its data: configuration and environment.

The files under ``/opt/ml/config`` are those that SageMaker writes; the exit message is read back
from ``/opt/ml/output/message``.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...container.images import Image
from .layout import PYTHON, Layout
from .transfer import TransferError, check_local_path

MESSAGE_BYTES = 1024
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def write_configuration(
    request: dict[str, Any], layout: Layout, host: str, hosts: list[str], arn: str
) -> None:
    """Write an instance's configuration files, and make the directories that SageMaker makes."""
    ml = layout.ml_root
    for directory in ("config", "output", "processing/input", "processing/output"):
        (ml / directory).mkdir(parents=True, exist_ok=True)
    resources = {"current_host": host, "hosts": hosts, "network_interface_name": "eth0"}
    job = {name: value for name, value in request.items() if name != "Tags"}
    for name, content in (
        ("resourceconfig.json", resources),
        ("processingjobconfig.json", {"ProcessingJobArn": arn, **job}),
    ):
        (ml / "config" / name).write_text(json.dumps(content), "utf-8")
    for _, output in s3_outputs(request):
        (ml / check_local_path(output["LocalPath"])).mkdir(parents=True, exist_ok=True)


def job_environment(
    request: dict[str, Any], image: Image, ours: Mapping[str, str], region: str
) -> dict[str, str]:
    """Build a job's whole environment: nothing of this process's own gets in.

    Parameters
    ----------
    request : dict
        The CreateProcessingJob request.
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
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONUNBUFFERED": "1",
        **theirs,
        **ours,
        # This Python answers to `python` and `python3`, whatever the image would have.
        "PATH": f"{PYTHON}/bin{os.pathsep}{asked.get('PATH') or _PATH}",
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
    paths = [layout.ml_root / "output" / "message" for layout in layouts]
    said = b"".join(
        path.read_bytes() for path in paths if path.is_file() and not path.is_symlink()
    )[:MESSAGE_BYTES]
    try:
        return said.decode("utf-8") or None
    except UnicodeDecodeError as error:
        if len(said) == MESSAGE_BYTES == error.end:  # the cut has split a character
            return said[: error.start].decode("utf-8")
        raise TransferError(
            "ClientError: The exit message in /opt/ml/output/message is not UTF-8 encoded"
        ) from error


def remove(directory: Path) -> None:
    """Remove a sandbox, including directories that its job made unwritable."""
    for path, names, _ in os.walk(directory):
        for name in names:
            inner = Path(path, name)
            if not inner.is_symlink() and not os.access(inner, os.W_OK | os.X_OK | os.R_OK):
                inner.chmod(0o700)
    shutil.rmtree(directory, ignore_errors=True)
