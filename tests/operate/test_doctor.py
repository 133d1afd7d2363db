"""`batcat doctor`: a pipeline that is well, and all that can be wrong here and in the account."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import batcat_runtime as bc
from batcat_runtime.operate.doctor import CHECKS, Finding
from batcat_runtime.rehearsal.aws.iam import principals
from tests.faultproxy import Fault
from tests.operate.buckets import bucket_elsewhere, configure, elsewhere, foreign_bucket
from tests.operate.world import IN_EACH_REGION, PURPOSE, DeployedProject, World, pointed

NO_KEYS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": ""}


@pytest.fixture
def copy(project: DeployedProject, tmp_path: Path) -> DeployedProject:
    """Return a copy of the deployed project's folder, to be broken; its AWS is left as it is."""
    shutil.copytree(project.folder, tmp_path / "project")
    return DeployedProject(project.world, tmp_path / "project", project.config)


def examined(project: DeployedProject, check: str = "") -> list[Finding]:
    """Return what is not well, of one check or of all."""
    found = bc.doctor(folder=project.folder)
    return [one for one in found if one.status != "ok" and check in ("", one.check)]


def the(project: DeployedProject, check: str) -> Finding:
    (found,) = examined(project, check)
    return found


def change(project: DeployedProject, edit: Callable[[dict[str, Any]], Any]) -> None:
    path = project.folder / "script" / "config.json"
    content = json.loads(path.read_text("utf-8"))
    edit(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def tool(folder: Path, name: str, line: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


# ---- as a command


@IN_EACH_REGION
def test_all_is_well(project: DeployedProject) -> None:
    done = project.batcat("doctor")
    assert done.stdout.splitlines()[-1] == f"{len(CHECKS) + 2} ok"
    assert f"bucket: s3://{project.config.result_s3_bucket} in" in done.stdout
    assert "quota: 1 of 20 ml.m5.xlarge" in done.stdout
    found = project.json("doctor")
    assert {one["status"] for one in found} == {"ok"}
    assert {one["check"] for one in found} == {"container tool", "versions", *CHECKS}


def test_in_a_terminal_it_has_colours_and_tells_each_check(project: DeployedProject) -> None:
    terminal = project.terminal("doctor")
    assert terminal.wait() == 0
    assert "\x1b[32mok" in terminal.shown


def test_without_credentials_the_rest_is_still_looked_at(project: DeployedProject) -> None:
    done = project.batcat("doctor", code=1, **NO_KEYS)
    assert "failed   credentials: There are no valid AWS credentials" in done.stdout
    assert "Fix: Run `aws configure` or `aws sso login`" in done.stdout
    assert "skipped  bucket: needs credentials that AWS accepts" in done.stdout
    assert "ok       image: " in done.stdout


def test_outside_of_a_project_there_is_nothing_to_look_at(
    project: DeployedProject, tmp_path: Path
) -> None:
    done = project.batcat("doctor", "-C", str(tmp_path), code=2)
    assert "is not inside a BatCat project" in done.stderr
    other = project.batcat("doctor", "--purpose", "forecast", code=2)
    assert "no purpose 'forecast'" in other.stderr


def test_what_it_advises_breaks_no_rehearsal(copy: DeployedProject) -> None:
    """All that it tells people to export, at once; a profile that is not there besides."""
    advised = {
        "BATCAT_IMAGE_BUILDER": "codebuild",
        "AWS_PROFILE": "another",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }
    own = {name: value for name, value in os.environ.items() if name[:4] != "AWS_"}
    done = subprocess.run(
        [sys.executable, "-m", "batcat_runtime", "rehearse"],
        cwd=copy.folder,
        env={**own, **advised},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed its rehearsal" in done.stdout


# ---- credentials, region, network


def of_credentials(project: DeployedProject, code: str, words: str = "said the wire") -> Finding:
    """Return what is told when AWS refuses the credentials like this."""
    refused = Fault("sts", "GetCallerIdentity", code, words, status=403, times=0)
    with project.world.wire.having(refused):
        return the(project, "credentials")


def test_expired_credentials_say_how_to_renew_them(project: DeployedProject) -> None:
    found = of_credentials(project, "ExpiredToken")
    assert found.status == "failed"
    assert "ExpiredToken" in found.found
    assert "`aws sso login`" in found.fix


@IN_EACH_REGION
def test_credentials_of_another_partition_are_told_apart(project: DeployedProject) -> None:
    found = of_credentials(project, "InvalidClientTokenId")
    assert f"{project.config.partition} has accounts of its own: see AWS_PROFILE" in found.fix


def test_a_wrong_clock_is_told(project: DeployedProject) -> None:
    words = "Signature expired: 20220107T180000Z is now earlier than 20220107T180400Z"
    found = of_credentials(project, "SignatureDoesNotMatch", words)
    assert "its clock is wrong" in found.found
    assert "set-ntp" in found.fix


def test_the_root_user_is_warned(project: DeployedProject) -> None:
    def as_root(body: bytes) -> bytes:
        return re.sub(rb"(:iam|:sts)::(\d+):[^<]+", rb":iam::\2:root", body)

    with project.world.wire.having(Fault("sts", "GetCallerIdentity", times=0, edit=as_root)):
        found = the(project, "credentials")
    assert found.status == "warning"
    assert "is the root user" in found.found


def test_a_profile_that_does_not_exist_is_named(
    project: DeployedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "ada")
    found = the(project, "credentials")
    assert "The config profile (ada) could not be found" in found.found
    assert "aws configure list-profiles" in found.fix


def test_without_a_network_what_is_here_is_looked_at(
    project: DeployedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert "AWS could not be reached" in the(project, "credentials").found
    assert examined(project, "image") == []


def test_another_region_in_the_environment_is_a_warning(
    project: DeployedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    found = the(project, "region")
    assert "AWS_REGION says eu-west-1" in found.found
    assert found.fix == f"export AWS_REGION={project.config.region}"


# ---- the project's files, and this machine


def test_a_broken_configuration_is_a_finding(copy: DeployedProject) -> None:
    change(copy, lambda content: content.update(regoin="x"))
    assert "regoin: unknown key; did you mean 'region'?" in the(copy, "config").found


def test_an_import_that_the_lock_lacks_is_named_with_its_line(copy: DeployedProject) -> None:
    script = copy.folder / "script" / f"{PURPOSE}.py"
    script.write_text(f"import scipy.signal\n{script.read_text()}")
    found = the(copy, "image")
    assert found.status == "failed"
    assert f"scipy: script/{PURPOSE}.py, line 1" in found.found
    assert "Add scipy to deploy/docker/requirements.txt" in found.fix


def test_files_that_do_not_fit_the_configuration(copy: DeployedProject) -> None:
    requirements = copy.folder / "deploy" / "docker" / "requirements.txt"
    requirements.write_text(requirements.read_text() + "\nscipy>=1.11\n")
    assert "was made from other requirements" in the(copy, "image").found
    (copy.folder / "script" / f"{PURPOSE}.py").unlink()
    found = the(copy, "image")
    assert f"The script {PURPOSE}.py is missing" in found.found
    (copy.folder / "requirements.txt").write_text("pandas<1\nno-such-package-of-ours\n")
    packages = the(copy, "versions")
    assert packages.status == "warning"
    assert "requirements.txt has <1; no-such-package-of-ours is not installed" in packages.found
    assert packages.fix == "python -m pip install -r requirements.txt"
    (copy.folder / "requirements.txt").write_text("batcat-runtime[deploy]==9.9\n")
    assert "was made with batcat-runtime 9.9" in the(copy, "versions").found


def test_a_check_that_breaks_does_not_stop_the_others(copy: DeployedProject) -> None:
    (copy.folder / "requirements.txt").write_bytes(b"\xff\xfe")
    assert "the check itself broke: UnicodeDecodeError" in the(copy, "versions").found
    assert {one.check for one in bc.doctor(folder=copy.folder)} >= set(CHECKS)


def test_a_container_tool_whose_daemon_is_down(
    project: DeployedProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(tmp_path, "docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    found = the(project, "container tool")
    assert found.status == "failed"
    assert "does not answer: Cannot connect to the Docker daemon" in found.found
    assert "export BATCAT_IMAGE_BUILDER=codebuild" in found.fix
    monkeypatch.setenv("BATCAT_IMAGE_BUILDER", "kaniko")
    assert the(project, "container tool").fix.startswith("unset BATCAT_IMAGE_BUILDER")
    monkeypatch.setenv("BATCAT_IMAGE_BUILDER", "codebuild")
    assert examined(project, "container tool") == []
    monkeypatch.delenv("BATCAT_IMAGE_BUILDER")
    (tmp_path / "docker").unlink()
    assert examined(project, "container tool") == []


# ---- the account


def test_a_bucket_that_is_not_ours_here(copy: DeployedProject) -> None:
    configure(copy, result_s3_bucket=(bucket := bucket_elsewhere(copy.world)))
    there = elsewhere(copy.config.region)
    assert f"The bucket {bucket} lies in {there}, but" in the(copy, "bucket").found
    configure(copy, result_s3_bucket=(bucket := foreign_bucket(copy.world)))
    assert f"The bucket {bucket} is not of your account" in the(copy, "bucket").found
    configure(copy, result_s3_bucket="never-made-by-anybody")
    found = the(copy, "bucket")
    assert "never-made-by-anybody does not exist in" in found.found
    assert "aws s3 mb s3://never-made-by-anybody --region" in found.fix


def test_too_many_instances_for_the_quota(copy: DeployedProject) -> None:
    change(
        copy,
        lambda content: content["purposes"][PURPOSE]["steps"][0].update(instance_count=50),
    )
    found = the(copy, "quota")
    assert "50 ml.m5.xlarge are needed at once, 20 are allowed" in found.found
    assert "request-service-quota-increase --service-code sagemaker --quota-code L-" in found.fix
    assert f"--desired-value 50 --region {copy.config.region}" in found.fix


def test_an_alert_that_is_not_confirmed_and_what_was_broken_since_the_deployment(
    chinese: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = pointed(chinese.project(deploy=False), monkeypatch)
    configure(project, alert_email="nights@example.com")
    assert the(project, "alert").fix == "batcat deploy"
    project.deploy()
    assert examined(project, "alert") == []
    pending = partial(re.sub, rb"(<SubscriptionArn>)[^<]*", rb"\1PendingConfirmation")
    with chinese.wire.having(Fault("sns", "ListSubscriptionsByTopic", edit=pending)):
        found = the(project, "alert")
    assert found.status == "warning"
    assert "nights@example.com has not confirmed the alerts" in found.found
    iam, ecr, names = project.client("iam"), project.client("ecr"), project.names
    described = project.client("cloudformation").describe_stack_resources(
        StackName=names.stack("roles")
    )["StackResources"]
    made = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in described}
    nobody = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}}
    document = {"Version": "2012-10-17", "Statement": [{**nobody, "Action": "sts:AssumeRole"}]}
    iam.update_assume_role_policy(
        RoleName=made["WorkflowRole"], PolicyDocument=json.dumps(document)
    )
    iam.delete_role_policy(RoleName=made["JobRole"], PolicyName="job")
    iam.delete_role(RoleName=made["JobRole"])
    images = ecr.list_images(repositoryName=names.repository)["imageIds"]
    ecr.batch_delete_image(repositoryName=names.repository, imageIds=images)
    workflow, job = examined(project, "roles")
    assert "does not trust states.amazonaws.com, which has to take it on" in workflow.found
    assert "the trust policy that deploy/roles.yaml gives it" in workflow.fix
    assert job.found.endswith("does not exist")
    assert "aws cloudformation delete-stack --stack-name" in job.fix
    image = the(project, "deployed")
    assert "which ECR has no more" in image.found
    assert image.fix == "batcat deploy"


def test_a_given_role_that_does_not_exist(copy: DeployedProject) -> None:
    arn = copy.names.arn("iam", "role/nobody", copy.world.aws.account_id, region="")
    configure(copy, workflow_execution_role=arn)
    found = examined(copy, "roles")[0]
    assert found.found == f"the role {arn} does not exist"
    assert found.fix.startswith("batcat roles")


def test_purposes_that_are_not_deployed_or_not_configured(copy: DeployedProject) -> None:
    def renamed(content: dict[str, Any]) -> None:
        content["purposes"] = {"forecast": content["purposes"][PURPOSE]}

    change(copy, renamed)
    removed, missing = examined(copy, "deployed")
    assert removed.status == "warning"
    assert removed.found.startswith(f"{PURPOSE} is still deployed and runs")
    assert removed.fix == f"batcat destroy --purpose {PURPOSE}"
    assert missing.found == "forecast: no roles, workflow, trigger"
    assert missing.fix == "batcat deploy"


def test_who_may_nothing_is_told_the_actions(project: DeployedProject) -> None:
    world, iam = project.world, project.client("iam")
    owner = {"AWS": f"arn:{world.aws.partition}:iam::{world.aws.account_id}:root"}
    statement = {"Effect": "Allow", "Principal": owner, "Action": "sts:AssumeRole"}
    role = iam.create_role(
        RoleName=f"doctors-{world.aws.region}",
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )["Role"]["Arn"]
    keys = principals.credentials_of(project.client("sts"), role, "ada")
    found = json.loads(project.batcat("doctor", "--json", **keys).stdout)
    lacking = [one for one in found if one["status"] == "skipped"]
    assert {one["found"] for one in lacking} >= {
        "you lack cloudformation:DescribeStacks",
        "you lack cloudformation:ListStacks",
        "you lack servicequotas:ListServiceQuotas",
    }
    assert any("s3:ListBucket" in one["found"] for one in lacking)
    assert all("ask your administrator for" in one["fix"] for one in lacking)
