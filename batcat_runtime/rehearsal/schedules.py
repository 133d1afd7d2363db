"""Schedule expressions of EventBridge Scheduler, checked as the service checks them.

Three forms: ``cron(minutes hours day-of-month month day-of-week year)`` with six fields, of which
exactly one of the two day fields is ``?``; ``rate(value unit)``; and ``at(yyyy-mm-ddThh:mm:ss)``.
"""

from __future__ import annotations

import re
from datetime import datetime
from zoneinfo import available_timezones

_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
_FIELDS: tuple[tuple[str, int, int, list[str]], ...] = (
    ("minutes", 0, 59, []),
    ("hours", 0, 23, []),
    ("day of month", 1, 31, []),
    ("month", 1, 12, _MONTHS),
    ("day of week", 1, 7, _DAYS),
    ("year", 1970, 2199, []),
)
_CALL = re.compile(r"(cron|rate|at)\((.+)\)")


def is_schedule_expression(expression: str) -> bool:
    """Tell whether EventBridge Scheduler accepts the expression.

    Parameters
    ----------
    expression : str
        Such as ``cron(0 2 * * ? *)``, ``rate(5 minutes)`` or ``at(2022-01-08T02:00:00)``.
    """
    match = _CALL.fullmatch(expression)
    if match is None:
        return False
    kind, body = match.groups()
    return {"cron": _is_cron, "rate": _is_rate, "at": _is_at}[kind](body)


def is_timezone(name: str) -> bool:
    """Tell whether the name is a zone of the IANA data base, such as ``Asia/Shanghai``."""
    return name == "UTC" or name in available_timezones()


def _is_rate(body: str) -> bool:
    match = re.fullmatch(r"([1-9]\d*) (minute|minutes|hour|hours|day|days)", body)
    return match is not None


def _is_at(body: str) -> bool:
    try:
        datetime.strptime(body, "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return False
    return len(body) == 19


def _is_cron(body: str) -> bool:
    fields = body.split(" ")
    if len(fields) != len(_FIELDS):
        return False
    if (fields[2] == "?") == (fields[4] == "?"):
        return False
    return all(
        _is_cron_field(text, index, low, high, names)
        for index, (text, (_, low, high, names)) in enumerate(zip(fields, _FIELDS, strict=True))
    )


def _is_cron_field(text: str, index: int, low: int, high: int, names: list[str]) -> bool:
    if text == "?":
        return index in (2, 4)
    return all(_is_cron_item(item, index, low, high, names) for item in text.split(","))


def _is_cron_item(item: str, index: int, low: int, high: int, names: list[str]) -> bool:
    def number(word: str) -> int | None:
        if word.upper() in names:
            return names.index(word.upper()) + 1
        return int(word) if word.isascii() and word.isdigit() and low <= int(word) <= high else None

    if index == 2 and (item in ("L", "LW") or re.fullmatch(r"([1-9]|[12]\d|3[01])W", item)):
        return True
    if index == 4 and (item == "L" or re.fullmatch(r"[1-7]L|[1-7]#[1-5]", item)):
        return True
    span, slash, step = item.partition("/")
    if slash and not (step.isascii() and step.isdigit() and 0 < int(step) <= high):
        return False
    first, dash, last = span.partition("-")
    if span == "*":
        return True
    start, end = number(first), number(last) if dash else None
    return start is not None and (not dash or (end is not None and start <= end))
