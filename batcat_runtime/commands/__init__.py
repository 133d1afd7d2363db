"""The commands of `batcat` for a deployed pipeline, one module each: options in, text out.

What a command does is a function of `batcat_runtime.operate`; here it gets its options, its
progress on a terminal, and the form of what it prints. A module has `register`, which adds its
command to the application.
"""

from __future__ import annotations

from importlib import import_module

import typer

# In the order in which `batcat --help` lists them.
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


def register(app: typer.Typer) -> None:
    """Add every command to the application."""
    for name in COMMANDS:
        import_module(f"{__name__}.{name}").register(app)
