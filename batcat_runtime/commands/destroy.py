"""`batcat destroy`: what goes and what stays, the project's name, and how it went."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from batcat_runtime.commands.terminal import (
    folder_option,
    json_option,
    print_json,
    progress,
    say,
)


@click.command("destroy")
@click.option("--confirm", "--yes", metavar="NAME", help="The project's name; asks nothing.")
@click.option("--stop-running", is_flag=True, help="Stop executions that are running.")
@json_option
@folder_option
@click.option("--purpose", "-p", help="One pipeline.  [default: the project]")
def command(
    confirm: str | None,
    stop_running: bool,
    as_json: bool,
    folder: Path,
    purpose: str | None,
) -> None:
    """Remove a project from AWS; its data stay.

    Shows what goes and what stays, and asks for the project's name first.
    """
    from batcat_runtime.operate.connection import open_project
    from batcat_runtime.operate.destroy import Removal

    with progress() as show:
        show("asking AWS what there is")
        removal = Removal(open_project(folder), purpose)
    found = removal.inventory
    if confirm is None and (found.stacks or found.tables):
        removal.check(stop_running)
        if not as_json:
            click.echo(f"In the account {found.account}, {found.region}, this goes:")
            for line in (*found.stacks, *found.running, *found.tables):
                click.echo(f"  {line}")
            click.echo("This stays:\n  " + "\n  ".join(found.kept))
        if sys.stdin.isatty():
            confirm = str(click.prompt(f"\nType the project's name ({found.project}) to remove it"))
    with progress():
        done = removal.run(confirm, stop_running)
    if as_json:
        print_json(done)
        return
    for name in (*done.stacks, *done.tables):
        click.echo(f"removed  {name}")
    if not done.stacks and not done.tables:
        click.echo(f"Nothing of {done.project} is deployed in {done.account}, {done.region}.")
    for line in done.kept:
        say(f"stays    {line}")
