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


def test_cruft_refuses_too(tmp_path: Path, template: Path, cookiecutter_config: Path) -> None:
    before = snapshot(tmp_path)
    cruft = [str(Path(sys.executable).with_name("cruft")), "create", str(template), "--no-input"]
    answers = ["--extra-context", json.dumps({"project_slug": "../x"})]
    config = ["--config-file", str(cookiecutter_config)]
    done = run(tmp_path, *cruft, *answers, *config, check=False)
    assert done.returncode != 0
    assert "project_slug: " in done.stderr
    assert snapshot(tmp_path) == before


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def test_an_update_from_the_last_release_merges(
    tmp_path: Path, template: Path, cookiecutter_config: Path
) -> None:
    """User files are kept as they are, template files are merged; the runtime is the new one."""
    published = tmp_path / "batcat.git"
    run(template, "git", "tag", "v0.1.0")
    run(tmp_path, "git", "clone", "--quiet", "--bare", str(template), str(published))
    cruft = str(Path(sys.executable).with_name("cruft"))
    options = ["--no-input", "--checkout", "v0.1.0", "--config-file", str(cookiecutter_config)]
    run(tmp_path, cruft, "create", published.as_uri(), *options)
    project = tmp_path / "project_battery"
    run(project, "git", "init", "--quiet")
    commit(project)

    # What a user changes in a month.
    script = project / "script" / "usage-analysis.py"
    script.write_text("mine = True\n")
    config = project / "script" / "config.json"
    edit(config, "ml.m5.xlarge", "ml.m5.4xlarge")
    edit(project / "requirements.txt", "pandas>=2.2", "pandas>=2.2\nscipy>=1.14")
    edit(project / "Makefile", "\nlint:", "\nmine:\n\techo mine\n\nlint:")
    roles = project / "deploy" / "roles.yaml"
    edit(roles, "              # - Sid: Secrets\n", "              - Sid: Secrets\n")
    (project / "notebook" / "mine.ipynb").write_text("{}\n")
    commit(project)
    kept = {path: path.read_bytes() for path in (script, config, project / "notebook/mine.ipynb")}
    old = (project / "requirements.txt").read_text()

    # What the next release changes.
    skeleton = template / "{{cookiecutter.project_slug}}"
    edit(template / "templates/small/script.py", "import pandas", "# new\nimport pandas")
    edit(skeleton / "script/config.json", '"volume_size_gb": 30', '"volume_size_gb": 50')
    edit(skeleton / "Makefile", "# What you can type here.", "# New: what you can type here.")
    edit(skeleton / "deploy/roles.yaml", "Description: The three", "Description: New - the three")
    edit(skeleton / "deploy/docker/Dockerfile", "WORKDIR /build", "# New.\nWORKDIR /build")
    (skeleton / "deploy" / "new.yaml").write_text("new: true\n")
    (skeleton / ".pre-commit-config.yaml").unlink()
    commit(template)
    run(template, "git", "push", "--quiet", str(published), "HEAD")

    run(project, cruft, "update", "--skip-apply-ask")
    assert {path: path.read_bytes() for path in kept} == kept
    makefile = (project / "Makefile").read_text()
    assert makefile.startswith("# New: what")
    assert "\techo mine\n" in makefile
    assert "Description: New - the three" in roles.read_text()
    assert "              - Sid: Secrets\n" in roles.read_text()
    assert "# New.\n" in (project / "deploy/docker/Dockerfile").read_text()
    assert (project / "deploy/new.yaml").read_text() == "new: true\n"
    assert not (project / ".pre-commit-config.yaml").exists()
    assert (project / "data/raw/usage/usage.csv.gz").is_file()
    commits = run(template, "git", "log", "--format=%H").stdout.split()
    new = old.replace(commits[1], commits[0])
    assert (project / "requirements.txt").read_text() == new != old
    changed = run(project, "git", "status", "--porcelain").stdout
    assert ".rej" not in changed
    assert "UU" not in changed
