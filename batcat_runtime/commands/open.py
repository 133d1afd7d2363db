"""`batcat open`: links into the AWS console, and one of them in the browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from batcat_runtime.commands.terminal import AnyPurpose, AsJson, Folder, print_json, say


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="open")(_open)


def _open(
    what: Annotated[
        str | None,
        typer.Argument(
            help="workflow, results, function, logs ... as the list names them; or an execution's "
            "name.  [default: list everything]",
            show_default=False,
        ),
    ] = None,
    only_print: Annotated[
        bool, typer.Option("--print", help="Print the link; open no browser.")
    ] = False,
    as_json: AsJson = False,
    folder: Folder = Path(),
    purpose: AnyPurpose = None,
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
            typer.echo(f"{one.what:<{wide}}  {one.purpose:<{owners}}  {one.url}")
    else:
        if show is not None:
            say(f"opening {found[0].what} {found[0].name} in the browser")
        for one in found:
            typer.echo(one.url)


def _browser() -> Callable[[str], object] | None:
    """Return what opens an address, or None where there is no browser."""
    import webbrowser

    try:
        return webbrowser.get().open
    except webbrowser.Error:
        return None
