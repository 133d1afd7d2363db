r"""Patterns of the AWS service models, compiled for Python.

AWS writes its patterns in Java's dialect and demands that the whole value matches. Python's `re`
lacks Unicode classes (``\\p{L}``), reads surrogate pairs differently and rejects ``[\\w-_]``. This
module rewrites these three, and only these; a pattern that still does not compile is reported by
`compile_pattern` as None, and a test names every one of them.
"""

from __future__ import annotations

import re
import sys
import unicodedata
import warnings
from functools import lru_cache

_SUPPLEMENTARY = "\\uD800\\uDC00-\\uDBFF\\uDFFF"
_SURROGATES_APART = "\\uD800\\uDBFF-\\uDC00\\uDFFF"
_UNICODE_CLASS = re.compile(r"\\([pP])\{(\w+)\}|\\([pP])([A-Z])")
_DASH_AFTER_CLASS = re.compile(r"(\\[wsd])-(?=[^\]])")
_DASH_BEFORE_CLASS = re.compile(r"(?<=[\w.])-(?=\\[wsd])")
_LATE_FLAG = re.compile(r"(?<!^)\(\?i\)")
_POSIX = {
    "ASCII": "\\x00-\\x7f",
    "Alnum": "0-9A-Za-z",
    "Alpha": "A-Za-z",
    "Digit": "0-9",
    "Graph": "!-~",
    "IsAlphabetic": "L",
    "IsLetter": "L",
    "IsDigit": "Nd",
    "IsWhitespace": "\\s",
    "Lower": "a-z",
    "Print": "\\x20-\\x7e",
    "Punct": "!-/:-@\\[-`{-~",
    "Space": "\\s",
    "Upper": "A-Z",
    "XDigit": "0-9A-Fa-f",
}


@lru_cache(maxsize=4096)
def compile_pattern(pattern: str) -> re.Pattern[str] | None:
    """Compile a pattern of a service model for use with ``fullmatch``.

    Returns
    -------
    re.Pattern or None
        None when Python cannot express the pattern.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        # Java's intersection of classes; Python would read it as a plain ampersand.
        if "&&[" in pattern:
            return None
        for translate in (str, _translate):
            try:
                # Java's \w, \d and \s are ASCII; the Unicode classes are spelt out below.
                return re.compile(translate(pattern), re.ASCII)
            except (re.error, OverflowError):
                continue
    return None


def _translate(pattern: str) -> str:
    text = pattern.replace("\\z", "\\Z").replace(_SUPPLEMENTARY, "\\U00010000-\\U0010FFFF")
    text = text.replace(_SURROGATES_APART, "\\U00010000-\\U0010FFFF")
    text = _DASH_AFTER_CLASS.sub(r"\1\\-", text)
    text = _DASH_BEFORE_CLASS.sub(r"\\-", text)
    if _LATE_FLAG.search(text):
        text = "(?i)" + _LATE_FLAG.sub("", text)
    return _expand_unicode_classes(text)


def _expand_unicode_classes(text: str) -> str:
    r"""Spell out ``\\p{..}``: bare ranges inside brackets, a bracket of its own outside."""
    out: list[str] = []
    position, inside = 0, False
    while position < len(text):
        match = _UNICODE_CLASS.match(text, position)
        if match:
            negated = (match[1] or match[3]) == "P"
            ranges = _ranges(match[2] or match[4], negated=negated)
            # A dash that follows is meant as one: [\p{L}-_] is letters, dash, underscore.
            out.append(ranges if inside else f"[{ranges}]")
            position = match.end()
            if inside and text.startswith("-", position) and not text.startswith("-]", position):
                out.append("\\-")
                position += 1
            continue
        char = text[position]
        if char == "\\":
            out.append(text[position : position + 2])
            position += 2
            continue
        if char == "[" and inside:
            char = "\\["
        elif char == "[":
            inside = True
        elif char == "]":
            inside = False
        out.append(char)
        position += 1
    return "".join(out)


@lru_cache(maxsize=64)
def _ranges(name: str, *, negated: bool) -> str:
    listed = _POSIX.get(name, name)
    if listed not in ("L", "Nd") and name in _POSIX:
        if negated:
            raise re.error(f"\\P{{{name}}} cannot be spelt as ranges")
        return listed
    spans: list[tuple[int, int]] = []
    for code, category in enumerate(_categories()):
        if category.startswith(listed) is not negated:
            if spans and spans[-1][1] == code - 1:
                spans[-1] = (spans[-1][0], code)
            else:
                spans.append((code, code))
    if not spans:
        raise re.error(f"no such class: {name}")
    return "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in spans)


@lru_cache(maxsize=1)
def _categories() -> tuple[str, ...]:
    return tuple(unicodedata.category(chr(code)) for code in range(sys.maxunicode + 1))
