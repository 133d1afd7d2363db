"""`batcat deploy` and `destroy`; `lock`, `image` and `roles`, the parts that others may do."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import click
from rich.markup import escape
from rich.text import Text

from batcat_runtime.commands import terminal
from batcat_runtime.commands.terminal import err
from batcat_runtime.errors import ImageError, NoSuchBucketError
from batcat_runtime.log import reporting
from batcat_runtime.text import one_line

_BUILT_LINES = 15

_DOING = {"CREATE": "creating", "UPDATE": "updating", "DELETE": "removing"}
_RESOURCE_LINE = re.compile(r"([A-Z]+)_(IN_PROGRESS|COMPLETE|FAILED|SKIPPED) (AWS::\S+) (\S+)")
_DONE = {"CREATE": "created", "UPDATE": "updated", "DELETE": "removed"}


@click.command()
@terminal.folder_option
@click.option("--yes", "-y", is_flag=True, help="Make the bucket if there is none; ask nothing.")
@terminal.json_option
def deploy(folder: Path, yes: bool, as_json: bool) -> None:
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
    terminal.show(deployed, as_json, click.echo)
    for line in removed_notes(open_project(folder)):
        terminal.say(line)


@click.command()
@click.option("--confirm", "--yes", metavar="NAME", help="The project's name; asks nothing.")
@click.option("--stop-running", is_flag=True, help="Stop executions that are running.")
@terminal.json_option
@terminal.folder_option
@click.option("--purpose", "-p", help="One pipeline.  [default: the project]")
def destroy(
    confirm: str | None, stop_running: bool, as_json: bool, folder: Path, purpose: str | None
) -> None:
    """Remove a project from AWS; its data stay.

    Shows what goes and what stays, and asks for the project's name first.
    """
    from batcat_runtime.operate.connection import open_project
    from batcat_runtime.operate.destroy import Removal

    with terminal.progress() as show:
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
    with terminal.progress():
        done = removal.run(confirm, stop_running)
    if as_json:
        terminal.print_json(done)
        return
    for name in (*done.stacks, *done.tables):
        click.echo(f"removed  {name}")
    if not done.stacks and not done.tables:
        click.echo(f"Nothing of {done.project} is deployed in {done.account}, {done.region}.")
    for line in done.kept:
        terminal.say(f"stays    {line}")


@click.command()
@terminal.folder_option
@click.option("--upgrade", is_flag=True, help="Take the newest versions of everything.")
def lock(folder: Path, upgrade: bool) -> None:
    """Pin the packages of the image, with hashes.

    Needed after a change of deploy/docker/requirements.txt; asks a package index.
    """
    from batcat_runtime.config import find_project
    from batcat_runtime.deploy.lock import write_lock

    click.echo(write_lock(find_project(folder) / "deploy" / "docker", upgrade=upgrade))


@click.command()
@terminal.folder_option
@click.option(
    "--context", type=terminal.PATH, help="Write the build context there, and build nothing."
)
@click.option("--sbom", type=terminal.PATH, help="Write what it holds there, as CycloneDX JSON.")
def image(folder: Path, context: Path | None, sbom: Path | None) -> None:
    """Build the image and push it to ECR, or write its build context.

    The context is for who builds elsewhere: a folder with the Dockerfile and all that it copies.
    """
    from batcat_runtime.config import find_project, get_config
    from batcat_runtime.deploy.context import context_of, tag_of, write_context
    from batcat_runtime.deploy.image import setup_image
    from batcat_runtime.deploy.sbom import sbom_of

    config = get_config(find_project(folder))
    if context is None and sbom is None:
        click.echo(setup_image(config))
        return
    files = context_of(config)
    if sbom is not None:
        sbom.write_text(json.dumps(sbom_of(files), indent=2) + "\n", "utf-8")
    if context is not None:
        write_context(files, context)
        click.echo(f"{context}: build it for linux/amd64 and push it as {tag_of(files)}")


@click.command()
@terminal.folder_option
def roles(folder: Path) -> None:
    """Print how an administrator makes the roles.

    Writes the parameters of deploy/roles.yaml to deploy/build/; no AWS account is asked.
    """
    from batcat_runtime.config import find_project, get_config
    from batcat_runtime.deploy.workflow import roles_commands

    for line in roles_commands(get_config(find_project(folder))):
        click.echo(line)


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
