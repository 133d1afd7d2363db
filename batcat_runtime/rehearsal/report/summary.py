"""Print how a rehearsal went: for a person at a terminal, or for a log file.

In order of what is wanted last, which is what stays on the screen: the steps, the first rows of the
result, and last the verdict and where the report is. A failure says its reason and the script's own
last lines right before that. Only tables are cut to the width of the terminal.
"""

from __future__ import annotations

from io import TextIOWrapper
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from batcat_runtime.text import (
    NOTHING,
    clean,
    display_width,
    format_column,
    format_seconds,
    one_line,
    shorten,
)

from ..record import Rehearsal, ResultTable
from .page import DEPTH

MOST_ROWS = 6
MOST_LAST_LINES = 25
_GAP = 2
_STYLES = {"succeeded": "green", "failed": "bold red", "stopped": "red", "skipped": "dim"}


def print_summary(record: Rehearsal, report_path: Path, console: Console) -> None:
    """Print what ran, the result and the verdict; the report's path is the last line.

    Parameters
    ----------
    record : Rehearsal
        What the rehearsal left behind.
    report_path : Path
        Where the report was written.
    console : rich.console.Console
        Where to print; what its encoding does not have becomes a question mark.
    """
    if isinstance(console.file, TextIOWrapper):
        console.file.reconfigure(errors="replace")

    def say(text: object, style: str = "") -> None:
        console.print(Text(str(text), style), soft_wrap=True)

    say("")
    console.print(_steps(record, console.width))
    if record.result is not None:
        _print_result(record.result, console)
    say("")
    for hint in record.hints:
        say(one_line(hint), "yellow")
    for mail in record.mails:
        say(f"On AWS, {one_line(mail.to)} would get a mail:", "dim")
        say("\n".join(f"  {line}" for line in clean(mail.text).split("\n")))
    name, took = one_line(record.purpose, 60), format_seconds(record.seconds)
    if record.status == "succeeded":
        say(f"{name} passed its rehearsal in {took}.", "bold green")
    else:
        reason, _, rest = clean(record.error).strip().partition("\n")
        last = [line for line in rest.split("\n") if line.strip()][-MOST_LAST_LINES:]
        if last:
            say("Its last lines:", "dim")
            say("\n".join(f"  {line}" for line in last) + "\n")
        say(f"{name} failed its rehearsal after {took}.", "bold red")
        say(reason or "No reason was given.", "red")
    console.print(Text.assemble(("Report: ", "dim"), (str(report_path), "bold")), soft_wrap=True)


def _steps(record: Rehearsal, width: int) -> Table:
    """Return the steps as a table; what more is known of them gets the room that is left."""
    names = [
        "  " * (DEPTH.get(step.kind, 0) + step.inside) + one_line(step.name, 40)
        for step in record.steps
    ]
    used = sum((max(map(display_width, names), default=0), len("succeeded"), len("Seconds")))
    room = width - used - 3 * _GAP
    table = _table()
    for heading in ("Step", "Status"):
        table.add_column(heading, no_wrap=True)
    table.add_column("Seconds", justify="right", no_wrap=True)
    if room >= 20:
        table.add_column("", no_wrap=True, style="dim")
    for name, step in zip(names, record.steps, strict=True):
        took = NOTHING if step.seconds is None else f"{step.seconds:.2f}"
        cells = [Text(name), Text(step.status, _STYLES.get(step.status, "")), Text(took)]
        detail = Text(shorten(one_line(step.detail), max(room, 20)))
        table.add_row(*[*cells, detail][: len(table.columns)])
    return table


def _print_result(result: ResultTable, console: Console) -> None:
    """Print the result's address and as many of its columns as fit."""
    rows = f"{result.rows:,} row{'' if result.rows == 1 else 's'}"
    console.print(Text.assemble("\n", ("Result", "bold"), f"  {rows}, ", _columns(result)))
    console.print(Text(one_line(result.uri), "cyan"), soft_wrap=True)
    head = result.head[:MOST_ROWS]
    table, used, shown = _table(), 0, list[list[str]]()
    names = [one_line(name, 40) for name in result.columns]
    for number, name in enumerate(names if head else ()):
        cells, numeric = format_column([row[number] if number < len(row) else "" for row in head])
        cells = [shorten(cell, 30) for cell in cells]
        used += max(map(display_width, [*cells, name])) + _GAP
        if used > console.width + _GAP:
            break
        justify: Literal["left", "right"] = "right" if numeric else "left"
        table.add_column(Text(name), justify=justify, no_wrap=True)
        shown.append(cells)
    for row in zip(*shown, strict=True):
        table.add_row(*map(Text, row))
    console.print("", table, sep="\n")
    left = names[len(shown) :] if head else []
    notes = [f"{result.rows - len(head):,} more rows"] if result.rows > len(head) else []
    notes += [f"{len(left)} more columns: {', '.join(left)}"] if left else []
    if notes:
        console.print(Text(f"and {'; '.join(notes)}", "dim"))


def _columns(result: ResultTable) -> str:
    return f"{len(result.columns)} column{'' if len(result.columns) == 1 else 's'}"


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
