"""From a query in Athena's dialect to one that DuckDB runs over the tables it names.

1. Every table is looked up in Glue; a view is replaced by its query.
2. sqlglot qualifies columns and gives expressions their types; what Athena refuses is refused.
3. The tables are exposed in DuckDB, the query is rewritten, and DuckDB says the result's types.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlglot import exp
from sqlglot.errors import OptimizeError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.resolver import Resolver
from sqlglot.optimizer.scope import traverse_scope
from sqlglot.schema import MappingSchema

from . import athena_checks as checks
from .athena_rewrites import to_duckdb
from .athena_text import Source
from .athena_types import annotated
from .athena_words import from_duckdb
from .catalogue import Catalogue
from .failures import QueryFailure, semantic
from .scanning import PATH_COLUMN, expose
from .tables import Table
from .types import from_duckdb as read_type
from .types import trino_name

if TYPE_CHECKING:
    import duckdb

_UNNAMED = "batcat_unnamed_"
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
        Of the result's columns, as Athena has them: ``_col0`` where the query gives none.
    types : list of sqlglot.exp.DataType
        Of the same.
    scanned : int
        The bytes of the tables' objects.
    """

    sql: str
    names: list[str]
    types: list[exp.DataType]
    scanned: int = 0

    def check_names(self) -> None:
        """Refuse columns that have no name or share one, where a table or view is made of them."""
        for number, name in enumerate(self.names, 1):
            if name == f"_col{number - 1}":
                said = f"Column name not specified at position {number}"
                raise semantic("MISSING_COLUMN_NAME", "line 1:1", said)
            if name.lower() in (one.lower() for one in self.names[: number - 1]):
                said = f"Column name '{name}' specified more than once"
                raise semantic("DUPLICATE_COLUMN_NAME", "line 1:1", said)


class Planner:
    """Plans one query in one DuckDB connection.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        With the macros of `trino_functions`.
    catalogue : Catalogue
        Tables and their objects.
    context : Context
        The query's context.
    workspace : pathlib.Path
        A folder for the tables' files.
    under : str
        A DuckDB database for the tables, which is attached.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        catalogue: Catalogue,
        context: Context,
        workspace: Path,
        under: str,
    ) -> None:
        self._connection = connection
        self._under = under
        self._catalogue = catalogue
        self._context = context
        self._workspace = workspace
        self._tables: dict[str, Table] = {}

    def plan(self, source: Source, query: exp.Query) -> Plan:
        """Plan a query.

        Parameters
        ----------
        source : Source
            The text, to say where something is wrong.
        query : sqlglot.exp.Query
            What was parsed from it, or from a part of it.

        Raises
        ------
        QueryFailure
            When the query is wrong, in Athena's words.
        """
        import duckdb

        checks.foreign_syntax(query, source)
        checks.unknown_functions(source)
        aliases = {
            one.alias.lower(): one.alias for one in query.selects if isinstance(one, exp.Alias)
        }
        qualified = self._qualified(self._with_tables(query, source, self._context, 0), source)
        region, scanned = self._context.region, 0
        for table in self._tables.values():
            scanned += expose(
                self._connection, self._catalogue, region, table, self._workspace, self._under
            )
        for node in qualified.find_all(exp.Table):
            if node.catalog:
                schema = f"{node.catalog}.{node.db}"
                node.set("db", exp.to_identifier(schema, quoted=True))
                node.set("catalog", exp.to_identifier(self._under, quoted=True))
        sql = to_duckdb(qualified)
        try:
            described = self._connection.execute(f"DESCRIBE {sql}").fetchall()
        except duckdb.Error as error:
            raise from_duckdb(error, source) from error
        names = [_output_name(str(row[0]), number) for number, row in enumerate(described)]
        types = [read_type(str(row[1])) for row in described]
        return Plan(sql, [aliases.get(one.lower(), one) for one in names], types, scanned)

    def _qualified(self, query: exp.Expr, source: Source) -> exp.Expr:
        """Resolve columns, find types, and refuse what Athena refuses."""
        try:
            query = qualify(
                query,
                schema=self._schema(),
                dialect="trino",
                expand_alias_refs=False,
                validate_qualify_columns=False,
                allow_partial_qualification=True,
                quote_identifiers=False,
            )
        except OptimizeError as error:
            raise QueryFailure(f"SYNTAX_ERROR: line 1:1: {error}") from error
        for scope in traverse_scope(query):
            # sqlglot leaves the columns of HAVING alone.
            if isinstance(having := scope.expression.args.get("having"), exp.Having):
                resolver = Resolver(scope, self._schema())
                for column in having.find_all(exp.Column):
                    owner = None if column.table else resolver.get_table(column)
                    column.set("table", owner or column.args.get("table"))
        checks.unknown_columns(query, source, self._tables)
        query = annotated(query, self._schema())
        checks.mismatched_types(query, source)
        return query

    def _with_tables(
        self, query: exp.Expr, source: Source, context: Context, depth: int
    ) -> exp.Expr:
        """Give tables their full names, views their queries, and unnamed columns a mark."""
        for select in query.find_all(exp.Select):
            for number, one in enumerate(select.expressions):
                if not isinstance(one, exp.Alias | exp.Column | exp.Star | exp.Dot | exp.Aliases):
                    one.replace(exp.alias_(one.copy(), f"{_UNNAMED}{number}", quoted=True))
        for node in list(query.find_all(exp.Table)):
            if not isinstance(node.this, exp.Identifier) or _is_cte(node):
                continue
            table = self._find(node, source, context)
            alias = node.alias or node.name
            if table.view_query is None:
                self._tables[table.full_name] = table
                node.set("this", exp.to_identifier(table.name, quoted=True))
                node.set("db", exp.to_identifier(table.database, quoted=True))
                node.set("catalog", exp.to_identifier(table.catalog, quoted=True))
                if not node.alias:
                    node.set("alias", exp.TableAlias(this=exp.to_identifier(alias)))
                continue
            if depth > _MAX_VIEW_DEPTH:
                raise QueryFailure(f"VIEW_IS_RECURSIVE: View '{table.full_name}' is recursive")
            names = [exp.to_identifier(one.name, quoted=True) for one in table.columns]
            view = self._view(table, context, depth)
            node.replace(
                exp.Subquery(
                    this=view, alias=exp.TableAlias(this=exp.to_identifier(alias), columns=names)
                )
            )
        return query

    def _view(self, table: Table, context: Context, depth: int) -> exp.Expr:
        inner = Context(context.region, table.catalog, table.database)
        text = Source(table.view_query or "")
        try:
            query = text.query()
            if not query.is_star and len(query.selects) != len(table.columns):
                raise QueryFailure("the number of its columns has changed")
            view = self._with_tables(query, text, inner, depth + 1)
            self._qualified(view.copy(), text)
        except QueryFailure as error:
            raise QueryFailure(
                f"INVALID_VIEW: Failed analyzing stored view '{table.full_name}': {error.reason}",
            ) from error
        return view

    def _find(self, node: exp.Table, source: Source, context: Context) -> Table:
        catalog = (node.catalog or context.catalog).lower()
        database = (node.db or context.database or "").lower()
        name, where = node.name.lower(), source.at(node)
        if not database:
            said = "Schema must be specified when session schema is not set"
            raise semantic("MISSING_SCHEMA_NAME", where, said)
        region = context.region
        table = None
        if self._catalogue.has_catalog(region, catalog):
            table = self._catalogue.find(region, catalog, database, name)
        else:
            raise semantic("CATALOG_NOT_FOUND", where, f"Catalog '{catalog}' does not exist")
        if table is None:
            if not self._catalogue.has_database(region, database):
                raise semantic("SCHEMA_NOT_FOUND", where, f"Schema '{database}' does not exist")
            said = f"Table '{catalog}.{database}.{name}' does not exist"
            raise semantic("TABLE_NOT_FOUND", where, said)
        if table.parameters.get("table_type", "").upper() == "ICEBERG":
            said = f"The embedded AWS does not have Iceberg tables: '{table.full_name}'"
            raise QueryFailure(f"NOT_SUPPORTED: {said}")
        return table

    def _schema(self) -> MappingSchema:
        """Return the tables' columns for sqlglot; ``"$path"`` is there for who names it."""
        schema = MappingSchema(dialect="trino", visible={})
        for table in self._tables.values():
            place = exp.table_(table.name, table.database, table.catalog, quoted=True)
            columns = {one.name: trino_name(one.type) for one in table.all_columns}
            schema.add_table(place, {**columns, PATH_COLUMN: "varchar"}, dialect="trino")
            visible = schema.visible.setdefault(table.catalog, {})
            assert isinstance(visible, dict)
            visible.setdefault(table.database, {})[table.name] = list(columns)
        return schema


@cache
def trino_functions() -> str:
    """Return the statements that define Trino's functions in DuckDB."""
    return Path(__file__).with_name("trino_functions.sql").read_text(encoding="utf-8")


def _output_name(name: str, number: int) -> str:
    return f"_col{number}" if name.startswith((_UNNAMED, "_col_")) else name


def _is_cte(node: exp.Table) -> bool:
    """Tell whether a table's name is that of a common table expression around it."""
    if node.args.get("db"):
        return False
    above: exp.Expr | None = node.parent
    inside: exp.Expr | None = None
    while above is not None:
        inside = above if isinstance(above, exp.CTE) else inside
        with_ = above.args.get("with_")
        recursive = isinstance(with_, exp.With) and with_.args.get("recursive")
        for cte in with_.expressions if isinstance(with_, exp.With) else ():
            if cte is inside and not recursive:
                break
            if cte.alias.lower() == node.name.lower():
                return True
        above = above.parent
    return False
