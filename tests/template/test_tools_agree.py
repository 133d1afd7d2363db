"""cookiecutter and cruft make the same project, and cruft can bring it up to date."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.template.baking import ROOT, snapshot

PARTS = [
    "cookiecutter.json",
    "hooks",
    "pyproject.toml",
    "templates",
    "{{cookiecutter.project_slug}}",
]


def run(folder: Path, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    who = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_EDITOR": "true"}
    who |= {"GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org"}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **who, "PWD": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done


def commit(folder: Path) -> None:
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "--quiet", "-m", "Change")


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """Return a git repository that holds the template as it is now, committed or not."""
    place = tmp_path / "batcat"
    place.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, place / part, ignore=ignored)
        else:
            shutil.copy(ROOT / part, place / part)
    run(place, "git", "init", "--quiet")
    commit(place)
    return place


def test_same_tree(tmp_path: Path, template: Path, cookiecutter_config: Path) -> None:
    options = ["--no-input", "--config-file", str(cookiecutter_config)]
    baked = [sys.executable, "-m", "cookiecutter", ".", "-o", str(tmp_path / "one"), *options]
    run(template, *baked)
    (tmp_path / "two").mkdir()
    cruft = [str(Path(sys.executable).with_name("cruft")), "create", ".", "--no-input"]
    run(template, *cruft, "--output-dir", str(tmp_path / "two"), *options[1:])
    one = snapshot(tmp_path / "one" / "project_battery")
    two = snapshot(tmp_path / "two" / "project_battery")
    record = json.loads(two.pop(".cruft.json"))
    assert record["template"] == str(template)
    assert one == two
    assert template.as_uri() in one["requirements.txt"].decode()


@pytest.mark.parametrize("slug", ["", "../x"])
def test_cruft_refuses_too(
    tmp_path: Path, template: Path, cookiecutter_config: Path, slug: str
) -> None:
    before = snapshot(tmp_path)
    cruft = [str(Path(sys.executable).with_name("cruft")), "create", str(template), "--no-input"]
    answers = ["--extra-context", json.dumps({"project_slug": slug})]
    config = ["--config-file", str(cookiecutter_config)]
    done = run(tmp_path, *cruft, *answers, *config, check=False)
    assert done.returncode != 0
    assert "project_slug: " in done.stderr
    assert snapshot(tmp_path) == before


def test_update_brings_the_new_and_leaves_what_is_yours(
    tmp_path: Path, template: Path, cookiecutter_config: Path
) -> None:
    cruft = str(Path(sys.executable).with_name("cruft"))
    config = ["--config-file", str(cookiecutter_config)]
    run(tmp_path, cruft, "create", str(template), "--no-input", *config)
    project = tmp_path / "project_battery"
    script = project / "script" / "usage-analysis.py"
    script.write_text("mine = True\n")
    run(project, "git", "init", "--quiet")
    commit(project)
    skeleton = template / "{{cookiecutter.project_slug}}"
    with (skeleton / "Makefile").open("a") as stream:
        stream.write("\n# new in the template\n")
    with (template / "templates" / "small" / "script.py").open("a") as stream:
        stream.write("\n# new in the template\n")
    commit(template)
    run(project, cruft, "update", "--skip-apply-ask")
    assert (project / "Makefile").read_text().endswith("# new in the template\n")
    assert script.read_text() == "mine = True\n"
    assert (project / "data/raw/usage/usage.csv.gz").is_file()
