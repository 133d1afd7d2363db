"""A proxy on the wire in front of an embedded AWS: it answers some calls itself, late or never.

Everything that is asked of that AWS passes through it: what the real `batcat` asks, and what one of
its services asks another, as CloudFormation does for the resources of a stack.

    with proxied_aws("us-east-1") as (aws, proxy):
        with proxy.having(Fault("logs", "CreateLogGroup", "AccessDenied", times=0)):
            ...
"""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from batcat_runtime.rehearsal import EmbeddedAWS
from batcat_runtime.rehearsal.wire import Call, ServiceError, error_response, read_call

_HOP = {"connection", "expect", "host", "keep-alive", "transfer-encoding", "content-length"}


@dataclass(frozen=True)
class Fault:
    """What happens to calls of an operation.

    Attributes
    ----------
    service, operation : str
        As botocore calls them: ``cloudformation``, ``DescribeStacks``; ``*`` for every one.
    code, message : str
        The error that they are answered with; without a code the real answer comes.
    status : int
        The HTTP status of the error.
    after, times : int
        How many calls pass first, and how many of the next have the fault; 0: all.
    delay : float
        Seconds before anything is answered.
    reset : bool
        Whether the connection is reset in place of an answer.
    edit : callable, optional
        From the real answer's body to what is sent in its place.
    headers : dict of str to str
        Laid over the headers of the answer, such as another ``Date``.
    """

    service: str
    operation: str
    code: str = ""
    message: str = "said the wire"
    status: int = 400
    after: int = 0
    times: int = 1
    delay: float = 0.0
    reset: bool = False
    edit: Callable[[bytes], bytes] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class FaultProxy:
    """Passes requests on to `target`, which is set once that listens.

    Attributes
    ----------
    asked : Counter
        How often each call, such as ``stepfunctions:StartExecution``, came while there were faults.
    """

    def __init__(self) -> None:
        self.target = ""
        self.asked: Counter[str] = Counter()
        self._faults: tuple[Fault, ...] = ()
        self._met: Counter[int] = Counter()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FaultProxy:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def set(self, *faults: Fault) -> None:
        """Have these faults from now on, each counted anew; without any, all is well again."""
        with self._lock:
            self._faults = faults
            self._met.clear()
            self.asked.clear()

    @contextmanager
    def having(self, *faults: Fault) -> Iterator[None]:
        """Have these faults for as long as the context lasts."""
        self.set(*faults)
        try:
            yield
        finally:
            self.set()

    def fault_of(self, environ: dict[str, Any]) -> tuple[Call | None, Fault | None]:
        """Return the call that a request is, and the fault that it meets."""
        if not self._faults:
            return None, None
        call = read_call(environ)
        service, operation = (call.service, call.operation) if call else ("", "")
        with self._lock:
            self.asked[f"{service}:{operation}"] += 1
            for number, fault in enumerate(self._faults):
                if fault.service not in ("*", service) or fault.operation not in ("*", operation):
                    continue
                self._met[number] += 1
                due = self._met[number] - fault.after
                if due > 0 and (fault.times == 0 or due <= fault.times):
                    return call, fault
        return call, None


@contextmanager
def proxied_aws(region: str, **how: Any) -> Iterator[tuple[EmbeddedAWS, FaultProxy]]:
    """Yield an embedded AWS of which all is asked through a proxy, and the proxy."""
    with FaultProxy() as proxy, contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as environment:  # of this AWS, and of no other
            environment.setenv("BATCAT_EMBEDDED_VIA", proxy.endpoint)
            aws = stack.enter_context(EmbeddedAWS(region=region, set_environment=False, **how))
        proxy.target = aws.endpoint_url
        aws.endpoint_url = proxy.endpoint
        yield aws, proxy


def _handler(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Else a body waits 40 ms for the client to acknowledge the headers.
        disable_nagle_algorithm = True

        def answer(self) -> None:
            body = self._body()
            call, fault = proxy.fault_of(self._environ(body))
            if fault and fault.delay:
                time.sleep(fault.delay)
            if fault and fault.reset:
                # Without waiting for what was sent: that is a reset, not an end.
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
                self.connection.close()
                return
            if fault and fault.code and call:
                error = ServiceError(fault.code, fault.message, fault.status)
                answer = error_response(call, error)
                self._send(answer.status, {**answer.headers, **fault.headers}, answer.body)
                return
            status, headers, content = self._pass_on(body)
            if fault:
                content = fault.edit(content) if fault.edit else content
                headers |= fault.headers
            self._send(status, headers, content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer  # noqa: N815

        def _body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _environ(self, body: bytes) -> dict[str, Any]:
            path, _, query = self.path.partition("?")
            given = {
                f"HTTP_{name.upper().replace('-', '_')}": value
                for name, value in self.headers.items()
            }
            return given | {
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "SERVER_NAME": "127.0.0.1",
                "SERVER_PORT": "80",
                "wsgi.url_scheme": "http",
                "wsgi.input": io.BytesIO(body),
                "CONTENT_LENGTH": str(len(body)),
                "CONTENT_TYPE": self.headers.get("Content-Type") or "",
            }

        def _pass_on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            place = urlsplit(proxy.target)
            upstream = http.client.HTTPConnection(str(place.hostname), place.port, timeout=900)
            # The server serves its own host and port only.
            given = self.headers.items()
            headers = {name: text for name, text in given if name.lower() not in _HOP}
            upstream.request(self.command, self.path, body or None, headers)
            got = upstream.getresponse()
            content = got.read()
            passed = {name: text for name, text in got.getheaders() if name.lower() not in _HOP}
            if self.command == "HEAD" and got.getheader("Content-Length"):
                passed["Content-Length"] = str(got.getheader("Content-Length"))
            upstream.close()
            return got.status, passed, content

        def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            with contextlib.suppress(OSError):
                self.send_response_only(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
