"""A session: one connection to a database of a warehouse, which performs statements.

A statement that reads or changes rows is translated (`redshift_query`) and executed by DuckDB. All
others are performed by a function of their own, found by the statement's first words: definitions
in `redshift_definitions.py`, COPY and UNLOAD in modules of those names.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import duckdb
from sqlglot import exp

from . import redshift_changes
from .redshift_dialect import Words, statements_of, tokens_of, tree_of
from .redshift_external import External
from .redshift_macros import LIBRARY
from .redshift_outcome import Outcome, ResultColumn
from .redshift_query import (
    ColumnOf,
    Relation,
    Translated,
    fold,
    translate,
)
from .redshift_statements import STATEMENTS
from .redshift_system import system_view
from .redshift_types import RedshiftType, from_duck
from .redshift_warehouse import Warehouse, relation_at, schemas_of, set_search_path
from .redshift_words import RedshiftError, in_redshift_words, syntax_error

if TYPE_CHECKING:
    pass

TEMPORARY = "temp"


class Session:
    """A connection to one database, as one user.

    Parameters
    ----------
    warehouse : Warehouse
        Whose databases.
    database : str
        The one connected to.
    user : str
        The database user.
    external : External
        The way to data in S3 and in the Glue catalogue.

    Raises
    ------
    RedshiftError
        When there is no such database.
    """

    def __init__(self, warehouse: Warehouse, database: str, user: str, external: External) -> None:
        self.warehouse = warehouse
        self.database = database
        self.user = user
        self.external = external
        self.pid = warehouse.next_pid()
        self.connection = warehouse.connection(database)
        self.search_path = ["public"]
        self.settings: dict[str, str] = {}
        self.in_transaction = False
        self._cancelled = threading.Event()
        self._undo: list[Callable[[], None]] = []

    def run(self, sql: str, parameters: Mapping[str, str | None] | None = None) -> Outcome:
        """Perform one statement.

        Parameters
        ----------
        sql : str
            Redshift's SQL; a semicolon may end it.
        parameters : mapping of str to str, optional
            Values for ``:name``, bound by the engine.

        Raises
        ------
        RedshiftError
            With the words of Redshift.
        """
        parts = statements_of(sql)
        if len(parts) > 1:
            raise RedshiftError("ERROR: cannot insert multiple commands into a prepared statement")
        if not parts:
            raise syntax_error(sql, len(sql))
        if self._cancelled.is_set():
            raise RedshiftError("Query cancelled on user's request")
        words = Words(sql.rstrip().rstrip(";"))
        try:
            return self._perform(words, dict(parameters or {}))
        except duckdb.Error as error:
            raise in_redshift_words(error, sql) from error
        finally:
            self.external.forget(self.warehouse)

    def cancel(self) -> None:
        """Interrupt the running statement, from another thread; later ones are refused."""
        self._cancelled.set()
        self.connection.interrupt()

    def begin(self) -> None:
        """Begin a transaction."""
        if not self.in_transaction:
            self.connection.execute("BEGIN TRANSACTION")
            self.in_transaction = True

    def commit(self) -> None:
        """End the transaction, and keep what it did."""
        if self.in_transaction:
            self.in_transaction = False
            self._undo.clear()
            self.connection.execute("COMMIT")

    def rollback(self) -> None:
        """End the transaction, and undo what it did."""
        if self.in_transaction:
            self.in_transaction = False
            for undo in reversed(self._undo):
                undo()
            self._undo.clear()
            with contextlib.suppress(duckdb.Error):
                self.connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection; an open transaction is rolled back, temporary tables vanish."""
        self.rollback()
        with contextlib.suppress(duckdb.Error):
            self.connection.close()

    def note(self, undo: Callable[[], None]) -> None:
        """Remember how to undo a change that DuckDB does not know of, should we roll back."""
        if self.in_transaction:
            self._undo.append(undo)

    def translated(self, tree: exp.Expression) -> Translated:
        """Translate a statement whose identifiers are folded."""
        return translate(self._with_session_values(tree), self.find)

    def parse(self, sql: str) -> exp.Expression:
        """Parse a statement and fold its identifiers as this session's settings say."""
        tree = tree_of(sql)
        fold(tree, keep_quoted=self.settings.get("enable_case_sensitive_identifier") == "true")
        return tree

    def select(self, sql: str, parameters: Mapping[str, str | None] | None = None) -> Outcome:
        """Perform a query."""
        tree = self.parse(sql)
        if not isinstance(tree, exp.Query):
            raise syntax_error(sql, 0)
        if isinstance(tree, exp.Select) and tree.args.get("into") is not None:
            raise RedshiftError(
                "ERROR: SELECT INTO is not supported on the embedded AWS: use CREATE TABLE AS"
            )
        translated = self.translated(tree)
        return self.fetch(translated, sql, parameters)

    def describe(
        self, sql: str, parameters: Mapping[str, str | None] | None = None
    ) -> list[ResultColumn] | None:
        """Return the columns that a statement would give, without performing a query.

        Parameters
        ----------
        sql : str
            Redshift's SQL.
        parameters : mapping of str to str, optional
            Values for its parameters, or None for unknown ones.

        Returns
        -------
        list of ResultColumn or None
            None when it has no result set.
        """
        words = Words(sql.rstrip().rstrip(";"))
        if words.starts("EXPLAIN"):
            return [ResultColumn("QUERY PLAN", RedshiftType("varchar"))]
        if words.peek() not in ("SELECT", "WITH", "("):
            return self.run(sql, parameters).columns if words.starts("SHOW") else None
        try:
            tree = self.parse(words.sql)
            if not isinstance(tree, exp.Query):
                return None
            translated = self.translated(tree)
            names = list(translated.relations)
            described = self.execute(
                f"DESCRIBE {translated.sql}", sql, parameters, names
            ).fetchall()
            pairs = [(str(row[0]), str(row[1])) for row in described]
            return _result_columns(pairs, translated)
        finally:
            self.external.forget(self.warehouse)

    def fetch(
        self, translated: Translated, sql: str, parameters: Mapping[str, str | None] | None = None
    ) -> Outcome:
        """Execute a translated query and fetch its result."""
        try:
            relation = self.connection.sql(
                translated.sql, params=_bound(translated.sql, parameters)
            )
            table = relation.to_arrow_table()
        except duckdb.Error as error:
            raise in_redshift_words(error, sql, list(translated.relations)) from error
        described = list(zip(relation.columns, map(str, relation.types), strict=True))
        columns = _result_columns(described, translated)
        return Outcome(columns, table, table.num_rows)

    def execute(
        self,
        duck: str,
        sql: str,
        parameters: Mapping[str, str | None] | None = None,
        relations: list[str] | None = None,
    ) -> Any:
        """Execute DuckDB's SQL; a failure is told in Redshift's words about `sql`."""
        bound = _bound(duck, parameters)
        try:
            return self.connection.execute(duck, bound) if bound else self.connection.execute(duck)
        except duckdb.Error as error:
            raise in_redshift_words(error, sql, relations or ()) from error

    def find(self, parts: tuple[str, ...]) -> Relation | None:
        """Find what a name means in this session: see the order in the code."""
        view = system_view(parts)
        if view is not None:
            return relation_at(self.connection, LIBRARY, "main", view)
        if len(parts) == 1:
            found = relation_at(self.connection, TEMPORARY, "main", parts[0])
            for schema in self.search_path:
                found = found or self._find_in(self.database, schema, parts[0])
            return found
        if len(parts) == 2:
            if parts[0] == "pg_temp":
                return relation_at(self.connection, TEMPORARY, "main", parts[1])
            return self._find_in(self.database, *parts)
        database, schema, name = parts[-3:]
        if database in self.warehouse.notes:
            return self._find_in(database, schema, name)
        return self.external.relation(self.warehouse, database, schema, name)

    def place(self, parts: tuple[str, ...], *, temporary: bool = False) -> tuple[str, str, str]:
        """Return where a new object of this name goes.

        Raises
        ------
        RedshiftError
            When its schema does not exist.
        """
        if temporary:
            return (TEMPORARY, "main", parts[-1])
        database = parts[-3] if len(parts) > 2 else self.database
        schema = parts[-2] if len(parts) > 1 else self.search_path[0]
        if schema not in schemas_of(self.connection, database):
            raise RedshiftError(f'ERROR: schema "{schema}" does not exist')
        return (database, schema, parts[-1])

    def set_search_path(self, schemas: list[str]) -> None:
        """Look for names in these schemas, in this order."""
        self.search_path = schemas
        existing = set(schemas_of(self.connection, self.database))
        known = [one for one in schemas if one in existing]
        set_search_path(self.connection, self.database, known)

    def _find_in(self, database: str, schema: str, name: str) -> Relation | None:
        notes = self.warehouse.notes[database]
        shown = notes.external_schemas.get(schema)
        if shown is not None:
            return self.external.relation(self.warehouse, shown.catalog, shown.database, name)
        late = notes.late_views.get((schema, name))
        if late is not None:
            return Relation((database, schema, name), schema, name, definition=late)
        return relation_at(self.connection, database, schema, name)

    def _with_session_values(self, tree: exp.Expression) -> exp.Expression:
        for node in list(tree.find_all(exp.CurrentUser, exp.Placeholder, exp.SessionUser)):
            if isinstance(node, exp.Placeholder):
                if isinstance(node.this, str) and node.this:
                    node.set("this", f"p_{node.this}")
            else:
                node.replace(exp.Literal.string(self.user))
        return tree

    def _perform(self, words: Words, parameters: dict[str, str | None]) -> Outcome:
        first = words.peek()
        if first in ("SELECT", "WITH", "("):
            tree = self.parse(words.sql)
            if not isinstance(tree, exp.Query):
                return redshift_changes.change(self, tree, words.sql, parameters)
            return self.select(words.sql, parameters)
        if first in ("INSERT", "UPDATE", "DELETE", "MERGE"):
            sql = words.sql
            if first == "DELETE" and words.peek(1) != "FROM":
                # FROM may be left out, which sqlglot does not know.
                end = words.tokens[0].end
                sql = f"{sql[:end]} FROM{sql[end:]}"
            return redshift_changes.change(self, self.parse(sql), words.sql, parameters)
        perform = STATEMENTS.get(first)
        if perform is None:
            raise words.error()
        words.next()
        return perform(self, words)


def parameter_names(sql: str) -> list[str]:
    """Return the names of the parameters (``:name``) of a statement, in order."""
    tokens = tokens_of(sql)
    names = []
    for before, token in itertools.pairwise(tokens):
        if before.text == ":" and token.start == before.end and token.kind in ("word", "number"):
            names.append(token.text)
    return names


def _bound(duck: str, parameters: Mapping[str, str | None] | None) -> dict[str, str | None] | None:
    """Return the values for the parameters that occur in DuckDB's SQL."""
    used = set(re.findall(r"\$p_(\w+)", duck))
    found = {f"p_{name}": value for name, value in (parameters or {}).items() if name in used}
    return found or None


def _result_columns(described: list[tuple[str, str]], translated: Translated) -> list[ResultColumn]:
    known = len(translated.sources) == len(described)
    return [
        _result_column(name, duck, translated.sources[number] if known else None)
        for number, (name, duck) in enumerate(described)
    ]


def _result_column(name: str, duck: str, source: tuple[Relation, ColumnOf] | None) -> ResultColumn:
    kind = from_duck(duck)
    if source is None:
        return ResultColumn(name, kind)
    relation, column = source
    if column.type.duck == duck or (duck == "JSON" and column.type.name == "super"):
        kind = column.type
    return ResultColumn(name, kind, relation.schema, relation.name, column.nullable)
