"""Policies: least privilege, in the right partition, as data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from batcat_runtime.config import parse_config
from batcat_runtime.deploy import roles
from batcat_runtime.deploy.naming import Names

ACCOUNT = "123456789012"


def documents(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    config = parse_config(content)
    names = Names.of(config)
    return {role: roles.policy(role, config, names, ACCOUNT) for role in roles.ROLES}


@pytest.mark.parametrize("region", ["us-east-1", "cn-northwest-1", "us-gov-west-1"])
def test_every_arn_carries_the_partition(content: dict[str, Any], region: str) -> None:
    content["region"] = region
    partition = parse_config(content).partition
    text = json.dumps(documents(content))
    assert f"arn:{partition}:" in text
    assert text.count("arn:") == text.count(f"arn:{partition}:")


def test_a_star_stands_only_where_its_sid_says_why(content: dict[str, Any]) -> None:
    content["network"] = {"subnets": ["subnet-1"], "security_group_ids": ["sg-1"]}
    for document in documents(content).values():
        for statement in document["Statement"]:
            actions = statement["Action"]
            assert "*" not in json.dumps(actions)
            if statement["Resource"] == "*":
                assert statement["Sid"].endswith(
                    ("HasNoResources", "HaveNoResources", "NoNamesYet")
                )


def test_the_job_may_read_its_inputs_and_write_its_results_only(content: dict[str, Any]) -> None:
    step = content["purposes"]["usage-analysis"]["steps"][0]
    step["inputs"] = {"usage": "s3://landing/usage/2022"}
    statements = {one["Sid"]: one for one in documents(content)["job"]["Statement"]}
    assert statements["ReadInputs"]["Resource"] == [
        "arn:aws-cn:s3:::landing/usage/2022*",
        "arn:aws-cn:s3:::2022-rnd-battery/2022-rnd-battery/_work/usage-analysis/*",
    ]
    assert statements["WriteResults"]["Resource"][0] == (
        "arn:aws-cn:s3:::2022-rnd-battery/2022-rnd-battery/usage-analysis/*"
    )
    assert statements["ListBuckets"]["Resource"] == [
        "arn:aws-cn:s3:::2022-rnd-battery",
        "arn:aws-cn:s3:::landing",
    ]


@pytest.mark.parametrize(
    ("uri", "resource"),
    [
        ("s3://landing", "arn:aws-cn:s3:::landing/*"),
        ("s3://landing/", "arn:aws-cn:s3:::landing/*"),
        ("s3://landing/usage/", "arn:aws-cn:s3:::landing/usage/*"),
        ("s3://landing/usage/2022", "arn:aws-cn:s3:::landing/usage/2022*"),
    ],
)
def test_an_input_opens_its_prefix_and_no_other_bucket(
    content: dict[str, Any], uri: str, resource: str
) -> None:
    content["purposes"]["usage-analysis"]["steps"][0]["inputs"] = {"usage": uri}
    statements = {one["Sid"]: one for one in documents(content)["job"]["Statement"]}
    assert statements["ReadInputs"]["Resource"][0] == resource


def test_the_workflow_may_pass_one_role_to_one_service(content: dict[str, Any]) -> None:
    statements = {one["Sid"]: one for one in documents(content)["workflow"]["Statement"]}
    passing = statements["GiveJobsTheirRole"]
    assert passing["Resource"].endswith(":role/2022-rnd-battery-usage-analysis-job-cn-northwest-1")
    assert passing["Condition"] == {
        "StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}
    }


def test_given_roles_are_taken(content: dict[str, Any]) -> None:
    given = f"arn:aws-cn:iam::{ACCOUNT}:role/team/batcat"
    content["workflow_execution_role"] = given
    content["job_role"] = f"{given}-job"
    config = parse_config(content)
    names = Names.of(config)
    assert roles.role_arn("workflow", config, names, ACCOUNT) == given
    assert roles.role_arn("trigger", config, names, ACCOUNT) == given
    assert roles.role_arn("job", config, names, ACCOUNT) == f"{given}-job"


def test_policies_are_written_as_readable_files(tmp_path: Path, content: dict[str, Any]) -> None:
    written = roles.write_policies(parse_config(content), tmp_path / "iam", ACCOUNT)
    assert [path.name for path in written] == [
        f"usage-analysis-{role}.json" for role in ("workflow", "job", "trigger", "schedule")
    ]
    for path in written:
        text = path.read_text()
        assert "${" not in text
        assert json.loads(text)["TrustPolicy"]["Statement"][0]["Action"] == "sts:AssumeRole"


def test_only_cloudformations_own_substitutions_are_substituted() -> None:
    found = roles.with_substitutions({"a": ["${AWS::AccountId}-${HOME}", "${HOME}"]})
    assert found == {"a": [{"Fn::Sub": "${AWS::AccountId}-${!HOME}"}, "${HOME}"]}
