"""Sessions that outlive their statements, for as long as `SessionKeepAliveSeconds` says."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ..wire import Call, ServiceError
from .data_api_statements import Statement
from .redshift_session import Session
from .redshift_targets import Login
from .redshift_words import RedshiftError

_LOGIN = ("ClusterIdentifier", "WorkgroupName", "SecretArn", "DbUser", "Database")


@dataclass
class KeptSession:
    """A session, its owner, and the statement that it is busy with."""

    id: str
    region: str
    login: Login
    session: Session | None
    keep: int
    created: datetime
    updated: datetime
    current: str | None = None
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def description(self) -> dict[str, Any]:
        """Return what ListSessions says of it."""
        row = {
            "SessionId": self.id,
            "Status": "BUSY" if self.current else "AVAILABLE",
            "CreatedAt": self.created,
            "UpdatedAt": self.updated,
            "Database": self.login.database,
            "DbUser": self.login.user,
            "ClusterIdentifier": self.login.cluster,
            "WorkgroupName": self.login.workgroup,
            "SessionAliveSeconds": self.keep,
            "SessionTtl": self.updated + timedelta(seconds=self.keep),
            "CurrentStatementId": self.current,
        }
        return {key: value for key, value in row.items() if value is not None}


class KeptSessions:
    """All sessions that are kept.

    Parameters
    ----------
    now : callable
        The time, in UTC.
    connect : callable
        Makes the session of a login.
    """

    def __init__(self, now: Callable[[], datetime], connect: Callable[[Login], Session]) -> None:
        self._now = now
        self._connect = connect
        self._kept: dict[str, KeptSession] = {}
        self._lock = threading.Lock()

    def new(self, region: str, login: Login, keep: int) -> KeptSession:
        """Keep a session, which connects with its first statement."""
        now = self._now()
        made = KeptSession(str(uuid.uuid4()), region, login, None, keep, now, now)
        with self._lock:
            self._kept[made.id] = made
        return made

    def find(self, call: Call) -> KeptSession | None:
        """Return the session that a call names; None when it names none.

        Raises
        ------
        ServiceError
            When the session is not there, is busy, or the call names a connection as well.
        """
        identifier = call.params.get("SessionId")
        if identifier is None:
            return None
        given = [one for one in _LOGIN if call.params.get(one)]
        if given:
            raise _invalid(
                "SessionId cannot be specified together with connection parameters: "
                + ", ".join(given)
            )
        self.forget_old()
        found = self._kept.get(str(identifier))
        if found is None or found.region != call.region:
            raise _invalid(f"Session {identifier} is not available.")
        if found.current is not None:
            raise _invalid(f"Session {identifier} is busy.")
        return found

    def listed(self, region: str) -> list[dict[str, Any]]:
        """Return the descriptions of a region's sessions."""
        self.forget_old()
        return [one.description() for one in list(self._kept.values()) if one.region == region]

    def take(self, kept: KeptSession, statement: Statement) -> Session:
        """Give the session to a statement, for itself alone."""
        if not kept.lock.acquire(blocking=False):
            raise RedshiftError("ERROR: The session is busy with another statement")
        kept.current = statement.id
        if kept.session is None:
            kept.session = self._connect(kept.login)
        return kept.session

    def give_back(self, kept: KeptSession, statement: Statement, session: Session | None) -> None:
        """Take the session back from a statement that has ended."""
        if kept.current != statement.id:
            return
        kept.current, kept.updated = None, self._now()
        if session is None or statement.cancelled:
            # A cancelled session refuses further statements.
            with self._lock:
                self._kept.pop(kept.id, None)
            if session is not None:
                session.close()
        kept.lock.release()

    def forget_old(self) -> None:
        """Close the sessions whose time is over."""
        now = self._now()
        with self._lock:
            for identifier, kept in list(self._kept.items()):
                if kept.current is None and now - kept.updated > timedelta(seconds=kept.keep):
                    del self._kept[identifier]
                    if kept.session is not None:
                        kept.session.close()


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)
