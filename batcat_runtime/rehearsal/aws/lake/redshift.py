"""Redshift's engine: a session performs statements, which DuckDB executes.

Queries and changes of rows are translated (`redshift_sql`); definitions are in `redshift_tables`,
COPY and UNLOAD in `redshift_s3`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
from sqlglot import exp

from . import redshift_tables
from .redshift_errors import CANCELLED, RedshiftError, syntax_error
from .redshift_s3 import Access, s3_in_redshift_words
from .redshift_sql import Column, Translated, statements_of, tokens_of, type_of
from .redshift_types import Columns, RedshiftType
from .redshift_warehouse import NOT_PERFORMED, Connection, Values, Warehouse
from .redshift_words import in_redshift_words

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Outcome:
    """What a statement did.

    Attributes
    ----------
    columns : list of (str, RedshiftType) or None
        None when it has no result set.
    table : pyarrow.Table or None
        The rows of the result set.
    rows : int
        How many rows were returned or changed.
    """

    columns: Columns | None = None
    table: pa.Table | None = None
    rows: int = 0

    def values(self, start: int = 0) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of the result set, from one on."""
        if self.table is not None:
            for batch in self.table.slice(start).to_batches(max_chunksize=10_000):
                yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


class Session(Connection):
    """A connection to one database, as one user.

    Parameters
    ----------
    warehouse : Warehouse
    database, user : str
    s3 : Access
        The way to S3, for COPY and UNLOAD.
    """

    def __init__(self, warehouse: Warehouse, database: str, user: str, s3: Access) -> None:
        super().__init__(warehouse, database, user)
        self._s3 = s3
        self._cursors: dict[str, tuple[Outcome, int]] = {}
        self._cancelled = threading.Event()

    def run(self, sql: str, values: Values | None = None) -> Outcome:
        """Perform one statement.

        Parameters
        ----------
        sql : str
            Redshift's SQL; a semicolon may end it.
        values : mapping of str to sqlglot's expressions, optional
            For its parameters.

        Raises
        ------
        RedshiftError
            With Redshift's words.
        """
        if self._cancelled.is_set():
            raise RedshiftError(CANCELLED)
        sql = _one(sql)
        milliseconds = float(self.settings.get("statement_timeout") or 0)
        timer = threading.Timer(milliseconds / 1000, self.duck.interrupt)
        if milliseconds:
            timer.start()
        try:
            return self._perform(sql, values or {})
        except duckdb.Error as error:
            raise in_redshift_words(error) from error
        finally:
            timer.cancel()

    def describe(self, sql: str, values: Values) -> Columns | None:
        """Return the columns that a statement would give, None without any; runs no query."""
        sql = _one(sql)
        first = _first(sql)
        if first == "FETCH":
            return self._cursor(sql)[1].columns
        if first == "SHOW":
            return self.run(sql).columns
        tree = self.parse(sql, values) if first in ("SELECT", "WITH", "(") else None
        if not isinstance(tree, exp.Query):
            return None
        translated = self.translate(tree)
        return self.described(translated)

    def cancel(self) -> None:
        """Interrupt the running statement, from another thread; later ones are refused."""
        self._cancelled.set()
        self.duck.interrupt()

    def commit(self) -> None:
        """End the transaction and its cursors, and keep what it did."""
        self._cursors.clear()
        super().commit()

    def rollback(self) -> None:
        """End the transaction and its cursors, and undo what it did."""
        self._cursors.clear()
        super().rollback()

    def _perform(self, sql: str, values: Values) -> Outcome:
        first = _first(sql)
        if first in ("SELECT", "WITH", "("):
            tree = self.parse(sql, values)
            if not isinstance(tree, exp.Query) or tree.args.get("into") is not None:
                raise RedshiftError(NOT_PERFORMED + "SELECT INTO; use CREATE TABLE AS")
            return self._select(self.translate(tree))
        perform = _STATEMENTS.get(first)
        if perform is None:
            raise syntax_error(sql, len(sql) - len(sql.lstrip()))
        return perform(self, sql, values) or Outcome()

    def _select(self, translated: Translated) -> Outcome:
        columns = self.described(translated)
        try:
            table: pa.Table = self.duck.sql(translated.sql).to_arrow_table()
        except duckdb.Error as error:
            raise in_redshift_words(error, translated.relations) from error
        return Outcome(columns, table, table.num_rows)

    def _change(self, sql: str, values: Values) -> Outcome:
        """INSERT, UPDATE or DELETE; a text for a column of another type wants a cast."""
        tree = self.parse(sql, values)
        table = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
        target = self.table(tuple(part.name for part in table.parts))
        named = tree.this.expressions if isinstance(tree.this, exp.Schema) else []
        columns = [target.column(one.name) for one in named] or list(target.columns)
        for assignment in tree.expressions if isinstance(tree, exp.Update) else ():
            target.column(assignment.this.name)
            assignment.this.set("table", None)  # DuckDB wants it bare
        translated = self.translate(tree)
        rows = tree.args.get("expression")
        if isinstance(rows, exp.Values):
            for row in rows.expressions:
                cells = row.expressions if isinstance(row, exp.Tuple) else [row]
                _check_types([type_of(cell) for cell in cells], columns)
        elif isinstance(tree, exp.Insert):
            _check_types(translated.types, columns)
        for assignment in tree.expressions if isinstance(tree, exp.Update) else ():
            column = target.column(assignment.this.name)
            _check_types([type_of(assignment.expression)], [column])
        counts = self.execute(translated).fetchall()
        return Outcome(rows=int(counts[0][0]) if counts else 0)

    def _copy(self, sql: str, values: Values) -> Outcome:
        with s3_in_redshift_words():
            return Outcome(rows=self._s3.copy(self.duck, sql, self.table))

    def _unload(self, sql: str, values: Values) -> Outcome:
        def query(text: str) -> tuple[Translated, Columns]:
            tree = self.parse(text, {})
            if not isinstance(tree, exp.Query):
                raise RedshiftError("ERROR: UNLOAD requires a SELECT statement")
            if tree.args.get("limit") is not None:
                raise RedshiftError("ERROR: Limit clause is not supported")
            translated = self.translate(tree)
            return translated, self.described(translated)

        with s3_in_redshift_words():
            return Outcome(rows=self._s3.unload(self.duck, sql, query))

    def _declare(self, sql: str, values: Values) -> None:
        """DECLARE name CURSOR FOR query: its rows, to be fetched piece by piece."""
        tokens = tokens_of(sql)
        words = [token.text.upper() for token in tokens[2:4]]
        if words != ["CURSOR", "FOR"] or not self.in_transaction:
            raise RedshiftError("ERROR: DECLARE CURSOR may only be used in transaction blocks")
        name, query = tokens[1].text.lower(), " " * tokens[4].start + sql[tokens[4].start :]
        tree = self.parse(query, values)
        self._cursors[name] = self._select(self.translate(tree)), 0

    def _fetch(self, sql: str, values: Values) -> Outcome:
        """FETCH FORWARD n FROM name, or ALL, or NEXT."""
        words = _words(sql)
        name, whole, start = self._cursor(sql)
        assert whole.table is not None
        count = next((int(word) for word in words if word.isdigit()), 1)
        table = whole.table.slice(start, None if "all" in words else count)
        self._cursors[name] = whole, start + table.num_rows
        return Outcome(whole.columns, table, table.num_rows)

    def _cursor(self, sql: str) -> tuple[str, Outcome, int]:
        name = _words(sql)[-1]
        if name not in self._cursors:
            raise RedshiftError(f'ERROR: cursor "{name}" does not exist')
        return name, *self._cursors[name]

    def _set(self, sql: str, values: Values) -> None:
        words = [token.text for token in tokens_of(sql) if token.text not in ("=", ",")]
        rest = [word for word in words[1:] if word.upper() not in ("SESSION", "LOCAL", "TO")]
        name, given = rest[0].lower(), [word.lower() for word in rest[1:]]
        if name == "enable_case_sensitive_identifier" and given != ["off"]:
            raise RedshiftError(NOT_PERFORMED + f"SET {name}")
        self.settings[name] = ", ".join(given)
        if name == "search_path":
            self.use([schema for schema in given if schema != "$user"])

    def _show(self, sql: str, values: Values) -> Outcome:
        """SHOW name: awswrangler asks whether identifiers keep their case; here they never do."""
        import pyarrow as pa

        name = _words(sql)[1]
        value = self.settings.get(name, "off")
        table = pa.table({name: pa.array([value], pa.string())})
        return Outcome([(name, RedshiftType("varchar"))], table, 1)


def _nothing(session: Session, sql: str, values: Values) -> None:
    """Do nothing: rights and maintenance change no data, and the rehearsal has one user."""


def _missing(session: Session, sql: str, values: Values) -> None:
    raise RedshiftError(NOT_PERFORMED + _first(sql))


_STATEMENTS: dict[str, Callable[[Session, str, Values], Outcome | None]] = {
    **dict.fromkeys(("INSERT", "UPDATE", "DELETE"), Session._change),
    **dict.fromkeys(("BEGIN", "START"), lambda session, *_: session.begin()),
    **dict.fromkeys(("COMMIT", "END"), lambda session, *_: session.commit()),
    **dict.fromkeys(("ROLLBACK", "ABORT"), lambda session, *_: session.rollback()),
    **dict.fromkeys(("ANALYZE", "CLOSE", "GRANT", "LOCK", "REVOKE", "VACUUM"), _nothing),
    **dict.fromkeys(("CALL", "COMMENT", "EXECUTE", "EXPLAIN", "MERGE", "PREPARE"), _missing),
    "ALTER": redshift_tables.alter,
    "COPY": Session._copy,
    "CREATE": redshift_tables.create,
    "DECLARE": Session._declare,
    "DROP": redshift_tables.drop,
    "FETCH": Session._fetch,
    "SET": Session._set,
    "SHOW": Session._show,
    "TRUNCATE": redshift_tables.truncate,
    "UNLOAD": Session._unload,
}


def _one(sql: str) -> str:
    parts = statements_of(sql)
    if len(parts) > 1:
        raise RedshiftError("ERROR: cannot insert multiple commands into a prepared statement")
    if not parts:
        raise syntax_error(sql, len(sql))
    return parts[0]


def _first(sql: str) -> str:
    return tokens_of(sql)[0].text.upper()


def _words(sql: str) -> list[str]:
    return [token.text.lower() for token in tokens_of(sql)]


def _check_types(kinds: Sequence[exp.DataType | None], columns: Sequence[Column]) -> None:
    """Refuse a text for a column of another type, as Redshift does without a cast."""
    for kind, column in zip(kinds, columns, strict=False):
        is_text = kind is not None and kind.this in exp.DataType.TEXT_TYPES
        if is_text and not column.type.is_text:
            raise RedshiftError(
                f'ERROR: column "{column.name}" is of type {column.type.words} but expression is '
                "of type character varying\n  Hint: You will need to rewrite or cast the "
                "expression."
            )
