"""The command line's own manners: exit codes, clear messages, a project made, an AWS at hand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import boto3
import pytest

from batcat_runtime import __version__
from batcat_runtime.commands import COMMANDS
from batcat_runtime.project import new_project
from tests.conftest import batcat


def test_the_installed_command_is_the_same() -> None:
    command = Path(sys.executable).with_name("batcat")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"batcat {__version__}\n" == batcat("--version").stdout


@pytest.mark.parametrize(
    "command",
    [
        *((), ("new",), ("rehearse",), ("local",), ("results", "query")),
        *((name,) for name in COMMANDS),
    ],
)
def test_help_fits_the_screen(command: tuple[str, ...]) -> None:
    done = batcat(*command, "--help")
    assert done.returncode == 0
    listed = done.stdout.partition("Commands:")[2]
    assert "..." not in listed  # a short help is not cut
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "No such command 'nonsense'"),
        (("rehearse", "--nonsense"), "No such option"),
        (("rehearse", "/"), "is not inside a BatCat project"),
        (("new", "--no-input", "colour=blue"), "asks no question called colour"),
        (("new", "--no-input", "project_name"), "write it as name=value"),
        (("new", "--no-input", "purpose=../x"), "../x"),
        (("new", "--no-input", "region=cn-north-9"), "cn-north-9"),
        (("new", "--no-input", "result_s3_bucket=2022-RnD-battery"), "2022-RnD-battery"),
        (("new", "--no-input", "licence=GPL"), "GPL"),
    ],
)
def test_the_users_mistakes_are_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = batcat(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert said.lower() in (done.stdout + done.stderr).lower()
    assert "Traceback" not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = batcat("--debug", "rehearse", "/", cwd=tmp_path)
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def test_new_makes_a_project_and_prints_its_tree(tmp_path: Path) -> None:
    done = batcat("new", "--no-input", "project_name=battery", "region=us-east-1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "project_battery/" in done.stdout
    for folder in ("doc/", "log/", "model/", "test/", "tmp/", "train/", "raw/", "notebook/"):
        assert folder in done.stdout
    config = json.loads((tmp_path / "project_battery" / "script" / "config.json").read_text())
    assert config["region"] == "us-east-1"
    again = batcat("new", "--no-input", "project_name=battery", cwd=tmp_path)
    assert again.returncode == 2
    assert "project_battery" in again.stderr
    assert "already exists" in again.stderr


@pytest.fixture
def own_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the long-lived embedded AWS of this test apart from the developer's own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))


def test_local_up_env_down(own_machine: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert batcat("local", "env").returncode == 2
    up = batcat("local", "up", "--region", "cn-northwest-1")
    try:
        assert up.returncode == 0, up.stderr
        assert "127.0.0.1" in up.stdout
        assert batcat("local", "up").returncode == 2
        shell = batcat("local", "env").stdout
        show = subprocess.run(
            [
                "bash",
                "-c",
                f'eval "$1"; {sys.executable} -c "import os, json; '
                "print(json.dumps({k: v for k, v in os.environ.items() if k[:4] == 'AWS_'}))\"",
                "bash",
                shell,
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        for name, value in json.loads(show.stdout).items():
            monkeypatch.setenv(name, value)
        assert os.environ["AWS_DEFAULT_REGION"] == "cn-northwest-1"
        identity = boto3.client("sts").get_caller_identity()
        assert identity["Arn"].startswith("arn:aws-cn:")
        (endpoint,) = re.findall(r"http://127\.0\.0\.1:\d+", up.stdout)
    finally:
        down = batcat("local", "down")
    assert down.returncode == 0
    assert "Stopped" in down.stdout
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(endpoint, timeout=5)
    assert "No embedded AWS was running" in batcat("local", "down").stdout


def test_how_an_administrator_makes_the_roles_is_printed(tmp_path: Path) -> None:
    project = new_project({}, no_input=True, output_dir=tmp_path)
    done = batcat("roles", str(project))
    assert done.returncode == 0, done.stderr
    command = done.stdout.splitlines()[1]
    assert "--template-file deploy/roles.yaml" in command
    assert "--stack-name batcat-battery--usage-analysis--roles" in command
    parameters = project / "deploy" / "build" / "usage-analysis.parameters.json"
    assert "StateMachineName=battery--usage-analysis" in json.loads(parameters.read_text())
