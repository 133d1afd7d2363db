"""What a deployment puts into the result bucket: definitions, the function's code, large templates.

Each lies under a key that follows from its content, so that the same content is there once, and
CloudFormation sees another key exactly when something has changed.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from botocore.exceptions import ClientError

from batcat_runtime.config import Config
from batcat_runtime.deploy.session import session_for
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.names import Names

_EPOCH = (1980, 1, 1, 0, 0, 0)


def key_of(config: Config, name: str, data: bytes) -> str:
    """Return the key of an artifact: its content's digest, then its name."""
    names = Names.of(config, next(iter(config.purposes)))
    return f"{names.build_prefix}/{hashlib.sha256(data).hexdigest()[:16]}-{name}"


def put_artifact(config: Config, name: str, data: bytes) -> str:
    """Put an artifact into the result bucket unless it is there already; return its key."""
    key, bucket = key_of(config, name, data), config.result_s3_bucket
    s3 = session_for(config.region).client("s3")
    with translated(f"s3://{bucket}/{key}", "s3:PutObject"):
        try:
            s3.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"].get("HTTPStatusCode") not in (403, 404):
                raise
            s3.put_object(Bucket=bucket, Key=key, Body=data)
    return key


def zipped(folder: Path) -> bytes:
    """Return a folder as a zip archive: the same bytes for the same files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _files(folder):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), date_time=_EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path
