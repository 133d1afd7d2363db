"""Windows of time that a run computes: half-open, in days or in hours.

A window's ends are dates, or date-times of whole minutes without a zone: the schedule's own zone
counts, as everywhere. They travel as text: ``2022-01-08``, ``2022-01-08T05:00``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from batcat_runtime.errors import UserError

Every = Literal["hour", "day", "week"]
STEPS: dict[str, timedelta] = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
}


@dataclass(frozen=True, order=True)
class Window:
    """A half-open window ``[start, end)``.

    Attributes
    ----------
    start, end : str
        ``2022-01-08`` or ``2022-01-08T05:00``; both of the same form.
    """

    start: str
    end: str

    def __str__(self) -> str:
        return f"{self.start} to {self.end}"

    @property
    def day(self) -> str:
        """The day that it begins on, which names the folder of its results."""
        return self.start[:10]


def window_of(start: str | date | None, end: str | date | None) -> Window | None:
    """Return the window from two ends as a caller gives them, or None when neither is given.

    Raises
    ------
    UserError
        One end is missing or no date, or the window is empty; nothing was started.
    """
    if start is None and end is None:
        return None
    if start is None or end is None:
        raise UserError("Give both date_start and date_end, or neither.")
    first, last = moment(start, "date_start"), moment(end, "date_end")
    hours = isinstance(first, datetime) or isinstance(last, datetime)
    if hours:
        first, last = _midnight(first), _midnight(last)
    if first >= last:
        raise UserError(
            f"The date window is empty: {first} is not before {last}.",
            fix="The end is exclusive: for one day give the next day as its end.",
        )
    return Window(text_of(first), text_of(last))


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
        first, last = _midnight(first), _midnight(last)
    return _windows(first, last, STEPS[every])


def moment(value: str | date, name: str) -> date | datetime:
    """Return an end of a window as a date or, with a time of day, as a naive date-time.

    Raises
    ------
    UserError
        It is neither.
    """
    text = value.isoformat() if isinstance(value, date) else str(value).strip()
    try:
        if len(text) == 10:
            return date.fromisoformat(text)
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UserError(
            f"{name}={text!r} is no date.", fix="Write 2022-01-31, or 2022-01-31T05:00."
        ) from error
    if found.tzinfo is not None or found.second or found.microsecond:
        raise UserError(
            f"{name}={text!r} has an offset or seconds.",
            fix="Write whole minutes in the schedule's own time zone: 2022-01-31T05:00.",
        )
    return found


def text_of(value: date | datetime) -> str:
    """Return an end of a window as it travels."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="minutes")
    return value.isoformat()


def _windows(first: date, last: date, step: timedelta) -> Iterator[Window]:
    start = first
    while start < last:
        end = min(start + step, last)
        yield Window(text_of(start), text_of(end))
        start = end


def _midnight(value: date | datetime) -> datetime:
    return value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
