"""Dates for queries: parsed before anything else happens, so that only a date can reach the SQL.

A date that is given as text is rendered again from what was parsed, in its own spelling: a column
of texts such as ``2022/01/01`` is compared with texts of that kind. Whatever comes out of here
consists of digits and ``-/: .TZ+``; it can neither end a string literal nor begin a comment.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from dataclasses import dataclass
from typing import TypeAlias

from batcat_runtime.errors import UserError

DateLike: TypeAlias = dt.date | str
"""What is taken for a date: `datetime.date`, `datetime.datetime` (`pandas.Timestamp` is one), or a
text such as ``2022-01-01``, ``2022/01/01``, ``20220101``, with or without a time of day."""

# ASCII digits only: \d takes those of every script
_TEXT = re.compile(
    r"(?P<year>[0-9]{4})(?P<dash>[-/]?)(?P<month>[0-9]{1,2})(?P=dash)(?P<day>[0-9]{1,2})"
    r"(?:(?P<gap>[ T])(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]{1,6}))?)?"
    r"(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_EXAMPLES = "Give a datetime.date, a datetime.datetime or a text such as '2022-01-31', "
_EXAMPLES += "'2022/01/31' or '2022-01-31 23:59:59'."


@dataclass(frozen=True)
class DateText:
    """A date as it goes into a query.

    Attributes
    ----------
    text : str
        How it is written there, without quotes.
    moment : datetime.datetime
        When it is, for comparing: in UTC; what has no zone is taken as UTC.
    """

    text: str
    moment: dt.datetime


def get_date_with_delta(
    delta: int,
    format: str = "%Y/%m/%d",  # noqa: A002 - the original BatCat's name
    *,
    tz: str = "UTC",
    now: dt.datetime | None = None,
) -> str:
    """Return the date `delta` days ago as text, for `date_start` and `date_end`.

    Parameters
    ----------
    delta : int
        How many days back from today; 0 is today, -1 tomorrow.
    format : str
        As for `datetime.date.strftime`.
    tz : str
        In which time zone it is today, such as ``Asia/Shanghai``.
    now : datetime.datetime, optional
        The present, if not the clock's; without a zone it is UTC.

    Returns
    -------
    str
        The date, such as ``2022/01/01``.

    Raises
    ------
    UserError
        `delta` is no whole number or leads out of the calendar, or there is no such time zone.

    Examples
    --------
    >>> import datetime as dt
    >>> get_date_with_delta(7, now=dt.datetime(2022, 1, 8))
    '2022/01/01'
    >>> get_date_with_delta(1, "%Y-%m-%d", tz="Asia/Shanghai", now=dt.datetime(2022, 1, 1, 18))
    '2022-01-01'
    """
    if isinstance(delta, bool) or not isinstance(delta, int):
        raise UserError(
            f"{delta!r} is no number of days.", fix="Give a whole number, for example 7."
        )
    try:
        zone = zoneinfo.ZoneInfo(tz)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError, TypeError) as error:
        raise UserError(
            f"There is no time zone {tz!r}.", fix="Give one such as 'Asia/Shanghai' or 'UTC'."
        ) from error
    present = _utc(now) if now else dt.datetime.now(dt.UTC)
    try:
        return (present.astimezone(zone).date() - dt.timedelta(days=delta)).strftime(format)
    except OverflowError as error:
        raise UserError(
            f"{delta} days ago is outside of the calendar.", fix="Give a smaller number of days."
        ) from error


def date_text(value: DateLike, name: str = "date") -> DateText:
    """Parse one date and say how it is written in a query.

    Parameters
    ----------
    value : datetime.date or datetime.datetime or str
        A date becomes ``YYYY-MM-DD``, a datetime ``YYYY-MM-DD HH:MM:SS[.ffffff]``; one with a zone
        is converted to UTC first and written without it, since AWS keeps its times in UTC. A text
        keeps its spelling (and its zone); only ``2022/1/1`` is filled up to ``2022/01/01``.
    name : str
        The argument's name, for the message.

    Raises
    ------
    UserError
        It is anything else, or no day of the calendar.

    Examples
    --------
    >>> date_text("2022/1/31").text
    '2022/01/31'
    """
    if isinstance(value, dt.datetime):
        if value != value:  # pandas.NaT calls itself a datetime
            raise UserError(f"{name} is NaT, which is no date.", fix=_EXAMPLES)
        moment = _utc(value)
        text = f"{_day(moment)} {moment:%H:%M:%S}"
        return DateText(text + (f".{moment:%f}" if moment.microsecond else ""), moment)
    if isinstance(value, dt.date):
        start = dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
        return DateText(_day(start), start)
    found = _TEXT.fullmatch(value) if isinstance(value, str) else None
    compact = found and not found["dash"] and (len(found["month"]), len(found["day"])) != (2, 2)
    if not found or compact:
        raise UserError(f"{name}={value!r} is no date.", fix=_EXAMPLES)
    try:
        return _parsed(found)
    except (ValueError, OverflowError) as error:
        raise UserError(f"{name}={value!r} is no date: {error}.", fix=_EXAMPLES) from error


def date_window(
    date_start: DateLike | None, date_end: DateLike | None
) -> tuple[DateText | None, DateText | None]:
    """Parse both ends of a window of dates.

    Raises
    ------
    UserError
        One of them is no date, or the window ends before it starts.

    Examples
    --------
    >>> [one.text for one in date_window("2022-01-01", "2022-08-01")]
    ['2022-01-01', '2022-08-01']
    """
    start = None if date_start is None else date_text(date_start, "date_start")
    end = None if date_end is None else date_text(date_end, "date_end")
    if start and end and start.moment > end.moment:
        raise UserError(
            f"date_start={start.text} is later than date_end={end.text}.",
            fix="Exchange them; such a query would find nothing.",
        )
    return start, end


def _parsed(found: re.Match[str]) -> DateText:
    dash, gap = found["dash"], found["gap"]
    moment = dt.datetime(
        int(found["year"]),
        int(found["month"]),
        int(found["day"]),
        int(found["hour"] or 0),
        int(found["minute"] or 0),
        int(found["second"] or 0),
        int((found["fraction"] or "").ljust(6, "0")),
        tzinfo=_zone(found["zone"]),
    )
    text = _day(moment, dash)
    if gap:
        text += f"{gap}{found['hour']}:{found['minute']}"
    if found["second"]:
        text += f":{found['second']}"
    if found["fraction"]:
        text += f".{found['fraction']}"
    return DateText(text + (found["zone"] or ""), moment.astimezone(dt.UTC))


def _zone(text: str | None) -> dt.tzinfo:
    if text in (None, "Z"):
        return dt.UTC
    sign = -1 if text[0] == "-" else 1
    hours, minutes = int(text[1:3]), int(text[-2:])
    if minutes > 59:
        raise ValueError("the zone's minutes must be in 0..59")
    return dt.timezone(sign * dt.timedelta(hours=hours, minutes=minutes))


def _day(moment: dt.date, dash: str = "-") -> str:
    # not strftime: %Y does not fill up years before 1000 everywhere
    return f"{moment.year:04d}{dash}{moment.month:02d}{dash}{moment.day:02d}"


def _utc(moment: dt.datetime) -> dt.datetime:
    if moment.tzinfo is None:
        return moment.replace(tzinfo=dt.UTC)
    return moment.astimezone(dt.UTC)
