"""Choose what to draw of a result table, before anything is drawn.

The table may be anything that a script wrote. Four questions, answered in this order, lead to a
`Chart`: what goes along the x axis (a column of dates, else a category), which few numeric columns
tell most, what tells the lines apart (a category with few values, such as a vehicle), and how to
thin the rows out until they can be seen. The outcome is plain data that `plot` draws as SVG and
`textchart` as text; when there is nothing to draw, it is a `NoChart` that says why.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from batcat_runtime.text import one_line

if TYPE_CHECKING:
    import pandas as pd

MOST_PANELS = 4
MOST_LINES = 6
MOST_BARS = 12
MOST_POINTS = 300
MOST_COLUMNS = 60


@dataclass(frozen=True)
class Series:
    """One line or one set of bars: its name and its points (`low` and `high` for a band)."""

    label: str
    x: tuple[Any, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True)
class Panel:
    """One numeric column: its name, its name for people, its unit ("" if unknown), its series."""

    column: str
    label: str
    unit: str
    series: tuple[Series, ...]

    @property
    def title(self) -> str:
        """Return the name with the unit, as an axis is labelled."""
        return f"{self.label} [{self.unit}]" if self.unit else self.label


@dataclass(frozen=True)
class Chart:
    """What to draw: lines over dates, bars over categories, or the distribution of values.

    `x` and `group` name the columns along the x axis and of the lines ("" when there is none);
    `note` tells what was averaged or left out.
    """

    form: Literal["line", "bar", "histogram"]
    x: str
    group: str
    panels: tuple[Panel, ...]
    note: str


@dataclass(frozen=True)
class NoChart:
    """There is nothing to draw, and this is why."""

    reason: str


def choose_chart(frame: pd.DataFrame | None) -> Chart | NoChart:
    """Choose the chart that says most about `frame`; the frame is not changed."""
    if frame is None or not len(frame.columns):
        return NoChart("There is no result table.")
    if not len(frame):
        return NoChart("The result table has no rows.")
    frame = frame.iloc[:, :MOST_COLUMNS].reset_index(drop=True)
    names = _unique_names(frame.columns)
    frame.columns = names
    dates = {name: times for name in names if (times := _as_dates(frame[name])) is not None}
    numbers = {
        name: values
        for name in names
        if name not in dates and (values := _as_numbers(frame[name], name)) is not None
    }
    if not numbers:
        return NoChart("The result table has no column of numbers.")
    if all(values.notna().sum() == 0 for values in numbers.values()):
        return NoChart("The columns of numbers hold no values.")
    categories = {
        name: frame[name].map(lambda value: one_line(value, 40)).where(frame[name].notna())
        for name in names
        if name not in dates and name not in numbers
    }
    columns = _most_telling(numbers)
    for name, times in dates.items():
        if times.nunique() > 1:
            return _lines(name, times, columns, categories)
    return _bars(columns, categories) or _histogram(columns)


def _unique_names(columns: Any) -> list[str]:
    """Return column names as text; a name that comes twice gets a number."""
    seen: dict[str, int] = {}
    names = []
    for column in columns:
        name = one_line(column, 60)
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return names


_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ]\d|\s*$)")


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
        given = column.notna()
        column = pd.to_datetime(column.astype(str), errors="coerce", format="mixed", utc=True)
        if column.notna().sum() < 0.9 * given.sum():
            return None
    times: pd.Series[Any] = column.dt.tz_localize(None) if column.dt.tz is not None else column
    # Dates such as 9999-12-31 mean "never", and would squeeze all others into one point.
    times = times.where(times.dt.year.between(1800, 2300))
    return times if times.notna().any() else None


def _as_numbers(column: pd.Series[Any], name: str) -> pd.Series[Any] | None:
    """Return a column as floats, or None when it is text, a flag or an identifier."""
    import pandas as pd

    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_complex_dtype(column):
        return None
    if re.search(r"(^|_)(id|uuid|index|vin|code|zip|year)$", name.lower()):
        return None
    if pd.api.types.is_timedelta64_dtype(column):
        return cast("pd.Series[Any]", column.dt.total_seconds())
    if not pd.api.types.is_numeric_dtype(column):
        # Decimals and numbers in a column of objects; text that looks like numbers is text.
        if column.map(lambda value: isinstance(value, str)).any() or column.isna().all():
            return None
        column = pd.to_numeric(column, errors="coerce")
        if column.isna().all() or pd.api.types.is_bool_dtype(column):
            return None
    return (
        column.astype("Float64").astype(float).replace([float("inf"), float("-inf")], float("nan"))
    )


def _most_telling(numbers: dict[str, pd.Series[Any]]) -> dict[str, pd.Series[Any]]:
    """Return up to four columns that vary, have a unit, and do not repeat one another."""
    import pandas as pd

    table = pd.DataFrame(numbers)
    alike = table.iloc[:5000].corr(min_periods=3).abs().fillna(0.0)
    chosen: list[str] = []
    left = [name for name in numbers if table[name].notna().any()]
    while left and len(chosen) < MOST_PANELS:
        units = {split_unit(name)[1] for name in chosen}

        def score(name: str, units: set[str] = units) -> float:
            unit = split_unit(name)[1]
            new_unit = 0.5 if unit and unit not in units else 0.0
            varies = 1.0 if table[name].nunique() > 1 else 0.0
            counts = -0.4 if name.lower().startswith(("n_", "num_")) else 0.0
            novel = 1.0 - max((float(alike[other][name]) for other in chosen), default=0.0)
            return varies + new_unit + counts + novel + float(table[name].notna().mean()) / 2

        best = max(left, key=score)
        if chosen and score(best) < 1.0:
            break
        chosen.append(best)
        left.remove(best)
    return {name: table[name] for name in numbers if name in chosen}


def _lines(
    x: str,
    times: pd.Series[Any],
    columns: dict[str, pd.Series[Any]],
    categories: dict[str, pd.Series[Any]],
) -> Chart:
    """Return lines over time, one for each value of the first category with few of them."""
    notes = []
    counts = {name: values.nunique() for name, values in categories.items()}
    group = next((name for name, count in counts.items() if 2 <= count <= MOST_LINES), "")
    crowd = next((name for name, count in counts.items() if count > MOST_LINES), "")
    if times.nunique() > MOST_POINTS:
        step = (times.max() - times.min()) / (MOST_POINTS - 1)
        times = times.min() + ((times - times.min()) // step) * step
        notes.append(f"Times are gathered into {MOST_POINTS} steps.")
    panels = []
    for name, values in columns.items():
        if group:
            parts = [
                (str(label), categories[group] == label) for label in _first(categories[group])
            ]
        else:
            parts = [("", values.notna())]
        series = [
            _line(label, times[rows], values[rows], band=bool(crowd and not group))
            for label, rows in parts
        ]
        # A series without a value in this panel stays in, so that each keeps its number, and with
        # it its colour and marker, in every panel.
        panels.append(Panel(name, *split_unit(name), tuple(series)))
    keys = [times, categories[group]] if group else [times]
    if crowd and not group:
        notes.append(
            f"Line: the median of {counts[crowd]} values of {crowd}; "
            "shade: from the 10th to the 90th percentile."
        )
    elif len(times.groupby(keys)) < times.notna().sum():
        notes.append("Each point is the mean of its rows.")
    return Chart("line", x, group, tuple(panels), " ".join(notes))


def _first(column: pd.Series[Any]) -> list[Any]:
    """Return a column's values in a stable order."""
    return sorted(column.dropna().unique())


def _line(label: str, times: pd.Series[Any], values: pd.Series[Any], *, band: bool) -> Series:
    grouped = values.dropna().groupby(times)
    middle = grouped.median() if band else grouped.mean()
    x = tuple(stamp.to_pydatetime(warn=False) for stamp in middle.index)
    if not band:
        return Series(label, x, tuple(map(float, middle)))
    low, high = (tuple(map(float, grouped.quantile(q))) for q in (0.1, 0.9))
    return Series(label, x, tuple(map(float, middle)), low, high)


def _bars(
    columns: dict[str, pd.Series[Any]], categories: dict[str, pd.Series[Any]]
) -> Chart | None:
    """Return one bar for each value of the first category, or None when there is no category."""
    usable = {name: values for name, values in categories.items() if values.notna().any()}
    if not usable:
        return None
    rows = len(next(iter(usable.values())))
    repeats = (name for name, values in usable.items() if 1 < values.nunique() <= MOST_BARS)
    x = next(repeats, next(iter(usable)))
    labels = usable[x].dropna().unique()
    shown = [str(label) for label in labels[:MOST_BARS]]
    notes = [f"The first {MOST_BARS} of {len(labels)} values of {x}."] * (len(labels) > MOST_BARS)
    if len(labels) < rows:
        notes.append("Each bar is the mean of its rows.")
    panels = []
    for name, values in columns.items():
        means = values.groupby(usable[x]).mean()
        points = tuple(float(means.get(label, float("nan"))) for label in shown)
        panels.append(Panel(name, *split_unit(name), (Series("", tuple(shown), points),)))
    return Chart("bar", x, "", tuple(panels), " ".join(notes))


def _histogram(columns: dict[str, pd.Series[Any]]) -> Chart:
    """Return how often each range of values occurs: x is the edge of a range, y the rows in it."""
    import numpy as np

    panels = []
    for name, values in columns.items():
        present = values.dropna().to_numpy()
        counts, edges = np.histogram(present, bins=int(min(max(len(present) ** 0.5, 5), 30)))
        series = Series("", tuple(map(float, edges)), tuple(map(float, counts)))
        panels.append(Panel(name, *split_unit(name), (series,)))
    return Chart("histogram", "", "", tuple(panels), "How many rows have which value.")


_UNITS = {
    "wh": "Wh", "kwh": "kWh", "mwh": "MWh", "ah": "Ah", "mah": "mAh", "ohm": "Ω", "mohm": "mΩ",
    "v": "V", "mv": "mV", "kv": "kV", "a": "A", "ma": "mA", "w": "W", "kw": "kW", "mw": "MW",
    "s": "s", "sec": "s", "seconds": "s", "ms": "ms", "us": "µs", "min": "min", "minutes": "min",
    "h": "h", "hours": "h", "days": "d", "km": "km", "m": "m", "mm": "mm", "cm": "cm", "kg": "kg",
    "g": "g", "c": "°C", "degc": "°C", "celsius": "°C", "hz": "Hz", "khz": "kHz", "pct": "%",
    "percent": "%", "kmh": "km/h", "pa": "Pa", "kpa": "kPa", "bar": "bar", "j": "J", "kj": "kJ",
    "mb": "MB", "gb": "GB", "eur": "EUR", "usd": "USD", "cny": "CNY", "db": "dB", "ppm": "ppm",
}  # fmt: skip


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
