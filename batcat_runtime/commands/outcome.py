"""How the outcome of an execution is printed: its states, its result, or why it failed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from batcat_runtime.commands.terminal import size_of
from batcat_runtime.operate.failures import Failure
from batcat_runtime.operate.manifests import Result
from batcat_runtime.operate.preview import Preview
from batcat_runtime.operate.visits import Visit
from batcat_runtime.text import NOTHING, clean, format_column, format_seconds, one_line

STYLES = {"running": "cyan", "succeeded": "green", "failed": "bold red", "stopped": "red"}


def print_failure(failure: Failure, *, err: bool = False) -> None:
    """Print why an execution failed: what it said, the end of its log, what to do."""
    print_lines(_told(failure), err=err)


def _told(failure: Failure) -> Iterable[Text]:
    yield Text.assemble(("Failed: ", "bold red"), (one_line(failure.summary), "bold"))
    said = failure.exit_message.rstrip().splitlines()
    log = [line.rstrip() for line in failure.log]
    if said and said != log[-len(said) :] and not _ends_with(log, said):
        yield Text("  The job's own exit message:", "dim")
        yield from (Text(f"    {clean(line)}") for line in said)
    if log:
        yield Text(f"  The last lines of its log ({one_line(failure.log_stream)}):", "dim")
        yield from (Text(f"    {clean(line)}") for line in log)
    elif failure.log_error:
        yield Text(f"  Its log could not be read: {one_line(failure.log_error)}", "dim")
    if failure.meaning:
        yield Text(f"  {failure.meaning}")
    first, *others = failure.fix.splitlines() or [""]
    yield Text.assemble(("  Fix: ", "bold"), first)
    yield from (Text(f"       {line}") for line in others)


def _ends_with(log: Sequence[str], said: Sequence[str]) -> bool:
    """Tell whether an exit message, whose first line may be cut, is the end of the log."""
    end = [clean(line) for line in log[-len(said) :]]
    rest = [clean(line).rstrip() for line in said]
    return len(end) == len(rest) and end[1:] == rest[1:] and end[0].endswith(rest[0])


def print_result(result: Result, uri: str, preview: Preview | None) -> None:
    """Print where a result is, how large, and its first rows."""
    count = len(result.files)
    size = size_of(result.bytes)
    rows = f"{result.rows:,} row{'' if result.rows == 1 else 's'}"
    files = f"{count} file{'' if count == 1 else 's'}"
    lines = [Text.assemble(("Result: ", "bold"), uri), Text(f"        {rows}, {size} in {files}")]
    if result.missing:
        lines.append(Text(f"        It is not whole: {result.missing}", "bold red"))
    print_lines(lines)
    if preview and preview.columns:
        print_lines([Text("")])
        print_preview(preview, result.rows)


def print_preview(preview: Preview, rows: int) -> None:
    """Print the first rows of a table."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    columns = []
    for number, name in enumerate(preview.columns):
        cells, numeric = format_column([row[number] for row in preview.rows])
        table.add_column(one_line(name, 30), justify="right" if numeric else "left")
        columns.append(cells)
    for cells_of_row in zip(*columns, strict=True):
        table.add_row(*(Text(one_line(cell, 40)) for cell in cells_of_row))
    more = rows - len(preview.rows)
    print_lines([table, *([Text(f"... and {more:,} more rows", "dim")] if more > 0 else [])])


def states_table(visits: Sequence[Visit]) -> Table:
    """Return the states that an execution has visited, with their jobs, as a table."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("State")
    table.add_column("Status")
    table.add_column("Took", justify="right")
    table.add_column("Job")
    for visit in visits:
        indent = "  " * visit.depth
        names = [
            " ".join(part for part in (job.name, job.status, job.instances) if part)
            for job in visit.jobs
        ]
        table.add_row(
            Text(indent + one_line(visit.state)),
            Text(visit.status, STYLES.get(visit.status, "")),
            Text(format_seconds(visit.seconds)),
            Text("\n".join(names) or NOTHING, "dim"),
        )
    return table


def moment_of(moment: datetime | None, zone: str) -> str:
    """Return a time in a zone, to the second."""
    return f"{moment.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M:%S}" if moment else NOTHING


def print_lines(lines: Iterable[Text | Table], *, err: bool = False) -> None:
    """Print lines and tables; without a terminal as wide as they are, and without colours."""
    console = Console(stderr=err, highlight=False)
    if console.is_terminal:
        for line in lines:
            console.print(line, soft_wrap=isinstance(line, Text))
        return
    wide = Console(highlight=False, width=10_000)
    with wide.capture() as capture:
        for line in lines:
            wide.print(line, soft_wrap=isinstance(line, Text))
    text = "\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n"))
    encoding = (sys.stderr if err else sys.stdout).encoding or "utf-8"
    click.echo(text.encode(encoding, "replace").decode(encoding), err=err)
