"""Statements that tell of the catalogue: SHOW and DESCRIBE."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..catalogue import Catalogue
from ..tables import Column, Table
from .cursor import Cursor
from .entering import place
from .failures import TYPE_DDL, QueryFailure
from .parsing import Source
from .planning import Context
from .results import Result, text_result

if TYPE_CHECKING:
    import duckdb


def databases(
    catalogue: Catalogue, _: duckdb.DuckDBPyConnection, context: Context, source: Source
) -> Result:
    """SHOW DATABASES [LIKE 'pattern']."""
    cursor = Cursor(source, "hive")
    cursor.expect("SHOW")
    if not cursor.accept("DATABASES"):
        cursor.expect("SCHEMAS")
    cursor.accept("LIKE")
    pattern = cursor.text() if not cursor.at_end else "*"
    names = [str(one["Name"]) for one in catalogue.databases_of(context.region, context.catalog)]
    return text_result(_liked(names, pattern), "database_name")


def tables(
    catalogue: Catalogue, _: duckdb.DuckDBPyConnection, context: Context, source: Source
) -> Result:
    """SHOW TABLES and SHOW VIEWS [IN database] ['pattern']."""
    cursor = Cursor(source, "hive")
    cursor.expect("SHOW")
    views = cursor.accept("VIEWS")
    if not views:
        cursor.expect("TABLES")
    database = context.database
    if cursor.accept("IN") or cursor.accept("FROM"):
        database = cursor.names()[-1]
    cursor.accept("LIKE")
    pattern = cursor.text() if not cursor.at_end else "*"
    if not database or not catalogue.has_database(context.region, context.catalog, database):
        raise QueryFailure(
            f"FAILED: SemanticException [Error 10072]: Database does not exist: {database}",
            type=TYPE_DDL,
        )
    found = catalogue.tables_of(context.region, context.catalog, database)
    names = [one.name for one in found if not views or one.view_query is not None]
    return text_result(_liked(names, pattern), "views" if views else "tab_name")


def columns(
    catalogue: Catalogue, _: duckdb.DuckDBPyConnection, context: Context, source: Source
) -> Result:
    """SHOW COLUMNS IN table [IN database]."""
    cursor = Cursor(source, "hive")
    cursor.expect("SHOW")
    cursor.expect("COLUMNS")
    if not cursor.accept("IN"):
        cursor.expect("FROM")
    names = cursor.names()
    if cursor.accept("IN") or cursor.accept("FROM"):
        names = [*cursor.names(), *names]
    cursor.finish()
    table = _table(catalogue, context, names)
    return text_result([f"{one.name:<20}" for one in table.all_columns], "field")


def partitions(
    catalogue: Catalogue, connection: duckdb.DuckDBPyConnection, context: Context, source: Source
) -> Result:
    """SHOW PARTITIONS table."""
    cursor = Cursor(source, "hive")
    cursor.expect("SHOW")
    cursor.expect("PARTITIONS")
    table = _table(catalogue, context, cursor.names())
    cursor.finish()
    if not table.keys:
        raise QueryFailure(
            f"FAILED: SemanticException Table {table.name} is not a partitioned table",
            type=TYPE_DDL,
        )
    found = catalogue.partitions(connection, context.region, table)
    lines = [
        "/".join(f"{key.name}={value}" for key, value in zip(table.keys, one.values, strict=True))
        for one in found
    ]
    return text_result(sorted(lines), "partition")


def create_table(
    catalogue: Catalogue, _: duckdb.DuckDBPyConnection, context: Context, source: Source
) -> Result:
    """SHOW CREATE TABLE table."""
    cursor = Cursor(source, "hive")
    cursor.expect("SHOW")
    cursor.expect("CREATE")
    cursor.expect("TABLE")
    table = _table(catalogue, context, cursor.names())
    cursor.finish()
    if table.view_query is not None:
        raise QueryFailure(
            f"FAILED: SemanticException {table.name} is a view; use SHOW CREATE VIEW", type=TYPE_DDL
        )
    return text_result(_definition(table), "createtab_stmt")


def create_view(
    catalogue: Catalogue, _: duckdb.DuckDBPyConnection, context: Context, source: Source
) -> Result:
    """SHOW CREATE VIEW view."""
    cursor = Cursor(source, "trino")
    cursor.expect("SHOW")
    cursor.expect("CREATE")
    cursor.expect("VIEW")
    table = _table(catalogue, context, cursor.names())
    cursor.finish()
    if table.view_query is None:
        raise QueryFailure(
            f"NOT_SUPPORTED: line 1:1: Relation '{table.name}' is a table, not a view"
        )
    name = f"{table.catalog}.{table.database}.{table.name}"
    return text_result(f"CREATE VIEW {name} AS\n{table.view_query}".splitlines(), "Create View")


def properties(
    catalogue: Catalogue, _: duckdb.DuckDBPyConnection, context: Context, source: Source
) -> Result:
    """SHOW TBLPROPERTIES table [('name')]."""
    cursor = Cursor(source, "hive")
    cursor.expect("SHOW")
    cursor.expect("TBLPROPERTIES")
    table = _table(catalogue, context, cursor.names())
    wanted = None
    if cursor.accept("("):
        wanted = cursor.text()
        cursor.expect(")")
    cursor.finish()
    if wanted is not None:
        text = table.parameters.get(wanted, f"Table {table.name} does not have property: {wanted}")
        return text_result([text], "prpt_name")
    lines = [f"{key}\t{value}" for key, value in sorted(table.parameters.items())]
    return text_result(lines, "prpt_name", "prpt_value")


def describe(
    catalogue: Catalogue, connection: duckdb.DuckDBPyConnection, context: Context, source: Source
) -> Result:
    """DESCRIBE [EXTENDED | FORMATTED] table."""
    cursor = Cursor(source, "hive")
    if not cursor.accept("DESC"):
        cursor.expect("DESCRIBE")
    formatted = cursor.accept("FORMATTED") or cursor.accept("EXTENDED")
    table = _table(catalogue, context, cursor.names())
    if cursor.accept("PARTITION"):
        cursor.properties_of_partition()
    cursor.finish()
    lines = [_described(one) for one in table.all_columns]
    if table.keys:
        titles = ["# Partition Information", "# col_name", "data_type", "comment"]
        lines += ["\t \t ", f"{titles[0]:<24}\t \t ", "\t".join(f"{one:<20}" for one in titles[1:])]
        lines += ["\t \t ", *(_described(one) for one in table.keys)]
    if formatted:
        told = table.description
        facts = {
            "Database:": table.database,
            "CreateTime:": str(told.get("CreateTime", "")),
            "Location:": table.storage.location,
            "Table Type:": str(told.get("TableType", "")),
            "SerDe Library:": table.storage.serde,
            "InputFormat:": str(told.get("StorageDescriptor", {}).get("InputFormat", "")),
            "OutputFormat:": str(told.get("StorageDescriptor", {}).get("OutputFormat", "")),
        }
        lines += ["\t \t ", f"{'# Detailed Table Information':<28}\t \t "]
        lines += [f"{name:<20}\t{value:<20}\t " for name, value in facts.items()]
        lines += [f"\t{name:<20}\t{value}" for name, value in sorted(table.parameters.items())]
    return text_result(lines, "col_name", "data_type", "comment")


Performer = Callable[[Catalogue, "duckdb.DuckDBPyConnection", Context, Source], Result]
PERFORMERS: dict[str, Performer] = {
    "SHOW_DATABASES": databases,
    "SHOW_TABLES": tables,
    "SHOW_VIEWS": tables,
    "SHOW_COLUMNS": columns,
    "SHOW_PARTITIONS": partitions,
    "SHOW_CREATE_TABLE": create_table,
    "SHOW_CREATE_VIEW": create_view,
    "SHOW_TBLPROPERTIES": properties,
    "DESCRIBE_TABLE": describe,
}


def _table(catalogue: Catalogue, context: Context, names: list[str]) -> Table:
    catalog, database, name = place(names, context)
    table = catalogue.find(context.region, catalog, database, name)
    if table is None:
        raise QueryFailure(
            f"FAILED: SemanticException [Error 10001]: Table not found {database}.{name}",
            type=TYPE_DDL,
        )
    return table


def _liked(names: list[str], pattern: str) -> list[str]:
    """Keep the names that one of the alternatives of a pattern fits, as Hive compares them."""
    if re.fullmatch(r"[\w*|]*", pattern):
        wanted = pattern.lower().split("|")
        return sorted(one for one in names if any(fnmatch.fnmatch(one, p) for p in wanted))
    return sorted(one for one in names if re.fullmatch(pattern, one))


def _described(column: Column) -> str:
    return f"{column.name:<20}\t{column.type.hive:<20}\t{column.comment:<20}"


def _definition(table: Table) -> list[str]:
    def listed(columns: tuple[Column, ...]) -> list[str]:
        texts = []
        for one in columns:
            comment = f" COMMENT '{one.comment}'" if one.comment else ""
            texts.append(f"  `{one.name}` {one.type.hive}{comment}")
        return [f"{text}, " for text in texts[:-1]] + [f"{text})" for text in texts[-1:]]

    told = table.description.get("StorageDescriptor", {})
    serde = told.get("SerdeInfo", {})
    lines = [f"CREATE EXTERNAL TABLE `{table.database}.{table.name}`(", *listed(table.columns)]
    if table.keys:
        lines += ["PARTITIONED BY ( ", *listed(table.keys)]
    lines += ["ROW FORMAT SERDE ", f"  '{serde.get('SerializationLibrary', '')}' "]
    if serde.get("Parameters"):
        pairs = [f"  '{key}'='{value}'" for key, value in sorted(serde["Parameters"].items())]
        lines += ["WITH SERDEPROPERTIES ( ", *(f"{one}, " for one in pairs[:-1]), f"{pairs[-1]}) "]
    lines += ["STORED AS INPUTFORMAT ", f"  '{told.get('InputFormat', '')}' "]
    lines += ["OUTPUTFORMAT ", f"  '{told.get('OutputFormat', '')}'"]
    lines += ["LOCATION", f"  '{table.storage.location}'"]
    kept = {key: value for key, value in table.parameters.items() if key != "EXTERNAL"}
    if kept:
        pairs = [f"  '{key}'='{value}'" for key, value in sorted(kept.items())]
        lines += ["TBLPROPERTIES (", *(f"{one}, " for one in pairs[:-1]), f"{pairs[-1]})"]
    return lines
