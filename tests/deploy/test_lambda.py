"""Which run an event means to the generated Lambda function; the rehearsal really runs it."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import pytest

from tests.conftest import REPOSITORY

FILE = REPOSITORY / "{{cookiecutter.project_slug}}" / "deploy" / "lambda" / "lambda_function.py"
NOW = datetime(2022, 1, 9, 3, 0, tzinfo=UTC)


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("TIMEZONE", "Asia/Shanghai")
    monkeypatch.setenv("WINDOW_DAYS", "1")
    spec = importlib.util.spec_from_file_location("lambda_function", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("event", "window"),
    [
        # 18:00 UTC is 02:00 of the next day in Shanghai: the run is for the day that has just ended
        ({"scheduled_time": "2022-01-07T18:00:00Z"}, ("2022-01-07", "2022-01-08")),
        ({"scheduled_time": "2022-01-07T15:59:59Z"}, ("2022-01-06", "2022-01-07")),
        ({}, ("2022-01-08", "2022-01-09")),
        ({"date_start": "2022-01-01", "date_end": "2022-08-01"}, ("2022-01-01", "2022-08-01")),
    ],
)
def test_the_window_of_an_event(
    function: ModuleType, event: dict[str, Any], window: tuple[str, str]
) -> None:
    run = function.read_event(event, NOW)
    assert (run["date_start"], run["date_end"]) == window


def test_a_late_run_computes_the_day_it_was_meant_for(function: ModuleType) -> None:
    event = {"scheduled_time": "2022-01-07T18:00:00Z"}
    late = datetime(2022, 3, 1, tzinfo=UTC)
    assert function.read_event(event, NOW) == function.read_event(event, late)


def test_the_same_event_gives_the_same_execution(function: ModuleType) -> None:
    event = {"scheduled_time": "2022-01-07T18:00:00Z", "params": {"b": 1, "a": 2}}
    again = {"params": {"a": 2, "b": 1}, "scheduled_time": "2022-01-07T18:00:00Z"}
    other = {"scheduled_time": "2022-01-07T18:00:00Z", "params": {"a": 3, "b": 1}}
    names = [
        function.execution_name(function.read_event(one, NOW)) for one in (event, again, other)
    ]
    assert names[0] == names[1] != names[2]
    assert len(names[0]) <= 80


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"date_start": "2022-01-01"}, "both date_start and date_end"),
        ({"date_start": "yesterday", "date_end": "2022-01-02"}, "Invalid isoformat"),
        ({"date_start": "2022-01-02", "date_end": "2022-01-02"}, "window is empty"),
        ({"date": "2022-01-02"}, "unknown keys \\['date'\\]"),
        ({"params": [1]}, "params must be an object"),
        ({"params": {"x": "y" * 300}}, "at most 256 characters"),
    ],
)
def test_events_that_mean_nothing_are_refused(
    function: ModuleType, event: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        function.read_event(event, NOW)
