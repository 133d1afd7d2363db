"""Redshift's own protocol, by redshift_connector: connect, run, cancel, and say what went wrong.

awswrangler is left out here: its `redshift.connect` knows no host and password, and its reader asks
pandas for the types that the server has already named.

No error from here carries a password: what the driver says is searched for it first.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import (
    AccessDeniedError,
    BatcatError,
    ConnectError,
    CredentialsError,
    QueryTimeoutError,
    UserError,
)
from batcat_runtime.io.parameters import Params, for_wire
from batcat_runtime.io.query import line_and_column, pieces, query_error
from batcat_runtime.io.redshift_login import Login
from batcat_runtime.io.redshift_types import Column, arrow_table, wire_column

if TYPE_CHECKING:
    import pyarrow as pa

CONNECT_SECONDS = 30.0
_GRACE_SECONDS = 15.0
_ROWS = 20_000
_CANCEL_REQUEST = 80877102
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_WRONG_LOGIN = {"28P01", "28000"}
_DENIED, _CANCELLED = "42501", "57014"


@contextlib.contextmanager
def connection(
    login: Login, *, ssl: bool | None = None, timeout: float | None = None
) -> Iterator[Any]:
    """Open a connection, in a transaction that ends without a commit unless the caller commits.

    Parameters
    ----------
    login : Login
    ssl : bool, optional
        Whether to encrypt; Redshift's certificate is checked. By default yes, but not on loopback.
    timeout : float, optional
        Seconds that a statement may take; the server itself ends it then.

    Raises
    ------
    ConnectError
        The host cannot be reached, or does not answer as Redshift does.
    CredentialsError
        It does not accept user and password.
    UserError
        redshift_connector is not installed.
    """
    driver = _driver()
    place = f"Redshift at {login.host}:{login.port}"
    encrypted = login.host not in _LOOPBACK if ssl is None else ssl
    opened = None
    try:
        opened = driver.connect(
            host=login.host,
            port=login.port,
            database=login.database,
            user=login.user,
            password=login.password,
            ssl=encrypted,
            timeout=CONNECT_SECONDS,
        )
    except Exception as error:
        problem = _connect_error(error, place, login, encrypted)
        cause = None if login.password in repr(error) else error
    if opened is None:
        raise problem from cause
    try:
        # the driver has one timeout, for connecting and for the longest silence of a query
        opened._usock.settimeout(timeout + _GRACE_SECONDS if timeout else None)
        if timeout:
            opened.autocommit = True  # a rollback would take the setting back
            execute(opened, f"SET statement_timeout TO {max(int(timeout * 1000), 1)}")
            opened.autocommit = False
        yield opened
    except KeyboardInterrupt:
        cancel(opened, login)
        raise
    finally:
        with contextlib.suppress(Exception):
            opened.close()


def execute(opened: Any, query: str, params: Params | None = None, *, head: str = "") -> Any:
    """Run one statement; its parameters are bound by the server.

    Parameters
    ----------
    opened : redshift_connector.Connection
    query : str
    params : mapping or sequence, optional
    head : str
        What is put before the query, and does not count for the place of an error.

    Returns
    -------
    redshift_connector.Cursor

    Raises
    ------
    QueryError
        Redshift refused the query; with Redshift's words, and the place that it names.
    QueryTimeoutError
        It took longer than the connection's timeout.
    AccessDeniedError
        The user lacks a privilege.
    """
    marked, values = for_wire(query, params)
    text = _numbered(marked, len(values)) if values else marked
    cursor = opened.cursor()
    cursor.paramstyle = "qmark"
    try:
        cursor.execute(head + marked, values or None)
    except Exception as error:
        raise _execute_error(error, text, len(head)) from error
    return cursor


def columns_of(cursor: Any) -> list[Column]:
    """Return the columns of what was run, none for a statement that returns nothing."""
    described = cursor.description or []
    rows = cursor.ps["row_desc"] if cursor.ps else []
    return [
        wire_column(_name(one[0]), int(one[1]), int(row["type_modifier"]))
        for one, row in zip(described, rows, strict=False)
    ]


def tables_of(cursor: Any, columns: Sequence[Column]) -> Iterator[pa.Table]:
    """Give the rows that were fetched piece by piece, forgetting each; at least one piece."""
    rows = cursor.fetchmany(_ROWS) if columns else ()
    while True:
        following = cursor.fetchmany(_ROWS) if rows else ()
        yield arrow_table(columns, rows)
        if not following:
            return
        rows = following


def cancel(opened: Any, login: Login) -> None:
    """Ask the server to end what this connection runs; as the protocol has it, on another one."""
    key = getattr(opened, "_backend_key_data", None)
    if not key:
        return
    with contextlib.suppress(OSError), socket.create_connection((login.host, login.port), 5) as end:
        end.sendall(struct.pack("!ii", 16, _CANCEL_REQUEST) + key)
        end.recv(1)


def _driver() -> Any:
    try:
        import redshift_connector
    except ImportError as error:
        raise UserError(
            "redshift_connector is not installed.",
            fix="Run: pip install 'batcat-runtime[redshift]' (or: pip install redshift_connector).",
        ) from error
    return redshift_connector


def _numbered(marked: str, count: int) -> str:
    """Return the query as the server will get it, with ``$1`` for the first ``?`` and so on.

    The driver finds each ``?`` by a scanner of its own, which knows no backslash in a literal.
    Where it would take another one than we do, the query is refused instead of changed.
    """
    from redshift_connector.core import convert_paramstyle

    numbers = iter(range(1, marked.count("?") + 1))
    text = "".join(
        re.sub(r"\?", lambda _: f"${next(numbers)}", part.text)
        if part.kind == "code"
        else part.text
        for part in pieces(marked, "redshift")
    )
    found = sum(part.text.count("?") for part in pieces(marked, "redshift") if part.kind == "code")
    if found != count or convert_paramstyle("qmark", marked)[0] != text:
        raise UserError(
            "The query holds a question mark that is no parameter, and parameters beside it.",
            fix="Pass the text that holds the question mark as a parameter too.",
        )
    return text


def _name(name: Any) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def _connect_error(error: Exception, place: str, login: Login, ssl: bool) -> BatcatError:
    detail = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    said = str(detail.get("M") or ": ".join(map(str, error.args)) or type(error).__name__)
    reason = said.replace(login.password or "\0", "***").rstrip(".")
    if detail.get("C") in _WRONG_LOGIN:
        return CredentialsError(
            f"{place} does not accept the user {login.user!r} with this password ({reason}).",
            fix="Check user and password; for a secret, whether it was rotated.",
        )
    if detail:
        return ConnectError(
            f"{place} refused the connection: {reason}.", fix="Check database and user."
        )
    if "refuses SSL" in reason:
        return ConnectError(
            f"{place} does not encrypt.", fix="Check the port; or give ssl=False if that is right."
        )
    if ssl and "certificate" in reason.lower():
        return ConnectError(
            f"{place} has a certificate that is not trusted: {reason}.",
            fix="Give the cluster's own host name, and not an address or a tunnel.",
        )
    return ConnectError(
        f"{place} cannot be reached: {reason}.",
        fix="Check host and port. A cluster inside a VPC lets nobody in from outside: use "
        "read_data_from_redshift_by_secret, which needs no connection to it.",
    )


def _execute_error(error: Exception, query: str, before: int) -> BatcatError:
    if isinstance(error, BatcatError):
        return error
    detail = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    reason = ". ".join(str(detail[key]) for key in ("M", "D", "H") if detail.get(key))
    if detail.get("C") == _CANCELLED or isinstance(error, TimeoutError):
        return QueryTimeoutError(
            f"Redshift ended the query: {reason or 'no answer in time'}.",
            fix="Give a longer `timeout`, or read less: fewer days, fewer columns.",
        )
    if detail.get("C") == _DENIED:
        return AccessDeniedError(
            f"Redshift denied access: {reason}.", fix="Ask the owner for a GRANT on it."
        )
    if not detail:
        return ConnectError(
            f"The connection to Redshift broke: {error}.", fix="Try again; check the network."
        )
    if not str(detail.get("P", "")).isdigit():
        return query_error("Redshift", reason)
    line, column = line_and_column(query, int(detail["P"]) - before)
    return query_error("Redshift", reason, query, line=line, column=column)
