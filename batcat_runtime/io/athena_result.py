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
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import DataFormatError
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.places import Place, place_of
from batcat_runtime.io.ranged import RangedFile

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK_BYTES = 4 << 20
_PAGE_ROWS = 1000
# as Athena and Arrow name them
_TYPES = {"boolean": "bool", "float": "float32", "real": "float32", "double": "float64"}
_TYPES |= {"tinyint": "int8", "smallint": "int16", "int": "int32", "integer": "int32"}
_TYPES |= {"bigint": "int64", "date": "date32", "timestamp": "timestamp[us]"}
# of these Arrow has no cast
_PARSED: dict[str, tuple[Callable[[str], Any], str]] = {
    "time": (dt.time.fromisoformat, "time64[us]"),
    "varbinary": (bytes.fromhex, "binary"),
}


def result_tables(
    session: Any, execution: dict[str, Any], *, unloaded: bool = False
) -> Generator[pa.Table]:
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
    import pyarrow as pa

    place = str(execution.get("ResultConfiguration", {}).get("OutputLocation", ""))
    is_data = execution.get("StatementType", "DML") == "DML"
    is_file = is_data and place.endswith(".csv")
    number = str(execution["QueryExecutionId"])
    pages = _pages(session.client("athena"), number, 1 if is_file else _PAGE_ROWS)
    first = next(pages)
    columns = first.get("ResultSetMetadata", {}).get("ColumnInfo", [])
    names = [column["Name"] for column in columns]
    if is_file:
        found = _from_file(session.client("s3"), place_of(place), len(columns))
    else:
        found = _from_pages(itertools.chain([first], pages), names, is_data)
    for texts in found:
        arrays = [_typed(*given, unloaded) for given in zip(columns, texts, strict=True)]
        yield pa.Table.from_arrays(arrays, names)


def _pages(athena: Any, number: str, rows: int) -> Iterator[dict[str, Any]]:
    with translated("Athena", "athena:GetQueryResults"):
        pages = athena.get_paginator("get_query_results").paginate(
            QueryExecutionId=number, PaginationConfig={"PageSize": rows}
        )
        for page in pages:
            yield page["ResultSet"]


def _from_pages(
    pages: Iterable[dict[str, Any]], names: list[str], has_header: bool
) -> Iterator[list[pa.Array]]:
    import pyarrow as pa

    for page in pages:
        rows = [
            [cell.get("VarCharValue") for cell in row.get("Data", [])]
            for row in page.get("Rows", [])
        ]
        if has_header and rows[:1] == [names]:
            del rows[0]
        has_header = False  # only the first page has one
        # a row may lack its last cells
        columns = itertools.zip_longest(names, *rows)
        yield [pa.array(texts, pa.string()) for _, *texts in columns]


def _from_file(s3: Any, place: Place, columns: int) -> Iterator[list[pa.Array]]:
    import pyarrow as pa
    from pyarrow import csv

    names = [str(column) for column in range(columns)]
    yield [pa.array([], pa.string())] * columns  # there may be no rows
    with RangedFile(s3, place) as file:
        if not file.size:
            return
        try:
            yield from (
                batch.columns
                for batch in csv.open_csv(
                    pa.PythonFile(file, mode="r"),
                    csv.ReadOptions(
                        column_names=names, skip_rows_after_names=1, block_size=_BLOCK_BYTES
                    ),
                    csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
                    csv.ConvertOptions(
                        column_types=dict.fromkeys(names, pa.string()),
                        null_values=[""],
                        strings_can_be_null=True,
                        quoted_strings_can_be_null=False,
                    ),
                )
            )
        except pa.ArrowInvalid as error:
            raise DataFormatError(
                f"Athena's result {place.uri} cannot be read: {error}.", fix="Run the query again."
            ) from error


def _typed(column: dict[str, Any], texts: pa.Array, unloaded: bool) -> pa.Array:
    """Return texts as values of Athena's type.

    Nested values stay text: Athena writes ``[a, b]`` without quotes, which nobody can read back.
    """
    import pyarrow as pa

    kind = column["Type"].lower()
    try:
        if kind in _TYPES:
            return texts.cast(pa.type_for_alias(_TYPES[kind]))
        if kind == "decimal":
            return texts.cast(pa.decimal128(column.get("Precision") or 38, column.get("Scale", 0)))
        if kind == "timestamp with time zone":
            return _instants(texts)
        if kind in _PARSED:
            parse, arrow = _PARSED[kind]
            values = [None if text is None else parse(text) for text in texts.to_pylist()]
            return pa.array(values, arrow)
    except (pa.ArrowException, ValueError) as error:
        raise DataFormatError(
            f"The column {column['Name']!r} holds a {kind} that pandas cannot hold: {error}.",
            fix=f'Cast it in the query: CAST("{column["Name"]}" AS varchar).',
        ) from error
    if unloaded and kind in ("array", "map", "row"):
        return pa.array([], pa.list_(pa.null()))
    return pa.nulls(len(texts)) if kind == "unknown" else texts


def _instants(texts: pa.Array) -> pa.Array:
    """Return texts such as ``2022-01-01 08:00:00.000 Asia/Shanghai`` as instants in UTC."""
    import pyarrow as pa
    import pyarrow.compute as pc

    # struct_field, unlike the method field, leaves a gap what it is
    parts = pc.extract_regex(texts, r"^(?P<local>\S+ [\d:.]+) ?(?P<zone>\S+)$")
    local, zones = (pc.struct_field(parts, name) for name in ("local", "zone"))
    if parts.null_count > texts.null_count:
        raise ValueError("not every value has a zone")
    local, moments = local.cast(pa.timestamp("us")), pa.nulls(len(texts), pa.timestamp("us", "UTC"))
    for zone in zones.unique().drop_null().to_pylist():
        there = pc.assume_timezone(local, zone, ambiguous="earliest", nonexistent="latest")
        moments = pc.if_else(pc.equal(zones, zone), there.cast(moments.type), moments)
    return moments
