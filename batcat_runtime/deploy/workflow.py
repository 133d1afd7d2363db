"""The workflow of a purpose: authored with the stepfunctions SDK, deployed by CloudFormation.

Stages: `processing_step` makes one SDK state a step; the project's ``setup_stepfunctions.py``
chains them (and may add states of its own); `definition_of` renders the chain to Amazon States
Language and adds as data what the SDK cannot say; `setup_workflow` validates it and deploys the
stack of roles, log group and state machine.

The SDK is imported inside the functions that author: it takes seconds and prints. Its own
``Workflow.create`` is not used: it keeps an old definition without a word.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

from batcat_runtime.config import Config, Step, get_config
from batcat_runtime.deploy.image import SCRIPT_FOLDER, pinned_image
from batcat_runtime.deploy.naming import Names
from batcat_runtime.deploy.roles import (
    existing_role,
    role_arn,
    role_resource,
    tag_list,
    with_substitutions,
)
from batcat_runtime.deploy.session import session_for
from batcat_runtime.deploy.stack import StackChange, deploy_stack
from batcat_runtime.errors import WorkflowError

Definition = dict[str, Any]
Author = Callable[[Config, str], Any]

_SLACK_SECONDS = 1800  # for starting instances and moving data, beyond the job's own max runtime
_INPUT_FOLDER = "/opt/ml/processing/input"
_OUTPUT_FOLDER = "/opt/ml/processing/output"
_TRANSIENT = [
    "SageMaker.AmazonSageMakerException",
    "SageMaker.ResourceLimitExceededException",
    "SageMaker.ThrottlingException",
]
_COMPLETED = " completed?"
_DEFAULTS = {"date_start": "", "date_end": "", "params": {}}


def setup_workflow(
    config: Config | None = None,
    purpose: str | None = None,
    author: Author | None = None,
    *,
    progress: Callable[[str], None] = print,
) -> StackChange:
    """Deploy a purpose's workflow: its roles, its log group and its state machine.

    Parameters
    ----------
    config : Config, optional
        By default that of the project around the working directory.
    purpose : str, optional
        May be left out when the project has one.
    author : callable, optional
        Takes the configuration and the purpose's name and returns a state or chain of the
        stepfunctions SDK. By default the purpose's steps, one after the other.
    progress : callable
        Called with a line at each stage.

    Returns
    -------
    StackChange
        ``created``, ``updated`` or ``unchanged``. A changed definition updates the state machine;
        executions that run keep the old one.

    Raises
    ------
    WorkflowError
        AWS does not accept the definition.
    ImageError
        The image was not pushed yet.
    StackError
        CloudFormation rolled back.
    """
    config = config or get_config()
    purpose = config.purpose_name(purpose)
    names = Names.of(config, purpose)
    with quiet_sdk():
        chain = (author or chain_of_steps)(config, purpose)
        definition = definition_of(chain, comment=f"{config.title}: {purpose}")
    session = session_for(config.region)
    validate_definition(session.client("stepfunctions"), definition)
    change = deploy_stack(
        session.client("cloudformation"),
        names.workflow_stack,
        workflow_template(config, purpose, definition),
        tags=tag_list(config),
        progress=progress,
    )
    progress(f"stack {change.stack}: {change.outcome}")
    return change


def chain_of_steps(config: Config, purpose: str) -> Any:
    """Return the purpose's steps as a chain of SDK states, one after the other."""
    from stepfunctions.steps import Chain

    return Chain([processing_step(config, purpose, one) for one in config.purposes[purpose].steps])


def processing_step(config: Config, purpose: str, step: Step, *, image: str | None = None) -> Any:
    """Return one step of a purpose as a state of the stepfunctions SDK.

    Parameters
    ----------
    config : Config
        The project.
    purpose : str
        The purpose's name.
    step : Step
        One of the purpose's steps.
    image : str, optional
        The image's address with digest; by default that of the project's present content in ECR.

    Returns
    -------
    stepfunctions.steps.Task
        ``sagemaker:createProcessingJob.sync`` with retries; chain it, add to it.
    """
    with quiet_sdk():
        from stepfunctions.steps import Retry, Task

        names = Names.of(config, purpose)
        task = Task(
            step.name,
            resource=names.arn("states", "sagemaker:createProcessingJob.sync", "", region=""),
            parameters=job_request(config, purpose, step, image or pinned_image(config)),
            timeout_seconds=step.max_runtime_seconds + _SLACK_SECONDS,
            result_path="$.job",
        )
        task.add_retry(
            Retry(error_equals=_TRANSIENT, interval_seconds=20, backoff_rate=2.0, max_attempts=4)
        )
    return task


def job_request(config: Config, purpose: str, step: Step, image: str) -> dict[str, Any]:
    """Return the CreateProcessingJob request of a step, as Step Functions parameters."""
    names = Names.of(config, purpose)
    steps = config.purposes[purpose].steps
    position = steps.index(step)
    inputs = dict(step.inputs)
    request: dict[str, Any] = {
        # Unique for every attempt: 24 + 1 + 1 + 1 + 36 characters, SageMaker's 63.
        "ProcessingJobName.$": f"States.Format('{names.job_prefix(step.name)}-{{}}-{{}}', "
        "$$.State.RetryCount, States.UUID())",
        "RoleArn": role_arn("job", config, names, "${AWS::AccountId}"),
        "AppSpecification": {
            "ImageUri": image,
            "ContainerEntrypoint": [
                "python3",
                "-m",
                "batcat_runtime.job",
                f"{SCRIPT_FOLDER}/{step.script}",
            ],
        },
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceCount": step.instance_count,
                "InstanceType": step.instance_type,
                "VolumeSizeInGB": step.volume_size_gb,
            }
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": step.max_runtime_seconds},
        "Environment": {
            **step.environment,
            # boto3 reads this one; SageMaker itself may set AWS_REGION only.
            "AWS_DEFAULT_REGION": config.region,
            "BATCAT_PURPOSE": purpose,
            "BATCAT_STEP": step.name,
            "BATCAT_IMAGE": image,
            "BATCAT_CONFIG_SHA256": config.sha256,
            "BATCAT_RUN_ID.$": "$$.Execution.Name",
            "BATCAT_DATE_START.$": "$.date_start",
            "BATCAT_DATE_END.$": "$.date_end",
            "BATCAT_PARAMETERS.$": "States.JsonToString($.params)",
        },
        "ProcessingInputs": [_input(name, {"S3Uri": uri}) for name, uri in inputs.items()],
        "ProcessingOutputConfig": {"Outputs": [_output(config, names, steps, position)]},
        "Tags": tag_list(config),
    }
    if position:
        before = steps[position - 1].name
        request["ProcessingInputs"].append(
            _input(before, {"S3Uri.$": _work(config, names, before)})
        )
    if step.arguments:
        request["AppSpecification"]["ContainerArguments"] = list(step.arguments)
    if config.network is not None:
        request["NetworkConfig"] = {
            "EnableNetworkIsolation": config.network.isolation,
            "VpcConfig": {
                "Subnets": list(config.network.subnets),
                "SecurityGroupIds": list(config.network.security_group_ids),
            },
        }
    return request


def definition_of(chain: Any, *, comment: str = "") -> Definition:
    """Render a chain of SDK states to Amazon States Language, complete for production.

    Added to what the author wrote: defaults for the execution's input; what to keep of a job's
    description; a job that was stopped before its end is a failure; every error that is not caught
    ends in a Fail state which carries the job's own reason; full jitter on retries.
    """
    from stepfunctions.steps import Chain, Graph, Pass

    start = Pass("Defaults", result=_DEFAULTS, result_path="$.defaults")
    merge = Pass(
        "Input",
        parameters={"input.$": "States.JsonMerge($.defaults, $$.Execution.Input, false)"},
        output_path="$.input",
    )
    definition: Definition = Graph(Chain([start, merge, chain]), comment=comment).to_dict()
    states = definition["States"]
    for name, state in list(states.items()):
        if state["Type"] != "Task":
            continue
        for retry in state.get("Retry", []):
            retry.setdefault("JitterStrategy", "FULL")
        state.setdefault("Catch", []).append(
            {"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Failed"}
        )
        if state["Resource"].endswith("sagemaker:createProcessingJob.sync"):
            _fail_when_stopped(states, name)
    states["Failed"] = {"Type": "Fail", "ErrorPath": "$.error.Error", "CausePath": "$.error.Cause"}
    definition["States"] = _in_reading_order(states)
    return definition


def _in_reading_order(states: dict[str, Any]) -> dict[str, Any]:
    """Put the question after a job right behind the job, and the endings last."""

    def place(name: str) -> tuple[bool, int, bool]:
        job = name.removesuffix(_COMPLETED)
        ending = states[name]["Type"] in {"Fail", "Succeed"}
        return ending, written.index(job if job in states else name), job != name

    written = list(states)
    return {name: states[name] for name in sorted(states, key=place)}


def _fail_when_stopped(states: dict[str, Any], name: str) -> None:
    """Let the workflow go on after a job only when the job completed."""
    state = states[name]
    state["ResultSelector"] = {
        f"{key}.$": f"$.{key}"
        for key in ("ProcessingJobName", "ProcessingJobArn", "ProcessingJobStatus")
    }
    after = state.pop("Next", None)
    if state.pop("End", False):
        after = "Done"
        states["Done"] = {"Type": "Succeed"}
    state["Next"] = f"{name}{_COMPLETED}"
    states[state["Next"]] = {
        "Type": "Choice",
        "Choices": [
            {"Variable": "$.job.ProcessingJobStatus", "StringEquals": "Completed", "Next": after}
        ],
        "Default": "Stopped",
    }
    states["Stopped"] = {
        "Type": "Fail",
        "Error": "ProcessingJobStopped",
        "Cause": "The processing job was stopped before its end: by hand, or by its "
        "max_runtime_seconds.",
    }


def validate_definition(client: Any, definition: Definition) -> None:
    """Let Step Functions itself check a definition before anything is changed.

    Raises
    ------
    WorkflowError
        It found errors; each is listed with its place.
    """
    answer = client.validate_state_machine_definition(definition=json.dumps(definition))
    errors = [one for one in answer.get("diagnostics", []) if one.get("severity") == "ERROR"]
    if answer["result"] == "FAIL":
        raise WorkflowError(
            "Step Functions does not accept the workflow's definition:\n"
            + "\n".join(f"  - {one.get('location', '')}: {one['message']}" for one in errors),
            fix="Look at what deploy/setup_stepfunctions.py adds to the steps.",
        )


def workflow_template(config: Config, purpose: str, definition: Definition) -> dict[str, Any]:
    """Return the CloudFormation template of a purpose's workflow."""
    names = Names.of(config, purpose)
    resources: dict[str, Any] = {
        "LogGroup": {
            "Type": "AWS::Logs::LogGroup",
            "Properties": {
                "LogGroupName": names.workflow_log_group,
                "RetentionInDays": 90,
                "Tags": tag_list(config),
            },
        },
        "StateMachine": {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {
                "StateMachineName": names.state_machine,
                "RoleArn": existing_role(config, "workflow")
                or {"Fn::GetAtt": ["WorkflowRole", "Arn"]},
                "DefinitionString": with_substitutions(json.dumps(definition, ensure_ascii=False)),
                "LoggingConfiguration": {
                    "Level": "ERROR",
                    "IncludeExecutionData": True,
                    "Destinations": [
                        {
                            "CloudWatchLogsLogGroup": {
                                "LogGroupArn": {"Fn::GetAtt": ["LogGroup", "Arn"]}
                            }
                        }
                    ],
                },
                "Tags": tag_list(config),
            },
        },
    }
    for role in ("workflow", "job"):
        if existing_role(config, role) is None:
            resources[f"{role.capitalize()}Role"] = role_resource(role, config, names)
    if "JobRole" in resources:
        resources["StateMachine"]["DependsOn"] = ["JobRole"]
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"BatCat workflow {names.state_machine}",
        "Resources": resources,
        "Outputs": {"StateMachineArn": {"Value": {"Ref": "StateMachine"}}},
    }


@contextlib.contextmanager
def quiet_sdk() -> Iterator[None]:
    """Import sagemaker and stepfunctions without what they print."""
    os.environ.setdefault("SAGEMAKER_SUPPRESS_V2_WARNING", "1")
    logging.getLogger("sagemaker.config").setLevel(logging.WARNING)
    import warnings

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        import stepfunctions.steps  # noqa: F401
    yield


def _input(name: str, source: dict[str, str]) -> dict[str, Any]:
    return {
        "InputName": name,
        "S3Input": {
            **source,
            "LocalPath": f"{_INPUT_FOLDER}/{name}",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
            "S3DataDistributionType": "FullyReplicated",
        },
    }


def _output(config: Config, names: Names, steps: list[Step], position: int) -> dict[str, Any]:
    """Return where a step's output goes: results for the last one, the next step's input else."""
    if position == len(steps) - 1:
        place = {"S3Uri": f"s3://{config.result_s3_bucket}/{names.result_prefix}"}
    else:
        place = {"S3Uri.$": _work(config, names, steps[position].name)}
    return {
        "OutputName": "result",
        "S3Output": {**place, "LocalPath": _OUTPUT_FOLDER, "S3UploadMode": "EndOfJob"},
    }


def _work(config: Config, names: Names, step: str) -> str:
    prefix = f"s3://{config.result_s3_bucket}/{names.work_prefix(step)}"
    return f"States.Format('{prefix}/run={{}}', $$.Execution.Name)"
