"""Draw a `Chart` as SVG, for the report.

The SVG comes from matplotlib and is then made fit to stand inside a page: everything that is a
style becomes an attribute (so that a strict content security policy holds), colours become the
page's own variables (so that dark mode and print work), ids get a prefix, and metadata goes. One
panel is one small picture, so that a phone can stack them. Lines differ by marker and dash as well
as by colour. Text stays text in the page's fonts, which know more scripts than matplotlib's own.
"""

from __future__ import annotations

import logging
import math
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from batcat_runtime.rehearsal.chart import Chart, Panel
from batcat_runtime.text import display_width, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 420, 216
FONT = 12.5
BAR_STEP = 26
LONGEST_LABEL = 16
# Stand-ins that matplotlib accepts as colours; the page gets variables instead.
COLOURS = {
    **{f"#00000{number + 1}": f"var(--series-{number + 1})" for number in range(6)},
    "#00000a": "var(--ink-2)",
    "#00000b": "var(--rule)",
    "#00000c": "var(--rule-2)",
}
SERIES, INK, AXIS, GRID = [f"#00000{n + 1}" for n in range(6)], "#00000a", "#00000b", "#00000c"
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), "-", (0, (5, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P")


def panel_svg(chart: Chart, number: int, *, prefix: str = "plot") -> str:
    """Draw one panel of a chart as an SVG element to put into a page.

    Parameters
    ----------
    chart : Chart
        What `choose_chart` chose.
    number : int
        Which of ``chart.panels``.
    prefix : str
        What ids in the SVG begin with.

    Returns
    -------
    str
        An ``<svg>`` element. The page must define ``--series-1`` to ``--series-6``, ``--ink-2``,
        ``--rule`` and ``--rule-2``. The same chart always gives the same text.
    """
    panel = chart.panels[number]
    height = HEIGHT
    if chart.form == "bar":
        height = 34 + BAR_STEP * len(panel.series[0].x)
    raw = _matplotlib_svg(chart, panel, height)
    return _fit_for_page(raw, f"{prefix}-{number + 1}", panel, chart, height)


def series_key(number: int) -> str:
    """Return the sign of a series for a legend, as a small SVG: its dash and its marker."""
    dash = ("", "7 3", "2 2", "8 3 2 3", "", "7 3")[number % 6]
    shapes = (
        '<circle cx="15" cy="6" r="3.6"/>',
        '<rect x="11.6" y="2.6" width="6.8" height="6.8"/>',
        '<path d="M15 1.6 19 9.4H11z"/>',
        '<path d="M15 1.2 19.4 6 15 10.8 10.6 6z"/>',
        '<path d="M15 10.4 19 2.6H11z"/>',
        '<path d="M13.2 2h3.6v2.2H19v3.6h-2.2V10h-3.6V7.8H11V4.2h2.2z"/>',
    )
    colour = f"var(--series-{number % 6 + 1})"
    stroke = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        '<svg class="key" width="30" height="12" viewBox="0 0 30 12" aria-hidden="true">'
        f'<path d="M0 6H30" stroke="{colour}" stroke-width="2"{stroke}/>'
        f'<g fill="{colour}">{shapes[number % 6]}</g></svg>'
    )


def _matplotlib_svg(chart: Chart, panel: Panel, height: float) -> str:
    with _quiet_matplotlib():
        from matplotlib import rc_context
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        settings: Any = {
            "svg.fonttype": "none",
            "svg.hashsalt": "batcat",
            "svg.id": None,
            "axes.unicode_minus": True,
            "font.family": "DejaVu Sans",
            "font.size": FONT,
            "text.color": INK,
            "text.usetex": False,
            "text.parse_math": False,
        }
        with rc_context(settings):
            figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)
            FigureCanvasSVG(figure)
            axes = figure.add_axes(_place(chart, panel, height))
            {"line": _draw_lines, "bar": _draw_bars, "histogram": _draw_histogram}[chart.form](
                axes, panel
            )
            _plain_axes(axes, across=chart.form == "bar")
            out = StringIO()
            metadata: dict[str, Any] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            figure.savefig(out, format="svg", transparent=True, metadata=metadata)
    return out.getvalue()


@contextmanager
def _quiet_matplotlib() -> Iterator[None]:
    """Keep its remarks on glyphs that its own font lacks, and on caches, from the user."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _place(chart: Chart, panel: Panel, height: float) -> tuple[float, float, float, float]:
    """Return where the axes are in the figure, from the widths of their labels."""
    left, bottom, right, top = 48.0, 28.0, 16.0, 10.0
    if chart.form == "bar":
        longest = max(display_width(shorten(str(x), LONGEST_LABEL)) for x in panel.series[0].x)
        left, right = min(longest, LONGEST_LABEL) * 7.6 + 12, 62.0
        bottom, top = 6.0, 4.0
    return (
        left / WIDTH,
        bottom / height,
        (WIDTH - left - right) / WIDTH,
        1 - (bottom + top) / height,
    )


def _draw_lines(axes: Axes, panel: Panel) -> None:
    from matplotlib.dates import AutoDateLocator, DayLocator

    for number, series in enumerate(panel.series):
        if not series.x:
            continue
        colour, few = SERIES[number % 6], len(series.x) <= 40
        if series.low:
            axes.fill_between(
                series.x, series.low, series.high, color=colour, alpha=0.18, linewidth=0
            )
        axes.plot(
            series.x,
            series.y,
            color=colour,
            linewidth=1.8,
            linestyle=DASHES[number % 6],
            marker=MARKERS[number % 6] if few else "",
            markersize=5.2,
        )
    dates = sorted({x for series in panel.series for x in series.x})
    days = (dates[-1] - dates[0]).total_seconds() / 86400
    whole = all((x.hour, x.minute, x.second) == (0, 0, 0) for x in dates)
    form = "%d %b" if whole and days <= 2 else _date_form(days)
    if whole and len(dates) <= 6:
        axes.set_xticks(dates)
    elif 2 < days < 6:
        axes.xaxis.set_major_locator(DayLocator())  # type: ignore[no-untyped-call]
    else:
        locator = AutoDateLocator(minticks=3, maxticks=6)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(lambda value, _: _date_text(value, form))
    axes.margins(x=0.03, y=0.12)


def _date_text(value: float, form: str) -> str:
    from matplotlib.dates import num2date

    text: str = num2date(value).strftime(form)  # type: ignore[no-untyped-call]
    return text.removeprefix("0") if form.startswith("%d") else text


def _date_form(days: float) -> str:
    """Return how to write a date on an axis that spans so many days."""
    if days <= 2:
        return "%H:%M"
    return "%d %b" if days < 300 else "%b %Y" if days < 1800 else "%Y"


def _draw_bars(axes: Axes, panel: Panel) -> None:
    (series,) = panel.series
    rows = list(range(len(series.x)))
    heights = [0.0 if math.isnan(y) else y for y in series.y]
    axes.barh(rows, heights, height=0.62, color=SERIES[0], linewidth=0)
    for row, y in zip(rows, series.y, strict=True):
        text = "no value" if math.isnan(y) else short_number(y)
        axes.annotate(
            text,
            (max(y, 0.0) if not math.isnan(y) else 0.0, row),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=INK,
        )
    axes.set_yticks(rows, [shorten(str(x), LONGEST_LABEL) for x in series.x])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xticks([])


def _draw_histogram(axes: Axes, panel: Panel) -> None:
    (series,) = panel.series
    axes.stairs(series.y, series.x, fill=True, color=SERIES[0])
    axes.margins(x=0.02, y=0.08)
    _number_ticks(axes, "x")


def _plain_axes(axes: Axes, *, across: bool) -> None:
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(side == ("left" if across else "bottom"))
        axes.spines[side].set_color(AXIS)
    axes.tick_params(length=0, pad=7, colors=INK, labelcolor=INK)
    axes.xaxis.offsetText.set_color(INK)
    if not across:
        _number_ticks(axes, "y")
        axes.grid(axis="y", color=GRID, linewidth=1)
        axes.set_axisbelow(True)


def _number_ticks(axes: Axes, which: Literal["x", "y"]) -> None:
    """Put three to six ticks at round numbers, all with as many decimals."""
    from matplotlib.ticker import MaxNLocator

    low, high = sorted(axes.get_xlim() if which == "x" else axes.get_ylim())
    ticks = MaxNLocator(6, steps=[1, 2, 5, 10], min_n_ticks=3).tick_values(low, high)
    inside = [float(tick) for tick in ticks if low <= tick <= high]
    (axes.set_xticks if which == "x" else axes.set_yticks)(inside, tick_texts(inside))


def tick_texts(ticks: Sequence[float]) -> list[str]:
    """Write the numbers of an axis alike: ``4.70 4.75 4.80``, ``0 5k 10k``."""
    largest = max(map(abs, ticks), default=0.0)
    step = min((b - a for a, b in pairwise(ticks)), default=0.0)
    if not 1e-4 <= largest < 1e4 or step <= 0:
        return [short_number(tick) for tick in ticks]
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{tick:.{places}f}".replace("-", "\N{MINUS SIGN}") for tick in ticks]


def short_number(value: float) -> str:
    """Return a number in few characters: ``12.3``, ``0.0214``, ``1.25M``."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    size = abs(value)
    if size < 1e-4 or size >= 1e12:
        return f"{value:.1e}"
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= limit:
            return f"{value / (1e3 if letter == 'k' else limit):.3g}{letter}"
    if size >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}"


_STYLES = ("fill", "stroke", "opacity", "font-size", "text-anchor")


def _fit_for_page(raw: str, prefix: str, panel: Panel, chart: Chart, height: float) -> str:
    """Turn matplotlib's file into an element of an HTML page."""
    # It is matplotlib's own output, not a user's file: nothing hostile to parse.
    root = ET.fromstring(raw)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        _plain_attributes(element, prefix)
    root.attrib = {
        "class": "plot",
        "role": "img",
        "aria-labelledby": f"{prefix}-title {prefix}-desc",
        "viewBox": f"0 0 {WIDTH} {height:g}",
    }
    title, text = ET.Element("title", id=f"{prefix}-title"), ET.Element("desc", id=f"{prefix}-desc")
    title.text, text.text = panel.title, describe_panel(chart, panel)
    root[:0] = [title, text]
    return re.sub(r"\s*\n\s*", " ", ET.tostring(root, encoding="unicode")).replace("> <", "><")


def _plain_attributes(element: ET.Element, prefix: str) -> None:
    attributes = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
    for part in attributes.pop("style", "").split(";"):
        name, _, value = part.partition(":")
        name, value = name.strip(), value.strip()
        if name.startswith(_STYLES) and value:
            attributes[name] = value
        elif name == "font":  # the shorthand: "12.5px 'DejaVu Sans'"
            attributes["font-size"] = value.split("px")[0].split()[-1]
    for name, value in attributes.items():
        if name == "id":
            attributes[name] = f"{prefix}-{value}"
        elif name == "href":
            attributes[name] = f"#{prefix}-{value.removeprefix('#')}"
        elif "url(#" in value:
            attributes[name] = value.replace("url(#", f"url(#{prefix}-")
        else:
            attributes[name] = COLOURS.get(value.lower(), value)
    element.attrib = attributes


def describe_panel(chart: Chart, panel: Panel) -> str:
    """Return a panel in words: its range, for each series."""
    parts = []
    for series in panel.series:
        values = series.x if chart.form == "histogram" else series.y
        numbers = [value for value in values if not math.isnan(value)]
        if numbers:
            name = f"{series.label}: " if series.label else ""
            parts.append(f"{name}{short_number(min(numbers))} to {short_number(max(numbers))}")
    over = {"line": f"over {chart.x}", "bar": f"by {chart.x}"}.get(chart.form, "distribution")
    return f"{panel.title} {over}. {'; '.join(parts)}."
