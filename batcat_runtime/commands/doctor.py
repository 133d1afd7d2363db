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
    for finding in findings(find_project(folder), purpose):
        found.append(finding)
        if as_json:
            continue
        words = f"{finding.check}: {finding.found}"
        console.print(Text.assemble((f"{finding.status:<8} ", _STYLES[finding.status]), words))
        if finding.fix:
            console.print(Text(f"{'':9}Fix: {finding.fix}"))
    if as_json:
        terminal.print_json(found)
    count = Counter(str(finding.status) for finding in found)
    if not as_json:
        counts = ", ".join(f"{count[status]} {status}" for status in _STYLES if count[status])
        console.print(Text(f"\n{counts}"))
    if count["failed"]:
        raise click.exceptions.Exit(1)
