"""Partition projection: partitions that are computed from a table's properties, not kept in Glue.

Each projected column yields its possible values (`enum`, `integer`, `date`), or takes them from the
query (`injected`). Together with `storage.location.template` that says where each partition lies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from batcat_runtime.errors import DataFormatError

from .tables import Table

_MAX_VALUES = 1_000_000
_UNITS = {
    "SECONDS": timedelta(seconds=1),
    "MINUTES": timedelta(minutes=1),
    "HOURS": timedelta(hours=1),
    "DAYS": timedelta(days=1),
    "WEEKS": timedelta(weeks=1),
}
_MONTHS = {"MONTHS": 1, "YEARS": 12}
# Java's pattern letters, longest first, as strptime's.
_JAVA = {
    "yyyy": "%Y",
    "uuuu": "%Y",
    "MMM": "%b",
    "MM": "%m",
    "dd": "%d",
    "HH": "%H",
    "mm": "%M",
    "ss": "%S",
    "yy": "%y",
}
_PATTERN = re.compile("|".join(["'[^']*'", *_JAVA]))


def is_projected(table: Table) -> bool:
    """Tell whether a table's partitions are computed."""
    return bool(table.keys) and table.parameters.get("projection.enabled", "").lower() == "true"


def projected_values(
    table: Table, column: str, given: Sequence[str], now: datetime | None = None
) -> list[str]:
    """Return the values that a projected column can take, as they stand in paths.

    Parameters
    ----------
    table : Table
        The table, for its properties.
    column : str
        One of its partition keys.
    given : sequence of str
        Values that the query asks for by equality; what an injected column takes.
    now : datetime, optional
        What NOW means; the present by default.

    Raises
    ------
    DataFormatError
        When the properties are wrong, or an injected column got no value.
    """
    kind = _property(table, column, "type").lower()
    if kind == "enum":
        return [one.strip() for one in _property(table, column, "values").split(",")]
    if kind == "integer":
        return _integers(table, column)
    if kind == "date":
        return _dates(table, column, now or datetime.now(UTC))
    if kind == "injected":
        if not given:
            raise DataFormatError(
                f"CONSTRAINT_VIOLATION: For the injected projected partition column {column}, the "
                "WHERE clause must contain only static equality conditions, and at least one such "
                "condition must be present."
            )
        return list(given)
    raise _wrong(column, f"type {kind!r} is none of enum, integer, date, injected")


def projected_location(table: Table, values: Mapping[str, str]) -> str:
    """Return where a projected partition lies.

    Parameters
    ----------
    table : Table
        The table, for its location and its template.
    values : mapping of str to str
        From partition key to value.
    """
    template = table.parameters.get("storage.location.template")
    if not template:
        base = table.storage.location.rstrip("/")
        return base + "/" + "".join(f"{name}={value}/" for name, value in values.items())
    for name, value in values.items():
        template = template.replace("${" + name + "}", value)
    return template if template.endswith("/") else template + "/"


def java_format(pattern: str) -> str:
    """Return a date pattern of Java's in the spelling of strptime."""
    return _PATTERN.sub(lambda m: m[0].strip("'") if m[0][0] == "'" else _JAVA[m[0]], pattern)


def _integers(table: Table, column: str) -> list[str]:
    first, last = _range(table, column)
    step = int(table.parameters.get(f"projection.{column}.interval", "1"))
    digits = int(table.parameters.get(f"projection.{column}.digits", "0"))
    try:
        numbers = range(int(first), int(last) + 1, step)
    except ValueError as error:
        raise _wrong(column, f"range {first},{last} with interval {step}") from error
    if len(numbers) > _MAX_VALUES:
        raise _wrong(column, f"{len(numbers)} values are too many to project")
    return [str(one).zfill(digits) for one in numbers]


def _dates(table: Table, column: str, now: datetime) -> list[str]:
    pattern = _property(table, column, "format")
    form = java_format(pattern)
    first, last = (_moment(column, end, form, now) for end in _range(table, column))
    unit = table.parameters.get(f"projection.{column}.interval.unit", "").upper()
    if not unit:
        # AWS's default is the precision of the format, down to the day.
        unit = "DAYS" if "%d" in form else "MONTHS"
        if "%H" in form:
            raise _wrong(column, "a format finer than a day needs interval and interval.unit")
    unit = unit if unit.endswith("S") else unit + "S"
    count = int(table.parameters.get(f"projection.{column}.interval", "1"))
    if count < 1 or unit not in _UNITS | _MONTHS:
        raise _wrong(column, f"interval {count} {unit}")
    values: list[str] = []
    moment, steps = first, 0
    while moment <= last:
        values.append(moment.strftime(form))
        steps += 1
        moment = _moved(first, steps * count, unit)
        if steps > _MAX_VALUES:
            raise _wrong(column, "too many values to project")
    return list(dict.fromkeys(values))


def _moment(column: str, text: str, form: str, now: datetime) -> datetime:
    match = re.fullmatch(r"NOW(?:\s*([+-])\s*(\d+)\s*([A-Za-z]+))?", text.strip(), re.IGNORECASE)
    if match is None:
        try:
            return datetime.strptime(text.strip(), form).replace(tzinfo=UTC)
        except ValueError as error:
            raise _wrong(column, f"{text!r} is not written as its format says") from error
    if match[2] is None:
        return now
    unit = match[3].upper()
    unit = unit if unit.endswith("S") else unit + "S"
    if unit not in _UNITS | _MONTHS:
        raise _wrong(column, f"unit {match[3]!r}")
    return _moved(now, int(match[2]) * (-1 if match[1] == "-" else 1), unit)


def _moved(moment: datetime, count: int, unit: str) -> datetime:
    if unit in _UNITS:
        return moment + count * _UNITS[unit]
    months = moment.year * 12 + moment.month - 1 + count * _MONTHS[unit]
    year, month = divmod(months, 12)
    for day in (moment.day, 30, 29, 28):
        try:
            return moment.replace(year=year, month=month + 1, day=day)
        except ValueError:
            continue
    raise AssertionError(f"no day in month {month + 1} of {year}")


def _range(table: Table, column: str) -> tuple[str, str]:
    first, comma, last = _property(table, column, "range").partition(",")
    if not comma:
        raise _wrong(column, "its range is not two values with a comma between")
    return first.strip(), last.strip()


def _property(table: Table, column: str, name: str) -> str:
    key = f"projection.{column}.{name}"
    if key not in table.parameters:
        raise DataFormatError(
            f"INVALID_TABLE_PROPERTY: Table {table.database}.{table.name} is configured for "
            f"partition projection, but the property {key} is missing."
        )
    return table.parameters[key]


def _wrong(column: str, what: str) -> DataFormatError:
    return DataFormatError(
        f"INVALID_TABLE_PROPERTY: The partition projection of column {column} cannot be used: "
        f"{what}."
    )
