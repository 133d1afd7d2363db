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


def test_what_a_failing_script_was_refused_is_named_with_the_line_to_uncomment(
    project: Path,
) -> None:
    script = project / "script" / "usage-analysis.py"
    ask = "import batcat_runtime as bc\nbc.get_secret('my/secret', region='cn-northwest-1')\n"
    script.write_text(ASKING + ask)
    roles = project / "deploy" / "roles.yaml"
    (line,) = [
        number
        for number, text in enumerate(roles.read_text().splitlines(), 1)
        if text.endswith("# - Sid: Secrets")
    ]
    done = rehearsed(project)
    assert done.record.status == "failed"
    said = " ".join(done.said.split())
    assert "Refused for want of a permission:" in said
    role = r"batcat-battery--usage-analysis--roles-JobRole-\w+"
    assert re.search(rf"role {role} may not s3:ListAllMyBuckets: no policy of it allows", said)
    assert f"uncomment the statement Secrets in line {line} of deploy/roles.yaml" in said


def test_a_refusal_that_did_no_harm_is_named_too(project: Path) -> None:
    limit = "arn:aws-cn:iam::123456789012:policy/team/limit"
    configure(project, lambda content: content.update(permissions_boundary=limit))
    script = project / "script" / "usage-analysis.py"
    head, future, rest = script.read_text().partition("from __future__ import annotations\n")
    script.write_text(head + future + ASKING + rest)
    done = rehearsed(project)
    assert done.record.status == "succeeded", done.said
    assert "permissions" in done.said
    assert "s3:ListAllMyBuckets" in done.report
