"""What a query wants of its tables, read from DuckDB's plan over tables without data.

Each scan names the columns that it yields and the filters that DuckDB could push down to it; those
on partition keys alone say which partitions it can want.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from ..catalogue import Exposed
from ..pruning import Condition
from ..tables import Table

if TYPE_CHECKING:
    import duckdb

# What would drop a scan from a plan because its shadow is empty.
_UNWANTED = "statistics_propagation,empty_result_pullup"


@dataclass(frozen=True)
class Scan:
    """What one scan of a table wants.

    Attributes
    ----------
    columns : set of str
        Those that are read, in lower case.
    conditions : list of Condition
        What every row fulfils, as far as it concerns partition keys alone.
    """

    columns: set[str]
    conditions: list[Condition]


def wants_of(
    connection: duckdb.DuckDBPyConnection, sql: str, tables: Mapping[str, Table]
) -> dict[str, list[Scan]]:
    """Return the scans of each table, by its full name.

    A table that is missing could not be found in the plan: then all of it is wanted.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        In which the tables' shadows are.
    sql : str
        The query, in DuckDB's dialect.
    tables : mapping of str to Table
        The tables, by full name.
    """
    connection.execute(f"SET disabled_optimizers = '{_UNWANTED}'")
    try:
        row = connection.execute(f"EXPLAIN (FORMAT json) {sql}").fetchone()
    finally:
        connection.execute("SET disabled_optimizers = ''")
    assert row is not None
    wants: dict[str, list[Scan]] = {}
    if "EMPTY_RESULT" in row[1]:
        # A part of the query is known to be empty; what only that part reads is not wanted.
        wants = {full: [] for full in tables}
    for scan, filters in _scans(json.loads(row[1]), []):
        named = exp.to_table(str(scan.get("Table")), dialect="duckdb")
        full = ".".join(part.name for part in named.parts)
        if full not in tables:
            continue
        keys = {one.name for one in tables[full].keys}
        columns = {_column(one) for one in _texts(scan.get("Projections"))}
        conditions: list[Condition] = []
        for text in filters:
            found, mentioned = _conditions(text, keys)
            conditions += found
            columns |= mentioned
        wants.setdefault(full, []).append(Scan(columns, conditions))
    return wants


def _scans(
    nodes: list[dict[str, Any]], above: list[str]
) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Yield each scan of a plan with the filters on it and right above it."""
    for node in nodes:
        extra = node.get("extra_info") or {}
        if node["name"].strip() == "SEQ_SCAN":
            yield extra, [*above, *_texts(extra.get("Filters"))]
            continue
        passed = _texts(extra.get("Expression")) if node["name"].strip() == "FILTER" else []
        yield from _scans(node["children"], passed)


def _column(text: str) -> str:
    """Return a projected column's name; of a struct's field, the struct's."""
    if text.startswith('"'):
        return text[1:].partition('"')[0].lower()
    return text.partition(".")[0].lower()


def _texts(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(one) for one in value]
    return [str(value)] if value else []


def _conditions(text: str, keys: set[str]) -> tuple[list[Condition], set[str]]:
    """Return what a filter of the plan asks of partition keys, and all columns in it."""
    try:
        parsed = sqlglot.parse_one(text.replace("optional: ", ""), dialect="duckdb")
    except SqlglotError:
        return [], set()
    found = []
    for part in _conjuncts(parsed):
        names = {one.name.lower() for one in part.find_all(exp.Column)}
        if names and names <= keys:
            found.append(Condition(part.sql("duckdb"), frozenset(names), _equals(part)))
    return found, {one.name.lower() for one in parsed.find_all(exp.Column)}


def _conjuncts(node: exp.Expr) -> Iterator[exp.Expr]:
    node = node.unnest()
    if isinstance(node, exp.And):
        yield from _conjuncts(node.left)
        yield from _conjuncts(node.right)
    else:
        yield node


def _equals(node: exp.Expr) -> dict[str, tuple[str, ...]]:
    values: list[exp.Expr] = []
    if isinstance(node, exp.EQ):
        values = [node.expression]
    elif isinstance(node, exp.In):
        values = node.expressions
    elif isinstance(node, exp.Or):
        parts = [_equals(one) for one in (node.left.unnest(), node.right.unnest())]
        if all(parts) and parts[0].keys() == parts[1].keys():
            return {name: (*parts[0][name], *parts[1][name]) for name in parts[0]}
        return {}
    plain = [one.this if isinstance(one, exp.Cast) else one for one in values]
    if not values or not isinstance(node.this, exp.Column):
        return {}
    if not all(isinstance(one, exp.Literal) for one in plain):
        return {}
    return {node.this.name.lower(): tuple(str(one.this) for one in plain)}


def bytes_scanned(exposed: Exposed, columns: set[str]) -> int:
    """Count what Athena reads: whole objects of text, of Parquet the wanted columns' pages."""
    if exposed.table.storage.format != "parquet":
        return sum(one.size for one in exposed.objects)
    import pyarrow.parquet as parquet

    total = 0
    for file in exposed.files:
        metadata = parquet.read_metadata(file)
        for group in range(metadata.num_row_groups):
            chunks = metadata.row_group(group)
            for number in range(chunks.num_columns):
                chunk = chunks.column(number)
                if chunk.path_in_schema.partition(".")[0].lower() in columns:
                    total += chunk.total_compressed_size
    return total
