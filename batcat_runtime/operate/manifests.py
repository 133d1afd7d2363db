"""The results of a purpose, as their manifests tell: which windows there are, whole or not.

A result lies at ``<prefix>/[<step>/]date=<day>/run=<run id>/`` with one manifest for each instance
that wrote it. It is whole when every last step has the manifest of each of its instances. Keys are
listed as a stream, a day's manifests are read together, and nothing else is kept.
"""

from __future__ import annotations

import heapq
import itertools
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from batcat_runtime.operate.connection import Project
from batcat_runtime.operate.executions import Window

_KEY = re.compile(r"(?:(?P<step>[^/]+)/)?date=(?P<day>[^/]+)/run=(?P<run>[^/]+)/(?P<name>.+)")
_AT_ONCE = 16


@dataclass(frozen=True)
class ResultFile:
    """One file of a result.

    Attributes
    ----------
    key : str
        Its S3 key in the result bucket.
    bytes : int
        Its size.
    """

    key: str
    bytes: int


@dataclass(frozen=True)
class Result:
    """What one run left in the result bucket.

    Attributes
    ----------
    purpose, run_id, day : str
        Which pipeline, which run, and the day of its folder.
    window : Window or None
        What it computed; None for a run over all data.
    rows, bytes : int
        Over all its data files.
    files : tuple of ResultFile
        Its data files, manifests left out.
    missing : str
        What is missing of a whole result; empty when nothing is.
    code_sha256, image : str
        The version of the code, and the image with its digest.
    ended : str
        When the last of it was written, ISO 8601.
    parameters : dict
        The run's further parameters.
    """

    purpose: str
    run_id: str
    day: str
    window: Window | None
    rows: int
    bytes: int
    files: tuple[ResultFile, ...]
    missing: str
    code_sha256: str
    image: str
    ended: str
    parameters: dict[str, Any]

    @property
    def whole(self) -> bool:
        """Whether all of it is there."""
        return not self.missing


def read_results(
    project: Project,
    purpose: str,
    *,
    first: str = "",
    last: str = "",
    without_manifest: bool = False,
) -> Iterator[Result]:
    """Yield the results of a purpose by day; runs of one day in the order in which they ended.

    Parameters
    ----------
    project : Project
        Where.
    purpose : str
        The pipeline.
    first, last : str, optional
        The first and the last day, both included: ``2022-01-08``. By default all.
    without_manifest : bool
        Whether to yield runs that left files but no manifest too: to a reader that knows nothing
        of manifests, such as Athena, their rows are there.

    Raises
    ------
    BatcatError
        The bucket is missing, or not ours to read.
    """
    prefix = f"{project.names(purpose).result_prefix}/"
    parts = _parts(project, purpose)
    streams = [_days(project, prefix, part, first, last) for part in parts]
    merged = heapq.merge(*streams, key=lambda one: one[0])
    for _, group in itertools.groupby(merged, lambda one: one[0]):
        keys = [key for _, keys in group for key in keys]
        for one in _results(project, purpose, prefix, keys):
            if one.ended or (without_manifest and one.files):
                yield one


def result_of(project: Project, purpose: str, run_id: str, day: str) -> Result | None:
    """Return what a run left, by the day that its window begins with; None without a manifest."""
    # A job cleans its run's id, and names its folder after that.
    run = re.sub(r"[^\w.-]", "-", run_id)
    prefix = f"{project.names(purpose).result_prefix}/"
    found = [
        entry
        for part in _parts(project, purpose)
        for entry in _listed(project, f"{prefix}{part}date={day}/run={run}/")
    ]
    return next(_results(project, purpose, prefix, found), None)


def results_of(project: Project, purpose: str, run_id: str) -> Iterator[Result]:
    """Yield what a run left when nothing tells its day any more: looks at every key there is."""
    run = re.sub(r"[^\w.-]", "-", run_id)
    prefix = f"{project.names(purpose).result_prefix}/"
    found = [
        entry
        for part in _parts(project, purpose)
        for entry in _listed(project, f"{prefix}{part}date=")
        if f"/run={run}/" in entry[0]
    ]
    yield from _results(project, purpose, prefix, found)


def folder_of(project: Project, result: Result) -> str:
    """Return the ``s3://`` folder of a result, or the prefix below which its folders are."""
    place = project.result_uri(result.purpose)
    folders = {one.key.rpartition("/run=")[0] for one in result.files}
    if len(folders) == 1:
        bucket = project.config.result_s3_bucket
        run = next(iter(result.files)).key.rpartition("/run=")[2].partition("/")[0]
        return f"s3://{bucket}/{folders.pop()}/run={run}/"
    return f"{place}/"


def _parts(project: Project, purpose: str) -> list[str]:
    """Return the folders below a purpose's prefix that days are in; one is the prefix itself."""
    steps = project.config.purposes[purpose].last_steps
    # Of several last steps each has a folder of its own, so a day is in several places.
    return [""] if len(steps) == 1 else [f"{step}/" for step in steps]


def _listed(project: Project, prefix: str) -> Iterator[tuple[str, int]]:
    bucket = project.config.result_s3_bucket
    pages = project.client("s3").get_paginator("list_objects_v2")
    with project.asked(f"s3://{bucket}/{prefix}", "s3:ListBucket"):
        for page in pages.paginate(Bucket=bucket, Prefix=prefix):
            for one in page.get("Contents", []):
                yield one["Key"], one["Size"]


def _days(
    project: Project, prefix: str, part: str, first: str, last: str
) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """Yield each day with its keys and sizes, in order."""
    base = f"{prefix}{part}date="
    asked: dict[str, Any] = {"Bucket": project.config.result_s3_bucket, "Prefix": base}
    if first:
        asked["StartAfter"] = f"{base}{first}"
    listed = project.client("s3").get_paginator("list_objects_v2").paginate(**asked)

    def entries() -> Iterator[tuple[str, int]]:
        with project.asked(f"s3://{project.config.result_s3_bucket}/{prefix}", "s3:ListBucket"):
            for page in listed:
                for one in page.get("Contents", []):
                    if last and one["Key"][len(base) : len(base) + 10] > last:
                        return
                    yield one["Key"], one["Size"]

    for day, group in itertools.groupby(entries(), lambda entry: entry[0][len(base) :][:10]):
        yield day, list(group)


def _results(
    project: Project, purpose: str, prefix: str, keys: list[tuple[str, int]]
) -> Iterator[Result]:
    """Put the keys of one day together to results."""
    runs: dict[tuple[str, str], list[tuple[str, str, int]]] = {}
    for key, size in keys:
        found = _KEY.fullmatch(key.removeprefix(prefix))
        if found:
            runs.setdefault((found["day"], found["run"]), []).append((key, found["name"], size))
    manifests = [
        key for files in runs.values() for key, name, _ in files if name.startswith("_manifest")
    ]
    with ThreadPoolExecutor(min(_AT_ONCE, max(1, len(manifests)))) as pool:
        read = dict(
            zip(manifests, pool.map(lambda key: _read(project, key), manifests), strict=True)
        )
    results = [
        _result(project, purpose, day, run, files, [read[key] for key, *_ in files if key in read])
        for (day, run), files in runs.items()
    ]
    yield from sorted(results, key=lambda one: (one.ended, one.run_id))


def _read(project: Project, key: str) -> dict[str, Any]:
    bucket = project.config.result_s3_bucket
    with project.asked(f"s3://{bucket}/{key}", "s3:GetObject"):
        body = project.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    try:
        content = json.loads(body)
    except ValueError:
        return {}  # not ours, or cut off: the result counts as not whole
    return content if isinstance(content, dict) else {}


def _result(
    project: Project,
    purpose: str,
    day: str,
    run: str,
    files: list[tuple[str, str, int]],
    manifests: list[dict[str, Any]],
) -> Result:
    told = [one for one in manifests if one]
    newest = max(told, key=lambda one: str(one.get("ended", "")), default={})
    start, end = newest.get("date_start"), newest.get("date_end")
    data = [(key, size) for key, name, size in files if not name.startswith(("_", "."))]
    return Result(
        purpose=purpose,
        run_id=run,
        day=day,
        window=Window(start, end) if start and end else None,
        rows=sum(int(one.get("rows") or 0) for one in told),
        bytes=sum(size for _, size in data),
        files=tuple(ResultFile(key, size) for key, size in sorted(data)),
        missing=missing_of(
            project.config.purposes[purpose].last_steps, told, {n for _, n, _ in files}
        ),
        code_sha256=str(newest.get("code_sha256", "")),
        image=str(newest.get("image", "")),
        ended=str(newest.get("ended", "")),
        parameters=dict(newest.get("parameters") or {}),
    )


def missing_of(
    steps: list[str], manifests: list[dict[str, Any]], names: set[str] | None = None
) -> str:
    """Return what is missing of a whole result; empty when nothing is.

    Parameters
    ----------
    steps : list of str
        The purpose's last steps.
    manifests : list of dict
        The manifests that are there.
    names : set of str, optional
        The names of the files that are there; every file of a manifest is looked for in it.
    """
    for step in steps:
        mine = [one for one in manifests if one.get("step") in (step, "")]
        count = max((int((one.get("shard") or {}).get("count", 1)) for one in mine), default=1)
        if len(mine) < count:
            return f"the step {step} left {len(mine)} of {count} manifests"
    if names is not None:
        wanted = {file["name"] for one in manifests for file in one.get("files", [])}
        lost = sorted(wanted - names)
        if lost:
            return f"{lost[0]} is not there" + (f", nor {len(lost) - 1} more" if lost[1:] else "")
    return ""
