"""The definition that is deployed: complete, and legal by the request model of SageMaker."""

from __future__ import annotations

import json
import re
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from batcat_runtime.config import Config, parse_config
from batcat_runtime.deploy import workflow
from batcat_runtime.deploy.definition import definition_of
from batcat_runtime.deploy.processing import processing_step, processing_steps

IMAGE = "123456789012.dkr.ecr.cn-northwest-1.amazonaws.com.cn/battery@sha256:" + "0" * 64


def define(config: Config, purpose: str = "usage-analysis") -> dict[str, Any]:
    with workflow.quiet_sdk():
        from stepfunctions.steps import Chain

        return definition_of(Chain(processing_steps(config, purpose, image=IMAGE)), comment="test")


def filled_in(parameters: Any) -> Any:
    """Return parameters as Step Functions would send them, with an example for each path."""
    if isinstance(parameters, list):
        return [filled_in(one) for one in parameters]
    if not isinstance(parameters, dict):
        return parameters
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
    with workflow.quiet_sdk():
        from stepfunctions.steps import Catch, Chain, Pass, Wait

        job = processing_step(config, "usage-analysis", step, image=IMAGE)
        job.add_catch(Catch(error_equals=["States.Timeout"], next_step=Pass("Too late")))
        states = definition_of(Chain([Wait("Wait a bit", seconds=5), job]))["States"]
    assert states["Input"]["Next"] == "Wait a bit"
    assert [one["Next"] for one in states[step.name]["Catch"]] == ["Too late", "Failed"]


@pytest.mark.parametrize("region", ["us-east-1", "cn-northwest-1", "us-gov-west-1"])
def test_templates_pass_cfn_lint(content: dict[str, Any], region: str) -> None:
    from cfnlint.api import lint
    from cfnlint.config import ManualArgs

    from batcat_runtime.deploy.image import project_template
    from batcat_runtime.deploy.naming import Names
    from batcat_runtime.deploy.trigger import trigger_template

    content["region"] = region
    config = parse_config(content)
    templates = [
        project_template(config, Names.of(config)),
        workflow.workflow_template(config, "usage-analysis", define(config)),
        trigger_template(config, "usage-analysis", "def lambda_handler(event, context): ..."),
    ]
    for template in templates:
        found = lint(json.dumps(template), config=ManualArgs(regions=[region]))
        assert [str(match) for match in found] == []


def test_with_given_roles_no_stack_creates_one(content: dict[str, Any]) -> None:
    from batcat_runtime.deploy.trigger import trigger_template

    given = "arn:aws-cn:iam::123456789012:role/batcat"
    content["workflow_execution_role"] = given
    config = parse_config(content)
    for template in (
        workflow.workflow_template(config, "usage-analysis", define(config)),
        trigger_template(config, "usage-analysis", "x = 1"),
    ):
        types = {one["Type"] for one in template["Resources"].values()}
        assert "AWS::IAM::Role" not in types
        assert given in json.dumps(template)


def test_the_schedule_is_off_until_switched_on(content: dict[str, Any]) -> None:
    from batcat_runtime.deploy.trigger import trigger_template

    for enabled, state in ((False, "DISABLED"), (True, "ENABLED")):
        content["purposes"]["usage-analysis"]["schedule"]["enabled"] = enabled
        template = trigger_template(parse_config(content), "usage-analysis", "x = 1")
        assert template["Resources"]["Schedule"]["Properties"]["State"] == state
    content["purposes"]["usage-analysis"]["schedule"] = None
    template = trigger_template(parse_config(content), "usage-analysis", "x = 1")
    assert "Schedule" not in template["Resources"]


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
