"""Purposes with many steps: how the configuration says what runs after, beside and out of what."""

from __future__ import annotations

from typing import Any

import pytest

from batcat_runtime.config import Config, KmsKeys, Network, parse_config
from batcat_runtime.errors import ConfigError

RAW = "s3://2022-rnd-battery/raw/usage/"


def step(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "script": f"{name}.py", **more}


def with_steps(content: dict[str, Any], *steps: Any, **purpose: Any) -> Config:
    content["purposes"]["usage-analysis"].update(steps=list(steps), **purpose)
    return parse_config(content)


def sources(config: Config) -> dict[str, dict[str, str | None]]:
    """Return, by step, where each of its inputs comes from."""
    purpose = config.purpose()
    return {
        one.name: {name: i.step or i.s3 for name, i in purpose.inputs_of(one).items()}
        for one in purpose.steps
    }


def test_a_step_gets_the_output_of_the_one_before_it(content: dict[str, Any]) -> None:
    config = with_steps(content, step("clean", inputs={"usage": RAW}), step("predict"))
    assert sources(config) == {"clean": {"usage": RAW}, "predict": {"clean": "clean"}}
    assert config.purpose().last_steps == ["predict"]


def test_what_runs_side_by_side_starts_from_the_same_and_ends_in_the_same(
    content: dict[str, Any],
) -> None:
    config = with_steps(
        content,
        step("clean"),
        [step("features"), [step("weather"), step("holidays")]],
        step("predict"),
    )
    assert [one.name for one in config.purpose().steps] == [
        *("clean", "features", "weather", "holidays", "predict")
    ]
    assert sources(config) == {
        "clean": {},
        "features": {"clean": "clean"},
        "weather": {"clean": "clean"},
        "holidays": {"weather": "weather"},
        "predict": {"features": "features", "holidays": "holidays"},
    }


def test_side_by_side_within_side_by_side(content: dict[str, Any]) -> None:
    config = with_steps(content, [[step("a"), [step("b"), step("c")], step("d")], step("e")])
    assert sources(config)["d"] == {"b": "b", "c": "c"}
    assert config.purpose().last_steps == ["d", "e"]


def test_an_input_may_be_any_step_that_has_ended(content: dict[str, Any]) -> None:
    clean = {"step": "clean", "sharded": True}
    config = with_steps(
        content, step("clean"), step("features"), step("predict", inputs={"rows": clean})
    )
    given = config.purpose().inputs_of(config.purpose().step("predict"))
    assert {name: (one.step, one.sharded) for name, one in given.items()} == {
        "rows": ("clean", True)
    }


def test_an_s3_input_may_be_sharded(content: dict[str, Any]) -> None:
    config = with_steps(content, step("clean", inputs={"usage": {"s3": RAW, "sharded": True}}))
    assert config.purpose().steps[0].inputs["usage"].sharded
    assert config.purpose().steps[0].places == [RAW]


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([[step("a")]], r"steps\.0: a list within `steps` holds what runs side by side"),
        ([step("a"), []], r"steps\.1: a list within `steps`"),
        ([[step("a"), []]], r"steps\.0\.1"),
        ([step("a"), [step("b"), step("c", instance_count=0)]], r"steps\.1\.1\.instance_count"),
        ([step("a"), [step("b"), step("a")]], "a stands twice"),
        (["a"], r"steps\.0: "),
        (
            [step("a"), [step("b"), step("c", inputs={"x": {"step": "b"}})]],
            "step 'c': the input 'x' wants the output of 'b', which has not ended",
        ),
        ([step("a", inputs={"x": {"step": "a"}})], "'a', which has not ended"),
        ([step("a", inputs={"x": {"step": "z"}})], "'z', which is no step of this purpose"),
        ([step("a"), step("b", inputs={"a": RAW})], "input 'a' has the name of the step before"),
        ([step("a", inputs={"x": {"step": "b", "s3": RAW}})], r"inputs\.x: an input is either"),
        ([step("a", inputs={"x": {}})], r"inputs\.x: an input is either"),
        ([step("a", inputs={"x": {"steps": "b"}})], r"inputs\.x\.steps: unknown key"),
        ([step("a", inputs={"x": "raw/"})], r"inputs\.x: .*s3://bucket/prefix/"),
        ([step("a", retries={"count": 5, "failed_jobs": 5})], r"retries: count and failed_jobs"),
        ([step("a", retries={"count": -1})], r"retries\.count: "),
        ([step("a", network={"subnets": ["subnet-1"]})], r"network: give both subnets"),
        ([step("a", kms={"volume": "not a key"})], r"kms\.volume: "),
        ([step("a", kms={"volumes": "k"})], r"kms\.volumes: unknown key; did you mean 'volume'"),
        ([step("a", arguments=[""])], r"arguments\.0: "),
    ],
)
def test_each_mistake_is_named_by_its_key(
    content: dict[str, Any], steps: list[Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=f"(?s)purposes.usage-analysis.*{said}"):
        with_steps(content, *steps)


def test_network_and_keys_come_from_the_nearest_place(content: dict[str, Any]) -> None:
    project = {"subnets": ["subnet-1"], "security_group_ids": ["sg-1"]}
    content["network"], content["kms"] = project, {"volume": "project", "output": "project"}
    alone = {"isolation": True}
    config = with_steps(
        content,
        step("a"),
        step("b", network=alone, kms={"volume": "own"}),
        kms={"output": "purpose"},
    )
    a, b = config.purpose().steps
    assert config.network_of("usage-analysis", a) == Network.model_validate(project)
    assert config.network_of("usage-analysis", b) == Network(isolation=True)
    assert config.kms_of("usage-analysis", a) == KmsKeys(volume="project", output="purpose")
    assert config.kms_of("usage-analysis", b) == KmsKeys(volume="own", output="purpose")


def test_a_purposes_digest_does_not_change_with_another_purpose(content: dict[str, Any]) -> None:
    content["purposes"]["forecast"] = {"steps": [step("forecast")]}
    before = parse_config(content)
    content["purposes"]["forecast"]["steps"][0]["instance_count"] = 2
    after = parse_config(content)
    assert before.sha256_of("usage-analysis") == after.sha256_of("usage-analysis")
    assert before.sha256_of("forecast") != after.sha256_of("forecast")
    content["tags"] = {"team": "other"}
    assert parse_config(content).sha256_of("usage-analysis") != after.sha256_of("usage-analysis")


def test_a_purposes_digest_does_not_change_with_what_starts_it(content: dict[str, Any]) -> None:
    before = parse_config(content).sha256_of("usage-analysis")
    purpose = content["purposes"]["usage-analysis"]
    purpose["schedule"] |= {"enabled": True, "expression": "rate(1 day)"}
    purpose["s3_trigger"] = {"prefix": "s3://2022-rnd-battery/raw/"}
    purpose["rehearsal"] = {"fire_at": "2022-01-08T02:00:00"}
    assert parse_config(content).sha256_of("usage-analysis") == before
    del purpose["schedule"]
    assert parse_config(content).sha256_of("usage-analysis") == before


def test_purposes_that_aws_could_not_tell_apart_are_refused(content: dict[str, Any]) -> None:
    content["purposes"]["usage--analysis"] = {"steps": [step("a")]}
    with pytest.raises(ConfigError, match=r"purposes: .*the same names in AWS"):
        parse_config(content)


@pytest.mark.parametrize(
    ("prefix", "fine"),
    [
        ("s3://landing/usage/", True),
        ("s3://2022-rnd-battery/raw/usage/", True),
        ("s3://2022-rnd-battery/2022-rnd-battery/forecast/", True),  # another purpose's results
        ("s3://2022-rnd-battery", False),
        ("s3://2022-rnd-battery/2022", False),
        ("s3://2022-rnd-battery/2022-rnd-battery/usage-analysis/date=2022-01-01/", False),
        ("s3://2022-rnd-battery/2022-rnd-battery/_work/usage-analysis/a/", False),
    ],
)
def test_a_purpose_may_not_be_started_by_its_own_results(
    content: dict[str, Any], prefix: str, fine: bool
) -> None:
    content["purposes"]["usage-analysis"]["s3_trigger"] = {"prefix": prefix}
    if fine:
        trigger = parse_config(content).purpose().s3_trigger
        assert trigger is not None
        assert not trigger.enabled
        assert f"s3://{trigger.bucket}/{trigger.key_prefix}".startswith(prefix)
    else:
        with pytest.raises(ConfigError, match=r"s3_trigger\.prefix: .*each run would start"):
            parse_config(content)
