"""The picture of a workflow leaves out what every workflow has, and nothing else."""

from __future__ import annotations

import copy
from typing import Any

from batcat_runtime.config import parse_config
from batcat_runtime.deploy.definition import definition_of
from batcat_runtime.deploy.processing import processing_steps, quiet_sdk
from batcat_runtime.rehearsal.folding import folded

IMAGE = "123456789012.dkr.ecr.cn-northwest-1.amazonaws.com.cn/battery@sha256:" + "0" * 64


def define(content: dict[str, Any], *others: Any) -> dict[str, Any]:
    steps = [{"name": name, "script": f"{name}.py"} for name in "abcd"]
    content["purposes"]["usage-analysis"]["steps"] = [steps[0], [steps[1], steps[2]], steps[3]]
    with quiet_sdk("cn-northwest-1"):
        from stepfunctions.steps import Chain

        made = processing_steps(parse_config(content), "usage-analysis", image=IMAGE)
        return dict(definition_of(Chain([*made, *others])))


def names(machine: dict[str, Any]) -> list[str]:
    return list(machine["States"])


def test_a_workflow_that_went_well_shows_its_steps_and_the_way_of_failures(
    content: dict[str, Any],
) -> None:
    definition = define(content)
    before = copy.deepcopy(definition)
    status = dict.fromkeys(["a", "b and c", "b", "c", "d"], "succeeded")
    picture = folded(definition, status)
    assert definition == before
    assert picture["StartAt"] == "a"
    assert names(picture) == ["a", "b and c", "d", "Failed"]
    assert [names(branch) for branch in picture["States"]["b and c"]["Branches"]] == [["b"], ["c"]]
    assert picture["States"]["a"]["Next"] == "b and c"
    assert picture["States"]["d"]["End"] is True
    assert [one["Next"] for one in picture["States"]["a"]["Catch"]] == ["Failed"]


def test_the_ending_that_was_reached_stays(content: dict[str, Any]) -> None:
    status = {"a": "succeeded", "b": "succeeded", "c": "failed", "Failed (c)": "failed"}
    picture = folded(define(content), status)
    branches = picture["States"]["b and c"]["Branches"]
    assert [names(branch) for branch in branches] == [["b"], ["c", "Failed (c)"]]
    picture = folded(define(content), {"a": "succeeded", "Stopped": "failed"})
    assert "Stopped" in names(picture)
    assert [one["Next"] for one in picture["States"]["a"]["Catch"]] == ["Failed", "Stopped"]


def test_an_authors_own_states_stay(content: dict[str, Any]) -> None:
    with quiet_sdk("cn-northwest-1"):
        from stepfunctions.steps import Chain, Choice, ChoiceRule, Pass, Succeed, Wait

        ask = Choice("completed?")
        ask.add_choice(ChoiceRule.IsNull("$.x", True), Chain([Wait("Rest", seconds=1), Pass("Z")]))
        ask.default_choice(Succeed("All is well"))
    picture = folded(define(content, ask), {})
    assert {"completed?", "Rest", "Z", "All is well"} <= set(names(picture))


def test_what_is_no_definition_is_left_alone() -> None:
    for machine in ({}, {"States": {}}, {"StartAt": "A", "States": {"A": {"Type": "Pass"}}}):
        assert folded(machine, {}) == machine
