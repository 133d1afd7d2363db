"""Principals: who stands behind an access key.

A key that IAM gave out (to a user, or with an assumed role) is that user or role, with the policies
that it has at this moment. Every other key is the account's administrator: whoever works with the
embedded AWS by hand need not set up anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from ..moto import state

_VIA = "via/"


@dataclass(frozen=True)
class Principal:
    """Who makes a call.

    Attributes
    ----------
    arn : str
        As GetCallerIdentity gives it.
    role : str
        The ARN of the role or user whose policies count; empty for the administrator.
    policies : tuple of mapping
        The policy documents.
    boundary : mapping or None
        The permissions boundary.
    end : datetime or None
        When the session ends; None where there is no end.
    """

    arn: str
    role: str = ""
    policies: tuple[Mapping[str, Any], ...] = ()
    boundary: Mapping[str, Any] | None = None
    end: datetime | None = None

    @property
    def is_expired(self) -> bool:
        """Whether the session has ended."""
        return self.end is not None and self.end <= datetime.now(UTC)

    @property
    def is_administrator(self) -> bool:
        """Whether everything is allowed."""
        return not self.role

    def keys(self) -> dict[str, Any]:
        """Return what conditions may know of the principal."""
        found = {"aws:PrincipalArn": self.role or self.arn, "aws:userid": self.arn}
        if self.role:
            found["aws:PrincipalAccount"] = self.role.split(":")[4]
            if ":user/" in self.role:
                found["aws:username"] = self.role.rpartition("/")[2]
        return found


ADMINISTRATOR = Principal("administrator")


def principal_of(access_key: str) -> Principal:
    """Return who holds an access key; whoever IAM does not know is the administrator."""
    found = state.holder_of_key(access_key) if len(access_key) >= 16 else None
    if found is None:
        return ADMINISTRATOR
    if found.identity is None:  # the role has been deleted: nothing is allowed any more
        return Principal(found.arn, found.arn, end=found.end)
    texts, boundary = state.policies_of(found.identity)
    documents = tuple(_parsed(text) for text in texts)
    limit = _parsed(boundary) if boundary is not None else None
    return Principal(found.arn, str(found.identity.arn), documents, limit, found.end)


def token_via(service: str) -> str:
    """Return the session token with which a service calls on for whoever called it."""
    return f"{_VIA}{service}"


def via_of(token: str) -> str:
    """Return the service that calls on for its caller, or ``""``."""
    return token.removeprefix(_VIA) if token.startswith(_VIA) else ""


@lru_cache(maxsize=256)
def _parsed(text: str) -> Mapping[str, Any]:
    return dict(json.loads(text))
