"""`batcat results`: which windows have a result, by which run, and which runs no longer count.

Of several whole results of one window the one that ended last counts; the others are superseded.
What is not whole counts never. It is told as long as nothing whole came after it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Literal

from batcat_runtime.account import check_bucket
from batcat_runtime.errors import UserError
from batcat_runtime.operate.connection import Project, open_project
from batcat_runtime.operate.executions import moment
from batcat_runtime.operate.manifests import Result, read_results

_QUIET_SECONDS = 1.0
State = Literal["newest", "superseded", "not whole"]


@dataclass(frozen=True)
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


def results(
    first: str | date | None = None,
    last: str | date | None = None,
    *,
    runs: bool = False,
    folder: str | Path | None = None,
    purpose: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> list[WindowResult]:
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
    progress : callable, optional
        Takes lines on how far it is.

    Returns
    -------
    list of WindowResult
        Those of runs over all data, which have no window, come last. Empty when nothing has run.

    Raises
    ------
    NoSuchBucketError, BucketOwnerError, BucketRegionError
        The result bucket is not there, not ours, or in another region.
    AccessDeniedError
        It may not be read.

    Examples
    --------
    >>> for one in results("2022-01-01", "2022-01-31"):  # doctest: +SKIP
    ...     print(one.window, one.rows, one.state)
    """
    project = open_project(folder)
    name = project.config.purpose_name(purpose)
    days = days_of(first, last)
    look_at_bucket(project)
    found = stated_results(project, name, *days, progress=progress)
    return [one for one in found if runs or one.state != "superseded"]


def stated_results(
    project: Project,
    purpose: str,
    first: str = "",
    last: str = "",
    *,
    progress: Callable[[str], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[WindowResult]:
    """Yield every run's result with its state, by day; a day at a time is kept.

    Parameters
    ----------
    project, purpose : Project, str
        Which pipeline.
    first, last : str, optional
        The first and the last day, both included.
    progress : callable, optional
        Takes lines on how far it is, once a second.
    clock : callable
        Seconds.
    """
    endless: list[Result] = []  # over all data: any later day may supersede them
    found = read_results(project, purpose, first=first, last=last, without_manifest=True)
    told = clock()
    for day, group in itertools.groupby(found, lambda one: one.day):
        if clock() - told > _QUIET_SECONDS:
            told = clock()
            progress(f"reading the manifests of {day}")
        windows: dict[object, list[Result]] = {}
        for one in group:
            if one.window is None and one.ended:
                endless.append(one)
                if one.whole:
                    yield from _stated(endless[:-1], by=one)
                    endless = [one]
            else:
                # Without a manifest nothing tells a run's window; it is on its own.
                windows.setdefault(one.window or one.run_id, []).append(one)
        for _, same in sorted(windows.items(), key=lambda item: str(item[0])):
            newest = next((one for one in reversed(same) if one.whole), None)
            yield from _stated(same, by=newest)
    yield from _stated(endless, by=next((one for one in endless if one.whole), None))


def newest_results(
    project: Project,
    purpose: str,
    first: str = "",
    last: str = "",
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[WindowResult]:
    """Yield the newest whole result of each window; see `stated_results`."""
    found = stated_results(project, purpose, first, last, progress=progress)
    return (one for one in found if one.state == "newest")


def days_of(first: str | date | None, last: str | date | None) -> tuple[str, str]:
    """Return the first and the last day as they stand in folders' names; empty where not given.

    Raises
    ------
    UserError
        One is no date, or the last is before the first.
    """
    start = moment(first, "first").isoformat()[:10] if first else ""
    end = moment(last, "last").isoformat()[:10] if last else ""
    if start and end and end < start:
        raise UserError(f"The last day, {end}, is before the first, {start}.")
    return start, end


def look_at_bucket(project: Project) -> None:
    """Make sure that the result bucket is there, ours, and in the project's region."""
    check_bucket(project.config, s3=project.client("s3"), account=project.account)


def _stated(same: list[Result], by: Result | None) -> Iterator[WindowResult]:
    """Yield the results of one window; `by` is the one that counts, if there is one."""
    after = by is None
    for one in same:
        stated = WindowResult(**vars(one), state="not whole")
        if one is by:
            after = True
            yield replace(stated, state="newest")
        elif by is not None and not (after and not one.whole):
            yield replace(stated, state="superseded", superseded_by=by.run_id)
        else:
            yield stated
