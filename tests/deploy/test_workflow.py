"""The definition of a purpose with many steps: complete, and legal by SageMaker's request model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.validate import ParamValidator

from batcat_runtime.config import Config, parse_config
from batcat_runtime.deploy.definition import definition_of
from batcat_runtime.deploy.processing import processing_step, processing_steps, quiet_sdk
from batcat_runtime.errors import WorkflowError

IMAGE = "123456789012.dkr.ecr.cn-northwest-1.amazonaws.com.cn/battery@sha256:" + "0" * 64
RAW = "s3://2022-rnd-battery/raw/usage/"
STEPS: list[Any] = [
    {"name": "clean", "script": "clean.py", "inputs": {"usage": RAW}},
    [
        {
            "name": "features",
            "script": "features.py",
            "instance_count": 4,
            "inputs": {"clean": {"step": "clean", "sharded": True}},
        },
        [{"name": "weather", "script": "a.py"}, {"name": "holidays", "script": "b.py"}],
    ],
    {"name": "predict", "script": "predict.py"},
]


@pytest.fixture
def config(content: dict[str, Any]) -> Config:
    content["purposes"]["usage-analysis"]["steps"] = STEPS
    return parse_config(content)


def define(config: Config, *others: Any) -> dict[str, Any]:
    with quiet_sdk(config.region):
        from stepfunctions.steps import Chain

        steps = processing_steps(config, "usage-analysis", image=IMAGE)
        chain = Chain([*steps, *others])
        return definition_of(chain, comment="test", partition=config.partition)


def machines(machine: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield machine
    for state in machine["States"].values():
        for branch in state.get("Branches", []):
            yield from machines(branch)


def states(definition: dict[str, Any]) -> dict[str, Any]:
    """Return the states of all levels by name."""
    return {name: one for level in machines(definition) for name, one in level["States"].items()}


def request(definition: dict[str, Any], step: str) -> dict[str, Any]:
    return dict(states(definition)[step]["Parameters"])


def inputs(definition: dict[str, Any], step: str) -> dict[str, Any]:
    given = request(definition, step)["ProcessingInputs"]
    return {one["InputName"]: one["S3Input"] for one in given}


def output(definition: dict[str, Any], step: str) -> dict[str, Any]:
    [one] = request(definition, step)["ProcessingOutputConfig"]["Outputs"]
    return dict(one["S3Output"])


def test_steps_side_by_side_are_one_parallel_state(config: Config) -> None:
    definition = define(config)
    parallel = definition["States"]["features and weather"]
    assert parallel["Type"] == "Parallel"
    assert [branch["StartAt"] for branch in parallel["Branches"]] == ["features", "weather"]
    assert definition["States"]["clean completed?"]["Choices"][0]["Next"] == "features and weather"
    assert parallel["Next"] == "predict"
    # What runs afterwards still finds the execution's dates and parameters.
    assert parallel["ResultPath"] == "$.side_by_side"


def test_a_step_reads_what_the_one_before_wrote_in_this_very_run(config: Config) -> None:
    definition = define(config)
    for before, after in (
        ("clean", "features"),
        ("clean", "weather"),
        ("weather", "holidays"),
        ("features", "predict"),
        ("holidays", "predict"),
    ):
        written = output(definition, before)["S3Uri.$"]
        assert "$$.Execution.Name" in written
        assert f"_work/usage-analysis/{before}/run={{}}'" in written
        # With a slash at its end: the run "a" must not read that of the run "ab".
        assert inputs(definition, after)[before]["S3Uri.$"] == written.replace("{}'", "{}/'")
    assert "weather" not in inputs(definition, "predict")
    assert output(definition, "predict")["S3Uri"].endswith("/usage-analysis")


def test_a_sharded_input_is_shared_out_the_others_are_whole(config: Config) -> None:
    definition = define(config)
    ways = {
        step: {
            name: one["S3DataDistributionType"] for name, one in inputs(definition, step).items()
        }
        for step in ("clean", "features", "weather")
    }
    assert ways == {
        "clean": {"usage": "FullyReplicated"},
        "features": {"clean": "ShardedByS3Key"},
        "weather": {"clean": "FullyReplicated"},
    }
    cluster = request(definition, "features")["ProcessingResources"]["ClusterConfig"]
    assert cluster["InstanceCount"] == 4


def test_two_last_steps_have_places_of_their_own(content: dict[str, Any]) -> None:
    content["purposes"]["usage-analysis"]["steps"] = [STEPS[0], STEPS[1]]
    definition = define(parse_config(content))
    places = {output(definition, step)["S3Uri"] for step in ("features", "holidays")}
    results = "s3://2022-rnd-battery/2022-rnd-battery/usage-analysis"
    assert places == {f"{results}/features", f"{results}/holidays"}


def test_the_job_name_is_new_for_every_attempt(config: Config) -> None:
    name = request(define(config), "clean")["ProcessingJobName.$"]
    assert "$$.State.RetryCount" in name
    assert "States.UUID()" in name


def test_keys_network_and_retries_reach_the_request(content: dict[str, Any]) -> None:
    content["network"] = {
        "subnets": ["subnet-1"],
        "security_group_ids": ["sg-1"],
        "encrypt_traffic": True,
    }
    key = "arn:aws-cn:kms:cn-northwest-1:123456789012:key/1"
    content["kms"] = {"volume": key, "output": "alias/results"}
    retries = {"count": 2, "interval_seconds": 5, "backoff": 3, "failed_jobs": 1}
    content["purposes"]["usage-analysis"]["steps"] = [
        {**STEPS[0], "retries": retries},
        {
            "name": "alone",
            "script": "a.py",
            "network": {"isolation": True},
            "retries": {"count": 0},
        },
    ]
    definition = define(parse_config(content))
    clean, alone = request(definition, "clean"), request(definition, "alone")
    assert clean["ProcessingResources"]["ClusterConfig"]["VolumeKmsKeyId"] == key
    assert clean["ProcessingOutputConfig"]["KmsKeyId"] == "alias/results"
    assert clean["NetworkConfig"] == {
        "EnableNetworkIsolation": False,
        "EnableInterContainerTrafficEncryption": True,
        "VpcConfig": {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
    }
    assert alone["NetworkConfig"] == {"EnableNetworkIsolation": True}
    refused, failed = definition["States"]["clean"]["Retry"]
    assert (refused["MaxAttempts"], refused["IntervalSeconds"], refused["BackoffRate"]) == (2, 5, 3)
    assert failed["ErrorEquals"] == ["States.TaskFailed"]
    assert (failed["MaxAttempts"], failed["JitterStrategy"]) == (1, "FULL")
    assert "Retry" not in definition["States"]["alone"]


def filled_in(parameters: Any) -> Any:
    if isinstance(parameters, list):
        return [filled_in(one) for one in parameters]
    if not isinstance(parameters, dict):
        role = "arn:aws-cn:iam::123456789012:role/job"
        return role if parameters == "${JobRoleArn}" else parameters
    return {
        key.removesuffix(".$"): "s3://b/example" if key.endswith(".$") else filled_in(value)
        for key, value in parameters.items()
    }


def test_every_request_is_one_that_sagemaker_knows(content: dict[str, Any]) -> None:
    content["network"] = {"subnets": ["subnet-1"], "security_group_ids": ["sg-1"]}
    content["kms"] = {"volume": "key", "output": "key"}
    steps = [{**STEPS[0], "arguments": ["--deep"]}, *STEPS[1:]]
    content["purposes"]["usage-analysis"]["steps"] = steps
    definition = define(parse_config(content))
    application = request(definition, "clean")["AppSpecification"]
    assert application["ContainerArguments"] == ["--deep"]
    model = botocore.session.get_session().get_service_model("sagemaker")
    shape = model.operation_model("CreateProcessingJob").input_shape
    for step in ("clean", "features", "weather", "holidays", "predict"):
        report = ParamValidator().validate(filled_in(request(definition, step)), shape)
        assert not report.has_errors(), report.generate_report()


# --- what holds for every definition, as statelint has it -----------------------------------------


def targets(state: dict[str, Any]) -> set[str]:
    return set(re.findall(r'"(?:Next|Default)": "([^"]+)"', json.dumps(without_branches(state))))


def without_branches(state: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key != "Branches"}


def test_states_stand_in_reading_order(config: Config) -> None:
    assert list(define(config)["States"]) == [
        "Defaults",
        "Input",
        "clean",
        "clean completed?",
        "features and weather",
        "predict",
        "predict completed?",
        "Stopped",
        "Done",
        "Failed",
    ]


def test_names_are_unique_in_the_whole_machine(config: Config) -> None:
    names = [name for level in machines(define(config)) for name in level["States"]]
    assert len(names) == len(set(names))
    assert max(map(len, names)) <= 80


def test_every_state_is_reached_and_every_way_ends_on_each_level(config: Config) -> None:
    for level in machines(define(config)):
        seen, waiting = set(), [level["StartAt"]]
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += targets(level["States"][name])
        assert seen == set(level["States"])
        for state in level["States"].values():
            if state["Type"] not in ("Choice", "Fail", "Succeed"):
                assert ("Next" in state) != ("End" in state)


def test_every_error_in_a_branch_ends_in_a_fail_of_the_branch(config: Config) -> None:
    definition = define(config)
    for level in machines(definition):
        for state in level["States"].values():
            if state["Type"] not in ("Task", "Parallel"):
                continue
            catch = state["Catch"][-1]
            assert catch["ErrorEquals"] == ["States.ALL"]
            failed = level["States"][catch["Next"]]
            assert failed == {
                "Type": "Fail",
                "ErrorPath": "$.error.Error",
                "CausePath": "$.error.Cause",
            }
    branch = definition["States"]["features and weather"]["Branches"][0]
    assert branch["States"]["features completed?"]["Default"] == "Stopped (features)"
    assert branch["States"]["Stopped (features)"]["Error"] == "ProcessingJobStopped"


@pytest.mark.parametrize("region", ["us-east-1", "cn-northwest-1", "us-gov-west-1"])
def test_step_functions_accepts_it_whatever_the_environment_says(
    content: dict[str, Any], region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from batcat_runtime.rehearsal.aws.workflow_definition import definition_errors

    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    content["region"] = region
    content["purposes"]["usage-analysis"]["steps"] = STEPS
    config = parse_config(content)
    definition = json.dumps(define(config))
    assert definition_errors(definition, config.partition) == []
    assert set(re.findall(r"arn:(aws[a-z-]*):", definition)) == {config.partition}


def test_cfn_lint_accepts_it(config: Config) -> None:
    definition = define(config)
    assert linted(definition) == []
    definition["States"]["features and weather"]["Branches"][1]["States"]["holidays"]["Typo"] = 1
    assert any("Typo" in one for one in linted(definition)), "the check is at work"


def linted(definition: dict[str, Any]) -> list[str]:
    """Return what cfn-lint finds in a state machine's definition; it reads it as an object only."""
    from cfnlint.api import lint
    from cfnlint.config import ManualArgs

    role = "arn:aws:iam::123456789012:role/x"
    machine = {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {"RoleArn": role, "Definition": definition},
    }
    # It knows the ARNs of one partition only.
    text = json.dumps({"Resources": {"Machine": machine}})
    text = re.sub(r"arn:aws-(cn|us-gov):", "arn:aws:", text)
    return [str(match) for match in lint(text, config=ManualArgs(regions=["us-east-1"]))]


# --- the author's own states ----------------------------------------------------------------------


def test_states_of_the_authors_own_are_chained_and_completed(config: Config) -> None:
    with quiet_sdk(config.region):
        from stepfunctions.steps import Chain, Parallel, Task, Wait

        notify = Task(
            "Notify", resource="arn:aws-cn:states:::sns:publish", parameters={"Message": "done"}
        )
        mine = Parallel("Mine", result_path="$.mine")
        mine.add_branch(Chain([Wait("Rest", seconds=1), notify]))
        mine.add_branch(Wait("Rest too", seconds=1))
    definition = define(config, mine)
    assert definition["States"]["predict completed?"]["Choices"][0]["Next"] == "Mine"
    assert definition["States"]["Mine"]["Catch"][-1]["Next"] == "Failed"
    assert states(definition)["Notify"]["Catch"][-1]["Next"] == "Failed (Rest)"


@pytest.mark.parametrize(
    ("error", "caught"), [("States.Timeout", ["Mine", "Failed"]), ("States.ALL", ["Mine"])]
)
def test_catches_of_the_authors_own_stay_and_the_last_is_for_all(
    config: Config, error: str, caught: list[str]
) -> None:
    with quiet_sdk(config.region):
        from stepfunctions.steps import Catch, Chain, Pass, Wait

        job = processing_step(config, "usage-analysis", config.purpose().steps[0], image=IMAGE)
        job.add_catch(Catch(error_equals=[error], next_step=Pass("Mine")))
        states = definition_of(Chain([Wait("Wait a bit", seconds=5), job]))["States"]
    assert states["Input"]["Next"] == "Wait a bit"
    assert [one["Next"] for one in states["clean"]["Catch"]] == caught
    assert ("Failed" in states) == ("Failed" in caught)


@pytest.mark.parametrize("name", ["Failed", "Stopped", "predict completed?", "clean", "Input"])
def test_a_name_that_is_taken_is_refused(config: Config, name: str) -> None:
    with quiet_sdk(config.region):
        from stepfunctions.steps import Pass

        mine = Pass(name)
    with pytest.raises(WorkflowError, match=re.escape(name)):
        define(config, mine)


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
