"""A state machine as its reader wants to see it: its states in the order of their running.

The definition is in the Amazon States Language. What every workflow of ours has (defaults for the
input, the question after each job whether it completed, endings that were not reached) is left out;
the definition itself is in the report, whole. What is missing or of the wrong kind is passed over:
to refuse a wrong definition is the deployment's task.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from batcat_runtime.text import one_line

NOT_REACHED = "not reached"
_MOST_STATES = 200
_PREPARING = ("Defaults", "Input")
_TASKS = {
    "sagemaker:createProcessingJob": "processing job",
    "lambda:invoke": "Lambda function",
    "states:startExecution": "nested workflow",
}
_KINDS = {
    "Parallel": "all at the same time",
    "Map": "once per item",
    "Fail": "ends in failure",
}


@dataclass(frozen=True)
class Box:
    """A state: its name, what it is, how it ended, where it leads, and what is inside it."""

    name: str
    what: str
    status: str
    ways: tuple[str, ...]
    branches: tuple[tuple[Box, ...], ...]


def boxes(definition: Mapping[str, Any], status: Mapping[str, str]) -> tuple[Box, ...]:
    """Return the states of a definition, those inside Parallel and Map within theirs.

    Parameters
    ----------
    definition : mapping
        The state machine.
    status : mapping of str to str
        State name to outcome; a state that is missing was not reached.
    """
    return tuple(
        Box(
            one_line(name, 90),
            _what(state),
            _outcome(name, state, status),
            tuple(_ways(state, states_of(definition))),
            tuple(boxes(branch, status) for branch in _branches(state)),
        )
        for name, state in list(_in_order(definition))[:_MOST_STATES]
        if not _is_ours(name, state, status)
    )


def states_of(definition: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the states of one level."""
    states = definition.get("States")
    if not isinstance(states, Mapping):
        return {}
    return {str(name): state for name, state in states.items() if isinstance(state, Mapping)}


def _in_order(definition: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the states of one level, each after one that leads to it; what errors lead to, last."""
    left = states_of(definition)
    waiting, late = [str(definition.get("StartAt"))], list[str]()
    while waiting or late or left:
        name = waiting.pop(0) if waiting else late.pop(0) if late else next(iter(left))
        state = left.pop(name, None)
        if state is None:
            continue
        yield name, state
        rules = [*(state.get("Choices") or []), {"Next": state.get("Default")}]
        waiting[:0] = [str(rule.get("Next")) for rule in [state, *rules]]
        late += [str(rule.get("Next")) for rule in state.get("Catch") or []]


def _branches(state: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if state.get("Type") == "Map":
        found = [state.get("ItemProcessor") or state.get("Iterator")]
    else:
        found = list(state.get("Branches") or []) if state.get("Type") == "Parallel" else []
    return [branch for branch in found if isinstance(branch, Mapping) and states_of(branch)]


def _is_ours(name: str, state: Mapping[str, Any], status: Mapping[str, str]) -> bool:
    """Tell whether a state only prepares, asks for a job's end, or ends without being reached."""
    kind, word = state.get("Type"), name.split(" (")[0]
    return (
        (kind == "Pass" and name in _PREPARING)
        or (kind == "Choice" and name.endswith(" completed?"))
        or (kind == "Succeed" and word == "Done")
        or (kind == "Fail" and word in ("Failed", "Stopped") and name not in status)
    )


def _what(state: Mapping[str, Any]) -> str:
    kind = one_line(state.get("Type", "state"), 30)
    if kind == "Task":
        resource = one_line(state.get("Resource", ""))
        found = re.search(r"states:::(?:aws-sdk:)?([\w-]{1,30}:[\w-]{1,40})", resource)
        if found:
            return _TASKS.get(found[1], found[1].replace(":", " "))
        return "Lambda function" if ":lambda:" in resource else "task"
    if kind == "Wait" and isinstance(state.get("Seconds"), int):
        return f"wait {state['Seconds']} s"
    return _KINDS.get(kind, kind.lower())


def _outcome(name: str, state: Mapping[str, Any], status: Mapping[str, str]) -> str:
    outcome = one_line(status.get(name, NOT_REACHED), 24)
    return "reached" if state.get("Type") == "Fail" and outcome != NOT_REACHED else outcome


def _ways(state: Mapping[str, Any], states: Mapping[str, Any]) -> Iterator[str]:
    """Yield where a choice or an error leads; its conditions are in the definition."""
    leads = [*(state.get("Choices") or []), {"Next": state.get("Default")}]
    targets = dict.fromkeys(str(rule["Next"]) for rule in leads if rule.get("Next"))
    if targets:
        yield one_line(f"→ {' or '.join(targets)}", 160)
    for catch in state.get("Catch") or []:
        if catch.get("Next") in states and catch["Next"].split(" (")[0] != "Failed":
            errors = ", ".join(str(error) for error in catch.get("ErrorEquals") or [])
            yield one_line(f"on {errors.replace('States.ALL', 'any error')} → {catch['Next']}", 160)
