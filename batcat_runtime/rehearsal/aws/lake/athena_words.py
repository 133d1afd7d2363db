"""What DuckDB says of a query that fails, in Athena's words."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from .athena_checks import unknown_column
from .athena_text import Source
from .failures import QueryFailure, semantic
from .types import from_duckdb as read_type
from .types import trino_name

if TYPE_CHECKING:
    import duckdb


def from_duckdb(error: duckdb.Error, source: Source) -> QueryFailure:
    """Return the failure that Athena would give where DuckDB gave an error.

    Parameters
    ----------
    error : duckdb.Error
        What DuckDB said.
    source : Source
        The query as it was sent, to say where in it.
    """
    text = str(error)
    for pattern, said in _SAID:
        if match := re.search(pattern, text, re.DOTALL):
            return said(match, source)
    return QueryFailure(f"GENERIC_USER_ERROR: {text.partition(chr(10))[0]}")


def _said(reason: str) -> Callable[[re.Match[str], Source], QueryFailure]:
    """Return what fills the groups of a match into a reason."""
    return lambda match, _: QueryFailure(reason.format(*match.groups()))


def _grouped(match: re.Match[str], source: Source) -> QueryFailure:
    name = match[1]
    said = f"'{name}' must be an aggregate expression or appear in GROUP BY clause"
    return semantic("EXPRESSION_NOT_AGGREGATE", source.locate(name), said)


def _function(match: re.Match[str], source: Source) -> QueryFailure:
    said = f"The embedded AWS does not have Athena's function '{match[1]}' yet"
    return semantic("NOT_SUPPORTED", source.locate(match[1]), said)


def _arguments(match: re.Match[str], source: Source) -> QueryFailure:
    name = match[1].strip('"')
    said = f"Unexpected parameters ({match[2].lower()}) for function {name}"
    return semantic("FUNCTION_NOT_FOUND", source.locate(name), said)


def _member(match: re.Match[str], source: Source) -> QueryFailure:
    return unknown_column(f"{match[1]}.{match[2]}", source.locate(match[1]))


def _compared(match: re.Match[str], source: Source) -> QueryFailure:
    left, right = (_type(one) for one in match.groups())
    return semantic("TYPE_MISMATCH", "line 1:1", f"Cannot apply operator: {left} = {right}")


def _cast(match: re.Match[str], _: Source) -> QueryFailure:
    said = f"Cannot cast '{match[1]}' to {_type(match[2]).upper()}"
    return QueryFailure(f"INVALID_CAST_ARGUMENT: {said}")


def _out_of_range(match: re.Match[str], _: Source) -> QueryFailure:
    said = f"Out of range for {_type(match[2])}: {match[1]}"
    return QueryFailure(f"INVALID_CAST_ARGUMENT: {said}")


def _type(text: str) -> str:
    sized = {"INT8": "tinyint", "INT16": "smallint", "INT32": "integer", "INT64": "bigint"}
    if text in sized:
        return sized[text]
    try:
        return trino_name(read_type(text))
    except (KeyError, ValueError):
        return text.lower()


_SAID: list[tuple[str, Callable[[re.Match[str], Source], QueryFailure]]] = [
    (r"((?:HIVE_|INVALID_|NOT_SUPPORTED)[A-Z_]*: .*?)(?:\n|$)", _said("{}")),
    (r"(?i)Malformed JSON.*?: (.*?)(?:\n|$)",
     _said("HIVE_CURSOR_ERROR: Row is not a valid JSON Object: {}")),
    (r'Referenced column "([^"]*)" (?:was )?not found',
     lambda match, source: unknown_column(match[1], source.locate(match[1]))),
    (r'column "?([^"\s]*)"? must appear in the GROUP BY', _grouped),
    (r"same number of result columns",
     lambda _, source: semantic("TYPE_MISMATCH", source.locate("union"),
                                "UNION query has different number of fields")),
    (r'(?i:Values list|table) "([^"]*)" does not have a column named "([^"]*)"', _member),
    (r'Referenced table "([^"]*)" not found',
     lambda match, source: unknown_column(match[1], source.locate(match[1]))),
    (r"Cannot compare values of type (.*?) and (?:type )?(\S+)", _compared),
    (r'Function with name "?(\w+)"? does not exist', _function),
    (r"(?:given name and argument types|function call) ['\"]([^('\"]+|\"[^\"]+\")\((.*?)\)['\"]",
     _arguments),
    (r"[Dd]ivision by zero|value -?inf ", _said("DIVISION_BY_ZERO: Division by zero")),
    (r"Could not convert string ['\"](.*?)['\"] to (\w+)", _cast),
    (r'(date|timestamp|time) field (?:format|value)[^"]*"(.*?)"',
     _said("INVALID_CAST_ARGUMENT: Value cannot be cast to {}: {}")),
    (r'Could not parse string "(.*?)" according to',
     _said('INVALID_FUNCTION_ARGUMENT: Invalid format: "{}"')),
    (r"with value (\S+) can't be cast .* destination type (\w+)", _out_of_range),
    (r"Overflow in (\w+) of (\w+)", _said("NUMERIC_VALUE_OUT_OF_RANGE: {1} {0} overflow")),
    (r"More than one row returned by a subquery",
     _said("SUBQUERY_MULTIPLE_ROWS: Scalar sub-query has returned multiple rows")),
    (r"Out of Memory",
     _said("EXCEEDED_MEMORY_LIMIT: Query exhausted resources at this scale factor")),
]  # fmt: skip
