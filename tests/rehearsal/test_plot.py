from __future__ import annotations

import re
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ET
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from batcat_runtime.rehearsal.chart import Chart, NoChart, choose_chart, split_unit
from batcat_runtime.rehearsal.plot import panel_svg, short_number, tick_texts
from batcat_runtime.rehearsal.textchart import chart_text
from tests.rehearsal.records import usage_frame


def chart_of(frame: pd.DataFrame) -> Chart:
    chart = choose_chart(frame)
    assert isinstance(chart, Chart), chart
    return chart


def test_the_example_gives_one_line_a_vehicle_and_the_four_most_telling_columns() -> None:
    chart = chart_of(usage_frame())
    assert (chart.form, chart.x, chart.group) == ("line", "date", "vin")
    assert [panel.title for panel in chart.panels] == [
        "energy charged [Wh]",
        "capacity [Ah]",
        "resistance [Ω]",
        "number of pulses",
    ]
    assert [len(series.x) for series in chart.panels[0].series] == [7, 7, 7]


@pytest.mark.parametrize(
    ("column", "label", "unit"),
    [
        ("energy_charged_wh", "energy charged", "Wh"),
        ("resistance_ohm", "resistance", "Ω"),
        ("soc_pct", "soc", "%"),
        ("n_pulses", "number of pulses", ""),
        ("wh", "wh", ""),
        ("里程_km", "里程", "km"),
    ],
)
def test_units_are_read_from_names(column: str, label: str, unit: str) -> None:
    assert split_unit(column) == (label, unit)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (None, "no result table"),
        (usage_frame().iloc[:0], "no rows"),
        (pd.DataFrame({"date": ["2022-01-01"], "x_wh": [np.nan]}), "hold no values"),
        (pd.DataFrame({"a": ["x", "y"]}), "no column of numbers"),
        (pd.DataFrame({"vin": [1, 2], "ok": [True, False]}), "no column of numbers"),
    ],
)
def test_nothing_to_draw_says_why(frame: pd.DataFrame | None, reason: str) -> None:
    chart = choose_chart(frame)
    assert isinstance(chart, NoChart)
    assert reason in chart.reason


RNG = np.random.default_rng(0)
STRANGE: dict[str, tuple[str, dict[str, Any]]] = {
    "one row": ("bar", {"vin": ["a"], "date": ["2022-01-01"], "x_wh": [1.5]}),
    "chinese": ("bar", {"城市": ["北京", "上海 & <b>", "🦇"], "里程_km": [1e6, np.nan, -3e5]}),
    "numbers only": ("histogram", {"x": RNG.normal(size=5000)}),
    "constant": ("histogram", {"x": [1, 1, 1]}),
    "infinite": ("histogram", {"x": [1.0, np.inf, -np.inf, 2.0]}),
    "enormous": ("bar", {"k": ["a", "b"], "x": [1e300, 2e300]}),
    "decimals": ("bar", {"k": ["a", "b"], "price_eur": [Decimal("1.5"), Decimal(2)]}),
    "nullable": ("bar", {"k": pd.array(["a", None]), "n": pd.array([1, None], dtype="Int64")}),
    "dates": ("line", {"d": [date(2022, 1, 1), date(2022, 1, 2), None], "x": [1, 2, 3]}),
    "periods": ("line", {"m": pd.period_range("2022-01", periods=5, freq="M"), "x": range(5)}),
    "categories": ("bar", {"c": pd.Categorical(["u", "v", "u"]), "x": [1.0, 2, 3]}),
    "lists": ("bar", {"l": [[1], [2]], "x": [1, 2]}),
    "never": ("bar", {"date": ["0001-01-01", "9999-12-31"], "x": [1, 2]}),
    "durations": ("histogram", {"t": pd.to_timedelta([1, 2, 3], unit="s")}),
    "mathematics": ("bar", {"k": ["$x^2$", "$\\frac$"], "$y_1$": [1, 2]}),
    "one line empty": (
        "line",
        {"date": ["2022-01-01", "2022-01-02"] * 2, "k": list("aabb"), "x": [1, 2, None, None]},
    ),
    "controls": (
        "line",
        {
            "date": ["2022-01-01", "2022-01-02"],
            "k": pd.Series(["a\x00\x1b[31m", "\ud800\uffff"], dtype=object),
            "x": [1, 2],
        },
    ),
}


@pytest.mark.parametrize(("form", "columns"), STRANGE.values(), ids=STRANGE)
def test_any_table_is_drawn_without_a_warning(form: str, columns: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chart = chart_of(pd.DataFrame(columns))
        assert chart.form == form
        for number in range(len(chart.panels)):
            ET.fromstring(panel_svg(chart, number))
    for width in (20, 80):
        chart_text(chart, width)
        assert "█" not in "".join(chart_text(chart, width, unicode=False))


def test_a_hundred_thousand_rows_are_gathered_and_the_picture_stays_small() -> None:
    rows = 100_000
    frame = pd.DataFrame(
        {
            "time": pd.date_range("2022-01-01", periods=rows, freq="min", tz="Asia/Shanghai"),
            "vin": RNG.choice(["a", "b", "c"], rows),
            "voltage_v": RNG.normal(size=rows),
        }
    )
    chart = chart_of(frame)
    assert "gathered" in chart.note
    assert "mean" in chart.note
    assert len(panel_svg(chart, 0)) < 100_000


def test_many_vehicles_become_a_median_and_a_band() -> None:
    frame = pd.DataFrame(
        {
            "date": np.repeat(pd.date_range("2022-01-01", periods=10), 50),
            "vin": [f"v{n}" for n in range(50)] * 10,
            "e_wh": RNG.normal(10, 1, 500),
        }
    )
    chart = chart_of(frame)
    (series,) = chart.panels[0].series
    assert "median of 50 values of vin" in chart.note
    assert all(
        low <= y <= high for low, y, high in zip(series.low, series.y, series.high, strict=True)
    )


def test_the_table_is_not_changed_and_the_order_of_rows_does_not_matter() -> None:
    frame = usage_frame()
    before = frame.copy()
    shuffled = frame.sample(frac=1, random_state=1)
    assert panel_svg(chart_of(frame), 0) == panel_svg(chart_of(shuffled), 0)
    pd.testing.assert_frame_equal(frame, before)


def test_the_svg_fits_a_strict_page() -> None:
    chart = chart_of(usage_frame())
    both = panel_svg(chart, 0) + panel_svg(chart, 1)
    assert both == panel_svg(chart, 0) + panel_svg(chart, 1)
    ids = re.findall(r'\bid="([^"]+)"', both)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", both)) <= set(ids)
    for forbidden in ("http", "style", "metadata", "<script", "DejaVu", "xlink", "#0000"):
        assert forbidden not in both


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (12.345, "12.3"),
        (0.02314, "0.0231"),
        (1234.5, "1234"),
        (12345, "12.3k"),
        (2.5e6, "2.5M"),
        (1e300, "1.0e+300"),
        (-300000, "-300k"),
    ],
)
def test_short_numbers(value: float, text: str) -> None:
    assert short_number(value) == text


def test_the_numbers_of_an_axis_have_as_many_decimals() -> None:
    assert tick_texts([4.7, 4.75, 4.8]) == ["4.70", "4.75", "4.80"]
    assert tick_texts([0, 5000, 10000]) == ["0", "5000", "10k"]


def test_text_charts_show_the_shape() -> None:
    frame = pd.DataFrame({"k": ["a", "b"], "x": [1.0, 2.0]})
    assert chart_text(chart_of(frame), 40, unicode=False) == [
        "x",
        f"  a  {'#' * 12} 1",
        f"  b  {'#' * 25} 2",
    ]


def test_importing_the_report_imports_neither_pandas_nor_matplotlib() -> None:
    code = (
        "import sys, batcat_runtime.rehearsal.report, batcat_runtime.rehearsal.summary;"
        "print({'pandas', 'matplotlib', 'numpy', 'awswrangler'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_series_keeps_its_colour_in_panels_where_others_are_missing() -> None:
    frame = pd.DataFrame(
        {
            "vin": ["a", "a", "b", "b"],
            "date": ["2022-01-01", "2022-01-02"] * 2,
            "voltage_v": [1.0, 2.0, 3.0, 4.0],
            "resistance_ohm": [None, None, 5.0, 6.0],
        }
    )
    chart = choose_chart(frame)
    assert isinstance(chart, Chart)
    for number, panel in enumerate(chart.panels):
        assert [series.label for series in panel.series] == ["a", "b"]
        drawn = panel_svg(chart, number)
        assert "var(--series-2)" in drawn
        assert ("var(--series-1)" in drawn) == (panel.column == "voltage_v")
