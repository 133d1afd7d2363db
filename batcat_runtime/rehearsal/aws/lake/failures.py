"""How a query of Athena's fails: the reason in its words."""

from __future__ import annotations

from typing import Any


class QueryFailure(Exception):  # noqa: N818 (Athena calls it so)
    """A query failed.

    Parameters
    ----------
    reason : str
        The StateChangeReason that Athena would give.
    category : int
        The ErrorCategory: 1 system, 2 user.
    """

    def __init__(self, reason: str, category: int = 2) -> None:
        super().__init__(reason)
        self.reason, self.category = reason, category

    def fields(self) -> dict[str, Any]:
        """Return the member `AthenaError` of a failed query's status."""
        return {
            "ErrorCategory": self.category,
            "Retryable": False,
            "ErrorMessage": self.reason,
        }


class Cancelled(Exception):  # noqa: N818
    """The query was stopped; not a failure."""


def semantic(code: str, where: str, text: str) -> QueryFailure:
    """Return the failure of a query that means nothing, such as COLUMN_NOT_FOUND at a place."""
    return QueryFailure(f"{code}: {where}: {text}")
