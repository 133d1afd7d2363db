"""FilterLogEvents as CloudWatch Logs answers it; all else of logs is moto's.

moto does not know stream name prefixes, mixes the streams of a group only if asked, gives pages of
any size and tokens that lose their place when lines arrive between two pages. Here a page holds at
most 1 MB, lines come in order of time, ingestion and arrival, and a token names the last line that
was given. A page that is full has a token, also when nothing is left: the next one is empty then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..operations import Operation
from ..wire import Call, ServiceError

PAGE_BYTES = 1024 * 1024
EVENT_OVERHEAD = 26
_MOST_EVENTS = 10_000
_TERM = re.compile(r'"((?:[^"\\]|\\.)*)"|([\w.@/:#=][\w.@/:#=-]*)')


class Line(NamedTuple):
    """One event of a log; they sort as FilterLogEvents sorts them."""

    timestamp: int
    ingested: int
    stream_number: int
    position: int
    stream: str
    message: str

    @property
    def place(self) -> str:
        """Its place among all lines of the group: 56 digits, as an event id has."""
        return "".join(f"{number:014}" for number in self[:4])


class Logs:
    """The reading of logs in one embedded AWS.

    Parameters
    ----------
    group : callable
        From a region and a log group's name to moto's log group, or None.
    """

    def __init__(self, group: Callable[[str, str], Any]) -> None:
        self._group = group

    def operations(self) -> dict[tuple[str, str], Operation]:
        """Return the operations that this room performs."""
        return {("logs", "FilterLogEvents"): self.filter}

    def filter(self, call: Call) -> dict[str, Any]:
        """Give the lines of many streams of a group; `endTime` is included."""
        asked = call.params
        names, prefix = asked.get("logStreamNames"), asked.get("logStreamNamePrefix")
        if names and prefix and not any(name.startswith(prefix) for name in names):
            raise _invalid(
                "The logStreamNamePrefix does not match any of the specified logStreamNames."
            )
        first, last = asked.get("startTime") or 0, asked.get("endTime")
        if last is not None and first > last:
            raise _invalid("The startTime must not be after the endTime.")
        terms, behind = (
            _terms(str(asked.get("filterPattern") or "")),
            _place(asked.get("nextToken")),
        )
        found = sorted(
            line
            for number, (name, stream) in enumerate(list(self._found(call).streams.items()))
            if (not names or name in names) and (not prefix or name.startswith(prefix))
            for line in _lines(number, name, stream)
            if line.timestamp >= first
            and (last is None or line.timestamp <= last)
            and line[:4] > behind
            and all(term in line.message for term in terms)
        )
        page, full = _page(found, int(asked.get("limit") or _MOST_EVENTS))
        events = [
            {
                "logStreamName": line.stream,
                "timestamp": line.timestamp,
                "message": line.message,
                "ingestionTime": line.ingested,
                "eventId": line.place,
            }
            for line in page
        ]
        token = {"nextToken": f"n/{page[-1].place}"} if full and page else {}
        return {"events": events, "searchedLogStreams": [], **token}

    def _found(self, call: Call) -> Any:
        name, identifier = call.params.get("logGroupName"), call.params.get("logGroupIdentifier")
        if (name is None) == (identifier is None):
            raise _invalid("Specify either logGroupName or logGroupIdentifier, and not both.")
        group = self._group(call.region, str(name or str(identifier).split(":log-group:")[-1]))
        if group is None:
            raise ServiceError(
                "ResourceNotFoundException", "The specified log group does not exist."
            )
        return group


def _lines(number: int, name: str, stream: Any) -> Iterator[Line]:
    for position, event in enumerate(list(stream.events)):
        yield Line(event.timestamp, event.ingestion_time, number, position, name, event.message)


def _terms(pattern: str) -> list[str]:
    """Return the terms and quoted phrases of a filter pattern, which must all be there."""
    rest = _TERM.sub("", pattern).strip()
    if rest:
        known = "The embedded AWS knows terms and quoted phrases."
        raise _invalid(f"Invalid filter pattern {pattern!r}. ({known})")
    return [word or re.sub(r"\\(.)", r"\1", phrase) for phrase, word in _TERM.findall(pattern)]


def _page(found: list[Line], most: int) -> tuple[list[Line], bool]:
    """Return the first page of the lines, and whether it is full."""
    size = 0
    for count, line in enumerate(found[:most]):
        size += len(line.message.encode("utf-8", "surrogatepass")) + EVENT_OVERHEAD
        if count and size > PAGE_BYTES:
            return found[:count], True
    return found[:most], len(found) >= most


def _place(token: Any) -> tuple[int, ...]:
    if not token:
        return (-1,)
    if not re.fullmatch(r"n/\d{56}", str(token)):
        raise _invalid("The specified nextToken is invalid.")
    return tuple(int(token[start : start + 14]) for start in range(2, 58, 14))


def _invalid(message: str) -> ServiceError:
    return ServiceError("InvalidParameterException", message)
