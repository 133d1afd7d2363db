"""Redshift's `to_char`: format strings of PostgreSQL, as expressions that DuckDB evaluates."""

from __future__ import annotations

import re

from sqlglot import exp

# Longest first: a format is read from left to right, taking the longest code that fits.
_CODES = {
    "YYYY": "%Y",
    "HH24": "%H",
    "HH12": "%I",
    "MONTH": "upper:%B",
    "Month": "%B",
    "month": "lower:%B",
    "DDD": "%j",
    "DAY": "upper:%A",
    "Day": "%A",
    "day": "lower:%A",
    "MON": "upper:%b",
    "Mon": "%b",
    "mon": "lower:%b",
    "YY": "%y",
    "MM": "%m",
    "DD": "%d",
    "DY": "upper:%a",
    "Dy": "%a",
    "dy": "lower:%a",
    "HH": "%I",
    "MI": "%M",
    "SS": "%S",
    "MS": "%g",
    "US": "%f",
    "AM": "%p",
    "PM": "%p",
    "am": "lower:%p",
    "pm": "lower:%p",
    "IW": "%V",
    "IYYY": "%G",
    "WW": "week",
    "TZ": "%Z",
    "Q": "quarter",
    "D": "weekday",
    "J": "julian",
    "CC": "century",
}
_ORDERED = sorted(_CODES, key=len, reverse=True)
_NUMBER = re.compile(r"(?i)(FM)?(S|L|\$)?[09,.DG]+(S|MI|PR)?")


def date_text(value: exp.Expression, pattern: str) -> exp.Expression:
    """Return the expression for ``to_char(value, pattern)``.

    Parameters
    ----------
    value : sqlglot.exp.Expression
        A date, a timestamp or a number.
    pattern : str
        PostgreSQL's format, such as ``YYYY-MM-DD HH24:MI`` or ``FM999.00``.
    """
    if _NUMBER.fullmatch(pattern.strip()) and re.search(r"[09]", pattern):
        return _number_text(value, pattern.strip())
    parts = [_part(value, one) for one in pieces(pattern)]
    return exp.Anonymous(this="concat", expressions=parts or [exp.Literal.string("")])


def parsing_format(pattern: str) -> str:
    """Return the format of `strptime` for what `to_date` and `to_timestamp` read."""
    made = ""
    for kind, text in pieces(pattern):
        meaning = _CODES[text].rpartition(":")[2] if kind != "text" else text.replace("%", "%%")
        made += meaning
    return made


def pieces(pattern: str) -> list[tuple[str, str]]:
    """Split a format into (kind, text): ``code``, ``bare`` (a code without padding) or ``text``."""
    found: list[tuple[str, str]] = []
    at, bare = 0, False
    while at < len(pattern):
        if pattern[at] == '"':
            end = pattern.find('"', at + 1)
            end = len(pattern) if end < 0 else end
            found.append(("text", pattern[at + 1 : end]))
            at = end + 1
            continue
        if pattern[at : at + 2].upper() == "FM":
            bare, at = True, at + 2
            continue
        code = _code_at(pattern, at)
        if code is None:
            found.append(("text", pattern[at]))
            at += 1
            continue
        found.append(("bare" if bare else "code", code))
        bare = False
        at += len(code)
    return found


def _code_at(pattern: str, at: int) -> str | None:
    for code in _ORDERED:
        text = pattern[at : at + len(code)]
        if text == code:
            return code
    for code in _ORDERED:
        if pattern[at : at + len(code)].upper() == code.upper():
            return code.upper() if code.upper() in _CODES else code
    return None


def _part(value: exp.Expression, piece: tuple[str, str]) -> exp.Expression:
    kind, text = piece
    if kind == "text":
        return exp.Literal.string(text)
    meaning = _CODES[text]
    moment = exp.Cast(this=value.copy(), to=exp.DataType.build("TIMESTAMP", dialect="duckdb"))
    if meaning == "week":
        days = _call("dayofyear", moment)
        return exp.Literal.string("") if days is None else _call("rs_week", days)
    if meaning in ("quarter", "century"):
        return _call(meaning, moment)
    if meaning == "weekday":
        return _call("rs_weekday", moment)
    if meaning == "julian":
        return _call("rs_julian", moment)
    change, _, code = meaning.rpartition(":")
    made: exp.Expression = _call("strftime", moment, exp.Literal.string(code))
    if text.upper() in ("MONTH", "DAY") and kind == "code":
        made = _call("rpad", made, exp.Literal.number(9), exp.Literal.string(" "))
    if kind == "bare" and code not in ("%A", "%B", "%p"):
        made = _call("rs_unpadded", made)
    return _call(change, made) if change else made


def _number_text(value: exp.Expression, pattern: str) -> exp.Expression:
    """Format a number: digits, group separators, FM, and padding with blanks as Redshift pads."""
    bare = pattern.upper().startswith("FM")
    body = re.sub(r"(?i)^FM|S|L|\$|MI|PR", "", pattern).upper().replace("D", ".").replace("G", ",")
    whole, _, fraction = body.partition(".")
    digits = len(fraction)
    template = "{:," if "," in whole else "{:"
    zeros = len(whole.replace(",", "")) - whole.replace(",", "").find("0") if "0" in whole else 0
    made: exp.Expression = _call(
        "format",
        exp.Literal.string(f"{template}.{digits}f}}"),
        exp.Cast(this=value.copy(), to=exp.DataType.build("DOUBLE", dialect="duckdb")),
    )
    shown = zeros + (digits + 1 if digits else 0)
    if zeros:
        made = _call("rs_zeros", made, exp.Literal.number(shown))
    elif digits:
        made = _call("rs_leading_point", made)
    if bare:
        return made
    width = len(body) + 1
    return _call("lpad", made, exp.Literal.number(width), exp.Literal.string(" "))


def _call(name: str, *arguments: exp.Expression) -> exp.Anonymous:
    return exp.Anonymous(this=name, expressions=list(arguments))
