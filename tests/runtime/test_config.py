"""The configuration says what is wrong with it, by key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import batcat_runtime as bc
from batcat_runtime.config import bucket_problem, find_project, parse_config
from batcat_runtime.errors import ConfigError


def test_a_good_configuration_is_loaded(tmp_path: Path, content: dict[str, Any]) -> None:
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "config.json").write_text(json.dumps(content), encoding="utf-8")
    config = bc.get_config(tmp_path)
    assert config.title == "Batterie « A »"
    assert config.partition == "aws-cn"
    assert config.purpose().steps[0].instance_count == 1
    assert config == bc.get_config(tmp_path / "script" / "config.json")


def test_it_is_found_from_a_folder_below(
    tmp_path: Path, content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "config.json").write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "notebook").mkdir()
    monkeypatch.chdir(tmp_path / "notebook")
    assert find_project() == tmp_path
    assert bc.get_config().project == "2022-RnD-battery"


def test_outside_a_project_the_message_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="batcat new"):
        find_project(tmp_path)


STEP = ("purposes", "usage-analysis", "steps", 0)
SCHEDULE = ("purposes", "usage-analysis", "schedule")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("regoin",), "us-east-1", "regoin: unknown key; did you mean 'region'"),
        (("region",), "north-pole", "region: a region looks like 'cn-northwest-1' .*north-pole"),
        (("region",), 7, "region: Input should be a valid string"),
        (("result_s3_bucket",), "2022-RnD-battery", "result_s3_bucket: .*lower-case"),
        (("workflow_execution_role",), "arn:aws-cn:iam::1:role/x", "no role ARN"),
        (("workflow_execution_role",), "arn:aws:iam::123456789012:role/x", "another partition"),
        (("job_role",), "arn:aws-cn:iam::123456789012:role/x", "need workflow_execution_role"),
        (("tags",), {"aws:team": "cells"}, "reserved"),
        (("tags",), {"team": "a;b"}, "no tag"),
        (("purposes",), {}, "purposes: "),
        ((*STEP, "instance_count"), 0, "instance_count: .*greater than or equal to 1.*found 0"),
        ((*STEP, "instance_count"), "2", "instance_count: .*valid integer"),
        ((*STEP, "instance_type"), "m5.large", "instance_type: an instance type looks like 'ml.m5"),
        ((*STEP, "script"), "../x.py", "script: .*no file in script/"),
        ((*STEP, "inputs"), {"usage": "usage/2022"}, "inputs.usage: .*s3://bucket/prefix/"),
        ((*STEP, "inputs"), {"usage": "s3://a_b/x"}, "inputs.usage: .*no S3 bucket name"),
        ((*STEP, "environment"), {"BATCAT_RUN_ID": "x"}, "reserved"),
        ((*STEP, "name"), None, "name: "),
        ((*SCHEDULE, "expression"), "every day", "expression: a schedule looks like 'cron"),
        (("alert_email",), "nights", "alert_email: .nights. is no mail address"),
        (("purposes", "usage-analysis", "permissions"), {}, "stand in deploy/roles.yaml now"),
        ((*SCHEDULE, "timezone"), "Asia/Peking", "no time zone 'Asia/Peking'"),
        ((*SCHEDULE, "window_days"), 0, "window_days: "),
    ],
)
def test_each_mistake_is_named_by_its_key(
    content: dict[str, Any], path: tuple[Any, ...], value: Any, said: str
) -> None:
    place: Any = content
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    with pytest.raises(ConfigError, match=f"(?s){said}"):
        parse_config(content)


def test_all_mistakes_are_listed_at_once(content: dict[str, Any]) -> None:
    content["colour"] = "blue"
    del content["region"]
    with pytest.raises(ConfigError, match="2 problems") as caught:
        parse_config(content)
    assert "colour: unknown key" in str(caught.value)
    assert "region: missing" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON: line 1, column 2"),
        ("[]", "must hold a JSON object"),
        ('{"region": "a", "region": "b"}', "stands twice"),
        ("[" * 100_000, "nested too deeply"),
        (f'{{"tags": {"9" * 5000}}}', "a number in it is too long"),
    ],
)
def test_a_file_that_is_no_json_object(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        bc.get_config(file)


def test_two_steps_of_one_name_are_refused(content: dict[str, Any]) -> None:
    steps = content["purposes"]["usage-analysis"]["steps"]
    steps.append(dict(steps[0]))
    with pytest.raises(ConfigError, match="stands twice"):
        parse_config(content)


def test_the_purpose_must_be_named_when_there_are_several(content: dict[str, Any]) -> None:
    content["purposes"]["forecast"] = content["purposes"]["usage-analysis"]
    config = parse_config(content)
    assert config.purpose("forecast")
    with pytest.raises(ConfigError, match="forecast, usage-analysis"):
        config.purpose()
    with pytest.raises(ConfigError, match="no purpose 'nonsense'"):
        config.purpose("nonsense")


@pytest.mark.parametrize(
    "name",
    [
        "2022-RnD-battery",
        "a_b",
        "ab",
        "a" * 64,
        "-ab",
        "ab-",
        "a..b",
        "1.2.3.4",
        "xn--ab",
        "a\nb",
        "ab-s3alias",
        "x--ol-s3",
        "",
        "电池-bucket",
        "sthree-x",
        "a.b.",
    ],
)
def test_buckets_that_s3_refuses(name: str) -> None:
    assert bucket_problem(name)


@pytest.mark.parametrize("name", ["2022-rnd-battery", "abc", "a" * 63, "1a2", "a.b.c", "1.2.3"])
def test_buckets_that_s3_accepts(name: str) -> None:
    assert bucket_problem(name) == ""
