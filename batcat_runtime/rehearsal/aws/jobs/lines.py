"""Log lines on their way from a process into CloudWatch Logs.

`LineReader` drains a process's output at once, whatever it prints and however it ends. A job prints
faster than an HTTP request takes: `LogWriter` collects lines and sends them every fraction of a
second, in order, one batch a stream, and creates group and stream on first use.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import IO, Any

from botocore.exceptions import ClientError

log = logging.getLogger(__name__)

_INTERVAL = 0.2
_MAX_LINES = 1000
_MAX_BYTES = 250_000
# CloudWatch Logs: an event has at most 256 KiB, of which 26 bytes are its own.
MAX_LINE = 256 * 1024 - 26


class LogWriter:
    """Writes lines to streams of one log group; use as a context manager.

    Parameters
    ----------
    client : Any
        A boto3 client of CloudWatch Logs, for the right region.
    group : str
        Name of the log group.
    """

    def __init__(self, client: Any, group: str) -> None:
        self._client = client
        self._group = group
        self._lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._known: set[str] = set()
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"logs {group}")

    def __enter__(self) -> LogWriter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._flush()

    def write(self, stream: str, text: str) -> None:
        """Queue one line.

        Parameters
        ----------
        stream : str
            Name of the log stream.
        text : str
            The line; an empty one is kept as a space, since CloudWatch refuses empty events.
        """
        line = text.rstrip("\r\n")[:_MAX_BYTES] or " "
        event = {"timestamp": int(time.time() * 1000), "message": line}
        with self._lock:
            self._lines[stream].append(event)

    def _run(self) -> None:
        while not self._done.wait(_INTERVAL):
            self._flush()

    def _flush(self) -> None:
        with self._sending:
            with self._lock:
                pending, self._lines = self._lines, defaultdict(list)
            for stream, events in pending.items():
                for start in range(0, len(events), _MAX_LINES):
                    self._send(stream, events[start : start + _MAX_LINES])

    def _send(self, stream: str, events: list[dict[str, Any]]) -> None:
        try:
            self._ensure(stream)
            self._client.put_log_events(
                logGroupName=self._group, logStreamName=stream, logEvents=events
            )
        except ClientError:
            # Logs must never fail a job; what is lost is in the server's log.
            log.exception("Could not write %d lines to %s", len(events), stream)

    def _ensure(self, stream: str) -> None:
        """Make the stream, and first the group if it is missing: not every role may do that."""
        if stream in self._known:
            return
        names = {"logGroupName": self._group, "logStreamName": stream}
        if self._made(self._client.create_log_stream, **names) == "ResourceNotFoundException":
            self._made(self._client.create_log_group, logGroupName=self._group)
            self._made(self._client.create_log_stream, **names)
        self._known.add(stream)

    @staticmethod
    def _made(create: Any, **names: str) -> str:
        """Create something; return the error's code when it is there, or what it is in is not."""
        try:
            create(**names)
        except ClientError as error:
            code = str(error.response["Error"]["Code"])
            if code not in ("ResourceAlreadyExistsException", "ResourceNotFoundException"):
                raise
            return code
        return ""


class LineReader:
    """Sends each line of a pipe to a function, until the pipe ends.

    Bytes that are no UTF-8 are replaced; a line longer than CloudWatch's event is cut and the rest
    of it dropped; the last line needs no newline. A process that closes its output early, or leaves
    the pipe to a daemon, holds up nobody: `finish` gives up after a while.

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
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finish(self, timeout: float = 5.0) -> None:
        """Wait until everything was read, but no longer than `timeout`."""
        self._thread.join(timeout)
        if not self._thread.is_alive():
            self._pipe.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while part := self._pipe.readline(MAX_LINE):
                # A log that cannot be written must not stop the reading, which would block the job.
                with contextlib.suppress(Exception):
                    self._emit(part.rstrip(b"\r\n").decode("utf-8", "replace"))
                while len(part) == MAX_LINE and not part.endswith(b"\n"):
                    part = self._pipe.readline(MAX_LINE)
