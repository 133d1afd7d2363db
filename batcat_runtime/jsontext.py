"""Editing JSON as text, so that what stands there keeps its order, its layout and its line ends."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
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
    inner = list(_members(text, outer[parent].value))
    newline = "\r\n" if "\r\n" in text else "\n"
    if not inner:
        place = outer[parent].value + 1
        return text[:place] + f"{json.dumps(key)}: {json.dumps(value)}" + text[place:]
    last = inner[-1]
    indent = _indent(text, last.start)
    if indent is None:  # all in one line
        new = f", {json.dumps(key, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False)}"
        return text[: last.end] + new + text[last.end :]
    unit = _unit(indent, _indent(text, outer[parent].start) or "")
    laid_out = json.dumps(value, indent=unit, ensure_ascii=False).replace(
        "\n", f"{newline}{indent}"
    )
    new = f",{newline}{indent}{json.dumps(key, ensure_ascii=False)}: {laid_out}"
    return text[: last.end] + new + text[last.end :]


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
