"""DuckDB's errors in Redshift's words.

DuckDB executes what Redshift would, and fails in words of its own. A client (and whoever reads the
log of a job) must see what Redshift would say, so each kind of failure is rewritten here. What has
no counterpart keeps DuckDB's first line, since a true reason in other words beats a false one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import duckdb

from .redshift_errors import CANCELLED, RedshiftError
from .redshift_types import from_duck


def in_redshift_words(error: duckdb.Error, relations: Sequence[str] = ()) -> RedshiftError:
    """Rewrite a failure of DuckDB.

    Parameters
    ----------
    error : duckdb.Error
        What DuckDB raised.
    relations : sequence of str
        What the statement reads, by alias, for the message about a missing column.
    """
    if isinstance(error, duckdb.InterruptException):
        return RedshiftError(CANCELLED)
    text = str(error).partition(": ")[2].strip() or str(error)
    for pattern, rewrite in _REWRITES:
        match = re.search(pattern, text, re.DOTALL)
        if match:
            words = rewrite(match) if callable(rewrite) else match.expand(rewrite)
            place = ", ".join(dict.fromkeys(relations)) or "the statement"
            return RedshiftError(f"ERROR: {words}".replace("{}", place))
    return RedshiftError(f"ERROR: {text.splitlines()[0]}")


def type_words(duck: str) -> str:
    """Return how Redshift's messages name a DuckDB type."""
    name = duck.partition("(")[0].strip().upper()
    if name == "STRING_LITERAL":
        return '"unknown"'
    return from_duck(_LITERAL_TYPES.get(name, duck.upper())).words


_LITERAL_TYPES = {"INTEGER_LITERAL": "INTEGER", "BOOL": "BOOLEAN", "DECIMAL": "HUGEINT"}
_LITERAL_TYPES |= {"INT16": "SMALLINT", "INT32": "INTEGER", "INT64": "BIGINT", "INT128": "HUGEINT"}


def _no_function(match: re.Match[str]) -> str:
    kinds = [type_words(one) for one in re.split(r",\s*(?![^(]*\))", match[2]) if one]
    if not re.fullmatch(r"\W+", match[1]):
        return f"function {match[1].lower()}({', '.join(kinds)}) does not exist"
    return f"operator does not exist: {f' {match[1]} '.join(kinds)}"


def _too_long(match: re.Match[str]) -> str:
    return f"value too long for type character{'' if match[1] else ' varying'}({match[2]})"


def _too_many(match: re.Match[str]) -> str:
    words = ("expressions", "target columns")
    more, fewer = words if int(match[2]) > int(match[1]) else words[::-1]
    return f"INSERT has more {more} than {fewer}"


def _no_value(match: re.Match[str]) -> str:
    return f'invalid input syntax for type {type_words(match[2])}: "{match[1]}"'


def _out_of_range(match: re.Match[str]) -> str:
    return f"{type_words(match[1])} out of range"


_GROUPED = r'column "\1" must appear in the GROUP BY clause or be used in an aggregate function'
_OVERFLOW = r"Numeric data overflow (result precision)\n  Detail: value \1, precision \2, scale \3"
_REWRITES: tuple[tuple[str, Callable[[re.Match[str]], str] | str], ...] = (
    (r"CHECK\(\(strlen\((\(?rtrim)?.*<= (\d+)", _too_long),
    (r"Referenced (?:update )?column \"?(.+?)\"? not found", r'column "\1" does not exist in {}'),
    (r"Table \"(.+?)\" does not .* named \"(.+?)\"", r'column "\2" does not exist in \1'),
    (r"Referenced table \"(.+?)\" not found", r'missing FROM-clause entry for table "\1"'),
    (r"Schema with name \"?(.+?)\"? does not exist", r'schema "\1" does not exist'),
    (r"Schema with name \"(.+?)\" already exists", r'schema "\1" already exists'),
    (r"Function with name \"?(\w+)\"? does not exist", r"function \1 does not exist"),
    (r"No function matches .* argument types '(.+?)\((.*?)\)'\.", _no_function),
    (r"Could not choose a best candidate .* call \"(.+?)\((.*?)\)\"", _no_function),
    (r"olumn \"(.+?)\" must appear in the GROUP BY clause", _GROUPED),
    (r"Ambiguous reference to column name \"(.+?)\"", r'column reference "\1" is ambiguous'),
    (r"Set operations can only", "each UNION query must have the same number of columns"),
    (r"(?:has|expected) (\d+) columns but (\d+) values", _too_many),
    (r"NOT NULL constraint failed: .+\.(\S+)", r"Cannot insert a NULL value into column \1"),
    (r"[Dd]ivision by zero", "Divide by zero"),
    (r"Could not convert string '(.*?)' to (\w+)", _no_value),
    (r"field value out of range: (\".*?\")", r"date/time field value out of range: \1"),
    (r"invalid (date|time\w*) field format: (\".*?\")", r"invalid input syntax for type \1: \2"),
    (r"Could not cast value (\S+) to DECIMAL\((\d+),(\d+)\)", _OVERFLOW),
    (r"out of range for the destination type (\w+)", _out_of_range),
    (r"Overflow in \w+ of (\w+)", _out_of_range),
    (r"[Cc]onflict", r"1023\n  Detail: Serializable isolation violation on table"),
)
