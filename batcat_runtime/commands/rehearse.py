"""`batcat rehearse`: the deployment against an embedded AWS; `batcat local`: one that stays."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from batcat_runtime.commands import terminal
from batcat_runtime.errors import ConfigError, UserError


@click.command()
@terminal.folder_option
@terminal.purpose_option
@click.option("fire_at", "--at", help="Local time at which the schedule fires, 2022-01-08T02:00.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=900.0,
    help="Seconds that the execution may take.",
)
@click.option(
    "--report",
    type=terminal.PATH,
    help="Where the report goes.  [default: report/rehearsal-<purpose>.html]",
)
@click.option("--verbose", "-v", is_flag=True, help="Print every line as it comes.")
def rehearse(
    folder: Path, purpose: str | None, report: Path | None, verbose: bool, **given: Any
) -> None:
    """Rehearse a project on this machine.

    Its whole deployment is carried out against an embedded AWS: no account, no Docker, no network.
    Exit code 0: the pipeline succeeded. 1: it failed, and the report says where.
    """
    from batcat_runtime.config import find_project

    project = find_project(folder)
    _need_moto()
    from batcat_runtime.rehearsal.seal import seal

    unsealed = seal()
    from batcat_runtime.rehearsal.report import write_report
    from batcat_runtime.rehearsal.report.summary import print_summary
    from batcat_runtime.rehearsal.story import rehearse as run

    with terminal.progress(verbose) as show:
        record = run(project, purpose, progress=show, unsealed=unsealed, **given)
        show("writing the report")
        path = report or project / "report" / f"rehearsal-{record.purpose}.html"
        write_report(record, path)
    print_summary(record, path, Console(highlight=False))
    if record.status == "failed":
        raise click.exceptions.Exit(1)


@click.group()
def local() -> None:
    """Keep an embedded AWS at hand."""


@local.command()
@click.option("--region", help="The AWS region it pretends to be.  [default: the project's]")
@click.option(
    "--port",
    type=click.IntRange(min=0, max=65535),
    default=0,
    help="Its port on 127.0.0.1; 0 takes a free one.",
)
@terminal.folder_option
def up(region: str | None, port: int, folder: Path) -> None:
    """Start an embedded AWS that stays."""
    _need_moto()
    from batcat_runtime.rehearsal import local_up

    region = region or _region_of(folder)
    with terminal.progress() as show:
        show(f"starting an embedded AWS for {region}")
        running = local_up(region=region, port=port)
    click.echo(f"An embedded AWS for {running.region} listens on {running.endpoint_url}")
    click.echo('In another terminal:  eval "$(batcat local env)"   then e.g.  aws s3 ls')
    click.echo("Stop it with:         batcat local down")
    click.echo("Its jobs can reach the network; those of `batcat rehearse` cannot.")


@local.command()
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


@local.command()
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


def _need_moto() -> None:
    """Refuse to go on without what the extra [rehearse] brings."""
    from importlib.util import find_spec

    if find_spec("moto") is None:
        raise ConfigError(
            "This needs the package moto, which is not installed.",
            fix="Install batcat-runtime with its [rehearse] extra; a project's requirements.txt "
            "names it.",
        )
