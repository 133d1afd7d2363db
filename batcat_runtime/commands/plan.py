"""`batcat plan`: what a deployment would change, as a table and a diff."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.text import Text

from batcat_runtime.commands.terminal import (
    folder_option,
    json_option,
    print_json,
    print_table,
    progress,
)
from batcat_runtime.text import clean

if TYPE_CHECKING:
    from batcat_runtime.operate.plan import Plan

_CHANGED = 3
_STYLES = {"+": "green", "-": "red", "@": "cyan"}


@click.command("plan")
@folder_option
@click.option("--diff/--no-diff", default=True, help="Show how the definitions change, too.")
@click.option(
    "detailed", "--detailed-exitcode", is_flag=True, help="Exit with 3 when anything would change."
)
@json_option
def command(folder: Path, diff: bool, detailed: bool, as_json: bool) -> None:
    """Show what a deployment would change.

    Every resource that would be added, changed, replaced or removed, and what would differ in the
    workflow's definition. Nothing is changed.
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
        raise click.exceptions.Exit(_CHANGED)


def _print(found: Plan, diff: bool) -> None:
    rows = [(one.action, one.resource, one.type, one.replaced, one.stack) for one in found.changes]
    if found.image:
        image = found.image
        rows.insert(0, ("build", f"{image.repository}:{image.tag}", "image", "", image.builder))
    if rows:
        print_table(("ACTION", "RESOURCE", "TYPE", "REPLACED", "STACK"), rows)
    for note in found.notes:
        click.echo(note)
    if diff:
        _print_differences(found)
    for line in found.dropped:
        click.echo(f"\n{line}")
    click.echo(f"\n{found}" if rows or found.notes else str(found))


def _print_differences(found: Plan) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for one in found.differences:
        title = f"\nThe workflow of {one.purpose}"
        if not console.is_terminal:
            click.echo(f"{title}\n{clean(one.diff)}")
            continue
        console.print(Text(title, "bold"))
        for line in clean(one.diff).split("\n"):
            console.print(Text(line, _STYLES.get(line[:1], "")))
