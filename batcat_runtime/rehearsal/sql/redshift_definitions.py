"""CREATE, ALTER, DROP, TRUNCATE and COMMENT: what a database holds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import duckdb
from sqlglot import exp

from .redshift_dialect import Words
from .redshift_outcome import Outcome
from .redshift_query import ColumnOf, Relation, aliases
from .redshift_schemas import (
    accept,
    create_database,
    create_external_schema,
    create_schema,
    create_user,
    drop_schema,
    drop_user,
)
from .redshift_tables import (
    ColumnPlan,
    TablePlan,
    column_sql,
    read_column,
    read_create_table,
)
from .redshift_types import RedshiftType
from .redshift_views import create_view, forget_late_view
from .redshift_words import RedshiftError, syntax_error

if TYPE_CHECKING:
    from .redshift_session import Session

Place = tuple[str, str, str]


def create(session: Session, words: Words) -> Outcome:
    """Perform a CREATE statement, from after its first word."""
    for kind, perform in (
        ("DATABASE", create_database),
        ("SCHEMA", create_schema),
        ("USER", create_user),
        ("GROUP", accept),
        ("ROLE", accept),
    ):
        if words.take(kind):
            return perform(session, words)
    if words.take("EXTERNAL", "SCHEMA"):
        return create_external_schema(session, words)
    replace = words.take("OR", "REPLACE")
    if words.take("MATERIALIZED", "VIEW") or words.take("VIEW"):
        return create_view(session, words, replace=replace)
    if replace or words.peek() in ("EXTERNAL", "FUNCTION", "PROCEDURE", "LIBRARY", "MODEL"):
        raise RedshiftError(
            "ERROR: The embedded AWS does not perform this statement: "
            f"CREATE {words.peek() or 'OR REPLACE'}"
        )
    return _create_table(session, read_create_table(words), words)


def drop(session: Session, words: Words) -> Outcome:
    """Perform a DROP statement, from after its first word."""
    words.take("MATERIALIZED")
    kind = words.peek()
    if kind in ("USER", "GROUP", "ROLE"):
        return drop_user(session, words)
    if kind not in ("TABLE", "VIEW", "SCHEMA", "DATABASE"):
        raise words.error()
    words.next()
    optional = words.take("IF", "EXISTS")
    names = [words.names()]
    while words.take(","):
        names.append(words.names())
    cascade = words.take("CASCADE")
    if not cascade:
        words.take("RESTRICT")
    if words.take("DROP", "EXTERNAL", "DATABASE"):
        words.take("CASCADE")
    if not words.done:
        raise words.error()
    for parts in names:
        if kind == "DATABASE":
            session.warehouse.drop_database(parts[-1])
        elif kind == "SCHEMA":
            drop_schema(session, parts[-1], optional=optional, cascade=cascade)
        else:
            _drop_relation(session, kind, parts, optional=optional, cascade=cascade)
    return Outcome()


def alter(session: Session, words: Words) -> Outcome:
    """Perform an ALTER statement, from after its first word."""
    if words.peek() in ("USER", "GROUP", "ROLE", "DATABASE", "SCHEMA", "DEFAULT"):
        return accept(session, words)
    words.expect("TABLE")
    parts = words.names()
    relation = session.find(parts)
    if relation is None:
        raise RedshiftError(f'ERROR: relation "{".".join(parts)}" does not exist')
    target = aliases_of(relation)
    if words.take("ADD"):
        _add_column(session, words, target)
    elif words.take("DROP"):
        words.take("COLUMN")
        name = words.name()
        _need_column(relation, name)
        _ = words.take("CASCADE") or words.take("RESTRICT")
        session.execute(f"ALTER TABLE {target} DROP COLUMN {aliases([name])}", words.sql)
    elif words.take("RENAME", "COLUMN"):
        old = words.name()
        words.expect("TO")
        _need_column(relation, old)
        new = aliases([words.name()])
        session.execute(f"ALTER TABLE {target} RENAME COLUMN {aliases([old])} TO {new}", words.sql)
    elif words.take("RENAME", "TO"):
        session.execute(f"ALTER TABLE {target} RENAME TO {aliases([words.name()])}", words.sql)
    elif words.take("ALTER", "COLUMN") and not words.starts("ENCODE"):
        name = words.name()
        _need_column(relation, name)
        if words.take("TYPE"):
            plan = read_column(Words(f"x {words.rest()}"))
            _widen(session, words, relation, name, plan.type)
    elif words.peek() not in ("OWNER", "ALTER", "APPEND", "SET"):
        raise words.error()
    elif words.starts("APPEND"):
        raise RedshiftError("ERROR: The embedded AWS does not perform ALTER TABLE APPEND")
    return Outcome()


def truncate(session: Session, words: Words) -> Outcome:
    """Empty a table; as Redshift does, commit the transaction that it runs in."""
    words.take("TABLE")
    parts = words.names()
    if not words.done:
        raise words.error()
    relation = session.find(parts)
    if relation is None:
        raise RedshiftError(f'ERROR: relation "{".".join(parts)}" does not exist')
    in_transaction = session.in_transaction
    session.execute(f"DELETE FROM {aliases_of(relation)}", words.sql)
    if in_transaction:
        session.commit()
        session.begin()
    return Outcome()


def comment(session: Session, words: Words) -> Outcome:
    """Check that the commented object exists; comments on columns hold our type notes."""
    words.expect("ON")
    kind = words.peek()
    words.next()
    parts = words.names()
    words.expect("IS")
    if kind in ("TABLE", "VIEW") and session.find(parts) is None:
        raise RedshiftError(f'ERROR: relation "{".".join(parts)}" does not exist')
    if kind == "COLUMN":
        relation = session.find(parts[:-1])
        if relation is None:
            raise RedshiftError(f'ERROR: relation "{".".join(parts[:-1])}" does not exist')
        _need_column(relation, parts[-1])
    return Outcome()


def aliases_of(relation: Relation) -> str:
    """Return a relation's quoted full name for DuckDB."""
    return ".".join(aliases([part]) for part in relation.place)


def _create_table(session: Session, plan: TablePlan, words: Words) -> Outcome:
    place = session.place(plan.name, temporary=plan.temporary)
    shown = plan.name[-1]
    if session.find(plan.name) is not None and not (
        plan.temporary and _is_permanent(session, plan.name)
    ):
        if plan.if_not_exists:
            return Outcome()
        raise RedshiftError(f'ERROR: Relation "{shown}" already exists')
    if plan.query is not None:
        return _create_from_query(session, plan, place)
    if plan.like is not None:
        plan.columns = _columns_like(session, plan) + plan.columns
    begun = not session.in_transaction
    if begun:
        session.begin()
    try:
        _create_columns(session, plan, place, words.sql)
    except (RedshiftError, duckdb.Error):
        if begun:
            session.rollback()
        raise
    if begun:
        session.commit()
    return Outcome()


def _create_columns(session: Session, plan: TablePlan, place: Place, sql: str) -> None:
    name = ".".join(aliases([part]) for part in place)
    definitions = []
    for column in plan.columns:
        default = _default_sql(session, column)
        if column.identity is not None:
            seed, step = column.identity
            sequence = f"{place[2]}_{column.name}_seq"
            whole = ".".join(aliases([part]) for part in (*place[:2], sequence))
            direction = f"START {seed} INCREMENT {step}" + (
                f" MINVALUE {min(seed, -(2**62))} MAXVALUE {max(seed, 2**62)}" if step < 0 else ""
            )
            session.execute(f"CREATE OR REPLACE SEQUENCE {whole} {direction}", sql)
            default = "nextval(" + exp.Literal.string(whole).sql("duckdb") + ")"
        definitions.append(column_sql(column, default))
    session.execute(f"CREATE {_kind(place)} {name} ({', '.join(definitions)})", sql)
    for column in plan.columns:
        _note_type(session, name, column.name, column.comment)


def _create_from_query(session: Session, plan: TablePlan, place: Place) -> Outcome:
    sql = plan.query or ""
    tree = session.parse(sql)
    if not isinstance(tree, exp.Query):
        raise syntax_error(sql, 0)
    translated = session.translated(tree)
    described = session.execute(
        f"DESCRIBE {translated.sql}", sql, relations=list(translated.relations)
    ).fetchall()
    names = plan.query_names or [str(row[0]) for row in described]
    if len(names) > len(described):
        raise RedshiftError("ERROR: CREATE TABLE AS specifies too many column names")
    names += [str(row[0]) for row in described][len(names) :]
    for one in names:
        if names.count(one) > 1:
            raise RedshiftError(f'ERROR: column "{one}" duplicated')
    target = ".".join(aliases([part]) for part in place)
    fixed = ", ".join(
        f"CAST({aliases([f'c{number}'])} AS {_stored(str(row[1]))}) AS {aliases([name])}"
        for number, (row, name) in enumerate(zip(described, names, strict=True))
    )
    inner = aliases([f"c{number}" for number in range(len(names))])
    session.execute(
        f"CREATE {_kind(place)} {target} AS SELECT {fixed} FROM ({translated.sql}) AS s({inner})",
        sql,
    )
    for number, name in enumerate(names):
        source = translated.sources[number] if len(translated.sources) == len(names) else None
        if source is not None:
            _note_type(session, target, name, source[1].type.comment)
    counted = session.connection.execute(f"SELECT count(*) FROM {target}").fetchall()
    return Outcome(rows=int(counted[0][0]))


def _kind(place: Place) -> str:
    return "TEMPORARY TABLE" if place[0] == "temp" else "TABLE"


def _stored(duck: str) -> str:
    return "DECIMAL(38,0)" if duck == "HUGEINT" else "VARCHAR" if duck == '"NULL"' else duck


def _is_permanent(session: Session, parts: tuple[str, ...]) -> bool:
    found = session.find(parts)
    return found is not None and found.place[0] != "temp"


def _columns_like(session: Session, plan: TablePlan) -> list[ColumnPlan]:
    parent = session.find(plan.like or ())
    if parent is None:
        raise RedshiftError(f'ERROR: relation "{".".join(plan.like or ())}" does not exist')
    return [
        ColumnPlan(
            one.name,
            one.type,
            one.default if plan.like_defaults and not one.identity else None,
            not one.nullable,
        )
        for one in parent.columns
    ]


def _default_sql(session: Session, column: ColumnPlan) -> str | None:
    if column.default is None:
        return None
    tree = session.parse(f"SELECT {column.default}")
    translated = session.translated(tree)
    return f"({translated.sql})" if " FROM " in translated.sql else _bare(translated.sql)


def _bare(select: str) -> str:
    """Return the expression of ``SELECT expression AS "name"``."""
    return select.removeprefix("SELECT ").rpartition(" AS ")[0]


def _note_type(session: Session, table: str, column: str, note: str) -> None:
    text = exp.Literal.string(note).sql("duckdb")
    session.connection.execute(f"COMMENT ON COLUMN {table}.{aliases([column])} IS {text}")


def _add_column(session: Session, words: Words, target: str) -> None:
    words.take("COLUMN")
    if words.peek() in ("CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN"):
        return
    plan = read_column(words)
    if plan.identity is not None:
        raise RedshiftError("ERROR: ALTER TABLE ADD COLUMN cannot add an identity column")
    default = _default_sql(session, plan)
    if plan.not_null and default is None:
        raise RedshiftError(
            "ERROR: ALTER TABLE ADD COLUMN defined as NOT NULL must have a non-null default "
            "expression"
        )
    end = f" DEFAULT ({default})" if default is not None else ""
    session.execute(
        f"ALTER TABLE {target} ADD COLUMN {aliases([plan.name])} {plan.type.duck}{end}", words.sql
    )
    if plan.not_null:
        session.execute(
            f"ALTER TABLE {target} ALTER COLUMN {aliases([plan.name])} SET NOT NULL", words.sql
        )
    _note_type(session, target, plan.name, plan.comment)


def _widen(
    session: Session, words: Words, relation: Relation, name: str, kind: RedshiftType
) -> None:
    old = next(one for one in relation.columns if one.name == name)
    if old.type.name != "varchar" or kind.name != "varchar":
        raise RedshiftError(
            f'ERROR: cannot alter type of column "{name}": only the size of VARCHAR can change'
        )
    _note_type(session, aliases_of(relation), name, kind.comment)


def _need_column(relation: Relation, name: str) -> ColumnOf:
    found = relation.column(name)
    if found is None:
        raise RedshiftError(f'ERROR: column "{name}" of relation "{relation.name}" does not exist')
    return found


def _drop_relation(
    session: Session, kind: str, parts: tuple[str, ...], *, optional: bool, cascade: bool
) -> None:
    relation = session.find(parts)
    if relation is None:
        if optional:
            return
        noun = "Table" if kind == "TABLE" else "View"
        raise RedshiftError(f"ERROR: {noun} {'.'.join(parts)} does not exist")
    database, schema, name = relation.place
    if relation.definition is not None and forget_late_view(session, (database, schema, name)):
        return
    if database.startswith("ext_"):
        raise RedshiftError(f'ERROR: cannot drop external table "{parts[-1]}" from here')
    dependents = _views_of(session, (database, schema, name))
    if dependents and not cascade:
        raise RedshiftError(
            f"ERROR: cannot drop {kind.lower()} {parts[-1]} because other objects depend on it\n"
            "  Hint: Use DROP ... CASCADE to drop the dependent objects too."
        )
    for view in dependents:
        _drop_relation(session, "VIEW", view, optional=True, cascade=True)
    session.execute(f"DROP {kind} {aliases_of(relation)}", "")
    if kind == "TABLE":
        for column in relation.columns:
            if column.identity:
                sequence = aliases([f"{name}_{column.name}_seq"])
                owner = ".".join(aliases([part]) for part in (database, schema))
                session.execute(f"DROP SEQUENCE IF EXISTS {owner}.{sequence}", "")


def _views_of(session: Session, place: Place) -> list[tuple[str, ...]]:
    """Return the views, bound early, that read a table or view; DuckDB does not keep track."""
    database, schema, name = (f'"?{re.escape(part)}"?' for part in place)
    named = rf"(?:{database}\.)?{schema}\.{name}"
    rows = session.connection.execute(
        "SELECT schema_name, view_name, sql FROM duckdb_views() "
        "WHERE database_name = ? AND NOT internal",
        [place[0]],
    ).fetchall()
    return [
        (str(schema), str(view))
        for schema, view, sql in rows
        if re.search(rf"(?<![\w.]){named}(?![\w.])", str(sql)) and (schema, view) != place[1:]
    ]
