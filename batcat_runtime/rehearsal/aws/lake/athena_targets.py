"""Where UNLOAD, CREATE TABLE AS and INSERT write, and which columns they may bring there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from .athena_query import Plan
from .athena_text import Source
from .failures import QueryFailure, semantic
from .objects import split_location
from .scanning import format_of
from .tables import Column, Table
from .types import base, trino_name

_CODECS = {"GZIP": "gzip", "SNAPPY": "snappy", "ZSTD": "zstd", "NONE": "uncompressed"}
# What an INSERT may bring to a column of another type without a cast.
_WIDER = ("tinyint", "smallint", "integer", "bigint")
_ASSIGNABLE = {
    **{name: _WIDER[: number + 1] for number, name in enumerate(_WIDER)},
    "real": (*_WIDER, "decimal"),
    "double": (*_WIDER, "decimal", "real"),
    "decimal": _WIDER,
    "varchar": ("char",),
    "char": ("varchar",),
    "timestamp": ("date",),
}


@dataclass(frozen=True)
class Target:
    """Where and how rows are written: an S3 prefix that ends in a slash, and Parquet's codec."""

    location: str
    codec: str
    partitioned_by: tuple[str, ...] = ()


def target_of(location: str, properties: Mapping[str, Any]) -> Target:
    """Read compression and partitioning from a statement's properties."""
    try:
        split_location(location)
    except ValueError as error:
        said = f"Invalid S3 location: {location}. The location must begin with s3://"
        raise QueryFailure(f"INVALID_PROPERTY_VALUE: {said}") from error
    form = str(properties.get("format", "PARQUET")).upper()
    if form != "PARQUET":
        raise QueryFailure(f"NOT_SUPPORTED: The embedded AWS does not write {form}; use PARQUET.")
    given = (properties.get(one) for one in ("compression", "write_compression"))
    own = properties.get("parquet_compression")
    codec = str(next((one for one in (*given, own) if one), "GZIP")).upper()
    if codec not in _CODECS:
        said = f"Unsupported compression '{codec}' for format 'PARQUET'"
        raise QueryFailure(f"INVALID_PROPERTY_VALUE: {said}")
    return Target(
        location if location.endswith("/") else location + "/",
        _CODECS[codec],
        tuple(str(one).lower() for one in properties.get("partitioned_by", ())),
    )


def insert_target(table: Table) -> Target:
    """Return where and how an INSERT into a table writes."""
    if format_of(table) != "parquet":
        said = f"Cannot insert into table {table.database}.{table.name} with SerDe {table.serde}"
        raise QueryFailure(f"NOT_SUPPORTED: {said}")
    return Target(table.location, "snappy", tuple(one.name for one in table.keys))


def insert_columns(insert: exp.Insert, table: Table, source: Source) -> list[Column]:
    """Read which columns an INSERT names; all of them when it names none."""
    if not isinstance(insert.this, exp.Schema):
        return list(table.all_columns)
    known = {one.name: one for one in table.all_columns}
    found = []
    for one in insert.this.expressions:
        if one.name.lower() not in known:
            said = f"Insert column name does not exist in target table: {one.name}"
            raise semantic("COLUMN_NOT_FOUND", source.at(one), said)
        found.append(known[one.name.lower()])
    return found


def check_assignable(plan: Plan, columns: Sequence[Column]) -> None:
    """Refuse an INSERT whose types are not those of the table's columns."""
    pairs = zip(plan.types, columns, strict=False)
    fits = [
        base(kind) in (base(one.type), "unknown", *_ASSIGNABLE.get(base(one.type), ()))
        for kind, one in pairs
    ]
    if not all(fits) or len(plan.types) != len(columns):
        expected = ", ".join(trino_name(one.type) for one in columns)
        given = ", ".join(map(trino_name, plan.types))
        said = f"Table: [{expected}], Query: [{given}]"
        raise semantic(
            "TYPE_MISMATCH", "line 1:1", f"Insert query has mismatched column types: {said}"
        )


def check_keys(names: Sequence[str], keys: Sequence[str]) -> None:
    """Refuse partition columns that are not the query's last ones."""
    missing = [key for key in keys if key not in names]
    if missing:
        said = f"Partition columns [{', '.join(missing)}] not present in schema"
        raise QueryFailure(f"INVALID_TABLE_PROPERTY: {said}")
    if keys and list(names[-len(keys) :]) != list(keys):
        raise QueryFailure(
            "HIVE_COLUMN_ORDER_MISMATCH: Partition keys must be the last columns in the table and "
            f"in the same order as the table properties: [{', '.join(keys)}]"
        )
    if keys and len(keys) == len(names):
        raise QueryFailure("INVALID_TABLE_PROPERTY: Table contains only partition columns")
