r"""A query's text: where its literals and comments are, and dates put into it.

A query is cut into pieces of four kinds: code, string literals, quoted names and comments. Dates
and parameters are only ever put where a piece says that they may go, so a brace, a colon or a
question mark inside a comment, or one that belongs to the query itself, stays what it is.

How dates go in:

- ``'{}'``: the tutorial's own form. Inside a string literal the date becomes part of that literal;
  ``{}`` without quotes around it becomes a literal, quotes included.
- The first ``{}`` is `date_start`, the second `date_end`; with only one of them given there must be
  one ``{}``. ``{date_start}`` and ``{date_end}`` may stand any number of times and in any order;
  where a query has these, ``{}`` stays as it is.
- All other braces stay. In comments and quoted names nothing is replaced.
- Dates without a place are refused: the query would silently read everything. Places without dates
  stay as they are, with a warning in the log.

The dialects differ in where a literal ends: a backslash is an ordinary character to Athena, and
escapes the next one in Redshift.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

from batcat_runtime.errors import UserError
from batcat_runtime.io.dates import DateLike, DateText, date_window
from batcat_runtime.log import get_logger

Dialect: TypeAlias = Literal["athena", "redshift"]
Kind: TypeAlias = Literal["code", "string", "name", "comment"]

_SPECIAL = {
    "athena": re.compile(
        r"(?P<comment>--[^\r\n]*|/\*)"
        r"|(?P<string>'(?:[^']|'')*+(?:'|\Z))"
        r'|(?P<name>"(?:[^"]|"")*+(?:"|\Z)|`[^`]*+(?:`|\Z))',
        re.DOTALL,
    ),
    "redshift": re.compile(
        r"(?P<comment>--[^\r\n]*|/\*)"
        r"|(?P<string>'(?:[^'\\]|''|\\.|\\\Z)*+(?:'|\Z)"
        r"|(?<![\w$])\$(?P<tag>(?:[A-Za-z_]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z))"
        r'|(?P<name>"(?:[^"]|"")*+(?:"|\Z))',
        re.DOTALL,
    ),
}
_COMMENT_MARK = re.compile(r"/\*|\*/")
_PLACE = re.compile(r"\{(date_start|date_end|)\}")
_SELECTS = {"select", "with", "values", "table"}


class Piece(NamedTuple):
    """A part of a query, as it stands there.

    Attributes
    ----------
    kind : {"code", "string", "name", "comment"}
        Literals, names and comments include their delimiters.
    text : str
    start : int
        Where in the query it begins, from 0.
    """

    kind: Kind
    text: str
    start: int


def pieces(query: str, dialect: Dialect) -> Iterator[Piece]:
    """Cut a query into pieces; joined, they are the query again.

    Examples
    --------
    >>> [piece.kind for piece in pieces("select 'a' -- b", "athena")]
    ['code', 'string', 'code', 'comment']
    """
    done = 0
    while found := _SPECIAL[dialect].search(query, done):
        if found.start() > done:
            yield Piece("code", query[done : found.start()], done)
        kind: Kind = "comment"
        if found["string"] is not None:
            kind = "string"
        elif found["name"] is not None:
            kind = "name"
        end = found.end()
        if found["comment"] == "/*":
            end = _comment_end(query, end, nested=dialect == "redshift")
        yield Piece(kind, query[found.start() : end], found.start())
        done = end
    if done < len(query):
        yield Piece("code", query[done:], done)


def with_dates(
    query: str, date_start: DateLike | None, date_end: DateLike | None, dialect: Dialect
) -> str:
    """Put dates into a query; see the module's own text for the rules.

    Parameters
    ----------
    query : str
        The query with its placeholders.
    date_start, date_end : datetime.date or datetime.datetime or str, optional
        The window of dates.
    dialect : {"athena", "redshift"}
        Whose literals the query has.

    Returns
    -------
    str
        The query to run.

    Raises
    ------
    UserError
        The query is no text or is empty; a date is none, or has no place in the query.

    Examples
    --------
    >>> with_dates("select 1 where day >= '{}'", "2022-01-01", None, "athena")
    "select 1 where day >= '2022-01-01'"
    """
    if not isinstance(query, str) or not query.strip():
        raise UserError("The query is empty.", fix="Give SQL, for example 'SELECT 1'.")
    start, end = date_window(date_start, date_end)
    parts = list(pieces(query, dialect))
    places = [
        found[1]
        for part in parts
        if part.kind in ("code", "string")
        for found in _PLACE.finditer(part.text)
    ]
    if start is None and end is None:
        if places:
            get_logger().warning(
                "The query has %r but no date_start and no date_end were given; it runs as it is.",
                "{" + places[0] + "}",
            )
        return query
    named = any(places)
    texts = iter(_named(places, start, end) if named else _in_order(places, start, end))
    filled = []
    for part in parts:
        if part.kind in ("code", "string"):
            filled.append(_filled(part, query, texts, named))
        else:
            filled.append(part.text)
    return "".join(filled)


def outline(query: str, dialect: Dialect) -> str:
    """Return a query of the same length with comments blanked and literals and names masked.

    Examples
    --------
    >>> outline("a 'b' /* c */ d", "athena")
    'a ###         d'
    """
    mask = {"comment": " ", "string": "#", "name": "#"}
    return "".join(
        part.text if part.kind == "code" else mask[part.kind] * len(part.text)
        for part in pieces(query, dialect)
    )


def statement(query: str, dialect: Dialect) -> str:
    """Return a query without its closing semicolon and what follows that.

    Raises
    ------
    UserError
        There is more than one statement, or none.
    """
    plan = outline(query, dialect)
    end = len(plan.rstrip())
    while end and plan[end - 1] == ";":
        end = len(plan[: end - 1].rstrip())
    if not end:
        raise UserError("The query holds no statement.", fix="Give SQL, for example 'SELECT 1'.")
    if ";" in plan[:end]:
        raise UserError(
            "The query holds more than one statement.", fix="Run one statement per call."
        )
    return query[:end]


def is_select(query: str, dialect: Dialect) -> bool:
    """Whether a query begins as one that only reads: SELECT, WITH, VALUES or TABLE."""
    word = re.match(r"[\s(]*([A-Za-z]+)", outline(query, dialect))
    return word is not None and word[1].lower() in _SELECTS


def is_ordered(query: str, dialect: Dialect) -> bool:
    """Whether the query's own rows have an order, and not only those of a part of it.

    Examples
    --------
    >>> is_ordered("select rank() over (order by a) from t", "athena")
    False
    >>> is_ordered("select a from t order by 1", "athena")
    True
    """
    plan = outline(query, dialect)
    # a query that is in parentheses as a whole has its ORDER BY inside of them
    deepest = plan[: len(plan) - len(plan.lstrip("( \t\r\n"))].count("(")
    depth = 0
    for found in re.finditer(r"[()]|\border\s+by\b", plan, re.IGNORECASE):
        if found[0] == "(":
            depth += 1
        elif found[0] == ")":
            depth -= 1
        elif depth <= deepest:
            return True
    return False


def _comment_end(query: str, start: int, *, nested: bool) -> int:
    depth = 1
    for mark in _COMMENT_MARK.finditer(query, start):
        if mark[0] == "*/":
            depth -= 1
        elif nested:
            depth += 1
        if not depth:
            return mark.end()
    return len(query)


def _named(places: list[str], start: DateText | None, end: DateText | None) -> list[str]:
    given = {"date_start": start, "date_end": end}
    for name, date in given.items():
        if date is None and name in places:
            raise UserError(
                f"The query has {{{name}}}, but no {name} was given.", fix=f"Give {name}."
            )
        if date is not None and name not in places:
            raise UserError(
                f"{name}={date.text} has no place in the query.",
                fix=f"Write '{{{name}}}' where it belongs, or leave {name} out.",
            )
    texts = {name: date.text for name, date in given.items() if date}
    return [texts[place] for place in places if place]


def _in_order(places: list[str], start: DateText | None, end: DateText | None) -> list[str]:
    given = {"date_start": start, "date_end": end}
    texts = {name: date.text for name, date in given.items() if date}
    if len(places) != len(texts):
        raise UserError(
            f"The query has {len(places)} places '{{}}' for dates, and {' and '.join(texts)} "
            f"{'was' if len(texts) == 1 else 'were'} given.",
            fix="Write '{date_start}' and '{date_end}' where they belong; each may stand several "
            "times.",
        )
    return list(texts.values())


def _filled(part: Piece, query: str, texts: Iterator[str], named: bool) -> str:
    def fill(found: re.Match[str]) -> str:
        if named and not found[1]:
            return found[0]
        text = next(texts)
        if part.kind == "string":
            return text
        start, end = part.start + found.start(), part.start + found.end()
        if re.search(r"[\w'\"`$#@]", query[max(start - 1, 0) : start] + query[end : end + 1]):
            raise UserError(
                f"{query[max(start - 10, 0) : end + 10]!r}: a date is a value, not part of a name.",
                fix=f"Put quotes around it: '{found[0]}'.",
            )
        return f"'{text}'"

    return _PLACE.sub(fill, part.text)
