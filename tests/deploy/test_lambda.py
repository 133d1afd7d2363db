"""Which run an event means to the generated Lambda function; the rehearsal really runs it."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batcat_runtime.job import _parameters
from tests.conftest import REPOSITORY

FILE = REPOSITORY / "{{cookiecutter.project_slug}}" / "deploy" / "lambda" / "lambda_function.py"


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
        ({}, ("", "")),
        ({"date_start": "2022-01-01", "date_end": "2022-08-01"}, ("2022-01-01", "2022-08-01")),
    ],
)
def test_the_window_of_an_event(
    function: ModuleType, event: dict[str, Any], window: tuple[str, str]
) -> None:
    run = function.read_event(event)
    assert (run["date_start"], run["date_end"]) == window


def test_all_data_is_a_new_run_every_time(function: ModuleType) -> None:
    run = function.read_event({})
    assert function.execution_name(run) != function.execution_name(run)
    assert len(function.execution_name(run)) <= 80


def test_the_same_event_gives_the_same_execution(function: ModuleType) -> None:
    event = {"scheduled_time": "2022-01-07T18:00:00Z", "params": {"b": 1, "a": 2}}
    again = {"params": {"a": 2, "b": 1}, "scheduled_time": "2022-01-07T18:00:00Z"}
    other = {"scheduled_time": "2022-01-07T18:00:00Z", "params": {"a": 3, "b": 1}}
    names = [function.execution_name(function.read_event(one)) for one in (event, again, other)]
    assert names[0] == names[1] != names[2]
    assert len(names[0]) <= 80


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"date_start": "2022-01-01"}, "both date_start and date_end"),
        ({"date_start": "yesterday", "date_end": "2022-01-02"}, "date_start is 'yesterday'"),
        ({"date_start": 1, "date_end": "2022-01-02"}, "date_start is 1, and must be a date"),
        ({"scheduled_time": "9999-99-99"}, "scheduled_time is '9999-99-99'"),
        ({"scheduled_time": "0001-01-01T00:00:00Z"}, "is too early"),
        ({"scheduled_time": None}, "scheduled_time is None"),
        ({"params": {"x": [1]}}, "x must be a text, a number or a boolean"),
        ({"params": {"x": float("nan")}}, "x must be a text, a number"),
        ({"params": None}, "params must be an object, not NoneType"),
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
        function.read_event(event)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
KEYS = ("scheduled_time", "date_start", "date_end", "params", "Records", "source", "detail")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(event=JUNK | st.dictionaries(st.sampled_from(KEYS), JUNK | st.just("aws.s3")))
def test_junk_is_a_value_error_and_nothing_else(function: ModuleType, event: Any) -> None:
    started: list[Any] = []
    function.start = lambda run, name: started.append((run, name))
    with contextlib.suppress(ValueError):
        function.lambda_handler(event, None)
    for run, name in started:
        if run is not None:
            assert len(name) <= 80
            with pytest.MonkeyPatch.context() as environment:
                environment.setenv("BATCAT_PARAMETERS", json.dumps(run["params"]))
                _parameters()  # as the job reads them
