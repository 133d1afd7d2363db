"""`batcat local`: an embedded AWS that stays, for a terminal or a notebook."""

from __future__ import annotations

import shlex

import click

from batcat_runtime.commands.terminal import need, progress
from batcat_runtime.errors import UserError


@click.group("local")
def command() -> None:
    """Keep an embedded AWS at hand."""


@command.command()
@click.option("--region", default="us-east-1", help="The AWS region it pretends to be.")
@click.option(
    "--port",
    type=click.IntRange(min=0, max=65535),
    default=0,
    help="Its port on 127.0.0.1; 0 takes a free one.",
)
def up(region: str, port: int) -> None:
    """Start an embedded AWS that stays."""
    need("moto", "rehearse")
    from batcat_runtime.rehearsal import local_status, local_up

    there = local_status()
    if there is not None:
        raise UserError(
            f"An embedded AWS for {there.region} runs already, at {there.endpoint_url}.",
            fix='Use it with `eval "$(batcat local env)"`, or stop it with `batcat local down`.',
        )
    with progress() as show:
        show(f"starting an embedded AWS for {region}")
        running = local_up(region=region, port=port)
    click.echo(f"An embedded AWS for {running.region} listens on {running.endpoint_url}")
    click.echo('In another terminal:  eval "$(batcat local env)"   then e.g.  aws s3 ls')
    click.echo("Stop it with:         batcat local down")
    click.echo("Its jobs can reach the network; those of `batcat rehearse` cannot.")


@command.command()
def env() -> None:
    """Print what points a terminal at it."""
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
