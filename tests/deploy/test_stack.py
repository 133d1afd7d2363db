"""Stacks, deployed for real into an embedded AWS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from batcat_runtime.deploy.stack import deploy_stack, stack_status
from batcat_runtime.errors import StackError
from batcat_runtime.rehearsal import EmbeddedAWS

TAGS = [{"Key": "team", "Value": "cells"}]


@pytest.fixture(scope="module")
def aws() -> Iterator[EmbeddedAWS]:
    with EmbeddedAWS(region="cn-northwest-1") as running:
        yield running


@pytest.fixture
def client(aws: EmbeddedAWS, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in aws.environment().items():
        monkeypatch.setenv(name, value)
    return boto3.client("cloudformation")


def template(retention: int = 7, **more: str) -> dict[str, Any]:
    groups = {"Group": "/batcat/one", **more}
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Resources": {
            logical: {
                "Type": "AWS::Logs::LogGroup",
                "Properties": {"LogGroupName": name, "RetentionInDays": retention},
            }
            for logical, name in groups.items()
        },
        "Outputs": {"Name": {"Value": {"Ref": "Group"}}},
    }


def group_names() -> list[str]:
    found = boto3.client("logs").describe_log_groups(logGroupNamePrefix="/batcat/")
    return [one["logGroupName"] for one in found["logGroups"]]


def test_a_stack_lives_through_create_unchanged_update(client: Any) -> None:
    told: list[str] = []
    created = deploy_stack(client, "life", template(), tags=TAGS, progress=told.append)
    assert created.outcome == "created"
    assert created.changes == ("Add AWS::Logs::LogGroup Group",)
    assert created.outputs == {"Name": "/batcat/one"}
    assert any("CREATE_COMPLETE AWS::Logs::LogGroup Group" in line for line in told)
    assert deploy_stack(client, "life", template(), tags=TAGS).outcome == "unchanged"
    more = template(Second="/batcat/two")
    assert deploy_stack(client, "life", more, tags=TAGS).outcome == "updated"
    assert group_names() == ["/batcat/one", "/batcat/two"]
    assert deploy_stack(client, "life", template(), tags=TAGS).outcome == "updated"
    assert group_names() == ["/batcat/one"]


def test_a_failure_names_the_resource_and_the_reason_and_leaves_nothing(client: Any) -> None:
    bad = template(Bad="/batcat/not allowed!")
    bad["Resources"]["Group"]["Properties"]["LogGroupName"] = "/batcat/rolled-back"
    with pytest.raises(StackError, match=r"AWS::Logs::LogGroup Bad: .*not allowed!"):
        deploy_stack(client, "broken", bad, tags=TAGS)
    assert stack_status(client, "broken") == "ROLLBACK_COMPLETE"
    assert "/batcat/rolled-back" not in group_names()
    good = template()
    good["Resources"]["Group"]["Properties"]["LogGroupName"] = "/batcat/mended"
    assert deploy_stack(client, "broken", good, tags=TAGS).outcome == "created"


def test_a_failed_update_is_rolled_back(client: Any) -> None:
    good = template()
    good["Resources"]["Group"]["Properties"]["LogGroupName"] = "/batcat/stays"
    deploy_stack(client, "update", good, tags=TAGS)
    bad = json.loads(json.dumps(good))
    bad["Resources"]["Bad"] = template(Bad="/batcat/not allowed!")["Resources"]["Bad"]
    with pytest.raises(StackError, match="UPDATE_ROLLBACK_COMPLETE"):
        deploy_stack(client, "update", bad, tags=TAGS)
    assert "/batcat/stays" in group_names()
    assert deploy_stack(client, "update", good, tags=TAGS).outcome == "unchanged"


def test_a_template_that_cloudformation_cannot_read_leaves_no_stack(client: Any) -> None:
    broken = {
        "Resources": {
            "Group": {
                "Type": "AWS::Logs::LogGroup",
                "Properties": {"LogGroupName": {"Ref": "Nowhere"}},
            }
        }
    }
    with pytest.raises(Exception, match="Nowhere"):
        deploy_stack(client, "unreadable", broken, tags=TAGS)
    assert stack_status(client, "unreadable") in {None, "DELETE_COMPLETE"}


def test_a_template_that_is_too_large_is_refused_before_any_request() -> None:
    with pytest.raises(StackError, match="too large"):
        deploy_stack(None, "large", {"Description": "x" * 60_000}, tags=TAGS)
