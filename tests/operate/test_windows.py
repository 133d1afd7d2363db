"""Windows of days and hours, and what is none."""

from __future__ import annotations

from datetime import date, datetime

import pytest

from batcat_runtime.errors import UserError
from batcat_runtime.operate.executions import Window, window_of
from batcat_runtime.operate.survey import windows_between


def test_windows_of_days_weeks_and_hours_are_half_open_and_leave_no_gap() -> None:
    days = list(windows_between("2022-02-27", "2022-03-02", "day"))
    assert [str(one) for one in days] == [
        "2022-02-27 to 2022-02-28",
        "2022-02-28 to 2022-03-01",
        "2022-03-01 to 2022-03-02",
    ]
    weeks = list(windows_between(date(2022, 1, 1), date(2022, 1, 10), "week"))
    assert weeks == [Window("2022-01-01", "2022-01-08"), Window("2022-01-08", "2022-01-10")]
    hours = list(windows_between("2022-01-01", "2022-01-02", "hour"))
    assert len(hours) == 24
    assert hours[-1] == Window("2022-01-01T23:00", "2022-01-02T00:00")
    assert {one.day for one in hours} == {"2022-01-01"}


def test_a_window_may_have_hours_and_then_both_ends_do() -> None:
    assert window_of(None, None) is None
    assert window_of("2022-01-01", date(2022, 1, 3)) == Window("2022-01-01", "2022-01-03")
    mixed = window_of(datetime(2022, 1, 1, 5), "2022-01-02")
    assert mixed == Window("2022-01-01T05:00", "2022-01-02T00:00")


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ("2022-01-01", None, "both"),
        ("2022-01-01", "2022-01-01", "is empty"),
        ("2022-01-02", "2022-01-01", "is empty"),
        ("yesterday", "2022-01-01", "date_start='yesterday' is no date"),
        ("2022-01-01T05:00Z", "2022-01-02", "offset"),
        ("2022-01-01", "2022-02-30", "date_end='2022-02-30' is no date"),
    ],
)
def test_what_is_no_window_is_refused(start: str, end: str | None, words: str) -> None:
    with pytest.raises(UserError, match=words):
        window_of(start, end)


def test_unknown_steps_are_refused_before_the_first_window() -> None:
    with pytest.raises(UserError, match="hour, day, week"):
        windows_between("2022-01-01", "2022-01-02", "month")
