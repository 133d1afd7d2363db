"""The Data API's operations about databases, schemas and tables: they need no statement."""

from __future__ import annotations

from typing import Any

from sqlglot import exp

from ..wire import ServiceError
from .data_api_results import metadata
from .redshift_outcome import ResultColumn
from .redshift_session import Session
from .redshift_warehouse import relation_at, schemas_of
from .redshift_words import RedshiftError

_PAGE = 1000
_SYSTEM_SCHEMAS = ("information_schema", "pg_catalog", "pg_internal")


def databases(session: Session, asked: dict[str, Any]) -> dict[str, Any]:
    """List the databases of a warehouse."""
    return _page(asked, "Databases", session.warehouse.databases)


def schemas(session: Session, asked: dict[str, Any]) -> dict[str, Any]:
    """List the schemas of a database, by a pattern of LIKE."""
    database = _database(session, asked)
    found = [*_SYSTEM_SCHEMAS, *_schemas(session, database)]
    kept = [one for one in sorted(found) if _is_like(session, one, asked.get("SchemaPattern"))]
    return _page(asked, "Schemas", kept)


def tables(session: Session, asked: dict[str, Any]) -> dict[str, Any]:
    """List tables and views, by patterns of LIKE."""
    database = _database(session, asked)
    notes = session.warehouse.notes[database]
    rows = [
        (str(schema), str(name), kind)
        for kind, function, column in (
            ("TABLE", "duckdb_tables()", "table_name"),
            ("VIEW", "duckdb_views()", "view_name"),
        )
        for schema, name in session.connection.execute(
            f"SELECT schema_name, {column} FROM {function} WHERE database_name = ? "
            "AND schema_name NOT IN ('main', 'information_schema', 'pg_catalog') AND NOT internal",
            [database],
        ).fetchall()
    ]
    rows += [(schema, name, "VIEW") for schema, name in notes.late_views]
    for shown in notes.external_schemas.values():
        names = session.external.tables(shown.catalog, shown.database)
        rows += [(shown.name, name, "EXTERNAL TABLE") for name in names]
    kept = [
        {"schema": schema, "name": name, "type": kind}
        for schema, name, kind in sorted(rows)
        if _is_like(session, schema, asked.get("SchemaPattern"))
        and _is_like(session, name, asked.get("TablePattern"))
    ]
    return _page(asked, "Tables", kept)


def describe_table(session: Session, asked: dict[str, Any]) -> dict[str, Any]:
    """Describe the columns of a table or view."""
    database = _database(session, asked)
    schema = str(asked.get("Schema") or "public").lower()
    name = str(asked.get("Table") or "").lower()
    if not name:
        raise ServiceError("ValidationException", "Table must be specified.")
    notes = session.warehouse.notes[database]
    shown = notes.external_schemas.get(schema)
    columns: list[ResultColumn] = []
    defaults: dict[str, str | None] = {}
    if shown is not None:
        for column, kind in session.external.columns(shown.catalog, shown.database, name):
            columns.append(ResultColumn(column, kind, schema, name))
    elif (schema, name) in notes.late_views:
        path = ".".join('"' + one.replace('"', '""') + '"' for one in (database, schema, name))
        outcome = session.run(f"SELECT * FROM {path} LIMIT 0")
        columns = [ResultColumn(one.name, one.type, schema, name) for one in outcome.columns or []]
    else:
        relation = relation_at(session.connection, database, schema, name)
        for one in relation.columns if relation is not None else ():
            columns.append(ResultColumn(one.name, one.type, schema, name, one.nullable))
            defaults[one.name] = one.default
    answer = _page(asked, "ColumnList", [_described(one, defaults) for one in columns])
    return {"TableName": name, **answer}


def paged(member: str, rows: list[Any], token: Any, size: int) -> dict[str, Any]:
    """Return one page of a list.

    Parameters
    ----------
    member : str
        The list's name in the answer.
    rows : list
        The whole list.
    token : str or None
        Where the page begins.
    size : int
        How many rows it has.
    """
    if token and not str(token).isdigit():
        raise ServiceError("ValidationException", "NextToken is invalid.")
    start = int(token or 0)
    answer: dict[str, Any] = {member: rows[start : start + size]}
    if start + size < len(rows):
        answer["NextToken"] = str(start + size)
    return answer


def _page(asked: dict[str, Any], member: str, rows: list[Any]) -> dict[str, Any]:
    return paged(member, rows, asked.get("NextToken"), int(asked.get("MaxResults") or _PAGE))


def _described(column: ResultColumn, defaults: dict[str, str | None]) -> dict[str, Any]:
    answer = metadata(column)
    default = defaults.get(column.name)
    if default is not None:
        answer["columnDefault"] = default
    return answer


def _database(session: Session, asked: dict[str, Any]) -> str:
    database = str(asked["Database"]).lower()
    if database not in session.warehouse.notes:
        raise RedshiftError(f'ERROR: database "{database}" does not exist')
    return database


def _schemas(session: Session, database: str) -> list[str]:
    notes = session.warehouse.notes[database]
    return [*schemas_of(session.connection, database), *notes.external_schemas]


def _is_like(session: Session, text: str, pattern: Any) -> bool:
    if not pattern:
        return True
    left, right = (exp.Literal.string(one).sql("duckdb") for one in (text, str(pattern)))
    rows = session.connection.execute(f"SELECT {left} LIKE {right} ESCAPE '\\'").fetchall()
    return bool(rows[0][0])
