"""`batcat plan --estimate`: jobs, instance hours and quotas, with an account and without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import batcat_runtime as bc
from batcat_runtime.errors import UserError
from batcat_runtime.project import new_project
from tests.operate.world import DeployedProject


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a project with two steps side by side after another, started every hour."""
    folder = new_project({"region": "cn-northwest-1"}, no_input=True, output_dir=tmp_path)
    path = folder / "script" / "config.json"
    content = json.loads(path.read_text("utf-8"))
    purpose = content["purposes"]["usage-analysis"]

    def step(name: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "script": "usage-analysis.py", **more}

    purpose["steps"] = [
        step("first", instance_count=2, retries={"failed_jobs": 1}, max_runtime_seconds=1800),
        [step("left", instance_count=3), [step("right"), step("end", instance_type="ml.c5.large")]],
    ]
    purpose["schedule"] |= {"expression": "cron(0 * * * ? *)"}
    path.write_text(json.dumps(content), "utf-8")
    return folder


def test_a_month_counts_retries_branches_and_runs_that_overlap(folder: Path) -> None:
    [found] = bc.estimate(folder)
    assert (found.purpose, found.runs) == ("usage-analysis", 30 * 24)
    # at its longest a run takes 3.5 hours: the one that starts meets three that still run
    assert found.at_once == 4
    assert [(one.step, one.jobs, one.most_jobs, one.hours) for one in found.steps] == [
        ("first", 720, 1440, 1440.0),
        ("left", 720, 720, 2160.0),
        ("right", 720, 720, 720.0),
        ("end", 720, 720, 720.0),
    ]
    assert {one.instance_type: (one.needed, one.binds) for one in found.quotas} == {
        "ml.m5.xlarge": (16, True),
        "ml.c5.large": (4, False),
    }
    assert "could not be read" in found.quotas[0].source


def test_a_range_is_checked_before_anything_is_asked(folder: Path) -> None:
    with pytest.raises(UserError, match="Give both --date-start and --date-end"):
        bc.estimate(folder, start="2022-01-01")
    with pytest.raises(UserError, match="month"):
        bc.estimate(folder, start="2022-01-01", end="2022-02-01", every="month")


def test_a_backfill_beside_the_accounts_own_quota(project: DeployedProject) -> None:
    asked = ("plan", "--date-start", "2022-01-01", "--date-end", "2022-02-01", "-n", "25")
    [found] = project.json(*asked)
    assert (found["runs"], found["at_once"]) == (31, 25)
    [quota] = found["quotas"]
    assert (quota["needed"], quota["allowed"], quota["source"]) == (25, 20, "Service Quotas")
    told = project.batcat(*asked).stdout
    assert "a backfill of 2022-01-01 to 2022-02-01 by the day, 31 runs, 25 at once" in told
    assert "25 ml.m5.xlarge at once, 20 allowed (Service Quotas): too few" in told
