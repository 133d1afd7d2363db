"""`batcat logs`: what an execution did and what its containers wrote, as one tail."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator
from datetime import UTC
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from batcat_runtime.commands import terminal

if TYPE_CHECKING:
    from batcat_runtime.operate.executions import Execution
    from batcat_runtime.operate.loglines import LogLine

_COLOURS = ("green", "magenta", "blue", "yellow", "bright_green", "bright_magenta", "bright_blue")
_BAD = (" failed", " timed out", " FAILED ", " TIMED_OUT ", " ABORTED ")


@click.command()
@terminal.execution_argument("the newest")
@click.option("--follow", "-f", is_flag=True, help="Go on until the execution has ended.")
@click.option("--since", help="Nothing older: how long ago (10m, 2h, 1d) or a time.")
@click.option(
    "--lines",
    "--tail",
    "-n",
    type=click.IntRange(min=0),
    help="Of what is there, only the last lines.",
)
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    default=2.0,
    help="Seconds between two looks while following.",
)
@click.option("as_json", "--json", is_flag=True, help="Print one JSON object a line.")
@terminal.folder_option
@terminal.purpose_option
def logs(follow: bool, as_json: bool, **given: Any) -> None:
    """Show what an execution did and what its containers wrote.

    One tail in order of time: states, retries and failures, and every container's output. Times are
    of this machine's zone; in JSON, UTC. With --follow, exit code 0: the execution succeeded. 1: it
    did not.
    """
    from batcat_runtime.operate.logs import logs as read

    ended = _print(read(follow=follow, **given), _writer(as_json), follow)
    sys.stdout.flush()
    if follow and ended.status != "SUCCEEDED":
        raise click.exceptions.Exit(1)


def _print(
    found: Generator[LogLine, None, Execution], write: Callable[[LogLine], None], flushed: bool
) -> Execution:
    """Write every line; return what the generator does."""
    while True:
        try:
            line = next(found)
        except StopIteration as stop:
            ended: Execution = stop.value
            return ended
        try:
            write(line)
            if flushed:
                sys.stdout.flush()
        except KeyboardInterrupt as interrupt:
            # It came while we were writing; whoever reads the log knows what goes on without us.
            found.throw(interrupt)


def _writer(as_json: bool) -> Callable[[LogLine], None]:
    if as_json:
        return _write_json
    if sys.stdout.isatty():
        return _Coloured()
    return _write_plain


def _write_json(line: LogLine) -> None:
    moment = line.time.astimezone(UTC).isoformat(timespec="milliseconds")
    _write(json.dumps({"time": moment, "source": line.source, "text": line.text}))


def _write_plain(line: LogLine) -> None:
    _write(f"{line.time.astimezone():%Y-%m-%d %H:%M:%S}  {line.source}  {line.text}")


def _write(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding) + "\n")


class _Coloured:
    """Writes lines to a terminal: sources aligned, each in a colour of its own."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._styles = {"workflow": "cyan"}
        self._width = 20  # it grows when a longer source comes

    def __call__(self, line: LogLine) -> None:
        self._width = max(self._width, len(line.source))
        style = self._styles.get(line.source)
        if style is None:
            number = len(self._styles) - 1
            style = self._styles[line.source] = _COLOURS[number % len(_COLOURS)]
        of_workflow = line.source == "workflow"
        bad = of_workflow and any(word in line.text for word in _BAD)
        text = Text()
        text.append(f"{line.time.astimezone():%Y-%m-%d %H:%M:%S}  ", "dim")
        text.append(f"{line.source:{self._width}}  ", style)
        text.append(line.text.expandtabs(), "bold red" if bad else "bold" if of_workflow else "")
        self._console.print(text)
