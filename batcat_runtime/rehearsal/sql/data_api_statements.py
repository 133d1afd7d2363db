"""Statements of the Data API: their records, and the threads that perform them.

A request becomes a `Statement` with one `Step` per SQL text. A thread of its own performs it: waits
for a free slot of the warehouse, connects, runs the steps (in one transaction, unless asked
otherwise), and keeps what came out. Whoever waits for its end waits on its condition.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .data_api_results import MAX_RESULT_BYTES, Result, ResultLimitError, measured
from .redshift_session import Session
from .redshift_targets import Login, admitted
from .redshift_words import RedshiftError

log = logging.getLogger(__name__)

FINAL = ("FINISHED", "FAILED", "ABORTED")
_CANCELLED = "Query cancelled on user's request"


@dataclass
class Step:
    """One SQL text of a statement."""

    id: str
    sql: str
    created: datetime
    updated: datetime
    status: str = "SUBMITTED"
    error: str | None = None
    duration: int = -1
    rows: int = -1
    size: int = -1
    result: Result | None = None
    query_id: int = 0


@dataclass
class Statement:
    """A statement or a batch, and what has become of it.

    Attributes
    ----------
    parameters : list of dict
        As they were given: name and value.
    batch : bool
        Whether BatchExecuteStatement made it.
    duration : int
        Nanoseconds; -1 while unknown.
    """

    id: str
    region: str
    login: Login
    steps: list[Step]
    parameters: list[dict[str, str]]
    created: datetime
    updated: datetime
    name: str = ""
    batch: bool = False
    with_event: bool = False
    format: str = "JSON"
    mode: str = "TRANSACTION"
    session_id: str | None = None
    status: str = "SUBMITTED"
    error: str | None = None
    duration: int = -1
    pid: int = 0
    cancelled: bool = False
    running: Session | None = None
    changed: threading.Condition = field(default_factory=threading.Condition, repr=False)

    @property
    def has_result(self) -> bool:
        """Whether a step has a result set."""
        return any(step.result is not None for step in self.steps)

    def wait(self, seconds: float) -> None:
        """Wait until the statement has ended, at most some seconds."""
        with self.changed:
            self.changed.wait_for(lambda: self.status in FINAL, timeout=seconds)

    def description(self) -> dict[str, Any]:
        """Return what DescribeStatement answers."""
        first = self.steps[0]
        answer: dict[str, Any] = {
            "Id": self.id,
            "ClusterIdentifier": self.login.cluster,
            "WorkgroupName": self.login.workgroup,
            "Database": self.login.database,
            "DbUser": None if self.login.secret or self.login.workgroup else self.login.user,
            "SecretArn": self.login.secret,
            "Status": self.status,
            "Error": self.error,
            "CreatedAt": self.created,
            "UpdatedAt": self.updated,
            "Duration": self.duration,
            "HasResultSet": self.has_result,
            "RedshiftPid": self.pid,
            "RedshiftQueryId": 0 if self.batch else first.query_id,
            "ResultFormat": self.format,
            "SessionId": self.session_id,
            "QueryParameters": self.parameters or None,
        }
        if self.batch:
            answer["SubStatements"] = [_sub_statement(step) for step in self.steps]
            answer["ExecutionMode"] = self.mode
            answer["ResultRows"] = answer["ResultSize"] = -1
            if self.status == "FINISHED":
                answer["ResultRows"] = sum(max(step.rows, 0) for step in self.steps)
                answer["ResultSize"] = sum(max(step.size, 0) for step in self.steps)
        else:
            answer["QueryString"] = first.sql
            answer["ResultRows"], answer["ResultSize"] = first.rows, first.size
        return {key: value for key, value in answer.items() if value is not None}

    def summary(self) -> dict[str, Any]:
        """Return what ListStatements says of it."""
        texts = [step.sql for step in self.steps]
        answer = {
            "Id": self.id,
            "QueryString": None if self.batch else texts[0],
            "QueryStrings": texts if self.batch else None,
            "SecretArn": self.login.secret,
            "Status": self.status,
            "StatementName": self.name or None,
            "CreatedAt": self.created,
            "UpdatedAt": self.updated,
            "QueryParameters": self.parameters or None,
            "IsBatchStatement": self.batch,
            "ResultFormat": self.format,
            "SessionId": self.session_id,
        }
        return {key: value for key, value in answer.items() if value is not None}


class Worker:
    """Performs statements.

    Parameters
    ----------
    now : callable
        The time, in UTC.
    slots : callable
        From a login to the semaphore of its warehouse's queue.
    publish : callable
        Told of a statement's event (its region and the event's detail).
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        slots: Callable[[Login], threading.Semaphore],
        publish: Callable[[str, dict[str, Any]], None],
        limit: int = MAX_RESULT_BYTES,
    ) -> None:
        self._now = now
        self._slots = slots
        self._publish = publish
        self._limit = limit

    def start(
        self,
        statement: Statement,
        connect: Callable[[], Session],
        release: Callable[[Session | None], None],
    ) -> None:
        """Perform a statement in a thread of its own.

        Parameters
        ----------
        statement : Statement
            What to perform.
        connect : callable
            Returns the session to use; may fail as a connection fails.
        release : callable
            Given the session when the statement has ended.
        """
        threading.Thread(
            target=self._perform,
            args=(statement, connect, release),
            daemon=True,
            name=f"statement-{statement.id}",
        ).start()

    def cancel(self, statement: Statement) -> bool:
        """Cancel a statement; returns whether there was anything left to cancel."""
        with statement.changed:
            if statement.status in FINAL:
                return False
            statement.cancelled = True
            running = statement.running
        if running is not None:
            running.cancel()
        statement.wait(5)
        return True

    def _perform(
        self,
        statement: Statement,
        connect: Callable[[], Session],
        release: Callable[[Session | None], None],
    ) -> None:
        began = time.monotonic_ns()
        session: Session | None = None
        status, error = "FAILED", ""
        self._set(statement, "PICKED")
        try:
            with self._slots(statement.login):
                self._stop_if_cancelled(statement)
                began = time.monotonic_ns()
                admitted(statement.login)
                session = connect()
                with statement.changed:
                    statement.running = session
                    statement.pid = session.pid
                self._stop_if_cancelled(statement)
                self._set(statement, "STARTED")
                self._run_steps(statement, session)
                status = "FINISHED"
        except (RedshiftError, ResultLimitError) as failure:
            status = "ABORTED" if statement.cancelled else "FAILED"
            error = _CANCELLED if statement.cancelled else str(failure)
        except Exception as failure:
            # The text of a statement may hold a password, so it is not logged.
            log.exception("Statement %s failed", statement.id)
            error = f"ERROR: The embedded AWS failed: {type(failure).__name__}"
        finally:
            statement.running = None
            try:
                release(session)
            except Exception:
                log.exception("Could not release the session of statement %s", statement.id)
            self._end(statement, status, error, time.monotonic_ns() - began)

    def _run_steps(self, statement: Statement, session: Session) -> None:
        parameters = {one["name"]: one["value"] for one in statement.parameters}
        together = statement.batch and statement.mode == "TRANSACTION"
        if together:
            session.begin()
        try:
            for step in statement.steps:
                self._stop_if_cancelled(statement)
                self._run_step(statement, step, session, parameters)
            if together:
                session.commit()
        except BaseException:
            if together:
                session.rollback()
            raise

    def _run_step(
        self, statement: Statement, step: Step, session: Session, parameters: Mapping[str, str]
    ) -> None:
        began = time.monotonic_ns()
        self._set_step(statement, step, "STARTED")
        try:
            outcome = session.run(step.sql, parameters)
            if outcome.columns is not None and outcome.table is not None:
                step.result = measured(outcome.columns, outcome.table, self._limit)
        except (RedshiftError, ResultLimitError) as failure:
            step.duration = time.monotonic_ns() - began
            step.error = _CANCELLED if statement.cancelled else str(failure)
            self._set_step(statement, step, "ABORTED" if statement.cancelled else "FAILED")
            raise
        step.rows = outcome.rows
        step.size = step.result.size if step.result is not None else 0
        step.query_id = uuid.uuid4().int % 2**31
        step.duration = time.monotonic_ns() - began
        self._set_step(statement, step, "FINISHED")

    def _stop_if_cancelled(self, statement: Statement) -> None:
        if statement.cancelled:
            raise RedshiftError(_CANCELLED)

    def _set(self, statement: Statement, status: str) -> None:
        with statement.changed:
            statement.status, statement.updated = status, self._now()
            statement.changed.notify_all()

    def _set_step(self, statement: Statement, step: Step, status: str) -> None:
        with statement.changed:
            step.status, step.updated = status, self._now()

    def _end(self, statement: Statement, status: str, error: str, duration: int) -> None:
        with statement.changed:
            for step in statement.steps:
                if step.status not in FINAL:
                    step.status, step.updated = (
                        "ABORTED" if status != "FINISHED" else status,
                        (self._now()),
                    )
            statement.duration = duration
            statement.error = error or None
        if statement.with_event:
            self._publish(statement.region, event_of(statement, status))
        self._set(statement, status)


def event_of(statement: Statement, status: str) -> dict[str, Any]:
    """Return the detail of a statement's EventBridge event."""
    step = statement.steps[0]
    login = statement.login
    detail: dict[str, Any] = {
        "statementId": statement.id,
        "statementName": statement.name,
        "state": status,
        "rows": max(step.rows, 0),
        "expireAt": int(statement.created.timestamp()) + 24 * 3600,
        "principal": login.user,
    }
    if login.cluster:
        detail["clusterId"] = login.cluster
    if login.workgroup:
        detail["workgroupName"] = login.workgroup
    if login.secret:
        detail["secretArn"] = login.secret
    if statement.error:
        detail["errorMessage"] = statement.error
    return json.loads(json.dumps(detail))  # type: ignore[no-any-return]


def _sub_statement(step: Step) -> dict[str, Any]:
    answer = {
        "Id": step.id,
        "QueryString": step.sql,
        "Status": step.status,
        "Error": step.error,
        "CreatedAt": step.created,
        "UpdatedAt": step.updated,
        "Duration": step.duration,
        "ResultRows": step.rows,
        "ResultSize": step.size,
        "HasResultSet": step.result is not None,
        "RedshiftQueryId": step.query_id,
    }
    return {key: value for key, value in answer.items() if value is not None}
