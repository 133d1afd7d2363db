"""What the results' manifests tell, read from results of real runs."""

from __future__ import annotations

import json

from batcat_runtime.operate.executions import (
    Window,
    find_execution,
    last_executions,
    list_executions,
)
from batcat_runtime.operate.manifests import read_results, result_of
from tests.operate.world import PURPOSE, DeployedProject


def test_results_come_by_day_and_tell_rows_size_and_versions(project: DeployedProject) -> None:
    for day in (3, 1, 2):
        window = {"date_start": f"2021-03-0{day}", "date_end": f"2021-03-0{day + 1}"}
        assert project.execute(f"manifests-{day}", **window)["status"] == "SUCCEEDED"
    found = list(read_results(project.opened, PURPOSE, first="2021-03-01", last="2021-03-02"))
    assert [one.window for one in found] == [
        Window("2021-03-01", "2021-03-02"),
        Window("2021-03-02", "2021-03-03"),
    ]
    first = found[0]
    assert (first.run_id, first.rows, first.whole) == ("manifests-1", 2, True)
    assert first.bytes == sum(one.bytes for one in first.files) > 0
    assert len(first.code_sha256) == 64
    assert "@sha256:" in first.image
    alone = result_of(project.opened, PURPOSE, "manifests-3", "2021-03-03")
    assert alone is not None
    assert alone.run_id == "manifests-3"
    assert result_of(project.opened, PURPOSE, "manifests-3", "2021-03-04") is None


def test_a_file_that_is_lost_makes_a_result_not_whole(project: DeployedProject) -> None:
    window = {"date_start": "2021-04-01", "date_end": "2021-04-02"}
    project.execute("manifests-lost", **window)
    before = result_of(project.opened, PURPOSE, "manifests-lost", "2021-04-01")
    assert before is not None
    s3 = project.client("s3")
    s3.delete_object(Bucket=project.config.result_s3_bucket, Key=before.files[0].key)
    after = result_of(project.opened, PURPOSE, "manifests-lost", "2021-04-01")
    assert after is not None
    assert not after.whole
    assert "usage-analysis.csv is not there" in after.missing


def test_executions_tell_window_and_parameters(project: DeployedProject) -> None:
    given = {"date_start": "2021-05-01", "date_end": "2021-05-02", "params": {"lines": 1}}
    described = project.execute("executions-1", **given)
    newest = last_executions(project.opened, PURPOSE, 1)[0]
    assert newest.arn == described["executionArn"]
    assert newest.window == Window("2021-05-01", "2021-05-02")
    assert newest.params == {"lines": 1}
    assert newest.status == "SUCCEEDED"
    assert find_execution(project.opened, "executions-1").arn == newest.arn
    assert find_execution(project.opened).arn == newest.arn
    assert any(one["name"] == "executions-1" for one in list_executions(project.opened, PURPOSE))
    assert json.loads(described["input"]) == given
