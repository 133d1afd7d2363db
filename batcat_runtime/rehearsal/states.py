"""Read a state machine: its states, and what each is called in plain words.

The definition is in the Amazon States Language. What is missing or of the wrong kind is passed
over: to refuse a wrong definition is the deployment's task, to show what there is is the report's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from batcat_runtime.text import one_line

NOT_REACHED = "not reached"
REACHED = "reached"


def state_names(definition: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the name and the definition of every state, those inside Parallel and Map included."""
    for name, state in states_of(definition).items():
        yield name, state
        for branch in branches_of(state):
            yield from state_names(branch)


def describe_state(state: Mapping[str, Any]) -> str:
    """Return what a state does in a few words: "processing job", "Lambda function", "choice"."""
    kind = one_line(state.get("Type", "state"), 30)
    if kind == "Task":
        return _describe_task(one_line(state.get("Resource", "")))
    if kind == "Wait" and isinstance(state.get("Seconds"), int):
        return f"wait {state['Seconds']} s"
    if kind == "Map":
        mode = (state.get("ItemProcessor") or {}).get("ProcessorConfig") or {}
        return "distributed map" if mode.get("Mode") == "DISTRIBUTED" else "map: once per item"
    words = {"Parallel": "all at the same time", "Fail": "ends in failure"}
    return words.get(kind, kind.lower())


def _describe_task(resource: str) -> str:
    service = re.search(r"states:::(?:aws-sdk:)?([\w-]{1,30}):([\w-]{1,40})", resource)
    if not service:
        return "Lambda function" if ":lambda:" in resource else "task"
    known = {
        ("sagemaker", "createProcessingJob"): "processing job",
        ("lambda", "invoke"): "Lambda function",
        ("states", "startExecution"): "nested workflow",
    }
    return known.get((service[1], service[2]), f"{service[1]} {service[2]}")


def state_outcome(name: str, state: Mapping[str, Any], status: Mapping[str, str]) -> str:
    """Return how a state ended, in a word: "succeeded", "not reached"; a Fail is "reached"."""
    outcome = one_line(status.get(name, NOT_REACHED), 24)
    return REACHED if state.get("Type") == "Fail" and outcome != NOT_REACHED else outcome


def describe_condition(rule: Mapping[str, Any]) -> str:
    """Return a choice rule as a short expression: ``$.rows > 0``."""
    if "Condition" in rule:
        return str(rule["Condition"]).strip("{}% ")
    if "Not" in rule:
        return f"not ({describe_condition(rule['Not'])})"
    for word in ("And", "Or"):
        if word in rule:
            return f" {word.lower()} ".join(describe_condition(part) for part in rule[word])
    signs = {"GreaterThanEquals": ">=", "LessThanEquals": "<=", "GreaterThan": ">", "LessThan": "<"}
    for key, value in rule.items():
        if key in ("Variable", "Next", "Comment"):
            continue
        sign = next((sign for word, sign in signs.items() if word in key), "=")
        if key.startswith("Is"):
            return f"{rule.get('Variable')} is {'' if value else 'not '}{key[2:].lower()}"
        return f"{rule.get('Variable')} {sign} {json.dumps(value, ensure_ascii=False)}"
    return ""


def states_of(definition: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the states of one level, the first to run in front."""
    states = definition.get("States")
    if not isinstance(states, Mapping):
        return {}
    known = {str(name): state for name, state in states.items() if isinstance(state, Mapping)}
    first = str(definition.get("StartAt"))
    return {first: known.pop(first), **known} if first in known else known


def branches_of(state: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the definitions inside a Parallel or Map state."""
    if state.get("Type") == "Map":
        found = [state.get("ItemProcessor") or state.get("Iterator")]
    else:
        found = list(state.get("Branches") or []) if state.get("Type") == "Parallel" else []
    return [branch for branch in found if isinstance(branch, Mapping) and states_of(branch)]
