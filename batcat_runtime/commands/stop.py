"""`batcat stop`: end a run that turned out to be a mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from batcat_runtime.commands.terminal import AsJson, Folder, Purpose, print_json, say


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(stop)


def stop(
    execution: Annotated[
        str | None,
        typer.Argument(help="Its name, the start of it, or its ARN.  [default: the one that runs]"),
    ] = None,
    as_json: AsJson = False,
    folder: Folder = Path(),
    purpose: Purpose = None,
) -> None:
    """Stop a run, and the job that it is at.

    What it has written so far does not count as a result. A whole backfill is stopped with `batcat
    backfill stop`.
    """
    from batcat_runtime.operate.stop import stop as end

    done = end(execution, folder=folder, purpose=purpose, progress=say)
    if as_json:
        print_json(done)
    elif done is not None and done.status == "ABORTED":
        typer.echo(f"{done.name} leaves no result of {done.window or 'all data'}.")
