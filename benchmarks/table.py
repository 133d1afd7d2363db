"""The table: on a terminal, as Markdown for the README, as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from benchmarks.outcome import Figures, Outcome

_HEAD = f"  {'':6} {'':34} {'seconds':>8} {'ratio':>6} {'peak MB':>8} {'extra MB':>8}"


def text(outcome: Outcome) -> str:
    """Return one row with all its contenders, to be read on a terminal."""
    lines = [f"{outcome.row}: {outcome.title}"]
    if any(one.size_mb is None for one in outcome.figures):
        lines.append(_HEAD)
    else:
        lines.append(f"  {'':6} {'':34} {'MB':>8} {'ratio':>6}")
    lines += [_line(outcome, one) for one in _sorted(outcome)]
    lines += [f"  {note}" for note in outcome.notes]
    return "\n".join([*lines, *(f"  target: {target}" for target in outcome.targets)])


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return the last words of a run: what was met and what was not."""
    met = [outcome.row for outcome in outcomes if outcome.met]
    missed = [outcome.row for outcome in outcomes if not outcome.met]
    words = f"{len(met)} of {len(outcomes)} rows meet their targets"
    return f"{words}; missed: {', '.join(missed)}." if missed else f"{words}."


def markdown(outcomes: Sequence[Outcome], machine: dict[str, str]) -> str:
    """Return the table for the README, with the machine that it was taken on."""
    lines = [
        "| Work | Floor | BatCat | Target | Peers |",
        "|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        floor = outcome.floor
        ours = [one for one in outcome.figures if one.role == "BatCat"]
        peers = [one for one in _sorted(outcome) if one.role == "peer"]
        cells = [
            outcome.title,
            f"{floor.name}: {_amount(floor)}" if floor else "",
            "<br>".join(_cell(outcome, one, named=len(ours) > 1) for one in ours),
            "<br>".join(str(target) for target in outcome.targets),
            "<br>".join(_cell(outcome, one, named=True) for one in peers),
        ]
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    facts = "; ".join(f"{name} {value}" for name, value in machine.items())
    return "\n".join([*lines, "", f"Taken with: {facts}."])


def as_json(outcomes: Sequence[Outcome], machine: dict[str, str]) -> str:
    """Return everything, every repetition included."""
    content: dict[str, Any] = {
        "machine": machine,
        "met": all(outcome.met for outcome in outcomes),
        "rows": [outcome.record() for outcome in outcomes],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _sorted(outcome: Outcome) -> list[Figures]:
    """Return floor and BatCat as they stand, then the peers, the fastest first."""
    peers = [one for one in outcome.figures if one.role == "peer"]
    peers.sort(key=lambda one: outcome.ratio(one) or one.best or float("inf"))
    return [*(one for one in outcome.figures if one.role != "peer"), *peers]


def _line(outcome: Outcome, one: Figures) -> str:
    start = f"  {one.role:6} {one.name:34}"
    if one.problem:
        return f"{start} {one.problem}"
    if one.size_mb is not None:
        return f"{start} {_number(one.size_mb, 1):>8} {_number(outcome.ratio(one), 2):>6}"
    return (
        f"{start} {_number(one.best, 3):>8} {_number(outcome.ratio(one), 2):>6}"
        f" {_number(one.peak, 0):>8} {_number(one.extra, 0):>8}"
    )


def _cell(outcome: Outcome, one: Figures, *, named: bool) -> str:
    name = f"{one.name}: " if named else ""
    if one.problem:
        return f"{name}{one.problem}"
    ratio = outcome.ratio(one)
    if ratio is not None:
        return f"{name}{ratio:.2f}"
    return f"{name}{_amount(one)}"


def _amount(one: Figures) -> str:
    if one.size_mb is not None:
        return f"{one.size_mb:.0f} MB"
    if one.best is None:
        return "not measured"
    memory = f", {one.peak:.0f} MB" if one.peak else ""
    return f"{one.best:.{3 if one.best < 0.1 else 2}f} s{memory}"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
