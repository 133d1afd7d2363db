"""Policies: least privilege, in the right partition, as data."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from batcat_runtime.config import parse_config
from batcat_runtime.deploy import roles
from batcat_runtime.deploy.naming import Names
from batcat_runtime.errors import ConfigError

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
    assert statements["ListInputs"]["Resource"] == [
        "arn:aws-cn:s3:::landing",
        "arn:aws-cn:s3:::2022-rnd-battery",
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


def test_only_cloudformations_own_substitutions_are_substituted() -> None:
    found = roles.with_substitutions({"a": ["${AWS::AccountId}-${HOME}", "${HOME}"]})
    assert found == {"a": [{"Fn::Sub": "${AWS::AccountId}-${!HOME}"}, "${HOME}"]}


def actions_of(document: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    for one in document["Statement"]:
        found |= {one["Action"]} if isinstance(one["Action"], str) else set(one["Action"])
    return found


@pytest.mark.parametrize(
    ("role", "service", "source"),
    [
        ("workflow", "states", "states:cn-northwest-1:{}:stateMachine:2022-rnd-battery-usage-"),
        ("job", "sagemaker", "sagemaker:cn-northwest-1:{}:*"),
        ("schedule", "scheduler", "scheduler:cn-northwest-1:{}:schedule-group/default"),
    ],
)
def test_a_role_trusts_its_service_for_this_account_only(
    content: dict[str, Any], role: str, service: str, source: str
) -> None:
    names = Names.of(parse_config(content))
    (statement,) = roles.trust(role, names, ACCOUNT)["Statement"]
    assert statement["Principal"] == {"Service": f"{service}.amazonaws.com"}
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}
    expected = f"arn:aws-cn:{source.format(ACCOUNT)}"
    assert statement["Condition"]["ArnLike"]["aws:SourceArn"].startswith(expected)


def test_lambda_sends_no_source_so_its_trust_has_none(content: dict[str, Any]) -> None:
    (statement,) = roles.trust("trigger", Names.of(parse_config(content)), ACCOUNT)["Statement"]
    assert "Condition" not in statement


def test_a_deployer_with_given_roles_has_no_power_over_roles(content: dict[str, Any]) -> None:
    given = f"arn:aws-cn:iam::{ACCOUNT}:role/team/batcat"
    content |= {"workflow_execution_role": given, "build_role": f"{given}-build"}
    for document in roles.deployer_policies(parse_config(content), ACCOUNT).values():
        assert {one for one in actions_of(document) if one.startswith("iam:")} <= {"iam:PassRole"}
        for one in document["Statement"]:
            if one["Action"] == "iam:PassRole":
                assert one["Resource"] in (given, f"{given}-build")


def test_a_deployer_makes_this_projects_roles_only(content: dict[str, Any]) -> None:
    document = roles.deployer_policies(parse_config(content), ACCOUNT)["usage-analysis"]
    (making,) = [one for one in document["Statement"] if "iam:CreateRole" in one["Action"]]
    stem = f"arn:aws-cn:iam::{ACCOUNT}:role/2022-rnd-battery-usage-analysis"
    assert making["Resource"] == [
        f"{stem}-{role}-cn-northwest-1" for role in ("workflow", "job", "trigger", "schedule")
    ]


def test_a_purpose_without_a_schedule_needs_no_role_for_it(content: dict[str, Any]) -> None:
    del content["purposes"]["usage-analysis"]["schedule"]
    config = parse_config(content)
    assert roles.roles_of(config, "usage-analysis") == ("workflow", "job", "trigger")
    deployer = roles.deployer_policies(config, ACCOUNT)["usage-analysis"]
    assert not [one for one in actions_of(deployer) if one.startswith("scheduler:")]


def test_two_purposes_get_two_deployer_policies(content: dict[str, Any]) -> None:
    content["purposes"]["forecast"] = content["purposes"]["usage-analysis"]
    found = roles.deployer_policies(parse_config(content), ACCOUNT)
    assert set(found) == {"", "usage-analysis", "forecast", "build"}
    assert "usage-analysis" not in json.dumps(found["forecast"])


def test_a_vpc_and_keys_are_named(content: dict[str, Any]) -> None:
    content["network"] = {"subnets": ["subnet-1a"], "security_group_ids": ["sg-1a"]}
    key = f"arn:aws-cn:kms:cn-northwest-1:{ACCOUNT}:key/1234"
    content["kms"] = {"volume": key, "output": "alias/results"}
    statements = {one["Sid"]: one for one in documents(content)["job"]["Statement"]}
    assert statements["MakeNetworkInterfaces"]["Resource"] == [
        f"arn:aws-cn:ec2:cn-northwest-1:{ACCOUNT}:network-interface/*",
        "arn:aws-cn:ec2:cn-northwest-1:*:subnet/subnet-1a",
        "arn:aws-cn:ec2:cn-northwest-1:*:security-group/sg-1a",
    ]
    assert statements["EncryptVolumes1"]["Resource"] == key
    assert statements["EncryptVolumes1"]["Condition"] == {
        "Bool": {"kms:GrantIsForAWSResource": "true"}
    }
    assert statements["EncryptResults1"]["Condition"] == {
        "ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/results"}
    }


def test_scripts_get_data_permissions_only_when_asked_for(content: dict[str, Any]) -> None:
    plain = actions_of(documents(content)["job"])
    services = {one.split(":")[0] for one in plain}
    assert not services & {"athena", "glue", "redshift-data", "redshift", "secretsmanager"}
    content["purposes"]["usage-analysis"]["permissions"] = {
        "athena": {"staging": "s3://staging/q/", "tables": ["lake.usage"], "data": ["s3://lake/"]},
        "redshift": {"clusters": ["dw"]},
        "secrets": ["dw/etl"],
        "write": ["s3://landing/out/"],
        "statements": [
            {"Effect": "Allow", "Action": "sns:Publish", "Resource": "arn:aws-cn:sns:::done"}
        ],
    }
    job = documents(content)["job"]
    assert {"athena:StartQueryExecution", "glue:GetTable", "sns:Publish"} <= actions_of(job)
    statements = {one.get("Sid"): one for one in job["Statement"]}
    assert statements["ReadTheCatalogue"]["Resource"] == [
        f"arn:aws-cn:glue:cn-northwest-1:{ACCOUNT}:catalog",
        f"arn:aws-cn:glue:cn-northwest-1:{ACCOUNT}:database/lake",
        f"arn:aws-cn:glue:cn-northwest-1:{ACCOUNT}:table/lake/usage",
    ]
    assert "glue:CreateTable" not in actions_of(job)
    assert statements["ReadSecrets"]["Resource"].endswith(":secret:dw/etl-??????")
    assert statements["RunStatements"]["Resource"].endswith(":cluster:dw")
    assert statements["StageResults"]["Resource"] == "arn:aws-cn:s3:::staging/q/*"


@pytest.mark.parametrize(
    ("permissions", "said"),
    [
        ({"athena": {"staging": "staging/q", "tables": ["a"]}}, "no S3 place"),
        ({"athena": {"staging": "s3://staging/q/", "tables": []}}, "permissions.athena.tables"),
        ({"redshift": {}}, "at least one cluster or workgroup id"),
        ({"read": ["s3://land/*"]}, "no S3 place"),
        ({"statements": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}, "no permission"),
        ({"statements": [{"Effect": "Maybe", "Action": "a:b", "Resource": "*"}]}, "Effect"),
        ({"athina": {}}, "did you mean 'athena'"),
    ],
)
def test_impossible_permissions_are_refused(
    content: dict[str, Any], permissions: dict[str, Any], said: str
) -> None:
    content["purposes"]["usage-analysis"]["permissions"] = permissions
    with pytest.raises(ConfigError, match=re.escape(said)):
        parse_config(content)


def test_a_boundary_is_on_every_role_and_the_deployer_cannot_leave_it_out(
    content: dict[str, Any],
) -> None:
    limit = f"arn:aws-cn:iam::{ACCOUNT}:policy/team/limit"
    content["permissions_boundary"] = limit
    config = parse_config(content)
    names = Names.of(config)
    for role in roles.ROLES:
        properties = roles.role_resource(role, config, names)["Properties"]
        assert properties["PermissionsBoundary"] == limit
    for part in ("usage-analysis", "build"):
        for one in roles.deployer_policies(config, ACCOUNT)[part]["Statement"]:
            if "iam:CreateRole" in one["Action"] or "iam:PutRolePolicy" in one["Action"]:
                assert one["Condition"] == {"StringEquals": {"iam:PermissionsBoundary": limit}}
    assert "DeleteRolePermissionsBoundary" not in json.dumps(
        roles.deployer_policies(config, ACCOUNT)
    )


@pytest.mark.parametrize("arn", ["limit", "arn:aws:iam::123456789012:policy/limit"])
def test_an_impossible_boundary_is_refused(content: dict[str, Any], arn: str) -> None:
    content["permissions_boundary"] = arn
    with pytest.raises(ConfigError, match=r"permissions_boundary|another partition"):
        parse_config(content)
