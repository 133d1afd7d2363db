"""`batcat deploy`, `plan` and `roles`, and the same files by the AWS CLI."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
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
from batcat_runtime.rehearsal import EmbeddedAWS, container_tool
from tests.conftest import batcat

REGION = "cn-northwest-1"
BUCKET = "project-battery-result"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return new_project({}, no_input=True, output_dir=tmp_path)


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedAWS]:
    """Return an account with the project's bucket, and a container tool on the PATH."""
    container_tool.install(tmp_path / "tools")
    monkeypatch.setenv("PATH", f"{tmp_path / 'tools'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHON", sys.executable)
    with EmbeddedAWS(region=REGION, home=tmp_path / "aws") as aws:
        place = {"LocationConstraint": REGION}
        boto3.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
        yield aws


@pytest.fixture(autouse=True)
def tools(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "aws").mkdir()


def edit(project: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    file = project / "script" / "config.json"
    content = json.loads(file.read_text("utf-8"))
    change(content)
    file.write_text(json.dumps(content), "utf-8")


def test_deployed_planned_changed_and_deployed_again(project: Path, account: EmbeddedAWS) -> None:
    script = ["bash", str(project / "deploy" / "deploy.sh")]
    first = bc.plan(project)
    assert {one.outcome for one in first.stacks} == {"create"}
    assert first.image.builder
    assert not boto3.client("cloudformation").describe_stacks()["Stacks"], "nothing is changed"
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("created") == 4
    again = subprocess.run(script, capture_output=True, text=True, check=True)
    assert again.stdout == "Nothing has changed: everything was deployed as it is.\n"
    assert "image" in again.stderr
    assert str(bc.plan(project)).startswith("Nothing would change")

    edit(
        project,
        lambda content: content["purposes"]["usage-analysis"]["steps"][0].update(
            instance_type="ml.m5.2xlarge"
        ),
    )
    plan = bc.plan(project)
    assert [row.resource for one in plan.stacks for row in one.changes] == ["StateMachine"]
    (diff,) = plan.diffs.values()
    assert '-            "InstanceType": "ml.m5.xlarge"' in diff
    assert '+            "InstanceType": "ml.m5.2xlarge"' in diff
    assert str(bc.deploy(project)).endswith(
        "pushed, batcat-battery unchanged, batcat-battery--usage-analysis--roles unchanged, "
        "batcat-battery--usage-analysis--workflow updated, "
        "batcat-battery--usage-analysis--trigger unchanged."
    )
    tags = boto3.client("cloudformation").describe_stacks(
        StackName="batcat-battery--usage-analysis--workflow"
    )["Stacks"][0]["Tags"]
    assert {one["Key"]: one["Value"] for one in tags} == {
        "batcat:project": "battery",
        "batcat:bucket": BUCKET,
        "batcat:purpose": "usage-analysis",
    }


def test_two_people_with_the_default_name_do_not_meet(
    project: Path, account: EmbeddedAWS, tmp_path: Path
) -> None:
    bc.deploy(project)
    answers = {"result_s3_bucket": "somebody-elses-result"}
    other = new_project(answers, no_input=True, output_dir=tmp_path / "other")
    place = {"LocationConstraint": REGION}
    boto3.client("s3").create_bucket(
        Bucket="somebody-elses-result", CreateBucketConfiguration=place
    )
    with pytest.raises(
        StackError, match=f"belongs to the project battery with the bucket {BUCKET}"
    ):
        bc.deploy(other)


def test_the_folder_is_that_of_the_configuration(
    project: Path, account: EmbeddedAWS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script of project A may deploy project B: with B's workflow, image and function."""
    bc.deploy(project)
    here = new_project({"project_name": "here"}, no_input=True, output_dir=tmp_path)
    (here / "deploy" / "lambda" / "lambda_function.py").write_text("MINE = 1\n")
    monkeypatch.chdir(here)
    config = bc.get_config(project)
    assert bc.setup_trigger(config).outcome == "unchanged"
    assert bc.setup_workflow(config).outcome == "unchanged"


def test_the_aws_cli_deploys_the_same_files(project: Path, account: EmbeddedAWS) -> None:
    """An administrator deploys roles.yaml alone, somebody without IAM rights the rest."""
    printed = batcat("roles", "-C", project)
    (command,) = [line for line in printed.stdout.splitlines() if line.startswith("aws ")]
    aws_cli(project, command)
    config = bc.get_config(project)
    arns = roles_of(config, "usage-analysis")
    edit(
        project,
        lambda content: content.update(
            workflow_execution_role=arns["WorkflowRoleArn"],
            job_role=arns["JobRoleArn"],
            trigger_role=arns["TriggerRoleArn"],
        ),
    )
    bc.deploy(project)
    stacks = boto3.client("cloudformation").describe_stacks()["Stacks"]
    assert len(stacks) == 4
    build = "deploy/build/usage-analysis"
    parameters = read_parameters(config, "usage-analysis")
    for part in ("workflow", "trigger"):
        tags = " ".join(
            f"{key}={value}"
            for key, value in (
                ("batcat:project", "battery"),
                ("batcat:bucket", BUCKET),
                ("batcat:purpose", "usage-analysis"),
            )
        )
        aws_cli(
            project,
            f"aws cloudformation package --template-file deploy/{part}.yaml --s3-bucket {BUCKET} "
            f"--s3-prefix packaged --output-template-file {build}.{part}.yaml",
        )
        aws_cli(
            project,
            f"aws cloudformation deploy --template-file {build}.{part}.yaml --stack-name "
            f"{Names.of(config).stack(part)} --parameter-overrides "
            f"file://{build}.parameters.json --tags {tags} --no-fail-on-empty-changeset",
        )
    assert parameters["DefinitionKey"].endswith("-usage-analysis.asl.json")
    body = boto3.client("s3").get_object(Bucket=BUCKET, Key=parameters["DefinitionKey"])["Body"]
    assert body.read() == (project / f"{build}.asl.json").read_bytes()
    outcomes = {one.stack: one.outcome for one in bc.deploy(project).stacks}
    assert outcomes[Names.of(config).workflow_stack] == "unchanged"
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
    docker = tmp_path / "tools" / "docker"
    docker.unlink()
    docker.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\necho building\nexec sleep 60\n")
    docker.chmod(0o755)
    with subprocess.Popen(
        [sys.executable, "-m", "batcat_runtime", "deploy", "-C", str(project)],
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


def test_what_is_long_fits_into_a_deployment(project: Path, account: EmbeddedAWS) -> None:
    """Fourteen steps with two long values are more than 51,200 bytes; so may a template be."""
    with (project / "deploy" / "roles.yaml").open("a") as roles:
        roles.write("# a thought\n" * 5000)

    def grow(content: dict[str, Any]) -> None:
        step = content["purposes"]["usage-analysis"]["steps"][0]
        values = {"FIRST": "x" * 250, "SECOND": "y" * 250}
        content["purposes"]["usage-analysis"]["steps"] = [
            {**step, "name": f"step-{number}", "environment": values} for number in range(14)
        ]

    edit(project, grow)
    bc.deploy(project)
    assert (project / "deploy" / "build" / "usage-analysis.asl.json").stat().st_size > 51_200


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda purpose: purpose["schedule"].update(expression="cron(99 2 * * ? *)"),
            "purposes.usage-analysis.schedule.expression: 'cron(99 2 * * ? *)' is no schedule",
        ),
        (
            lambda purpose: purpose["steps"][0].update(
                inputs={f"in{number}": "s3://b-in/x/" for number in range(11)}
            ),
            "purposes.usage-analysis.steps.usage-analysis.inputs: SageMaker takes 10 inputs",
        ),
        (
            lambda purpose: purpose["steps"][0].update(instance_type="ml.m5.xxlarge"),
            "SageMaker has no 'ml.m5.xxlarge' for processing jobs; 'ml.m5.xlarge' is one",
        ),
    ],
)
def test_what_aws_would_refuse_later_is_refused_at_once(
    project: Path, change: Callable[[dict[str, Any]], Any], words: str
) -> None:
    edit(project, lambda content: change(content["purposes"]["usage-analysis"]))
    for command in ("deploy", "plan", "rehearse"):
        done = batcat(command, "-C", project)
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr
        assert len(done.stderr) < 600


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
