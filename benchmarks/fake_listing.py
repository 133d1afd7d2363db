"""An endpoint that answers ListObjectsV2 and nothing else: prefix ``1000000/`` has so many keys.

Objects need not exist to be listed, so a million of them cost nothing but the pages asked for. It
is a process of its own, as a server is.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from benchmarks.data import BUCKET

_PAGE = 1_000
_SPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_ENTRY = (
    "<Contents><Key>{}part-{:07}.parquet</Key><LastModified>2022-01-01T00:00:00.000Z</LastModified>"
    "<ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>4096</Size>"
    "<StorageClass>STANDARD</StorageClass></Contents>"
)


def page(query: dict[str, list[str]]) -> str:
    """Return a page of keys as S3 writes it."""
    prefix = query["prefix"][0]
    total = int(prefix.split("/")[0])
    start = int(query.get("continuation-token", ["0"])[0])
    end = min(start + int(query.get("max-keys", [str(_PAGE)])[0]), total)
    more = end < total
    entries = "".join(_ENTRY.format(prefix, number) for number in range(start, end))
    token = f"<NextContinuationToken>{end}</NextContinuationToken>" if more else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="{_SPACE}">'
        f"<Name>{BUCKET}</Name><Prefix>{prefix}</Prefix><KeyCount>{end - start}</KeyCount>"
        f"<MaxKeys>{_PAGE}</MaxKeys><EncodingType>url</EncodingType>"
        f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{entries}</ListBucketResult>"
    )


class _Listing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        body = page(parse_qs(urlsplit(self.path).query)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serve_listing() -> Iterator[dict[str, str]]:
    """Serve until the block ends; yield the variables that point clients at it."""
    command = [sys.executable, "-m", "benchmarks.fake_listing"]
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
    running = ThreadingHTTPServer(("127.0.0.1", 0), _Listing)
    print(running.server_address[1], flush=True)
    running.serve_forever()
