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
from batcat_runtime.commands import GROUPS
from batcat_runtime.project import new_project
from tests.conftest import batcat, batcat_here


def test_the_installed_command_is_the_same() -> None:
    command = Path(sys.executable).with_name("batcat")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"batcat {__version__}\n" == batcat("--version").stdout


COMMANDS = [(name,) for group in GROUPS.values() for name in group]


def test_the_help_of_all_fits_one_screen() -> None:
    lines = batcat("--help").stdout.splitlines()
    assert (len(lines) <= 24, max(map(len, lines)) <= 80) == (True, True)
    assert {name for (name,) in COMMANDS} <= set(" ".join(lines).split())


@pytest.mark.parametrize("command", [*COMMANDS, ("data", "push"), ("results", "get")])
def test_help_fits_the_screen(command: tuple[str, ...], tmp_path: Path) -> None:
    done = batcat_here(*command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_shell_completes_commands_and_options(monkeypatch: pytest.MonkeyPatch) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_BATCAT_COMPLETE" in batcat("completion", shell).stdout
    monkeypatch.setenv("_BATCAT_COMPLETE", "bash_complete")
    for typed, found in (("batcat sta", "plain,status"), ("batcat status --j", "plain,--json")):
        monkeypatch.setenv("COMP_WORDS", typed)
        monkeypatch.setenv("COMP_CWORD", str(typed.count(" ")))
        assert batcat().stdout.split() == [found]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "Try 'batcat --help'"),
        (("statsu",), "Did you mean 'status'?"),
        (("rehearse", "--nonsense"), "No such option"),
        (("rehearse", "-C", "/"), "is not inside a BatCat project"),
    ],
)
def test_the_users_mistakes_are_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = batcat_here(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert said.lower() in (done.stdout + done.stderr).lower()
    assert "Traceback" not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = batcat("--debug", "rehearse", "-C", "/", cwd=tmp_path)
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
        assert "running already" in batcat("local", "up").stderr
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
    done = batcat("roles", "-C", str(project))
    assert done.returncode == 0, done.stderr
    command = done.stdout.splitlines()[1]
    assert "--template-file deploy/roles.yaml" in command
    assert "--stack-name batcat-battery--usage-analysis--roles" in command
    parameters = project / "deploy" / "build" / "usage-analysis.parameters.json"
    assert "StateMachineName=battery--usage-analysis" in json.loads(parameters.read_text())
