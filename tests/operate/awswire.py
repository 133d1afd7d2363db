"""A wire between a command and its embedded AWS: it can be unplugged, and answer some itself."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

# From an operation's name to the error code that it is answered with, or None to pass it on.
Rule = Callable[[str], str | None]


class Wire:
    """Passes requests on; `plug` it in first.

    Attributes
    ----------
    asked : Counter
        How often each operation was asked for.
    rule : callable
        May be changed at any time.
    """

    def __init__(self, endpoint: str, rule: Rule) -> None:
        self.rule = rule
        self.asked: Counter[str] = Counter()
        self._target = urlsplit(endpoint)
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self._open: set[socket.socket] = set()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def plug(self) -> None:
        """Listen, at the same port as before."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), self._handler())
        self._server.daemon_threads = True
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def unplug(self) -> None:
        """Cut all connections, and refuse new ones."""
        if self._server is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._server = None
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        wire = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                wire._open.add(self.connection)

            def finish(self) -> None:
                wire._open.discard(self.connection)
                with contextlib.suppress(OSError):
                    super().finish()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                operation = (self.headers.get("X-Amz-Target") or "").rpartition(".")[2]
                wire.asked[operation] += 1
                code = wire.rule(operation)
                if code:
                    answer = json.dumps({"__type": code, "message": "said the wire"})
                    self._answer(400, {}, answer.encode())
                    return
                self._answer(*wire._pass_on(self, body))

            do_GET = do_PUT = do_POST  # noqa: N815

            def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def _pass_on(self, asked: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(
            str(self._target.hostname), self._target.port, timeout=60
        )
        # The server serves its own host and port only.
        headers = {name: value for name, value in asked.headers.items() if name != "Host"}
        connection.request(asked.command, asked.path, body, headers)
        got = connection.getresponse()
        kept = {"content-type", "x-amzn-requestid", "x-amzn-errortype"}
        passed = {name: value for name, value in got.getheaders() if name.lower() in kept}
        content = got.read()
        connection.close()
        return got.status, passed, content


@contextmanager
def wire_to(endpoint: str, rule: Rule = lambda operation: None) -> Iterator[Wire]:
    """Yield a wire that is plugged in."""
    wire = Wire(endpoint, rule)
    wire.plug()
    try:
        yield wire
    finally:
        wire.unplug()
