"""When a schedule fires: the expressions of EventBridge Scheduler, read and worked out.

Three forms: ``cron(minutes hours day-of-month month day-of-week year)`` with six fields, of which
exactly one of the two day fields is ``?``; ``rate(value unit)``; and ``at(yyyy-mm-ddThh:mm:ss)``.
Weekdays count from 1, Sunday. A cron expression and a single time are read on the clocks of the
schedule's time zone. Where these jump ahead, a time that does not exist is left out; where they are
set back, a time that comes twice counts once. A rate counts true hours, so ``rate(1 day)`` is 24
hours also when a day is not. (EventBridge Scheduler user guide, "Schedule types".)
"""

from __future__ import annotations

import calendar
import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from batcat_runtime.errors import ConfigError

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_SATURDAY = 7
_LAST_YEAR = 2199
_CALL = re.compile(r"(cron|rate|at)\((.+)\)")
_RATE = re.compile(r"([1-9][0-9]*) (minute|hour|day)s?")


@dataclass(frozen=True)
class At:
    """One time on the clocks of the schedule's zone."""

    time: datetime


@dataclass(frozen=True)
class Rate:
    """Again and again, after a time that is always the same."""

    every: timedelta


@dataclass(frozen=True)
class Cron:
    """The times that a cron expression means.

    Attributes
    ----------
    minutes, hours, months, years : tuple of int
        Sorted.
    days : frozenset of str
        What the day of the month may be: ``"15"``, ``"L"`` (the last), ``"LW"`` (the last of Monday
        to Friday) or ``"15W"`` (the one of Monday to Friday that is nearest to the 15th, within the
        month). Empty when the day of the week counts.
    weekdays : frozenset of str
        What the day of the week may be: ``"2"`` (Monday), ``"6L"`` (the month's last Friday) or
        ``"3#2"`` (its second Tuesday). Empty when the day of the month counts.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[str]
    months: tuple[int, ...]
    weekdays: frozenset[str]
    years: tuple[int, ...]

    def days_of(self, year: int, month: int) -> list[int]:
        """Return the days of a month on which it fires."""
        length = calendar.monthrange(year, month)[1]
        found = {_day_of_month(rule, year, month, length) for rule in self.days}
        for rule in self.weekdays:
            found |= _days_of_weekday(rule, year, month, length)
        return sorted(day for day in found if day)


Expression = Cron | Rate | At


def parse_expression(expression: str) -> Expression:
    """Read a schedule expression as EventBridge Scheduler does.

    Parameters
    ----------
    expression : str
        Such as ``cron(0 2 * * ? *)``, ``rate(5 minutes)`` or ``at(2022-01-08T02:00:00)``.

    Returns
    -------
    Cron, Rate or At
        What it means.

    Raises
    ------
    ConfigError
        It is none; the message names the field.

    Examples
    --------
    >>> parse_expression("rate(2 hours)")
    Rate(every=datetime.timedelta(seconds=7200))
    """
    match = _CALL.fullmatch(expression)
    if match is None:
        raise _problem(expression, "it is none of cron(...), rate(...) and at(...)")
    readers: dict[str, Callable[[str], Expression]] = {"cron": _cron, "rate": _rate, "at": _at}
    try:
        return readers[match[1]](match[2])
    except ValueError as error:
        raise _problem(expression, str(error)) from error


def next_firings(
    expression: str | Expression,
    timezone: str,
    after: datetime,
    count: int = 5,
    *,
    counted_from: datetime | None = None,
) -> list[datetime]:
    """Return the next times at which a schedule fires.

    Parameters
    ----------
    expression : str or Cron or Rate or At
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
    >>> [str(time) for time in next_firings("cron(0 2 L * ? *)", "Asia/Shanghai", noon, 1)]
    ['2022-02-28 02:00:00+08:00']
    """
    read = parse_expression(expression) if isinstance(expression, str) else expression
    zone, utc = ZoneInfo(timezone), after.astimezone(UTC)
    if isinstance(read, Rate):
        start = (counted_from or after).astimezone(UTC)
        number = max(0, (utc - start) // read.every + 1)
        with contextlib.suppress(OverflowError):  # beyond the year 9999
            return [(start + read.every * (number + n)).astimezone(zone) for n in range(count)]
        return []
    local = utc.astimezone(zone).replace(tzinfo=None)
    times = iter([read.time]) if isinstance(read, At) else _local_times(read, local)
    real = (time for time in times if _exists(time, zone))
    aware = (time.replace(tzinfo=zone) for time in real)  # fold=0: of two, the first
    # In UTC: Python compares the clocks of two times in the same zone, whatever their offsets.
    return list(islice((time for time in aware if time.astimezone(UTC) > utc), count))


def _exists(time: datetime, zone: ZoneInfo) -> bool:
    there = time.replace(tzinfo=zone).astimezone(UTC).astimezone(zone)
    return there.replace(tzinfo=None) == time


def _local_times(cron: Cron, start: datetime) -> Iterator[datetime]:
    """Yield the times on the clock from the day of `start` on."""
    for year in cron.years:
        for month in cron.months:
            if (year, month) < (start.year, start.month):
                continue
            for day in cron.days_of(year, month):
                if date(year, month, day) < start.date():
                    continue
                for hour in cron.hours:
                    for minute in cron.minutes:
                        yield datetime(year, month, day, hour, minute)


def _day_of_month(rule: str, year: int, month: int, length: int) -> int | None:
    """Return the day that a rule names in a month, or None when the month has no such day."""
    if rule == "L":
        return length
    if rule == "LW":
        return _nearest(year, month, length, length)
    wanted = int(rule.removesuffix("W"))
    if wanted > length:
        return None
    return _nearest(year, month, wanted, length) if rule.endswith("W") else wanted


def _nearest(year: int, month: int, day: int, length: int) -> int:
    weekday = calendar.weekday(year, month, day)  # Monday is 0
    if weekday == calendar.SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == calendar.SUNDAY:
        return day + 1 if day < length else day - 2
    return day


def _days_of_weekday(rule: str, year: int, month: int, length: int) -> set[int]:
    first_day = (calendar.weekday(year, month, 1) + 1) % 7 + 1  # Sunday is 1
    days = range(1 + (int(rule[0]) - first_day) % 7, length + 1, 7)
    if rule.endswith("L"):
        return {days[-1]}
    if "#" in rule:
        return set(days[int(rule[2]) - 1 : int(rule[2])])
    return set(days)


def _rate(body: str) -> Rate:
    match = _RATE.fullmatch(body)
    if match is None:
        raise ValueError("a rate is a number and minutes, hours or days: rate(12 hours)")
    try:
        return Rate(timedelta(**{f"{match[2]}s": int(match[1])}))
    except OverflowError as error:
        raise ValueError("no rate is as slow as that") from error


def _at(body: str) -> At:
    try:
        time = datetime.strptime(body, "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        time = None  # nor is what lacks its zeros
    if time is None or len(body) != 19:
        raise ValueError("a single time is written at(2022-01-08T02:00:00)")
    return At(time)


def _cron(body: str) -> Cron:
    fields = body.split(" ")
    if len(fields) != 6:
        raise ValueError(
            f"a cron expression has six fields, not {len(fields)}: minutes, hours, day of month, "
            "month, day of week, year, with single spaces between them"
        )
    minutes, hours, days, months, weekdays, years = fields
    if (days == "?") == (weekdays == "?"):
        raise ValueError("of day of month and day of week, one must be `?` and the other not")
    return Cron(
        _numbers("minutes", minutes, 0, 59),
        _numbers("hours", hours, 0, 23),
        frozenset() if days == "?" else _days(days),
        _numbers("month", months, 1, 12, _MONTHS),
        frozenset() if weekdays == "?" else _weekdays(weekdays),
        _numbers("year", years, 1970, _LAST_YEAR),
    )


def _days(field: str) -> frozenset[str]:
    name, found = "day of month", set()
    for item in field.split(","):
        if item in ("L", "LW") or re.fullmatch(r"([1-9]|[12][0-9]|3[01])W", item):
            found.add(item)
        else:
            found |= {str(day) for day in _item(name, item, 1, 31)}
    return frozenset(found)


def _weekdays(field: str) -> frozenset[str]:
    name, found, items = "day of week", set(), field.split(",")
    for item in items:
        if item == "L":
            found.add(str(_SATURDAY))
        elif re.fullmatch(r"[1-7]L", item) or (
            # Beside another, Scheduler takes none.
            re.fullmatch(r"[1-7]#[1-5]", item) and len(items) == 1
        ):
            found.add(item)
        else:
            found |= {str(day) for day in _item(name, item, 1, 7, _WEEKDAYS)}
    return frozenset(found)


def _numbers(
    name: str, field: str, low: int, high: int, words: tuple[str, ...] = ()
) -> tuple[int, ...]:
    found: set[int] = set()
    for item in field.split(","):
        found |= set(_item(name, item, low, high, words))
    return tuple(sorted(found))


def _item(name: str, item: str, low: int, high: int, words: tuple[str, ...] = ()) -> range:
    """Return what one item of a field means: ``5``, ``MON``, ``1-5``, ``*``, ``0/15``, ``1-9/2``.

    Raises
    ------
    ValueError
        Nothing; the text says which field is wrong.
    """
    span, slash, step = item.partition("/")
    first, dash, last = span.partition("-")
    start = low if span == "*" else _number(first, low, high, words)
    # A step without an end goes on to the highest number.
    end = _number(last, low, high, words) if dash else high if slash or span == "*" else start
    pace = _number(step, 1, high, ()) if slash else 1
    if start is None or end is None or pace is None or start > end:
        raise ValueError(f"{item!r} is no {name}: it is {low} to {high}" + _also(words))
    return range(start, end + 1, pace)


def _number(word: str, low: int, high: int, words: tuple[str, ...]) -> int | None:
    if word.upper() in words:
        return words.index(word.upper()) + 1
    return int(word) if word.isascii() and word.isdigit() and low <= int(word) <= high else None


def _also(words: tuple[str, ...]) -> str:
    return f", or {words[0]} to {words[-1]}" if words else ""


def _problem(expression: str, reason: str) -> ConfigError:
    return ConfigError(
        f"{expression!r} is no schedule: {reason}.",
        fix="Write cron(minutes hours day-of-month month day-of-week year), such as "
        "'cron(0 2 * * ? *)' for every night at 02:00, or 'rate(12 hours)'.",
    )
