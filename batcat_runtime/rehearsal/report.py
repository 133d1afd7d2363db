"""Write the report of a rehearsal: one HTML file that needs nothing else.

Three stages. The record becomes what the page shows (short, clean text, with anything long cut and
the cut said); the template `assets/report.html` puts it in place, where jinja2 escapes every value;
the file appears whole or not at all. The page has no script and asks for nothing from outside, and
its content security policy allows neither: what a user or a job wrote can only ever be text.
Pictures are made by `graph`, `timeline` and `plot`, which escape for themselves; only their SVG is
trusted as markup.
"""

from __future__ import annotations

import base64
import hashlib
import html
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from batcat_runtime.rehearsal import folding, graph, states, timeline
from batcat_runtime.rehearsal.chart import Chart, NoChart, choose_chart
from batcat_runtime.rehearsal.excerpts import as_json, logs, pictures
from batcat_runtime.rehearsal.record import Rehearsal, ResultTable
from batcat_runtime.text import clean, format_column, format_seconds, one_line, shorten

MOST_ROWS, MOST_COLUMNS, CELL_WIDTH = 10, 60, 80
MOST_RESOURCES = 300


def write_report(record: Rehearsal, path: Path) -> Path:
    """Write the report of `record` to `path`, whole or not at all.

    Parameters
    ----------
    record : Rehearsal
        What the rehearsal left behind.
    path : Path
        The file to write; its directory is made when it is missing.

    Returns
    -------
    Path
        `path`, absolute.
    """
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    page = render_report(record).encode()
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(page)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def render_report(record: Rehearsal) -> str:
    """Return the report of `record` as HTML; the same record gives the same text."""
    from markupsafe import Markup

    style = files("batcat_runtime.rehearsal").joinpath("assets/report.css").read_text("utf-8")
    style = re.sub(r"\s*\n\s*", "\n", re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL)).strip()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    digest = Markup(f"sha256-{digest}")
    page: str = _template().render(page=_page(record), style=Markup(style), style_hash=digest)
    return page


@cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    source = files("batcat_runtime.rehearsal").joinpath("assets/report.html").read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source)


def _page(record: Rehearsal) -> SimpleNamespace:
    """Return everything that the template shows."""
    fine = record.status == "succeeded"
    name = one_line(record.purpose, 80)
    reason, _, last_lines = clean(record.error).strip().partition("\n")
    documents = [
        (label, as_json(value), note)
        for label, value, note in (
            ("Manifest", record.manifest, "_manifest.json, beside the result"),
            ("Workflow definition", record.definition, "Amazon States Language"),
        )
        if value
    ]
    sections = ("Workflow", "Timeline", "Result", "Logs")
    return SimpleNamespace(
        status=record.status,
        outcome="Passed" if fine else "Failed",
        name=name,
        title=one_line(record.title, 80),
        badge=_markup(_BADGES[record.status]),
        headline=f"{name} {'passed' if fine else 'failed'} its rehearsal",
        sentence=_sentence(record),
        reason="" if fine else shorten(reason or "The rehearsal failed without a reason.", 600),
        last_lines=last_lines.strip("\n")[-8000:],
        facts=_facts(record),
        sections=[*((s.lower(), s) for s in sections), ("deployed", "What was deployed"),
                  ("particulars", "Manifest, definition, versions")],
        result=_result(record.result),
        resources=_pairs(record.resources[:MOST_RESOURCES]),
        resources_left_out=max(len(record.resources) - MOST_RESOURCES, 0),
        documents=documents,
        versions=_pairs(list(record.versions.items())[:100]),
        footer=f"Made by batcat rehearse, {record.started:%Y-%m-%d %H:%M}. It needs no other file: "
        "nothing is loaded from elsewhere.",
        **_workflow(record.definition, record.state_status),
        **_timeline(record),
        **_charts(record.result),
        **pictures(record.images),
        **logs(record.logs, open_alarming=not fine),
    )  # fmt: skip


def _pairs(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(one_line(name, 120), one_line(value, 400)) for name, value in pairs]


_BADGES = {
    "succeeded": '<svg class="badge" viewBox="0 0 46 46" role="img" aria-label="Passed"><circle '
    'cx="23" cy="23" r="22"/><path d="M14 23.8 20.4 30.2 32.4 16.8"/></svg>',
    "failed": '<svg class="badge" viewBox="0 0 46 46" role="img" aria-label="Failed"><circle '
    'cx="23" cy="23" r="22"/><path d="M16 16 30 30M30 16 16 30"/></svg>',
}


def _markup(svg: str) -> Any:
    """Mark SVG that this package drew as safe to put into the page."""
    from markupsafe import Markup

    return Markup(svg)


def _sentence(record: Rehearsal) -> str:
    took = format_seconds(record.seconds)
    if record.status == "succeeded":
        return (
            f"The whole way, from the container image to the result, in {took}. "
            "It ran on this machine alone; no AWS account was touched."
        )
    depth = ("result", "job", "state", "workflow", "trigger", "deploy", "data", "image")
    failed = sorted(
        (step for step in record.steps if step.status in ("failed", "stopped")),
        key=lambda step: (step.status == "stopped", depth.index(step.kind)),
    )
    where = f" at the {failed[0].kind} “{one_line(failed[0].name, 80)}”" if failed else ""
    return (
        f"It failed{where}, {took} after the start. It ran on this machine alone; "
        "no AWS account was touched."
    )


def _facts(record: Rehearsal) -> list[tuple[str, str, str]]:
    window, days = ("all data", "") if record.window is None else _window(*record.window)
    rows = f"{record.result.rows:,}" if record.result else "none"
    return [
        ("Fired as if at", one_line(record.fired_at, 40).replace("T", " ").removesuffix(":00"), ""),
        ("Data window", window, days),
        ("Region", one_line(record.region, 40), f"partition {one_line(record.partition, 40)}"),
        ("Account", one_line(record.account_id, 40), "embedded, not a real one"),
        ("Result rows", rows, ""),
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


def _workflow(definition: Mapping[str, Any], status: Mapping[str, str]) -> dict[str, Any]:
    whole = len(list(states.state_names(definition)))
    definition = folding.folded(definition, status)
    every = list(states.state_names(definition))
    rows = [
        SimpleNamespace(
            name=one_line(name, 90),
            what=states.describe_state(state),
            **_outcome(states.state_outcome(name, state, status)),
        )
        for name, state in every[: graph.MOST_STATES]
    ]
    svg = graph.workflow_svg(definition, status)
    width = re.search(r'width="(\d+)" height', svg)
    return {
        "states": rows,
        "states_left_out": max(len(every) - graph.MOST_STATES, 0),
        "states_folded": whole - len(every),
        "graph": _markup(svg),
        "graph_is_wide": width is not None and int(width[1]) > 640,
        "has_catch": 'class="line catch' in svg,
    }


def _outcome(status: str) -> dict[str, Any]:
    """Return a status with its sign and its CSS class; the word always stands beside the sign."""
    bad = dict.fromkeys(("failed", "stopped", states.REACHED), "bad")
    kinds = {"succeeded": "ok", **bad, states.NOT_REACHED: "idle"}
    sign = {
        states.REACHED: '<path d="M4 4 12 12M12 4 4 12"/>',
        "succeeded": '<path d="M3 8.5 6.5 12 13 4.5"/>',
        "failed": '<path d="M4 4 12 12M12 4 4 12"/>',
        "stopped": '<path d="M4.5 4.5H11.5V11.5H4.5z"/>',
    }.get(status.lower(), '<path d="M4 8H12"/>')
    mark = (
        '<svg viewBox="0 0 16 16" aria-hidden="true" fill="none" stroke="currentColor" '
        f'stroke-width="2.2" stroke-linecap="round" stroke-linejoin="round">{sign}</svg>'
    )
    return {"status": status, "css": kinds.get(status.lower(), "other"), "mark": _markup(mark)}


def _timeline(record: Rehearsal) -> dict[str, Any]:
    axis = timeline.timeline(record.steps, record.started, record.seconds)
    rows = [
        SimpleNamespace(
            name=row.name,
            kind=row.kind,
            detail=row.detail,
            depth=row.depth,
            took=row.took,
            bar=_markup(timeline.bar_svg(axis, row, step.kind)),
            **_outcome(row.status),
        )
        for row, step in zip(axis.rows, record.steps, strict=False)
    ]
    return {
        "timeline": rows,
        "axis": _markup(timeline.axis_svg(axis)),
        "axis_from": "0 s",
        "axis_to": format_seconds(axis.length),
    }


def _result(result: ResultTable | None) -> SimpleNamespace | None:
    if result is None:
        return None
    names = [one_line(name, CELL_WIDTH) for name in result.columns[:MOST_COLUMNS]]
    head = [row[: len(names)] for row in result.head[:MOST_ROWS]]
    columns, cells = [], []
    for number, name in enumerate(names):
        shown, numeric = format_column([row[number] if number < len(row) else "" for row in head])
        columns.append(SimpleNamespace(name=_breakable(name), numeric=numeric))
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


def _breakable(name: str) -> Any:
    """Let a long column name break after its underscores."""
    return _markup(html.escape(name).replace("_", "_<wbr>"))


def _charts(result: ResultTable | None) -> dict[str, Any]:
    from batcat_runtime.rehearsal.plot import panel_svg, series_key

    empty: dict[str, Any] = {"charts": [], "keys": [], "key_name": "", "chart_note": ""}
    if result is None:
        return {**empty, "no_chart": ""}
    try:
        chart = choose_chart(result.frame)
        if isinstance(chart, NoChart):
            return {**empty, "no_chart": chart.reason}
        drawn = [_markup(panel_svg(chart, number)) for number in range(len(chart.panels))]
    except Exception as error:
        # The table is the user's and may hold anything; the report must come all the same.
        return {**empty, "no_chart": one_line(f"{type(error).__name__}: {error}", 200)}
    labels = list(dict.fromkeys(series.label for panel in chart.panels for series in panel.series))
    return {
        "charts": [
            SimpleNamespace(label=panel.label, unit=panel.unit, svg=svg)
            for panel, svg in zip(chart.panels, drawn, strict=True)
        ],
        "keys": [
            (_markup(series_key(number)), label) for number, label in enumerate(labels) if label
        ],
        "key_name": f"Each line is one {chart.group}",
        "chart_note": f"{_chart_axis(chart)} {chart.note}".strip(),
        "no_chart": "",
    }


def _chart_axis(chart: Chart) -> str:
    if chart.form == "line":
        times = [time for panel in chart.panels for series in panel.series for time in series.x]
        lines = f", one line for each {chart.group}" if chart.group else ""
        return f"Along the axis: {chart.x}, {min(times):%Y-%m-%d} to {max(times):%Y-%m-%d}{lines}."
    return f"One bar for each {chart.x}." if chart.form == "bar" else ""
