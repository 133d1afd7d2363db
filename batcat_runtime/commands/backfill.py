"""`batcat backfill`: compute many windows, come back to it, stop it, go on with what is left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from batcat_runtime.commands.terminal import (
    STYLES,
    err,
    folder_option,
    json_option,
    param_option,
    params_of,
    print_json,
    print_table,
    purpose_option,
    say,
    wait_option,
)
from batcat_runtime.text import one_line

if TYPE_CHECKING:
    from batcat_runtime.operate.backfill_record import Backfill

_WORDS = ("done", "running", "waiting", "failed", "stopped", "skipped")
_COLOURS = {"done": "green", "running": "cyan", "failed": "bold red", "stopped": "red"}


@click.command("backfill")
@click.argument(
    "start",
    help="The first window's start, 2022-01-01. Or, about the last backfill: show, stop, resume "
    "(what is left), retry (what failed).",
)
@click.argument("end", required=False, help="The last window's end, exclusive.")
@click.option("--every", default="day", metavar="day|hour|week", help="How long a window is.")
@click.option("--concurrency", "-n", type=int, help="Windows at once.  [default: 4, or as before]")
@param_option
@click.option("--force", is_flag=True, help="Compute windows that have a result, too.")
@wait_option
@json_option
@folder_option
@purpose_option
def command(
    start: str,
    end: str | None,
    every: str,
    concurrency: int | None,
    param: tuple[str, ...],
    force: bool,
    wait: bool,
    as_json: bool,
    folder: Path,
    purpose: str | None,
) -> None:
    """Compute every window of a range, several at once.

    Windows that have a whole result are skipped. AWS does the work: the same command again, or
    `batcat backfill show`, comes back to one that runs. Exit code 1: a window failed, or it was
    stopped. Ctrl-C ends the waiting only.
    """
    from batcat_runtime.operate.backfill import backfill as compute

    with _shown() as watch:
        state = compute(
            start,
            end,
            every=every,
            concurrency=concurrency,
            params=params_of(param),
            force=force,
            wait=wait,
            progress=say,
            watch=watch,
            folder=folder,
            purpose=purpose,
        )
    if as_json:
        print_json(state)
    else:
        _print(state)
    ended_badly = state.status in ("FAILED", "ABORTED")
    if ended_badly and start != "stop":
        raise click.exceptions.Exit(1)


def _print(state: Backfill) -> None:
    counts = state.counts
    rows = [(word, getattr(counts, word)) for word in _WORDS if getattr(counts, word)]
    print_table(("windows", "count"), rows, right=("count",), empty="There is no window.")
    if state.failures:
        click.echo("")
        print_table(
            ("window", "status", "execution", "reason"),
            [
                (one.window, one.status or "NOT STARTED", one.execution, one.reason)
                for one in state.failures
            ],
        )
        more = counts.failed + counts.stopped - len(state.failures)
        if state.status != "RUNNING" and more > 0:
            click.echo(f"... and {more:,} more")
    for line in _what_next(state):
        say(line)


def _what_next(state: Backfill) -> Iterator[str]:
    whose = f" -p {state.purpose}"
    if not state.name:
        counts = state.counts
        if counts.running:
            yield "Nothing to start: what has no result yet is running already."
        elif counts.waiting:
            yield f"Nothing failed. Compute what is left with `batcat backfill resume{whose}`."
        else:
            yield "Nothing to do: every window has its result. Compute them anew with --force."
        return
    if state.status == "RUNNING":
        yield f"The backfill {state.name} goes on in AWS."
        yield f"Come back to it with `batcat backfill show{whose}`."
        return
    word = {"SUCCEEDED": "has ended", "FAILED": "has ended"}.get(state.status, "was stopped")
    yield f"The backfill {state.name} {word} after {_time(state.seconds)}."
    if state.status == "ABORTED":
        yield f"Go on with what is left: `batcat backfill resume{whose}`."
    elif state.counts.failed or state.counts.stopped:
        yield f"Try again what failed: `batcat backfill retry{whose}`."


@contextlib.contextmanager
def _shown() -> Iterator[Callable[[Backfill], None]]:
    """Yield what shows the state: a table that is drawn anew on a terminal, lines elsewhere."""
    if not err.is_terminal:
        yield _Lines()
        return
    with Live(console=err, transient=True, refresh_per_second=4) as live:
        yield lambda state: live.update(_live(state))


class _Lines:
    """Says a line whenever the counts have changed, and each new failure once."""

    def __init__(self) -> None:
        self._last = ""
        self._failures: set[str] = set()

    def __call__(self, state: Backfill) -> None:
        line = _counts(state)
        if line != self._last:
            say(line)
            self._last = line
        for one in reversed(state.failures):
            if one.execution not in self._failures:
                self._failures.add(one.execution)
                say(f"{one.window} failed: {one_line(one.reason)}")


def _counts(state: Backfill) -> str:
    counts = state.counts
    parts = [f"{getattr(counts, word):,} {word}" for word in _WORDS if getattr(counts, word)]
    return ", ".join(parts)


def _live(state: Backfill) -> Group:
    counts = state.counts
    ended = counts.done + counts.failed + counts.stopped
    total = ended + counts.running + counts.waiting
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for word in _WORDS:
        table.add_column(word, justify="right")
    table.add_column("per minute", justify="right")
    table.add_column("left", justify="right")
    rate = ended / state.seconds * 60 if state.seconds else 0.0
    left = _time((total - ended) / rate * 60) if rate else ""
    table.add_row(
        *(_cell(word, getattr(counts, word)) for word in _WORDS),
        f"{rate:.1f}",
        left,
    )
    width = max(20, err.width - 4)
    failures = [
        Text(one_line(f"{one.window}  {one.reason}", width), STYLES["FAILED"])
        for one in state.failures
    ]
    bar = _bar(ended, total, width)
    title = f"{state.purpose}: {state.start} to {state.end}, every {state.every}"
    return Group(Text(one_line(title, width)), bar, table, *failures)


def _cell(word: str, count: int) -> Text:
    return Text(f"{count:,}", _COLOURS.get(word, "") if count else "dim")


def _bar(ended: int, total: int, width: int) -> Text:
    whole = min(width, 40)
    full = whole * ended // max(1, total)
    text = Text("━" * full, "green")
    return text.append("━" * (whole - full), "dim").append(f" {ended:,}/{total:,}")


def _time(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
