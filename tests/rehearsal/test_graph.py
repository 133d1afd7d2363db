from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from batcat_runtime.rehearsal.graph import workflow_svg
from batcat_runtime.rehearsal.layers import Link, Node, place
from batcat_runtime.rehearsal.states import describe_condition, describe_state
from tests.rehearsal.records import ONE_STEP, task

CHAIN = {
    "StartAt": "cleaning",
    "States": {
        "cleaning": task("features"),
        "features": task("predicting"),
        "predicting": task(),
        "Failed": {"Type": "Fail"},
    },
}
LOOP = {
    "StartAt": "ready?",
    "States": {
        "ready?": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.rows", "NumericGreaterThan": 0, "Next": "all"},
                {"Variable": "$.late", "BooleanEquals": True, "Next": "Failed"},
            ],
            "Default": "wait",
        },
        "wait": {"Type": "Wait", "Seconds": 60, "Next": "ready?"},
        "all": {
            "Type": "Parallel",
            "Branches": [
                {"StartAt": "a", "States": {"a": task("b"), "b": {"Type": "Pass", "End": True}}},
                {
                    "StartAt": "each",
                    "States": {
                        "each": {
                            "Type": "Map",
                            "ItemProcessor": {"StartAt": "day", "States": {"day": task()}},
                            "End": True,
                        }
                    },
                },
            ],
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Failed"}],
            "Next": "done",
        },
        "done": {"Type": "Succeed"},
        "Failed": {"Type": "Fail"},
    },
}
DEFINITIONS = {"one step": ONE_STEP, "chain": CHAIN, "loop": LOOP}


def boxes(svg: str) -> list[tuple[str, float, float, float, float, int]]:
    """Return the boxes of a picture with their absolute places and how deep they are nested."""
    found: list[tuple[str, float, float, float, float, int]] = []

    def walk(element: ET.Element, x: float, y: float, depth: int) -> None:
        move = re.match(r"translate\((\S+) (\S+)\)", element.get("transform", ""))
        if move:
            x, y = x + float(move[1]), y + float(move[2])
        if element.get("class", "").split()[:1] in (["state"], ["terminal"]):
            rect = element.find("rect")
            assert rect is not None
            name = element.findtext("title") or element.findtext("text") or ""
            size = float(rect.get("width", 0)), float(rect.get("height", 0))
            found.append((name, x, y, *size, depth))
            depth += 1
        for child in element:
            walk(child, x, y, depth)

    walk(ET.fromstring(svg), 0, 0, 0)
    return found


@pytest.mark.parametrize("definition", DEFINITIONS.values(), ids=DEFINITIONS)
def test_boxes_never_overlap_but_for_a_frame_and_what_is_in_it(definition: dict[str, Any]) -> None:
    for one, two in itertools.combinations(boxes(workflow_svg(definition)), 2):
        (_, x1, y1, w1, h1, depth1), (_, x2, y2, w2, h2, depth2) = one, two
        apart = x1 + w1 <= x2 or x2 + w2 <= x1 or y1 + h1 <= y2 or y2 + h2 <= y1
        inside = x1 < x2 and y1 < y2 and x2 + w2 < x1 + w1 and y2 + h2 < y1 + h1
        assert apart or (inside and depth1 < depth2), (one, two)


def test_the_main_way_is_a_straight_line_and_the_error_path_beside_it() -> None:
    centre = {name: x + w / 2 for name, x, _, w, _, _ in boxes(workflow_svg(CHAIN))}
    main = [x for name, x in centre.items() if not name.startswith("Failed")]
    assert max(main) - min(main) < 0.2
    (failed,) = (x for name, x in centre.items() if name.startswith("Failed"))
    assert failed > max(main)


def test_every_state_is_there_with_its_status_in_words() -> None:
    svg = workflow_svg(LOOP, {"ready?": "succeeded", "all": "failed", "Failed": "failed"})
    names = [name for name, *_ in boxes(svg)]
    assert "ready?: choice, succeeded" in names
    assert "all: all at the same time, failed" in names
    assert "day: processing job, not reached" in names
    assert "Failed: ends in failure, reached" in names
    assert {"Start", "End"} <= set(names)


def test_catch_edges_are_dashed_apart_and_choices_say_their_condition() -> None:
    svg = workflow_svg(LOOP)
    assert 'class="line catch quiet"' in svg
    assert "$.rows &gt; 0" in svg
    assert "otherwise" in svg


def test_long_names_are_shortened_and_given_in_full() -> None:
    name = "检查 " + "every vehicle of the fleet " * 3
    svg = workflow_svg({"StartAt": name, "States": {name: {"Type": "Pass", "End": True}}})
    assert "…</text>" in svg
    assert f"{name.strip()}: pass" in svg
    assert max(w for _, _, _, w, _, _ in boxes(svg)) < 270


@pytest.mark.parametrize(
    "definition",
    [
        {},
        {"States": None},
        {"StartAt": "a", "States": {}},
        {"StartAt": "a", "States": {"a": "no state"}},
        {"StartAt": "a", "States": {str(n): {"Type": "Pass"} for n in range(500)}},
    ],
)
def test_nothing_to_draw_gives_nothing(definition: dict[str, Any]) -> None:
    assert workflow_svg(definition) == ""


def test_a_broken_definition_is_drawn_as_far_as_it_goes() -> None:
    states: dict[str, Any] = {
        "a": {"Type": "Task", "Next": "nowhere", "Catch": [{"Next": "a"}]},
        "b": {"Type": "Parallel", "Branches": [None, {"States": {}}], "Next": "b"},
    }
    svg = workflow_svg({"StartAt": "gone", "States": states})
    assert [name.split(":")[0] for name, *_ in boxes(svg)] == ["Start", "a", "b"]


def test_the_same_definition_gives_the_same_picture() -> None:
    assert workflow_svg(LOOP, prefix="x") == workflow_svg(LOOP, prefix="x")


def test_routes_stay_out_of_boxes() -> None:
    nodes = [Node(key, 100, 40) for key in "abcde"]
    chain = [Link(one, two, weight=8) for one, two in itertools.pairwise("abcde")]
    placed = place(nodes, [*chain, Link("a", "e", "choice"), Link("d", "b", "next")])
    for route in placed.routes:
        for (x, upper), (x2, lower) in itertools.pairwise(route.points[1:-1]):
            if x != x2:
                continue
            for left, top in placed.corners.values():
                beside = x <= left or x >= left + 100
                assert beside or max(upper, lower) <= top or min(upper, lower) >= top + 40


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"Variable": "$.n", "NumericGreaterThanEquals": 3, "Next": "x"}, "$.n >= 3"),
        ({"Variable": "$.n", "StringEquals": "ja", "Next": "x"}, '$.n = "ja"'),
        ({"Variable": "$.n", "IsPresent": False, "Next": "x"}, "$.n is not present"),
        ({"Not": {"Variable": "$.n", "BooleanEquals": True}}, "not ($.n = true)"),
        ({"Condition": "{% $n > 1 %}", "Next": "x"}, "$n > 1"),
        ({"And": [{"Variable": "a", "IsNull": True}] * 2}, "a is null and a is null"),
    ],
)
def test_conditions_in_words(rule: dict[str, Any], words: str) -> None:
    assert describe_condition(rule) == words


@pytest.mark.parametrize(
    ("resource", "words"),
    [
        ("arn:aws:states:::lambda:invoke", "Lambda function"),
        ("arn:aws-cn:states:::aws-sdk:glue:getTable", "glue getTable"),
        ("arn:aws:lambda:eu-west-1:1:function:f", "Lambda function"),
        (None, "task"),
    ],
)
def test_tasks_in_words(resource: str | None, words: str) -> None:
    assert describe_state({"Type": "Task", "Resource": resource}) == words
