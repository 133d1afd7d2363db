"""Redshift's wire protocol: one connection, from log-in to the end.

It is PostgreSQL's protocol, version 3 (its documentation, "Frontend/Backend Protocol"), as
redshift_connector speaks it: the extended query protocol, a password in the clear (this is
loopback), cancel requests and transactions that a failed statement aborts. What SQL does is
`redshift.Session`'s business.
"""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from .redshift import Outcome, Session
from .redshift_encoding import data_row, parameter, row_description
from .redshift_errors import RedshiftError

log = logging.getLogger(__name__)

Login = Callable[[str, str, str], Session]
Cancels = dict[tuple[int, int], Callable[[], None]]
_SSL_REQUEST, _CANCEL_REQUEST = 80877103, 80877102
_SETTINGS = {
    "server_version": "8.0.2",
    "server_encoding": "UNICODE",
    "client_encoding": "UNICODE",
    "DateStyle": "ISO, MDY",
    "TimeZone": "UTC",
    "integer_datetimes": "on",
    "server_protocol_version": "0",
}
_STATES = (
    (r"syntax error|unterminated", "42601"),
    (r"relation .* does not exist", "42P01"),
    (r"column .* does not exist", "42703"),
    (r"cancel", "57014"),
    (r"password authentication failed", "28000"),
)


@dataclass
class _Prepared:
    sql: str
    oids: list[int]


@dataclass
class _Portal:
    prepared: _Prepared
    values: dict[str, exp.Expression]
    formats: Sequence[int]


class WireConnection:
    """One client on its socket.

    Parameters
    ----------
    client : socket.socket
    login : callable
        From user, password and database to a session; raises `RedshiftError` to refuse.
    cancels : dict
        Shared by all connections of the server: what interrupts each of them.
    """

    def __init__(self, client: socket.socket, login: Login, cancels: Cancels) -> None:
        self._stream = client.makefile("rwb")
        self._login = login
        self._cancels = cancels
        self._prepared: dict[str, _Prepared] = {}
        self._portals: dict[str, _Portal] = {}
        self._aborted = False
        # after an error in the extended protocol, everything is skipped up to the next Sync
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
            user = start.get("user", "")
            try:
                password = body.rstrip(b"\0").decode()
                session = self._login(user, password, start.get("database") or user)
            except RedshiftError as error:
                self._send_error(error, "FATAL")
                self._stream.flush()
                return
            self._converse(session)

    def _start(self) -> dict[str, str] | None:
        while True:
            (size,) = struct.unpack("!i", self._exactly(4))
            body = self._exactly(size - 4)
            (code,) = struct.unpack("!i", body[:4])
            if code == _CANCEL_REQUEST:
                self._cancels.get(struct.unpack("!ii", body[4:12]), lambda: None)()
                return None
            if code != _SSL_REQUEST:
                words = body[4:].rstrip(b"\0").decode().split("\0")
                return dict(zip(words[::2], words[1::2], strict=False))
            self._stream.write(b"N")
            self._stream.flush()

    def _converse(self, session: Session) -> None:
        key = (session.pid, secrets.randbelow(2**31))
        self._cancels[key] = session.duck.interrupt
        try:
            self._send(b"R", struct.pack("!i", 0))
            for name, value in _SETTINGS.items():
                self._send(b"S", f"{name}\0{value}\0".encode())
            self._send(b"K", struct.pack("!ii", *key))
            self._ready(session)
            while True:
                kind, body = self._read()
                if kind == b"X":
                    return
                self._answer(session, kind, body)
        finally:
            del self._cancels[key]
            session.close()

    def _answer(self, session: Session, kind: bytes, body: bytes) -> None:
        if kind == b"S":
            self._skipping = False
            self._ready(session)
        elif kind == b"H":
            self._stream.flush()
        elif not self._skipping:
            try:
                _WORK[kind](self, session, body)
            except RedshiftError as error:
                self._fail(session, error)
            except Exception as error:
                log.exception("a statement failed in the embedded AWS")
                text = f"ERROR: the embedded AWS failed: {type(error).__name__}: {error}"
                self._fail(session, RedshiftError(text))

    def _fail(self, session: Session, error: RedshiftError) -> None:
        self._send_error(error, "ERROR")
        self._aborted = self._aborted or session.in_transaction
        self._skipping = True

    def _parse(self, session: Session, body: bytes) -> None:
        name, rest = _text(body)
        sql, rest = _text(rest)
        (count,) = struct.unpack("!h", rest[:2])
        oids = list(struct.unpack(f"!{count}i", rest[2 : 2 + 4 * count]))
        self._prepared[name] = _Prepared(sql, oids)
        self._send(b"1")

    def _bind(self, session: Session, body: bytes) -> None:
        portal, rest = _text(body)
        name, rest = _text(rest)
        prepared = self._prepared[name]
        codes, rest = _shorts(rest)
        (count,), rest = struct.unpack("!h", rest[:2]), rest[2:]
        values = {}
        for number in range(count):
            (size,), rest = struct.unpack("!i", rest[:4]), rest[4:]
            data, rest = (None, rest) if size < 0 else (rest[:size], rest[size:])
            oid = prepared.oids[number] if number < len(prepared.oids) else 0
            code = codes[number if len(codes) > 1 else 0] if codes else 0
            values[str(number + 1)] = parameter(oid, data, code)
        formats, _ = _shorts(rest)
        self._portals[portal] = _Portal(prepared, values, formats)
        self._send(b"2")

    def _describe(self, session: Session, body: bytes) -> None:
        prepared = self._prepared[_text(body[1:])[0]]
        values = {
            str(number): parameter(oid, None, 0)
            for number, oid in enumerate(prepared.oids, start=1)
        }
        given = [oid or 705 for oid in prepared.oids]
        self._send(b"t", struct.pack(f"!h{len(given)}i", len(given), *given))
        columns = None if self._aborted else session.describe(prepared.sql, values)
        if columns is None:
            self._send(b"n")
        else:
            self._send(b"T", row_description(columns))

    def _execute(self, session: Session, body: bytes) -> None:
        portal = self._portals[_text(body)[0]]
        outcome = self._perform(session, portal.prepared.sql, portal.values)
        for row in outcome.values():
            self._send(b"D", data_row(outcome.columns or [], row, portal.formats))
        self._send(b"C", _tag(portal.prepared.sql, outcome.rows))

    def _close(self, session: Session, body: bytes) -> None:
        name, _ = _text(body[1:])
        known: dict[str, Any] = self._prepared if body[:1] == b"S" else self._portals
        known.pop(name, None)
        self._send(b"3")

    def _perform(self, session: Session, sql: str, values: dict[str, exp.Expression]) -> Outcome:
        if self._aborted:
            if _words(sql)[0] not in ("ROLLBACK", "ABORT", "COMMIT", "END"):
                raise RedshiftError(
                    "ERROR: current transaction is aborted, commands ignored until end of "
                    "transaction block"
                )
            session.rollback()
            self._aborted = False
            return Outcome()
        return session.run(sql, values)

    def _ready(self, session: Session) -> None:
        state = b"E" if self._aborted else b"T" if session.in_transaction else b"I"
        self._send(b"Z", state)
        self._stream.flush()

    def _send_error(self, error: RedshiftError, severity: str) -> None:
        text = str(error)
        position = re.search(r"\s*Position: (\d+);?", text)
        message = re.sub(r"^(ERROR|FATAL):\s*|\s*Position: \d+;?", "", text)
        lowered = message.lower()
        state = next((code for words, code in _STATES if re.search(words, lowered)), "XX000")
        fields = {"S": severity, "C": state, "M": message}
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


_WORK = {
    b"P": WireConnection._parse,
    b"B": WireConnection._bind,
    b"D": WireConnection._describe,
    b"E": WireConnection._execute,
    b"C": WireConnection._close,
}


def _words(sql: str) -> list[str]:
    return [word.upper() for word in re.findall(r"[A-Za-z]+", sql)[:2]] or [""]


def _tag(sql: str, rows: int) -> bytes:
    """Return the tag by which clients learn how many rows there were."""
    words = _words(sql)
    if words[0] in ("SELECT", "WITH", "SHOW"):
        tag = f"SELECT {rows}"
    elif words[0] in ("INSERT", "UPDATE", "DELETE", "COPY", "FETCH"):
        tag = f"{words[0]}{' 0' if words[0] == 'INSERT' else ''} {rows}"
    elif words[0] in ("CREATE", "DROP", "ALTER", "TRUNCATE"):
        tag = " ".join(words)
    else:
        tag = words[0]
    return tag.encode() + b"\0"


def _text(body: bytes) -> tuple[str, bytes]:
    text, _, rest = body.partition(b"\0")
    return text.decode(), rest


def _shorts(body: bytes) -> tuple[Sequence[int], bytes]:
    (count,) = struct.unpack("!h", body[:2])
    end = 2 + 2 * count
    return struct.unpack(f"!{count}h", body[2:end]), body[end:]
