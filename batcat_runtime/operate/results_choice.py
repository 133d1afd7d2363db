"""Which results a person means by a day or a window, and what to say when there is none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

from batcat_runtime.errors import NoSuchResultError
from batcat_runtime.operate.connection import Project
from batcat_runtime.operate.executions import moment, text_of, window_of
from batcat_runtime.operate.results import WindowResult, look_at_bucket, newest_results


def chosen(
    project: Project,
    purpose: str,
    start: str | date | None,
    end: str | date | None,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> list[WindowResult]:
    """Return the newest whole results of the windows that a person names.

    Raises
    ------
    NoSuchResultError
        There is none.
    """
    look_at_bucket(project)
    if start is None:
        found = list(newest_results(project, purpose, progress=progress))
        if not found:
            raise no_result_yet(project, purpose)
        return found
    first = text_of(moment(start, "start"))
    if end is None:
        day = first[:10]
        found = list(newest_results(project, purpose, day, day, progress=progress))
        found = [one for one in found if first in (one.day, one.window and one.window.start)]
        asked = f"that begins on {first}"
    else:
        whole = window_of(start, end)
        assert whole is not None
        asked = f"within {whole}"
        found = [
            one
            for one in newest_results(
                project, purpose, whole.day, whole.end[:10], progress=progress
            )
            if one.window and whole.start <= one.window.start and one.window.end <= whole.end
        ]
    if not found:
        raise _nearest(project, purpose, first, asked)
    return found


def no_result_yet(project: Project, purpose: str) -> NoSuchResultError:
    """Return the error for a pipeline without a whole result."""
    return NoSuchResultError(
        f"{purpose} has no whole result in {project.result_uri(purpose)}/ yet.",
        fix=f"Start a run with `batcat run -p {purpose}`; `batcat status` tells how it goes, "
        "`batcat results --runs` what is not whole.",
    )


def _nearest(project: Project, purpose: str, wanted: str, asked: str) -> NoSuchResultError:
    """Return the error for a window without a result, which names the nearest before and after."""
    before, after = "", ""
    for one in newest_results(project, purpose):
        if one.window is None:
            continue
        if one.window.start <= wanted:
            before = max(before, str(one.window))
        elif not after or str(one.window) < after:
            after = str(one.window)
    near = " and ".join(text for text in (before, after) if text)
    if not near:
        return no_result_yet(project, purpose)
    return NoSuchResultError(
        f"{purpose} has no whole result of a window {asked}. The nearest there: {near}.",
        fix=f"See all with `batcat results`, or compute it: `batcat run -p {purpose} "
        f"--date-start {wanted} --date-end {date.fromisoformat(wanted[:10]) + timedelta(1)}`.",
    )
