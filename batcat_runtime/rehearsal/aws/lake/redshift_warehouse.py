"""A warehouse of Redshift, and connections to it: names, transactions, translation, execution.

A warehouse is what a cluster or a workgroup holds: one DuckDB in memory, with a database attached
for each of Redshift's, so that a query across databases is one in DuckDB too.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
from sqlglot import exp

from .engine import connect, literal, quoted
from .redshift_changes import MACROS
from .redshift_errors import RedshiftError
from .redshift_sql import Column, Relation, Translated, fill, parse, translate
from .redshift_types import Columns, RedshiftType, declared, from_comment, from_duck
from .redshift_words import in_redshift_words

Values = Mapping[str, exp.Expression]
NOT_PERFORMED = "ERROR: The embedded AWS does not perform this statement: "
_LIBRARY = "rs"
_VIEWS = {  # what awswrangler asks of the catalogue
    "svv_columns": "SELECT * FROM information_schema.columns "
    "WHERE table_catalog = current_database()",
    "svv_tables": "SELECT * FROM information_schema.tables "
    "WHERE table_catalog = current_database()",
    "pg_indexes": "SELECT schema_name AS schemaname, table_name AS tablename, "
    "'CREATE UNIQUE INDEX ' || table_name || '_pkey ON ' || table_name || ' USING btree (' "
    "|| comment || ')' AS indexdef FROM duckdb_tables() "
    "WHERE database_name = current_database() AND comment IS NOT NULL",
}
_STANDARD_VIEWS = ("columns", "tables")


class Warehouse:
    """The databases of one cluster or workgroup.

    Parameters
    ----------
    database : str
        The one that exists from the start.
    *folders : pathlib.Path
        All that its statements may read and write on this machine.
    """

    def __init__(self, database: str, *folders: Path) -> None:
        self._root = connect(*folders, settings="SET GLOBAL integer_division = true")
        self._pids = itertools.count(1_073_741_824)
        self._lock = threading.Lock()
        self.databases: set[str] = set()
        macros = [f"CREATE MACRO {macro}" for macro in MACROS]
        views = [f"CREATE VIEW {name} AS {query}" for name, query in _VIEWS.items()]
        library = f"ATTACH ':memory:' AS {_LIBRARY}; USE {_LIBRARY}.main"
        self._root.execute("; ".join([library, *macros, *views, "USE memory.main"]))
        self.create_database(database)

    def create_database(self, name: str) -> None:
        """Create a database with its schema ``public``."""
        with self._lock:
            if name in (*self.databases, "memory", "system", "temp", _LIBRARY):
                raise RedshiftError(f'ERROR: database "{name}" already exists')
            self._root.execute(f"ATTACH ':memory:' AS {quoted(name)}")
            self._root.execute(f"CREATE SCHEMA {quoted(name)}.public")
            self.databases.add(name)

    def cursor(self, database: str) -> tuple[int, duckdb.DuckDBPyConnection]:
        """Connect to a database; returns the number of the process and the connection."""
        if database not in self.databases:
            raise RedshiftError(f'FATAL: database "{database}" does not exist')
        with self._lock:
            return next(self._pids), self._root.cursor()

    def close(self) -> None:
        """Close the DuckDB; what runs in it fails."""
        self._root.close()


class Connection:
    """A connection to one database of a warehouse, as one user.

    Parameters
    ----------
    warehouse : Warehouse
    database, user : str

    Attributes
    ----------
    duck : duckdb.DuckDBPyConnection
    settings : dict of str to str
        What SET has set.
    in_transaction : bool
    """

    def __init__(self, warehouse: Warehouse, database: str, user: str) -> None:
        self.warehouse, self.database, self.user = warehouse, database, user
        self.pid, self.duck = warehouse.cursor(database)
        self.settings: dict[str, str] = {}
        self.in_transaction = False
        self.use(["public"])

    def begin(self) -> None:
        """Begin a transaction, unless in one."""
        if not self.in_transaction:
            self.duck.execute("BEGIN TRANSACTION")
            self.in_transaction = True

    def commit(self) -> None:
        """End the transaction, and keep what it did."""
        if self.in_transaction:
            self.in_transaction = False
            self.duck.execute("COMMIT")

    def rollback(self) -> None:
        """End the transaction, and undo what it did."""
        if self.in_transaction:
            self.in_transaction = False
            with contextlib.suppress(duckdb.Error):
                self.duck.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection: an open transaction is rolled back, temporary tables vanish."""
        self.rollback()
        with contextlib.suppress(duckdb.Error):
            self.duck.close()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Make a transaction of several statements, unless one is open."""
        begun = not self.in_transaction
        self.begin()
        try:
            yield
        except BaseException:
            if begun:
                self.rollback()
            raise
        if begun:
            self.commit()

    def execute(self, translated: Translated) -> duckdb.DuckDBPyConnection:
        """Execute DuckDB's SQL; a failure is told in Redshift's words."""
        try:
            return self.duck.execute(translated.sql)
        except duckdb.Error as error:
            raise in_redshift_words(error, translated.relations) from error

    def parse(self, sql: str, values: Values) -> exp.Expression:
        """Parse a statement, with values in the places of its parameters."""
        tree = parse(sql)
        fill(tree, values)
        return tree

    def translate(self, tree: exp.Expression) -> Translated:
        """Translate a parsed statement, which is changed."""
        return translate(tree, self.find, self.user)

    def described(self, translated: Translated) -> Columns:
        """Return a query's columns, without running it."""
        query = Translated(f"DESCRIBE {translated.sql}", translated.relations)
        rows = self.execute(query).fetchall()
        types = translated.types if len(translated.types) == len(rows) else [None] * len(rows)
        return [
            (str(row[0]), _result_type(str(row[1]), kind))
            for row, kind in zip(rows, types, strict=True)
        ]

    def use(self, schemas: list[str]) -> None:
        """Look for bare names in these schemas."""
        known = [schema for schema in schemas if self.has_schema(self.database, schema)]
        self._path = known
        places = [f"{quoted(self.database)}.{quoted(schema)}" for schema in known]
        self.duck.execute(f"SET search_path = {literal(','.join([*places, f'{_LIBRARY}.main']))}")

    def has_schema(self, database: str, schema: str) -> bool:
        """Tell whether a database has a schema."""
        query = "SELECT 1 FROM duckdb_schemas() WHERE database_name = ? AND schema_name = ?"
        return bool(self.duck.execute(query, [database, schema]).fetchall())

    def find(self, parts: tuple[str, ...]) -> Relation | None:
        """Find what a name means: a view of the catalogue, a temporary table, a table."""
        *owners, name = parts
        if owners == ["information_schema"] and name in _STANDARD_VIEWS:
            return self._relation(_LIBRARY, "main", f"svv_{name}")
        if name in _VIEWS and owners in ([], ["pg_catalog"]):
            return self._relation(_LIBRARY, "main", name)
        if owners in ([], ["pg_temp"]):
            found = self._relation("temp", "main", name)
            for schema in [] if owners else self._path:
                found = found or self._relation(self.database, schema, name)
            return found
        database, schema = owners if len(owners) == 2 else (self.database, owners[-1])
        return self._relation(database, schema, name)

    def table(self, parts: tuple[str, ...]) -> Relation:
        """Return a table or view. Raises `RedshiftError` when there is none of this name."""
        found = self.find(parts)
        if found is None:
            raise RedshiftError(f'ERROR: relation "{".".join(parts)}" does not exist')
        return found

    def _relation(self, database: str, schema: str, name: str) -> Relation | None:
        rows = self.duck.execute(
            "SELECT column_name, data_type, column_default, NOT is_nullable, comment "
            "FROM duckdb_columns() WHERE database_name = ? AND schema_name = ? AND table_name = ? "
            "ORDER BY column_index",
            [database, schema, name],
        ).fetchall()
        columns = []
        for column, duck, default, not_null, comment in rows:
            kind = from_comment(comment) if comment else None
            columns.append(Column(column, kind or from_duck(duck), default, not_null))
        return Relation((database, schema, name), tuple(columns)) if columns else None

    def place(self, parts: tuple[str, ...], *, temporary: bool) -> tuple[str, str, str]:
        """Return where a new object of this name goes."""
        if temporary:
            return "temp", "main", parts[-1]
        database = parts[-3] if len(parts) > 2 else self.database
        schema = parts[-2] if len(parts) > 1 else (self._path or ["public"])[0]
        if not self.has_schema(database, schema):
            raise RedshiftError(f'ERROR: schema "{schema}" does not exist')
        return database, schema, parts[-1]


def _result_type(duck: str, kind: exp.DataType | None) -> RedshiftType:
    """Return a result's type: what DuckDB gives, or what is declared, where that says more."""
    if kind is not None and (kind.expressions or kind.this is exp.DataType.Type.SUPER):
        with contextlib.suppress(RedshiftError):
            known = declared(kind)
            if known.duck == duck:
                return known
    return from_duck(duck)
