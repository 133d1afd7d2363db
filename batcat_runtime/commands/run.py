"""`batcat run`: one execution, its states as they go, its result or why it failed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from rich.live import Live

from batcat_runtime.commands.terminal import (
    err,
    folder_option,
    json_option,
    param_option,
    params_of,
    print_json,
    purpose_option,
    say,
    wait_option,
)


@click.command("run")
@click.option("--date-start", help="The window's start: 2022-01-08, or 2022-01-08T05:00.")
@click.option("--date-end", help="Its end, exclusive.  [default: all data]")
@param_option
@wait_option
@click.option(
    "--timeout", type=click.FloatRange(min=1), help="Seconds to wait; it goes on after that."
)
@json_option
@folder_option
@purpose_option
def command(
    date_start: str | None,
    date_end: str | None,
    param: tuple[str, ...],
    wait: bool,
    timeout: float | None,
    as_json: bool,
    folder: Path,
    purpose: str | None,
) -> None:
    """Run a deployed pipeline once.

    Shows its states as they go, then the result's place and first rows. Exit code 1: it failed, and
    the reason is shown. Ctrl-C ends the waiting only.
    """
    from batcat_runtime.operate.run import run as start

    params = params_of(param)

    with _shown(err.is_terminal) as watch:
        done = start(
            date_start,
            date_end,
            params=params,
            wait=wait,
            timeout=timeout,
            folder=folder,
            purpose=purpose,
            progress=say,
            watch=watch,
        )
    if as_json:
        print_json(done)
    elif not wait:
        name = done.execution.name
        click.echo(name)
        say(f"It goes on. Come back with `batcat status {name}` or `batcat logs {name} -f`.")
    else:
        _print(done)
    if wait and not done.succeeded:
        raise click.exceptions.Exit(1)


def _print(done: Any) -> None:
    from batcat_runtime.commands.outcome import print_failure, print_result

    if done.failure:
        print_failure(done.failure, err=True)
    elif done.result:
        print_result(done.result, done.result_uri, done.preview)
    else:
        say(
            "It succeeded, but left no result: there is no manifest for it in the result bucket. "
            f"Read what it wrote with `batcat logs {done.execution.name}`."
        )


@contextlib.contextmanager
def _shown(terminal: bool) -> Iterator[Callable[[Any], None] | None]:
    """Yield what shows looks at an execution: a live table on a terminal, else None for lines."""
    if not terminal:
        yield None
        return
    from batcat_runtime.commands.outcome import states_table
    from batcat_runtime.operate.visits import visits_of

    seen: list[Any] = []
    # Between two looks the durations go on.
    live = Live(
        console=err,
        get_renderable=lambda: states_table(visits_of(seen[-1].states) if seen else ()),
        refresh_per_second=4,
    )

    def watch(look: Any) -> None:
        seen[:] = [look]
        if not live.is_started:
            live.start()
        if look.execution.running:
            live.refresh()
        else:
            live.stop()  # which shows the end

    try:
        yield watch
    finally:
        live.stop()
