"""The data of a project: where each input's files lie here, and where its jobs read them.

An input ``usage`` is ``data/raw/usage`` on this machine, and a prefix of S3 in a job. A rehearsal
puts the files into its embedded S3, `push` into the real one.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batcat_runtime.config import Config
from batcat_runtime.errors import NoSuchBucketError, UserError

_PART = 8 * 1024 * 1024  # boto3's own: files above it are sent in parts of this size


@dataclass(frozen=True)
class Sample:
    """The local files of one input, and the S3 prefix that they go to."""

    name: str
    uri: str
    folder: Path
    files: tuple[Path, ...]

    @property
    def place(self) -> tuple[str, str]:
        """The bucket, and what the keys begin with."""
        bucket, _, prefix = self.uri.removeprefix("s3://").partition("/")
        return bucket, f"{prefix.rstrip('/')}/".lstrip("/")

    def address(self, path: Path) -> tuple[str, str]:
        """Return bucket and key that a file of the sample goes to."""
        bucket, prefix = self.place
        return bucket, prefix + path.relative_to(self.folder).as_posix()


def find_samples(
    config: Config, purpose: str, folder: Path, *, strict: bool = True
) -> tuple[Sample, ...]:
    """Return the local files of every input of a purpose, but for those that no job reads.

    Raises
    ------
    UserError
        An input has no files under ``data/raw/<input>/``, if `strict`.
    """
    samples: list[Sample] = []
    for step in config.purposes[purpose].steps:
        for name, source in step.inputs.items():
            uri = source.s3
            if uri is None or (uri, name) in [(sample.uri, sample.name) for sample in samples]:
                continue
            place = folder / "data" / "raw" / name
            files = tuple(sorted(path for path in place.rglob("*") if _is_data(path, place)))
            if not files and strict:
                raise UserError(
                    f"There are no data: {place} holds no file for the input {name!r} of the step "
                    f"{step.name!r}.",
                    fix="Put a small, real sample there. `batcat data sample` brings the "
                    "template's.",
                )
            samples += [Sample(name, uri, place, files)] if files else []
    return tuple(samples)


def find_missing(s3: Any, samples: Iterable[Sample]) -> list[tuple[Path, str, str]]:
    """Return path, bucket and key of every file that S3 does not have with the same content.

    Raises
    ------
    BatcatError
        A bucket does not exist or may not be listed, or AWS cannot be reached.
    """
    from batcat_runtime.io.aws_errors import translated

    missing = []
    for sample in samples:
        bucket, prefix = sample.place
        there: dict[str, tuple[int, str]] = {}
        try:
            with translated(sample.uri, "s3:ListBucket"):
                pages = s3.get_paginator("list_objects_v2")
                for page in pages.paginate(Bucket=bucket, Prefix=prefix):
                    for object_ in page.get("Contents", []):
                        there[object_["Key"]] = object_["Size"], object_["ETag"].strip('"')
        except NoSuchBucketError as error:
            raise NoSuchBucketError(
                f"There is no bucket {bucket}.",
                fix=f"Deploy first, or make it: aws s3 mb s3://{bucket} --region "
                f"{s3.meta.region_name}",
            ) from error
        for path in sample.files:
            key = sample.address(path)[1]
            size = path.stat().st_size
            if there.get(key, (None,))[0] != size or there[key][1] != _etag(path):
                missing.append((path, bucket, key))
    return missing


def push(s3: Any, path: Path, bucket: str, key: str, sent: Callable[[int], None]) -> None:
    """Upload a file; `sent` is called with the number of bytes as they go."""
    from boto3.s3.transfer import TransferConfig

    from batcat_runtime.io.aws_errors import translated

    parts = TransferConfig(multipart_threshold=_PART, multipart_chunksize=_PART)
    with path.open("rb") as file, translated(f"s3://{bucket}/{key}", "s3:PutObject"):
        s3.upload_fileobj(file, bucket, key, Config=parts, Callback=sent)


def bring_sample(folder: Path) -> list[Path]:
    """Put the template's sample into ``data/raw``, where it is not; return the new files."""
    from batcat_runtime.project import template_folder

    source = template_folder() / "{{cookiecutter.project_slug}}"
    made = []
    for path in sorted((source / "data" / "raw").glob("*/*")):
        target = folder / path.relative_to(source)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            made.append(target)
    return made


def _is_data(path: Path, place: Path) -> bool:
    inside = path.relative_to(place)
    return path.is_file() and not any(part.startswith((".", "_")) for part in inside.parts)


def _etag(path: Path) -> str:
    """Return the ETag that S3 gives a file sent by `push`, as long as no KMS key is used."""
    with path.open("rb") as file:
        parts = [_md5(part) for part in iter(lambda: file.read(_PART), b"")]
    if path.stat().st_size < _PART:
        return (parts or [_md5(b"")])[0].hex()
    return f"{_md5(b''.join(parts)).hex()}-{len(parts)}"


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()
