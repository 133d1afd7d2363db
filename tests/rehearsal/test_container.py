"""The stand-in for docker, called as deployments call it, and CodeBuild that starts it."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import pytest

from batcat_runtime.config import get_config
from batcat_runtime.deploy.image import setup_image
from batcat_runtime.errors import ImageError
from batcat_runtime.log import reporting
from batcat_runtime.project import new_project
from batcat_runtime.rehearsal import EmbeddedAWS, container_tool
from tests.rehearsal.conftest import REGION, Cloud, error_of

ACCOUNT = "123456789012"
REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com.cn"


def write(directory: Path, **files: str) -> Path:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


class Docker:
    """The stand-in's command line, in a rehearsal of its own."""

    def __init__(self, cloud: Cloud, tmp_path: Path, patch: pytest.MonkeyPatch, capsys: Any):
        self.home = tmp_path / "home"
        self.patch, self.capsys = patch, capsys
        for name, value in cloud.aws.environment().items():
            patch.setenv(name, value)
        patch.setenv("BATCAT_REHEARSAL_HOME", str(self.home))

    def __call__(self, *words: str | Path, code: int = 0, given: str = "") -> str:
        self.patch.setattr("sys.stdin", io.StringIO(given))
        done = container_tool.main([str(word) for word in words])
        said = "".join(self.capsys.readouterr())
        assert done == code, said
        return said

    def login(self) -> str:
        words = ("login", "--username", "AWS", "--password-stdin", REGISTRY)
        return self(*words, given="token\n")

    def build(self, context: Path, text: str, tag: str = "cells:1", code: int = 0) -> Any:
        """Build a Dockerfile; return the files of the image, its description and what was said."""
        (context / "Dockerfile").write_text(text)
        said = self("build", "--tag", tag, context, code=code)
        if code:
            return said
        reference = self.home / "images" / "references" / quote(tag, safe="")
        folder = self.home / "images" / reference.read_text().removeprefix("sha256:")
        root = folder / "rootfs"
        files = {
            f"/{path.relative_to(root)}": path.read_text()
            for path in root.rglob("*")
            if path.is_file()
        }
        return files, json.loads((folder / "image.json").read_text()), said


@pytest.fixture
def docker(
    cloud: Cloud,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Docker:
    return Docker(cloud, tmp_path, monkeypatch, capsys)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    files = {"script/main.py": "main", "script/lib/part.py": "part", "data/raw.csv": "raw"}
    return write(tmp_path / "context", **files, **{"requirements.txt": "six\nboto3"})


def test_an_image_holds_files_and_configuration(docker: Docker, context: Path) -> None:
    files, image, said = docker.build(
        context,
        """# syntax=docker/dockerfile:1
ARG VERSION=3.11
ARG GLOBAL=g
FROM python:${VERSION}-slim AS base
ARG GLOBAL
ARG OWN=own
ENV DIR=/opt/$OWN/$GLOBAL/$VERSION NAME="two words" EMPTY=
ENV OLD old value
ENV PATH=/opt/venv/bin:$PATH
workdir $DIR
RUN <<EOF
pip install numpy==2.0 \\
    && echo done
COPY nothing
EOF
FROM base
ENV MODE=${EMPTY:-batch} MORE=${NONE:-${MODE}} KEPT='$MODE' SET=${NAME:+yes}
COPY requirements.txt .
RUN pip install \\
    # inside
    -r requirements.txt
COPY script/ /opt/batcat/script/
USER batcat
ENTRYPOINT ["python3", "-m", "batcat_runtime.job"]
CMD script/main.py --all
""",
    )
    assert files == {
        "/opt/own/g/requirements.txt": "six\nboto3",
        "/opt/batcat/script/main.py": "main",
        "/opt/batcat/script/lib/part.py": "part",
    }
    assert list(image["copies"]) == ["/opt/batcat/script", "/opt/own/g/requirements.txt"]
    environment = {name: image["env"][name] for name in ("MODE", "KEPT", "SET", "NAME", "OLD")}
    assert environment == {
        "MODE": "batch",
        "KEPT": "$MODE",
        "SET": "yes",
        "NAME": "two words",
        "OLD": "old value",
    }
    assert image["env"]["PATH"].startswith("/opt/venv/bin:/usr/local/bin:")
    assert image["workdir"] == "/opt/own/g"
    assert image["entrypoint"] == ["python3", "-m", "batcat_runtime.job"]
    assert image["cmd"] == ["/bin/sh", "-c", "script/main.py --all"]
    assert image["requirements"] == ["numpy==2.0", "six", "boto3"]
    assert "(not run in the rehearsal)" in said


def test_copy(docker: Docker, context: Path) -> None:
    lines = {
        "COPY script/*.py /a/": {"/a/main.py"},
        "COPY script /b": {"/b/main.py", "/b/lib/part.py"},
        "COPY script/main.py /c": {"/c"},
        "COPY script/m?in.[op]y requirements.txt ./d/": {"/d/main.py", "/d/requirements.txt"},
        'COPY ["requirements.txt", "a b/"]': {"/a b/requirements.txt"},
        "COPY --chown=1:1 --chmod=755 --link requirements.txt /e": {"/e"},
        "ADD requirements.txt data/raw.csv /f/": {"/f/requirements.txt", "/f/raw.csv"},
        "ADD https://example.com/x.tar.gz /g/": set(),
    }
    files, _, said = docker.build(context, "\n".join(["FROM scratch", *lines]))
    assert set(files) == set().union(*lines.values())
    assert "x.tar.gz /g/ (skipped in the rehearsal" in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no FROM"),
        ("COPY a b", "line 1: no build stage"),
        ("FROM x\nFOO bar", "line 2: unknown instruction: FOO"),
        ("FROM x y", "FROM requires either one or three arguments"),
        ('FROM x\nCOPY "a b', "looking for a quote"),
        ("FROM x\nENV a=1 b", "name=value"),
        ("FROM x\nRUN <<EOF\nnever", "unterminated heredoc"),
        ("FROM x\nCOPY requirements.txt script/main.py /x", "must be a directory and end with a /"),
        ("FROM x\nCOPY missing.py /x/", 'checksum of the build context: "/missing.py": not found'),
        ("FROM x\nCOPY ../outside.txt /x/", '"/outside.txt": not found'),
    ],
)
def test_mistakes_are_told_as_docker_tells_them(
    docker: Docker, context: Path, text: str, message: str
) -> None:
    (context.parent / "outside.txt").write_text("secret")
    assert message in docker.build(context, text, code=1)


def test_stages(docker: Docker, context: Path) -> None:
    text = """FROM python:3.11 AS wheels
COPY requirements.txt /wheels/
FROM python:3.11-slim AS base
COPY script /script
FROM base
COPY --from=wheels /wheels /wheels
COPY data /data
"""
    files, _, said = docker.build(context, text)
    assert set(files) == {"/script/main.py", "/script/lib/part.py", "/data/raw.csv"}
    assert "COPY --from=wheels /wheels /wheels (skipped" in said


def test_the_same_files_give_the_same_digest(docker: Docker, tmp_path: Path) -> None:
    text, digests = "FROM scratch\nCOPY a.txt b /x/\n", []
    for name in ("one", "two"):
        context = write(tmp_path / name, **{"a.txt": "a", "b/c.txt": "c"})
        os.utime(context / "a.txt", (len(digests), len(digests)))
        (context / "a.txt").chmod(0o600 if digests else 0o664)
        digests.append(docker.build(context, text)[1]["digest"])
    assert digests[0] == digests[1]
    (context / "a.txt").write_text("other")
    assert docker.build(context, text)[1]["digest"] != digests[0]


# ---------------------------------------------------------------- the registry


def test_build_and_push(docker: Docker, cloud: Cloud, context: Path) -> None:
    ecr = cloud.client("ecr")
    ecr.create_repository(repositoryName="team/battery")
    uri = f"{REGISTRY}/team/battery:1.0"
    assert "Login Succeeded" in docker.login()
    docker.build(context, "FROM python\nCOPY script /opt/x\n", uri)
    pushed = docker("push", uri)
    found = re.search(r"^1\.0: digest: (sha256:[0-9a-f]{64}) size: \d+$", pushed, re.MULTILINE)
    assert found
    answer = ecr.batch_get_image(
        repositoryName="team/battery", imageIds=[{"imageDigest": found[1]}]
    )
    manifest = json.loads(answer["images"][0]["imageManifest"])
    assert (docker.home / "images" / manifest["config"]["digest"][7:] / "image.json").is_file()
    docker("push", uri)  # again: nothing to do, and no error


@pytest.mark.parametrize(
    ("target", "login", "message"),
    [
        (f"{REGISTRY}/nowhere:1", True, "name unknown: The repository with name 'nowhere'"),
        (f"{REGISTRY}/nowhere:1", False, "no basic auth credentials"),
        (f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/x:1", True, "not the embedded account's"),
        ("battery:1", True, "docker.io is not the embedded account's"),
    ],
)
def test_push_that_aws_would_refuse(
    docker: Docker, context: Path, target: str, login: bool, message: str
) -> None:
    if login:
        docker.login()
    docker.build(context, "FROM scratch\n", target)
    assert message in docker("push", target, code=1)


def test_a_tag_of_an_immutable_repository(docker: Docker, cloud: Cloud, context: Path) -> None:
    ecr = cloud.client("ecr")
    ecr.create_repository(repositoryName="fixed", imageTagMutability="IMMUTABLE")
    docker.login()
    docker.build(context, "FROM scratch\nCOPY data /\n", f"{REGISTRY}/fixed:1")
    docker("push", f"{REGISTRY}/fixed:1")
    docker.build(context, "FROM scratch\nCOPY script /\n", f"{REGISTRY}/fixed:1")
    assert "already exists in the repository" in docker("push", f"{REGISTRY}/fixed:1", code=1)


@pytest.mark.parametrize(
    ("host", "user", "message"),
    [
        (f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com", "AWS", "no such registry here"),
        (f"999999999999.dkr.ecr.{REGION}.amazonaws.com.cn", "AWS", "no such registry here"),
        (REGISTRY, "me", "400 Bad Request"),
    ],
)
def test_login_to_the_wrong_place(docker: Docker, host: str, user: str, message: str) -> None:
    words = ("login", "--username", user, "--password-stdin", host)
    assert message in docker(*words, given="token", code=1)


@pytest.mark.parametrize("words", [["build", "-t", "x", ".", "--squirrel"], ["build"], ["run"]])
def test_what_it_does_not_know_it_refuses(docker: Docker, words: list[str]) -> None:
    assert words[-1] in docker(*words, code=125)


def test_names_that_are_none(docker: Docker, context: Path) -> None:
    said = docker.build(context, "FROM scratch\n", "2022-RnD-battery", code=1)
    assert "invalid reference format" in said
    assert "does not exist locally" in docker("push", f"{REGISTRY}/missing:1", code=1)


def test_it_acts_in_a_rehearsal_only(docker: Docker, tmp_path: Path) -> None:
    docker.patch.setenv("AWS_ENDPOINT_URL", "https://ecr.example.com")
    words = ("login", "-u", "AWS", "--password-stdin", REGISTRY)
    assert "not on this machine" in docker(*words, given="token", code=1)
    docker.patch.delenv("BATCAT_REHEARSAL_HOME")
    assert "BATCAT_REHEARSAL_HOME" in docker("build", ".", code=125)


def test_files_where_it_is_called_are_no_modules(tmp_path: Path) -> None:
    program = container_tool.install(tmp_path / "a bin")
    write(tmp_path / "project", **{"json.py": "raise SystemExit(9)", "argparse.py": "1/0"})
    done = subprocess.run(
        [str(program), "--version"],
        cwd=tmp_path / "project",
        env={**os.environ, "BATCAT_REHEARSAL_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Docker version ")


# ---------------------------------------------------------------- CodeBuild


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmbeddedAWS, Path]]:
    """Return an embedded AWS and a project for which no container tool is used."""
    project = new_project({}, no_input=True, output_dir=tmp_path_factory.mktemp("codebuild"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BATCAT_IMAGE_BUILDER", "codebuild")
        with EmbeddedAWS(region=REGION) as aws:
            place = {"LocationConstraint": REGION}
            bucket = get_config(project).result_s3_bucket
            boto3.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
            yield aws, project


@pytest.fixture
def in_codebuild(
    built: tuple[EmbeddedAWS, Path], monkeypatch: pytest.MonkeyPatch
) -> tuple[EmbeddedAWS, Path]:
    # The environment was cleaned for this test.
    for name, value in {**built[0].environment(), "BATCAT_IMAGE_BUILDER": "codebuild"}.items():
        monkeypatch.setenv(name, value)
    return built


def test_codebuild_builds_an_image_once_and_its_context_goes(
    in_codebuild: tuple[EmbeddedAWS, Path],
) -> None:
    _, project = in_codebuild
    lines: list[str] = []
    with reporting(lines.append):
        address = setup_image(get_config(project))
    assert "  | Login Succeeded" in lines
    assert address.startswith(f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com.cn/battery@sha256:")
    bucket = get_config(project).result_s3_bucket
    assert boto3.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    again: list[str] = []
    with reporting(again.append):
        assert setup_image(get_config(project)) == address
    assert any("already in ECR" in line for line in again)


def test_a_failed_build_says_why_and_leaves_nothing(
    in_codebuild: tuple[EmbeddedAWS, Path],
) -> None:
    _, project = in_codebuild
    dockerfile = project / "deploy" / "docker" / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace("COPY wheels/", "COPY nowhere/"))
    lines: list[str] = []
    words = "FAILED: BUILD: Error while executing"
    with reporting(lines.append), pytest.raises(ImageError, match=words):
        setup_image(get_config(project))
    assert any("nowhere" in line for line in lines)
    bucket = get_config(project).result_s3_bucket
    assert boto3.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_builds_that_cannot_be_started(cloud: Cloud) -> None:
    client = cloud.client("codebuild")
    code, message = error_of(client.start_build, projectName="nothing")
    assert code == "ResourceNotFoundException"
    assert "Project cannot be found" in message
    assert client.batch_get_builds(ids=["nothing:1"])["buildsNotFound"] == ["nothing:1"]
    code, message = error_of(
        client.create_project,
        name="cells",
        source={"type": "NO_SOURCE", "buildspec": "version: 0.2"},
        artifacts={"type": "NO_ARTIFACTS"},
        environment={
            "type": "LINUX_CONTAINER",
            "image": "aws/codebuild/standard:7.0",
            "computeType": "BUILD_GENERAL1_SMALL",
        },
        serviceRole=cloud.role("lambda"),
    )
    assert code == "InvalidInputException"
    assert "sts:AssumeRole" in message
