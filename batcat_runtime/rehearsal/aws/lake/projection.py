"""Partition projection: a table's partitions follow from its properties instead of from Glue.

Instead of computing every partition that there could be, the objects are listed once: an address
that fits the table's template has the values of its partition in it, and the properties say
whether these are among the projected ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

from dateutil.relativedelta import relativedelta  # type: ignore[import-untyped]

from .failures import QueryFailure
from .tables import Table

# Java's pattern letters as strptime's.
_JAVA = {
    **{"yyyy": "%Y", "yy": "%y", "MMM": "%b", "MM": "%m", "dd": "%d", "EEE": "%a"},
    **{"HH": "%H", "hh": "%I", "mm": "%M", "ss": "%S", "SSS": "%g", "a": "%p"},
}
_PATTERN = re.compile("|".join(["'[^']*'", *_JAVA]))
_NOW = re.compile(r"NOW(?:\s*([+-])\s*(\d+)\s*([A-Z]+?)S?)?", re.IGNORECASE)

Fits = Callable[[str], bool]


def matcher(table: Table) -> tuple[str, Callable[[str], tuple[str, ...] | None]]:
    """Return where a projected table's objects lie, and what finds values in an address.

    Parameters
    ----------
    table : Table
        With ``projection.enabled``.

    Returns
    -------
    tuple
        The location to list, and a function from an object's address to the values of its
        partition, which is None for objects that are in no projected partition.

    Raises
    ------
    QueryFailure
        When the properties are wrong.
    """
    names = [key.name for key in table.keys]
    folders = "/".join(f"{name}=${{{name}}}" for name in names)
    template = table.parameters.get("storage.location.template", table.location + folders)
    template = template if template.endswith("/") else template + "/"
    pattern = re.escape(template)
    fits: dict[str, Fits] = {}
    for name in names:
        fits[name], depth = _fits(table, name)
        found = f"(?P<{name}>{'/'.join(['[^/]+'] * (depth + 1))})"
        mark = re.escape(f"${{{name}}}")
        pattern = pattern.replace(mark, found, 1).replace(mark, f"(?P={name})")
    address = re.compile(pattern)

    def values_of(uri: str) -> tuple[str, ...] | None:
        match = address.match(uri)
        if match is None or not all(fits[name](match[name]) for name in names):
            return None
        return tuple(match[name] for name in names)

    return template.partition("${")[0], values_of


def java_format(pattern: str) -> str:
    """Return a date pattern of Java's in the spelling of strptime."""
    return _PATTERN.sub(lambda m: m[0].strip("'") if m[0][0] == "'" else _JAVA[m[0]], pattern)


def _fits(table: Table, column: str) -> tuple[Fits, int]:
    """Return what tells whether a text is a projected value, and how many slashes are in it."""
    kind = _property(table, column, "type").lower()
    if kind == "enum":
        listed = {one.strip() for one in _property(table, column, "values").split(",")}
        return listed.__contains__, 0
    refusal = QueryFailure(
        f"NOT_SUPPORTED: The embedded AWS does not project column {column} so: it has the types "
        "enum, integer and date, each integer, day or month of a range."
    )
    if kind not in ("integer", "date"):
        raise refusal
    settings = table.parameters
    first, _, last = (one.strip() for one in _property(table, column, "range").partition(","))
    step = settings.get(f"projection.{column}.interval", "1")
    try:
        if (kind, step) == ("integer", "1"):
            digits = int(settings.get(f"projection.{column}.digits", "0"))
            numbers = range(int(first), int(last) + 1)
            return (lambda text: _is_number(text, numbers, digits)), 0
        form = java_format(_property(table, column, "format"))
        finest = "DAYS" if "%d" in form else "MONTHS"
        unit = settings.get(f"projection.{column}.interval.unit", finest).upper().rstrip("S") + "S"
        if (kind, step, unit) == ("date", "1", finest) and "%H" not in form:
            start, end = _moment(first, form), _moment(last, form)
            return (lambda text: _is_moment(text, form, start, end)), form.count("/")
    except (ValueError, KeyError, TypeError) as error:
        raise QueryFailure(
            "INVALID_TABLE_PROPERTY: The partition projection of column "
            f"{column} cannot be used: {error}."
        ) from error
    raise refusal


def _is_number(text: str, numbers: range, digits: int) -> bool:
    return text.isdigit() and int(text) in numbers and text == str(int(text)).zfill(digits)


def _is_moment(text: str, form: str, start: datetime, end: datetime) -> bool:
    try:
        moment = datetime.strptime(text, form)
    except ValueError:
        return False
    return start <= moment <= end and moment.strftime(form) == text


def _moment(text: str, form: str) -> datetime:
    """Return one end of a range, as exactly as its format can say it."""
    match = _NOW.fullmatch(text)
    if match is None:
        return datetime.strptime(text, form)
    moment = datetime.now(UTC).replace(tzinfo=None)
    if match[2]:
        moment += relativedelta(**{f"{match[3].lower()}s": int(match[1] + match[2])})
    return datetime.strptime(moment.strftime(form), form)


def _property(table: Table, column: str, name: str) -> str:
    key = f"projection.{column}.{name}"
    if key not in table.parameters:
        raise QueryFailure(
            f"INVALID_TABLE_PROPERTY: Table {table.database}.{table.name} is configured for "
            f"partition projection, but the property {key} is missing."
        )
    return table.parameters[key]
