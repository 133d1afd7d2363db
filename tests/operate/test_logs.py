"""`batcat logs`: one tail from the states of an execution to the output of its containers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import batcat_runtime as bc
from batcat_runtime.errors import NoSuchExecutionError, UserError
from batcat_runtime.operate.history import JOB_LOG_GROUP
from tests.faultproxy import Fault
from tests.operate.world import IN_EACH_REGION, PURPOSE, DeployedProject

WINDOW = {"date_start": "2022-01-08", "date_end": "2022-01-09"}
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


@IN_EACH_REGION
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
    # The container's last lines may reach CloudWatch after the state's end.
    assert sum(text.startswith(f"{PURPOSE} left after") for text in texts) == 1
    assert texts[-1].startswith("execution logs-follow SUCCEEDED after")


def test_following_what_failed_says_so_by_its_exit_code(project: DeployedProject) -> None:
    ended(project, "logs-failed", fail="the file is empty")
    shown = project.batcat("logs", "logs-failed", "-f", "--every", "0.2", code=1)
    assert "FAILED after" in shown.stdout.splitlines()[-1]
    assert shown.stderr == ""


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
    shown = project.process("logs", "logs-good", PYTHONIOENCODING="ascii")
    texts = [line.split("  ", 2)[2] for line in shown.stdout.splitlines()]
    assert {"red? and more", "first", "second", long, "?? ?rger"} <= set(texts)


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


def test_an_execution_that_is_forgotten_leaves_a_trace_in_cloudwatch(
    project: DeployedProject,
) -> None:
    shown = project.batcat("logs", "long-ago", code=1)
    assert "There is no execution long-ago" in shown.stderr
    assert "90 days" in shown.stderr
    assert f"--log-stream-name-prefix {project.names.job_name(PURPOSE)}" in shown.stderr
    with pytest.raises(NoSuchExecutionError):
        bc.logs("long-ago", folder=project.folder)


def test_a_log_group_that_does_not_exist_is_no_error(project: DeployedProject) -> None:
    ended(project, "logs-good")

    gone = Fault("logs", "FilterLogEvents", "ResourceNotFoundException", times=0)
    with project.world.wire.having(gone):
        shown = project.batcat("logs", "logs-good")
    sources = {line.split("  ", 2)[1] for line in shown.stdout.splitlines()}
    assert sources == {"workflow"}
    assert re.search(r"The job \S+ wrote no line\.", shown.stderr)


def test_a_large_log_takes_no_more_memory_than_a_small_one(project: DeployedProject) -> None:
    arn = ended(project, "logs-large")
    stream, now = f"{job_of(project, arn)}/algo-1-1", end_of(project, arn)
    filler = "." * 180
    put(project, stream, *[(now + number // 100, f"{number} {filler}") for number in range(50_000)])
    small, _ = _peak(project, "logs", "logs-failed")
    large, output = _peak(project, "logs", "logs-large")
    numbers = [int(line.split("  ", 2)[2].split()[0]) for line in output if filler in line]
    assert numbers == list(range(50_000))
    # All of it is 10 MB of text, three times that as objects.
    assert large - small < 20_000


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


def test_a_pipe_that_is_closed_ends_it_quietly(project: DeployedProject) -> None:
    arn = ended(project, "logs-large")
    now = end_of(project, arn)
    put(project, f"{job_of(project, arn)}/algo-1-1", *[(now, "." * 900) for _ in range(1000)])
    child = project.start("logs", "logs-large")
    assert child.stdout is not None
    assert child.stderr is not None
    assert "started" in child.stdout.readline()
    child.stdout.close()
    assert child.stderr.read() == ""
    assert child.wait(60) == 141


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


def following(project: DeployedProject, name: str, seconds: float) -> subprocess.Popen[str]:
    """Start an execution and a follower of it; return the follower once it has printed a line."""
    params = {"lines": 4, "seconds": seconds}
    project.execute(name, wait=False, **WINDOW, params=params)
    follower = project.start("logs", name, "-f", "--every", "0.3")
    assert follower.stdout is not None
    assert f"execution {name} started" in follower.stdout.readline()
    return follower


def end(project: DeployedProject, name: str) -> None:
    """Stop an execution, which must run still."""
    names = project.names
    arn = names.arn(
        "states", f"execution:{names.state_machine}:{name}", project.world.aws.account_id
    )
    states = project.client("stepfunctions")
    assert states.describe_execution(executionArn=arn)["status"] == "RUNNING"
    states.stop_execution(executionArn=arn, error="Enough", cause="it took too long")


def test_a_lost_network_and_throttling_lose_no_line_and_double_none(
    project: DeployedProject,
) -> None:
    wire = project.world.wire
    slow = Fault("logs", "FilterLogEvents", "ThrottlingException", "Rate exceeded", times=6)
    with wire.having(Fault("stepfunctions", "*", reset=True, after=4, times=6), slow):
        follower = following(project, "logs-faults", 2)
        assert follower.stdout is not None
        assert follower.stderr is not None
        printed, told = follower.stdout.read(), follower.stderr.read()
        follower.wait(120)
    texts = [line.split("  ", 2)[2] for line in printed.splitlines()]
    lines = [text for text in texts if text.startswith("line ")]
    assert lines == [f"line {number} of 2022-01-08" for number in range(4)]
    assert len(texts) == len(set(texts))
    assert (follower.returncode, "SUCCEEDED" in texts[-1]) == (0, True)
    assert told.count("is lost") <= told.count("AWS answers again.") == 2
    assert told.count("AWS asks to slow down") == 1


def test_credentials_that_expire_end_the_following_and_not_the_execution(
    project: DeployedProject,
) -> None:
    follower = following(project, "logs-expired", 30)
    expired = Fault("stepfunctions", "*", "ExpiredTokenException", "It is expired", times=0)
    with project.world.wire.having(expired):
        _, told = follower.communicate(timeout=60)
    assert follower.returncode == 1
    assert "The execution logs-expired goes on, but waiting for it is over" in told
    assert "aws sso login" in told
    assert "batcat logs logs-expired -f" in told
    end(project, "logs-expired")


def test_who_leaves_is_told_what_goes_on(project: DeployedProject) -> None:
    follower = following(project, "logs-left", 30)
    follower.send_signal(signal.SIGINT)
    _, told = follower.communicate(timeout=60)
    assert follower.returncode == 130
    shown = project.terminal("logs", "logs-left", "-f")
    shown.read_until("entered")
    shown.interrupt()
    assert shown.wait() == 130
    for text in (told, shown.shown):
        assert "the execution logs-left goes on" in text
        assert "batcat logs logs-left -f" in text
    last = project.start("logs", "logs-left", "-f", "--every", "0.3")
    end(project, "logs-left")
    printed, _ = last.communicate(timeout=60)
    assert (last.returncode, printed.rstrip()[-26:]) == (1, ": Enough: it took too long")


def test_a_job_costs_one_request_whatever_its_instances(project: DeployedProject) -> None:
    ended(project, "logs-good")
    wire = project.world.wire
    wire.set(Fault("s3", "GetObject", times=0))
    project.batcat("logs", "logs-good")
    asked = wire.asked.copy()
    wire.set()
    assert asked["logs:FilterLogEvents"] == 1
    assert asked["stepfunctions:GetExecutionHistory"] == 1
    assert asked["sagemaker:DescribeProcessingJob"] == asked["logs:DescribeLogStreams"] == 0


class Story:
    """A history as GetExecutionHistory has it, with so many seconds from event to event."""

    def __init__(self, step: float = 1) -> None:
        self.events: list[dict[str, Any]] = []
        self.step = step

    def add(self, kind: str, before: int = 0, name: str = "", **detail: Any) -> int:
        number = len(self.events) + 1
        moment = datetime(2022, 1, 8, tzinfo=UTC) + timedelta(seconds=number * self.step)
        event: dict[str, Any] = {"id": number, "type": kind, "previousEventId": before}
        event["timestamp"] = moment.timestamp()
        if kind.endswith("StateEntered"):
            event["stateEnteredEventDetails"] = {"name": name}
        elif kind.endswith("StateExited"):
            event["stateExitedEventDetails"] = {"name": name}
        elif detail:
            event[f"{kind[0].lower()}{kind[1:]}EventDetails"] = detail
        self.events.append(event)
        return number

    def job(self, before: int, name: str, count: int = 1) -> int:
        asked = {
            "ProcessingJobName": f"{name}-0",
            "ProcessingResources": {"ClusterConfig": {"InstanceCount": count}},
            "Environment": {"BATCAT_STEP": name},
        }
        return self.add("TaskScheduled", before, parameters=json.dumps(asked))

    def told(self, project: DeployedProject) -> tuple[list[str], dict[str, Any]]:
        """Return the lines that `batcat logs` makes of it, and what `batcat status` shows."""
        answer = json.dumps({"events": self.events[::-1]}).encode()
        forward = json.dumps({"events": self.events}).encode()
        wire = project.world.wire
        with wire.having(
            Fault("stepfunctions", "GetExecutionHistory", edit=lambda _: answer, times=1),
            Fault("stepfunctions", "GetExecutionHistory", edit=lambda _: forward, times=0),
        ):
            lines = [line.text for line in bc.logs("logs-good", folder=project.folder)]
            states = project.json("status", "logs-good")["states"]
        kept = [text for text in lines if not text.startswith(("execution", "line "))]
        return kept, {one["state"]: (one["status"], one["depth"]) for one in states}


def test_a_retry_is_told_with_its_reason(project: DeployedProject) -> None:
    ended(project, "logs-good")
    story = Story()
    last = story.add("TaskStateEntered", story.add("ExecutionStarted"), "clean")
    last = story.job(last, "clean")
    last = story.add("TaskFailed", last, error="SageMaker.Limit", cause="no capacity")
    last = story.add("TaskSucceeded", story.job(last, "again", 4))
    story.add("TaskStateExited", last, "clean")
    assert story.told(project) == (
        [
            "clean entered",
            "clean: job clean-0 created",
            "clean failed: SageMaker.Limit: no capacity",
            "clean retried, attempt 2: job again-0 created",
            "clean left after 5.0 s",
        ],
        {"clean": ("succeeded", 0)},
    )


@pytest.mark.parametrize("step", [1, 0], ids=["in turn", "in one millisecond"])
def test_a_branch_that_fails_takes_the_others_with_it(
    project: DeployedProject, step: float
) -> None:
    ended(project, "logs-good")
    story = Story(step)
    opened = story.add("ParallelStateStarted", story.add("ParallelStateEntered", 0, "both"))
    bad = story.add("TaskStateEntered", opened, "bad")
    slow = story.add("TaskStateEntered", opened, "slow")
    story.job(slow, "slow")
    bad = story.add("TaskFailed", bad, error="States.Timeout")
    lost = story.add("ParallelStateFailed", bad)
    story.add("ParallelStateExited", lost, "both")
    lines, states = story.told(project)
    assert lines == [
        "both entered",
        "bad entered",
        "slow entered",
        "slow: job slow-0 created",
        "bad failed: States.Timeout",
        "both failed",
    ]
    assert states == {"both": ("failed", 0), "bad": ("failed", 1), "slow": ("stopped", 1)}


def test_items_of_a_map_are_told_apart(project: DeployedProject) -> None:
    ended(project, "logs-good")
    story = Story()
    opened = story.add("MapStateStarted", story.add("MapStateEntered", 0, "shards"))
    for index in (0, 1):
        detail = {"mapIterationStartedEventDetails": {"name": "shards", "index": index}}
        begun = story.add("MapIterationStarted", opened)
        story.events[-1] |= detail
        story.job(story.add("TaskStateEntered", begun, "score"), f"score{index}")
    assert story.told(project)[0] == [
        "shards entered",
        "score, item 0, entered",
        "score, item 0: job score0-0 created",
        "score, item 1, entered",
        "score, item 1: job score1-0 created",
    ]
