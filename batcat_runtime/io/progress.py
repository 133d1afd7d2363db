"""Progress of long work: rich's bar on a terminal where it is installed, else log lines.

Nothing is shown for work that ends within two seconds. `BATCAT_PROGRESS=0` turns both off.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from batcat_runtime.log import get_logger, human_size

if TYPE_CHECKING:
    from batcat_runtime.io.places import Place

QUIET_SECONDS = 2.0
_LINE_SECONDS = 30.0


class Progress:
    """What has been done of a piece of work; a context manager, safe to feed from many threads.

    Parameters
    ----------
    what : str
        What is being done, such as ``Reading s3://bucket/key``.
    total : int, optional
        How many bytes there are; unknown if left out.

    Examples
    --------
    >>> with Progress("Reading s3://bucket/key", 346_000_000) as progress:
    ...     progress.add(8_388_608)
    """

    def __init__(self, what: str, total: int | None = None) -> None:
        self._what, self._total = what, total
        self._done = 0
        self._started = time.monotonic()
        self._next = self._started + QUIET_SECONDS
        self._wanted = os.environ.get("BATCAT_PROGRESS", "1") != "0"
        self._bar: Any = None
        self._lock = threading.Lock()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def add(self, bytes_done: int = 0, note: str = "") -> None:
        """Count bytes as done, and show it if it is time to.

        Parameters
        ----------
        bytes_done : int
            How many bytes have been done since the last call.
        note : str
            What the service says of it, such as ``QUEUED``.
        """
        with self._lock:
            self._done += bytes_done
            now = time.monotonic()
            if not self._wanted or (self._bar is None and now < self._next):
                return
            self._bar = self._bar or _bar(self._what, self._total)
            if self._bar is not None:
                self._bar.update(self._bar.task_ids[0], completed=self._done, note=note)
                return
            self._next = now + _LINE_SECONDS
            done = human_size(self._done)
            if self._total:
                done = f"{self._done / self._total:.0%} of {human_size(self._total)}"
            parts = (self._what, done, f"{now - self._started:.0f} s", note)
            get_logger().info("%s", "  ".join(filter(None, parts)))


def reading(places: Sequence[Place]) -> Progress:
    """Return the progress of reading objects, whose bytes together are known if each one's are."""
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    total = sum(place.size or 0 for place in places) or None
    return Progress(f"Reading {places[0].uri}{more}", total)


def _bar(what: str, total: int | None) -> Any:
    """Return rich's bar, begun; None where there is no terminal or no rich."""
    if not sys.stderr.isatty():
        return None
    try:
        from rich import progress as rich
        from rich.console import Console
    except ImportError:
        return None
    columns = (rich.TextColumn("{task.description}", markup=False), rich.BarColumn(24))
    more = (rich.DownloadColumn(), rich.TimeElapsedColumn(), rich.TextColumn("{task.fields[note]}"))
    bar = rich.Progress(*columns, *more, console=Console(stderr=True), transient=True)
    bar.add_task(what, total=total, note="")
    bar.start()
    return bar
