"""Faults on demand: what AWS does on a bad day, played when a file says so.

The file ``faults.json`` in the embedded AWS's work directory is a list; each entry names an
operation and the error that it is answered with::

    [{"service": "cloudformation", "operation": "DescribeStacks", "code": "Throttling",
      "message": "Rate exceeded", "times": 3}]

`after` calls of that kind pass before the first fault, and `times` faults follow (0: without end).
Writing the file again starts over; without it nothing fails.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from .strict import CALL_KEY
from .wire import Call, Environ, ServiceError, StartResponse, WsgiApp, error_response, send

NAME = "faults.json"


@dataclass(frozen=True)
class Fault:
    """An operation that fails.

    Attributes
    ----------
    service, operation : str
        As botocore calls them: ``cloudformation``, ``DescribeStacks``.
    code, message : str
        The error.
    status : int
        The HTTP status.
    after, times : int
        How many calls pass first, and how many fail then; 0: all.
    """

    service: str
    operation: str
    code: str
    message: str
    status: int = 400
    after: int = 0
    times: int = 1


def set_faults(home: Path, *faults: Fault) -> None:
    """Have an embedded AWS play faults from now on; without any, none.

    Parameters
    ----------
    home : pathlib.Path
        Its work directory.
    *faults : Fault
        What fails.
    """
    path = home / NAME
    if not faults:
        path.unlink(missing_ok=True)
        return
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps([asdict(one) for one in faults]), encoding="utf-8")
    fresh.replace(path)


class Faults:
    """WSGI middleware that answers calls with the faults of the file.

    Parameters
    ----------
    app : WSGI application
        What gets all other calls.
    home : pathlib.Path
        Where the file lies.
    """

    def __init__(self, app: WsgiApp, home: Path) -> None:
        self._app = app
        self._path = home / NAME
        self._lock = threading.Lock()
        self._version: tuple[int, int] | None = None
        self._faults: list[tuple[Fault, list[int]]] = []

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer with a fault, or pass the call on."""
        call: Call | None = environ.get(CALL_KEY)
        fault = self._due(call) if call is not None else None
        if call is None or fault is None:
            return self._app(environ, start_response)
        error = ServiceError(fault.code, fault.message, fault.status)
        return send(error_response(call, error), start_response)

    def _due(self, call: Call) -> Fault | None:
        with self._lock:
            self._read()
            for fault, seen in self._faults:
                if (fault.service, fault.operation) != (call.service, call.operation):
                    continue
                seen[0] += 1
                number = seen[0] - fault.after
                if number > 0 and (fault.times == 0 or number <= fault.times):
                    return fault
        return None

    def _read(self) -> None:
        version = None
        with contextlib.suppress(FileNotFoundError):
            found = self._path.stat()
            version = (found.st_mtime_ns, found.st_ino)
        if version == self._version:
            return
        self._version, self._faults = version, []
        if version is not None:
            entries = json.loads(self._path.read_text("utf-8"))
            self._faults = [(Fault(**one), [0]) for one in entries]
