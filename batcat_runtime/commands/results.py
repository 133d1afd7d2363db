"""`batcat results`, `results get` and `results register`: what a pipeline has computed."""

from __future__ import annotations

from pathlib import Path

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


@click.group("results", invoke_without_command=True)
@click.pass_context
@click.option("--first", help="The first day, such as 2022-01-08.  [default: all]")
@click.option("--last", help="The last day, included.")
@click.option("--runs", is_flag=True, help="Show every run, superseded ones too.")
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
    from batcat_runtime.operate.results import results

    with progress():
        found = results(first, last, runs=runs, folder=folder, purpose=purpose)
    if as_json:
        print_json(found)
        return
    print_table(
        list(found.columns),
        found.cells(),
        right=("Rows", "Size"),
        empty="There are no results yet. Start a run with `batcat run`.",
    )


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
    from batcat_runtime.operate.results import get_results

    folder, purpose = _given(context, folder, purpose)
    with progress():
        found = get_results(start, end, to=to, folder=folder, purpose=purpose)
    if as_json:
        print_json(found)
        return
    print_table(
        ("Window", "Folder", "Downloaded", "Size", "There already"),
        [
            (one.result.title, _near(one.folder), one.files, size_of(one.bytes), one.there)
            for one in found
        ],
        right=("Downloaded", "Size", "There already"),
    )


@command.command()
@click.pass_context
@click.option("--file", help="Which file of a result, when it has several tables.")
@click.option("--database", help="The Glue database.")
@click.option("--table", help="What the table is called.")
@click.option("--workgroup", default="primary", help="Athena's workgroup.")
@folder_option
@purpose_option
@json_option
def register(
    context: click.Context,
    file: str | None,
    database: str | None,
    table: str | None,
    workgroup: str,
    folder: Path,
    purpose: str | None,
    as_json: bool,
) -> None:
    """Make the results tables of Athena.

    The view has the newest whole result of each window; call it again after new runs. The table of
    the same name with _runs has every run.
    """
    from batcat_runtime.operate.register import register_results

    folder, purpose = _given(context, folder, purpose)
    with progress():
        tables = register_results(
            database=database,
            table=table,
            file=file,
            workgroup=workgroup,
            folder=folder,
            purpose=purpose,
        )
    if as_json:
        print_json(tables)
        return
    for one in tables:
        for note in one.notes:
            say(note)
        left = f", without {one.excluded} runs that do not count" if one.excluded else ""
        click.echo(f"{one.database}.{one.name}  (from {one.file}{left})")
        print_table(("Column", "Type"), list(one.columns.items()))
        click.echo(f"Every run: {one.database}.{one.runs_table}\n")
        click.echo(f'bc.read_data_from_athena("{one.example}", database="{one.database}")\n')


def _near(path: Path) -> Path:
    """Return a path as seen from here, if it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _given(context: click.Context, folder: Path, purpose: str | None) -> tuple[Path, str | None]:
    """Return what stands after the command, else what stands before it."""
    outer_folder, outer_purpose = context.obj or (Path(), None)
    return (folder if folder != Path() else outer_folder), purpose or outer_purpose
