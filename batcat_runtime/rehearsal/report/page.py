"""From the record of a rehearsal to what its page shows.

Logs keep their first and last lines, pictures stop at a number of bytes, documents at a number of
characters. Every cut is said where it was made.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

from batcat_runtime.text import (
    clean,
    format_column,
    format_seconds,
    one_line,
    seconds_between,
    shorten,
)

from ..record import LogLine, Rehearsal, ResultTable, Step
from .chart import draw
from .workflow import Box, boxes

DEPTH = {"state": 1, "job": 2}
MOST_ROWS, MOST_COLUMNS, CELL_WIDTH = 10, 60, 80
MOST_RESOURCES = MOST_STEPS = 300
LOG_HEAD, LOG_TAIL, LOG_WIDTH, MOST_SOURCES = 150, 350, 1_000, 60
PICTURE_BYTES, MOST_PICTURES = 1_200_000, 20
DOCUMENT_LENGTH = 100_000
LAST_LINES = 25
_BAD = ("failed", "stopped", "reached")
_SIGNS = {"succeeded": "✓", "failed": "✗", "reached": "✗", "stopped": "■"}
_ALARM = re.compile(r"\b(ERROR|CRITICAL|FATAL|Traceback)\b|^\w*(Error|Exception)\b")
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)


def page_of(record: Rehearsal) -> SimpleNamespace:
    """Return everything that the template shows."""
    fine = record.status == "succeeded"
    name = one_line(record.purpose, 80)
    reason, _, last_lines = clean(record.error).strip().partition("\n")
    documents = (
        ("Manifest", record.manifest, "_manifest.json, beside the result"),
        ("Workflow definition", record.definition, "Amazon States Language"),
    )
    return SimpleNamespace(
        status=record.status,
        sign=_SIGNS[record.status],
        outcome="Passed" if fine else "Failed",
        name=name,
        title=one_line(record.title, 80),
        headline=f"{name} {'passed' if fine else 'failed'} its rehearsal",
        sentence=_sentence(record),
        reason="" if fine else shorten(reason or "The rehearsal failed without a reason.", 600),
        last_lines="\n".join(last_lines.strip("\n").split("\n")[-LAST_LINES:])[-8000:],
        hints=[one_line(hint, 2000) for hint in record.hints],
        mails=[(one_line(mail.to, 120), clean(mail.text)[:4000]) for mail in record.mails],
        facts=_facts(record),
        workflow=_shown_boxes(boxes(record.definition, record.state_status)),
        timeline=_timeline(record),
        result=_result(record.result),
        resources=_pairs(record.resources[:MOST_RESOURCES]),
        resources_left_out=max(len(record.resources) - MOST_RESOURCES, 0),
        documents=[(label, _json(value), note) for label, value, note in documents if value],
        versions=_pairs(list(record.versions.items())[:100]),
        footer=f"Made by batcat rehearse, {record.started:%Y-%m-%d %H:%M}. It needs no other file: "
        "nothing is loaded from elsewhere.",
        **_charts(record.result),
        **_pictures(record.images),
        **_logs(record.logs, open_alarming=not fine),
    )


def _pairs(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(one_line(name, 120), one_line(value, 400)) for name, value in pairs]


def _sentence(record: Rehearsal) -> str:
    took = format_seconds(record.seconds)
    alone = "It ran on this machine alone; no AWS account was touched."
    if record.status == "succeeded":
        return f"The whole way, from the container image to the result, in {took}. {alone}"
    depth = ("result", "job", "state", "workflow", "trigger", "deploy", "data", "image")
    failed = sorted(
        (step for step in record.steps if step.status in ("failed", "stopped")),
        key=lambda step: (step.status == "stopped", depth.index(step.kind)),
    )
    where = f" at the {failed[0].kind} “{one_line(failed[0].name, 80)}”" if failed else ""
    return f"It failed{where}, {took} after the start. {alone}"


def _facts(record: Rehearsal) -> list[tuple[str, str, str]]:
    window, days = ("all data", "") if record.window is None else _window(*record.window)
    fired = one_line(record.fired_at, 40).replace("T", " ").removesuffix(":00")
    return [
        ("Fired as if at", fired, ""),
        ("Data window", window, days),
        ("Region", one_line(record.region, 40), f"partition {one_line(record.partition, 40)}"),
        ("Account", one_line(record.account_id, 40), "embedded, not a real one"),
        ("Result rows", f"{record.result.rows:,}" if record.result else "none", ""),
        ("Took", format_seconds(record.seconds), f"from {record.started:%H:%M:%S}"),
    ]


def _window(start: str, end: str) -> tuple[str, str]:
    """Return a half-open window of dates as a reader says it: with its last day."""
    try:
        first, after = date.fromisoformat(start), date.fromisoformat(end)
    except ValueError:
        return f"{one_line(start, 40)} to {one_line(end, 40)}", "the end is not included"
    days = (after - first).days
    last = date.fromordinal(max(after.toordinal() - 1, first.toordinal()))
    count = f"{days} day{'s' if days != 1 else ''}"
    return f"{first}" if days == 1 else f"{first} to {last}", count


def _css(status: str) -> str:
    return "ok" if status == "succeeded" else "bad" if status in _BAD else "idle"


def _shown_boxes(found: Sequence[Box]) -> list[SimpleNamespace]:
    return [
        SimpleNamespace(
            **{name: value for name, value in vars(box).items() if name != "branches"},
            css=_css(box.status),
            sign=_SIGNS.get(box.status, "\N{EN DASH}"),
            branches=[_shown_boxes(branch) for branch in box.branches],
        )
        for box in found
    ]


def _timeline(record: Rehearsal) -> list[SimpleNamespace]:
    """Return a row for each step, with its bar as shares of the whole."""
    offsets = [
        seconds_between(record.started, step.started) for step in record.steps if step.started
    ]
    zero = min([0.0, *offsets])
    ends = [
        seconds_between(record.started, step.started) + (step.seconds or 0.0)
        for step in record.steps
        if step.started
    ]
    length = max([record.seconds, *ends]) - zero or 1.0

    def row(step: Step) -> SimpleNamespace:
        start = None
        if step.started is not None:
            start = (seconds_between(record.started, step.started) - zero) / length
        end = min((start or 0.0) + (step.seconds or 0.0) / length, 1.0)
        name = one_line(step.name, 120)
        return SimpleNamespace(
            name=name,
            kind="" if step.kind in name.lower().split() else step.kind,
            detail=one_line(step.detail, 400),
            depth=min(DEPTH.get(step.kind, 0) + step.inside, 5),
            took=format_seconds(step.seconds),
            bar=None if start is None else (f"{start:.2%}", f"{max(end - start, 0.004):.2%}"),
            status=step.status,
            css=_css(step.status),
            sign=_SIGNS.get(step.status, "\N{EN DASH}"),
        )

    return [row(step) for step in record.steps[:MOST_STEPS]]


def _result(result: ResultTable | None) -> SimpleNamespace | None:
    if result is None:
        return None
    names = [one_line(name, CELL_WIDTH) for name in result.columns[:MOST_COLUMNS]]
    head = [row[: len(names)] for row in result.head[:MOST_ROWS]]
    columns, cells = [], []
    for number, name in enumerate(names):
        shown, numeric = format_column([row[number] if number < len(row) else "" for row in head])
        columns.append(SimpleNamespace(name=name, numeric=numeric))
        cells.append([shorten(cell, CELL_WIDTH) for cell in shown])
    rest = []
    if head and result.rows > len(head):
        rest.append(f"These are the first {len(head)} of {result.rows:,} rows.")
    if len(result.columns) > len(names):
        rest.append(f"{len(result.columns) - len(names)} more columns are not shown.")
    if any(column.numeric for column in columns):
        rest.append("Numbers are rounded here; the file has them all.")
    plural = ("" if result.rows == 1 else "s"), ("" if len(result.columns) == 1 else "s")
    size = f"{result.rows:,} row{plural[0]}, {len(result.columns)} column{plural[1]}"
    rows = [list(zip(row, columns, strict=True)) for row in zip(*cells, strict=True)]
    return SimpleNamespace(
        uri=one_line(result.uri), size=size, columns=columns, rows=rows, rest=" ".join(rest)
    )


def _charts(result: ResultTable | None) -> dict[str, Any]:
    if result is None:
        return {"charts": [], "chart_note": ""}
    try:
        drawn, note = draw(result.frame)
    except Exception as error:
        # The table is the user's and may hold anything; the report must come all the same.
        drawn, note = [], f"No plot: {one_line(f'{type(error).__name__}: {error}', 200)}"
    charts = [(title, text, _data("image/svg+xml", svg.encode())) for title, text, svg in drawn]
    return {"charts": charts, "chart_note": note}


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _pictures(images: Iterable[tuple[str, bytes]]) -> dict[str, Any]:
    """Embed pictures as data; inside an ``img`` a browser runs and loads nothing for an SVG."""
    shown, left_out, room = [], [], PICTURE_BYTES
    for name, content in images:
        title = one_line(name, 120)
        kind = next((kind for sign, kind in _SIGNATURES if content.startswith(sign)), "")
        if not kind and b"<svg" in content[:2000].lower():
            kind = "image/svg+xml"
        if not kind:
            left_out.append(f"{title} is not a picture that a browser shows.")
        elif len(content) > room:
            left_out.append(f"{title} is too large to be put in here ({len(content):,} bytes).")
        else:
            room -= len(content)
            shown.append((title, _data(kind, content)))
    return {"pictures": shown[:MOST_PICTURES], "pictures_left_out": left_out[:MOST_PICTURES]}


def _logs(lines: Iterable[LogLine], *, open_alarming: bool) -> dict[str, Any]:
    """Return each log in time order, cut in the middle; those with an alarm may stand open."""
    by_source: dict[str, list[LogLine]] = {}
    for line in sorted(lines, key=lambda line: _moment(line.time)):
        by_source.setdefault(line.source, []).append(line)
    found = []
    for source, own in list(by_source.items())[:MOST_SOURCES]:
        left_out = max(len(own) - LOG_HEAD - LOG_TAIL, 0)
        # More of the last lines, where failures are.
        entries = [_log_entry(line) for line in (own[:LOG_HEAD] if left_out else own)]
        if left_out:
            entries.append(SimpleNamespace(cut=f"{left_out:,} lines are left out here."))
            entries += map(_log_entry, own[-LOG_TAIL:])
        alarming = any(getattr(entry, "alarm", False) for entry in entries)
        found.append(
            SimpleNamespace(
                source=one_line(source, 200),
                count=f"{len(own):,} line{'s' if len(own) != 1 else ''}",
                lines=entries,
                open=open_alarming and alarming,
            )
        )
    hidden = len(by_source) - len(found)
    return {"logs": found, "logs_left_out": f"{hidden} more logs are not shown." if hidden else ""}


def _moment(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _log_entry(line: LogLine) -> SimpleNamespace:
    text = clean(line.text[: LOG_WIDTH + 1]).rstrip("\n")
    text = f"{text[:LOG_WIDTH]} … (line cut)" if len(text) > LOG_WIDTH else text
    time = f"{line.time:%H:%M:%S}.{line.time.microsecond // 1000:03d}"
    return SimpleNamespace(cut="", time=time, text=text, alarm=bool(_ALARM.search(text)))


def _json(value: Mapping[str, Any]) -> str:
    """Return a document as indented JSON, cut when it is long."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    cut = "\n… (cut)" if len(text) > DOCUMENT_LENGTH else ""
    return clean(text[:DOCUMENT_LENGTH]) + cut
