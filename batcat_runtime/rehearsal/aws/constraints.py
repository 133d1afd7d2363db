"""What a service model says about a parameter, checked as AWS checks it.

A pure function from (shape, value) to violations. Each violation carries the words that AWS uses:
"Value 'a_b' at 'processingJobName' failed to satisfy constraint: Member must satisfy regular
expression pattern: ...". botocore's own client checks only types, required members and a few
minima; AWS also checks maxima, patterns, enumerations and list lengths, and so do we.
"""

from __future__ import annotations

import functools
import operator
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
        yield from _scalar(shape, value, path)
        yield from _members(shape.member, enumerate(value, 1), value, path, "Member")
    elif kind == "map" and isinstance(value, dict):
        yield from _scalar(shape, value, path)
        yield from _members(shape.key, ((k, k) for k in value), value, path, "Map keys")
        yield from _members(shape.value, value.items(), value, path, "Map value")
    elif isinstance(value, str | bytes | int | float):
        yield from _scalar(shape, value, path)


def summary(found: list[Violation]) -> str:
    """Join violations into the message of one error, as AWS does."""
    noun = "validation error" if len(found) == 1 else "validation errors"
    return f"{len(found)} {noun} detected: " + "; ".join(str(one) for one in found)


@functools.lru_cache(maxsize=4096)
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
            rules = ", ".join(text for _, _, text, _ in _rules(shape))
            yield Violation(
                path, _text(whole), f"{word} must satisfy constraint: [{rules}]", "member"
            )
            return


def _scalar(shape: Any, value: Any, path: str) -> Iterator[Violation]:
    """Yield every rule of a shape that a value breaks; of lists and maps, those on their size."""
    if isinstance(value, int | float) != (shape.type_name in _NUMBERS):
        return  # a boolean, or what the service itself refuses
    hidden = shape.metadata.get("sensitive") or shape.type_name == "blob"
    shown = None if hidden else _text(value)
    for kind, rule, constraint, keeps in _rules(shape):
        if not keeps(value):
            yield Violation(path, shown, constraint, kind, rule)


def _rules(shape: Any) -> Iterator[tuple[str, str, str, Callable[[Any], bool]]]:
    """Yield a shape's rules: kind, the bare rule, AWS's words, and whether a value keeps it."""
    meta, number = shape.metadata, shape.type_name in _NUMBERS
    kind, what = ("range", "value") if number else ("length", "length")
    for bound, word, keeps in (("max", "less", operator.le), ("min", "greater", operator.ge)):
        if bound in meta:
            text = f"Member must have {what} {word} than or equal to {meta[bound]}"
            test = functools.partial(_within, keeps, meta[bound])
            yield kind, str(meta[bound]), text, test
    pattern = meta.get("pattern")
    if pattern:
        text = f"Member must satisfy regular expression pattern: {pattern}"
        yield "pattern", pattern, text, lambda value: _fits(pattern, value)
    values = getattr(shape, "enum", None)
    if values:
        text = f"Member must satisfy enum value set: [{', '.join(values)}]"
        yield "enum", str(list(values)), text, lambda value: value in values


def _within(keeps: Callable[[Any, Any], bool], limit: float, value: Any) -> bool:
    return keeps(value if isinstance(value, int | float) else len(value), limit)


def _fits(pattern: str, value: Any) -> bool:
    compiled = compile_pattern(pattern) if len(value) <= _MAX_MATCHED else None
    return compiled is None or compiled.fullmatch(value) is not None


def _join(path: str, name: str) -> str:
    member = name[:1].lower() + name[1:]
    return f"{path}.{member}" if path else member


def _text(value: Any) -> str:
    if isinstance(value, list):
        value = "[" + ", ".join(str(item) for item in value) + "]"
    elif isinstance(value, dict):
        value = "{" + ", ".join(f"{key}={item}" for key, item in value.items()) + "}"
    return f"'{str(value)[:2000]}'"
