"""Databases and tables as Athena's API tells of them, which PyAthena's SQLAlchemy dialect asks.

moto keeps the data catalogues that are created; each of type GLUE shows this account's databases.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ...operations import Operation
from ...wire import Call, ServiceError
from .catalogue import Catalogue
from .tables import Column, Table
from .types import hive_name


class DataCatalogs:
    """The operations on data catalogues that moto does not perform.

    Parameters
    ----------
    catalogue_for : callable
        From an access key to the catalogue as its holder sees it.
    """

    def __init__(self, catalogue_for: Callable[[str], Catalogue]) -> None:
        self._catalogue_for = catalogue_for

    def operations(self) -> dict[tuple[str, str], Operation]:
        """Return the operations that are performed here."""
        return {
            ("athena", "ListDatabases"): self.databases,
            ("athena", "ListTableMetadata"): self.tables,
            ("athena", "GetTableMetadata"): self.table,
        }

    def databases(self, call: Call) -> dict[str, Any]:
        """List the databases of a data catalogue."""
        found = self._known(call).databases(call.region)
        return {"DatabaseList": [{"Name": one["Name"], "Parameters": {}} for one in found]}

    def tables(self, call: Call) -> dict[str, Any]:
        """List the tables of a database."""
        pattern = re.compile(str(call.params.get("Expression") or ".*"), re.IGNORECASE)
        catalogue, database = self._known(call), str(call.params["DatabaseName"])
        if not catalogue.has_database(call.region, database):
            raise _missing(f"Database {database} not found.")
        found = catalogue.tables(call.region, str(call.params["CatalogName"]), database)
        return {"TableMetadataList": [_table(one) for one in found if pattern.search(one.name)]}

    def table(self, call: Call) -> dict[str, Any]:
        """Describe a table."""
        names = [str(call.params[one]) for one in ("CatalogName", "DatabaseName", "TableName")]
        catalog, database, name = names
        found = self._known(call).find(call.region, catalog, database, name)
        if found is None:
            raise _missing(f"Table {name} not found in database {database}.")
        return {"TableMetadata": _table(found)}

    def _known(self, call: Call) -> Catalogue:
        catalogue, name = self._catalogue_for(call.access_key), str(call.params["CatalogName"])
        if not catalogue.has_catalog(call.region, name):
            raise ServiceError("InvalidRequestException", f"Data catalog {name} was not found")
        return catalogue


def _missing(what: str) -> ServiceError:
    return ServiceError("MetadataException", f"EntityNotFoundException: {what}")


def _table(table: Table) -> dict[str, Any]:
    return {
        "Name": table.name,
        "TableType": str(table.description.get("TableType") or "EXTERNAL_TABLE"),
        "Columns": [_column(one) for one in table.columns],
        "PartitionKeys": [_column(one) for one in table.keys],
        "Parameters": {**table.parameters, "location": table.location.rstrip("/")},
    }


def _column(column: Column) -> dict[str, str]:
    return {"Name": column.name, "Type": hive_name(column.type), "Comment": column.comment}
