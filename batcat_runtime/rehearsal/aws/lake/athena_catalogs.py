"""Data catalogues, databases and tables as Athena's API tells of them.

moto keeps the data catalogues that are created; each of type GLUE shows this account's databases.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from ...operations import PASS, Operation
from ...wire import ACCOUNT_ID, Call, ServiceError
from .catalogue import GLUE_CATALOG, Catalogue
from .objects import error_code
from .tables import Column, Table
from .types import hive_name

_OWN = {
    "Name": "AwsDataCatalog",
    "Type": "GLUE",
    "Parameters": {"catalog-id": ACCOUNT_ID},
}


class DataCatalogs:
    """The operations on data catalogues, where moto does not perform them.

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
            ("athena", "CreateDataCatalog"): self.create,
            ("athena", "GetDataCatalog"): self.get,
            ("athena", "ListDatabases"): self.databases,
            ("athena", "GetDatabase"): self.database,
            ("athena", "ListTableMetadata"): self.tables,
            ("athena", "GetTableMetadata"): self.table,
        }

    def create(self, call: Call) -> Any:
        """Refuse what Athena refuses; moto keeps the rest."""
        catalog_id = (call.params.get("Parameters") or {}).get("catalog-id", "")
        if call.params["Type"] == "GLUE" and not re.fullmatch(r"\d{12}", str(catalog_id)):
            raise ServiceError(
                "InvalidRequestException", "catalog-id is required for a data catalog of type GLUE"
            )
        return PASS

    def get(self, call: Call) -> Any:
        """Describe Glue's own data catalogue, which moto does not know."""
        if str(call.params["Name"]).lower() == GLUE_CATALOG:
            return {"DataCatalog": _OWN}
        return PASS

    def databases(self, call: Call) -> dict[str, Any]:
        """List the databases of a data catalogue."""
        found = self._known(call).databases(call.region)
        return _paged(call, "DatabaseList", [_database(one) for one in found])

    def database(self, call: Call) -> dict[str, Any]:
        """Describe a database."""
        name = str(call.params["DatabaseName"])
        try:
            answer = self._known(call).glue(call.region).get_database(Name=name)
        except ClientError as error:
            raise _metadata(error, f"Database {name} not found.") from error
        return {"Database": _database(answer["Database"])}

    def tables(self, call: Call) -> dict[str, Any]:
        """List the tables of a database."""
        pattern = re.compile(str(call.params.get("Expression") or ".*"), re.IGNORECASE)
        catalog, database = str(call.params["CatalogName"]), str(call.params["DatabaseName"])
        try:
            found = self._known(call).tables(call.region, catalog, database)
        except ClientError as error:
            raise _metadata(error, f"Database {database} not found.") from error
        wanted = [_table(one) for one in found if pattern.search(one.name)]
        return _paged(call, "TableMetadataList", wanted)

    def table(self, call: Call) -> dict[str, Any]:
        """Describe a table."""
        names = [str(call.params[one]) for one in ("CatalogName", "DatabaseName", "TableName")]
        catalog, database, name = names
        found = self._known(call).find(call.region, catalog, database, name)
        if found is None:
            said = f"Table {name} not found in database {database}."
            raise ServiceError("MetadataException", f"EntityNotFoundException: {said}")
        return {"TableMetadata": _table(found)}

    def _known(self, call: Call) -> Catalogue:
        catalogue, name = self._catalogue_for(call.access_key), str(call.params["CatalogName"])
        if not catalogue.has_catalog(call.region, name):
            raise ServiceError("InvalidRequestException", f"Data catalog {name} was not found")
        return catalogue


def _metadata(error: ClientError, missing: str) -> ServiceError:
    found = error_code(error) != "EntityNotFoundException"
    return ServiceError(
        "MetadataException", str(error) if found else f"EntityNotFoundException: {missing}"
    )


def _database(told: dict[str, Any]) -> dict[str, Any]:
    found = {key: told[key] for key in ("Name", "Description") if told.get(key)}
    return {**found, "Parameters": told.get("Parameters") or {}}


def _table(table: Table) -> dict[str, Any]:
    told = table.description
    storage = told.get("StorageDescriptor") or {}
    parameters = {
        **table.parameters,
        "location": table.location.rstrip("/"),
        "inputformat": str(storage.get("InputFormat") or ""),
        "outputformat": str(storage.get("OutputFormat") or ""),
        "serde.serialization.lib": table.serde,
    }
    found = {
        "Name": table.name,
        "TableType": str(told.get("TableType") or "EXTERNAL_TABLE"),
        "Columns": [_column(one) for one in table.columns],
        "PartitionKeys": [_column(one) for one in table.keys],
        "Parameters": {key: value for key, value in parameters.items() if value},
    }
    return {**found, "CreateTime": told["CreateTime"]} if told.get("CreateTime") else found


def _column(column: Column) -> dict[str, str]:
    found = {"Name": column.name, "Type": hive_name(column.type)}
    return {**found, "Comment": column.comment} if column.comment else found


def _paged(call: Call, member: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    start = int(call.params.get("NextToken") or 0)
    end = start + int(call.params.get("MaxResults") or 50)
    following = {"NextToken": str(end)} if end < len(rows) else {}
    return {member: rows[start:end], **following}
