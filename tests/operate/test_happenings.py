"""Events of a history as lines: attempts, branches, items of a Map, instances, failures."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from batcat_runtime.operate.executions import Execution, Window
from batcat_runtime.operate.happenings import Job, Story, outcome_of
from tests.operate.test_history import START, History

EXECUTION = Execution(
    "usage",
    "nightly",
    "arn:aws:states:us-east-1:123456789012:execution:usage:nightly",
    "FAILED",
    START,
    datetime(2022, 1, 8, 0, 1, 30, tzinfo=UTC),
    Window("2022-01-07", "2022-01-08"),
    error="States.TaskFailed",
    cause=json.dumps({"FailureReason": "AlgorithmError: , exit code: 1", "ExitMessage": "a\nb"}),
)


def job_of(name: str, step: str, count: int = 1) -> str:
    return json.dumps(
        {
            "ProcessingJobName": name,
            "ProcessingResources": {"ClusterConfig": {"InstanceCount": count}},
            "Environment": {"BATCAT_STEP": step},
        }
    )


def told(history: History) -> tuple[list[str], dict[str, Job]]:
    story = Story(EXECUTION)
    lines = [line.text for event in history.events for _, _, line in story.read(event)]
    return lines, story.jobs


def test_a_retry_is_told_with_its_reason_and_has_a_source_of_its_own() -> None:
    history = History()
    last = history.add("TaskStateEntered", history.add("ExecutionStarted"), "clean")
    last = history.add("TaskScheduled", last, parameters=job_of("clean-0-x", "clean"))
    last = history.add(
        "TaskFailed", last, error="SageMaker.ResourceLimitExceededException", cause="no capacity"
    )
    last = history.add("TaskScheduled", last, parameters=job_of("clean-1-y", "clean", 4))
    last = history.add("TaskSucceeded", last)
    history.add("TaskStateExited", last, "clean")
    lines, jobs = told(history)
    assert lines == [
        "execution nightly started for 2022-01-07 to 2022-01-08",
        "clean entered",
        "clean: job clean-0-x created",
        "clean failed: SageMaker.ResourceLimitExceededException: no capacity",
        "clean retried, attempt 2: job clean-1-y created",
        "clean left after 5.0 s",
    ]
    assert jobs["clean-0-x"].source("clean-0-x/algo-1-1641600000") == "job clean"
    stream = "clean-1-y/algo-2-1641600000"
    assert jobs["clean-1-y"].source(stream) == "job clean, attempt 2, instance 2 of 4"
    assert [job.ended is not None for job in jobs.values()] == [True, True]


def test_states_of_bookkeeping_are_left_out() -> None:
    history = History()
    last = history.add("PassStateEntered", history.add("ExecutionStarted"), "Defaults")
    last = history.add("PassStateExited", last, "Defaults")
    last = history.add("ChoiceStateEntered", last, "completed?")
    history.add("FailStateEntered", history.add("ChoiceStateExited", last, "completed?"), "Failed")
    assert told(history)[0] == ["execution nightly started for 2022-01-07 to 2022-01-08"]


def test_items_of_a_map_are_told_apart() -> None:
    history = History()
    opened = history.add("MapStateStarted", history.add("MapStateEntered", 0, "shards"))
    for index in (0, 1):
        begun = _iteration(history, opened, index)
        entered = history.add("TaskStateEntered", begun, "score")
        history.add("TaskScheduled", entered, parameters=job_of(f"score-{index}", "score"))
    lines, jobs = told(history)
    assert lines == [
        "shards entered",
        "score, item 0, entered",
        "score, item 0: job score-0 created",
        "score, item 1, entered",
        "score, item 1: job score-1 created",
    ]
    assert [job.source(f"{name}/algo-1-1") for name, job in jobs.items()] == [
        "job score, item 0",
        "job score, item 1",
    ]


def test_a_branch_that_fails_takes_the_others_with_it() -> None:
    history = History()
    opened = history.add("ParallelStateStarted", history.add("ParallelStateEntered", 0, "both"))
    bad = history.add("TaskStateEntered", opened, "bad")
    slow = history.add("TaskStateEntered", opened, "slow")
    history.add("TaskScheduled", slow, parameters=job_of("slow-0", "slow"))
    bad = history.add("TaskFailed", bad, error="States.Timeout")
    lost = history.add("ParallelStateFailed", bad, error="States.Timeout", cause="too long")
    history.add("ParallelStateExited", lost, "both")
    lines, jobs = told(history)
    assert lines == [
        "both entered",
        "bad entered",
        "slow entered",
        "slow: job slow-0 created",
        "bad failed: States.Timeout",
        "both failed: States.Timeout: too long",
    ]
    # Its branch was left when the whole was: nothing is waited for any more.
    assert jobs["slow-0"].last is not None


def test_the_outcome_tells_the_jobs_reason_and_the_scripts_last_line() -> None:
    line = outcome_of(EXECUTION)
    assert line.text == (
        "execution nightly FAILED after 1 min 30 s: AlgorithmError: , exit code: 1; b"
    )
    assert line.time == EXECUTION.stopped


def _iteration(history: History, before: int, index: int) -> int:
    number = history.add("MapIterationStarted", before)
    event: dict[str, Any] = history.events[number - 1]
    event["mapIterationStartedEventDetails"] = {"name": "shards", "index": index}
    return number
