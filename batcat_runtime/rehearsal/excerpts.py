"""Cut what may be very long or very large, so that a report stays a page and not a dump.

Logs keep their first and last lines, pictures stop at a number of bytes, documents at a number of
characters; together they bound the size of the file. Every cut is said where it was made.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from batcat_runtime.rehearsal.record import LogLine
from batcat_runtime.text import clean, one_line

LOG_BYTES = 1_200_000
LOG_HEAD, LOG_TAIL = 150, 350
LOG_WIDTH = 2_000
MOST_SOURCES = 60
PICTURE_BYTES = 1_200_000
DOCUMENT_LENGTH = 100_000


_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
)


def pictures(images: Iterable[tuple[str, bytes]]) -> dict[str, Any]:
    """Embed pictures as data; inside an ``img`` a browser runs and loads nothing for an SVG."""
    shown, left_out, room = [], [], PICTURE_BYTES
    for name, content in images:
        title = one_line(name, 120)
        kind = next((kind for sign, kind in _SIGNATURES if content.startswith(sign)), "")
        if not kind and content[:4] == b"RIFF" and content[8:12] == b"WEBP":
            kind = "image/webp"
        if not kind and b"<svg" in content[:2000].lower():
            kind = "image/svg+xml"
        if not kind:
            left_out.append(f"{title} is not a picture that a browser shows.")
        elif len(content) > room:
            left_out.append(f"{title} is too large to be put in here ({len(content):,} bytes).")
        else:
            room -= len(content)
            source = f"data:{kind};base64,{base64.b64encode(content).decode()}"
            shown.append(SimpleNamespace(name=title, src=source))
    return {"pictures": shown[:20], "pictures_left_out": left_out[:20]}


_ALARM = re.compile(r"\b(ERROR|CRITICAL|FATAL|Traceback)\b|^\w*(Error|Exception)\b")


def logs(lines: Iterable[LogLine], *, open_alarming: bool) -> dict[str, Any]:
    """Return each log in time order, cut in the middle; those with an alarm may stand open."""
    by_source: dict[str, list[LogLine]] = {}
    for line in sorted(lines, key=lambda line: _moment(line.time)):
        by_source.setdefault(line.source, []).append(line)
    shown = list(by_source.items())[:MOST_SOURCES]
    budget = LOG_BYTES // max(len(shown), 1)
    found = []
    for source, own in shown:
        head, tail = _ends(own, budget)
        left_out = len(own) - len(head) - len(tail)
        cut = [SimpleNamespace(cut=f"{left_out:,} lines are left out here.")] if left_out else []
        entries = [*map(_log_entry, head), *cut, *map(_log_entry, tail)]
        count = f"{len(own):,} line{'s' if len(own) != 1 else ''}"
        alarming = any(getattr(entry, "alarm", False) for entry in entries)
        found.append(
            SimpleNamespace(
                source=one_line(source, 200),
                count=count,
                lines=entries,
                open=open_alarming and alarming,
            )
        )
    hidden = len(by_source) - len(shown)
    return {"logs": found, "logs_left_out": f"{hidden} more logs are not shown." if hidden else ""}


def _moment(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _ends(lines: Sequence[LogLine], budget: int) -> tuple[Sequence[LogLine], Sequence[LogLine]]:
    """Return the first and the last lines that fit: more of the last, where failures are."""
    if len(lines) <= LOG_HEAD + LOG_TAIL:
        head = _that_fit(lines, budget // 3)
        if len(head) == len(lines) or len(_that_fit(lines, budget)) == len(lines):
            return lines, ()
    head = _that_fit(lines[:LOG_HEAD], budget // 3)
    tail = _that_fit(list(reversed(lines[len(head) :][-LOG_TAIL:])), budget * 2 // 3)
    return head, list(reversed(tail))


def _that_fit(lines: Sequence[LogLine], budget: int) -> Sequence[LogLine]:
    for number, line in enumerate(lines):
        budget -= len(html.escape(line.text[:LOG_WIDTH]).encode("utf-8", "replace")) + 80
        if budget < 0:
            return lines[:number]
    return lines


def _log_entry(line: LogLine) -> SimpleNamespace:
    text = clean(line.text[: LOG_WIDTH + 1]).rstrip("\n")
    text = f"{text[:LOG_WIDTH]} … (line cut)" if len(text) > LOG_WIDTH else text
    time = f"{line.time:%H:%M:%S}.{line.time.microsecond // 1000:03d}"
    return SimpleNamespace(cut="", time=time, text=text, alarm=bool(_ALARM.search(text)))


def as_json(value: Any) -> str:
    """Return a document as indented JSON, cut when it is long."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    cut = "\n… (cut)" if len(text) > DOCUMENT_LENGTH else ""
    return clean(text[:DOCUMENT_LENGTH]) + cut
