"""Databases, schemas, external schemas and users: what is above tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .catalogue import GLUE_CATALOG
from .redshift_dialect import Words
from .redshift_outcome import Outcome
from .redshift_query import aliases
from .redshift_views import forget_late_view
from .redshift_warehouse import DatabaseNotes, ExternalSchema, schemas_of
from .redshift_words import RedshiftError

if TYPE_CHECKING:
    from .redshift_session import Session


def create_database(session: Session, words: Words) -> Outcome:
    """Perform CREATE DATABASE, from after these words."""
    if session.in_transaction:
        raise RedshiftError("ERROR: CREATE DATABASE cannot run inside a transaction block")
    name = words.name()
    accept(session, words)
    session.warehouse.create_database(name)
    return Outcome()


def create_schema(session: Session, words: Words) -> Outcome:
    """Perform CREATE SCHEMA, from after these words."""
    optional = words.take("IF", "NOT", "EXISTS")
    name = words.name() if not words.starts("AUTHORIZATION") else session.user.lower()
    if words.take("AUTHORIZATION"):
        words.name()
    if words.take("QUOTA"):
        accept(session, words)
    if not words.done:
        raise words.error()
    notes = session.warehouse.notes[session.database]
    exists = name in schemas_of(session.connection, session.database)
    if exists or name in notes.external_schemas:
        if optional:
            return Outcome()
        raise RedshiftError(f'ERROR: schema "{name}" already exists')
    where = f"{aliases([session.database])}.{aliases([name])}"
    session.execute(f"CREATE SCHEMA {where}", words.sql)
    return Outcome()


def create_external_schema(session: Session, words: Words) -> Outcome:
    """Perform CREATE EXTERNAL SCHEMA ... FROM DATA CATALOG, from after the first words."""
    optional = words.take("IF", "NOT", "EXISTS")
    name = words.name()
    words.expect("FROM", "DATA", "CATALOG")
    database, role, create_it = name, "", False
    catalog = GLUE_CATALOG
    has_role = False
    while not words.done:
        if words.take("DATABASE"):
            database = words.text().lower()
        elif words.take("IAM_ROLE"):
            has_role = True
            role = "default" if words.take("DEFAULT") else words.text()
        elif words.take("CREATE", "EXTERNAL", "DATABASE", "IF", "NOT", "EXISTS"):
            create_it = True
        elif words.take("REGION") or words.take("CATALOG_ID"):
            words.text()
        elif words.take("CATALOG_ROLE"):
            _ = words.take("SESSION") or words.text()
        else:
            raise words.error()
    if not has_role:
        raise words.error()
    arn = session.external.assume(None if role.lower() == "default" else role)
    notes = session.warehouse.notes[session.database]
    if name in notes.external_schemas or name in schemas_of(session.connection, session.database):
        if optional:
            return Outcome()
        raise RedshiftError(f'ERROR: schema "{name}" already exists')
    if create_it and not session.external.has_database(catalog, database):
        session.external.create_database(catalog, database)
    notes.external_schemas[name] = ExternalSchema(name, catalog, database, arn)
    session.note(lambda: _forget_schema(notes, name))
    return Outcome()


def _forget_schema(notes: DatabaseNotes, name: str) -> None:
    notes.external_schemas.pop(name, None)


def drop_schema(session: Session, name: str, *, optional: bool, cascade: bool) -> None:
    """Drop a schema; of an external one, only the name here."""
    notes = session.warehouse.notes[session.database]
    shown = notes.external_schemas.pop(name, None)
    if shown is not None:
        session.note(lambda: notes.external_schemas.__setitem__(name, shown))
        return
    if name not in schemas_of(session.connection, session.database):
        if optional:
            return
        raise RedshiftError(f'ERROR: schema "{name}" does not exist')
    late = [key for key in notes.late_views if key[0] == name]
    if late and not cascade:
        raise RedshiftError(
            f"ERROR: cannot drop schema {name} because other objects depend on it\n"
            "  Hint: Use DROP ... CASCADE to drop the dependent objects too."
        )
    end = " CASCADE" if cascade else ""
    session.execute(f"DROP SCHEMA {aliases([session.database])}.{aliases([name])}{end}", "")
    for key in late:
        forget_late_view(session, (session.database, *key))


def create_user(session: Session, words: Words) -> Outcome:
    """Keep a user and its password, for secrets to log in with."""
    name = words.name()
    words.take("WITH")
    password = None
    while not words.done:
        if words.take("PASSWORD"):
            password = words.text() if words.is_text() else str(words.next().text)
        else:
            words.next()
    if name in session.warehouse.users:
        raise RedshiftError(f'ERROR: user "{name}" already exists')
    session.warehouse.users[name] = password
    return Outcome()


def drop_user(session: Session, words: Words) -> Outcome:
    """Perform DROP USER, GROUP or ROLE."""
    if words.take("USER"):
        optional = words.take("IF", "EXISTS")
        name = words.name()
        if session.warehouse.users.pop(name, "") == "" and not optional:
            raise RedshiftError(f'ERROR: user "{name}" does not exist')
    return accept(session, words)


def accept(session: Session, words: Words) -> Outcome:
    """Read the rest of a statement that has no effect on data."""
    while not words.done:
        words.next()
    return Outcome()
