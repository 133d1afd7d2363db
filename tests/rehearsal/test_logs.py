"""Reading logs from the embedded CloudWatch: order, pages, tokens, windows, prefixes, patterns."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest

from tests.rehearsal.conftest import REGION, Cloud, error_of


class Group:
    """A log group of a test's own, with what it needs to fill and read it."""

    def __init__(self, cloud: Cloud) -> None:
        self.logs = cloud.client("logs", REGION)
        self.name = f"/test/{uuid.uuid4().hex}"
        self.now = int(time.time() * 1000) - 60_000
        self.logs.create_log_group(logGroupName=self.name)
        self._streams: set[str] = set()

    def put(self, stream: str, *lines: tuple[int, str]) -> None:
        """Write lines, each with its milliseconds after the group's beginning."""
        if stream not in self._streams:
            self.logs.create_log_stream(logGroupName=self.name, logStreamName=stream)
            self._streams.add(stream)
        self.logs.put_log_events(
            logGroupName=self.name,
            logStreamName=stream,
            logEvents=[{"timestamp": self.now + at, "message": text} for at, text in lines],
        )

    def filter(self, **asked: Any) -> dict[str, Any]:
        return dict(self.logs.filter_log_events(logGroupName=self.name, **asked))

    def get(self, stream: str, **asked: Any) -> dict[str, Any]:
        return dict(self.logs.get_log_events(logGroupName=self.name, logStreamName=stream, **asked))


def texts(answer: dict[str, Any]) -> list[str]:
    return [event["message"] for event in answer["events"]]


@pytest.fixture
def group(cloud: Cloud) -> Group:
    return Group(cloud)


def test_streams_are_merged_in_order_of_time(group: Group) -> None:
    group.put("a/1", (1, "first"), (30, "fourth"))
    group.put("a/2", (2, "second"), (20, "third"), (30, "fifth"))
    answer = group.filter()
    assert texts(answer) == ["first", "second", "third", "fourth", "fifth"]
    assert len({event["eventId"] for event in answer["events"]}) == 5


def test_a_prefix_and_names_choose_the_streams(group: Group) -> None:
    group.put("job-a/algo-1", (1, "a1"))
    group.put("job-a/algo-2", (2, "a2"))
    group.put("job-ab/algo-1", (3, "ab"))
    assert texts(group.filter(logStreamNamePrefix="job-a/")) == ["a1", "a2"]
    assert texts(group.filter(logStreamNamePrefix="nothing")) == []
    assert texts(group.filter(logStreamNames=["job-ab/algo-1", "job-a/algo-2"])) == ["a2", "ab"]
    refused = error_of(group.filter, logStreamNames=["job-ab/algo-1"], logStreamNamePrefix="x")
    assert refused[0] == "InvalidParameterException"


def test_the_end_of_a_window_is_included(group: Group) -> None:
    group.put("a", (1, "one"), (2, "two"), (3, "three"))
    window = {"startTime": group.now + 2, "endTime": group.now + 3}
    assert texts(group.filter(**window)) == ["two", "three"]


def test_a_page_holds_a_megabyte_and_its_token_outlives_late_lines(group: Group) -> None:
    for number in range(3):
        # The request of a put has the same limit.
        group.put("a", *[(number * 10 + n, f"{number}{n}" + "x" * 99_000) for n in range(10)])
    first = group.filter()
    assert len(first["events"]) == 10
    group.put("b", (0, "earlier than all"), (12, "late"))
    got = texts(first)
    token = first["nextToken"]
    while token:
        page = group.filter(nextToken=token)
        got += texts(page)
        token = page.get("nextToken")
    assert [text[:2] for text in got if text[0].isdigit()] == [
        f"{number}{n}" for number in range(3) for n in range(10)
    ]
    assert "late" in got
    assert len(got) == 31


def test_a_full_page_has_a_token_also_at_the_end(group: Group) -> None:
    group.put("a", (1, "one"), (2, "two"))
    page = group.filter(limit=2)
    assert texts(page) == ["one", "two"]
    last = group.filter(limit=2, nextToken=page["nextToken"])
    assert (texts(last), last.get("nextToken")) == ([], None)
    assert error_of(group.filter, limit=10_001)[0] == "InvalidParameterException"
    refused = ("InvalidParameterException", "The specified nextToken is invalid.")
    assert error_of(group.filter, nextToken="f/1") == refused


def test_tokens_of_a_stream_lead_forwards_and_backwards(group: Group) -> None:
    group.put("a", *[(n, str(n)) for n in range(5)])
    first = group.get("a", startFromHead=True, limit=2)
    assert texts(first) == ["0", "1"]
    second = group.get("a", nextToken=first["nextForwardToken"], limit=10)
    assert texts(second) == ["2", "3", "4"]
    group.put("a", (9, "new"))
    assert texts(group.get("a", nextToken=second["nextForwardToken"])) == ["new"]
    last = group.get("a", limit=2, startFromHead=False)
    assert texts(last) == ["4", "new"]
    assert texts(group.get("a", nextToken=last["nextBackwardToken"], limit=2)) == ["2", "3"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("", ["an ERROR came", "all is well", '{"execution": "a-1"}']),
        ("ERROR came", ["an ERROR came"]),
        ('"is well"', ["all is well"]),
        ('"\\"a-1\\""', ['{"execution": "a-1"}']),
    ],
)
def test_a_pattern_chooses_the_lines(group: Group, pattern: str, found: list[str]) -> None:
    group.put("a", (1, "an ERROR came"), (2, "all is well"), (3, '{"execution": "a-1"}'))
    assert texts(group.filter(filterPattern=pattern)) == found


def test_what_is_not_there_or_not_understood_is_refused(group: Group) -> None:
    gone = {"logGroupName": "/no/group"}
    assert error_of(group.logs.filter_log_events, **gone)[0] == "ResourceNotFoundException"
    assert error_of(group.get, stream="none")[0] == "ResourceNotFoundException"
    pattern = '{ $.level = "ERROR" }'
    assert error_of(group.filter, filterPattern=pattern)[0] == "InvalidParameterException"
    both = {"logGroupIdentifier": group.name}
    assert error_of(group.filter, **both)[0] == "InvalidParameterException"
    arn = f"arn:aws-cn:logs:{REGION}:123456789012:log-group:{group.name}"
    group.put("a", (1, "one"))
    assert texts(group.logs.filter_log_events(logGroupIdentifier=arn)) == ["one"]
