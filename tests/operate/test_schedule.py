"""`batcat schedule`: what is shown, and a switch that switches one thing in two places."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.faultproxy import Fault
from tests.operate.world import IN_EACH_REGION, PURPOSE, DeployedProject, World

CONFIG = Path("script") / "config.json"


@pytest.fixture
def switched_off(project: DeployedProject) -> Iterator[DeployedProject]:
    """Return the shared project; its schedule is off before and after, whatever happens."""
    before = (project.folder / CONFIG).read_bytes()
    yield project
    (project.folder / CONFIG).write_bytes(before)
    project.batcat("schedule", "off")


def edit(project: DeployedProject, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((project.folder / CONFIG).read_text("utf-8"))
    change(content["purposes"][PURPOSE])
    (project.folder / CONFIG).write_text(json.dumps(content, indent=2), encoding="utf-8")


def deployed_state(project: DeployedProject) -> str:
    return str(project.client("scheduler").get_schedule(Name=project.names.schedule)["State"])


@IN_EACH_REGION
def test_a_switch_changes_one_word_in_both_places(switched_off: DeployedProject) -> None:
    project = switched_off
    before = (project.folder / CONFIG).read_bytes()
    done = project.batcat("schedule", "on")
    assert f"The schedule of {PURPOSE} is on. Changed: script/config.json" in done.stderr
    assert done.stdout.startswith(f"{PURPOSE}: on\n")
    assert "fires next" in done.stdout
    assert (project.folder / CONFIG).read_bytes() == before.replace(
        b'"enabled": false', b'"enabled": true'
    )
    assert deployed_state(project) == "ENABLED"
    again = project.batcat("schedule", "on")
    assert "is on already; nothing was changed" in again.stderr
    shown = project.json("schedule")[0]
    assert (shown["configured"], shown["deployed"], shown["notes"]) == ("on", "on", [])
    assert len(shown["next"]) == 5
    terminal = project.terminal("schedule", "off")
    assert terminal.wait() == 0
    assert f"The schedule of {PURPOSE} is off." in terminal.shown
    zone = project.config.purposes[PURPOSE].schedule
    assert zone is not None
    assert f"cron(0 2 * * ? *) in {zone.timezone}, each run over 7 days" in terminal.shown
    assert (project.folder / CONFIG).read_bytes() == before
    assert deployed_state(project) == "DISABLED"


@IN_EACH_REGION
def test_times_are_in_the_schedules_own_zone_with_their_window(project: DeployedProject) -> None:
    first, second = project.json("schedule")[0]["next"][:2]
    time = datetime.fromisoformat(first["time"])
    offsets = {"cn-northwest-1": {"+08:00"}, "us-east-1": {"-05:00", "-04:00"}}
    assert first["time"][10:19] == "T02:00:00"
    assert first["time"][19:] in offsets[project.config.region]
    assert timedelta(0) < time - datetime.now(UTC) < timedelta(days=1, hours=1)
    assert first["window"]["end"] == time.date().isoformat()
    assert first["window"]["start"] == (time.date() - timedelta(days=7)).isoformat()
    assert date.fromisoformat(second["window"]["end"]) == time.date() + timedelta(days=1)


def test_a_later_deployment_finds_nothing_to_do(project: DeployedProject) -> None:
    before = (project.folder / CONFIG).read_bytes()
    states = project.client("stepfunctions")
    machine = project.opened.machine_arn(PURPOSE)
    try:
        was = states.describe_state_machine(stateMachineArn=machine)
        project.batcat("schedule", "on")
        said = project.deploy()
        now = states.describe_state_machine(stateMachineArn=machine)
        outcomes = set(re.findall(r"\S+ (created|updated|unchanged)", said))
        assert outcomes == {"unchanged"}, said
        assert "image" in said  # the configuration is in it
        assert now["definition"] == was["definition"]
        assert deployed_state(project) == "ENABLED"
    finally:
        (project.folder / CONFIG).write_bytes(before)
        project.batcat("schedule", "off")


def test_nothing_else_that_is_pending_slips_in(switched_off: DeployedProject) -> None:
    project = switched_off
    edit(project, lambda one: one["schedule"].update(window_days=3, expression="rate(2 hours)"))
    content = json.loads((project.folder / CONFIG).read_text("utf-8"))
    content["tags"] = {"team": "later"}
    (project.folder / CONFIG).write_text(json.dumps(content), encoding="utf-8")
    functions, cloudformation = project.client("lambda"), project.client("cloudformation")
    done = project.batcat("schedule", "on")
    assert "says rate(2 hours) in" in done.stdout
    assert "a window of 3 days: the next `batcat deploy` brings that" in done.stdout
    there = project.client("scheduler").get_schedule(Name=project.names.schedule)
    assert (there["State"], there["ScheduleExpression"]) == ("ENABLED", "cron(0 2 * * ? *)")
    function = functions.get_function_configuration(FunctionName=project.names.function)
    assert function["Environment"]["Variables"]["WINDOW_DAYS"] == "7"
    stack = cloudformation.describe_stacks(StackName=project.names.trigger_stack)["Stacks"][0]
    assert "team" not in {one["Key"] for one in stack["Tags"]}


def test_a_switch_by_hand_is_told_and_can_be_taken_back(switched_off: DeployedProject) -> None:
    project = switched_off
    scheduler = project.client("scheduler")
    there = scheduler.get_schedule(Name=project.names.schedule)
    given = ("Name", "ScheduleExpression", "ScheduleExpressionTimezone", "Target")
    kept = {name: there[name] for name in given}
    scheduler.update_schedule(**kept, FlexibleTimeWindow={"Mode": "OFF"}, State="ENABLED")
    shown = project.json("schedule")[0]
    assert (shown["configured"], shown["deployed"]) == ("off", "on")
    assert "Somebody has switched it on by hand, where its stack says off" in shown["notes"][0]
    project.batcat("schedule", "off")
    after = scheduler.get_schedule(Name=project.names.schedule)
    assert after["State"] == "DISABLED"
    assert after["Target"] == there["Target"]
    assert project.json("schedule")[0]["notes"] == []


def test_a_switch_that_fails_leaves_the_configuration_as_it_was(
    switched_off: DeployedProject,
) -> None:
    project = switched_off
    before = (project.folder / CONFIG).read_bytes()
    refused = Fault("scheduler", "UpdateSchedule", "ConflictException", "Somebody was quicker.")
    project.world.wire.set(refused)
    try:
        done = project.batcat("schedule", "on", code=1)
    finally:
        project.world.wire.set()
    assert "Somebody was quicker." in done.stderr
    assert (project.folder / CONFIG).read_bytes() == before
    assert deployed_state(project) == "DISABLED"


def test_ctrl_c_leaves_cloudformation_to_its_work(switched_off: DeployedProject) -> None:
    project, wire = switched_off, switched_off.world.wire
    with wire.having(Fault("cloudformation", "DescribeStackEvents", delay=8, times=0)):
        terminal = project.terminal("schedule", "on")
        end = time.monotonic() + 60
        while not wire.asked["cloudformation:ExecuteChangeSet"]:
            assert time.monotonic() < end
            time.sleep(0.05)
        time.sleep(1)
        terminal.interrupt()
        assert terminal.wait() == 130
    shown = " ".join(terminal.shown.split())
    assert "CloudFormation goes on" in shown
    assert "batcat schedule show" in shown
    assert b'"enabled": true' in (project.folder / CONFIG).read_bytes()
    waiter = project.client("cloudformation").get_waiter("stack_update_complete")
    waiter.wait(StackName=project.names.trigger_stack, WaiterConfig={"Delay": 1})
    assert deployed_state(project) == "ENABLED"


# ---- what is not deployed, or not as it should be


def test_before_the_first_deployment_the_configuration_is_switched(chinese: World) -> None:
    project = chinese.project(deploy=False)
    shown = project.batcat("schedule").stdout
    assert shown.startswith(f"{PURPOSE}: not deployed, configured off\n")
    assert "note: Nothing is deployed yet" in shown
    done = project.batcat("schedule", "on")
    assert "It is not deployed yet: the next `batcat deploy` switches it on" in done.stderr
    assert project.json("schedule")[0]["configured"] == "on"


def test_without_a_schedule_the_lines_to_add_are_shown(chinese: World) -> None:
    project = chinese.project(deploy=False)
    edit(project, lambda one: one.pop("schedule"))
    before = (project.folder / CONFIG).read_bytes()
    done = project.batcat("schedule", "on", code=2)
    assert f"The purpose {PURPOSE} has no schedule in script/config.json" in done.stderr
    lines = done.stderr.partition("and deploy:\n")[2]
    entry = json.loads("{" + lines + "}")
    edit(project, lambda one: one.update(entry))
    assert project.batcat("schedule", "on").stderr.count("already") == 1
    assert before != (project.folder / CONFIG).read_bytes()


def test_an_impossible_schedule_is_not_switched_on(chinese: World) -> None:
    project = chinese.project(deploy=False)
    edit(project, lambda one: one["schedule"].update(expression="cron(0 25 * * ? *)"))
    before = (project.folder / CONFIG).read_bytes()
    done = project.batcat("schedule", "on", code=2)
    assert "'25' is no hours: it is 0 to 23" in done.stderr
    assert (project.folder / CONFIG).read_bytes() == before
    assert "'25' is no hours" in project.json("schedule")[0]["notes"][-1]


def test_a_stack_of_somebody_else_is_not_touched(chinese: World) -> None:
    project = chinese.project(deploy=False)
    template = {
        "Description": "Not ours",
        "Resources": {"Group": {"Type": "AWS::Logs::LogGroup", "Properties": {}}},
    }
    cloudformation = project.client("cloudformation")
    cloudformation.create_stack(
        StackName=project.names.trigger_stack, TemplateBody=json.dumps(template)
    )
    waiter = cloudformation.get_waiter("stack_create_complete")
    waiter.wait(StackName=project.names.trigger_stack, WaiterConfig={"Delay": 1})
    before = (project.folder / CONFIG).read_bytes()
    done = project.batcat("schedule", "on", code=1)
    assert "BatCat did not make it: it was left alone" in done.stderr
    assert (project.folder / CONFIG).read_bytes() == before


def test_the_rule_for_uploads_is_shown_and_letters_survive_a_switch(chinese: World) -> None:
    prefix = "s3://{bucket}/arriving/"
    project = chinese.project(deploy=False)
    prefix = prefix.format(bucket=project.config.result_s3_bucket)
    edit(project, lambda one: one.update(s3_trigger={"prefix": prefix, "enabled": True}))
    assert f"uploads under {prefix}: not deployed" in project.batcat("schedule").stdout
    handler = project.folder / "deploy" / "lambda" / "lambda_function.py"
    text = "# 夜间启动, schöne Nacht\n"
    handler.write_text(text + handler.read_text("utf-8"), encoding="utf-8")
    project.deploy()
    functions = project.client("lambda")
    before = functions.get_function(FunctionName=project.names.function)["Configuration"]
    project.batcat("schedule", "on")
    # GetTemplate has a question mark for every letter that is not ASCII.
    after = functions.get_function(FunctionName=project.names.function)["Configuration"]
    assert after["CodeSha256"] == before["CodeSha256"]
    shown = project.json("schedule")[0]
    assert (shown["uploads"], shown["uploads_deployed"]) == (prefix, "on")
    assert f"uploads under {prefix}: on\n" in project.batcat("schedule").stdout
