"""Statements that change a table: partitions, columns, properties; in Hive's dialect."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

from botocore.exceptions import ClientError

from ...clients import Clients
from ..catalogue import Catalogue
from ..objects import error_code
from ..tables import Table
from .cursor import Cursor
from .definitions import existing_table, failed, read_columns, read_location
from .failures import TYPE_DDL, QueryFailure
from .parsing import Source
from .planning import Context
from .results import Result, text_result


def add_partitions(
    catalogue: Catalogue, clients: Clients, context: Context, source: Source
) -> Result:
    """ALTER TABLE name ADD [IF NOT EXISTS] PARTITION (k=v) [LOCATION s] ..."""
    cursor, table = _altered(catalogue, context, source)
    cursor.expect("ADD")
    optional = cursor.accept("IF", "NOT", "EXISTS")
    wanted = []
    while cursor.accept("PARTITION"):
        values = _partition_values(cursor, table)
        place_ = (
            read_location(cursor.text()) if cursor.accept("LOCATION") else _default(table, values)
        )
        wanted.append((values, place_))
    cursor.finish()
    for values, location in wanted:
        if not _add_partition(catalogue, context, table, values, location) and not optional:
            spec = ", ".join(values)
            raise failed(f"AlreadyExistsException(message:Partition already exists:[{spec}])")
    return text_result([])


def drop_partitions(
    catalogue: Catalogue, clients: Clients, context: Context, source: Source
) -> Result:
    """ALTER TABLE name DROP [IF EXISTS] PARTITION (k=v), PARTITION (k=v) ..."""
    cursor, table = _altered(catalogue, context, source)
    cursor.expect("DROP")
    optional = cursor.accept("IF", "EXISTS")
    glue = catalogue.glue(context.region, table.catalog)
    while cursor.accept("PARTITION"):
        values = _partition_values(cursor, table)
        cursor.accept(",")
        try:
            glue.delete_partition(
                DatabaseName=table.database, TableName=table.name, PartitionValues=values
            )
        except ClientError as error:
            if error_code(error) != "EntityNotFoundException":
                raise
            if not optional:
                raise QueryFailure(
                    "FAILED: SemanticException [Error 10006]: Partition not found "
                    f"({', '.join(values)})",
                    type=TYPE_DDL,
                ) from error
    cursor.finish()
    return text_result([])


def repair_table(
    catalogue: Catalogue, clients: Clients, context: Context, source: Source
) -> Result:
    """MSCK REPAIR TABLE name: enter the partitions whose folders are called ``key=value``."""
    cursor = Cursor(source, "hive")
    cursor.expect("MSCK")
    cursor.expect("REPAIR")
    cursor.expect("TABLE")
    table = existing_table(catalogue, context, cursor)
    cursor.finish()
    known = {one.values for one in catalogue.registered(context.region, table)}
    base = table.storage.location.rstrip("/") + "/"
    found: dict[tuple[str, ...], str] = {}
    for stored in catalogue.objects.under(context.region, base):
        folders = stored.uri.removeprefix(base).split("/")[: len(table.keys)]
        names = [one.partition("=")[0].lower() for one in folders]
        if names == [one.name for one in table.keys]:
            values = tuple(unquote(one.partition("=")[2]) for one in folders)
            found[values] = base + "".join(f"{one}/" for one in folders)
    missing = {values: place_ for values, place_ in found.items() if values not in known}
    for values, location in missing.items():
        _add_partition(catalogue, context, table, list(values), location)
    specs = [
        "/".join(f"{key.name}={value}" for key, value in zip(table.keys, one, strict=True))
        for one in missing
    ]
    lines = []
    if specs:
        listed = " ".join(f"{table.name}:{one}" for one in specs)
        lines = [f"Partitions not in metastore:\t{listed}"]
        lines += [f"Repair: Added partition to metastore {table.name}:{one}" for one in specs]
    return text_result(lines)


def change_table(
    catalogue: Catalogue, clients: Clients, context: Context, source: Source
) -> Result:
    """ALTER TABLE ... ADD COLUMNS, SET TBLPROPERTIES, SET LOCATION."""
    cursor, table = _altered(catalogue, context, source)
    allowed = ("Name", "Description", "Owner", "Retention", "StorageDescriptor", "PartitionKeys")
    more = ("ViewOriginalText", "ViewExpandedText", "TableType", "Parameters")
    given = {key: value for key, value in table.description.items() if key in (*allowed, *more)}
    if cursor.accept("ADD", "COLUMNS") or (cursor.accept("ADD") and cursor.accept("COLUMNS")):
        columns = given["StorageDescriptor"]["Columns"]
        given["StorageDescriptor"]["Columns"] = [*columns, *read_columns(cursor)]
    else:
        cursor.expect("SET")
        if cursor.accept("TBLPROPERTIES"):
            changed = {key: str(value) for key, value in cursor.properties().items()}
            given["Parameters"] = {**table.parameters, **changed}
        else:
            cursor.expect("LOCATION")
            given["StorageDescriptor"]["Location"] = read_location(cursor.text())
    cursor.finish()
    glue = catalogue.glue(context.region, table.catalog)
    glue.update_table(DatabaseName=table.database, TableInput=given)
    return text_result([])


def _altered(catalogue: Catalogue, context: Context, source: Source) -> tuple[Cursor, Table]:
    cursor = Cursor(source, "hive")
    cursor.expect("ALTER")
    cursor.expect("TABLE")
    return cursor, existing_table(catalogue, context, cursor)


def _partition_values(cursor: Cursor, table: Table) -> list[str]:
    given = {name.lower(): str(value) for name, value in cursor.properties_of_partition().items()}
    names = [one.name for one in table.keys]
    if sorted(given) != sorted(names):
        raise QueryFailure(
            "FAILED: SemanticException [Error 10098]: Partition spec {"
            + ", ".join(f"{key}={value}" for key, value in given.items())
            + "} does not name the partition columns of the table",
            type=TYPE_DDL,
        )
    return [given[name] for name in names]


def _default(table: Table, values: list[str]) -> str:
    base = table.storage.location.rstrip("/") + "/"
    pairs = zip(table.keys, values, strict=True)
    return base + "".join(f"{key.name}={value}/" for key, value in pairs)


def _add_partition(
    catalogue: Catalogue, context: Context, table: Table, values: list[str], location: str
) -> bool:
    descriptor = {**table.description["StorageDescriptor"], "Location": location}
    try:
        catalogue.glue(context.region, table.catalog).create_partition(
            DatabaseName=table.database,
            TableName=table.name,
            PartitionInput={"Values": values, "StorageDescriptor": descriptor},
        )
    except ClientError as error:
        if error_code(error) != "AlreadyExistsException":
            raise
        return False
    return True


Performer = Callable[[Catalogue, Clients, Context, Source], Result]
PERFORMERS: dict[str, Performer] = {
    "ALTER_TABLE_ADD_PARTITION": add_partitions,
    "ALTER_TABLE_DROP_PARTITION": drop_partitions,
    "ALTER_TABLE_ADD_COLUMNS": change_table,
    "ALTER_TABLE_SET_TBLPROPERTIES": change_table,
    "ALTER_TABLE_SET_LOCATION": change_table,
    "MSCK_REPAIR_TABLE": repair_table,
}
