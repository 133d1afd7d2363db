"""Which windows of a range are computed, running, failed or untouched, in flat memory.

A range is arithmetic: its n-th window follows from n. So a few bytes a window hold all that is
known of it, and neither executions nor results are kept. Executions are read before results: what
ends between the two looks is then known by its result, and never taken for missing.
"""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any, Literal

from batcat_runtime.errors import NoSuchExecutionError, UserError
from batcat_runtime.operate.connection import Project
from batcat_runtime.operate.executions import (
    RUNNING,
    Window,
    describe,
    list_executions,
    midnight,
    moment,
    text_of,
    window_of,
)
from batcat_runtime.operate.manifests import Result, read_results

Every = Literal["hour", "day", "week"]
STEPS: dict[str, timedelta] = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
}
_MOMENT = r"\d{4}-\d\d-\d\d(?:T\d{4})?"
_NAME = re.compile(rf"(?P<stem>({_MOMENT})_({_MOMENT})_[0-9a-f]{{8}})(?:_b(?P<attempt>\d{{1,4}}))?")
_STATUSES = ("", "RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED", "PENDING_REDRIVE")


@dataclass(frozen=True)
class Range:
    """The windows of one backfill: those of `every` from `start` up to `end`, with parameters.

    Attributes
    ----------
    start, end : str
        As in a `Window`.
    every : str
        ``hour``, ``day`` or ``week``.
    params : dict
        The further parameters of every window.
    """

    start: str
    end: str
    every: str
    params: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, start: str | date, end: str | date, every: str, params: dict[str, Any] | None = None
    ) -> Range:
        """Return a range from what a caller gives, checked.

        Raises
        ------
        UserError
            An end is no date, the range is empty, or `every` is unknown.
        """
        first = next(windows_between(start, end, every))
        whole = window_of(start, end)
        last = whole.end if whole else ""
        if len(first.start) > len(last):  # hours
            last = text_of(datetime.fromisoformat(last))
        return cls(first.start, last, every, dict(sorted((params or {}).items())))

    @cached_property
    def count(self) -> int:
        """How many windows there are."""
        return int(-(-(self._last - self._first) // STEPS[self.every]))

    def window(self, index: int) -> Window:
        """Return the n-th window, counted from 0."""
        start = self._first + index * STEPS[self.every]
        end = min(start + STEPS[self.every], self._last)
        return Window(text_of(start), text_of(end))

    def index(self, window: Window | None) -> int | None:
        """Return which window of the range this is, or None."""
        if window is None or len(window.start) != len(self.start):
            return None
        try:
            index, rest = divmod(moment(window.start, "") - self._first, STEPS[self.every])
        except (TypeError, ValueError):
            return None
        inside = not rest and 0 <= index < self.count
        return index if inside and self.window(index) == window else None

    @property
    def stem(self) -> str:
        """The start of the names of this range's backfills."""
        said = json.dumps([self.start, self.end, self.every, self.params], sort_keys=True)
        digest = hashlib.sha256(said.encode()).hexdigest()[:8]
        return f"{_legal(self.start)}_{_legal(self.end)}_{self.every}_{digest}"

    @cached_property
    def _first(self) -> Any:
        return moment(self.start, "start")

    @cached_property
    def _last(self) -> Any:
        return moment(self.end, "end")


def execution_name(window: Window, params: dict[str, Any], attempt: int = 1) -> str:
    """Return the name of the execution that computes a window: the same for the same attempt.

    The first attempt has the name that the Lambda function gives to an execution for this window.
    Step Functions starts a name once, so the schedule and a backfill never compute a window side by
    side.

    Examples
    --------
    >>> execution_name(Window("2022-01-08", "2022-01-09"), {}, 2)
    '2022-01-08_2022-01-09_3f2f4295_b2'
    """
    run = {"date_start": window.start, "date_end": window.end, "params": params}
    digest = hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()[:8]
    stem = f"{_legal(window.start)}_{_legal(window.end)}_{digest}"
    return stem if attempt == 1 else f"{stem}_b{attempt}"


class Survey:
    """What is known of each window of a range.

    Attributes
    ----------
    scope : Range
        The windows.
    attempts : array of int
        The highest attempt that there has been; 0 for none.
    running, whole : bytearray
        Whether an execution is computing it; whether its whole result is there.
    """

    def __init__(self, scope: Range) -> None:
        self.scope = scope
        self.attempts = array("H", bytes(2 * scope.count))
        self.running = bytearray(scope.count)
        self.whole = bytearray(scope.count)
        self._statuses = bytearray(scope.count)

    def status(self, index: int) -> str:
        """Return how the last attempt ended, as Step Functions has it; empty without one."""
        return _STATUSES[self._statuses[index]]

    def name(self, index: int, attempt: int | None = None) -> str:
        """Return the name of an attempt, by default the last."""
        attempt = attempt or max(1, self.attempts[index])
        return execution_name(self.scope.window(index), self.scope.params, attempt)

    def missing(self, *, force: bool = False, failed: bool = False) -> Iterator[int]:
        """Yield the windows to compute: neither whole, unless forced, nor running.

        With `failed`, only those whose last attempt did not succeed.
        """
        for index in range(self.scope.count):
            if self.running[index] or (self.whole[index] and not force):
                continue
            if not failed or self.status(index) in {"FAILED", "TIMED_OUT"}:
                yield index

    def note_execution(self, name: str, status: str) -> bool:
        """Note an execution by its name; say whether the name tells what it computes."""
        found = _NAME.fullmatch(name)
        if found is None:
            return False
        window = Window(_spoken(found[2]), _spoken(found[3]))
        index = self.scope.index(window)
        if index is None or found["stem"] != execution_name(window, self.scope.params):
            return True
        attempt = int(found["attempt"] or 1)
        if status in RUNNING:
            self.running[index] = 1
        if attempt >= self.attempts[index]:
            self.attempts[index] = attempt
            self._statuses[index] = _STATUSES.index(status) if status in _STATUSES else 0
        return True

    def note_end(self, index: int, status: str) -> None:
        """Note how the last attempt ended that was taken for running."""
        self.running[index] = status in RUNNING
        self._statuses[index] = _STATUSES.index(status)

    def note_result(self, result: Result, since: str = "") -> None:
        """Note a result; only one that ended at or after `since` counts."""
        index = self.scope.index(result.window)
        if index is None or result.parameters != self.scope.params:
            return
        found = _NAME.fullmatch(result.run_id)
        if found:  # its execution may be forgotten, and its folder must not be used again
            attempt = int(found["attempt"] or 1)
            self.attempts[index] = max(self.attempts[index], attempt)
        if result.whole and result.ended >= since:
            self.whole[index] = 1


def survey(project: Project, purpose: str, scope: Range, *, since: str = "") -> Survey:
    """Look at the executions and results of a range.

    Parameters
    ----------
    project : Project
        Where.
    purpose : str
        The pipeline.
    scope : Range
        The windows.
    since : str, optional
        A time in ISO 8601: older results do not count.

    Raises
    ------
    NotDeployedError
        The purpose has no workflow.
    """
    found = Survey(scope)
    for one in list_executions(project, purpose, page_size=1000):
        known = found.note_execution(one["name"], one["status"])
        if not known and one["status"] in RUNNING:
            _note_running(project, purpose, found, one["executionArn"])
    first, last = scope.window(0).day, scope.window(scope.count - 1).day
    for result in read_results(project, purpose, first=first, last=last):
        found.note_result(result, since)
    return found


def _note_running(project: Project, purpose: str, found: Survey, arn: str) -> None:
    """Note an execution of another name, which somebody started by hand."""
    try:
        described = describe(project, purpose, arn)
    except NoSuchExecutionError:
        return
    index = found.scope.index(described.window)
    if index is not None and described.params == found.scope.params:
        found.running[index] = described.running


def windows_between(start: str | date, end: str | date, every: str) -> Iterator[Window]:
    """Yield the windows of one hour, day or week from `start` up to `end`; the last may be shorter.

    Raises
    ------
    UserError
        An end is no date, the whole is empty, or `every` is unknown; raised before the first one.
    """
    if every not in STEPS:
        raise UserError(
            f"There are no windows of one {every!r}.", fix=f"Take one of: {', '.join(STEPS)}."
        )
    window_of(start, end)
    first, last = moment(start, "start"), moment(end, "end")
    if every == "hour" or isinstance(first, datetime) or isinstance(last, datetime):
        first, last = midnight(first), midnight(last)
    return _windows(first, last, STEPS[every])


def _windows(first: date, last: date, step: timedelta) -> Iterator[Window]:
    start = first
    while start < last:
        end = min(start + step, last)
        yield Window(text_of(start), text_of(end))
        start = end


def _legal(text: str) -> str:
    return text.replace(":", "")


def _spoken(text: str) -> str:
    return f"{text[:13]}:{text[13:]}" if len(text) > 10 else text
