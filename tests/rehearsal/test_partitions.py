"""Keys of one partition open nothing in another; the policy simulator says what a key opens."""

from __future__ import annotations

import json
import uuid
from typing import Any

import boto3
import pytest

from tests.rehearsal.conftest import Cloud, error_of


def user(cloud: Cloud, region: str) -> tuple[str, str, Any]:
    """Return a new user's name and ARN, and what makes clients with its key."""
    iam, name = cloud.client("iam", region), f"user-{uuid.uuid4().hex[:8]}"
    arn = iam.create_user(UserName=name)["User"]["Arn"]
    key = iam.create_access_key(UserName=name)["AccessKey"]

    def client(service: str, place: str) -> Any:
        return boto3.Session().client(
            service,
            region_name=place,
            endpoint_url=cloud.endpoint_url,
            aws_access_key_id=key["AccessKeyId"],
            aws_secret_access_key=key["SecretAccessKey"],
        )

    return name, arn, client


@pytest.mark.parametrize(
    ("home", "abroad"), [("cn-northwest-1", "us-east-1"), ("us-east-1", "cn-north-1")]
)
def test_a_key_is_unknown_in_another_partition(cloud: Cloud, home: str, abroad: str) -> None:
    _, arn, client = user(cloud, home)
    assert client("sts", home).get_caller_identity()["Arn"] == arn
    assert error_of(client("sts", abroad).get_caller_identity)[0] == "InvalidClientTokenId"
    assert error_of(client("s3", abroad).list_buckets)[0] == "InvalidAccessKeyId"
    listing = client("stepfunctions", abroad).list_state_machines
    assert error_of(listing)[0] == "UnrecognizedClientException"


@pytest.mark.parametrize("region", ["cn-northwest-1", "us-east-1"])
def test_the_simulator_decides_as_iam_does(cloud: Cloud, region: str) -> None:
    name, arn, _ = user(cloud, region)
    role = f"arn:{cloud.partition(region)}:iam::{cloud.aws.account_id}:role/job"
    passed = {"StringEquals": {"iam:PassedToService": "states.amazonaws.com"}}
    statement = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": role, "Condition": passed}
    iam = cloud.client("iam", region)
    iam.put_user_policy(
        UserName=name,
        PolicyName="pass",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )

    def decision(service: str, *actions: str) -> list[str]:
        answer = iam.simulate_principal_policy(
            PolicySourceArn=arn,
            ActionNames=list(actions),
            ResourceArns=[role],
            ContextEntries=[
                {
                    "ContextKeyName": "iam:PassedToService",
                    "ContextKeyValues": [service],
                    "ContextKeyType": "string",
                }
            ],
        )
        return [one["EvalDecision"] for one in answer["EvaluationResults"]]

    assert decision("states.amazonaws.com", "iam:PassRole", "iam:GetRole") == [
        "allowed",
        "implicitDeny",
    ]
    assert decision("lambda.amazonaws.com", "iam:PassRole") == ["implicitDeny"]
    missing = arn.replace(name, "nobody")
    code, _ = error_of(
        iam.simulate_principal_policy, PolicySourceArn=missing, ActionNames=["iam:PassRole"]
    )
    assert code == "NoSuchEntity"
