"""`batcat destroy`: what goes and what stays, the project's name, and how it went."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batcat_runtime.commands.terminal import (
    folder_option,
    json_option,
    print_json,
    progress,
    say,
    size_of,
)

if TYPE_CHECKING:
    from batcat_runtime.operate.destroy import Destroyed
    from batcat_runtime.operate.inventory import Inventory, Kept

_SHOWN = 5


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
    """Remove a project from AWS; its data stays.

    Shows what goes and what stays, and asks for the project's name first.
    """
    from batcat_runtime.operate.destroy import destroy

    desk = _Desk(quiet=as_json)
    with desk:
        desk.tell("asking AWS what there is")
        done = destroy(
            confirm,
            stop_running=stop_running,
            folder=folder,
            purpose=purpose,
            ask=desk.ask,
            progress=desk.tell,
        )
    if as_json:
        print_json(done)
    else:
        _tell(done)


class _Desk:
    """Shows progress, but for the moment in which it asks."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._spinner = contextlib.ExitStack()
        self._show: Callable[[str], None] | None = None

    def __enter__(self) -> _Desk:
        return self

    def __exit__(self, *_: object) -> None:
        self._spinner.close()

    def tell(self, line: str) -> None:
        """Show a line of progress; what becomes of a resource stays on the screen."""
        if self._show is None:
            self._show = self._spinner.enter_context(progress())
        self._show(line)

    def ask(self, inventory: Inventory) -> str | None:
        """Show what goes and what stays; return what was typed, None without a terminal."""
        self._spinner.close()
        self._show = None
        if not self._quiet:
            for line in lines_of(inventory):
                click.echo(line)
        if not sys.stdin.isatty():
            return None
        try:
            return str(
                click.prompt(f"\nType the project's name ({inventory.project}) to remove it")
            )
        except click.Abort:
            say("Nothing was removed.")
            raise


def lines_of(inventory: Inventory) -> list[str]:
    """Return what is shown before anything is removed."""
    lines = [f"In the account {inventory.account}, {inventory.region}, this goes:"]
    for stack in inventory.stacks:
        lines.append(f"\n  stack {stack.name} ({stack.status})")
        wide = max((len(_kind(one.type)) for one in stack.resources), default=0)
        for one in stack.resources:
            lines.append(f"    {_kind(one.type):<{wide}}  {one.name} {one.detail}".rstrip())
    if inventory.tables is not None:
        whole = ", with its database" if inventory.tables.whole else ""
        lines.append(f"\n  Athena tables of the results{whole}")
        lines += [f"    {inventory.tables.database}.{one}" for one in inventory.tables.tables]
    if inventory.running:
        names = ", ".join(one.name for one in inventory.running[:_SHOWN])
        more = len(inventory.running) - _SHOWN
        lines.append(
            f"\nThese executions are stopped: {names}" + (f" and {more} more" if more > 0 else "")
        )
    lines.append("\nThis stays:\n")
    return lines + [f"  {_stays(one)}" for one in inventory.kept]


def _stays(one: Kept) -> str:
    if one.objects is None or one.bytes is None:
        return f"{one.what}: {one.why}"
    word = "object" if one.objects == 1 else "objects"
    return f"{one.what}: {one.why}: {one.objects:,} {word}, {size_of(one.bytes)}"


def _kind(resource_type: str) -> str:
    return resource_type.removeprefix("AWS::").replace("::", " ")


def _tell(done: Destroyed) -> None:
    """Print how it went."""
    inventory = done.inventory
    if inventory.empty:
        click.echo(
            f"Nothing of {inventory.project} is deployed in the account {inventory.account}, "
            f"{inventory.region}: there is nothing to remove."
        )
        for one in inventory.kept:
            click.echo(f"  {_stays(one)}")
        return
    for name in done.removed:
        click.echo(f"removed  {name}")
    for name in done.tables:
        click.echo(f"removed  Athena table {name}")
    if done.left:
        click.echo("\nAWS could not remove this; it belongs to no stack any more:\n")
        for left in done.left:
            click.echo(f"  {_kind(left.type)} {left.name}: {left.reason}")
            if left.command:
                click.echo(f"    when that is mended: {left.command}")
    bucket = next((one for one in inventory.kept if one.what.startswith("s3://")), None)
    if bucket is not None:
        click.echo(f"\n{_stays(bucket)}")
