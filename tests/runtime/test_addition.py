"""`batcat add`: a purpose more, made like the first one, and nothing else touched."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import batcat_runtime as bc
from batcat_runtime.project import new_project
from tests.conftest import batcat, batcat_here


@pytest.fixture(scope="module")
def baked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_project({}, no_input=True, output_dir=tmp_path_factory.mktemp("baked"))


@pytest.fixture
def project(baked: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(baked, tmp_path / "project"))


def content_of(project: Path) -> dict[str, bytes]:
    files = (path for path in project.rglob("*") if path.is_file())
    return {path.relative_to(project).as_posix(): path.read_bytes() for path in files}


def test_a_purpose_is_added_and_works(project: Path) -> None:
    before = content_of(project)
    done = batcat("add", "forecast", "-C", project)
    assert done.returncode == 0, done.stderr
    assert "script/forecast.py\ntest/test_forecast.py\nscript/config.json\n" in done.stdout
    after = content_of(project)
    new = sorted(set(after) - set(before))
    assert new == ["script/forecast.py", "test/test_forecast.py"]
    changed = [name for name in before if before[name] != after[name]]
    assert changed == ["script/config.json"]
    config = bc.get_config(project)
    assert list(config.purposes) == ["usage-analysis", "forecast"]
    assert [step.script for step in config.purposes["forecast"].steps] == ["forecast.py"]
    # Made from the template: the same but for the names.
    assert after["script/forecast.py"] == after["script/usage-analysis.py"]
    tests = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "test/test_forecast.py",
    ]
    assert subprocess.run(tests, cwd=project, capture_output=True, check=False).returncode == 0


def test_what_stands_in_the_configuration_stays_as_it_was(project: Path) -> None:
    file = project / "script" / "config.json"
    before = file.read_text(encoding="utf-8").splitlines()
    assert batcat_here("add", "forecast", cwd=project).returncode == 0
    after = file.read_text(encoding="utf-8").splitlines()
    # One line changed: the brace that now has a comma behind it.
    kept = [line for line in after if line in before]
    assert len(kept) >= len(before)
    assert sum(line not in after for line in before) == 0
    assert batcat_here("add", "next-one", cwd=project).returncode == 0
    assert list(json.loads(file.read_text())["purposes"]) == [
        *("usage-analysis", "forecast", "next-one")
    ]


@pytest.mark.parametrize("layout", [{"indent": 4}, {"indent": "\t"}, {}])
def test_any_layout_is_kept(project: Path, layout: dict[str, Any]) -> None:
    file = project / "script" / "config.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_bytes(json.dumps(content, **layout).replace("\n", "\r\n").encode())
    assert batcat_here("add", "forecast", cwd=project).returncode == 0
    written = file.read_bytes().decode()
    assert ("\r\n" in written) == bool(layout)
    assert "\n" not in written.replace("\r\n", "")
    found = json.loads(written)
    content["purposes"]["forecast"] = found["purposes"]["forecast"]
    assert written.replace("\r\n", "\n") == json.dumps(content, **layout)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("usage-analysis", "has a purpose 'usage-analysis' already"),
        ("Forecast", "lower-case letters"),
        ("../forecast", "lower-case letters"),
        ("a--b", "single hyphens"),
        ("a" * 41, "at most 40"),
        ("json", "module json"),
        ("pandas", "module pandas"),
        ("nul", "Windows"),
        ("", "lower-case letters"),
    ],
)
def test_impossible_names_are_refused_and_nothing_is_changed(
    project: Path, name: str, said: str
) -> None:
    before = content_of(project)
    done = batcat_here("add", name, "-C", project, cwd=project)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
    assert content_of(project) == before


@pytest.mark.parametrize("file", ["script/forecast.py", "test/test_forecast.py"])
def test_a_file_of_the_users_is_never_overwritten(project: Path, file: str) -> None:
    (project / file).write_text("mine")
    before = content_of(project)
    done = batcat_here("add", "forecast", cwd=project)
    assert done.returncode == 2
    assert f"a file {file} already" in done.stderr
    assert content_of(project) == before


def test_a_broken_configuration_is_told_first(project: Path) -> None:
    (project / "script" / "config.json").write_text("{")
    before = content_of(project)
    done = batcat_here("add", "forecast", cwd=project)
    assert done.returncode == 2
    assert "is no JSON" in done.stderr
    assert content_of(project) == before


def test_a_failure_half_way_leaves_nothing_half_made(project: Path) -> None:
    # A folder in the place of the tests' folder: the script can be written, its test cannot.
    shutil.rmtree(project / "test")
    (project / "test").write_text("not a folder")
    before = content_of(project)
    done = batcat_here("add", "forecast", cwd=project)
    assert done.returncode == 2
    assert "was not added" in done.stderr
    assert content_of(project) == before
