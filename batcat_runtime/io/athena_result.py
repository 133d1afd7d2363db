"""Athena's own result, which is text: typed by what Athena says that the columns are.

The result file quotes every value and leaves a missing one out, so the empty text and NULL stay
apart: that is why pyarrow reads it, not awswrangler, which takes ``''`` and ``'NaN'`` for missing,
and ``X'01ff'`` for ``b'01 ff'`` (`test_what_athena_prints_has_its_type`). A workgroup that
keeps results itself has no file; neither have SHOW and DESCRIBE worth one: those are paged through
the API.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import DataFormatError
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.places import Place
from batcat_runtime.io.ranged import RangedFile
from batcat_runtime.io.staging import split_key

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK_BYTES = 4 << 20
_PAGE_ROWS = 1000
# as Athena and Arrow name them
_TYPES = {
    "boolean": "bool",
    "tinyint": "int8",
    "smallint": "int16",
    "int": "int32",
    "integer": "int32",
    "bigint": "int64",
    "float": "float32",
    "real": "float32",
    "double": "float64",
    "date": "date32",
}
# of these Arrow has no cast
_PARSED: dict[str, tuple[Callable[[str], Any], str]] = {
    "time": (dt.time.fromisoformat, "time64[us]"),
    "varbinary": (bytes.fromhex, "binary"),
}


def result_tables(
    session: Any, execution: dict[str, Any], *, unloaded: bool = False
) -> Iterator[pa.Table]:
    """Give the result of a query that ran, piece by piece; at least one piece.

    Parameters
    ----------
    session : object
        Of `clients.aws_session`.
    execution : dict
        Athena's ``QueryExecution``.
    unloaded : bool
        Whether it stands for an UNLOAD without rows, whose nested columns are no text.
    """
    place = str(execution.get("ResultConfiguration", {}).get("OutputLocation", ""))
    is_data = execution.get("StatementType", "DML") == "DML"
    is_file = is_data and place.endswith(".csv")
    number = str(execution["QueryExecutionId"])
    pages = _pages(session.client("athena"), number, 1 if is_file else _PAGE_ROWS)
    first = next(pages)
    columns = first.get("ResultSetMetadata", {}).get("ColumnInfo", [])
    if is_file:
        found = _from_file(session.client("s3"), Place(*split_key(place)), len(columns))
    else:
        header = [column["Name"] for column in columns] if is_data else None
        found = _from_pages(itertools.chain([first], pages), len(columns), header)
    for texts in found:
        yield _typed(columns, texts, unloaded)


def _pages(athena: Any, number: str, rows: int) -> Iterator[dict[str, Any]]:
    with translated("Athena", "athena:GetQueryResults"):
        pages = athena.get_paginator("get_query_results").paginate(
            QueryExecutionId=number, PaginationConfig={"PageSize": rows}
        )
        for page in pages:
            yield page["ResultSet"]


def _from_pages(
    pages: Iterable[dict[str, Any]], columns: int, header: list[str] | None
) -> Iterator[list[pa.Array]]:
    import pyarrow as pa

    for page in pages:
        rows = [
            [cell.get("VarCharValue") for cell in row.get("Data", [])]
            for row in page.get("Rows", [])
        ]
        if header is not None and rows[:1] == [header]:
            del rows[0]
        header = None  # only the first page has one
        padding = [None] * columns
        yield [
            pa.array([(row + padding)[column] for row in rows], pa.string())
            for column in range(columns)
        ]


def _from_file(s3: Any, place: Place, columns: int) -> Iterator[list[pa.Array]]:
    import pyarrow as pa
    from pyarrow import csv

    names = [str(column) for column in range(columns)]
    with RangedFile(s3, place) as file:
        if not file.size:
            yield [pa.array([], pa.string())] * columns
            return
        try:
            reader = csv.open_csv(
                pa.PythonFile(file, mode="r"),
                csv.ReadOptions(column_names=names, block_size=_BLOCK_BYTES),
                csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
                csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()),
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
            header = 1
            for batch in reader:
                yield batch.slice(header).columns
                header = 0
        except pa.ArrowInvalid as error:
            raise DataFormatError(
                f"Athena's result {place.uri} cannot be read: {error}.", fix="Run the query again."
            ) from error


def _typed(columns: list[dict[str, Any]], texts: list[pa.Array], unloaded: bool) -> pa.Table:
    import pyarrow as pa

    arrays = []
    for column, array in zip(columns, texts, strict=True):
        kind = column["Type"].lower()
        if unloaded and kind in ("array", "map", "row"):
            array = pa.array([], pa.list_(pa.null()))
        try:
            arrays.append(_array(array, kind, column))
        except (pa.ArrowException, ValueError) as error:
            raise DataFormatError(
                f"The column {column['Name']!r} holds a {kind} that pandas cannot hold: {error}.",
                fix=f'Cast it in the query: CAST("{column["Name"]}" AS varchar).',
            ) from error
    return pa.Table.from_arrays(arrays, [column["Name"] for column in columns])


def _array(texts: pa.Array, kind: str, column: dict[str, Any]) -> pa.Array:
    """Return texts as values of Athena's type.

    Nested values stay text: Athena writes ``[a, b]`` without quotes, which nobody can read back.
    """
    import pyarrow as pa

    if kind in _TYPES:
        return texts.cast(_TYPES[kind])
    if kind == "decimal":
        return texts.cast(pa.decimal128(column.get("Precision") or 38, column.get("Scale", 0)))
    if kind == "timestamp":
        return _timestamps(texts)
    if kind == "timestamp with time zone":
        return _instants(texts)
    if kind in _PARSED:
        parse, arrow = _PARSED[kind]
        return pa.array(
            [None if text is None else parse(text) for text in texts.to_pylist()], arrow
        )
    if kind == "unknown" and texts.null_count == len(texts):
        return pa.nulls(len(texts))
    return texts


def _timestamps(texts: pa.Array) -> pa.Array:
    import pyarrow as pa

    try:
        return texts.cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        return texts.cast(pa.timestamp("ns"))


def _instants(texts: pa.Array) -> pa.Array:
    """Return texts such as ``2022-01-01 08:00:00.000 Asia/Shanghai`` as instants in UTC."""
    import pyarrow as pa
    import pyarrow.compute as pc

    # struct_field, unlike the method field, leaves a gap what it is
    parts = pc.extract_regex(texts, r"^(?P<local>\S+ [\d:.]+) ?(?P<zone>\S+)$")
    local, zones = _timestamps(pc.struct_field(parts, "local")), pc.struct_field(parts, "zone")
    if parts.null_count > texts.null_count:
        raise ValueError("not every value has a zone")
    moments = pa.nulls(len(texts), pa.timestamp(local.type.unit, "UTC"))
    for zone in zones.unique().drop_null().to_pylist():
        there = pc.assume_timezone(local, zone, ambiguous="earliest", nonexistent="latest")
        moments = pc.if_else(pc.equal(zones, zone), there.cast(moments.type), moments)
    return moments
