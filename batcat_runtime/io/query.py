r"""A query's text: its literals and comments, the dates put into it, the errors that point into it.

A query is cut into pieces of four kinds: code, string literals, quoted names and comments. Dates
and parameters are only ever put where a piece says that they may go, so a brace, a colon or a
question mark inside a comment, or one that belongs to the query itself, stays what it is.
The scanner is our own since sqlglot is no dependency of the installed library, and sqlparse reads a
backslash, a backtick and a dollar quote alike for every engine.

How dates go in:

- ``'{}'``: the tutorial's own form. Inside a string literal the date becomes part of that literal;
  ``{}`` without quotes around it becomes a literal, quotes included.
- The first ``{}`` is `date_start`, the second `date_end`; with only one of them given there must be
  one ``{}``. ``{date_start}`` and ``{date_end}`` may stand any number of times and in any order;
  where a query has these, ``{}`` stays as it is.
- All other braces stay. In comments and quoted names nothing is replaced.
- Dates without a place are refused: the query would silently read everything. Places without dates
  stay as they are, with a warning in the log.
- What comes out of a date consists of digits and ``-/: .TZ+``: it can neither end a string literal
  nor begin a comment. A text keeps its spelling, for columns of texts such as ``2022/01/01``.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, TypeAlias, cast

from batcat_runtime.errors import QueryError, UserError
from batcat_runtime.log import get_logger

DateLike: TypeAlias = dt.date | str
"""What is taken for a date: `datetime.date`, `datetime.datetime` (`pandas.Timestamp` is one), or a
text such as ``2022-01-01``, ``2022/01/01``, ``20220101``, with or without a time of day."""
Dialect: TypeAlias = Literal["athena", "redshift"]
Kind: TypeAlias = Literal["code", "string", "name", "comment"]

# Redshift's comments nest, and no regular expression counts: nine levels
_NESTED = r"/\*.*?(?:\*/|\Z)"
for _ in range(8):
    _NESTED = rf"/\*(?:{_NESTED}|(?!\*/).)*+(?:\*/|\Z)"
# A backslash is an ordinary character to Athena, and escapes the next one in Redshift.
_SCANNERS = {
    "athena": re.compile(
        r"(?P<comment>--[^\r\n]*|/\*.*?(?:\*/|\Z))"
        r"|(?P<string>'(?:[^']|'')*+(?:'|\Z))"
        r'|(?P<name>"(?:[^"]|"")*+(?:"|\Z)|`[^`]*+(?:`|\Z))'
        r"|(?P<code>(?:[^'\"`/-]|-(?!-)|/(?!\*))++)",
        re.DOTALL,
    ),
    "redshift": re.compile(
        rf"(?P<comment>--[^\r\n]*|{_NESTED})"
        r"|(?P<string>'(?:[^'\\]|''|\\.|\\\Z)*+(?:'|\Z)"
        r"|(?<![\w$])\$(?P<tag>(?:[A-Za-z_]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z))"
        r'|(?P<name>"(?:[^"]|"")*+(?:"|\Z))'
        r"|(?P<code>(?:[^'\"$/-]|-(?!-)|/(?!\*)|(?<=[\w$])\$|\$(?!(?:[A-Za-z_]\w*)?\$))++)",
        re.DOTALL,
    ),
}
_PLACE = re.compile(r"\{(date_start|date_end|)\}")
# ASCII digits only: \d takes those of every script
_DATE = re.compile(
    r"\d{4}([-/]?)\d\d\1\d\d"
    r"(?:[ T](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:?[0-5]\d)?)?",
    re.ASCII,
)
_SELECTS = {"select", "with", "values", "table"}
_WIDEST = 120


class Piece(NamedTuple):
    """A part of a query as it stands there: literals, names and comments with their delimiters."""

    kind: Kind
    text: str


def get_date_with_delta(
    delta: int,
    format: str = "%Y/%m/%d",  # noqa: A002 - the original BatCat's name
    *,
    tz: str = "UTC",
    now: dt.datetime | None = None,
) -> str:
    """Return the date `delta` days ago as text, for `date_start` and `date_end`.

    Parameters
    ----------
    delta : int
        How many days back from today; 0 is today, -1 tomorrow.
    format : str
        As for `datetime.date.strftime`.
    tz : str
        In which time zone it is today, such as ``Asia/Shanghai``.
    now : datetime.datetime, optional
        The present, if not the clock's; without a zone it is UTC.

    Returns
    -------
    str
        The date, such as ``2022/01/01``.

    Raises
    ------
    UserError
        `delta` is no whole number or leads out of the calendar, or there is no such time zone.

    Examples
    --------
    >>> import datetime as dt
    >>> get_date_with_delta(7, now=dt.datetime(2022, 1, 8))
    '2022/01/01'
    >>> get_date_with_delta(1, "%Y-%m-%d", tz="Asia/Shanghai", now=dt.datetime(2022, 1, 1, 18))
    '2022-01-01'
    """
    if isinstance(delta, bool) or not isinstance(delta, int):
        raise UserError(f"{delta!r} is no number of days.", fix="Give a whole one, for example 7.")
    try:
        zone = zoneinfo.ZoneInfo(tz)
        day = (_utc(now) if now else dt.datetime.now(dt.UTC)).astimezone(zone).date()
        return (day - dt.timedelta(days=delta)).strftime(format)
    except OverflowError as error:
        raise UserError(
            f"{delta} days ago is outside of the calendar.", fix="Give fewer."
        ) from error
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError, TypeError) as error:
        raise UserError(
            f"There is no time zone {tz!r}.", fix="Give one such as 'Asia/Shanghai' or 'UTC'."
        ) from error


def with_dates(
    query: str, date_start: DateLike | None, date_end: DateLike | None, dialect: Dialect
) -> str:
    """Put dates into a query; see the module's own text for the rules.

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
    dates = _window(date_start, date_end)
    marks = list(_PLACE.finditer(outline(query, dialect, masked=("name", "comment"))))
    if not dates:
        if marks:
            get_logger().warning(
                "The query has %r but no date_start and no date_end were given; it runs as it is.",
                marks[0][0],
            )
        return query
    names = [mark[1] for mark in marks if mark[1]]
    if names:
        marks = [mark for mark in marks if mark[1]]
    elif len(marks) == len(dates):
        names = list(dates)
    else:
        raise UserError(
            f"The query has {len(marks)} places '{{}}' for dates; given was {' and '.join(dates)}.",
            fix="Write '{date_start}' and '{date_end}' where they belong, each as often as needed.",
        )
    for name in sorted(dates.keys() ^ set(names)):
        missing = f"{name}={dates[name]} has no place" if name in dates else f"no {name} was given"
        raise UserError(
            f"The query's places and the dates do not match: {missing}.",
            fix=f"Write '{{{name}}}' where it belongs and give {name}, or neither.",
        )
    plan = outline(query, dialect)
    texts = [
        dates[name] if plan[mark.start()] == "#" else _quoted(dates[name], mark, plan, query)
        for mark, name in zip(marks, names, strict=True)
    ]
    return filled(query, marks, texts)


def pieces(query: str, dialect: Dialect) -> Iterator[Piece]:
    """Cut a query into pieces; joined, they are the query again.

    Examples
    --------
    >>> [piece.kind for piece in pieces("select 'a' -- b", "athena")]
    ['code', 'string', 'code', 'comment']
    """
    for found in _SCANNERS[dialect].finditer(query):
        yield Piece(cast("Kind", found.lastgroup), found[0])


def outline(
    query: str, dialect: Dialect, masked: tuple[Kind, ...] = ("string", "name", "comment")
) -> str:
    """Return a query of the same length with comments blanked and literals and names masked.

    Examples
    --------
    >>> outline("a 'b' /* c */ d", "athena")
    'a ###         d'
    """
    return "".join(
        (" " if piece.kind == "comment" else "#") * len(piece.text)
        if piece.kind in masked
        else piece.text
        for piece in pieces(query, dialect)
    )


def filled(query: str, marks: list[re.Match[str]], texts: Iterable[str]) -> str:
    """Return a query with a text in the place of each mark."""
    parts, done = [], 0
    for mark, text in zip(marks, texts, strict=True):
        parts += [query[done : mark.start()], text]
        done = mark.end()
    return "".join([*parts, query[done:]])


def statement(query: str, dialect: Dialect) -> str:
    """Return a query without its closing semicolon and what follows that.

    Raises
    ------
    UserError
        There is more than one statement, or none.
    """
    plan = outline(query, dialect)
    end = len(re.sub(r"[\s;]+\Z", "", plan))
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
    >>> is_ordered("(select a from t order by 1)", "athena")
    True
    """
    # a query that is in parentheses as a whole has its ORDER BY inside of them
    plan, found = outline(query, dialect).lstrip("( \t\r\n"), 1
    while found:
        plan, found = re.subn(r"\([^()]*\)", " ", plan)
    return re.search(r"\border\s+by\b", plan, re.IGNORECASE) is not None


def query_error(
    engine: str,
    reason: str,
    query: str = "",
    *,
    line: int | None = None,
    column: int | None = None,
    fix: str = "",
) -> QueryError:
    r"""Return the error for a query that failed, with the line that it is about.

    Parameters
    ----------
    engine : str
        Who says so, such as ``Athena``.
    reason : str
        The engine's own words.
    query : str
        The text that `line` and `column` are about.
    line, column : int, optional
        Where in it, both from 1; a tab counts as one column, as the engines count it.
    fix : str
        What to do about it.

    Examples
    --------
    >>> print(query_error("Athena", "mismatched input", "SELECT 1\nFORM t", line=2, column=1))
    Athena refused the query: mismatched input
      2 | FORM t
        | ^
    """
    message = f"{engine} refused the query: {reason.strip()}"
    lines = query.splitlines()
    if line and column and line <= len(lines):
        start, margin = max(column - 1 - _WIDEST // 2, 0), " " * len(str(line))
        shown = lines[line - 1].replace("\t", " ")[start : start + _WIDEST]
        message += f"\n  {line} | {shown}\n  {margin} | {' ' * (column - 1 - start)}^"
    return QueryError(message, fix=fix, line=line, column=column)


def line_and_column(query: str, position: int) -> tuple[int, int]:
    r"""Return line and column, both from 1, of the character at a position, which counts from 1.

    Examples
    --------
    >>> line_and_column("SELECT 1\nFORM t", 10)
    (2, 1)
    """
    before = query[: max(position - 1, 0)]
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _window(date_start: DateLike | None, date_end: DateLike | None) -> dict[str, str]:
    """Return the texts of the dates that were given, by name."""
    given = {"date_start": date_start, "date_end": date_end}
    dates = {name: _date(value, name) for name, value in given.items() if value is not None}
    texts = {name: text for name, (text, _) in dates.items()}
    if len(dates) == 2 and dates["date_start"][1] > dates["date_end"][1]:
        raise UserError(
            f"date_start={texts['date_start']} is later than date_end={texts['date_end']}.",
            fix="Exchange them; such a query would find nothing.",
        )
    return texts


def _date(value: DateLike, name: str) -> tuple[str, dt.datetime]:
    """Return a date as it is written, in UTC if it has a zone, and when it is."""
    if isinstance(value, dt.datetime) and value == value:  # pandas.NaT calls itself a datetime
        moment = _utc(value)
        return moment.replace(tzinfo=None).isoformat(" "), moment
    text = value.isoformat() if type(value) is dt.date else value
    problem = ""
    if isinstance(text, str) and _DATE.fullmatch(text):
        try:
            return text, _utc(dt.datetime.fromisoformat(text.replace("/", "-")))
        except (ValueError, OverflowError) as error:
            problem = f": {error}"
    raise UserError(
        f"{name}={value!r} is no date{problem}.",
        fix="Give a datetime.date, a datetime.datetime or a text such as '2022-01-31', "
        "'2022/01/31' or '2022-01-31 23:59:59'.",
    )


def _utc(moment: dt.datetime) -> dt.datetime:
    return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _quoted(date: str, mark: re.Match[str], plan: str, query: str) -> str:
    """Return a date as a literal, where it stands alone."""
    start, end = mark.span()
    if re.search(r"[\w#$@]", plan[max(start - 1, 0) : start] + plan[end : end + 1]):
        raise UserError(
            f"{query[max(start - 10, 0) : end + 10]!r}: a date is a value, not part of a name.",
            fix=f"Put quotes around it: '{mark[0]}'.",
        )
    return f"'{date}'"
