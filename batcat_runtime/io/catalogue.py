"""Glue's catalogue: which types Athena has for a DataFrame, and the requests about one table."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from batcat_runtime.errors import DataFormatError, ObjectChangedError, ServiceError, UserError
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.parquet_write import parquet_schema
from batcat_runtime.io.types import FOLDER_TYPES

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

# wr.catalog.create_parquet_table renames 电压 to _, and takes a table that is there already in
# silence: test_names_of_columns, test_first_saves_at_once
_PARQUET = {
    "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    "SerdeInfo": {
        "SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
        "Parameters": {"serialization.format": "1"},
    },
}
# what GetTable tells and UpdateTable takes
_TABLE_INPUT = (
    "Name", "Description", "Owner", "Retention", "StorageDescriptor", "PartitionKeys",
    "ViewOriginalText", "ViewExpandedText", "TableType", "Parameters",
)  # fmt: skip
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_FOLDERS = ("tinyint", "smallint", "int", "bigint", "string", "date", "boolean")
_NUMBERS = ("tinyint", "smallint", "int", "bigint", "float", "double", "decimal")
_DAYS = ("date", "timestamp")

Values = tuple[str, ...]


@dataclass(frozen=True)
class GlueTable:
    """One table in the catalogue, whether it is there yet or not.

    Attributes
    ----------
    client : botocore client
        Of Glue.
    database, name : str
        What it is called.
    """

    client: Any
    database: str
    name: str

    @property
    def title(self) -> str:
        """How errors call it."""
        return f"the Glue table {self.database}.{self.name}"

    def asked(self, action: str) -> contextlib.AbstractContextManager[None]:
        """Name the table, and the action that may be denied, in an error."""
        return translated(self.title, action)

    def found(self) -> dict[str, Any] | None:
        """Return what GetTable says of it, or None if there is none.

        Raises
        ------
        UserError
            The database does not exist.
        """
        try:
            with self.asked("glue:GetTable"):
                table = self.client.get_table(DatabaseName=self.database, Name=self.name)
            return dict(table["Table"])
        except ServiceError as error:
            if _code(error) != "EntityNotFoundException":
                raise
        try:
            with self.asked("glue:GetDatabase"):
                self.client.get_database(Name=self.database)
            return None
        except ServiceError as error:
            if _code(error) != "EntityNotFoundException":
                raise
            raise UserError(
                f"Glue has no database {self.database!r} in this region.",
                fix=f"Create it: aws glue create-database --database-input Name={self.database}",
            ) from error

    def put(self, new: Mapping[str, Any], old: Mapping[str, Any] | None) -> None:
        """Create the table, or change it if it is still as `found` gave it.

        Raises
        ------
        ObjectChangedError
            Somebody else was quicker. Glue says so too when its answer was lost and the request
            was sent again; a table that lies where we want it is ours.
        """
        kept = {name: value for name, value in (old or {}).items() if name in _TABLE_INPUT}
        parameters = {**kept.get("Parameters", {}), **new["Parameters"]}
        table = {**kept, **new, "Name": self.name, "Parameters": parameters}
        given: dict[str, Any] = {"DatabaseName": self.database, "TableInput": table}
        action, request = "glue:CreateTable", self.client.create_table
        if old is not None:
            action, request = "glue:UpdateTable", self.client.update_table
            given |= {"VersionId": old["VersionId"], "SkipArchive": True}
        try:
            with self.asked(action):
                request(**given)
        except ServiceError as error:
            if _code(error) not in ("AlreadyExistsException", "ConcurrentModificationException"):
                raise
            found = self.found()
            if found is None or location(found) != location(new):
                raise self.changed() from error

    def changed(self) -> ObjectChangedError:
        """Return the error that tells of another save at the same time."""
        return ObjectChangedError(
            f"Somebody else saved {self.title} at the same time, so this save gave up and took "
            "back what it had written.",
            fix="Look what the table holds now, and save again if it should be replaced.",
        )

    def partitions(self, wanted: Sequence[Values] | None = None) -> dict[Values, str]:
        """Return where partitions lie: those with the values wanted, or all."""
        place = {"DatabaseName": self.database, "TableName": self.name}
        found: list[dict[str, Any]] = []
        if wanted is None:
            with self.asked("glue:GetPartitions"):
                for page in self.client.get_paginator("get_partitions").paginate(**place):
                    found += page["Partitions"]
        else:
            keys = [{"Values": list(values)} for values in wanted]
            for answer in self._answers("BatchGetPartition", "PartitionsToGet", keys, 1000):
                found += answer["Partitions"]
        return {tuple(each["Values"]): location(each) for each in found}

    def move_partitions(
        self, wanted: Mapping[Values, str], gone: Sequence[Values] = ()
    ) -> dict[Values, str]:
        """Let partitions lie where they are wanted, and take others out; return where they lay.

        wr.catalog.add_parquet_partitions makes new ones, but moves none. What somebody else has
        just made or taken out is no error here: look at `partitions` afterwards.
        """
        there = self.partitions(list(wanted))
        storage = (self.found() or {}).get("StorageDescriptor", {})
        new, moved = [], []
        for values, place in wanted.items():
            descriptor = {**storage, "Location": place}
            given = {"Values": list(values), "StorageDescriptor": descriptor}
            if values not in there:
                new.append(given)
            elif there[values] != place:
                moved.append({"PartitionValueList": list(values), "PartitionInput": given})
        keys = [{"Values": list(values)} for values in gone]
        self._answers("BatchCreatePartition", "PartitionInputList", new, 100)
        self._answers("BatchUpdatePartition", "Entries", moved, 100)
        self._answers("BatchDeletePartition", "PartitionsToDelete", keys, 25)
        return there

    def _answers(
        self, action: str, member: str, entries: Sequence[Any], size: int
    ) -> list[dict[str, Any]]:
        from botocore import xform_name

        request, answers = getattr(self.client, xform_name(action)), []
        for start in range(0, len(entries), size):
            some = {member: list(entries[start : start + size])}
            with self.asked(f"glue:{action}"):
                answers.append(request(DatabaseName=self.database, TableName=self.name, **some))
            for refused in answers[-1].get("Errors", []):
                code = refused.get("ErrorDetail", {}).get("ErrorCode")
                if code not in ("AlreadyExistsException", "EntityNotFoundException"):
                    raise ServiceError(f"Glue refused a partition of {self.title}: {refused}")
        return answers


def _code(error: ServiceError) -> str:
    # client.exceptions has other classes in each thread that asks for them first
    return str(getattr(error.__cause__, "response", {}).get("Error", {}).get("Code"))


def location(described: Mapping[str, Any]) -> str:
    """Return where a table or a partition lies."""
    return str(described["StorageDescriptor"].get("Location", "")).rstrip("/") + "/"


@dataclass(frozen=True)
class DatasetTable:
    """A DataFrame as Athena will know it.

    Attributes
    ----------
    rows : pyarrow.Table
        All columns, each in the type to write.
    columns, keys : dict of str to str
        Athena's types of the columns in the files, and of those that are folders.
    groups : dict of tuple of str to array of int
        For each partition the numbers of its rows; without keys there is one, without values.
    """

    rows: pa.Table
    columns: dict[str, str]
    keys: dict[str, str]
    groups: dict[Values, Any]

    def folder(self, values: Values) -> str:
        """Return a partition's folder, such as ``day=2022-01-01/``; distinct for each."""
        pairs = zip(self.keys, values, strict=True)
        return "".join(f"{name}={quote(value, safe=' ._-+')}/" for name, value in pairs)

    def part(self, values: Values) -> pa.Table:
        """Return a partition's rows; they tell the types of its folders' columns."""
        kinds = {name: str(self.rows.schema.field(name).type) for name in self.keys}
        rows = self.rows.select(list(self.columns))
        if self.keys:
            rows = rows.take(self.groups[values])
        return rows.replace_schema_metadata({FOLDER_TYPES: json.dumps(kinds)} if kinds else None)

    def definition(self, place: str) -> dict[str, Any]:
        """Return what Glue is to know of it."""
        columns, keys = (
            [{"Name": name, "Type": kind} for name, kind in types.items()]
            for types in (self.columns, self.keys)
        )
        return {
            "TableType": "EXTERNAL_TABLE",
            "Parameters": {"EXTERNAL": "TRUE", "classification": "parquet"},
            "PartitionKeys": keys,
            "StorageDescriptor": {"Columns": columns, "Location": place, **_PARQUET},
        }


def dataset_table(
    frame: pd.DataFrame, partition_columns: Sequence[str], known: Mapping[str, str], where: str
) -> DatasetTable:
    """Bring a DataFrame into the types that its columns have in a table.

    Parameters
    ----------
    frame : pandas.DataFrame
        Its column names are taken in lower case, as Glue keeps them.
    partition_columns : sequence of str
        Those that become folders, outermost first.
    known : dict of str to str
        The types that are settled; the others are Athena's nearest ones.
    where : str
        The table, for errors.

    Raises
    ------
    DataFormatError
        A column's name, type or value is not for Athena, or not for this table.
    """
    import pandas as pd
    import pyarrow as pa

    schema = parquet_schema(frame, index=False)
    names = _athena_names(schema.names)
    found = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
    types, columns = {}, {}
    for name, column, field in zip(names, found.columns, schema, strict=True):
        types[name] = known.get(name) or athena_type(name, field.type)
        columns[name] = fitted(name, column, types[name], where)
    keys = {name.lower(): types.pop(name.lower()) for name in partition_columns}
    groups: dict[Values, Any] = {(): None}
    if keys:
        texts = {
            name: _folder_values(name, columns[name], kind).to_pandas()
            for name, kind in keys.items()
        }
        rows = pd.DataFrame(texts).groupby(list(keys)).indices.items()
        groups = {key if isinstance(key, tuple) else (key,): numbers for key, numbers in rows}
    return DatasetTable(pa.table(columns), types, keys, groups)


def _athena_names(names: Sequence[str]) -> list[str]:
    lower = [name.lower() for name in names]
    for name in lower:
        if not re.fullmatch(r"\w+", name):
            legal = re.sub(r"\W", "_", name) or "value"
            raise DataFormatError(
                f"Athena cannot use {name!r} as the name of a column.",
                fix=f"Rename it, for example to {legal!r}.",
            )
        if lower.count(name) > 1:
            raise DataFormatError(
                f"Column {name!r} occurs twice for Athena, which knows lower case only.",
                fix="Rename one of them.",
            )
    return lower


def _folder_values(name: str, values: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    """Return a partition column as the texts that name folders, distinct for distinct values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if kind not in _FOLDERS or name.startswith("_"):
        raise DataFormatError(
            f"Column {name!r} of type {kind} cannot name folders.",
            fix="Partition by texts, integers, dates or booleans, whose names begin with a letter.",
        )
    texts = values.cast(pa.string())
    for text in ("", _NO_VALUE):
        if pc.any(pc.equal(texts, text)).as_py():
            raise DataFormatError(
                f"Column {name!r} holds the text {text!r}, which Athena cannot tell from no value "
                "in the name of a folder.",
                fix="Make it a gap (None) or another text.",
            )
    return texts.fill_null(_NO_VALUE)


def athena_type(name: str, kind: pa.DataType) -> str:
    """Return Athena's type for one of Arrow's; `name` is the column's, for the error.

    Raises
    ------
    DataFormatError
        Athena has no such type.
    """
    import awswrangler as wr
    import pandas as pd
    import pyarrow as pa

    nearest = {  # what awswrangler refuses and Athena can hold
        pa.uint64(): pa.int64(),
        pa.float16(): pa.float32(),
        pa.string_view(): pa.string(),
        pa.large_binary(): pa.binary(),
    }
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    empty = pa.table({name: pa.array([], nearest.get(kind, kind))})
    try:
        types, _ = wr.catalog.extract_athena_types(empty.to_pandas(types_mapper=pd.ArrowDtype))
        if not pa.types.is_decimal256(kind):
            return str(types[name]).lower()
    except (wr.exceptions.UnsupportedType, wr.exceptions.UndetectedType):
        pass
    none = " It holds no value at all." if pa.types.is_null(kind) else ""
    raise DataFormatError(
        f"Column {name!r} is of type {kind}, which Athena does not have.{none}",
        fix=f"Give it another, for example with df[{name!r}] = df[{name!r}].astype('str').",
    )


def fitted(name: str, values: pa.ChunkedArray, kind: str, where: str) -> pa.ChunkedArray:
    """Return a column in the type to write for one of Athena's, each value exactly as it was.

    Numbers may become other numbers, and days moments; a column of gaps becomes anything.

    Raises
    ------
    DataFormatError
        A value would change; the error names the column, the types and the table (`where`).
    """
    import pyarrow as pa
    from awswrangler._data_types import athena2pyarrow  # its public functions go one way only

    gaps = values.null_count == len(values)
    own = kind if gaps else athena_type(name, values.type)
    said = f"is {own} in the data and {kind} in {where}"
    try:
        if gaps:
            return pa.chunked_array([pa.nulls(len(values), _written(athena2pyarrow(kind)))])
        if own == kind:
            return values.cast(_written(values.type))
        if any(
            {own.partition("(")[0], kind.partition("(")[0]} <= {*family}
            for family in (_NUMBERS, _DAYS)
        ):
            wanted = _written(athena2pyarrow(kind))
            wide = pa.types.is_integer(values.type) and pa.types.is_decimal(wanted)
            # Arrow wants room for any integer, whichever are there
            cast = values.cast(pa.decimal128(38, wanted.scale)) if wide else values
            cast = cast.cast(wanted)
            if cast.cast(values.type).to_pandas().equals(values.to_pandas()):
                return cast
    except pa.ArrowInvalid as error:
        said = f"does not fit Athena's {kind}: {error}" if own == kind else f"{said}: {error}"
    raise DataFormatError(
        f"Column {name!r} {said}.",
        fix="Round or convert it first, with `astype` or .dt.floor('us'); or replace the whole "
        "table with mode='overwrite'.",
    )


def _written(kind: pa.DataType) -> pa.DataType:
    """Return the type to write for Athena: names within structures stay, for it ignores case."""
    import pyarrow as pa
    from awswrangler._data_types import athena2pyarrow

    if pa.types.is_dictionary(kind):
        return _written(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_written(kind.value_type))
    if pa.types.is_map(kind):
        return pa.map_(_written(kind.key_type), _written(kind.item_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _written(field.type)) for field in kind])
    if pa.types.is_timestamp(kind):  # it reads up to microseconds; an instant is kept as one
        return pa.timestamp("us", tz=kind.tz)
    return kind if pa.types.is_large_string(kind) else athena2pyarrow(athena_type("", kind))
