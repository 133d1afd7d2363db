"""`batcat doctor`: all that a pipeline depends on, and what to type where something is wrong."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from batcat_runtime.commands import terminal

_STYLES = {"failed": "bold red", "warning": "yellow", "skipped": "dim", "ok": "green"}


@click.command()
@terminal.all_project_options
def doctor(folder: Path, purpose: str | None, as_json: bool) -> None:
    """Look for what is wrong, and say how to mend it.

    Configuration, credentials, region, bucket, image, roles, quota, container tool, versions, and
    what is deployed. Nothing is changed. Exit code 1: something failed.
    """
    from batcat_runtime.config import find_project
    from batcat_runtime.operate.doctor import findings

    console = Console(highlight=False, soft_wrap=True)
    found = []
    for one in findings(find_project(folder), purpose):
        found.append(one)
        if as_json:
            continue
        words = f"{one.check}: {one.found}"
        console.print(Text.assemble((f"{one.status:<8} ", _STYLES[one.status]), words))
        if one.fix:
            console.print(Text(f"{'':9}Fix: {one.fix}"))
    if as_json:
        terminal.print_json(found)
    count = Counter(str(one.status) for one in found)
    if not as_json:
        told = ", ".join(f"{count[status]} {status}" for status in _STYLES if count[status])
        console.print(Text(f"\n{told}"))
    if count["failed"]:
        raise click.exceptions.Exit(1)
