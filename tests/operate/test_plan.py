"""`batcat plan`: what a deployment would change, and that nothing is different afterwards."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import batcat_runtime as bc
from batcat_runtime.rehearsal import principals
from batcat_runtime.rehearsal.faults import Fault, set_faults
from tests.operate.world import PURPOSE, REGIONS, DeployedProject, World

# What a plan could leave behind, and how to list it.
LISTED = {
    "cloudformation": ("describe_stacks", "Stacks"),
    "ecr": ("describe_repositories", "repositories"),
    "events": ("list_rules", "Rules"),
    "iam": ("list_roles", "Roles"),
    "lambda": ("list_functions", "Functions"),
    "logs": ("describe_log_groups", "logGroups"),
    "scheduler": ("list_schedules", "Schedules"),
    "stepfunctions": ("list_state_machines", "stateMachines"),
}


@pytest.fixture
def fresh(worlds: Callable[[str], World]) -> Iterator[World]:
    """Return a world whose faults are gone at the end."""
    world = worlds(REGIONS[0])
    yield world
    set_faults(world.aws.home)


def account(project: DeployedProject) -> dict[str, Any]:
    """Return everything in the account that a plan could change."""
    found: dict[str, Any] = {}
    for service, (operation, member) in LISTED.items():
        found[service] = getattr(project.client(service), operation)()[member]
    formation = project.client("cloudformation")
    for stack in found["cloudformation"]:
        name = stack["StackName"]
        found[name] = [
            formation.list_change_sets(StackName=name)["Summaries"],
            formation.describe_stack_events(StackName=name)["StackEvents"],
            formation.get_template(StackName=name)["TemplateBody"],
        ]
    ecr, s3 = project.client("ecr"), project.client("s3")
    found["images"] = [
        ecr.describe_images(repositoryName=one["repositoryName"])["imageDetails"]
        for one in found["ecr"]
    ]
    bucket = project.config.result_s3_bucket
    found["objects"] = s3.list_objects_v2(Bucket=bucket).get("Contents")
    reports = s3.get_bucket_notification_configuration(Bucket=bucket)
    found["reports"] = {key: reports[key] for key in reports if key != "ResponseMetadata"}
    return found


def configure(project: DeployedProject, **purpose: Any) -> None:
    path = project.folder / "script" / "config.json"
    content = json.loads(path.read_text("utf-8"))
    content["purposes"][PURPOSE] |= purpose
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def as_deployer(project: DeployedProject) -> None:
    """Let commands run with the deployer's policies, and nothing else."""
    iam, sts = project.client("iam"), project.client("sts")
    for policy in iam.list_policies(Scope="Local")["Policies"]:
        if policy["PolicyName"].startswith("deployer-"):
            iam.detach_role_policy(RoleName=principals.DEPLOYER, PolicyArn=policy["Arn"])
            iam.delete_policy(PolicyArn=policy["Arn"])
    for role in iam.list_roles()["Roles"]:
        if role["RoleName"] == principals.DEPLOYER:
            iam.delete_role(RoleName=principals.DEPLOYER)
    role = principals.create_deployer(iam, project.opened.config, project.world.aws.account_id)
    project.environment |= principals.credentials_of(sts, role, "ada")


def test_nothing_would_change_in_a_project_as_it_is_deployed(project: DeployedProject) -> None:
    before = account(project)
    done = project.batcat("plan", "--detailed-exitcode")
    assert done.stdout == "Nothing would change: everything is deployed as it is.\n"
    assert f"stack {project.names.workflow_stack}: planned" in done.stderr
    found = project.json("plan")
    assert set(found["stacks"].values()) == {"unchanged"}
    assert (found["changes"], found["differences"], found["image"]) == ([], [], None)
    assert account(project) == before


@pytest.mark.parametrize("region", REGIONS)
def test_before_a_first_deployment_all_would_be_made(
    worlds: Callable[[str], World], region: str
) -> None:
    project = worlds(region).project(deploy=False)
    configure(project, s3_trigger={"prefix": f"s3://{project.config.result_s3_bucket}/raw/"})
    as_deployer(project)
    before = account(project)
    done = project.batcat("plan", "--detailed-exitcode", code=3)
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["ACTION", "RESOURCE", "TYPE", "REPLACED", "STACK"]
    assert lines[1].startswith(f"build   {project.names.repository}:")
    for resource in ("Repository", "StateMachine", "JobRole", "Function", "Schedule", "UploadRule"):
        assert [line for line in lines if line.split()[:2] == ["add", resource]], resource
    assert f"The bucket {project.config.result_s3_bucket} would send its events" in done.stdout
    assert "StateMachine (AWS::StepFunctions::StateMachine): definition\n@@ -0,0 +" in done.stdout
    assert '+          "ImageUri": "' in done.stdout
    assert "once the image" in done.stdout
    assert "JobRole (AWS::IAM::Role): permissions" in done.stdout
    assert "+def lambda_handler(event, context)" in done.stdout
    assert lines[-1].startswith("Plan: 12 to add, 0 to change, 0 to remove, and an image to build.")
    short = project.batcat("plan", "--no-diff").stdout
    assert "@@" not in short
    assert account(project) == before


def test_changes_are_shown_as_a_table_and_a_diff(fresh: World) -> None:
    project = fresh.project()
    as_deployer(project)
    config = project.opened.config.purposes[PURPOSE]
    assert config.schedule is not None
    schedule = {"expression": "cron(0 3 * * ? *)", "timezone": "Asia/Shanghai", "enabled": True}
    configure(project, schedule=schedule)
    handler = project.folder / "deploy" / "lambda" / "lambda_function.py"
    handler.write_text(handler.read_text("utf-8") + "\n# one line more\n", encoding="utf-8")
    path = project.folder / "deploy" / "setup_stepfunctions.py"
    text = path.read_text("utf-8").replace(
        "Chain(bc.processing_steps(config, purpose))",
        "Chain([*bc.processing_steps(config, purpose), Wait('Rest', seconds=7)])",
    )
    text = text.replace("import Chain", "import Chain, Wait")
    path.write_text(text, encoding="utf-8")
    before = account(project)
    terminal = project.terminal("plan")
    assert terminal.wait() == 0, terminal.shown
    assert "\x1b[32m+# one line more\x1b[0m" in terminal.shown
    assert '\x1b[31m-  "ScheduleExpression": "cron(0 2 * * ? *)",\x1b[0m' in terminal.shown
    found = project.json("plan")
    names = project.names
    assert found["stacks"] == {
        names.project_stack: "unchanged",
        names.workflow_stack: "update",
        names.trigger_stack: "update",
    }
    changed = {(one["action"], one["resource"], one["replaced"]) for one in found["changes"]}
    assert changed == {("change", one, "") for one in ("StateMachine", "Function", "Schedule")}
    diffs = {(one["resource"], one["part"]): one["diff"] for one in found["differences"]}
    assert '+      "Seconds": 7,' in diffs["StateMachine", "definition"]
    assert '+  "State": "ENABLED",' in diffs["Schedule", "properties"]
    assert diffs["Function", "code"].endswith("+\n+# one line more")
    assert account(project) == before


def test_a_plan_that_is_stopped_or_fails_leaves_nothing(fresh: World) -> None:
    project = fresh.project()
    configure(project, schedule=None)
    before = account(project)
    slow = Fault("cloudformation", "DescribeChangeSet", "Throttling", "Rate exceeded", times=0)
    set_faults(fresh.aws.home, slow)
    running = project.start("plan")
    change_sets = project.client("cloudformation").list_change_sets
    stack = project.names.project_stack
    deadline = time.monotonic() + 60
    while not change_sets(StackName=stack)["Summaries"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert (running.returncode, "Error: Stopped." in said) == (130, True), said
    set_faults(fresh.aws.home)
    assert account(project) == before
    denied = "User: x is not authorized to perform: cloudformation:DescribeChangeSet"
    fault = Fault("cloudformation", "DescribeChangeSet", "AccessDenied", denied, status=403)
    set_faults(fresh.aws.home, fault)
    failed = project.batcat("plan", code=1)
    assert "needs cloudformation:DescribeChangeSet" in failed.stderr
    assert account(project) == before


def test_given_roles_are_planned_as_they_are(worlds: Callable[[str], World]) -> None:
    for region in REGIONS:
        project = worlds(region).project(deploy=False)
        role = f"arn:{project.config.partition}:iam::{project.world.aws.account_id}:role/given"
        path = project.folder / "script" / "config.json"
        content = json.loads(path.read_text("utf-8"))
        path.write_text(json.dumps(content | {"workflow_execution_role": role}), encoding="utf-8")
        as_deployer(project)
        found = project.json("plan")
        assert "AWS::IAM::Role" not in {one["type"] for one in found["changes"]}
        assert any(f'+  "RoleArn": "{role}"' in one["diff"] for one in found["differences"])


def test_the_builder_in_the_account_is_planned_too(fresh: World) -> None:
    project = fresh.project(deploy=False)
    project.environment["BATCAT_IMAGE_BUILDER"] = "codebuild"
    before = account(project)
    found = project.json("plan")
    assert found["image"]["builder"] == "AWS CodeBuild"
    assert ("add", "Build") in {(one["action"], one["resource"]) for one in found["changes"]}
    assert account(project) == before


def test_from_a_notebook(project: DeployedProject, capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    found = bc.plan(project.folder, progress=said.append)
    assert not found.changed
    assert str(found).startswith("Nothing would change")
    assert capsys.readouterr().out == ""
