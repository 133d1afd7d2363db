"""`batcat deploy`, `plan` and `roles`, and the same files by the AWS CLI."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

import batcat_runtime as bc
from batcat_runtime.config import parse_config
from batcat_runtime.deploy.limits import check_limits
from batcat_runtime.deploy.parameters import read_parameters
from batcat_runtime.deploy.workflow import authored, roles_of
from batcat_runtime.errors import ConfigError, StackError
from batcat_runtime.names import Names
from batcat_runtime.project import new_project
from batcat_runtime.rehearsal import EmbeddedAWS
from tests.conftest import batcat

REGION = "cn-northwest-1"


@pytest.fixture
def account(aws: EmbeddedAWS, monkeypatch: pytest.MonkeyPatch) -> EmbeddedAWS:
    """Point this process to the account."""
    path = f"{aws.home / 'bin'}{os.pathsep}{os.environ['PATH']}"
    for name, value in {**aws.environment(), "PATH": path, "PYTHON": sys.executable}.items():
        monkeypatch.setenv(name, value)
    return aws


def bucket_of(project: Path) -> str:
    """Make a project's bucket; return its name."""
    name = bc.get_config(project).result_s3_bucket
    place = {"LocationConstraint": REGION}
    boto3.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration=place)
    return name


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project that is called like no other."""
    return new_project({"project_name": f"cells {uuid.uuid4().hex[:8]}"}, output_dir=tmp_path)


def edit(project: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    file = project / "script" / "config.json"
    content = json.loads(file.read_text("utf-8"))
    change(content)
    file.write_text(json.dumps(content), "utf-8")


def edit_steps(project: Path, change: Callable[[dict[str, Any]], list[dict[str, Any]]]) -> None:
    """Replace the one step of the project's purpose."""

    def changed(content: dict[str, Any]) -> None:
        purpose = content["purposes"]["usage-analysis"]
        purpose["steps"] = change(purpose["steps"][0])

    edit(project, changed)


def test_a_projects_deployments(
    project: Path, account: EmbeddedAWS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = bucket_of(project)
    script = ["bash", str(project / "deploy" / "deploy.sh")]
    before = boto3.client("cloudformation").describe_stacks()["Stacks"]
    first = bc.plan(project)
    assert {one.outcome for one in first.stacks} == {"create"}
    assert first.image.builder
    assert boto3.client("cloudformation").describe_stacks()["Stacks"] == before
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("created") == 4
    again = subprocess.run(script, capture_output=True, text=True, check=True)
    assert again.stdout == "Nothing has changed: everything was deployed as it is.\n"
    assert "image" in again.stderr
    assert str(bc.plan(project)).startswith("Nothing would change")

    edit_steps(project, lambda step: [{**step, "instance_type": "ml.m5.2xlarge"}])
    plan = bc.plan(project)
    assert [row.resource for one in plan.stacks for row in one.changes] == ["StateMachine"]
    (diff,) = plan.diffs.values()
    assert '-            "InstanceType": "ml.m5.xlarge"' in diff
    assert '+            "InstanceType": "ml.m5.2xlarge"' in diff

    # Fourteen steps with two long values are more than 51,200 bytes; so may a template be.
    values = {"FIRST": "x" * 250, "SECOND": "y" * 250}
    edit_steps(
        project,
        lambda step: [{**step, "name": f"step-{n}", "environment": values} for n in range(14)],
    )
    with (project / "deploy" / "roles.yaml").open("a") as roles:
        roles.write("# a thought\n" * 5000)
    name = bc.get_config(project).project
    assert str(bc.deploy(project)).endswith(
        f"pushed, batcat-{name} unchanged, batcat-{name}--usage-analysis--roles unchanged, "
        f"batcat-{name}--usage-analysis--workflow updated, "
        f"batcat-{name}--usage-analysis--trigger unchanged."
    )
    assert (project / "deploy" / "build" / "usage-analysis.asl.json").stat().st_size > 51_200
    tags = boto3.client("cloudformation").describe_stacks(
        StackName=f"batcat-{name}--usage-analysis--workflow"
    )["Stacks"][0]["Tags"]
    assert {one["Key"]: one["Value"] for one in tags} == {
        "batcat:project": name,
        "batcat:bucket": bucket,
        "batcat:purpose": "usage-analysis",
    }

    # Somebody with a project of the same name and another bucket does not meet it.
    answers = {"project_name": name, "result_s3_bucket": f"other-{name}"}
    other = new_project(answers, no_input=True, output_dir=tmp_path / "other")
    bucket_of(other)
    with pytest.raises(StackError, match=f"belongs to the project {name} with the bucket {bucket}"):
        bc.deploy(other)

    # A script of project A may deploy project B: with B's workflow, image and function.
    (other / "deploy" / "lambda" / "lambda_function.py").write_text("MINE = 1\n")
    monkeypatch.chdir(other)
    config = bc.get_config(project)
    assert bc.setup_trigger(config).outcome == "unchanged"
    assert bc.setup_workflow(config).outcome == "unchanged"


def test_the_aws_cli_deploys_the_same_files(project: Path, account: EmbeddedAWS) -> None:
    """An administrator deploys roles.yaml alone, somebody without IAM rights the rest."""
    bucket = bucket_of(project)
    printed = batcat("roles", "-C", project)
    (command,) = [line for line in printed.stdout.splitlines() if line.startswith("aws ")]
    aws_cli(project, command)
    config = bc.get_config(project)
    arns = roles_of(config, "usage-analysis")
    given = {"workflow_execution_role": "WorkflowRoleArn", "job_role": "JobRoleArn"}
    given["trigger_role"] = "TriggerRoleArn"
    edit(project, lambda content: content.update({key: arns[n] for key, n in given.items()}))
    bc.deploy(project)
    build, stack = "deploy/build/usage-analysis", Names.of(config).stack
    tags = command.rpartition("--tags")[2]
    aws_cli(
        project,
        f"aws cloudformation package --template-file deploy/trigger.yaml --s3-bucket {bucket} "
        f"--s3-prefix packaged --output-template-file {build}.trigger.yaml",
    )
    for part, template in (
        ("workflow", "deploy/workflow.yaml"),
        ("trigger", f"{build}.trigger.yaml"),
    ):
        aws_cli(
            project,
            f"aws cloudformation deploy --template-file {template} --stack-name {stack(part)} "
            f"--parameter-overrides file://{build}.parameters.json --tags {tags} "
            "--no-fail-on-empty-changeset",
        )
    key = read_parameters(config, "usage-analysis")["DefinitionKey"]
    body = boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"]
    assert body.read() == (project / f"{build}.asl.json").read_bytes()
    outcomes = {one.stack: one.outcome for one in bc.deploy(project).stacks}
    assert outcomes[stack("workflow")] == "unchanged"
    assert stack("roles") not in outcomes
    function = boto3.client("lambda").invoke(
        FunctionName=Names.of(config).function,
        Payload=b'{"scheduled_time": "2022-01-07T18:00:00Z"}',
    )
    assert "FunctionError" not in function


def aws_cli(project: Path, command: str) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_deployment_that_is_killed_leaves_no_container_tool_running(
    project: Path, account: EmbeddedAWS, tmp_path: Path
) -> None:
    bucket_of(project)
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\necho building\nexec sleep 60\n")
    docker.chmod(0o755)
    with subprocess.Popen(
        [sys.executable, "-m", "batcat_runtime", "deploy", "-C", str(project)],
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert any("| building" in line for line in running.stdout)
        child = int((tmp_path / "pid").read_text())
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=20) == 130
    end = time.monotonic() + 5
    while Path(f"/proc/{child}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not Path(f"/proc/{child}").exists()


def test_what_aws_would_refuse_later_is_refused_at_once(project: Path) -> None:
    def break_three(content: dict[str, Any]) -> None:
        purpose = content["purposes"]["usage-analysis"]
        purpose["schedule"]["expression"] = "cron(99 2 * * ? *)"
        purpose["steps"][0]["instance_type"] = "ml.m5.xxlarge"
        purpose["steps"][0]["inputs"] = {f"in{number}": "s3://b-in/x/" for number in range(11)}

    edit(project, break_three)
    for command in ("deploy", "plan", "rehearse"):
        done = batcat(command, "-C", project)
        assert done.returncode == 2
        for words in (
            "purposes.usage-analysis.schedule.expression: 'cron(99 2 * * ? *)' is no schedule",
            "purposes.usage-analysis.steps.usage-analysis.inputs: SageMaker takes 10 inputs",
            "SageMaker has no 'ml.m5.xxlarge' for processing jobs; 'ml.m5.xlarge' is one",
        ):
            assert words in done.stderr, done.stderr
        assert len(done.stderr) < 1200


def test_tags_and_regions_are_counted(content: dict[str, Any]) -> None:
    content["tags"] = {f"tag-{number}": "x" for number in range(48)}
    content["region"] = "eu-middle-1"
    with pytest.raises(ConfigError) as caught:
        check_limits(parse_config(content))
    assert "tags: AWS takes 50, and three are BatCat's own; remove 1 or more" in str(caught.value)
    assert "region: AWS has no region 'eu-middle-1'" in str(caught.value)


def test_a_workflow_without_author_or_with_a_mistake_is_told(project: Path) -> None:
    script = project / "deploy" / "setup_stepfunctions.py"
    config = bc.get_config(project)
    for text, words in (
        ("x = (", "is no Python: line 1"),
        ("x = 1", "has no function author"),
    ):
        script.write_text(text)
        with pytest.raises(Exception, match=words):
            authored(config, "usage-analysis")


def test_what_cannot_be_locked_is_told_in_one_message(project: Path) -> None:
    (project / "deploy" / "docker" / "requirements.txt").write_text("pandas<1\n")
    done = batcat("lock", cwd=project)
    assert done.returncode == 2
    assert "requirements.txt cannot be locked" in done.stderr
