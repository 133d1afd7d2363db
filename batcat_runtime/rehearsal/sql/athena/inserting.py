"""INSERT INTO: which columns, of which types, written how."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..hive_types import parse_hive_type, quoted
from ..tables import Column, Table
from .cursor import Cursor
from .failures import TYPE_SEMANTIC, QueryFailure
from .parsing import Source
from .planning import Plan
from .rendering import from_hive
from .writing import Target

# Which types an INSERT may bring to a column without a cast.
_ASSIGNABLE = {
    "tinyint": ("tinyint",),
    "smallint": ("tinyint", "smallint"),
    "integer": ("tinyint", "smallint", "integer"),
    "bigint": ("tinyint", "smallint", "integer", "bigint"),
    "real": ("tinyint", "smallint", "integer", "bigint", "decimal", "float"),
    "double": ("tinyint", "smallint", "integer", "bigint", "decimal", "float", "double"),
    "decimal": ("tinyint", "smallint", "integer", "bigint", "decimal"),
    "varchar": ("varchar", "char"),
    "char": ("varchar", "char"),
    "timestamp": ("timestamp", "date"),
}


def insert_columns(cursor: Cursor, table: Table, source: Source) -> list[Column]:
    """Read which columns an INSERT names; all of them when it names none."""
    if cursor.peek != "(":
        return list(table.all_columns)
    start, end = cursor.group()
    inside = source.text[start:end]
    if re.match(r"\s*(SELECT|WITH|VALUES)\b", inside, re.IGNORECASE):
        raise cursor.unexpected("column names, or a query without parentheses around it")
    known = {one.name: one for one in table.all_columns}
    found = []
    for part in inside.split(","):
        name = part.strip().strip('"').lower()
        if name not in known:
            raise QueryFailure(
                f"COLUMN_NOT_FOUND: {source.place(start)}: Insert column name does not exist in "
                f"target table: {name}",
                type=TYPE_SEMANTIC,
            )
        found.append(known[name])
    return found


def check_assignable(plan: Plan, columns: Sequence[Column]) -> None:
    """Refuse an INSERT whose types are not those of the table's columns.

    Raises
    ------
    QueryFailure
        In Athena's words, with all types.
    """
    for kind, column in zip(plan.types, columns, strict=True):
        declared = column.type.trino.partition("(")[0]
        accepted = _ASSIGNABLE.get(declared, (declared,))
        if kind.name not in (*accepted, "unknown"):
            expected = ", ".join(one.type.trino for one in columns)
            raise QueryFailure(
                "TYPE_MISMATCH: line 1:1: Insert query has mismatched column types: Table: "
                f"[{expected}], Query: [{', '.join(one.name for one in plan.types)}]",
                type=TYPE_SEMANTIC,
            )


def in_table_order(plan: Plan, table: Table) -> Plan:
    """Put an INSERT's columns into the order of the table; what is not named becomes NULL."""
    given = set(plan.names)
    chosen = [
        quoted(one.name)
        if one.name in given
        else f"CAST(NULL AS {one.type.duckdb}) AS {quoted(one.name)}"
        for one in table.all_columns
    ]
    return Plan(
        f"SELECT {', '.join(chosen)} FROM ({plan.sql})",
        [one.name for one in table.all_columns],
        [from_hive(one.type) for one in table.all_columns],
        plan.scanned,
        plan.tables,
    )


def insert_target(table: Table) -> Target:
    """Return how an INSERT writes into a table.

    Raises
    ------
    QueryFailure
        When Athena cannot write the table's format.
    """
    forms = {"parquet": "PARQUET", "text": "TEXTFILE", "json": "JSON"}
    form = forms.get(table.storage.format)
    if form is None or table.storage.skipped_lines:
        raise QueryFailure(
            "NOT_SUPPORTED: Cannot insert into table "
            f"{table.database}.{table.name} with SerDe {table.storage.serde}"
        )
    location = table.storage.location
    null = table.storage.parameters.get("serialization.null.format", "\\N")
    delimiter = table.storage.parameters.get("field.delim", "\x01")
    named = (
        table.parameters.get("parquet.compression")
        or table.parameters.get("write.compression")
        or ("SNAPPY" if form == "PARQUET" else "GZIP")
    )
    return Target(
        location if location.endswith("/") else location + "/",
        form,
        named.upper(),
        delimiter,
        tuple(one.name for one in table.keys),
        null,
    )


def insert_casts(plan: Plan, columns: Sequence[tuple[str, str]]) -> Plan:
    """Bring an INSERT's query to the columns of its table.

    Parameters
    ----------
    plan : Plan
        The query.
    columns : sequence of (name, Hive type)
        The table's columns, in the order of the query's.
    """
    inner = ", ".join(f"c{number}" for number in range(len(plan.names)))
    chosen = ", ".join(
        f"CAST(c{number} AS {parse_hive_type(kind).duckdb}) AS {quoted(name)}"
        for number, (name, kind) in enumerate(columns)
    )
    return Plan(
        f"SELECT {chosen} FROM ({plan.sql}) AS batcat_inserted ({inner})",
        [name for name, _ in columns],
        [from_hive(parse_hive_type(kind)) for _, kind in columns],
        plan.scanned,
        plan.tables,
    )
