"""`batcat results`, `results get` and `results query`: what a pipeline has computed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batcat_runtime.commands.terminal import (
    PATH,
    folder_option,
    json_option,
    print_json,
    print_table,
    progress,
    purpose_option,
    say,
    size_of,
)
from batcat_runtime.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from batcat_runtime.operate.results import WindowResult
    from batcat_runtime.operate.results_query import ResultTable

_SHORT = 8


@click.group(
    "results",
    invoke_without_command=True,
    short_help="Show, download and query what a pipeline has computed.",
)
@click.pass_context
@click.option("--first", help="The first day, such as 2022-01-08.  [default: all]")
@click.option("--last", help="The last day, included.")
@click.option("--runs", "--all", is_flag=True, help="Show every run, superseded ones too.")
@folder_option
@purpose_option
@json_option
def command(
    context: click.Context,
    first: str | None,
    last: str | None,
    runs: bool,
    folder: Path,
    purpose: str | None,
    as_json: bool,
) -> None:
    """Show the results that are there: the newest whole one of each window."""
    if context.invoked_subcommand:
        if first or last or runs or as_json:
            raise UserError(
                f"--first, --last, --runs and --json come after {context.invoked_subcommand}, as "
                "far as it has them.",
                fix=f"See `batcat results {context.invoked_subcommand} --help`.",
            )
        context.obj = (folder, purpose)
        return
    from batcat_runtime.operate import results as operate

    with progress() as line:
        found = operate.results(
            first, last, runs=runs, folder=folder, purpose=purpose, progress=line
        )
    if as_json:
        print_json(found)
        return
    _print_results(found, runs)


@command.command()
@click.pass_context
@click.argument(
    "start", required=False, help="A window's day (or hour); with END the first of several."
)
@click.argument("end", required=False, help="The end of the windows, exclusive.")
@click.option("--to", type=PATH, help="Where to.  [default: data/result/<purpose> of the project]")
@folder_option
@purpose_option
@json_option
def get(
    context: click.Context,
    start: str | None,
    end: str | None,
    to: Path | None,
    folder: Path,
    purpose: str | None,
    as_json: bool,
) -> None:
    """Download the newest whole result of each window.

    Every file is checked against its manifest. What is there already is skipped, so after Ctrl-C
    the same command goes on.
    """
    from batcat_runtime.operate.results_get import get_results

    folder, purpose = _given(context, folder, purpose)
    with progress() as line:
        found = get_results(start, end, to=to, folder=folder, purpose=purpose, progress=line)
    if as_json:
        print_json(found)
        return
    print_table(
        ("Window", "Folder", "Downloaded", "Size", "There already"),
        [
            (_window(one.result), _near(one.folder), one.files, size_of(one.bytes), one.there)
            for one in found
        ],
        right=("Downloaded", "Size", "There already"),
    )


@command.command()
@click.pass_context
@click.argument("sql", required=False, help="SQL for Athena.  [default: only enter the table]")
@click.option("--limit", type=click.IntRange(min=1), default=20, help="How many rows to print.")
@click.option("--csv", type=PATH, help="Save all rows to this file instead.")
@click.option("--parquet", type=PATH, help="Save all rows to this file instead.")
@click.option("--file", help="Which file of a result, when it has several tables.")
@click.option("--database", help="The Glue database.")
@click.option("--table", help="What the table is called.")
@click.option("--workgroup", default="primary", help="Athena's workgroup.")
@folder_option
@purpose_option
@json_option
def query(
    context: click.Context,
    sql: str | None,
    limit: int,
    csv: Path | None,
    parquet: Path | None,
    file: str | None,
    database: str | None,
    table: str | None,
    workgroup: str,
    folder: Path,
    purpose: str | None,
    as_json: bool,
) -> None:
    """Enter the results' table in Glue for Athena, and run SQL on it.

    It has the newest whole result of each window; the table of the same name with _runs has all.
    """
    from batcat_runtime.operate.results_query import query_results, register_results

    folder, purpose = _given(context, folder, purpose)
    if sql is None and (csv or parquet):
        raise UserError("There is no SQL whose rows could be saved.", fix="Give it first.")
    common: dict[str, Any] = {
        "database": database,
        "table": table,
        "file": file,
        "folder": folder,
        "purpose": purpose,
    }
    with progress() as line:
        if sql is None:
            tables = register_results(**common, progress=line)
        else:
            from batcat_runtime.operate.results_save import save_rows

            frames: Any = query_results(
                sql,
                **common,
                workgroup=workgroup,
                chunksize=100_000 if csv or parquet else limit + 1,
                dtype_backend="pyarrow" if csv or parquet else None,
                progress=line,
            )
            if csv or parquet:
                saved = save_rows(frames, csv=csv, parquet=parquet)
            else:
                frame = _first(frames)
    if sql is None:
        print_json(tables) if as_json else _print_tables(tables)
    elif csv or parquet:
        for path, rows in saved.items():
            say(f"{rows:,} rows in {path}")
    elif as_json:
        click.echo(frame.head(limit).to_json(orient="records", date_format="iso", indent=2))
    else:
        _print_rows(frame, limit)


def _near(path: Path) -> Path:
    """Return a path as seen from here, if it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _given(context: click.Context, folder: Path, purpose: str | None) -> tuple[Path, str | None]:
    """Return what stands after the command, else what stands before it."""
    outer_folder, outer_purpose = context.obj or (Path(), None)
    return (folder if folder != Path() else outer_folder), purpose or outer_purpose


def _print_results(found: list[WindowResult], runs: bool) -> None:
    rows = []
    for one in found:
        digest = one.image.rpartition("@sha256:")[2][:_SHORT]
        state = f"not whole: {one.missing}" if one.missing else one.state
        if one.state == "superseded":
            state = f"superseded by {one.superseded_by}"
        cells = [_window(one), one.rows if one.ended else None, size_of(one.bytes), one.run_id]
        cells += [one.code_sha256[:_SHORT], digest, one.ended[:16].replace("T", " ")]
        rows.append((*cells, state))
    columns = ["Window", "Rows", "Size", "Run", "Code", "Image", "Ended (UTC)", "State"]
    if all(one.state == "newest" for one in found) and not runs:
        columns.pop()
        rows = [row[:-1] for row in rows]
    print_table(
        columns,
        rows,
        right=("Rows", "Size"),
        empty="There are no results yet. Start a run with `batcat run`.",
    )


def _window(one: WindowResult) -> str:
    if one.window:
        return str(one.window)
    return f"all data ({one.day})" if one.ended else f"unknown ({one.day})"


def _print_tables(tables: list[ResultTable]) -> None:
    for one in tables:
        for note in one.notes:
            say(note)
        left = f", without {one.excluded} runs that do not count" if one.excluded else ""
        click.echo(f"{one.database}.{one.name}  ({one.change}, from {one.file}{left})")
        print_table(("Column", "Type"), [(name, kind) for name, kind in one.columns.items()])
        click.echo(f"Every run: {one.database}.{one.runs_table}")
        click.echo(f'\nbatcat results query "{one.example}"\n')


def _first(frames: Iterator[pd.DataFrame]) -> pd.DataFrame:
    """Return the first rows, and end the query's reading; DDL has neither rows nor columns."""
    import pandas as pd

    try:
        return next(iter(frames), pd.DataFrame())
    finally:
        close: Any = getattr(frames, "close", None)
        if close:
            close()


def _print_rows(frame: pd.DataFrame, limit: int) -> None:
    shown = frame.head(limit).copy()
    for name in shown.select_dtypes("datetime").columns:
        if (shown[name].dropna() == shown[name].dropna().dt.normalize()).all():
            shown[name] = shown[name].dt.strftime("%Y-%m-%d")  # a date, not a time
    columns = [str(name) for name in shown.columns]
    numbers = shown.select_dtypes("number").columns
    print_table(
        columns,
        [
            [None if _missing(cell) else cell for cell in row]
            for row in shown.itertuples(index=False, name=None)
        ],
        right=[str(name) for name in numbers],
        empty="The query has no rows.",
    )
    if len(frame) > limit:
        say(f"The first {limit} rows. More with --limit, all with --csv FILE or --parquet FILE.")


def _missing(cell: Any) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_scalar(cell) and pd.isna(cell))
