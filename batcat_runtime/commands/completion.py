"""`batcat completion`: what lets a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), help="Which shell you use.")
def completion(shell: str) -> None:
    """Print what makes a shell complete names.

    For bash, put this line into ~/.bashrc:  eval "$(batcat completion bash)"
    """
    script = get_completion_class(shell)
    if script is not None:
        root = click.get_current_context().find_root()
        click.echo(script(root.command, {}, "batcat", "_BATCAT_COMPLETE").source())
