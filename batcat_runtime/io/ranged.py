"""One version of an S3 object as a file: read ahead over several connections, or here and there.

One connection to S3 carries some 90 MB/s, far less than a machine can parse, and no library reads
ahead in order: s3fs and awswrangler wait for each block, boto3 wants all in memory or on the disk
(benchmark row ``csv-one-s3``). So this is a file object over ``get_object(Range, IfMatch)``, for
CSV and Parquet alike; ``pyarrow.PythonFile`` lets Arrow read from it.

An object that is replaced meanwhile ends in an error, never in a mixture of two versions: every
request says which version it wants, and every answer is checked for it. A request whose body breaks
off is sent again.
"""

from __future__ import annotations

import io
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from batcat_runtime.errors import ConnectError, ObjectChangedError
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.places import Place
from batcat_runtime.io.progress import Progress

PART_BYTES = 4 << 20
CONNECTIONS = 8
_TRIES = 5
_CHANGED = ("PreconditionFailed", "412", "InvalidRange", "NoSuchKey")
# an empty object has no first byte; for rclone, one of 99 bytes has no last 100 either
_NO_BYTE = ("InvalidRange",)


class RangedFile(io.RawIOBase):
    """An object to read from; opening it is one request, and all that a small object needs.

    Reading in order fetches ahead: up to `CONNECTIONS` parts of `PART_BYTES` at once, which is also
    what is held in memory. A read elsewhere fetches what it asks for, in parts side by side, and
    nothing ahead; `expect` says what will be read soon. What a read has passed is freed, except for
    the object's end; going back fetches it again. Threads may share it, but it has one position.

    Use it as a context manager: leaving the block gives up what is still under way.

    Parameters
    ----------
    s3 : botocore client
        Of S3; threads share it.
    place : Place
        The object.
    tail : bool
        Whether to begin at the object's end, since Parquet has its footer there. An object that is
        smaller than a part is fetched whole either way.
    progress : Progress, optional
        Where to count what is read; can be set later, when `size` is known.

    Attributes
    ----------
    size : int
        The object's length in bytes.
    etag : str
        Which version it is.

    Raises
    ------
    ObjectChangedError
        When reading: the object was replaced or deleted since it was opened.
    ConnectError
        The connection broke again and again.
    NoSuchObjectError, NoSuchBucketError, AccessDeniedError, CredentialsError, ServiceError
        AWS refused.

    Examples
    --------
    >>> with RangedFile(s3, place, tail=True) as file:  # doctest: +SKIP
    ...     parquet.ParquetFile(pa.PythonFile(file, mode="r"), pre_buffer=True).read(["vin"])
    >>> with RangedFile(s3, place) as file:  # doctest: +SKIP
    ...     with Progress(f"Reading {place.uri}", file.size) as file.progress:
    ...         table = csv.read_csv(pa.PythonFile(file, mode="r"))
    """

    def __init__(
        self, s3: Any, place: Place, *, tail: bool = False, progress: Progress | None = None
    ) -> None:
        self._s3, self.place, self.progress = s3, place, progress
        self._object = {"Bucket": place.bucket, "Key": place.key}
        self.etag, self.size = "", 0
        self._at = self._read_to = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(CONNECTIONS, "batcat-fetch")  # starts threads when it must
        first = min(place.size or PART_BYTES, PART_BYTES)
        opened = self._fetch(-first if tail else 0, first)
        start = self.size - len(opened) if tail else 0
        # from where to where a part goes, and what waits for its bytes
        self._parts: dict[tuple[int, int], Any] = {(start, start + len(opened)): lambda: opened}

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next `size` bytes, fewer only at the object's end; all the rest if < 0."""
        with self._lock:
            start = min(self._at, self.size)
            end = self.size if size is None or size < 0 else min(start + size, self.size)
            ahead = (end // PART_BYTES + CONNECTIONS) * PART_BYTES
            self.expect(start, ahead if start == self._read_to else end)
            pieces = []
            for (first, last), content in sorted(self._parts.items()):
                if first < end and start < last:
                    pieces.append(content()[max(start - first, 0) : end - first])
            for span in [span for span in self._parts if span[1] <= end and span[1] < self.size]:
                del self._parts[span]
            if self.progress:
                self.progress.add(end - start)
            self._at = self._read_to = end
            return b"".join(pieces)  # one piece is not copied

    def expect(self, start: int, end: int) -> None:
        """Begin to fetch bytes that will be read soon; the caller bounds how many that are."""
        while start < min(end, self.size):
            known = [last for first, last in self._parts if first <= start < last]
            later = [first for first, _ in self._parts if first > start]
            last = max(known, default=min([start + PART_BYTES, end, self.size, *later]))
            if not known:
                self._parts[start, last] = self._pool.submit(self._fetch, start, last).result
            start = last

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a place; nothing is fetched."""
        self._at = offset + (0, self._at, self.size)[whence]
        return self._at

    def readable(self) -> bool:
        """Whether it can be read from: always."""
        return True

    def seekable(self) -> bool:
        """Whether it can go back: always."""
        return True

    def close(self) -> None:
        """Give up what is still under way."""
        super().close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, start: int, end: int, attempt: int = 1) -> bytes:
        """Return bytes, those of the end if `start` < 0; ask again if they do not come whole."""
        answer = self._get(Range=f"bytes={start}-{end - 1}" if start >= 0 else f"bytes={start}")
        try:
            content: bytes = answer["Body"].read()
            # an answer without a range is the whole, and perhaps does not say how long that is
            whole = (0, len(content) - 1, len(content))
            came = re.findall(r"\d+", answer.get("ContentRange", "")) or whole
            first, last, self.size = map(int, came)
            if last + 1 - first == len(content) and (start < 0 or start == first):
                return content
            raise ConnectionError(f"{len(content):,} bytes came")
        except (BotoCoreError, OSError, ValueError) as error:
            if attempt == _TRIES or self.closed:
                raise ConnectError(
                    f"Reading {self.place.uri} broke off {attempt} times at byte {start}: {error}.",
                    fix="Check the network, then try again.",
                ) from error
        time.sleep(0.1 * 2**attempt)
        return self._fetch(start, end, attempt + 1)

    def _get(self, **wanted: str) -> Any:
        """Ask for a `Range`, or for all, of the version that was opened."""
        version = {"IfMatch": self.etag} if self.etag else {}
        with translated(self.place.uri, "s3:GetObject"):
            try:
                answer = self._s3.get_object(**self._object, **wanted, **version)
            except ClientError as error:
                if error.response["Error"]["Code"] not in (_CHANGED if self.etag else _NO_BYTE):
                    raise
                answer = {} if self.etag else self._get()
        self.etag = self.etag or answer.get("ETag", "")
        if answer.get("ETag", "") != self.etag:  # not every server heeds If-Match
            raise ObjectChangedError(
                f"{self.place.uri} was replaced or deleted while it was being read.",
                fix="Read it again; let whoever writes it finish first, or write to a new key.",
            )
        return answer
