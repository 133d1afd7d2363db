"""`batcat rehearse`: the whole deployment against an embedded AWS, and a report of it."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from batcat_runtime.commands.terminal import PATH, folder_option, need, progress, purpose_option


@click.command("rehearse")
@folder_option
@purpose_option
@click.option("fire_at", "--at", help="Local time at which the schedule fires, 2022-01-08T02:00.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=900.0,
    help="Seconds that the execution may take.",
)
@click.option(
    "--report", type=PATH, help="Where the report goes.  [default: report/rehearsal-<purpose>.html]"
)
@click.option("--verbose", "-v", is_flag=True, help="Print every line as it comes.")
def command(
    folder: Path,
    purpose: str | None,
    fire_at: str | None,
    timeout: float,
    report: Path | None,
    verbose: bool,
) -> None:
    """Rehearse a project on this machine.

    Its whole deployment is carried out against an embedded AWS: no account, no Docker, no network.
    Exit code 0: the pipeline succeeded. 1: it failed, and the report says where.
    """
    from batcat_runtime.config import find_project

    project = find_project(folder)
    need("moto", "rehearse")
    from batcat_runtime.rehearsal.seal import seal

    unsealed = seal()
    from batcat_runtime.rehearsal.report import write_report
    from batcat_runtime.rehearsal.report.summary import print_summary
    from batcat_runtime.rehearsal.story import rehearse as run

    with progress(verbose) as show:
        record = run(
            project, purpose, fire_at=fire_at, timeout=timeout, progress=show, unsealed=unsealed
        )
        show("writing the report")
        path = report or project / "report" / f"rehearsal-{record.purpose}.html"
        write_report(record, path)
    print_summary(record, path, Console(highlight=False))
    if record.status == "failed":
        raise click.exceptions.Exit(1)
