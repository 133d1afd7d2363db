"""An S3 server for one object that breaks connections, or changes its mind, as it is told to."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FlakyObject:
    """The object, and how it is served.

    Attributes
    ----------
    content : bytes
        What it holds now.
    break_after : callable
        From the number of a request, from 0, to the number of bytes after which its connection
        breaks; None: it does not.
    before : callable
        Called with the object and the number of a request before it is answered.
    requests : list of tuple
        What was asked for: range and If-Match, in order.
    heeds_if_match : bool
        Whether If-Match counts, as it does with S3.
    refusal : tuple of int and str, or callable, or None
        The status and error code that every request is answered with; or from a request's number
        to what that one is answered with.
    is_proxy : bool
        Whether it answers as S3 never does: always with the whole, which it calls 200, and neither
        with ETag nor length.
    """

    content: bytes
    break_after: Callable[[int], int | None] = lambda _: None
    before: Callable[[FlakyObject, int], None] = lambda *_: None
    requests: list[tuple[str | None, str | None]] = field(default_factory=list)
    heeds_if_match: bool = True
    refusal: tuple[int, str] | Callable[[int], tuple[int, str] | None] | None = None
    is_proxy: bool = False
    endpoint: str = ""

    @property
    def etag(self) -> str:
        """Changes with the content."""
        return f'"{hashlib.md5(self.content).hexdigest()}"'

    def environment(self) -> dict[str, str]:
        """Return the variables that point AWS clients to the server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",
        }


@contextmanager
def serve_flaky(one: FlakyObject) -> Iterator[FlakyObject]:
    """Serve the object under every bucket and key, on a free port of loopback."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # as in tests/faultproxy.py

        def do_GET(self) -> None:
            with lock:
                number = len(one.requests)
                one.requests.append((self.headers["Range"], self.headers["If-Match"]))
            one.before(one, number)
            refusal = one.refusal(number) if callable(one.refusal) else one.refusal
            if refusal:
                self._refuse(*refusal)
                return
            content, etag = one.content, one.etag
            wanted = self.headers["If-Match"]
            if one.heeds_if_match and wanted not in (None, etag):
                self._refuse(412, "PreconditionFailed")
                return
            if one.is_proxy:
                self._answer_as_proxy(content)
                return
            first, last = _range(self.headers["Range"], len(content))
            if first >= len(content) and self.headers["Range"]:
                self._refuse(416, "InvalidRange")
                return
            body = content[first : last + 1]
            self.send_response(206 if self.headers["Range"] else 200)
            self.send_header("ETag", etag)
            self.send_header("Content-Length", str(len(body)))
            if self.headers["Range"]:
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            self.end_headers()
            cut = one.break_after(number)
            self.wfile.write(body[:cut])
            if cut is not None:
                self.close_connection = True

        def _answer_as_proxy(self, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content))

        def _refuse(self, status: int, code: str) -> None:
            body = f"<Error><Code>{code}</Code><Message>said the server</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    one.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield one
    finally:
        server.shutdown()
        server.server_close()


def _range(header: str | None, size: int) -> tuple[int, int]:
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if not found:
        return 0, size - 1
    if not found[1]:
        return max(size - int(found[2]), 0), size - 1
    return int(found[1]), min(int(found[2] or size), size - 1)
