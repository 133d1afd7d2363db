"""Draw a `Chart` with characters, for the terminal.

One short line of bars for each line of the chart, or one bar for each category: enough to see at a
glance whether a result is plausible. Without Unicode the same shapes come from ASCII signs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from batcat_runtime.rehearsal.chart import Chart, Series
from batcat_runtime.rehearsal.plot import short_number
from batcat_runtime.text import display_width, shorten


def chart_text(chart: Chart, width: int, *, unicode: bool = True) -> list[str]:
    """Draw a chart with characters, in at most `width` columns a line.

    Lines become one small line of bars each, with their first and last value; bars become bars.
    """
    lines: list[str] = []
    for panel in chart.panels[:3]:
        lines += [*([""] if lines else []), shorten(panel.title, width)]
        if chart.form == "bar":
            lines += _text_bars(panel.series[0], width, unicode)
        else:
            shown = tuple(series for series in panel.series if series.y)
            lines += _text_lines(shown, width, unicode, ranges=chart.form == "histogram")
    return lines


def _text_bars(series: Series, width: int, unicode: bool) -> list[str]:
    names = [shorten(str(x), 20) for x in series.x]
    widest = max(map(display_width, names))
    top = max((abs(y) for y in series.y if not math.isnan(y)), default=0.0) or 1.0
    room = max(min(width - widest - 14, 50), 8)
    lines = []
    for name, y in zip(names, series.y, strict=True):
        length = 0.0 if math.isnan(y) else abs(y) / top * room
        eighths = " ▏▎▍▌▋▊▉"[int(length % 1 * 8)] if unicode else ""
        bar = ("█" if unicode else "#") * int(length) + eighths.strip()
        value = "no value" if math.isnan(y) else short_number(y)
        lines.append(f"  {name}{' ' * (widest - display_width(name))}  {bar} {value}")
    return lines


def _text_lines(group: Sequence[Series], width: int, unicode: bool, *, ranges: bool) -> list[str]:
    names = [shorten(series.label, 20) for series in group]
    widest = max(map(display_width, names), default=0)
    room = max(min(width - widest - 26, 56), 8)
    everything = [y for series in group for y in series.y if not math.isnan(y)]
    low, high = min(everything, default=0.0), max(everything, default=1.0)
    low = 0.0 if ranges else low
    lines = []
    for name, series in zip(names, group, strict=True):
        values = _sample([y for y in series.y if not math.isnan(y)], room)
        repeat = 2 if 2 * len(values) <= room else 1
        bars = "".join(sign * repeat for sign in _levels(values, low, high, unicode))
        told = (series.x[0], series.x[-1]) if ranges else (values[:1] + values[-1:])
        ends = " to ".join(_alike(value, max(abs(low), abs(high))) for value in told)
        lines.append(f"  {name}{' ' * (widest - display_width(name))}  {bars}  {ends}")
    return lines


def _alike(value: float, largest: float) -> str:
    """Write a number with as many decimals as the largest one beside it needs."""
    if not 1e-4 <= largest < 1e4:
        return short_number(value)
    return f"{value:.{max(0, 2 - math.floor(math.log10(largest)))}f}"


def _sample(values: Sequence[float], most: int) -> list[float]:
    """Return at most `most` of the values, evenly spread, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(at * (len(values) - 1) / (most - 1))] for at in range(most)]


def _levels(values: Sequence[float], low: float, high: float, unicode: bool) -> list[str]:
    signs = "▁▂▃▄▅▆▇█" if unicode else "_.-=+*#@"
    span = (high - low) or 1.0
    return [signs[round((y - low) / span * (len(signs) - 1))] for y in values]
