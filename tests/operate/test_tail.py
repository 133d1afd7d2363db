"""Many logs as one, against the embedded CloudWatch: order, late lines, memory, each line once."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from batcat_runtime.operate.loglines import LogLine, instance_of, job_source
from batcat_runtime.operate.tail import Log, Seen, merged
from batcat_runtime.operate.waiting import Connection
from tests.operate.world import World

NOW = int(time.time() * 1000) - 600_000


@dataclass
class Reader:
    """A log group of a test's own, read as the tail reads it."""

    client: Any
    hasty: bool = False
    name: str = field(default_factory=lambda: f"/test/{uuid.uuid4().hex}")
    requests: int = 0

    def __post_init__(self) -> None:
        self.client.create_log_group(logGroupName=self.name)

    def put(self, stream: str, *lines: tuple[int, str]) -> None:
        names = {"logGroupName": self.name, "logStreamName": stream}
        if not self.client.describe_log_streams(logGroupName=self.name, logStreamNamePrefix=stream)[
            "logStreams"
        ]:
            self.client.create_log_stream(**names)
        events = [{"timestamp": NOW + at, "message": text} for at, text in lines]
        self.client.put_log_events(**names, logEvents=events)

    def log(self, job: str, since: int = 0) -> Log:
        def source(event: dict[str, Any]) -> str:
            return job_source(job, instance=instance_of(event["logStreamName"]), count=100)

        return Log(self.name, source, NOW + since, lambda: None, prefix=f"{job}/")


class Asked(Connection):
    """A connection without a project."""

    def __init__(self, client: Any) -> None:
        self.asked = 0
        self.project = self  # type: ignore[assignment]
        self._client = client

    def client(self, service: str) -> Any:
        return self._client

    def ask(self, place: str, action: str, call: Any) -> Any:
        self.asked += 1
        return call()


@pytest.fixture
def reader(chinese: World) -> Reader:
    return Reader(chinese.client("logs"))


@pytest.fixture
def connection(reader: Reader) -> Asked:
    return Asked(reader.client)


def texts(lines: Iterator[LogLine]) -> list[str]:
    return [line.text for line in lines]


def test_a_hundred_containers_are_one_request_and_one_order(
    reader: Reader, connection: Asked
) -> None:
    for number in range(1, 101):
        reader.put(f"job/algo-{number}-1", *[(100 * n + number, f"{n}") for n in range(3)])
    lines = list(merged([], [reader.log("job")], connection, None))
    assert [line.source for line in lines] == [
        f"job job, instance {number} of 100" for _ in range(3) for number in range(1, 101)
    ]
    assert texts(iter(lines)) == ["0"] * 100 + ["1"] * 100 + ["2"] * 100
    assert connection.asked == 1


def test_logs_and_happenings_are_one_order(reader: Reader, connection: Asked) -> None:
    reader.put("a/algo-1-1", (1, "a1"), (5, "a5"))
    reader.put("b/algo-1-1", (2, "b2"), (3, "b3"))
    happenings = [
        (NOW + at, rank, LogLine(None, "workflow", text))  # type: ignore[arg-type]
        for at, rank, text in ((0, 0, "start"), (5, 0, "open"), (5, 2, "end"))
    ]
    found = merged(happenings, [reader.log("a"), reader.log("b", 2)], connection, None)
    assert texts(found) == ["start", "a1", "b2", "b3", "open", "a5", "end"]


def test_a_log_is_asked_for_when_the_tail_gets_there(reader: Reader, connection: Asked) -> None:
    reader.put("a/algo-1-1", (1, "a1"))
    reader.put("b/algo-1-1", (500_000, "b"))
    found = merged([], [reader.log("a"), reader.log("b", 500_000)], connection, None)
    assert next(found).text == "a1"
    assert connection.asked == 1
    assert texts(found) == ["b"]
    assert connection.asked == 2


def test_late_lines_are_given_once(reader: Reader, connection: Asked) -> None:
    log = reader.log("job")
    reader.put("job/algo-1-1", (10, "ten"), (20, "twenty"))
    assert texts(merged([], [log], connection, NOW + 10)) == ["ten"]
    reader.put("job/algo-2-1", (5, "five, late"), (20, "twenty too"))
    assert texts(merged([], [log], connection, None)) == ["five, late", "twenty", "twenty too"]
    assert texts(merged([], [log], connection, None)) == []


def test_pages_are_read_to_their_end(reader: Reader, connection: Asked) -> None:
    reader.put("job/algo-1-1", *[(n, str(n)) for n in range(2500)])
    logs = [reader.log(name) for name in ("job", *(f"other-{n}" for n in range(20)))]
    assert texts(merged([], logs, connection, None)) == [str(n) for n in range(2500)]
    # With many logs at once the pages are smaller: three for the first, one for each other.
    assert connection.asked == 3 + 20


def test_what_is_known_stays_few_and_forgets_whole_milliseconds() -> None:
    seen = Seen(0)
    assert all(seen.add(number // 10, str(number)) for number in range(100_000))
    assert len(seen._known) <= 20_010
    assert seen.floor > 7_900
    assert not any(seen.add(number // 10, str(number)) for number in range(100_000))
    assert seen.add(9_999, "new")
    burst = Seen(0)
    assert all(burst.add(5, str(number)) for number in range(30_000))
    assert not burst.add(5, "7")


def test_a_log_that_has_ended_is_not_searched_up_to_today(
    reader: Reader, connection: Asked
) -> None:
    reader.put("job/algo-1-1", (1, "while it ran"), (400_000, "of somebody else"))
    ended = Log(reader.name, lambda event: "job", NOW, lambda: NOW + 1_000, prefix="job/")
    assert texts(merged([], [ended], connection, None)) == ["while it ran"]
