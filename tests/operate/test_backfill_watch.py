"""Waiting for a backfill when AWS does not answer: what is said, and what is borne."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from batcat_runtime.config import Config, parse_config
from batcat_runtime.errors import WaitInterruptedError
from batcat_runtime.operate.backfill_record import Backfill, Record
from batcat_runtime.operate.backfill_watch import follow
from batcat_runtime.operate.connection import Project
from batcat_runtime.operate.survey import Range
from tests.conftest import CONFIG

ARN = "arn:aws-cn:states:cn-northwest-1:123456789012:execution:machine:days_b1"
RECORD = Record(Range("2022-01-01", "2022-01-03", "day"), "b", "k.csv", 2, 2, 0, arn=ARN, name="b1")


@dataclass(frozen=True)
class Stubbed(Project):
    """A project whose Step Functions client answers from a list."""

    states: Any = None

    def client(self, service: str) -> Any:
        assert service == "stepfunctions"
        return self.states


@pytest.fixture
def stubbed() -> tuple[Stubbed, Stubber]:
    client = boto3.client(
        "stepfunctions",
        region_name="cn-northwest-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    config: Config = parse_config(dict(CONFIG))
    return Stubbed(Path(), config, states=client), Stubber(client)


def running(stubber: Stubber) -> None:
    described = {
        "executionArn": ARN,
        "stateMachineArn": ARN.replace("execution", "stateMachine"),
        "name": "days_b1",
        "status": "RUNNING",
        "startDate": datetime(2022, 2, 1, tzinfo=UTC),
        "input": RECORD.given(),
    }
    stubber.add_response("describe_execution", described)
    stubber.add_response("list_map_runs", {"mapRuns": []})


def test_lost_credentials_end_the_waiting_and_not_the_backfill(
    stubbed: tuple[Stubbed, Stubber],
) -> None:
    project, stubber = stubbed
    running(stubber)
    stubber.add_client_error("describe_execution", "ExpiredTokenException", "expired")
    seen: list[Backfill] = []
    with stubber, pytest.raises(WaitInterruptedError) as caught:
        follow(project, "usage-analysis", RECORD, watch=seen.append, sleep=lambda _: None)
    assert "goes on in AWS" in str(caught.value)
    assert "batcat backfill show -p usage-analysis" in caught.value.fix
    assert (caught.value.exit_code, len(seen)) == (130, 1)
    assert (seen[0].status, seen[0].counts.waiting) == ("RUNNING", 2)


def test_throttling_is_waited_out_for_a_while(stubbed: tuple[Stubbed, Stubber]) -> None:
    project, stubber = stubbed
    waits: list[float] = []
    for _ in range(21):
        stubber.add_client_error("describe_execution", "ThrottlingException", "slow down")
    with stubber, pytest.raises(WaitInterruptedError, match="slow down"):
        follow(project, "usage-analysis", RECORD, watch=lambda _: None, sleep=waits.append)
    assert len(waits) == 20
    assert max(waits) == 5.0
    assert waits == sorted(waits)


def test_the_last_windows_are_watched_closely(stubbed: tuple[Stubbed, Stubber]) -> None:
    project, stubber = stubbed
    began = datetime(2022, 2, 1, tzinfo=UTC)
    machine = {"stateMachineArn": ARN, "startDate": began}
    zero = dict.fromkeys(("pending", "failed", "timedOut", "aborted", "total", "resultsWritten"), 0)
    map_run = {"mapRunArn": f"{ARN}:map", "executionArn": ARN, "startDate": began}
    settings = {
        "status": "RUNNING",
        "maxConcurrency": 1,
        "toleratedFailurePercentage": 0.0,
        "toleratedFailureCount": 0,
    }
    waits: list[float] = []
    for number in range(21):
        described = {
            "executionArn": ARN,
            "name": "b1",
            "status": "RUNNING",
            "input": RECORD.given(),
        }
        stubber.add_response("describe_execution", {**described, **machine})
        if number == 0:
            stubber.add_response("list_map_runs", {"mapRuns": [{**map_run, **machine}]})
        counts = zero | {"succeeded": number // 20, "running": 1}
        both = {"itemCounts": counts, "executionCounts": counts}
        stubber.add_response("describe_map_run", {**map_run, **settings, **both})
    stubber.add_client_error("describe_execution", "ExpiredTokenException", "expired")
    with stubber, pytest.raises(WaitInterruptedError):
        follow(project, "usage-analysis", RECORD, watch=lambda _: None, sleep=waits.append)
    assert waits[-2:] == [5.0, 1.0]


def test_the_record_travels_as_the_input() -> None:
    given = json.loads(RECORD.given())
    assert (given["start"], given["windows"], given["since"]) == ("2022-01-01", 2, "")
    assert len(RECORD.given()) < 256 * 1024
