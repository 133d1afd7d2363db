"""The Glue catalogue: its databases and tables, and the objects of a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from ...clients import Clients
from .failures import QueryFailure
from .objects import Objects, StoredObject, error_code, is_data
from .projection import matcher
from .tables import Partition, Table, folder, read_table

GLUE_CATALOG = "awsdatacatalog"
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


class Catalogue:
    """The Glue catalogue and the objects of its tables, with the rights of whoever asks.

    Every data catalogue of type GLUE shows the databases of this account.

    Parameters
    ----------
    clients : Clients
        To ask Glue, Athena and S3.
    home : pathlib.Path
        The server's work directory.
    """

    def __init__(self, clients: Clients, home: Path) -> None:
        self._clients = clients
        self.objects = Objects(clients, home)

    def glue(self, region: str) -> Any:
        """Return the client of Glue."""
        return self._clients.get("glue", region)

    def has_catalog(self, region: str, name: str) -> bool:
        """Tell whether there is a data catalogue of a name."""
        if name.lower() == GLUE_CATALOG:
            return True
        athena = self._clients.get("athena", region)
        try:
            found = athena.get_data_catalog(Name=name).get("DataCatalog")
        except ClientError as error:
            if error_code(error) == "InvalidRequestException":
                return False
            raise
        return bool(found)

    def databases(self, region: str) -> list[dict[str, Any]]:
        """Return the databases as Glue describes them, sorted by name."""
        pages = self.glue(region).get_paginator("get_databases").paginate()
        return sorted((one for page in pages for one in page["DatabaseList"]), key=_name)

    def has_database(self, region: str, name: str) -> bool:
        """Tell whether a database exists."""
        try:
            self.glue(region).get_database(Name=name)
        except ClientError as error:
            if error_code(error) == "EntityNotFoundException":
                return False
            raise
        return True

    def tables(self, region: str, catalog: str, database: str) -> list[Table]:
        """Return the tables and views of a database, sorted by name."""
        pages = self.glue(region).get_paginator("get_tables").paginate(DatabaseName=database)
        found = sorted((one for page in pages for one in page["TableList"]), key=_name)
        return [read_table(catalog, one) for one in found]

    def find(self, region: str, catalog: str, database: str, name: str) -> Table | None:
        """Return a table or view, or None when there is none of that name."""
        try:
            answer = self.glue(region).get_table(DatabaseName=database, Name=name)
        except ClientError as error:
            if error_code(error) == "EntityNotFoundException":
                return None
            raise
        return read_table(catalog, answer["Table"])

    def partitions(self, region: str, table: Table) -> list[Partition]:
        """Return the partitions that Glue keeps for a table."""
        pages = (
            self.glue(region)
            .get_paginator("get_partitions")
            .paginate(DatabaseName=table.database, TableName=table.name)
        )
        return [
            Partition(
                tuple(None if value == _HIVE_NULL else value for value in one["Values"]),
                folder(str(one["StorageDescriptor"]["Location"])),
            )
            for page in pages
            for one in page["Partitions"]
        ]

    def data(self, region: str, table: Table) -> list[tuple[StoredObject, tuple[str | None, ...]]]:
        """Return the objects of a table, each with its partition's values.

        Raises
        ------
        QueryFailure
            When the table's place does not exist, or its projection is wrong.
        """
        try:
            return list(self._data(region, table))
        except ClientError as error:
            if error_code(error) == "NoSuchBucket":
                raise QueryFailure(
                    "HIVE_FILESYSTEM_ERROR: The specified bucket does not exist: table "
                    f"{table.database}.{table.name} lies in {table.location}"
                ) from error
            raise
        except ValueError as error:
            raise QueryFailure(
                f"HIVE_METASTORE_ERROR: Table {table.database}.{table.name}: {error}"
            ) from error

    def _data(
        self, region: str, table: Table
    ) -> Iterator[tuple[StoredObject, tuple[str | None, ...]]]:
        if table.is_projected:
            base, values_of = matcher(table)
            for stored in self.objects.under(region, base):
                values = values_of(stored.uri)
                if values is not None and is_data(stored.key.rpartition("/")[2]):
                    yield stored, values
            return
        partitions = [Partition((), table.location)]
        if table.keys:
            partitions = self.partitions(region, table)
        listed = self.objects.under(region, table.location)
        for partition in partitions:
            place, inside = partition.location, partition.location.startswith(table.location)
            for stored in listed if inside else self.objects.under(region, place):
                if stored.uri.startswith(place) and is_data(stored.uri.removeprefix(place)):
                    yield stored, partition.values


def _name(described: dict[str, Any]) -> str:
    return str(described["Name"])
