"""Baking: the template goes through the real cookiecutter, once for the same answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cookiecutter.main import cookiecutter

from tests.template.baking import ROOT, Bake


@pytest.fixture(scope="session")
def questions() -> dict[str, Any]:
    return json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def cookiecutter_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cookiecutter configuration that leaves the developer's home alone."""
    home = tmp_path_factory.mktemp("cookiecutter")
    file = home / "config.yaml"
    settings = {"replay_dir": str(home / "replay"), "cookiecutters_dir": str(home / "clones")}
    file.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    return file


@pytest.fixture(scope="session")
def baked(tmp_path_factory: pytest.TempPathFactory, cookiecutter_config: Path) -> Bake:
    """Return a function from answers to their project, for tests that only read it."""
    made: dict[str, Path] = {}

    def run(**answers: str) -> Path:
        key = json.dumps(answers, sort_keys=True)
        if key not in made:
            project = cookiecutter(
                str(ROOT),
                no_input=True,
                extra_context=answers,
                output_dir=str(tmp_path_factory.mktemp("baked")),
                config_file=str(cookiecutter_config),
            )
            made[key] = Path(project)
        return made[key]

    return run


@pytest.fixture
def bake(tmp_path: Path, baked: Bake) -> Bake:
    """Return a function from answers to their project, for a test to do with as it likes."""

    def run(**answers: str) -> Path:
        project = baked(**answers)
        return Path(shutil.copytree(project, tmp_path / project.name, symlinks=True))

    return run


@pytest.fixture(scope="session")
def default_project(baked: Bake) -> Path:
    """Return a project with the default answers, for tests that only read it."""
    return baked()
