"""What can be queried about the catalogue itself: `information_schema` and `"table$partitions"`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..catalogue import Catalogue
from ..hive_types import quoted
from ..tables import Table
from ..views import place

if TYPE_CHECKING:
    import duckdb

INFORMATION = "batcat_information_schema"
_COLUMNS = {
    "schemata": ("catalog_name", "schema_name"),
    "tables": ("table_catalog", "table_schema", "table_name", "table_type"),
    "views": ("table_catalog", "table_schema", "table_name", "view_definition"),
    "columns": (
        "table_catalog",
        "table_schema",
        "table_name",
        "column_name",
        "ordinal_position",
        "column_default",
        "is_nullable",
        "data_type",
        "comment",
        "extra_info",
    ),
}


def expose_information(
    connection: duckdb.DuckDBPyConnection,
    catalogue: Catalogue,
    region: str,
    catalog: str,
    name: str,
) -> bool:
    """Create a table of `information_schema` in DuckDB; False when there is none of that name.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Where to create it.
    catalogue : Catalogue
        What it describes.
    region, catalog, name : str
        Whose information schema, and which table of it.
    """
    if name not in _COLUMNS:
        return False
    schema = f"{quoted(catalog)}.{INFORMATION}"
    connection.execute(f"ATTACH IF NOT EXISTS ':memory:' AS {quoted(catalog)}")
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    columns = ", ".join(
        f"{one} {'BIGINT' if one == 'ordinal_position' else 'VARCHAR'}" for one in _COLUMNS[name]
    )
    connection.execute(f"CREATE OR REPLACE TABLE {schema}.{name} ({columns})")
    rows = _rows(catalogue, region, catalog, name)
    if rows:
        marks = ", ".join("?" for _ in _COLUMNS[name])
        connection.executemany(f"INSERT INTO {schema}.{name} VALUES ({marks})", rows)
    return True


def expose_partitions(
    connection: duckdb.DuckDBPyConnection, catalogue: Catalogue, region: str, table: Table
) -> None:
    """Create the table ``"name$partitions"`` in DuckDB, with a row per partition."""
    columns = ", ".join(f"{quoted(one.name)} {one.type.duckdb}" for one in table.keys)
    name = place(connection, table)[:-1] + '$partitions"'
    connection.execute(f"CREATE TABLE {name} ({columns})")
    rows = [list(one.values) for one in catalogue.partitions(connection, region, table)]
    if rows and table.keys:
        marks = ", ".join(f"CAST(? AS {one.type.duckdb})" for one in table.keys)
        connection.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)


def _rows(catalogue: Catalogue, region: str, catalog: str, name: str) -> list[list[object]]:
    databases = [str(one["Name"]) for one in catalogue.databases_of(region, catalog)]
    if name == "schemata":
        return [[catalog, one] for one in [*databases, "information_schema"]]
    rows: list[list[object]] = []
    for database in databases:
        for table in catalogue.tables_of(region, catalog, database):
            start: list[object] = [catalog, database, table.name]
            if name == "tables":
                rows.append([*start, "VIEW" if table.view_query is not None else "BASE TABLE"])
            elif name == "views":
                if table.view_query is not None:
                    rows.append([*start, table.view_query])
            else:
                keys = {one.name for one in table.keys}
                rows += [
                    [
                        *start,
                        one.name,
                        number,
                        None,
                        "YES",
                        one.type.trino,
                        one.comment or None,
                        "partition key" if one.name in keys else None,
                    ]
                    for number, one in enumerate(table.all_columns, 1)
                ]
    return rows
