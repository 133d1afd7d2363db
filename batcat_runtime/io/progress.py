"""Progress of long work: a bar on a terminal, a plain log line now and then elsewhere.

Nothing is shown for work that ends within two seconds. `BATCAT_PROGRESS=0` turns both off.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

from batcat_runtime.log import get_logger

QUIET_SECONDS = 2.0
_BAR_SECONDS = 0.1
_LINE_SECONDS = 30.0
_WIDTH = 24
_SIZES = ("B", "kB", "MB", "GB", "TB")


class Progress:
    """What has been done of a piece of work; a context manager, safe to feed from many threads.

    Parameters
    ----------
    what : str
        What is being done, such as ``Reading s3://bucket/key``.
    total : int, optional
        How many bytes there are; unknown if left out.
    clock : callable
        Gives seconds.

    Examples
    --------
    >>> with Progress("Reading s3://bucket/key", 346_000_000) as progress:
    ...     progress.add(8_388_608)
    """

    def __init__(
        self, what: str, total: int | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._what = what
        self._total = total
        self._clock = clock
        self._done = 0
        self._started = clock()
        self._shown_at = 0.0
        self._bar = sys.stderr.isatty()
        self._drawn = False
        self._wanted = os.environ.get("BATCAT_PROGRESS", "1") != "0"
        self._lock = threading.Lock()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        elif self._shown_at and kind is None:
            get_logger().info("%s", self._line())

    def add(self, bytes_done: int = 0, note: str = "") -> None:
        """Count bytes as done, and show it if it is time to.

        Parameters
        ----------
        bytes_done : int
            How many bytes have been done since the last call.
        note : str
            What the service says of it, such as ``QUEUED``.
        """
        if not self._wanted:
            return
        with self._lock:
            self._done += bytes_done
            now = self._clock()
            pause = _BAR_SECONDS if self._bar else _LINE_SECONDS
            if now - max(self._shown_at, self._started + QUIET_SECONDS - pause) < pause:
                return
            self._shown_at = now
            if self._bar:
                self._drawn = True
                sys.stderr.write(f"\r\x1b[K{self._line(note)}")
                sys.stderr.flush()
            else:
                get_logger().info("%s", self._line(note))

    def _line(self, note: str = "") -> str:
        parts = [self._what]
        if self._total:
            share = min(self._done / self._total, 1.0)
            if self._bar:
                full = round(share * _WIDTH)
                parts.append("█" * full + "░" * (_WIDTH - full))
            parts.append(f"{share:4.0%} of {human_size(self._total)}")
        elif self._done:
            parts.append(human_size(self._done))
        parts.append(f"{self._clock() - self._started:.0f} s")
        return "  ".join([*parts, *([note] if note else [])])


def human_size(size: float) -> str:
    """Return a number of bytes in decimal units, such as ``346.1 MB``."""
    for unit in _SIZES[:-1]:
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} {_SIZES[-1]}"
