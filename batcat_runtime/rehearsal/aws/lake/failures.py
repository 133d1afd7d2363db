"""How a query of Athena's fails: the reason in its words, its number in Athena's catalogue."""

from __future__ import annotations

from typing import Any

# https://docs.aws.amazon.com/athena/latest/ug/error-reference.html
RESULT_LOCATION = 401
USER = 1000
DDL = 1003
SYNTAX = 1006
QUERY = 1100
DATA = 1200
SEMANTIC = 1301
NOT_EMPTY = 1400


class QueryFailure(Exception):  # noqa: N818 (Athena calls it so)
    """A query failed.

    Parameters
    ----------
    reason : str
        The StateChangeReason that Athena would give.
    kind : int
        The ErrorType, one of this module's.
    category : int
        The ErrorCategory: 1 system, 2 user.
    """

    def __init__(self, reason: str, kind: int = USER, category: int = 2) -> None:
        super().__init__(reason)
        self.reason, self.kind, self.category = reason, kind, category

    def fields(self) -> dict[str, Any]:
        """Return the member `AthenaError` of a failed query's status."""
        return {
            "ErrorCategory": self.category,
            "ErrorType": self.kind,
            "Retryable": False,
            "ErrorMessage": self.reason,
        }


class Cancelled(Exception):  # noqa: N818
    """The query was stopped; not a failure."""


def semantic(code: str, where: str, text: str) -> QueryFailure:
    """Return the failure of a query that means nothing, such as COLUMN_NOT_FOUND at a place."""
    return QueryFailure(f"{code}: {where}: {text}", SEMANTIC)
