"""Data catalogues, databases and tables as Athena's API tells of them.

A data catalogue of type GLUE with a `catalog-id` shows the Glue databases of that account: of this
account by default, so that ``cdc.dw_bms.battery_usage`` and
``awsdatacatalog.dw_bms.battery_usage`` are then one table. Of another account, its databases are a
world of their own, reached in Glue's API by `CatalogId`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from ...operations import Operation
from ...wire import ACCOUNT_ID, Call, ServiceError
from ..catalogue import GLUE_CATALOG, Catalogue
from ..objects import error_code
from ..tables import Column, Table

_NAME = "AwsDataCatalog"
_INVALID = "InvalidRequestException"


class DataCatalogs:
    """The operations on data catalogues.

    Parameters
    ----------
    catalogue_for : callable
        From an access key to the catalogue as its holder sees it.
    """

    def __init__(self, catalogue_for: Callable[[str], Catalogue]) -> None:
        self._catalogue_for = catalogue_for
        self._created: dict[tuple[str, str], dict[str, Any]] = {}

    def operations(self) -> dict[tuple[str, str], Operation]:
        """Return the operations that are performed here."""
        return {
            ("athena", "CreateDataCatalog"): self.create,
            ("athena", "UpdateDataCatalog"): self.update,
            ("athena", "DeleteDataCatalog"): self.delete,
            ("athena", "GetDataCatalog"): self.get,
            ("athena", "ListDataCatalogs"): self.list,
            ("athena", "ListDatabases"): self.databases,
            ("athena", "GetDatabase"): self.database,
            ("athena", "ListTableMetadata"): self.tables,
            ("athena", "GetTableMetadata"): self.table,
        }

    def create(self, call: Call) -> dict[str, Any]:
        """Create a data catalogue."""
        name = str(call.params["Name"])
        if name.lower() == GLUE_CATALOG or (call.region, name) in self._created:
            raise ServiceError(_INVALID, f"{name} has already been created")
        if not re.fullmatch(r"[a-z0-9_@-]{1,127}", name):
            raise ServiceError(
                _INVALID,
                f"Data catalog name {name!r} is invalid: use lower case letters, digits, "
                "underscore, at sign and hyphen",
            )
        _check(call)
        self._created[call.region, name] = _kept(call)
        return {}

    def update(self, call: Call) -> dict[str, Any]:
        """Change a data catalogue."""
        name = self._existing(call)
        _check(call)
        self._created[call.region, name] = _kept(call)
        return {}

    def delete(self, call: Call) -> dict[str, Any]:
        """Forget a data catalogue."""
        del self._created[call.region, self._existing(call)]
        return {}

    def get(self, call: Call) -> dict[str, Any]:
        """Describe a data catalogue."""
        if str(call.params["Name"]).lower() == GLUE_CATALOG:
            parameters = {"catalog-id": ACCOUNT_ID}
            return {"DataCatalog": {"Name": _NAME, "Type": "GLUE", "Parameters": parameters}}
        return {"DataCatalog": self._created[call.region, self._existing(call)]}

    def list(self, call: Call) -> dict[str, Any]:
        """List the data catalogues, Glue's own first."""
        rows = [{"CatalogName": _NAME, "Type": "GLUE"}]
        rows += [
            {"CatalogName": name, "Type": kept["Type"]}
            for (region, name), kept in sorted(self._created.items())
            if region == call.region
        ]
        return _paged(call, "DataCatalogsSummary", rows)

    def databases(self, call: Call) -> dict[str, Any]:
        """List the databases of a data catalogue."""
        catalogue = self._known(call)
        found = catalogue.databases_of(call.region, str(call.params["CatalogName"]))
        return _paged(call, "DatabaseList", [_database(one) for one in found])

    def database(self, call: Call) -> dict[str, Any]:
        """Describe a database."""
        catalogue = self._known(call)
        name = str(call.params["DatabaseName"])
        glue = catalogue.glue(call.region, str(call.params["CatalogName"]))
        try:
            return {"Database": _database(glue.get_database(Name=name)["Database"])}
        except ClientError as error:
            raise _metadata(error, f"Database {name} not found.") from error

    def tables(self, call: Call) -> dict[str, Any]:
        """List the tables of a database."""
        catalogue = self._known(call)
        pattern = re.compile(str(call.params.get("Expression") or ".*"), re.IGNORECASE)
        database = str(call.params["DatabaseName"])
        try:
            found = catalogue.tables_of(call.region, str(call.params["CatalogName"]), database)
        except ClientError as error:
            raise _metadata(error, f"Database {database} not found.") from error
        wanted = [_table(one) for one in found if pattern.search(one.name)]
        return _paged(call, "TableMetadataList", wanted)

    def table(self, call: Call) -> dict[str, Any]:
        """Describe a table."""
        catalogue = self._known(call)
        database, name = str(call.params["DatabaseName"]), str(call.params["TableName"])
        catalog = str(call.params["CatalogName"])
        found = catalogue.find(call.region, catalog, database, name)
        if found is None:
            raise ServiceError(
                "MetadataException",
                f"EntityNotFoundException: Table {name} not found in database {database}.",
            )
        return {"TableMetadata": _table(found)}

    def _existing(self, call: Call) -> str:
        name = str(call.params["Name"])
        if (call.region, name) not in self._created:
            raise ServiceError(_INVALID, f"Data catalog {name} was not found")
        return name

    def _known(self, call: Call) -> Catalogue:
        catalogue = self._catalogue_for(call.access_key)
        name = str(call.params["CatalogName"])
        if catalogue.account_of(call.region, name) is None:
            raise ServiceError(_INVALID, f"Data catalog {name} was not found")
        return catalogue


def _check(call: Call) -> None:
    """Refuse the parameters of a data catalogue that Athena would refuse."""
    given = call.params.get("Parameters") or {}
    kind = call.params["Type"]
    if kind == "GLUE" and not re.fullmatch(r"\d{12}", str(given.get("catalog-id", ""))):
        raise ServiceError(_INVALID, "catalog-id is required for a data catalog of type GLUE")


def _kept(call: Call) -> dict[str, Any]:
    members = ("Name", "Description", "Type", "Parameters")
    return {key: call.params[key] for key in members if call.params.get(key)}


def _metadata(error: ClientError, missing: str) -> ServiceError:
    if error_code(error) == "EntityNotFoundException":
        return ServiceError("MetadataException", f"EntityNotFoundException: {missing}")
    return ServiceError("MetadataException", str(error))


def _database(told: dict[str, Any]) -> dict[str, Any]:
    found = {key: told[key] for key in ("Name", "Description") if told.get(key)}
    return {**found, "Parameters": told.get("Parameters") or {}}


def _table(table: Table) -> dict[str, Any]:
    told = table.description
    storage = told.get("StorageDescriptor") or {}
    parameters = {
        **table.parameters,
        "location": table.storage.location,
        "inputformat": str(storage.get("InputFormat") or ""),
        "outputformat": str(storage.get("OutputFormat") or ""),
        "serde.serialization.lib": table.storage.serde,
    }
    found = {
        "Name": table.name,
        "TableType": str(told.get("TableType") or "EXTERNAL_TABLE"),
        "Columns": [_column(one) for one in table.columns],
        "PartitionKeys": [_column(one) for one in table.keys],
        "Parameters": {key: value for key, value in parameters.items() if value},
    }
    if told.get("CreateTime"):
        found["CreateTime"] = told["CreateTime"]
    return found


def _column(column: Column) -> dict[str, str]:
    found = {"Name": column.name, "Type": column.type.hive}
    return {**found, "Comment": column.comment} if column.comment else found


def _paged(call: Call, member: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    start = int(call.params.get("NextToken") or 0)
    size = int(call.params.get("MaxResults") or 50)
    answer: dict[str, Any] = {member: rows[start : start + size]}
    if start + size < len(rows):
        answer["NextToken"] = str(start + size)
    return answer
