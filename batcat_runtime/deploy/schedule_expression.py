"""Expressions of EventBridge Scheduler: which are legal, and when they fire next.

Three forms: ``cron(minutes hours day-of-month month day-of-week year)`` with six fields, of which
exactly one of the two day fields is ``?``; ``rate(value unit)``; and ``at(yyyy-mm-ddThh:mm:ss)``.
Weekdays count from 1, Sunday. A cron expression and a single time are read on the clocks of the
schedule's time zone. Where these jump ahead, a time that does not exist is left out; where they are
set back, a time that comes twice counts once. A rate counts true hours, so ``rate(1 day)`` is 24
hours also when a day is not. (EventBridge Scheduler user guide, "Schedule types".)

croniter works the times out. It knows ``W`` as Scheduler does, but for months that are too short:
there it takes the last weekday, which is what ``LW`` means.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count as counting
from itertools import islice
from zoneinfo import ZoneInfo

from batcat_runtime.errors import ConfigError

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_RATE = re.compile(r"rate\(([1-9][0-9]*) (minute|hour|day)s?\)")
_AT = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")
_CRON = re.compile(r"cron\((.+)\)")
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...], str], ...] = (
    ("minutes", 0, 59, (), ""),
    ("hours", 0, 23, (), ""),
    ("day of month", 1, 31, (), r"\?|LW|([1-9]|[12][0-9]|3[01])W"),
    ("month", 1, 12, _MONTHS, ""),
    ("day of week", 1, 7, _WEEKDAYS, r"\?|L|[1-7]L|[1-7]#[1-5]"),
    ("year", 1970, 2099, (), ""),
)


def check_expression(expression: str) -> None:
    """Refuse what EventBridge Scheduler would refuse.

    Parameters
    ----------
    expression : str
        Such as ``cron(0 2 * * ? *)``, ``rate(5 minutes)`` or ``at(2022-01-08T02:00:00)``.

    Raises
    ------
    ConfigError
        It is no expression; the message names the field.
    """
    try:
        if interval_of(expression) is None and _time_of(expression) is None:
            _cron_of(expression)
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"{expression!r} is no schedule: {error}.",
            fix="Write cron(minutes hours day-of-month month day-of-week year), such as "
            "'cron(0 2 * * ? *)' for every night at 02:00, or 'rate(12 hours)'.",
        ) from error


def interval_of(expression: str) -> timedelta | None:
    """Return the time between two runs of a ``rate(...)``; None for other expressions."""
    match = _RATE.fullmatch(expression)
    return timedelta(**{f"{match[2]}s": int(match[1])}) if match else None


def next_times(
    expression: str,
    timezone: str,
    after: datetime,
    count: int = 5,
    *,
    counted_from: datetime | None = None,
) -> list[datetime]:
    """Return the next times at which a schedule fires.

    Parameters
    ----------
    expression : str
        The schedule's.
    timezone : str
        The zone that it is read in, an IANA name.
    after : datetime
        With a zone; only later times are returned.
    count : int
        How many, at most: an expression may come to an end.
    counted_from : datetime, optional
        With a zone: when a rate fired, or will fire, for the first time. By default `after`.

    Returns
    -------
    list of datetime
        In `timezone`, in order.

    Raises
    ------
    ConfigError
        There is no such expression.

    Examples
    --------
    >>> noon = datetime(2022, 1, 31, 12, tzinfo=UTC)
    >>> [str(time) for time in next_times("cron(0 2 L * ? *)", "Asia/Shanghai", noon, 1)]
    ['2022-02-28 02:00:00+08:00']
    """
    check_expression(expression)
    # In UTC: Python compares the clocks of two times in the same zone, whatever their offsets.
    zone, utc = ZoneInfo(timezone), after.astimezone(UTC)
    times = _times(expression, zone, utc, (counted_from or after).astimezone(UTC))
    return [time.astimezone(zone) for time in islice((one for one in times if one > utc), count)]


def _times(expression: str, zone: ZoneInfo, after: datetime, start: datetime) -> Iterator[datetime]:
    """Yield the times in UTC, all those after `after` and some before it."""
    interval, single = interval_of(expression), _time_of(expression)
    if interval is not None:
        with suppress(OverflowError):  # beyond the year 9999
            for number in counting(max(0, (after - start) // interval)):
                yield start + interval * number
        return
    clock = after.astimezone(zone).replace(tzinfo=None)
    for local in [single] if single else _cron_times(expression, clock):
        time = local.replace(tzinfo=zone).astimezone(UTC)
        if time.astimezone(zone).replace(tzinfo=None) == local:  # the clocks do not jump over it
            yield time


def _time_of(expression: str) -> datetime | None:
    match = _AT.fullmatch(expression)
    return datetime.fromisoformat(match[1]) if match else None


def _cron_times(expression: str, after: datetime) -> Iterator[datetime]:
    """Yield the times on the clock, as croniter has them."""
    from croniter import CroniterBadDateError, croniter

    body, longest = _cron_of(expression)
    times = croniter(body, after, ret_type=datetime)
    try:
        for time in times:
            if calendar.monthrange(time.year, time.month)[1] >= longest:
                yield time
    except CroniterBadDateError:  # none within fifty years
        return


def _cron_of(expression: str) -> tuple[str, int]:
    """Return the expression in croniter's words, and how many days a month must have at least.

    Raises
    ------
    ValueError
        It is none; the text says which field is wrong.
    """
    match = _CRON.fullmatch(expression)
    if match is None:
        raise ValueError("it is none of cron(...), rate(...) and at(yyyy-mm-ddThh:mm:ss)")
    fields = match[1].split(" ")
    if len(fields) != 6:
        raise ValueError(
            f"a cron expression has six fields, not {len(fields)}: minutes, hours, day of month, "
            "month, day of week, year, with single spaces between them"
        )
    if (fields[2] == "?") == (fields[4] == "?"):
        raise ValueError("of day of month and day of week, one must be `?` and the other not")
    read = [_numbers(field, *rule) for field, rule in zip(fields, _FIELDS, strict=True)]
    longest = int(read[2][:-1]) if read[2][:-1].isdigit() and read[2].endswith("W") else 0
    read[2] = read[2].replace("LW", "31W")
    read[4] = "7" if read[4] == "L" else re.sub("([1-7])L", r"L\1", read[4])
    # croniter counts the days of the week from 0, Sunday
    read[4] = re.sub(r"(?<!#)[1-7]", lambda day: str(int(day[0]) - 1), read[4])
    return " ".join([*read[:5], "0", read[5]]), longest


def _numbers(field: str, name: str, low: int, high: int, words: Sequence[str], alone: str) -> str:
    """Return the numbers that a field means; as it is, where it is a word that stands alone.

    Raises
    ------
    ValueError
        It has none; the text says which field is wrong.
    """
    if alone and re.fullmatch(alone, field):
        return field.replace("?", "*")
    return ",".join(_item(item, name, low, high, words) for item in field.split(","))


def _item(item: str, name: str, low: int, high: int, words: Sequence[str]) -> str:
    """Return the numbers of an item: ``5``, ``MON``, ``1-5``, ``*``, ``0/15``, ``1-9/2``."""
    if item == "L" and name == "day of month":
        return item
    span, slash, step = item.partition("/")
    first, dash, last = span.partition("-")
    start = low if span == "*" else _number(first, low, high, words)
    # A step without an end goes on to the highest number.
    end = _number(last, low, high, words) if dash else high if slash or span == "*" else start
    pace = _number(step, 1, high, ()) if slash else 1
    if start is None or end is None or pace is None or start > end:
        also = f", or {words[0]} to {words[-1]}" if words else ""
        raise ValueError(f"{item!r} is no {name}: it is {low} to {high}{also}")
    return ",".join(map(str, range(start, end + 1, pace)))


def _number(word: str, low: int, high: int, words: Sequence[str]) -> int | None:
    if word.upper() in words:
        return words.index(word.upper()) + 1
    return int(word) if word.isascii() and word.isdigit() and low <= int(word) <= high else None
