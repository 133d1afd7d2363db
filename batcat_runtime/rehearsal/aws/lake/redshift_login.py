"""Where a statement goes, and as whom."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Target:
    """A cluster or a workgroup's namespace.

    Attributes
    ----------
    key : tuple of str
        Names it for ever: another one of the same name has another key.
    database : str
        The database that it was made with.
    admin, password : str
        The administrator's.
    roles : tuple of str
        ARNs of its roles, the default one first.
    """

    key: tuple[str, ...]
    region: str
    database: str
    admin: str
    password: str = field(repr=False)
    roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Login:
    """As whom a statement connects, and where; `refusal` is why the database will not have it."""

    target: Target
    database: str
    user: str
    cluster: str | None = None
    workgroup: str | None = None
    secret: str | None = None
    refusal: str | None = None
