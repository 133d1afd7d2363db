"""Baking: the template goes through the real cookiecutter, into a folder of the test's own."""

from __future__ import annotations

import json
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


@pytest.fixture
def bake(tmp_path: Path, cookiecutter_config: Path) -> Bake:
    """Return a function from answers to the project that they make."""

    def run(**answers: str) -> Path:
        made = cookiecutter(
            str(ROOT),
            no_input=True,
            extra_context=answers,
            output_dir=str(tmp_path),
            config_file=str(cookiecutter_config),
        )
        return Path(made)

    return run


@pytest.fixture(scope="session")
def default_project(tmp_path_factory: pytest.TempPathFactory, cookiecutter_config: Path) -> Path:
    """Return a project with the default answers, for tests that only read it."""
    return Path(
        cookiecutter(
            str(ROOT),
            no_input=True,
            output_dir=str(tmp_path_factory.mktemp("default")),
            config_file=str(cookiecutter_config),
        )
    )
