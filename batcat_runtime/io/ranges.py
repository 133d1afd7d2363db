"""A Parquet object as a file for Arrow, of which only what is read is fetched, and ahead of time.

A Parquet file says at its end where each column of each row group lies. Those ranges are asked for
in the order in which Arrow will want them; Arrow's reads wait for theirs, so that it decodes one
column while the next one is on its way.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

from batcat_runtime.io.fetch import PART_BYTES, ObjectReader, parts_at_once
from batcat_runtime.io.progress import Progress

if TYPE_CHECKING:
    import pyarrow as pa

# a gap this small is fetched along: cheaper than another request
_GAP_BYTES = 256 << 10


@dataclass
class _Range:
    start: int
    end: int
    buffer: pa.Buffer
    parts: list[Future[None]] = field(default_factory=list)


class RangeFile:
    """What Arrow reads from: a file that knows some ranges of an object already.

    Use it as a context manager: leaving the block stops what is still under way.

    Parameters
    ----------
    reader : ObjectReader
        The opened object.
    """

    closed = False

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader
        self._ranges: list[_Range] = []
        self._at = 0
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(parts_at_once(), thread_name_prefix="batcat-fetch")
        self._progress = reader.progress or Progress(f"Reading {reader.place.uri}")

    def __enter__(self) -> RangeFile:
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

    def fetch(self, chunks: Iterable[tuple[int, int]]) -> None:
        """Ask for ranges, given as start and end, that will be read soon."""
        import pyarrow as pa

        for start, end in _merged(chunks):
            one = _Range(start, end, pa.allocate_buffer(end - start))
            view = memoryview(one.buffer).cast("B")
            for offset in range(0, end - start, PART_BYTES):
                part = view[offset : offset + PART_BYTES]
                one.parts.append(self._pool.submit(self._fill, part, start + offset))
            bisect.insort(self._ranges, one, key=lambda known: known.start)

    def forget(self, end: int) -> None:
        """Free the ranges that end before a place: they have been read."""
        self._ranges = [one for one in self._ranges if one.end > end]

    def read(self, length: int = -1) -> pa.Buffer:
        """Return the bytes at the current place; waits for them if they are on their way."""
        end = self._reader.size if length < 0 else min(self._at + length, self._reader.size)
        start, self._at = self._at, end
        place = bisect.bisect_right(self._ranges, start, key=lambda known: known.start) - 1
        known = self._ranges[place] if place >= 0 else None
        if known is None or end > known.end:
            return self._reader.read_range(start, end - start, self._stop)
        first, last = start - known.start, end - known.start
        for part in known.parts[first // PART_BYTES : -(-last // PART_BYTES)]:
            part.result()
        return known.buffer.slice(first, last - first)

    def seek(self, place: int, whence: int = 0) -> int:
        """Go to a place."""
        self._at = place + (0, self._at, self._reader.size)[whence]
        return self._at

    def tell(self) -> int:
        """Return the current place."""
        return self._at

    def close(self) -> None:
        """Give up what is still under way."""
        self.closed = True
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._ranges = []

    def readable(self) -> bool:
        """Whether it can be read from: always."""
        return True

    def writable(self) -> bool:
        """Whether it can be written to: never."""
        return False

    def seekable(self) -> bool:
        """Whether it can go back: always."""
        return True

    def _fill(self, view: memoryview, start: int) -> None:
        self._reader.fill(view, start, self._stop)
        self._progress.add(len(view))


def _merged(chunks: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join neighbours into ranges of about a part; larger ones stay alone."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(chunks):
        if found:
            first, last = found[-1]
            if start - last <= _GAP_BYTES and max(end, last) - first <= PART_BYTES:
                found[-1] = (first, max(end, last))
                continue
        found.append((start, end))
    return found
