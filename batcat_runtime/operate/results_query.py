"""`batcat results query`: the Athena tables of a pipeline's results, and SQL over them.

`results_table` says what the tables are. They are entered in Glue anew with every call, as far as
something changed: the view lists the runs that do not count, which new runs add to.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import QueryError, UserError
from batcat_runtime.io.types import DtypeBackend
from batcat_runtime.operate.connection import Project, open_project
from batcat_runtime.operate.results import look_at_bucket, stated_results
from batcat_runtime.operate.results_choice import no_result_yet
from batcat_runtime.operate.results_columns import (
    Seen,
    check_neighbours,
    chosen_file,
    find_columns,
)
from batcat_runtime.operate.results_glue import Change, found_table, have_database, put_table
from batcat_runtime.operate.results_table import RUNS, Shape, runs_table, view

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ResultTable:
    """An Athena table of results.

    Attributes
    ----------
    database, name : str
        The view of what counts: the newest whole result of each window.
    runs_table : str
        The table of every run, below it.
    step, file : str
        What it is made of: the step, of several last ones, and the files' name.
    columns : dict of str to str
        Its columns with their types, in Hive's words.
    excluded : int
        How many runs do not count, so that the view leaves them out.
    change : {"created", "updated", "unchanged"}
        What was done.
    notes : tuple of str
        What a person should know of it.
    example : str
        A query to begin with.
    """

    database: str
    name: str
    runs_table: str
    step: str
    file: str
    columns: dict[str, str]
    excluded: int
    change: Change
    notes: tuple[str, ...]
    example: str


def register_results(
    *,
    database: str | None = None,
    table: str | None = None,
    file: str | None = None,
    folder: str | Path | None = None,
    purpose: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> list[ResultTable]:
    """Enter the Athena tables of a pipeline's results in the Glue catalogue, or renew them.

    Parameters
    ----------
    database, table : str, optional
        What they are called; by default after the project and the pipeline.
    file : str, optional
        Which file of a result, such as ``usage-analysis.csv``; needed when it has several tables.
    folder : str or Path, optional
        The project's folder; by default that of the working directory.
    purpose : str, optional
        The pipeline; needed when there are several.
    progress : callable, optional
        Takes lines on how far it is.

    Returns
    -------
    list of ResultTable
        One, or one for each of several last steps.

    Raises
    ------
    NoSuchResultError
        There is no whole result yet.
    UserError
        A table of that name is not this project's; or the result has several tables.
    DataFormatError
        Athena cannot have what the files hold.
    AccessDeniedError
        Glue refused; names the action that is needed.

    Examples
    --------
    >>> register_results()[0].example  # doctest: +SKIP
    """
    project = open_project(folder)
    name = project.config.purpose_name(purpose)
    look_at_bucket(project)
    names = project.names(name)
    base = _checked(database or names.database, "database")
    seen = Seen().take(stated_results(project, name, progress=progress))
    if seen.last is None:
        raise no_result_yet(project, name)
    steps = project.config.purposes[name].last_steps
    made = [
        _shape(project, name, seen, step, file, base, table)
        for step in ([""] if len(steps) == 1 else steps)
    ]
    progress(f"entering the tables in Glue's database {base}")
    have_database(project, base)
    return [_entered(project, shape, step, notes) for shape, step, notes in made]


def query_results(
    sql: str,
    *,
    database: str | None = None,
    table: str | None = None,
    file: str | None = None,
    workgroup: str = "primary",
    s3_staging_dir: str | None = None,
    chunksize: int | None = None,
    dtype_backend: DtypeBackend | None = None,
    folder: str | Path | None = None,
    purpose: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame | Iterator[pd.DataFrame]:
    """Run SQL in Athena over a pipeline's results, after renewing their tables.

    Parameters
    ----------
    sql : str
        One statement; `register_results` tells the names of the tables.
    database, table, file, folder, purpose, progress
        As for `register_results`.
    workgroup : str
        Athena's workgroup.
    s3_staging_dir : str, optional
        Where Athena writes while the result is read, which is deleted afterwards; by default a
        place in the result bucket.
    chunksize, dtype_backend
        As for `read_data_from_athena`.

    Returns
    -------
    pandas.DataFrame or iterator of pandas.DataFrame
        The iterator with `chunksize`.

    Raises
    ------
    QueryError
        Athena refused the query; with its words.
    BatcatError
        As `register_results` and `read_data_from_athena`.

    Examples
    --------
    >>> query_results("SELECT date, sum(usage) FROM usage_analysis GROUP BY date")  # doctest: +SKIP
    """
    from batcat_runtime.io.athena import read_data_from_athena

    tables = register_results(
        database=database,
        table=table,
        file=file,
        folder=folder,
        purpose=purpose,
        progress=progress,
    )
    project = open_project(folder)
    names = project.names(project.config.purpose_name(purpose))
    staging = s3_staging_dir or f"s3://{project.config.result_s3_bucket}/{names.query_prefix}/"
    progress("waiting for Athena")
    with _casts_explained(tables[0]):
        found = read_data_from_athena(
            sql,
            project.config.region,
            staging,
            database=tables[0].database,
            workgroup=workgroup,
            chunksize=chunksize,
            dtype_backend=dtype_backend,
        )
    return found if chunksize is None else _explained(found, tables[0])


def _explained(frames: Any, table: ResultTable) -> Iterator[pd.DataFrame]:
    with contextlib.closing(frames), _casts_explained(table):
        yield from frames


@contextlib.contextmanager
def _casts_explained(table: ResultTable) -> Iterator[None]:
    """Say what to do about a value that is not of its column's type."""
    try:
        yield
    except QueryError as error:
        if "INVALID_CAST_ARGUMENT" not in error.message:
            raise
        raise QueryError(
            error.message,
            fix=f"Some result has a value of another type than the newest ones. All columns of "
            f"{table.runs_table} are text; bc.read_results() reads all results and takes the "
            "type that fits.",
            line=error.line,
            column=error.column,
        ) from error


def _shape(
    project: Project,
    purpose: str,
    seen: Seen,
    step: str,
    file: str | None,
    database: str,
    table: str | None,
) -> tuple[Shape, str, list[str]]:
    """Return what a table is made of, its step, and what to say of it."""
    assert seen.last is not None
    names = project.names(purpose)
    part = f"{names.result_prefix}/{step}/" if step else f"{names.result_prefix}/"
    what = f"{purpose} (step {step})" if step else purpose
    files = [one for one in seen.last.files if one.key.startswith(part)]
    name, form = chosen_file(files, file, what)
    stem = name.rpartition(".")[0]
    if table:
        called = f"{table}_{step}" if step else table
    else:
        called = names.table("-".join(one for one in (step, stem) if one not in ("", purpose)))
    found = find_columns(project, seen, name, part)
    notes = [note for note in (check_neighbours(files, name, what), *found.notes) if note]
    if seen.overlap:
        notes.append(f"Windows overlap ({seen.overlap}): days in both are there twice.")
    excluded = list(seen.excluded)
    for version, columns in found.other.items():
        runs = seen.runs[version]
        excluded += runs
        notes.append(
            f"{len(runs)} results of the code {version[:8]} have other columns "
            f"({', '.join(columns)}) and are left out; bc.read_results() reads them."
        )
    shape = Shape(
        project=project.config.project,
        purpose=purpose,
        database=database,
        name=_checked(called, "table"),
        location=f"s3://{project.config.result_s3_bucket}/{part}",
        first_day=seen.first_day,
        file=name,
        form=form,
        columns=found.columns,
        by_place=found.by_place,
        excluded=tuple(excluded),
    )
    return shape, step, notes


def _entered(project: Project, shape: Shape, step: str, notes: list[str]) -> ResultTable:
    definitions = [runs_table(shape), view(shape)]
    # Both are looked at before either is changed.
    there = [found_table(project, shape, one["Name"]) for one in definitions]
    changes = [
        put_table(project, shape, old, new) for old, new in zip(there, definitions, strict=True)
    ]
    change: Change = "unchanged"
    if any(one != "unchanged" for one in changes):
        change = "created" if changes[-1] == "created" else "updated"
    return ResultTable(
        database=shape.database,
        name=shape.name,
        runs_table=shape.name + RUNS,
        step=step,
        file=shape.file,
        columns={
            one["Name"]: one["Type"] for one in definitions[-1]["StorageDescriptor"]["Columns"]
        },
        excluded=len(shape.excluded),
        change=change,
        notes=tuple(notes),
        example=f"SELECT * FROM {shape.name} WHERE date >= DATE '{shape.first_day}' LIMIT 10",
    )


def _checked(name: str, what: str) -> str:
    if not re.fullmatch(r"[a-z0-9_]{1,250}", name):
        raise UserError(
            f"{name!r} is no name of a {what} for Athena.",
            fix="Take lower-case letters, digits and underscores: usage_analysis",
        )
    return name
