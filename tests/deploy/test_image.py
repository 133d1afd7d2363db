"""The build context: what the image is made of, and a tag that follows from its content."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from batcat_runtime.deploy.context import gather_context, write_wheel
from batcat_runtime.errors import ImageError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "deploy" / "docker").mkdir(parents=True)
    (tmp_path / "deploy" / "docker" / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "deploy" / "docker" / "requirements.txt").write_text("")
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "a.py").write_text("print(1)\n")
    return tmp_path


def tag(project: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return gather_context(project, tmp_path_factory.mktemp("context"))


def test_the_tag_follows_the_content(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    first = tag(project, tmp_path_factory)
    (project / "script" / "__pycache__").mkdir()
    (project / "script" / "__pycache__" / "a.pyc").write_text("x")
    (project / "README.md").write_text("not in the image")
    assert tag(project, tmp_path_factory) == first
    (project / "script" / "a.py").write_text("print(2)\n")
    assert tag(project, tmp_path_factory) != first


def test_a_missing_dockerfile_is_named(project: Path, tmp_path: Path) -> None:
    (project / "deploy" / "docker" / "Dockerfile").unlink()
    with pytest.raises(ImageError, match="Dockerfile"):
        gather_context(project, tmp_path / "context")


def test_the_wheel_is_the_same_every_time_and_installs(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path / "a")
    assert wheel.read_bytes() == write_wheel(tmp_path / "b").read_bytes()
    target = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*install, "--target", str(target), str(wheel)], check=True)
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-c",
            f"import sys; sys.path.insert(0, {str(target)!r}); "
            "import batcat_runtime as bc; print(bc.__version__, bc.__file__)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(target) in done.stdout
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if "_template" in name or ".pyc" in name]
