"""`batcat deploy` and `batcat lock`, where no AWS is needed to see what they do."""

from __future__ import annotations

from pathlib import Path

import pytest

from batcat_runtime.deploy.project import Deployed, DeployedStack
from batcat_runtime.project import new_project
from tests.conftest import batcat


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return new_project({}, no_input=True, output_dir=tmp_path)


def test_a_deployment_that_fails_shows_its_last_lines(project: Path) -> None:
    script = project / "deploy" / "deploy.sh"
    script.write_text("echo first; echo 'the reason' >&2; exit 3\n")
    done = batcat("deploy", cwd=project)
    assert done.returncode == 1
    assert done.stderr.startswith("first\nthe reason\n")
    assert "deploy/deploy.sh failed with exit code 3:\n  first\n  the reason\n  Fix:" in done.stderr


def test_what_was_done_is_summed_up(project: Path) -> None:
    script = project / "deploy" / "deploy.sh"
    script.write_text("echo 'stack a: created'; echo 'stack b: unchanged'\n")
    done = batcat("deploy", project)
    assert (done.returncode, done.stdout) == (0, "Deployed: a created, b unchanged.\n")
    assert not Deployed((DeployedStack("a", "unchanged"),)).changed


def test_without_the_script_or_with_a_wrong_config_nothing_runs(project: Path) -> None:
    (project / "deploy" / "deploy.sh").unlink()
    done = batcat("deploy", cwd=project)
    assert (done.returncode, "Restore it from git" in done.stderr) == (2, True)
    (project / "script" / "config.json").write_text("{}")
    assert batcat("deploy", cwd=project).returncode == 2
    assert "not inside a BatCat project" in batcat("deploy", project.parent).stderr


def test_what_cannot_be_locked_is_told_in_one_message(project: Path) -> None:
    (project / "deploy" / "docker" / "requirements.txt").write_text("pandas<1\n")
    done = batcat("lock", cwd=project)
    assert done.returncode == 2
    assert "requirements.txt cannot be locked" in done.stderr
