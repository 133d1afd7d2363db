"""Results of the Data API: columns as `ColumnMetadata`, values as `Field`s or CSV, in pages.

A result is kept as the Arrow table that DuckDB gave. Values become text as Redshift writes it when
they are asked for, a page at a time.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ..wire import ServiceError
from .redshift_outcome import ResultColumn
from .redshift_types import MAX_VARCHAR

if TYPE_CHECKING:
    import pyarrow as pa

# The Data API's limits, as its guide and its troubleshooting page state them.
MAX_RESULT_BYTES = 500 * 1024 * 1024
MAX_ROW_BYTES = 64 * 1024
_PAGE_BYTES = 1024 * 1024
_CHUNK_ROWS = 1000
_INTEGERS = ("int2", "int4", "int8", "oid")
_FLOATS = ("float4", "float8")


@dataclass(frozen=True)
class Result:
    """A result set that can be read in pages.

    Attributes
    ----------
    size : int
        Bytes of its values as text.
    """

    columns: list[ResultColumn]
    table: pa.Table
    size: int

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return int(self.table.num_rows)


class ResultLimitError(Exception):
    """A result is larger than the Data API carries; the text is the API's."""


def measured(columns: list[ResultColumn], table: pa.Table, limit: int = MAX_RESULT_BYTES) -> Result:
    """Return a result with its size.

    Parameters
    ----------
    columns : list of ResultColumn
        What its columns are.
    table : pyarrow.Table
        Its rows.
    limit : int, default 500 MB
        How many bytes a result may have.

    Raises
    ------
    ResultLimitError
        When it, or one of its rows, is too large.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    size = 0
    widths: Any = None
    for column in table.columns:
        kind = column.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
            lengths = pc.fill_null(pc.binary_length(column), 0).cast(pa.int64())
            size += int(pc.sum(lengths).as_py() or 0)
            widths = lengths if widths is None else pc.add(widths, lengths)
        else:
            size += int(column.nbytes)
    if size > limit:
        raise ResultLimitError(
            f"Database response exceeded size limit. The result has {size} bytes, and the "
            f"limit is {limit // 1024**2} MB."
        )
    if widths is not None and table.num_rows and int(pc.max(widths).as_py()) > MAX_ROW_BYTES:
        raise ResultLimitError(
            "Packet for query is too large: a row of the result exceeds the limit of 64 KB."
        )
    return Result(columns, table, size)


def metadata(column: ResultColumn) -> dict[str, Any]:
    """Return a column's `ColumnMetadata`."""
    kind = column.type
    text = kind.is_text or kind.name in ("name", "super")
    precision, scale = _PRECISIONS.get(kind.name, (0, 0))
    length = 0
    if kind.name == "numeric":
        precision, scale = kind.precision or 0, kind.scale or 0
    elif kind.is_text:
        length = kind.length or MAX_VARCHAR
        precision = length
    elif kind.length:
        length = precision = kind.length
    nullable = {True: 1, False: 0, None: 1}[column.nullable]
    return {
        "isCaseSensitive": text,
        "isCurrency": False,
        "isSigned": kind.name in (*_INTEGERS, *_FLOATS, "numeric"),
        "label": column.name,
        "length": length,
        "name": column.name,
        "nullable": nullable,
        "precision": precision,
        "scale": scale,
        "schemaName": column.schema,
        "tableName": column.table,
        "typeName": kind.name,
    }


def json_page(identifier: str, result: Result, token: str | None) -> dict[str, Any]:
    """Return a page for GetStatementResult."""
    start = _start(identifier, token)
    records: list[list[dict[str, Any]]] = []
    used = 0
    for row in _rows(result, start, _fields):
        records.append(row)
        used += 32 * len(row) + sum(len(str(next(iter(one.values())))) for one in row)
        if used > _PAGE_BYTES:
            break
    return _page(identifier, result, start + len(records), {"Records": records})


def csv_page(identifier: str, result: Result, token: str | None) -> dict[str, Any]:
    """Return a page for GetStatementResultV2; the first one begins with the names."""
    start = _start(identifier, token)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    if start == 0:
        writer.writerow([one.name for one in result.columns])
    count = 0
    for row in _rows(result, start, _texts):
        writer.writerow(row)
        count += 1
        if out.tell() > _PAGE_BYTES:
            break
    page = {"Records": [{"CSVRecords": out.getvalue()}], "ResultFormat": "CSV"}
    return _page(identifier, result, start + count, page)


def _page(identifier: str, result: Result, end: int, page: dict[str, Any]) -> dict[str, Any]:
    page["ColumnMetadata"] = [metadata(one) for one in result.columns]
    page["TotalNumRows"] = result.rows
    if end < result.rows:
        page["NextToken"] = base64.urlsafe_b64encode(f"{identifier}/{end}".encode()).decode()
    return page


def _start(identifier: str, token: str | None) -> int:
    if not token:
        return 0
    try:
        owner, _, start = base64.urlsafe_b64decode(token.encode()).decode().rpartition("/")
    except (binascii.Error, UnicodeDecodeError):
        owner, start = "", ""
    if owner != identifier or not start.isdigit():
        raise ServiceError("ValidationException", "NextToken is invalid.")
    return int(start)


def _rows(
    result: Result, start: int, convert: Callable[[list[ResultColumn], list[Any]], list[Any]]
) -> Iterator[Any]:
    """Yield rows from `start` on, some columns' worth of values at a time."""
    for at in range(start, result.rows, _CHUNK_ROWS):
        chunk = result.table.slice(at, _CHUNK_ROWS)
        values = [column.to_pylist() for column in chunk.columns]
        for row in zip(*values, strict=True):
            yield convert(result.columns, list(row))


def _fields(columns: list[ResultColumn], row: list[Any]) -> list[dict[str, Any]]:
    return [field_of(column, value) for column, value in zip(columns, row, strict=True)]


def _texts(columns: list[ResultColumn], row: list[Any]) -> list[str]:
    return [
        "" if value is None else text_of(column, value)
        for column, value in zip(columns, row, strict=True)
    ]


def field_of(column: ResultColumn, value: Any) -> dict[str, Any]:
    """Return a value as the Data API's `Field`.

    Parameters
    ----------
    column : ResultColumn
        Whose value.
    value : Any
        As Arrow gives it to Python.
    """
    kind = column.type.name
    if value is None:
        return {"isNull": True}
    if kind == "bool":
        return {"booleanValue": bool(value)}
    if kind in _INTEGERS:
        return {"longValue": int(value)}
    if kind in _FLOATS and math.isfinite(value):
        return {"doubleValue": _short(value) if kind == "float4" else float(value)}
    if kind == "varbyte":
        return {"blobValue": bytes(value)}
    return {"stringValue": text_of(column, value)}


def text_of(column: ResultColumn, value: Any) -> str:
    """Return a value as Redshift writes it."""
    kind = column.type.name
    if isinstance(value, bool):
        return "t" if value else "f"
    if kind == "bpchar" and isinstance(value, str):
        return value.ljust(column.type.length or 0)
    if kind == "float4":
        return str(_short(value))
    if isinstance(value, float):
        return {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}.get(str(value), repr(value))
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        zone = "+00" if value.tzinfo is not None else ""
        return value.strftime("%Y-%m-%d %H:%M:%S") + _fraction(value.microsecond) + zone
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, time):
        return value.strftime("%H:%M:%S") + _fraction(value.microsecond)
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | dict):
        return json.dumps(value, default=str, separators=(",", ":"), ensure_ascii=False)
    return str(value)


def _fraction(microseconds: int) -> str:
    return f".{microseconds:06d}".rstrip("0") if microseconds else ""


def _short(value: float) -> float:
    """Return the shortest decimal that is the same single-precision number."""
    if not math.isfinite(value):
        return value
    import numpy as np

    return float(str(np.float32(value)))


_PRECISIONS = {
    "int2": (5, 0),
    "int4": (10, 0),
    "int8": (19, 0),
    "oid": (10, 0),
    "float4": (8, 8),
    "float8": (17, 17),
    "bool": (1, 0),
    "date": (13, 0),
    "timestamp": (29, 6),
    "timestamptz": (35, 6),
    "time": (15, 6),
    "timetz": (21, 6),
}
