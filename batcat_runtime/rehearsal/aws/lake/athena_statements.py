"""Runs one statement of Athena's: queries, and what writes their rows (UNLOAD, CTAS, INSERT).

A `Run` has a DuckDB connection and a folder of its own, both gone when the statement is done.
`athena_definitions.py` performs the statements on the catalogue.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from botocore.exceptions import ClientError
from sqlglot import exp
from sqlglot.tokenizer_core import TokenType

from batcat_runtime.errors import BatcatError

from . import athena_definitions as definitions
from .athena_query import Context, Plan, Planner
from .athena_results import Result, printed, publish, render
from .athena_targets import (
    Target,
    check_assignable,
    check_keys,
    insert_columns,
    insert_target,
    target_of,
)
from .athena_text import Source, as_query, syntax_error, with_parameters
from .athena_words import from_duckdb
from .catalogue import Catalogue
from .engine import literal, quoted
from .failures import Cancelled, QueryFailure, semantic
from .objects import error_code, split_location
from .types import base, duckdb_name, hive_name
from .writing import write_files

if TYPE_CHECKING:
    import duckdb

_MAX_PARTITIONS = 100
_NO_HIVE_TYPE = ("timestamp with time zone", "time", "json", "unknown", "uuid")
_CTAS_PROPERTIES = {
    *("external_location", "format", "partitioned_by", "bucketed_by", "bucket_count"),
    *("write_compression", "parquet_compression", "table_type", "is_external"),
}


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
    output : str
        The S3 prefix for results, with a slash at its end.
    parameters : list of str
        What its question marks stand for.
    encryption : dict
        The result's EncryptionConfiguration.
    """

    id: str
    text: str
    kind: str
    context: Context
    output: str
    parameters: list[str] = field(default_factory=list)
    encryption: dict[str, str] = field(default_factory=dict)


class Run:
    """One statement on its way.

    Parameters
    ----------
    catalogue : Catalogue
        With the rights of whoever started the query.
    s3 : boto3 client
        With the same, to write results.
    engine : duckdb.DuckDBPyConnection
        With Trino's functions; may read and write the folders.
    folder : pathlib.Path
        For files while it runs.
    keep : pathlib.Path
        Where a result's rows are kept for GetQueryResults.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        s3: Any,
        engine: duckdb.DuckDBPyConnection,
        folder: Path,
        keep: Path,
    ) -> None:
        self._catalogue = catalogue
        self._s3 = s3
        self._engine = engine
        self._connection = engine.cursor()
        self._under = f"query_{uuid.uuid4().hex}"
        self._folder = folder
        self._keep = keep
        self._cancelled = False

    def cancel(self) -> None:
        """Stop the statement, from another thread."""
        import duckdb

        self._cancelled = True
        with contextlib.suppress(duckdb.Error):
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
        import duckdb

        source = Source(with_parameters(statement.text, statement.parameters))
        for folder in (self._folder, self._keep):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            self._connection.execute(f"ATTACH ':memory:' AS {self._under}")
            result = self._dispatch(statement, source)
            address = f"{statement.output}{statement.id}"
            encryption = statement.encryption
            publish(self._connection, self._s3, result, address, encryption, self._folder)
            self._check()
        except duckdb.Error as error:
            if self._cancelled:
                raise Cancelled from error
            raise from_duckdb(error, source) from error
        except QueryFailure as error:
            if self._cancelled:
                raise Cancelled from error
            raise
        except ClientError as error:
            raise _refused(error, statement) from error
        except BatcatError as error:
            raise QueryFailure(str(error)) from error
        finally:
            self._connection.close()
            with self._engine.cursor() as connection:
                connection.execute(f"DETACH DATABASE IF EXISTS {self._under}")
            shutil.rmtree(self._folder, ignore_errors=True)
        return result

    def _check(self) -> None:
        if self._cancelled:
            raise Cancelled

    def _dispatch(self, statement: Statement, source: Source) -> Result:
        performers = {
            "SELECT": self._select,
            "UNLOAD": self._unload,
            "CREATE_TABLE_AS_SELECT": self._create_table_as,
            "INSERT": self._insert,
            "CREATE_VIEW": self._create_view,
        }
        if performer := performers.get(statement.kind):
            return performer(statement, source)
        return definitions.perform(self._catalogue, statement.context, statement.kind, source)

    def _plan(self, statement: Statement, source: Source, query: exp.Query) -> Plan:
        planner = Planner(
            self._connection, self._catalogue, statement.context, self._folder, self._under
        )
        plan = planner.plan(source, query)
        self._check()
        return plan

    def _select(self, statement: Statement, source: Source) -> Result:
        plan = self._plan(statement, source, source.query())
        return render(self._connection, plan, self._keep / "rows.parquet")

    def _unload(self, statement: Statement, source: Source) -> Result:
        # UNLOAD (query) TO 'location' WITH (property = value, ...)
        start, end = _first_parentheses(source)
        match = re.fullmatch(
            r"\s*TO\s*'([^']*)'\s*(WITH\s*\(.*\))?",
            source.text[end + 1 :],
            re.DOTALL | re.IGNORECASE,
        )
        if not end or match is None:
            said = "mismatched input. Expecting: UNLOAD (query) TO 's3://...' WITH (...)"
            raise syntax_error("line 1:1", said)
        # sqlglot knows the properties as those of a table.
        like = Source(f"CREATE TABLE unloaded {match[2] or ''} AS SELECT 1").statement()
        location, properties = match[1], definitions.properties(like)
        if "format" not in properties:
            raise QueryFailure("INVALID_PROPERTY_VALUE: UNLOAD requires the property 'format'")
        target = target_of(location, properties)
        query = source.part(start + 1, end).query()
        return self._written(statement, self._plan(statement, source, query), target)

    def _create_table_as(self, statement: Statement, source: Source) -> Result:
        create = source.statement()
        region = statement.context.region
        assert isinstance(create, exp.Create)
        name = definitions.place(create, statement.context)
        properties = definitions.properties(create)
        if not self._catalogue.has_database(region, name[1]):
            raise semantic(
                "SCHEMA_NOT_FOUND", source.at(create), f"Schema {name[1]} does not exist"
            )
        if self._catalogue.find(region, *name) is not None:
            if create.args.get("exists"):
                return Result()
            said = f"Destination table '{'.'.join(name)}' already exists"
            raise semantic("TABLE_ALREADY_EXISTS", source.at(create), said)
        for one in properties:
            if one not in _CTAS_PROPERTIES:
                said = f"Table property '{one}' does not exist"
                raise QueryFailure(f"INVALID_TABLE_PROPERTY: line 1:1: {said}")
        if str(properties.get("table_type", "HIVE")).upper() == "ICEBERG":
            raise QueryFailure("NOT_SUPPORTED: The embedded AWS does not have Iceberg tables")
        default = f"{statement.output}tables/{statement.id}/"
        target = target_of(str(properties.get("external_location") or default), properties)
        plan = self._plan(statement, source, as_query(create.expression.unnest()))
        if (data := create.find(exp.WithDataProperty)) is not None and data.args.get("no"):
            plan.sql = f"SELECT * FROM ({plan.sql}) LIMIT 0"
        folders: dict[tuple[str, ...], str] = {}
        result = self._written(statement, plan, target, folders)
        columns = [(n.lower(), hive_name(k)) for n, k in zip(plan.names, plan.types, strict=True)]
        described = definitions.table_input(
            name[2],
            columns,
            location=target.location,
            keys=target.partitioned_by,
        )
        self._catalogue.glue(region).create_table(DatabaseName=name[1], TableInput=described)
        table = self._catalogue.find(region, *name)
        assert table is not None
        definitions.enter_partitions(self._catalogue, region, table, folders)
        return result

    def _insert(self, statement: Statement, source: Source) -> Result:
        insert = source.statement()
        region = statement.context.region
        assert isinstance(insert, exp.Insert)
        name = definitions.place(insert, statement.context)
        table = self._catalogue.find(region, *name)
        if table is None or table.view_query is not None:
            said = f"Table '{'.'.join(name)}' does not exist"
            raise semantic("TABLE_NOT_FOUND", source.at(insert.this), said)
        columns = insert_columns(insert, table, source)
        plan = self._plan(statement, source, as_query(insert.expression.unnest()))
        check_assignable(plan, columns)
        given = {one.name: f"c{number}" for number, one in enumerate(columns)}
        chosen = ", ".join(
            f"CAST({given.get(one.name, 'NULL')} AS {duckdb_name(one.type)})"
            for one in table.all_columns
        )
        inner = ", ".join(given.values())
        plan.sql = f"SELECT {chosen} FROM ({plan.sql}) AS batcat_inserted ({inner})"
        plan.names = [one.name for one in table.all_columns]
        plan.types = [one.type for one in table.all_columns]
        folders: dict[tuple[str, ...], str] = {}
        result = self._written(statement, plan, insert_target(table), folders, check=False)
        definitions.enter_partitions(self._catalogue, region, table, folders)
        return result

    def _create_view(self, statement: Statement, source: Source) -> Result:
        create = source.statement()
        assert isinstance(create, exp.Create)
        plan = self._plan(statement, source, as_query(create.expression.unnest()).copy())
        if isinstance(create.this, exp.Schema):
            plan.names = [one.name for one in create.this.expressions]
        plan.check_names()
        definitions.enter_view(self._catalogue, statement.context, source, create, plan)
        return printed([])

    def _written(
        self,
        statement: Statement,
        plan: Plan,
        target: Target,
        folders: dict[tuple[str, ...], str] | None = None,
        *,
        check: bool = True,
    ) -> Result:
        """Write a plan's rows; `folders` gets the partitions' places, by their values."""
        plan.check_names()
        names, keys = [name.lower() for name in plan.names], target.partitioned_by
        if check:
            self._check_empty(statement.context.region, target.location)
            check_keys(names, keys)
        for kind in plan.types:
            if base(kind) in _NO_HIVE_TYPE or base(kind).startswith("interval"):
                raise QueryFailure(f"NOT_SUPPORTED: Unsupported Hive type: {base(kind)}")
        inner = [f"c{number}" for number in range(len(names))]
        chosen = ", ".join(
            f"CAST({one} AS {duckdb_name(kind)}) AS {quoted(name)}"
            for one, name, kind in zip(inner, names, plan.types, strict=True)
        )
        sql = f"SELECT {chosen} FROM ({plan.sql}) AS batcat_rows ({', '.join(inner)})"
        if keys:
            sql = self._counted(sql, keys)
        folder = self._folder / f"out-{uuid.uuid4().hex}"
        count = write_files(
            self._connection, sql, folder, compression=target.codec, partitioned_by=keys
        )
        stem = statement.id.replace("-", "_")
        region, written = statement.context.region, []
        for inside, stored in self._catalogue.objects.upload(
            region,
            folder,
            target.location,
            lambda path, _: (path.parent / f"{stem}_{uuid.uuid4()}").as_posix(),
        ):
            written.append(stored.uri)
            values = tuple(unquote(one.partition("=")[2]) for one in inside.parts[:-1])
            if folders is not None and values:
                folders[values] = stored.uri.rpartition("/")[0] + "/"
        return Result(written=written, count=count, scanned=plan.scanned)

    def _counted(self, sql: str, keys: Sequence[str]) -> str:
        """Run a query once, and refuse more partitions than Athena writes at once."""
        rows = literal(str(self._folder / f"rows-{uuid.uuid4().hex}.parquet"))
        self._connection.execute(f"COPY ({sql}) TO {rows} (FORMAT parquet)")
        listed = ", ".join(map(quoted, keys))
        found = self._connection.execute(
            f"SELECT count(*) FROM (SELECT DISTINCT {listed} FROM {rows})"
        )
        if (found.fetchone() or [0])[0] > _MAX_PARTITIONS:
            raise QueryFailure(
                f"HIVE_TOO_MANY_OPEN_PARTITIONS: Exceeded limit of {_MAX_PARTITIONS} open writers "
                "for partitions/buckets."
            )
        return f"SELECT * FROM {rows}"

    def _check_empty(self, region: str, location: str) -> None:
        bucket, prefix = split_location(location)
        found = self._s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
        if found.get("KeyCount"):
            raise QueryFailure(
                f"HIVE_PATH_ALREADY_EXISTS: Target directory for table '{location}' already "
                f"exists: {location}. You may need to manually clean the data at this location "
                "before retrying. Athena will not delete data in your account."
            )


def _first_parentheses(source: Source) -> tuple[int, int]:
    """Return where the first parenthesis and the one that closes it stand; zeros without."""
    depth, start = 0, 0
    for token in source.tokens:
        if token.token_type == TokenType.L_PAREN:
            start = start if depth else token.start
            depth += 1
        elif token.token_type == TokenType.R_PAREN:
            depth -= 1
            if depth == 0:
                return start, token.start
    return 0, 0


def _refused(error: ClientError, statement: Statement) -> QueryFailure:
    """Return the failure when S3 or Glue refused something."""
    code, told = error_code(error), str(error.response.get("Error", {}).get("Message", ""))
    if code in ("AccessDenied", "403", "AccessDeniedException"):
        if error.operation_name == "PutObject":
            return QueryFailure(
                f"Access denied when writing output to url: {statement.output}{statement.id}. "
                "Please ensure you are allowed to access the S3 bucket. If you are encrypting "
                "query results with KMS key, please ensure you are allowed to access your KMS key"
            )
        said = told or error.operation_name
        return QueryFailure(f"Insufficient permissions to execute the query. {said}")
    if code == "NoSuchBucket":
        return QueryFailure("HIVE_FILESYSTEM_ERROR: The specified bucket does not exist")
    return QueryFailure(f"HIVE_METASTORE_ERROR: {code}: {told}")
