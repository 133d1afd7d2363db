"""What a service model says about a parameter, checked as AWS checks it.

A pure function from (shape, value) to violations. Each violation carries the words that AWS uses:
"Value 'a_b' at 'processingJobName' failed to satisfy constraint: Member must satisfy regular
expression pattern: ...". botocore's own client checks only types, required members and a few
minima; AWS also checks maxima, patterns, enumerations and list lengths, and so do we.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import regex

# A pattern with nested repetition is not run over more than this; nothing legal is longer.
_MAX_MATCHED = 65_536
# Java's \p{L}, \p{Zs} and \p{IsLetter} are Unicode's; its \p{Print}, \w, \d and \s are of ASCII.
_UNICODE = re.compile(r"\\[pP](\{([A-Z][a-z]?|Is\w+)\}|[A-Z])")
_SUPPLEMENTARY = "\\U00010000-\\U0010FFFF"
_NUMBERS = {"integer", "long", "float", "double", "short", "byte", "bigdecimal", "biginteger"}


@dataclass(frozen=True)
class Violation:
    """One broken constraint.

    Attributes
    ----------
    path : str
        Where, in AWS's spelling: ``processingInputs.1.member.inputName``.
    value : str or None
        The value as AWS prints it; None for sensitive values.
    constraint : str
        What was asked for, in AWS's words.
    kind : str
        ``required``, ``pattern``, ``enum``, ``length``, ``range`` or ``member``.
    rule : str
        The bare rule: the pattern, the bound or the values.
    """

    path: str
    value: str | None
    constraint: str
    kind: str
    rule: str = ""

    def __str__(self) -> str:
        value = "Value" if self.value is None else f"Value {self.value}"
        return f"{value} at '{self.path}' failed to satisfy constraint: {self.constraint}"


def violations(shape: Any, value: Any, path: str = "") -> Iterator[Violation]:
    """Yield every constraint of `shape` that `value` breaks, in the order of the model.

    Parameters
    ----------
    shape : botocore.model.Shape
        The shape of the parameter, or of the whole input.
    value : Any
        The parsed value.
    path : str
        Where the value stands; empty for the whole input.
    """
    kind = shape.type_name
    if kind == "structure":
        if not getattr(shape, "is_document_type", False) and isinstance(value, dict):
            yield from _structure(shape, value, path)
    elif kind == "list" and isinstance(value, list):
        yield from _bounds(shape, len(value), value, path)
        yield from _members(shape.member, enumerate(value, 1), value, path, "Member")
    elif kind == "map" and isinstance(value, dict):
        yield from _bounds(shape, len(value), value, path)
        yield from _members(shape.key, ((k, k) for k in value), value, path, "Map keys")
        yield from _members(shape.value, value.items(), value, path, "Map value")
    else:
        yield from _scalar(shape, value, path)


def summary(found: list[Violation]) -> str:
    """Join violations into the message of one error, as AWS does."""
    noun = "validation error" if len(found) == 1 else "validation errors"
    return f"{len(found)} {noun} detected: " + "; ".join(str(one) for one in found)


def type_error(shape: Any, value: Any, path: str = "") -> str | None:
    """Find the first JSON value of the wrong type, or None.

    Parameters
    ----------
    shape : botocore.model.Shape
        What the model expects.
    value : Any
        The decoded JSON, with the names of the wire.
    """
    kind = shape.type_name
    if value is None or getattr(shape, "is_document_type", False):
        return None
    expected = _JSON_TYPES.get(kind, object)
    wrong_bool = isinstance(value, bool) and kind != "boolean"
    if not isinstance(value, expected) or wrong_bool:
        return f"{_JSON_NAMES.get(type(value), 'A value')} can not be converted to {_a(kind)}{path}"
    if kind in ("integer", "long", "short", "byte") and value != int(value):
        return f"NUMBER_VALUE can not be converted to {_a(kind)}{path}"
    children: Iterator[tuple[Any, Any, str]] = iter(())
    if kind == "structure":
        children = (
            (member, value.get(member.serialization.get("name", name)), f"{path}.{name}")
            for name, member in shape.members.items()
            if "location" not in member.serialization
        )
    elif kind == "list":
        children = ((shape.member, item, f"{path}[{i}]") for i, item in enumerate(value))
    elif kind == "map":
        children = ((shape.value, item, f"{path}.{key}") for key, item in value.items())
    for member, item, where in children:
        if item is not None and (found := type_error(member, item, where)):
            return found
    return None


_JSON_TYPES: dict[str, Any] = {
    "structure": dict,
    "map": dict,
    "list": list,
    "string": str,
    "blob": str,
    "boolean": bool,
    "timestamp": (int, float, str),
} | dict.fromkeys(_NUMBERS, (int, float))
_JSON_NAMES = {
    str: "STRING_VALUE",
    bool: "BOOLEAN_VALUE",
    int: "NUMBER_VALUE",
    float: "NUMBER_VALUE",
    list: "Start of list",
    dict: "Start of structure or map",
}


def _a(kind: str) -> str:
    return f"an {kind.capitalize()}" if kind[0] in "aeiou" else f"a {kind.capitalize()}"


@lru_cache(maxsize=4096)
def compile_pattern(pattern: str) -> regex.Pattern[str] | None:
    """Compile a pattern of a service model, which are in Java's dialect, for ``fullmatch``.

    Returns
    -------
    regex.Pattern or None
        None for the few that are no regular expression, such as a repetition of a repetition.
    """
    text = pattern.replace("\\z", "\\Z")
    for surrogates in ("\\uD800\\uDC00-\\uDBFF\\uDFFF", "\\uD800\\uDBFF-\\uDC00\\uDFFF"):
        text = text.replace(surrogates, _SUPPLEMENTARY)
    letters = regex.UNICODE if _UNICODE.search(text) else regex.ASCII
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for version in (regex.V0, regex.V1):  # V1 has intersections of classes: [a&&[b]]
            try:
                return regex.compile(text, letters | version)
            except regex.error:
                continue
    return None


def _structure(shape: Any, value: dict[str, Any], path: str) -> Iterator[Violation]:
    for name in shape.required_members:
        if value.get(name) is None:
            yield Violation(
                _join(path, name), "null", "Member must not be null", "required", "not null"
            )
    for name, member in shape.members.items():
        item = value.get(name)
        if item is not None:
            yield from violations(member, item, _join(path, name))


def _members(shape: Any, items: Any, whole: Any, path: str, word: str) -> Iterator[Violation]:
    """Check the members of a list or map; scalars are reported at the collection, as AWS does."""
    if shape.type_name in ("structure", "list", "map"):
        for key, item in items:
            if item is not None:
                yield from violations(shape, item, f"{path}.{key}.member")
        return
    for _, item in items:
        if item is not None and any(_scalar(shape, item, path)):
            rules = ", ".join(_rules(shape))
            yield Violation(
                path, _text(whole), f"{word} must satisfy constraint: [{rules}]", "member"
            )
            return


def _scalar(shape: Any, value: Any, path: str) -> Iterator[Violation]:
    meta = shape.metadata
    shown = None if meta.get("sensitive") else _text(value)
    if shape.type_name == "string" and isinstance(value, str):
        if shape.enum and value not in shape.enum:
            yield Violation(path, shown, _enum(shape), "enum", str(list(shape.enum)))
        yield from _bounds(shape, len(value), value, path)
        pattern = meta.get("pattern")
        if pattern and len(value) <= _MAX_MATCHED:
            compiled = compile_pattern(pattern)
            if compiled is not None and not compiled.fullmatch(value):
                yield Violation(path, shown, _pattern(pattern), "pattern", pattern)
    elif shape.type_name == "blob" and isinstance(value, bytes | str):
        yield from _bounds(shape, len(value), "java.nio.HeapByteBuffer", path)
    elif shape.type_name in _NUMBERS and isinstance(value, int | float):
        for bound, word, broken in (
            ("min", "greater", value < meta.get("min", value)),
            ("max", "less", value > meta.get("max", value)),
        ):
            if broken:
                text = f"Member must have value {word} than or equal to {meta[bound]}"
                yield Violation(path, shown, text, "range", str(meta[bound]))


def _bounds(shape: Any, size: int, value: Any, path: str) -> Iterator[Violation]:
    meta = shape.metadata
    shown = None if meta.get("sensitive") else _text(value)
    for bound, word, broken in (
        ("min", "greater", size < meta.get("min", size)),
        ("max", "less", size > meta.get("max", size)),
    ):
        if broken:
            text = f"Member must have length {word} than or equal to {meta[bound]}"
            yield Violation(path, shown, text, "length", str(meta[bound]))


def _rules(shape: Any) -> Iterator[str]:
    meta = shape.metadata
    if "max" in meta:
        yield f"Member must have length less than or equal to {meta['max']}"
    if "min" in meta:
        yield f"Member must have length greater than or equal to {meta['min']}"
    if meta.get("pattern"):
        yield _pattern(meta["pattern"])
    if getattr(shape, "enum", None):
        yield _enum(shape)


def _pattern(pattern: str) -> str:
    return f"Member must satisfy regular expression pattern: {pattern}"


def _enum(shape: Any) -> str:
    return f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"


def _join(path: str, name: str) -> str:
    member = name[:1].lower() + name[1:]
    return f"{path}.{member}" if path else member


def _text(value: Any) -> str:
    if isinstance(value, list):
        value = "[" + ", ".join(str(item) for item in value) + "]"
    elif isinstance(value, dict):
        value = "{" + ", ".join(f"{key}={item}" for key, item in value.items()) + "}"
    return f"'{str(value)[:2000]}'"
