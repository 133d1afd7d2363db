"""`batcat schedule`: when pipelines run by themselves, and the switch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from batcat_runtime.commands.terminal import (
    any_purpose_option,
    folder_option,
    json_option,
    print_json,
    progress,
    say,
)

if TYPE_CHECKING:
    from batcat_runtime.operate.schedule_state import ScheduleState


@click.command("schedule")
@click.argument(
    "action",
    type=click.Choice(["on", "off", "show"]),
    default="show",
    help="Switch it, or show it.",
)
@json_option
@folder_option
@any_purpose_option
def command(
    action: Literal["on", "off", "show"],
    as_json: bool,
    folder: Path,
    purpose: str | None,
) -> None:
    """Show when pipelines run by themselves, or switch that on or off.

    A switch sets both script/config.json and the deployed schedule, and nothing else.
    """
    from batcat_runtime.operate.schedule import schedule

    with progress() as tell:
        if action == "show":
            tell("asking AWS for the schedules")
        found = schedule(action, folder=folder, purpose=purpose, progress=tell)
    if action != "show":
        for one in found:
            say(_done(one, action))
    if as_json:
        print_json(found)
        return
    for number, one in enumerate(found):
        if number:
            click.echo()
        for line in lines_of(one):
            click.echo(line)


def _done(state: ScheduleState, action: str) -> str:
    if not state.changed:
        return f"The schedule of {state.purpose} is {action} already; nothing was changed."
    if state.deployed == "none":
        return (
            f"The schedule of {state.purpose} is {action} in {state.changed[0]}. It is not "
            f"deployed yet: the next `batcat deploy` switches it {action}."
        )
    return f"The schedule of {state.purpose} is {action}. Changed: {', '.join(state.changed)}."


def lines_of(state: ScheduleState) -> list[str]:
    """Return what is printed of one purpose."""
    lines = [f"{state.purpose}: {_headline(state)}"]
    if state.expression:
        days = f"{state.window_days} day{'s' if state.window_days > 1 else ''}"
        lines.append(f"  {state.expression} in {state.timezone}, each run over {days}")
    fires = "fires next" if state.deployed == "on" else "would fire next"
    for number, one in enumerate(state.next):
        label = fires if number == 0 else ""
        when = f"{one.time:%a %Y-%m-%d %H:%M %z}"
        lines.append(f"  {label:<16} {when[:-2]}:{when[-2:]}   for {one.window}")
    if state.upload is not None:
        upload = state.upload
        said = "" if upload.configured == upload.deployed else f"; configured {upload.configured}"
        there = "not deployed" if upload.deployed == "none" else upload.deployed
        lines.append(f"  uploads under {upload.prefix}: {there}{said}")
    lines += [f"  note: {note}" for note in state.notes]
    return lines


def _headline(state: ScheduleState) -> str:
    if not state.expression:
        return "no schedule"
    there = "not deployed" if state.deployed == "none" else state.deployed
    if state.configured == state.deployed:
        return there
    said = (
        "no longer configured" if state.configured == "none" else f"configured {state.configured}"
    )
    return f"{there}, {said}"
