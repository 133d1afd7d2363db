"""Stacks that cannot go back, stacks that cannot go, and two who want the same stack at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faultproxy import Fault, FaultProxy, proxied_aws
from tests.rehearsal.conftest import REGION, Cloud, error_of
from tests.rehearsal.test_cloudformation import Stack, group

DENIED = "User: arn:aws-cn:sts::1:assumed-role/d/d is not authorized to perform: it"


@pytest.fixture(scope="module")
def proxied() -> Iterator[tuple[Cloud, FaultProxy]]:
    with proxied_aws(REGION) as (aws, proxy):
        yield Cloud(aws), proxy


@pytest.fixture
def cloud(proxied: tuple[Cloud, FaultProxy]) -> Cloud:
    return proxied[0]


@pytest.fixture
def wire(proxied: tuple[Cloud, FaultProxy]) -> Iterator[FaultProxy]:
    yield proxied[1]
    proxied[1].set()


@pytest.fixture
def stack(cloud: Cloud) -> Stack:
    return Stack(cloud)


def denied(operation: str, **when: int) -> Fault:
    return Fault("logs", operation, "AccessDeniedException", DENIED, **when)


def groups(stack: Stack, days: int, **more: Any) -> dict[str, Any]:
    one = group(f"/one/{stack.name}")
    one["Properties"]["RetentionInDays"] = days
    return {"Resources": {"One": one, **more}}


def stuck(wire: FaultProxy, stack: Stack) -> None:
    """Bring a stack into UPDATE_ROLLBACK_FAILED: no way on, no way back."""
    assert stack.deploy(groups(stack, 7)) == "CREATE_COMPLETE"
    wire.set(denied("PutRetentionPolicy", times=0))
    assert stack.deploy(groups(stack, 14)) == "UPDATE_ROLLBACK_FAILED"


def test_a_rollback_that_fails_can_be_continued(wire: FaultProxy, stack: Stack) -> None:
    stuck(wire, stack)
    assert [text for text in stack.why() if DENIED in text]
    code, message = error_of(stack.plan, template=groups(stack, 14))
    assert code == "ValidationError"
    assert "UPDATE_ROLLBACK_FAILED state and can not be updated" in message
    stack.client.continue_update_rollback(StackName=stack.name)
    assert stack.settled() == "UPDATE_ROLLBACK_FAILED", "what failed fails still"
    wire.set()
    stack.client.continue_update_rollback(StackName=stack.name)
    assert stack.settled() == "UPDATE_ROLLBACK_COMPLETE"
    assert stack.deploy(groups(stack, 14)) == "UPDATE_COMPLETE"


def test_resources_can_be_skipped_by_name(wire: FaultProxy, stack: Stack) -> None:
    stuck(wire, stack)
    again = stack.client.continue_update_rollback
    code, message = error_of(again, StackName=stack.name, ResourcesToSkip=["Other"])
    assert (code, "Other" in message) == ("ValidationError", True)
    again(StackName=stack.name, ResourcesToSkip=["One"])
    assert stack.settled() == "UPDATE_ROLLBACK_COMPLETE"
    code, message = error_of(again, StackName=stack.name)
    assert (code, "can not continue" in message) == ("ValidationError", True)


def test_a_stack_that_cannot_be_deleted_may_leave_resources_behind(
    cloud: Cloud, wire: FaultProxy, stack: Stack
) -> None:
    template = groups(stack, 7, Two=group(f"/two/{stack.name}"))
    assert stack.deploy(template) == "CREATE_COMPLETE"
    arn, delete = stack.describe()["StackId"], stack.client.delete_stack
    code, message = error_of(delete, StackName=stack.name, RetainResources=["One"])
    assert (code, "DELETE_FAILED" in message) == ("ValidationError", True)
    wire.set(denied("DeleteLogGroup", after=1, times=1))
    delete(StackName=stack.name)
    assert stack.settled() == "DELETE_FAILED"
    left = stack.client.describe_stack_resources(StackName=stack.name)["StackResources"]
    assert [one["LogicalResourceId"] for one in left] == ["One"]
    delete(StackName=stack.name, RetainResources=["One"])
    stack.name = arn
    assert stack.settled() == "DELETE_COMPLETE"
    logs = cloud.client("logs")
    found = logs.describe_log_groups(logGroupNamePrefix="/one/stack")["logGroups"]
    assert any(arn.split("/")[1] in one["logGroupName"] for one in found)


def test_a_rule_of_somebody_else_is_not_taken_over(cloud: Cloud, stack: Stack) -> None:
    events = cloud.client("events")
    events.put_rule(Name=stack.name, ScheduleExpression="rate(1 day)", Description="not ours")
    rule = {
        "Type": "AWS::Events::Rule",
        "Properties": {"Name": stack.name, "ScheduleExpression": "rate(2 days)"},
    }
    assert stack.deploy({"Resources": {"Rule": rule}}) == "ROLLBACK_COMPLETE"
    assert "already exists" in stack.why()[0]
    assert events.describe_rule(Name=stack.name)["Description"] == "not ours"


def test_of_two_change_sets_one_is_executed(stack: Stack) -> None:
    """All make a change set for the same new stack and execute it, at once."""
    client, outcomes = stack.client, []
    ready = threading.Barrier(6)

    def deploy(number: int) -> None:
        name = f"change-{number}"
        ready.wait()
        try:
            client.create_change_set(
                StackName=stack.name,
                ChangeSetName=name,
                ChangeSetType="CREATE",
                TemplateBody='{"Resources": {"One": {"Type": "AWS::Logs::LogGroup"}}}',
            )
            client.execute_change_set(StackName=stack.name, ChangeSetName=name)
            outcomes.append("executed")
        except client.exceptions.ClientError as error:
            outcomes.append(error.response["Error"]["Code"])

    threads = [threading.Thread(target=deploy, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("executed") == 1, outcomes
    others = {"executed", "ValidationError", "ChangeSetNotFound", "InvalidChangeSetStatus"}
    assert set(outcomes) <= others
    assert stack.settled() == "CREATE_COMPLETE"
    named = [one for one in client.describe_stacks()["Stacks"] if one["StackName"] == stack.name]
    assert len(named) == 1
