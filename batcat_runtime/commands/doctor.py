"""`batcat doctor`: everything that a pipeline depends on, and how to mend what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.text import Text

from batcat_runtime.commands.terminal import (
    any_purpose_option,
    folder_option,
    json_option,
    print_json,
    progress,
)
from batcat_runtime.text import one_line

if TYPE_CHECKING:
    from batcat_runtime.operate.doctor import Check

_ORDER = {"failed": "bold red", "warning": "yellow", "skipped": "dim", "ok": "green"}
_INDENT = " " * 9


@click.command("doctor")
@folder_option
@any_purpose_option
@json_option
def command(folder: Path, purpose: str | None, as_json: bool) -> None:
    """Look for what is wrong, and say how to mend it.

    Credentials, region, bucket, roles, image, quota, clock, network, configuration, what is
    deployed. Nothing is changed. Exit code 1: something failed.
    """
    from batcat_runtime.operate.doctor import doctor as examine

    with progress() as show:
        checks = examine(folder=folder, purpose=purpose, progress=show)
    if as_json:
        print_json(checks)
    else:
        _print(checks)
    if any(one.status == "failed" for one in checks):
        raise click.exceptions.Exit(1)


def _print(checks: list[Check]) -> None:
    """Print what was found by status, the worst first; below what is not well, its fix."""
    console = Console(highlight=False, soft_wrap=True)
    count = {status: sum(one.status == status for one in checks) for status in _ORDER}
    for status, style in _ORDER.items():
        for reason, alike in _groups([one for one in checks if one.status == status]):
            word = (f"{status:<8} ", style)
            if len(alike) == 1:
                console.print(Text.assemble(word, f"{alike[0].name}: {reason}"))
            else:
                console.print(Text.assemble(word, f"{reason}:"))
                for one in alike:
                    console.print(Text(f"{_INDENT}{one.name}"))
            fixes = dict.fromkeys(one.fix for one in alike if one.fix)
            for fix in fixes if status != "ok" else ():
                console.print(Text(f"{_INDENT}Fix: {fix}"))
    said = ", ".join(
        f"{number} {status}{'s' if status == 'warning' and number > 1 else ''}"
        for status, number in count.items()
        if number
    )
    console.print(Text(f"\n{said}"))


def _groups(checks: list[Check]) -> list[tuple[str, list[Check]]]:
    """Return what was found with all that found it: without credentials, that is half of them."""
    found: dict[str, list[Check]] = {}
    for one in checks:
        found.setdefault(one_line(one.found), []).append(one)
    return list(found.items())
