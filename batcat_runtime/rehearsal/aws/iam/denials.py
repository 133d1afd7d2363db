"""What the embedded AWS refused for want of a permission, in words for a reader."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from batcat_runtime.rehearsal.aws.iam.trail import Entry, read_trail

_WHY = {
    "implicit": "no policy of it allows that",
    "explicit": "a policy of it denies that",
    "boundary": "its permissions boundary does not allow that",
}
_MOST = 8


def denied_calls(home: Path, roles: Path) -> list[str]:
    """Return one line for each different thing that a role was refused.

    Parameters
    ----------
    home : pathlib.Path
        The embedded AWS's work directory.
    roles : pathlib.Path
        The project's ``roles.yaml``: a statement in it that is commented out is named.

    Returns
    -------
    list of str
        ``role battery-job may not s3:GetObject on arn:...: no policy of it allows that``.
    """
    found = [one for one in read_trail(home) if one.reason != "allowed"]
    text = roles.read_text("utf-8") if roles.is_file() else ""
    hints = dict.fromkeys(filter(None, (_hint(text, one.action) for one in found)))
    return [*_lines(found), *(f"{hint} of deploy/{roles.name}" for hint in hints)]


def _hint(roles: str, action: str) -> str:
    """Return which statement of roles.yaml allows an action, when it is commented out."""
    statement = ""
    for number, line in enumerate(roles.splitlines(), 1):
        if "# - Sid: " in line:
            statement = f"uncomment the statement {line.rpartition(' ')[2]} in line {number}"
        if line.lstrip().startswith("#") and re.search(rf"[\s\[]{re.escape(action)}\b", line):
            return statement
    return ""


def _lines(entries: Iterable[Entry]) -> list[str]:
    lines = list(dict.fromkeys(_line(one) for one in entries))
    more = len(lines) - _MOST
    return [*lines[:_MOST], f"and {more} more"] if more > 0 else lines


def _line(entry: Entry) -> str:
    kind, _, name = entry.role.partition(":")[2].rpartition(":")[2].partition("/")
    place = f" on {entry.resource}" if entry.resource not in ("", "*") else ""
    through = f" (asked by {entry.by})" if entry.by else ""
    return f"{kind} {name} may not {entry.action}{place}{through}: {_WHY[entry.reason]}"
