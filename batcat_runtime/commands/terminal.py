"""What every command shares at the terminal: its common options, progress, tables and JSON.

Results go to standard output, everything else to standard error, so that a pipe gets results only.
Without a terminal there are no colours, nothing is cut to a width, and progress is plain lines.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from batcat_runtime.errors import ConfigError, UserError
from batcat_runtime.log import reporting
from batcat_runtime.text import NOTHING, clean, format_column, format_seconds, one_line

if TYPE_CHECKING:
    from batcat_runtime.operate.failures import Failure
    from batcat_runtime.operate.history import State
    from batcat_runtime.operate.manifests import Result
    from batcat_runtime.operate.run import Preview

err = Console(stderr=True, highlight=False, soft_wrap=True)

PATH = click.Path(path_type=Path)
folder_option = click.option(
    "folder",
    "-C",
    type=PATH,
    default=Path(),
    show_default=False,
    help="The project's folder.",
)
purpose_option = click.option(
    "--purpose", "-p", help="Which pipeline; needed when there are several."
)
any_purpose_option = click.option("--purpose", "-p", help="One pipeline.  [default: all]")
param_option = click.option(
    "--param", multiple=True, metavar="NAME=VALUE", help="For the script; may be repeated."
)
wait_option = click.option("--wait/--no-wait", default=True, help="Follow it to its end.")
json_option = click.option("as_json", "--json", is_flag=True, help="Print JSON instead of a table.")

STYLES = {
    "SUCCEEDED": "green",
    "FAILED": "bold red",
    "TIMED_OUT": "bold red",
    "ABORTED": "red",
    "RUNNING": "cyan",
}
_STATE_STYLES = {
    "running": "cyan",
    "succeeded": "green",
    "failed": "bold red",
    "stopped": "red",
}


@contextlib.contextmanager
def progress(verbose: bool = False) -> Iterator[Callable[[str], None]]:
    """Yield a function that shows a line: as a spinner on a terminal, as itself elsewhere.

    What the work itself reports goes there too.
    """
    if verbose or not err.is_terminal:
        yield say
        return

    def show(line: str) -> None:
        status.update(escape(one_line(line, max(20, err.width - 4))))

    with err.status("") as status, reporting(show):
        yield show


def say(line: str) -> None:
    """Print a line for the person, not for a pipe."""
    err.print(escape(line))


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    right: Sequence[str] = (),
    empty: str = "",
) -> None:
    """Print rows as a table without frames; `empty` instead when there are none.

    Parameters
    ----------
    columns : sequence of str
        Their headings.
    rows : sequence of sequence
        A cell that is None is shown as a dash; a word of `STYLES` in its colour.
    right : sequence of str
        The headings of columns of numbers, which stand to the right.
    empty : str
        What to say when there is no row.
    """
    if not rows:
        click.echo(empty)
        return
    terminal = Console().is_terminal
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in columns:
        justify: Any = "right" if name in right else "left"
        table.add_column(name, justify=justify, no_wrap=not terminal)
    for row in rows:
        cells = [NOTHING if cell in (None, "") else one_line(cell) for cell in row]
        table.add_row(*(Text(cell, STYLES.get(cell, "")) for cell in cells))
    print_lines([table])


def print_json(value: Any) -> None:
    """Print anything that the functions of `operate` return as JSON: two spaces, ASCII only."""
    click.echo(json.dumps(plain(value), indent=2))


def plain(value: Any) -> Any:
    """Return a value as JSON has it: dataclasses as objects, times in ISO 8601, paths as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def params_of(texts: Sequence[str] | None) -> dict[str, str | int | float | bool]:
    """Return parameters from texts such as ``limit=3``: a value is a JSON scalar, or else text.

    Raises
    ------
    UserError
        One has no equals sign or no name, or is a list, an object, null or NaN.
    """
    found: dict[str, str | int | float | bool] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UserError(
                f"{text!r} is no parameter.", fix="Write it as name=value, e.g. --param limit=10."
            )
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = value
        if not isinstance(parsed, str | int | float | bool) or parsed != parsed:
            raise UserError(
                f"The parameter {name.strip()} is {value}, which is no text, number or boolean.",
                fix="Give one value; for a list give several parameters, or a file's address.",
            )
        found[name.strip()] = parsed
    return found


def size_of(count: int) -> str:
    """Return a number of bytes as a reader says it: ``812 B``, ``1.4 MB``."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


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


def states_table(states: Sequence[State]) -> Table:
    """Return the states that an execution has run, with their jobs, as a table."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("State")
    table.add_column("Status")
    table.add_column("Took", justify="right")
    table.add_column("Job")
    for state in states:
        indent = "  " * state.depth
        names = [
            " ".join(part for part in (job.name, job.status, job.instances) if part)
            for job in state.jobs
        ]
        table.add_row(
            Text(indent + one_line(state.state)),
            Text(state.status, _STATE_STYLES.get(state.status, "")),
            Text(format_seconds(state.seconds)),
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


def need(module: str, extra: str) -> None:
    """Refuse to go on without a package, which an extra of ours brings."""
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise ConfigError(
            f"This needs the package {module}, which is not installed.",
            fix=f"Install batcat-runtime with its [{extra}] extra; a project's requirements.txt "
            "names it.",
        )
