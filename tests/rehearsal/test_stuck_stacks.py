"""Stacks that cannot go back, stacks that cannot go, and two who want the same stack at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from batcat_runtime.rehearsal.faults import Fault, set_faults
from tests.rehearsal.conftest import Cloud, error_of
from tests.rehearsal.test_cloudformation import Stack, group

DENIED = "User: arn:aws-cn:sts::1:assumed-role/d/d is not authorized to perform: it"


@pytest.fixture
def stack(cloud: Cloud) -> Iterator[Stack]:
    yield Stack(cloud)
    set_faults(cloud.aws.home)


def denied(operation: str, **when: int) -> Fault:
    return Fault("logs", operation, "AccessDeniedException", DENIED, **when)


def groups(stack: Stack, days: int, **more: Any) -> dict[str, Any]:
    one = group(f"/one/{stack.name}")
    one["Properties"]["RetentionInDays"] = days
    return {"Resources": {"One": one, **more}}


def stuck(cloud: Cloud, stack: Stack) -> None:
    """Bring a stack into UPDATE_ROLLBACK_FAILED: no way on, no way back."""
    assert stack.deploy(groups(stack, 7)) == "CREATE_COMPLETE"
    set_faults(cloud.aws.home, denied("PutRetentionPolicy", times=0))
    assert stack.deploy(groups(stack, 14)) == "UPDATE_ROLLBACK_FAILED"


def test_a_rollback_that_fails_can_be_continued(cloud: Cloud, stack: Stack) -> None:
    stuck(cloud, stack)
    assert [text for text in stack.why() if DENIED in text]
    code, message = error_of(stack.plan, template=groups(stack, 14))
    assert code == "ValidationError"
    assert "UPDATE_ROLLBACK_FAILED state and can not be updated" in message
    stack.client.continue_update_rollback(StackName=stack.name)
    assert stack.settled() == "UPDATE_ROLLBACK_FAILED", "what failed fails still"
    set_faults(cloud.aws.home)
    stack.client.continue_update_rollback(StackName=stack.name)
    assert stack.settled() == "UPDATE_ROLLBACK_COMPLETE"
    assert stack.deploy(groups(stack, 14)) == "UPDATE_COMPLETE"


def test_a_stack_that_cannot_be_deleted_may_leave_resources_behind(
    cloud: Cloud, stack: Stack
) -> None:
    template = groups(stack, 7, Two=group(f"/two/{stack.name}"))
    assert stack.deploy(template) == "CREATE_COMPLETE"
    arn, delete = stack.describe()["StackId"], stack.client.delete_stack
    code, message = error_of(delete, StackName=stack.name, RetainResources=["One"])
    assert (code, "DELETE_FAILED" in message) == ("ValidationError", True)
    set_faults(cloud.aws.home, denied("DeleteLogGroup", after=1, times=1))
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


def test_faults_come_when_they_are_due_and_go_with_the_file(cloud: Cloud, stack: Stack) -> None:
    look = stack.client.describe_stacks  # which tries nothing again by itself
    slow = Fault("cloudformation", "DescribeStacks", "Throttling", "Rate exceeded", after=1)
    set_faults(cloud.aws.home, slow)
    look()
    stack.client.list_stacks()
    assert error_of(look) == ("Throttling", "Rate exceeded")
    look()
    set_faults(cloud.aws.home, Fault("cloudformation", "DescribeStacks", "ExpiredToken", "old"))
    assert error_of(look) == ("ExpiredToken", "old")
    set_faults(cloud.aws.home)
    look()
