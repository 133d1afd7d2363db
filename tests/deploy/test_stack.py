"""A stack in every state that it can be found in, and everything that can go wrong on the way.

`deploy_stack` itself, against an embedded AWS behind a proxy that plays the faults.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError

from batcat_runtime.deploy.stack import Stack, StackChange, deploy_stack, describe_stack, wait_until
from batcat_runtime.errors import BatcatError, StackError, WaitInterruptedError
from batcat_runtime.io import clients
from batcat_runtime.log import reporting
from batcat_runtime.rehearsal import EmbeddedAWS
from tests.faultproxy import Fault, FaultProxy, proxied_aws

REGION = "cn-northwest-1"
TAGS = {"batcat:project": "battery", "batcat:bucket": "battery-result", "team": "cells"}
NOT_KNOWN = (
    "Neither the global service principal states.amazonaws.com, nor the regional one is "
    "authorized to assume the provided role."
)
DENIED = (
    "User: arn:aws-cn:sts::123456789012:assumed-role/deployer/ada is not authorized to perform: "
    "{action} on resource: {on} because no identity-based policy allows the {action} action"
)


@dataclass
class Bench:
    """A client, a name for a stack, and what the deployment said."""

    wire: FaultProxy
    client: Any
    name: str = field(default_factory=lambda: f"stack-{uuid.uuid4().hex[:8]}")
    said: list[str] = field(default_factory=list)

    def deploy(
        self,
        template: dict[str, Any],
        tags: dict[str, str] = TAGS,
        parameters: dict[str, str] | None = None,
        heard: Callable[[str], None] | None = None,
        **how: Any,
    ) -> StackChange:
        body = {"TemplateBody": json.dumps(template)}
        stack = Stack(self.name, body, parameters or {}, tags)
        with reporting(heard or self.said.append):
            return deploy_stack(self.client, stack, **how)

    def faults(self, *faults: Fault) -> None:
        self.wire.set(*faults)

    @property
    def status(self) -> str | None:
        return describe_stack(self.client, self.name).get("StackStatus")

    def change(self, **how: Any) -> None:
        """Do to the stack what another one's tool does, and wait for it."""
        for operation, arguments in how.items():
            getattr(self.client, operation)(StackName=self.name, **arguments)
        wait_until(lambda: self.status or "", lambda now: not now.endswith("_IN_PROGRESS"))


@pytest.fixture(scope="module")
def aws() -> Iterator[tuple[EmbeddedAWS, FaultProxy]]:
    with proxied_aws(REGION) as proxied:
        yield proxied


@pytest.fixture
def bench(aws: tuple[EmbeddedAWS, FaultProxy], monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    for name, value in aws[0].environment().items():
        monkeypatch.setenv(name, value)
    yield Bench(aws[1], clients.client("cloudformation", region=REGION))
    aws[1].set()


def group(name: str, days: int = 7) -> dict[str, Any]:
    properties = {"LogGroupName": f"/states/{name}", "RetentionInDays": days}
    return {"Type": "AWS::Logs::LogGroup", "Properties": properties}


def groups(bench: Bench, days: int = 7, **more: dict[str, Any]) -> dict[str, Any]:
    return {"Resources": {"Group": group(bench.name, days), **more}}


def workflow(bench: Bench, role: Any = None) -> dict[str, Any]:
    """Return a role and a state machine with it, or with one that exists."""
    trusted = {"Service": "states.amazonaws.com"}
    statement = {"Effect": "Allow", "Principal": trusted, "Action": "sts:AssumeRole"}
    machine = {
        "StateMachineName": bench.name,
        "RoleArn": role or {"Fn::GetAtt": ["Role", "Arn"]},
        "DefinitionString": '{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}',
    }
    properties = {
        "RoleName": bench.name,
        "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [statement]},
    }
    resources = {"Role": {"Type": "AWS::IAM::Role", "Properties": properties}} if not role else {}
    kind = "AWS::StepFunctions::StateMachine"
    return {"Resources": {**resources, "Machine": {"Type": kind, "Properties": machine}}}


def denied(service: str, operation: str, action: str, on: str = "*", **when: int) -> Fault:
    text = DENIED.format(action=action, on=on)
    return Fault(service, operation, "AccessDeniedException", text, **when)


def failure(bench: Bench, template: dict[str, Any]) -> str:
    with pytest.raises(StackError) as caught:
        bench.deploy(template)
    return str(caught.value)


def test_a_permission_that_is_missing_half_way_is_named_with_whom_it_lacks(bench: Bench) -> None:
    bench.faults(denied("iam", "CreateRole", "iam:CreateRole", "arn:aws-cn:iam::1:role/x"))
    template = groups(bench)
    template["Resources"] |= workflow(bench)["Resources"]
    told = failure(bench, template)
    assert "AWS::IAM::Role Role: User: arn:aws-cn:sts" in told
    assert "In short: The role deployer may not iam:CreateRole on arn:aws-cn:iam::1:role/x." in told
    assert "Rolled back: AWS has undone what it did: Group." in told
    assert "Fix: Ask the administrator to let the role deployer do that: all that" in told
    assert bench.deploy(template).outcome == "created"
    assert any("removing what a failed first deployment has left" in line for line in bench.said)


def test_a_role_without_trust_is_told_at_once(bench: Bench) -> None:
    iam = boto3.client("iam")
    nobody = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}}
    trust = {"Version": "2012-10-17", "Statement": [nobody | {"Action": "sts:AssumeRole"}]}
    role = iam.create_role(RoleName=bench.name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    told = failure(bench, workflow(bench, role["Arn"]))
    assert "In short: The role's trust policy does not name the service" in told
    assert "compare it and its trust policy with deploy/roles.yaml" in told
    assert not [line for line in bench.said if "trying again" in line]


def test_a_new_role_that_is_not_known_yet_is_waited_for(bench: Bench) -> None:
    bench.faults(
        Fault("stepfunctions", "CreateStateMachine", "AccessDeniedException", NOT_KNOWN, times=2)
    )
    assert bench.deploy(workflow(bench), pauses=(0.1, 0.2, 0.3)).outcome == "created"
    waited = [line for line in bench.said if "not known everywhere yet; trying again" in line]
    assert len(waited) == 2


def test_a_role_that_never_becomes_known_ends_the_waiting(bench: Bench) -> None:
    bench.faults(
        Fault("stepfunctions", "CreateStateMachine", "AccessDeniedException", NOT_KNOWN, times=0)
    )
    with pytest.raises(StackError, match="so new that the service has not heard of it"):
        bench.deploy(workflow(bench), pauses=(0.1, 0.2))
    assert sum("trying again" in line for line in bench.said) == 2


@pytest.mark.parametrize("before", [True, False])
def test_a_name_that_is_taken_is_refused_and_stays_untouched(bench: Bench, before: bool) -> None:
    logs = boto3.client("logs")
    taken = f"/states/{bench.name}-taken"
    logs.create_log_group(logGroupName=taken)
    logs.put_retention_policy(logGroupName=taken, retentionInDays=365)
    if before:
        bench.deploy(groups(bench))
    told = failure(bench, groups(bench, Other=group(f"{bench.name}-taken")))
    assert "AWS::Logs::LogGroup Other: " in told
    assert "There is one of this name already, and it does not belong to this stack" in told
    found = logs.describe_log_groups(logGroupNamePrefix=taken)["logGroups"]
    assert [one["retentionInDays"] for one in found] == [365]
    assert bench.status == ("UPDATE_ROLLBACK_COMPLETE" if before else "ROLLBACK_COMPLETE")


@pytest.mark.parametrize(
    ("code", "message", "words"),
    [
        ("LimitExceededException", "Log group limit exceeded", "as many of these as it may have"),
        ("ThrottlingException", "Rate exceeded", "too many requests from it"),
        ("Strange", "Something new", "Group: Something new\n"),
    ],
)
def test_other_reasons_in_plain_words(bench: Bench, code: str, message: str, words: str) -> None:
    bench.faults(Fault("logs", "CreateLogGroup", code, message))
    assert words in failure(bench, groups(bench))


def test_a_deployment_tries_again_as_often_as_reading_and_writing_does(bench: Bench) -> None:
    assert bench.client.meta.config.retries == {"mode": "standard", "total_max_attempts": 9}


def test_cloudformation_that_asks_to_slow_down_is_asked_again(bench: Bench) -> None:
    slow = [
        Fault("cloudformation", operation, "Throttling", "Rate exceeded", after=1, times=2)
        for operation in ("DescribeStacks", "DescribeStackEvents", "DescribeChangeSet")
    ]
    once = Fault("cloudformation", "ExecuteChangeSet", "Throttling", "Rate exceeded")
    bench.faults(*slow, once)
    assert bench.deploy(groups(bench)).outcome == "created"


def test_an_update_that_could_not_be_undone_is_for_a_person(bench: Bench) -> None:
    bench.deploy(groups(bench))
    action = "logs:PutRetentionPolicy"
    bench.faults(denied("logs", "PutRetentionPolicy", action, times=0))
    told = failure(bench, groups(bench, 14))
    assert "(UPDATE_ROLLBACK_FAILED)" in told
    assert f"The role deployer may not {action}." in told
    assert "Not rolled back: AWS could not undo all of it" in told
    again = failure(bench, groups(bench, 14))
    assert f"The stack {bench.name} is stuck (UPDATE_ROLLBACK_FAILED)." in again
    assert "Group: " in again
    assert f"`aws cloudformation continue-update-rollback --stack-name {bench.name}`" in again
    bench.faults()
    bench.change(continue_update_rollback={})
    assert bench.deploy(groups(bench, 14)).outcome == "updated"


def test_a_first_deployment_that_could_not_be_undone_is_removed_first(bench: Bench) -> None:
    bench.faults(
        denied("logs", "DeleteLogGroup", "logs:DeleteLogGroup"),
        Fault("logs", "CreateLogGroup", "InvalidParameterException", "no", after=1),
    )
    template = groups(bench, Second=group(f"{bench.name}-2"))
    assert "(ROLLBACK_FAILED)" in failure(bench, template)
    assert bench.deploy(template).outcome == "created"


def test_a_deletion_that_failed_is_for_a_person(bench: Bench) -> None:
    bench.deploy(groups(bench))
    bench.faults(denied("logs", "DeleteLogGroup", "logs:DeleteLogGroup"))
    bench.change(delete_stack={})
    told = failure(bench, groups(bench))
    assert f"The stack {bench.name} is stuck (DELETE_FAILED).\n  Group: " in told
    assert f"`aws cloudformation delete-stack --stack-name {bench.name}`" in told
    assert bench.status == "DELETE_FAILED", "and nothing was done"


def test_a_stack_that_was_only_looked_at_is_created(bench: Bench) -> None:
    body = json.dumps(groups(bench))
    bench.client.create_change_set(
        StackName=bench.name, ChangeSetName="other", ChangeSetType="CREATE", TemplateBody=body
    )
    assert bench.status == "REVIEW_IN_PROGRESS"
    assert bench.deploy(groups(bench)).outcome == "created"


def test_a_stack_in_other_hands_is_waited_for_and_then_deployed(bench: Bench) -> None:
    bench.deploy(groups(bench))
    more = {f"More{number}": group(f"{bench.name}-{number}") for number in range(12)}
    body = json.dumps(groups(bench, **more))
    bench.client.update_stack(StackName=bench.name, TemplateBody=body)
    assert bench.deploy(groups(bench, 14)).outcome == "updated"
    assert any("somebody is changing it (UPDATE_IN_PROGRESS); waiting" in one for one in bench.said)


def test_a_stack_that_is_not_ours_is_left_alone_and_its_owner_named(bench: Bench) -> None:
    bench.deploy(groups(bench))
    for other, words in (
        ({"batcat:bucket": "other-result"}, "the project battery with the bucket battery-result"),
        ({"batcat:project": "other"}, "Choose another `project` in script/config.json"),
    ):
        with pytest.raises(StackError, match=f"belongs to.*{words}|{words}"):
            bench.deploy(groups(bench, 14), tags=TAGS | other)
    bench.change(delete_stack={})
    bench.client.create_stack(StackName=bench.name, TemplateBody=json.dumps(groups(bench)))
    with pytest.raises(StackError, match="BatCat did not make it: it was left alone"):
        bench.deploy(groups(bench, 14))
    found = boto3.client("logs").describe_log_groups(logGroupNamePrefix=f"/states/{bench.name}")
    assert [one["retentionInDays"] for one in found["logGroups"]] == [7]


def test_a_plan_changes_nothing_and_leaves_nothing(bench: Bench) -> None:
    planned = bench.deploy(groups(bench), planned=True)
    assert (planned.outcome, str(planned.changes[0])) == ("create", "Add AWS::Logs::LogGroup Group")
    assert bench.status is None
    bench.deploy(groups(bench))
    assert bench.deploy(groups(bench), planned=True).outcome == "unchanged"
    planned = bench.deploy(groups(bench, 14), planned=True)
    (row,) = planned.changes
    assert (planned.outcome, row.action, row.name) == ("update", "Modify", f"/states/{bench.name}")
    assert not bench.client.list_change_sets(StackName=bench.name)["Summaries"]
    assert bench.deploy(groups(bench)).outcome == "unchanged"


def test_a_parameter_that_is_not_given_keeps_its_value(bench: Bench) -> None:
    template = groups(bench)
    template["Parameters"] = {
        "Days": {"Type": "Number", "Default": 7},
        "Name": {"Type": "String"},
    }
    template["Resources"]["Group"]["Properties"] = {
        "RetentionInDays": {"Ref": "Days"},
        "LogGroupName": {"Ref": "Name"},
    }
    name, given = f"/states/{bench.name}", {"Days": "14", "Unknown": "is left out"}
    bench.deploy(template, parameters={"Name": name, **given})
    bench.deploy(template, tags=TAGS | {"team": "packs"}, parameters={"Name": name})
    found = boto3.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    assert [one["retentionInDays"] for one in found] == [14]
    with pytest.raises(StackError, match=r"must have values"):
        Bench(bench.wire, bench.client).deploy(template)


def test_a_template_that_cloudformation_cannot_read_leaves_no_stack(bench: Bench) -> None:
    broken = groups(bench)
    broken["Resources"]["Group"]["Properties"]["LogGroupName"] = {"Ref": "Nowhere"}
    with pytest.raises(BatcatError, match="Nowhere"):
        bench.deploy(broken)
    assert bench.status is None


@pytest.mark.parametrize("exists", [True, False])
def test_many_deployments_at_once_do_no_harm(bench: Bench, exists: bool) -> None:
    if exists:
        bench.deploy(groups(bench))
    outcomes: list[str] = []
    ready = threading.Barrier(4)

    def deploy() -> None:
        ready.wait()
        try:
            outcomes.append(bench.deploy(groups(bench, 14)).outcome)
        except BatcatError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=deploy) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = "updated" if exists else "created"
    assert sorted(outcomes) == sorted([first, "unchanged", "unchanged", "unchanged"]), bench.said
    assert bench.status == ("UPDATE_COMPLETE" if exists else "CREATE_COMPLETE")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("ExpiredToken", "AWS does not accept the credentials in use for the stack"),
        ("network", "AWS could not be reached for the stack"),
        ("Ctrl-C", "Stopped waiting."),
    ],
)
def test_what_goes_on_without_us_is_said(bench: Bench, code: str, words: str) -> None:
    events = bench.client.meta.events

    def lost(request: Any, **_: Any) -> None:
        raise EndpointConnectionError(endpoint_url=request.url)

    def interrupted(line: str) -> None:
        if line.startswith("CREATE_IN_PROGRESS"):
            if code == "Ctrl-C":
                raise KeyboardInterrupt
            if code == "network":
                events.register("before-send.cloudformation", lost, unique_id="lost")
            else:
                bench.faults(Fault("cloudformation", "DescribeStacks", code, "expired", times=0))

    many = {f"More{number}": group(f"{bench.name}-{number}") for number in range(20)}
    with pytest.raises(WaitInterruptedError) as caught:
        bench.deploy(groups(bench, **many), heard=interrupted)
    told = str(caught.value)
    assert told.startswith(words)
    assert f". CloudFormation goes on with the stack {bench.name}" in told
    assert "`batcat deploy` again: it waits for the end of that and does the rest" in told
    bench.faults()
    events.unregister("before-send.cloudformation", unique_id="lost")
    assert bench.deploy(groups(bench, **many)).outcome == "unchanged"
