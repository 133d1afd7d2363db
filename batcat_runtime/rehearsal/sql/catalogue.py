"""Tables of the Glue catalogue as views in DuckDB: the one way to data for Athena and Redshift.

`Catalogue.find` reads what Glue says of a table. `Catalogue.expose` makes it queryable in a DuckDB
connection as ``catalogue.database.table``: finds its partitions (kept in Glue, or projected), keeps
those that the query can want, lists and fetches their objects, and creates a view with the declared
columns. `shadow` creates the same table without data, to plan a query before anything is fetched.
"""

from __future__ import annotations

import itertools
import uuid
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from batcat_runtime.errors import DataFormatError, NoSuchBucketError

from ..clients import Clients
from ..wire import ACCOUNT_ID
from .accounts import GlueAccounts
from .copies import rewrite_of
from .formats import FILE_NUMBER, scan
from .hive_types import quoted
from .objects import Objects, StoredObject, error_code, is_data
from .projection import is_projected
from .pruning import Condition, projected, wanted
from .tables import Partition, Table, read_storage, read_table
from .views import PATH_COLUMN, linked, place, view_of

if TYPE_CHECKING:
    import duckdb

GLUE_CATALOG = "awsdatacatalog"
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_FEW = 4


@dataclass(frozen=True)
class Exposed:
    """A table that was made queryable, and from what.

    Attributes
    ----------
    objects : list of StoredObject
        The objects behind it, one per file.
    files : list of pathlib.Path
        Local copies, in the same order.
    """

    table: Table
    objects: list[StoredObject]
    files: list[Path]


class Catalogue:
    """The Glue catalogue and the objects of its tables.

    Parameters
    ----------
    clients : Clients
        To ask Glue, Athena and S3.
    home : pathlib.Path
        The server's work directory; fetched objects are kept below it.

    Examples
    --------
    >>> table = catalogue.find(region, "awsdatacatalog", "battery", "usage")    # doctest: +SKIP
    >>> catalogue.expose(connection, region, table, workspace=folder)           # doctest: +SKIP
    >>> connection.execute('SELECT count(*) FROM awsdatacatalog.battery.usage') # doctest: +SKIP
    """

    def __init__(self, clients: Clients, home: Path) -> None:
        self._clients = clients
        self.accounts = GlueAccounts(clients)
        self.objects = Objects(clients, home)

    def account_of(self, region: str, catalog: str) -> str | None:
        """Return the account whose Glue databases a data catalogue shows; None if there is none.

        Parameters
        ----------
        region : str
            The region of the catalogue.
        catalog : str
            ``awsdatacatalog`` for Glue's own, or the name of a data catalogue of type GLUE.
        """
        if catalog.lower() == GLUE_CATALOG:
            return ACCOUNT_ID
        try:
            answer = self._clients.get("athena", region).get_data_catalog(Name=catalog.lower())
        except ClientError as error:
            if error_code(error) == "InvalidRequestException":
                return None
            raise
        found = answer["DataCatalog"]
        if found.get("Type") != "GLUE":
            return None
        return str((found.get("Parameters") or {}).get("catalog-id") or ACCOUNT_ID)

    def glue(self, region: str, catalog: str) -> Any:
        """Return the Glue client behind a data catalogue.

        Raises
        ------
        KeyError
            When there is no such data catalogue.
        """
        account = self.account_of(region, catalog)
        if account is None:
            raise KeyError(catalog)
        return self.accounts.glue(region, account)

    def databases_of(self, region: str, catalog: str) -> list[dict[str, Any]]:
        """Return the databases of a data catalogue, as Glue describes them, sorted by name."""
        found: list[dict[str, Any]] = []
        for page in self.glue(region, catalog).get_paginator("get_databases").paginate():
            found += page["DatabaseList"]
        return sorted(found, key=lambda one: str(one["Name"]))

    def tables_of(self, region: str, catalog: str, database: str) -> list[Table]:
        """Return the tables and views of a database, sorted by name."""
        pages = self.glue(region, catalog).get_paginator("get_tables")
        found = [
            read_table(catalog, one)
            for page in pages.paginate(DatabaseName=database)
            for one in page["TableList"]
        ]
        return sorted(found, key=lambda one: one.name)

    def has_database(self, region: str, catalog: str, database: str) -> bool:
        """Tell whether a database exists."""
        try:
            self.glue(region, catalog).get_database(Name=database)
        except (ClientError, KeyError):
            return False
        return True

    def find(self, region: str, catalog: str, database: str, name: str) -> Table | None:
        """Return a table or view, or None when there is none of that name.

        Parameters
        ----------
        region, catalog, database, name : str
            Where to look; names in any case.
        """
        try:
            glue = self.glue(region, catalog)
            answer = glue.get_table(DatabaseName=database.lower(), Name=name.lower())
        except KeyError:
            return None
        except ClientError as error:
            if error_code(error) == "EntityNotFoundException":
                return None
            raise
        return read_table(catalog, answer["Table"])

    def shadow(
        self, connection: duckdb.DuckDBPyConnection, table: Table, *, with_path: bool = False
    ) -> None:
        """Create the table without data in DuckDB, under its full name."""
        columns = [f"{quoted(one.name)} {one.type.duckdb}" for one in table.all_columns]
        if with_path:
            columns.append(f"{quoted(PATH_COLUMN)} VARCHAR")
        name = place(connection, table)
        connection.execute(f"CREATE OR REPLACE TABLE {name} ({', '.join(columns)})")

    def expose(
        self,
        connection: duckdb.DuckDBPyConnection,
        region: str,
        table: Table,
        *,
        workspace: Path,
        scans: Sequence[Sequence[Condition]] | None = None,
        milliseconds: bool = False,
        with_path: bool = False,
        under: str | None = None,
        replace_shadow: bool = False,
    ) -> Exposed:
        """Make a table queryable in a DuckDB connection as ``catalogue.database.table``.

        Parameters
        ----------
        connection : duckdb.DuckDBPyConnection
            Where to create the view.
        region : str
            The region of the catalogue and its objects.
        table : Table
            What `find` returned; not a view.
        workspace : pathlib.Path
            A folder of the caller's, which must outlive the view and is the caller's to remove.
        scans : sequence of sequence of Condition, optional
            For each time that the query reads the table, what it asks of partition keys. Only
            partitions that one of them can want are fetched. None: all partitions.
        milliseconds : bool, default False
            Round timestamps to milliseconds, as Athena does.
        with_path : bool, default False
            Add Athena's pseudo-column ``"$path"``.
        under : str, optional
            The name of the DuckDB database that gets the view; the catalogue's by default.
        replace_shadow : bool, default False
            Whether `shadow` has created the table; a view takes its place.

        Raises
        ------
        DataFormatError
            When objects are not what the table declares.
        NoSuchBucketError
            When the table's bucket does not exist.
        """
        partitions = self.partitions(connection, region, table, scans)
        listed = self._listed(region, table, partitions)
        folder = workspace / f"table-{uuid.uuid4().hex}"
        groups: dict[str, list[int]] = {}
        objects: list[StoredObject] = []
        files: list[Path] = []
        owners: list[Partition] = []
        for partition, stored in listed:
            form = rewrite_of(partition.storage, stored.key)
            cached = self.objects.file(region, stored, form)
            number = len(files)
            written = (partition.storage.serde, *sorted(partition.storage.parameters.items()))
            groups.setdefault(repr(written), []).append(number)
            files.append(linked(cached, folder / f"{FILE_NUMBER}={number}", partition.storage))
            objects.append(stored)
            owners.append(partition)
        scanned = [
            scan(
                connection,
                owners[numbers[0]].storage,
                table.columns,
                [files[number] for number in numbers],
                milliseconds=milliseconds,
            )
            for numbers in groups.values()
        ]
        paths = [one.uri for one in objects] if with_path else None
        view = view_of(table, scanned, owners, paths)
        name = place(connection, table, under)
        if replace_shadow:
            connection.execute(f"DROP TABLE {name}")
        connection.execute(f"CREATE OR REPLACE VIEW {name} AS {view}")
        return Exposed(table, objects, files)

    def partitions(
        self,
        connection: duckdb.DuckDBPyConnection,
        region: str,
        table: Table,
        scans: Sequence[Sequence[Condition]] | None = None,
    ) -> list[Partition]:
        """Return the partitions that can hold wanted rows; one without values if unpartitioned.

        Parameters
        ----------
        connection : duckdb.DuckDBPyConnection
            Evaluates the conditions.
        region : str
            The region of the catalogue.
        table : Table
            Whose partitions.
        scans : sequence of sequence of Condition, optional
            As for `expose`.
        """
        if not table.keys:
            return [Partition((), table.storage)]
        if not is_projected(table):
            return wanted(connection, table, self.registered(region, table), scans)
        asked = [[]] if scans is None else scans
        found = [projected(connection, table, scan) for scan in asked]
        return list({one.values: one for one in itertools.chain(*found)}.values())

    def registered(self, region: str, table: Table) -> list[Partition]:
        """Return the partitions that Glue keeps for a table."""
        glue = self.glue(region, table.catalog)
        pages = glue.get_paginator("get_partitions")
        return [
            Partition(
                tuple(None if value == HIVE_NULL else value for value in one["Values"]),
                read_storage(one.get("StorageDescriptor") or {}, table.parameters),
            )
            for page in pages.paginate(DatabaseName=table.database, TableName=table.name)
            for one in page["Partitions"]
        ]

    def _listed(
        self, region: str, table: Table, partitions: Sequence[Partition]
    ) -> Iterator[tuple[Partition, StoredObject]]:
        """List the objects of partitions, by one listing where they lie side by side."""
        try:
            base = _common_folder([one.storage.location for one in partitions])
            if len(partitions) < _FEW or not base:
                for one in partitions:
                    for stored in self.objects.under(region, one.storage.location):
                        yield one, stored
                return
            known = sorted(self.objects.everything(region, base), key=lambda one: one.uri)
            addresses = [one.uri for one in known]
            for one in partitions:
                start = one.storage.location.rstrip("/") + "/"
                for stored in known[bisect_left(addresses, start) :]:
                    if not stored.uri.startswith(start):
                        break
                    if is_data(stored.uri.removeprefix(start)):
                        yield one, stored
        except ClientError as error:
            if error_code(error) == "NoSuchBucket":
                raise NoSuchBucketError(
                    f"HIVE_FILESYSTEM_ERROR: The specified bucket does not exist: table "
                    f"{table.database}.{table.name} lies in {table.storage.location}"
                ) from error
            raise
        except ValueError as error:
            raise DataFormatError(
                f"HIVE_METASTORE_ERROR: Table {table.database}.{table.name}: {error}"
            ) from error


def _common_folder(locations: Sequence[str]) -> str:
    """Return the deepest folder that holds all locations; empty when they share no bucket."""
    if not locations:
        return ""
    # The first and the last in order differ from each other no later than any two others.
    first, last = (one.rstrip("/") + "/" for one in (min(locations), max(locations)))
    same = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), None)
    together = first[:same] if same is not None else min(first, last, key=len)
    folder = together[: together.rfind("/") + 1]
    return folder if folder.count("/") >= 3 else ""
