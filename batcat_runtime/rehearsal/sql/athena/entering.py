"""What queries leave in the Glue catalogue: tables of CTAS, views, partitions of INSERT."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ..catalogue import Catalogue
from ..objects import error_code
from ..tables import Table, encode_view
from .failures import TYPE_SEMANTIC, QueryFailure, not_found
from .planning import Context, Plan
from .writing import Target, Written

_HADOOP = "org.apache.hadoop"
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
        f"{_HADOOP}.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
    ),
    "JSON": (
        "org.apache.hive.hcatalog.data.JsonSerDe",
        f"{_HADOOP}.mapred.TextInputFormat",
        f"{_HADOOP}.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
    ),
    "ORC": (
        f"{_HADOOP}.hive.ql.io.orc.OrcSerde",
        f"{_HADOOP}.hive.ql.io.orc.OrcInputFormat",
        f"{_HADOOP}.hive.ql.io.orc.OrcOutputFormat",
    ),
}
_CTAS_PROPERTIES = {
    "bucket_count",
    "bucketed_by",
    "compression_level",
    "external_location",
    "field_delimiter",
    "format",
    "orc_compression",
    "parquet_compression",
    "partitioned_by",
    "write_compression",
    "table_type",
    "is_external",
}


@dataclass(frozen=True)
class Selected:
    """The query of a CTAS.

    Attributes
    ----------
    empty : bool
        Whether it ends in WITH NO DATA.
    """

    text: str
    empty: bool


def place(names: Sequence[str], context: Context) -> tuple[str, str, str]:
    """Return catalogue, database and name of what a statement names."""
    if not 1 <= len(names) <= 3:
        raise QueryFailure(
            f"SYNTAX_ERROR: line 1:1: Too many dots in table name: {'.'.join(names)}"
        )
    if len(names) == 1 and not context.database:
        raise QueryFailure(
            "MISSING_SCHEMA_NAME: line 1:1: Schema must be specified when session schema is not set"
        )
    missing = [context.catalog, context.database or ""][: 3 - len(names)]
    catalog, database, name = [*missing, *names]
    return catalog.lower(), database.lower(), name.lower()


def storage_descriptor(
    columns: Sequence[tuple[str, str]], location: str, form: str, parameters: Mapping[str, str]
) -> dict[str, Any]:
    """Return Glue's StorageDescriptor of a table that is written in a format.

    Parameters
    ----------
    columns : sequence of (name, Hive type)
        Without partition keys.
    location : str
        Where its objects lie.
    form : str
        PARQUET, TEXTFILE, JSON or ORC.
    parameters : mapping of str to str
        Of the SerDe.
    """
    serde, reads, writes = _STORAGE[form]
    return {
        "Columns": [{"Name": name, "Type": kind} for name, kind in columns],
        "Location": location,
        "InputFormat": reads,
        "OutputFormat": writes,
        "Compressed": False,
        "NumberOfBuckets": -1,
        "SerdeInfo": {"SerializationLibrary": serde, "Parameters": dict(parameters)},
        "StoredAsSubDirectories": False,
    }


def without_data(text: str) -> Selected:
    """Split WITH [NO] DATA off a CTAS's query."""
    match = re.search(r"\sWITH\s+(NO\s+)?DATA\s*$", text, re.IGNORECASE)
    if match is None:
        return Selected(text, False)
    return Selected(text[: match.start()], match[1] is not None)


def refuse_ctas(properties: Mapping[str, Any]) -> None:
    """Refuse properties that CTAS does not have.

    Raises
    ------
    QueryFailure
        Naming the property.
    """
    for name in properties:
        if name not in _CTAS_PROPERTIES:
            raise QueryFailure(
                f"INVALID_TABLE_PROPERTY: line 1:1: Table property '{name}' does not exist"
            )
    if str(properties.get("table_type", "HIVE")).upper() == "ICEBERG":
        raise QueryFailure("NOT_SUPPORTED: The embedded AWS does not have Iceberg tables")
    if ("bucketed_by" in properties) != ("bucket_count" in properties):
        raise QueryFailure(
            "INVALID_TABLE_PROPERTY: bucketed_by and bucket_count must be specified together"
        )


def enter_table(
    catalogue: Catalogue,
    region: str,
    name: tuple[str, str, str],
    plan: Plan,
    target: Target,
    written: Written,
) -> None:
    """Enter the table of a CTAS, with its partitions, in Glue."""
    catalog, database, table = name
    pairs = [(n.lower(), kind.hive) for n, kind in zip(plan.names, plan.types, strict=True)]
    keys = target.partitioned_by
    own = [pair for pair in pairs if pair[0] not in keys]
    parameters = {}
    if target.format == "TEXTFILE":
        parameters = {"field.delim": target.delimiter, "serialization.format": target.delimiter}
    descriptor = storage_descriptor(own, target.location, target.format, parameters)
    glue = catalogue.glue(region, catalog)
    glue.create_table(
        DatabaseName=database,
        TableInput={
            "Name": table,
            "TableType": "EXTERNAL_TABLE",
            "Parameters": {"EXTERNAL": "TRUE", "has_encrypted_data": "false"},
            "PartitionKeys": [{"Name": n, "Type": kind} for n, kind in pairs if n in keys],
            "StorageDescriptor": descriptor,
        },
    )
    found = catalogue.find(region, catalog, database, table)
    assert found is not None
    enter_partitions(catalogue, region, found, written)


def enter_partitions(catalogue: Catalogue, region: str, table: Table, written: Written) -> None:
    """Enter partitions that were written, where Glue does not know them yet."""
    if table.parameters.get("projection.enabled", "").lower() == "true":
        return
    glue = catalogue.glue(region, table.catalog)
    descriptor = table.description["StorageDescriptor"]
    for values, location in written.partitions.items():
        try:
            glue.create_partition(
                DatabaseName=table.database,
                TableName=table.name,
                PartitionInput={
                    "Values": list(values),
                    "StorageDescriptor": {**descriptor, "Location": location},
                },
            )
        except ClientError as error:
            if error_code(error) != "AlreadyExistsException":
                raise


def enter_view(
    catalogue: Catalogue,
    context: Context,
    name: tuple[str, str, str],
    plan: Plan,
    text: str,
    replace: bool,
    where: str,
) -> None:
    """Enter a view in Glue as Athena keeps it."""
    catalog, database, view = name
    if not catalogue.has_database(context.region, catalog, database):
        raise not_found("SCHEMA_NOT_FOUND", where, f"Schema '{database}' does not exist")
    for number, column in enumerate(plan.names):
        if column == f"_col{number}":
            raise QueryFailure(
                "MISSING_COLUMN_NAME: line 1:1: Column name not specified at position "
                f"{number + 1}",
                type=TYPE_SEMANTIC,
            )
    existing = catalogue.find(context.region, catalog, database, view)
    if existing is not None and (existing.view_query is None or not replace):
        kind = "View" if existing.view_query is not None else "Table"
        raise QueryFailure(
            f"{kind.upper()}_ALREADY_EXISTS: {where}: {kind} already exists: "
            f"'{catalog}.{database}.{view}'",
            type=TYPE_SEMANTIC,
        )
    pairs = [(n.lower(), kind) for n, kind in zip(plan.names, plan.types, strict=True)]
    stored = {
        "originalSql": text,
        "catalog": context.catalog,
        "schema": context.database or database,
        "columns": [{"name": n, "type": kind.name} for n, kind in pairs],
    }
    given = {
        "Name": view,
        "TableType": "VIRTUAL_VIEW",
        "Parameters": {"presto_view": "true", "comment": "Presto View"},
        "PartitionKeys": [],
        "ViewOriginalText": encode_view(stored),
        "ViewExpandedText": "/* Presto View */",
        "StorageDescriptor": {
            "Columns": [{"Name": n, "Type": kind.hive} for n, kind in pairs],
            "Location": "",
            "SerdeInfo": {},
        },
    }
    glue = catalogue.glue(context.region, catalog)
    change = glue.create_table if existing is None else glue.update_table
    change(DatabaseName=database, TableInput=given)
