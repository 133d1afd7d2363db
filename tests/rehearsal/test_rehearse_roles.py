"""A rehearsal holds every role to its policy, and says plainly what it refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batcat_runtime.project import new_project
from tests.rehearsal.records import rehearsed

ASKING = """
import boto3

def ask():
    try:
        print("buckets:", len(boto3.client("s3").list_buckets()["Buckets"]))
    except Exception as error:
        print("refused:", error)
        if {strict}:
            raise

ask()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return new_project({}, no_input=True, output_dir=tmp_path)


def configure(project: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    path = project / "script" / "config.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def ask_for_buckets(project: Path, *, strict: bool) -> None:
    """Let the script ask for what its role does not allow, before anything else."""
    script = project / "script" / "usage-analysis.py"
    head, future, rest = script.read_text().partition("from __future__ import annotations\n")
    script.write_text(head + future + ASKING.format(strict=strict) + rest)


def test_a_script_that_asks_for_more_fails_and_the_reason_is_named(project: Path) -> None:
    ask_for_buckets(project, strict=True)
    done = rehearsed(project)
    assert done.record.status == "failed"
    said = " ".join(done.said.split())
    assert "Refused for want of a permission:" in said
    role = r"batcat-battery--usage-analysis--roles-JobRole-\w+"
    assert re.search(rf"role {role} may not s3:ListAllMyBuckets: no policy of it allows", said)


def test_a_right_that_is_commented_out_is_named_with_its_line(project: Path) -> None:
    script = project / "script" / "usage-analysis.py"
    ask = "import batcat_runtime as bc\nbc.get_secret('my/secret', region='cn-northwest-1')\n"
    script.write_text(ask)
    roles = project / "deploy" / "roles.yaml"
    (line,) = [
        number
        for number, text in enumerate(roles.read_text().splitlines(), 1)
        if text.endswith("# - Sid: Secrets")
    ]
    said = " ".join(rehearsed(project).said.split())
    assert f"uncomment the statement Secrets in line {line} of deploy/roles.yaml" in said


def test_a_refusal_that_did_no_harm_is_named_too(project: Path) -> None:
    limit = "arn:aws-cn:iam::123456789012:policy/team/limit"
    configure(project, lambda content: content.update(permissions_boundary=limit))
    ask_for_buckets(project, strict=False)
    done = rehearsed(project)
    assert done.record.status == "succeeded", done.said
    assert "permissions" in done.said
    assert "s3:ListAllMyBuckets" in done.report
