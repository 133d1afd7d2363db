"""A DataFrame's columns as Redshift's: how each is staged in Parquet, and what it becomes.

COPY reads Parquet strictly: the file's types must be those of the table. What it is not documented
to read is staged as text: times and nested values. Instants are staged in UTC without their zone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batcat_runtime.errors import DataFormatError, UserError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

LONGEST_NAME = 127
_LONGEST_TEXT = 65_535


@dataclass(frozen=True)
class Target:
    """A column on its way: how it is staged, and what becomes of it in the table."""

    name: str
    staged: str
    final: str
    value: str


def prepared(df: pd.DataFrame | pa.Table) -> tuple[pa.Table, list[Target]]:
    """Return the table as it is staged, and what becomes of each of its columns."""
    import pyarrow as pa

    from batcat_runtime.io.parquet_write import parquet_schema

    if isinstance(df, pa.Table):
        table = df
    else:
        schema = parquet_schema(df, index=False)
        table = pa.Table.from_pandas(df, schema=schema, preserve_index=False)
    if not table.num_columns:
        raise UserError("The table has no columns.", fix="Give at least one.")
    seen: set[str] = set()
    columns, targets = [], []
    for name, column in zip(table.column_names, table.columns, strict=True):
        folded = name.lower()
        if folded in seen or not name or len(name.encode()) > LONGEST_NAME or "\0" in name:
            raise DataFormatError(
                f"The column {name!r} cannot be one of Redshift's: names have 1 to 127 bytes, and "
                "differ in more than upper and lower case.",
                fix="Rename it with df.rename(columns=...).",
            )
        seen.add(folded)
        values, staged, final, template = _column(name, column)
        columns.append(values)
        targets.append(Target(name, staged, final, template.format(quoted(name))))
    return pa.table(columns, names=table.column_names), targets


def quoted(name: str) -> str:
    """Return a name as a quoted one, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'


def _column(name: str, column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, str, str, str]:
    """Return values and type as staged, the table's type, and how one becomes the other."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        return _column(name, column.cast(kind.value_type))
    plain = {
        pa.bool_(): (kind, "BOOLEAN"),
        pa.int8(): (pa.int16(), "SMALLINT"),
        pa.int16(): (kind, "SMALLINT"),
        pa.uint8(): (pa.int16(), "SMALLINT"),
        pa.int32(): (kind, "INTEGER"),
        pa.uint16(): (pa.int32(), "INTEGER"),
        pa.int64(): (kind, "BIGINT"),
        pa.uint32(): (pa.int64(), "BIGINT"),
        pa.uint64(): (pa.decimal128(20, 0), "NUMERIC(20, 0)"),
        pa.float16(): (pa.float32(), "REAL"),
        pa.float32(): (kind, "REAL"),
        pa.float64(): (kind, "DOUBLE PRECISION"),
        pa.date32(): (kind, "DATE"),
        pa.date64(): (pa.date32(), "DATE"),
        pa.null(): (pa.string(), "VARCHAR(256)"),
    }
    try:
        if kind in plain:
            staged, sql = plain[kind]
            return column.cast(staged), sql, sql, "{}"
        if pa.types.is_decimal(kind) and kind.precision <= 38 and 0 <= kind.scale <= 37:
            sql = f"NUMERIC({kind.precision}, {kind.scale})"
            return column.cast(pa.decimal128(kind.precision, kind.scale)), sql, sql, "{}"
        if pa.types.is_timestamp(kind):
            naive = column.cast(pa.timestamp("us", kind.tz)).cast(pa.timestamp("us"))
            if kind.tz:
                return naive, "TIMESTAMP", "TIMESTAMPTZ", "{} AT TIME ZONE 'UTC'"
            return naive, "TIMESTAMP", "TIMESTAMP", "{}"
        if pa.types.is_time(kind):
            texts = column.cast(pa.time64("us")).cast(pa.string())
            return texts, "VARCHAR(15)", "TIME", "{}::time"
        if _is_binary(kind):
            size = _size(name, column.cast(pa.binary()), 1)
            return column.cast(pa.binary()), f"VARBYTE({size})", f"VARBYTE({size})", "{}"
        if pa.types.is_nested(kind):
            texts = _json(column)
            return texts, f"VARCHAR({_size(name, texts, 1)})", "SUPER", "JSON_PARSE({})"
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or "string" in str(kind):
            texts = column.cast(pa.string())
            sql = f"VARCHAR({_size(name, texts, 2)})"
            return texts, sql, sql, "{}"
    except pa.ArrowInvalid as error:
        raise DataFormatError(
            f"The column {name!r} does not fit into Redshift: {error}.",
            fix="Change it with astype, or round it.",
        ) from error
    raise DataFormatError(
        f"The column {name!r} is {kind}, for which Redshift has no type.",
        fix="Change it with astype, for example to str.",
    )


def _is_binary(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def _size(name: str, values: pa.ChunkedArray, room: int) -> int:
    """Return how long a VARCHAR must be: a power of two, with room to grow, in bytes."""
    import pyarrow.compute as pc

    longest = pc.max(pc.binary_length(values)).as_py() or 0
    if longest > _LONGEST_TEXT:
        raise DataFormatError(
            f"The column {name!r} holds a value of {longest:,} bytes; Redshift takes "
            f"{_LONGEST_TEXT:,}.",
            fix="Shorten it, or keep it in S3.",
        )
    size = 256
    while size < longest * room:
        size *= 2
    return min(size, _LONGEST_TEXT)


def _json(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa

    texts = [
        None if value is None else json.dumps(value, ensure_ascii=False, default=str)
        for value in column.to_pylist(maps_as_pydicts="strict")
    ]
    return pa.chunked_array([pa.array(texts, pa.string())])
