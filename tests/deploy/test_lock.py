"""The image's lock: a build with a lock that is out of step does not start."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from batcat_runtime.config import get_config
from batcat_runtime.deploy.context import context_of
from batcat_runtime.deploy.lock import LOCK, check_lock, write_lock
from batcat_runtime.errors import ImageError, UserError
from batcat_runtime.project import new_project
from tests.conftest import REPOSITORY

TEMPLATE = REPOSITORY / "{{cookiecutter.project_slug}}" / "deploy" / "docker"


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    folder = tmp_path / "deploy" / "docker"
    shutil.copytree(TEMPLATE, folder)
    (folder / "Dockerfile").write_text("ARG PYTHON_VERSION=3.11\nCOPY requirements.lock .\n")
    return folder


def test_the_template_s_lock_is_of_its_requirements(docker: Path) -> None:
    check_lock(docker)


def test_every_package_of_the_template_s_lock_is_pinned_with_hashes() -> None:
    entries = (TEMPLATE / LOCK).read_text().replace("\\\n", " ").splitlines()
    packages = [line for line in entries if line and not line.lstrip().startswith("#")]
    assert len(packages) > 10
    for line in packages:
        assert "==" in line
        assert "--hash=sha256:" in line


def test_comments_do_not_make_a_lock_stale_but_requirements_do(docker: Path) -> None:
    requirements = docker / "requirements.txt"
    requirements.write_text(requirements.read_text() + "\n# a thought\n")
    check_lock(docker)
    requirements.write_text(requirements.read_text() + "scipy  # for the filter\n")
    with pytest.raises(ImageError, match="made from other requirements") as caught:
        check_lock(docker)
    assert "make lock" in caught.value.fix


def test_a_stale_lock_stops_the_build(tmp_path: Path) -> None:
    project = new_project({}, no_input=True, output_dir=tmp_path)
    assert LOCK in context_of(get_config(project))
    (project / "deploy" / "docker" / "requirements.txt").write_text("scipy\n")
    with pytest.raises(ImageError, match="made from other requirements"):
        context_of(get_config(project))


def test_locking_adds_what_is_asked_for_and_keeps_the_rest(docker: Path) -> None:
    before = _pins(docker)
    (docker / "requirements.txt").write_text("tomli-w==1.0.0\n")
    try:
        write_lock(docker)
    except UserError as error:
        if "tomli-w" in error.message and "not find" not in error.message:
            raise
        pytest.skip(f"no package index is in reach: {error.message[:200]}")
    check_lock(docker)
    assert _pins(docker) == before | {"tomli-w==1.0.0"}
    assert sorted(path.name for path in docker.iterdir()) == [
        "Dockerfile",
        LOCK,
        "requirements.txt",
    ]


def test_what_cannot_be_locked_leaves_the_old_lock(docker: Path) -> None:
    before = (docker / LOCK).read_bytes()
    (docker / "requirements.txt").write_text("pandas<1\n")
    with pytest.raises(UserError, match="cannot be locked"):
        write_lock(docker)
    assert (docker / LOCK).read_bytes() == before
    assert not list(docker.glob(".*"))


def _pins(docker: Path) -> set[str]:
    lines = (docker / LOCK).read_text().splitlines()
    return {line.split()[0] for line in lines if "==" in line and not line.startswith("#")}
