"""Entering the tables of results in the Glue catalogue: each by one request, and only over our own.

`batcat.project` and `batcat.purpose` among a table's parameters tell whose it is.
"""

from __future__ import annotations

from typing import Any, Literal

from batcat_runtime.errors import AccessDeniedError, UserError
from batcat_runtime.io.catalogue import GlueTable
from batcat_runtime.operate.connection import Project
from batcat_runtime.operate.results_table import OURS, PURPOSE, Shape

Change = Literal["created", "updated", "unchanged"]


def have_database(project: Project, name: str) -> None:
    """Create the database if there is none."""
    glue = project.client("glue")
    place = f"the Glue database {name}"
    with project.asked(place, "glue:GetDatabase"):
        try:
            glue.get_database(Name=name)
            return
        except glue.exceptions.EntityNotFoundException:
            pass
    given = {
        "Name": name,
        "Description": f"Results of {project.config.project}, by BatCat.",
        "Parameters": {OURS: project.config.project},
    }
    try:
        with project.asked(place, "glue:CreateDatabase"):
            try:
                glue.create_database(DatabaseInput=given)
            except glue.exceptions.AlreadyExistsException:
                return  # somebody else was quicker
    except AccessDeniedError as error:
        raise AccessDeniedError(
            f"There is no Glue database {name}, and it may not be created: {error.message}",
            fix="Ask an administrator for it: aws glue create-database --region "
            f"{project.config.region} --database-input Name={name}   Or name another that is "
            "there: --database NAME",
        ) from error


def found_table(project: Project, shape: Shape, name: str) -> dict[str, Any] | None:
    """Return what Glue has of a name; None for nothing.

    Raises
    ------
    UserError
        It is not this project's.
    """
    found = GlueTable(project.client("glue"), shape.database, name).found()
    if found is None:
        return None
    marks = found.get("Parameters", {})
    if (marks.get(OURS), marks.get(PURPOSE)) != (shape.project, shape.purpose):
        raise UserError(
            f"Glue has a table {shape.database}.{name} already, which was not made for the "
            f"results of {shape.purpose}. It stays as it is.",
            fix="Choose another name: `batcat results query --table NAME`, or `--database NAME`.",
        )
    return found


def put_table(
    project: Project, shape: Shape, old: dict[str, Any] | None, new: dict[str, Any]
) -> Change:
    """Enter a table, or change it if it is another."""
    glue = GlueTable(project.client("glue"), shape.database, new["Name"])
    if old is None:
        with glue.asked("glue:CreateTable"):
            try:
                glue.client.create_table(DatabaseName=shape.database, TableInput=new)
                return "created"
            except glue.client.exceptions.AlreadyExistsException:
                pass  # by another `batcat` at the same time, or not by us
        old = found_table(project, shape, new["Name"])
    if old is not None and _covers(old, new):
        return "unchanged"
    with glue.asked("glue:UpdateTable"):
        glue.client.update_table(DatabaseName=shape.database, TableInput=new)
    return "updated"


def _covers(there: Any, wanted: Any) -> bool:
    """Tell whether Glue has all that is wanted; it adds defaults of its own."""
    if isinstance(wanted, dict):
        return isinstance(there, dict) and all(
            _covers(there.get(name), value) for name, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(there, list)
            and len(there) == len(wanted)
            and all(map(_covers, there, wanted))
        )
    return bool(there == wanted) or (wanted == "" and there is None)
