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
            return RedshiftError(f"ERROR: {words}".replace("{relations}", place))
    return RedshiftError(f"ERROR: {text.splitlines()[0]}")


def type_words(duck: str) -> str:
    """Return how Redshift's messages name a DuckDB type."""
    name = duck.partition("(")[0].strip().upper()
    if name == "STRING_LITERAL":
        return '"unknown"'
    return from_duck(_LITERAL_TYPES.get(name, duck.upper())).words


_LITERAL_TYPES = {
    "INTEGER_LITERAL": "INTEGER",
    "INT16": "SMALLINT",
    "INT32": "INTEGER",
    "INT64": "BIGINT",
    "INT128": "HUGEINT",
    "BOOL": "BOOLEAN",
    "DECIMAL": "HUGEINT",
}
_Rewrite = Callable[["re.Match[str]"], str] | str


def _no_function(match: re.Match[str]) -> str:
    kinds = [type_words(one) for one in re.split(r",\s*(?![^(]*\))", match[2]) if one]
    if not re.fullmatch(r"\W+", match[1]):
        return f"function {match[1].lower()}({', '.join(kinds)}) does not exist"
    return f"operator does not exist: {f' {match[1]} '.join(kinds)}"


def _missing(what: str) -> Callable[[re.Match[str]], str]:
    return lambda match: f'{what} "{match[1].replace(chr(34), "")}" does not exist'


_REWRITES: tuple[tuple[str, _Rewrite], ...] = (
    (
        r"CHECK\(\(strlen\((\(?rtrim)?.*<= (\d+)",
        lambda match: (
            f"value too long for type character{'' if match[1] else ' varying'}({match[2]})"
        ),
    ),
    (
        r"Referenced (?:update )?column \"?(.+?)\"? not found",
        r'column "\1" does not exist in {relations}',
    ),
    (
        r"Table \"(.+?)\" does not have a column named \"(.+?)\"",
        r'column "\2" does not exist in \1',
    ),
    (
        r"Table \"(.+?)\" does not have a column with name \"(.+?)\"",
        r'column "\2" of relation "\1" does not exist',
    ),
    (r"Referenced table \"(.+?)\" not found", r'missing FROM-clause entry for table "\1"'),
    (r"(?:Table|View|Catalog entry) with name (.+?) does not exist", _missing("relation")),
    (r"Schema with name (.+?) does not exist", _missing("schema")),
    (r"Schema with name \"(.+?)\" already exists", r'schema "\1" already exists'),
    (r"(?:Table|View) with name \"(.+?)\" already exists", r'Relation "\1" already exists'),
    (
        r"Function with name (\S+) does not exist",
        lambda match: f"function {match[1].lower()} does not exist",
    ),
    (r"No function matches .* argument types '(.+?)\((.*?)\)'\.", _no_function),
    (r"Could not choose a best candidate .* call \"(.+?)\((.*?)\)\"", _no_function),
    (
        r"olumn \"(.+?)\" must appear in the GROUP BY clause",
        r'column "\1" must appear in the GROUP BY clause or be used in an aggregate function',
    ),
    (r"Ambiguous reference to column name \"(.+?)\"", r'column reference "\1" is ambiguous'),
    (
        r"Set operations can only apply to expressions with the same number",
        "each UNION query must have the same number of columns",
    ),
    (
        r"(?:has|expected) (\d+) columns but (\d+) values",
        lambda match: (
            "INSERT has more expressions than target columns"
            if int(match[2]) > int(match[1])
            else "INSERT has more target columns than expressions"
        ),
    ),
    (
        r"NOT NULL constraint failed: (?:.+)\.(\S+)",
        r"Cannot insert a NULL value into column \1",
    ),
    (r"[Dd]ivision by zero", "Divide by zero"),
    (
        r"Could not convert string '(.*?)' to (\w+)",
        lambda match: f'invalid input syntax for type {type_words(match[2])}: "{match[1]}"',
    ),
    (
        r"(?:date|timestamp) field value out of range: \"(.*?)\"",
        r'date/time field value out of range: "\1"',
    ),
    (
        r"invalid (date|timestamp|time) field format: \"(.*?)\"",
        r'invalid input syntax for type \1: "\2"',
    ),
    (
        r"Could not cast value (\S+) to DECIMAL\((\d+),(\d+)\)",
        r"Numeric data overflow (result precision)\n  Detail: value \1, precision \2, scale \3",
    ),
    (
        r"out of range for the destination type (\w+)",
        lambda match: f"{type_words(match[1])} out of range",
    ),
    (r"Overflow in \w+ of (\w+)", lambda match: f"{type_words(match[1])} out of range"),
    (r"[Cc]onflict", r"1023\n  Detail: Serializable isolation violation on table"),
    (
        r"Cannot drop .*?\"?(\w+)\"? because there are entries that depend on it",
        r"cannot drop \1 because other objects depend on it\n"
        r"  Hint: Use DROP ... CASCADE to drop the dependent objects too.",
    ),
    (
        r"More than one row returned by a subquery",
        "more than one row returned by a subquery used as an expression",
    ),
    (
        r"Values were not provided for the following prepared statement parameters: (.+)",
        r"there is no parameter \1",
    ),
)
