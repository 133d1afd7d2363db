"""Changing one value of JSON text: the rest stays as it is, to the byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcat_runtime.errors import ConfigError
from batcat_runtime.jsontext import set_member

KEYS = st.text(max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
CONFIG = '{\r\n\t"purposes": {"a" : { "schedule":{\r\n "x": 1,\r\n "enabled" :false  } }}\r\n}\r\n'


@given(
    outer=st.dictionaries(KEYS, VALUES, max_size=3),
    middle=st.dictionaries(KEYS, VALUES, max_size=3),
    inner=st.dictionaries(KEYS, VALUES, max_size=3),
    indent=st.sampled_from([None, 1, 4, "\t"]),
    ascii_only=st.booleans(),
    there=st.booleans(),
    value=VALUES,
)
def test_a_value_is_set_in_any_json(
    outer: dict[str, Any],
    middle: dict[str, Any],
    inner: dict[str, Any],
    indent: Any,
    ascii_only: bool,
    there: bool,
    value: Any,
) -> None:
    inner = {**inner, "enabled": {"old": [1]}} if there else inner
    content = {**outer, "p": {**middle, "schedule": inner}}
    before = json.dumps(content, indent=indent, ensure_ascii=ascii_only)
    after = set_member(before, ["p", "schedule", "enabled"], value)
    changed = {**inner, "enabled": value}
    assert json.loads(after) == {**outer, "p": {**middle, "schedule": changed}}
    assert list(json.loads(after)["p"]["schedule"]) == list(changed)


def test_nothing_else_changes() -> None:
    path = ["purposes", "a", "schedule"]
    after = set_member(CONFIG, [*path, "enabled"], True)
    assert after == CONFIG.replace("false", "true")
    assert set_member(CONFIG, [*path, "y"], 2) == CONFIG.replace("false", 'false,\r\n "y": 2')


@pytest.mark.parametrize("path", [["a", "b"], ["purposes", "b", "c"], ["purposes", "a", "x", "y"]])
def test_without_an_object_there_is_nothing_to_change(path: list[str]) -> None:
    with pytest.raises(ConfigError, match="no object"):
        set_member(CONFIG, path, 1)
