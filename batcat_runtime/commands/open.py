"""`batcat open`: links into the AWS console, and one of them in the browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from batcat_runtime.commands.terminal import (
    any_purpose_option,
    folder_option,
    json_option,
    print_json,
    say,
)


@click.command("open")
@click.argument(
    "what",
    required=False,
    help="workflow, results, function, logs ... as the list names them; or an execution's name.  "
    "[default: list everything]",
)
@click.option("only_print", "--print", is_flag=True, help="Print the link; open no browser.")
@json_option
@folder_option
@any_purpose_option
def command(
    what: str | None,
    only_print: bool,
    as_json: bool,
    folder: Path,
    purpose: str | None,
) -> None:
    """Show where things are in the AWS console, or open one of them."""
    from batcat_runtime.operate.open import open as links_to

    show = None if what is None or only_print or as_json else _browser()
    found = links_to(what, folder=folder, purpose=purpose, browser=show)
    if as_json:
        print_json(found)
    elif what is None:
        wide = max(len(one.what) for one in found)
        owners = max(len(one.purpose) for one in found)
        for one in found:  # no table: a link that a terminal has cut in two is no link
            click.echo(f"{one.what:<{wide}}  {one.purpose:<{owners}}  {one.url}")
    else:
        if show is not None:
            say(f"opening {found[0].what} {found[0].name} in the browser")
        for one in found:
            click.echo(one.url)


def _browser() -> Callable[[str], object] | None:
    """Return what opens an address, or None where there is no browser."""
    import webbrowser

    try:
        return webbrowser.get().open
    except webbrowser.Error:
        return None
