"""`batcat local`: an embedded AWS that stays, for a terminal or a notebook."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from batcat_runtime.commands.terminal import folder_option, need, progress
from batcat_runtime.errors import ConfigError, UserError


@click.group("local")
def command() -> None:
    """Keep an embedded AWS at hand."""


@command.command()
@click.option("--region", help="The AWS region it pretends to be.  [default: the project's]")
@click.option(
    "--port",
    type=click.IntRange(min=0, max=65535),
    default=0,
    help="Its port on 127.0.0.1; 0 takes a free one.",
)
@folder_option
def up(region: str | None, port: int, folder: Path) -> None:
    """Start an embedded AWS that stays."""
    need("moto", "rehearse")
    from batcat_runtime.rehearsal import local_up

    region = region or _region_of(folder)
    with progress() as show:
        show(f"starting an embedded AWS for {region}")
        running = local_up(region=region, port=port)
    click.echo(f"An embedded AWS for {running.region} listens on {running.endpoint_url}")
    click.echo('In another terminal:  eval "$(batcat local env)"   then e.g.  aws s3 ls')
    click.echo("Stop it with:         batcat local down")
    click.echo("Its jobs can reach the network; those of `batcat rehearse` cannot.")


@command.command()
def env() -> None:
    """Print what points a terminal at it.

    In that terminal, `docker` is a stand-in that builds for it: none logs in to AWS.
    """
    from batcat_runtime.rehearsal import local_status

    running = local_status()
    if running is None:
        raise UserError("No embedded AWS is running.", fix="Start one with `batcat local up`.")
    for name, value in sorted(running.environment().items()):
        click.echo(f"export {name}={shlex.quote(value)}")
    click.echo("unset AWS_PROFILE AWS_SESSION_TOKEN")


@command.command()
def down() -> None:
    """Stop it; all that it holds is gone."""
    from batcat_runtime.rehearsal import local_down

    click.echo("Stopped." if local_down() else "No embedded AWS was running.")


def _region_of(folder: Path) -> str:
    """Return the project's region; outside of one, that of the first AWS."""
    from batcat_runtime.config import find_project, get_config

    try:
        project = find_project(folder)
    except ConfigError:
        return "us-east-1"
    return get_config(project).region
