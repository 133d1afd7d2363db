"""The Athena tables of a project's results, as `batcat destroy` finds and removes them.

They are looked for in the project's own Glue database. What `batcat results query --database` has
put into another one stays there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from batcat_runtime.errors import AccessDeniedError
from batcat_runtime.names import slug
from batcat_runtime.operate.connection import Project
from batcat_runtime.operate.register import RUNS, marks_of


@dataclass(frozen=True)
class ListedTables:
    """Tables of results that are to go.

    Attributes
    ----------
    database : str
        In Glue.
    tables : tuple of str
        Views first, then the tables that they read.
    whole : bool
        Whether the database goes too: BatCat made it, and nothing else is in it.
    """

    database: str
    tables: tuple[str, ...]
    whole: bool


@dataclass(frozen=True)
class KeptTable:
    """A table, or a database, that could not be removed.

    Attributes
    ----------
    type, name, reason : str
        As CloudFormation calls such a resource; what it is called; why it is still there.
    """

    type: str
    name: str
    reason: str


def find_tables(project: Project, purpose: str | None = None) -> ListedTables | None:
    """Return the tables of a project's results, or of those of one pipeline; None without any.

    Raises
    ------
    AccessDeniedError
        These credentials may not look.
    """
    glue, database = project.client("glue"), _database(project)
    wanted = slug(purpose) if purpose else None
    with project.asked(f"the Glue database {database}", "glue:GetDatabase"):
        try:
            marks = glue.get_database(Name=database)["Database"].get("Parameters") or {}
        except glue.exceptions.EntityNotFoundException:
            return None
    mine, others = [], False
    for name, of in _tables(project, database):
        if of is not None and wanted in (None, of):
            mine.append(name)
        else:
            others = True
    whole = marks_of(project).items() <= marks.items() and wanted is None and not others
    if not mine and not whole:
        return None
    mine.sort(key=lambda name: (name.endswith(RUNS), name))
    return ListedTables(database, tuple(mine), whole)


def remove_tables(
    project: Project, listed: ListedTables, progress: Callable[[str], None]
) -> Iterator[KeptTable]:
    """Remove tables, and the database if it goes too; yield what could not be removed."""
    glue, database = project.client("glue"), listed.database
    for name in listed.tables:
        place = f"{database}.{name}"
        try:
            with (
                project.asked(f"the Glue table {place}", "glue:DeleteTable"),
                contextlib.suppress(glue.exceptions.EntityNotFoundException),
            ):
                glue.delete_table(DatabaseName=database, Name=name)
            progress(f"table {place}: removed")
        except AccessDeniedError as error:
            yield KeptTable("AWS::Glue::Table", name, error.message)
    # A database takes along what is in it, so what somebody has put there meanwhile saves it.
    if listed.whole and next(_tables(project, database), None) is None:
        try:
            with (
                project.asked(f"the Glue database {database}", "glue:DeleteDatabase"),
                contextlib.suppress(glue.exceptions.EntityNotFoundException),
            ):
                glue.delete_database(Name=database)
            progress(f"database {database}: removed")
        except AccessDeniedError as error:
            yield KeptTable("AWS::Glue::Database", database, error.message)


def _database(project: Project) -> str:
    return project.names(next(iter(project.config.purposes))).database


def _tables(project: Project, database: str) -> Iterator[tuple[str, str | None]]:
    """Yield the tables of a database, and of which of our pipelines each is, if of any."""
    pages = project.client("glue").get_paginator("get_tables").paginate(DatabaseName=database)
    with project.asked(f"the tables of the Glue database {database}", "glue:GetTables"):
        for page in pages:
            for one in page["TableList"]:
                marks = one.get("Parameters") or {}
                mine = marks_of(project).items() <= marks.items()
                yield one["Name"], marks["batcat:purpose"] if mine else None
