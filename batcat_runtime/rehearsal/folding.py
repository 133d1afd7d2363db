"""A state machine as its reader wants to see it: without the states that every workflow has.

A definition says a great deal that is the same everywhere (`deploy.definition`): defaults for the
input, the question after each job whether it completed, the endings of each branch. For the picture
these fold into the states that they belong to. What was reached stays, and so does all that an
author wrote; the definition itself is in the report, whole.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from batcat_runtime.rehearsal.states import branches_of, states_of

_QUESTION = " completed?"
_DEFAULTS = ("Defaults", "Input")


def folded(definition: Mapping[str, Any], status: Mapping[str, str]) -> dict[str, Any]:
    """Return the definition without the states that only prepare, ask and end.

    Parameters
    ----------
    definition : mapping
        In the Amazon States Language; it is not changed.
    status : mapping of str to str
        State name to outcome; a state that is missing was not reached.

    Returns
    -------
    dict
        A definition to draw, not to run.
    """
    machine: dict[str, Any] = copy.deepcopy(dict(definition))
    if not states_of(machine):
        return machine
    _fold(machine, status, top=True)
    return machine


def _fold(machine: dict[str, Any], status: Mapping[str, str], *, top: bool) -> None:
    states: dict[str, Any] = machine["States"]
    for state in list(states.values()):
        for branch in branches_of(state):
            if isinstance(branch, dict):
                _fold(branch, status, top=False)
    if top:
        _fold_start(machine, states)
    for name, state in list(states.items()):
        _fold_question(name, state, states)
    for name, state in list(states.items()):
        if state.get("Type") == "Succeed" and name.split(" (")[0] == "Done":
            _fold_success(name, states)
    for name, state in list(states.items()):
        ours = state.get("Type") == "Fail" and name.split(" (")[0] in ("Failed", "Stopped")
        needed = top and name == "Failed"
        if ours and not needed and name not in status:
            _drop(name, states)


def _fold_start(machine: dict[str, Any], states: dict[str, Any]) -> None:
    first, second = (states.get(name) or {} for name in _DEFAULTS)
    is_ours = machine.get("StartAt") == _DEFAULTS[0] and first.get("Next") == _DEFAULTS[1]
    if is_ours and second.get("Type") == "Pass" and second.get("Next") in states:
        machine["StartAt"] = second["Next"]
        for name in _DEFAULTS:
            del states[name]


def _fold_question(name: str, state: Mapping[str, Any], states: dict[str, Any]) -> None:
    """Let a job lead where the question after it leads."""
    job = states.get(name.removesuffix(_QUESTION))
    choices = state.get("Choices") or []
    if not name.endswith(_QUESTION) or not job or job.get("Next") != name or len(choices) != 1:
        return
    job["Next"] = choices[0].get("Next")
    if state.get("Default"):
        stopped = {"ErrorEquals": ["stopped"], "Next": state["Default"]}
        job["Catch"] = [*(job.get("Catch") or []), stopped]
    del states[name]


def _fold_success(name: str, states: dict[str, Any]) -> None:
    """Let what leads to an empty ending end by itself; a choice cannot."""
    leading = [state for state in states.values() if state.get("Next") == name]
    others = [
        state
        for state in states.values()
        if state.get("Default") == name
        or any(
            one.get("Next") == name for key in ("Choices", "Catch") for one in state.get(key, [])
        )
    ]
    if others or not leading:
        return
    for state in leading:
        del state["Next"]
        state["End"] = True
    del states[name]


def _drop(name: str, states: dict[str, Any]) -> None:
    """Remove an ending that was not reached, with the errors that would lead to it."""
    for state in states.values():
        if any(one.get("Next") == name for one in state.get("Choices", [])):
            return
        if name in (state.get("Next"), state.get("Default")):
            return
    for state in states.values():
        if state.get("Catch"):
            state["Catch"] = [one for one in state["Catch"] if one.get("Next") != name]
    del states[name]
