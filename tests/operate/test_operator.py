"""Whoever has the policy in deploy/iam/operator.json and nothing else can operate a pipeline."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from batcat_runtime.commands import GROUPS
from batcat_runtime.rehearsal.aws.iam import principals
from batcat_runtime.rehearsal.aws.iam.evaluation import Need, decide
from batcat_runtime.rehearsal.aws.iam.trail import read_trail
from tests.operate.left_results import Left
from tests.operate.world import IN_EACH_REGION, DeployedProject

WINDOW = ("--date-start", "2022-01-08", "--date-end", "2022-01-09")
# What an operator runs, in this order; what a command is called with must reach all of its calls.
SESSION: dict[str, list[tuple[str, ...]]] = {
    "doctor": [("doctor",)],
    "run": [("run", *WINDOW), ("run", *WINDOW, "--param", "fail=no rows")],
    "stop": [("run", *WINDOW, "--param", "seconds=60", "--no-wait"), ("stop",)],
    "status": [("status",)],
    "logs": [("logs",)],
    "results": [("results",)],
    "schedule": [("schedule", "show")],
    "backfill": [
        ("backfill", "2018-05-01", "2018-05-03"),
        ("backfill", "2018-06-01", "2018-06-03", "--param", "seconds=60", "--no-wait"),
        ("backfill", "stop"),
    ],
}
# These change what is deployed, as `schedule on` does too, so they are the deployer's.
DEPLOYERS = {"plan", "deploy", "destroy"}
# What AWS asks of whoever queries while Athena does its part; the embedded one does not ask.
BY_ATHENA = {
    "glue:GetPartitions",
    "s3:AbortMultipartUpload",
    "s3:GetBucketLocation",
    "s3:ListBucketMultipartUploads",
    "s3:ListMultipartUploadParts",
    "s3:PutObject",
}
# What only a query that is given up takes, a project that watches uploads or has an alert, and a
# list of windows that somebody else was quicker with.
AT_TIMES = {
    *("athena:StopQueryExecution", "events:DescribeRule", "s3:DeleteObject"),
    "sns:ListSubscriptionsByTopic",
}


def user(
    project: DeployedProject, kind: str, document: dict[str, Any]
) -> tuple[str, dict[str, str]]:
    """Make a user that has one policy; return its ARN and credentials."""
    iam = project.client("iam")
    name = f"{kind}-{project.config.region}"
    arn = str(iam.create_user(UserName=name)["User"]["Arn"])
    made = iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(document))["Policy"]
    iam.attach_user_policy(UserName=name, PolicyArn=made["Arn"])
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return arn, {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        "AWS_SESSION_TOKEN": "",
    }


def policy(project: DeployedProject) -> dict[str, Any]:
    """Return the operator's policy, as the project has it."""
    text = principals.person_policy(project.opened.config, "operator", project.world.aws.account_id)
    return dict(json.loads(text))


def test_every_command_is_either_an_operators_or_a_deployers() -> None:
    assert {*GROUPS["Operate"], "plan", "deploy", "destroy"} <= set(SESSION) | DEPLOYERS


def test_the_policy_is_enough_and_nothing_of_it_is_idle(
    project: DeployedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = policy(project)
    arn, keys = user(project, "operator", document)
    for name in SESSION:
        for arguments in SESSION[name]:
            # The second run fails, so that its reason is looked for.
            project.batcat(*arguments, code=int("fail=no rows" in arguments), **keys)
    left = Left(project, monkeypatch)
    left("2018-03-01", "2018-03-02", "first")
    project.batcat("results", "register", **keys)
    left("2018-02-01", "2018-02-02", "earlier")  # so that the tables change
    project.batcat("results", "register", **keys)
    code = """
import sys, batcat_runtime as bc
for sql in ("SELECT count(*) FROM usage_analysis WHERE date < DATE '2018-03-02'",
            "SELECT vin FROM usage_analysis WHERE run = 'first' ORDER BY vin"):
    frame = bc.read_data_from_athena(sql, s3_staging_dir=sys.argv[1], database=sys.argv[2])
    print(list(frame.iloc[:, 0]))
"""
    staging = f"s3://{project.config.result_s3_bucket}/{project.names.query_prefix}/"
    asked = subprocess.run(
        [sys.executable, "-c", code, staging, project.names.database],
        env={**project.environment, **keys},
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout == "[4]\n['A', 'B']\n"
    days = ("2018-02-01", "2018-03-02")  # other tests have spoilt some of theirs
    project.batcat("results", "get", *days, "--to", str(project.folder / "got"), **keys)
    entries = [one for one in read_trail(project.world.aws.home) if one.role == arn]
    denied = [one for one in entries if one.reason != "allowed"]
    assert {(one.action, one.resource) for one in denied} == set()
    wanted = {action for one in document["Statement"] for action in listed(one["Action"])}
    idle = wanted - {one.action for one in entries} - BY_ATHENA - AT_TIMES
    assert idle == set()


def listed(given: str | list[str]) -> list[str]:
    return [given] if isinstance(given, str) else given


@IN_EACH_REGION
def test_an_operator_changes_nothing(project: DeployedProject) -> None:
    account, names = project.world.aws.account_id, project.names
    document = policy(project)
    bucket = names.arn("s3", project.config.result_s3_bucket, "", region="")
    mine = project.opened.machine_arn("usage-analysis")
    assert decide([document], Need("states:StartExecution", mine)).reason == "allowed"
    for action, resource in (
        ("states:UpdateStateMachine", names.arn("states", "stateMachine:any", account)),
        ("states:StartExecution", names.arn("states", "stateMachine:others", account)),
        ("cloudformation:DeleteStack", "*"),
        ("iam:PutRolePolicy", names.arn("iam", "role/any", account, region="")),
        ("s3:PutObject", f"{bucket}/{names.result_prefix}/x"),
        ("s3:GetObject", f"{bucket}/others/x"),
        ("sagemaker:CreateProcessingJob", "*"),
    ):
        assert decide([document], Need(action, resource)).reason == "implicit", action
