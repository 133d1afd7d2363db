"""Glue's catalogue of tables: what saving a dataset looks up there, and the changes it makes.

A change is made by one request or none, and can be undone: `Changes` remembers how.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from batcat_runtime.errors import (
    BatcatError,
    ConnectError,
    DataFormatError,
    ServiceError,
    UserError,
)
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.hive import HiveTable
from batcat_runtime.log import get_logger

_PARQUET = {
    "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    "SerdeInfo": {
        "SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
        "Parameters": {"serialization.format": "1"},
    },
}
# What GetTable tells and UpdateTable takes.
_TABLE_INPUT = (
    "Name",
    "Description",
    "Owner",
    "Retention",
    "StorageDescriptor",
    "PartitionKeys",
    "ViewOriginalText",
    "ViewExpandedText",
    "TableType",
    "Parameters",
)
_PARTITION_INPUT = ("Values", "StorageDescriptor", "Parameters")
_LOOKED_UP, _CHANGED, _DELETED = 1000, 100, 25

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
    def place(self) -> dict[str, str]:
        """The arguments that requests about its partitions have."""
        return {"DatabaseName": self.database, "TableName": self.name}

    def found(self) -> dict[str, Any] | None:
        """Return the table as `UpdateTable` takes it, or None if there is none.

        Raises
        ------
        UserError
            The database does not exist.
        """
        from botocore.exceptions import ClientError

        with self.asked("glue:GetTable"):
            try:
                table = self.client.get_table(DatabaseName=self.database, Name=self.name)["Table"]
                return {name: table[name] for name in _TABLE_INPUT if name in table}
            except ClientError as error:
                if error.response["Error"]["Code"] != "EntityNotFoundException":
                    raise
        with self.asked("glue:GetDatabase"):
            try:
                self.client.get_database(Name=self.database)
            except ClientError as error:
                if error.response["Error"]["Code"] != "EntityNotFoundException":
                    raise
                raise UserError(
                    f"Glue has no database {self.database!r} in this region.",
                    fix="Create it: aws glue create-database --database-input "
                    f"Name={self.database}",
                ) from error
        return None

    def partitions(self, wanted: Sequence[Values] | None = None) -> dict[Values, dict[str, Any]]:
        """Return the partitions with the values wanted, or all, as `UpdatePartition` takes them."""
        found: list[dict[str, Any]] = []
        if wanted is None:
            with self.asked("glue:GetPartitions"):
                for page in self.client.get_paginator("get_partitions").paginate(**self.place):
                    found += page["Partitions"]
        else:
            with self.asked("glue:BatchGetPartition"):
                for some in _batches(wanted, _LOOKED_UP):
                    keys = [{"Values": list(values)} for values in some]
                    answer = self.client.batch_get_partition(**self.place, PartitionsToGet=keys)
                    found += answer["Partitions"]
        return {
            tuple(one["Values"]): {name: one[name] for name in _PARTITION_INPUT if name in one}
            for one in found
        }

    def asked(self, action: str) -> contextlib.AbstractContextManager[None]:
        """Name the table, and the action that may be denied, in an error."""
        return translated(f"the Glue table {self.database}.{self.name}", action)


class Changes:
    """Changes of a table in the catalogue that can be undone together."""

    def __init__(self, table: GlueTable) -> None:
        self._table = table
        self._undo: list[Callable[[], Any]] = []

    def create_table(self, definition: dict[str, Any]) -> None:
        """Add the table."""
        table = self._table
        with table.asked("glue:CreateTable"):
            table.client.create_table(DatabaseName=table.database, TableInput=definition)
        self._undo.append(
            lambda: table.client.delete_table(DatabaseName=table.database, Name=table.name)
        )

    def update_table(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Change the table's definition; readers see the old one or the new one."""
        table = self._table

        def put(definition: dict[str, Any]) -> None:
            table.client.update_table(DatabaseName=table.database, TableInput=definition)

        with self._undone_by(partial(put, old)), table.asked("glue:UpdateTable"):
            put(new)

    def create_partitions(self, new: Sequence[dict[str, Any]]) -> None:
        """Add partitions."""
        for some in _batches(new, _CHANGED):
            self._create(some)
            self._undo.append(partial(self._delete, _values(some)))

    def update_partitions(self, old: dict[Values, Any], new: Sequence[dict[str, Any]]) -> None:
        """Change partitions; readers see each as it was or as it is to be."""
        for some in _batches(new, _CHANGED):
            before = [old[values] for values in _values(some)]
            with self._undone_by(partial(self._update, before)):
                answer = self._update(some)
            self._checked(answer)

    def delete_partitions(self, old: Sequence[dict[str, Any]]) -> None:
        """Take partitions out of the catalogue; their objects stay."""
        for some in _batches(old, _DELETED):
            self._delete(_values(some))
            self._undo.append(partial(self._create, some))

    def undo(self) -> bool:
        """Undo all changes, the last one first; tell whether that worked, and log where not."""
        undone = True
        for step in reversed(self._undo):
            try:
                step()
            except Exception as error:  # the failure that brought us here is the one to raise
                undone = False
                get_logger().warning(
                    "The Glue table %s.%s could not be put back: %s",
                    self._table.database,
                    self._table.name,
                    error,
                )
        return undone

    @contextlib.contextmanager
    def _undone_by(self, step: Callable[[], Any]) -> Iterator[None]:
        """Remember how to undo a request also if its outcome stays unknown (an interrupt)."""
        self._undo.append(step)
        try:
            yield
        except ConnectError:
            raise
        except BatcatError:  # refused, so there is nothing to undo
            self._undo.pop()
            raise

    def _create(self, some: Sequence[dict[str, Any]]) -> None:
        with self._table.asked("glue:BatchCreatePartition"):
            answer = self._table.client.batch_create_partition(
                **self._table.place, PartitionInputList=list(some)
            )
        refused = {tuple(one["PartitionValues"]) for one in answer.get("Errors", [])}
        if refused:  # only what is ours is taken back
            self._delete([values for values in _values(some) if values not in refused])
        self._checked(answer)

    def _update(self, some: Sequence[dict[str, Any]]) -> dict[str, Any]:
        entries = [{"PartitionValueList": one["Values"], "PartitionInput": one} for one in some]
        with self._table.asked("glue:BatchUpdatePartition"):
            answer: dict[str, Any] = self._table.client.batch_update_partition(
                **self._table.place, Entries=entries
            )
        return answer

    def _delete(self, some: Sequence[Values]) -> None:
        for part in _batches(some, _DELETED):
            keys = [{"Values": list(values)} for values in part]
            with self._table.asked("glue:BatchDeletePartition"):
                answer = self._table.client.batch_delete_partition(
                    **self._table.place, PartitionsToDelete=keys
                )
            self._checked(answer)

    def _checked(self, answer: dict[str, Any]) -> None:
        for one in answer.get("Errors", []):
            detail = one.get("ErrorDetail", {})
            values = one.get("PartitionValues") or one.get("PartitionValueList")
            raise ServiceError(
                f"Glue refused partition {values} of {self._table.database}.{self._table.name}: "
                f"{detail.get('ErrorCode')}: {detail.get('ErrorMessage')}",
                fix="Look whether somebody else changes the table at the same time, and try again.",
            )


def table_definition(name: str, hive: HiveTable, location: str) -> dict[str, Any]:
    """Return the TableInput of an external Parquet table."""
    return {
        "Name": name,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"EXTERNAL": "TRUE", "classification": "parquet"},
        "PartitionKeys": [
            {"Name": column.name, "Type": column.type} for column in hive.partition_columns
        ],
        "StorageDescriptor": storage(hive, location),
    }


def storage(hive: HiveTable, location: str) -> dict[str, Any]:
    """Return the StorageDescriptor of Parquet files at a place."""
    columns = [{"Name": column.name, "Type": column.type} for column in hive.columns]
    return {"Columns": columns, "Location": location, **_PARQUET}


def check_same_columns(
    table: GlueTable, definition: dict[str, Any], hive: HiveTable, *, only_partitions: bool
) -> None:
    """Refuse to add rows to a table that has other columns.

    Parameters
    ----------
    table : GlueTable
        Named in the error.
    definition : dict
        What Glue has.
    hive : HiveTable
        What is to be added.
    only_partitions : bool
        Whether the other columns may differ, since they are to be replaced.

    Raises
    ------
    DataFormatError
        Naming the first column that differs.
    """
    where = f"the Glue table {table.database}.{table.name}"
    keys = definition.get("PartitionKeys", [])
    if [one["Name"] for one in keys] != [one.name for one in hive.partition_columns]:
        listed = ", ".join(one["Name"] for one in keys) or "nothing"
        raise DataFormatError(
            f"{where[:1].upper()}{where[1:]} is partitioned by {listed}.",
            fix="Give the same partition_columns in the same order, or delete the table first.",
        )
    columns = definition["StorageDescriptor"]["Columns"]
    compared = [(keys, hive.partition_columns)]
    if not only_partitions:
        compared.append((columns, hive.columns))
    for there, here in compared:
        theirs = {one["Name"]: one["Type"].replace(" ", "") for one in there}
        ours = {one.name: one.type for one in here}
        for name in [*ours, *theirs]:
            if theirs.get(name) != ours.get(name):
                raise DataFormatError(
                    f"Column {name!r} is {ours.get(name, 'missing')} in the data and "
                    f"{theirs.get(name, 'missing')} in {where}.",
                    fix="Convert it with `astype`, or replace the whole table with "
                    "mode='overwrite'.",
                )


def _values(some: Sequence[dict[str, Any]]) -> list[Values]:
    return [tuple(one["Values"]) for one in some]


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
