"""Moves a processing job's files: S3 objects in before it starts, its output out when it has ended.

Both as SageMaker does it: an input is every key that starts with its prefix, or what a manifest
lists; with ``ShardedByS3Key`` each key goes to one instance only. Outputs keep their relative
paths, symbolic links are not followed. Manifests of results (``_manifest*.json``) are uploaded
after everything else: who sees one sees the whole result.
"""

from __future__ import annotations

import json
import posixpath
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import BotoCoreError, ClientError

_AT_ONCE = 4
_MANIFESTS = "_manifest*.json"
PROCESSING = "/opt/ml/processing/"


class TransferError(Exception):
    """Input or output could not be moved; the message is a job's FailureReason."""


@dataclass(frozen=True)
class _Object:
    bucket: str
    key: str
    path: str  # below the input's directory


def check_local_path(path: str) -> str:
    """Return a LocalPath as a path below ``/opt/ml``.

    Raises
    ------
    TransferError
        When it is not below ``/opt/ml/processing``.
    """
    normal = posixpath.normpath(path or "")
    if not f"{normal}/".startswith(PROCESSING) or f"{normal}/" == PROCESSING or "\0" in normal:
        raise TransferError(
            f"ClientError: LocalPath {path!r} must be an absolute path below {PROCESSING}"
        )
    return posixpath.relpath(normal, "/opt/ml")


def download(
    s3: Any, source: dict[str, Any], targets: Sequence[Path], *, as_keys: bool = False
) -> None:
    """Download one S3Input into the directory of each instance.

    Parameters
    ----------
    s3 : botocore client
        The embedded S3.
    source : dict
        The request's S3Input.
    targets : Sequence[Path]
        One directory for each instance, in their order; created here.
    as_keys : bool
        Put every object at ``bucket/key``, whatever its input's directory.

    Raises
    ------
    TransferError
        Nothing there, a key that would leave the directory, or an unsupported way of input.
    """
    if source.get("S3InputMode", "File") != "File":
        raise TransferError("ClientError: S3InputMode Pipe is not supported in the rehearsal")
    if source.get("S3CompressionType", "None") != "None":
        raise TransferError("ClientError: S3CompressionType Gzip can only be used with Pipe mode")
    try:
        found = sorted(_objects(s3, source), key=lambda item: (item.bucket, item.key))
    except (ClientError, BotoCoreError, ValueError, TypeError, KeyError) as error:
        raise TransferError(f"ClientError: Data download failed: {error}") from error
    if not found:
        raise TransferError(
            f'ClientError: No S3 objects found under S3 URL "{source["S3Uri"]}" given in input data'
            " source. Please ensure that objects exist under that S3 prefix."
        )
    if as_keys:
        found = [replace(item, path=f"{item.bucket}/{item.key}") for item in found]
    _check_paths(found)
    for target in targets:
        target.mkdir(parents=True, exist_ok=True)
    sharded = source.get("S3DataDistributionType") == "ShardedByS3Key"
    count = len(targets)
    wanted = [
        (item, target)
        for index, item in enumerate(found)
        for target in ([targets[index % count]] if sharded else targets)
    ]
    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(lambda pair: _fetch(s3, *pair), wanted):
                pass
    except (ClientError, BotoCoreError, OSError) as error:
        raise TransferError(f"ClientError: Data download failed: {error}") from error


def upload(s3: Any, outputs: Iterable[tuple[Path, str]]) -> None:
    """Upload directories, manifests of results last.

    Parameters
    ----------
    s3 : botocore client
        The embedded S3.
    outputs : Iterable of (Path, str)
        Directories, and the ``s3://`` prefix that each goes to.

    Raises
    ------
    TransferError
        When one could not be uploaded; nothing after it was.
    """
    files = [
        (path, bucket, posixpath.join(prefix.rstrip("/"), path.relative_to(directory).as_posix()))
        for directory, uri in outputs
        for bucket, prefix in [_split(uri)]
        for path in _files(directory)
    ]
    manifests = [file for file in files if fnmatchcase(file[0].name, _MANIFESTS)]
    rest = [file for file in files if file not in manifests]
    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(lambda file: s3.upload_file(str(file[0]), *file[1:]), rest):
                pass
        for path, bucket, key in manifests:
            s3.upload_file(str(path), bucket, key)
    except (ClientError, BotoCoreError, S3UploadFailedError, OSError, ValueError) as error:
        raise TransferError(f"ClientError: Data upload failed: {error}") from error


# ---------------------------------------------------------------- inputs


def _objects(s3: Any, source: dict[str, Any]) -> Iterator[_Object]:
    uri = source["S3Uri"]
    if source["S3DataType"] == "ManifestFile":
        yield from _listed(s3, uri)
        return
    bucket, prefix = _split(uri)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            key = entry["Key"]
            if not key.endswith("/"):
                yield _Object(bucket, key, _relative(key, prefix))


def _relative(key: str, prefix: str) -> str:
    """Return where a key belongs below its input's directory."""
    if prefix.endswith("/") or not prefix:
        return key[len(prefix) :]
    if key.startswith(f"{prefix}/"):
        return key[len(prefix) + 1 :]
    # The key itself, or a sibling that begins with the same letters: raw/usage and raw/usage2.csv.
    return key[prefix.rfind("/") + 1 :]


def _listed(s3: Any, uri: str) -> Iterator[_Object]:
    """Read a manifest: ``[{"prefix": "s3://bucket/x/"}, "a.csv", "b.csv"]``."""
    bucket, key = _split(uri)
    head, *names = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    bucket, prefix = _split(head["prefix"])
    for name in names:
        yield _Object(bucket, prefix + name, name)


def _check_paths(found: Iterable[_Object]) -> None:
    """Refuse keys that no file of the input's directory can be, and two that would be one."""
    seen: dict[PurePosixPath, str] = {}
    for item in found:
        path = PurePosixPath(item.path.lstrip("/"))
        wrong = f"ClientError: Data download failed: the key {item.key!r} in bucket {item.bucket!r}"
        if not path.parts or ".." in path.parts or "\0" in item.path or "\\" in item.path:
            raise TransferError(f"{wrong} would be written outside its input's directory")
        if path in seen:
            raise TransferError(f"{wrong} and the key {seen[path]!r} would be one file, {path}")
        seen[path] = item.key


def _fetch(s3: Any, item: _Object, directory: Path) -> None:
    target = directory / item.path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    s3.download_file(item.bucket, item.key, str(target))


# ---------------------------------------------------------------- outputs


def _files(directory: Path) -> list[Path]:
    if not directory.is_dir() or directory.is_symlink():
        return []  # the job removed it: there is nothing to upload
    found = []
    for entry in sorted(directory.iterdir()):
        if entry.is_symlink():
            continue
        if entry.is_dir():
            found += _files(entry)
        elif entry.is_file():
            found.append(entry)
    return found


def _split(uri: str) -> tuple[str, str]:
    parts = urllib.parse.urlsplit(uri, allow_fragments=False)
    if parts.scheme != "s3" or not parts.netloc:
        raise TransferError(f"ClientError: {uri!r} is no S3 URI: s3://bucket/prefix")
    # Not parts.path: a "?" is an ordinary character in a key.
    return parts.netloc, uri.removeprefix(f"s3://{parts.netloc}").removeprefix("/")
