"""Redshift's columns as Arrow's.

One table for the wire, which names types by number, and for the Data API, which names them by name
and gives most values as text.
"""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import DataFormatError

if TYPE_CHECKING:
    import pyarrow as pa

_OIDS = {
    16: "bool",
    20: "int8",
    21: "int2",
    23: "int4",
    26: "oid",
    700: "float4",
    701: "float8",
    1042: "bpchar",
    1082: "date",
    1083: "time",
    1114: "timestamp",
    1184: "timestamptz",
    1266: "timetz",
    1700: "numeric",
    6551: "varbyte",
}
_NAMES = {
    "bigint": "int8",
    "binary varying": "varbyte",
    "boolean": "bool",
    "char": "bpchar",
    "character": "bpchar",
    "decimal": "numeric",
    "double precision": "float8",
    "integer": "int4",
    "real": "float4",
    "smallint": "int2",
    "time without time zone": "time",
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
    "varbinary": "varbyte",
}
_MOST_DIGITS = 38


@dataclass(frozen=True)
class Column:
    """A column of a result.

    Attributes
    ----------
    name : str
    kind : str
        Redshift's short name of its type, such as ``int8``.
    precision, scale : int
        Of a numeric; a precision of 0 means that the server does not say.
    """

    name: str
    kind: str
    precision: int = 0
    scale: int = 0


def wire_column(name: str, oid: int, modifier: int) -> Column:
    """Return a column as the wire describes it.

    Examples
    --------
    >>> wire_column("a", 1700, ((10 << 16) | 2) + 4)
    Column(name='a', kind='numeric', precision=10, scale=2)
    """
    kind = _OIDS.get(oid, "varchar")
    if kind == "numeric" and modifier >= 4:
        return Column(name, kind, (modifier - 4) >> 16, (modifier - 4) & 0xFFFF)
    return Column(name, kind)


def data_api_column(metadata: dict[str, Any]) -> Column:
    """Return a column as the Data API describes it."""
    given = str(metadata.get("typeName", "varchar")).lower()
    kind = _NAMES.get(given, given)
    name = str(metadata.get("label") or metadata.get("name") or "?column?")
    if kind == "numeric":
        precision, scale = int(metadata.get("precision", 0)), int(metadata.get("scale", 0))
        return Column(name, kind, precision if precision <= _MOST_DIGITS else 0, scale)
    return Column(name, kind)


def arrow_type(column: Column) -> pa.DataType:
    """Return what a column is to Arrow; what Arrow has no type for is text.

    A time with a zone is such a one, as are intervals, geometries and SUPER, which is JSON.
    """
    import pyarrow as pa

    known = {
        "bool": pa.bool_(),
        "int2": pa.int16(),
        "int4": pa.int32(),
        "int8": pa.int64(),
        "oid": pa.int64(),
        "float4": pa.float32(),
        "float8": pa.float64(),
        "date": pa.date32(),
        "time": pa.time64("us"),
        "timestamp": pa.timestamp("us"),
        "timestamptz": pa.timestamp("us", "UTC"),
        "varbyte": pa.binary(),
    }
    if column.kind == "numeric":
        return pa.decimal128(column.precision or _MOST_DIGITS, column.scale)
    return known.get(column.kind, pa.string())


def arrow_table(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> pa.Table:
    """Return rows as a table with the columns' own types.

    Parameters
    ----------
    columns : sequence of Column
    rows : sequence of sequences
        A value is None, or a Python object of the type, or its text in Redshift's spelling.

    Raises
    ------
    DataFormatError
        A value does not fit its column's type, such as a date before the year 1.
    """
    import pyarrow as pa

    values = list(zip(*rows, strict=True)) if rows else [() for _ in columns]
    arrays = [_array(column, list(of)) for column, of in zip(columns, values, strict=True)]
    fields = [
        pa.field(column.name, array.type) for column, array in zip(columns, arrays, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _array(column: Column, values: list[Any]) -> pa.Array:
    import pyarrow as pa

    kind = arrow_type(column)
    try:
        if column.kind == "numeric":
            return _decimals(column, values, kind)
        if pa.types.is_string(kind):
            return pa.array([_text(column, value) for value in values], kind)
        if column.kind == "varbyte":
            return pa.array([_bytes(value) for value in values], kind)
        first = next((value for value in values if value is not None), None)
        if isinstance(first, str) and column.kind == "time":  # Arrow has no such cast
            times = [None if value is None else dt.time.fromisoformat(value) for value in values]
            return pa.array(times, kind)
        if isinstance(first, str):
            return pa.array(values, pa.string()).cast(kind)
        return pa.array(values, kind)
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise DataFormatError(
            f"The column {column.name!r} holds a {column.kind} that pandas cannot hold: {error}.",
            fix=f"Cast it in the query, for example {column.name}::varchar.",
        ) from error


def _decimals(column: Column, values: list[Any], kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    numbers = [None if value is None else decimal.Decimal(value) for value in values]
    if not column.precision:
        # the server does not say how exact the column is: as exact as its values are
        found = [number for number in numbers if number is not None]
        return pa.array(numbers) if found else pa.array(numbers, kind)
    return pa.array(numbers, kind)


def _text(column: Column, value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, dt.time | dt.date):
        return value.isoformat()
    # blanks that fill up a CHAR(n) mean nothing, and the wire sends them where UNLOAD does not
    return str(value).rstrip(" ") if column.kind == "bpchar" else str(value)


def _bytes(value: Any) -> bytes | None:
    return bytes.fromhex(value) if isinstance(value, str) else value
