"""Workflows on an embedded AWS: two purposes that leave each other alone, a state more, a test run.

One server for the module; each test has a project, and so all names in AWS, of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import boto3
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import UserError, WorkflowError
from batcat_runtime.log import reporting
from batcat_runtime.names import Names
from batcat_runtime.project import Answers
from batcat_runtime.rehearsal import EmbeddedAWS
from tests.conftest import REPOSITORY

REGION = "cn-northwest-1"
TEMPLATE = REPOSITORY / "{{cookiecutter.project_slug}}"
SCRIPT = """
import sys
import pandas as pd, batcat_runtime as bc
with bc.processing_job("{purpose}") as job:
    job.save(pd.DataFrame({{"word": [{word!r}], "dates": [str(job.date_start)]}}), "{purpose}.csv")
"""


@pytest.fixture
def environment(aws: EmbeddedAWS) -> dict[str, str]:
    path = f"{aws.home / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **aws.environment(), "PATH": path}


class Project:
    """A project with two purposes, and what AWS has of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"p{uuid.uuid4().hex[:8]}"
        self.states = boto3.client("stepfunctions")
        self.content: dict[str, Any] = {
            "title": self.name,
            "project": self.name,
            "region": REGION,
            "result_s3_bucket": f"{self.name}-result",
            "purposes": {},
        }
        for part in ("deploy/docker", "script"):
            (folder / part).mkdir(parents=True)
        docker = folder / "deploy/docker"
        for name in ("requirements.txt", "requirements.lock"):
            shutil.copyfile(TEMPLATE / "deploy/docker" / name, docker / name)
        dockerfile = (TEMPLATE / "deploy/docker/Dockerfile").read_text()
        answers = Answers({"python_version": "3.11", "__package_index_url": ""})
        (docker / "Dockerfile").write_text(answers.render(dockerfile))
        for name in ("project.yaml", "roles.yaml", "workflow.yaml", "setup_stepfunctions.py"):
            shutil.copyfile(TEMPLATE / "deploy" / name, folder / "deploy" / name)
        for purpose in ("alpha", "beta"):
            self.content["purposes"][purpose] = {
                "steps": [{"name": purpose, "script": f"{purpose}.py"}]
            }
            self.write(purpose, "first")
        self.save()
        place = {"LocationConstraint": REGION}
        boto3.client("s3").create_bucket(
            Bucket=f"{self.name}-result", CreateBucketConfiguration=place
        )

    def write(self, purpose: str, word: str) -> None:
        """Write a purpose's script; its result holds the word."""
        text = SCRIPT.format(purpose=purpose, word=word)
        (self.folder / "script" / f"{purpose}.py").write_text(text)

    def save(self) -> None:
        file = self.folder / "script" / "config.json"
        file.write_text(json.dumps(self.content, indent=2), encoding="utf-8")

    def deploy(self) -> dict[str, str]:
        """Deploy image and workflows; return each purpose's outcome."""
        config = bc.get_config(self.folder)
        bc.setup_image(config)
        return {purpose: bc.setup_workflow(config, purpose).outcome for purpose in config.purposes}

    def machine(self, purpose: str) -> dict[str, Any]:
        names = Names.of(bc.get_config(self.folder), purpose)
        arn = names.arn("states", f"stateMachine:{names.state_machine}", "123456789012")
        described = self.states.describe_state_machine(stateMachineArn=arn)
        del described["ResponseMetadata"]
        return {**described, "definition": json.loads(described["definition"])}

    def image(self, purpose: str) -> str:
        states = self.machine(purpose)["definition"]["States"]
        return str(states[purpose]["Parameters"]["AppSpecification"]["ImageUri"])

    def run(self, purpose: str) -> str:
        """Run the workflow once; return the word in its result."""
        done = bc.test_workflow(purpose=purpose)
        assert done.succeeded, f"{done.error}: {done.cause}"
        config = bc.get_config(self.folder)
        bucket, prefix = config.result_s3_bucket, Names.of(config, purpose).result_prefix
        s3 = boto3.client("s3")
        found = s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        [key] = [
            one["Key"] for one in found if done.name in one["Key"] and one["Key"].endswith(".csv")
        ]
        text = s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode()
        return str(text.splitlines()[1].split(",")[0])


@pytest.fixture
def project(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Project:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path)


def test_two_purposes_run_and_are_updated_without_touching_each_other(project: Project) -> None:
    assert project.deploy() == {"alpha": "created", "beta": "created"}
    before = project.machine("alpha")

    # Another script: another image, but alpha keeps the one that it has.
    project.write("beta", "second")
    assert project.deploy() == {"alpha": "unchanged", "beta": "updated"}
    assert project.machine("alpha") == before
    assert project.image("alpha") != project.image("beta")
    assert (project.run("alpha"), project.run("beta")) == ("first", "second")

    # Another setting of beta's.
    project.content["purposes"]["beta"]["steps"][0]["environment"] = {"A": "b"}
    project.save()
    assert project.deploy() == {"alpha": "unchanged", "beta": "updated"}
    assert project.machine("alpha") == before

    # What both use touches both.
    (project.folder / "script" / "shared.py").write_text("x = 1\n")
    assert project.deploy() == {"alpha": "updated", "beta": "updated"}
    assert project.deploy() == {"alpha": "unchanged", "beta": "unchanged"}

    # A state that is wrong is refused before anything is changed.
    before = project.machine("alpha")

    def author(config: bc.Config, purpose: str) -> Any:
        from stepfunctions.steps import Chain, Task

        return Chain([*bc.processing_steps(config, purpose), Task("Mail", resource="not an arn")])

    with pytest.raises(WorkflowError, match="does not accept the workflow's definition"):
        bc.setup_workflow(purpose="alpha", author=author)
    assert project.machine("alpha") == before

    # A purpose that goes does the other no harm.
    del project.content["purposes"]["beta"]
    project.save()
    (project.folder / "script" / "beta.py").unlink()
    assert project.deploy() == {"alpha": "unchanged"}
    assert project.machine("alpha") == before


def test_a_state_is_added_in_plain_sdk_code(project: Project, environment: dict[str, str]) -> None:
    bc.setup_image()
    script = project.folder / "deploy" / "setup_stepfunctions.py"
    text = (TEMPLATE / "deploy" / "setup_stepfunctions.py").read_text(encoding="utf-8")
    assert "return Chain(bc.processing_steps(config, purpose))" in text
    script.write_text(
        text.replace(
            "    from stepfunctions.steps import Chain\n",
            "    from stepfunctions.steps import Chain, Choice, ChoiceRule, Succeed, Wait\n",
        ).replace(
            "    return Chain(bc.processing_steps(config, purpose))",
            "    jobs = bc.processing_steps(config, purpose)\n"
            "    dry = Choice('Dry run?')\n"
            "    rule = ChoiceRule.StringEquals(variable='$.date_start', value='2000-01-01')\n"
            "    dry.add_choice(rule, Succeed('Nothing to do'))\n"
            "    dry.default_choice(Chain([Wait('Rest', seconds=1), *jobs]))\n"
            "    return dry",
        ),
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    states = project.machine("alpha")["definition"]["States"]
    assert states["Input"]["Next"] == "Dry run?"
    assert states["Rest"]["Next"] == "alpha"
    assert project.run("alpha") == "first"
    dry = bc.test_workflow(purpose="alpha", date_start="2000-01-01", date_end="2000-01-02")
    assert dry.succeeded
    jobs = boto3.client("sagemaker").list_processing_jobs(NameContains="alpha-")
    names = {one["ProcessingJobName"] for one in jobs["ProcessingJobSummaries"]}
    history = project.states.get_execution_history(executionArn=dry.arn)["events"]
    assert not any(name in json.dumps(history, default=str) for name in names)


def test_a_failing_run_is_an_outcome_with_its_reason(project: Project) -> None:
    (project.folder / "script" / "alpha.py").write_text("raise SystemExit('no data today')")
    config = bc.get_config(project.folder)
    bc.setup_image(config)
    change = bc.setup_workflow(config, "alpha")
    lines: list[str] = []
    with reporting(lines.append):
        done = bc.test_workflow(change, "alpha")
    assert (done.status, done.succeeded, done.error) == ("FAILED", False, "States.TaskFailed")
    assert "AlgorithmError" in done.cause
    assert "no data today" in done.cause
    assert lines[0] == f"execution {done.name}: started"
    assert "no data today" in lines[-1]


def test_a_failing_branch_stops_the_other_and_its_reason_reaches_the_end(project: Project) -> None:
    bad, slow = {"name": "bad", "script": "bad.py"}, {"name": "slow", "script": "slow.py"}
    project.content["purposes"] = {"alpha": {"steps": [[bad, slow]]}}
    project.save()
    (project.folder / "script" / "bad.py").write_text("raise SystemExit('no limits known')")
    (project.folder / "script" / "slow.py").write_text("import time\ntime.sleep(120)")
    project.deploy()
    done = bc.test_workflow(purpose="alpha")
    assert (done.status, done.error) == ("FAILED", "States.TaskFailed")
    assert "no limits known" in done.cause
    assert done.seconds < 60
    # The execution does not wait for the job that it stops.
    deadline = time.monotonic() + 30
    while running := boto3.client("sagemaker").list_processing_jobs(
        NameContains="alpha-slow-", StatusEquals="InProgress"
    )["ProcessingJobSummaries"]:
        assert time.monotonic() < deadline, running
        time.sleep(0.1)
    [stopped] = boto3.client("sagemaker").list_processing_jobs(NameContains="alpha-slow-")[
        "ProcessingJobSummaries"
    ]
    assert stopped["ProcessingJobStatus"] in ("Stopping", "Stopped")


def test_a_test_run_that_cannot_be_is_refused(project: Project) -> None:
    for arguments, said in (
        ({"date_start": "2022-01-01"}, "both date_start and date_end"),
        ({"date_start": "today", "date_end": "2022-01-01"}, "is no date"),
        ({"date_start": "2022-01-02", "date_end": "2022-01-02"}, "window is empty"),
        ({"params": {"a": [1]}}, "texts, numbers"),
        ({"params": {"a": "x" * 300}}, "longer than 256"),
    ):
        with pytest.raises(UserError, match=said):
            bc.test_workflow(purpose="alpha", **arguments)  # type: ignore[arg-type]
    with pytest.raises(WorkflowError, match="alpha is not deployed"):
        bc.test_workflow(purpose="alpha")
