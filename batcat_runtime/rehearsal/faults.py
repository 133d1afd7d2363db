"""What an account can be short of, and what AWS does on its bad days, as a test asks for it.

The embedded AWS reads ``faults.json`` in its work directory whenever it changes, so a test, or a
user who wants to see a failure before it happens, needs no door into the server: quotas of the
account, instance types that are sold out, calls that are throttled or fail otherwise, sessions
that have expired, executions that are old enough to be forgotten. Without the file everything is
as on a good day.
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
    failing : sequence of Fault
        Operations that fail.
    """

    quotas: Mapping[str, int] = field(default_factory=dict)
    sold_out: Sequence[str] = ()
    throttled: Mapping[str, int] = field(default_factory=dict)
    expired_keys: Sequence[str] = ()
    retention_seconds: float = RETENTION_SECONDS
    failing: Sequence[Fault] = ()


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
    _write(home, Faults(**wrong))
    try:
        yield
    finally:
        (home / FILE).unlink()


def set_faults(home: Path, *failing: Fault) -> None:
    """Let operations of an embedded AWS fail from now on; without any, all is well again.

    Parameters
    ----------
    home : Path
        Its work directory.
    *failing : Fault
        What fails; each begins to count anew.
    """
    if failing:
        _write(home, Faults(failing=failing))
    else:
        (home / FILE).unlink(missing_ok=True)


def _write(home: Path, wrong: Faults) -> None:
    path = home / FILE
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(wrong)), encoding="utf-8")
    partial.replace(path)


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
        self._called: Counter[int] = Counter()
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

    def fail(self, call: Call) -> None:
        """Refuse a call that is to fail; a rule of `strict`.

        Raises
        ------
        ServiceError
            As the fault says.
        """
        with self._lock:
            for number, one in enumerate(self._read().failing):
                if (one.service, one.operation) != (call.service, call.operation):
                    continue
                self._called[number] += 1
                due = self._called[number] - one.after
                if due > 0 and (one.times == 0 or due <= one.times):
                    raise ServiceError(one.code, one.message, one.status)

    def _read(self) -> Faults:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._seen, self._faults = None, Faults()
            return self._faults
        seen = (found.st_mtime_ns, found.st_ino)
        if seen != self._seen:
            self._seen = seen
            wrong = json.loads(self._path.read_text(encoding="utf-8"))
            wrong["failing"] = [Fault(**one) for one in wrong.get("failing", ())]
            self._faults = Faults(**wrong)
            self._refused.clear()
            self._called.clear()
        return self._faults
