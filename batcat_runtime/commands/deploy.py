"""`batcat deploy`: image, roles, workflow and trigger, with live progress and what was done."""

from __future__ import annotations

import contextlib
import re
import signal
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import click
from rich.markup import escape
from rich.text import Text

from batcat_runtime.commands.terminal import err, folder_option, json_option, print_json, say
from batcat_runtime.errors import ImageError, NoSuchBucketError
from batcat_runtime.log import reporting
from batcat_runtime.text import one_line

_BUILT_LINES = 15

_DOING = {"CREATE": "creating", "UPDATE": "updating", "DELETE": "removing"}
_RESOURCE_LINE = re.compile(r"([A-Z]+)_(IN_PROGRESS|COMPLETE|FAILED|SKIPPED) (AWS::\S+) (\S+)")
_DONE = {"CREATE": "created", "UPDATE": "updated", "DELETE": "removed"}


@click.command("deploy")
@folder_option
@click.option("--yes", "-y", is_flag=True, help="Make the bucket if there is none; ask nothing.")
@json_option
def command(folder: Path, yes: bool, as_json: bool) -> None:
    """Deploy a project to AWS, with the credentials in use.

    Image, roles, workflow, trigger. Safe to run again: what has not changed stays as it is, a
    failed stack is rolled back, and nothing is left half-made.
    """
    from batcat_runtime.deploy.project import deploy as deploy_project
    from batcat_runtime.operate.connection import open_project
    from batcat_runtime.operate.stacks import removed_notes

    # Asked to end, it ends in order, as with Ctrl-C: no container tool goes on without it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _shown():
            deployed = deploy_project(folder, create_bucket=yes)
    except NoSuchBucketError as error:
        question = f"{error.message} Make it?"
        if not (sys.stdin.isatty() and click.confirm(question, err=True, default=True)):
            raise
        with _shown():
            deployed = deploy_project(folder, create_bucket=True)
    if as_json:
        print_json(deployed)
    else:
        click.echo(deployed)
    for line in removed_notes(open_project(folder)):
        say(line)


@contextlib.contextmanager
def _shown() -> Iterator[None]:
    """Show what is reported: as it is, or on a terminal one line for each resource that is done.

    There, what is under way stands beside a spinner. When it fails, what a builder wrote last is
    shown too: the error does not repeat it.
    """
    if not err.is_terminal:
        yield
        return
    built: deque[str] = deque(maxlen=_BUILT_LINES)
    with err.status("deploying") as status:

        def show(line: str) -> None:
            found = _RESOURCE_LINE.fullmatch(line)
            if found and found[2] == "IN_PROGRESS":
                doing = _DOING.get(found[1], found[1].lower())
                status.update(escape(f"{doing} {found[3]} {found[4]}"))
            elif found:
                good = found[2] != "FAILED"
                word = _DONE.get(found[1], found[1].lower()) if good else "failed"
                style = "green" if good else "bold red"
                err.print(Text.assemble((f"  {word:8}", style), f" {found[3]} {found[4]}"))
            elif line.startswith("  | "):
                built.append(line)
                status.update(escape(one_line(line, max(20, err.width - 4))))
            else:
                built.clear()
                err.print(Text(one_line(line)))
                status.update("deploying")

        try:
            with reporting(show):
                yield
        except ImageError:
            for line in built:
                err.print(Text(line))
            raise
