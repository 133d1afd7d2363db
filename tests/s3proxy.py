"""Stands between a client and an S3 server on loopback: records requests, and answers some itself.

For what a sound server does not do on demand: refuse, break off, be slow to recover.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.s3server import S3Server

HANG_UP = (0, b"")  # without a word
LOSE_ANSWER = (-1, b"")  # when the server has done what it was asked
CUT_ANSWER = (-2, b"")  # in its middle


@dataclass(frozen=True)
class Request:
    """What a client asked for; header names in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]


# status, body and, if need be, headers; None: what the server says
Answer = tuple[int, bytes] | tuple[int, bytes, dict[str, str]]
Rule = Callable[[Request], Answer | None]


@dataclass
class S3Proxy:
    """Where clients find the proxy, and what they asked so far."""

    endpoint: str
    requests: list[Request] = field(default_factory=list)


def error(code: str, message: str, status: int = 403) -> tuple[int, bytes]:
    """Return an answer in S3's form."""
    text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return status, f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode()


@contextmanager
def proxy_to(
    server: S3Server, rule: Rule = lambda request: None, *, waits: bool = False
) -> Iterator[S3Proxy]:
    """Pass whole requests on to a server, but for those that the rule has an answer to.

    AWS clients that are made within the block find the proxy. If it `waits`, the block ends when
    all clients have hung up and the server has answered what they asked.
    """
    target = urlsplit(server.endpoint)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # as in tests/faultproxy.py

        def _serve(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size)
            if len(body) < size:  # the client was killed
                self.close_connection = True
                return
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query, True).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Request(self.command, url.path, query, headers)
            seen.requests.append(asked)
            answer = rule(asked)
            if answer == HANG_UP:
                self.close_connection = True
                return
            if answer is not None and answer[0] > 0:
                status, content, *more = answer
                self._answer(status, {"Content-Type": "application/xml", **dict(*more)}, content)
                return
            connection = http.client.HTTPConnection(str(target.hostname), target.port, timeout=60)
            sent = {name: value for name, value in self.headers.items() if name != "Expect"}
            connection.request(self.command, self.path, body, sent)
            got = connection.getresponse()
            kept = {"etag", "content-type", "last-modified", "content-range", "x-amz-version-id"}
            passed = {name: value for name, value in got.getheaders() if name.lower() in kept}
            length = got.getheader("Content-Length") if self.command == "HEAD" else None
            content = got.read()
            connection.close()
            self.close_connection = answer is not None
            if answer == CUT_ANSWER:
                self._answer(
                    got.status, passed, content[: len(content) // 2], str(len(content) + 1)
                )
            elif answer is None:
                self._answer(got.status, passed, content, length)

        def _answer(
            self, status: int, headers: dict[str, str], body: bytes, length: str | None = None
        ) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", length or str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd,
        pytest.MonkeyPatch.context() as env,
    ):
        httpd.daemon_threads = not waits
        seen = S3Proxy(f"http://127.0.0.1:{httpd.server_port}")
        env.setenv("AWS_ENDPOINT_URL", seen.endpoint)
        threading.Thread(target=httpd.serve_forever, args=(0.02,)).start()
        try:
            yield seen
        finally:
            httpd.shutdown()
