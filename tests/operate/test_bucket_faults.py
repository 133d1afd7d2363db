"""A deployment looks at its bucket first: nothing is changed when it is the wrong one."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest

from batcat_runtime.account import check_bucket
from batcat_runtime.errors import BucketOwnerError, NoSuchBucketError
from batcat_runtime.operate.executions import list_executions
from batcat_runtime.rehearsal.aws.iam import principals
from tests.operate.buckets import (
    STRANGER,
    bucket_elsewhere,
    configure,
    elsewhere,
    foreign_bucket,
)
from tests.operate.world import PURPOSE, REGIONS, DeployedProject, World


@pytest.fixture(scope="module")
def undeployed(worlds: Callable[[str], World]) -> Callable[[str], DeployedProject]:
    """Return a region's project that is not deployed, made on first use."""
    return functools.cache(lambda region: worlds(region).project(deploy=False))


@pytest.fixture(params=REGIONS)
def plain(
    request: pytest.FixtureRequest, undeployed: Callable[[str], DeployedProject]
) -> DeployedProject:
    return undeployed(request.param)


@pytest.fixture
def chinese_project(undeployed: Callable[[str], DeployedProject]) -> DeployedProject:
    return undeployed(REGIONS[0])


def deployed_workflow(project: DeployedProject) -> subprocess.CompletedProcess[str]:
    """Run the second line of deploy.sh, which makes the workflow."""
    return subprocess.run(
        [sys.executable, "deploy/setup_stepfunctions.py"],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        check=False,
    )


def started(project: DeployedProject) -> list[str]:
    """Return the names of the executions that there are."""
    return [one["name"] for one in list_executions(project.opened, PURPOSE)]


def is_untouched(project: DeployedProject) -> bool:
    listed = project.client("cloudformation").list_stacks()["StackSummaries"]
    return project.names.workflow_stack not in {one["StackName"] for one in listed}


def test_a_bucket_elsewhere_or_of_another_account_is_not_used(plain: DeployedProject) -> None:
    project, world = plain, plain.world
    configure(project, result_s3_bucket=(bucket := bucket_elsewhere(world)))
    done = project.batcat("deploy", code=2)
    there = elsewhere(world.aws.region)
    assert f"The bucket {bucket} lies in {there}, but the project is in" in done.stderr
    assert f'Set "region": "{there}" in script/config.json' in done.stderr
    configure(project, result_s3_bucket=(bucket := foreign_bucket(world)))
    done = project.batcat("deploy", code=2)
    assert f"The bucket {bucket} is not of your account {world.aws.account_id}" in done.stderr
    assert "aws s3 mb s3://NAME --region " + world.aws.region in done.stderr
    assert is_untouched(project)


def test_a_run_looks_at_its_bucket_too(project: DeployedProject, tmp_path: Path) -> None:
    shutil.copytree(project.folder, tmp_path / "project")
    before = started(project)
    copy = DeployedProject(project.world, tmp_path / "project", project.config)
    configure(copy, result_s3_bucket=bucket_elsewhere(project.world))
    assert "but the project is in" in copy.batcat("run", code=2).stderr
    configure(copy, result_s3_bucket=foreign_bucket(project.world))
    assert "is not of your account" in copy.batcat("run", code=2).stderr
    assert started(project) == before


def test_not_even_one_that_lets_us_in(chinese_project: DeployedProject) -> None:
    project, chinese = chinese_project, chinese_project.world
    with pytest.raises(BucketOwnerError, match="its owner lets it in, and reads what it writes"):
        # To the bucket's own account, another one expects it: the same as a bucket that lets us in.
        check_bucket(project.config, s3=chinese.client("s3"), account=STRANGER)


def test_a_bucket_that_is_missing_comes_with_the_command_that_makes_it(
    chinese_project: DeployedProject,
) -> None:
    project, chinese = chinese_project, chinese_project.world
    configure(project, result_s3_bucket="never-made-by-anybody")
    done = deployed_workflow(project)
    assert done.returncode == 1
    assert "The result bucket never-made-by-anybody does not exist in aws-cn." in done.stderr
    assert "aws s3 mb s3://never-made-by-anybody --region cn-northwest-1" in done.stderr
    with pytest.raises(NoSuchBucketError):
        check_bucket(project.opened.config, s3=chinese.client("s3"), account=STRANGER)


def test_who_may_not_list_is_not_told_that_it_is_another_ones(
    chinese_project: DeployedProject,
) -> None:
    project, chinese = chinese_project, chinese_project.world
    iam = chinese.client("iam")
    owner = f"arn:aws-cn:iam::{chinese.aws.account_id}:root"
    statement = {"Effect": "Allow", "Principal": {"AWS": owner}, "Action": "sts:AssumeRole"}
    role = iam.create_role(
        RoleName="may-nothing",
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )["Role"]["Arn"]
    keys = principals.credentials_of(chinese.client("sts"), role, "ada")
    s3 = boto3.Session().client(
        "s3",
        region_name=chinese.aws.region,
        endpoint_url=chinese.aws.endpoint_url,
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=keys["AWS_SESSION_TOKEN"],
    )
    assert not check_bucket(project.config, s3=s3, account=chinese.aws.account_id)
