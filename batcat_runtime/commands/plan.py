"""`batcat plan`: what a deployment would change, as a table and a diff."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from batcat_runtime.commands.terminal import AsJson, Folder, print_json, print_table, progress
from batcat_runtime.text import clean

if TYPE_CHECKING:
    from batcat_runtime.operate.plan import Plan

_CHANGED = 3
_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plan")(show_plan)


def show_plan(
    folder: Folder = Path(),
    diff: Annotated[
        bool, typer.Option("--diff/--no-diff", help="Below the table, show what changes inside.")
    ] = True,
    detailed: Annotated[
        bool,
        typer.Option("--detailed-exitcode", help="Exit with 3 when anything would change."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a deployment would change.

    Runs deploy/deploy.sh without changing anything: every resource that would be added, changed,
    replaced or removed, and what would differ in the workflow, the policies and the code.
    """
    from batcat_runtime.operate.plan import plan

    with progress() as show:
        show("looking at what is deployed")
        found = plan(folder, progress=show)
    if as_json:
        print_json(found)
    else:
        _print(found, diff)
    if detailed and found.changed:
        raise typer.Exit(_CHANGED)


def _print(found: Plan, diff: bool) -> None:
    rows = [(one.action, one.resource, one.type, one.replaced, one.stack) for one in found.changes]
    if found.image:
        image = found.image
        rows.insert(0, ("build", f"{image.repository}:{image.tag}", "image", "", image.builder))
    if rows:
        print_table(("ACTION", "RESOURCE", "TYPE", "REPLACED", "STACK"), rows)
    for note in found.notes:
        typer.echo(note)
    if diff:
        _print_differences(found)
    for line in found.dropped:
        typer.echo(f"\n{line}")
    typer.echo(f"\n{found}" if rows or found.notes else str(found))


def _print_differences(found: Plan) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for one in found.differences:
        title = f"\n{one.resource} ({one.type}): {one.part}"
        if not console.is_terminal:
            typer.echo(f"{title}\n{clean(one.diff)}")
            continue
        console.print(Text(title, "bold"))
        for line in clean(one.diff).split("\n"):
            console.print(Text(line, _STYLES.get(line[:1], "")))
