"""What a database says about a failed query, beside the line of the query that it means."""

from __future__ import annotations

from batcat_runtime.errors import QueryError

_WIDEST = 120


def query_error(
    engine: str,
    reason: str,
    query: str = "",
    *,
    line: int | None = None,
    column: int | None = None,
    fix: str = "",
) -> QueryError:
    r"""Return the error for a query that failed.

    Parameters
    ----------
    engine : str
        Who says so, such as ``Athena``.
    reason : str
        The engine's own words.
    query : str
        The text that `line` and `column` are about.
    line, column : int, optional
        Where in it, both from 1.
    fix : str
        What to do about it.

    Examples
    --------
    >>> print(query_error("Athena", "mismatched input", "SELECT 1\nFORM t", line=2, column=1))
    Athena refused the query: mismatched input
      2 | FORM t
        | ^
    """
    shown = excerpt(query, line, column) if line and column else ""
    return QueryError(
        f"{engine} refused the query: {reason.strip()}{shown}", fix=fix, line=line, column=column
    )


def excerpt(query: str, line: int, column: int) -> str:
    """Return the line of a query with a caret below the column, or nothing if it has no such line.

    A tab counts as one column, as the engines count it.
    """
    lines = query.splitlines()
    if not 1 <= line <= len(lines):
        return ""
    text = lines[line - 1].replace("\t", " ")
    start = max(column - 1 - _WIDEST // 2, 0)
    number = str(line)
    return (
        f"\n  {number} | {text[start : start + _WIDEST]}"
        f"\n  {' ' * len(number)} | {' ' * (column - 1 - start)}^"
    )


def line_and_column(query: str, position: int) -> tuple[int, int]:
    r"""Return line and column, both from 1, of the character at a position, which counts from 1.

    Examples
    --------
    >>> line_and_column("SELECT 1\nFORM t", 10)
    (2, 1)
    """
    before = query[: max(position - 1, 0)]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
