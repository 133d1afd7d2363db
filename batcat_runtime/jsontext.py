"""Editing JSON as text, so that what stands there keeps its order, its layout and its line ends."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batcat_runtime.errors import ConfigError

_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True)
class _Member:
    """Where a member of an object stands in the text."""

    key: str
    start: int  # of the key's quote
    value: int
    end: int


def set_member(text: str, path: Sequence[str], value: Any) -> str:
    """Return JSON text with one member changed, or added at the end of an object that is there.

    Parameters
    ----------
    text : str
        A JSON object.
    path : sequence of str
        The keys that lead to the member, from the outermost object in.
    value : object
        Its new value, laid out like what stands there.

    Returns
    -------
    str
        The text; nothing but the member differs.

    Raises
    ------
    ConfigError
        There is no object to hold it.

    Examples
    --------
    >>> set_member('{"a": {"b": 1}}', ["a", "c"], {"d": True})
    '{"a": {"b": 1, "c": {"d": true}}}'
    """
    place, outer = _skip(text, 0), ""
    for key in path[:-1]:
        found = {member.key: member for member in _members(text, place)}.get(key)
        if found is None or text[found.value] != "{":
            raise ConfigError(f"The configuration has no object {key!r} ({'.'.join(path[:-1])}).")
        place, outer = found.value, _indent(text, found.start) or ""
    members = {member.key: member for member in _members(text, place)}
    first = next(iter(members.values()), None)
    indent = _indent(text, first.start) if first else None
    newline = "\r\n" if "\r\n" in text else "\n"
    if indent is None:  # all in one line
        new, between = json.dumps(value, ensure_ascii=False), ", "
    else:
        unit = indent.removeprefix(outer) or "  "
        new = json.dumps(value, indent=unit, ensure_ascii=False)
        new, between = new.replace("\n", f"{newline}{indent}"), f",{newline}{indent}"
    if path[-1] in members:
        there = members[path[-1]]
        return text[: there.value] + new + text[there.end :]
    end = [*members.values()][-1].end if members else place + 1
    added = f"{json.dumps(path[-1], ensure_ascii=False)}: {new}"
    return text[:end] + (between if members else "") + added + text[end:]


def write_whole(path: Path, text: str) -> None:
    """Replace a file's text, line ends as they are in it; whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8"))
        Path(temporary).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _members(text: str, start: int) -> Iterator[_Member]:
    """Yield the members of the object that begins at `start`."""
    decoder = json.JSONDecoder()
    place = _skip(text, start + 1)
    while text[place] != "}":
        key, end = decoder.raw_decode(text, place)
        value = _skip(text, _skip(text, end) + 1)  # beyond the colon
        _, stop = decoder.raw_decode(text, value)
        yield _Member(str(key), place, value, stop)
        place = _skip(text, stop)
        if text[place] == ",":
            place = _skip(text, place + 1)


def _skip(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place


def _indent(text: str, place: int) -> str | None:
    """Return what stands before `place` on its line, or None when that is more than space."""
    before = text[text.rfind("\n", 0, place) + 1 : place]
    return before if "\n" in text[:place] and not before.strip() else None
