"""The results of a pipeline: list them, download them, read them as one DataFrame.

Of several whole results of one window the one that ended last counts; the others are superseded.
What is not whole counts never. It is told as long as nothing whole came after it.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from batcat_runtime.errors import (
    DataFormatError,
    NoSuchResultError,
    ObjectChangedError,
    UserError,
    WaitInterruptedError,
)
from batcat_runtime.log import human_size, report
from batcat_runtime.operate.connection import Project, open_project
from batcat_runtime.operate.executions import window_of
from batcat_runtime.operate.manifests import Result, list_results, read_manifest
from batcat_runtime.text import Table
from batcat_runtime.window import moment, text_of

if TYPE_CHECKING:
    import pandas as pd

    from batcat_runtime.io.types import DtypeBackend

State = Literal["newest", "superseded", "not whole"]
_COLUMNS: dict[str, Callable[[WindowResult], Any]] = {
    "Window": lambda result: result.title,
    "Rows": lambda result: result.rows if result.ended else None,
    "Size": lambda result: human_size(result.bytes),
    "Run": lambda result: result.run_id,
    "Code": lambda result: result.code_sha256[:8],
    "Image": lambda result: result.image.rpartition("@sha256:")[2][:8],
    "Ended (UTC)": lambda result: result.ended[:16].replace("T", " "),
    "State": lambda result: (
        (result.missing and f"not whole: {result.missing}")
        or (result.superseded_by and f"superseded by {result.superseded_by}")
        or result.state
    ),
}
_QUIET_SECONDS = 1.0


@dataclass(frozen=True, repr=False)
class WindowResult(Result):
    """A run's result among those of its window.

    Attributes
    ----------
    state : {"newest", "superseded", "not whole"}
        Whether it is the one that counts: the newest whole result of its window.
    superseded_by : str
        The run whose result counts instead; empty unless it is superseded.
    """

    state: State = "newest"
    superseded_by: str = ""


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


def results(
    first: str | date | None = None,
    last: str | date | None = None,
    *,
    runs: bool = False,
    folder: str | Path | None = None,
    purpose: str | None = None,
) -> Table[WindowResult]:
    """Return the results of a pipeline: the newest whole one of each window, by day.

    Where nothing whole came after it, what is not whole is among them, with what is `missing`.
    Nothing needs to be deployed: results stay when a deployment goes.

    Parameters
    ----------
    first, last : str or datetime.date, optional
        The first and the last day that windows begin on, both included.
    runs : bool
        Whether to return every run, superseded ones too.
    folder : str or Path, optional
        The project's folder; by default that of the working directory.
    purpose : str, optional
        The pipeline; needed when there are several.

    Returns
    -------
    Table of WindowResult
        A list, which a notebook shows as a table. Those of runs over all data, which have no
        window, come last.

    Raises
    ------
    NoSuchBucketError, BucketOwnerError, BucketRegionError
        The result bucket is not there, not ours, or in another region.
    AccessDeniedError
        It may not be read.

    Examples
    --------
    >>> for result in results("2022-01-01", "2022-01-31"):  # doctest: +SKIP
    ...     print(result.window, result.rows, result.state)
    """
    project, name = opened(folder, purpose)
    found = stated_results(project, name, *_days(first, last))
    return Table((one for one in found if runs or one.state != "superseded"), _COLUMNS)


def get_results(
    start: str | date | None = None,
    end: str | date | None = None,
    *,
    to: str | Path | None = None,
    folder: str | Path | None = None,
    purpose: str | None = None,
) -> list[Download]:
    """Download the newest whole result of each window.

    A connection that breaks is taken up again where it broke. Each file comes under a temporary
    name and gets its own when its SHA-256 is the manifest's; a result's manifests come last. What
    is there already with the right digest is left alone.

    Parameters
    ----------
    start, end : str or datetime.date, optional
        Without `end` the windows that begin on that day, or at that hour. With both those within
        ``[start, end)``. Without either all, and results over all data.
    to : str or Path, optional
        Where to; by default ``data/result/<purpose>`` of the project, where a run on this machine
        would leave its result: below it are ``date=<day>/run=<run id>/``.
    folder, purpose
        As for `results`.

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
    WaitInterruptedError
        Ctrl-C; the same call goes on where this one was.

    Examples
    --------
    >>> get_results("2022-01-08")  # doctest: +SKIP
    """
    project, name = opened(folder, purpose)
    wanted = _chosen(project, name, start, end)
    target = Path(to) if to else project.folder / "data" / "result" / name
    prefix = f"{project.names(name).result_prefix}/"
    _check_room(target, prefix, wanted)
    downloads = []
    for number, result in enumerate(wanted, 1):
        report(f"{result.title}: result {number} of {len(wanted)}, {human_size(result.bytes)}")
        try:
            downloads.append(_download(project, result, prefix, target))
        except KeyboardInterrupt as error:
            raise WaitInterruptedError(
                f"Interrupted while {result.title} was downloaded to {target}. The files that are "
                "there are whole.",
                fix="The same command goes on where this one was.",
            ) from error
    return downloads


def read_results(
    first: str | date | None = None,
    last: str | date | None = None,
    *,
    file: str | None = None,
    step: str | None = None,
    columns: Sequence[str] | None = None,
    dtype_backend: DtypeBackend | None = None,
    folder: str | Path | None = None,
    purpose: str | None = None,
) -> pd.DataFrame:
    """Read the newest whole result of each window from S3, as the manifests tell.

    Parameters
    ----------
    first, last : str or datetime.date, optional
        The first and the last day that windows begin on, both included; by default all.
    file : str, optional
        Which file of a result, such as ``usage-analysis.csv``; needed when it has several tables.
    step : str, optional
        Which step's; needed when the pipeline has several last ones.
    columns : sequence of str, optional
        Read these only.
    dtype_backend : {"numpy_nullable", "pyarrow"}, optional
        As for `read_from_bucket`.
    folder, purpose
        As for `results`.

    Returns
    -------
    pandas.DataFrame
        The rows in the order of their windows; the columns are the files' own.

    Raises
    ------
    NoSuchResultError
        There is no whole result of these days.
    UserError
        There are several tables or steps to choose from.
    DataFormatError
        The files do not go together as one table.

    Examples
    --------
    >>> read_results("2022-01-01", "2022-01-31")  # doctest: +SKIP
    """
    from batcat_runtime.io.s3 import read_from_bucket

    project, name = opened(folder, purpose)
    days = _days(first, last)
    part, steps = f"{project.names(name).result_prefix}/", project.config.purposes[name].last_steps
    if len(steps) > 1:
        if step not in steps:
            raise UserError(
                f"The results of {name} are of several steps.",
                fix=f"Say which: step={steps[0]!r}, of {', '.join(steps)}.",
            )
        part += f"{step}/"
    keys = [
        [stored.key for stored in result.files if stored.key.startswith(part)]
        for result in newest_results(project, name, *days)
    ]
    newest = next((some for some in reversed(keys) if some), None)
    if newest is None:
        if not any(days):
            raise no_result_yet(project, name)
        raise NoSuchResultError(
            f"{name} has no whole result of {days[0] or 'the beginning'} to {days[1] or 'today'}.",
            fix="See which days there are with `batcat results`.",
        )
    called = chosen_file(newest, file, name)
    chosen = [key for some in keys for key in some if table_file(key) == called]
    report(f"reading {len(chosen)} files of {len(keys)} results")
    bucket = project.config.result_s3_bucket
    frame: pd.DataFrame = read_from_bucket(
        bucket, chosen, columns=columns, dtype_backend=dtype_backend
    )
    return frame


def stated_results(
    project: Project, purpose: str, first: str = "", last: str = ""
) -> Iterator[WindowResult]:
    """Yield every run's result with its state, by day; a day at a time is kept.

    Parameters
    ----------
    project, purpose : Project, str
        Which pipeline.
    first, last : str, optional
        The first and the last day, both included.
    """
    endless: list[Result] = []  # over all data: any later day may supersede them
    found = list_results(project, purpose, first=first, last=last)
    reported = time.monotonic()
    for day, group in itertools.groupby(found, lambda result: result.day):
        if time.monotonic() - reported > _QUIET_SECONDS:
            reported = time.monotonic()
            report(f"reading the manifests of {day}")
        windows: dict[object, list[Result]] = {}
        for result in group:
            if result.window is None and result.ended:
                endless.append(result)
                if result.whole:
                    yield from _stated(endless[:-1], by=result)
                    endless = [result]
            else:
                # Without a manifest nothing tells a run's window; it is on its own.
                windows.setdefault(result.window or result.run_id, []).append(result)
        for _, same in sorted(windows.items(), key=lambda item: str(item[0])):
            newest = next((result for result in reversed(same) if result.whole), None)
            yield from _stated(same, by=newest)
    yield from _stated(endless, by=next((result for result in endless if result.whole), None))


def newest_results(
    project: Project, purpose: str, first: str = "", last: str = ""
) -> Iterator[WindowResult]:
    """Yield the newest whole result of each window; see `stated_results`."""
    found = stated_results(project, purpose, first, last)
    return (result for result in found if result.state == "newest")


def table_file(key: str) -> str:
    """Return what a file of a result is called in every run, whichever instance wrote it.

    Examples
    --------
    >>> table_file("a/b/date=2022-01-08/run=r/usage-00001.csv.gz")
    'usage.csv'
    """
    return re.sub(r"-\d{5}(?=\.)", "", key.rpartition("/")[2]).removesuffix(".gz")


def chosen_file(keys: Sequence[str], wanted: str | None, what: str) -> str:
    """Return which of a result's tables is meant, as `table_file` calls it.

    Raises
    ------
    UserError
        There are several tables, and none was named; or none of that name.
    DataFormatError
        No file is a table.
    """
    names = sorted(set(map(table_file, keys)))
    tables = [name for name in names if name.endswith((".csv", ".parquet"))]
    if not tables:
        raise DataFormatError(
            f"A result of {what} has no table: {', '.join(names)}.",
            fix="Save one with job.save(frame, '....csv') or '....parquet'.",
        )
    if wanted is not None and table_file(wanted) not in tables:
        raise UserError(
            f"A result of {what} has no table {wanted!r}.", fix=f"There is: {', '.join(tables)}."
        )
    if wanted is None and len(tables) > 1:
        raise UserError(
            f"A result of {what} has several tables: {', '.join(tables)}.",
            fix=f"Say which one: file={tables[0]!r}, or `--file {tables[0]}`.",
        )
    return table_file(wanted) if wanted is not None else tables[0]


def no_result_yet(project: Project, purpose: str) -> NoSuchResultError:
    """Return the error for a pipeline without a whole result."""
    return NoSuchResultError(
        f"{purpose} has no whole result in {project.result_uri(purpose)}/ yet.",
        fix=f"Compute one with `batcat run{project.option(purpose)}`, or see what is there with "
        "`batcat results --runs`.",
    )


def opened(folder: str | Path | None, purpose: str | None) -> tuple[Project, str]:
    """Return the project, once its bucket is known to be there, ours, and in its region."""
    from batcat_runtime.account import check_bucket

    project = open_project(folder)
    name = project.config.purpose_name(purpose)
    check_bucket(project.config, s3=project.client("s3"), account=project.account)
    return project, name


def _days(first: str | date | None, last: str | date | None) -> tuple[str, str]:
    """Return the first and the last day as they stand in folders' names; empty where not given."""
    start = moment(first, "first").isoformat()[:10] if first else ""
    end = moment(last, "last").isoformat()[:10] if last else ""
    if start and end and end < start:
        raise UserError(f"The last day, {end}, is before the first, {start}.")
    return start, end


def _stated(same: Sequence[Result], by: Result | None) -> Iterator[WindowResult]:
    """Yield the results of one window; `by` is the one that counts, if there is one."""
    after = by is None
    for result in same:
        stated = WindowResult(**vars(result), state="not whole")
        if result is by:
            after = True
            yield replace(stated, state="newest")
        elif by is not None and not (after and not result.whole):
            yield replace(stated, state="superseded", superseded_by=by.run_id)
        else:
            yield stated


def _chosen(
    project: Project, purpose: str, start: str | date | None, end: str | date | None
) -> list[WindowResult]:
    """Return the newest whole results of the windows that a person names."""
    if start is None:
        found = list(newest_results(project, purpose))
        if not found:
            raise no_result_yet(project, purpose)
        return found
    first = text_of(moment(start, "start"))
    within = window_of(start, end) if end is not None else None
    last = within.end if within else first
    chosen = [
        result
        for result in newest_results(project, purpose, first[:10], last[:10])
        if (
            result.window is not None
            and within.start <= result.window.start
            and result.window.end <= within.end
            if within
            else first in (result.day, result.window and result.window.start)
        )
    ]
    if chosen:
        return chosen
    windows = [str(one.window) for one in newest_results(project, purpose) if one.window]
    before = [window for window in windows if window <= first][-1:]
    after = [window for window in windows if window > first][:1]
    if not before + after:
        raise no_result_yet(project, purpose)
    raise NoSuchResultError(
        f"{purpose} has no whole result {f'within {within}' if within else f'of {first}'}. The "
        f"nearest there: {' and '.join(before + after)}.",
        fix="See all with `batcat results`, or compute it: `batcat run --date-start "
        f"{first} --date-end ...{project.option(purpose)}`.",
    )


def _check_room(target: Path, prefix: str, wanted: Iterable[WindowResult]) -> None:
    """Refuse what does not fit on the disk."""
    needed = 0
    for file in (file for result in wanted for file in result.files):
        with contextlib.suppress(OSError):
            if (target / file.key.removeprefix(prefix)).stat().st_size == file.bytes:
                continue
        needed += file.bytes
    above = next(one for one in (target.absolute(), *target.absolute().parents) if one.is_dir())
    free = shutil.disk_usage(above).free
    if needed > free:
        raise UserError(
            f"The results need {human_size(needed)}, but {above} has {human_size(free)} left. "
            "Nothing was downloaded.",
            fix="Name fewer days, or another disk: `batcat results get 2022-01-08 --to FOLDER`.",
        )


def _download(project: Project, result: WindowResult, prefix: str, target: Path) -> Download:
    """Download what of a result is not there yet, the manifests last."""
    manifests = [(key, *read_manifest(project, key)) for key in result.manifests]
    files = [
        (f"{key.rpartition('/')[0]}/{file.name}", file.sha256)
        for key, manifest, _ in manifests
        if manifest
        for file in manifest.files
    ]
    missing = []
    for key, digest in files:
        path = target / key.removeprefix(prefix)
        if not path.is_file() or _sha256(path) != digest:
            missing.append(_File(key, path, digest))
    size = _fetch(project, missing)
    for key, _, body in manifests:  # who finds them finds everything
        path = target / key.removeprefix(prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = _partial(path)
        partial.write_bytes(body)
        partial.replace(path)
    folders = {key.rpartition("/")[0].removeprefix(prefix) for key, *_ in manifests}
    place = target / folders.pop() if len(folders) == 1 else target
    return Download(result, place, len(missing), size, len(files) - len(missing))


@dataclass(frozen=True)
class _File:
    """A file to have: its key, its place, and the digest that its manifest tells."""

    key: str
    path: Path
    sha256: str


def _fetch(project: Project, files: Sequence[_File]) -> int:
    """Fetch files, each whole or not at all; return their bytes.

    s3transfer asks again for what a broken connection has left out.
    """
    from boto3.s3.transfer import TransferConfig, create_transfer_manager

    bucket, size = project.config.result_s3_bucket, 0
    with (
        contextlib.ExitStack() as stack,
        project.asked("s3:GetObject", f"s3://{bucket}"),
        create_transfer_manager(project.client("s3"), TransferConfig()) as transfers,
    ):
        started = []
        for file in files:
            file.path.parent.mkdir(parents=True, exist_ok=True)
            partial = _partial(file.path)
            stack.callback(partial.unlink, missing_ok=True)
            started.append((file, partial, transfers.download(bucket, file.key, str(partial))))
        for file, partial, transfer in started:
            transfer.result()
            found = _sha256(partial)
            if found != file.sha256:
                raise ObjectChangedError(
                    f"s3://{bucket}/{file.key} is not what its manifest says: its SHA-256 is "
                    f"{found[:12]}..., not {file.sha256[:12]}...",
                    fix="Somebody changed it after the run. Compute it again with `batcat run`.",
                )
            size += partial.stat().st_size
            partial.replace(file.path)
    return size


def _partial(path: Path) -> Path:
    """Return a name for a file that is not whole yet; neither jobs nor Spark take it for data."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
