"""Principals: who stands behind an access key.

A key that IAM gave out (to a user, or with an assumed role) is that user or role, with the policies
that it has at this moment. Every other key is the account's administrator: whoever works with the
embedded AWS by hand need not set up anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

# From an access key to (ARN, moto's role or user), and from these to (documents, boundary).
Holder = Callable[[str], tuple[str, Any] | None]
Policies = Callable[[Any], tuple[list[str], str | None]]
# From an access key to when its session ends; None for a key without an end.
Expiry = Callable[[str], datetime | None]

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
    """

    arn: str
    role: str = ""
    policies: tuple[Mapping[str, Any], ...] = ()
    boundary: Mapping[str, Any] | None = None

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


class Sessions:
    """Finds principals by their access keys.

    Parameters
    ----------
    holder_of_key, policies_of, expiry_of_key : callable
        What IAM and STS of the embedded AWS know; see `aws.moto.state`.
    """

    def __init__(
        self,
        holder_of_key: Holder,
        policies_of: Policies,
        expiry_of_key: Expiry = lambda key: None,
    ) -> None:
        self._holder_of_key = holder_of_key
        self._policies_of = policies_of
        self._expiry_of_key = expiry_of_key

    def expired(self, access_key: str) -> bool:
        """Tell whether the session that a key belongs to has ended."""
        end = self._expiry_of_key(access_key)
        return end is not None and end <= datetime.now(UTC)

    def principal(self, access_key: str) -> Principal:
        """Return who holds an access key."""
        if len(access_key) < 16:  # not one of IAM's
            return ADMINISTRATOR
        found = self._holder_of_key(access_key)
        if found is None:
            return ADMINISTRATOR
        arn, identity = found
        if identity is None:  # the role has been deleted: nothing is allowed any more
            return Principal(arn, arn)
        return self._described(arn, identity)

    def _described(self, arn: str, identity: Any) -> Principal:
        texts, boundary = self._policies_of(identity)
        documents = tuple(_parsed(text) for text in texts)
        limit = _parsed(boundary) if boundary is not None else None
        return Principal(arn, str(identity.arn), documents, limit)


def token_via(service: str) -> str:
    """Return the session token with which a service calls on for whoever called it."""
    return f"{_VIA}{service}"


def via_of(token: str) -> str:
    """Return the service that calls on for its caller, or ``""``."""
    return token.removeprefix(_VIA) if token.startswith(_VIA) else ""


@lru_cache(maxsize=256)
def _parsed(text: str) -> Mapping[str, Any]:
    return dict(json.loads(text))
