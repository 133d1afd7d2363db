"""The Redshift Data API: SQL over HTTP, asynchronous, executed for real.

A request becomes a `Statement` with a `Step` for each text. A thread of its own performs it:
connects, runs the steps (a batch in one transaction), and keeps what came out. Of the
API's operations there are those that `batcat_runtime` and awswrangler call, and ListStatements.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlglot import exp

from ...operations import without_nones
from ...wire import Call, ServiceError
from .redshift import Outcome, Session
from .redshift_encoding import field_of, metadata_of
from .redshift_errors import CANCELLED, RedshiftError
from .redshift_login import Login
from .redshift_sql import parameters_of

log = logging.getLogger(__name__)

_FINAL = ("FINISHED", "FAILED", "ABORTED")
# the API's limits, as its guide states them
_MAX_STATEMENT_BYTES = 100 * 1024
_PAGE_BYTES = 1024 * 1024
_NOT_PERFORMED = ("SessionId", "SessionKeepAliveSeconds", "WithEvent")


@dataclass
class Step:
    """One SQL text of a statement."""

    id: str
    sql: str
    status: str = "SUBMITTED"
    error: str | None = None
    outcome: Outcome | None = None

    def description(self) -> dict[str, Any]:
        """Return what DescribeStatement answers of it."""
        table = self.outcome.table if self.outcome else None
        return {
            "Id": self.id,
            "QueryString": self.sql,
            "Status": self.status,
            "Error": self.error,
            "ResultRows": self.outcome.rows if self.outcome else -1,
            "HasResultSet": table is not None,
        }


@dataclass
class Statement:
    """A statement or a batch, and what has become of it."""

    id: str
    region: str
    login: Login
    steps: list[Step]
    asked: dict[str, Any]
    created: datetime
    updated: datetime
    status: str = "SUBMITTED"
    error: str | None = None
    pid: int = 0
    cancelled: bool = False
    running: Session | None = None
    ended: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def is_batch(self) -> bool:
        """Whether BatchExecuteStatement made it."""
        return "Sqls" in self.asked

    def accepted(self) -> dict[str, Any]:
        """Return what ExecuteStatement answers."""
        login = self.login
        user = None if login.secret or login.workgroup else login.user
        answer = {
            "Id": self.id,
            "CreatedAt": self.created,
            "ClusterIdentifier": login.cluster,
            "WorkgroupName": login.workgroup,
            "Database": login.database,
            "DbUser": user,
            "SecretArn": login.secret,
        }
        return without_nones(answer)

    def description(self) -> dict[str, Any]:
        """Return what DescribeStatement answers."""
        answer = {
            **self.steps[0].description(),
            **self.accepted(),
            "Status": self.status,
            "Error": self.error,
            "UpdatedAt": self.updated,
            "RedshiftPid": self.pid,
        }
        if self.is_batch:
            steps = [step.description() for step in self.steps]
            answer["SubStatements"] = [without_nones(step) for step in steps]
            answer["HasResultSet"] = any(step["HasResultSet"] for step in steps)
            del answer["QueryString"]
        return without_nones(answer)

    def summary(self) -> dict[str, Any]:
        """Return what ListStatements says of it."""
        found = {"Id": self.id, "Status": self.status, "CreatedAt": self.created}
        return found if self.is_batch else {**found, "QueryString": self.steps[0].sql}


class DataApi:
    """The Data API of one embedded AWS.

    Parameters
    ----------
    login : callable
        From a call to the login that it asks for; raises `ServiceError`.
    connect : callable
        From a login to a session; raises `RedshiftError`.
    """

    def __init__(self, login: Callable[[Call], Login], connect: Callable[[Login], Session]) -> None:
        self._login, self._connect = login, connect
        self._lock = threading.Lock()
        self._statements: dict[str, Statement] = {}
        self._operations: dict[str, Callable[[Call], dict[str, Any]]] = {
            "ExecuteStatement": self._execute,
            "BatchExecuteStatement": self._execute,
            "DescribeStatement": lambda call: self._find(call)[0].description(),
            "GetStatementResult": self._result,
            "CancelStatement": self._cancel,
            "ListStatements": self._list,
        }

    def perform(self, call: Call) -> dict[str, Any]:
        """Perform one of the operations."""
        return self._operations[call.operation](call)

    def shut_down(self, timeout: float) -> None:
        """Cancel what runs, and wait for its end."""
        running = [one for one in self._statements.values() if not one.ended.is_set()]
        for statement in running:
            statement.cancelled = True
            if statement.running is not None:
                statement.running.cancel()
        for statement in running:
            statement.ended.wait(timeout)

    def _execute(self, call: Call) -> dict[str, Any]:
        """Accept a statement or a batch, and start it; the same token starts it once."""
        asked = call.params
        texts = [str(text) for text in asked.get("Sqls") or [asked.get("Sql", "")]]
        _check_texts(texts, asked.get("Parameters") or [])
        for name in _NOT_PERFORMED:
            if asked.get(name):
                raise _invalid(f"The embedded AWS does not perform statements with {name}.")
        if asked.get("ResultFormat", "JSON") != "JSON":
            raise _invalid("The embedded AWS gives results as JSON only.")
        login, token = self._login(call), asked.get("ClientToken")
        now, number = datetime.now(UTC), str(uuid.uuid4())
        names = (
            [f"{number}:{at}" for at in range(1, len(texts) + 1)] if "Sqls" in asked else [number]
        )
        steps = [Step(name, text) for name, text in zip(names, texts, strict=True)]
        statement = Statement(number, call.region, login, steps, asked, now, now)
        with self._lock:
            for known in self._statements.values():
                if token and (token, call.region) == (known.asked.get("ClientToken"), known.region):
                    return known.accepted()
            self._statements[number] = statement
        threading.Thread(target=self._run, args=(statement,), daemon=True).start()
        return statement.accepted()

    def _result(self, call: Call) -> dict[str, Any]:
        """Return a page of a result as typed fields."""
        statement, step = self._find(call)
        if statement.is_batch and step is None:
            raise _invalid(
                "The result of a batch is that of its sub-statements: use the Id of one of them."
            )
        step = step or statement.steps[0]
        outcome = step.outcome
        if statement.status != "FINISHED" or not outcome or outcome.columns is None:
            raise ServiceError(
                "ResourceNotFoundException",
                "Query does not have result. Please check query status with DescribeStatement.",
            )
        return _page(step.id, outcome, call.params.get("NextToken"))

    def _cancel(self, call: Call) -> dict[str, Any]:
        statement, _ = self._find(call)
        with self._lock:
            if statement.ended.is_set():
                raise _invalid(
                    f"Could not cancel a query that is already in {statement.status} state with "
                    f"ID: {statement.id}"
                )
            statement.cancelled = True
            if statement.running is not None:
                statement.running.cancel()
        return {"Status": True}

    def _list(self, call: Call) -> dict[str, Any]:
        """List statements, newest first; finished ones unless asked otherwise."""
        status = call.params.get("Status", "FINISHED")
        found = [
            statement.summary()
            for statement in reversed(list(self._statements.values()))
            if statement.region == call.region and status in ("ALL", statement.status)
        ]
        return {"Statements": found[: int(call.params.get("MaxResults") or 100)]}

    def _find(self, call: Call) -> tuple[Statement, Step | None]:
        """Return the statement of an Id, and the step that the Id names, if it does."""
        whole = str(call.params["Id"])
        found = self._statements.get(whole.partition(":")[0])
        steps = [step for step in found.steps if step.id == whole] if found else []
        if found is None or found.region != call.region or not (steps or whole == found.id):
            raise ServiceError("ResourceNotFoundException", "Query does not exist.")
        return found, steps[0] if steps else None

    def _run(self, statement: Statement) -> None:
        session, failure = None, ""
        statement.status = "PICKED"
        try:
            session = self._connect(statement.login)
            with self._lock:
                statement.running, statement.pid = session, session.pid
                if statement.cancelled:
                    session.cancel()
            statement.status = "STARTED"
            self._run_steps(statement, session)
        except RedshiftError as error:
            failure = str(error)
        except Exception as error:
            # the text of a statement may hold a password, so it is not logged
            log.exception("Statement %s failed", statement.id)
            failure = f"ERROR: The embedded AWS failed: {type(error).__name__}"
        with self._lock:
            statement.running = None
            ended = "ABORTED" if statement.cancelled else "FAILED"
            statement.error = (CANCELLED if statement.cancelled else failure) if failure else None
            for step in statement.steps:
                if step.status not in _FINAL:
                    step.status = "ABORTED" if failure else "FINISHED"
            statement.updated = datetime.now(UTC)
            statement.status = ended if failure else "FINISHED"
            statement.ended.set()
        if session is not None:
            session.close()

    def _run_steps(self, statement: Statement, session: Session) -> None:
        given = statement.asked.get("Parameters") or []
        values = {one["name"]: exp.Literal.string(str(one["value"])) for one in given}
        if statement.is_batch:
            session.run("BEGIN")
        for step in statement.steps:
            step.status = "STARTED"
            try:
                step.outcome = session.run(step.sql, values)
            except RedshiftError as error:
                step.error = CANCELLED if statement.cancelled else str(error)
                step.status = "ABORTED" if statement.cancelled else "FAILED"
                raise
            step.status = "FINISHED"
        session.run("COMMIT")


def _check_texts(texts: list[str], parameters: list[dict[str, str]]) -> None:
    for text in texts:
        if len(text.encode()) > _MAX_STATEMENT_BYTES:
            raise _invalid("Cannot parse the SQL statement: its size exceeds the limit of 100 KB.")
        if not text.strip():
            raise _invalid("Sql cannot be empty.")
    used = {name for text in texts for name in parameters_of(text)}
    given = [one["name"] for one in parameters]
    unused = [name for name in given if name not in used]
    if unused:
        raise _invalid(
            f"Parameters list contains unused parameters. Unused parameters: [{', '.join(unused)}]"
        )
    for name in sorted(used - set(given)):
        raise _invalid(f"Cannot find parameter: {name}")


def _page(number: str, outcome: Outcome, token: str | None) -> dict[str, Any]:
    """Return rows from where a token says, up to a megabyte."""
    columns, table = outcome.columns or [], outcome.table
    assert table is not None
    start = _start(number, token)
    records: list[list[dict[str, Any]]] = []
    used = 0
    for row in outcome.values(start):
        fields = [field_of(kind, value) for (_, kind), value in zip(columns, row, strict=True)]
        records.append(fields)
        used += sum(32 + len(str(next(iter(one.values())))) for one in fields)
        if used > _PAGE_BYTES:
            break
    at = start + len(records)
    page = {
        "Records": records,
        "ColumnMetadata": [metadata_of(name, kind) for name, kind in columns],
        "TotalNumRows": table.num_rows,
    }
    if at < table.num_rows:
        page["NextToken"] = f"{number}/{at}"
    return page


def _start(number: str, token: str | None) -> int:
    if not token:
        return 0
    owner, _, start = token.rpartition("/")
    if owner != number or not start.isdigit():
        raise _invalid("NextToken is invalid.")
    return int(start)


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)
