"""What Redshift's wire has and PostgreSQL's has not, put between the two on loopback.

redshift_connector sends start-up parameters that PostgreSQL refuses, and reads the version of the
server; the rest is the same protocol.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from pathlib import Path

_KNOWN = {b"user", b"database", b"application_name", b"client_encoding", b"options"}
_SSL_REQUEST, _CANCEL_REQUEST = 80877103, 80877102


class RedshiftProxy:
    """A server on 127.0.0.1 that passes on to PostgreSQL's Unix socket."""

    def __init__(self, upstream: Path) -> None:
        self._upstream = str(upstream)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.cancels = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        with client, server, contextlib.suppress(OSError):
            server.connect(self._upstream)
            body = _packet(client)
            while struct.unpack("!i", body[:4])[0] == _SSL_REQUEST:
                client.sendall(b"N")
                body = _packet(client)
            if struct.unpack("!i", body[:4])[0] == _CANCEL_REQUEST:
                self.cancels += 1
                server.sendall(struct.pack("!i", len(body) + 4) + body)
                server.recv(1)  # PostgreSQL closes when it has passed the request on
                return
            parts = body[4:].rstrip(b"\0").split(b"\0")
            given = dict(zip(parts[::2], parts[1::2], strict=True))
            start = body[:4] + b"".join(
                name + b"\0" + value + b"\0" for name, value in given.items() if name in _KNOWN
            )
            server.sendall(struct.pack("!i", len(start) + 5) + start + b"\0")
            threading.Thread(target=_pass_on, args=(client, server), daemon=True).start()
            self._answer(server, client)
            _pass_on(server, client)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        """Pass messages on until the server is ready, with the version of a Redshift."""
        kind = b""
        while kind != b"Z":
            kind = _exactly(server, 1)
            body = _packet(server)
            if kind == b"S" and body.startswith(b"server_version\0"):
                body = b"server_version\x008.0.2\0"
            client.sendall(kind + struct.pack("!i", len(body) + 4) + body)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _packet(end: socket.socket) -> bytes:
    return _exactly(end, struct.unpack("!i", _exactly(end, 4))[0] - 4)


def _exactly(end: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = end.recv(size - len(data))
        if not more:
            raise ConnectionError("closed")
        data += more
    return data
