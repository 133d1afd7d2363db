"""The record of every permission that a role or user needed, and for what: ``calls.jsonl``.

One line for each different need of each principal, however often it arose: a job that is asked for
its status a hundred times is one line. Tests read it to hold policies against it; `batcat rehearse`
reads from it what was denied.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FILE = "calls.jsonl"


@dataclass(frozen=True)
class Entry:
    """One need of one principal.

    Attributes
    ----------
    principal : str
        ARN of the session or user.
    role : str
        ARN of the role or user whose policies count.
    by : str
        The service that called for the principal, such as ``cloudformation.amazonaws.com``, or
        ``""`` for a call of its own.
    call : str
        The API call, such as ``s3:HeadObject``.
    action, resource : str
        What IAM is asked for: ``s3:GetObject`` on an ARN.
    context : mapping
        Condition keys.
    reason : str
        ``allowed``, or why not: ``implicit``, ``explicit`` or ``boundary``.
    """

    principal: str
    role: str
    by: str
    call: str
    action: str
    resource: str
    context: Mapping[str, Any] = field(default_factory=dict)
    reason: str = "allowed"


class Trail:
    """Writes entries to a file in the embedded AWS's work directory.

    Parameters
    ----------
    home : pathlib.Path
        The work directory.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / FILE
        self._known: set[str] = set()
        self._lock = threading.Lock()
        self._path.touch()

    def note(self, entry: Entry) -> None:
        """Write an entry unless it is there already."""
        line = json.dumps(asdict(entry), sort_keys=True, ensure_ascii=False, default=str)
        with self._lock:
            if line in self._known:
                return
            self._known.add(line)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def read_trail(home: Path) -> list[Entry]:
    """Return what has been written so far.

    Parameters
    ----------
    home : pathlib.Path
        The embedded AWS's work directory.
    """
    path = home / FILE
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Entry(**json.loads(line)) for line in lines if line.endswith("}")]
