"""Following a log while the network fails, credentials expire, AWS throttles, someone leaves."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import batcat_runtime as bc
from batcat_runtime.errors import ConnectError, WaitInterruptedError
from batcat_runtime.operate.loglines import JOB_LOG_GROUP
from tests.operate.awswire import Wire, wire_to
from tests.operate.test_logs import job_of
from tests.operate.world import DeployedProject

pytestmark = pytest.mark.parametrize("project", ["us-east-1"], indirect=True)
WINDOW = {"date_start": "2022-03-08", "date_end": "2022-03-09"}
_ended: set[Path] = set()


def until(done: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def written(project: DeployedProject, job: str) -> list[str]:
    """Return what the job has written, as its group really has it."""
    logs = project.client("logs")
    asked = {"logGroupName": JOB_LOG_GROUP, "logStreamNamePrefix": f"{job}/"}
    try:
        return [one["message"] for one in logs.filter_log_events(**asked)["events"]]
    except logs.exceptions.ResourceNotFoundException:
        return []


class Follower:
    """`batcat logs -f` over a wire, and what it printed so far."""

    def __init__(self, project: DeployedProject, wire: Wire, *arguments: str) -> None:
        self.process = project.start(
            "logs", *arguments, "-f", "--every", "0.3", AWS_ENDPOINT_URL=wire.endpoint
        )
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()

    @staticmethod
    def _read(stream: object, lines: list[str]) -> None:
        lines.extend(iter(stream.readline, ""))  # type: ignore[attr-defined]

    def until(self, seen: Callable[[], bool]) -> None:
        until(lambda: seen() or self.process.poll() is not None)
        assert seen(), (self.out, self.err)

    def end(self) -> int:
        code = self.process.wait(60)
        for reader in self._readers:
            reader.join(10)
        return code

    @property
    def texts(self) -> list[str]:
        return [line.rstrip("\n").split("  ", 2)[2] for line in self.out]

    @property
    def told(self) -> str:
        return "".join(self.err)


def run(project: DeployedProject, name: str, seconds: float) -> str:
    """Start an execution that prints four lines and sleeps; return its ARN."""
    params = {"lines": 4, "seconds": seconds}
    return str(project.execute(name, wait=False, **WINDOW, params=params)["executionArn"])


def ended(project: DeployedProject) -> str:
    """Return the name of an execution that has ended, the same for all tests."""
    name = "faults-ended"
    if project.folder not in _ended:
        project.execute(name, **WINDOW)
        _ended.add(project.folder)
    return name


def test_a_lost_network_loses_no_line_and_doubles_none(project: DeployedProject) -> None:
    arn = run(project, "faults-network", 1)
    with (
        wire_to(project.world.aws.endpoint_url) as wire,
        Follower(project, wire, "faults-network") as follower,
    ):
        follower.until(lambda: any("created" in line for line in follower.out))
        wire.unplug()
        follower.until(lambda: "connection to AWS is lost" in follower.told)
        job = job_of(project, arn)
        until(lambda: len(written(project, job)) >= 4)  # while nobody hears it
        wire.plug()
        assert follower.end() == 0
    lines = [text for text in follower.texts if text.startswith("line ")]
    assert lines == [f"line {number} of 2022-03-08" for number in range(4)]
    assert len(follower.texts) == len(set(follower.texts))
    assert follower.texts[-1].startswith("execution faults-network SUCCEEDED")
    assert follower.told.count("is lost") == follower.told.count("AWS answers again.") == 1


def test_a_network_that_stays_lost_is_an_error_that_says_how_to_come_back(
    project: DeployedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = run(project, "faults-lost", 30)
    told: list[str] = []
    with wire_to(project.world.aws.endpoint_url) as wire:
        monkeypatch.setenv("AWS_ENDPOINT_URL", wire.endpoint)
        lines = bc.logs(
            "faults-lost",
            follow=True,
            every=0.2,
            patience=0.5,
            folder=project.folder,
            progress=told.append,
        )
        assert next(lines).source == "workflow"
        wire.unplug()
        with pytest.raises(ConnectError, match="could not be reached") as caught:
            list(lines)
    assert "batcat logs faults-lost -f" in caught.value.fix
    assert len([line for line in told if "is lost" in line]) == 1
    project.client("stepfunctions").stop_execution(executionArn=arn)


def test_credentials_that_expire_end_it_and_not_the_execution(project: DeployedProject) -> None:
    arn = run(project, "faults-expired", 30)
    with (
        wire_to(project.world.aws.endpoint_url) as wire,
        Follower(project, wire, "faults-expired") as follower,
    ):
        follower.until(lambda: bool(follower.out))
        wire.rule = lambda operation: "ExpiredTokenException"
        assert follower.end() == 130
    assert "The execution faults-expired goes on." in follower.told
    assert "batcat logs faults-expired -f" in follower.told
    assert "aws sso login" in follower.told
    states = project.client("stepfunctions")
    assert states.describe_execution(executionArn=arn)["status"] == "RUNNING"
    states.stop_execution(executionArn=arn)


def test_throttling_is_waited_out(project: DeployedProject) -> None:
    name, left = ended(project), 5

    def rule(operation: str) -> str | None:
        nonlocal left
        if operation != "FilterLogEvents" or not left:
            return None
        left -= 1
        return "ThrottlingException"

    with (
        wire_to(project.world.aws.endpoint_url, rule) as wire,
        Follower(project, wire, name) as follower,
    ):
        assert follower.end() == 0
    lines = [text for text in follower.texts if text.startswith("line ")]
    assert lines == ["line 0 of 2022-03-08", "line 1 of 2022-03-08"]
    assert follower.told.count("AWS asks to slow down") == 1


def test_groups_that_come_later_are_waited_for(project: DeployedProject) -> None:
    arn = run(project, "faults-groups", 1)
    gone = True

    def rule(operation: str) -> str | None:
        return "ResourceNotFoundException" if gone and operation == "FilterLogEvents" else None

    with (
        wire_to(project.world.aws.endpoint_url, rule) as wire,
        Follower(project, wire, "faults-groups") as follower,
    ):
        follower.until(lambda: any("created" in line for line in follower.out))
        job = job_of(project, arn)
        until(lambda: len(written(project, job)) >= 4)
        gone = False
        assert follower.end() == 0
    lines = [text for text in follower.texts if text.startswith("line ")]
    assert lines == [f"line {number} of 2022-03-08" for number in range(4)]


@pytest.mark.parametrize("terminal", [True, False])
def test_who_leaves_is_told_what_goes_on(project: DeployedProject, terminal: bool) -> None:
    name = f"faults-left-{'terminal' if terminal else 'pipe'}"
    arn = run(project, name, 30)
    if terminal:
        shown = project.terminal("logs", name, "-f")
        shown.read_until("entered")
        shown.interrupt()
        assert shown.wait() == 130
        told = shown.shown
    else:
        child = project.start("logs", name, "-f")
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(signal.SIGINT)
        _, told = child.communicate(timeout=60)
        assert child.returncode == 130
    assert f"the execution {name} goes on" in told
    assert f"batcat logs {name} -f" in told
    states = project.client("stepfunctions")
    assert states.describe_execution(executionArn=arn)["status"] == "RUNNING"
    states.stop_execution(executionArn=arn)


def test_an_interrupt_between_two_lines_is_told_too(project: DeployedProject) -> None:
    lines = bc.logs(ended(project), follow=True, every=0.2, folder=project.folder)
    assert next(lines).text.startswith("execution faults-ended started")
    with pytest.raises(WaitInterruptedError, match="goes on"):
        lines.throw(KeyboardInterrupt())


def test_a_stopped_execution_ends_the_following(project: DeployedProject) -> None:
    arn = run(project, "faults-stopped", 30)
    with (
        wire_to(project.world.aws.endpoint_url) as wire,
        Follower(project, wire, "faults-stopped") as follower,
    ):
        follower.until(lambda: any("line 3" in line for line in follower.out))
        project.client("stepfunctions").stop_execution(
            executionArn=arn, error="Enough", cause="it took too long"
        )
        assert follower.end() == 1
    assert "faults-stopped ABORTED after" in follower.texts[-1]
    assert follower.texts[-1].endswith(": Enough: it took too long")


def test_a_job_costs_one_request_whatever_its_instances(project: DeployedProject) -> None:
    with wire_to(project.world.aws.endpoint_url) as wire:
        project.batcat("logs", ended(project), AWS_ENDPOINT_URL=wire.endpoint)
    assert wire.asked["FilterLogEvents"] == 3  # the trigger's, the workflow's, the job's
    assert wire.asked["GetExecutionHistory"] == 1
    assert wire.asked["DescribeProcessingJob"] == wire.asked["DescribeLogStreams"] == 0
