"""The steps of a purpose as states of the stepfunctions SDK, one SageMaker processing job each.

`processing_steps` gives all of them in order, those that run side by side as one Parallel state;
`processing_step` gives a single one. The request of a job is plain data (`job_request`).

The SDK is imported inside the functions that author (`sdk`).
"""

from __future__ import annotations

from typing import Any

from batcat_runtime.config import Config, Input, Purpose, Step
from batcat_runtime.deploy.image import SCRIPT_FOLDER
from batcat_runtime.deploy.naming import Names, shorten
from batcat_runtime.deploy.pinning import PinnedImage, image_for
from batcat_runtime.deploy.roles import role_arn, tag_list
from batcat_runtime.deploy.sdk import quiet_sdk

_SLACK_SECONDS = 1800  # for starting instances and moving data, beyond the job's own max runtime
_INPUT_FOLDER = "/opt/ml/processing/input"
_OUTPUT_FOLDER = "/opt/ml/processing/output"
_STATE_NAME = 80
_TRANSIENT = [
    "SageMaker.AmazonSageMakerException",
    "SageMaker.ResourceLimitExceededException",
    "SageMaker.ThrottlingException",
]


def processing_steps(config: Config, purpose: str, *, image: str | None = None) -> list[Any]:
    """Return the steps of a purpose as states of the stepfunctions SDK, to be chained.

    Parameters
    ----------
    config : Config
        The project.
    purpose : str
        The purpose's name.
    image : str, optional
        The image's address with digest; by default the one that the purpose's present content
        makes.

    Returns
    -------
    list of stepfunctions.steps.states.State
        A Task for a step, a Parallel for steps that run side by side. Put states of your own
        before, after or between them.

    Examples
    --------
    >>> Chain([*processing_steps(config, "forecast"), Wait("Rest", seconds=60)])  # doctest: +SKIP
    """
    with quiet_sdk():
        pinned = _pinned(config, purpose, image)
        return _states(config, purpose, config.purposes[purpose].plan, pinned)


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
        As in `processing_steps`.

    Returns
    -------
    stepfunctions.steps.Task
        ``sagemaker:createProcessingJob.sync`` with retries; chain it, add to it.
    """
    with quiet_sdk():
        return _task(config, purpose, step, _pinned(config, purpose, image))


def _pinned(config: Config, purpose: str, image: str | None) -> PinnedImage:
    return PinnedImage(image, "") if image else image_for(config, purpose)


def _states(config: Config, purpose: str, sequence: Any, image: PinnedImage) -> list[Any]:
    from stepfunctions.steps import Chain, Parallel

    states = []
    for one in sequence:
        if isinstance(one, Step):
            states.append(_task(config, purpose, one, image))
            continue
        branches = [
            _states(config, purpose, [branch] if isinstance(branch, Step) else branch, image)
            for branch in one
        ]
        names = " and ".join(branch[0].state_id for branch in branches)
        parallel = Parallel(shorten(names, _STATE_NAME), result_path="$.side_by_side")
        for branch in branches:
            parallel.add_branch(Chain(branch))
        states.append(parallel)
    return states


def _task(config: Config, purpose: str, step: Step, image: PinnedImage) -> Any:
    from stepfunctions.steps import Retry, Task

    names = Names.of(config, purpose)
    task = Task(
        step.name,
        resource=names.arn("states", "sagemaker:createProcessingJob.sync", "", region=""),
        parameters=job_request(config, purpose, step, image),
        timeout_seconds=step.max_runtime_seconds + _SLACK_SECONDS,
        result_path="$.job",
    )
    for errors, attempts in (
        (_TRANSIENT, step.retries.count),
        (["States.TaskFailed"], step.retries.failed_jobs),
    ):
        if attempts:
            task.add_retry(
                Retry(
                    error_equals=errors,
                    interval_seconds=step.retries.interval_seconds,
                    backoff_rate=step.retries.backoff,
                    max_attempts=attempts,
                )
            )
    return task


def job_request(config: Config, purpose: str, step: Step, image: PinnedImage) -> dict[str, Any]:
    """Return the CreateProcessingJob request of a step, as Step Functions parameters."""
    names = Names.of(config, purpose)
    settings = config.purposes[purpose]
    kms = config.kms_of(purpose, step)
    cluster: dict[str, Any] = {
        "InstanceCount": step.instance_count,
        "InstanceType": step.instance_type,
        "VolumeSizeInGB": step.volume_size_gb,
    }
    if kms.volume:
        cluster["VolumeKmsKeyId"] = kms.volume
    outputs: dict[str, Any] = {"Outputs": [_output(config, names, settings, step)]}
    if kms.output:
        outputs["KmsKeyId"] = kms.output
    request: dict[str, Any] = {
        # Unique for every attempt: 24 + 1 + 1 + 1 + 36 characters, SageMaker's 63.
        "ProcessingJobName.$": f"States.Format('{names.job_prefix(step.name)}-{{}}-{{}}', "
        "$$.State.RetryCount, States.UUID())",
        "RoleArn": role_arn("job", config, names, "${AWS::AccountId}"),
        "AppSpecification": {
            "ImageUri": image.uri,
            "ContainerEntrypoint": [
                "python3",
                "-m",
                "batcat_runtime.job",
                f"{SCRIPT_FOLDER}/{step.script}",
            ],
        },
        "ProcessingResources": {"ClusterConfig": cluster},
        "StoppingCondition": {"MaxRuntimeInSeconds": step.max_runtime_seconds},
        "Environment": _environment(config, purpose, step, image),
        "ProcessingInputs": [
            _input(config, names, name, one) for name, one in settings.inputs_of(step).items()
        ],
        "ProcessingOutputConfig": outputs,
        "Tags": tag_list(config),
    }
    if step.arguments:
        request["AppSpecification"]["ContainerArguments"] = list(step.arguments)
    network = _network(config, purpose, step)
    if network:
        request["NetworkConfig"] = network
    return request


def _environment(config: Config, purpose: str, step: Step, image: PinnedImage) -> dict[str, str]:
    return {
        **step.environment,
        # boto3 reads this one; SageMaker itself may set AWS_REGION only.
        "AWS_DEFAULT_REGION": config.region,
        "BATCAT_PURPOSE": purpose,
        "BATCAT_STEP": step.name,
        "BATCAT_IMAGE": image.uri,
        "BATCAT_CODE_SHA256": image.code_sha256,
        "BATCAT_CONFIG_SHA256": config.sha256_of(purpose),
        "BATCAT_RUN_ID.$": "$$.Execution.Name",
        "BATCAT_RUN_STARTED.$": "$$.Execution.StartTime",
        "BATCAT_DATE_START.$": "$.date_start",
        "BATCAT_DATE_END.$": "$.date_end",
        "BATCAT_PARAMETERS.$": "States.JsonToString($.params)",
    }


def _input(config: Config, names: Names, name: str, source: Input) -> dict[str, Any]:
    # The slash at the end counts: "run=a" is a prefix of "run=ab" too.
    place = (
        {"S3Uri.$": _work(config, names, source.step, "/")} if source.step else {"S3Uri": source.s3}
    )
    return {
        "InputName": name,
        "S3Input": {
            **place,
            "LocalPath": f"{_INPUT_FOLDER}/{name}",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
            "S3DataDistributionType": "ShardedByS3Key" if source.sharded else "FullyReplicated",
        },
    }


def _output(config: Config, names: Names, purpose: Purpose, step: Step) -> dict[str, Any]:
    """Return where a step's output goes: to the results, or to a place of this very run."""
    last = purpose.last_steps
    if step.name in last:
        results = f"s3://{config.result_s3_bucket}/{names.result_prefix}"
        place = {"S3Uri": results if len(last) == 1 else f"{results}/{step.name}"}
    else:
        place = {"S3Uri.$": _work(config, names, step.name)}
    return {
        "OutputName": "result",
        "S3Output": {**place, "LocalPath": _OUTPUT_FOLDER, "S3UploadMode": "EndOfJob"},
    }


def _work(config: Config, names: Names, step: str, end: str = "") -> str:
    """Return the place of a step's output in this very run, so that no two runs mix."""
    prefix = f"s3://{config.result_s3_bucket}/{names.work_prefix(step)}"
    return f"States.Format('{prefix}/run={{}}{end}', $$.Execution.Name)"


def _network(config: Config, purpose: str, step: Step) -> dict[str, Any]:
    network = config.network_of(purpose, step)
    if network is None:
        return {}
    settings: dict[str, Any] = {"EnableNetworkIsolation": network.isolation}
    if network.encrypt_traffic:
        settings["EnableInterContainerTrafficEncryption"] = True
    if network.subnets:
        settings["VpcConfig"] = {
            "Subnets": list(network.subnets),
            "SecurityGroupIds": list(network.security_group_ids),
        }
    return settings
