"""A warehouse: what a cluster or a serverless workgroup holds, in one DuckDB instance.

Each Redshift database is a DuckDB file of its own, attached under its name, so that a query across
databases is one in DuckDB too. A session is a DuckDB connection with a search path. What DuckDB
cannot keep (views that are bound late, external schemas) is kept beside it, per database.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from . import redshift_macros, redshift_system
from .redshift_query import ColumnOf, Relation, aliases
from .redshift_types import RedshiftType, UnknownTypeError, from_duck, parse_type
from .redshift_words import RedshiftError

if TYPE_CHECKING:
    import duckdb

_THREADS = 2
_IDENTITY = " identity"


@dataclass(frozen=True)
class ExternalSchema:
    """A schema that shows a database of a data catalogue.

    Attributes
    ----------
    catalog, database : str
        The data catalogue, as Athena names it, and the database in it.
    role : str
        The role that reads the data.
    """

    name: str
    catalog: str
    database: str
    role: str


@dataclass
class DatabaseNotes:
    """What DuckDB cannot keep of one database."""

    late_views: dict[tuple[str, str], str] = field(default_factory=dict)
    external_schemas: dict[str, ExternalSchema] = field(default_factory=dict)


class Warehouse:
    """The databases of one cluster or workgroup.

    Parameters
    ----------
    folder : pathlib.Path
        Where the files lie.
    database : str
        The database that exists from the start.
    readable : pathlib.Path
        The only folder whose files a statement may read: the objects that the embedded AWS keeps.
    """

    def __init__(self, folder: Path, database: str, readable: Path) -> None:
        import duckdb

        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._pids = itertools.count(1073741824)
        self._lock = threading.Lock()
        self.notes: dict[str, DatabaseNotes] = {}
        self.users: dict[str, str | None] = {}
        self.root = duckdb.connect(
            f":memory:{uuid.uuid4().hex}",
            config={
                "threads": _THREADS,
                "python_enable_replacements": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            },
        )
        # Statements come from whoever may call the API; their SQL must not read this machine.
        allowed = ", ".join(f"'{one}/'" for one in (folder, readable))
        self.root.execute(f"SET GLOBAL allowed_directories = [{allowed}]")
        self.root.execute("SET GLOBAL enable_external_access = false")
        self.root.execute("SET GLOBAL integer_division = true")
        self.root.execute("SET GLOBAL TimeZone = 'UTC'")
        redshift_macros.install(self.root)
        redshift_system.install(self.root)
        self.create_database(database)

    @property
    def databases(self) -> list[str]:
        """The names of the databases, sorted."""
        return sorted(self.notes)

    def create_database(self, name: str) -> None:
        """Create a database.

        Raises
        ------
        RedshiftError
            When it exists, or cannot be called so.
        """
        with self._lock:
            if name in self.notes or name in ("memory", "system", "temp", redshift_macros.LIBRARY):
                raise RedshiftError(f'ERROR: database "{name}" already exists')
            path = str(self._folder / f"{uuid.uuid4().hex}.duckdb").replace("'", "''")
            self.root.execute(f"ATTACH '{path}' AS {aliases([name])}")
            self.root.execute(f"CREATE SCHEMA {aliases([name])}.public")
            self.notes[name] = DatabaseNotes()

    def drop_database(self, name: str) -> None:
        """Drop a database; nothing happens to sessions in it but that their statements fail."""
        import duckdb

        with self._lock:
            if name not in self.notes:
                raise RedshiftError(f'ERROR: database "{name}" does not exist')
            try:
                self.root.execute(f"DETACH {aliases([name])}")
            except duckdb.Error as error:
                raise RedshiftError(
                    f'ERROR: database "{name}" is being accessed by other users'
                ) from error
            del self.notes[name]

    def connection(self, database: str) -> duckdb.DuckDBPyConnection:
        """Open a connection to a database of this warehouse."""
        if database not in self.notes:
            raise RedshiftError(f'FATAL: database "{database}" does not exist')
        connection = self.cursor()
        set_search_path(connection, database, ["public"])
        return connection

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a connection of its own to the instance, in no database."""
        with self._lock:
            return self.root.cursor()

    def next_pid(self) -> int:
        """Return a process id for a session."""
        return next(self._pids)

    def close(self, *, remove: bool = False) -> None:
        """Close the instance; running statements of it fail."""
        with contextlib.suppress(Exception):
            self.root.close()
        if remove:
            shutil.rmtree(self._folder, ignore_errors=True)


def set_search_path(
    connection: duckdb.DuckDBPyConnection, database: str, schemas: list[str]
) -> None:
    """Make a connection look for names in some schemas of a database, then in the library."""
    places = [aliases([database]) + "." + aliases([one]) for one in schemas]
    path = ",".join([*places, f"{redshift_macros.LIBRARY}.main"]).replace("'", "''")
    connection.execute(f"SET search_path = '{path}'")


def schemas_of(connection: duckdb.DuckDBPyConnection, database: str) -> list[str]:
    """Return the schemas of a database that a user made, and ``public``."""
    rows = connection.execute(
        "SELECT schema_name FROM duckdb_schemas() WHERE database_name = ? AND schema_name NOT IN "
        "('main', 'information_schema', 'pg_catalog') ORDER BY 1",
        [database],
    ).fetchall()
    return [str(row[0]) for row in rows]


def relation_at(
    connection: duckdb.DuckDBPyConnection, database: str, schema: str, name: str
) -> Relation | None:
    """Return the table or view at a place, or None.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        The session's connection; it sees its own temporary tables and uncommitted ones.
    database, schema, name : str
        The place in DuckDB.
    """
    rows = connection.execute(
        "SELECT column_name, data_type, is_nullable, column_default, comment FROM duckdb_columns() "
        "WHERE database_name = ? AND schema_name = ? AND table_name = ? ORDER BY column_index",
        [database, schema, name],
    ).fetchall()
    if not rows:
        return None
    shown = "pg_temp" if database == "temp" else schema
    return Relation((database, schema, name), shown, name, tuple(_column(row) for row in rows))


def _column(row: tuple[object, ...]) -> ColumnOf:
    name, duck, nullable, default, comment = row
    identity = isinstance(comment, str) and comment.endswith(_IDENTITY)
    return ColumnOf(
        name=str(name),
        type=declared(str(duck), comment if isinstance(comment, str) else None),
        nullable=bool(nullable),
        default=None if default in (None, "", "NULL") else str(default),
        identity=identity,
    )


def declared(duck: str, comment: str | None) -> RedshiftType:
    """Return a column's type: what its comment says, while that still fits what DuckDB stores."""
    found = from_duck(duck)
    if comment:
        with contextlib.suppress(UnknownTypeError):
            noted = parse_type(comment.removesuffix(_IDENTITY))
            if noted.duck == duck:
                return noted
    if found.name == "varchar":
        return RedshiftType("varchar", length=256)
    return found
