"""The timeline of a rehearsal: one row for each step, with a bar where it happened.

Bars are small SVGs measured in per cent, so that they fill whatever width the page has, on a desk
or on a phone, while the text beside them keeps its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from batcat_runtime.rehearsal.record import Step
from batcat_runtime.text import format_seconds, one_line, seconds_between

MOST_STEPS = 300
DEPTH = {"state": 1, "job": 2}
DEEPEST = 5


@dataclass(frozen=True)
class Row:
    """One step as it is shown; `start` and `share` are fractions of the whole, None if unknown."""

    name: str
    kind: str
    detail: str
    status: str
    depth: int
    start: float | None
    share: float
    offset: float | None
    took: str


@dataclass(frozen=True)
class Timeline:
    """All rows, the length of the axis in seconds, and the seconds at which it has ticks."""

    rows: tuple[Row, ...]
    length: float
    ticks: tuple[float, ...]


def timeline(steps: Sequence[Step], started: datetime, seconds: float) -> Timeline:
    """Arrange `steps` on an axis that begins at `started` and holds every one of them."""
    offsets = [None if s.started is None else seconds_between(started, s.started) for s in steps]
    first = min((at for at in offsets if at is not None), default=0.0)
    zero = min(first, 0.0)
    ends = [at + (s.seconds or 0.0) for at, s in zip(offsets, steps, strict=True) if at is not None]
    length = max([seconds - zero, *(end - zero for end in ends)], default=0.0) or 1.0
    rows = []
    for step, offset in list(zip(steps, offsets, strict=True))[:MOST_STEPS]:
        name = one_line(step.name, 120)
        rows.append(
            Row(
                name=name,
                kind="" if step.kind in name.lower().split() else step.kind,
                detail=one_line(step.detail, 400),
                status=step.status,
                depth=min(DEPTH.get(step.kind, 0) + step.inside, DEEPEST),
                start=None if offset is None else (offset - zero) / length,
                share=0.0 if offset is None else (step.seconds or 0.0) / length,
                offset=None if offset is None else offset - zero,
                took=format_seconds(step.seconds),
            )
        )
    return Timeline(tuple(rows), length, _ticks(length))


def _ticks(length: float) -> tuple[float, ...]:
    """Return 3 to 6 round times along the axis."""
    steps = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
    step = next((step for step in steps if length / step <= 5.5), length / 5)
    return tuple(round(number * step, 3) for number in range(int(length / step) + 1))


def axis_svg(axis: Timeline) -> str:
    """Draw the times above the bars."""
    marks = []
    for tick in axis.ticks:
        at = tick / axis.length
        anchor = "start" if at < 0.04 else "end" if at > 0.94 else "middle"
        marks.append(f'<text x="{at:.2%}" y="12" text-anchor="{anchor}">{_tick_text(tick)}</text>')
    return f'<svg height="16" aria-hidden="true">{"".join(marks)}</svg>'


def bar_svg(axis: Timeline, row: Row, kind: str) -> str:
    """Draw the bar of one row, over faint lines at the ticks."""
    lines = [
        f'<line class="grid" x1="{tick / axis.length:.2%}" x2="{tick / axis.length:.2%}" '
        'y1="0" y2="100%"/>'
        for tick in axis.ticks
    ]
    label = "not begun"
    if row.start is not None:
        label = f"from {_tick_text(row.offset or 0.0)}, took {row.took}"
        bad = row.status in ("failed", "stopped")
        css = "went-bad" if bad else "workflow-bar" if kind == "workflow" else kind
        width = 4 if kind == "workflow" else 9
        end = min(row.start + row.share, 1.0)
        lines.append(
            f'<line class="{css}" stroke-width="{width}" x1="{row.start:.2%}" x2="{end:.2%}" '
            'y1="50%" y2="50%"/>'
        )
    return f'<svg role="img" aria-label="{label}">{"".join(lines)}</svg>'


def _tick_text(seconds: float) -> str:
    if seconds >= 60 and seconds % 60 == 0:
        return f"{seconds / 60:g} min"
    return f"{round(seconds, 2):g} s"
