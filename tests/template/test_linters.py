"""What the template generates is clean by the linters that a reviewer would run, default rules."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .baking import Bake

BIN = Path(sys.executable).parent


def lint(tool: str, *words: str | Path, cwd: Path | None = None) -> None:
    done = subprocess.run(
        [BIN / tool, *words], capture_output=True, text=True, check=False, cwd=cwd
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_hadolint_has_nothing_to_say(baked: Bake, default_project: Path) -> None:
    mirrored = baked(package_index="tsinghua", python_version="3.12")
    files = [
        project / "deploy" / "docker" / "Dockerfile" for project in (default_project, mirrored)
    ]
    lint("hadolint", *files)


def test_shellcheck_has_nothing_to_say(default_project: Path) -> None:
    scripts = sorted(default_project.rglob("*.sh"))
    assert len(scripts) == 2
    lint("shellcheck", *scripts)


def test_ruff_has_nothing_to_say(default_project: Path) -> None:
    lint("ruff", "check", "--isolated", "--no-cache", cwd=default_project)
    checked = ("--isolated", "--no-cache", "--line-length=100", "--check")
    lint("ruff", "format", *checked, cwd=default_project)


def test_cfn_lint_has_nothing_to_say(default_project: Path) -> None:
    templates = sorted((default_project / "deploy").glob("*.yaml"))
    assert len(templates) == 5
    regions = ("cn-northwest-1", "us-east-1", "us-gov-west-1")
    lint("cfn-lint", "--regions", *regions, "--", *templates)


@pytest.mark.parametrize("who", ["deployer", "operator"])
def test_policies_of_people_are_legal_even_with_the_longest_names(baked: Bake, who: str) -> None:
    project = baked(
        project_name="x" * 60, region="us-gov-west-1", result_s3_bucket="b" * 63, purpose="p" * 40
    )
    text = (project / "deploy" / "iam" / f"{who}.json").read_text()
    assert "{{" not in text
    filled = text.replace("${AccountId}", "123456789012")
    assert len("".join(filled.split())) <= 6144, "IAM's limit for a managed policy"
    document = json.loads(filled)
    assert set(re.findall(r"arn:(aws[a-z-]*):", filled)) == {"aws-us-gov"}
    for statement in document["Statement"]:
        everywhere = statement["Resource"] == "*"
        assert everywhere == statement["Sid"].endswith("HaveNoResources"), statement["Sid"]
