"""The report of a rehearsal: one HTML file that needs nothing else, and the end in the terminal.

The record becomes what the page shows (`page`: short, clean text, with anything long cut and the
cut said); the template `report.html` puts it in place, where jinja2 escapes every value; the file
appears whole or not at all. The page has no script and asks for nothing from outside, and its
content security policy allows neither: what a user or a job wrote can only ever be text.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from batcat_runtime.jsontext import write_whole

from ..record import Rehearsal
from .page import page_of


def write_report(record: Rehearsal, path: Path) -> Path:
    """Write the report of `record` to `path`, whole or not at all.

    Parameters
    ----------
    record : Rehearsal
        What the rehearsal left behind.
    path : Path
        The file to write; its directory is made when it is missing.

    Returns
    -------
    Path
        `path`, absolute.
    """
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, render_report(record))
    return path


def render_report(record: Rehearsal) -> str:
    """Return the report of `record` as HTML; the same record gives the same text."""
    from markupsafe import Markup

    style = files(__package__).joinpath("report.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page: str = _template().render(
        page=page_of(record), style=Markup(style), style_hash=Markup(f"sha256-{digest}")
    )
    return page


@cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    source = files(__package__).joinpath("report.html").read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source)
