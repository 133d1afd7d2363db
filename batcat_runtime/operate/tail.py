"""Many logs as one, in order of time: read lazily, by page, and each line once.

A log is opened when the tail gets to the time of its beginning, and holds one page; so memory goes
with what is written side by side, not with what was written. Whoever follows reads the last part
of a log again, since CloudWatch Logs shows lines late and out of order; what was given is known by
its event id.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from batcat_runtime.errors import AccessDeniedError
from batcat_runtime.operate.happenings import WRITTEN, Happening
from batcat_runtime.operate.loglines import LogLine, time_of
from batcat_runtime.operate.waiting import Connection
from batcat_runtime.text import clean

OVERLAP = 60_000
PAGE = 10_000
_SMALLEST_PAGE = 1000
_MOST_KNOWN = 20_000
# Clocks of instances differ a little from Step Functions' own.
_SKEW = 60_000
_LATEST = 300_000


class Seen:
    """Which lines of a log were given: the ids of the newest, and a time before which all were.

    Parameters
    ----------
    floor : int
        The milliseconds since 1970 at which the log begins.
    """

    def __init__(self, floor: int) -> None:
        self.floor = floor
        self._newest = floor
        self._known: set[int] = set()
        self._order: deque[tuple[int, int]] = deque()

    def add(self, moment: int, event_id: str) -> bool:
        """Note a line; return whether it is new."""
        # A hash of 64 bits is a fifth of an id, which has 56 digits.
        known = hash(event_id)
        if moment < self.floor or known in self._known:
            return False
        self._known.add(known)
        self._order.append((moment, known))
        self._newest = max(self._newest, moment)
        while self._order[0][0] < self._newest and (
            len(self._order) > _MOST_KNOWN or self._order[0][0] < self._newest - OVERLAP
        ):
            self._forget(self._order[0][0])
        return True

    def _forget(self, moment: int) -> None:
        """Forget the lines of a millisecond, all of them: what is older than the floor is known."""
        while self._order and self._order[0][0] <= moment:
            self._known.discard(self._order.popleft()[1])
        self.floor = max(self.floor, moment + 1)


class Log:
    """One log, or the part of it that belongs to an execution.

    Parameters
    ----------
    group : str
        The log group.
    source : callable
        From an event to what to call its source, or "" to leave it out.
    since : int
        Where to begin, in milliseconds.
    until : callable
        Returns the time after which nothing is written to it any more; None while that is open.
    prefix, pattern : str
        What stream names begin with; what lines must match.
    optional : bool
        Whether to do without it when it may not be read.
    """

    def __init__(
        self,
        group: str,
        source: Callable[[dict[str, Any]], str],
        since: int,
        until: Callable[[], int | None],
        *,
        prefix: str = "",
        pattern: str = "",
        optional: bool = False,
    ) -> None:
        self.group = group
        self.until = until
        self.lines = 0
        self.closed = False
        self.missing = False
        self.refused = ""
        self._source = source
        self._seen = Seen(max(0, since - _SKEW))
        self._since = since
        self._asked = {"logGroupName": group}
        self._asked |= {"logStreamNamePrefix": prefix} if prefix else {}
        self._asked |= {"filterPattern": pattern} if pattern else {}
        self._optional = optional

    @property
    def begins(self) -> int:
        """The time at which there may be something new, in milliseconds."""
        return max(self._since, self._seen.floor)

    def read(
        self, connection: Connection, last: int | None, size: int = PAGE
    ) -> Iterator[Happening]:
        """Yield its lines that were not given yet, up to the time `last`, by pages of `size`."""
        asked: dict[str, Any] = {**self._asked, "startTime": self._seen.floor, "limit": size}
        until = self.until()
        if until is not None:
            # Without an end CloudWatch would search the group up to today, page by empty page.
            last = min(until + _LATEST, until + _LATEST if last is None else last)
        if last is not None:
            if last < self._seen.floor:
                return
            asked["endTime"] = last
        while True:
            page = self._page(connection, asked)
            # Taken off the page one by one, so that it gets smaller.
            events = page.get("events", [])[::-1]
            page.pop("events", None)
            while events:
                event = events.pop()
                if not self._seen.add(event["timestamp"], event["eventId"]):
                    continue
                source = self._source(event)
                if source:
                    self.lines += 1
                    moment = time_of(event)
                    for text in clean(event["message"]).rstrip("\n").split("\n"):
                        yield event["timestamp"], WRITTEN, LogLine(moment, source, text)
            if not page.get("nextToken"):
                return
            asked["nextToken"] = page["nextToken"]

    def _page(self, connection: Connection, asked: dict[str, Any]) -> dict[str, Any]:
        client = connection.project.client("logs")

        def call() -> dict[str, Any]:
            try:
                return dict(client.filter_log_events(**asked))
            except client.exceptions.ResourceNotFoundException:
                return {}  # nobody has written there yet

        try:
            page: dict[str, Any] = connection.ask(
                f"the log group {self.group}", "logs:FilterLogEvents", call
            )
        except AccessDeniedError as error:
            if not self._optional:
                raise
            self.refused = error.message
            return {}
        self.missing = "events" not in page
        return page


def merged(
    happenings: Iterable[Happening], logs: Sequence[Log], connection: Connection, last: int | None
) -> Iterator[LogLine]:
    """Yield happenings and the lines of logs in order of time, up to the time `last`."""
    # Numbers break ties, so that nothing else is compared.
    waiting: list[tuple[int, int, int, LogLine | None, Iterator[Happening]]] = []
    # Every log that is open holds a page.
    size = max(_SMALLEST_PAGE, PAGE // max(1, len(logs)))
    for number, log in enumerate(logs, 1):
        waiting.append((log.begins, -1, number, None, log.read(connection, last, size)))
    story = iter(sorted(happenings, key=lambda one: one[:2]))
    waiting.append((0, -1, 0, None, story))
    heapq.heapify(waiting)
    while waiting:
        _, _, number, line, more = heapq.heappop(waiting)
        if line is not None:
            yield line
        following = next(more, None)
        if following is not None:
            moment, rank, next_line = following
            heapq.heappush(waiting, (moment, rank, number, next_line, more))
