"""`batcat status`: the last executions of each pipeline, and why the newest one failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from batcat_runtime.commands import terminal
from batcat_runtime.commands.terminal import moment_of, print_failure, print_lines, print_result
from batcat_runtime.text import format_seconds

if TYPE_CHECKING:
    from batcat_runtime.operate.status import Detail, PurposeStatus, Row


@click.command()
@click.argument(
    "execution", required=False, help="Show this one in full: its name or the start of it."
)
@click.option(
    "--last", type=click.IntRange(min=1, max=1000), default=5, help="How many of each pipeline."
)
@terminal.all_project_options
def status(execution: str | None, last: int, as_json: bool, **given: Any) -> None:
    """Show what ran last, and why it failed.

    Times are in the schedule's own zone, as the windows are. Exit code 0 also when the newest one
    failed; 1 when nothing is deployed.
    """
    from batcat_runtime.operate.status import status

    if execution:
        terminal.show(status(execution, **given), as_json, _print_detail)
    else:
        terminal.show(status(last=last, **given), as_json, _print_purposes)


def _print_purposes(listed: Sequence[PurposeStatus]) -> None:
    for number, status in enumerate(listed):
        if number:
            click.echo()
        _print_purpose(status, several=len(listed) > 1)


def _print_purpose(status: PurposeStatus, *, several: bool) -> None:
    place = f"  {status.region}, account {status.account}"
    named = f" --purpose {status.purpose}" if several else ""
    if not status.deployed:
        print_lines([Text.assemble((status.purpose, "bold"), place, "; not deployed")])
        click.echo("Deploy it with `batcat deploy`.")
        return
    schedule = "no schedule"
    if status.schedule:
        it = status.schedule
        schedule = f"schedule {it.expression} {it.timezone}: {it.state}"
    print_lines([Text.assemble((status.purpose, "bold"), f"{place}; {schedule}")])
    if not status.executions:
        click.echo(f"Nothing has run yet. Start it with `batcat run{named}`.")
        return
    terminal.print_table(
        ["Execution", "State", f"Started ({status.timezone})", "Took", "Window", "Rows", "By"],
        [
            [
                row.execution.name,
                row.execution.status,
                moment_of(row.execution.started, status.timezone),
                format_seconds(row.seconds),
                str(row.execution.window or "all data"),
                _rows(row),
                row.origin,
            ]
            for row in status.executions
        ],
        right=("Took", "Rows"),
    )
    if status.failure:
        click.echo()
        print_failure(status.failure)
    others = [
        row.execution.name for row in status.executions[1 if status.failure else 0 :] if _bad(row)
    ]
    if others:
        click.echo(f"\nWhy an earlier one failed: `batcat status {others[0]}`")
    click.echo(f"\nConsole: {status.console}")


def _bad(row: Row) -> bool:
    return not row.execution.running and row.execution.status != "SUCCEEDED"


def _rows(row: Row) -> str | None:
    if row.rows is None:
        return "no result" if row.missing else None
    return f"{row.rows:,}{', not whole' if row.missing else ''}"


def _print_detail(found: Detail) -> None:
    from batcat_runtime.operate.executions import ORIGINS

    row, execution = found.row, found.row.execution
    params = ", ".join(f"{name}={value}" for name, value in execution.params.items())
    facts = [
        ("pipeline", execution.purpose),
        ("window", str(execution.window or "all data")),
        *([("params", params)] if params else []),
        (
            "started",
            f"{moment_of(execution.started, found.timezone)} {found.timezone}, "
            f"{ORIGINS[row.origin]}",
        ),
        ("took" if not execution.running else "running for", format_seconds(row.seconds)),
    ]
    title = Text.assemble((execution.name, "bold"), f"  {execution.status}")
    print_lines([title, *(Text(f"  {name:12}{value}") for name, value in facts), Text("")])
    print_lines([terminal.states_table(found.states)])
    if found.result:
        click.echo()
        print_result(found.result, found.result_uri, None)
        for file in found.result.files:
            click.echo(f"        {file.key.rpartition('/')[2]}  {terminal.human_size(file.bytes)}")
    elif row.missing:
        click.echo()
        print_lines([Text(f"It succeeded, but {row.missing}.", "bold red")])
    if found.failure:
        click.echo()
        print_failure(found.failure)
    click.echo(f"\nConsole: {found.console}")
