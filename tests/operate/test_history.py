"""What an execution's history says: which visit was inside which, how it ended, what it ran."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from batcat_runtime.operate.history import StateRun, read_states

START = datetime(2022, 1, 8, tzinfo=UTC)


class History:
    """A Step Functions client that has one history."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def add(self, kind: str, before: int = 0, name: str = "", **detail: Any) -> int:
        number = len(self.events) + 1
        event: dict[str, Any] = {"id": number, "type": kind, "previousEventId": before}
        event["timestamp"] = START + timedelta(seconds=number)
        if kind.endswith("StateEntered"):
            event["stateEnteredEventDetails"] = {"name": name}
        elif kind.endswith("StateExited"):
            event["stateExitedEventDetails"] = {"name": name}
        elif detail:
            event[f"{kind[0].lower()}{kind[1:]}EventDetails"] = detail
        self.events.append(event)
        return number

    def task(self, before: int, name: str, *jobs: str) -> int:
        """Add a task that succeeds with the last of its jobs; return its exit."""
        last = self.add("TaskStateEntered", before, name)
        for number, job in enumerate(jobs, 1):
            words = json.dumps({"ProcessingJobName": job})
            last = self.add("TaskScheduled", last, parameters=words)
            if number < len(jobs):
                last = self.add("TaskFailed", last, error="States.TaskFailed")
            else:
                last = self.add("TaskSucceeded", last)
        return self.add("TaskStateExited", last, name)

    def get_paginator(self, name: str) -> History:
        assert name == "get_execution_history"
        return self

    def paginate(self, **_: str) -> list[dict[str, Any]]:
        half = len(self.events) // 2
        return [{"events": self.events[:half]}, {"events": self.events[half:]}]

    def runs(self) -> dict[str, StateRun]:
        return {run.name: run for run in read_states(self, "arn")}


def test_mixed_events_are_told_apart() -> None:
    history = History()
    start = history.add("ExecutionStarted")
    both = history.add("ParallelStateEntered", start, "both")
    opened = history.add("ParallelStateStarted", both)
    # The branches' events alternate.
    a = history.add("TaskStateEntered", opened, "a")
    b = history.add("TaskStateEntered", opened, "b")
    b = history.add("TaskScheduled", b, parameters='{"ProcessingJobName": "job-b"}')
    a = history.add("TaskScheduled", a, parameters='{"ProcessingJobName": "job-a"}')
    a = history.add("TaskStateExited", history.add("TaskSucceeded", a), "a")
    a = history.task(a, "a2", "job-a2")
    b = history.add("TaskStateExited", history.add("TaskSucceeded", b), "b")
    ended = history.add("ParallelStateExited", history.add("ParallelStateSucceeded", b), "both")
    history.add("ExecutionSucceeded", history.task(ended, "after", "job-after"))
    runs = history.runs()
    assert {name: run.jobs for name, run in runs.items()} == {
        "both": [],
        "a": ["job-a"],
        "b": ["job-b"],
        "a2": ["job-a2"],
        "after": ["job-after"],
    }
    assert {name: run.depth for name, run in runs.items()} == {
        "both": 0,
        "a": 1,
        "b": 1,
        "a2": 1,
        "after": 0,
    }
    assert all(run.inside is runs["both"] for run in (runs["a"], runs["b"], runs["a2"]))
    assert {run.status for run in runs.values()} == {"succeeded"}


def test_a_retried_task_ends_as_its_last_attempt() -> None:
    history = History()
    history.add("ExecutionSucceeded", history.task(history.add("ExecutionStarted"), "a", "1", "2"))
    run = history.runs()["a"]
    assert (run.status, run.reason, run.jobs) == ("succeeded", "", ["1", "2"])


def test_what_ran_beside_a_failure_was_stopped() -> None:
    history = History()
    opened = history.add("ParallelStateStarted", history.add("ParallelStateEntered", 0, "both"))
    bad = history.add("TaskStateEntered", opened, "bad")
    slow = history.add("TaskStateEntered", opened, "slow")
    history.add("TaskScheduled", slow, parameters='{"ProcessingJobName": "job-slow"}')
    bad = history.add("TaskFailed", bad, error="States.TaskFailed")
    bad = history.add("TaskStateExited", bad, "bad")
    lost = history.add("FailStateEntered", bad, "Failed (bad)")
    ended = history.add("ParallelStateExited", history.add("ParallelStateFailed", lost), "both")
    history.add("ExecutionFailed", history.add("FailStateEntered", ended, "Failed"))
    statuses = {name: run.status for name, run in history.runs().items()}
    assert statuses == {
        "both": "failed",
        "bad": "failed",
        "slow": "stopped",
        "Failed (bad)": "stopped",
        "Failed": "failed",
    }


def test_an_execution_that_runs_has_open_visits() -> None:
    history = History()
    history.add("TaskStateEntered", history.add("ExecutionStarted"), "a")
    run = history.runs()["a"]
    assert (run.status, run.left) == ("running", None)
