"""The template travels in the wheel: an installed `batcat new` makes the same project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the built wheel, and nothing else, where this Python's packages can be reached."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*build, "--wheel-dir", str(folder), str(REPOSITORY)], check=True)
    (wheel,) = folder.glob("*.whl")
    place = folder / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, "--target", str(place), str(wheel)], check=True)
    return place


def files(project: Path) -> dict[str, bytes]:
    return {
        path.relative_to(project).as_posix(): path.read_bytes()
        for path in project.rglob("*")
        if path.is_file() and path.name != "requirements.txt"
    }


def test_the_installed_template_makes_the_same_project(installed: Path, tmp_path: Path) -> None:
    made = {}
    for name, place in (("wheel", installed), ("repository", REPOSITORY)):
        code = (
            f"import sys; sys.path.insert(0, {str(place)!r}); import batcat_runtime.project as p; "
            f"assert p.__file__.startswith({str(place)!r}), p.__file__; "
            "from pathlib import Path; "
            f"p.new_project({{'example': 'battery'}}, output_dir=Path({str(tmp_path / name)!r}))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        made[name] = tmp_path / name / "project_battery"
    assert files(made["wheel"]) == files(made["repository"])
    assert not list(made["wheel"].rglob("__pycache__"))
    requirement = (made["wheel"] / "requirements.txt").read_text()
    assert "batcat-runtime[deploy,rehearse] @ file://" in requirement
    assert (installed / "batcat_runtime" / "rehearsal" / "assets" / "report.css").is_file()
