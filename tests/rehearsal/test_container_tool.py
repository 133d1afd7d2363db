"""The stand-in for docker: Dockerfiles read for real, pushes to a real ECR API."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from batcat_runtime.errors import ImageError
from batcat_runtime.rehearsal import container_tool, dockerfile, image_build
from batcat_runtime.rehearsal.images import Image, ImageStore, Reference
from tests.rehearsal.plain_moto import ACCOUNT, REGION, REGISTRY, PlainMoto, plain_moto


def write(directory: Path, **files: str) -> Path:
    for name, text in files.items():
        path = directory / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


@dataclass
class Built:
    image: Image
    said: list[str]

    def tree(self) -> dict[str, str]:
        root = Path(self.image.rootfs)
        files = [path for path in root.rglob("*") if path.is_file()]
        return {f"/{path.relative_to(root)}": path.read_text() for path in files}


@pytest.fixture
def context(tmp_path: Path) -> Path:
    return write(
        tmp_path / "context",
        **{
            "script/main.py": "main",
            "script/lib/part.py": "part",
            "requirements.txt": "boto3",
            "data/raw.csv": "raw",
        },
    )


def build(context: Path, text: str, **options: Any) -> Built:
    (context / "Dockerfile").write_text(text)
    said: list[str] = []
    store = ImageStore(context.parent / "home")
    return Built(image_build.build(context, store, say=said.append, **options), said)


# ---------------------------------------------------------------- reading a Dockerfile


def instructions(text: str, **options: Any) -> list[tuple[str, tuple[str, ...]]]:
    stage = dockerfile.parse(text, **options).stages[-1]
    return [(step.name, step.words) for step in stage.instructions]


def test_lines_comments_and_continuations() -> None:
    text = """# syntax=docker/dockerfile:1
FROM scratch
# a comment
run pip install \\
    # inside
    a \\

    b
  COPY a  b   c/
"""
    assert instructions(text) == [
        ("RUN", ("pip install     a     b",)),
        ("COPY", ("a", "b", "c/")),
    ]


def test_escape_directive() -> None:
    text = "# escape=`\nFROM x\nCOPY a `\n  b c\\\n"
    assert instructions(text) == [("COPY", ("a", "b", "c\\"))]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("$A", "a"), ("${A}x", "ax"), ("$B", ""), ("${B:-d}", "d"), ("${E:-d}", "d"),
        ("${E-d}", ""),
        ("${A:+s}", "s"), ("${B:+s}", ""), ("${B:-${A}}", "a"), ("\\$A", "$A"), ("'$A'", "$A"),
        ('"$A b"', "a b"), ("$", "$"), ("a$A$A", "aaa"), ("${B:-x y}", "x y"),
    ],
)  # fmt: skip
def test_variables(word: str, expected: str) -> None:
    assert dockerfile.expand(word, {"A": "a", "E": ""}) == expected


def test_arguments_and_environment_have_their_scopes() -> None:
    text = """ARG VERSION=3.11
ARG GLOBAL=g
FROM python:${VERSION}-slim AS base
ARG GLOBAL
ARG OWN=own
ENV DIR=/opt/$OWN/$GLOBAL/$VERSION NAME="two words" LEGACY=x
ENV OLD old value
WORKDIR $DIR
COPY a "${NAME}/$OLD"
FROM base
COPY $OWN $DIR/
"""
    parsed = dockerfile.parse(text, {"VERSION": "3.12", "UNUSED": "x"})
    first, second = parsed.stages
    assert (first.base, first.name, second.base) == ("python:3.12-slim", "base", "base")
    words = {step.name: step.words for step in first.instructions}
    assert words["WORKDIR"] == ("/opt/own/g/",)
    assert words["COPY"] == ("a", "two words/old value")
    # ARG ends with its stage, ENV is inherited.
    assert second.instructions[0].words == ("/opt/own/g//",)
    assert parsed.unused_arguments == ["UNUSED"]


def test_heredocs_are_not_instructions() -> None:
    text = "FROM x\nRUN <<EOF\nCOPY nothing\nEOF\nCOPY <<-F <<G /etc/\n\tone\nF\ntwo\nG\nUSER me\n"
    stage = dockerfile.parse(text).stages[0]
    assert [step.name for step in stage.instructions] == ["RUN", "COPY", "USER"]
    assert stage.instructions[1].documents == {"F": "one\n", "G": "two\n"}


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
        ("FROM x\nUSER ${A", "missing or bad"),
        ("FROM x\nUSER ${A:?must be given}", "must be given"),
    ],
)
def test_mistakes_name_their_line(text: str, message: str) -> None:
    with pytest.raises(ImageError, match=re.escape(message)):
        dockerfile.parse(text)


# ---------------------------------------------------------------- building


def test_image_holds_files_and_configuration(context: Path) -> None:
    built = build(
        context,
        """FROM python:3.11-slim
WORKDIR /opt/batcat
COPY requirements.txt .
RUN pip install -r requirements.txt
COPY script/ /opt/batcat/script/
ENV MODE=batch
USER batcat
ENTRYPOINT ["python3", "-m", "batcat_runtime.job"]
CMD script/main.py --all
""",
    )
    assert built.tree() == {
        "/opt/batcat/requirements.txt": "boto3",
        "/opt/batcat/script/main.py": "main",
        "/opt/batcat/script/lib/part.py": "part",
    }
    image = built.image
    assert image.copies == {
        "/opt/batcat/requirements.txt": f"{image.rootfs}/opt/batcat/requirements.txt",
        "/opt/batcat/script": f"{image.rootfs}/opt/batcat/script",
    }
    assert (image.workdir, image.user, image.env["MODE"]) == ("/opt/batcat", "batcat", "batch")
    assert image.entrypoint == ["python3", "-m", "batcat_runtime.job"]
    assert image.cmd == ["/bin/sh", "-c", "script/main.py --all"]
    assert "RUN pip install -r requirements.txt (not run in the rehearsal)" in built.said
    stored = json.loads((Path(image.rootfs).parent / "image.json").read_text())
    assert stored["config_digest"] == f"sha256:{Path(image.rootfs).parent.name}"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("COPY script/*.py /x/", {"/x/main.py"}),
        ("COPY script /x", {"/x/main.py", "/x/lib/part.py"}),
        ("COPY script/main.py /x", {"/x"}),
        ("COPY script/main.py /x/", {"/x/main.py"}),
        ("COPY script/m?in.[op]y requirements.txt ./", {"/main.py", "/requirements.txt"}),
        ('COPY ["requirements.txt", "a b/"]', {"/a b/requirements.txt"}),
        ("COPY --chown=1:1 --chmod=755 --link requirements.txt /x", {"/x"}),
        ("COPY ./script/../requirements.txt /", {"/requirements.txt"}),
        ("ADD requirements.txt data/raw.csv /x/", {"/x/requirements.txt", "/x/raw.csv"}),
        ("COPY <<conf /etc/x.conf\na=1\nconf", {"/etc/x.conf"}),
    ],
)
def test_copy(context: Path, line: str, expected: set[str]) -> None:
    assert set(build(context, f"FROM scratch\n{line}\n").tree()) == expected


@pytest.mark.parametrize("source", ["missing.py", "../outside.txt", "/etc/passwd", "link"])
def test_source_that_is_not_in_the_context(context: Path, source: str) -> None:
    (context.parent / "outside.txt").write_text("secret")
    (context / "link").symlink_to(context.parent / "outside.txt")
    with pytest.raises(ImageError, match=r"failed to compute cache key: .*: not found"):
        build(context, f"FROM scratch\nCOPY {source} /x/\n")


def test_several_sources_need_a_directory(context: Path) -> None:
    with pytest.raises(ImageError, match="must be a directory and end with a /"):
        build(context, "FROM scratch\nCOPY requirements.txt script/main.py /x\n")


def test_dockerignore(context: Path) -> None:
    write(context, **{"script/main.pyc": "", "secret.txt": "", "script/keep.log": ""})
    (context / ".dockerignore").write_text(
        "# comment\n**/*.pyc\ndata\n/secret.txt\nscript/*.log\n!script/keep.log\nDockerfile\n.d*\n"
    )
    assert set(build(context, "FROM scratch\nCOPY . /x/\n").tree()) == {
        "/x/script/main.py",
        "/x/script/lib/part.py",
        "/x/script/keep.log",
        "/x/requirements.txt",
    }
    with pytest.raises(ImageError, match=r"not found.*\.dockerignore"):
        build(context, "FROM scratch\nCOPY secret.txt /\n")


def test_stages(context: Path) -> None:
    text = """FROM python:3.11 AS wheels
COPY requirements.txt /wheels/
RUN pip wheel
FROM python:3.11-slim AS base
COPY script /script
ENV A=1
FROM base
COPY --from=wheels /wheels /wheels
COPY data /data
"""
    built = build(context, text)
    assert set(built.tree()) == {"/script/main.py", "/script/lib/part.py", "/data/raw.csv"}
    assert built.image.env["A"] == "1"
    assert any("--from=wheels" in line and "skipped" in line for line in built.said)
    assert set(build(context, text, target="wheels").tree()) == {"/wheels/requirements.txt"}
    with pytest.raises(ImageError, match="target stage"):
        build(context, text, target="nothing")


def test_same_files_same_digest_whatever_their_times_and_owners(tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        context = write(tmp_path / name / "context", **{"a.txt": "a", "b/c.txt": "c"})
        os.utime(context / "a.txt", (len(digests), len(digests)))
        (context / "a.txt").chmod(0o600 if digests else 0o664)
        digests.append(build(context, "FROM scratch\nCOPY a.txt b /x/\n").image.digest)
    assert digests[0] == digests[1]
    (context / "a.txt").write_text("other")
    assert build(context, "FROM scratch\nCOPY a.txt b /x/\n").image.digest != digests[0]


# ---------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def moto() -> PlainMoto:
    return plain_moto()


class Docker:
    """The installed executable, called as deploy scripts call it."""

    def __init__(self, tmp_path: Path, moto: PlainMoto) -> None:
        self.home = tmp_path / "home"
        self.program = container_tool.install(tmp_path / "a bin")
        self.environment = {
            "PATH": os.environ["PATH"],
            "BATCAT_REHEARSAL_HOME": str(self.home),
            **moto.environment,
        }

    def __call__(self, *words: str | Path, code: int = 0, given: str = "", **env: str) -> str:
        done = subprocess.run(
            [str(self.program), *map(str, words)],
            input=given,
            env=self.environment | env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + (done.stderr if code else "")

    def login(self) -> str:
        words = ("login", "--username", "AWS", "--password-stdin", REGISTRY)
        return self(*words, given="token\n")


@pytest.fixture
def docker(tmp_path: Path, moto: PlainMoto) -> Docker:
    return Docker(tmp_path, moto)


def test_build_tag_push_and_inspect(docker: Docker, moto: PlainMoto, context: Path) -> None:
    (context / "Containerfile").write_text("ARG V\nFROM python:$V\nCOPY script /opt/x\n")
    moto.client("ecr").create_repository(repositoryName="team/battery")
    uri = f"{REGISTRY}/team/battery:1.0"
    assert docker.login() == "Login Succeeded\n"
    docker(
        "buildx", "build", "--platform", "linux/amd64", "--provenance=false", "--load", "--pull",
        "-t", "battery", "--tag", "battery:two", "-f", context / "Containerfile",
        "--build-arg", "V=3.11", context,
    )  # fmt: skip
    docker("tag", "battery:two", uri)
    pushed = docker("push", uri)
    found = re.search(r"^1\.0: digest: (sha256:[0-9a-f]{64}) size: \d+$", pushed, re.MULTILINE)
    assert found
    answer = moto.client("ecr").batch_get_image(
        repositoryName="team/battery", imageIds=[{"imageDigest": found[1]}]
    )
    manifest = json.loads(answer["images"][0]["imageManifest"])
    assert (docker.home / "images" / manifest["config"]["digest"][7:] / "image.json").is_file()
    assert docker("inspect", "--format", "{{index .RepoDigests 0}}", uri).strip() == (
        f"{REGISTRY}/team/battery@{found[1]}"
    )
    assert (
        docker("image", "inspect", "-f", "{{.Id}}", "battery").strip()
        == (manifest["config"]["digest"])
    )
    assert json.loads(docker("image", "inspect", uri))[0]["RepoTags"]
    docker("push", uri)  # again: nothing to do, and no error
    assert found[1] in docker("pull", f"{REGISTRY}/team/battery:1.0")


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
    (context / "Dockerfile").write_text("FROM scratch\n")
    if login:
        docker.login()
    docker("build", "--quiet", "-t", target, context)
    assert message in docker("push", target, code=1)


def test_tag_of_an_immutable_repository(docker: Docker, moto: PlainMoto, context: Path) -> None:
    moto.client("ecr").create_repository(repositoryName="fixed", imageTagMutability="IMMUTABLE")
    docker.login()
    for content in ("FROM scratch\nCOPY data /\n", "FROM scratch\nCOPY script /\n"):
        (context / "Dockerfile").write_text(content)
        docker("build", "-t", f"{REGISTRY}/fixed:1", context)
        code = 0 if "data" in content else 1
        said = docker("push", f"{REGISTRY}/fixed:1", code=code)
    assert "repository is immutable" in said


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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["build", "--squirrel", "."], "unknown flag: --squirrel"),
        (["build", "-z", "."], "unknown shorthand flag: -z"),
        (["build"], "requires exactly 1 argument"),
        (["build", "-t"], "flag needs an argument: -t"),
        (["run", "x"], "'run' is not a docker command"),
        (["--squirrel"], "unknown flag"),
    ],
)
def test_what_it_does_not_know_it_refuses(docker: Docker, words: list[str], message: str) -> None:
    assert message in docker(*words, code=125)


def test_illegal_names_are_refused(docker: Docker, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM scratch\n")
    assert "invalid reference format" in docker("build", "-t", "2022-RnD-battery", context, code=1)
    assert "No such image" in docker("tag", "missing", "other", code=1)


def test_version_and_info(docker: Docker) -> None:
    assert docker("--version").startswith("Docker version ")
    assert "Docker version" in docker("version")
    assert "Server Version" in docker("info")


def test_refuses_to_act_outside_a_rehearsal(docker: Docker) -> None:
    assert "BATCAT_REHEARSAL_HOME" in docker("build", ".", code=125, BATCAT_REHEARSAL_HOME="")
    docker.environment["AWS_ENDPOINT_URL"] = "https://ecr.example.com"
    words = ("login", "-u", "AWS", "--password-stdin", REGISTRY)
    assert "not on this machine" in docker(*words, given="token", code=1)


def test_files_in_the_current_directory_are_no_modules(docker: Docker, tmp_path: Path) -> None:
    write(tmp_path / "project", **{"json.py": "raise SystemExit(9)", "argparse.py": "1/0"})
    done = subprocess.run(
        [str(docker.program), "--version"],
        cwd=tmp_path / "project", env=docker.environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", Reference("", "a", "latest")),
        ("a/b:1", Reference("", "a/b", "1")),
        ("host:5000/a:1", Reference("host:5000", "a", "1")),
        (f"h.io/a@sha256:{'0' * 64}", Reference("h.io", "a", "", f"sha256:{'0' * 64}")),
    ],
)
def test_references(text: str, expected: Reference) -> None:
    assert Reference.parse(text) == expected
