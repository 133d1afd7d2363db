"""Redshift's wire protocol: one connection, from log-in to the end.

It is PostgreSQL's protocol, version 3 (its documentation, "Frontend/Backend Protocol"), with the
simple and the extended query protocol, a password in the clear (this is loopback), cancel requests
and transactions that a failed statement aborts. What SQL does is `redshift_session`'s business.
"""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from batcat_runtime.io.query import pieces

from .redshift_dialect import statements_of
from .redshift_encoding import (
    data_row,
    format_of,
    from_wire,
    parameter_type,
    row_description,
)
from .redshift_outcome import Outcome, ResultColumn
from .redshift_session import Session
from .redshift_words import RedshiftError

log = logging.getLogger(__name__)

Login = Callable[[str, str, str], Session]
_SSL_REQUEST, _GSS_REQUEST, _CANCEL_REQUEST = 80877103, 80877104, 80877102
_VERSION = "8.0.2"
_STATES = (
    (r"syntax error", "42601"),
    (r"relation .* does not exist", "42P01"),
    (r"column .* does not exist|no column", "42703"),
    (r"schema .* does not exist", "3F000"),
    (r"database .* does not exist", "3D000"),
    (r"function .* does not exist", "42883"),
    (r"permission denied|not authorized", "42501"),
    (r"already exists", "42P07"),
    (r"cancel", "57014"),
    (r"password authentication failed", "28000"),
    (r"current transaction is aborted", "25P02"),
    (r"division by zero|divide by zero", "22012"),
)


@dataclass
class _Prepared:
    sql: str
    oids: list[int]


@dataclass
class _Portal:
    sql: str
    values: dict[str, str | None]
    formats: list[int]
    outcome: Outcome | None = None
    rows: Iterator[tuple[Any, ...]] | None = None
    sent: int = 0


@dataclass
class Cancels:
    """Who may be cancelled: from (process id, secret) to what interrupts it."""

    running: dict[tuple[int, int], Callable[[], None]] = field(default_factory=dict)


class WireConnection:
    """One client on its socket.

    Parameters
    ----------
    client : socket.socket
    login : callable
        From user, password and database to a session; raises `RedshiftError` to refuse.
    cancels : Cancels
        Shared by all connections of the server.
    """

    def __init__(self, client: socket.socket, login: Login, cancels: Cancels) -> None:
        self._client = client
        self._stream = client.makefile("rwb")
        self._login = login
        self._cancels = cancels
        self._prepared: dict[str, _Prepared] = {}
        self._portals: dict[str, _Portal] = {}
        self._aborted = False
        # After an error in the extended protocol, everything is skipped up to the next Sync.
        self._skipping = False

    def serve(self) -> None:
        """Speak with the client until it leaves."""
        with contextlib.suppress(OSError, EOFError, ValueError):
            start = self._start()
            if start is None:
                return
            self._send(b"R", struct.pack("!i", 3))
            self._stream.flush()
            kind, body = self._read()
            if kind != b"p":
                return
            password = body.rstrip(b"\0").decode()
            user, database = start.get("user", ""), start.get("database") or start.get("user", "")
            try:
                session = self._login(user, password, database)
            except RedshiftError as error:
                self._send_error(error, fatal=True)
                self._stream.flush()
                return
            self._converse(session)

    def _start(self) -> dict[str, str] | None:
        while True:
            (size,) = struct.unpack("!i", self._exactly(4))
            body = self._exactly(size - 4)
            (code,) = struct.unpack("!i", body[:4])
            if code in (_SSL_REQUEST, _GSS_REQUEST):
                self._stream.write(b"N")
                self._stream.flush()
            elif code == _CANCEL_REQUEST:
                interrupt = self._cancels.running.get(struct.unpack("!ii", body[4:12]))
                if interrupt:
                    interrupt()
                return None
            else:
                words = body[4:].rstrip(b"\0").decode().split("\0")
                return dict(zip(words[::2], words[1::2], strict=False))

    def _converse(self, session: Session) -> None:
        key = (session.pid, secrets.randbelow(2**31))
        self._cancels.running[key] = session.connection.interrupt
        try:
            self._send(b"R", struct.pack("!i", 0))
            for name, value in (
                ("server_version", _VERSION),
                ("server_encoding", "UNICODE"),
                ("client_encoding", "UNICODE"),
                ("DateStyle", "ISO, MDY"),
                ("TimeZone", "UTC"),
                ("integer_datetimes", "on"),
                ("standard_conforming_strings", "on"),
                ("server_protocol_version", "0"),
            ):
                self._send(b"S", f"{name}\0{value}\0".encode())
            self._send(b"K", struct.pack("!ii", *key))
            self._ready(session)
            while True:
                kind, body = self._read()
                if kind == b"X":
                    return
                self._answer(session, kind, body)
        finally:
            del self._cancels.running[key]
            session.close()

    def _answer(self, session: Session, kind: bytes, body: bytes) -> None:
        if kind == b"S":
            self._skipping = False
            self._ready(session)
            return
        if kind == b"H":
            self._stream.flush()
            return
        if self._skipping:
            return
        work = {
            b"Q": self._query,
            b"P": self._parse,
            b"B": self._bind,
            b"D": self._describe,
            b"E": self._execute,
            b"C": self._close,
        }.get(kind)
        try:
            if work is None:
                raise RedshiftError(f"ERROR: the message {kind!r} is not known")
            work(session, body)
        except RedshiftError as error:
            self._fail(session, error, simple=kind == b"Q")
        except Exception as error:
            log.exception("a statement failed in the embedded AWS")
            text = f"ERROR: the embedded AWS failed: {type(error).__name__}: {error}"
            self._fail(session, RedshiftError(text), simple=kind == b"Q")

    def _fail(self, session: Session, error: RedshiftError, *, simple: bool) -> None:
        self._send_error(error)
        self._aborted = self._aborted or session.in_transaction
        if simple:
            self._ready(session)
        else:
            self._skipping = True

    def _query(self, session: Session, body: bytes) -> None:
        statements = statements_of(body.rstrip(b"\0").decode())
        if not statements:
            self._send(b"I")
        for sql in statements:
            outcome = self._perform(session, sql, {})
            if outcome.columns is not None:
                self._send(b"T", row_description(outcome.columns, []))
                for row in _rows(outcome):
                    self._send(b"D", data_row(outcome.columns, row, []))
            self._send(b"C", _tag(sql, outcome.rows))
        self._ready(session)

    def _parse(self, session: Session, body: bytes) -> None:
        name, rest = _text(body)
        sql, rest = _text(rest)
        (count,) = struct.unpack("!h", rest[:2])
        oids = list(struct.unpack(f"!{count}i", rest[2 : 2 + 4 * count]))
        self._prepared[name] = _Prepared(_named(sql, oids), oids)
        self._send(b"1")

    def _bind(self, session: Session, body: bytes) -> None:
        portal, rest = _text(body)
        name, rest = _text(rest)
        prepared = self._found(self._prepared, name, "prepared statement")
        codes, rest = _shorts(rest)
        (count,) = struct.unpack("!h", rest[:2])
        rest = rest[2:]
        values: dict[str, str | None] = {}
        for number in range(count):
            (size,) = struct.unpack("!i", rest[:4])
            data, rest = (None, rest[4:]) if size < 0 else (rest[4 : 4 + size], rest[4 + size :])
            oid = prepared.oids[number] if number < len(prepared.oids) else 0
            binary = format_of(codes, number) == 1
            values[f"p{number + 1}"] = None if data is None else from_wire(oid, data, binary)
        formats, _ = _shorts(rest)
        self._portals[portal] = _Portal(prepared.sql, values, formats)
        self._send(b"2")

    def _describe(self, session: Session, body: bytes) -> None:
        name, _ = _text(body[1:])
        if body[:1] == b"S":
            prepared = self._found(self._prepared, name, "prepared statement")
            given = [oid or 705 for oid in prepared.oids]
            self._send(b"t", struct.pack(f"!h{len(given)}i", len(given), *given))
            nothing: dict[str, str | None] = {
                f"p{number + 1}": None for number in range(len(given))
            }
            columns, formats = self._columns(session, prepared.sql, nothing), []
        else:
            portal = self._found(self._portals, name, "portal")
            columns, formats = self._columns(session, portal.sql, portal.values), portal.formats
        if columns is None:
            self._send(b"n")
        else:
            self._send(b"T", row_description(columns, formats))

    def _execute(self, session: Session, body: bytes) -> None:
        name, rest = _text(body)
        (limit,) = struct.unpack("!i", rest[:4])
        portal = self._found(self._portals, name, "portal")
        if portal.outcome is None:
            if not portal.sql.strip():
                self._send(b"I")
                return
            portal.outcome = self._perform(session, portal.sql, portal.values)
            portal.rows = iter(_rows(portal.outcome))
        assert portal.rows is not None
        columns = portal.outcome.columns or []
        for sent, row in enumerate(portal.rows, start=1):
            self._send(b"D", data_row(columns, row, portal.formats))
            if sent == limit:
                self._send(b"s")
                return
        self._send(b"C", _tag(portal.sql, portal.outcome.rows))

    def _close(self, session: Session, body: bytes) -> None:
        name, _ = _text(body[1:])
        (self._prepared if body[:1] == b"S" else self._portals).pop(name, None)
        self._send(b"3")

    def _perform(self, session: Session, sql: str, values: dict[str, str | None]) -> Outcome:
        first = sql.split(None, 1)[0].rstrip(";").upper()
        ending = first in ("ROLLBACK", "ABORT", "COMMIT", "END")
        if self._aborted and not ending:
            raise RedshiftError(
                "ERROR: current transaction is aborted, commands ignored until end of transaction "
                "block"
            )
        if self._aborted:
            session.rollback()
            self._aborted = False
            return Outcome()
        milliseconds = float(session.settings.get("statement_timeout") or 0)
        timer = threading.Timer(milliseconds / 1000, session.connection.interrupt)
        if milliseconds:
            timer.start()
        try:
            return session.run(sql, values)
        finally:
            timer.cancel()

    def _columns(
        self, session: Session, sql: str, values: dict[str, str | None]
    ) -> list[ResultColumn] | None:
        return None if self._aborted else session.describe(sql, values)

    def _found(self, known: dict[str, Any], name: str, what: str) -> Any:
        if name not in known:
            raise RedshiftError(f'ERROR: {what} "{name}" does not exist')
        return known[name]

    def _ready(self, session: Session) -> None:
        state = b"E" if self._aborted else b"T" if session.in_transaction else b"I"
        self._send(b"Z", state)
        self._stream.flush()

    def _send_error(self, error: RedshiftError, *, fatal: bool = False) -> None:
        text = str(error)
        position = re.search(r"\s*Position: (\d+);?", text)
        message = re.sub(r"\s*Position: \d+;?", "", text)
        message = re.sub(r"^(ERROR|FATAL):\s*", "", message)
        lowered = message.lower()
        state = next((code for words, code in _STATES if re.search(words, lowered)), "XX000")
        fields = {"S": "FATAL" if fatal else "ERROR", "C": state, "M": message}
        if position:
            fields["P"] = position[1]
        body = b"".join(f"{name}{value}\0".encode() for name, value in fields.items())
        self._send(b"E", body + b"\0")

    def _send(self, kind: bytes, body: bytes = b"") -> None:
        self._stream.write(kind + struct.pack("!i", len(body) + 4) + body)

    def _read(self) -> tuple[bytes, bytes]:
        kind = self._exactly(1)
        (size,) = struct.unpack("!i", self._exactly(4))
        return kind, self._exactly(size - 4)

    def _exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) < size:
            raise EOFError
        return data


def _named(sql: str, oids: list[int]) -> str:
    """Return the statement with ``:p1`` for ``$1``, cast to the type that the client names."""

    def name(match: re.Match[str]) -> str:
        number = int(match[1])
        kind = parameter_type(oids[number - 1]) if number <= len(oids) else ""
        return f"cast(:p{number} as {kind})" if kind else f":p{number}"

    return "".join(
        re.sub(r"\$(\d+)", name, part.text) if part.kind == "code" else part.text
        for part in pieces(sql, "redshift")
    )


def _rows(outcome: Outcome) -> Iterator[tuple[Any, ...]]:
    if outcome.table is None:
        return
    for batch in outcome.table.to_batches(max_chunksize=10_000):
        columns = [column.to_pylist() for column in batch.columns]
        yield from zip(*columns, strict=True)


def _tag(sql: str, rows: int) -> bytes:
    words = re.findall(r"[A-Za-z]+", sql)[:2]
    first = words[0].upper() if words else ""
    if first in ("SELECT", "WITH", "SHOW", "EXPLAIN"):
        tag = f"SELECT {rows}"
    elif first == "INSERT":
        tag = f"INSERT 0 {rows}"
    elif first in ("UPDATE", "DELETE", "MERGE", "COPY"):
        tag = f"{first} {rows}"
    elif first in ("CREATE", "DROP", "ALTER", "TRUNCATE"):
        tag = " ".join(words).upper()
    else:
        tag = first
    return tag.encode() + b"\0"


def _text(body: bytes) -> tuple[str, bytes]:
    text, _, rest = body.partition(b"\0")
    return text.decode(), rest


def _shorts(body: bytes) -> tuple[list[int], bytes]:
    (count,) = struct.unpack("!h", body[:2])
    end = 2 + 2 * count
    return list(struct.unpack(f"!{count}h", body[2:end])), body[end:]
