"""A documented terminal session: its commands, and what the page says that they print.

A page's ```` ```console ```` blocks hold lines that begin with ``$ ``, each followed by its output.
What differs from run to run (times, digests, ports, names with a random end) is compared by its
form only, and so is the width of what stands between. Lines of progress are not compared.

``python -m tests.docs.test_operate`` runs the page's commands and puts their real output into it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# What differs, and what stands for it.
_VARYING = (
    (r"\b[A-Z][a-z]{2} [\d-]+ \d\d:\d\d [+-]\d\d:\d\d +for [\d-]+ to [\d-]+", "<firing>"),
    (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?( ?(Z|UTC|[+-]\d\d:?\d\d))?", "<time>"),
    (r"(?<![\d.:])\d\d:\d\d:\d\d(\.\d+)?\b", "<time>"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<uuid>"),
    (r"\brun-[\w-]+\b", "<run>"),
    (r"\bsha256:[0-9a-f]+", "<digest>"),
    (r"\b(?=\w*\d)[0-9a-f]{6,64}\b", "<hex>"),
    (r"\b\d+ h \d\d min\b|\b\d+ min \d\d s\b|\b\d+(\.\d+)? s\b", "<duration>"),
    (r"\b\d+(\.\d+)? (B|kB|MB)\b", "<size>"),
    (r"\bPython \d+\.\d+\.\d+", "Python <version>"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:<port>"),
)
# How far something was whenever it was looked at.
_PROGRESS = re.compile(r"\d+ (waiting|running|done|skipped)(, \d+ \w+)*")


@dataclass(frozen=True)
class Command:
    """A command of a page.

    Attributes
    ----------
    line : str
        As a person types it, without the prompt.
    output : str
        What the page says that it prints.
    """

    line: str
    output: str


def commands_of(page: str) -> list[Command]:
    """Return the commands of a page's sessions, in order."""
    found: list[Command] = []
    for block in _BLOCK.findall(page):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, output = part.partition("\n")
            found.append(Command(line, output.strip("\n")))
    return found


def form_of(output: str) -> str:
    """Return an output with what varies from run to run replaced, and runs of spaces as one."""
    for pattern, word in _VARYING:
        output = re.sub(pattern, word, output)
    lines = (re.sub(r"[ \t]+", " ", line).strip() for line in output.strip().splitlines())
    return "\n".join(line for line in lines if not _PROGRESS.fullmatch(line))


def rewrite(path: Path, run: Callable[[str], str]) -> None:
    """Run the page's commands in order and put what they print into the page."""

    def block(match: re.Match[str]) -> str:
        parts = re.split(r"^\$ ", match[1], flags=re.MULTILINE)[1:]
        text = "```console\n"
        for part in parts:
            line = part.partition("\n")[0]
            output = run(line).strip("\n")
            text += f"$ {line}\n" + (f"{output}\n" if output else "")
        return text + "```"

    path.write_text(_BLOCK.sub(block, path.read_text("utf-8")), "utf-8")
