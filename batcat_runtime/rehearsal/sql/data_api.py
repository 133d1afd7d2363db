"""The Redshift Data API: SQL over HTTP, asynchronous, executed for real.

This room answers the API's operations. Whom a call connects as is `redshift_targets.py`'s; what a
statement does is `redshift_session.py`'s; how it is performed and kept, `data_api_statements.py`'s.
"""

from __future__ import annotations

import contextlib
import json
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from moto.utilities.utils import get_partition

from ..operations import Operation
from ..wire import Call, ServiceError
from . import data_api_metadata
from .data_api_results import MAX_RESULT_BYTES, Result, csv_page, json_page
from .data_api_sessions import KeptSession, KeptSessions
from .data_api_statements import FINAL, Statement, Step, Worker
from .redshift_external import External, World
from .redshift_session import Session, parameter_names
from .redshift_targets import Login, Targets, admitted
from .redshift_words import RedshiftError

RETENTION = timedelta(hours=24)
MAX_STATEMENT_BYTES = 100 * 1024
_MAX_ACTIVE = 500
_AT_ONCE = 8
_STATEMENTS_PER_PAGE = 100


class DataApi:
    """The Data API of one embedded AWS.

    Parameters
    ----------
    targets : Targets
        Clusters and workgroups.
    world : World
        What sessions need outside their warehouse.
    now : callable, optional
        The time, in UTC.
    max_result_bytes : int, optional
        How large a result may be.
    """

    def __init__(
        self,
        targets: Targets,
        world: World,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        max_result_bytes: int = MAX_RESULT_BYTES,
    ) -> None:
        self._targets = targets
        self._world = world
        self._now = now
        self._lock = threading.Lock()
        self._statements: dict[str, Statement] = {}
        self._tokens: dict[tuple[str, str], str] = {}
        self._sessions = KeptSessions(now, self._connect)
        self._slots: dict[tuple[str, ...], threading.Semaphore] = {}
        self._worker = Worker(now, self._slot, self._publish, max_result_bytes)

    def operations(self) -> dict[tuple[str, str], Operation]:
        """Return the operations that this room performs."""
        mine: dict[str, Operation] = {
            "ExecuteStatement": self.execute,
            "BatchExecuteStatement": self.execute,
            "DescribeStatement": self.describe,
            "GetStatementResult": self.result,
            "GetStatementResultV2": self.result_v2,
            "CancelStatement": self.cancel,
            "ListStatements": self.list_statements,
            "ListSessions": self.list_sessions,
            "ListDatabases": self._with_session(data_api_metadata.databases),
            "ListSchemas": self._with_session(data_api_metadata.schemas),
            "ListTables": self._with_session(data_api_metadata.tables),
            "DescribeTable": self._with_session(data_api_metadata.describe_table),
        }
        return {("redshift-data", name): perform for name, perform in mine.items()}

    def execute(self, call: Call) -> dict[str, Any]:
        """Accept a statement or a batch, and start it."""
        asked = call.params
        batch = "Sqls" in asked
        texts = [str(one) for one in asked["Sqls"]] if batch else [str(asked["Sql"])]
        _check_texts(texts, asked.get("Parameters") or [])
        token = asked.get("ClientToken")
        with self._lock:
            known = self._tokens.get((call.region, str(token))) if token else None
        if known is not None and (found := self._statements.get(known)) is not None:
            return self._accepted(found, asked)
        kept = self._sessions.find(call)
        login = kept.login if kept is not None else self._targets.login(call)
        statement = self._new_statement(call, login, texts, batch=batch)
        keep = int(asked.get("SessionKeepAliveSeconds") or 0)
        if kept is None and keep:
            kept = self._sessions.new(call.region, login, keep)
        elif kept is not None and "SessionKeepAliveSeconds" in asked:
            kept.keep = keep
        if kept is not None:
            statement.session_id = kept.id
        with self._lock:
            self._forget_old()
            active = [
                one
                for one in self._statements.values()
                if one.login.target.key == login.target.key and one.status not in FINAL
            ]
            if len(active) >= _MAX_ACTIVE:
                raise ServiceError(
                    "ActiveStatementsExceededException",
                    f"The number of active statements exceeds the limit of {_MAX_ACTIVE}.",
                )
            self._statements[statement.id] = statement
            if token:
                self._tokens[call.region, str(token)] = statement.id
        connect, release = self._session_of(statement, kept)
        self._worker.start(statement, connect, release)
        return self._accepted(statement, asked)

    def describe(self, call: Call) -> dict[str, Any]:
        """Describe a statement, after waiting for its end if asked to."""
        statement, _ = self._find(call)
        statement.wait(float(call.params.get("WaitTimeSeconds") or 0))
        return statement.description()

    def result(self, call: Call) -> dict[str, Any]:
        """Return a page of a result as typed fields."""
        identifier, result, form = self._result(call)
        if form != "JSON":
            raise _invalid(
                "GetStatementResult does not support results in CSV format: use "
                "GetStatementResultV2."
            )
        return json_page(identifier, result, call.params.get("NextToken"))

    def result_v2(self, call: Call) -> dict[str, Any]:
        """Return a page of a result as CSV."""
        identifier, result, form = self._result(call)
        if form != "CSV":
            raise _invalid(
                "GetStatementResultV2 supports results in CSV format only: use GetStatementResult."
            )
        return csv_page(identifier, result, call.params.get("NextToken"))

    def cancel(self, call: Call) -> dict[str, Any]:
        """Cancel a statement that has not ended."""
        statement, step = self._find(call)
        if step is not None:
            raise _invalid("A sub-statement of a batch cannot be cancelled: cancel the batch.")
        if not self._worker.cancel(statement):
            raise _invalid(
                f"Could not cancel a query that is already in {statement.status} state with ID: "
                f"{statement.id}"
            )
        return {"Status": True}

    def list_statements(self, call: Call) -> dict[str, Any]:
        """List statements, newest first; finished ones unless asked otherwise."""
        asked = call.params
        with self._lock:
            self._forget_old()
            rows = [one for one in self._statements.values() if one.region == call.region]
        status = asked.get("Status")
        name = str(asked.get("StatementName") or "")
        rows = [
            one
            for one in rows
            if one.status == (status or "FINISHED") or status == "ALL"
            if one.name.startswith(name)
            if asked.get("ClusterIdentifier") in (None, one.login.cluster)
            if asked.get("WorkgroupName") in (None, one.login.workgroup)
            if asked.get("Database") in (None, one.login.database)
        ]
        rows.sort(key=lambda one: one.created, reverse=True)
        return _paged(asked, "Statements", [one.summary() for one in rows])

    def list_sessions(self, call: Call) -> dict[str, Any]:
        """List the sessions that are kept alive."""
        asked = call.params
        listed = [
            one
            for one in self._sessions.listed(call.region)
            if asked.get("SessionId") in (None, one["SessionId"])
            and asked.get("Status") in (None, one["Status"])
        ]
        return _paged(asked, "Sessions", listed)

    def shut_down(self, timeout: float) -> None:
        """Cancel what runs and close every warehouse."""
        for statement in list(self._statements.values()):
            if statement.status not in FINAL:
                statement.cancelled = True
                if statement.running is not None:
                    statement.running.cancel()
        for statement in list(self._statements.values()):
            statement.wait(timeout)
        self._targets.close()

    def _accepted(self, statement: Statement, asked: dict[str, Any]) -> dict[str, Any]:
        statement.wait(float(asked.get("WaitTimeSeconds") or 0))
        login = statement.login
        answer = {
            "Id": statement.id,
            "CreatedAt": statement.created,
            "ClusterIdentifier": login.cluster,
            "WorkgroupName": login.workgroup,
            "Database": login.database,
            "DbUser": None if login.secret or login.workgroup else login.user,
            "SecretArn": login.secret,
            "SessionId": statement.session_id,
        }
        if asked.get("WaitTimeSeconds"):
            answer["Status"] = statement.status
            answer["HasResultSet"] = statement.has_result
            answer["RedshiftPid"] = statement.pid
        return {key: value for key, value in answer.items() if value is not None}

    def _new_statement(
        self, call: Call, login: Login, texts: list[str], *, batch: bool
    ) -> Statement:
        now, identifier, asked = self._now(), str(uuid.uuid4()), call.params
        steps = [
            Step(f"{identifier}:{number}" if batch else identifier, text, now, now)
            for number, text in enumerate(texts, 1)
        ]
        return Statement(
            identifier,
            call.region,
            login,
            steps,
            [dict(one) for one in asked.get("Parameters") or []],
            now,
            now,
            name=str(asked.get("StatementName") or ""),
            batch=batch,
            with_event=bool(asked.get("WithEvent")),
            format=str(asked.get("ResultFormat") or "JSON"),
            mode=str(asked.get("ExecutionMode") or "TRANSACTION"),
        )

    def _session_of(
        self, statement: Statement, kept: KeptSession | None
    ) -> tuple[Callable[[], Session], Callable[[Session | None], None]]:
        """Return how a statement gets its session, and what happens to it afterwards."""
        login = statement.login
        if kept is None:

            def close(session: Session | None) -> None:
                if session is not None:
                    session.close()

            return lambda: self._connect(login), close

        return (
            lambda: self._sessions.take(kept, statement),
            lambda session: self._sessions.give_back(kept, statement, session),
        )

    def _connect(self, login: Login) -> Session:
        region = login.target.region
        roles = list(login.target.roles)
        external = External(self._world, region, get_partition(region), lambda: roles)
        warehouse = self._targets.warehouse(login.target)
        return Session(warehouse, login.database, login.user, external)

    def _forget_old(self) -> None:
        """Forget results after a day; called under the lock."""
        now = self._now()
        for identifier, one in list(self._statements.items()):
            if one.status in FINAL and now - one.created > RETENTION:
                del self._statements[identifier]
        self._tokens = {k: v for k, v in self._tokens.items() if v in self._statements}

    def _find(self, call: Call) -> tuple[Statement, Step | None]:
        """Return the statement of an Id, and the step that the Id names, if it does."""
        identifier, _, number = str(call.params["Id"]).partition(":")
        with self._lock:
            self._forget_old()
            found = self._statements.get(identifier)
        if found is None or found.region != call.region:
            raise ServiceError("ResourceNotFoundException", "Query does not exist.")
        if not number:
            return found, None
        step = next((one for one in found.steps if one.id == f"{identifier}:{number}"), None)
        if step is None or not found.batch:
            raise ServiceError("ResourceNotFoundException", "Query does not exist.")
        return found, step

    def _result(self, call: Call) -> tuple[str, Result, str]:
        statement, step = self._find(call)
        statement.wait(float(call.params.get("WaitTimeSeconds") or 0))
        if statement.batch and step is None:
            raise _invalid(
                "The result of a batch is that of its sub-statements: use the Id of one of them."
            )
        found = step or statement.steps[0]
        if statement.status != "FINISHED" or found.result is None:
            raise ServiceError(
                "ResourceNotFoundException",
                "Query does not have result. Please check query status with DescribeStatement.",
            )
        return found.id, found.result, statement.format

    def _with_session(
        self, perform: Callable[[Session, dict[str, Any]], dict[str, Any]]
    ) -> Operation:
        def operation(call: Call) -> dict[str, Any]:
            login = self._targets.login(call)
            try:
                admitted(login)
                session = self._connect(login)
                try:
                    return perform(session, call.params)
                finally:
                    session.close()
            except RedshiftError as error:
                code = (
                    "DatabaseConnectionException"
                    if str(error).startswith("FATAL")
                    else "ValidationException"
                )
                raise ServiceError(code, str(error)) from error

        return operation

    def _slot(self, login: Login) -> threading.Semaphore:
        with self._lock:
            return self._slots.setdefault(login.target.key, threading.Semaphore(_AT_ONCE))

    def _publish(self, region: str, detail: dict[str, Any]) -> None:
        entry = {
            "Source": "aws.redshift-data",
            "DetailType": "Redshift Data Statement Status Change",
            "Detail": json.dumps(detail),
        }
        with contextlib.suppress(ClientError, BotoCoreError):
            self._world.clients.get("events", region).put_events(Entries=[entry])


def _check_texts(texts: list[str], parameters: list[dict[str, str]]) -> None:
    names: set[str] = set()
    for text in texts:
        if len(text.encode()) > MAX_STATEMENT_BYTES:
            raise _invalid("Cannot parse the SQL statement: its size exceeds the limit of 100 KB.")
        if not text.strip():
            raise _invalid("Sql cannot be empty.")
        with contextlib.suppress(RedshiftError):
            names |= set(parameter_names(text))
    given = [one["name"] for one in parameters]
    unused = [name for name in given if name not in names]
    if unused:
        raise _invalid(
            f"Parameters list contains unused parameters. Unused parameters: [{', '.join(unused)}]"
        )
    for name in given:
        if given.count(name) > 1:
            raise _invalid(f"Parameters list contains a parameter more than once: {name}")
    if parameters and (missing := sorted(names - set(given))):
        raise _invalid(f"Cannot find parameter: {missing[0]}")


def _paged(asked: dict[str, Any], member: str, rows: list[Any]) -> dict[str, Any]:
    return data_api_metadata.paged(
        member, rows, asked.get("NextToken"), int(asked.get("MaxResults") or _STATEMENTS_PER_PAGE)
    )


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)
