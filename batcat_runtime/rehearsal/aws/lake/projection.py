"""Partition projection: a table's partitions follow from its properties instead of from Glue.

Instead of computing every partition that there could be, the objects are listed once: an address
that fits the table's template has the values of its partition in it, and the properties say
whether these are among the projected ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from .failures import QueryFailure
from .tables import Table

_UNITS = {
    "SECONDS": timedelta(seconds=1),
    "MINUTES": timedelta(minutes=1),
    "HOURS": timedelta(hours=1),
    "DAYS": timedelta(days=1),
    "WEEKS": timedelta(weeks=1),
}
_MONTHS = {"MONTHS": 1, "YEARS": 12}
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


def injected(table: Table) -> list[str]:
    """Return the partition keys of which a query must ask for one value each."""
    kinds = {key.name: table.parameters.get(f"projection.{key.name}.type") for key in table.keys}
    return [name for name, kind in kinds.items() if table.is_projected and kind == "injected"]


def _fits(table: Table, column: str) -> tuple[Fits, int]:
    """Return what tells whether a text is a projected value, and how many slashes are in it."""
    kind = _property(table, column, "type").lower()
    if kind == "injected":
        return (lambda _: True), 0
    if kind == "enum":
        listed = {one.strip() for one in _property(table, column, "values").split(",")}
        return listed.__contains__, 0
    first, comma, last = _property(table, column, "range").partition(",")
    if not comma:
        raise _wrong(column, "its range is not two values with a comma between")
    step = table.parameters.get(f"projection.{column}.interval", "1")
    if not step.isdigit() or step == "0":
        raise _wrong(column, f"interval {step!r}")
    try:
        if kind == "integer":
            digits = int(table.parameters.get(f"projection.{column}.digits", "0"))
            numbers = range(int(first), int(last) + 1, int(step))
            return (lambda text: _is_number(text, numbers, digits)), 0
        if kind == "date":
            form = _property(table, column, "format")
            unit = table.parameters.get(f"projection.{column}.interval.unit", "")
            return _dates(first, last, form, int(step), unit), form.count("/")
    except (ValueError, KeyError) as error:
        raise _wrong(column, str(error)) from error
    raise _wrong(column, f"type {kind!r} is none of enum, integer, date, injected")


def _is_number(text: str, numbers: range, digits: int) -> bool:
    return text.isdigit() and int(text) in numbers and text == str(int(text)).zfill(digits)


def _dates(first: str, last: str, java: str, step: int, unit: str) -> Fits:
    form = java_format(java)
    unit = (unit or ("DAYS" if "%d" in form else "MONTHS")).upper().rstrip("S") + "S"
    if "%H" in form and unit == "DAYS" and step == 1:
        raise ValueError("a format finer than a day needs interval and interval.unit")
    start, end = _moment(first.strip(), form), _moment(last.strip(), form)

    def fits(text: str) -> bool:
        try:
            moment = datetime.strptime(text, form)
        except ValueError:
            return False
        if not start <= moment <= end or moment.strftime(form) != text:
            return False
        if unit in _MONTHS:
            months = 12 * (moment.year - start.year) + moment.month - start.month
            return months % (step * _MONTHS[unit]) == 0
        return (moment - start) % (step * _UNITS[unit]) == timedelta(0)

    return fits


def _moment(text: str, form: str) -> datetime:
    """Return one end of a range, as exactly as its format can say it."""
    match = _NOW.fullmatch(text)
    if match is None:
        return datetime.strptime(text, form)
    moment = datetime.now(UTC).replace(tzinfo=None)
    if match[2]:
        count, unit = int(match[1] + match[2]), match[3].upper() + "S"
        if unit in _UNITS:
            moment += count * _UNITS[unit]
        else:
            year, month = divmod(12 * moment.year + moment.month - 1 + count * _MONTHS[unit], 12)
            moment = moment.replace(year=year, month=month + 1, day=min(moment.day, 28))
    return datetime.strptime(moment.strftime(form), form)


def _property(table: Table, column: str, name: str) -> str:
    key = f"projection.{column}.{name}"
    if key not in table.parameters:
        raise QueryFailure(
            f"INVALID_TABLE_PROPERTY: Table {table.database}.{table.name} is configured for "
            f"partition projection, but the property {key} is missing."
        )
    return table.parameters[key]


def _wrong(column: str, what: str) -> QueryFailure:
    return QueryFailure(
        f"INVALID_TABLE_PROPERTY: The partition projection of column {column} cannot be used: "
        f"{what}."
    )
