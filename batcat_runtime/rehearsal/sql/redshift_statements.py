"""Statements that are neither queries nor changes of rows, by their first word."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlglot import exp

from .redshift_copy import copy
from .redshift_definitions import (
    alter,
    comment,
    create,
    drop,
    truncate,
)
from .redshift_dialect import Words
from .redshift_outcome import Outcome, text_result
from .redshift_unload import unload
from .redshift_words import RedshiftError

if TYPE_CHECKING:
    from .redshift_session import Session

Statement = Callable[["Session", Words], Outcome]


def _begin(session: Session, words: Words) -> Outcome:
    session.begin()
    return Outcome()


def _commit(session: Session, words: Words) -> Outcome:
    session.commit()
    return Outcome()


def _rollback(session: Session, words: Words) -> Outcome:
    session.rollback()
    return Outcome()


def _set(session: Session, words: Words) -> Outcome:
    if not words.take("SESSION"):
        words.take("LOCAL")
    if words.take("AUTHORIZATION"):
        words.next()
        return Outcome()
    name = words.names()[-1]
    if not (words.take("TO") or words.take("=")):
        raise words.error()
    values = [str(words.next().text)]
    while words.take(","):
        values.append(str(words.next().text))
    if name == "search_path":
        session.set_search_path([one.lower() for one in values if one.lower() != "$user"])
    value = ", ".join(values)
    session.settings[name] = value.lower() if value.lower() in ("true", "false") else value
    if name == "enable_case_sensitive_identifier" and value.lower() in ("on", "off"):
        session.settings[name] = "true" if value.lower() == "on" else "false"
    return Outcome()


def _reset(session: Session, words: Words) -> Outcome:
    name = words.name()
    if name == "all":
        session.settings.clear()
    session.settings.pop(name, None)
    if name in ("all", "search_path"):
        session.set_search_path(["public"])
    return Outcome()


def _show(session: Session, words: Words) -> Outcome:
    kind = words.peek()
    listing = _LISTINGS.get(kind)
    if listing is None:
        name = words.name()
        if name == "search_path":
            return text_result(name, [", ".join(['"$user"', *session.search_path])])
        return text_result(name, [session.settings.get(name, _DEFAULTS.get(name, ""))])
    words.next()
    query, owners = listing
    given: tuple[str, ...] = ()
    if words.take("FROM"):
        words.expect(owners)
        given = words.names()
    like = words.text() if words.take("LIKE") else "%"
    names = dict(zip(reversed(("database", "schema", "table")), reversed(given), strict=False))
    if owners == "SCHEMA":
        names = dict(zip(("schema", "database"), reversed(given), strict=False))
    elif owners == "DATABASE":
        names = {"database": given[0]} if given else {}
    names.setdefault("database", session.database)
    values = {key: exp.Literal.string(value).sql() for key, value in names.items()}
    values["like"] = exp.Literal.string(like).sql()
    values.setdefault("schema", "'public'")
    values.setdefault("table", "''")
    return session.select(query.format(**values))


_DEFAULTS = {
    "enable_case_sensitive_identifier": "off",
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "client_encoding": "UTF8",
    "server_version": "8.0.2",
    "statement_timeout": "0",
}
_LISTINGS = {
    "DATABASES": (
        "SELECT * FROM svv_redshift_databases WHERE database_name LIKE {like} ORDER BY 1",
        "ACCOUNT",
    ),
    "SCHEMAS": (
        "SELECT * FROM svv_all_schemas WHERE database_name = {database} "
        "AND schema_name LIKE {like} ORDER BY 2",
        "DATABASE",
    ),
    "TABLES": (
        "SELECT * FROM svv_all_tables WHERE database_name = {database} "
        "AND schema_name = {schema} AND table_name LIKE {like} ORDER BY 3",
        "SCHEMA",
    ),
    "COLUMNS": (
        "SELECT * FROM svv_all_columns WHERE database_name = {database} AND schema_name = {schema} "
        "AND table_name = {table} AND column_name LIKE {like} ORDER BY ordinal_position",
        "TABLE",
    ),
}


def _explain(session: Session, words: Words) -> Outcome:
    words.take("VERBOSE")
    sql = words.rest()
    translated = session.translated(session.parse(sql))
    session.execute(f"EXPLAIN {translated.sql}", sql, relations=list(translated.relations))
    lines = [str(row[1]) for row in session.connection.fetchall()]
    return text_result("QUERY PLAN", "\n".join(lines).splitlines())


def _accepted(session: Session, words: Words) -> Outcome:
    """Do nothing: maintenance and permissions change no data, and the rehearsal has one user."""
    while not words.done:
        words.next()
    return Outcome()


def _on_table(session: Session, words: Words) -> Outcome:
    """Do nothing but look whether the table exists (ANALYZE, VACUUM, LOCK)."""
    for option in ("FULL", "SORT", "DELETE", "REINDEX", "RECLUSTER", "VERBOSE", "TABLE"):
        while words.starts(option) and words.take(option):
            pass
    if words.take("ONLY") or words.done or words.starts("COMPRESSION") or words.starts("PREDICATE"):
        return Outcome()
    parts = words.names()
    if session.find(parts) is None:
        raise RedshiftError(f'ERROR: relation "{".".join(parts)}" does not exist')
    return Outcome()


def _missing(session: Session, words: Words) -> Outcome:
    raise RedshiftError(
        "ERROR: The embedded AWS does not perform this statement: "
        + " ".join(words.sql.split()[:2]).upper()
    )


STATEMENTS: dict[str, Statement] = {
    "ABORT": _rollback,
    "ALTER": alter,
    "ANALYZE": _on_table,
    "BEGIN": _begin,
    "CALL": _missing,
    "COMMENT": comment,
    "COMMIT": _commit,
    "COPY": copy,
    "CREATE": create,
    "DECLARE": _missing,
    "DROP": drop,
    "END": _commit,
    "EXECUTE": _missing,
    "EXPLAIN": _explain,
    "FETCH": _missing,
    "GRANT": _accepted,
    "LOCK": _on_table,
    "PREPARE": _missing,
    "REFRESH": _accepted,
    "RESET": _reset,
    "REVOKE": _accepted,
    "ROLLBACK": _rollback,
    "SET": _set,
    "SHOW": _show,
    "START": _begin,
    "TRUNCATE": truncate,
    "UNLOAD": unload,
    "VACUUM": _on_table,
}
