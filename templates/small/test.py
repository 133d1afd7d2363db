"""The analysis on a small table whose answer is known by hand."""

import runpy
from datetime import date
from pathlib import Path

import pandas as pd

SCRIPT = Path(__file__).parents[1] / "script" / "{{ cookiecutter.purpose }}.py"
analyse = runpy.run_path(str(SCRIPT))["analyse"]


def test_energy_is_summed_by_vehicle_and_day_within_the_window() -> None:
    usage = pd.DataFrame(
        [
            ("A", "2022-01-01T08:00:00+08:00", 1.0),
            ("A", "2022-01-01T23:59:59+08:00", 0.5),
            ("A", "2022-01-02T00:00:00+08:00", 4.0),
            ("B", "2022-01-01T08:00:00+08:00", 8.0),
        ],
        columns=["vin", "time", "usage"],
    )
    result = analyse(usage, date(2022, 1, 1), date(2022, 1, 2))
    assert result.to_dict("records") == [
        {"vin": "A", "date": date(2022, 1, 1), "rows": 2, "usage_wh": 1.5},
        {"vin": "B", "date": date(2022, 1, 1), "rows": 1, "usage_wh": 8.0},
    ]
