"""cookiecutter.json: few questions, each with words of its own, and facts that stay in step."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import pytest
from botocore.loaders import create_loader

from tests.template.baking import HOOKS, ROOT


def asked(questions: dict[str, Any]) -> list[str]:
    return [name for name in questions if not name.startswith("_")]


def test_every_question_has_a_prompt_on_one_line(questions: dict[str, Any]) -> None:
    texts = questions["__prompts__"]
    assert sorted(texts) == sorted(asked(questions))
    assert all(0 < len(text) < 70 for text in texts.values())


def test_regions_are_those_that_botocore_knows(questions: dict[str, Any]) -> None:
    partitions = create_loader().load_data("endpoints")["partitions"]
    known = {
        region
        for partition in partitions
        if partition["partition"] in {"aws", "aws-cn", "aws-us-gov"}
        for region in partition["regions"]
    }
    assert set(questions["_regions"]) == known
    assert questions["region"] in known
    assert set(questions["_regions"].values()) <= available_timezones()


def test_every_package_index_has_an_address(questions: dict[str, Any]) -> None:
    addresses = dict(questions["_package_index_urls"])
    assert list(addresses) == questions["package_index"]
    assert addresses.pop("none") == ""
    assert all(url.startswith("https://") for url in addresses.values())


@pytest.mark.parametrize("hook", sorted(HOOKS.glob("*.py")), ids=lambda path: path.name)
def test_hooks_run_on_older_pythons(hook: Path) -> None:
    """Cookiecutter may live in another Python than the project."""
    ast.parse(hook.read_text(encoding="utf-8"), feature_version=(3, 9))


def test_hooks_keep_the_repositorys_rules() -> None:
    """They are excluded from ruff's normal run, as Jinja may stand in them; nothing else may."""
    rules = ["--config", "pyproject.toml", "--config", "extend-exclude=[]", "--no-cache"]
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, *rules, "hooks"]
        done = subprocess.run(ruff, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
