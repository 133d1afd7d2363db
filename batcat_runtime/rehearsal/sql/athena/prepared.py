"""EXECUTE of a prepared statement: moto keeps the statements, here their text is put in place."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from .cursor import Cursor
from .failures import QueryFailure
from .parsing import Source, plain


def prepared(
    athena: Any, workgroup: str, text: str, parameters: list[str]
) -> tuple[str, list[str]]:
    """Return the text of a prepared statement and its parameters.

    Parameters
    ----------
    athena : boto3 client
        To ask for the statement.
    workgroup : str
        Where it is kept.
    text : str
        ``EXECUTE name [USING value, ...]``.
    parameters : list of str
        The ExecutionParameters of the request.

    Raises
    ------
    QueryFailure
        When there is no such statement.
    """
    source = Source(text)
    cursor = Cursor(source, "trino")
    cursor.expect("EXECUTE")
    name = cursor.name()
    values = _listed(source, cursor) if cursor.accept("USING") else parameters
    try:
        answer = athena.get_prepared_statement(StatementName=name, WorkGroup=workgroup)
        found = answer.get("PreparedStatement")
    except ClientError:
        found = None
    if not found:
        raise QueryFailure(f"NOT_FOUND: Prepared statement not found: {name}")
    return plain(str(found["QueryStatement"])), values


def _listed(source: Source, cursor: Cursor) -> list[str]:
    """Split at the commas outside of parentheses and literals."""
    values, start, depth = [], cursor.offset, 0
    for token in source.tokens:
        if token.start < start:
            continue
        depth += (token.text in ("(", "[")) - (token.text in (")", "]"))
        if token.text == "," and depth == 0 and source.text[token.start] == ",":
            values.append(source.text[start : token.start].strip())
            start = token.end + 1
    return [*values, source.text[start:].strip()]
