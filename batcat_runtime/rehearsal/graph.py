"""Draw a state machine: from its Amazon States Language definition to one SVG picture.

Three stages. States become boxes and arrows; the branches of a Parallel state and the processor of
a Map state are drawn first, on their own, and then count as one large box with a frame around it.
`layers.place` says where boxes go. The rest writes SVG: classes only, no colours, so that the page
decides how a status looks in light, in dark and in print. The same definition always gives the same
picture.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batcat_runtime.rehearsal.layers import Link, Node, Placement, Route, place
from batcat_runtime.rehearsal.states import (
    NOT_REACHED,
    REACHED,
    branches_of,
    describe_condition,
    describe_state,
    state_names,
    state_outcome,
    states_of,
)
from batcat_runtime.text import display_width, one_line, shorten

MOST_STATES = 200
BOX_HEIGHT = 50.0
WIDEST_BOX = 264.0
WIDEST_LABEL = 20
FRAME = 14.0
TITLE = 52.0
BEND = 12.0
TIP = 9.0
MARGIN = 4.0

START, END = "start", "end"


@dataclass(frozen=True)
class _Box:
    """A state (or the start or end) with what is written on it."""

    key: str
    name: str
    what: str
    status: str
    width: float
    height: float
    inner: tuple[str, ...] = ()  # SVG groups of branches, already placed inside the box


@dataclass(frozen=True)
class _Arrow:
    source: str
    target: str
    kind: str  # "next", "choice" or "catch"
    label: str = ""


def workflow_svg(
    definition: Mapping[str, Any], status: Mapping[str, str] | None = None, *, prefix: str = "wf"
) -> str:
    """Draw the state machine `definition` as an SVG element to put into a page.

    Parameters
    ----------
    definition : mapping
        The state machine in the Amazon States Language. What is missing or points nowhere is left
        out of the picture; it is not an error here.
    status : mapping of str to str, optional
        State name to "succeeded", "failed", "stopped" and so on; a missing one was not reached.
    prefix : str
        What ids in the SVG begin with; give each picture on a page its own.

    Returns
    -------
    str
        An ``<svg>`` element, or "" when there is no state to draw or there are too many to read.
    """
    if not 0 < len(list(state_names(definition))) <= MOST_STATES:
        return ""
    body, width, height = _draw(definition, status or {}, prefix, top=True)
    width, height = width + 2 * MARGIN, height + 2 * MARGIN
    title = one_line(definition.get("Comment") or "Workflow", 120)
    return (
        f'<svg class="graph" role="img" aria-labelledby="{prefix}-title {prefix}-desc" '
        f'viewBox="{-MARGIN:g} {-MARGIN:g} {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}">'
        f'<title id="{prefix}-title">{html.escape(title)}</title>'
        f'<desc id="{prefix}-desc">{html.escape(_description(definition, status or {}))}</desc>'
        f'<defs><marker id="{prefix}-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto-start-reverse"><path class="tip" d="M0 0.5 8 4 0 7.5z"/>'
        f"</marker></defs>{body}</svg>"
    )


def _arrows(states: Mapping[str, Mapping[str, Any]], keys: Mapping[str, str]) -> list[_Arrow]:
    """Return the arrows between states, in the order in which the definition has them."""
    arrows: dict[tuple[str, str, str], _Arrow] = {}

    def add(source: str, target: object, kind: str, label: str = "") -> None:
        if str(target) in keys:
            arrow = _Arrow(keys[source], keys[str(target)], kind, label)
            arrows.setdefault((arrow.source, arrow.target, kind), arrow)

    for name, state in states.items():
        add(name, state.get("Next"), "next")
        for choice in state.get("Choices") or []:
            add(name, choice.get("Next"), "choice", describe_condition(choice))
        add(name, state.get("Default"), "choice", "otherwise")
        for catch in state.get("Catch") or []:
            errors = [str(error) for error in catch.get("ErrorEquals") or []]
            label = "" if errors == ["States.ALL"] else ", ".join(errors)
            add(name, catch.get("Next"), "catch", label)
    return list(arrows.values())


def _draw(
    definition: Mapping[str, Any], status: Mapping[str, str], prefix: str, *, top: bool
) -> tuple[str, float, float]:
    """Draw one level of a definition; return the SVG and its size."""
    states = states_of(definition)
    keys = {name: f"s{number}" for number, name in enumerate(states)}
    boxes = [_box(keys[name], name, state, status, prefix) for name, state in states.items()]
    arrows = _arrows(states, keys)
    if top:
        ending = [keys[n] for n, s in states.items() if s.get("End") or s.get("Type") == "Succeed"]
        end = [_Box(END, "End", "", "", 64, 26)] if ending else []
        boxes = [_Box(START, "Start", "", "", 64, 26), *end, *boxes]
        arrows = [_Arrow(START, "s0", "next"), *arrows]
        arrows += [_Arrow(key, END, "next") for key in ending]
    # What only an error leads to stands on the right, beside the main way.
    main = {arrow.target for arrow in arrows if arrow.kind != "catch"}
    boxes.sort(key=lambda box: box.key not in (START, "s0") and box.key not in main)
    placed = place(
        [Node(box.key, box.width, box.height) for box in boxes],
        [Link(a.source, a.target, a.kind, _WEIGHTS[a.kind], _label_width(a)) for a in arrows],
    )
    by_key = {box.key: box for box in boxes}
    lines = _lines(placed.routes, by_key, prefix)
    loops = [_loop(placed, by_key[a.source], prefix) for a in arrows if a.source == a.target]
    drawn = [_box_svg(box, *placed.corners[box.key]) for box in boxes]
    labels = _labels(placed, [a for a in arrows if a.source != a.target])
    width = placed.width + (2 * BEND if loops else 0)
    return "".join((*lines, *loops, *drawn, *labels)), width, placed.height


# The main way should be straight; an error path may bend.
_WEIGHTS = {"next": 8.0, "choice": 3.0, "catch": 0.01}


def _box(
    key: str, name: str, state: Mapping[str, Any], status: Mapping[str, str], prefix: str
) -> _Box:
    """Measure a state and draw what is inside it."""
    what, state_status = describe_state(state), state_outcome(name, state, status)
    text = max(display_width(one_line(name)) * 8.2, (len(what) + len(state_status) + 3) * 6.3)
    width = min(max(text + 56, 120.0), WIDEST_BOX)
    branches = [_draw(branch, status, prefix, top=False) for branch in branches_of(state)]
    if not branches:
        return _Box(key, name, what, state_status, width, BOX_HEIGHT)
    inside = sum(wide for _, wide, _ in branches) + FRAME * (len(branches) - 1)
    height = max(high for _, _, high in branches)
    width = max(inside + 2 * FRAME, width)
    at = (width - inside) / 2
    groups = []
    for svg, wide, high in branches:
        groups.append(
            f'<g transform="translate({at:.1f} {TITLE + (height - high) / 2:.1f})">{svg}</g>'
        )
        at += wide + FRAME
    return _Box(key, name, what, state_status, width, TITLE + height + FRAME, tuple(groups))


def _box_svg(box: _Box, x: float, y: float) -> str:
    at = f'transform="translate({x:.1f} {y:.1f})"'
    if box.key in (START, END):
        return (
            f'<g class="terminal" {at}><rect width="64" height="26" rx="13"/>'
            f'<text x="32" y="17.5">{box.name}</text></g>'
        )
    name, full = one_line(box.name), html.escape(f"{one_line(box.name)}: {box.what}, {box.status}")
    css = {
        "succeeded": "ok",
        "failed": "bad",
        "stopped": "bad",
        REACHED: "bad",
        NOT_REACHED: "idle",
    }
    shown = shorten(name, int((box.width - 50) / 8))
    what = shorten(f"{box.what} · {box.status}", int((box.width - 46) / 6))
    frame = " frame" if box.inner else ""
    return (
        f'<g class="state {css.get(box.status.lower(), "other")}{frame}" {at}><title>{full}</title>'
        f'<rect width="{box.width:.1f}" height="{box.height:.1f}" rx="9"/>{status_mark(box.status)}'
        f'<text class="name" x="40" y="21.5">{html.escape(shown)}</text>'
        f'<text class="what" x="40" y="37.5">{html.escape(what)}</text>'
        f"{''.join(box.inner)}</g>"
    )


def status_mark(status: str) -> str:
    """Return a sign for a status, as SVG around (22, 25): a tick, a cross or a dash."""
    paths = {
        "succeeded": "M17.5 25.3 20.8 28.6 26.8 21.8",
        "failed": (cross := "M18.5 21.5 25.5 28.5M25.5 21.5 18.5 28.5"),
        REACHED: cross,
    }
    path = paths.get(status.lower(), "M18 25H26")
    return f'<circle class="mark" cx="22" cy="25" r="9"/><path class="sign" d="{path}"/>'


def _lines(routes: Sequence[Route], boxes: Mapping[str, _Box], prefix: str) -> list[str]:
    """Draw the arrows; the way that was taken lies on top, and shared pieces are drawn once."""
    drawn: set[tuple[str, int, int, int, int]] = set()
    lines = []
    for route in sorted(routes, key=lambda route: _is_quiet(route.link, boxes)):
        path, joins = _path(route, drawn)
        tip = f' marker-{"start" if route.upward else "end"}="url(#{prefix}-tip)"'
        css = f"line {route.link.kind}{' quiet' if _is_quiet(route.link, boxes) else ''}"
        lines.append(f'<path class="{css}" d="{path}"{"" if joins else tip}/>')
    return lines[::-1]


def _is_quiet(link: Link, boxes: Mapping[str, _Box]) -> bool:
    """Tell whether an arrow was not taken."""
    source, target = boxes[link.source].status, boxes[link.target].status
    needed = ("failed",) if link.kind == "catch" else ("succeeded", "")
    return source not in needed or target == NOT_REACHED


def _path(route: Route, drawn: set[tuple[str, int, int, int, int]]) -> tuple[str, bool]:
    """Return a path that bends only between layers, and whether it ends where it joins another."""
    (x, y), (away, _) = route.points[:2]
    points, path = list(route.points), [f"M{x:.1f} {route.ends[0]:.1f}"]
    if route.side and (route.upward or route.link.kind == "catch"):
        right, middle = route.side
        points[0] = (away, y)
        bend = f"Q{away:.1f} {middle:.1f} {away:.1f} {middle + BEND:.1f}"
        path = [f"M{right:.1f} {middle:.1f} H{away - BEND:.1f} {bend}"]
    for number, ((x1, y1), (x2, y2)) in enumerate(zip(points[::2], points[1::2], strict=True)):
        piece = (route.link.kind, round(x1), round(y1), round(x2), round(y2))
        if piece in drawn:
            return " ".join((*path, *([f"V{y1:.1f}"] if number else []))), True
        drawn.add(piece)
        if abs(x1 - x2) > 0.5:
            # The tip of an arrow takes the direction of the last piece: keep that upright.
            y1, y2 = y1 + TIP, y2 - TIP
            half = (y1 + y2) / 2
            path.append(f"V{y1:.1f}")
            path.append(f"C{x1:.1f} {half:.1f} {x2:.1f} {half:.1f} {x2:.1f} {y2:.1f}")
    return " ".join((*path, f"V{route.ends[1]:.1f}")), False


def _loop(placed: Placement, box: _Box, prefix: str) -> str:
    x, y = placed.corners[box.key]
    right, middle = x + box.width, y + box.height / 2
    path = f"M{right:.1f} {middle - 9:.1f} c22 -4 22 22 0 18"
    return f'<path class="line next" d="{path}" marker-end="url(#{prefix}-tip)"/>'


def _label_width(arrow: _Arrow) -> float:
    text = shorten(one_line(arrow.label), WIDEST_LABEL)
    return display_width(text) * 6.3 + 14 if text else 0.0


def _labels(placed: Placement, arrows: Sequence[_Arrow]) -> list[str]:
    """Write its condition on each arrow that has one, just below where it leaves."""
    labels = []
    for arrow, route in zip(arrows, placed.routes, strict=True):
        if not arrow.label:
            continue
        x, y = route.points[1]
        y, wide = y - 19.0, _label_width(arrow)
        text = html.escape(shorten(one_line(arrow.label), WIDEST_LABEL))
        labels.append(
            f'<g class="label"><title>{html.escape(one_line(arrow.label))}</title>'
            f'<rect x="{x - wide / 2:.1f}" y="{y - 9:.1f}" width="{wide:.1f}" height="18" rx="9"/>'
            f'<text x="{x:.1f}" y="{y + 4:.1f}">{text}</text></g>'
        )
    return labels


def _description(definition: Mapping[str, Any], status: Mapping[str, str]) -> str:
    """Return the picture in words, for those who cannot see it."""
    states = list(state_names(definition))
    told = "; ".join(
        f"{one_line(name)} ({describe_state(state)}) {state_outcome(name, state, status)}"
        for name, state in states[:40]
    )
    return f"{len(states)} state{'s' if len(states) != 1 else ''}: {told}."
