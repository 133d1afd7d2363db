"""The definition that is deployed: complete, and legal by the request model of SageMaker."""

from __future__ import annotations

import json
import re
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.validate import ParamValidator

from batcat_runtime.config import Config, parse_config
from batcat_runtime.deploy.definition import definition_of
from batcat_runtime.deploy.processing import processing_step, processing_steps, quiet_sdk

IMAGE = "123456789012.dkr.ecr.cn-northwest-1.amazonaws.com.cn/battery@sha256:" + "0" * 64


def define(config: Config, purpose: str = "usage-analysis") -> dict[str, Any]:
    with quiet_sdk(config.region):
        from stepfunctions.steps import Chain

        steps = processing_steps(config, purpose, image=IMAGE)
        return definition_of(Chain(steps), comment="test", partition=config.partition)


def filled_in(parameters: Any) -> Any:
    """Return parameters as Step Functions would send them, with an example for each path."""
    if isinstance(parameters, list):
        return [filled_in(one) for one in parameters]
    if not isinstance(parameters, dict):
        role = "arn:aws-cn:iam::123456789012:role/job"
        return role if parameters == "${JobRoleArn}" else parameters
    return {
        key.removesuffix(".$"): "s3://b/example" if key.endswith(".$") else filled_in(value)
        for key, value in parameters.items()
    }


@pytest.fixture
def three_steps(content: dict[str, Any]) -> Config:
    step = content["purposes"]["usage-analysis"]["steps"][0]
    content["purposes"]["usage-analysis"]["steps"] = [
        {**step, "name": "clean", "script": "clean.py"},
        {**step, "name": "features", "script": "features.py", "inputs": {}},
        {**step, "name": "predict", "script": "predict.py", "inputs": {}},
    ]
    return parse_config(content)


def test_a_request_is_one_that_sagemaker_knows(content: dict[str, Any]) -> None:
    content["network"] = {"subnets": ["subnet-1"], "security_group_ids": ["sg-1"]}
    step = content["purposes"]["usage-analysis"]["steps"][0]
    step["arguments"] = ["--deep"]
    states = define(parse_config(content))["States"]
    request = filled_in(states["usage-analysis"]["Parameters"])
    model = botocore.session.get_session().get_service_model("sagemaker")
    shape = model.operation_model("CreateProcessingJob").input_shape
    report = ParamValidator().validate(request, shape)
    assert not report.has_errors(), report.generate_report()
    assert request["AppSpecification"]["ContainerArguments"] == ["--deep"]


def test_the_job_name_is_new_for_every_attempt(content: dict[str, Any]) -> None:
    states = define(parse_config(content))["States"]
    name = states["usage-analysis"]["Parameters"]["ProcessingJobName.$"]
    assert "$$.State.RetryCount" in name
    assert "States.UUID()" in name


def test_steps_hand_on_their_output(three_steps: Config) -> None:
    states = define(three_steps)["States"]
    outputs = {
        name: states[name]["Parameters"]["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]
        for name in ("clean", "features", "predict")
    }
    for before, after in (("clean", "features"), ("features", "predict")):
        inputs = {
            one["InputName"]: one["S3Input"]
            for one in states[after]["Parameters"]["ProcessingInputs"]
        }
        assert inputs[before]["S3Uri.$"].replace("/'", "'") == outputs[before]["S3Uri.$"]
        assert states[f"{before} completed?"]["Choices"][0]["Next"] == after
    assert outputs["predict"]["S3Uri"] == "s3://2022-rnd-battery/2022-rnd-battery/usage-analysis"


def test_every_error_ends_in_a_failure_with_its_reason(three_steps: Config) -> None:
    states = define(three_steps)["States"]
    for state in states.values():
        if state["Type"] == "Task":
            assert state["Catch"][-1] == {
                "ErrorEquals": ["States.ALL"],
                "ResultPath": "$.error",
                "Next": "Failed",
            }
            assert state["Retry"][0]["JitterStrategy"] == "FULL"
    assert states["Failed"]["CausePath"] == "$.error.Cause"


def test_every_state_can_be_reached(three_steps: Config) -> None:
    definition = define(three_steps)
    reached, waiting = set(), [definition["StartAt"]]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            text = json.dumps(definition["States"][name])
            waiting += re.findall(r'"(?:Next|Default)": "([^"]+)"', text)
    assert reached == set(definition["States"])


def test_an_authors_own_states_and_catches_stay(content: dict[str, Any]) -> None:
    config = parse_config(content)
    step = config.purpose().steps[0]
    with quiet_sdk(config.region):
        from stepfunctions.steps import Catch, Chain, Pass, Wait

        job = processing_step(config, "usage-analysis", step, image=IMAGE)
        job.add_catch(Catch(error_equals=["States.Timeout"], next_step=Pass("Too late")))
        states = definition_of(Chain([Wait("Wait a bit", seconds=5), job]))["States"]
    assert states["Input"]["Next"] == "Wait a bit"
    assert [one["Next"] for one in states[step.name]["Catch"]] == ["Too late", "Failed"]


@pytest.mark.parametrize("region", ["us-east-1", "cn-northwest-1", "us-gov-west-1"])
def test_arns_are_of_the_regions_partition_whatever_the_environment_says(
    content: dict[str, Any], region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    content["region"] = region
    config = parse_config(content)
    assert set(re.findall(r"arn:(aws[a-z-]*):", json.dumps(define(config)))) == {config.partition}


def test_a_processor_of_the_authors_own_is_completed_like_ours(content: dict[str, Any]) -> None:
    config = parse_config(content)
    with quiet_sdk(config.region):
        from sagemaker import Session
        from sagemaker.processing import Processor
        from stepfunctions.steps import Chain, ProcessingStep

        mine = Processor(
            role="arn:aws-cn:iam::123456789012:role/mine",
            image_uri=IMAGE,
            instance_count=1,
            instance_type="ml.m5.xlarge",
            sagemaker_session=Session(boto3.Session(region_name=config.region)),
        )
        step = ProcessingStep("Mine", processor=mine, job_name="mine", container_arguments=["a"])
        states = definition_of(Chain([step]), partition=config.partition, tags={"team": "cells"})[
            "States"
        ]
    assert states["Mine"]["Next"] == "Mine completed?"
    assert states["Mine"]["Catch"][-1]["Next"] == "Failed"
    assert states["Mine"]["Parameters"]["Tags"] == [{"Key": "team", "Value": "cells"}]


def test_states_stand_in_reading_order(three_steps: Config) -> None:
    assert list(define(three_steps)["States"]) == [
        "Defaults",
        "Input",
        "clean",
        "clean completed?",
        "features",
        "features completed?",
        "predict",
        "predict completed?",
        "Stopped",
        "Done",
        "Failed",
    ]
