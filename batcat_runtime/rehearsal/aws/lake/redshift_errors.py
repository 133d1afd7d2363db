"""The errors of statements, as Redshift says them."""

from __future__ import annotations

import re

CANCELLED = "Query cancelled on user's request"


class RedshiftError(Exception):
    """A statement failed; the text is what `DescribeStatement` gives as `Error`."""


def syntax_error(sql: str, offset: int) -> RedshiftError:
    """Return the error for text that Redshift's grammar cannot go on with.

    Parameters
    ----------
    sql : str
        The statement as the caller sent it.
    offset : int
        Where the offending word begins, in characters from 0; or where the text ends too early.
    """
    found = re.match(r"\w+|'(?:[^']|'')*'?|\"[^\"]*\"?|\S", sql[offset:])
    if found is None:
        place = len(sql.rstrip()) + 1
        return RedshiftError(f"ERROR: syntax error at end of input\n  Position: {place};")
    return RedshiftError(
        f'ERROR: syntax error at or near "{found.group()}"\n  Position: {offset + 1};'
    )
