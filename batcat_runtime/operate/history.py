"""What an execution did, read from its history: the visits to states, and their processing jobs.

Events of branches that run side by side are mixed in a history. Each event names the one before it
in its own branch, so the way back from an event tells which visit it belongs to, and which Parallel
or Map state it is inside.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

RunStatus = Literal["running", "succeeded", "failed", "stopped"]
_OPENS = ("ParallelStateStarted", "MapStateStarted", "MapIterationStarted")
_FAILS = ("Failed", "TimedOut", "Aborted")


@dataclass
class StateRun:
    """One visit to a state of the workflow.

    Attributes
    ----------
    name, kind : str
        The state's name, and "Task", "Parallel" and so on.
    entered, left : datetime
        When; `left` is None while it runs.
    status : {"running", "succeeded", "failed", "stopped"}
        "stopped" for what ran when another branch, or the execution, failed.
    reason : str
        The name of the error that it failed with.
    inside : StateRun or None
        The Parallel or Map state around it.
    jobs : list of str
        Names of the processing jobs that it started, one for each attempt.
    item : int or None
        The number, from 0, of the Map state's item that it works on.
    """

    name: str
    kind: str
    entered: datetime
    left: datetime | None = None
    status: RunStatus = "running"
    reason: str = ""
    inside: StateRun | None = None
    jobs: list[str] = field(default_factory=list)
    item: int | None = None

    @property
    def depth(self) -> int:
        """How many states are around it."""
        return 0 if self.inside is None else self.inside.depth + 1


def read_states(states: Any, execution: str) -> list[StateRun]:
    """Return the states that an execution visited so far, in order of entering.

    Parameters
    ----------
    states : botocore client
        For Step Functions.
    execution : str
        The execution's ARN.
    """
    visits = Visits()
    pages = states.get_paginator("get_execution_history").paginate(executionArn=execution)
    for event in (event for page in pages for event in page["events"]):
        visits.note(event)
    return visits.runs


class Visits:
    """The visits so far; for each event the visit it belongs to, and what it is inside."""

    def __init__(self) -> None:
        self.runs: list[StateRun] = []
        self._owner: dict[int, StateRun | None] = {}
        self._inside: dict[int, StateRun | None] = {}
        self._item: dict[int, int | None] = {}

    def note(self, event: dict[str, Any]) -> StateRun | None:
        """Take in the next event; return the visit that it belongs to."""
        kind, before = event["type"], int(event.get("previousEventId") or 0)
        owner, inside = self._owner.get(before), self._inside.get(before)
        item = self._item.get(before)
        if kind.endswith("StateEntered"):
            name = event["stateEnteredEventDetails"]["name"]
            state = kind.removesuffix("StateEntered")
            owner = StateRun(name, state, event["timestamp"], inside=inside, item=item)
            self.runs.append(owner)
        elif kind.endswith("StateExited"):
            owner = self._left(event["stateExitedEventDetails"]["name"], owner)
            inside, item = (owner.inside, owner.item) if owner else (None, None)
            if owner:
                self._end(owner, event["timestamp"], "succeeded")
        elif kind in _OPENS:
            inside = owner
            item = event.get("mapIterationStartedEventDetails", {}).get("index", item)
        elif kind.startswith("Execution"):
            if kind != "ExecutionStarted":
                good = kind == "ExecutionSucceeded"
                for run in self.runs:
                    self._end(run, event["timestamp"], "succeeded" if good else "failed")
        elif owner:
            self._happened(owner, event)
        self._owner[event["id"]], self._inside[event["id"]] = owner, inside
        self._item[event["id"]] = item
        return owner

    def _left(self, name: str, owner: StateRun | None) -> StateRun | None:
        if owner is not None and owner.name == name:
            return owner
        # A Parallel state's exit follows the last event of one of its branches.
        open_ones = (run for run in reversed(self.runs) if run.name == name and run.left is None)
        return next(open_ones, None)

    def _end(self, run: StateRun, when: datetime, status: RunStatus) -> None:
        if run.left is not None:
            return
        run.left = when
        if run.status == "running":
            run.status = status
        for child in self.runs:
            if child.inside is run:
                self._end(child, when, "stopped" if run.status != "succeeded" else "succeeded")

    def _happened(self, run: StateRun, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind in ("ParallelStateFailed", "MapStateFailed"):
            whole = self._around(run, kind.removesuffix("StateFailed"))
            if whole is not None:
                whole.status = "failed"
            return
        detail: dict[str, Any] = next(
            (value for key, value in event.items() if key.endswith("EventDetails")), {}
        )
        if kind.endswith("Scheduled"):
            run.status, run.reason = "running", ""
            run.jobs += _job_names(detail.get("parameters"))
        elif kind.endswith(_FAILS):
            run.status, run.reason = "failed", detail.get("error") or kind

    def _around(self, run: StateRun, kind: str) -> StateRun | None:
        place: StateRun | None = run
        while place is not None and place.kind != kind:
            place = place.inside
        return place


def _job_names(parameters: Any) -> Iterator[str]:
    try:
        name = json.loads(parameters or "{}").get("ProcessingJobName")
    except (json.JSONDecodeError, AttributeError, TypeError):
        return  # a task of another service
    if name:
        yield str(name)
