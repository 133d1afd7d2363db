"""`batcat results`: what is there by window, downloads, and what is said when nothing is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import boto3
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import (
    BucketRegionError,
    NoSuchBucketError,
    NoSuchResultError,
    ObjectChangedError,
    UserError,
)
from batcat_runtime.operate.results_get import check_room
from tests.operate.left_results import Left
from tests.operate.world import PURPOSE, DeployedProject, World


@pytest.fixture
def left(project: DeployedProject, monkeypatch: pytest.MonkeyPatch) -> Left:
    return Left(project, monkeypatch)


def test_each_window_has_its_newest_whole_run(project: DeployedProject, left: Left) -> None:
    left("2020-01-01", "2020-01-02", "1-old")
    ran = project.execute("1-real", date_start="2020-01-01", date_end="2020-01-02")
    assert ran["status"] == "SUCCEEDED"
    left("2020-01-02", "2020-01-03", "2-a-whole")
    left.lose(left("2020-01-02", "2020-01-03", "2-b-lost") + "usage-analysis.csv")
    left.lose(left("2020-01-03", "2020-01-04", "3-bare") + "_manifest.json")
    days = ("--first", "2020-01-01", "--last", "2020-01-03")
    found = project.json("results", *days)
    assert [(one["run_id"], one["state"]) for one in found] == [
        ("1-real", "newest"),
        ("2-a-whole", "newest"),
        ("2-b-lost", "not whole"),
        ("3-bare", "not whole"),
    ]
    assert found[0]["window"] == {"start": "2020-01-01", "end": "2020-01-02"}
    assert (found[0]["rows"], found[0]["missing"]) == (2, "")
    assert found[2]["missing"] == "usage-analysis.csv is not there"
    lines = project.batcat("results", *days, "--runs").stdout.splitlines()
    head = "Window|Rows|Size|Run|Code|Image|Ended|(UTC)|State"
    assert lines[0].split() == head.split("|")
    assert lines[1].split()[:3] == ["2020-01-01", "to", "2020-01-02"]
    assert lines[1].endswith("superseded by 1-real")
    assert found[0]["code_sha256"][:8] in lines[2]
    assert found[0]["image"].partition("@sha256:")[2][:8] in lines[2]
    assert lines[2].endswith("newest")
    assert lines[5].startswith("unknown (2020-01-03)")
    assert lines[5].endswith("not whole: the step usage-analysis left 0 of 1 manifests")
    same = bc.results("2020-01-01", "2020-01-03", folder=project.folder)
    assert [one.run_id for one in same] == [one["run_id"] for one in found]


def test_a_run_over_all_data_is_superseded_by_a_later_day(
    project: DeployedProject, left: Left, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day, run in (("2020-06-01", "all-1"), ("2020-06-02", "all-2")):
        monkeypatch.setenv("BATCAT_RUN_STARTED", f"{day}T08:00:00+00:00")
        left("", "", run)
    left("2020-06-01", "2020-06-02", "a-day")
    found = bc.results("2020-06-01", "2020-06-02", runs=True, folder=project.folder)
    assert [(one.run_id, one.state, one.superseded_by) for one in found] == [
        ("a-day", "newest", ""),
        ("all-1", "superseded", "all-2"),
        ("all-2", "newest", ""),
    ]


def test_downloads_are_checked_and_go_on_where_they_were(
    project: DeployedProject, left: Left, tmp_path: Path
) -> None:
    left("2020-02-01", "2020-02-02", "get-1")
    second = left("2020-02-02", "2020-02-03", "get-2")
    found = project.json("results", "get", "2020-02-01", "2020-02-03")
    assert [(one["files"], one["there"]) for one in found] == [(1, 0), (1, 0)]
    place = project.folder / "data/result" / PURPOSE / "date=2020-02-01" / "run=get-1"
    assert found[0]["folder"] == str(place)
    assert sorted(one.name for one in place.iterdir()) == ["_manifest.json", "usage-analysis.csv"]
    assert (place / "usage-analysis.csv").read_text() == "vin,usage\nA,1.5\nB,2.0\n"
    # What is cut off is fetched again; nothing else is.
    (place / "usage-analysis.csv").write_text("vin,usage\nA,")
    again = bc.get_results("2020-02-01", folder=project.folder)
    assert [(one.files, one.there) for one in again] == [(1, 0)]
    assert (place / "usage-analysis.csv").read_text() == "vin,usage\nA,1.5\nB,2.0\n"
    unchanged = bc.get_results("2020-02-01", folder=project.folder)
    assert [(one.files, one.there) for one in unchanged] == [(0, 1)]
    # What was changed after the run is not taken for the result.
    left.change(f"{second}usage-analysis.csv", b"vin,usage\nA,9\n")
    with pytest.raises(ObjectChangedError, match="is not what its manifest says"):
        bc.get_results("2020-02-02", to=tmp_path, folder=project.folder)
    assert not [one for one in tmp_path.rglob("*") if one.is_file()]
    terminal = project.terminal("results", "get", "2020-02-01", "--to", str(tmp_path / "there"))
    assert terminal.wait() == 0
    assert "2020-02-01 to 2020-02-02" in terminal.shown
    wanted = bc.results("2020-02-01", "2020-02-01", folder=project.folder)
    with pytest.raises(UserError, match="has 3 B left"):
        check_room(tmp_path / "new", f"{project.names.result_prefix}/", wanted, free=3)
    shutil.rmtree(place.parent.parent)


def test_a_manifest_that_names_a_file_outside_its_folder_is_refused(
    project: DeployedProject, left: Left, tmp_path: Path
) -> None:
    prefix = left("2020-02-10", "2020-02-11", "outside")
    s3, bucket = project.client("s3"), project.config.result_s3_bucket
    key = f"{prefix}_manifest.json"
    manifest = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    manifest["files"].append({"name": "../../../usage.csv", "sha256": ""})
    left.change(f"{prefix}../../../usage.csv", b"")
    left.change(key, json.dumps(manifest).encode())
    with pytest.raises(bc.BatcatError, match="outside its folder"):
        bc.get_results("2020-02-10", to=tmp_path / "deep", folder=project.folder)
    assert not [one for one in tmp_path.rglob("*") if one.is_file()]


def test_a_window_that_is_not_there_names_the_nearest(project: DeployedProject, left: Left) -> None:
    left("2020-03-01", "2020-03-02", "near-1")
    left("2020-03-05", "2020-03-06", "near-5")
    said = project.batcat("results", "get", "2020-03-03", code=1).stderr
    assert "2020-03-01 to 2020-03-02 and 2020-03-05 to 2020-03-06" in said
    assert "--date-start 2020-03-03" in said
    for wrong in ({"start": "soon"}, {"start": "2020-03-03", "end": "2020-03-03"}):
        with pytest.raises(UserError):
            bc.get_results(**wrong, folder=project.folder)
    with pytest.raises(UserError, match="is before the first"):
        bc.results("2020-03-02", "2020-03-01", folder=project.folder)


def test_newest_results_are_one_data_frame(project: DeployedProject, left: Left) -> None:
    for day, end, run in ((1, 2, "a"), (1, 2, "b"), (2, 3, "c")):
        left(f"2020-04-0{day}", f"2020-04-0{end}", f"frame-{run}")
    frame = bc.read_results("2020-04-01", "2020-04-02", folder=project.folder)
    assert list(frame.columns) == ["vin", "usage"]
    assert list(frame["usage"]) == [1.5, 2.0, 1.5, 2.0]
    with pytest.raises(bc.BatcatError, match="no whole result of 1999-01-01 to 1999-01-02"):
        bc.read_results("1999-01-01", "1999-01-02", folder=project.folder)


def test_nothing_yet_and_buckets_that_are_not_ours(
    chinese: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = chinese.project(deploy=False)
    for name, value in chinese.aws.environment().items():
        monkeypatch.setenv(name, value)
    said = project.batcat("results")
    assert "There are no results yet. Start a run with `batcat run`" in said.stdout
    assert project.json("results") == []
    for function in (bc.get_results, bc.register_results, bc.read_results):
        with pytest.raises(NoSuchResultError, match="no whole result"):
            function(folder=project.folder)
    path = project.folder / "script" / "config.json"
    content = json.loads(path.read_text("utf-8"))

    def configured(bucket: str) -> None:
        path.write_text(json.dumps(content | {"result_s3_bucket": bucket}), encoding="utf-8")

    configured("nowhere-at-all")
    with pytest.raises(NoSuchBucketError, match="nowhere-at-all does not exist"):
        bc.results(folder=project.folder)
    elsewhere = f"elsewhere-{project.config.result_s3_bucket}"[:63]
    place = {"LocationConstraint": "cn-north-1"}
    s3 = chinese.client("s3", "cn-north-1")
    s3.create_bucket(Bucket=elsewhere, CreateBucketConfiguration=place)
    configured(elsewhere)
    with pytest.raises(BucketRegionError, match="lies in cn-north-1"):
        bc.results(folder=project.folder)
    configured(_foreign(chinese))
    refused = project.batcat("results", "get", code=2).stderr
    assert "is not of your account" in refused


def _foreign(world: World) -> str:
    """Make a bucket in another account."""
    given = world.client("sts").assume_role(
        RoleArn="arn:aws-cn:iam::210987654321:role/other", RoleSessionName="other"
    )["Credentials"]
    s3 = boto3.Session().client(
        "s3",
        region_name=world.aws.region,
        endpoint_url=world.aws.endpoint_url,
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )
    place = {"LocationConstraint": world.aws.region}
    s3.create_bucket(Bucket="of-somebody-else", CreateBucketConfiguration=place)
    return "of-somebody-else"
