"""Runs one statement: what kind it is, who performs it, and what it leaves.

A `Run` has a DuckDB connection and a folder of its own, both gone when the statement is done.
Queries are planned and rendered here; `writing.py` writes data, `definitions.py` changes the
catalogue, and `showing.py` tells of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
from botocore.exceptions import ClientError
from sqlglot import exp

from batcat_runtime.errors import BatcatError

from ...clients import Clients
from ..catalogue import Catalogue
from ..objects import error_code, split_location
from ..tables import Table
from . import altering, definitions, entering, inserting, showing, writing
from .cursor import Cursor, blanked
from .engine import Engine
from .failures import Cancelled, QueryFailure, from_batcat, from_duckdb, not_found
from .parsing import Source, parse_query
from .planning import Context, Plan, Planner
from .publishing import publish
from .results import Result, render_rows, text_result

_QUERIES = ("SELECT", "UNLOAD", "CREATE_TABLE_AS_SELECT", "INSERT", "EXPLAIN")


@dataclass
class Statement:
    """What is to be run.

    Attributes
    ----------
    id : str
        The query execution's.
    text : str
        Without comments before it.
    kind : str
        SubstatementType.
    parameters : list of str
        Execution parameters.
    context : Context
        Region, catalogue and database.
    output : str
        The S3 prefix for results, with a slash at its end.
    max_scanned : int or None
        The workgroup's limit in bytes.
    """

    id: str
    text: str
    kind: str
    parameters: list[str]
    context: Context
    output: str
    max_scanned: int | None = None
    encryption: dict[str, str] = field(default_factory=dict)


class Run:
    """One statement on its way.

    Parameters
    ----------
    clients : Clients
        With the rights of whoever started the query.
    catalogue : Catalogue
        With the same.
    engine : Engine
        Opens the connection.
    folder : pathlib.Path
        For files; what must outlive the statement is put into `keep`.
    keep : pathlib.Path
        Where a result's rows are kept for GetQueryResults.
    """

    def __init__(
        self, clients: Clients, catalogue: Catalogue, engine: Engine, folder: Path, keep: Path
    ) -> None:
        self._engine = engine
        self.clients = clients
        self.catalogue = catalogue
        self.folder = folder
        self.keep = keep
        self.scanned = 0
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._cancelled = False

    def cancel(self) -> None:
        """Stop the statement, from another thread."""
        self._cancelled = True
        if self._connection is not None:
            self._connection.interrupt()

    def perform(self, statement: Statement) -> Result:
        """Run a statement and write its result file.

        Raises
        ------
        QueryFailure
            When it fails.
        Cancelled
            When it was stopped.
        """
        source = Source(statement.text)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.keep.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = self._engine.connect(self.folder, self.keep)
            self._check()
            result = self._dispatch(statement, source)
            self._check()
            publish(
                self.connection,
                self.clients.get("s3", statement.context.region),
                result,
                f"{statement.output}{statement.id}",
                statement.encryption,
                self.folder,
            )
        except duckdb.InterruptException as error:
            raise Cancelled from error
        except duckdb.Error as error:
            if self._cancelled:
                raise Cancelled from error
            raise from_duckdb(error, source.locate) from error
        except ClientError as error:
            raise _refused(error, statement) from error
        except BatcatError as error:
            raise from_batcat(error) from error
        finally:
            if self._connection is not None:
                self._connection.close()
            shutil.rmtree(self.folder, ignore_errors=True)
        return result

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The statement's own connection."""
        assert self._connection is not None
        return self._connection

    def _check(self) -> None:
        if self._cancelled:
            raise Cancelled

    def _dispatch(self, statement: Statement, source: Source) -> Result:
        performers: dict[str, Callable[[Statement, Source], Result]] = {
            "SELECT": self._select,
            "UNLOAD": self._unload,
            "CREATE_TABLE_AS_SELECT": self._create_table_as,
            "INSERT": self._insert,
            "EXPLAIN": self._explain,
            "CREATE_VIEW": self._create_view,
        }
        if performer := performers.get(statement.kind):
            return performer(statement, source)
        definition = {**definitions.PERFORMERS, **altering.PERFORMERS}.get(statement.kind)
        if definition is not None:
            return definition(self.catalogue, self.clients, statement.context, source)
        show = showing.PERFORMERS.get(statement.kind)
        if show is not None:
            return show(self.catalogue, self.connection, statement.context, source)
        raise QueryFailure(
            f"NOT_SUPPORTED: The embedded AWS does not have the statement {statement.kind}"
        )

    def plan(
        self, statement: Statement, source: Source, *, fetch: bool = True
    ) -> tuple[Plan, exp.Expr]:
        """Parse and plan a query.

        Parameters
        ----------
        statement : Statement
            For its context and parameters.
        source : Source
            The text of the query.
        fetch : bool, default True
            Whether to fetch the data.
        """
        query = parse_query(source, statement.parameters)
        if not isinstance(query, exp.Query | exp.Values):
            raise QueryFailure("SYNTAX_ERROR: line 1:1: mismatched input. Expecting: <query>")
        planner = Planner(self.connection, self.catalogue, statement.context, self.folder)
        plan = planner.plan(query, source, fetch=fetch)
        self._check()
        self.scanned = plan.scanned
        if statement.max_scanned is not None and plan.scanned > statement.max_scanned:
            raise QueryFailure("Query cancelled! : Bytes scanned limit was exceeded", type=0)
        return plan, query

    def _select(self, statement: Statement, source: Source) -> Result:
        plan, _ = self.plan(statement, source)
        return render_rows(self.connection, plan, self.keep / "rows.parquet")

    def _explain(self, statement: Statement, source: Source) -> Result:
        cursor = Cursor(source, "trino")
        cursor.expect("EXPLAIN")
        analyze = cursor.accept("ANALYZE")
        if cursor.peek == "(":
            cursor.group()
        plan, _ = self.plan(statement, Source(cursor.rest()), fetch=analyze)
        row = self.connection.execute(f"EXPLAIN {plan.sql}").fetchone()
        return text_result(str(row[1] if row else "").splitlines(), "Query Plan")

    def _unload(self, statement: Statement, source: Source) -> Result:
        cursor = Cursor(source, "trino")
        cursor.expect("UNLOAD")
        start, end = cursor.group()
        cursor.expect("TO")
        location = cursor.text()
        properties: dict[str, Any] = cursor.properties() if cursor.accept("WITH") else {}
        cursor.finish()
        self._check_location(location)
        if "format" not in properties:
            raise QueryFailure("INVALID_PROPERTY_VALUE: UNLOAD requires the property 'format'")
        target = writing.target_of(location, properties, "UNLOAD")
        s3 = self.clients.get("s3", statement.context.region)
        writing.check_empty(s3, location)
        plan, _ = self.plan(statement, Source(blanked(source.text, start, end)))
        writing.partition_columns(plan, target.partitioned_by)
        written = writing.write(self.connection, s3, plan, target, self.folder, statement.id)
        return Result(
            scanned=plan.scanned, update_count=written.rows, manifest=written.addresses, suffix=""
        )

    def _create_table_as(self, statement: Statement, source: Source) -> Result:
        cursor = Cursor(source, "trino")
        cursor.expect("CREATE")
        cursor.expect("TABLE")
        optional = cursor.accept("IF", "NOT", "EXISTS")
        start = cursor.offset
        catalog, database, name = entering.place(cursor.names(), statement.context)
        properties: dict[str, Any] = cursor.properties() if cursor.accept("WITH") else {}
        cursor.expect("AS")
        text = entering.without_data(cursor.rest())
        if not self.catalogue.has_database(statement.context.region, catalog, database):
            raise not_found(
                "SCHEMA_NOT_FOUND", source.place(start), f"Schema {database} does not exist"
            )
        if self.catalogue.find(statement.context.region, catalog, database, name) is not None:
            if optional:
                return Result(update_count=0, suffix="")
            raise not_found(
                "TABLE_ALREADY_EXISTS",
                source.place(start),
                f"Destination table '{catalog}.{database}.{name}' already exists",
            )
        entering.refuse_ctas(properties)
        location = str(properties.get("external_location") or "")
        if not location:
            location = f"{statement.output}tables/{statement.id}/"
        self._check_location(location)
        target = writing.target_of(location, properties, "CTAS")
        s3 = self.clients.get("s3", statement.context.region)
        writing.check_empty(s3, target.location)
        plan, _ = self.plan(statement, Source(text.text))
        writing.partition_columns(plan, target.partitioned_by)
        if text.empty:
            plan.sql = f"SELECT * FROM ({plan.sql}) LIMIT 0"
        written = writing.write(self.connection, s3, plan, target, self.folder, _stem(statement))
        entering.enter_table(
            self.catalogue,
            statement.context.region,
            (catalog, database, name),
            plan,
            target,
            written,
        )
        return Result(
            scanned=plan.scanned, update_count=written.rows, manifest=written.addresses, suffix=""
        )

    def _insert(self, statement: Statement, source: Source) -> Result:
        cursor = Cursor(source, "trino")
        cursor.expect("INSERT")
        cursor.expect("INTO")
        start = cursor.offset
        catalog, database, name = entering.place(cursor.names(), statement.context)
        region = statement.context.region
        table = self.catalogue.find(region, catalog, database, name)
        if table is None or table.view_query is not None:
            raise not_found(
                "TABLE_NOT_FOUND",
                source.place(start),
                f"Table '{catalog}.{database}.{name}' does not exist",
            )
        columns = inserting.insert_columns(cursor, table, source)
        plan, _ = self.plan(statement, Source(cursor.rest()))
        self._check_insert(plan, columns, table)
        cast = inserting.insert_casts(plan, [(one.name, one.type.hive) for one in columns])
        ordered = inserting.in_table_order(cast, table)
        target = inserting.insert_target(table)
        s3 = self.clients.get("s3", region)
        written = writing.write(self.connection, s3, ordered, target, self.folder, _stem(statement))
        entering.enter_partitions(self.catalogue, region, table, written)
        return Result(
            scanned=plan.scanned, update_count=written.rows, manifest=written.addresses, suffix=""
        )

    def _check_insert(self, plan: Plan, columns: list[Any], table: Table) -> None:
        if len(plan.types) != len(columns):
            raise QueryFailure(
                "TYPE_MISMATCH: line 1:1: Insert query has mismatched column types: Table: "
                f"[{', '.join(one.type.trino for one in columns)}], Query: "
                f"[{', '.join(one.name for one in plan.types)}]",
                type=1301,
            )
        inserting.check_assignable(plan, columns)

    def _create_view(self, statement: Statement, source: Source) -> Result:
        cursor = Cursor(source, "trino")
        cursor.expect("CREATE")
        replace = cursor.accept("OR", "REPLACE")
        cursor.expect("VIEW")
        start = cursor.offset
        names = entering.place(cursor.names(), statement.context)
        cursor.expect("AS")
        text = cursor.rest()
        plan, _ = self.plan(statement, Source(text), fetch=False)
        entering.enter_view(
            self.catalogue,
            statement.context,
            names,
            plan,
            text.strip(),
            replace,
            source.place(start),
        )
        return Result(suffix=".txt")

    def _check_location(self, location: str) -> None:
        try:
            split_location(location)
            if not location.startswith("s3://"):
                raise ValueError(location)
        except ValueError as error:
            raise QueryFailure(
                f"INVALID_PROPERTY_VALUE: Invalid S3 location: {location}. The location must begin "
                "with s3://"
            ) from error


def _stem(statement: Statement) -> str:
    return statement.id.replace("-", "_")


def _refused(error: ClientError, statement: Statement) -> QueryFailure:
    """Return the failure when S3 or Glue refused something."""
    code, told = error_code(error), str(error.response.get("Error", {}).get("Message", ""))
    if code in ("AccessDenied", "403", "AccessDeniedException"):
        if error.operation_name in ("PutObject", "CreateMultipartUpload", "UploadPart"):
            return QueryFailure(
                f"Access denied when writing output to url: {statement.output}{statement.id}. "
                "Please ensure you are allowed to access the S3 bucket. If you are encrypting "
                "query results with KMS key, please ensure you are allowed to access your KMS key",
                type=401,
            )
        return QueryFailure(
            f"Insufficient permissions to execute the query. {told or error.operation_name}"
        )
    if code == "NoSuchBucket":
        return QueryFailure("HIVE_FILESYSTEM_ERROR: The specified bucket does not exist")
    return QueryFailure(f"HIVE_METASTORE_ERROR: {code}: {told}")
