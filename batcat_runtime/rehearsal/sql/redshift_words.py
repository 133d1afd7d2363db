"""Errors in Redshift's words.

DuckDB executes what Redshift would, and fails in words of its own. A client (and whoever reads the
log of a job) must see what Redshift would say, so each kind of failure is rewritten here. What has
no counterpart keeps DuckDB's first line, since a true reason in other words beats a false one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import duckdb


class RedshiftError(Exception):
    """A statement failed; the text is what `DescribeStatement` gives as `Error`.

    Parameters
    ----------
    message : str
        What Redshift says, such as ``ERROR: relation "x" does not exist``.
    """


def syntax_error(sql: str, offset: int, word: str | None = None) -> RedshiftError:
    """Return the error for text that Redshift's grammar cannot go on with.

    Parameters
    ----------
    sql : str
        The statement as the caller sent it.
    offset : int
        Where the offending word begins, in characters from 0; its end when the text stops too
        early.
    word : str, optional
        The offending word; by default what stands at `offset`.
    """
    if word is None:
        found = re.match(r"\w+|'(?:[^']|'')*'?|\"[^\"]*\"?|\S", sql[offset:])
        word = found.group() if found else None
    if word is None:
        return RedshiftError(
            f"ERROR: syntax error at end of input\n  Position: {len(sql.rstrip()) + 1};"
        )
    return RedshiftError(f'ERROR: syntax error at or near "{word}"\n  Position: {offset + 1};')


def in_redshift_words(
    error: duckdb.Error, sql: str, relations: Sequence[str] = ()
) -> RedshiftError:
    """Rewrite a failure of DuckDB.

    Parameters
    ----------
    error : duckdb.Error
        What DuckDB raised.
    sql : str
        The statement as the caller sent it, to find positions in.
    relations : sequence of str
        The tables that the statement reads, by alias, for the message about a missing column.
    """
    text = str(error).partition(": ")[2].strip() or str(error)
    if isinstance(error, duckdb.InterruptException):
        return RedshiftError("Query cancelled on user's request")
    for pattern, rewrite in _REWRITES:
        match = re.search(pattern, text, re.DOTALL)
        if match:
            return RedshiftError(f"ERROR: {rewrite(match, relations)}")
    if isinstance(error, duckdb.ParserException):
        return _parser_error(text, sql)
    if isinstance(error, duckdb.OutOfMemoryException):
        return RedshiftError("ERROR: Out Of Memory")
    return RedshiftError(f"ERROR: {text.splitlines()[0]}")


def type_word(duck: str) -> str:
    """Return how Redshift names a DuckDB type in messages and in `svv_columns`."""
    base, _, arguments = duck.partition("(")
    name = _TYPE_WORDS.get(base.strip().upper(), base.strip().lower())
    return f"{name}({arguments}" if arguments and name == "numeric" else name


_TYPE_WORDS = {
    "TINYINT": "smallint",
    "SMALLINT": "smallint",
    "INTEGER": "integer",
    "INT32": "integer",
    "INT16": "smallint",
    "INT64": "bigint",
    "INTEGER_LITERAL": "integer",
    "STRING_LITERAL": '"unknown"',
    "BIGINT": "bigint",
    "HUGEINT": "numeric",
    "INT128": "numeric",
    "DECIMAL": "numeric",
    "FLOAT": "real",
    "DOUBLE": "double precision",
    "BOOL": "boolean",
    "BOOLEAN": "boolean",
    "VARCHAR": "character varying",
    "DATE": "date",
    "TIME": "time without time zone",
    "TIMESTAMP": "timestamp without time zone",
    "TIMESTAMP WITH TIME ZONE": "timestamp with time zone",
    "TIME WITH TIME ZONE": "time with time zone",
    "JSON": "super",
    "BLOB": "binary varying",
    "INTERVAL": "interval",
}
_Rewrite = Callable[["re.Match[str]", Sequence[str]], str]


def _missing_column(match: re.Match[str], relations: Sequence[str]) -> str:
    where = ", ".join(dict.fromkeys(relations)) or "the statement"
    return f'column "{match[1]}" does not exist in {where}'


def _missing_relation(match: re.Match[str], _: Sequence[str]) -> str:
    return f'relation "{match[1].strip(chr(34))}" does not exist'


def _no_function(match: re.Match[str], _: Sequence[str]) -> str:
    types = ", ".join(type_word(one) for one in _split(match[2]))
    if re.fullmatch(r"\W+", match[1]):
        left, _, right = types.partition(", ")
        shown = f"{left} {match[1]} {right}" if right else f"{match[1]} {left}"
        return f"operator does not exist: {shown}"
    return f"function {match[1].lower()}({types}) does not exist"


def _conversion(match: re.Match[str], _: Sequence[str]) -> str:
    value, target = match[1], type_word(match[2])
    if target in ("integer", "bigint", "smallint", "numeric", "real", "double precision"):
        return f'invalid input syntax for type {target}: "{value}"'
    return f'invalid input syntax for type {target}: "{value}"'


def _split(types: str) -> list[str]:
    """Split at commas that are not inside parentheses."""
    return [one.strip() for one in re.split(r",(?![^(]*\))", types) if one.strip()]


_REWRITES: tuple[tuple[str, _Rewrite], ...] = (
    (r"Referenced column \"(.+?)\" not found in FROM clause", _missing_column),
    (
        r"Table \"(.+?)\" does not have a column named \"(.+?)\"",
        lambda m, _: f'column "{m[2]}" does not exist in {m[1]}',
    ),
    (r"Referenced update column (\S+) not found", _missing_column),
    (
        r"Referenced table \"(.+?)\" not found",
        lambda m, _: f'missing FROM-clause entry for table "{m[1]}"',
    ),
    (
        r"Table \"(.+?)\" does not have a column with name \"(.+?)\"",
        lambda m, _: f'column "{m[2]}" of relation "{m[1]}" does not exist',
    ),
    (
        r"(?:Table|Column) with name \"?(\S+?)\"? does not have .*column.*\"(\S+)\"",
        lambda m, _: f'column "{m[2]}" of relation "{m[1]}" does not exist',
    ),
    (
        r"(?:Table|View|Catalog entry) with name (.+?) does not exist",
        _missing_relation,
    ),
    (r"Schema with name (.+?) does not exist", lambda m, _: f'schema "{m[1]}" does not exist'),
    (r"Schema with name \"(.+?)\" already exists", lambda m, _: f'schema "{m[1]}" already exists'),
    (
        r"(?:Table|View|Sequence) with name \"(.+?)\" already exists",
        lambda m, _: f'Relation "{m[1]}" already exists',
    ),
    (
        r"Column with name (\S+) already exists",
        lambda m, _: f'column "{m[1]}" of relation already exists',
    ),
    (
        r"(?:Scalar|Table|Aggregate) Function with name (\S+) does not exist",
        lambda m, _: f"function {m[1].lower()} does not exist",
    ),
    (r"No function matches the given name and argument types '(.+?)\((.*?)\)'\.", _no_function),
    (
        r"Could not choose a best candidate function for the function call \"(.+?)\((.*?)\)\"",
        _no_function,
    ),
    (
        r"[Cc]olumn \"(.+?)\" must appear in the GROUP BY clause",
        lambda m, _: (
            f'column "{m[1]}" must appear in the GROUP BY clause or be used in an aggregate '
            "function"
        ),
    ),
    (
        r"Ambiguous reference to column name \"(.+?)\"",
        lambda m, _: f'column reference "{m[1]}" is ambiguous',
    ),
    (
        r"Set operations can only apply to expressions with the same number",
        lambda m, _: "each UNION query must have the same number of columns",
    ),
    (
        r"table \"?(\S+?)\"? has (\d+) columns but (\d+) values",
        lambda m, _: (
            "INSERT has more expressions than target columns"
            if int(m[3]) > int(m[2])
            else "INSERT has more target columns than expressions"
        ),
    ),
    (
        r"NOT NULL constraint failed: (.+)\.(\S+)",
        lambda m, _: f"Cannot insert a NULL value into column {m[2]}",
    ),
    (r"[Dd]ivision by zero", lambda m, _: "Divide by zero"),
    (r"Could not convert string '(.*?)' to (\w+)", _conversion),
    (
        r"date field value out of range: \"(.*?)\"",
        lambda m, _: f'date/time field value out of range: "{m[1]}"',
    ),
    (
        r"invalid (date|timestamp|time) field format: \"(.*?)\"",
        lambda m, _: f'invalid input syntax for type {m[1]}: "{m[2]}"',
    ),
    (
        r"Could not cast value (\S+) to DECIMAL\((\d+),(\d+)\)",
        lambda m, _: (
            f"Numeric data overflow (result precision)\n  Detail: value {m[1]}, "
            f"precision {m[2]}, scale {m[3]}"
        ),
    ),
    (
        r"Type (\w+) with value (\S+) can't be cast because the value is out of range for the "
        r"destination type (\w+)",
        lambda m, _: f"{type_word(m[3])} out of range",
    ),
    (r"Overflow in (\w+) of (\w+)", lambda m, _: f"{type_word(m[2])} out of range"),
    (
        r"(value too long for type character[ \w]*\(\d+\))",
        lambda m, _: m[1],
    ),
    (
        r"(?:Conflict|conflict).*",
        lambda m, _: "1023\n  Detail: Serializable isolation violation on table",
    ),
    (
        r"aborted|TransactionContext Error: Current transaction is aborted",
        lambda m, _: (
            "current transaction is aborted, commands ignored until end of transaction block"
        ),
    ),
    (
        r"Cannot drop (?:entry|schema) \"?(.+?)\"? because there are entries that depend on it",
        lambda m, _: (
            f"cannot drop schema {m[1]} because other objects depend on it\n  Hint: Use DROP ... "
            "CASCADE to drop the dependent objects too."
        ),
    ),
    (
        r"More than one row returned by a subquery",
        lambda m, _: "more than one row returned by a subquery used as an expression",
    ),
    (
        r"Values were not provided for the following prepared statement parameters: (.+)",
        lambda m, _: f"there is no parameter {m[1]}",
    ),
)


def _parser_error(text: str, sql: str) -> RedshiftError:
    near = re.search(r'at or near "(.+?)"', text)
    if near is None:
        return syntax_error(sql, len(sql.rstrip()))
    found = re.search(rf"(?i)(?<!\w){re.escape(near[1])}(?!\w)", sql)
    return syntax_error(sql, found.start() if found else 0, near[1])
