"""`batcat backfill`: compute the windows of a range, see how that stands, stop it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from batcat_runtime.commands import terminal

if TYPE_CHECKING:
    from batcat_runtime.operate.backfill import Backfill

_WORDS = ("done", "running", "waiting", "failed", "skipped")


@click.command()
@click.argument("start", help="The first window's start, 2022-01-01; or show, or stop.")
@click.argument("end", required=False, help="The last window's end, exclusive.")
@terminal.every_option
@click.option(
    "--concurrency",
    "-n",
    type=int,
    default=4,
    help="Windows at once. Jobs over your account's quota for the instance type fail after 300 s.",
)
@terminal.param_option
@click.option("--force", is_flag=True, help="Compute windows that have a result, too.")
@click.option("--since", metavar="TIME", help="Those whose result is older, too; in UTC.")
@click.option(
    "--wait/--no-wait", default=None, help="Follow it to its end.  [default: but for show]"
)
@terminal.project_options
def backfill(force: bool, as_json: bool, **given: Any) -> None:
    """Compute the windows of a range that have no result.

    Several at once, in AWS. The same command again comes back to it, or goes on with what is left:
    what was stopped, and what failed. `batcat backfill show` tells how the last one stands, `batcat
    backfill stop` stops it. Exit code 1: a window failed, or it was stopped. Ctrl-C ends the
    waiting only.
    """
    from batcat_runtime.operate.backfill import backfill

    if force:
        given["since"] = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
        terminal.say(
            f"To go on with this one later, give `--since {given['since']}` in the place of "
            "--force."
        )
    with terminal.progress():
        state = backfill(**given)
    terminal.show(state, as_json, _print)
    for line in _what_next(state):
        terminal.say(line)
    if state.status in ("FAILED", "ABORTED") and given["start"] != "stop":
        raise click.exceptions.Exit(1)


def _print(state: Backfill) -> None:
    rows = [(word, getattr(state, word)) for word in _WORDS if getattr(state, word)]
    terminal.print_table(("Windows", "Count"), rows, right=("Count",), empty="There is no window.")
    if state.failures:
        click.echo("")
        failures = [(str(it.window), it.status, it.execution, it.reason) for it in state.failures]
        terminal.print_table(("Window", "Status", "Execution", "Reason"), failures)


def _what_next(state: Backfill) -> Iterator[str]:
    given = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in state.params.items()
    }
    params = [f"--param {shlex.quote(f'{name}={value}')}" for name, value in given.items()]
    since = [f"--since {state.since}"] if state.since else []
    again = " ".join([state.start, state.end, f"--every {state.every}", *params, *since])
    if not state.name and state.running:
        yield "Nothing to start: what has no result yet is running already."
    elif not state.name:
        yield "Nothing to do: every window has its result. Compute them anew with --force."
    elif state.status == "RUNNING":
        yield f"The backfill {state.name} goes on in AWS."
        yield "See how it stands with `batcat backfill show`; --wait waits for it."
    elif state.status == "SUCCEEDED":
        left = f"{state.running:,} run for others" if state.running else "nothing is left"
        yield f"The backfill {state.name} has ended; {left}."
    else:
        was = "was stopped" if state.status == "ABORTED" else "has ended"
        yield f"The backfill {state.name} {was}."
        yield f"The same command again goes on with what is left: `batcat backfill {again}`"
