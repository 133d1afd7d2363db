"""The suite for a real account, run against an embedded one, so that it stays runnable."""

from __future__ import annotations

import os
import subprocess
import sys

import boto3

from batcat_runtime.rehearsal import EmbeddedAWS
from tests.aws.suite import differences, rehearsal_tools
from tests.conftest import REPOSITORY

REGION = "eu-central-1"


def suite(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.aws.suite", "--region", REGION, *arguments]
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )


def test_the_suite_for_aws_runs_here_and_leaves_nothing() -> None:
    with EmbeddedAWS(region=REGION, set_environment=True, enforce_policies=True) as aws:
        path = f"{rehearsal_tools(aws)}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path}
        other = suite(environment, "--account", "210987654321", "--yes")
        assert "not 210987654321. Stopped." in other.stderr
        done = suite(environment, "--account", aws.account_id, "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "less than 1 USD" in done.stdout
        assert done.stdout.endswith("The account answers as the rehearsal does.\n")
        assert boto3.client("s3").list_buckets()["Buckets"] == []
        formation = boto3.client("cloudformation")
        ended = {"DELETE_COMPLETE"}
        stacks = formation.list_stacks()["StackSummaries"]
        assert len(stacks) > 4
        assert {stack["StackStatus"] for stack in stacks} == ended


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
