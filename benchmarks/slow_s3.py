"""An endpoint that serves objects as slowly as S3 does: 90 MB/s a connection, after 15 ms.

On loopback one connection is as fast as many, which it never is on S3. It is a process of its own,
and lets the kernel send the files, so that it takes little of what its clients could use.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

DELAY = 0.015
_BYTES_A_SECOND = 90e6
_PIECE_BYTES = 1 << 20


class _Objects(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        path = Path(sys.argv[1], unquote(urlsplit(self.path).path).lstrip("/"))
        size = path.stat().st_size
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"] or "")
        start = int(found[1]) if found else 0
        end = min(int(found[2] or size) + 1, size) if found else size
        time.sleep(DELAY)
        self.send_response(206 if found else 200)
        self.send_header("ETag", f'"{size}"')
        self.send_header("Content-Length", str(end - start))
        self.send_header("Last-Modified", "Sat, 01 Jan 2022 00:00:00 GMT")
        if found:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.end_headers()
        if self.command == "GET":
            self._send(path, start, end)

    do_HEAD = do_GET  # noqa: N815

    def _send(self, path: Path, start: int, end: int) -> None:
        began, first = time.perf_counter(), start
        with path.open("rb") as file:
            while start < end:
                count = min(_PIECE_BYTES, end - start)
                start += os.sendfile(self.connection.fileno(), file.fileno(), start, count)
                late = (start - first) / _BYTES_A_SECOND - (time.perf_counter() - began)
                time.sleep(max(late, 0))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serve_slowly(folder: Path) -> Iterator[dict[str, str]]:
    """Serve a folder of buckets until the block ends; yield the variables that point to it."""
    command = [sys.executable, "-m", "benchmarks.slow_s3", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{int(server.stdout.readline())}",
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


if __name__ == "__main__":
    running = ThreadingHTTPServer(("127.0.0.1", 0), _Objects)
    running.daemon_threads = True
    print(running.server_address[1], flush=True)
    running.serve_forever()
