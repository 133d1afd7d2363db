"""What every command shares at the terminal: its common options, progress, tables and JSON.

Results go to standard output, everything else to standard error, so that a pipe gets results only.
Without a terminal there are no colours, nothing is cut to a width, and progress is plain lines.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from batcat_runtime.errors import ConfigError, UserError
from batcat_runtime.log import reporting
from batcat_runtime.text import NOTHING, one_line

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
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in columns:
        justify: Any = "right" if name in right else "left"
        table.add_column(name, justify=justify, no_wrap=not console.is_terminal)
    for row in rows:
        cells = [NOTHING if cell in (None, "") else one_line(cell) for cell in row]
        table.add_row(*(Text(cell, STYLES.get(cell, "")) for cell in cells))
    if console.is_terminal:
        console.print(table)
        return
    # As wide as it is: a pipe has no width, and a cut name is no name.
    wide = Console(highlight=False, width=10_000)
    with wide.capture() as capture:
        wide.print(table)
    text = "\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n"))
    encoding = sys.stdout.encoding or "utf-8"
    click.echo(text.encode(encoding, "replace").decode(encoding))


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


def need(module: str, extra: str) -> None:
    """Refuse to go on without a package, which an extra of ours brings."""
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise ConfigError(
            f"This needs the package {module}, which is not installed.",
            fix=f"Install batcat-runtime with its [{extra}] extra; a project's requirements.txt "
            "names it.",
        )
