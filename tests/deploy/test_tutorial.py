"""The tutorial's deployment section, word for word, from an empty directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import UserError
from batcat_runtime.rehearsal import EmbeddedAWS, container_tool

REGION = "cn-northwest-1"
# As it stands in the tutorial, with its `s3-bucket` mended to `result_s3_bucket`, and with real
# names for [account-id] and [role-name].
TUTORIAL = """
project = '2022-RnD-battery'
purpose = 'usage-analysis'

result_s3_bucket = '2022-RnD-battery'

workflow_execution_role = 'arn:aws-cn:iam::123456789012:role/batcat'

# setup Docker environment
bc.template_docker(project=project,
                   uri_suffix='amazonaws.com.cn',
                   pip_image=True,
                   python_version='3.7-slim-buster')

# setup Step Functions workflow
bc.template_stepfunctions(project=project,
                          purpose=purpose,
                          result_s3_bucket=result_s3_bucket,
                          workflow_execution_role=workflow_execution_role)

# setup lambda to trigger workflow
bc.template_lambda(project=project,
                   purpose=purpose,
                   result_s3_bucket=result_s3_bucket,
                   partition='aws-cn')
"""
SCRIPT = """
import pandas as pd
import batcat_runtime as bc

with bc.processing_job("usage-analysis") as job:
    job.save(pd.DataFrame({"vin": ["A", "B"], "usage": [1, 2]}), "usage-analysis.csv")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    return empty


@pytest.fixture
def account(tmp_path: Path) -> Iterator[EmbeddedAWS]:
    """Return an account with the tutorial's bucket and its one role for everything."""
    services = ("states", "sagemaker", "lambda", "scheduler")
    principals = {"Service": [f"{service}.amazonaws.com" for service in services]}
    statement = {"Effect": "Allow", "Principal": principals, "Action": "sts:AssumeRole"}
    with EmbeddedAWS(region=REGION) as aws:
        place = {"LocationConstraint": REGION}
        boto3.client("s3").create_bucket(Bucket="2022-rnd-battery", CreateBucketConfiguration=place)
        iam = boto3.client("iam")
        iam.create_role(
            RoleName="batcat",
            AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statement}),
        )
        everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
        iam.put_role_policy(
            RoleName="batcat",
            PolicyName="all",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": everything}),
        )
        yield aws


def deploy(aws: EmbeddedAWS, folder: Path, tools: Path) -> str:
    container_tool.install(tools)
    environment = {
        **os.environ,
        **aws.environment(),
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHON": sys.executable,
    }
    done = subprocess.run(
        ["bash", "deploy/deploy.sh"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_tutorial_s_deployment_runs_word_for_word(
    account: EmbeddedAWS, folder: Path, tmp_path: Path
) -> None:
    exec(TUTORIAL, {"bc": bc})
    (folder / "usage-analysis.py").write_text(SCRIPT)
    first = deploy(account, folder, tmp_path / "tools")
    assert "created" in first
    states = boto3.client("stepfunctions")
    listed = states.list_state_machines()["stateMachines"]
    (machine,) = [one for one in listed if not one["name"].endswith("--backfill")]
    execution = states.start_execution(stateMachineArn=machine["stateMachineArn"], input="{}")
    described = states.describe_execution(executionArn=execution["executionArn"])
    end = time.monotonic() + 300  # a machine may have much else to do
    while described["status"] == "RUNNING" and time.monotonic() < end:
        time.sleep(0.2)
        described = states.describe_execution(executionArn=execution["executionArn"])
    assert described["status"] == "SUCCEEDED", described
    objects = boto3.client("s3").list_objects_v2(Bucket="2022-rnd-battery")["Contents"]
    (key,) = [one["Key"] for one in objects if one["Key"].endswith("usage-analysis.csv")]
    assert list(bc.read_csv_from_bucket("2022-rnd-battery", key)["vin"]) == ["A", "B"]
    second = deploy(account, folder, tmp_path / "tools")
    assert second == "Nothing has changed: everything was deployed as it is.\n"


def test_the_files_are_those_of_a_generated_project(folder: Path, tmp_path: Path) -> None:
    from batcat_runtime.project import new_project

    bc.template_docker("battery")
    bc.template_stepfunctions("battery", "usage-analysis", "project-battery-result", region=REGION)
    written = bc.template_lambda("battery", "usage-analysis", "project-battery-result")
    project = new_project({}, no_input=True, output_dir=tmp_path)
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert {path.relative_to(folder) for path in written} <= set(names)
    assert len(names) == 17
    for name in names:
        if name.name != "config.json":
            assert (folder / name).read_bytes() == (project / name).read_bytes(), name


def test_a_second_call_changes_nothing_and_an_edited_file_is_kept(folder: Path) -> None:
    bc.template_docker("battery")
    before = (folder / "deploy/docker/Dockerfile").stat().st_mtime_ns
    bc.template_docker("battery")
    assert (folder / "deploy/docker/Dockerfile").stat().st_mtime_ns == before
    (folder / "deploy/setup_docker.sh").unlink()
    (folder / "deploy/docker/Dockerfile").write_text("FROM mine\n")
    with pytest.raises(UserError, match="deploy/docker/Dockerfile: there already"):
        bc.template_docker("battery")
    assert not (folder / "deploy/setup_docker.sh").exists()
    assert (folder / "deploy/docker/Dockerfile").read_text() == "FROM mine\n"


def test_a_second_purpose_joins_the_first(folder: Path) -> None:
    for purpose in ("usage-analysis", "forecast"):
        bc.template_stepfunctions("battery", purpose, "battery-result", region="us-east-1")
    assert list(bc.get_config(folder).purposes) == ["usage-analysis", "forecast"]
    with pytest.raises(UserError, match="result_s3_bucket is 'other-result'"):
        bc.template_stepfunctions("battery", "c", "other-result", region="us-east-1")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: bc.template_docker("battery", uri_suffix="example.com"), "no domain of an ECR"),
        (
            lambda: bc.template_docker("battery", python_version="new"),
            "no image for Python 'new'",
        ),
        (
            lambda: bc.template_docker("battery", python_version="3.99"),
            "no image for Python '3.99'",
        ),
        (lambda: bc.template_docker("电池"), "No AWS name can be made"),
        (lambda: bc.template_lambda("battery", "a", "battery-result"), "template_stepfunctions"),
        (
            lambda: bc.template_stepfunctions("battery", "a", "x" * 70, region="us-east-1"),
            "no S3 bucket name",
        ),
        (
            lambda: bc.template_stepfunctions("battery", "a", "battery-result", "role"),
            "is no role ARN|No AWS region",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    folder: Path, call: object, words: str
) -> None:
    assert callable(call)
    with pytest.raises(UserError, match=words):
        call()
    assert list(folder.iterdir()) == []


def test_a_trigger_that_contradicts_the_workflow_is_refused(folder: Path) -> None:
    bc.template_stepfunctions("battery", "a", "battery-result", region="us-east-1")
    with pytest.raises(UserError, match="partition is 'aws-cn'"):
        bc.template_lambda("battery", "a", "battery-result", partition="aws-cn")
    with pytest.raises(UserError, match="result_s3_bucket is 'other-result'"):
        bc.template_lambda("battery", "a", "other-result")
    with pytest.raises(UserError, match="project is 'other', but"):
        bc.template_docker("other")
