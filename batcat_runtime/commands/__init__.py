"""The commands of `batcat` for a deployed pipeline, one module each: options in, text out.

What a command does is a function of `batcat_runtime.operate`; here it gets its options, its
progress on a terminal, and the form of what it prints. What it defines is its `command`.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

import click

# In the order in which `batcat --help` lists them: before those in `batcat_runtime.cli`, and after.
FIRST: tuple[str, ...] = ("new", "data")
COMMANDS: tuple[str, ...] = (
    "doctor",
    "plan",
    "deploy",
    "run",
    "stop",
    "status",
    "logs",
    "backfill",
    "results",
    "schedule",
    "open",
    "destroy",
)


class InOrder(click.Group):
    """A group that lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands' names."""
        return [*self.commands]


class Commands(InOrder):
    """A group that lists these commands around its own, and loads one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands' names."""
        return [*FIRST, *super().list_commands(ctx), *COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name."""
        if cmd_name not in (*FIRST, *COMMANDS):
            return super().get_command(ctx, cmd_name)
        return cast(click.Command, import_module(f"{__name__}.{cmd_name}").command)
