"""The commands of a fresh project, as its user types them, without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.template.baking import Bake


def make(project: Path, *words: str, python: str = sys.executable) -> subprocess.CompletedProcess:
    """Run make in its own network namespace where that is allowed, else behind dead proxies."""
    dead = dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
    unset = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST"}
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    alone = ["unshare", "--map-root-user", "--net"]
    allowed = bool(shutil.which("unshare")) and not subprocess.run([*alone, "true"]).returncode
    return subprocess.run(
        [*(alone if allowed else []), "make", *words, f"PYTHON={python}"],
        cwd=project,
        env={**environment, **dead},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(autouse=True)
def needs_make() -> None:
    if not shutil.which("make"):
        pytest.skip("there is no make here")


def test_make_test_is_green_offline(bake: Bake) -> None:
    project = bake(project_name="make test")
    done = make(project, "test")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert " failed" not in done.stdout
    assert not (project / ".venv").exists()


def test_make_test_is_green_in_a_clone_without_data(bake: Bake) -> None:
    """Git keeps data out, so what a colleague clones has no sample."""
    project = bake()
    shutil.rmtree(project / "data/raw/usage")
    done = make(project, "test")
    assert done.returncode == 0, done.stdout + done.stderr


def test_make_run_leaves_a_result_and_its_manifest(bake: Bake) -> None:
    project = bake(purpose="soh")
    done = make(project, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    made = [path.name for path in (project / "data/result").rglob("*") if path.is_file()]
    assert "_manifest.json" in made
    assert "soh.csv" in made


def test_make_alone_says_what_there_is(default_project: Path) -> None:
    done = make(default_project)
    assert done.returncode == 0
    for command in ("env", "test", "run", "rehearse", "deploy"):
        assert f"make {command} " in done.stdout


def bare_python(folder: Path, version: str = "3, 11") -> Path:
    """Write a stand-in python that has no package, and makes no environment but says so."""
    script = folder / "python"
    real = f'exec "{sys.executable}" -I -S'
    script.write_text(f"""#!/bin/sh
case "$1 $2" in
  "-m venv") echo "asked for a venv at $3"; exit 3;;
  "-c import sys; sys.exit"*) {real} -c "import sys; sys.exit(({version}) < (3, 11))";;
esac
{real} "$@"
""")
    script.chmod(0o755)
    return script


def test_a_python_without_the_tools_gets_an_environment(bake: Bake, tmp_path: Path) -> None:
    project = bake()
    done = make(project, "test", python=str(bare_python(tmp_path)))
    assert "Setting up .venv" in done.stdout
    assert "asked for a venv at .venv" in done.stdout
    assert done.returncode == 2
    assert not (project / ".venv/.ready").exists()


def test_an_old_python_is_refused_with_what_to_do(bake: Bake, tmp_path: Path) -> None:
    done = make(bake(), "test", python=str(bare_python(tmp_path, "3, 9")))
    assert done.returncode == 2
    assert "make test PYTHON=python3.12" in done.stdout
    assert "asked for a venv" not in done.stdout
