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


def insert_member(text: str, parent: str, key: str, value: Any) -> str:
    """Return JSON text with one more member in an object that is a member of the outermost object.

    Parameters
    ----------
    text : str
        A JSON object.
    parent : str
        The key, in the outermost object, of the object to add to.
    key : str
        The new key; it goes to the end.
    value : object
        The new value, laid out like what stands there.

    Returns
    -------
    str
        The text; nothing but the addition differs.

    Raises
    ------
    ConfigError
        There is no such object.

    Examples
    --------
    >>> insert_member('{"a": {"b": 1}}', "a", "c", 2)
    '{"a": {"b": 1, "c": 2}}'
    """
    outer = {one.key: one for one in _members(text, _skip(text, 0))}
    if parent not in outer or text[outer[parent].value] != "{":
        raise ConfigError(f"The configuration has no object {parent!r}.")
    place = outer[parent].value
    inner = list(_members(text, place))
    indent = _indent(text, inner[-1].start) if inner else None
    if indent is None:  # all in one line
        return _added(text, place, inner, key, json.dumps(value, ensure_ascii=False))
    unit = _unit(indent, _indent(text, outer[parent].start) or "")
    newline = "\r\n" if "\r\n" in text else "\n"
    laid_out = json.dumps(value, indent=unit, ensure_ascii=False).replace(
        "\n", f"{newline}{indent}"
    )
    return _added(text, place, inner, key, laid_out)


def set_member(text: str, path: Sequence[str], value: Any) -> str:
    """Return JSON text with one member changed, or added to an object that is there.

    Parameters
    ----------
    text : str
        A JSON object.
    path : sequence of str
        The keys that lead to the member, from the outermost object in.
    value : object
        Its new value: text, a number, true, false or null.

    Returns
    -------
    str
        The text; nothing but the value differs.

    Raises
    ------
    ConfigError
        There is no object to hold it.

    Examples
    --------
    >>> set_member('{"a": {"b": 1}}', ["a", "b"], True)
    '{"a": {"b": true}}'
    """
    place = _skip(text, 0)
    for key in path[:-1]:
        found = {one.key: one for one in _members(text, place)}.get(key)
        if found is None or text[found.value] != "{":
            raise ConfigError(f"The configuration has no object {key!r} ({'.'.join(path[:-1])}).")
        place = found.value
    members = list(_members(text, place))
    new = json.dumps(value, ensure_ascii=False)
    for one in members:
        if one.key == path[-1]:
            return text[: one.value] + new + text[one.end :]
    return _added(text, place, members, path[-1], new)


def _added(text: str, place: int, members: list[_Member], key: str, value: str) -> str:
    """Return the text with a member at the end of the object that begins at `place`."""
    member = f"{json.dumps(key, ensure_ascii=False)}: {value}"
    if not members:
        return text[: place + 1] + member + text[place + 1 :]
    last = members[-1]
    indent = _indent(text, last.start)
    newline = "\r\n" if "\r\n" in text else "\n"
    between = ", " if indent is None else f",{newline}{indent}"
    return text[: last.end] + between + member + text[last.end :]


def write_whole(path: Path, text: str) -> None:
    """Replace a file's text, line ends as they are in it; whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8"))
        Path(temporary).chmod(path.stat().st_mode & 0o777)
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


def _unit(inner: str, outer: str) -> str:
    """Return one level of indentation."""
    return inner.removeprefix(outer) or "  "
