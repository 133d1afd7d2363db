"""A relay before a server on loopback, which knows when the server is done with a dead client.

Clients go through it by ``http_proxy``, so that their requests still name the server itself.

A client that was killed may have sent a last request, and the server may still be at work on it.
A connection through the relay stays open until the server has closed its side, which it does once
it has answered, or given up, what it was asked.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import urlsplit

Server = TypeVar("Server", bound=socketserver.BaseServer)


class Relay(socketserver.ThreadingTCPServer):
    """Passes bytes on, both ways, and counts its connections."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, endpoint: str) -> None:
        target = urlsplit(endpoint)
        self._target = (str(target.hostname), int(target.port or 80))
        self._open = 0
        self.accepted = 0
        self._changed = threading.Condition()
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"

    def settle(self, timeout: float = 60) -> None:
        """Wait until every connection made before is over, on the side of the server too."""
        with self._changed:
            before = self.accepted
        # connections are accepted in their order: once this one is, all earlier ones are
        socket.create_connection(self.server_address[:2]).close()
        deadline = time.monotonic() + timeout
        with self._changed:
            while self.accepted == before or self._open:
                left = deadline - time.monotonic()
                assert left > 0, f"{self._open} connections did not end within {timeout} s"
                self._changed.wait(left)

    def process_request(self, request: object, client_address: object) -> None:
        """Count a connection as soon as it is accepted."""
        self._count(1)
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def finish_request(self, request: object, client_address: object) -> None:
        """Pass bytes on until both sides have ended."""
        assert isinstance(request, socket.socket)
        try:
            with socket.create_connection(self._target) as server:
                there = threading.Thread(target=_pump, args=(request, server))
                there.start()
                _pump(server, request)
                there.join()
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._changed:
            self._open += change
            self.accepted += max(change, 0)
            self._changed.notify_all()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(ConnectionError):  # a killed process resets its connections
        while data := source.recv(1 << 18):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def relay_to(endpoint: str) -> Iterator[Relay]:
    """Relay to a server, such as ``http://127.0.0.1:4321``, until the block ends."""
    with serving(Relay(endpoint)) as relay:
        yield relay


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Let a server serve in a thread of its own until the block ends."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
