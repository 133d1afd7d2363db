"""Choose what to draw of a result table, and draw it: as SVG with matplotlib, or as text.

The table may be anything that a script wrote. What goes along the x axis is its first column of
dates, else a category, else the values themselves; up to four numeric columns that vary become a
panel each; a category with few values, such as a vehicle, tells the lines apart.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any, Literal

from batcat_runtime.text import display_width, one_line, shorten

if TYPE_CHECKING:
    import pandas as pd

MOST_PANELS, MOST_LINES, MOST_BARS, MOST_POINTS, MOST_COLUMNS = 4, 6, 12, 300, 60
_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ]\d|\s*$)")
_NO_NUMBER = re.compile(r"(^|_)(id|uuid|index|vin|code|zip|year)$")
_UNITS = {
    "wh": "Wh", "kwh": "kWh", "mwh": "MWh", "ah": "Ah", "mah": "mAh", "ohm": "Ω", "mohm": "mΩ",
    "v": "V", "mv": "mV", "a": "A", "ma": "mA", "w": "W", "kw": "kW", "mw": "MW", "s": "s",
    "ms": "ms", "min": "min", "h": "h", "hours": "h", "days": "d", "km": "km", "m": "m",
    "mm": "mm", "kg": "kg", "g": "g", "c": "°C", "degc": "°C", "hz": "Hz", "pct": "%",
    "percent": "%", "kmh": "km/h", "pa": "Pa", "bar": "bar", "j": "J", "kj": "kJ", "mb": "MB",
    "gb": "GB", "eur": "EUR", "usd": "USD", "cny": "CNY", "db": "dB", "ppm": "ppm",
}  # fmt: skip
# Seen on white and on black alike.
_COLOURS = ("#3a84c9", "#d9702a", "#2b9d74", "#b95ca0", "#9c8416", "#7d858f")
_INK = "#868d97"
_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), "-", (0, (5, 2)))
_MARKERS = ("o", "s", "^", "D", "v", "P")


@dataclass(frozen=True)
class Series:
    """One line or one set of bars: its name and its points."""

    label: str
    x: tuple[Any, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """One numeric column: its name for people with its unit, and its series."""

    title: str
    series: tuple[Series, ...]


@dataclass(frozen=True)
class Chart:
    """What to draw: lines over dates, bars over categories, or the distribution of values."""

    form: Literal["line", "bar", "histogram"]
    panels: tuple[Panel, ...]
    note: str


def choose_chart(frame: pd.DataFrame | None) -> Chart | str:
    """Return the chart of a table, which is not changed; or why there is none."""
    if frame is None or not len(frame.columns):
        return "There is no result table."
    if not len(frame):
        return "The result table has no rows."
    frame = frame.iloc[:, :MOST_COLUMNS].reset_index(drop=True)
    frame.columns = [f"{one_line(name, 60)}\0{n}" for n, name in enumerate(frame.columns)]
    dates = {name: times for name in frame if (times := _as_dates(frame[name])) is not None}
    numbers = {
        name: values
        for name in frame
        if name not in dates and (values := _as_numbers(frame[name], str(name))) is not None
    }
    if not numbers:
        return "The result table has no column of numbers."
    columns = _most_telling(numbers)
    words = {
        name: frame[name].map(lambda value: one_line(value, 40)).where(frame[name].notna())
        for name in frame
        if name not in dates and name not in numbers and frame[name].notna().any()
    }
    for name, times in dates.items():
        if times.nunique() > 1:
            return _lines(str(name), times, columns, words)
    return _bars(columns, words) if words else _histogram(columns)


def _shown(name: object) -> str:
    return str(name).partition("\0")[0]


def _as_dates(column: pd.Series[Any]) -> pd.Series[Any] | None:
    """Return a column as times without zone, or None when it does not hold dates."""
    import pandas as pd

    if isinstance(column.dtype, pd.PeriodDtype):
        column = column.dt.to_timestamp()
    if not pd.api.types.is_datetime64_any_dtype(column):
        sample = column.dropna().iloc[:50]
        if pd.api.types.is_numeric_dtype(column) or sample.empty:
            return None
        if not all(_DATE.match(str(value)) for value in sample):
            return None
        given = column.notna().sum()
        column = pd.to_datetime(column.astype(str), errors="coerce", format="mixed", utc=True)
        if column.notna().sum() < 0.9 * given:
            return None
    times: pd.Series[Any] = column.dt.tz_localize(None) if column.dt.tz is not None else column
    # Dates such as 9999-12-31 mean "never", and would squeeze all others into one point.
    times = times.where(times.dt.year.between(1800, 2300))
    return times if times.notna().any() else None


def _as_numbers(column: pd.Series[Any], name: str) -> pd.Series[Any] | None:
    """Return a column as floats, or None when it is text, a flag, an identifier or empty."""
    import pandas as pd

    kinds = pd.api.types
    if kinds.is_bool_dtype(column) or kinds.is_complex_dtype(column):
        return None
    if _NO_NUMBER.search(_shown(name).lower()):
        return None
    if kinds.is_timedelta64_dtype(column):
        column = column.dt.total_seconds()
    elif not kinds.is_numeric_dtype(column):
        # Decimals and numbers in a column of objects; text that looks like numbers is text.
        if column.map(lambda value: isinstance(value, str)).any():
            return None
        column = pd.to_numeric(column, errors="coerce")
    if kinds.is_bool_dtype(column) or column.isna().all():
        return None
    values = column.astype("Float64").astype(float)
    found = values.replace([float("inf"), float("-inf")], float("nan"))
    return None if found.isna().all() else found


def _most_telling(numbers: dict[Any, pd.Series[Any]]) -> dict[Any, pd.Series[Any]]:
    """Return up to four columns: those that vary first, and of these one of each unit first."""
    varying = [name for name in numbers if numbers[name].nunique() > 1] or list(numbers)
    units: dict[str, Any] = {}
    for name in varying:
        units.setdefault(split_unit(_shown(name))[1], name)
    first = [name for name in varying if name in units.values()]
    rest = [name for name in varying if name not in first]
    chosen = [*first, *rest][:MOST_PANELS]
    return {name: values for name, values in numbers.items() if name in chosen}


def _lines(
    x: str, times: pd.Series[Any], columns: dict[Any, pd.Series[Any]], words: dict[Any, Any]
) -> Chart:
    """Return lines over time, one for each value of the first category with few of them."""
    import pandas as pd

    group = next((n for n, column in words.items() if 2 <= column.nunique() <= MOST_LINES), None)
    note = f"Along the axis: {_shown(x)}, {times.min():%Y-%m-%d} to {times.max():%Y-%m-%d}"
    note += f", one line for each {_shown(group)}." if group else "."
    if times.nunique() > MOST_POINTS:
        step = (times.max() - times.min()) / (MOST_POINTS - 1)
        times = times.min() + ((times - times.min()) // step) * step
    labels = words[group] if group else pd.Series("", index=times.index)
    if len(times.groupby([times, labels])) < times.notna().sum():
        note += " Each point is the mean of its rows."
    panels = []
    for name, values in columns.items():
        series = []
        for label in sorted(labels.dropna().unique()):
            mean = values[labels == label].dropna().groupby(times).mean()
            x_values = tuple(stamp.to_pydatetime(warn=False) for stamp in mean.index)
            series.append(Series(label, x_values, tuple(map(float, mean))))
        panels.append(Panel(_title(name), tuple(series)))
    return Chart("line", tuple(panels), note)


def _bars(columns: dict[Any, pd.Series[Any]], words: dict[Any, Any]) -> Chart:
    """Return one bar for each value of the first category that repeats, else of the first."""
    repeats = (name for name, column in words.items() if 1 < column.nunique() <= MOST_BARS)
    x = next(repeats, next(iter(words)))
    labels = words[x].dropna().unique()
    shown = [str(label) for label in labels[:MOST_BARS]]
    note = f"One bar for each {_shown(x)}"
    note += f", the first {MOST_BARS} of {len(labels)}." if len(labels) > MOST_BARS else "."
    note += " Each is the mean of its rows." if len(labels) < len(words[x]) else ""
    panels = []
    for name, values in columns.items():
        means = values.groupby(words[x]).mean()
        points = tuple(float(means.get(label, float("nan"))) for label in shown)
        panels.append(Panel(_title(name), (Series("", tuple(shown), points),)))
    return Chart("bar", tuple(panels), note)


def _histogram(columns: dict[Any, pd.Series[Any]]) -> Chart:
    """Return how often each range of values occurs: x is the edge of a range, y the rows in it."""
    import numpy as np

    panels = []
    for name, values in columns.items():
        present = values.dropna().to_numpy()
        counts, edges = np.histogram(present, bins=int(min(max(len(present) ** 0.5, 5), 30)))
        series = Series("", tuple(map(float, edges)), tuple(map(float, counts)))
        panels.append(Panel(_title(name), (series,)))
    return Chart("histogram", tuple(panels), "How many rows have which value.")


def _title(name: object) -> str:
    label, unit = split_unit(_shown(name))
    return f"{label} [{unit}]" if unit else label


def split_unit(column: str) -> tuple[str, str]:
    """Return a column's name for people, and its unit.

    Examples
    --------
    >>> split_unit("energy_charged_wh")
    ('energy charged', 'Wh')
    >>> split_unit("n_pulses")
    ('number of pulses', '')
    """
    words = column.replace("_", " ").split()
    unit = _UNITS.get(words[-1].lower(), "") if len(words) > 1 else ""
    words = words[:-1] if unit else words
    if len(words) > 1 and words[0].lower() in ("n", "num"):
        words = ["number", "of", *words[1:]]
    return " ".join(words) or column, unit


# ---------------------------------------------------------------- drawing


def panel_svg(chart: Chart, panel: Panel) -> str:
    """Draw one panel as an SVG file; the same chart always gives the same text."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    height = 0.4 + 0.36 * len(panel.series[0].x) if chart.form == "bar" else 3.0
    settings: Any = {
        "svg.fonttype": "none", "svg.hashsalt": "batcat", "svg.id": None, "font.size": 12,
        "font.family": "sans-serif", "text.parse_math": False, "text.color": _INK,
        "xtick.color": _INK, "ytick.color": _INK, "axes.edgecolor": _INK, "axes.spines.top": False,
        "axes.spines.right": False, "grid.alpha": 0.3, "figure.constrained_layout.use": True,
    }  # fmt: skip
    with rc_context(settings), warnings.catch_warnings():
        # Its own font lacks many scripts, which the browser's do not.
        warnings.simplefilter("ignore")
        figure = Figure(figsize=(5.8, height), dpi=72)
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        if chart.form == "line":
            _draw_lines(figure, axes, panel)
        elif chart.form == "bar":
            names = [shorten(str(x), 20) for x in panel.series[0].x]
            heights = [0.0 if math.isnan(y) else y for y in panel.series[0].y]
            drawn = axes.barh(range(len(names)), heights, color=_COLOURS[0])
            texts = ["no value" if math.isnan(y) else short_number(y) for y in panel.series[0].y]
            axes.bar_label(drawn, texts, padding=4)
            axes.set_yticks(range(len(names)), names)
            axes.invert_yaxis()
            axes.margins(x=0.15)
            axes.set_xticks([])
        else:
            axes.stairs(panel.series[0].y, panel.series[0].x, fill=True, color=_COLOURS[0])
        if chart.form != "bar":
            axes.grid(axis="y")
        out = StringIO()
        metadata: dict[str, Any] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(out, format="svg", transparent=True, metadata=metadata)
    return out.getvalue()


def _draw_lines(figure: Any, axes: Any, panel: Panel) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    for number, series in enumerate(panel.series):
        style: dict[str, Any] = {
            "color": _COLOURS[number % 6],
            "linestyle": _DASHES[number % 6],
            "marker": _MARKERS[number % 6] if len(series.x) <= 40 else "",
        }
        axes.plot(series.x, series.y, label=shorten(series.label, 24) or None, **style)
    locator = AutoDateLocator(maxticks=6)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    if len(panel.series) > 1:
        figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=10)


def describe(panel: Panel) -> str:
    """Return a panel in words: its range, for each series."""
    parts = []
    for series in panel.series:
        numbers = [value for value in series.y if not math.isnan(value)]
        if numbers:
            name = f"{series.label}: " if series.label else ""
            parts.append(f"{name}{short_number(min(numbers))} to {short_number(max(numbers))}")
    return f"{panel.title}. {'; '.join(parts)}"


def chart_text(chart: Chart, width: int, *, unicode: bool = True) -> list[str]:
    """Draw a chart with characters: a short line of bars for each line, or a bar for each bar."""
    lines: list[str] = []
    for panel in chart.panels[:3]:
        lines += [*([""] if lines else []), shorten(panel.title, width)]
        if chart.form == "bar":
            (series,) = panel.series
            rows = [(str(x), [y], short_number(y)) for x, y in zip(series.x, series.y, strict=True)]
        else:
            shown = [series for series in panel.series if series.y]
            rows = [(one.label, list(one.y), _ends(chart, one)) for one in shown]
        widest = min(max((display_width(name) for name, *_ in rows), default=0), 20)
        every = [y for _, values, _ in rows for y in values if not math.isnan(y)]
        low, high = min([*every, 0.0] if chart.form != "line" else every), max(every, default=1.0)
        room = max(min(width - widest - 26, 56), 8)
        for name, values, ends in rows:
            known = [y for y in values if not math.isnan(y)]
            if chart.form == "bar":
                share = (known[0] - low) / ((high - low) or 1.0) if known else 0.0
                bars = ("█" if unicode else "#") * round(share * room)
            else:
                bars = _levels(_sample(known, room), low, high, unicode)
            cell = shorten(name, 20)
            lines.append(f"  {cell}{' ' * (widest - display_width(cell))}  {bars}  {ends}")
    return lines


def _ends(chart: Chart, series: Series) -> str:
    values = series.x if chart.form == "histogram" else series.y
    return f"{short_number(values[0])} to {short_number(values[-1])}"


def _sample(values: Sequence[float], most: int) -> list[float]:
    """Return at most `most` of the values, evenly spread, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(at * (len(values) - 1) / (most - 1))] for at in range(most)]


def _levels(values: Sequence[float], low: float, high: float, unicode: bool) -> str:
    signs = "▁▂▃▄▅▆▇█" if unicode else "_.-=+*#@"
    span = (high - low) or 1.0
    return "".join(signs[round((y - low) / span * (len(signs) - 1))] for y in values)


def short_number(value: float) -> str:
    """Return a number in few characters: ``12.3``, ``0.0214``, ``1.25M``."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "no value"
    size = abs(value)
    if size < 1e-4 or size >= 1e12:
        return f"{value:.1e}"
    for limit, unit, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if size >= limit:
            return f"{value / unit:.3g}{letter}"
    return f"{value:.0f}" if size >= 1000 else f"{value:.3g}"
