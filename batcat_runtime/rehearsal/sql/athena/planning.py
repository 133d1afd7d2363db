"""From a parsed query to a DuckDB query over the data it needs, and nothing else.

1. Every table is looked up in Glue; views are opened, recursively.
2. The tables are created without data (their shadows), and the translated query is bound to them:
   that finds wrong columns and types, and yields the result's columns, before anything is fetched.
3. DuckDB's plan over the shadows says which columns and partitions each scan wants.
4. The tables are exposed with just these partitions; the bytes that Athena would scan are counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from ..catalogue import Catalogue
from ..tables import Table
from ..views import PATH_COLUMN, place
from . import checks
from .dialect import output_name, to_duckdb, translate
from .failures import QueryFailure, from_duckdb, not_found
from .information import INFORMATION, expose_information, expose_partitions
from .parsing import Source
from .rendering import ResultType, from_hive, result_type
from .wants import bytes_scanned, wants_of

if TYPE_CHECKING:
    from ..hive_types import HiveType

_PARTITIONS = "$partitions"
_MAX_VIEW_DEPTH = 20


@dataclass(frozen=True)
class Context:
    """Where a query runs: its region, and where names without a prefix are looked up."""

    region: str
    catalog: str
    database: str | None


@dataclass
class Plan:
    """A query that DuckDB can run.

    Attributes
    ----------
    sql : str
        In DuckDB's dialect.
    names : list of str
        Of the result's columns, as Athena has them.
    types : list of ResultType
        Of the same.
    scanned : int
        Bytes that Athena would read.
    tables : list of Table
        What it reads.
    """

    sql: str
    names: list[str]
    types: list[ResultType]
    scanned: int = 0
    tables: list[Table] = field(default_factory=list)


class Planner:
    """Plans one query in one DuckDB connection.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        With the macros of `functions.py`.
    catalogue : Catalogue
        Tables and their objects.
    context : Context
        The query's context.
    workspace : pathlib.Path
        A folder for the query's files.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        catalogue: Catalogue,
        context: Context,
        workspace: Path,
    ) -> None:
        self._connection = connection
        self._catalogue = catalogue
        self._context = context
        self._workspace = workspace
        self._tables: dict[str, Table] = {}
        self._special: set[str] = set()
        self._paths: set[str] = set()
        self._original_types: dict[tuple[str, str], HiveType] = {}

    def plan(self, query: exp.Expr, source: Source, *, fetch: bool = True) -> Plan:
        """Plan a query.

        Parameters
        ----------
        query : sqlglot.exp.Expr
            The query, parsed from Athena's dialect.
        source : Source
            Its text, to say where something is wrong.
        fetch : bool, default True
            Whether to fetch the data; EXPLAIN and CREATE VIEW do without.

        Raises
        ------
        QueryFailure
            When the query is wrong.
        """
        query = self._resolved(query, source, self._context, 0)
        checks.examine(query, source, self._tables)
        statement, sql = self._bound(query, source)
        described = self._connection.execute(f"DESCRIBE {sql}").fetchall()
        names = [output_name(str(row[0]), number) for number, row in enumerate(described)]
        types = [result_type(str(row[1])) for row in described]
        self._sharpen(statement, types)
        plan = Plan(sql, names, types, tables=list(self._tables.values()))
        if fetch:
            plan.scanned = self._fetch(sql)
        return plan

    def _bound(self, query: exp.Expr, source: Source) -> tuple[exp.Expr, str]:
        """Translate, and bind to the shadows; UNNEST of a map is known by its failure."""
        first: duckdb.Error | None = None
        for maps in (False, True):
            statement = translate(query, maps=maps)
            if self._paths:
                hide_paths(statement)
            sql = to_duckdb(statement)
            try:
                self._connection.execute(f"EXPLAIN {sql}")
            except duckdb.Error as error:
                first = first or error
                if "UNNEST" in str(error):
                    continue
                break
            return statement, sql
        assert first is not None
        raise from_duckdb(first, source.locate) from first

    def _resolved(
        self,
        query: exp.Expr,
        source: Source,
        context: Context,
        depth: int,
    ) -> exp.Expr:
        """Give every table its full name, and create its shadow."""
        query = query.copy()
        with_path = any(one.name == PATH_COLUMN for one in query.find_all(exp.Column))
        for node in list(query.find_all(exp.Table)):
            if not isinstance(node.this, exp.Identifier) or is_cte(node):
                continue
            catalog, database, name = full_name(node, context, source)
            self._admit(node, catalog, database, name, source, with_path, depth)
            node.set("this", exp.to_identifier(name, quoted=True))
            # DuckDB has an information_schema of its own, which cannot be replaced.
            schema = INFORMATION if database == "information_schema" else database
            node.set("db", exp.to_identifier(schema, quoted=True))
            node.set("catalog", exp.to_identifier(catalog, quoted=True))
        return query

    def _admit(
        self,
        node: exp.Table,
        catalog: str,
        database: str,
        name: str,
        source: Source,
        with_path: bool,
        depth: int,
    ) -> None:
        full = f"{catalog}.{database}.{name}"
        if full in self._special or (
            full in self._tables and (full in self._paths or not with_path)
        ):
            return
        region, where = self._context.region, source.at(node)
        if self._catalogue.account_of(region, catalog) is None:
            raise not_found("CATALOG_NOT_FOUND", where, f"Catalog '{catalog}' does not exist")
        if database == "information_schema":
            if not expose_information(self._connection, self._catalogue, region, catalog, name):
                raise not_found("TABLE_NOT_FOUND", where, f"Table '{full}' does not exist")
            self._special.add(full)
            return
        plain = name.removesuffix(_PARTITIONS)
        table = self._catalogue.find(region, catalog, database, plain)
        if table is None:
            if not self._catalogue.has_database(region, catalog, database):
                raise not_found("SCHEMA_NOT_FOUND", where, f"Schema '{database}' does not exist")
            raise not_found("TABLE_NOT_FOUND", where, f"Table '{full}' does not exist")
        if plain != name:
            expose_partitions(self._connection, self._catalogue, region, table)
            self._special.add(full)
        elif table.view_query is not None:
            self._open_view(table, depth)
            self._special.add(full)
        else:
            if table.parameters.get("table_type", "").upper() == "ICEBERG":
                raise QueryFailure(
                    f"NOT_SUPPORTED: The embedded AWS does not have Iceberg tables: '{full}'"
                )
            self._catalogue.shadow(self._connection, table, with_path=with_path)
            self._tables[full] = table
            if with_path:
                self._paths.add(full)

    def _open_view(self, table: Table, depth: int) -> None:
        """Create a view in DuckDB, with the columns that it was created with."""
        full = f"{table.catalog}.{table.database}.{table.name}"
        if depth > _MAX_VIEW_DEPTH:
            raise QueryFailure(f"VIEW_IS_RECURSIVE: View '{full}' is recursive")
        text = Source(table.view_query or "")
        try:
            query = sqlglot.parse_one(text.text, dialect="trino")
        except SqlglotError as error:
            raise QueryFailure(f"INVALID_VIEW: Failed analyzing stored view '{full}'") from error
        context = Context(self._context.region, table.catalog, table.database)
        try:
            resolved = self._resolved(query, text, context, depth + 1)
            _, sql = self._bound(resolved, text)
        except QueryFailure as error:
            raise QueryFailure(
                f"INVALID_VIEW: Failed analyzing stored view '{full}': {error.message}",
                type=error.type,
            ) from error
        names = ", ".join(f'"{one.name}"' for one in table.columns)
        casts = ", ".join(
            f'CAST("{one.name}" AS {one.type.duckdb}) AS "{one.name}"' for one in table.columns
        )
        self._connection.execute(
            f"CREATE VIEW {place(self._connection, table)} AS "
            f"SELECT {casts} FROM ({sql}) AS batcat_view ({names})"
        )

    def _sharpen(self, statement: exp.Expr, types: list[ResultType]) -> None:
        """Say varchar(n) and the like for columns that come straight from one table."""
        select = statement
        if not isinstance(select, exp.Select) or len(select.expressions) != len(types):
            return
        declared: dict[str, list[HiveType]] = {}
        for table in self._tables.values():
            for column in table.all_columns:
                declared.setdefault(column.name, []).append(column.type)
        for number, one in enumerate(select.expressions):
            column = one.unalias()
            kinds = declared.get(column.name.lower(), []) if isinstance(column, exp.Column) else []
            if len(kinds) == 1 and kinds[0].name in ("varchar", "char"):
                types[number] = from_hive(kinds[0])

    def _fetch(self, sql: str) -> int:
        """Expose the tables with what the plan wants of them; return the bytes scanned."""
        wanted = wants_of(self._connection, sql, self._tables)
        scanned = 0
        for full, table in self._tables.items():
            scans = wanted.get(full)
            exposed = self._catalogue.expose(
                self._connection,
                self._context.region,
                table,
                workspace=self._workspace,
                scans=None if scans is None else [one.conditions for one in scans],
                milliseconds=True,
                with_path=full in self._paths,
                replace_shadow=True,
            )
            columns = {name for one in scans or [] for name in one.columns}
            scanned += bytes_scanned(exposed, columns)
        return scanned


def hide_paths(query: exp.Expr) -> None:
    """Let the stars of a query leave out ``"$path"``: who wants it has to name it."""
    for select in query.find_all(exp.Select):
        for one in select.expressions:
            if isinstance(one, exp.Star) or (isinstance(one, exp.Column) and one.is_star):
                one.replace(exp.Var(this=f"{one.sql('duckdb')} NOT LIKE '{PATH_COLUMN}'"))


def is_cte(node: exp.Table) -> bool:
    """Tell whether a table's name is that of a common table expression around it."""
    if node.args.get("db"):
        return False
    above: exp.Expr | None = node.parent
    inside: exp.Expr | None = None
    while above is not None:
        if isinstance(above, exp.CTE):
            inside = above
        with_ = above.args.get("with_") or above.args.get("with")
        if isinstance(with_, exp.With):
            for cte in with_.expressions:
                if cte is inside and not with_.args.get("recursive"):
                    break
                if cte.alias.lower() == node.name.lower():
                    return True
        above = above.parent
    return False


def full_name(node: exp.Table, context: Context, source: Source) -> tuple[str, str, str]:
    """Return catalogue, database and name of a table, by the context where they are not given."""
    catalog = (node.catalog or context.catalog).lower()
    database = (node.db or context.database or "").lower()
    if not database:
        raise QueryFailure(
            f"MISSING_SCHEMA_NAME: {source.at(node)}: Schema must be specified when session schema "
            "is not set"
        )
    return catalog, database, node.name.lower()
