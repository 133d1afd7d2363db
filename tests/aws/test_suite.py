"""The suite for a real account, run against an embedded one, so that it stays runnable."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import boto3

from batcat_runtime.rehearsal import EmbeddedAWS
from tests.aws.suite import differences, rehearsed
from tests.conftest import REPOSITORY

REGION = "eu-central-1"


def test_the_suite_for_aws_runs_here_and_leaves_nothing(tmp_path: Path) -> None:
    with EmbeddedAWS(region=REGION, enforce_policies=True) as aws:
        command = [sys.executable, "-m", "tests.aws.suite", "--region", REGION, "--yes"]
        other = subprocess.run(
            [*command, "--account", "210987654321"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "not 210987654321. Stopped." in other.stderr
        found = rehearsed(aws, tmp_path / "rehearsal")
        assert len(found) == 12
        silent = [question for question, lines in found.items() if not lines]
        assert silent == ["a script that fails: is anything uploaded?"]
        text = json.dumps(found)
        assert aws.account_id not in text
        assert not re.search(r"batcat-test-|[0-9a-f]{8}-[0-9a-f]{4}|\d{4}-\d\d-\d\dT", text), (
            "nothing differs from one run to the next"
        )
        assert boto3.client("s3").list_buckets()["Buckets"] == []
        stacks = boto3.client("cloudformation").list_stacks()["StackSummaries"]
        assert len(stacks) > 4
        assert {stack["StackStatus"] for stack in stacks} == {"DELETE_COMPLETE"}


def test_what_differs_is_listed_by_question() -> None:
    account = {"a job that fails": ["FAILED", "words of AWS"], "the same": ["yes"]}
    rehearsal = {"a job that fails": ["FAILED", "words of ours"], "the same": ["yes"]}
    assert differences(account, rehearsal) == [
        "# a job that fails",
        "@@ -1,2 +1,2 @@",
        " FAILED",
        "-words of ours",
        "+words of AWS",
    ]
