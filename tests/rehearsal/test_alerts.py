"""Alerts in the embedded AWS: topics, subscriptions, rules on executions, alarms on functions."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from batcat_runtime.rehearsal.mails import Mail, read_mails
from tests.rehearsal.conftest import REGION, REGIONS, Cloud, trust, until
from tests.rehearsal.test_cloudformation import Stack

FAILS = {
    "StartAt": "No",
    "States": {"No": {"Type": "Fail", "Error": "Stale", "Cause": 'no "new" data'}},
}


def template(address: str, *, publishers: tuple[str, ...] = ("events", "cloudwatch")) -> Any:
    """A workflow that fails, a function that fails, and who is told."""
    role = {"Type": "AWS::IAM::Role"}
    publish = {
        "Effect": "Allow",
        "Principal": {"Service": [f"{one}.amazonaws.com" for one in publishers]},
        "Action": "sns:Publish",
        "Resource": {"Ref": "Topic"},
    }
    pattern = {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {"stateMachineArn": [{"Ref": "Machine"}], "status": ["FAILED", "ABORTED"]},
    }
    words = {
        "InputPathsMap": {"name": "$.detail.name", "cause": "$.detail.cause"},
        "InputTemplate": '"Execution <name> failed: <cause>"',
    }
    return {
        "Resources": {
            "Topic": {"Type": "AWS::SNS::Topic"},
            "Address": {
                "Type": "AWS::SNS::Subscription",
                "Properties": {
                    "TopicArn": {"Ref": "Topic"},
                    "Protocol": "email",
                    "Endpoint": address,
                },
            },
            "Publishers": {
                "Type": "AWS::SNS::TopicPolicy",
                "Properties": {
                    "Topics": [{"Ref": "Topic"}],
                    "PolicyDocument": {"Version": "2012-10-17", "Statement": [publish]},
                },
            },
            "StatesRole": role | {"Properties": {"AssumeRolePolicyDocument": trust("states")}},
            "LambdaRole": role | {"Properties": {"AssumeRolePolicyDocument": trust("lambda")}},
            "Machine": {
                "Type": "AWS::StepFunctions::StateMachine",
                "Properties": {
                    "RoleArn": {"Fn::GetAtt": ["StatesRole", "Arn"]},
                    "DefinitionString": json.dumps(FAILS),
                },
            },
            "Rule": {
                "Type": "AWS::Events::Rule",
                "Properties": {
                    "EventPattern": pattern,
                    "Targets": [
                        {"Id": "topic", "Arn": {"Ref": "Topic"}, "InputTransformer": words}
                    ],
                },
            },
            "Function": {
                "Type": "AWS::Lambda::Function",
                "Properties": {
                    "Runtime": "python3.12",
                    "Handler": "index.handler",
                    "Code": {"ZipFile": "def handler(event, context):\n    raise ValueError('no')"},
                    "Role": {"Fn::GetAtt": ["LambdaRole", "Arn"]},
                },
            },
            "Alarm": {
                "Type": "AWS::CloudWatch::Alarm",
                "Properties": {
                    "Namespace": "AWS/Lambda",
                    "MetricName": "Errors",
                    "Dimensions": [{"Name": "FunctionName", "Value": {"Ref": "Function"}}],
                    "Statistic": "Sum",
                    "Period": 300,
                    "EvaluationPeriods": 1,
                    "Threshold": 0,
                    "ComparisonOperator": "GreaterThanThreshold",
                    "AlarmActions": [{"Ref": "Topic"}],
                },
            },
        },
        "Outputs": {
            name: {"Value": {"Ref": name}} for name in ("Topic", "Machine", "Function", "Alarm")
        },
    }


def mails_to(cloud: Cloud, address: str) -> list[Mail]:
    return [mail for mail in read_mails(cloud.aws.home) if mail.to == address]


@pytest.mark.parametrize("region", REGIONS)
def test_a_failed_execution_and_a_failed_function_are_told_by_mail(
    cloud: Cloud, region: str
) -> None:
    address, stack = f"{uuid.uuid4().hex}@example.com", Stack(cloud, region)
    assert stack.deploy(template(address)) == "CREATE_COMPLETE", stack.why()
    made = stack.outputs()
    assert made["Topic"].startswith(f"arn:{cloud.partition(region)}:sns:{region}:")

    states = cloud.client("stepfunctions", region)
    states.start_execution(stateMachineArn=made["Machine"], name="night")
    (told,) = until(lambda: mails_to(cloud, address), bool)
    assert told.text == '"Execution night failed: no \\"new\\" data"'

    cloud.client("lambda", region).invoke(FunctionName=made["Function"], Payload=b"{}")
    alarm = mails_to(cloud, address)[1]
    assert alarm.subject == f'ALARM: "{made["Alarm"]}" in {region}'
    (found,) = cloud.client("cloudwatch", region).describe_alarms(AlarmNames=[made["Alarm"]])[
        "MetricAlarms"
    ]
    assert found["StateValue"] == "ALARM"
    stack.delete()
    left = cloud.client("sns", region).list_subscriptions()["Subscriptions"]
    assert address not in {one["Endpoint"] for one in left}


def test_a_topic_whose_policy_does_not_name_the_service_is_not_published_to(cloud: Cloud) -> None:
    address, stack = f"{uuid.uuid4().hex}@example.com", Stack(cloud)
    assert stack.deploy(template(address, publishers=("cloudwatch",))) == "CREATE_COMPLETE"
    made, states = stack.outputs(), cloud.client("stepfunctions")
    arn = states.start_execution(stateMachineArn=made["Machine"])["executionArn"]
    until(lambda: states.describe_execution(executionArn=arn)["status"], lambda s: s == "FAILED")
    log = cloud.aws.home / "server.log"
    until(lambda: f"may not publish to {made['Topic']}" in log.read_text(), bool)
    assert mails_to(cloud, address) == []
    stack.delete()


def test_an_alert_changes_in_place_and_a_taken_name_is_refused(cloud: Cloud) -> None:
    name = f"topic-{uuid.uuid4().hex[:8]}"
    topic: dict[str, Any] = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": name}}
    stack = Stack(cloud)
    assert stack.deploy({"Resources": {"Topic": topic}}) == "CREATE_COMPLETE"
    topic["Properties"] |= {"DisplayName": "Nights", "Tags": [{"Key": "team", "Value": "a"}]}
    assert stack.deploy({"Resources": {"Topic": topic}}) == "UPDATE_COMPLETE", stack.why()
    sns = cloud.client("sns", REGION)
    arn = next(one["TopicArn"] for one in sns.list_topics()["Topics"] if name in one["TopicArn"])
    assert sns.get_topic_attributes(TopicArn=arn)["Attributes"]["DisplayName"] == "Nights"
    assert sns.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "a"}]
    other = Stack(cloud)
    assert other.deploy({"Resources": {"Topic": topic}}) == "ROLLBACK_COMPLETE"
    assert "already exists" in other.why()[0]
