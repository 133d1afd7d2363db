"""Fetching one version of an object from S3: in ranges, several at once, whatever the network does.

One connection to S3 carries far less than a machine can take, so larger objects are fetched in
parts side by side. A connection that breaks is resumed at the byte where it broke. Each request
says which version it wants (If-Match), and each answer is checked for it, so that an object that
is replaced meanwhile ends in an error and never in a mixture of two. Whether all bytes came is
checked by their number; that they are the right ones is TLS's part, and S3's own checksums' where
an object is small enough for one request.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import ConnectError, ObjectChangedError
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.places import Place
from batcat_runtime.io.progress import Progress

if TYPE_CHECKING:
    import pyarrow as pa

PART_BYTES = 8 << 20
_PIECE_BYTES = 1 << 20
_MAX_TRIES = 5
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


def parts_at_once() -> int:
    """Return how many parts of one object are fetched side by side: memory bounds it."""
    return max(4, min(16, 2 * (os.cpu_count() or 1)))


class ObjectReader:
    """One version of one object: what it was when it was opened.

    Parameters
    ----------
    s3 : botocore client
        Of S3; shared between threads.
    place : Place
        The object.
    tail : int, optional
        Fetch this many bytes from the object's end first, instead of a part from its start.
    progress : Progress, optional
        Where to count what is read; by default each stream has its own.
    sleep : callable
        Waits seconds before another try.

    Attributes
    ----------
    size : int
        The object's length in bytes.
    first : pyarrow.Buffer
        The bytes that came with opening it; the whole object if it is small.
    first_at : int
        Where these begin.
    etag : str or None
        Which version it is.

    Raises
    ------
    NoSuchObjectError, NoSuchBucketError, AccessDeniedError, CredentialsError, ServiceError
        AWS refused.
    """

    def __init__(
        self,
        s3: Any,
        place: Place,
        *,
        tail: int | None = None,
        progress: Progress | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._s3 = s3
        self._sleep = sleep
        self.place = place
        self.progress = progress
        self.etag: str | None = None
        self.size = 0
        self.first_at = 0
        self.first = self._open(tail)

    def forget(self) -> None:
        """Free the bytes that came with opening; what is read later is fetched again."""
        import pyarrow as pa

        self.first, self.first_at = pa.py_buffer(b""), 0

    @property
    def is_whole(self) -> bool:
        """Whether `first` is the whole object."""
        return int(self.first.size) == self.size

    def read_range(self, start: int, length: int, stop: threading.Event | None = None) -> pa.Buffer:
        """Fetch some bytes.

        Parameters
        ----------
        start, length : int
            Which.
        stop : threading.Event, optional
            Give up, with whatever there is, once this is set.

        Raises
        ------
        ObjectChangedError
            The object was replaced since it was opened.
        ConnectError
            The connection broke again and again.
        """
        import pyarrow as pa

        end = start + length
        if self.first_at <= start and end <= self.first_at + self.first.size:
            return self.first.slice(start - self.first_at, length)
        buffer = pa.allocate_buffer(length)
        self.fill(memoryview(buffer).cast("B"), start, stop or threading.Event())
        return buffer

    def fill(self, view: memoryview, start: int, stop: threading.Event, answer: Any = None) -> None:
        """Fetch bytes into memory, from `start` on; as many as it holds, unless `stop` is set."""
        done = tries = 0
        while done < len(view) and not stop.is_set():
            answer = answer or self._get_version(f"bytes={start + done}-{start + len(view) - 1}")
            came, broken = _pour(answer["Body"], view[done:], stop)
            done, answer = done + came, None
            if broken is None:
                continue
            tries = 1 if came else tries + 1
            if tries >= _MAX_TRIES:
                raise ConnectError(
                    f"The connection broke {tries} times in a row while reading "
                    f"{self.place.uri} at byte {start + done:,} of {self.size:,}: {broken}.",
                    fix="Check the network, then try again.",
                ) from broken
            self._sleep(min(0.1 * 2**tries, 5.0))

    def _open(self, tail: int | None) -> pa.Buffer:
        import pyarrow as pa
        from botocore.exceptions import ClientError

        wanted = f"bytes=-{tail}" if tail else f"bytes=0-{PART_BYTES - 1}"
        with translated(self.place.uri, "s3:GetObject"):
            try:
                answer = self._get(Range=wanted)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") != "InvalidRange":
                    raise
                # an empty object has no first byte; rclone has no last 100 bytes of 99 either
                answer = self._get()
        self.etag = answer.get("ETag")
        length = int(answer["ContentLength"])
        found = _CONTENT_RANGE.fullmatch(answer.get("ContentRange", ""))
        self.first_at = int(found[1]) if found else 0
        self.size = int(found[3]) if found else length
        if length <= _PIECE_BYTES and (small := _taken(answer["Body"])) is not None:
            return pa.py_buffer(small)
        answer = answer if length > _PIECE_BYTES else None
        buffer = pa.allocate_buffer(length)
        self.fill(memoryview(buffer).cast("B"), self.first_at, threading.Event(), answer)
        return buffer

    def _get(self, **wanted: str) -> Any:
        return self._s3.get_object(Bucket=self.place.bucket, Key=self.place.key, **wanted)

    def _get_version(self, wanted: str) -> Any:
        from botocore.exceptions import ClientError

        version = {"IfMatch": self.etag} if self.etag else {}
        with translated(self.place.uri, "s3:GetObject"):
            try:
                answer = self._get(Range=wanted, **version)
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code")
                if code in ("PreconditionFailed", "412", "InvalidRange", "NoSuchKey"):
                    raise self._changed() from error
                raise
        # not every server heeds If-Match
        if answer.get("ETag") != self.etag:
            answer["Body"].close()
            raise self._changed()
        return answer

    def _changed(self) -> ObjectChangedError:
        return ObjectChangedError(
            f"{self.place.uri} was replaced or deleted while it was being read.",
            fix="Read it again; let whoever writes it finish first, or write to a new key.",
        )


def _pour(body: Any, view: memoryview, stop: threading.Event) -> tuple[int, Exception | None]:
    """Read a body into memory; return how many bytes came, and what broke it off, if anything."""
    from botocore import exceptions as boto

    done = 0
    try:
        while done < len(view) and not stop.is_set():
            came = body.readinto(view[done : done + _PIECE_BYTES])
            if not came:
                return done, EOFError("it ended too early")
            done += came
        if not stop.is_set():
            body.read(1)  # at the end botocore compares the number of bytes, and their checksum
    except boto.FlexibleChecksumError as error:
        return 0, error
    except (boto.IncompleteReadError, boto.HTTPClientError, OSError) as error:
        return done, error
    finally:
        body.close()
    return done, None


def _taken(body: Any) -> bytes | None:
    """Return a small body at once and without a copy; None if the connection broke."""
    from botocore import exceptions as boto

    try:
        content: bytes = body.read()
    except (boto.IncompleteReadError, boto.FlexibleChecksumError, boto.HTTPClientError, OSError):
        return None
    finally:
        body.close()
    return content


class PartStream:
    """An object as a file to read from, once, from its start; parts are fetched ahead.

    What `read` returns is a slice of a part, not a copy, so a part is freed as soon as its last
    slice is. Use it as a context manager: leaving the block stops what is still under way.

    Parameters
    ----------
    reader : ObjectReader
        The opened object.
    ahead : int, optional
        How many parts to fetch side by side.
    """

    closed = False  # what pyarrow asks of a file

    def __init__(self, reader: ObjectReader, *, ahead: int | None = None) -> None:
        self._reader = reader
        self._progress = reader.progress or Progress(f"Reading {reader.place.uri}", reader.size)
        self._stop = threading.Event()
        self._pool: ThreadPoolExecutor | None = None
        self._ahead = ahead or parts_at_once()
        self._part = reader.first if not reader.first_at else reader.first.slice(0, 0)
        self._taken = 0
        self._next = int(self._part.size)
        self._coming: deque[Future[pa.Buffer]] = deque()
        self._lock = threading.Lock()
        self._progress.add(self._next)
        self._order()

    def __enter__(self) -> PartStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        if self._reader.progress is None:
            self._progress.__exit__(kind, error, traceback)

    def read(self, length: int = -1) -> pa.Buffer:
        """Return up to `length` bytes, at least one before the end; all that are left if < 0."""
        if length < 0:
            return self._rest()
        with self._lock:
            if self._taken == self._part.size and self._coming:
                part = self._coming.popleft().result()
                self._order()
                self._part, self._taken = part, 0
                self._progress.add(part.size)
            found = self._part.slice(self._taken, min(length, self._part.size - self._taken))
            self._taken += found.size
            return found

    def rest_with(self, last: int) -> pa.Buffer | None:
        """Return all that is left, and the last so many bytes read; None if it is not all here."""
        start = self._taken - last
        if self._coming or self._next < self._reader.size or start < 0:
            return None
        return self._part.slice(start)

    def close(self) -> None:
        """Give up what is still under way."""
        self.closed = True
        self._stop.set()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._coming.clear()

    def readable(self) -> bool:
        """Whether it can be read from: always."""
        return True

    def writable(self) -> bool:
        """Whether it can be written to: never."""
        return False

    def seekable(self) -> bool:
        """Whether it can go back: never."""
        return False

    def _rest(self) -> pa.Buffer:
        import pyarrow as pa

        pieces = []
        while (piece := self.read(PART_BYTES)).size:
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else pa.py_buffer(b"".join(pieces))

    def _order(self) -> None:
        """Ask for the next parts, as many as may be under way."""
        while len(self._coming) < self._ahead and self._next < self._reader.size:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._ahead, thread_name_prefix="batcat-fetch")
            length = min(PART_BYTES, self._reader.size - self._next)
            self._coming.append(
                self._pool.submit(self._reader.read_range, self._next, length, self._stop)
            )
            self._next += length
