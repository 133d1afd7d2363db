"""What the columns of several Parquet objects are together: their own, and those of folders."""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING

from batcat_runtime.errors import DataFormatError
from batcat_runtime.io.places import Place
from batcat_runtime.io.types import partition_values

if TYPE_CHECKING:
    import pyarrow as pa

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def common_schema(schemas: list[pa.Schema], places: list[Place]) -> pa.Schema:
    """Return the columns of all objects, in the first one's order, with types that fit all."""
    import pyarrow as pa

    common: dict[str, tuple[pa.Field, Place]] = {}
    for schema, place in zip(schemas, places, strict=True):
        for field in schema:
            known = common.get(field.name)
            if known is None:
                common[field.name] = (field, place)
            elif known[0].type != field.type:
                common[field.name] = (_wider(known[0], field, known[1], place), known[1])
    fields = [field.with_nullable(True) for field, _ in common.values()]
    return pa.schema(fields, metadata=schemas[0].metadata)


def _wider(one: pa.Field, other: pa.Field, first: Place, place: Place) -> pa.Field:
    import pyarrow as pa

    fields = [
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in (one, other)
    ]
    try:
        schemas = [pa.schema([field.with_nullable(True)]) for field in fields]
        merged = pa.unify_schemas(schemas, promote_options="permissive")
    except pa.ArrowException as error:
        raise DataFormatError(
            f"Column {one.name!r} is {one.type} in {first.uri} and {other.type} in {place.uri}.",
            fix="Read them one by one, or name the columns that go together with `columns`.",
        ) from error
    return merged.field(0)


def fitted(table: pa.Table, schema: pa.Schema, place: Place) -> pa.Table:
    """Return a table with all columns of a schema; those that it lacks are empty."""
    import pyarrow as pa

    if not schema.names:
        return table  # Arrow would forget how many rows it has
    if table.schema.equals(schema):
        return table.replace_schema_metadata(schema.metadata)
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.chunked_array([pa.nulls(table.num_rows, field.type)]))
            continue
        try:
            columns.append(table[field.name].cast(field.type))
        except pa.ArrowException as error:
            raise DataFormatError(
                f"Column {field.name!r} of {place.uri} cannot become {field.type}, which other "
                f"objects need: {error}.",
                fix="Read them one by one, or name the columns that go together with `columns`.",
            ) from error
    return pa.Table.from_arrays(columns, schema=schema)


def folder_columns(places: list[Place], root: str | None) -> dict[str, pa.Array]:
    """Return the columns that folders such as ``day=2022-01-01`` make: a value for each object."""
    if root is None:
        return {}
    found: list[dict[str, str | None]] = []
    for place in places:
        values: dict[str, str | None] = {}
        for folder in place.key.removeprefix(root).split("/")[:-1]:
            name, is_one, value = folder.partition("=")
            if is_one and name:
                value = urllib.parse.unquote(value)
                values[urllib.parse.unquote(name)] = None if value == _NO_VALUE else value
        found.append(values)
    names = dict.fromkeys(name for values in found for name in values)
    return {name: partition_values(values.get(name) for values in found) for name in names}
