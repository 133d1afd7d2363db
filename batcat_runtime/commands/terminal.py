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
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from batcat_runtime.errors import UserError
from batcat_runtime.log import human_size as human_size
from batcat_runtime.log import reporting
from batcat_runtime.text import NOTHING, clean, format_column, format_seconds, one_line

if TYPE_CHECKING:
    from batcat_runtime.operate.failures import Failure
    from batcat_runtime.operate.history import State
    from batcat_runtime.operate.manifests import Result
    from batcat_runtime.operate.run import Preview

err = Console(stderr=True, highlight=False, soft_wrap=True)

Found = TypeVar("Found")
Command = TypeVar("Command", bound=Callable[..., Any])

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
every_option = click.option(
    "--every", default="day", metavar="day|hour|week", help="How long a window is."
)
json_option = click.option("as_json", "--json", is_flag=True, help="Print JSON instead of a table.")


def project_options(command: Command) -> Command:
    """Give a command the options --json, -C and -p, of one pipeline."""
    return json_option(folder_option(purpose_option(command)))


def all_project_options(command: Command) -> Command:
    """Give a command the options --json, -C and -p, of all pipelines unless one is named."""
    return json_option(folder_option(any_purpose_option(command)))


def param_option(command: Command) -> Command:
    """Give a command the option --param, which it gets as the dict `params`."""
    return click.option(
        "params",
        "--param",
        multiple=True,
        metavar="NAME=VALUE",
        callback=lambda context, option, texts: params_of(texts),
        help="For the script; may be repeated.",
    )(command)


def execution_argument(default: str) -> Callable[[Command], Command]:
    """Return what gives a command the name of an execution as its argument."""
    said = f"Its name, the start of it, or its ARN.  [default: {default}]"
    return click.argument("execution", required=False, help=said)


STYLES = {
    "SUCCEEDED": "green",
    "FAILED": "bold red",
    "TIMED_OUT": "bold red",
    "ABORTED": "red",
    "RUNNING": "cyan",
    # of a state
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
    table = _grid()
    for name in columns:
        justify: Any = "right" if name in right else "left"
        table.add_column(name, justify=justify, no_wrap=not terminal)
    for row in rows:
        cells = [NOTHING if cell in (None, "") else one_line(cell) for cell in row]
        table.add_row(*(Text(cell, STYLES.get(cell, "")) for cell in cells))
    print_lines([table])


def show(found: Found, as_json: bool, print_it: Callable[[Found], None]) -> None:
    """Print what a function of `operate` has returned: as JSON, or as `print_it` does."""
    print_json(found) if as_json else print_it(found)


def print_json(value: Any) -> None:
    """Print anything that the functions of `operate` return as JSON: two spaces, ASCII only."""
    click.echo(json.dumps(value, indent=2, default=_plain))


def _plain(value: Any) -> Any:
    """Return what JSON has no word for: dataclasses as objects, times in ISO 8601, else text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, set | frozenset):
        return list(value)
    return value.isoformat() if isinstance(value, date) else str(value)


def params_of(texts: Sequence[str] | None) -> dict[str, str | int | float | bool]:
    """Return parameters from texts such as ``limit=3``: a value is a JSON scalar, or else text.

    Raises
    ------
    UserError
        One has no equals sign or no name, or is a list, an object, null or NaN.
    """
    found: dict[str, str | int | float | bool] = {}
    for name, value in pairs_of(texts or (), "parameter", "--param limit=10").items():
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = value
        if not isinstance(parsed, str | int | float | bool) or parsed != parsed:
            raise UserError(
                f"The parameter {name} is {value}, which is no text, number or boolean.",
                fix="Give one value; for a list give several parameters, or a file's address.",
            )
        found[name] = parsed
    return found


def pairs_of(texts: Iterable[str], what: str, example: str) -> dict[str, str]:
    """Return what texts such as ``limit=3`` say, or refuse one with an example that works."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UserError(
                f"{text!r} is no {what}.", fix=f"Write it as name=value, e.g. {example}."
            )
        found[name.strip()] = value
    return found


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
    size = human_size(result.bytes)
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
    table = _grid()
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
    table = _grid()
    for name in ("State", "Status", "Took", "Job"):
        table.add_column(name, justify="right" if name == "Took" else "left")
    for state in states:
        indent = "  " * state.depth
        names = [
            " ".join(part for part in (job.name, job.status, job.instances) if part)
            for job in state.jobs
        ]
        table.add_row(
            Text(indent + one_line(state.state)),
            Text(state.status, STYLES.get(state.status, "")),
            Text(format_seconds(state.seconds)),
            Text("\n".join(names) or NOTHING, "dim"),
        )
    return table


def _grid() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")


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
