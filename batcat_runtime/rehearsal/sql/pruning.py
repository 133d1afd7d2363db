"""Which partitions a query can want, by what it asks of the partition keys."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import DataFormatError

from .hive_types import quoted
from .projection import projected_location, projected_values
from .tables import Column, Partition, Storage, Table

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Condition:
    """A condition on partition keys, which every row that a scan yields fulfils.

    Attributes
    ----------
    sql : str
        In DuckDB's dialect; columns by their bare names.
    columns : frozenset of str
        The partition keys in it.
    equals : dict of str to tuple of str
        Values as text that a key must have one of, where the condition says so.
    """

    sql: str
    columns: frozenset[str]
    equals: dict[str, tuple[str, ...]] = field(default_factory=dict, hash=False)


def wanted(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    partitions: Sequence[Partition],
    scans: Sequence[Sequence[Condition]] | None,
) -> list[Partition]:
    """Keep the partitions that at least one scan can want."""
    kept = _matching(connection, table.keys, [one.values for one in partitions], scans, table)
    return [partitions[number] for number in kept]


def _matching(
    connection: duckdb.DuckDBPyConnection,
    keys: Sequence[Column],
    rows: Sequence[tuple[str | None, ...]],
    scans: Sequence[Sequence[Condition]] | None,
    table: Table,
) -> list[int]:
    """Return the places of the rows of key values that at least one scan can want."""
    if not rows:
        return []
    import pyarrow as pa

    columns: dict[str, Any] = {
        f"v{place}": pa.array([row[place] for row in rows], pa.string())
        for place in range(len(keys))
    }
    name = f"batcat_values_{uuid.uuid4().hex}"
    connection.register(name, pa.table({"number": pa.array(range(len(rows))), **columns}))
    try:
        for place, key in enumerate(keys):
            bad = connection.execute(
                f"SELECT v{place} FROM {name} WHERE v{place} IS NOT NULL "
                f"AND TRY_CAST(v{place} AS {key.type.duckdb}) IS NULL LIMIT 1"
            ).fetchone()
            if bad is not None:
                raise DataFormatError(
                    f"HIVE_INVALID_PARTITION_VALUE: Invalid partition value '{bad[0]}' for "
                    f"{key.type.trino.upper()} partition key: {key.name}="
                    f"{bad[0]} (table {table.database}.{table.name})"
                )
        typed = ", ".join(
            f"CAST(v{place} AS {key.type.duckdb}) AS {quoted(key.name)}"
            for place, key in enumerate(keys)
        )
        asked = _any_scan(scans, {key.name for key in keys})
        found = connection.execute(
            f"SELECT number FROM (SELECT number, {typed} FROM {name}) WHERE {asked} ORDER BY number"
        ).fetchall()
    finally:
        connection.unregister(name)
    return [int(row[0]) for row in found]


def _any_scan(scans: Sequence[Sequence[Condition]] | None, names: set[str]) -> str:
    """Return the disjunction of what the scans ask of some columns."""
    if scans is None:
        return "true"
    asked = [[one.sql for one in scan if one.columns <= names] for scan in scans]
    either = [f"({' AND '.join(f'({sql})' for sql in one) or 'true'})" for one in asked]
    return " OR ".join(either) or "false"


def projected(
    connection: duckdb.DuckDBPyConnection, table: Table, scan: Sequence[Condition]
) -> list[Partition]:
    """Return the projected partitions that one scan can want."""
    candidates: list[list[str]] = []
    for key in table.keys:
        given = [value for one in scan for value in one.equals.get(key.name, ())]
        values = projected_values(table, key.name, given)
        rows: list[tuple[str | None, ...]] = [(value,) for value in values]
        kept = _matching(connection, [key], rows, [scan], table)
        candidates.append([values[number] for number in kept])
    combined: list[tuple[str | None, ...]] = list(itertools.product(*candidates))
    names = [key.name for key in table.keys]
    return [
        Partition(
            combined[number],
            Storage(
                projected_location(
                    table, dict(zip(names, map(str, combined[number]), strict=True))
                ),
                table.storage.serde,
                table.storage.parameters,
            ),
        )
        for number in _matching(connection, table.keys, combined, [scan], table)
    ]
