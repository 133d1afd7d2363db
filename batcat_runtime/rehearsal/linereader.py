"""Reads a process's output as lines, whatever it prints and however it ends.

A thread drains the pipe at once, so that a process never blocks on a full one; bytes that are no
UTF-8 are replaced; a line longer than CloudWatch's event is cut and the rest of it dropped; the
last line needs no newline. A process that closes its output early, or leaves the pipe to a daemon,
holds up nobody: `finish` gives up after a while.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import IO

# CloudWatch Logs: an event has at most 256 KiB, of which 26 bytes are its own.
MAX_LINE = 256 * 1024 - 26
_CHUNK = 64 * 1024


class LineReader:
    """Sends each line of a pipe to a function, until the pipe ends.

    Parameters
    ----------
    pipe : binary file
        The process's output.
    emit : Callable[[str], None]
        Receives each line without its newline, from the reader's thread.
    """

    def __init__(self, pipe: IO[bytes], emit: Callable[[str], None]) -> None:
        self._pipe = pipe
        self._emit = emit
        self._pending = bytearray()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finish(self, timeout: float = 5.0) -> None:
        """Wait until everything was read, but no longer than `timeout`."""
        self._thread.join(timeout)
        if not self._thread.is_alive():
            self._pipe.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while chunk := self._read():
                self._take(chunk)
        if self._pending:
            self._send()

    def _read(self) -> bytes:
        # What is there, not a full buffer: lines should be seen when they are printed.
        read = getattr(self._pipe, "read1", self._pipe.read)
        return bytes(read(_CHUNK))

    def _take(self, chunk: bytes) -> None:
        *complete, rest = chunk.split(b"\n")
        for part in complete:
            self._add(part)
            self._send()
        self._add(rest)

    def _add(self, part: bytes) -> None:
        room = MAX_LINE - len(self._pending)
        self._pending += part[:room]

    def _send(self) -> None:
        line = bytes(self._pending).removesuffix(b"\r").decode("utf-8", "replace")
        self._pending.clear()
        # A log that cannot be written must not stop the reading, which would block the job.
        with contextlib.suppress(Exception):
            self._emit(line)
