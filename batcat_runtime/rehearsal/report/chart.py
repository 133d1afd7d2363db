"""Draw a result table as SVG: up to four columns of numbers, a picture each.

The table may be anything that a script wrote. What goes along the x axis is its first column of
dates, else a category, else the values themselves; a category with few values, such as a vehicle,
tells lines apart.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from io import StringIO
from typing import TYPE_CHECKING, Any

from batcat_runtime.text import one_line, shorten

if TYPE_CHECKING:
    import pandas as pd

MOST_PICTURES, MOST_LINES, MOST_BARS, MOST_POINTS, MOST_COLUMNS = 4, 6, 12, 300, 60
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d|\s*$)")
_NO_NUMBER = re.compile(r"(^|_)(id|uuid|index|vin|code|zip|year)$")
# Seen on white and on black alike.
_COLOURS = ("#3a84c9", "#d9702a", "#2b9d74", "#b95ca0", "#9c8416", "#7d858f")
_DASHES = ("-", "--", ":", "-.", "-", "--")
_INK = "#868d97"
_STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "batcat", "font.size": 12, "text.parse_math": False,
    "font.family": "sans-serif", "text.color": _INK, "xtick.color": _INK, "ytick.color": _INK,
    "axes.edgecolor": _INK, "axes.spines.top": False, "axes.spines.right": False,
    "grid.alpha": 0.3, "figure.constrained_layout.use": True,
}  # fmt: skip

Draw = Callable[[Any, Any], None]  # from matplotlib's axes and a column of numbers


def draw(frame: pd.DataFrame | None) -> tuple[list[tuple[str, str, str]], str]:
    """Draw a table, which is not changed.

    Parameters
    ----------
    frame : pandas.DataFrame or None
        The table.

    Returns
    -------
    tuple of (list of (str, str, str), str)
        For each picture its title, its description in words and its SVG; and a note on all of
        them, or why there is none.
    """
    if frame is None or not len(frame.columns):
        return [], "No plot: There is no result table."
    frame = frame.iloc[:, :MOST_COLUMNS].reset_index(drop=True)
    frame.columns = [f"{one_line(name, 60)}\0{n}" for n, name in enumerate(frame.columns)]
    dates = {name: times for name in frame if (times := _as_dates(frame[name])) is not None}
    numbers = {
        name: values
        for name in frame
        if name not in dates and (values := _as_numbers(frame[name], str(name))) is not None
    }
    words = {
        name: frame[name].map(lambda value: one_line(value, 40)).where(frame[name].notna())
        for name in frame
        if name not in dates and name not in numbers and frame[name].notna().any()
    }
    varying = [name for name, values in numbers.items() if values.nunique() > 1] or list(numbers)
    if not varying:
        return [], "No plot: The result table has no column of numbers, or no rows."
    spread = [name for name, times in dates.items() if times.nunique() > 1]
    if spread:
        plot, note = _lines(_shown(spread[0]), dates[spread[0]], words)
    elif words:
        repeated = (name for name, labels in words.items() if 1 < labels.nunique() <= MOST_BARS)
        name = next(repeated, next(iter(words)))
        plot, note = _bars(_shown(name), words[name])
    else:
        plot, note = _histogram, "How many rows have which value."
    pictures = []
    for name in varying[:MOST_PICTURES]:
        title, values = _shown(name), numbers[name]
        text = f"{title}. {values.min():.4g} to {values.max():.4g}"
        pictures.append((title, text, _svg(plot, values)))
    return pictures, note


def _shown(name: object) -> str:
    return str(name).partition("\0")[0]


def _as_dates(column: pd.Series[Any]) -> pd.Series[Any] | None:
    """Return a column as times without zone, or None when it does not hold dates."""
    import pandas as pd

    if isinstance(column.dtype, pd.PeriodDtype):
        column = column.dt.to_timestamp()
    if not pd.api.types.is_datetime64_any_dtype(column):
        sample = column.dropna().iloc[:50]
        if sample.empty or not all(_DATE.match(str(value)) for value in sample):
            return None
        column = pd.to_datetime(column.astype(str), errors="coerce", format="mixed", utc=True)
    times: pd.Series[Any] = column.dt.tz_localize(None)
    # Dates such as 9999-12-31 mean "never", and would squeeze all others into one point.
    times = times.where(times.dt.year.between(1800, 2300))
    return times if times.notna().any() else None


def _as_numbers(column: pd.Series[Any], name: str) -> pd.Series[Any] | None:
    """Return a column as floats, or None when it is text, a flag, an identifier or empty."""
    import pandas as pd

    kinds = pd.api.types
    if _NO_NUMBER.search(_shown(name).lower()) or kinds.is_bool_dtype(column):
        return None
    if kinds.is_timedelta64_dtype(column):
        column = column.dt.total_seconds()
    elif not kinds.is_numeric_dtype(column):
        # Decimals and numbers in a column of objects; text that looks like numbers is text.
        if column.map(lambda value: isinstance(value, str)).any():
            return None
        column = pd.to_numeric(column, errors="coerce")
    if kinds.is_complex_dtype(column) or kinds.is_bool_dtype(column):
        return None
    values = column.astype("Float64").astype(float)
    values = values.replace([float("inf"), float("-inf")], float("nan"))
    return None if values.isna().all() else values


def _lines(x: str, times: pd.Series[Any], words: dict[Any, Any]) -> tuple[Draw, str]:
    """Draw lines over time, one for each value of the first category with few of them."""
    import pandas as pd

    group = next((n for n, labels in words.items() if 2 <= labels.nunique() <= MOST_LINES), None)
    labels = pd.Series("", index=times.index) if group is None else words[group]
    note = f"Along the axis: {x}, {times.min():%Y-%m-%d} to {times.max():%Y-%m-%d}"
    note += f", one line for each {_shown(group)}." if group else "."
    if times.nunique() > MOST_POINTS:
        step = (times.max() - times.min()) / (MOST_POINTS - 1)
        times = times.min() + ((times - times.min()) // step) * step
    if len(times.groupby([times, labels])) < times.notna().sum():
        note += " Each point is the mean of its rows."

    def plot(axes: Any, values: pd.Series[Any]) -> None:
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        means = values.groupby([times, labels]).mean().unstack()
        for number, label in enumerate(means):
            line = means[label].dropna()
            style: dict[str, Any] = {"color": _COLOURS[number], "linestyle": _DASHES[number]}
            marker = "o" if len(line) <= 40 else ""
            axes.plot(
                line.index, line, label=shorten(str(label), 24) or None, marker=marker, **style
            )
        locator = AutoDateLocator(maxticks=6)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        axes.grid(axis="y")
        if group:
            axes.figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=10)

    return plot, note


def _bars(x: str, labels: pd.Series[Any]) -> tuple[Draw, str]:
    """Draw one bar for each value of a category."""
    found = list(labels.dropna().unique())
    note = f"One bar for each {x}"
    note += f", the first {MOST_BARS} of {len(found)}." if len(found) > MOST_BARS else "."
    note += " Each is the mean of its rows." if len(found) < len(labels) else ""

    def plot(axes: Any, values: pd.Series[Any]) -> None:
        means = values.groupby(labels).mean().reindex(found[:MOST_BARS])
        drawn = axes.barh(range(len(means)), means.fillna(0), color=_COLOURS[0])
        known = zip(means, means.isna(), strict=True)
        axes.bar_label(drawn, ["no value" if gap else f"{y:.4g}" for y, gap in known], padding=4)
        axes.set_yticks(range(len(means)), [shorten(label, 20) for label in means.index])
        axes.invert_yaxis()
        axes.margins(x=0.15)
        axes.set_xticks([])
        axes.figure.set_figheight(0.4 + 0.36 * len(means))

    return plot, note


def _histogram(axes: Any, values: pd.Series[Any]) -> None:
    """Draw how many rows have which value."""
    axes.hist(values.dropna(), bins="sqrt", color=_COLOURS[0])
    axes.grid(axis="y")


def _svg(plot: Draw, values: pd.Series[Any]) -> str:
    """Draw one column as an SVG file; the same column always gives the same text."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context(_STYLE), warnings.catch_warnings():
        # Its own font lacks many scripts, which the browser's do not.
        warnings.simplefilter("ignore")
        figure = Figure(figsize=(5.8, 3.0), dpi=72)
        FigureCanvasSVG(figure)
        plot(figure.subplots(), values)
        out = StringIO()
        metadata: dict[str, Any] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(out, format="svg", transparent=True, metadata=metadata)
    return out.getvalue()
