"""`batcat stop`: end a run that turned out to be a mistake."""

from __future__ import annotations

from pathlib import Path

import click

from batcat_runtime.commands.terminal import (
    folder_option,
    json_option,
    print_json,
    purpose_option,
)


@click.command("stop")
@click.argument(
    "execution",
    required=False,
    help="Its name, the start of it, or its ARN.  [default: the one that runs]",
)
@json_option
@folder_option
@purpose_option
def command(execution: str | None, as_json: bool, folder: Path, purpose: str | None) -> None:
    """Stop a run, and the job that it is at.

    What it has written so far does not count as a result. A whole backfill is stopped with `batcat
    backfill stop`.
    """
    from batcat_runtime.operate.stop import stop as end

    done = end(execution, folder=folder, purpose=purpose)
    if as_json:
        print_json(done)
    elif done is not None and done.status == "ABORTED":
        click.echo(f"{done.name} leaves no result of {done.window or 'all data'}.")
