"""Print how a rehearsal went: for a person at a terminal, or for a log file.

In order of what is wanted last, which is what stays on the screen: the steps, the first rows of the
result, a small chart, and last the verdict and where the report is. A failure says its
reason and the script's own last lines right before that. Without a terminal there are no colours
and nothing is cut to the width of one; without Unicode every sign has a plain stand-in.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from .chart import chart_text, choose_chart
from .page import DEPTH

MOST_ROWS = 6
MOST_LAST_LINES = 25
GAP = 2
STYLES = {"succeeded": "green", "failed": "bold red", "stopped": "red", "skipped": "dim"}
SIGNS = {"succeeded": "✓", "failed": "✗", "stopped": "■", "skipped": NOTHING}
PLAIN_SIGNS = {"succeeded": "+", "failed": "x", "stopped": "x", "skipped": "-"}
_PLAIN = str.maketrans(
    {"…": "~", NOTHING: "-", "\N{MINUS SIGN}": "-", "·": "-", "“": '"', "”": '"', "Ω": "ohm"}
)


def print_summary(record: Rehearsal, report_path: Path, console: Console) -> None:
    """Print what ran, the result and the verdict; the report's path is the last line.

    Parameters
    ----------
    record : Rehearsal
        What the rehearsal left behind.
    report_path : Path
        Where the report was written.
    console : rich.console.Console
        Where to print; whether it is a terminal, its width and its encoding decide the form.
    """
    unicode = "utf" in console.encoding.lower()
    console.print()
    _print(console, _steps(record, console.width, unicode), unicode)
    if record.result is not None:
        _print(console, Text(""), unicode)
        parts = _result(record.result, console.width)
        for part in parts:
            _print(console, part, unicode, whole=part is parts[1])
        _print_chart(record.result, console, unicode)
    console.print()
    for hint in record.hints:
        _print(console, Text(one_line(hint), "yellow"), unicode, whole=True)
    for mail in record.mails:
        _print(console, Text(f"On AWS, {mail.to} would get a mail:", "dim"), unicode, whole=True)
        for said in clean(mail.text).split("\n"):
            _print(console, Text(f"  {said}"), unicode, whole=True)
    _print_verdict(record, console, unicode)
    path = str(report_path)
    line = Text.assemble(("Report: ", "dim"), (path, "bold"))
    _print(console, line, unicode, whole=True)


def _print(console: Console, what: Text | Table, unicode: bool, *, whole: bool = False) -> None:
    """Print through the console; without a terminal or Unicode, in a form that suits."""
    if unicode and console.is_terminal:
        console.print(what, soft_wrap=whole)
        return
    with console.capture() as capture:
        console.print(what, soft_wrap=whole)
    lines = [line.rstrip() for line in capture.get().split("\n")]
    encoding = "utf-8" if unicode else console.encoding
    text = "\n".join(lines if unicode else [line.translate(_PLAIN) for line in lines])
    console.file.write(text.encode(encoding, "replace").decode(encoding))


def _steps(record: Rehearsal, width: int, unicode: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    table.add_column("Step", no_wrap=True)
    table.add_column("Status", no_wrap=True)
    table.add_column("Seconds", justify="right", no_wrap=True)
    names = [
        "  " * (DEPTH.get(step.kind, 0) + step.inside) + one_line(step.name, 40)
        for step in record.steps
    ]
    room = width - max(map(display_width, names), default=0) - 11 - 7 - 3 * GAP
    details = [one_line(step.detail) for step in record.steps]
    if room >= 20 and any(details):
        table.add_column("", no_wrap=True, style="dim")
    for step, name, detail in zip(record.steps, names, details, strict=True):
        sign = (SIGNS if unicode else PLAIN_SIGNS).get(step.status, " ")
        style = STYLES.get(step.status, "")
        cells = [
            Text(name),
            Text(f"{sign} {step.status}", style),
            Text(NOTHING if step.seconds is None else f"{step.seconds:.2f}"),
            Text(shorten(detail, max(room, 20)), "dim"),
        ]
        table.add_row(*cells[: len(table.columns)])
    return table


def _result(result: ResultTable, width: int) -> list[Text | Table]:
    """Return the result's address and as many of its columns as fit."""
    rows = f"{result.rows:,} row{'' if result.rows == 1 else 's'}"
    title = Text.assemble(("Result", "bold"), (f"  {rows}, {len(result.columns)} columns", "dim"))
    parts: list[Text | Table] = [title, Text(one_line(result.uri), "cyan")]
    head = result.head[:MOST_ROWS]
    names = [one_line(name, 40) for name in result.columns]
    columns = [
        format_column([row[number] if number < len(row) else "" for row in head])
        for number in range(len(names))
    ]
    cells = [[shorten(cell, 30) for cell in shown] for shown, _ in columns]
    shown, headers = _fit(names, cells, width)
    if not head or not shown:
        return parts
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    for number in range(shown):
        justify: Literal["left", "right"] = "right" if columns[number][1] else "left"
        table.add_column(
            Text(headers[number], justify=justify), justify=justify, vertical="bottom", no_wrap=True
        )
    for row in zip(*cells[:shown], strict=True):
        table.add_row(*(Text(cell) for cell in row))
    parts += [Text(""), table]
    notes = []
    if result.rows > len(head):
        notes.append(f"{result.rows - len(head):,} more rows")
    if shown < len(names):
        left = ", ".join(names[shown:])
        notes.append(f"{len(names) - shown} more columns: {left}")
    if notes:
        parts.append(Text(f"and {'; '.join(notes)}", "dim"))
    return parts


def _fit(names: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> tuple[int, list[str]]:
    """Return how many columns fit, and their headers, which break at underscores if they must."""
    headers: list[str] = []
    for names_or_broken in (names, [name.replace("_", "_\n") for name in names]):
        headers, used = [], 0
        for header, column in zip(names_or_broken, cells, strict=True):
            used += max(map(display_width, [*column, *header.split("\n")])) + GAP
            if used > width + GAP:
                break
            headers.append(header)
        if len(headers) == len(names):
            break
    return len(headers), headers


def _print_chart(result: ResultTable, console: Console, unicode: bool) -> None:
    if result.frame is None:
        return
    try:
        chart = choose_chart(result.frame)
    except Exception as error:
        # The table is the user's and may hold anything; the verdict must come all the same.
        chart = one_line(f"{type(error).__name__}: {error}", 100)
    if isinstance(chart, str):
        _print(console, Text(f"\nNo chart: {chart}", "dim"), unicode)
        return
    console.print()
    for line in chart_text(chart, console.width, unicode=unicode):
        _print(console, Text(line, "" if line.startswith(" ") else "bold"), unicode)


def _print_verdict(record: Rehearsal, console: Console, unicode: bool) -> None:
    took = format_seconds(record.seconds)
    name = one_line(record.purpose, 60)
    if record.status == "succeeded":
        line = Text(f"{name} passed its rehearsal in {took}.", "bold green")
        _print(console, line, unicode, whole=True)
        return
    reason, _, rest = clean(record.error).strip().partition("\n")
    last = [line for line in rest.strip("\n").split("\n") if line][-MOST_LAST_LINES:]
    if last:
        _print(console, Text("Its last lines:", "dim"), unicode)
        for said in last:
            _print(console, Text(f"  {said}"), unicode, whole=True)
        console.print()
    _print(
        console, Text(f"{name} failed its rehearsal after {took}.", "bold red"), unicode, whole=True
    )
    _print(console, Text(reason or "No reason was given.", "red"), unicode, whole=True)
