"""Statements that change the catalogue: databases, tables, partitions, in Hive's dialect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from batcat_runtime.errors import DataFormatError

from ...clients import Clients
from ..catalogue import Catalogue
from ..hive_types import parse_hive_type
from ..objects import error_code, split_location
from ..tables import Table
from .cursor import Cursor
from .entering import place, storage_descriptor
from .failures import TYPE_DDL, QueryFailure
from .parsing import Source
from .planning import Context
from .results import Result, text_result

_TASK = "FAILED: Execution Error, return code 1 from org.apache.hadoop.hive.ql.exec.DDLTask."
_FORMATS = {"PARQUET", "TEXTFILE", "JSON", "ORC"}
_TEXT_DELIMITERS = {
    ("FIELDS", "TERMINATED", "BY"): "field.delim",
    ("ESCAPED", "BY"): "escape.delim",
    ("COLLECTION", "ITEMS", "TERMINATED", "BY"): "collection.delim",
    ("MAP", "KEYS", "TERMINATED", "BY"): "mapkey.delim",
    ("LINES", "TERMINATED", "BY"): "line.delim",
    ("NULL", "DEFINED", "AS"): "serialization.null.format",
}


def failed(text: str) -> QueryFailure:
    """Return the failure of a DDL task in Hive's words."""
    return QueryFailure(f"{_TASK} {text}", type=TYPE_DDL)


def create_database(
    catalogue: Catalogue, clients: Clients, context: Context, source: Source
) -> Result:
    """CREATE DATABASE [IF NOT EXISTS] name [COMMENT] [LOCATION] [WITH DBPROPERTIES]."""
    cursor = Cursor(source, "hive")
    cursor.expect("CREATE")
    if not cursor.accept("DATABASE"):
        cursor.expect("SCHEMA")
    optional = cursor.accept("IF", "NOT", "EXISTS")
    catalog, name = _database(cursor, context)
    given: dict[str, Any] = {"Name": name}
    if cursor.accept("COMMENT"):
        given["Description"] = cursor.text()
    if cursor.accept("LOCATION"):
        given["LocationUri"] = read_location(cursor.text())
    if cursor.accept("WITH", "DBPROPERTIES"):
        given["Parameters"] = {key: str(value) for key, value in cursor.properties().items()}
    cursor.finish()
    try:
        catalogue.glue(context.region, catalog).create_database(DatabaseInput=given)
    except ClientError as error:
        if error_code(error) != "AlreadyExistsException":
            raise
        if not optional:
            raise failed(f"Database {name} already exists") from error
    return text_result([])


def drop_database(
    catalogue: Catalogue, clients: Clients, context: Context, source: Source
) -> Result:
    """DROP DATABASE [IF EXISTS] name [RESTRICT | CASCADE]."""
    cursor = Cursor(source, "hive")
    cursor.expect("DROP")
    if not cursor.accept("DATABASE"):
        cursor.expect("SCHEMA")
    optional = cursor.accept("IF", "EXISTS")
    catalog, name = _database(cursor, context)
    cascade = cursor.accept("CASCADE")
    cursor.accept("RESTRICT")
    cursor.finish()
    if not catalogue.has_database(context.region, catalog, name):
        if optional:
            return text_result([])
        raise QueryFailure(
            f"FAILED: SemanticException [Error 10072]: Database does not exist: {name}"
        )
    if not cascade and catalogue.tables_of(context.region, catalog, name):
        raise failed(
            f"InvalidOperationException(message:Database {name} is not empty. One or more tables "
            "exist.)"
        )
    catalogue.glue(context.region, catalog).delete_database(Name=name)
    return text_result([])


def create_table(
    catalogue: Catalogue, clients: Clients, context: Context, source: Source
) -> Result:
    """CREATE EXTERNAL TABLE, in Hive's dialect."""
    cursor = Cursor(source, "hive")
    cursor.expect("CREATE")
    external = cursor.accept("EXTERNAL")
    cursor.expect("TABLE")
    optional = cursor.accept("IF", "NOT", "EXISTS")
    catalog, database, name = place(cursor.names(), context)
    columns = read_columns(cursor)
    given = _clauses(cursor)
    properties = given["parameters"]
    if properties.get("table_type", "").upper() == "ICEBERG":
        raise QueryFailure("NOT_SUPPORTED: The embedded AWS does not have Iceberg tables")
    if not external:
        raise failed(
            "MetaException(message:Managed tables are not supported. Use CREATE EXTERNAL TABLE.)"
        )
    location = given["location"]
    if not location:
        raise QueryFailure(
            "FAILED: SemanticException [Error 10294]: External tables must specify a LOCATION.",
            type=TYPE_DDL,
        )
    repeated = {one["Name"] for one in columns} & {one["Name"] for one in given["keys"]}
    if repeated:
        raise QueryFailure(
            "FAILED: SemanticException [Error 10035]: Column repeated in partitioning columns",
            type=TYPE_DDL,
        )
    descriptor = {**given["storage"], "Columns": columns, "Location": location}
    table = {
        "Name": name,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"EXTERNAL": "TRUE", **properties},
        "PartitionKeys": given["keys"],
        "StorageDescriptor": descriptor,
    }
    if given["comment"]:
        table["Parameters"]["comment"] = given["comment"]
    if not catalogue.has_database(context.region, catalog, database):
        raise QueryFailure(
            f"FAILED: SemanticException [Error 10072]: Database does not exist: {database}",
            type=TYPE_DDL,
        )
    try:
        catalogue.glue(context.region, catalog).create_table(
            DatabaseName=database, TableInput=table
        )
    except ClientError as error:
        if error_code(error) != "AlreadyExistsException":
            raise
        if not optional:
            raise failed(f"AlreadyExistsException(message:Table {name} already exists.)") from error
    return text_result([])


def drop_table(catalogue: Catalogue, clients: Clients, context: Context, source: Source) -> Result:
    """DROP TABLE [IF EXISTS] name, and DROP VIEW [IF EXISTS] name."""
    view = source.text.split(maxsplit=2)[1].upper() == "VIEW"
    cursor = Cursor(source, "trino" if view else "hive")
    cursor.expect("DROP")
    cursor.expect("VIEW" if view else "TABLE")
    optional = cursor.accept("IF", "EXISTS")
    catalog, database, name = place(cursor.names(), context)
    cursor.accept("PURGE")
    cursor.finish()
    table = catalogue.find(context.region, catalog, database, name)
    if table is None:
        if optional:
            return text_result([])
        if view:
            raise QueryFailure(
                f"VIEW_NOT_FOUND: line 1:1: View '{catalog}.{database}.{name}' does not exist"
            )
        raise QueryFailure(
            f"FAILED: SemanticException [Error 10001]: Table not found {database}.{name}",
            type=TYPE_DDL,
        )
    if view != (table.view_query is not None):
        raise failed(f"Cannot drop a {'table with DROP VIEW' if view else 'view with DROP TABLE'}")
    catalogue.glue(context.region, catalog).delete_table(DatabaseName=database, Name=name)
    return text_result([])


Performer = Callable[[Catalogue, Clients, Context, Source], Result]
PERFORMERS: dict[str, Performer] = {
    "CREATE_DATABASE": create_database,
    "DROP_DATABASE": drop_database,
    "CREATE_TABLE": create_table,
    "DROP_TABLE": drop_table,
    "DROP_VIEW": drop_table,
}


def _database(cursor: Cursor, context: Context) -> tuple[str, str]:
    names = cursor.names()
    return (names[0], names[1]) if len(names) == 2 else (context.catalog, names[0])


def read_location(text: str) -> str:
    """Return an S3 location, or refuse what is none."""
    try:
        bucket, _ = split_location(text)
    except ValueError:
        bucket = ""
    if not bucket or not text.startswith("s3://"):
        raise failed(
            f"MetaException(message:Got exception: java.io.IOException No FileSystem for scheme, "
            f"or not an S3 location: {text})"
        )
    return text


def read_columns(cursor: Cursor) -> list[dict[str, str]]:
    """Read column definitions in parentheses, as Glue keeps them."""
    cursor.expect("(")
    found: list[dict[str, str]] = []
    while True:
        name = cursor.name()
        start, kind = cursor.offset, cursor.type_text()
        try:
            column = {"Name": name, "Type": parse_hive_type(kind).hive}
        except DataFormatError as error:
            where = cursor.source.place(start).removeprefix("line ")
            raise QueryFailure(
                f"FAILED: ParseException line {where} cannot recognize input near '{kind}' in "
                "column type",
                type=TYPE_DDL,
            ) from error
        if cursor.accept("COMMENT"):
            column["Comment"] = cursor.text()
        if name in {one["Name"] for one in found}:
            raise failed(f"InvalidObjectException(message:Duplicate column name: {name})")
        found.append(column)
        if not cursor.accept(","):
            break
    cursor.expect(")")
    return found


def _clauses(cursor: Cursor) -> dict[str, Any]:
    """Read what follows the columns of CREATE TABLE, in any order that Hive takes."""
    found: dict[str, Any] = {"comment": "", "keys": [], "location": "", "parameters": {}}
    serde, parameters, form = "", {"serialization.format": "1"}, "TEXTFILE"
    formats: dict[str, str] = {}
    while not cursor.at_end:
        if cursor.accept("COMMENT"):
            found["comment"] = cursor.text()
        elif cursor.accept("PARTITIONED", "BY"):
            found["keys"] = read_columns(cursor)
        elif cursor.accept("CLUSTERED", "BY"):
            cursor.group()
            cursor.expect("INTO")
            cursor.value()
            cursor.expect("BUCKETS")
        elif cursor.accept("ROW", "FORMAT", "SERDE"):
            serde = cursor.text()
        elif cursor.accept("WITH", "SERDEPROPERTIES"):
            parameters |= {key: str(value) for key, value in cursor.properties().items()}
        elif cursor.accept("ROW", "FORMAT", "DELIMITED"):
            parameters |= _delimiters(cursor)
        elif cursor.accept("STORED", "AS", "INPUTFORMAT"):
            formats["InputFormat"] = cursor.text()
            cursor.expect("OUTPUTFORMAT")
            formats["OutputFormat"] = cursor.text()
        elif cursor.accept("STORED", "AS"):
            form = cursor.name().upper()
        elif cursor.accept("LOCATION"):
            found["location"] = read_location(cursor.text())
        elif cursor.accept("TBLPROPERTIES"):
            found["parameters"] = {key: str(v) for key, v in cursor.properties().items()}
        else:
            raise cursor.unexpected("a clause of CREATE TABLE")
    if form not in _FORMATS:
        raise failed(f"Unrecognized file format in STORED AS clause: '{form}'")
    storage = {**storage_descriptor([], "", form, parameters), **formats}
    if serde:
        storage["SerdeInfo"]["SerializationLibrary"] = serde
    found["storage"] = storage
    return found


def _delimiters(cursor: Cursor) -> dict[str, str]:
    found: dict[str, str] = {}
    more = True
    while more:
        more = False
        for words, name in _TEXT_DELIMITERS.items():
            if cursor.accept(*words):
                found[name] = cursor.text()
                more = True
    if "field.delim" in found:
        found["serialization.format"] = found["field.delim"]
    return found


def existing_table(catalogue: Catalogue, context: Context, cursor: Cursor) -> Table:
    """Read a table's name and return the table, which must exist."""
    catalog, database, name = place(cursor.names(), context)
    table = catalogue.find(context.region, catalog, database, name)
    if table is None:
        raise QueryFailure(
            f"FAILED: SemanticException [Error 10001]: Table not found {database}.{name}",
            type=TYPE_DDL,
        )
    return table
