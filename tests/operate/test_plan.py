"""`batcat plan`, and that nothing is different afterwards. `test_deploy` goes on with changes."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.faultproxy import Fault
from tests.operate.accounts import account, as_deployer
from tests.operate.world import IN_EACH_REGION, REGIONS, DeployedProject, World


@pytest.fixture
def calm(project: DeployedProject) -> Iterator[None]:
    """Take the faults of a test away at its end."""
    yield
    project.world.wire.set()


@IN_EACH_REGION
def test_nothing_changes_in_a_project_as_it_is_deployed(project: DeployedProject) -> None:
    """Plan and deploy it at once: neither finds anything to do, nor minds the other."""
    before = account(project)
    planning = project.start("plan", "--json", "--detailed-exitcode")
    deployed = project.batcat("deploy")
    assert "Nothing has changed: everything was deployed as it is." in deployed.stdout
    assert f"stack {project.names.trigger_stack}: unchanged" in deployed.stderr
    printed, said = planning.communicate(timeout=120)
    assert planning.returncode == 0, said
    found = json.loads(printed)
    assert {one["outcome"] for one in found["stacks"]} == {"unchanged"}
    assert (found["diffs"], found["image"]["builder"]) == ({}, "")
    assert f"stack {project.names.workflow_stack}: unchanged" in said
    assert account(project) == before


def test_a_plan_that_is_stopped_or_fails_leaves_nothing(
    project: DeployedProject, calm: None
) -> None:
    before = account(project)
    wire = project.world.wire
    slow = Fault("cloudformation", "DescribeChangeSet", "Throttling", "Rate exceeded", times=0)
    wire.set(slow)
    running = project.start("plan")
    change_sets = project.client("cloudformation").list_change_sets
    deadline = time.monotonic() + 60
    while not change_sets(StackName=project.names.project_stack)["Summaries"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert (running.returncode, "Stopped." in said) == (130, True), said
    wire.set()
    assert account(project) == before
    denied = "User: x is not authorized to perform: cloudformation:DescribeChangeSet"
    wire.set(Fault("cloudformation", "DescribeChangeSet", "AccessDenied", denied))
    failed = project.batcat("plan", code=1)
    assert "needs cloudformation:DescribeChangeSet" in failed.stderr
    assert failed.stderr.count("Error: ") == 1
    assert account(project) == before


@pytest.mark.parametrize("region", REGIONS)
def test_with_given_roles_none_would_be_made(worlds: Callable[[str], World], region: str) -> None:
    """In both partitions, before a first deployment."""
    project = worlds(region).project(deploy=False)
    role = f"arn:{project.config.partition}:iam::{project.world.aws.account_id}:role/given"
    path = project.folder / "script" / "config.json"
    content = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(content | {"workflow_execution_role": role}), encoding="utf-8")
    as_deployer(project)
    before = account(project)
    found = project.json("plan")
    types = {row["type"] for one in found["stacks"] for row in one["changes"]}
    assert "AWS::IAM::Role" not in types
    assert any(f'+        "RoleArn": "{role}"' in diff for diff in found["diffs"].values())
    assert account(project) == before
