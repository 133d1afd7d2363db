"""Names: legal for the service, the same every time, different for different things."""

from __future__ import annotations

import re

import botocore.session
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batcat_runtime.errors import NamingError
from batcat_runtime.names import Names, shorten, slug

MODELS = botocore.session.get_session()

# Each name with the shape of botocore's service model that it must satisfy.
RULES = [
    ("repository", "ecr", "RepositoryName"),
    ("state_machine", "stepfunctions", "Name"),
    ("function", "lambda", "FunctionName"),
    ("schedule", "scheduler", "Name"),
    ("backfill_machine", "stepfunctions", "Name"),
    ("rule", "events", "RuleName"),
    ("builder", "codebuild", "ProjectName"),
    ("workflow_stack", "cloudformation", "StackName"),
    ("trigger_stack", "cloudformation", "StackName"),
    ("project_stack", "cloudformation", "StackName"),
    ("workflow_log_group", "logs", "LogGroupName"),
]
LIMITS = {"function": 64, "workflow_stack": 128, "trigger_stack": 128, "project_stack": 128}

texts = st.text(min_size=1, max_size=128).filter(lambda text: re.search(r"[A-Za-z0-9]", text))
purposes = st.from_regex(r"[a-z][a-z0-9-]{0,39}", fullmatch=True)


def legal(service: str, shape_name: str, name: str) -> None:
    shape = MODELS.get_service_model(service).shape_for(shape_name)
    metadata = shape.metadata
    assert metadata.get("min", 0) <= len(name) <= metadata.get("max", 10_000), name
    if "pattern" in metadata:
        assert re.fullmatch(metadata["pattern"], name), (metadata["pattern"], name)


@settings(deadline=None)
@given(project=texts, purpose=purposes)
def test_every_name_is_legal_for_its_service(project: str, purpose: str) -> None:
    names = Names(project, purpose, "cn-northwest-1")
    for attribute, service, shape in RULES:
        name = getattr(names, attribute)
        legal(service, shape, name)
        assert len(name) <= LIMITS.get(attribute, 10_000)


@settings(deadline=None)
@given(purpose=purposes, step=purposes)
def test_job_names_are_legal_for_sagemaker(purpose: str, step: str) -> None:
    names = Names("p", purpose, "us-east-1")
    start = names.job_name(step)
    legal("sagemaker", "ProcessingJobName", f"{start}-0-aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee")
    assert start.startswith(names.job_prefix), "what the workflow's role may start"


@given(pairs=st.lists(st.tuples(texts, purposes), min_size=2, max_size=2))
def test_two_purposes_share_a_name_only_if_they_are_the_same(
    pairs: list[tuple[str, str]],
) -> None:
    one, other = ((slug(project), slug(purpose)) for project, purpose in pairs)
    names = [set(all_names(Names(*pair, "us-east-1"))) for pair in (one, other)]
    assert one == other or not names[0] & names[1]


def test_two_projects_whose_names_run_into_each_other_stay_apart() -> None:
    one = Names("battery-usage", "analysis", "us-east-1")
    other = Names("battery", "usage-analysis", "us-east-1")
    assert not set(all_names(one)) & set(all_names(other))
    trigger = Names("battery", "analysis-trigger", "us-east-1")
    assert Names("battery", "analysis", "us-east-1").function != trigger.state_machine


def all_names(names: Names) -> list[str]:
    """Return the names of all that belongs to a purpose alone."""
    stacks = [names.stack(part) for part in ("roles", "workflow", "trigger")]
    machines = [names.state_machine, names.backfill_machine]
    return [*stacks, *machines, names.function, names.schedule, names.rule, names.result_prefix]


def test_the_tutorials_project() -> None:
    names = Names("2022-RnD-battery", "usage-analysis", "cn-northwest-1")
    assert names.repository == "2022-rnd-battery"
    assert names.state_machine == "2022-rnd-battery--usage-analysis"
    assert names.result_prefix == "2022-rnd-battery/usage-analysis"
    assert names.arn("iam", "role/x", "123456789012", region="") == (
        "arn:aws-cn:iam::123456789012:role/x"
    )


@pytest.mark.parametrize(
    ("region", "partition"),
    [("us-east-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")],
)
def test_the_partition_follows_from_the_region(region: str, partition: str) -> None:
    assert Names("p", "q", region).partition == partition
    assert Names("p", "q", region).arn("s3", "b", "", region="").startswith(f"arn:{partition}:s3:")


@pytest.mark.parametrize(("text", "expected"), [("Ä b/C", "a-b-c"), ("--x--", "x"), ("A_1", "a-1")])
def test_slugs(text: str, expected: str) -> None:
    assert slug(text) == expected


@pytest.mark.parametrize("text", ["", "电池", "--", "!"])
def test_a_project_without_a_latin_letter_says_what_to_do(text: str) -> None:
    with pytest.raises(NamingError, match=r"script/config\.json"):
        slug(text)


def test_long_names_that_differ_late_stay_different() -> None:
    first, second = (shorten("x" * 90 + end, 64) for end in "ab")
    assert first != second
    assert len(first) == len(second) == 64
    assert shorten("short", 64) == "short"
