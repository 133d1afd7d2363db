"""The story of one project: planned, failed, deployed by two at once, planned, changed by two."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.faultproxy import Fault
from tests.operate.accounts import account, as_deployer, configure
from tests.operate.world import DeployedProject, World

DENIED = (
    "User: arn:aws-cn:sts::123456789012:assumed-role/deployer/ada is not authorized to perform: "
    "states:CreateStateMachine on resource: *"
)


@pytest.fixture
def project(chinese: World) -> Iterator[DeployedProject]:
    made = chinese.project(deploy=False)
    configure(made, s3_trigger={"prefix": f"s3://{made.config.result_s3_bucket}/raw/"})
    as_deployer(made)
    yield made
    chinese.wire.set()


def test_a_projects_deployments(project: DeployedProject) -> None:
    before = account(project)
    workflow_without_its_image(project)
    first_plan(project)
    assert account(project) == before
    failed_deployment(project)
    two_at_once_after_a_failure(project)
    change(project)
    before = account(project)
    second_plan(project)
    assert account(project) == before
    two_at_once_one_of_them_stopped(project)


def workflow_without_its_image(project: DeployedProject) -> None:
    failed = subprocess.run(
        [sys.executable, "deploy/setup_stepfunctions.py"],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert failed.returncode == 1
    assert f"Error: ECR has no image {project.names.repository}:" in failed.stderr
    assert "Fix: Run `bash deploy/setup_docker.sh` first; it builds and pushes it." in failed.stderr


def first_plan(project: DeployedProject) -> None:
    done = project.batcat("plan", "--detailed-exitcode", code=3)
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["ACTION", "RESOURCE", "TYPE", "REPLACED", "STACK"]
    assert lines[1].startswith(f"build   {project.names.repository}:")
    for resource in ("Images", "BackfillMachine", "JobRole", "Function", "Schedule", "UploadRule"):
        assert [line for line in lines if line.split()[:2] == ["add", resource]], resource
    assert f"The bucket {project.config.result_s3_bucket} would send its events" in done.stdout
    assert "\nThe workflow of usage-analysis\n@@ -0,0 +" in done.stdout
    assert "(known once the image" in done.stdout
    assert lines[-1].startswith("Plan: 12 to add, 0 to change, 0 to remove, and an image to build.")


def failed_deployment(project: DeployedProject) -> None:
    fault = Fault("stepfunctions", "CreateStateMachine", "AccessDeniedException", DENIED)
    project.world.wire.set(fault)
    failed = project.batcat("deploy", code=1)
    assert failed.stdout == ""
    assert failed.stderr.count("Error: ") == failed.stderr.count("states:CreateStateMachine.") == 1
    told = failed.stderr.rpartition("Error: The stack ")[2]
    assert told.startswith(f"{project.names.workflow_stack} was not deployed (ROLLBACK_COMPLETE).")
    assert "  AWS::StepFunctions::StateMachine StateMachine: User: arn:aws-cn:sts::" in told
    assert "  In short: The role deployer may not states:CreateStateMachine.\n" in told
    assert "  Rolled back: AWS has undone what it did: LogGroup." in told
    assert f"left in place: {project.names.project_stack} (created), " in told
    assert "  Fix: Ask the administrator to let the role deployer do that: all that" in told


def two_at_once_after_a_failure(project: DeployedProject) -> None:
    other = project.start("deploy", "--json")
    mine = project.terminal("deploy", timeout=180)
    assert mine.wait() == 0, mine.shown
    printed, said = other.communicate(timeout=180)
    assert other.returncode == 0, said
    outcomes = {one["stack"]: one["outcome"] for one in json.loads(printed)["stacks"]}
    for stack in (project.names.workflow_stack, project.names.trigger_stack):
        here = f"stack {stack}: created" in mine.shown
        assert outcomes[stack] == ("unchanged" if here else "created")
        described = project.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        assert [one["StackStatus"] for one in described] == ["CREATE_COMPLETE"]


def change(project: DeployedProject) -> None:
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


def second_plan(project: DeployedProject) -> None:
    terminal = project.terminal("plan", timeout=180)
    assert terminal.wait() == 0, terminal.shown
    shown = terminal.shown
    for resource in ("StateMachine", "Function", "Schedule"):
        assert f"\nchange  {resource} " in shown
    assert "\nadd  " not in shown
    assert '\x1b[32m+      "Seconds": 7,\x1b[0m' in shown
    assert "Plan: 0 to add, 3 to change, 0 to remove, and an image to build." in shown


def two_at_once_one_of_them_stopped(project: DeployedProject) -> None:
    stopped = project.terminal("deploy", timeout=180)
    stopped.read_until("updating AWS::")
    other = project.start("deploy")
    stopped.interrupt()
    assert stopped.wait() == 130, stopped.shown
    # What goes on is named in `test_stack`; here it may have come to its end by now.
    assert "Error: Stopped" in stopped.shown
    assert "eploy` again" in stopped.shown or "Deploy again" in stopped.shown
    printed, said = other.communicate(timeout=180)
    assert other.returncode == 0, said
    assert f"{project.names.trigger_stack} updated" in printed, said
    schedule = project.client("scheduler").get_schedule(Name=project.names.schedule)
    assert schedule["ScheduleExpression"] == "cron(0 3 * * ? *)"
