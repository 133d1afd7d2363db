"""Place the boxes of a directed graph in layers, and route its links between them.

The classic four stages, each a function over plain data: break cycles, put every node one layer
below its lowest predecessor, order the layers so that few links cross, and move the nodes
sideways until links are as straight as their weights ask for. A link that passes a layer gets a
waypoint there, so that it never runs through a box; links of one kind to one target share their
waypoints, and so join into one line instead of running side by side.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

GAP_X = 26.0
GAP_Y = 44.0
CLEAR = 14.0
SWEEPS = 8


@dataclass(frozen=True)
class Node:
    """A box to place: its key and its size."""

    key: str
    width: float
    height: float


@dataclass(frozen=True)
class Link:
    """An arrow from `source` to `target`; the heavier, the straighter it is drawn."""

    source: str
    target: str
    kind: str = "next"
    weight: float = 1.0
    label: float = 0.0  # the width of what is written on it


@dataclass(frozen=True)
class Route:
    """Where a link runs, from top to bottom.

    Attributes
    ----------
    link : Link
        The link itself.
    points : tuple of (float, float)
        In turn the bottom of one layer and the top of the next; only between these may it bend.
    ends : tuple of (float, float)
        The heights of the bottom of the upper box and of the top of the lower one.
    side : tuple of (float, float) or None
        The middle of the upper box's right edge, when nothing stands between it and the first
        bend, so that the link may leave there instead of at the bottom.
    upward : bool
        True when the arrow points up: the link closes a cycle.
    """

    link: Link
    points: tuple[tuple[float, float], ...]
    ends: tuple[float, float]
    side: tuple[float, float] | None
    upward: bool


@dataclass(frozen=True)
class Placement:
    """The finished layout: the left upper corner of each node, the routes and the whole size."""

    corners: dict[str, tuple[float, float]]
    routes: tuple[Route, ...]
    width: float
    height: float


def place(nodes: Sequence[Node], links: Sequence[Link]) -> Placement:
    """Return where `nodes` go and how `links` run. The first node is the root."""
    size = {node.key: (node.width, node.height) for node in nodes}
    links = [link for link in links if link.source != link.target]
    backward = _back_links(list(size), links)
    layer = _layers(list(size), [_down(link, link in backward) for link in links])
    chains, rows = _chains(links, backward, layer, size)
    width = {key: wide for key, (wide, _) in size.items()}
    for link, chain in zip(links, chains, strict=True):
        if len(chain) > 2:
            width[chain[1]] = max(width.get(chain[1], 0.0), link.label)
    pulls: dict[tuple[str, str], float] = defaultdict(float)
    for link, chain in zip(links, chains, strict=True):
        for upper, lower in pairwise(chain):
            # A line past layers should be straight, and end straight above its target.
            passing = 20.0 if lower not in size else 0.3
            pulls[upper, lower] += passing if upper not in size else link.weight
    _order(rows, list(pulls))
    centre = _columns(rows, pulls, width)
    return _placement(rows, centre, size, links, chains, backward)


def _down(link: Link, is_backward: bool) -> tuple[str, str]:
    return (link.target, link.source) if is_backward else (link.source, link.target)


def _back_links(keys: Sequence[str], links: Sequence[Link]) -> set[Link]:
    """Return the links that close a cycle, found by walking depth first from the root."""
    out: dict[str, list[Link]] = defaultdict(list)
    for link in links:
        out[link.source].append(link)
    closing: set[Link] = set()
    done: set[str] = set()
    for root in keys:
        if root in done:
            continue
        open_: list[tuple[str, list[Link]]] = [(root, list(out[root]))]
        on_path = {root}
        while open_:
            key, left = open_[-1]
            if not left:
                open_.pop()
                on_path.discard(key)
                done.add(key)
                continue
            link = left.pop(0)
            if link.target in on_path:
                closing.add(link)
            elif link.target not in done:
                on_path.add(link.target)
                open_.append((link.target, list(out[link.target])))
    return closing


def _layers(keys: Sequence[str], pairs: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Return each node's layer: the length of the longest way to it."""
    waiting = dict.fromkeys(keys, 0)
    below: dict[str, list[str]] = defaultdict(list)
    for upper, lower in pairs:
        waiting[lower] += 1
        below[upper].append(lower)
    layer = dict.fromkeys(keys, 0)
    ready = [key for key in keys if not waiting[key]]
    while ready:
        key = ready.pop(0)
        for lower in below[key]:
            layer[lower] = max(layer[lower], layer[key] + 1)
            waiting[lower] -= 1
            if not waiting[lower]:
                ready.append(lower)
    return layer


def _chains(
    links: Sequence[Link], backward: set[Link], layer: dict[str, int], nodes: Iterable[str]
) -> tuple[list[list[str]], list[list[str]]]:
    """Return each link as a chain of keys, one a layer, and the keys of each layer."""
    rows: list[list[str]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for key in nodes:
        rows[layer[key]].append(key)
    chains = []
    for number, link in enumerate(links):
        upper, lower = _down(link, link in backward)
        chain = [upper]
        for row in range(layer[upper] + 1, layer[lower]):
            # Waypoints have a newline in their key, which no name of a state may hold.
            shared = f"\n{number}" if link in backward else f"\n{link.kind}\n{link.target}"
            waypoint = f"{shared}\n{row}"
            if waypoint not in rows[row]:
                rows[row].append(waypoint)
            chain.append(waypoint)
        chains.append([*chain, lower])
    return chains, rows


def _order(rows: list[list[str]], pairs: Sequence[tuple[str, str]]) -> None:
    """Sort each layer by where its neighbours are, and keep the order with the fewest crossings."""
    above: dict[str, list[str]] = defaultdict(list)
    below: dict[str, list[str]] = defaultdict(list)
    for upper, lower in pairs:
        above[lower].append(upper)
        below[upper].append(lower)
    best = [list(row) for row in rows]
    fewest = _crossings(rows, below)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        downward = sweep % 2 == 0
        neighbours = above if downward else below
        order = range(1, len(rows)) if downward else range(len(rows) - 2, -1, -1)
        for number in order:
            fixed = {key: at for at, key in enumerate(rows[number - 1 if downward else number + 1])}
            rows[number].sort(key=_barycentre(rows[number], fixed, neighbours))
        crossings = _crossings(rows, below)
        if crossings < fewest:
            fewest, best = crossings, [list(row) for row in rows]
    rows[:] = best


def _barycentre(
    row: Sequence[str], fixed: dict[str, int], neighbours: dict[str, list[str]]
) -> Callable[[str], float]:
    own = {key: at for at, key in enumerate(row)}

    def centre(key: str) -> float:
        seen = [fixed[near] for near in neighbours[key] if near in fixed]
        return sum(seen) / len(seen) if seen else own[key]

    return centre


def _crossings(rows: Sequence[Sequence[str]], below: dict[str, list[str]]) -> int:
    total = 0
    for upper, lower in pairwise(rows):
        at = {key: number for number, key in enumerate(lower)}
        ends = [sorted(at[end] for end in below[key] if end in at) for key in upper]
        seen: list[int] = []
        for group in ends:
            total += sum(1 for end in group for other in seen if other > end)
            seen.extend(group)
    return total


def _columns(
    rows: Sequence[Sequence[str]], pulls: dict[tuple[str, str], float], width: dict[str, float]
) -> dict[str, float]:
    """Return the centre of each node: near its neighbours, never on top of another."""
    near: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for (upper, lower), weight in pulls.items():
        near[upper].append((lower, weight))
        near[lower].append((upper, weight))
    centre: dict[str, float] = {}
    for row in rows:
        at = 0.0
        for key in row:
            half = width.get(key, 0.0) / 2
            centre[key] = at + half
            at += 2 * half + GAP_X
    for sweep in range(4 * SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted, weights = [], []
            for key in row:
                total = sum(weight for _, weight in near[key])
                pull = sum(centre[other] * weight for other, weight in near[key])
                wanted.append(pull / total if total else centre[key])
                weights.append(total or 0.01)
            gaps = [
                (width.get(left, 0.0) + width.get(right, 0.0)) / 2 + GAP_X
                for left, right in pairwise(row)
            ]
            centre.update(zip(row, _apart(wanted, weights, gaps), strict=True))
    for above, row in pairwise(rows):
        _straighten(above, row, centre, near, width)
    return centre


def _straighten(
    above: Sequence[str],
    row: Sequence[str],
    centre: dict[str, float],
    near: dict[str, list[tuple[str, float]]],
    width: dict[str, float],
) -> None:
    """Move what is nearly below its main predecessor right below it, if there is room."""
    for at, key in enumerate(row):
        links = [(weight, other) for other, weight in near[key] if other in above]
        if not links:
            continue
        x = centre[max(links, key=lambda link: link[0])[1]]
        room = [
            abs(x - centre[other]) - (width.get(key, 0.0) + width.get(other, 0.0)) / 2
            for other in (*row[max(at - 1, 0) : at], *row[at + 1 : at + 2])
            if (centre[other] < x) == (centre[other] < centre[key])
        ]
        beside = len(row[max(at - 1, 0) : at]) + len(row[at + 1 : at + 2])
        if (
            abs(x - centre[key]) < GAP_X
            and len(room) == beside
            and min(room, default=CLEAR) >= CLEAR
        ):
            centre[key] = x


def _apart(wanted: Sequence[float], weights: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """Return the places nearest to `wanted` that keep the gaps (pooling adjacent violators)."""
    shift = [0.0]
    for gap in gaps:
        shift.append(shift[-1] + gap)
    pools: list[tuple[float, float, int]] = []  # mean, weight, count
    for want, weight, offset in zip(wanted, weights, shift, strict=False):
        pools.append((want - offset, weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (mean1, weight1, count1), (mean2, weight2, count2) = pools[-2:]
            heavy = weight1 + weight2
            pools[-2:] = [((mean1 * weight1 + mean2 * weight2) / heavy, heavy, count1 + count2)]
    flat = [mean for mean, _, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(flat, shift, strict=False)]


def _placement(
    rows: Sequence[Sequence[str]],
    centre: dict[str, float],
    size: dict[str, tuple[float, float]],
    links: Sequence[Link],
    chains: Sequence[Sequence[str]],
    backward: set[Link],
) -> Placement:
    half = {key: size[key][0] / 2 if key in size else 0.0 for key in centre}
    left = min((centre[key] - half[key] for key in centre), default=0.0)
    right = max((centre[key] + half[key] for key in centre), default=0.0)
    corners: dict[str, tuple[float, float]] = {}
    span: dict[str, tuple[float, float]] = {}
    top = 0.0
    for row in rows:
        height = max((size[key][1] for key in row if key in size), default=0.0)
        for key in row:
            span[key] = (top, top + height)
            if key in size:
                middle = top + height / 2
                corners[key] = (centre[key] - left - half[key], middle - size[key][1] / 2)
        top += height + GAP_Y
    routes = []
    for link, chain in zip(links, chains, strict=True):
        points: list[tuple[float, float]] = []
        for upper, lower in pairwise(chain):
            points += [
                (centre[upper] - left, span[upper][1]),
                (centre[lower] - left, span[lower][0]),
            ]
        x, y = corners[chain[0]]
        wide, high = size[chain[0]]
        row = next(row for row in rows if chain[0] in row)
        beside = [corners[key][0] for key in row if key in corners and corners[key][0] > x]
        edge = x + wide
        free = edge + CLEAR < points[1][0] and all(points[1][0] + CLEAR < other for other in beside)
        side = (edge, y + high / 2) if free else None
        ends = (y + high, corners[chain[-1]][1])
        routes.append(Route(link, tuple(points), ends, side, link in backward))
    return Placement(corners, tuple(routes), right - left, max(top - GAP_Y, 0.0))
