"""`batcat doctor` on what is wrong in the account: bucket, roles, image, schedule, stacks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import batcat_runtime as bc
from batcat_runtime.operate.doctor import Check
from batcat_runtime.rehearsal.aws.iam import principals
from tests.operate.buckets import bucket_elsewhere, configure, elsewhere, foreign_bucket
from tests.operate.world import REGIONS, DeployedProject, World

BUCKET = "The result bucket exists, is this account's and lies in the region"
ROLES = "Every role exists and trusts its service"
IMAGE = "The image of every deployed workflow is still in ECR"
SCHEDULE = "The schedule is the one of script/config.json"
STACKS = "Every stack is deployed, and none is stuck"
PASSING = "You may hand the roles on to AWS's services (iam:PassRole), as a deployment does"


@pytest.fixture
def one(_deployed: Callable[[str], DeployedProject]) -> DeployedProject:
    """Return the shared project in China, for what is the same in every region."""
    return _deployed(REGIONS[0])


@pytest.fixture
def in_each_region(project: DeployedProject, tmp_path: Path) -> DeployedProject:
    return copied(project, tmp_path)


@pytest.fixture
def patient(one: DeployedProject, tmp_path: Path) -> DeployedProject:
    return copied(one, tmp_path)


def copied(project: DeployedProject, place: Path) -> DeployedProject:
    """Return a copy of a project's folder, to be broken; its AWS is left as it is."""
    shutil.copytree(project.folder, place / "project")
    return DeployedProject(project.world, place / "project", project.config)


@pytest.fixture(scope="module")
def broken(worlds: Callable[[str], World]) -> DeployedProject:
    """Return a deployed project of which somebody has broken much since."""
    project = worlds(REGIONS[0]).project()
    iam, names = project.client("iam"), project.names
    nobody = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}}
    document = {"Version": "2012-10-17", "Statement": [{**nobody, "Action": "sts:AssumeRole"}]}
    roles = roles_of(project)
    iam.update_assume_role_policy(
        RoleName=roles["WorkflowRole"], PolicyDocument=json.dumps(document)
    )
    iam.delete_role_policy(RoleName=roles["JobRole"], PolicyName="job")
    iam.delete_role(RoleName=roles["JobRole"])
    ecr = project.client("ecr")
    images = ecr.list_images(repositoryName=names.repository)["imageIds"]
    ecr.batch_delete_image(repositoryName=names.repository, imageIds=images)
    return project


def roles_of(project: DeployedProject) -> dict[str, str]:
    """Return the names of a project's roles by what they are called in roles.yaml."""
    described = project.client("cloudformation").describe_stack_resources(
        StackName=project.names.stack("roles")
    )["StackResources"]
    return {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in described}


@pytest.fixture
def found(broken: DeployedProject, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Check]]:
    for name, value in broken.world.aws.environment().items():
        monkeypatch.setenv(name, value)
    checks: dict[str, list[Check]] = {}
    for one in bc.doctor(folder=broken.folder):
        checks.setdefault(one.name, []).append(one)
    return checks


def only(project: DeployedProject, name: str, code: int = 1, **environment: str) -> Any:
    """Return what `batcat doctor` says of one thing."""
    told = project.batcat("doctor", "--json", code=code, **environment).stdout
    return next(one for one in json.loads(told) if one["name"] == name)


def test_a_bucket_in_another_region(in_each_region: DeployedProject) -> None:
    configure(in_each_region, result_s3_bucket=(bucket := bucket_elsewhere(in_each_region.world)))
    told, there = only(in_each_region, BUCKET), elsewhere(in_each_region.config.region)
    assert told["status"] == "failed"
    assert f"The bucket {bucket} lies in {there}, but the project is in" in told["found"]
    assert f"aws s3 mb s3://NAME --region {in_each_region.config.region}" in told["fix"]


def test_a_bucket_of_someone_else(in_each_region: DeployedProject) -> None:
    configure(in_each_region, result_s3_bucket=(bucket := foreign_bucket(in_each_region.world)))
    told = only(in_each_region, BUCKET)
    assert told["status"] == "failed"
    assert f"The bucket {bucket} is not of your account" in told["found"]
    assert "aws s3 mb" in told["fix"]


def test_a_bucket_without_encryption_and_open_to_the_public(chinese: World) -> None:
    # Such buckets are older than 2023, when S3 began to close them by itself.
    project, s3 = chinese.project(deploy=False), chinese.client("s3")
    bucket = project.config.result_s3_bucket
    s3.delete_bucket_encryption(Bucket=bucket)
    s3.delete_public_access_block(Bucket=bucket)
    told = json.loads(project.batcat("doctor", "--json").stdout)
    fixes = [one["fix"] for one in told if one["status"] == "warning"]
    assert any(
        one.startswith(f"aws s3api put-bucket-encryption --bucket {bucket}") for one in fixes
    )
    assert any(one.startswith("aws s3api put-public-access-block") for one in fixes)
    assert "batcat deploy" in fixes, "nothing is deployed yet"


def test_a_role_without_trust_and_one_that_is_gone(found: dict[str, list[Check]]) -> None:
    workflow, job = found[ROLES]
    assert workflow.status == "failed"
    assert "does not trust states.amazonaws.com, which has to take it on" in workflow.found
    assert "its trust policy changed to that in deploy/roles.yaml" in workflow.fix
    assert job.status == "failed"
    assert "has been deleted since the deployment" in job.found
    assert "aws cloudformation delete-stack --stack-name" in job.fix


def test_an_image_that_is_gone(found: dict[str, list[Check]]) -> None:
    (image,) = found[IMAGE]
    assert (image.status, image.fix) == ("failed", "batcat deploy")
    assert "which ECR has no more" in image.found


def test_a_purpose_that_is_not_deployed_beside_one_that_is(patient: DeployedProject) -> None:
    path = patient.folder / "script" / "config.json"
    content = json.loads(path.read_text())
    content["purposes"]["forecast"] = content["purposes"]["usage-analysis"]
    path.write_text(json.dumps(content))
    found = [
        one
        for one in json.loads(patient.batcat("doctor", "--json", code=1).stdout)
        if one["name"] == STACKS
    ]
    assert [one["status"] for one in found] == ["failed", "failed", "failed"]
    assert all(one["found"].endswith("is not deployed") for one in found)
    assert {one["fix"] for one in found} == {"batcat deploy"}
    assert only(patient, ROLES)["status"] == "ok"
    first = patient.batcat("doctor", "--json", "--purpose", "usage-analysis", code=0).stdout
    assert not [
        one for one in json.loads(first) if "forecast" in one["found"] and one["name"] == STACKS
    ]


def test_a_given_role_that_does_not_exist(patient: DeployedProject) -> None:
    arn = patient.names.arn("iam", "role/nobody", patient.world.aws.account_id, region="")
    configure(patient, workflow_execution_role=arn)
    told = only(patient, ROLES)
    assert told["status"] == "failed"
    assert f"script/config.json names {arn}, which does not exist" in told["found"]


def test_a_schedule_that_differs(patient: DeployedProject) -> None:
    path = patient.folder / "script" / "config.json"
    content = json.loads(path.read_text())
    schedule = content["purposes"]["usage-analysis"]["schedule"]
    schedule["enabled"] = True
    path.write_text(json.dumps(content))
    told = only(patient, SCHEDULE, code=0)
    assert told["status"] == "warning"
    assert "is off, script/config.json says on" in told["found"]
    assert told["fix"] == "batcat schedule on --purpose usage-analysis"
    schedule["expression"] = "cron(0 3 * * ? *)"
    path.write_text(json.dumps(content))
    assert only(patient, SCHEDULE, code=0)["fix"] == "batcat deploy"


def test_who_may_not_hand_roles_on_cannot_deploy(one: DeployedProject) -> None:
    iam, name = one.client("iam"), f"grace-{one.config.region}"
    arn = iam.create_user(UserName=name)["User"]["Arn"]
    key = iam.create_access_key(UserName=name)["AccessKey"]
    keys = {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        "AWS_SESSION_TOKEN": "",
    }

    def allow(*statements: dict[str, Any]) -> None:
        document = {"Version": "2012-10-17", "Statement": list(statements)}
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(document))

    stacks = one.names.arn("cloudformation", "stack/*", one.world.aws.account_id)
    asking = {
        "Effect": "Allow",
        "Action": ["iam:SimulatePrincipalPolicy", "cloudformation:DescribeStacks"],
        "Resource": [arn, stacks],
    }
    allow(asking)
    told = only(one, PASSING, code=0, **keys)
    assert told["status"] == "warning"
    assert f"you may not hand {roles_of(one)['WorkflowRole']} to states.amazonaws" in told["found"]
    assert "deploy/iam/deployer.json" in told["fix"]
    text = principals.person_policy(one.opened.config, "deployer", one.world.aws.account_id)
    statements = json.loads(text)["Statement"]
    passing = [each for each in statements if each["Action"] == "iam:PassRole"]
    allow(asking, *passing)
    assert only(one, PASSING, code=0, **keys)["status"] == "ok"
