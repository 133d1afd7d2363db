"""Objects of the embedded S3 as local files, since that is what DuckDB reads.

Files are kept under their ETag, so an object is fetched once however often it is queried, and a
changed object is another file. Some formats need a rewritten copy before DuckDB can read them as
Athena would; such a copy is kept beside the original (`Rewrite`).
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
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from ..clients import Clients

_MAX_CACHE_BYTES = 20 * 1024**3


@dataclass(frozen=True)
class StoredObject:
    """An object of S3: where it is, how large, and which version of its content.

    Attributes
    ----------
    size : int
        Bytes.
    """

    bucket: str
    key: str
    size: int
    etag: str

    @property
    def uri(self) -> str:
        """The address, such as ``s3://bucket/key``."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Rewrite:
    """A copy of an object in a form that DuckDB reads as Athena reads the original.

    Attributes
    ----------
    name : str
        Names the form; part of the copy's file name.
    write : callable
        From the original's path and the copy's path; returns False when the original will do.
    """

    name: str
    write: Callable[[Path, Path], bool]


class Objects:
    """Lists objects and fetches them into files.

    Parameters
    ----------
    clients : Clients
        To ask S3.
    home : pathlib.Path
        The server's work directory; the files go below it.
    """

    def __init__(self, clients: Clients, home: Path) -> None:
        self._clients = clients
        self._folder = home / "sql-objects"
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._readable: set[tuple[str, str, str]] = set()

    @property
    def folder(self) -> Path:
        """Where the fetched objects lie."""
        return self._folder

    def under(self, region: str, location: str) -> list[StoredObject]:
        """List the data objects under a location, in the order of their keys.

        Objects whose name begins with ``_`` or ``.`` are no data, nor are markers of folders.

        Parameters
        ----------
        region : str
            The region to ask in.
        location : str
            Such as ``s3://bucket/table/``.
        """
        bucket, prefix = split_location(location)
        if prefix and not prefix.endswith("/"):
            prefix += "/"
        found = self._list(region, bucket, prefix)
        return [one for one in found if is_data(one.key[len(prefix) :])]

    def everything(self, region: str, location: str) -> list[StoredObject]:
        """List all objects whose key begins with a location's, data or not."""
        return list(self._list(region, *split_location(location)))

    def file(self, region: str, stored: StoredObject, rewrite: Rewrite | None = None) -> Path:
        """Return a local file with an object's content, or with a rewritten copy of it.

        Parameters
        ----------
        region : str
            The region to ask in.
        stored : StoredObject
            The object, as listed.
        rewrite : Rewrite, optional
            The form that is needed.
        """
        name = f"{stored.etag.strip(chr(34))}-{stored.size}"
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            path = self._folder / name
            address = (stored.bucket, stored.key, stored.etag)
            if not path.exists():
                self._fetch(region, stored, path)
            elif address not in self._readable:
                # Fetched for somebody else: these clients may not be allowed to read it.
                s3 = self._clients.get("s3", region)
                s3.head_object(Bucket=stored.bucket, Key=stored.key)
            self._readable.add(address)
            os.utime(path)
            if rewrite is None:
                return path
            return _rewritten(path, rewrite)

    def _list(self, region: str, bucket: str, prefix: str) -> Iterator[StoredObject]:
        pages = self._clients.get("s3", region).get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=bucket, Prefix=prefix):
            for entry in page.get("Contents", []):
                yield StoredObject(bucket, entry["Key"], int(entry["Size"]), entry["ETag"])

    def _fetch(self, region: str, stored: StoredObject, path: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._make_room(stored.size)
        s3 = self._clients.get("s3", region)
        body = s3.get_object(Bucket=stored.bucket, Key=stored.key)["Body"]
        partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
        with contextlib.closing(body), partial.open("wb") as file:
            shutil.copyfileobj(body, file, 4 * 1024 * 1024)
        partial.replace(path)

    def _make_room(self, size: int) -> None:
        """Forget the files that were not used for longest, when the cache is full."""
        files = [(one.stat(), one) for one in self._folder.iterdir() if one.is_file()]
        used = sum(status.st_size for status, _ in files) + size
        for status, file in sorted(files, key=lambda pair: pair[0].st_mtime):
            if used <= _MAX_CACHE_BYTES:
                break
            # Queries that read it hold hard links of their own.
            file.unlink(missing_ok=True)
            used -= status.st_size


def split_location(location: str) -> tuple[str, str]:
    """Return bucket and key prefix of an S3 location.

    Parameters
    ----------
    location : str
        Such as ``s3://bucket/some/prefix``; ``s3a`` and ``s3n`` mean the same.

    Raises
    ------
    ValueError
        When it is no S3 location.
    """
    parts = urlsplit(location, allow_fragments=False)
    if parts.scheme not in ("s3", "s3a", "s3n") or not parts.netloc:
        raise ValueError(f"{location!r} is no S3 location")
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return parts.netloc, path.removeprefix("/")


def error_code(error: ClientError) -> str:
    """Return the code of an error that a service answered."""
    response: dict[str, Any] = error.response
    return str(response.get("Error", {}).get("Code", ""))


def is_data(name: str) -> bool:
    """Tell whether Athena reads an object, by its key below the table's location."""
    parts = [part for part in name.split("/") if part]
    hidden = any(part.startswith(("_", ".")) for part in parts)
    return bool(parts) and not hidden and not name.endswith("/")


def _rewritten(path: Path, rewrite: Rewrite) -> Path:
    copy = path.with_name(f"{path.name}.{rewrite.name}")
    same = path.with_name(f"{path.name}.{rewrite.name}-same")
    if same.exists():
        return path
    if not copy.exists():
        partial = copy.with_name(f"{copy.name}.{uuid.uuid4().hex}.partial")
        if not rewrite.write(path, partial):
            partial.unlink(missing_ok=True)
            same.touch()
            return path
        partial.replace(copy)
    os.utime(copy)
    return copy
