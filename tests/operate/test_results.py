"""`batcat results`: what is there by window, downloads, and what is said when nothing is."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import time
from pathlib import Path
from typing import Any

import boto3
import hypothesis
import pytest
from hypothesis import strategies as st

import batcat_runtime as bc
from batcat_runtime.errors import (
    BucketRegionError,
    NoSuchBucketError,
    NoSuchResultError,
    ObjectChangedError,
    UserError,
)
from tests.faultproxy import Fault
from tests.operate.left_results import Left
from tests.operate.world import IN_EACH_REGION, PURPOSE, DeployedProject, World, pointed


@pytest.fixture
def left(project: DeployedProject, monkeypatch: pytest.MonkeyPatch) -> Left:
    return Left(project, monkeypatch)


@IN_EACH_REGION
def test_each_window_has_its_newest_whole_run(project: DeployedProject, left: Left) -> None:
    left("2020-01-01", "2020-01-02", "1-old")
    ran = project.execute("1-real", date_start="2020-01-01", date_end="2020-01-02")
    assert ran["status"] == "SUCCEEDED"
    own = left("2020-01-02", "2020-01-03", "2-a-whole")
    left.change(f"{own}_manifest_of_mine.json", b"[]")  # the script's own is none of ours
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
    # A disk without a byte left.
    full = project.batcat("results", "get", "2020-02-01", "--to", "/proc/results", code=2).stderr
    assert "The results need 22 B, but /proc has 0 B left. Nothing was downloaded." in full
    shutil.rmtree(place.parent.parent)


def test_a_body_that_breaks_off_is_taken_up_again(
    project: DeployedProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    body = random.Random(1).randbytes(20_000_000)
    Left(project, monkeypatch)(
        "2020-02-05",
        "2020-02-06",
        "broken",
        lambda job: (job.output_path / "cells.bin").write_bytes(body),
    )
    wire = project.world.wire
    cut = {"Content-Length": str(1 << 23), "Connection": "close"}
    # The manifest is read when results are listed and when they are fetched.
    broken = Fault("s3", "GetObject", after=3, edit=lambda part: part[:1000], headers=cut)
    with wire.having(broken):
        bc.get_results("2020-02-05", to=tmp_path, folder=project.folder)
        assert wire.asked["s3:GetObject"] == 6, "two manifests, three parts, and one of these again"
    assert next(tmp_path.rglob("cells.bin")).read_bytes() == body
    assert not [one for one in tmp_path.rglob(".*") if one.is_file()]
    # Ctrl-C leaves nothing that is not whole, and says how to go on.
    other = tmp_path / "other"
    with wire.having(Fault("s3", "GetObject", after=2, delay=2, times=0)):
        terminal = project.terminal("results", "get", "2020-02-05", "--to", str(other))
        end = time.monotonic() + 60
        while wire.asked["s3:GetObject"] < 4:
            assert time.monotonic() < end
            time.sleep(0.05)
        terminal.interrupt()
        assert terminal.wait() == 130
    assert "The same command goes on where this one was." in " ".join(terminal.shown.split())
    assert not [one for one in other.rglob("*") if one.is_file()]


def good_manifest(project: DeployedProject, prefix: str) -> dict[str, Any]:
    key = {"Bucket": project.config.result_s3_bucket, "Key": f"{prefix}_manifest.json"}
    return dict(json.loads(project.client("s3").get_object(**key)["Body"].read()))


NAMES = [
    *("", ".", "./", "a/", "a//b", "/usage.csv", "..", "../../../usage.csv", "a/../../b"),
    *("..\\usage.csv", "a\\b", "C:usage.csv", "C:/usage.csv", "a\u0000b", 1, None, ["a"]),
]


def test_a_manifest_that_names_what_is_no_file_of_its_result_is_none(
    project: DeployedProject, left: Left, tmp_path: Path
) -> None:
    prefix = left("2020-02-10", "2020-02-11", "outside")
    manifest = good_manifest(project, prefix)
    files = manifest.pop("files")
    for number, name in enumerate(NAMES):
        named = [*files, {"name": name, "sha256": hashlib.sha256(b"").hexdigest()}]
        body = json.dumps({**manifest, "files": named}).encode()
        left.change(f"{prefix.replace('outside', str(number))}_manifest.json", body)
    left.lose(f"{prefix}_manifest.json")
    found = bc.results("2020-02-10", "2020-02-10", folder=project.folder)
    said = {one.run_id: one.missing for one in found if one.run_id != "outside"}
    no_manifest = "its manifest is not as a job writes it"
    assert said == {str(number): no_manifest for number in range(len(NAMES))}
    with pytest.raises(NoSuchResultError):
        bc.get_results("2020-02-10", to=tmp_path, folder=project.folder)
    assert not list(tmp_path.iterdir())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def test_misshapen_manifests_break_nothing(project: DeployedProject, left: Left) -> None:
    """Every member of a manifest in turn becomes something else, and so does the whole."""
    good = left("2020-02-20", "2020-02-21", "good")
    manifest = good_manifest(project, good)
    bodies = [b"", b"{", b"null", b"[]", b'"\xff"', b"[" * 100_000, b'{"rows": 1e999}', b"{}"]

    @hypothesis.settings(max_examples=150, database=None, derandomize=True)
    @hypothesis.given(st.sampled_from(sorted(manifest)), JSON)
    def spoil(member: str, value: object) -> None:
        bodies.append(json.dumps({**manifest, member: value}).encode())

    spoil()
    for member, value in (("files", [[]]), ("parameters", [1]), ("shard", {"count": 10**30})):
        bodies.append(json.dumps({**manifest, member: value}).encode())
    for number, body in enumerate(bodies):
        left.change(f"{good.rpartition('=')[0]}=bad-{number}/_manifest.json", body)
    found = bc.results("2020-02-20", "2020-02-20", runs=True, folder=project.folder)
    assert len(found) == len(bodies) + 1
    whole = {one.run_id for one in found if one.whole}
    assert "good" in whole
    # One that names the file that is not beside it is not whole, nor is one of another shape.
    assert all(one.missing for one in found if one.run_id in ("bad-0", "bad-6"))
    shown = project.batcat("results", "--first", "2020-02-20", "--last", "2020-02-20", "--runs")
    assert shown.stdout.count("not whole") == len(found) - len(whole)
    frame = bc.read_results("2020-02-20", "2020-02-20", folder=project.folder)
    assert len(frame) == 2


def test_a_window_that_is_not_there_names_the_nearest(project: DeployedProject, left: Left) -> None:
    left("2020-03-01", "2020-03-02", "near-1")
    left("2020-03-05", "2020-03-06", "near-5")
    said = project.batcat("results", "get", "2020-03-03", code=1).stderr
    assert "2020-03-01 to 2020-03-02 and 2020-03-05 to 2020-03-06" in said
    assert "--date-start 2020-03-03" in said
    assert (
        bc.get_results("2020-03-01", "2020-03-07", folder=project.folder)[1].result.day[-1] == "5"
    )
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
    project = pointed(chinese.project(deploy=False), monkeypatch)
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
