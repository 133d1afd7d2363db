"""A fresh project has its policies as readable files, in step with its configuration."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from batcat_runtime.config import get_config
from batcat_runtime.deploy.policy_files import differences, write_policies
from batcat_runtime.project import new_project
from tests.conftest import batcat
from tests.template.policy_templates import FOLDER, policy_templates

LONG = "battery-cells-of-every-vehicle-in-service"


def test_the_template_holds_what_the_runtime_makes() -> None:
    wanted = policy_templates()
    present = {
        path.relative_to(FOLDER).as_posix(): path.read_text() for path in FOLDER.rglob("*.json")
    }
    assert present == wanted, "write them: python -m tests.template.policy_templates"


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"region": "us-east-1", "result_s3_bucket": "zebra"},
        {"region": "us-gov-west-1", "project_name": "2022-RnD-battery", "purpose": "a"},
        {"project_name": LONG, "purpose": LONG[:40].strip("-"), "region": "ap-southeast-3"},
        {"project_name": "电池"},
        {"project_name": "x"},
    ],
)
def test_a_fresh_projects_files_follow_from_its_configuration(
    tmp_path: Path, answers: dict[str, str]
) -> None:
    project = new_project(answers, no_input=True, output_dir=tmp_path)
    folder = project / "deploy" / "iam"
    assert differences(get_config(project), folder) == []
    for path in folder.rglob("*.json"):
        text = path.read_text()
        json.loads(text)
        assert set(re.findall(r"\$\{(\w+)\}", text)) <= {"AccountId"}
        assert "{{" not in text
        assert "<<" not in text


def test_the_command_writes_checks_and_prints(tmp_path: Path) -> None:
    project = new_project({}, no_input=True, output_dir=tmp_path)
    assert batcat("roles", "--check", project).returncode == 0
    config = project / "script" / "config.json"
    content = json.loads(config.read_text())
    content["purposes"]["usage-analysis"]["steps"][0]["inputs"]["usage"] = "s3://landing/raw/"
    config.write_text(json.dumps(content))
    stray = project / "deploy" / "iam" / "gone" / "job.policy.json"
    stray.parent.mkdir()
    stray.write_text("{}")
    checked = batcat("roles", "--check", project)
    assert checked.returncode == 1
    assert "usage-analysis/job.policy.json is not what script/config.json asks" in checked.stdout
    assert "gone/job.policy.json belongs to nothing" in checked.stdout
    stray.unlink()
    written = batcat("roles", project)
    assert "deploy/iam/usage-analysis/job.policy.json" in written.stdout.replace("\\", "/")
    assert batcat("roles", "--check", project).returncode == 0
    printed = batcat("roles", "--print", "--account", "123456789012", project).stdout
    assert "Role name: battery-usage-analysis-job-cn-northwest-1" in printed
    assert '"arn:aws-cn:s3:::landing/raw/*"' in printed
    assert "${AccountId}" not in printed
    assert batcat("roles", "--check", project).returncode == 0, "--print writes nothing"


def test_an_added_purpose_gets_its_policies(tmp_path: Path) -> None:
    project = new_project({}, no_input=True, output_dir=tmp_path)
    added = batcat("add", "forecast", project)
    assert "deploy/iam/forecast/" in added.stdout, added.stderr
    assert (project / "deploy" / "iam" / "forecast" / "job.policy.json").is_file()
    assert batcat("roles", "--check", project).returncode == 0


def test_an_account_is_twelve_digits(tmp_path: Path) -> None:
    project = new_project({}, no_input=True, output_dir=tmp_path)
    refused = batcat("roles", "--account", "12-34", project)
    assert refused.returncode == 2
    assert "12 digits" in refused.stderr
    filled = batcat("roles", "--account", "210987654321", project)
    assert filled.returncode == 0
    text = (project / "deploy" / "iam" / "deployer.policy.json").read_text()
    assert ":210987654321:" in text


def test_files_are_written_once(tmp_path: Path) -> None:
    project = new_project({}, no_input=True, output_dir=tmp_path)
    folder = project / "deploy" / "iam"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}
    assert sorted(write_policies(get_config(project), folder)) == sorted(before)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")} == before
