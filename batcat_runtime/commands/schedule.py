"""`batcat schedule`: when pipelines run by themselves, and the switch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import click

from batcat_runtime.commands import terminal

if TYPE_CHECKING:
    from batcat_runtime.operate.schedule import Schedule


@click.command()
@click.argument(
    "action",
    type=click.Choice(["on", "off", "show"]),
    default="show",
    help="Switch it, or show it.",
)
@terminal.all_project_options
def schedule(action: Literal["on", "off", "show"], as_json: bool, **given: Any) -> None:
    """Show when pipelines run by themselves, or switch that on or off.

    A switch sets both script/config.json and the deployed schedule, and nothing else.
    """
    from batcat_runtime.operate.schedule import schedule

    with terminal.progress():
        found = schedule(action, **given)
    for state in found if action != "show" else ():
        terminal.say(_done(state, action))
    terminal.show(found, as_json, _print)


def _print(found: list[Schedule]) -> None:
    click.echo("\n\n".join("\n".join(_lines(state)) for state in found))


def _done(state: Schedule, action: str) -> str:
    if not state.changed:
        return f"The schedule of {state.purpose} is {action} already; nothing was changed."
    if state.deployed == "none":
        return (
            f"The schedule of {state.purpose} is {action} in {state.changed[0]}. It is not "
            f"deployed yet: the next `batcat deploy` switches it {action}."
        )
    return f"The schedule of {state.purpose} is {action}. Changed: {', '.join(state.changed)}."


def _lines(state: Schedule) -> Iterator[str]:
    deployed = "not deployed" if state.deployed == "none" else state.deployed
    configured = f", configured {state.configured}" if state.configured != "none" else ""
    if state.configured == state.deployed:
        configured = ""
    yield f"{state.purpose}: {deployed + configured if state.expression else 'no schedule'}"
    if state.expression:
        days = f"{state.window_days} day{'s' if state.window_days > 1 else ''}"
        yield f"  {state.expression} in {state.timezone}, each run over {days}"
    label = "fires next" if state.deployed == "on" else "would fire next"
    for run in state.next:
        zone = run.time.isoformat()[-6:]
        yield f"  {label:<16} {run.time:%a %Y-%m-%d %H:%M} {zone}   for {run.window}"
        label = ""
    if state.uploads:
        there = "not deployed" if state.uploads_deployed == "none" else state.uploads_deployed
        yield f"  uploads under {state.uploads}: {there}"
    for note in state.notes:
        yield f"  note: {note}"
