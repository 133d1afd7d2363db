"""How a query fails, in Athena's words: the reason, its category and its type.

DuckDB finds most mistakes, since it binds the translated query. `from_duckdb` turns what it says
into what Athena's engine says of the same mistake, with the place in the query as it was written.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import BatcatError, QueryError

if TYPE_CHECKING:
    import duckdb

# Athena's error catalogue: categories and the types that are used here.
USER, SYSTEM = 2, 1
TYPE_RESULT_LOCATION = 401
TYPE_USER = 1000
TYPE_DDL = 1003
TYPE_SYNTAX = 1006
TYPE_QUERY = 1100
TYPE_DATA = 1200
TYPE_SEMANTIC = 1301
TYPE_NOT_EMPTY = 1400

Locate = Callable[[str], str]
_NAME = r'"?([^"\n]*?)"?'
_FUNCTION = re.compile(
    r"No function matches the given name and argument types '([^(']+)\((.*?)\)'", re.DOTALL
)
_OPERATORS = {"+", "-", "*", "/", "%", "//", "||", "~~", "!~~"}


class QueryFailure(QueryError):  # noqa: N818 (Athena calls it so)
    """A query failed; its message is the StateChangeReason that Athena would give.

    Parameters
    ----------
    reason : str
        The reason.
    category : int
        Athena's error category: 1 system, 2 user.
    type : int
        Athena's error type.
    """

    def __init__(self, reason: str, *, category: int = USER, type: int = TYPE_USER) -> None:  # noqa: A002
        super().__init__(reason)
        self.category = category
        self.type = type


class Cancelled(Exception):  # noqa: N818
    """The query was stopped; not a failure."""


def syntax_error(where: str, text: str) -> QueryFailure:
    """Return the failure of a query that cannot be parsed.

    Parameters
    ----------
    where : str
        Line and column, such as ``line 1:8``.
    text : str
        What is wrong there.
    """
    return QueryFailure(f"SYNTAX_ERROR: {where}: {text}", type=TYPE_SYNTAX)


def not_found(what: str, where: str, text: str) -> QueryFailure:
    """Return the failure of a query that names what does not exist.

    Parameters
    ----------
    what : str
        The code, such as ``TABLE_NOT_FOUND``.
    where : str
        Line and column.
    text : str
        The sentence.
    """
    return QueryFailure(f"{what}: {where}: {text}", type=TYPE_SEMANTIC)


def from_batcat(error: BatcatError) -> QueryFailure:
    """Return the failure that an error of reading tables stands for."""
    if isinstance(error, QueryFailure):
        return error
    kind = TYPE_DATA if "HIVE_" in error.message else TYPE_USER
    return QueryFailure(error.message, type=kind)


def from_duckdb(error: duckdb.Error, locate: Locate) -> QueryFailure:
    """Turn what DuckDB says into what Athena says.

    Parameters
    ----------
    error : duckdb.Error
        As it was raised.
    locate : callable
        From a name in the query to ``line l:c``.
    """
    text = str(error)
    for pattern, make in _TRANSLATIONS:
        match = re.search(pattern, text, re.DOTALL)
        if match:
            return make(match, locate)
    first = text.partition("\n")[0]
    kind = type(error).__name__
    if kind in ("ParserException", "BinderException", "CatalogException"):
        return QueryFailure(
            f"SYNTAX_ERROR: {locate('')}: {first.partition(': ')[2]}", type=TYPE_SYNTAX
        )
    return QueryFailure(f"GENERIC_USER_ERROR: {first.partition(': ')[2]}", type=TYPE_QUERY)


def _column(match: re.Match[str], locate: Locate) -> QueryFailure:
    name = match[1].split(".")[-1].strip('"')
    return not_found(
        "COLUMN_NOT_FOUND",
        locate(name),
        f"Column '{match[1]}' cannot be resolved or requester is not authorized to access "
        "requested resources",
    )


def _member(match: re.Match[str], locate: Locate) -> QueryFailure:
    return not_found(
        "COLUMN_NOT_FOUND",
        locate(match[2]),
        f"Column '{match[1]}.{match[2]}' cannot be resolved or requester is not authorized to "
        "access requested resources",
    )


def _types(match: re.Match[str], locate: Locate) -> QueryFailure:
    name, arguments = match[1].strip('"'), match[2]
    listed = ", ".join(trino_name(one) for one in _split_types(arguments))
    name = name.removeprefix("batcat_")
    if name in _OPERATORS:
        left, _, right = listed.partition(", ")
        return QueryFailure(
            f"TYPE_MISMATCH: {locate('')}: Cannot apply operator: {left} {name} {right}",
            type=TYPE_SEMANTIC,
        )
    return QueryFailure(
        f"FUNCTION_NOT_FOUND: {locate(name)}: Unexpected parameters ({listed}) for function "
        f"{name}.",
        type=TYPE_SEMANTIC,
    )


def _compared(match: re.Match[str], locate: Locate) -> QueryFailure:
    left, right = trino_name(match[1]), trino_name(match[2])
    return QueryFailure(
        f"TYPE_MISMATCH: {locate('')}: Cannot apply operator: {left} = {right}",
        type=TYPE_SEMANTIC,
    )


def _grouped(match: re.Match[str], locate: Locate) -> QueryFailure:
    return QueryFailure(
        f"EXPRESSION_NOT_AGGREGATE: {locate(match[1])}: '{match[1]}' must be an aggregate "
        "expression or appear in GROUP BY clause",
        type=TYPE_SEMANTIC,
    )


def _ambiguous(match: re.Match[str], locate: Locate) -> QueryFailure:
    return QueryFailure(
        f"AMBIGUOUS_NAME: {locate(match[1])}: Column '{match[1]}' is ambiguous",
        type=TYPE_SEMANTIC,
    )


def _function(match: re.Match[str], locate: Locate) -> QueryFailure:
    name = match[1].removeprefix("batcat_")
    return QueryFailure(
        f"NOT_SUPPORTED: {locate(name)}: The embedded AWS does not have Athena's function "
        f"'{name}' yet",
        type=TYPE_SEMANTIC,
    )


def _cast(match: re.Match[str], locate: Locate) -> QueryFailure:
    target = {"BOOL": "BOOLEAN"}.get(match[2], trino_name(match[2]).partition("(")[0].upper())
    return QueryFailure(
        f"INVALID_CAST_ARGUMENT: Cannot cast '{match[1]}' to {target}", type=TYPE_QUERY
    )


def _moment(match: re.Match[str], _: Locate) -> QueryFailure:
    return QueryFailure(
        f"INVALID_CAST_ARGUMENT: Value cannot be cast to {match[1]}: {match[2]}", type=TYPE_QUERY
    )


def _parsed(match: re.Match[str], _: Locate) -> QueryFailure:
    return QueryFailure(f'INVALID_FUNCTION_ARGUMENT: Invalid format: "{match[1]}"', type=TYPE_QUERY)


def _out_of_range(match: re.Match[str], _: Locate) -> QueryFailure:
    return QueryFailure(
        f"INVALID_CAST_ARGUMENT: Out of range for {trino_name(match[2])}: {match[1]}",
        type=TYPE_QUERY,
    )


def _set_sizes(_: re.Match[str], locate: Locate) -> QueryFailure:
    return QueryFailure(
        f"TYPE_MISMATCH: {locate('union')}: UNION query has different number of fields",
        type=TYPE_SEMANTIC,
    )


def _bad_data(match: re.Match[str], _: Locate) -> QueryFailure:
    return QueryFailure(match[1].strip(), type=TYPE_DATA)


def _bad_json(match: re.Match[str], _: Locate) -> QueryFailure:
    return QueryFailure(
        f"HIVE_CURSOR_ERROR: Row is not a valid JSON Object: {match[1].strip()}", type=TYPE_DATA
    )


def _plain(reason: str, kind: int = TYPE_QUERY) -> Callable[[re.Match[str], Locate], QueryFailure]:
    return lambda _match, _locate: QueryFailure(reason, type=kind)


_TRANSLATIONS: list[tuple[str, Callable[[re.Match[str], Locate], QueryFailure]]] = [
    (r"((?:HIVE|TRINO)_[A-Z_]+: .*?)(?:\n|$)", _bad_data),
    (r"((?:INVALID_FUNCTION_ARGUMENT|INVALID_CAST_ARGUMENT): .*?)(?:\n|$)", _bad_data),
    (r'Referenced column "([^"]*)" (?:was )?not found', _column),
    (r'Table "([^"]*)" does not have a column named "([^"]*)"', _member),
    (r'Referenced table "([^"]*)" not found', _column),
    (r'column "([^"]*)" must appear in the GROUP BY', _grouped),
    (r'Ambiguous reference to column name "([^"]*)"', _ambiguous),
    (_FUNCTION.pattern, _types),
    (r"Cannot compare values of type (.*?) and type (.*?) -", _compared),
    (r"Function with name \"?(\w+)\"? does not exist", _function),
    (r"Could not convert string ['\"](.*?)['\"] to (\w+)", _cast),
    (r'(date|timestamp|time) field (?:format|value)[^"]*"(.*?)"', _moment),
    (r'Could not parse string "(.*?)" according to', _parsed),
    (r"with value (\S+) can't be cast .* destination type (\w+)", _out_of_range),
    (r"(?i)Malformed JSON in file .*?: (.*?)(?:\n|$)", _bad_json),
    (r"Division by zero", _plain("DIVISION_BY_ZERO: Division by zero")),
    (
        r"More than one row returned by a subquery",
        _plain("SUBQUERY_MULTIPLE_ROWS: Scalar sub-query has returned multiple rows"),
    ),
    (r"same number of result columns", _set_sizes),
    (
        r"Overflow in (\w+) of (\w+)",
        lambda match, _: QueryFailure(
            f"NUMERIC_VALUE_OUT_OF_RANGE: {trino_name(match[2])} {match[1]} overflow",
            type=TYPE_QUERY,
        ),
    ),
    (
        r"Out of Memory",
        _plain("EXCEEDED_MEMORY_LIMIT: Query exhausted resources at this scale factor", 0),
    ),
]
_NAMES: dict[str, str] = {
    "HUGEINT": "bigint",
    "INT8": "tinyint",
    "INT16": "smallint",
    "INT32": "integer",
    "INT64": "bigint",
    "INT128": "bigint",
    "UBIGINT": "bigint",
    "INTEGER_LITERAL": "integer",
    "STRING_LITERAL": "varchar",
    "FLOAT": "real",
    "BLOB": "varbinary",
    "TIMESTAMP": "timestamp(3)",
    "TIMESTAMP WITH TIME ZONE": "timestamp(3) with time zone",
    '"NULL"': "unknown",
    "INTERVAL": "interval day to second",
}


def trino_name(duckdb_type: str) -> str:
    """Return the name of a DuckDB type as Athena's messages have it."""
    name = duckdb_type.strip()
    return _NAMES.get(name, name.lower())


def _split_types(text: str) -> list[str]:
    parts: list[str] = []
    depth, current = 0, ""
    for character in text:
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += character
    return [*parts, current] if current.strip() else parts


def error_fields(failure: QueryFailure) -> dict[str, Any]:
    """Return the member `AthenaError` of a failed query's status."""
    return {
        "ErrorCategory": failure.category,
        "ErrorType": failure.type,
        "Retryable": False,
        "ErrorMessage": failure.message,
    }
