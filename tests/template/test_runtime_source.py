"""Where a project gets its runtime from: the template's own source, exactly, and nothing else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.template.baking import ROOT, load_hook

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def source(folders: list[Path] | None = None, **answers: Any) -> str | None:
    hook = load_hook("post_gen_project", answers)
    return hook["runtime_source"](answers, [str(folder) for folder in folders or [ROOT]])


def make_repository(folder: Path, *, origin: str) -> str:
    """Make a git repository with one commit; return the commit."""
    git = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "First"], check=True)
    subprocess.run([*git, "remote", "add", "origin", origin], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return head.stdout.strip()


def make_template(folder: Path) -> Path:
    """Make what a checkout of BatCat looks like from outside."""
    folder.mkdir(parents=True)
    (folder / "cookiecutter.json").write_text("{}")
    (folder / "pyproject.toml").write_text('[project]\nname = "batcat-runtime"\n')
    return folder


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("https://host/org/batcat.git", f"git+https://host/org/batcat.git@{COMMIT}"),
        ("https://host:8443/batcat", f"git+https://host:8443/batcat@{COMMIT}"),
        ("git+https://host/batcat.git", f"git+https://host/batcat.git@{COMMIT}"),
        ("git@host:org/batcat.git", f"git+ssh://git@host/org/batcat.git@{COMMIT}"),
        ("ssh://git@host:22/batcat.git", f"git+ssh://git@host:22/batcat.git@{COMMIT}"),
        ("https://host/archive/v0.1.0.zip", "https://host/archive/v0.1.0.zip"),
        ("https://me:s3cret@host/batcat.git", f"git+https://host/batcat.git@{COMMIT}"),
        ("https://t0ken@host/batcat.zip", "https://host/batcat.zip"),
        ("https://host/batcat.git?token=s3cret", f"git+https://host/batcat.git@{COMMIT}"),
    ],
)
def test_remote_template(address: str, url: str) -> None:
    found = source(_template=address, _commit=COMMIT)
    assert found == url
    assert Requirement(f"batcat-runtime[deploy,rehearse] @ {found}").url == url


def test_without_a_commit_a_repository_is_no_source(tmp_path: Path) -> None:
    assert source([tmp_path], _template="https://host/b.git") is None  # a tag can move


@pytest.mark.parametrize("template", ["gh:o/b", "corp:b", "b"])
def test_a_short_form_is_read_from_the_clone(tmp_path: Path, template: str) -> None:
    commit = make_repository(tmp_path, origin="git@git.corp:ds/batcat.git")
    found = source(_template=template, _repo_dir=str(tmp_path), _checkout="main")
    assert found == f"git+ssh://git@git.corp/ds/batcat.git@{commit}"


@pytest.mark.parametrize("template", [".", "./", "../my templates/batcat #1", "ABSOLUTE"])
def test_local_template(tmp_path: Path, template: str) -> None:
    place = make_template(tmp_path / "my templates" / "batcat #1")
    template = str(place) if template == "ABSOLUTE" else template
    start = place if template.startswith("./") or template == "." else tmp_path / "elsewhere"
    found = source([start], _template=template, _commit=COMMIT, _checkout="main")
    assert found == place.as_uri()
    assert "my%20templates/batcat%20%231" in found


def test_a_relative_template_is_looked_for_where_the_user_may_have_stood(tmp_path: Path) -> None:
    place = make_template(tmp_path / "batcat")
    assert source([tmp_path / "wrong", tmp_path], _template="batcat") == place.as_uri()


def test_another_template_in_that_place_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "cookiecutter.json").write_text("{}")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "other"\n')
    assert source([tmp_path], _template=".") is None


def test_local_archive_and_bare_repository(tmp_path: Path) -> None:
    archive = tmp_path / "batcat-0.1.0.zip"
    archive.write_bytes(b"PK")
    assert source([tmp_path], _template="batcat-0.1.0.zip") == archive.as_uri()
    bare = f"file://{tmp_path / 'batcat.git'}"
    commit = make_repository(tmp_path / "clone", origin=bare)
    found = source(_template=bare, _repo_dir=str(tmp_path / "clone"))
    assert found == f"git+{bare}@{commit}"


def test_a_given_source_overrules(tmp_path: Path) -> None:
    given = f"git+https://host/batcat@{COMMIT}"
    assert source(_template="https://host/b.git", _runtime_source=given) == given
    wheel = tmp_path / "my wheels" / "batcat.whl"
    assert source(_template="gh:o/b", _runtime_source=str(wheel)) == wheel.as_uri()
    assert source(_template="gh:o/b", _runtime_source="==0.1.0") == "==0.1.0"


def test_an_unknown_source_stops_generation(tmp_path: Path) -> None:
    assert source([tmp_path], _template="nowhere") is None
    answers = {"_template": "nowhere", "_output_dir": str(tmp_path)}
    hook = load_hook("post_gen_project", answers)
    with pytest.raises(SystemExit, match="_runtime_source="):
        hook["main"]()


def test_the_project_names_the_source_and_no_bare_runtime(default_project: Path) -> None:
    project = default_project
    lines = (project / "requirements.txt").read_text().splitlines()
    [runtime] = [Requirement(line) for line in lines if line.startswith("batcat")]
    assert runtime.url == ROOT.as_uri()
    assert runtime.extras == {"deploy", "rehearse"}
    for path in project.rglob("*requirements*.txt"):
        for line in path.read_text().splitlines():
            assert not line.startswith("batcat-runtime") or " @ " in line
    assert os.linesep == "\n" or b"\r" not in (project / "requirements.txt").read_bytes()
