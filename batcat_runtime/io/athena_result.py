"""Athena's own result, which is text: typed by what Athena says that the columns are.

The result file quotes every value and leaves a missing one out, so the empty text and NULL stay
apart. A workgroup that keeps results itself has no file; neither have SHOW and DESCRIBE worth one:
those are paged through the API.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import DataFormatError
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.staging import split_key

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK_BYTES = 4 << 20
_PAGE_ROWS = 1000


@dataclass(frozen=True)
class Column:
    """A column of a result, as Athena names its type."""

    name: str
    kind: str
    precision: int = 0
    scale: int = 0


def result_tables(athena: Any, s3: Any, execution: dict[str, Any]) -> Iterator[pa.Table]:
    """Give the result of a query that ran, piece by piece; at least one piece.

    Parameters
    ----------
    athena, s3 : botocore clients
    execution : dict
        Athena's ``QueryExecution``.
    """
    number = str(execution["QueryExecutionId"])
    place = str(execution.get("ResultConfiguration", {}).get("OutputLocation", ""))
    first = _page(athena, number, MaxResults=1)
    columns = _columns(first)
    if place.endswith(".csv") and execution.get("StatementType", "DML") == "DML":
        yield from _file_tables(s3, place, columns)
    else:
        has_header = bool(columns) and _values(first)[:1] == [[one.name for one in columns]]
        yield from _paged_tables(athena, number, columns, has_header)


def own_objects(execution: dict[str, Any]) -> list[str]:
    """Return the ``s3://`` addresses of what Athena itself wrote for a query."""
    place = str(execution.get("ResultConfiguration", {}).get("OutputLocation", ""))
    manifest = execution.get("Statistics", {}).get("DataManifestLocation")
    return ([place, f"{place}.metadata"] if place else []) + ([str(manifest)] if manifest else [])


def _page(athena: Any, number: str, **options: Any) -> dict[str, Any]:
    with translated("Athena", "athena:GetQueryResults"):
        answer: dict[str, Any] = athena.get_query_results(QueryExecutionId=number, **options)
    return answer


def _columns(page: dict[str, Any]) -> list[Column]:
    described = page["ResultSet"].get("ResultSetMetadata", {}).get("ColumnInfo", [])
    return [
        Column(
            str(one["Name"]),
            str(one["Type"]).lower(),
            int(one.get("Precision", 0)),
            int(one.get("Scale", 0)),
        )
        for one in described
    ]


def _values(page: dict[str, Any]) -> list[list[str | None]]:
    return [
        [one.get("VarCharValue") for one in row.get("Data", [])]
        for row in page["ResultSet"].get("Rows", [])
    ]


def _paged_tables(
    athena: Any, number: str, columns: Sequence[Column], has_header: bool
) -> Iterator[pa.Table]:
    import pyarrow as pa

    token: dict[str, str] = {}
    while True:
        page = _page(athena, number, MaxResults=_PAGE_ROWS, **token)
        rows = _values(page)[1 if has_header and not token else 0 :]
        texts = [
            pa.array([row[place] if place < len(row) else None for row in rows], pa.string())
            for place in range(len(columns))
        ]
        yield _typed(columns, texts)
        if "NextToken" not in page:
            return
        token = {"NextToken": page["NextToken"]}


def _file_tables(s3: Any, place: str, columns: Sequence[Column]) -> Iterator[pa.Table]:
    import pyarrow as pa
    from pyarrow import csv

    bucket, key = split_key(place)
    names = [str(number) for number in range(len(columns))]
    with translated(place, "s3:GetObject"):
        body = s3.get_object(Bucket=bucket, Key=key)["Body"]
        try:
            reader = csv.open_csv(
                pa.PythonFile(body, mode="r"),
                read_options=csv.ReadOptions(
                    column_names=names, skip_rows=1, block_size=_BLOCK_BYTES
                ),
                parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
                convert_options=csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()),
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
        except pa.ArrowInvalid as error:
            if "Empty CSV" not in str(error):
                raise _broken(place, error) from error
            reader = iter(())
        found = False
        try:
            for batch in reader:
                found = True
                yield _typed(columns, batch.columns)
        except pa.ArrowInvalid as error:
            raise _broken(place, error) from error
    if not found:
        yield _typed(columns, [pa.array([], pa.string()) for _ in columns])


def _broken(place: str, error: Exception) -> DataFormatError:
    return DataFormatError(
        f"Athena's result {place} cannot be read: {error}.", fix="Run the query again."
    )


def _typed(columns: Sequence[Column], texts: Sequence[pa.Array]) -> pa.Table:
    import pyarrow as pa

    arrays = []
    for column, array in zip(columns, texts, strict=True):
        try:
            arrays.append(_array(column, array))
        except (pa.ArrowException, ValueError) as error:
            raise DataFormatError(
                f"The column {column.name!r} holds a {column.kind} that pandas cannot hold: "
                f"{error}.",
                fix=f'Cast it in the query: CAST("{column.name}" AS varchar).',
            ) from error
    fields = [
        pa.field(column.name, array.type) for column, array in zip(columns, arrays, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _array(column: Column, texts: pa.Array) -> pa.Array:
    """Return texts as values of Athena's type.

    Nested values stay text: Athena writes ``[a, b]`` without quotes, which nobody can read back.
    """
    import pyarrow as pa

    known = {
        "boolean": pa.bool_(),
        "tinyint": pa.int8(),
        "smallint": pa.int16(),
        "int": pa.int32(),
        "integer": pa.int32(),
        "bigint": pa.int64(),
        "float": pa.float32(),
        "real": pa.float32(),
        "double": pa.float64(),
        "date": pa.date32(),
    }
    if column.kind in known:
        return texts.cast(known[column.kind])
    if column.kind == "decimal":
        return texts.cast(pa.decimal128(column.precision or 38, column.scale))
    if column.kind == "time":  # Arrow has no such cast
        times = [
            None if text is None else dt.time.fromisoformat(text) for text in texts.to_pylist()
        ]
        return pa.array(times, pa.time64("us"))
    if column.kind == "timestamp":
        return _timestamps(texts)
    if column.kind == "timestamp with time zone":
        return _instants(texts)
    if column.kind == "varbinary":
        values = [None if text is None else bytes.fromhex(text) for text in texts.to_pylist()]
        return pa.array(values, pa.binary())
    if column.kind == "unknown" and texts.null_count == len(texts):
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

    split = pc.extract_regex(texts, r"(?P<local>^\S+ \S+) (?P<zone>\S+)$")
    local, zones = _timestamps(split.field("local")), split.field("zone")
    result = pa.nulls(len(texts), pa.timestamp("us", "UTC"))
    for zone in zones.unique().drop_null().to_pylist():
        if zone[0] in "+-":
            hours, minutes = int(zone[1:3]), int(zone[-2:])
            offset = dt.timedelta(hours=hours, minutes=minutes) * (-1 if zone[0] == "-" else 1)
            moved = pc.subtract(local, pa.scalar(offset, pa.duration("us")))
            moments = pc.assume_timezone(moved, "UTC")
        else:
            moments = pc.assume_timezone(local, zone, ambiguous="earliest", nonexistent="latest")
        moments = moments.cast(pa.timestamp("us", "UTC"))
        result = pc.if_else(pc.equal(zones, zone).fill_null(False), moments, result)
    return result
