"""The window of time that a run computes: half-open, its ends dates or times of whole minutes.

Both ends have the same form, ``2022-01-08`` or ``2022-01-08T05:00``, in the schedule's time zone.
"""

from __future__ import annotations

from datetime import date, datetime

from batcat_runtime.errors import UserError


def ends_of(
    start: str | date | None, end: str | date | None, names: tuple[str, str]
) -> tuple[date | None, date | None]:
    """Return both ends as dates or, when one has a time of day, as naive date-times.

    Raises
    ------
    UserError
        One is no date, named as `names` says, or the window is empty.
    """
    first = None if start is None else moment(start, names[0])
    last = None if end is None else moment(end, names[1])
    if isinstance(first, datetime) or isinstance(last, datetime):
        first, last = first and midnight(first), last and midnight(last)
    if first and last and first >= last:
        raise UserError(
            f"The date window is empty: {first} is not before {last}.",
            fix="The end is exclusive: for one day give the next day as its end.",
        )
    return first, last


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


def midnight(value: date | datetime) -> datetime:
    """Return an end of a window as a naive date-time."""
    return value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
