"""What the template generates is clean by the linters that a reviewer would run, default rules."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from batcat_runtime.config import get_config
from batcat_runtime.deploy.codebuild import builder_template
from batcat_runtime.deploy.image import project_template
from batcat_runtime.deploy.naming import Names

from .baking import Bake

BIN = Path(sys.executable).parent


def lint(tool: str, *words: str | Path, cwd: Path | None = None) -> None:
    done = subprocess.run(
        [BIN / tool, *words], capture_output=True, text=True, check=False, cwd=cwd
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("index", ["none", "tsinghua"])
def test_hadolint_has_nothing_to_say(bake: Bake, index: str) -> None:
    lint("hadolint", bake(package_index=index) / "deploy" / "docker" / "Dockerfile")


def test_shellcheck_has_nothing_to_say(bake: Bake) -> None:
    scripts = sorted(bake().rglob("*.sh"))
    assert len(scripts) == 2
    lint("shellcheck", *scripts)


def test_ruff_has_nothing_to_say(bake: Bake) -> None:
    project = bake()
    lint("ruff", "check", "--isolated", cwd=project)
    lint("ruff", "format", "--isolated", "--line-length=100", "--check", cwd=project)


@pytest.mark.parametrize("region", ["cn-northwest-1", "us-east-1"])
def test_cfn_lint_has_nothing_to_say_of_the_image_s_stacks(bake: Bake, region: str) -> None:
    from cfnlint.api import lint as cfn_lint
    from cfnlint.config import ManualArgs

    config = get_config(bake(region=region))
    names = Names.of(config)
    for template in (project_template(config, names), builder_template(config, names)):
        found = cfn_lint(json.dumps(template), config=ManualArgs(regions=[region]))
        assert [str(one) for one in found] == []
