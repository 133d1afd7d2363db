"""Distributed Maps of the embedded AWS: children, concurrency, tolerance, stopping, rights."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from batcat_runtime.rehearsal import EmbeddedAWS
from batcat_runtime.rehearsal.wire import ACCOUNT_ID
from tests.rehearsal.conftest import REGION, Cloud, error_of, until

END = {"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"}
PASS = {"Pass": {"Type": "Pass", "End": True}}
WAIT = {"Wait": {"Type": "Wait", "Seconds": 30, "End": True}}
# Fails for an item that says so.
CHOOSE = {
    "Bad?": {
        "Type": "Choice",
        "Choices": [{"Variable": "$.bad", "StringEquals": "yes", "Next": "Bad"}],
        "Default": "Good",
    },
    "Bad": {"Type": "Fail", "Error": "Bad", "Cause": "it said so"},
    "Good": {"Type": "Succeed"},
}


def distributed(states: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return the definition of one Distributed Map over these states."""
    processor = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": next(iter(states)),
        "States": states,
    }
    state = {"Type": "Map", "ItemProcessor": processor, "End": True, "Label": "windows", **fields}
    return {"StartAt": "Windows", "States": {"Windows": state}}


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Return a cloud that enforces policies."""
    home = tmp_path_factory.mktemp("enforcing")
    with EmbeddedAWS(region=REGION, home=home, set_environment=False, enforce_policies=True) as aws:
        yield Cloud(aws)


class Parent:
    """A state machine with a Distributed Map, its executions and its Map Run."""

    def __init__(self, cloud: Cloud, definition: dict[str, Any], role: str = "") -> None:
        self.client = cloud.client("stepfunctions")
        self.arn = self.client.create_state_machine(
            name=f"map-{uuid.uuid4().hex[:8]}",
            definition=json.dumps(definition),
            roleArn=role or cloud.role("states"),
        )["stateMachineArn"]

    def start(self, given: Any) -> str:
        return str(
            self.client.start_execution(stateMachineArn=self.arn, input=json.dumps(given))[
                "executionArn"
            ]
        )

    def ended(self, arn: str) -> dict[str, Any]:
        return dict(
            until(
                lambda: self.client.describe_execution(executionArn=arn),
                lambda answer: answer["status"] in END,
            )
        )

    def map_run(self, arn: str) -> dict[str, Any]:
        found = until(lambda: self.client.list_map_runs(executionArn=arn)["mapRuns"], len)
        return dict(self.client.describe_map_run(mapRunArn=found[0]["mapRunArn"]))

    def children(self, run: dict[str, Any], **filters: Any) -> list[dict[str, Any]]:
        listed = self.client.list_executions(mapRunArn=run["mapRunArn"], **filters)
        return list(listed["executions"])


def role_that_allows(cloud: Cloud, *statements: dict[str, Any]) -> str:
    """Make a role for state machines with these statements only; return its ARN."""
    iam, name = cloud.client("iam"), f"map-{uuid.uuid4().hex[:8]}"
    trusted = {
        "Effect": "Allow",
        "Principal": {"Service": "states.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    trust = {"Version": "2012-10-17", "Statement": [trusted]}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    document = {"Version": "2012-10-17", "Statement": [*statements]}
    iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=json.dumps(document))
    return str(role["Arn"])


def test_each_item_is_a_child_execution_that_can_be_listed_and_read(cloud: Cloud) -> None:
    selected = {"value.$": "$$.Map.Item.Value", "index.$": "$$.Map.Item.Index", "all.$": "$.all"}
    fields = {"ItemsPath": "$.items", "ItemSelector": selected}
    parent = Parent(cloud, distributed(PASS, **fields))
    arn = parent.start({"items": ["a", "b", "c"], "all": 1})
    described = parent.ended(arn)
    wanted = [{"value": one, "index": n, "all": 1} for n, one in enumerate("abc")]
    assert json.loads(described["output"]) == wanted
    run = parent.map_run(arn)
    assert run["status"] == "SUCCEEDED"
    assert run["itemCounts"]["succeeded"] == run["itemCounts"]["total"] == 3
    assert run["mapRunArn"].split(":")[5:7] == ["mapRun", f"{parent.arn.split(':')[6]}/windows"]
    children = parent.children(run, statusFilter="SUCCEEDED")
    inputs = [
        json.loads(parent.client.describe_execution(executionArn=one["executionArn"])["input"])
        for one in children
    ]
    assert sorted(inputs, key=lambda one: one["index"]) == wanted
    assert {one["mapRunArn"] for one in children} == {run["mapRunArn"]}
    history = parent.client.get_execution_history(executionArn=children[0]["executionArn"])
    assert history["events"][0]["type"] == "ExecutionStarted"
    assert history["events"][-1]["type"] == "ExecutionSucceeded"


def test_an_item_that_cannot_be_selected_fails_the_map_and_stops_its_children(
    cloud: Cloud,
) -> None:
    fields = {"ItemsPath": "$", "ItemSelector": {"day.$": "$$.Map.Item.Value.day"}}
    parent = Parent(cloud, distributed(WAIT, **fields))
    arn = parent.start([{"day": 1}, {"no day": 2}])
    described = parent.ended(arn)
    assert (described["status"], described["error"]) == ("FAILED", "States.Runtime")
    assert "day" in described["cause"]
    run = parent.map_run(arn)
    assert run["status"] == "FAILED"
    assert [one["status"] for one in parent.children(run)] == ["ABORTED"]


def test_concurrency_is_bounded_by_the_input_and_counted_while_it_runs(cloud: Cloud) -> None:
    fields = {"ItemsPath": "$.items", "MaxConcurrencyPath": "$.most"}
    parent = Parent(cloud, distributed(WAIT, **fields))
    arn = parent.start({"items": list(range(5)), "most": 2})
    counts = until(lambda: parent.map_run(arn)["itemCounts"], lambda counts: counts["running"] == 2)
    time.sleep(0.3)
    run = parent.map_run(arn)
    counts = run["itemCounts"]
    assert (counts["running"], counts["pending"], counts["total"]) == (2, 3, 5)
    assert (run["status"], run["maxConcurrency"]) == ("RUNNING", 2)
    assert len(parent.children(run, statusFilter="RUNNING")) == 2
    parent.client.stop_execution(executionArn=arn)
    assert parent.ended(arn)["status"] == "ABORTED"
    run = until(lambda: parent.map_run(arn), lambda run: run["status"] != "RUNNING")
    counts = run["itemCounts"]
    assert run["status"] == "ABORTED"
    assert (counts["aborted"], counts["running"], counts["pending"]) == (2, 0, 3)
    assert {one["status"] for one in parent.children(run)} == {"ABORTED"}


@pytest.mark.parametrize(
    ("tolerated", "status"),
    [
        ({}, "FAILED"),
        ({"ToleratedFailurePercentage": 100}, "SUCCEEDED"),
        ({"ToleratedFailurePercentage": 20}, "FAILED"),
        ({"ToleratedFailureCount": 2}, "SUCCEEDED"),
        ({"ToleratedFailureCount": 1}, "FAILED"),
    ],
)
def test_failures_are_tolerated_as_far_as_it_is_said(
    cloud: Cloud, tolerated: dict[str, int], status: str
) -> None:
    parent = Parent(cloud, distributed(CHOOSE, ItemsPath="$.items", **tolerated))
    arn = parent.start({"items": [{"bad": "yes"}, {"bad": "no"}, {"bad": "yes"}, {"bad": "no"}]})
    described = parent.ended(arn)
    assert described["status"] == status
    run = parent.map_run(arn)
    assert run["status"] == status
    if status == "FAILED":
        assert described["error"] == "States.ExceedToleratedFailureThreshold"
    else:
        assert (run["itemCounts"]["failed"], run["itemCounts"]["succeeded"]) == (2, 2)
        failed = parent.children(run, statusFilter="FAILED")
        child = parent.client.describe_execution(executionArn=failed[0]["executionArn"])
        assert (child["error"], child["cause"]) == ("Bad", "it said so")


def test_items_are_read_from_a_csv_with_the_machines_role(strict: Cloud) -> None:
    s3, bucket = strict.client("s3"), f"windows-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=bucket, Key="windows.csv", Body=b"start,end\n1,2\n2,3\n")
    reader = {
        "Resource": "arn:aws-cn:states:::s3:getObject",
        "ReaderConfig": {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"},
        "Parameters": {"Bucket.$": "$.bucket", "Key.$": "$.key"},
    }
    definition = distributed(PASS, ItemReader=reader, Label="csv")
    given = {"bucket": bucket, "key": "windows.csv"}
    everything = {"Effect": "Allow", "Action": ["s3:*", "states:*"], "Resource": "*"}
    parent = Parent(strict, definition, role_that_allows(strict, everything))
    described = parent.ended(parent.start(given))
    assert json.loads(described["output"]) == [
        {"start": "1", "end": "2"},
        {"start": "2", "end": "3"},
    ]
    missing = parent.ended(parent.start({**given, "key": "other.csv"}))
    assert missing["error"] == "States.ItemReaderFailed"
    itself = {
        "Effect": "Allow",
        "Action": "states:StartExecution",
        "Resource": f"arn:aws-cn:states:{REGION}:{ACCOUNT_ID}:stateMachine:*",
    }
    parent = Parent(strict, definition, role_that_allows(strict, itself))
    refused = parent.ended(parent.start(given))
    assert refused["error"] == "States.ItemReaderFailed"
    assert "AccessDenied" in refused["cause"]


def test_a_role_must_be_allowed_to_start_the_children(strict: Cloud) -> None:
    nothing = {"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}
    definition = distributed(PASS, ItemsPath="$.items")
    parent = Parent(strict, definition, role_that_allows(strict, nothing))
    described = parent.ended(parent.start({"items": [1]}))
    assert described["status"] == "FAILED"
    assert "states:StartExecution" in described["cause"]


def nested(machine: str) -> dict[str, Any]:
    """Return the states that run another state machine and wait for it."""
    return {
        "Run": {
            "Type": "Task",
            "Resource": "arn:aws-cn:states:::states:startExecution.sync:2",
            "Parameters": {
                "StateMachineArn": machine,
                "Name.$": "$.name",
                "Input": {"day.$": "$.day"},
            },
            "Catch": [
                {
                    "ErrorEquals": ["StepFunctions.ExecutionAlreadyExistsException"],
                    "ResultPath": None,
                    "Next": "Another's",
                }
            ],
            "ResultPath": "$.outcome",
            "End": True,
        },
        "Another's": {"Type": "Pass", "Result": "another's", "End": True},
    }


def test_a_workflow_in_a_workflow_runs_once_by_name_and_stops_with_it(cloud: Cloud) -> None:
    inner = Parent(cloud, {"StartAt": "Wait", "States": {"Wait": {**WAIT["Wait"], "Seconds": 1}}})
    slow = Parent(cloud, {"StartAt": "Wait", "States": WAIT})
    outer = Parent(cloud, {"StartAt": "Run", "States": nested(inner.arn)})
    given = {"name": f"day-{uuid.uuid4().hex[:8]}", "day": 1}
    both = [outer.ended(arn) for arn in [outer.start(given), outer.start(given)]]
    assert [one.get("cause") for one in both] == [None, None]
    outcomes = [json.loads(one["output"])["outcome"] for one in both]
    assert {one["Name"] for one in outcomes} == {given["name"]}
    assert outcomes[0]["Output"] == {"day": 1}
    assert len(inner.client.list_executions(stateMachineArn=inner.arn)["executions"]) == 1
    # Closed, or with another input, the name is taken.
    for again in (given, {**given, "day": 2}):
        assert json.loads(outer.ended(outer.start(again))["output"]) == "another's"
    stopped = Parent(cloud, {"StartAt": "Run", "States": nested(slow.arn)})
    arn = stopped.start({"name": "slow", "day": 1})
    listed = until(lambda: slow.client.list_executions(stateMachineArn=slow.arn)["executions"], len)
    stopped.client.stop_execution(executionArn=arn)
    assert stopped.ended(arn)["status"] == "ABORTED"
    assert slow.ended(listed[0]["executionArn"])["status"] == "ABORTED"


def test_waiting_for_a_workflow_takes_the_managed_rule_and_the_roles_rights(strict: Cloud) -> None:
    nothing = {"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}
    role = role_that_allows(strict, nothing)
    inner = Parent(strict, {"StartAt": "Pass", "States": PASS}, role)
    start = {"Effect": "Allow", "Action": "states:StartExecution", "Resource": inner.arn}
    rule = "StepFunctionsGetEventsForStepFunctionsExecutionRule"
    hear = {
        "Effect": "Allow",
        "Action": ["events:PutRule", "events:PutTargets", "events:DescribeRule"],
        "Resource": f"arn:aws-cn:events:{REGION}:{ACCOUNT_ID}:rule/{rule}",
    }
    definition = {"StartAt": "Run", "States": nested(inner.arn)}
    code, message = error_of(
        inner.client.create_state_machine,
        name="no-rule",
        definition=json.dumps(definition),
        roleArn=role_that_allows(strict, start),
    )
    assert (code, "managed-rule" in message) == ("AccessDeniedException", True)
    blind = Parent(strict, definition, role_that_allows(strict, start, hear))
    described = blind.ended(blind.start({"name": "blind", "day": 1}))
    assert described["error"] == "StepFunctions.AWSStepFunctionsException"
    assert "states:DescribeExecution" in described["cause"]


def test_a_wrong_distributed_map_is_refused(cloud: Cloud) -> None:
    validate = cloud.client("stepfunctions").validate_state_machine_definition

    def told(definition: dict[str, Any]) -> str:
        found = validate(definition=json.dumps(definition))["diagnostics"]
        return " ".join(one["message"] for one in found)

    assert told(distributed(PASS)) == ""
    for change, words in (
        ({"MaxConcurrency": 1, "MaxConcurrencyPath": "$.n"}, "Only one of"),
        ({"ToleratedFailurePercentage": 101}, "out of range"),
        ({"Label": "a label"}, "Label"),
        ({"ItemReader": {"Resource": "arn:aws-cn:lambda:f"}}, "ItemReader"),
    ):
        assert words in told(distributed(PASS, **change))
    definition = distributed(PASS, ToleratedFailureCount=1)
    config = definition["States"]["Windows"]["ItemProcessor"]["ProcessorConfig"]
    del config["ExecutionType"]
    assert "ExecutionType" in told(definition)
    config["Mode"] = "INLINE"
    assert "Field 'ToleratedFailureCount' is not supported in INLINE mode" in told(definition)
