"""What an account can be short of, and what AWS does on its bad days, as a test asks for it.

The embedded AWS reads ``faults.json`` in its work directory whenever it changes, so a test, or a
user who wants to see a failure before it happens, needs no door into the server: quotas of the
account, instance types that are sold out, calls that are throttled, sessions that have expired,
executions that are old enough to be forgotten. Without the file everything is as on a good day.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .wire import Call, ServiceError

FILE = "faults.json"
RETENTION_SECONDS = 90 * 86_400.0
_QUERY_LIKE = ("query", "ec2", "rest-xml")


@dataclass(frozen=True)
class Faults:
    """What is wrong.

    Attributes
    ----------
    quotas : mapping of str to int
        The account's quotas by their names in Service Quotas, such as
        ``ml.m5.xlarge for processing job usage``; what is not named has no limit.
    sold_out : sequence of str
        Instance types that AWS has none of.
    throttled : mapping of str to int
        For calls such as ``stepfunctions:DescribeExecution``, how many from now on are refused.
    expired_keys : sequence of str
        Access keys whose sessions have expired, whatever their time.
    retention_seconds : float
        How long after its end an execution is kept: 90 days, as on AWS.
    """

    quotas: Mapping[str, int] = field(default_factory=dict)
    sold_out: Sequence[str] = ()
    throttled: Mapping[str, int] = field(default_factory=dict)
    expired_keys: Sequence[str] = ()
    retention_seconds: float = RETENTION_SECONDS


@contextmanager
def faults(home: Path, **wrong: Any) -> Iterator[None]:
    """Let an embedded AWS have these faults for as long as the context lasts.

    Parameters
    ----------
    home : Path
        Its work directory.
    **wrong
        Those of `Faults`.
    """
    path = home / FILE
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(Faults(**wrong))), encoding="utf-8")
    partial.replace(path)
    try:
        yield
    finally:
        path.unlink()


class FaultFile:
    """The faults of one embedded AWS, as its file has them now.

    Parameters
    ----------
    home : Path
        The work directory.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / FILE
        self._seen: tuple[int, int] | None = None
        self._faults = Faults()
        self._refused: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def now(self) -> Faults:
        """What is wrong at this moment."""
        with self._lock:
            return self._read()

    def throttle(self, call: Call) -> None:
        """Refuse a call that is to be throttled; a rule of `strict`.

        Raises
        ------
        ServiceError
            In the words of AWS.
        """
        name = f"{call.service}:{call.operation}"
        with self._lock:
            if self._refused[name] >= self._read().throttled.get(name, 0):
                return
            self._refused[name] += 1
        code = "Throttling" if call.protocol in _QUERY_LIKE else "ThrottlingException"
        raise ServiceError(code, "Rate exceeded")

    def _read(self) -> Faults:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._seen, self._faults = None, Faults()
            return self._faults
        seen = (found.st_mtime_ns, found.st_ino)
        if seen != self._seen:
            self._seen = seen
            self._faults = Faults(**json.loads(self._path.read_text(encoding="utf-8")))
            self._refused.clear()
        return self._faults
