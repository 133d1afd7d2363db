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
_ACTIONS = {"Add": "add", "Modify": "change", "Remove": "remove"}
_REPLACED = {"True": "yes", "Conditional": "maybe"}


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
        found = plan(folder)
    if as_json:
        print_json(found)
    else:
        _print(found, diff)
    if detailed and found.changed:
        raise click.exceptions.Exit(_CHANGED)


def _print(found: Plan, diff: bool) -> None:
    rows = [
        (
            _ACTIONS.get(row.action, row.action),
            row.resource,
            row.type,
            _REPLACED.get(row.replaced),
            stack.stack,
        )
        for stack in found.stacks
        for row in stack.changes
    ]
    if found.image.builder:
        image = found.image
        rows.insert(0, ("build", f"{image.repository}:{image.tag}", "image", None, image.builder))
    if rows:
        print_table(("ACTION", "RESOURCE", "TYPE", "REPLACED", "STACK"), rows)
    console = Console(highlight=False, soft_wrap=True)
    for purpose, text in found.diffs.items() if diff else ():
        console.print(Text(f"\nThe workflow of {purpose}", "bold"))
        for line in clean(text).split("\n"):
            console.print(Text(line, _STYLES.get(line[:1], "")))
    for line in (*found.notes, *found.removed, str(found)):
        click.echo(f"\n{line}" if rows or found.notes else line)
