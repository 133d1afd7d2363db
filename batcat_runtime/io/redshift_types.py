"""Redshift's columns as Arrow's, in both directions.

One table of kinds for the wire, which names them by number, for the Data API, which names them by
name and gives most values as text, and for saving: what a new table's columns are, and how a
column of a DataFrame becomes exactly what a table has, or is refused. Nothing is rounded or cut.
"""

from __future__ import annotations

import bisect
import datetime as dt
import decimal
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from batcat_runtime.errors import AccessDeniedError, BatcatError, DataFormatError
from batcat_runtime.io.query import line_and_column, query_error

if TYPE_CHECKING:
    import pyarrow as pa

_KINDS = {  # kind: number on the wire, name in SQL and in the Data API, Arrow's name
    "bool": (16, "boolean", "bool"),
    "int8": (20, "bigint", "int64"),
    "int2": (21, "smallint", "int16"),
    "int4": (23, "integer", "int32"),
    "oid": (26, "oid", "int64"),
    "float4": (700, "real", "float"),
    "float8": (701, "double precision", "double"),
    "bpchar": (1042, "character", "string"),
    "varchar": (1043, "character varying", "string"),
    "date": (1082, "date", "date32"),
    "time": (1083, "time without time zone", "time64[us]"),
    "timestamp": (1114, "timestamp without time zone", "timestamp[us]"),
    "timestamptz": (1184, "timestamp with time zone", "timestamp[us, tz=UTC]"),
    "timetz": (1266, "time with time zone", "string"),
    "numeric": (1700, "numeric", "decimal128"),
    "super": (4000, "super", "string"),
    "varbyte": (6551, "binary varying", "binary"),
}
_OIDS = {oid: kind for kind, (oid, _, _) in _KINDS.items()}
_NAMES = {name: kind for kind, (_, name, _) in _KINDS.items()}
_NAMES |= {"char": "bpchar", "decimal": "numeric", "varbinary": "varbyte"}
_SIZED = ("bpchar", "varchar", "varbyte")
_NEW = {  # Arrow's name of a type: the kind of a new column
    **dict.fromkeys(("int8", "uint8", "int16"), "int2"),
    **dict.fromkeys(("uint16", "int32"), "int4"),
    **dict.fromkeys(("uint32", "int64"), "int8"),
    **dict.fromkeys(("date32[day]", "date64[ms]"), "date"),
    "float": "float4",
    "double": "float8",
    "bool": "bool",
}
_MOST_DIGITS, _LONGEST, _SHOWN = 38, 65_535, 50


class Result(NamedTuple):
    """What a statement gave: its columns, and its rows as tables of these columns."""

    columns: list[Column]
    tables: Iterator[pa.Table]


@dataclass(frozen=True)
class Column:
    """A column of a result or table.

    Attributes
    ----------
    name : str
    kind : str
        Redshift's short name of its type, such as ``int8``.
    precision, scale : int
        Of a numeric; a precision of 0 means that the server does not say.
    length : int
        Of a text or bytes, in bytes; 0 means that the server does not say.
    """

    name: str
    kind: str
    precision: int = 0
    scale: int = 0
    length: int = 0

    @property
    def sql(self) -> str:
        """The type as CREATE TABLE has it."""
        kind = self.kind if self.kind in _KINDS else "varchar"
        name = _KINDS[kind][1].upper()
        if kind == "numeric":
            return f"{name}({self.precision or _MOST_DIGITS}, {self.scale})"
        return f"{name}({self.length or _LONGEST})" if kind in _SIZED else name


def wire_column(name: str, oid: int, modifier: int) -> Column:
    """Return a column as the wire describes it."""
    kind, size = _OIDS.get(oid, "varchar"), max(modifier - 4, 0)
    if kind == "numeric":
        return Column(name, kind, size >> 16, size & 0xFFFF)
    return Column(name, kind, length=size if kind in ("bpchar", "varchar") else 0)


def data_api_column(metadata: dict[str, Any]) -> Column:
    """Return a column as the Data API describes it."""
    given = str(metadata.get("typeName", "varchar")).lower()
    kind = _NAMES.get(given, given)
    name = str(metadata.get("label") or metadata.get("name") or "?column?")
    precision, scale = int(metadata.get("precision", 0)), int(metadata.get("scale", 0))
    if kind == "numeric":
        return Column(name, kind, precision if precision <= _MOST_DIGITS else 0, scale)
    size = int(metadata.get("length", 0)) or precision
    return Column(name, kind, length=size if kind in _SIZED else 0)


def arrow_type(column: Column) -> pa.DataType:
    """Return what a column is to Arrow; what Arrow has no type for is text.

    A time with a zone is such a one, as are intervals, geometries and SUPER, which is JSON.
    """
    import pyarrow as pa

    if column.kind == "numeric":
        return pa.decimal128(column.precision or _MOST_DIGITS, column.scale)
    if column.kind == "timestamptz":
        return pa.timestamp("us", "UTC")
    return pa.type_for_alias(_KINDS.get(column.kind, _KINDS["varchar"])[2])


def arrow_table(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> pa.Table:
    """Return rows as a table with the columns' own types.

    A value is None, or a Python object of the type, or its text in Redshift's spelling.

    Raises
    ------
    DataFormatError
        A value does not fit its column's type, such as a date before the year 1.
    """
    import pyarrow as pa

    values = zip(*rows, strict=True) if rows else [() for _ in columns]
    arrays = [_array(column, list(of)) for column, of in zip(columns, values, strict=True)]
    return pa.Table.from_arrays(arrays, names=[column.name for column in columns])


def _array(column: Column, values: list[Any]) -> pa.Array:
    import pyarrow as pa

    kind = arrow_type(column)
    convert: dict[str, Callable[[Any], Any]] = {
        "numeric": decimal.Decimal,
        "varbyte": lambda value: bytes.fromhex(value) if isinstance(value, str) else value,
        # Arrow has no cast from a text to a time
        "time": lambda value: dt.time.fromisoformat(value) if isinstance(value, str) else value,
        # blanks that fill up a CHAR(n) mean nothing, and the wire sends them where UNLOAD does not
        "bpchar": lambda value: str(value).rstrip(" "),
    }
    change = convert.get(column.kind, _text if pa.types.is_string(kind) else None)
    first = next((value for value in values if value is not None), None)
    try:
        if change is not None:
            values = [None if value is None else change(value) for value in values]
            if column.kind == "numeric" and not column.precision and first is not None:
                return pa.array(values)  # the server does not say how exact it is: as its values
        elif isinstance(first, str):
            return pa.array(values, pa.string()).cast(kind)
        return pa.array(values, kind)
    except (pa.ArrowException, ValueError, OverflowError, decimal.InvalidOperation) as error:
        raise DataFormatError(
            f"The column {column.name!r} holds a {column.kind} that pandas cannot hold: {error}.",
            fix=f"Cast it in the query, for example {column.name}::varchar.",
        ) from error


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, dt.time | dt.date) else str(value)


def new_column(name: str, values: pa.ChunkedArray) -> Column:
    """Return what a column of a DataFrame is in a table that is made for it.

    Raises
    ------
    DataFormatError
        Redshift has no type for it.
    """
    import pyarrow.types as t

    kind = values.type
    if t.is_uint64(kind):
        return Column(name, "numeric", 20)
    if str(kind) in _NEW:
        return Column(name, _NEW[str(kind)])
    if t.is_decimal(kind) and kind.precision <= _MOST_DIGITS and kind.scale >= 0:
        return Column(name, "numeric", kind.precision, kind.scale)
    if t.is_timestamp(kind):
        return Column(name, "timestamptz" if kind.tz else "timestamp")
    if t.is_time(kind):
        return Column(name, "time")
    if t.is_nested(kind):
        return Column(name, "super")
    if t.is_null(kind) or "string" in str(kind):
        return Column(name, "varchar", length=_size(values, 2))
    if "binary" in str(kind):
        return Column(name, "varbyte", length=_size(values, 1))
    raise DataFormatError(
        f"The column {name!r} is {kind}, for which Redshift has no type.",
        fix="Change it with astype, for example to str.",
    )


def fitted(name: str, values: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    """Return values as a column of a table takes them: exactly those, or none at all.

    Raises
    ------
    DataFormatError
        One does not fit; it names the column, both types and the first such value.
    """
    import pyarrow as pa

    if values.null_count == len(values):
        return pa.chunked_array([pa.nulls(len(values), arrow_type(column))])
    try:
        return _exact(values, column)
    except pa.ArrowException as error:
        ends = range(1, len(values))
        unfit = bisect.bisect(ends, False, key=lambda end: _fails(values[:end], column))
        shown = str(values[unfit])
        raise DataFormatError(
            f"The column {name!r} is {values.type}, and the table's is {column.sql}: "
            f"{shown[:_SHOWN]!r} does not fit ({error}).",
            fix="Round, shorten or change it before saving, for example with astype or tz_convert.",
        ) from error


def _exact(values: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    """Cast there and back: what is not the same again would have been rounded or cut."""
    import pyarrow as pa
    import pyarrow.compute as pc

    source, target = values.type, arrow_type(column)
    if pa.types.is_nested(source) != (column.kind == "super"):
        raise pa.ArrowInvalid("a nested value is SUPER, and only that")
    if column.kind == "super":
        cast = pa.chunked_array(
            [pa.array(map(_json, values.to_pylist(maps_as_pydicts="strict")), pa.string())]
        )
    elif getattr(source, "tz", None) and column.kind != "timestamptz":
        raise pa.ArrowInvalid("it has a zone")
    elif column.kind == "timestamptz" and not getattr(source, "tz", None):
        raise pa.ArrowInvalid("it has no zone")
    else:
        cast = _to(values, target)
    most = column.length or _LONGEST
    sized = target in (pa.string(), pa.binary())
    if sized and (pc.max(pc.binary_length(cast)).as_py() or 0) > most:
        raise pa.ArrowInvalid(f"a value has more than {most:,} bytes")
    if column.kind != "super" and target != source:
        same = pc.equal(_to(cast, source), values)
        if pa.types.is_floating(source):
            same = pc.or_(same, pc.is_nan(values))
        if not pc.all(same).as_py():
            raise pa.ArrowInvalid("it would be rounded or cut")
    return cast


def _to(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Cast; from an integer, Arrow wants a decimal that holds all integers of its width."""
    import pyarrow as pa

    wide = values.cast(pa.decimal256(76, kind.scale)) if pa.types.is_decimal(kind) else values
    return wide.cast(kind)


def _fails(values: pa.ChunkedArray, column: Column) -> bool:
    import pyarrow as pa

    try:
        _exact(values, column)
    except pa.ArrowException:
        return True
    return False


def _size(values: pa.ChunkedArray, room: int) -> int:
    """Return how many bytes a new column takes: a power of two, with room to grow."""
    import pyarrow as pa
    import pyarrow.compute as pc

    longest = 0 if pa.types.is_null(values.type) else pc.max(pc.binary_length(values)).as_py() or 0
    return min(max(256, 1 << (longest * room - 1).bit_length()), _LONGEST)


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, default=str)


def refusal(reason: str, query: str, position: int | None) -> BatcatError:
    """Return the error for what Redshift refuses, with the place in the query that it names."""
    if "permission denied" in reason:
        return AccessDeniedError(
            f"Redshift denied access: {reason}.", fix="Ask the owner for a GRANT on it."
        )
    if position is None:
        return query_error("Redshift", reason)
    line, column = line_and_column(query, position)
    return query_error("Redshift", reason, query, line=line, column=column)
