"""Objects of the embedded S3 as local files, since that is what DuckDB reads.

Files are kept under their ETag, so an object is fetched once however often it is queried, and a
changed object is another file. Whoever asks must be allowed to read the object itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from ...clients import Clients

_BLOCK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class StoredObject:
    """An object of S3: where it is, how large in bytes, and which version of its content."""

    bucket: str
    key: str
    size: int
    etag: str

    @property
    def uri(self) -> str:
        """The address, such as ``s3://bucket/key``."""
        return f"s3://{self.bucket}/{self.key}"


class Objects:
    """Lists objects, fetches them into files and uploads files.

    Parameters
    ----------
    clients : Clients
        To ask S3, with the rights of whoever asks.
    home : pathlib.Path
        The server's work directory; the files go below it, into ``sql-objects``.
    """

    def __init__(self, clients: Clients, home: Path) -> None:
        self._clients = clients
        self.folder = home / "sql-objects"
        self._readable: set[StoredObject] = set()
        self._lock = threading.Lock()

    def under(self, region: str, location: str) -> list[StoredObject]:
        """List the objects whose key begins with a location's, in the order of their keys."""
        bucket, prefix = split_location(location)
        pages = self._clients.get("s3", region).get_paginator("list_objects_v2")
        return [
            StoredObject(bucket, entry["Key"], int(entry["Size"]), entry["ETag"])
            for page in pages.paginate(Bucket=bucket, Prefix=prefix)
            for entry in page.get("Contents", [])
        ]

    def file(self, region: str, stored: StoredObject) -> Path:
        """Return a local file with an object's content.

        Raises
        ------
        botocore.exceptions.ClientError
            Also when the file is here, but these clients may not read the object.
        """
        path = self.folder / f"{stored.etag.strip(chr(34))}-{stored.size}"
        s3 = self._clients.get("s3", region)
        with self._lock:
            if not path.exists():
                self._fetch(s3, stored, path)
            elif stored not in self._readable:
                s3.head_object(Bucket=stored.bucket, Key=stored.key)
            self._readable.add(stored)
        return path

    def linked(self, region: str, stored: StoredObject, path: Path) -> Path:
        """Give an object's file another name: a hard link, or a copy where there are none."""
        path.parent.mkdir(parents=True, exist_ok=True)
        cached = self.file(region, stored)
        try:
            os.link(cached, path)
        except OSError:
            shutil.copyfile(cached, path)
        return path

    def upload(
        self,
        region: str,
        folder: Path,
        location: str,
        named: Callable[[Path, int], str],
        **extra: str,
    ) -> Iterator[tuple[Path, StoredObject]]:
        """Upload every file of a folder, and yield each with its object.

        Parameters
        ----------
        region : str
            The region to sign for.
        folder : pathlib.Path
            With partitions as folders, if any.
        location : str
            Such as ``s3://bucket/prefix/``; the names are put right behind it.
        named : callable
            From a file's path below the folder, and its number, to its name below the location.
        **extra : str
            Further arguments of PutObject, such as ``ServerSideEncryption``.
        """
        bucket, prefix = split_location(location)
        s3 = self._clients.get("s3", region)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        for number, path in enumerate(files):
            inside = path.relative_to(folder)
            key = prefix + named(inside, number)
            with path.open("rb") as body:
                answer = s3.put_object(Bucket=bucket, Key=key, Body=body, **extra)
            yield inside, StoredObject(bucket, key, path.stat().st_size, answer["ETag"])

    def _fetch(self, s3: Any, stored: StoredObject, path: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        body = s3.get_object(Bucket=stored.bucket, Key=stored.key)["Body"]
        partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
        with contextlib.closing(body), partial.open("wb") as file:
            shutil.copyfileobj(body, file, _BLOCK_BYTES)
        partial.replace(path)


def split_location(location: str) -> tuple[str, str]:
    """Return bucket and key prefix of an S3 location such as ``s3://bucket/some/prefix``.

    Raises
    ------
    ValueError
        When it is no S3 location.
    """
    scheme, colon, rest = location.partition("://")
    bucket, _, prefix = rest.partition("/")
    if not colon or scheme not in ("s3", "s3a", "s3n") or not bucket:
        raise ValueError(f"{location!r} is no S3 location")
    return bucket, prefix


def error_code(error: ClientError) -> str:
    """Return the code of an error that a service answered."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_data(name: str) -> bool:
    """Tell whether Athena reads an object, by its key below the table's location."""
    parts = name.split("/")
    return bool(parts[-1]) and not any(part.startswith(("_", ".")) for part in parts)
