"""The mails that the embedded AWS would have sent: ``mails.jsonl`` in its work directory."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "mails.jsonl"


@dataclass(frozen=True)
class Mail:
    """A mail that SNS would have sent.

    Attributes
    ----------
    to, subject, text : str
        As its reader sees them.
    """

    to: str
    subject: str
    text: str


def note_mail(home: Path, mail: Mail) -> None:
    """Write a mail down; one short line, which no other writer can tear."""
    with (home / FILE).open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(asdict(mail), ensure_ascii=False) + "\n")


def read_mails(home: Path) -> list[Mail]:
    """Return the mails that would have been sent so far.

    Parameters
    ----------
    home : pathlib.Path
        The embedded AWS's work directory.
    """
    path = home / FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [Mail(**json.loads(line)) for line in lines]
