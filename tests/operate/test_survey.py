"""Names and windows of backfills, and what is known of each window in flat memory."""

from __future__ import annotations

import importlib.util
import re
import tracemalloc
from pathlib import Path
from types import ModuleType

import pytest

from batcat_runtime.operate.executions import Window
from batcat_runtime.operate.manifests import Result
from batcat_runtime.operate.survey import Range, Survey, execution_name, windows_between
from tests.conftest import REPOSITORY

LAMBDA = "{{cookiecutter.project_slug}}/deploy/lambda/lambda_function.py"


def result(window: Window, run_id: str, **changes: object) -> Result:
    fields: dict[str, object] = {
        "purpose": "usage",
        "run_id": run_id,
        "day": window.day,
        "window": window,
        "rows": 1,
        "bytes": 1,
        "files": (),
        "missing": "",
        "code_sha256": "",
        "image": "",
        "ended": "2022-02-01T00:00:00+00:00",
        "parameters": {},
    }
    return Result(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("start", "end", "every"),
    [
        ("2022-01-01", "2022-01-31", "day"),
        ("2022-01-01", "2022-01-10", "week"),
        ("2022-01-01", "2022-01-02", "hour"),
        ("2022-01-01T05:30", "2022-01-02", "hour"),
        ("2022-01-01T05:30", "2022-01-04", "day"),
    ],
)
def test_a_range_knows_its_windows_by_number(start: str, end: str, every: str) -> None:
    scope = Range.of(start, end, every)
    windows = list(windows_between(start, end, every))
    assert scope.count == len(windows)
    assert [scope.window(index) for index in range(scope.count)] == windows
    assert [scope.index(one) for one in windows] == list(range(len(windows)))
    assert scope.index(Window("1999-01-01", "1999-01-02")) is None
    assert scope.index(Window(windows[0].start, "2030-01-01")) is None
    assert scope.index(None) is None
    name = execution_name(windows[-1], {"a": 1}, 65_000)
    for legal in (name, f"{scope.stem}_b1000"):
        assert re.fullmatch(r"[A-Za-z0-9_.-]{1,80}", legal)


def test_the_first_attempt_has_the_name_that_the_schedule_gives(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("trigger", REPOSITORY / LAMBDA)
    assert spec is not None
    assert spec.loader is not None
    trigger: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(trigger)
    run = {"date_start": "2022-01-08", "date_end": "2022-01-09", "params": {}}
    window = Window("2022-01-08", "2022-01-09")
    assert execution_name(window, {}) == trigger.execution_name(run)
    assert execution_name(window, {}, 2) == f"{trigger.execution_name(run)}_b2"


def test_what_is_missing_follows_from_executions_and_results() -> None:
    found = Survey(Range.of("2022-01-01", "2022-01-07", "day"))
    windows = [found.scope.window(index) for index in range(6)]
    whole, failed, running, retried, other, untouched = windows
    found.note_execution(execution_name(whole, {}), "SUCCEEDED")
    found.note_result(result(whole, execution_name(whole, {})))
    found.note_execution(execution_name(failed, {}), "FAILED")
    found.note_execution(execution_name(running, {}), "RUNNING")
    # Newest first, as they are listed.
    found.note_execution(execution_name(retried, {}, 2), "ABORTED")
    found.note_execution(execution_name(retried, {}), "FAILED")
    # Other parameters are another computation, and so is a result that lacks something.
    found.note_execution(execution_name(other, {"a": 1}), "SUCCEEDED")
    found.note_result(result(other, "by-hand", parameters={"a": 1}))
    found.note_result(result(other, "by-hand", missing="a file"))
    assert not found.note_execution("by-hand", "RUNNING")
    assert list(found.missing()) == [1, 3, 4, 5]
    assert list(found.missing(failed=True)) == [1]
    assert list(found.missing(force=True)) == [0, 1, 3, 4, 5]
    assert list(found.attempts) == [1, 1, 1, 2, 0, 0]
    assert [found.status(index) for index in (1, 3, 5)] == ["FAILED", "ABORTED", ""]
    assert untouched == found.scope.window(5)


def test_only_results_since_a_force_count_and_their_attempts_are_not_used_again() -> None:
    found = Survey(Range.of("2022-01-01", "2022-01-03", "day"))
    first, second = found.scope.window(0), found.scope.window(1)
    found.note_result(result(first, execution_name(first, {}, 3)), "2022-02-02")
    found.note_result(result(second, "by-hand"), "2022-01-31")
    assert list(found.missing()) == [0]
    assert list(found.attempts) == [3, 0], "its execution is forgotten, its folder is there"


def test_memory_is_flat_in_the_number_of_windows() -> None:
    tracemalloc.start()
    try:
        found = Survey(Range.of("2010-01-01", "2021-01-01", "hour"))
        for index in range(0, found.scope.count, 50):
            found.note_execution(found.name(index), "SUCCEEDED")
        assert sum(1 for _ in found.missing()) == found.scope.count == 96_432
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000
