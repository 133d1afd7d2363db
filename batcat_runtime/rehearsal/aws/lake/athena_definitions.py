"""Statements on the catalogue: views, DROP, partitions that are found, SHOW and DESCRIBE.

Tables and databases are made by Glue's API, as awswrangler makes them.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError
from sqlglot import exp

from .athena_query import Context, Plan
from .athena_results import Result, printed
from .athena_text import Source
from .catalogue import Catalogue
from .failures import QueryFailure, semantic
from .objects import error_code, is_data
from .tables import Column, Table, encode_view
from .types import hive_name, trino_name

Name = tuple[str, str, str]

_PARQUET = "org.apache.hadoop.hive.ql.io.parquet"


def perform(catalogue: Catalogue, context: Context, kind: str, source: Source) -> Result:
    """Perform a statement on the catalogue.

    Parameters
    ----------
    catalogue : Catalogue
        With the rights of whoever asks.
    context : Context
        Where names without a prefix are looked up.
    kind : str
        SubstatementType.
    source : Source
        The statement.

    Raises
    ------
    QueryFailure
        In Athena's words, which are Hive's here.
    """
    return _PERFORMERS[kind](catalogue, context, source)


def place(node: exp.Expr, context: Context) -> Name:
    """Return catalogue, database and name of the table that a statement is about."""
    table = node if isinstance(node, exp.Table) else node.find(exp.Table)
    assert table is not None
    catalog, database = table.catalog or context.catalog, table.db or context.database
    if not database:
        said = "Schema must be specified when session schema is not set"
        raise semantic("MISSING_SCHEMA_NAME", "line 1:1", said)
    return catalog.lower(), database.lower(), table.name.lower()


def properties(create: exp.Expr) -> dict[str, Any]:
    """Return the properties of CREATE TABLE ... WITH (...), by their names in lower case."""
    found: dict[str, Any] = {}
    given = create.args.get("properties")
    for one in given.expressions if given else []:
        if isinstance(one, exp.FileFormatProperty):
            found["format"] = one.this.name
        elif isinstance(one, exp.PartitionedByProperty):
            found["partitioned_by"] = [key.name for key in one.this.expressions]
        elif isinstance(one, exp.Property) and isinstance(one.args.get("value"), exp.Expr):
            value = one.args["value"]
            listed = isinstance(value, exp.Array)
            texts = [each.name for each in value.expressions] if listed else value.name
            found[one.this.name.lower()] = texts
    return found


def table_input(
    name: str,
    columns: Sequence[tuple[str, str]],
    *,
    location: str,
    keys: Sequence[str] = (),
) -> dict[str, Any]:
    """Return Glue's TableInput of a table of Parquet files.

    Parameters
    ----------
    name : str
        The table's name.
    columns : sequence of (name, Hive type)
        With partition keys.
    location : str
        Where its objects lie.
    keys : sequence of str
        Which columns are partition keys.
    """
    listed = [{"Name": column, "Type": kind} for column, kind in columns]
    return {
        "Name": name,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"EXTERNAL": "TRUE", "has_encrypted_data": "false"},
        "PartitionKeys": [one for one in listed if one["Name"] in keys],
        "StorageDescriptor": {
            "Columns": [one for one in listed if one["Name"] not in keys],
            "Location": location,
            "InputFormat": f"{_PARQUET}.MapredParquetInputFormat",
            "OutputFormat": f"{_PARQUET}.MapredParquetOutputFormat",
            "Compressed": False,
            "NumberOfBuckets": -1,
            "SerdeInfo": {"SerializationLibrary": f"{_PARQUET}.serde.ParquetHiveSerDe"},
            "StoredAsSubDirectories": False,
        },
    }


def enter_partitions(
    catalogue: Catalogue, region: str, table: Table, folders: Mapping[tuple[str, ...], str]
) -> list[tuple[str, ...]]:
    """Enter partitions where Glue does not know them yet; return the values of those.

    Parameters
    ----------
    catalogue : Catalogue
        Where to.
    region : str
        Its region.
    table : Table
        Whose.
    folders : mapping of tuple to str
        From the values of the keys to the location.
    """
    if table.is_projected:
        return []
    storage, new = table.description["StorageDescriptor"], []
    for values, location in folders.items():
        given = {"Values": list(values), "StorageDescriptor": {**storage, "Location": location}}
        try:
            catalogue.glue(region).create_partition(
                DatabaseName=table.database, TableName=table.name, PartitionInput=given
            )
            new.append(values)
        except ClientError as error:
            if error_code(error) != "AlreadyExistsException":
                raise
    return new


def enter_view(
    catalogue: Catalogue, context: Context, source: Source, create: exp.Create, plan: Plan
) -> None:
    """Enter a view in Glue as Athena keeps it."""
    catalog, database, name = place(create, context)
    where = source.at(create.this)
    if not catalogue.has_database(context.region, database):
        raise semantic("SCHEMA_NOT_FOUND", where, f"Schema '{database}' does not exist")
    existing = catalogue.find(context.region, catalog, database, name)
    if existing is not None and (existing.view_query is None or not create.args.get("replace")):
        kind = "Table" if existing.view_query is None else "View"
        said = f"{kind} already exists: '{catalog}.{database}.{name}'"
        raise semantic(f"{kind.upper()}_ALREADY_EXISTS", where, said)
    pairs = [(one.lower(), kind) for one, kind in zip(plan.names, plan.types, strict=True)]
    start = re.search(r"\bAS\b", source.text, re.IGNORECASE)
    stored = {
        "originalSql": source.text[start.end() if start else 0 :].strip(),
        "catalog": context.catalog,
        "schema": context.database or database,
        "columns": [{"name": one, "type": trino_name(kind)} for one, kind in pairs],
    }
    columns = [{"Name": one, "Type": hive_name(kind)} for one, kind in pairs]
    given = {
        "Name": name,
        "TableType": "VIRTUAL_VIEW",
        "Parameters": {"presto_view": "true", "comment": "Presto View"},
        "PartitionKeys": [],
        "ViewOriginalText": encode_view(stored),
        "ViewExpandedText": "/* Presto View */",
        "StorageDescriptor": {"Columns": columns, "Location": "", "SerdeInfo": {}},
    }
    glue = catalogue.glue(context.region)
    change = glue.create_table if existing is None else glue.update_table
    change(DatabaseName=database, TableInput=given)


def _drop_table(catalogue: Catalogue, context: Context, source: Source) -> Result:
    drop = source.statement()
    catalog, database, name = place(drop.args["tables"][0], context)
    view, optional = drop.args["kind"] == "VIEW", drop.args.get("exists")
    table = catalogue.find(context.region, catalog, database, name)
    if table is None:
        if optional:
            return printed([])
        if view:
            said = f"View '{catalog}.{database}.{name}' does not exist"
            raise QueryFailure(f"VIEW_NOT_FOUND: line 1:1: {said}")
        raise _meaningless(f"[Error 10001]: Table not found {database}.{name}")
    if view != (table.view_query is not None):
        raise _meaningless(f"Cannot drop {name}: use DROP {'TABLE' if view else 'VIEW'}")
    catalogue.glue(context.region).delete_table(DatabaseName=database, Name=name)
    return printed([])


def _repair(catalogue: Catalogue, context: Context, source: Source) -> Result:
    table = _existing(catalogue, context, source, r"MSCK\s+REPAIR\s+TABLE\s+")
    names = [key.name for key in table.keys]
    folders: dict[tuple[str, ...], str] = {}
    for stored in catalogue.objects.under(context.region, table.location):
        parts = stored.uri.removeprefix(table.location).split("/")
        pairs = [part.partition("=") for part in parts[: len(names)]]
        if names and is_data("/".join(parts)) and [one[0].lower() for one in pairs] == names:
            where = table.location + "/".join(parts[: len(names)]) + "/"
            folders[tuple(one[2] for one in pairs)] = where
    new = enter_partitions(catalogue, context.region, table, folders)
    entered = sorted(folders[one].removeprefix(table.location).rstrip("/") for one in new)
    lines = [f"Repair: Added partition to metastore {table.name}:{one}" for one in entered]
    return printed(lines, "result")


def _show_databases(catalogue: Catalogue, context: Context, source: Source) -> Result:
    names = [str(one["Name"]) for one in catalogue.databases(context.region)]
    return printed(_liked(names, source), "database_name")


def _show_tables(catalogue: Catalogue, context: Context, source: Source) -> Result:
    match = re.search(r"\b(?:IN|FROM)\s+[`\"]?(\w+)", source.text, re.IGNORECASE)
    database = match[1].lower() if match else context.database
    if not database or not catalogue.has_database(context.region, database):
        raise _meaningless(f"[Error 10072]: Database does not exist: {database}")
    found = catalogue.tables(context.region, context.catalog, database)
    return printed(_liked([one.name for one in found], source), "tab_name")


def _show_partitions(catalogue: Catalogue, context: Context, source: Source) -> Result:
    table = _existing(catalogue, context, source, r"SHOW\s+PARTITIONS\s+")
    if not table.keys:
        raise _meaningless(f"Table {table.name} is not a partitioned table")
    if table.is_projected:
        values = {values for _, values in catalogue.data(context.region, table)}
    else:
        values = {one.values for one in catalogue.partitions(context.region, table)}
    lines = [
        "/".join(f"{key.name}={value}" for key, value in zip(table.keys, one, strict=True))
        for one in values
    ]
    return printed(sorted(lines), "partition")


def _describe(catalogue: Catalogue, context: Context, source: Source) -> Result:
    before = r"(?:DESCRIBE|DESC)\s+(?:(?:FORMATTED|EXTENDED)\s+)?"
    table = _existing(catalogue, context, source, before)
    lines = [_described(one) for one in table.all_columns]
    if table.keys:
        titles = ["# Partition Information", "# col_name", "data_type", "comment"]
        lines += ["\t \t ", f"{titles[0]:<24}\t \t ", "\t".join(f"{one:<20}" for one in titles[1:])]
        lines += ["\t \t ", *(_described(one) for one in table.keys)]
    return printed(lines, "col_name", "data_type", "comment")


_PERFORMERS: dict[str, Callable[[Catalogue, Context, Source], Result]] = {
    "DROP_TABLE": _drop_table,
    "DROP_VIEW": _drop_table,
    "MSCK_REPAIR_TABLE": _repair,
    "SHOW_DATABASES": _show_databases,
    "SHOW_TABLES": _show_tables,
    "SHOW_PARTITIONS": _show_partitions,
    "DESCRIBE_TABLE": _describe,
}


def _existing(catalogue: Catalogue, context: Context, source: Source, before: str) -> Table:
    """Return the table whose name comes after some words; it must exist."""
    name = r"((?:`[^`]+`|\"[^\"]+\"|[\w$-]+)(?:\.(?:`[^`]+`|\"[^\"]+\"|[\w$-]+))*)"
    match = re.match(before + name, source.text, re.IGNORECASE)
    if match is None:
        raise QueryFailure("FAILED: ParseException line 1:1 mismatched input: a name is due")
    parts = [one.strip('`"').lower() for one in match[1].split(".")]
    missing = [context.catalog, context.database or ""][: 3 - len(parts)]
    catalog, database, table = [*missing, *parts][-3:]
    found = catalogue.find(context.region, catalog, database, table)
    if found is None:
        raise _meaningless(f"[Error 10001]: Table not found {database}.{table}")
    return found


def _liked(names: Sequence[str], source: Source) -> list[str]:
    """Keep the names that one of the alternatives of a pattern fits, as Hive compares them."""
    match = re.search(r"'([^']*)'\s*$", source.text)
    wanted = match[1].lower().split("|") if match else ["*"]
    return sorted(one for one in names if any(fnmatch.fnmatch(one, each) for each in wanted))


def _described(column: Column) -> str:
    return f"{column.name:<20}\t{hive_name(column.type):<20}\t{column.comment:<20}"


def _meaningless(text: str) -> QueryFailure:
    return QueryFailure(f"FAILED: SemanticException {text}")
