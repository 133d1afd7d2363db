"""What pages say that files say already: commands' help, functions' docstrings, decisions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

import batcat_runtime as bc
from batcat_runtime.commands import app

_ROOMS = {"io": "Reading and writing data", "deploy": "Deploying", "operate": "Operating"}


def on_page_markdown(markdown: str, *, page: Any, **_: object) -> str:
    """Put the commands, or the functions, behind the text of the page that is about them."""
    parts = {"commands.md": commands, "reference.md": functions, "decisions/index.md": decisions}
    more = parts.get(page.file.src_uri)
    return markdown + "".join(f"\n{part}\n" for part in more()) if more else markdown


def commands(group: click.Group = app, name: str = "batcat") -> Iterator[str]:
    """Yield a section for each command: what `--help` prints."""
    context = click.Context(group, info_name=name, max_content_width=88, terminal_width=88)
    for child in group.list_commands(context):
        command = group.get_command(context, child)
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {child}")
        elif command and not command.hidden:
            place = click.Context(command, info_name=f"{name} {child}", terminal_width=88)
            yield f"## {name} {child}\n\n```text\n{command.get_help(place)}\n```"


def functions() -> Iterator[str]:
    """Yield a heading for each room, and a reference to the docstring of each public name."""
    rooms: dict[str, list[str]] = {"A job and its project": []}
    for name in sorted(set(bc.__all__) - {"__version__"}):
        room = _ROOMS.get(bc._HOME[name].partition(".")[0], "A job and its project")
        rooms.setdefault(room, []).append(name)
    for room, names in rooms.items():
        yield f"## {room}"
        yield from (f"::: batcat_runtime.{name}" for name in names)


def decisions() -> Iterator[str]:
    """Yield a table of the decisions, the newest first."""
    rows = []
    for path in sorted((Path(__file__).parent / "decisions").glob("2*.md"), reverse=True):
        title, _, status = path.read_text("utf-8").splitlines()[:3]
        date, _, status = status.partition(" · Status: ")
        rows.append(f"| {date} | [{title.removeprefix('# ')}]({path.name}) | {status} |")
    yield "\n".join(["| Date | Decision | Status |", "|---|---|---|", *rows])
