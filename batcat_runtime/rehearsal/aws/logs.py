"""Reading logs as CloudWatch Logs lets them be read; writing and groups are moto's.

moto does not know stream name prefixes, mixes the streams of a group only if asked, gives pages of
any size and tokens that lose their place when lines arrive between two pages. Here a page holds at
most 1 MB, lines come in order of time, ingestion and arrival, and a token names the last line that
was given. A page that is full has a token, also when nothing is left: the next one is empty then.
"""

from __future__ import annotations

import heapq
import itertools
import math
import re
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from ..operations import Operation
from ..wire import Call, ServiceError

PAGE_BYTES = 1024 * 1024
EVENT_OVERHEAD = 26
_MOST_EVENTS = 10_000
Place = tuple[float, ...]
_TERM = re.compile(r'([?-]?)(?:"((?:[^"\\]|\\.)*)"|([\w.@/:#=-]+))(?:\s+|$)')


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

    @property
    def size(self) -> int:
        """Bytes that it counts for in a page."""
        return len(self.message.encode("utf-8", "surrogatepass")) + EVENT_OVERHEAD


class Logs:
    """The reading of logs in one embedded AWS.

    Parameters
    ----------
    group : callable
        From a region and a log group's name to moto's log group, or None.
    """

    def __init__(self, group: Callable[[str, str], Any]) -> None:
        self._group = group
        # What was sorted once; a long log is read in many pages.
        self._sorted: WeakKeyDictionary[Any, tuple[int, list[Line]]] = WeakKeyDictionary()
        self._numbers = itertools.count()
        self._sorting = threading.Lock()

    def operations(self) -> dict[tuple[str, str], Operation]:
        """Return the operations that this room performs."""
        return {
            ("logs", "FilterLogEvents"): self.filter,
            ("logs", "GetLogEvents"): self.get,
        }

    def filter(self, call: Call) -> dict[str, Any]:
        """Give the lines of many streams of a group; `endTime` is included."""
        asked = call.params
        group = self._found(call)
        names, prefix = asked.get("logStreamNames"), asked.get("logStreamNamePrefix")
        if names and prefix and not any(name.startswith(prefix) for name in names):
            raise _invalid(
                "The logStreamNamePrefix does not match any of the specified logStreamNames."
            )
        matches = pattern_of(str(asked.get("filterPattern") or ""))
        first, last = asked.get("startTime"), asked.get("endTime")
        if first is not None and last is not None and first > last:
            raise _invalid("The startTime must not be after the endTime.")
        newest_first = asked.get("startFromHead") is False
        place = _place(asked.get("nextToken"), "n")
        low: Place = (first or 0,)
        high: Place = (math.inf,) if last is None else (last + 1,)
        if place and newest_first:
            high = place
        elif place:
            low = _behind(place)
        streams = [
            self._between(group, name, low, high)
            for name in list(group.streams)
            if (not names or name in names) and (not prefix or name.startswith(prefix))
        ]
        if newest_first:
            streams = [lines[::-1] for lines in streams]
        found = (
            line for line in heapq.merge(*streams, reverse=newest_first) if matches(line.message)
        )
        page, full = _page(found, asked.get("limit"))
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
        result: dict[str, Any] = {"events": events, "searchedLogStreams": []}
        return result | ({"nextToken": f"n/{page[-1].place}"} if full and page else {})

    def get(self, call: Call) -> dict[str, Any]:
        """Give the lines of one stream, forwards or backwards; `endTime` is not included."""
        asked = call.params
        name = str(asked["logStreamName"])
        group = self._found(call)
        if name not in group.streams:
            raise ServiceError(
                "ResourceNotFoundException", "The specified log stream does not exist."
            )
        token = str(asked.get("nextToken") or "")
        place = _place(token, "fb")
        forwards = token.startswith("f/") if token else bool(asked.get("startFromHead"))
        low: Place = (asked.get("startTime") or 0,)
        high: Place = (asked.get("endTime") or math.inf,)
        if place and forwards:
            low = _behind(place)
        elif place:
            high = place
        found = self._between(group, name, low, high)
        page, _ = _page(iter(found if forwards else found[::-1]), asked.get("limit"))
        page = page if forwards else page[::-1]
        # At an end the token that was given comes back; without one, that of the very beginning.
        start, end = (page[0].place, page[-1].place) if page else (token[2:] or "0" * 56,) * 2
        return {
            "events": [
                {
                    "timestamp": line.timestamp,
                    "message": line.message,
                    "ingestionTime": line.ingested,
                }
                for line in page
            ],
            "nextForwardToken": f"f/{end}",
            "nextBackwardToken": f"b/{start}",
        }

    def _between(self, group: Any, name: str, low: Place, high: Place) -> list[Line]:
        """Return a stream's lines from one place up to another, in order."""
        stream = group.streams[name]
        with self._sorting:
            number, lines = self._sorted.setdefault(stream, (next(self._numbers), []))
            known = len(lines)
            fresh = [
                Line(one.timestamp, one.ingestion_time, number, position, name, one.message)
                for position, one in enumerate(stream.events[known:], known)
            ]
            lines += fresh
            # Nothing to do for what came in order; little for what nearly did.
            if fresh:
                lines.sort()
            return lines[bisect_left(lines, low) : bisect_left(lines, high)]

    def _found(self, call: Call) -> Any:
        name, identifier = call.params.get("logGroupName"), call.params.get("logGroupIdentifier")
        if (name is None) == (identifier is None):
            raise _invalid("Specify either logGroupName or logGroupIdentifier, and not both.")
        if name is None:
            name = str(identifier)
            name = name.split(":log-group:")[-1] if name.startswith("arn:") else name
        group = self._group(call.region, str(name))
        if group is None:
            raise ServiceError(
                "ResourceNotFoundException", "The specified log group does not exist."
            )
        return group


def pattern_of(text: str) -> Callable[[str], bool]:
    """Return the test that a filter pattern stands for.

    Terms and quoted phrases must all be there; of those with a question mark, one; those with a
    hyphen must not. Patterns for JSON, columns and regular expressions are refused.
    """
    terms, position = [], 0
    text = text.strip()
    while position < len(text):
        found = _TERM.match(text, position)
        if found is None:
            raise _invalid(
                f"Invalid filter pattern {text!r}. (The embedded AWS knows terms and quoted "
                "phrases, with ? and - before them.)"
            )
        terms.append((found[1], found[3] or re.sub(r"\\(.)", r"\1", found[2] or "")))
        position = found.end()
    needed = [term for sign, term in terms if not sign]
    one_of = [term for sign, term in terms if sign == "?"]
    refused = [term for sign, term in terms if sign == "-"]

    def matches(message: str) -> bool:
        return (
            all(term in message for term in needed)
            and (not one_of or any(term in message for term in one_of))
            and not any(term in message for term in refused)
        )

    return matches


def _page(found: Iterator[Line], limit: Any) -> tuple[list[Line], bool]:
    """Return the first page of the lines, and whether it is full."""
    most = int(limit or _MOST_EVENTS)
    page: list[Line] = []
    size = 0
    for line in found:
        size += line.size
        if page and size > PAGE_BYTES:
            return page, True
        page.append(line)
        if len(page) == most:
            return page, True
    return page, False


def _place(token: Any, kinds: str) -> tuple[int, ...]:
    if not token:
        return ()
    if not re.fullmatch(rf"[{kinds}]/\d{{56}}", str(token)):
        raise _invalid("The specified nextToken is invalid.")
    digits = str(token)[2:]
    return tuple(int(digits[start : start + 14]) for start in range(0, 56, 14))


def _behind(place: tuple[int, ...]) -> tuple[int, ...]:
    """Return the place right after that of a line."""
    return *place[:3], place[3] + 1


def _invalid(message: str) -> ServiceError:
    return ServiceError("InvalidParameterException", message)
