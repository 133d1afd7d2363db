"""What the values of a CSV column are, decided on all of them, and the same for many pieces of it.

Arrow infers a type from all values of one table. Two things are decided differently here: integers
that int64 cannot hold become uint64 or stay text (Arrow makes floats of them and rounds), and
timestamps are in microseconds unless they are finer.

A table may come in pieces: many files, or chunks of one. Each piece has kinds of its own; `joined`
says what they are together, by the same rules as if they had stood in one file. A kind only ever
widens: nothing, integer, float; date, timestamp; and text is what everything can be.
"""

from __future__ import annotations

import enum
import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batcat_runtime.errors import DataFormatError

if TYPE_CHECKING:
    import pyarrow as pa

    # reads some columns of the same text once more, as the given types
    Again = Callable[[Mapping[str, pa.DataType]], pa.Table]


class Kind(enum.Enum):
    """What all values of a column are."""

    NOTHING = "missing"
    INTEGER = "integers"
    BIG = "integers, some beyond int64"
    FLOAT = "floats"
    BOOLEAN = "booleans"
    DATE = "dates"
    TIMESTAMP = "timestamps"
    ZONED = "timestamps with a zone"
    TIME = "times of day"
    TEXT = "text"


_WIDER = {
    frozenset({Kind.INTEGER, Kind.BIG}): Kind.BIG,
    frozenset({Kind.INTEGER, Kind.FLOAT}): Kind.FLOAT,
    frozenset({Kind.BIG, Kind.FLOAT}): Kind.FLOAT,
    frozenset({Kind.DATE, Kind.TIMESTAMP}): Kind.TIMESTAMP,
}
# the smallest float that an integer which is too large for int64 can become
_BEYOND_INT64 = 2.0**63
_INTEGERS = r"^[ \t]*[+-]?[0-9]+[ \t]*$"
# Arrow's inference wants one fineness in a column, and no fractions before 1678 or after 2261
_TIMESTAMP = re.compile(
    r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?)?"
)
_TIME = re.compile(r"\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?")


@dataclass(frozen=True)
class Piece:
    """A table, or a piece of one, and what its inferred columns are.

    Attributes
    ----------
    table : pyarrow.Table
        The values.
    kinds : mapping from column to Kind
        Of every column that was inferred, and of no other.
    """

    table: pa.Table
    kinds: Mapping[str, Kind]


def settled(table: pa.Table, given: Iterable[str], again: Again, uri: str) -> Piece:
    """Decide the kinds of a table that Arrow has inferred.

    Parameters
    ----------
    table : pyarrow.Table
        As `pyarrow.csv` inferred it.
    given : iterable of str
        Columns whose type was given: they stay as they are.
    again : callable
        Reads columns once more.
    uri : str
        Where, for the error.

    Raises
    ------
    DataFormatError
        A column is no UTF-8.
    """
    import pyarrow as pa

    fixed = set(given)
    inferred = [name for name in table.column_names if name not in fixed]
    broken = [name for name in inferred if pa.types.is_binary(table[name].type)]
    if broken:
        raise DataFormatError(
            f"{uri} cannot be read as CSV: column {broken[0]!r} is not in UTF-8.",
            fix="Give its `encoding`, for example 'gb18030' or 'latin-1'.",
        )
    kinds = {}
    rounded = [name for name in inferred if _may_be_rounded(table[name])]
    if rounded:
        exact = again(dict.fromkeys(rounded, pa.string()))
        for name in rounded:
            if _all_integers(exact[name]):
                table = _replaced(table, name, _unsigned(exact[name]))
                kinds[name] = Kind.BIG
    for name in inferred:
        if name not in kinds:
            column = _exact_time(table[name])
            table = _replaced(table, name, column)
            kinds[name] = _kind_of(column.type)
    return Piece(table, kinds)


def joined(pieces: Iterable[Mapping[str, Kind]]) -> dict[str, Kind]:
    """Return what columns are that come in pieces.

    Parameters
    ----------
    pieces : iterable of mappings from column to Kind
        All with the same columns.
    """
    result: dict[str, Kind] = {}
    for piece in pieces:
        for name, kind in piece.items():
            result[name] = wider(result.get(name, kind), kind)
    return result


def wider(one: Kind, other: Kind) -> Kind:
    """Return the kind that holds the values of both."""
    if one is other or other is Kind.NOTHING:
        return one
    if one is Kind.NOTHING:
        return other
    return _WIDER.get(frozenset({one, other}), Kind.TEXT)


def widened(piece: Piece, kinds: Mapping[str, Kind], again: Again) -> Piece:
    """Return a piece whose columns are of wider kinds; what becomes text is read again.

    Parameters
    ----------
    piece : Piece
        What there is.
    kinds : mapping from column to Kind
        What is wanted, at least as wide as the piece's own.
    again : callable
        Reads columns of this piece once more.
    """
    import pyarrow as pa

    changed = {name: kind for name, kind in kinds.items() if kind is not piece.kinds[name]}
    types = {
        name: pa.float64() if kind is Kind.FLOAT else pa.string()
        for name, kind in changed.items()
        if piece.kinds[name] is not Kind.NOTHING
        and (kind in (Kind.TEXT, Kind.BIG) or piece.kinds[name] is Kind.BIG)
    }
    reread = again(types) if types else piece.table
    table = piece.table
    for name, kind in changed.items():
        column = reread[name] if name in types else table[name].cast(_arrow_type(kind), safe=False)
        table = _replaced(table, name, _unsigned(column) if kind is Kind.BIG else column)
    return Piece(table, dict(kinds))


def together(pieces: list[Piece]) -> pa.Table:
    """Return pieces of the same kinds as one table; only the fineness of types may differ."""
    import pyarrow as pa

    tables = [piece.table for piece in pieces]
    for name in pieces[0].table.column_names if pieces else ():
        types = {table[name].type for table in tables}
        if len(types) > 1:
            common = functools.reduce(_finer, types)
            tables = [_replaced(table, name, table[name].cast(common)) for table in tables]
    return pa.concat_tables(tables)


def _finer(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    if pa.types.is_timestamp(one) and pa.types.is_timestamp(other):
        return one if one.unit == "ns" else other
    if pa.types.is_time(one) and pa.types.is_time(other):
        return pa.time64("us")
    return pa.string()


def _may_be_rounded(column: pa.ChunkedArray) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_float64(column.type):
        return False
    bounds = pc.min_max(column).as_py()
    ends = [bound for bound in (bounds["min"], bounds["max"]) if bound is not None]
    if not any(_BEYOND_INT64 <= abs(bound) < math.inf for bound in ends):
        return False
    # one value with a fraction, and the column is of floats anyway
    return pc.all(pc.equal(column, pc.trunc(column))).as_py() is not False


def _all_integers(text: pa.ChunkedArray) -> bool:
    import pyarrow.compute as pc

    return pc.all(pc.match_substring_regex(text, _INTEGERS)).as_py() is not False


def _unsigned(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return integers as uint64 if all fit, else as the text that they were."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        return pc.ascii_trim_whitespace(text).cast(pa.uint64())
    except pa.ArrowInvalid:
        return text


def _exact_time(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return timestamps in microseconds, and times that Arrow leaves as text, else the column."""
    import pyarrow as pa

    kind = column.type
    try:
        if pa.types.is_timestamp(kind):
            return column.cast(pa.timestamp("us", kind.tz))
        if pa.types.is_string(kind):
            return _late_time(column)
    except pa.ArrowInvalid:
        pass  # finer than a microsecond, or text indeed
    return column


def _late_time(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Parse text whose first value looks like a time; the rest decides."""
    import pyarrow as pa
    import pyarrow.compute as pc

    sample = _first_value(text)
    if found := _TIMESTAMP.fullmatch(sample):
        return text.cast(pa.timestamp("us", "UTC" if found["zone"] else None))
    if _TIME.fullmatch(sample):
        if not pc.all(pc.match_substring_regex(text, f"^{_TIME.pattern}$")).as_py():
            return text
        # there is no way from text to a time of day but through a day
        day = pc.binary_join_element_wise(pa.scalar("1970-01-01"), text, pa.scalar(" "))
        return day.cast(pa.timestamp("us")).cast(pa.time64("us"))
    return text


def _first_value(column: pa.ChunkedArray) -> str:
    for chunk in column.chunks:
        if chunk.null_count < len(chunk):
            values = chunk if not chunk.null_count else chunk.drop_null()
            return str(values[0].as_py())
    return ""


@functools.cache
def _kind_of(kind: pa.DataType) -> Kind:
    import pyarrow as pa

    if pa.types.is_timestamp(kind):
        return Kind.ZONED if kind.tz else Kind.TIMESTAMP
    if pa.types.is_time(kind):
        return Kind.TIME
    return {
        pa.null(): Kind.NOTHING,
        pa.int64(): Kind.INTEGER,
        pa.uint64(): Kind.BIG,
        pa.float64(): Kind.FLOAT,
        pa.bool_(): Kind.BOOLEAN,
        pa.date32(): Kind.DATE,
    }.get(kind, Kind.TEXT)


def _arrow_type(kind: Kind) -> pa.DataType:
    import pyarrow as pa

    return {
        Kind.NOTHING: pa.null(),
        Kind.INTEGER: pa.int64(),
        Kind.BIG: pa.uint64(),
        Kind.FLOAT: pa.float64(),
        Kind.BOOLEAN: pa.bool_(),
        Kind.DATE: pa.date32(),
        Kind.TIMESTAMP: pa.timestamp("us"),
        Kind.ZONED: pa.timestamp("us", "UTC"),
        Kind.TIME: pa.time32("s"),
        Kind.TEXT: pa.string(),
    }[kind]


def _replaced(table: pa.Table, name: str, column: pa.ChunkedArray) -> pa.Table:
    if table[name].type == column.type:
        return table
    return table.set_column(table.column_names.index(name), name, column)
