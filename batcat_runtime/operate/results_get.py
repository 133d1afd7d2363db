"""`batcat results get`: the newest whole results as files, as a run on this machine leaves them.

Each file comes under a temporary name and gets its own when its SHA-256 is the manifest's: so it is
there whole or not at all. A result's manifests come last. What is there already with the right
digest is left alone, so that an interrupted download goes on where it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any

from batcat_runtime.errors import ObjectChangedError, UserError, WaitInterruptedError
from batcat_runtime.io.progress import human_size
from batcat_runtime.operate.connection import Project, open_project
from batcat_runtime.operate.results import WindowResult
from batcat_runtime.operate.results_choice import chosen

_AT_ONCE = 8
_PIECE = 1 << 20


@dataclass(frozen=True)
class Download:
    """A result that is on this machine now.

    Attributes
    ----------
    result : WindowResult
        Which.
    folder : Path
        Where it lies; of a pipeline with several last steps, the folder above the steps' ones.
    files, bytes : int
        What was downloaded, without manifests and without what was there already.
    there : int
        The files that were there already.
    """

    result: WindowResult
    folder: Path
    files: int
    bytes: int
    there: int


@dataclass(frozen=True)
class _File:
    """A file to have: its key, its place, and what the manifest says of it (nothing of its own)."""

    key: str
    path: Path
    sha256: str
    body: bytes | None = None


def get_results(
    start: str | date | None = None,
    end: str | date | None = None,
    *,
    to: str | Path | None = None,
    folder: str | Path | None = None,
    purpose: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Download]:
    """Download the newest whole result of each window.

    Parameters
    ----------
    start, end : str or datetime.date, optional
        Without `end` the windows that begin on that day, or at that hour. With both those within
        ``[start, end)``. Without either all, and results over all data.
    to : str or Path, optional
        Where to; by default ``data/result/<purpose>`` of the project, where a run on this machine
        would leave its result: below it are ``date=<day>/run=<run id>/``.
    folder : str or Path, optional
        The project's folder; by default that of the working directory.
    purpose : str, optional
        The pipeline; needed when there are several.
    progress : callable, optional
        Takes lines on how far it is.

    Returns
    -------
    list of Download

    Raises
    ------
    NoSuchResultError
        There is no whole result yet, or none of that window; names the nearest.
    UserError
        The window is none, or the disk is too small; nothing was downloaded.
    ObjectChangedError
        A file in the bucket is not what its manifest says.

    Examples
    --------
    >>> get_results("2022-01-08")  # doctest: +SKIP
    """
    project = open_project(folder)
    name = project.config.purpose_name(purpose)
    wanted = chosen(project, name, start, end, progress=progress)
    target = Path(to) if to else project.folder / "data" / "result" / name
    prefix = f"{project.names(name).result_prefix}/"
    check_room(target, prefix, wanted)
    total = sum(one.bytes for one in wanted)
    downloads, done = [], 0
    for number, one in enumerate(wanted, 1):
        progress(
            f"{one.window or one.day}: result {number} of {len(wanted)}, "
            f"{human_size(done)} of {human_size(total)}"
        )
        downloads.append(_download(project, one, prefix, target))
        done += one.bytes
    return downloads


def check_room(
    target: Path, prefix: str, wanted: list[WindowResult], *, free: int | None = None
) -> None:
    """Refuse what does not fit on the disk; `free` bytes of it are left.

    Raises
    ------
    UserError
        It does not fit; nothing was downloaded.
    """
    needed = 0
    for one in wanted:
        for file in one.files:
            path = target / file.key.removeprefix(prefix)
            with contextlib.suppress(OSError):
                if path.stat().st_size == file.bytes:
                    continue
            needed += file.bytes
    above = target.absolute()
    while not above.is_dir() and above != above.parent:
        above = above.parent
    free = shutil.disk_usage(above).free if free is None else free
    if needed > free:
        raise UserError(
            f"The results need {human_size(needed)}, but {above} has {human_size(free)} left. "
            "Nothing was downloaded.",
            fix="Name fewer days, or another disk: `batcat results get 2022-01-08 --to FOLDER`.",
        )


def _download(project: Project, result: WindowResult, prefix: str, target: Path) -> Download:
    place, files_done, bytes_done, there = target, 0, 0, 0
    data, manifests = _files(project, result, prefix, target)
    if manifests and len({one.path.parent for one in manifests}) == 1:
        place = manifests[0].path.parent
    stop = threading.Event()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            # The manifests last: who finds them finds everything.
            for size in pool.map(lambda one: _fetch(project, one, stop), data):
                there += size is None
                files_done += size is not None
                bytes_done += size or 0
            list(pool.map(lambda one: _fetch(project, one, stop), manifests))
        except KeyboardInterrupt as error:
            raise WaitInterruptedError(
                f"Interrupted while {result.window or result.day} was downloaded to {target}. "
                "The files that are there are whole.",
                fix="The same command goes on where this one was.",
            ) from error
        finally:
            stop.set()
    return Download(result, place, files_done, bytes_done, there)


def _files(
    project: Project, result: WindowResult, prefix: str, target: Path
) -> tuple[list[_File], list[_File]]:
    """Return the data files that the manifests of a result name, and the manifests."""
    bucket, steps = project.config.result_s3_bucket, _folders(project, result, prefix)
    data, manifests = [], []
    for folder in steps:
        place = target / folder.removeprefix(prefix)
        for key, body in _manifests(project, bucket, folder):
            manifests.append(_File(key, place / key.removeprefix(folder), _digest(body), body))
            for told in json.loads(body).get("files", []):
                name = _checked_name(str(told["name"]), key)
                data.append(_File(folder + name, place / name, str(told.get("sha256", ""))))
    return data, manifests


def _folders(project: Project, result: WindowResult, prefix: str) -> list[str]:
    last = project.config.purposes[result.purpose].last_steps
    steps = [""] if len(last) == 1 else [f"{step}/" for step in last]
    return [f"{prefix}{step}date={result.day}/run={result.run_id}/" for step in steps]


def _manifests(project: Project, bucket: str, folder: str) -> Iterator[tuple[str, bytes]]:
    s3 = project.client("s3")
    with project.asked(f"s3://{bucket}/{folder}", "s3:GetObject"):
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=f"{folder}_manifest"
        )
        for key in [one["Key"] for page in pages for one in page.get("Contents", [])]:
            yield key, s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def _checked_name(name: str, key: str) -> str:
    """Return a file's name from a manifest, which must stay within the result's folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in path.parts[0]:
        raise ObjectChangedError(f"The manifest s3://.../{key} names {name!r}, outside its folder.")
    return name


def _fetch(project: Project, file: _File, stop: threading.Event) -> int | None:
    """Have a file in its place; return its bytes, or None when it was there."""
    if file.path.is_file() and _sha256(file.path) == file.sha256:
        return None
    bucket = project.config.result_s3_bucket
    file.path.parent.mkdir(parents=True, exist_ok=True)
    # The name begins with a dot: neither `job.input_files` nor Spark takes it for data.
    descriptor, name = tempfile.mkstemp(
        prefix=f".{file.path.name}.", suffix=".partial", dir=file.path.parent
    )
    partial, digest = Path(name), hashlib.sha256()
    try:
        with (
            os.fdopen(descriptor, "wb") as stream,
            project.asked(f"s3://{bucket}/{file.key}", "s3:GetObject"),
        ):
            for piece in _pieces(project, bucket, file):
                if stop.is_set():
                    return None  # another file failed, or Ctrl-C: nobody asks for this one
                digest.update(piece)
                stream.write(piece)
            size = stream.tell()
        if digest.hexdigest() != file.sha256:
            raise ObjectChangedError(
                f"s3://{bucket}/{file.key} is not what its manifest says: its SHA-256 is "
                f"{digest.hexdigest()[:12]}..., not {file.sha256[:12]}...",
                fix="Somebody changed it after the run. Compute it again with `batcat run`.",
            )
        partial.chmod(0o644)
        partial.replace(file.path)
    finally:
        partial.unlink(missing_ok=True)
    return size


def _pieces(project: Project, bucket: str, file: _File) -> Iterator[bytes]:
    if file.body is not None:
        yield file.body
        return
    body: Any = project.client("s3").get_object(Bucket=bucket, Key=file.key)["Body"]
    with contextlib.closing(body):
        yield from body.iter_chunks(_PIECE)


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
