"""The results of a purpose, as their manifests tell: which windows there are, whole or not.

A result lies at ``<prefix>/[<step>/]date=<day>/run=<run id>/`` with one manifest for each instance
that wrote it. It is whole when every last step has the manifest of each of its instances, and every
file that they name is there. A manifest that is not as a job writes it counts as none.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, NonNegativeInt, PositiveInt, ValidationError

from batcat_runtime.operate.connection import Project
from batcat_runtime.operate.executions import Scalar, Window

_KEY = re.compile(r"(?:(?P<step>[^/]+)/)?date=(?P<day>[^/]+)/run=(?P<run>[^/]+)/(?P<name>.+)")
_MANIFEST = re.compile(r"_manifest(-\d{5})?\.json")
_AT_ONCE = 16
Entry = tuple[str, int]  # a key and its size


def _legal_name(name: str) -> str:
    """Refuse what is no name of a file within a result's folder, on any system."""
    path = PurePosixPath(name)
    good = str(path) == name and path.name and not path.is_absolute() and ".." not in path.parts
    if not good or re.search(r"^[A-Za-z]:|[\\\x00-\x1f]", name):
        raise ValueError("no name of a file in the result's folder")
    return name


_End = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d(T\d\d:\d\d)?$")]
_Time = Annotated[str, Field(pattern=r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d.*)?$")]


class ManifestFile(BaseModel):
    """A file that a manifest names."""

    name: Annotated[str, AfterValidator(_legal_name)]
    sha256: str = ""


class Shard(BaseModel):
    """The share of one instance."""

    index: NonNegativeInt = 0
    count: PositiveInt = 1


class Manifest(BaseModel):
    """What a job tells of its result; see `batcat_runtime.job`."""

    step: str = ""
    date_start: _End | None = None
    date_end: _End | None = None
    parameters: dict[str, Scalar] = {}
    rows: NonNegativeInt | None = None
    files: list[ManifestFile] = []
    shard: Shard = Shard()
    code_sha256: str = ""
    image: str = ""
    ended: _Time = ""

    @property
    def window(self) -> Window | None:
        """What it computed; None for a run over all data."""
        if self.date_start and self.date_end:
            return Window(self.date_start, self.date_end)
        return None


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
    manifests : tuple of str
        The keys of its manifests.
    missing : str
        What is missing of a whole result; empty when nothing is.
    code_sha256, image : str
        The version of the code, and the image with its digest.
    ended : str
        When the last of it was written, ISO 8601; empty without a manifest.
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
    manifests: tuple[str, ...]
    missing: str
    code_sha256: str
    image: str
    ended: str
    parameters: dict[str, Any]

    def __repr__(self) -> str:
        state = self.missing and f", not whole: {self.missing}"
        return f"<{type(self).__name__} {self.title}, run {self.run_id}, {self.rows:,} rows{state}>"

    @property
    def title(self) -> str:
        """Its window, for people."""
        if self.window:
            return str(self.window)
        return f"all data ({self.day})" if self.ended else f"unknown ({self.day})"

    @property
    def whole(self) -> bool:
        """Whether all of it is there."""
        return not self.missing


def list_results(
    project: Project, purpose: str, *, first: str = "", last: str = ""
) -> Iterator[Result]:
    """Yield what runs of a purpose have left, by day; of one day in the order of their ends.

    Runs that left files but no manifest are among them: Athena reads their rows.

    Parameters
    ----------
    project, purpose : Project, str
        Which pipeline.
    first, last : str, optional
        The first and the last day, both included: ``2022-01-08``. By default all.

    Raises
    ------
    BatcatError
        The bucket is missing, or not ours to read.
    """
    prefix = f"{project.names(purpose).result_prefix}/"
    # Of several last steps each has a folder of its own, so a day is in several places.
    entries = [
        entry
        for part in _parts(project, purpose)
        for entry in _listed(project, f"{prefix}{part}date=", first, last)
    ]
    for _, group in itertools.groupby(sorted(entries, key=_day), _day):
        yield from _results(project, purpose, prefix, list(group))


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
    results = _results(project, purpose, prefix, found)
    return next((result for result in results if result.ended), None)


def folder_of(project: Project, result: Result) -> str:
    """Return the ``s3://`` folder of a result, or the prefix below which its folders are."""
    folders = {key.rpartition("/")[0] for key in result.manifests}
    if len(folders) == 1:
        return f"s3://{project.config.result_s3_bucket}/{folders.pop()}/"
    return f"{project.result_uri(result.purpose)}/"


def missing_of(
    steps: Sequence[str], manifests: Sequence[Manifest], names: set[str] | None = None
) -> str:
    """Return what is missing of a whole result; empty when nothing is.

    Parameters
    ----------
    steps : sequence of str
        The purpose's last steps.
    manifests : sequence of Manifest
        Those that are there.
    names : set of str, optional
        The names of the files that are there; every file of a manifest is looked for.
    """
    for step in steps:
        mine = [manifest for manifest in manifests if manifest.step in (step, "")]
        count = max((manifest.shard.count for manifest in mine), default=1)
        there = len({manifest.shard.index for manifest in mine})
        if there < count:
            return f"the step {step} left {there} of {count} manifests"
    wanted = {file.name for manifest in manifests for file in manifest.files}
    lost = sorted(wanted - names) if names is not None else []
    if not lost:
        return ""
    return f"{lost[0]} is not there" + (f", nor {len(lost) - 1} more" if lost[1:] else "")


def read_manifest(project: Project, key: str) -> tuple[Manifest | None, bytes]:
    """Return a manifest, and its text; None when it is not as a job writes it."""
    bucket = project.config.result_s3_bucket
    with project.asked("s3:GetObject", f"s3://{bucket}/{key}"):
        body = project.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return parse_manifest(body), body


def parse_manifest(body: bytes) -> Manifest | None:
    """Return a manifest by its text; None when it is not as a job writes it."""
    try:
        return Manifest.model_validate_json(body)
    except ValidationError:
        return None


def _parts(project: Project, purpose: str) -> list[str]:
    """Return the folders below a purpose's prefix that days are in; one is the prefix itself."""
    steps = project.config.purposes[purpose].last_steps
    return [""] if len(steps) == 1 else [f"{step}/" for step in steps]


def _listed(project: Project, prefix: str, first: str = "", last: str = "") -> Iterator[Entry]:
    """Yield the keys below a prefix that days follow, from the first to the last of them."""
    bucket = project.config.result_s3_bucket
    after = {"StartAfter": prefix + first} if first else {}
    asked = {"Bucket": bucket, "Prefix": prefix, **after}
    for found in project.pages("s3:ListBucket", f"s3://{bucket}/{prefix}", **asked):
        if last and found["Key"][len(prefix) : len(prefix) + 10] > last:
            return
        yield found["Key"], found["Size"]


def _day(entry: Entry) -> str:
    return entry[0].partition("date=")[2][:10]


def _results(
    project: Project, purpose: str, prefix: str, entries: Sequence[Entry]
) -> Iterator[Result]:
    """Put the entries of one day together to results."""
    runs: dict[tuple[str, str], list[tuple[str, str, int]]] = {}
    for key, size in entries:
        found = _KEY.fullmatch(key.removeprefix(prefix))
        if found:
            runs.setdefault((found["day"], found["run"]), []).append((key, found["name"], size))
    keys = [key for files in runs.values() for key, name, _ in files if _MANIFEST.fullmatch(name)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        read = dict(
            zip(keys, pool.map(lambda key: read_manifest(project, key)[0], keys), strict=True)
        )
    results = [
        _result(project, purpose, run, files, {key: read[key] for key, *_ in files if key in read})
        for run, files in runs.items()
    ]
    yield from sorted(results, key=lambda result: (result.ended, result.run_id))


def _result(
    project: Project,
    purpose: str,
    run: tuple[str, str],
    files: Sequence[tuple[str, str, int]],
    read: Mapping[str, Manifest | None],
) -> Result:
    manifests = [manifest for manifest in read.values() if manifest]
    newest = max(manifests, key=lambda manifest: manifest.ended, default=Manifest())
    data = [(key, size) for key, name, size in files if not name.startswith(("_", "."))]
    missing = missing_of(
        project.config.purposes[purpose].last_steps, manifests, {name for _, name, _ in files}
    )
    if len(manifests) < len(read):
        missing = "its manifest is not as a job writes it"
    return Result(
        purpose=purpose,
        run_id=run[1],
        day=run[0],
        window=newest.window,
        rows=sum(manifest.rows or 0 for manifest in manifests),
        bytes=sum(size for _, size in data),
        files=tuple(ResultFile(key, size) for key, size in sorted(data)),
        manifests=tuple(read),
        missing=missing,
        code_sha256=newest.code_sha256,
        image=newest.image,
        ended=newest.ended,
        parameters=newest.parameters,
    )
