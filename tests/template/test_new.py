"""`batcat new`: five questions on a terminal, each answer checked as it is given."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from batcat_runtime.config import get_config
from tests.conftest import batcat, batcat_here
from tests.template.baking import snapshot


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the developer's own profile out of it; return the file that takes its place."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(home / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / "credentials"))
    return home / "config"


def asked(folder: Path, answers: str, *words: str) -> tuple[int, str]:
    """Run `batcat new` on a terminal; return its exit code and what was to be seen."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "batcat_runtime", "new", *words]
    asking = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, cwd=folder)
    os.close(slave)
    os.write(master, answers.encode())
    shown = b""
    while True:
        try:
            shown += os.read(master, 4096)
        except OSError:
            break
    os.close(master)
    return asking.wait(timeout=60), shown.decode().replace("\r\n", "\n")


def test_five_questions_with_a_default_each(tmp_path: Path) -> None:
    code, shown = asked(tmp_path, "wind\n" + "\n" * 4)
    assert code == 0, shown
    assert len(re.findall(r" \[[^]]+\]: ", shown)) == 5
    config = get_config(tmp_path / "project_wind")
    assert (config.title, config.region) == ("wind", "cn-northwest-1")
    assert config.result_s3_bucket == "project-wind-result"


def test_a_bad_answer_is_told_and_asked_again(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    answers = ["{{ 7 * 7 }}", "../x", "taken", "good", "Json", "json", "soh"]
    answers += ["us-est-1", "us-east-1", "My_Bucket", "my-bucket"]
    code, shown = asked(tmp_path, "\n".join(answers) + "\n")
    assert code == 0, shown
    for said in (
        "project_slug: '../x' is no plain folder name",
        "taken already exists",
        "purpose: 'Json' cannot name a script",
        "purpose: 'json' would make script/json.py",
        "region: 'us-est-1' is no AWS region. For example: region=us-",
        "result_s3_bucket: 'My_Bucket' is no bucket name",
    ):
        assert said in shown
    config = get_config(tmp_path / "good")
    assert (config.title, config.region) == ("{{ 7 * 7 }}", "us-east-1")
    assert (list(config.purposes), config.result_s3_bucket) == (["soh"], "my-bucket")


@pytest.mark.parametrize(
    ("profile", "bucket"),
    [
        ("sso_account_id = 123456789012", "project-battery-result-123456789012"),
        ("role_arn = arn:aws:iam::210987654321:role/x", "project-battery-result-210987654321"),
        ("output = json", "project-battery-result"),
    ],
)
def test_region_and_bucket_default_from_the_profile(
    tmp_path: Path, own_home: Path, profile: str, bucket: str
) -> None:
    own_home.write_text(f"[default]\nregion = eu-central-1\n{profile}\n")
    done = batcat_here("new", "--no-input", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    config = get_config(tmp_path / "project_battery")
    assert (config.region, config.result_s3_bucket) == ("eu-central-1", bucket)


def test_a_profile_that_is_not_there_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "gone")
    assert batcat_here("new", "--no-input", cwd=tmp_path).returncode == 0


def test_options_are_not_asked_for(tmp_path: Path) -> None:
    words = ["--python", "3.12", "--mirror", "tsinghua", "--licence", "Proprietary"]
    words += ["--example", "battery", "project_name=wind", "project_slug=w", "purpose=soh"]
    code, shown = asked(tmp_path, "\n\n", *words)
    assert code == 0, shown
    project = tmp_path / "w"
    assert "PYTHON_VERSION=3.12" in (project / "deploy/docker/Dockerfile").read_text()
    assert "tsinghua" in (project / "requirements.txt").read_text()
    assert "No licence is granted" in (project / "LICENSE").read_text()
    assert "add_resistance" in (project / "script/soh.py").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--licence", "GPL"], "'GPL' is not one of"),
        (["licence=GPL"], "'GPL' is not on offer"),
        (["colour=red"], "no question called colour"),
        (["battery"], "'battery' is no answer"),
        (["purpose=Up", "region=x", "--no-input"], "purpose: 'Up' cannot name"),
        (["purpose=Up", "region=x"], "region: 'x' is no AWS region"),
        ([], "No project was made: there was no answer"),
    ],
)
def test_what_cannot_work_leaves_nothing(tmp_path: Path, words: list[str], said: str) -> None:
    done = batcat("new", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert snapshot(tmp_path) == {}


def test_an_answer_is_never_obeyed(tmp_path: Path) -> None:
    name = "{% raw %} {{ cookiecutter.nothing }} \\ \" ' {# 电池 👩‍🔬"
    done = batcat_here("new", "--no-input", f"project_name={name}", "project_slug=x", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "x/script/config.json").read_text("utf-8"))["title"] == name


def test_a_reader_that_leaves_takes_no_project_along(tmp_path: Path) -> None:
    command = f"{sys.executable} -m batcat_runtime new --no-input | true"
    shell = ["bash", "-o", "pipefail", "-c", command]
    subprocess.run(shell, cwd=tmp_path, check=True)
    assert (tmp_path / "project_battery" / "README.md").is_file()
