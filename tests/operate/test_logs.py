"""`batcat logs`: one tail from the states of an execution to the output of its containers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import batcat_runtime as bc
from batcat_runtime.errors import NoSuchExecutionError, UserError
from batcat_runtime.operate.loglines import JOB_LOG_GROUP
from tests.operate.awswire import wire_to
from tests.operate.world import PURPOSE, DeployedProject

WINDOW = {"date_start": "2022-01-08", "date_end": "2022-01-09"}
ONE_REGION = pytest.mark.parametrize("project", ["cn-northwest-1"], indirect=True)
_done: dict[str, dict[str, Any]] = {}


def ended(project: DeployedProject, name: str, **params: Any) -> str:
    """Execute once for all tests of the session; return the execution's ARN."""
    key = f"{project.folder}/{name}"
    if key not in _done:
        _done[key] = project.execute(name, **WINDOW, params=params)
    return str(_done[key]["executionArn"])


def job_of(project: DeployedProject, arn: str) -> str:
    """Return the name of the execution's processing job."""
    pages = project.client("stepfunctions").get_execution_history(executionArn=arn)["events"]
    scheduled = next(one for one in pages if one["type"] == "TaskScheduled")
    parameters = json.loads(scheduled["taskScheduledEventDetails"]["parameters"])
    return str(parameters["ProcessingJobName"])


def end_of(project: DeployedProject, arn: str) -> int:
    """Return when an execution ended, in milliseconds since 1970."""
    described = project.client("stepfunctions").describe_execution(executionArn=arn)
    return int(described["stopDate"].timestamp() * 1000)


def put(project: DeployedProject, stream: str, *lines: tuple[int, str]) -> None:
    """Write lines, with their milliseconds since 1970, to a stream of the jobs' group."""
    logs = project.client("logs")
    with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_stream(logGroupName=JOB_LOG_GROUP, logStreamName=stream)
    for start in range(0, len(lines), 5000):
        logs.put_log_events(
            logGroupName=JOB_LOG_GROUP,
            logStreamName=stream,
            logEvents=[{"timestamp": at, "message": text} for at, text in lines[start:][:5000]],
        )


def test_a_failed_execution_is_told_in_order_of_time(project: DeployedProject) -> None:
    arn = ended(project, "logs-failed", fail="the file is empty")
    shown = project.batcat("logs", "logs-failed")
    told = [line.split("  ", 2)[1:] for line in shown.stdout.splitlines()]
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", x) for x in shown.stdout.splitlines())
    job = f"job {PURPOSE}"
    assert told[:5] == [
        ["workflow", "execution logs-failed started for 2022-01-08 to 2022-01-09"],
        ["workflow", f"{PURPOSE} entered"],
        ["workflow", f"{PURPOSE}: job {job_of(project, arn)} created"],
        [job, "line 0 of 2022-01-08"],
        [job, "line 1 of 2022-01-08"],
    ]
    reason = "ValueError: no usage for 2022-01-08: the file is empty"
    assert told[-3] == [job, reason]
    assert told[-2] == ["workflow", f"{PURPOSE} failed: AlgorithmError: , exit code: 1; {reason}"]
    assert told[-1][1].startswith("execution logs-failed FAILED after ")
    assert told[-1][1].endswith(reason)
    assert shown.stderr == ""


def test_json_is_one_object_a_line_and_lines_come_from_the_end(project: DeployedProject) -> None:
    arn = ended(project, "logs-failed", fail="the file is empty")
    shown = project.batcat("logs", arn, "--json", "--tail", "2")
    lines = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [line["source"] for line in lines] == [f"job {PURPOSE}", "workflow", "workflow"]
    assert all(line.keys() == {"time", "source", "text"} for line in lines)
    assert all(line["time"].endswith("+00:00") for line in lines)
    assert lines == sorted(lines, key=lambda line: line["time"])


def test_a_terminal_gets_colours_and_columns(project: DeployedProject) -> None:
    ended(project, "logs-failed", fail="the file is empty")
    terminal = project.terminal("logs", "logs-fail")
    assert terminal.wait() == 0
    plain = re.sub(r"\x1b\[[\d;]*m", "", terminal.shown).replace("\r", "")
    assert plain != terminal.shown
    texts = [line[19 + 2 + 20 + 2 :] for line in plain.splitlines()]
    assert "line 0 of 2022-01-08" in texts
    assert f"{PURPOSE} entered" in texts


def test_what_is_followed_ends_with_the_outcome(project: DeployedProject) -> None:
    project.execute("logs-follow", wait=False, **WINDOW, params={"lines": 3, "seconds": 1})
    shown = project.batcat("logs", "-f", "--every", "0.3")
    texts = [line.split("  ", 2)[2] for line in shown.stdout.splitlines()]
    assert [text for text in texts if text.startswith("line ")] == [
        f"line {number} of 2022-01-08" for number in range(3)
    ]
    assert len(texts) == len(set(texts))
    assert texts[0].startswith("execution logs-follow started")
    assert texts[-2].startswith(f"{PURPOSE} left after")
    assert texts[-1].startswith("execution logs-follow SUCCEEDED after")


def test_following_what_failed_says_so_by_its_exit_code(project: DeployedProject) -> None:
    ended(project, "logs-failed", fail="the file is empty")
    shown = project.batcat("logs", "logs-failed", "-f", "--every", "0.2", code=1)
    assert "FAILED after" in shown.stdout.splitlines()[-1]
    assert shown.stderr == ""


@ONE_REGION
def test_the_trigger_tells_what_it_started(project: DeployedProject) -> None:
    window = {"date_start": "2022-02-01", "date_end": "2022-02-02"}
    lambdas = project.client("lambda")
    for _ in range(2):  # events come more than once
        answer = lambdas.invoke(FunctionName=project.names.function, Payload=json.dumps(window))
    name = json.loads(answer["Payload"].read())["execution"]
    shown = project.batcat("logs", name, "-f", "--every", "0.3")
    told = [line.split("  ", 2)[1:] for line in shown.stdout.splitlines()]
    lines = [json.loads(text) for source, text in told if source == "trigger"]
    # While it runs, Step Functions takes the same start again as the first one.
    assert [line["message"] for line in lines] == ["started", "started"]
    assert {line["execution"] for line in lines} == {name}


@ONE_REGION
def test_the_workflows_own_log_adds_what_the_history_lacks(project: DeployedProject) -> None:
    arn = ended(project, "logs-failed", fail="the file is empty")
    logs, group = project.client("logs"), project.names.workflow_log_group
    logs.create_log_stream(logGroupName=group, logStreamName="states/1")
    now = end_of(project, arn)
    echo = {"id": "13", "type": "ExecutionFailed", "details": {}, "execution_arn": arn}
    for message in (json.dumps(echo), f"a note on {arn}", "a note on another"):
        event = {"timestamp": now, "message": message}
        logs.put_log_events(logGroupName=group, logStreamName="states/1", logEvents=[event])
    lines = [line for line in bc.logs("logs-failed", folder=project.folder) if "note" in line.text]
    assert [(line.source, line.text) for line in lines] == [("workflow", f"a note on {arn}")]


@ONE_REGION
def test_text_is_harmless_and_long_lines_stay_whole(project: DeployedProject) -> None:
    arn = ended(project, "logs-good")
    now = end_of(project, arn)
    long = "x" * 20_000
    put(
        project,
        f"{job_of(project, arn)}/algo-1-1",
        (now, "\x1b[31mred\x1b[0m\x00 and \x1b]0;title\x07more"),
        (now + 1, "first\nsecond"),
        (now + 2, long),
        (now + 3, "电池 Ärger"),
    )
    shown = project.batcat("logs", "logs-good", PYTHONIOENCODING="ascii")
    texts = [line.split("  ", 2)[2] for line in shown.stdout.splitlines()]
    assert {"red? and more", "first", "second", long, "?? ?rger"} <= set(texts)


@ONE_REGION
def test_since_leaves_out_what_is_older(project: DeployedProject) -> None:
    arn = ended(project, "logs-good")
    end = end_of(project, arn)
    put(project, f"{job_of(project, arn)}/algo-1-1", (end + 10_000, "late"))
    cut = datetime.fromtimestamp(end // 1000 + 5, UTC).isoformat()
    texts = [line.text for line in bc.logs("logs-good", since=cut, folder=project.folder)]
    assert texts[0] == "late"
    assert len(texts) == 2  # and the outcome
    assert len(list(bc.logs("logs-good", since="1d", folder=project.folder))) > 5
    with pytest.raises(UserError, match="is no time"):
        bc.logs("logs-good", since="yesterday", folder=project.folder)
    shown = project.batcat("logs", "--since", "yesterday", code=2)
    assert "10m, 2h, 1d" in shown.stderr


@ONE_REGION
def test_an_execution_that_is_forgotten_leaves_a_trace_in_cloudwatch(
    project: DeployedProject,
) -> None:
    shown = project.batcat("logs", "long-ago", code=1)
    assert "There is no execution long-ago" in shown.stderr
    assert "90 days" in shown.stderr
    assert f"--log-stream-name-prefix {project.names.job_prefix}" in shown.stderr
    with pytest.raises(NoSuchExecutionError):
        bc.logs("long-ago", folder=project.folder)


@ONE_REGION
def test_a_log_group_that_does_not_exist_is_no_error(project: DeployedProject) -> None:
    ended(project, "logs-good")

    def rule(operation: str) -> str | None:
        return "ResourceNotFoundException" if operation == "FilterLogEvents" else None

    with wire_to(project.world.aws.endpoint_url, rule) as wire:
        shown = project.batcat("logs", "logs-good", AWS_ENDPOINT_URL=wire.endpoint)
    sources = {line.split("  ", 2)[1] for line in shown.stdout.splitlines()}
    assert sources == {"workflow"}
    assert f"there is no log group {JOB_LOG_GROUP} yet" in shown.stderr


@ONE_REGION
def test_a_log_that_may_not_be_read_is_said_and_left_out(project: DeployedProject) -> None:
    ended(project, "logs-failed", fail="the file is empty")
    refused: list[str] = []

    def rule(operation: str) -> str | None:
        if operation == "FilterLogEvents" and len(refused) < 2:
            refused.append(operation)
            return "AccessDeniedException"
        return None

    with wire_to(project.world.aws.endpoint_url, rule) as wire:
        shown = project.batcat("logs", "logs-failed", AWS_ENDPOINT_URL=wire.endpoint)
    assert f"job {PURPOSE}" in shown.stdout
    assert shown.stderr.count("Its lines are left out.") == 2
    assert project.names.function_log_group in shown.stderr


@ONE_REGION
def test_a_large_log_takes_no_more_memory_than_a_small_one(project: DeployedProject) -> None:
    arn = ended(project, "logs-good")
    stream, now = f"{job_of(project, arn)}/algo-1-1", end_of(project, arn)
    filler = "." * 180
    put(
        project, stream, *[(now + number // 100, f"{number} {filler}") for number in range(100_000)]
    )
    small, _ = _peak(project, "logs", "logs-failed")
    large, output = _peak(project, "logs", "logs-good")
    numbers = [int(line.split("  ", 2)[2].split()[0]) for line in output if filler in line]
    assert numbers == list(range(100_000))
    # All of it is 20 MB of text, three times that as objects.
    assert large - small < 25_000


def _peak(project: DeployedProject, *arguments: str) -> tuple[int, list[str]]:
    """Run `batcat` with its output in a file; return its peak memory in kB, and its output."""
    ended(project, "logs-failed", fail="the file is empty")
    path = project.folder / "data" / "tmp" / "output.txt"
    with path.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "batcat_runtime", *arguments],
            cwd=project.folder,
            env=project.environment,
            stdout=output,
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return usage.ru_maxrss, path.read_text("utf-8").splitlines()


@ONE_REGION
def test_a_pipe_that_is_closed_ends_it_quietly(project: DeployedProject) -> None:
    arn = ended(project, "logs-good")
    now = end_of(project, arn)
    put(project, f"{job_of(project, arn)}/algo-1-1", *[(now, "." * 900) for _ in range(1000)])
    child = project.start("logs", "logs-good")
    assert child.stdout is not None
    assert child.stderr is not None
    assert "started" in child.stdout.readline()
    child.stdout.close()
    assert child.stderr.read() == ""
    assert child.wait(60) == 141


@ONE_REGION
@pytest.mark.parametrize(
    "arguments", [("logs", "logs-good"), ("logs", "logs-good", "--json"), ("--help",)]
)
def test_a_full_disk_is_a_clear_error(project: DeployedProject, arguments: tuple[str, ...]) -> None:
    ended(project, "logs-good")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "batcat_runtime", *arguments],
            cwd=project.folder,
            env=project.environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith(
        "Error: Standard output cannot be written: No space left on device."
    )
    assert "Traceback" not in done.stderr
