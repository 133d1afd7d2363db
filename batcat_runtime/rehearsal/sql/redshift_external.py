"""Data outside the warehouse: tables of the Glue catalogue, roles, and objects in S3.

A table of a data catalogue is made queryable for one statement: as a view in a DuckDB database of
its own, attached for that statement and detached after it, so that two sessions never see each
other's. Roles are examined as Redshift would assume them.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from botocore.exceptions import ClientError

from batcat_runtime.errors import BatcatError

from ..aws.rules import trusts
from ..clients import Clients
from .catalogue import GLUE_CATALOG, Catalogue
from .redshift_query import ColumnOf, Relation, aliases
from .redshift_types import MAX_VARCHAR, RedshiftType, from_duck
from .redshift_words import RedshiftError

if TYPE_CHECKING:
    from .redshift_warehouse import Warehouse

TrustPolicy = Callable[[str, str], dict[str, Any] | None]
_ROLE = re.compile(r"arn:(aws[a-z-]*):iam::\d{12}:role/[\w+=,.@/-]+")


@dataclass(frozen=True)
class World:
    """What all sessions of a server share.

    Attributes
    ----------
    workspace : pathlib.Path
        A folder for what a statement needs while it runs.
    trust_policy : callable
        From region and role ARN to the role's trust policy, or None without such a role.
    """

    clients: Clients
    catalogue: Catalogue
    workspace: Path
    trust_policy: TrustPolicy


class External:
    """One session's way to what lies outside the warehouse.

    Parameters
    ----------
    world : World
        The server's clients and catalogue.
    region, partition : str
        Where the warehouse is.
    roles : callable
        Returns the ARNs of the roles that the cluster or namespace is associated with, the default
        one first; empty when there is none.
    """

    def __init__(
        self, world: World, region: str, partition: str, roles: Callable[[], list[str]]
    ) -> None:
        self.world = world
        self.region = region
        self.partition = partition
        self._roles = roles
        self._attached: list[str] = []
        self._folders: list[Path] = []
        self._known: dict[tuple[str, str, str], Relation] = {}

    @property
    def s3(self) -> Any:
        """The S3 client of the warehouse's region."""
        return self.world.clients.get("s3", self.region)

    def has_database(self, catalog: str, database: str) -> bool:
        """Tell whether a data catalogue has a database."""
        return self.world.catalogue.has_database(self.region, catalog, database)

    def create_database(self, catalog: str, database: str) -> None:
        """Create a database in a data catalogue."""
        glue = self.world.catalogue.glue(self.region, catalog)
        glue.create_database(DatabaseInput={"Name": database})

    def tables(self, catalog: str, database: str) -> list[str]:
        """Return the names of the tables of a database of a data catalogue."""
        try:
            found = self.world.catalogue.tables_of(self.region, catalog, database)
        except (KeyError, ClientError):
            return []
        return [one.name for one in found]

    def relation(
        self, warehouse: Warehouse, catalog: str, database: str, name: str
    ) -> Relation | None:
        """Make a table of a data catalogue queryable for the statement that runs.

        Parameters
        ----------
        warehouse : Warehouse
            In whose DuckDB instance.
        catalog, database, name : str
            The data catalogue (``awsdatacatalog`` is Glue's), its database, the table.

        Returns
        -------
        Relation or None
            None when there is no such table.
        """
        key = (catalog, database, name)
        if key in self._known:
            return self._known[key]
        table = self.world.catalogue.find(self.region, catalog, database, name)
        if table is None:
            return None
        if not table.storage.location:
            raise RedshiftError(
                f'ERROR: "{name}" is a view of the data catalog that Redshift cannot read'
            )
        place = f"ext_{uuid.uuid4().hex}"
        folder = self.world.workspace / place
        folder.mkdir(parents=True)
        self._folders.append(folder)
        self._attached.append(place)
        # Not on the session's connection: its transaction may write to one database only.
        connection = warehouse.cursor()
        try:
            self.world.catalogue.expose(
                connection, self.region, table, workspace=folder, under=place
            )
            rows = connection.execute(
                "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = ? "
                "AND schema_name = ? AND table_name = ? ORDER BY column_index",
                [place, table.database, table.name],
            ).fetchall()
        except (BatcatError, duckdb.Error) as error:
            reason = error.message if isinstance(error, BatcatError) else str(error)
            raise RedshiftError(f"ERROR: Spectrum Scan Error\n  Detail: {reason}") from error
        finally:
            connection.close()
        columns = tuple(ColumnOf(str(row[0]), _spectrum_type(str(row[1]))) for row in rows)
        found = Relation((place, table.database, table.name), database, name, columns)
        self._known[key] = found
        return found

    def columns(self, catalog: str, database: str, name: str) -> list[tuple[str, RedshiftType]]:
        """Return the columns of a table of a data catalogue, without reading its data."""
        table = self.world.catalogue.find(self.region, catalog, database, name)
        if table is None:
            return []
        return [(one.name, _spectrum_type(one.type.duckdb)) for one in table.all_columns]

    def forget(self, warehouse: Warehouse) -> None:
        """Detach what a statement made queryable; files go as well."""
        for place in self._attached:
            with contextlib.suppress(duckdb.Error):
                warehouse.cursor().execute(f"DETACH {aliases([place])}")
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
        self._attached.clear()
        self._folders.clear()
        self._known.clear()

    def has_catalog(self, catalog: str) -> bool:
        """Tell whether a data catalogue exists."""
        return (
            catalog == GLUE_CATALOG
            or self.world.catalogue.account_of(self.region, catalog) is not None
        )

    def assume(self, role: str | None) -> str:
        """Check that Redshift may assume a role, and return its ARN.

        Parameters
        ----------
        role : str or None
            An ARN, several for a chain (the first is Redshift's), or None for the default role.

        Raises
        ------
        RedshiftError
            When there is no such role, or it does not trust Redshift.
        """
        if role is None:
            found = next(iter(self._roles()), None)
            if found is None:
                raise RedshiftError(
                    "ERROR: Cannot find default IAM role. Please set an IAM role as the default "
                    "for the cluster."
                )
            role = found
        arn = role.split(",")[0].strip()
        match = _ROLE.fullmatch(arn)
        if match is None or match[1] != self.partition:
            raise RedshiftError(f"ERROR: Invalid IAM role ARN '{arn}'")
        policy = self.world.trust_policy(self.region, arn)
        allowed = ("redshift.amazonaws.com", "redshift-serverless.amazonaws.com")
        if policy is None or not any(trusts(policy, one) for one in allowed):
            raise RedshiftError(
                "ERROR: User arn:"
                f"{self.partition}:redshift:{self.region}:123456789012:dbuser:warehouse/user is "
                f"not authorized to assume IAM Role {arn}"
            )
        return arn


def _spectrum_type(duck: str) -> RedshiftType:
    kind = from_duck(duck)
    return RedshiftType("varchar", length=MAX_VARCHAR) if kind.name == "varchar" else kind
