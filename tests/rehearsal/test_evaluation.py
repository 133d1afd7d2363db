"""IAM's decision, asked of its simulator: policies, an action, a resource, and the reason."""

from __future__ import annotations

import json
import uuid
from typing import Any

import boto3
import pytest

from tests.rehearsal.conftest import Cloud, error_of, trust

OBJECT = "arn:aws-cn:s3:::land/raw/usage.csv"
WORDS = {"allowed": "allowed", "implicit": "implicitDeny", "explicit": "explicitDeny"}


def allow(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {**allow(action, resource, **more), "Effect": "Deny"}


def decision(
    cloud: Cloud, statements: Any, context: dict[str, Any] | None = None, resource: str = OBJECT
) -> str:
    """Give the statements to a new role and ask whether it may read an object."""
    iam, name = cloud.client("iam"), f"role-{uuid.uuid4().hex[:8]}"
    trusted = json.dumps(trust("lambda"))
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trusted)["Role"]["Arn"]
    if statements:
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document)
    entries = [
        {
            "ContextKeyName": key,
            "ContextKeyValues": value if isinstance(value, list) else [value],
            "ContextKeyType": "string",
        }
        for key, value in (context or {}).items()
    ]
    answer = iam.simulate_principal_policy(
        PolicySourceArn=role,
        ActionNames=["s3:GetObject"],
        ResourceArns=[resource],
        ContextEntries=entries,
    )
    return str(answer["EvaluationResults"][0]["EvalDecision"])


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([], "implicit"),
        ([allow("s3:GetObject")], "allowed"),
        ([allow("S3:getobject")], "allowed"),
        ([allow("s3:Get*")], "allowed"),
        ([allow("s3:GetObjec?")], "allowed"),
        ([allow("s3:PutObject")], "implicit"),
        ([allow(["s3:PutObject", "s3:GetObject"])], "allowed"),
        ([allow("s3:GetObject", "arn:aws-cn:s3:::land/raw/*")], "allowed"),
        ([allow("s3:GetObject", "arn:aws-cn:s3:::land/Raw/*")], "implicit"),
        ([allow("s3:GetObject", "arn:aws:s3:::land/raw/*")], "implicit"),
        ([allow("s3:GetObject", ["arn:aws-cn:s3:::a/*", "arn:aws-cn:s3:::land/*"])], "allowed"),
        ([{"Effect": "Allow", "NotAction": "s3:Put*", "Resource": "*"}], "allowed"),
        ([{"Effect": "Allow", "NotAction": "s3:Get*", "Resource": "*"}], "implicit"),
        ([{"Effect": "Allow", "Action": "s3:*", "NotResource": "arn:aws-cn:s3:::a/*"}], "allowed"),
        ([{"Effect": "Allow", "Action": "s3:*", "NotResource": OBJECT}], "implicit"),
        ([allow("s3:*"), deny("s3:GetObject", "arn:aws-cn:s3:::land/raw/*")], "explicit"),
        ([allow("s3:*"), deny("s3:GetObject", "arn:aws-cn:s3:::other/*")], "allowed"),
        (allow("s3:GetObject"), "allowed"),  # one statement may stand without a list
    ],
)
def test_statements(cloud: Cloud, statements: Any, expected: str) -> None:
    assert decision(cloud, statements) == WORDS[expected]


def test_policy_variables_are_filled_in(cloud: Cloud) -> None:
    home = [allow("s3:GetObject", "arn:aws-cn:s3:::land/${aws:username}/*")]
    mine = "arn:aws-cn:s3:::land/ada/x"
    assert decision(cloud, home, {"aws:username": "ada"}, mine) == "allowed"
    assert decision(cloud, home, {"aws:username": "eve"}, mine) == "implicitDeny"
    assert decision(cloud, home, {}, mine) == "implicitDeny", "no value matches nothing"


@pytest.mark.parametrize(
    ("condition", "context", "expected"),
    [
        ({"StringEquals": {"key:a": "x"}}, {"key:a": "x"}, True),
        ({"StringEquals": {"KEY:A": "x"}}, {"key:a": "x"}, True),
        ({"StringEquals": {"key:a": ["y", "x"]}}, {"key:a": "x"}, True),
        ({"StringEquals": {"key:a": "X"}}, {"key:a": "x"}, False),
        ({"StringEqualsIgnoreCase": {"key:a": "X"}}, {"key:a": "x"}, True),
        ({"StringEquals": {"key:a": "x"}}, {}, False),
        ({"StringEqualsIfExists": {"key:a": "x"}}, {}, True),
        ({"StringNotEquals": {"key:a": "x"}}, {"key:a": "y"}, True),
        ({"StringNotEquals": {"key:a": ["x", "y"]}}, {"key:a": "y"}, False),
        ({"StringNotEquals": {"key:a": "x"}}, {}, True),
        ({"StringLike": {"key:a": "/aws/*"}}, {"key:a": "/aws/x"}, True),
        ({"StringNotLike": {"key:a": "/aws/*"}}, {"key:a": "/aws/x"}, False),
        ({"ArnLike": {"key:a": "arn:aws:s:r:1:x/*"}}, {"key:a": "arn:aws:s:r:1:x/y"}, True),
        ({"ArnLike": {"key:a": "arn:aws:*:x/y"}}, {"key:a": "arn:aws:s:r:1:x/y"}, False),
        ({"Bool": {"key:a": "true"}}, {"key:a": "true"}, True),
        ({"Bool": {"key:a": "false"}}, {"key:a": "true"}, False),
        ({"Null": {"key:a": "true"}}, {}, True),
        ({"Null": {"key:a": "true"}}, {"key:a": "x"}, False),
        ({"NumericLessThanEquals": {"key:a": "10"}}, {"key:a": "9"}, True),
        ({"NumericGreaterThan": {"key:a": "10"}}, {"key:a": "9"}, False),
        ({"DateLessThan": {"key:a": "2030-01-01T00:00:00Z"}}, {"key:a": "2026-01-01"}, True),
        ({"IpAddress": {"key:a": "10.0.0.0/8"}}, {"key:a": "10.1.2.3"}, True),
        ({"NotIpAddress": {"key:a": "10.0.0.0/8"}}, {"key:a": "10.1.2.3"}, False),
        ({"ForAnyValue:StringEquals": {"key:a": ["x"]}}, {"key:a": ["y", "x"]}, True),
        ({"ForAnyValue:StringEquals": {"key:a": ["x"]}}, {}, False),
        ({"ForAllValues:StringEquals": {"key:a": ["x", "y"]}}, {"key:a": ["y", "x"]}, True),
        ({"ForAllValues:StringEquals": {"key:a": ["x"]}}, {"key:a": ["y", "x"]}, False),
        ({"ForAllValues:StringEquals": {"key:a": ["x"]}}, {}, True),
        ({"StringEquals": {"key:a": "x", "key:c": "z"}}, {"key:a": "x", "key:c": "y"}, False),
    ],
)
def test_conditions(cloud: Cloud, condition: Any, context: Any, expected: bool) -> None:
    found = decision(cloud, [allow("s3:GetObject", Condition=condition)], context)
    assert (found == "allowed") is expected


def test_nobody_has_no_policies(cloud: Cloud) -> None:
    simulate = cloud.client("iam").simulate_principal_policy
    nobody = "arn:aws-cn:iam::123456789012:role/nobody"
    asked = {"PolicySourceArn": nobody, "ActionNames": ["s3:GetObject"]}
    assert error_of(simulate, **asked)[0] == "NoSuchEntity"


@pytest.mark.parametrize(
    ("home", "abroad"), [("cn-northwest-1", "us-east-1"), ("us-east-1", "cn-north-1")]
)
def test_a_key_is_unknown_in_another_partition(cloud: Cloud, home: str, abroad: str) -> None:
    iam, name = cloud.client("iam", home), f"user-{uuid.uuid4().hex[:8]}"
    arn = iam.create_user(UserName=name)["User"]["Arn"]
    key = iam.create_access_key(UserName=name)["AccessKey"]

    def client(service: str, region: str) -> Any:
        return boto3.Session().client(
            service,
            region_name=region,
            endpoint_url=cloud.endpoint_url,
            aws_access_key_id=key["AccessKeyId"],
            aws_secret_access_key=key["SecretAccessKey"],
        )

    assert client("sts", home).get_caller_identity()["Arn"] == arn
    assert error_of(client("sts", abroad).get_caller_identity)[0] == "InvalidClientTokenId"
    assert error_of(client("s3", abroad).list_buckets)[0] == "InvalidAccessKeyId"
    listing = client("stepfunctions", abroad).list_state_machines
    assert error_of(listing)[0] == "UnrecognizedClientException"
