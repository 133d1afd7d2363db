"""Statements on the catalogue: databases, tables, views and partitions, SHOW and DESCRIBE."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError
from sqlglot import exp

from batcat_runtime.errors import DataFormatError

from .athena_query import Context, Plan
from .athena_results import Result, printed
from .athena_text import Source, syntax_error
from .catalogue import Catalogue
from .failures import DDL, SYNTAX, QueryFailure, semantic
from .objects import error_code, is_data, split_location
from .tables import Column, Table, encode_view, folder
from .types import from_hive, hive_name, trino_name

Name = tuple[str, str, str]

_HADOOP = "org.apache.hadoop"
_TEXT_OUTPUT = f"{_HADOOP}.hive.ql.io.HiveIgnoreKeyTextOutputFormat"
_STORAGE = {
    # Format: (SerDe, input format, output format)
    "PARQUET": (
        f"{_HADOOP}.hive.ql.io.parquet.serde.ParquetHiveSerDe",
        f"{_HADOOP}.hive.ql.io.parquet.MapredParquetInputFormat",
        f"{_HADOOP}.hive.ql.io.parquet.MapredParquetOutputFormat",
    ),
    "TEXTFILE": (
        f"{_HADOOP}.hive.serde2.lazy.LazySimpleSerDe",
        f"{_HADOOP}.mapred.TextInputFormat",
        _TEXT_OUTPUT,
    ),
    "JSON": (
        "org.apache.hive.hcatalog.data.JsonSerDe",
        f"{_HADOOP}.mapred.TextInputFormat",
        _TEXT_OUTPUT,
    ),
}
_DELIMITED = {
    "fields": "field.delim",
    "escaped": "escape.delim",
    "collection_items": "collection.delim",
    "map_keys": "mapkey.delim",
    "lines": "line.delim",
    "null": "serialization.null.format",
}


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
    try:
        return _PERFORMERS[kind](catalogue, context, source)
    except QueryFailure as failure:
        if failure.kind != SYNTAX or kind == "DROP_VIEW":
            raise
        said = failure.reason.removeprefix("SYNTAX_ERROR: ")
        raise QueryFailure(f"FAILED: ParseException {said}", DDL) from failure


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
    form: str,
    keys: Sequence[str] = (),
    delimiter: str = "\x01",
) -> dict[str, Any]:
    """Return Glue's TableInput of a table.

    Parameters
    ----------
    name : str
        The table's name.
    columns : sequence of (name, Hive type)
        With partition keys.
    location, form : str
        Where its objects lie, and PARQUET, TEXTFILE or JSON.
    keys : sequence of str
        Which columns are partition keys.
    delimiter : str
        Between the fields of text.
    """
    parameters = {"field.delim": delimiter, "serialization.format": delimiter}
    listed = [{"Name": column, "Type": kind} for column, kind in columns]
    storage = _storage(form, parameters if form == "TEXTFILE" else {}, location)
    storage["Columns"] = [one for one in listed if one["Name"] not in keys]
    return {
        "Name": name,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"EXTERNAL": "TRUE", "has_encrypted_data": "false"},
        "PartitionKeys": [one for one in listed if one["Name"] in keys],
        "StorageDescriptor": storage,
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


# Statements that change the catalogue.


def _create_database(catalogue: Catalogue, context: Context, source: Source) -> Result:
    name, optional = _database(source)
    given: dict[str, Any] = {"Name": name}
    for clause, member in (("COMMENT", "Description"), ("LOCATION", "LocationUri")):
        if match := re.search(rf"\b{clause}\s+'([^']*)'", source.text, re.IGNORECASE):
            given[member] = match[1]
    try:
        catalogue.glue(context.region).create_database(DatabaseInput=given)
    except ClientError as error:
        if error_code(error) != "AlreadyExistsException":
            raise
        if not optional:
            raise _failed(f"Database {name} already exists") from error
    return printed([])


def _drop_database(catalogue: Catalogue, context: Context, source: Source) -> Result:
    name, optional = _database(source)
    if not catalogue.has_database(context.region, name):
        if optional:
            return printed([])
        raise _meaningless(f"[Error 10072]: Database does not exist: {name}")
    cascade = re.search(r"\bCASCADE\s*$", source.text, re.IGNORECASE)
    if not cascade and catalogue.tables(context.region, context.catalog, name):
        said = f"Database {name} is not empty. One or more tables exist."
        raise _failed(f"InvalidOperationException(message:{said})")
    catalogue.glue(context.region).delete_database(Name=name)
    return printed([])


def _database(source: Source) -> tuple[str, bool]:
    """Return the database that is created or dropped, and whether it may be there or missing."""
    match = re.match(
        r"\w+\s+\w+\s+(IF\s+(?:NOT\s+)?EXISTS\s+)?(?:[`\"]?\w+[`\"]?\.)?[`\"]?([\w-]+)",
        source.text,
        re.IGNORECASE,
    )
    if match is None:
        raise syntax_error("line 1:1", "mismatched input: the name of a database is due")
    return match[2].lower(), bool(match[1])


def _create_table(catalogue: Catalogue, context: Context, source: Source) -> Result:
    create = source.statement()
    if not isinstance(create, exp.Create) or not isinstance(create.this, exp.Schema):
        raise syntax_error("line 1:1", "mismatched input in CREATE TABLE")
    _, database, name = place(create, context)
    given = {type(one): one for one in create.args["properties"].expressions}
    plain = [one for one in create.args["properties"].expressions if type(one) is exp.Property]
    parameters = {one.name: str(one.args["value"].name) for one in plain}
    if parameters.get("table_type", "").upper() == "ICEBERG":
        raise QueryFailure("NOT_SUPPORTED: The embedded AWS does not have Iceberg tables")
    if exp.ExternalProperty not in given:
        said = "Managed tables are not supported. Use CREATE EXTERNAL TABLE."
        raise _failed(f"MetaException(message:{said})")
    if exp.LocationProperty not in given:
        raise _meaningless("[Error 10294]: External tables must specify a LOCATION.")
    columns = _columns(create.this.expressions)
    keys = (
        _columns(given[exp.PartitionedByProperty].this.expressions)
        if (exp.PartitionedByProperty in given)
        else []
    )
    if {one["Name"] for one in columns} & {one["Name"] for one in keys}:
        raise _meaningless("[Error 10035]: Column repeated in partitioning columns")
    if exp.SchemaCommentProperty in given:
        parameters["comment"] = given[exp.SchemaCommentProperty].name
    storage = {**_stored_as(given), "Columns": columns}
    table = {
        "Name": name,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"EXTERNAL": "TRUE", **parameters},
        "PartitionKeys": keys,
        "StorageDescriptor": storage,
    }
    if not catalogue.has_database(context.region, database):
        raise _meaningless(f"[Error 10072]: Database does not exist: {database}")
    try:
        catalogue.glue(context.region).create_table(DatabaseName=database, TableInput=table)
    except ClientError as error:
        if error_code(error) != "AlreadyExistsException":
            raise
        if not create.args.get("exists"):
            said = f"AlreadyExistsException(message:Table {name} already exists.)"
            raise _failed(said) from error
    return printed([])


def _stored_as(given: Mapping[type, Any]) -> dict[str, Any]:
    """Return Glue's StorageDescriptor for the clauses of CREATE EXTERNAL TABLE."""
    form, inputs = "TEXTFILE", None
    if exp.FileFormatProperty in given:
        inputs = given[exp.FileFormatProperty].this
        form = "TEXTFILE" if isinstance(inputs, exp.InputOutputFormat) else inputs.name.upper()
    if form not in _STORAGE:
        raise _failed(f"Unrecognized file format in STORED AS clause: '{form}'")
    parameters = {"serialization.format": "1"}
    if delimited := given.get(exp.RowFormatDelimitedProperty):
        found = {name: delimited.args.get(clause) for clause, name in _DELIMITED.items()}
        parameters |= {name: one.name for name, one in found.items() if one is not None}
        parameters["serialization.format"] = parameters.get("field.delim", "1")
    location = given[exp.LocationProperty].name
    storage = _storage(form, parameters, location)
    if isinstance(inputs, exp.InputOutputFormat):
        storage["InputFormat"] = inputs.args["input_format"].name
        storage["OutputFormat"] = inputs.args["output_format"].name
    if serde := given.get(exp.RowFormatSerdeProperty):
        storage["SerdeInfo"]["SerializationLibrary"] = serde.name
        more = serde.args.get("serde_properties")
        parameters |= (
            {one.name: one.args["value"].name for one in more.expressions if more} if more else {}
        )
    return storage


def _columns(listed: Sequence[exp.Expr]) -> list[dict[str, str]]:
    """Return column definitions as Glue keeps them."""
    found: list[dict[str, str]] = []
    for one in listed:
        kind = one.args.get("kind")
        try:
            column = {
                "Name": one.name.lower(),
                "Type": hive_name(from_hive(kind.sql("hive") if kind else "")),
            }
        except DataFormatError as error:
            said = f"cannot recognize input near '{kind}' in column type"
            raise QueryFailure(f"FAILED: ParseException line 1:1 {said}", DDL) from error
        if comment := one.find(exp.CommentColumnConstraint):
            column["Comment"] = comment.name
        if column["Name"] in (each["Name"] for each in found):
            said = f"Duplicate column name: {column['Name']}"
            raise _failed(f"InvalidObjectException(message:{said})")
        found.append(column)
    return found


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
        raise _failed(f"Cannot drop a {'table with DROP VIEW' if view else 'view with DROP TABLE'}")
    catalogue.glue(context.region).delete_table(DatabaseName=database, Name=name)
    return printed([])


def _add_partitions(catalogue: Catalogue, context: Context, source: Source) -> Result:
    table = _existing(catalogue, context, source, r"ALTER\s+TABLE\s+")
    for spec, location in re.findall(
        r"PARTITION\s*\(([^)]*)\)(?:\s*LOCATION\s*'([^']*)')?", source.text, re.IGNORECASE
    ):
        values = _values(table, spec)
        names = [f"{key.name}={value}" for key, value in zip(table.keys, values, strict=True)]
        target = folder(location) or table.location + "/".join(names) + "/"
        new = enter_partitions(catalogue, context.region, table, {values: target})
        if not new and not re.search(r"IF\s+NOT\s+EXISTS", source.text, re.IGNORECASE):
            said = f"Partition already exists:[{', '.join(values)}]"
            raise _failed(f"AlreadyExistsException(message:{said})")
    return printed([])


def _drop_partitions(catalogue: Catalogue, context: Context, source: Source) -> Result:
    table = _existing(catalogue, context, source, r"ALTER\s+TABLE\s+")
    optional = re.search(r"IF\s+EXISTS", source.text, re.IGNORECASE)
    for spec in re.findall(r"PARTITION\s*\(([^)]*)\)", source.text, re.IGNORECASE):
        values = list(_values(table, spec))
        try:
            catalogue.glue(context.region).delete_partition(
                DatabaseName=table.database, TableName=table.name, PartitionValues=values
            )
        except ClientError as error:
            if error_code(error) != "EntityNotFoundException":
                raise
            if not optional:
                said = f"[Error 10006]: Partition not found ({spec.strip()})"
                raise _meaningless(said) from error
    return printed([])


def _values(table: Table, spec: str) -> tuple[str, ...]:
    """Read ``day = '2022-01-01', hour = 3``, in the order of the table's keys."""
    pairs = re.findall(r"[`\"]?(\w+)[`\"]?\s*=\s*(?:'([^']*)'|([\w.-]+))", spec)
    given = {name.lower(): text or number for name, text, number in pairs}
    if set(given) != {key.name for key in table.keys}:
        raise _meaningless(f"Partition spec {{{spec}}} does not name the partition keys")
    return tuple(given[key.name] for key in table.keys)


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
    told = [
        "/".join(f"{name}={value}" for name, value in zip(names, values, strict=True))
        for values in sorted(new)
    ]
    lines = [f"Repair: Added partition to metastore {table.name}:{one}" for one in told]
    missing = [f"Partitions not in metastore:\t{' '.join(f'{table.name}:{one}' for one in told)}"]
    return printed([*(missing if told else []), *lines], "result")


# Statements that tell of the catalogue.


def _show_databases(catalogue: Catalogue, context: Context, source: Source) -> Result:
    names = [str(one["Name"]) for one in catalogue.databases(context.region)]
    return printed(_liked(names, source), "database_name")


def _show_tables(catalogue: Catalogue, context: Context, source: Source) -> Result:
    views = bool(re.match(r"SHOW\s+VIEWS", source.text, re.IGNORECASE))
    match = re.search(r"\b(?:IN|FROM)\s+[`\"]?(\w+)", source.text, re.IGNORECASE)
    database = match[1].lower() if match else context.database
    if not database or not catalogue.has_database(context.region, database):
        raise _meaningless(f"[Error 10072]: Database does not exist: {database}")
    found = catalogue.tables(context.region, context.catalog, database)
    names = [one.name for one in found if not views or one.view_query is not None]
    return printed(_liked(names, source), "views" if views else "tab_name")


def _show_columns(catalogue: Catalogue, context: Context, source: Source) -> Result:
    table = _existing(catalogue, context, source, r"SHOW\s+COLUMNS\s+(?:IN|FROM)\s+")
    return printed([f"{one.name:<20}" for one in table.all_columns], "field")


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


def _show_create_view(catalogue: Catalogue, context: Context, source: Source) -> Result:
    table = _existing(catalogue, context, source, r"SHOW\s+CREATE\s+VIEW\s+")
    if table.view_query is None:
        said = f"Relation '{table.name}' is a table, not a view"
        raise QueryFailure(f"NOT_SUPPORTED: line 1:1: {said}")
    text = f"CREATE VIEW {table.full_name} AS\n{table.view_query}"
    return printed(text.splitlines(), "Create View")


def _show_create_table(catalogue: Catalogue, context: Context, source: Source) -> Result:
    table = _existing(catalogue, context, source, r"SHOW\s+CREATE\s+TABLE\s+")
    if table.view_query is not None:
        raise _meaningless(f"{table.name} is a view; use SHOW CREATE VIEW")
    told = table.description.get("StorageDescriptor", {})
    serde = told.get("SerdeInfo", {})
    lines = [f"CREATE EXTERNAL TABLE `{table.database}.{table.name}`(", *_defined(table.columns)]
    if table.keys:
        lines += ["PARTITIONED BY ( ", *_defined(table.keys)]
    lines += ["ROW FORMAT SERDE ", f"  '{serde.get('SerializationLibrary', '')}' "]
    if serde.get("Parameters"):
        lines += ["WITH SERDEPROPERTIES ( ", *_pairs(serde["Parameters"])]
    lines += ["STORED AS INPUTFORMAT ", f"  '{told.get('InputFormat', '')}' "]
    lines += ["OUTPUTFORMAT ", f"  '{told.get('OutputFormat', '')}'"]
    lines += ["LOCATION", f"  '{table.location.rstrip('/')}'"]
    kept = {k: v for k, v in (table.description.get("Parameters") or {}).items() if k != "EXTERNAL"}
    if kept:
        lines += ["TBLPROPERTIES (", *_pairs(kept)]
    return printed(lines, "createtab_stmt")


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
    "CREATE_DATABASE": _create_database,
    "DROP_DATABASE": _drop_database,
    "CREATE_TABLE": _create_table,
    "DROP_TABLE": _drop_table,
    "DROP_VIEW": _drop_table,
    "ALTER_TABLE_ADD_PARTITION": _add_partitions,
    "ALTER_TABLE_DROP_PARTITION": _drop_partitions,
    "MSCK_REPAIR_TABLE": _repair,
    "SHOW_DATABASES": _show_databases,
    "SHOW_TABLES": _show_tables,
    "SHOW_VIEWS": _show_tables,
    "SHOW_COLUMNS": _show_columns,
    "SHOW_PARTITIONS": _show_partitions,
    "SHOW_CREATE_TABLE": _show_create_table,
    "SHOW_CREATE_VIEW": _show_create_view,
    "DESCRIBE_TABLE": _describe,
}


def _existing(catalogue: Catalogue, context: Context, source: Source, before: str) -> Table:
    """Return the table whose name comes after some words; it must exist."""
    name = r"((?:`[^`]+`|\"[^\"]+\"|[\w$-]+)(?:\.(?:`[^`]+`|\"[^\"]+\"|[\w$-]+))*)"
    match = re.match(before + name, source.text, re.IGNORECASE)
    if match is None:
        raise QueryFailure("FAILED: ParseException line 1:1 mismatched input: a name is due", DDL)
    parts = [one.strip('`"').lower() for one in match[1].split(".")]
    missing = [context.catalog, context.database or ""][: 3 - len(parts)]
    catalog, database, table = [*missing, *parts][-3:]
    found = catalogue.find(context.region, catalog, database, table)
    if found is None:
        raise _meaningless(f"[Error 10001]: Table not found {database}.{table}")
    return found


def _storage(form: str, parameters: Mapping[str, str], location: str) -> dict[str, Any]:
    """Return Glue's StorageDescriptor without columns."""
    try:
        split_location(location)
    except ValueError as error:
        said = f"Got exception: java.io.IOException Not an S3 location: {location}"
        raise _failed(f"MetaException(message:{said})") from error
    serde, reads, writes = _STORAGE[form]
    return {
        "Location": location,
        "InputFormat": reads,
        "OutputFormat": writes,
        "Compressed": False,
        "NumberOfBuckets": -1,
        "SerdeInfo": {"SerializationLibrary": serde, "Parameters": parameters},
        "StoredAsSubDirectories": False,
    }


def _liked(names: Sequence[str], source: Source) -> list[str]:
    """Keep the names that one of the alternatives of a pattern fits, as Hive compares them."""
    match = re.search(r"'([^']*)'\s*$", source.text)
    wanted = match[1].lower().split("|") if match else ["*"]
    return sorted(one for one in names if any(fnmatch.fnmatch(one, each) for each in wanted))


def _described(column: Column) -> str:
    return f"{column.name:<20}\t{hive_name(column.type):<20}\t{column.comment:<20}"


def _defined(columns: Sequence[Column]) -> list[str]:
    texts = [
        f"  `{one.name}` {hive_name(one.type)}"
        + (f" COMMENT '{one.comment}'" if one.comment else "")
        for one in columns
    ]
    return [f"{text}, " for text in texts[:-1]] + [f"{text})" for text in texts[-1:]]


def _pairs(found: Mapping[str, str]) -> list[str]:
    texts = [f"  '{key}'='{value}'" for key, value in sorted(found.items())]
    return [f"{text}, " for text in texts[:-1]] + [f"{text})" for text in texts[-1:]]


def _failed(text: str) -> QueryFailure:
    """Return the failure of a DDL task in Hive's words."""
    task = "org.apache.hadoop.hive.ql.exec.DDLTask."
    return QueryFailure(f"FAILED: Execution Error, return code 1 from {task} {text}", DDL)


def _meaningless(text: str) -> QueryFailure:
    return QueryFailure(f"FAILED: SemanticException {text}", DDL)
