"""An image without a container tool: CodeBuild, really building on the embedded AWS."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from batcat_runtime.config import get_config
from batcat_runtime.deploy.image import setup_image
from batcat_runtime.errors import ImageError, UserError
from batcat_runtime.log import reporting
from batcat_runtime.project import new_project
from batcat_runtime.rehearsal import EmbeddedAWS
from tests.rehearsal.conftest import REGION, Cloud, error_of, trust, until

SPEC = "version: 0.2\nphases:\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return new_project({}, no_input=True, output_dir=tmp_path)


@pytest.fixture
def aws(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedAWS]:
    monkeypatch.setenv("BATCAT_IMAGE_BUILDER", "codebuild")
    with EmbeddedAWS(region=REGION) as embedded:
        place = {"LocationConstraint": REGION}
        bucket = get_config(project).result_s3_bucket
        boto3.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
        yield embedded


def test_an_image_is_built_once_and_the_context_taken_away(aws: EmbeddedAWS, project: Path) -> None:
    lines: list[str] = []
    with reporting(lines.append):
        address = setup_image(get_config(project))
    said = "\n".join(lines)
    assert "building with AWS CodeBuild" in said
    assert "stack batcat-battery--builder: created" in said
    assert "  | Login Succeeded" in said
    assert address.startswith(f"{aws.account_id}.dkr.ecr.{REGION}.amazonaws.com.cn/battery@sha256:")
    bucket = get_config(project).result_s3_bucket
    assert boto3.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    again: list[str] = []
    with reporting(again.append):
        assert setup_image(get_config(project)) == address
    assert any("already in ECR" in line for line in again)
    assert len(boto3.client("codebuild").list_builds()["ids"]) == 1


def test_a_failed_build_says_why_and_leaves_nothing(aws: EmbeddedAWS, project: Path) -> None:
    dockerfile = project / "deploy" / "docker" / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace("COPY wheels/", "COPY nowhere/"))
    lines: list[str] = []
    words = r"FAILED: BUILD: Error while executing .*docker build"
    with reporting(lines.append), pytest.raises(ImageError, match=words):
        setup_image(get_config(project))
    assert any("nowhere" in line for line in lines)
    bucket = get_config(project).result_s3_bucket
    assert boto3.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_without_a_role_for_codebuild_nothing_is_made(aws: EmbeddedAWS, project: Path) -> None:
    path = project / "script" / "config.json"
    content = json.loads(path.read_text())
    content["workflow_execution_role"] = f"arn:aws-cn:iam::{aws.account_id}:role/given"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="build_role"):
        setup_image(get_config(project))
    assert boto3.client("codebuild").list_projects()["projects"] == []


def test_an_unknown_builder_is_refused(
    aws: EmbeddedAWS, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCAT_IMAGE_BUILDER", "kaniko")
    with pytest.raises(UserError, match="docker, podman, buildah, codebuild"):
        setup_image(get_config(project))


class Builds:
    """A build project whose buildspec is given by the test."""

    def __init__(self, cloud: Cloud) -> None:
        self.client = cloud.client("codebuild")
        self.cloud = cloud
        role = cloud.client("iam").create_role(
            RoleName=f"build-{os.urandom(4).hex()}",
            AssumeRolePolicyDocument=json.dumps(trust("codebuild")),
        )
        self.name = f"build-{os.urandom(4).hex()}"
        self.client.create_project(
            name=self.name,
            source={"type": "NO_SOURCE", "buildspec": SPEC + "  build:\n    commands: [echo]\n"},
            artifacts={"type": "NO_ARTIFACTS"},
            environment={
                "type": "LINUX_CONTAINER",
                "image": "aws/codebuild/standard:7.0",
                "computeType": "BUILD_GENERAL1_SMALL",
            },
            serviceRole=role["Role"]["Arn"],
        )

    def start(self, phases: str, **more: Any) -> str:
        started = self.client.start_build(
            projectName=self.name, buildspecOverride=SPEC + phases, **more
        )
        return str(started["build"]["id"])

    def ended(self, build: str) -> dict[str, Any]:
        look = self.client.batch_get_builds
        return dict(until(lambda: look(ids=[build])["builds"][0], lambda b: b["buildComplete"]))

    def lines(self, build: dict[str, Any]) -> list[str]:
        return self.cloud.log_lines(build["logs"]["groupName"], build["logs"]["streamName"])


@pytest.fixture
def builds(cloud: Cloud) -> Builds:
    return Builds(cloud)


def test_exports_pass_from_phase_to_phase_and_overrides_arrive(builds: Builds) -> None:
    phases = (
        "  install:\n    commands: ['export A=one']\n"
        '  build:\n    commands: ["echo $A-$B-$CODEBUILD_BUILD_NUMBER"]\n'
    )
    variable = {"name": "B", "value": "two words", "type": "PLAINTEXT"}
    build = builds.ended(builds.start(phases, environmentVariablesOverride=[variable]))
    assert build["buildStatus"] == "SUCCEEDED"
    assert "one-two words-1" in builds.lines(build)


def test_after_a_failed_build_post_build_still_runs(builds: Builds) -> None:
    phases = (
        "  build:\n    commands: ['exit 3', 'echo never']\n"
        "  post_build:\n    commands: ['echo last']\n"
    )
    build = builds.ended(builds.start(phases))
    assert build["buildStatus"] == "FAILED"
    assert "last" in builds.lines(build)
    assert "never" not in builds.lines(build)
    failed = next(p for p in build["phases"] if p.get("phaseStatus") == "FAILED")
    assert failed["contexts"][0]["message"].endswith("exit status 3")


def test_a_build_that_is_stopped_ends_at_once(builds: Builds) -> None:
    name = builds.start("  build:\n    commands: ['sleep 60']\n")
    until(
        lambda: builds.client.batch_get_builds(ids=[name])["builds"][0]["currentPhase"],
        lambda phase: phase == "BUILD",
    )
    builds.client.stop_build(id=name)
    assert builds.ended(name)["buildStatus"] == "STOPPED"


def test_a_token_starts_one_build(builds: Builds) -> None:
    phases = "  build:\n    commands: ['true']\n"
    first = builds.start(phases, idempotencyToken="t")
    assert builds.start(phases, idempotencyToken="t") == first
    code, _ = error_of(builds.client.start_build, projectName=builds.name, idempotencyToken="t")
    assert code == "InvalidInputException"


def test_what_is_not_there_is_said_in_aws_s_words(builds: Builds) -> None:
    code, message = error_of(builds.client.start_build, projectName="nothing")
    assert code == "ResourceNotFoundException"
    assert "Project cannot be found" in message
    answer = builds.client.batch_get_builds(ids=["nothing:1"])
    assert answer["buildsNotFound"] == ["nothing:1"]


def test_a_role_that_codebuild_cannot_assume_is_refused(builds: Builds, cloud: Cloud) -> None:
    code, message = error_of(
        builds.client.update_project, name=builds.name, serviceRole=cloud.role("lambda")
    )
    assert code == "InvalidInputException"
    assert "sts:AssumeRole" in message
