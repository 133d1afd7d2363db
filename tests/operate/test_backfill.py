"""`batcat backfill`: each window once, whoever is killed, stopped or there twice."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

import batcat_runtime as bc
from batcat_runtime.commands import app
from batcat_runtime.errors import BatcatError
from tests.faultproxy import Fault
from tests.operate.world import IN_EACH_REGION, DeployedProject, World, pointed

# Quick: no pandas. A bad day fails once.
SCRIPT = """
import time
import batcat_runtime as bc

with bc.processing_job("usage-analysis") as job:
    time.sleep(float(job.parameters.get("seconds", 0)))
    first = not job.run_id.endswith("_b2")
    if first and str(job.date_start) in str(job.parameters.get("bad", "")).split():
        raise ValueError(f"no usage for {job.date_start}")
    (job.output_path / "usage-analysis.csv").write_text(f"day\\n{job.date_start}\\n")
"""
Described = dict[str, Any]


@pytest.fixture(scope="module")
def _made(worlds: Callable[[str], World]) -> DeployedProject:
    return worlds("cn-northwest-1").project(script=SCRIPT)


@pytest.fixture
def quick(_made: DeployedProject, monkeypatch: pytest.MonkeyPatch) -> DeployedProject:
    """Return a project with quick jobs; this process's environment points to its AWS."""
    return pointed(_made, monkeypatch)


def days_computed(project: DeployedProject, first: str, last: str) -> Counter[str]:
    """Return how many whole results each day has."""
    found = bc.results(first, last, runs=True, folder=project.folder)
    return Counter(one.window.start for one in found if one.whole and one.window)


def executions(project: DeployedProject, start: str, machine: str = "") -> list[Described]:
    """Return the executions of the workflow, or of another machine, whose names begin so."""
    name = machine or project.names.state_machine
    arn = project.names.arn("states", f"stateMachine:{name}", project.world.aws.account_id)
    pages = project.client("stepfunctions").get_paginator("list_executions")
    listed = [one for page in pages.paginate(stateMachineArn=arn) for one in page["executions"]]
    return [one for one in listed if one["name"].startswith(start)]


def backfills(project: DeployedProject, start: str) -> list[Described]:
    return executions(project, start, project.names.backfill_machine)


def until(look: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.2)
    return found


def test_thirty_days_are_computed_once_though_the_command_is_killed(
    quick: DeployedProject,
) -> None:
    wanted = ("backfill", "2022-03-01", "2022-03-31", "--concurrency", "4")
    command = quick.start(*wanted)
    until(lambda: backfills(quick, "2022-03-01"))
    until(lambda: bc.backfill("show", folder=quick.folder).done >= 8)
    os.killpg(command.pid, signal.SIGKILL)
    command.communicate()
    again = quick.batcat(*wanted)
    assert "runs already: coming back to it" in again.stderr
    assert re.search(r"^done +30$", again.stdout, re.MULTILINE), again.stdout
    computed = days_computed(quick, "2022-03-01", "2022-03-30")
    assert computed == {f"2022-03-{day:02d}": 1 for day in range(1, 31)}
    started = executions(quick, "2022-03-")
    assert len(started) == 30
    assert len(backfills(quick, "2022-03-")) == 1
    moments = [(one["startDate"], 1) for one in started] + [
        (one["stopDate"], -1) for one in started
    ]
    at_once = [sum(step for when, step in moments if when <= at) for at, _ in moments]
    assert max(at_once) <= 4
    nothing = quick.batcat(*wanted)
    assert "Nothing to do: every window has its result" in nothing.stderr
    assert len(executions(quick, "2022-03-")) == 30
    # The schedule gives a window the same name, and so finds it computed.
    window = json.dumps({"date_start": "2022-03-05", "date_end": "2022-03-06"})
    answer = quick.client("lambda").invoke(FunctionName=quick.names.function, Payload=window)
    assert json.loads(answer["Payload"].read())["started"] is False


def test_what_was_stopped_half_way_goes_on_with_the_same_command(quick: DeployedProject) -> None:
    wanted = ("2022-04-01", "2022-04-11", "-n", "3", "--param", "seconds=0.5")
    begun = quick.batcat("backfill", *wanted, "--no-wait")
    assert "goes on in AWS" in begun.stderr
    until(lambda: bc.backfill("show", folder=quick.folder).done >= 3)
    stopped = quick.json("backfill", "stop")
    assert stopped["status"] == "ABORTED"
    assert not [one for one in executions(quick, "2022-04-") if one["status"] == "RUNNING"]
    assert stopped["done"] >= 3
    assert stopped["waiting"] > 0
    assert stopped["done"] + stopped["waiting"] == 10
    before = days_computed(quick, "2022-04-01", "2022-04-10")
    shown = quick.batcat("backfill", "show", code=1)
    assert "The same command again goes on with what is left" in shown.stderr
    resumed = quick.json("backfill", *wanted)
    assert resumed["status"] == "SUCCEEDED"
    assert resumed["skipped"] == sum(before.values())
    assert resumed["done"] == 10 - sum(before.values())
    computed = days_computed(quick, "2022-04-01", "2022-04-10")
    assert computed == {f"2022-04-{day:02d}": 1 for day in range(1, 11)}
    # A job that is stopped after its result was whole has computed its day: nobody does it again.
    ended = {one["name"]: one["status"] for one in executions(quick, "2022-04-")}
    kept = {one.run_id for one in bc.results("2022-04-01", "2022-04-10", folder=quick.folder)}
    assert {name for name, status in ended.items() if status == "SUCCEEDED"} <= kept
    again = {name.removesuffix("_b2") for name in ended if name.endswith("_b2")}
    assert again.isdisjoint(kept)


def test_two_at_once_compute_each_day_once(quick: DeployedProject) -> None:
    ranges = (
        ("2022-05-01", "2022-05-05"),
        ("2022-05-01", "2022-05-05"),
        ("2022-05-03", "2022-05-07"),
    )
    commands = [quick.start("backfill", *one, "-n", "2", "--json") for one in ranges]
    outcomes = []
    for command in commands:
        out, said = command.communicate(timeout=120)
        assert command.returncode == 0, said
        outcomes.append(json.loads(out))
    assert {one["status"] for one in outcomes} == {"SUCCEEDED"}
    computed = days_computed(quick, "2022-05-01", "2022-05-06")
    assert computed == {f"2022-05-0{day}": 1 for day in range(1, 7)}
    assert len(executions(quick, "2022-05-")) == 6
    assert len(backfills(quick, "2022-05-")) <= 2


def test_a_bad_day_does_not_stop_the_rest_and_is_tried_again_alone(quick: DeployedProject) -> None:
    given = ("backfill", "2022-06-01", "2022-06-04", "--param", "bad=2022-06-02")
    failed = quick.batcat(*given, code=1)
    assert re.search(r"^done +2$", failed.stdout, re.MULTILINE)
    assert re.search(r"^failed +1$", failed.stdout, re.MULTILINE)
    row = r"2022-06-02 to 2022-06-03 +FAILED +2022-06-02_\S+ +ValueError: no usage for 2022-06-02"
    assert re.search(row, failed.stdout), failed.stdout
    assert "batcat backfill 2022-06-01 2022-06-04 --every day" in failed.stderr
    # Two at once try it once.
    commands = [quick.start(*given, "--json") for _ in range(2)]
    states = [json.loads(command.communicate(timeout=120)[0]) for command in commands]
    assert [one["status"] for one in states] == ["SUCCEEDED", "SUCCEEDED"]
    names = sorted(one["name"] for one in executions(quick, "2022-06-"))
    assert len(names) == 4
    assert names[2] == f"{names[1]}_b2"
    assert "Nothing to do" in quick.batcat(*given).stderr


def test_windows_with_a_result_are_skipped_unless_forced_and_running_ones_are_left_alone(
    quick: DeployedProject,
) -> None:
    quick.execute("by-hand", date_start="2022-07-01", date_end="2022-07-02", params={})
    plain = quick.json("backfill", "2022-07-01", "2022-07-02")
    assert (plain["name"], plain["skipped"]) == ("", 1)
    # One that another backfill is computing, and one of whose result other parameters are.
    slow = ("--param", "seconds=2", "--every", "day")
    quick.json("backfill", "2022-07-02", "2022-07-03", *slow, "--no-wait")
    until(lambda: executions(quick, "2022-07-02"))
    begun = quick.json("backfill", "2022-07-01", "2022-07-03", *slow)
    assert (begun["status"], begun["done"]) == ("SUCCEEDED", 1)
    ended = bc.backfill("show", wait=True, folder=quick.folder)
    until(lambda: days_computed(quick, "2022-07-02", "2022-07-02"))
    assert len(executions(quick, "2022-07-02")) == 1
    assert ended.status == "SUCCEEDED"
    forced = quick.batcat("backfill", "2022-07-01", "2022-07-02", "--force", "--json")
    assert json.loads(forced.stdout)["done"] == 1
    since = forced.stderr.partition("--since ")[2].partition("`")[0]
    again = quick.json("backfill", "2022-07-01", "2022-07-02", "--since", since)
    assert (again["name"], again["skipped"]) == ("", 1)
    # By hand, with another parameter, and forced.
    assert days_computed(quick, "2022-07-01", "2022-07-01") == {"2022-07-01": 3}


def test_hours(quick: DeployedProject) -> None:
    state = quick.json("backfill", "2022-08-01T22:00", "2022-08-02T01:00", "--every", "hour")
    assert state["done"] == 3
    found = bc.results("2022-08-01", "2022-08-02", folder=quick.folder)
    assert [(one.day, str(one.window)) for one in found] == [
        ("2022-08-01", "2022-08-01T22:00 to 2022-08-01T23:00"),
        ("2022-08-01", "2022-08-01T23:00 to 2022-08-02T00:00"),
        ("2022-08-02", "2022-08-02T00:00 to 2022-08-02T01:00"),
    ]


def test_the_last_window_may_be_shorter(quick: DeployedProject) -> None:
    quick.json("backfill", "2022-08-10", "2022-08-19", "--every", "week")
    found = bc.results("2022-08-10", "2022-08-19", folder=quick.folder)
    windows = ["2022-08-10 to 2022-08-17", "2022-08-17 to 2022-08-19"]
    assert [str(one.window) for one in found] == windows


def test_ctrl_c_leaves_it_running_and_show_tells_at_once(quick: DeployedProject) -> None:
    terminal = quick.terminal(
        "backfill", "2022-09-01", "2022-09-04", "-n", "3", "--param", "seconds=3"
    )
    until(lambda: executions(quick, "2022-09-"))
    terminal.interrupt()
    assert terminal.wait() == 130
    assert "goes on in AWS" in terminal.shown
    for command in ("show", "show --wait", "stop"):
        assert f"`batcat backfill {command}`" in " ".join(terminal.shown.split())
    shown = quick.json("backfill", "show")
    assert shown["status"] == "RUNNING", "it shows, and does not follow"
    ended = quick.json("backfill", "show", "--wait")
    assert (ended["status"], ended["done"]) == ("SUCCEEDED", 3)
    assert len(executions(quick, "2022-09-")) == 3


def test_what_ends_the_waiting_says_how_to_come_back(quick: DeployedProject) -> None:
    expired = "ExpiredTokenException"
    refused = Fault("stepfunctions", "DescribeExecution", expired, after=2, times=0)
    wanted = ("2022-09-10", "2022-09-11", "--param", "seconds=2")
    with quick.world.wire.having(refused):
        told = quick.batcat("backfill", *wanted, code=130)
    assert "goes on in AWS, but: AWS " in told.stderr
    assert "batcat backfill show --wait" in told.stderr
    assert quick.json("backfill", "show", "--wait")["done"] == 1


@IN_EACH_REGION
def test_it_runs_in_each_region_with_and_without_a_terminal(project: DeployedProject) -> None:
    terminal = project.terminal("backfill", "2021-10-01", "2021-10-03")
    assert terminal.wait() == 0, terminal.shown
    assert "has ended; nothing is left" in terminal.shown
    again = project.json("backfill", "2021-10-01", "2021-10-04", "--concurrency", "2")
    assert again["status"] == "SUCCEEDED"
    assert (again["skipped"], again["done"]) == (2, 1)
    computed = days_computed(project, "2021-10-01", "2021-10-03")
    assert computed == {f"2021-10-0{day}": 1 for day in (1, 2, 3)}


@pytest.fixture(scope="module")
def bare(worlds: Callable[[str], World]) -> DeployedProject:
    """Return a project that is not deployed."""
    return worlds("cn-northwest-1").project(deploy=False)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("2022-01-01", "2022-01-03", "-n", "0"), 2, "A concurrency of 0 is not possible"),
        (("2022-01-03", "2022-01-01"), 2, "is empty"),
        (("2022-01-01", "2022-13-01"), 2, "is no date"),
        (("2022-01-01",), 2, "is no range"),
        (("stop", "2022-01-01"), 2, "is no date"),
        (("2022-01-01", "2022-01-03", "--since", "soon"), 2, "is no time"),
        (("2022-01-01T05:00Z", "2022-01-03"), 2, "has an offset"),
        (("2022-01-01", "2022-01-03", "--every", "month"), 2, "hour, day, week"),
        (("2000-01-01", "2022-01-01", "--every", "hour"), 2, "192,864 windows of one hour"),
        (("2022-01-01", "2022-01-03", "--param", "x"), 2, "is no parameter"),
        (("2022-01-01", "2022-01-03"), 1, "is not deployed"),
        (("show",), 2, "There has been no backfill"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_changed(
    bare: DeployedProject,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    pointed(bare, monkeypatch)
    refused = CliRunner().invoke(app, ["backfill", "-C", str(bare.folder), *arguments])
    error = refused.exception
    assert isinstance(error, BatcatError), refused.output
    assert error.exit_code == code
    assert words in str(error)
    machines = bare.client("stepfunctions").list_state_machines()["stateMachines"]
    assert bare.names.backfill_machine not in {one["name"] for one in machines}


def test_a_refusal_is_one_message(bare: DeployedProject) -> None:
    refused = bare.batcat("backfill", "2022-01-01", "2022-01-03", "-n", "0", code=2)
    assert refused.stdout == ""
    assert "Error: A concurrency of 0 is not possible." in refused.stderr
    assert "Fix: Give 1 to 1,000, and no more than your account's quota" in refused.stderr
    assert "jobs beyond it fail after 300 s" in refused.stderr
