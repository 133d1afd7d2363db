"""`batcat results`, `results get` and `results register`: what a pipeline has computed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batcat_runtime.commands import terminal
from batcat_runtime.errors import UserError

if TYPE_CHECKING:
    from batcat_runtime.operate.register import ResultTable
    from batcat_runtime.operate.results import Download, WindowResult
    from batcat_runtime.text import Table


@click.group(invoke_without_command=True)
@click.pass_context
@click.option("--first", help="The first day, such as 2022-01-08.  [default: all]")
@click.option("--last", help="The last day, included.")
@click.option("--runs", is_flag=True, help="Show every run, superseded ones too.")
@terminal.project_options
def results(context: click.Context, /, as_json: bool, **given: Any) -> None:
    """Show the results that are there: the newest whole one of each window."""
    name = context.invoked_subcommand
    if name:
        if given["first"] or given["last"] or given["runs"] or as_json:
            raise UserError(
                f"--first, --last, --runs and --json come after {name}, as far as it has them.",
                fix=f"See `batcat results {name} --help`.",
            )
        # What stands before the subcommand holds for it too.
        context.default_map = {name: {key: given[key] for key in ("folder", "purpose")}}
        return
    from batcat_runtime.operate.results import results

    with terminal.progress():
        found = results(**given)
    terminal.show(found, as_json, _print_results)


@results.command()
@click.argument(
    "start", required=False, help="A window's day (or hour); with END the first of several."
)
@click.argument("end", required=False, help="The end of the windows, exclusive.")
@click.option(
    "--to", type=terminal.PATH, help="Where to.  [default: data/result/<purpose> of the project]"
)
@terminal.project_options
def get(as_json: bool, **given: Any) -> None:
    """Download the newest whole result of each window.

    Every file is checked against its manifest. What is there already is skipped, so after Ctrl-C
    the same command goes on.
    """
    from batcat_runtime.operate.results import get_results

    with terminal.progress():
        found = get_results(**given)
    terminal.show(found, as_json, _print_downloads)


@results.command()
@click.option("--file", help="Which file of a result, when it has several tables.")
@click.option("--database", help="The Glue database.")
@click.option("--table", help="What the table is called.")
@click.option("--workgroup", default="primary", help="Athena's workgroup.")
@terminal.project_options
def register(as_json: bool, **given: Any) -> None:
    """Make the results tables of Athena.

    The view has the newest whole result of each window; call it again after new runs. The table of
    the same name with _runs has every run.
    """
    from batcat_runtime.operate.register import register_results

    with terminal.progress():
        tables = register_results(**given)
    terminal.show(tables, as_json, _print_tables)


def _print_results(found: Table[WindowResult]) -> None:
    terminal.print_table(
        list(found.columns),
        found.cells(),
        right=("Rows", "Size"),
        empty="There are no results yet. Start a run with `batcat run`.",
    )


def _print_downloads(found: list[Download]) -> None:
    numbers = ("Downloaded", "Size", "There already")
    rows = [
        (it.result.title, _near(it.folder), it.files, terminal.human_size(it.bytes), it.there)
        for it in found
    ]
    terminal.print_table(("Window", "Folder", *numbers), rows, right=numbers)


def _print_tables(tables: list[ResultTable]) -> None:
    for table in tables:
        for note in table.notes:
            terminal.say(note)
        left = f", without {table.excluded} runs that do not count" if table.excluded else ""
        click.echo(f"{table.database}.{table.name}  (from {table.file}{left})")
        terminal.print_table(("Column", "Type"), list(table.columns.items()))
        click.echo(f"Every run: {table.database}.{table.runs_table}\n")
        click.echo(f'bc.read_data_from_athena("{table.example}", database="{table.database}")\n')


def _near(path: Path) -> Path:
    """Return a path as seen from here, if it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
