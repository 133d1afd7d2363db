"""The commands of `batcat`: options in, text out.

What a command does is a function of `batcat_runtime.operate`, `deploy` or `rehearsal`; here it gets
its options, its progress on a terminal, and the form of what it prints. A module is imported when
one of its commands is called, and never for the help or for another one.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import cast

import click

# The groups of `batcat --help`, and of each command what it says there; at most 26 characters, so
# that two stand side by side and all are seen on one screen of 80 x 24.
GROUPS: dict[str, dict[str, str]] = {
    "Start": {
        "new": "Make a project",
        "add": "Add a pipeline to it",
        "data": "Upload data, or a sample",
        "rehearse": "Rehearse it on your laptop",
        "local": "An AWS on your laptop",
        "completion": "Complete names in a shell",
    },
    "Deploy": {
        "plan": "What would change",
        "deploy": "Bring it to AWS",
        "lock": "Pin the image's packages",
        "image": "Build the image alone",
        "roles": "For an administrator",
        "destroy": "Remove it; data stay",
    },
    "Operate": {
        "run": "Run it once",
        "stop": "Stop a run",
        "status": "What ran; why it failed",
        "logs": "What a run wrote",
        "results": "List, get, read results",
        "backfill": "Compute a range of windows",
        "schedule": "When it runs by itself",
        "doctor": "What is wrong, how to mend",
    },
}
# Where a command is that shares a module with others.
_MODULES = {"add": "new", "lock": "image", "roles": "image"}


class Commands(click.Group):
    """A group that loads a command when it is called, and lists all in groups on one screen."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands' names."""
        return [name for group in GROUPS.values() for name in group]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = import_module(f"{__name__}.{_MODULES.get(cmd_name, cmd_name)}")
        attribute = cmd_name if cmd_name in _MODULES else "command"
        return cast(click.Command, getattr(module, attribute))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was typed; after a typo, say which one it may have been."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            near = get_close_matches(name, self.list_commands(ctx), n=1)
            meant = f" Did you mean '{near[0]}'?" if near else " See `batcat --help`."
            ctx.fail(f"No such command '{name}'.{meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, two side by side."""
        for title, group in GROUPS.items():
            with formatter.section(title):
                cells = [f"{name:<10}  {said}" for name, said in group.items()]
                half = -(-len(cells) // 2)
                for number in range(half):
                    pair = cells[number::half]
                    formatter.write(f"  {'  '.join(f'{cell:<38}' for cell in pair)}".rstrip())
                    formatter.write("\n")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options on one line, and the commands."""
        options = [param.opts[0] for param in self.get_params(ctx)]
        formatter.write(f"\nOptions: {', '.join(options)}; each command has --help\n")
        self.format_commands(ctx, formatter)
