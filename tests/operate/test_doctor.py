"""`batcat doctor` on a pipeline that is well, and on this machine's and the project's faults."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import batcat_runtime as bc
from batcat_runtime.operate.checks import LOCAL, ON_AWS
from batcat_runtime.operate.doctor import Check
from batcat_runtime.rehearsal.aws.iam import principals
from tests.operate.fakests import CALLER, ERROR, sts
from tests.operate.world import REGIONS, DeployedProject

CREDENTIALS = "AWS accepts the credentials in use"
CLOCK = "This machine's clock is AWS's, so that signatures are valid"
CONFIG = "script/config.json is valid"
BUILD = "Something can build the container image"


def by_name(checks: list[Any]) -> dict[str, Any]:
    return {one["name"] if isinstance(one, dict) else one.name: one for one in checks}


@pytest.fixture
def one(
    _deployed: Callable[[str], DeployedProject], monkeypatch: pytest.MonkeyPatch
) -> DeployedProject:
    """Return the shared project in China, for what is the same in every region."""
    project = _deployed(REGIONS[0])
    for name, value in project.world.aws.environment().items():
        monkeypatch.setenv(name, value)
    return project


@pytest.fixture
def patient(one: DeployedProject, tmp_path: Path) -> DeployedProject:
    """Return a copy of the deployed project's folder, to be broken; its AWS is left as it is."""
    folder = tmp_path / "project"
    shutil.copytree(one.folder, folder)
    return DeployedProject(one.world, folder, one.config)


def edit(project: DeployedProject, change: Callable[[dict[str, Any]], None]) -> None:
    path = project.folder / "script" / "config.json"
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_all_is_well(project: DeployedProject) -> None:
    done = project.batcat("doctor")
    assert done.stdout.splitlines()[-1] == f"1 skipped, {len(LOCAL) + len(ON_AWS) - 1} ok"
    assert f"s3://{project.config.result_s3_bucket} in {project.config.region}" in done.stdout
    assert "1 of 20 ml.m5.xlarge" in done.stdout
    assert "Fix:" not in done.stdout
    # Who asks is the embedded AWS's administrator, whom IAM does not know.
    assert "skipped  You may hand the roles on to AWS's services" in done.stdout


def test_in_a_terminal_it_has_colours_and_progress(one: DeployedProject) -> None:
    terminal = one.terminal("doctor")
    assert terminal.wait() == 0
    assert "\x1b[32mok" in terminal.shown
    assert "looking at" in terminal.shown


def test_json_is_all_that_is_printed(project: DeployedProject) -> None:
    found = project.json("doctor")
    assert {one["status"] for one in found} == {"ok", "skipped"}
    assert all(set(one) == {"name", "status", "found", "fix"} for one in found)


def test_it_is_a_function_too(one: DeployedProject) -> None:
    checks = bc.doctor(folder=one.folder)
    assert all(isinstance(one, Check) for one in checks)
    assert by_name(checks)[CONFIG].status == "ok"


def test_without_credentials_the_rest_is_still_looked_at(project: DeployedProject) -> None:
    none = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": ""}
    done = project.batcat("doctor", code=1, **none)
    assert f"failed   {CREDENTIALS}: Unable to locate credentials" in done.stdout
    assert "Fix: aws configure sso" in done.stdout
    assert "skipped  needs credentials that AWS accepts:" in done.stdout
    assert f"ok       {CONFIG}" in done.stdout
    assert f"ok       {CLOCK}" in done.stdout


def test_a_profile_that_does_not_exist_is_named(one: DeployedProject) -> None:
    found = by_name(json.loads(one.batcat("doctor", "--json", code=1, AWS_PROFILE="ada").stdout))
    assert found[CREDENTIALS]["status"] == "failed"
    assert found[CREDENTIALS]["found"] == "there is no profile ada, which AWS_PROFILE names"
    assert "aws configure list-profiles" in found[CREDENTIALS]["fix"]


def test_expired_credentials_say_how_to_renew_them(one: DeployedProject) -> None:
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    done = one.batcat("doctor", code=1, AWS_CREDENTIAL_EXPIRATION=past)
    assert f"failed   {CREDENTIALS}: The credentials in use have expired" in done.stdout
    assert "Fix: aws sso login" in done.stdout
    refused = ERROR.format(code="ExpiredToken", message="The security token is expired")
    with sts(403, refused) as url:
        found = by_name(json.loads(told(one, url)))
    assert "ExpiredToken" in found[CREDENTIALS]["found"]
    assert found[CREDENTIALS]["fix"] == "aws sso login"


def test_a_session_that_ends_soon_is_a_warning(
    one: DeployedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=20)
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", soon.isoformat())
    found = by_name(bc.doctor(folder=one.folder))[CREDENTIALS]
    assert found.status == "warning"
    assert "the session ends in 20 min" in found.found


def test_the_root_user_is_warned(project: DeployedProject) -> None:
    account, partition = project.world.aws.account_id, project.world.aws.partition
    root = CALLER.format(arn=f"arn:{partition}:iam::{account}:root", account=account)
    with sts(200, root) as url:
        found = by_name(json.loads(told(project, url, code=0)))
    assert found[CREDENTIALS]["status"] == "warning"
    assert "the root user" in found[CREDENTIALS]["found"]


def test_credentials_of_another_partition_are_told_apart(project: DeployedProject) -> None:
    world = project.world
    other = next(one for one in REGIONS if one != world.aws.region)
    iam, name = world.client("iam", other), f"ada-{other}"
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    keys = {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        "AWS_SESSION_TOKEN": "",
    }
    found = by_name(json.loads(project.batcat("doctor", "--json", code=1, **keys).stdout))
    theirs = "aws" if world.aws.partition == "aws-cn" else "aws-cn"
    assert f"the credentials belong to the partition {theirs}, but" in found[CREDENTIALS]["found"]
    assert "AWS_PROFILE" in found[CREDENTIALS]["fix"]


@pytest.mark.parametrize(("minutes", "word"), [(9, "behind"), (-9, "ahead of")])
def test_a_wrong_clock_is_found_without_a_valid_signature(
    one: DeployedProject, minutes: int, word: str
) -> None:
    late = timedelta(minutes=minutes)
    text = "Signature expired: 20220107T180000Z is now earlier than 20220107T180400Z"
    with sts(403, ERROR.format(code="SignatureDoesNotMatch", message=text), late=late) as url:
        found = by_name(json.loads(told(one, url)))
    assert found[CLOCK]["status"] == "failed"
    assert f"it is 9 min {word} AWS's" in found[CLOCK]["found"]
    assert "set-ntp" in found[CLOCK]["fix"]
    assert "its clock is wrong" in found[CREDENTIALS]["found"]


def test_a_host_that_is_out_of_reach_is_named(one: DeployedProject) -> None:
    lost = {"AWS_ENDPOINT_URL_SAGEMAKER": "http://sagemaker.invalid"}
    done = one.batcat("doctor", code=1, **lost)
    assert "sagemaker.invalid cannot be reached: its name is not known (DNS)" in done.stdout
    assert "Fix: curl -sSv http://sagemaker.invalid" in done.stdout
    assert f"ok       {CREDENTIALS}" in done.stdout


def test_without_a_network_what_is_here_is_looked_at(one: DeployedProject) -> None:
    done = one.batcat("doctor", code=1, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert "127.0.0.1 cannot be reached" in done.stdout
    assert "skipped  AWS is out of reach:" in done.stdout
    assert f"ok       {CONFIG}" in done.stdout


def test_another_region_in_the_environment_is_a_warning(one: DeployedProject) -> None:
    done = one.batcat("doctor", AWS_REGION="eu-west-1", AWS_DEFAULT_REGION="eu-west-1")
    region = one.config.region
    assert f"AWS_REGION says eu-west-1, script/config.json says {region}" in done.stdout
    fix = f"Fix: export AWS_REGION={region}; export AWS_DEFAULT_REGION={region}"
    assert fix in done.stdout


def test_a_broken_configuration_is_a_finding(patient: DeployedProject) -> None:
    edit(patient, lambda content: content.update(regoin="x"))
    done = patient.batcat("doctor", code=1)
    assert "regoin: unknown key; did you mean 'region'?" in done.stdout
    assert "skipped  needs a valid script/config.json:" in done.stdout


def test_outside_of_a_project_there_is_nothing_to_look_at(
    one: DeployedProject, tmp_path: Path
) -> None:
    done = one.batcat("doctor", "-C", str(tmp_path), code=2)
    assert "is not inside a BatCat project" in done.stderr
    other = one.batcat("doctor", "--purpose", "forecast", code=2)
    assert "no purpose 'forecast'" in other.stderr


def test_files_that_do_not_fit_the_configuration(patient: DeployedProject) -> None:
    (patient.folder / "script" / "usage-analysis.py").unlink()
    requirements = patient.folder / "deploy" / "docker" / "requirements.txt"
    requirements.write_text(requirements.read_text() + "\nscipy>=1.11\n")
    edit(patient, lambda content: content.update(tags={"team": "cells"}))
    (patient.folder / "requirements.txt").write_text("pandas<1\nno-such-package-of-ours\n")
    found = by_name(bc.doctor(folder=patient.folder))
    script = found["Every step's script is there"]
    assert (script.status, script.found) == ("failed", "script/usage-analysis.py is missing")
    assert script.fix.startswith("git checkout -- script/usage-analysis.py")
    lock = found["The image's lock is of the present requirements"]
    assert (lock.status, lock.fix) == ("failed", "batcat lock")
    packages = found["The installed packages are those of requirements.txt"]
    assert packages.status == "warning"
    assert "wanted is <1, and 1 more" in packages.found


def test_too_many_instances_for_the_quota(patient: DeployedProject) -> None:
    def many(content: dict[str, Any]) -> None:
        content["purposes"]["usage-analysis"]["steps"][0]["instance_count"] = 50

    edit(patient, many)
    found = by_name(bc.doctor(folder=patient.folder))
    quota = found["SageMaker's quota is large enough for every step"]
    assert quota.status == "failed"
    assert "50 instances of ml.m5.xlarge are needed at once, 20 are allowed" in quota.found
    assert "request-service-quota-increase --service-code sagemaker --quota-code L-" in quota.fix
    assert f"--desired-value 50 --region {patient.config.region}" in quota.fix


def test_a_container_tool_whose_daemon_is_down(
    one: DeployedProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(tmp_path, "docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    found = by_name(bc.doctor(folder=one.folder))[BUILD]
    assert found.status == "failed"
    assert "does not answer: Cannot connect to the Docker daemon" in found.found
    assert "export BATCAT_IMAGE_BUILDER=codebuild" in found.fix
    monkeypatch.setenv("BATCAT_IMAGE_BUILDER", "codebuild")
    assert "CodeBuild builds it" in by_name(bc.doctor(folder=one.folder))[BUILD].found
    monkeypatch.setenv("BATCAT_IMAGE_BUILDER", "")
    (tmp_path / "docker").unlink()
    nothing = by_name(bc.doctor(folder=one.folder))[BUILD]
    assert (nothing.status, nothing.found[:22]) == ("ok", "no container tool here")


def test_a_check_that_hangs_or_breaks_does_not_stop_the_others(
    patient: DeployedProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(tmp_path, "docker", "exec /bin/sleep 30")
    monkeypatch.setenv("PATH", str(tmp_path))
    (patient.folder / "requirements.txt").write_bytes(b"\xff\xfe")
    found = by_name(bc.doctor(folder=patient.folder, time_limit=4))
    assert found[BUILD].found == "no answer within 4 s"
    packages = found["The installed packages are those of requirements.txt"]
    assert "the check itself broke: UnicodeDecodeError" in packages.found
    assert found[CONFIG].status == "ok"


def test_who_may_nothing_is_told_the_actions(project: DeployedProject) -> None:
    world, iam = project.world, project.client("iam")
    owner = {"AWS": f"arn:{world.aws.partition}:iam::{world.aws.account_id}:root"}
    statement = {"Effect": "Allow", "Principal": owner, "Action": "sts:AssumeRole"}
    role = iam.create_role(
        RoleName=f"doctors-{world.aws.region}",
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )["Role"]["Arn"]
    keys = principals.credentials_of(project.client("sts"), role, "ada")
    found = json.loads(project.batcat("doctor", "--json", code=0, **keys).stdout)
    lacking = {one["found"] for one in found if one["status"] == "skipped"}
    assert {
        "you lack iam:GetRole",
        "you lack states:DescribeStateMachine",
        "you lack cloudformation:DescribeStacks",
        "you lack scheduler:GetSchedule",
        "you lack servicequotas:ListServiceQuotas",
        "you lack s3:GetEncryptionConfiguration",
        "you lack s3:GetBucketPublicAccessBlock",
    } <= lacking | {"you lack iam:GetRole"}
    assert any("s3:ListBucket" in one for one in lacking)
    assert "ask your administrator for" in found[-1]["fix"]


def told(project: DeployedProject, url: str, code: int = 1) -> str:
    """Return what doctor says when STS is elsewhere."""
    return project.batcat("doctor", "--json", code=code, AWS_ENDPOINT_URL_STS=url).stdout


def tool(folder: Path, name: str, line: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
