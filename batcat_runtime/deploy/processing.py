"""The steps of a purpose as states of the SDKs, one SageMaker processing job each.

`processing_steps` gives all of them in order, those that run side by side as one Parallel state;
`processing_step` gives a single one: a `sagemaker.processing.Processor` in a
`stepfunctions.steps.ProcessingStep`. Chain them with any other state of the SDK.

Both SDKs take four seconds to import, and say a lot then; so they are imported inside the functions
that author, within `quiet_sdk`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

from batcat_runtime.config import Config, Input, Step
from batcat_runtime.deploy.context import SCRIPT_FOLDER, code_sha256
from batcat_runtime.deploy.parameters import tags_of
from batcat_runtime.deploy.spark import INPUT_FOLDER, SUBMIT, code_inputs, spark_image
from batcat_runtime.names import Names, partition_of, shorten

IMAGE, JOB_ROLE = "${ImageUri}", "${JobRoleArn}"  # CloudFormation puts them in
_SLACK_SECONDS = 1800  # for starting instances and moving data, beyond the job's own max runtime
_OUTPUT_FOLDER = "/opt/ml/processing/output"
_STATE_NAME = 80
_TRANSIENT = [
    "SageMaker.AmazonSageMakerException",
    "SageMaker.ResourceLimitExceededException",
    "SageMaker.ThrottlingException",
]


class Dynamic(str):
    """A text that Step Functions computes when it runs: a path, or an intrinsic function.

    The SDKs pass it through as the text that it is; `definition_of` writes its key with ``.$``.
    """

    __slots__ = ()


@contextlib.contextmanager
def quiet_sdk(region: str) -> Iterator[None]:
    """Have the SDKs at hand within the block, for a region, without what they print."""
    before = os.environ.get("AWS_DEFAULT_REGION")
    os.environ.setdefault("SAGEMAKER_SUPPRESS_V2_WARNING", "1")
    os.environ["AWS_DEFAULT_REGION"] = region  # for what an author makes with a session of its own
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from stepfunctions.steps import integration_resources

            # For each state, stepfunctions 2.3 reads botocore's list of all regions four times.
            reads_regions = integration_resources.get_aws_partition
            integration_resources.get_aws_partition = lambda: partition_of(region)
            try:
                yield
            finally:
                integration_resources.get_aws_partition = reads_regions
    finally:
        logging.disable(level)
        os.environ.pop("AWS_DEFAULT_REGION")
        if before is not None:
            os.environ["AWS_DEFAULT_REGION"] = before


def processing_steps(config: Config, purpose: str, *, image: str | None = None) -> list[Any]:
    """Return the steps of a purpose as states of the stepfunctions SDK, to be chained.

    Parameters
    ----------
    config : Config
        The project.
    purpose : str
        The purpose's name.
    image : str, optional
        Another image than the project's own; steps on Spark run in AWS's.

    Returns
    -------
    list of stepfunctions.steps.states.State
        A ProcessingStep for a step, a Parallel for steps that run side by side. Put states of your
        own before, after or between them.

    Examples
    --------
    >>> Chain([*processing_steps(config, "forecast"), Wait("Rest", seconds=60)])  # doctest: +SKIP
    """
    with quiet_sdk(config.region):
        return _Author(config, purpose, image or IMAGE).states(config.purposes[purpose].plan)


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
    stepfunctions.steps.ProcessingStep
        ``sagemaker:createProcessingJob.sync`` with retries; chain it, add to it.
    """
    with quiet_sdk(config.region):
        return _Author(config, purpose, image or IMAGE).state(step)


class _Author:
    """Makes the states of a purpose."""

    def __init__(self, config: Config, purpose: str, image: str) -> None:
        self._config = config
        self._purpose = purpose
        self._settings = config.purposes[purpose]
        self._names = Names.of(config, purpose)
        self._image = image
        self._code = code_sha256(config, purpose) if image == IMAGE else ""

    def states(self, sequence: Any) -> list[Any]:
        """Return what runs in order: a state for a step, a Parallel for what is side by side."""
        from stepfunctions.steps import Chain, Parallel

        states = []
        for one in sequence:
            if isinstance(one, Step):
                states.append(self.state(one))
                continue
            branches = [
                self.states([branch] if isinstance(branch, Step) else branch) for branch in one
            ]
            names = " and ".join(branch[0].state_id for branch in branches)
            parallel = Parallel(shorten(names, _STATE_NAME), result_path="$.side_by_side")
            for branch in branches:
                parallel.add_branch(Chain(branch))
            states.append(parallel)
        return states

    def state(self, step: Step) -> Any:
        """Return a step's state."""
        from stepfunctions.steps import ProcessingStep, Retry

        inputs, on_spark = self._settings.inputs_of(step), step.engine == "spark"
        start = self._names.job_name(step.name)
        state = ProcessingStep(
            step.name,
            processor=self._processor(step),
            # Unique for every attempt: 24 + 1 + 1 + 1 + 36 characters, SageMaker's 63.
            job_name=Dynamic(
                f"States.Format('{start}-{{}}-{{}}', $$.State.RetryCount, States.UUID())"
            ),
            inputs=[
                *(self._input(name, one, step) for name, one in inputs.items()),
                *(code_inputs(self._config, self._purpose, step) if on_spark else ()),
            ],
            outputs=[self._output(step)],
            container_entrypoint=[*SUBMIT, f"{INPUT_FOLDER}/code/{step.script}"]
            if on_spark
            else ["python3", "-m", "batcat_runtime.job", f"{SCRIPT_FOLDER}/{step.script}"],
            container_arguments=list(step.arguments) or None,
            kms_key_id=self._config.kms_of(self._purpose, step).output,
            timeout_seconds=step.max_runtime_seconds + _SLACK_SECONDS,
            result_path="$.job",
        )
        for errors, attempts in (
            (_TRANSIENT, step.retries.count),
            (["States.TaskFailed"], step.retries.failed_jobs),
        ):
            if attempts:
                state.add_retry(
                    Retry(
                        error_equals=errors,
                        interval_seconds=step.retries.interval_seconds,
                        backoff_rate=step.retries.backoff,
                        max_attempts=attempts,
                    )
                )
        return state

    def _processor(self, step: Step) -> Any:
        from sagemaker.network import NetworkConfig
        from sagemaker.processing import Processor

        config, tags = self._config, tags_of(self._config, self._purpose)
        network = config.network_of(self._purpose, step)
        return Processor(
            role=JOB_ROLE,
            image_uri=self._image_of(step),
            instance_count=step.instance_count,
            instance_type=step.instance_type,
            volume_size_in_gb=step.volume_size_gb,
            volume_kms_key=config.kms_of(self._purpose, step).volume,
            max_runtime_in_seconds=step.max_runtime_seconds,
            env=self._environment(step),
            tags=[{"Key": key, "Value": text} for key, text in sorted(tags.items())],
            network_config=NetworkConfig(
                enable_network_isolation=network.isolation,
                encrypt_inter_container_traffic=network.encrypt_traffic or None,
                subnets=list(network.subnets) or None,
                security_group_ids=list(network.security_group_ids) or None,
            )
            if network
            else None,
            sagemaker_session=_sagemaker_session(config.region, config.result_s3_bucket),
        )

    def _environment(self, step: Step) -> dict[str, str]:
        return {
            **step.environment,
            # boto3 reads this one; SageMaker itself may set AWS_REGION only.
            "AWS_DEFAULT_REGION": self._config.region,
            "BATCAT_PURPOSE": self._purpose,
            "BATCAT_STEP": step.name,
            "BATCAT_IMAGE": self._image_of(step),
            **({"BATCAT_ENGINE": "spark"} if step.engine == "spark" else {}),
            "BATCAT_CODE_SHA256": self._code,
            "BATCAT_CONFIG_SHA256": self._config.sha256_of(self._purpose),
            "BATCAT_RUN_ID": Dynamic("$$.Execution.Name"),
            "BATCAT_RUN_STARTED": Dynamic("$$.Execution.StartTime"),
            "BATCAT_DATE_START": Dynamic("$.date_start"),
            "BATCAT_DATE_END": Dynamic("$.date_end"),
            "BATCAT_PARAMETERS": Dynamic("States.JsonToString($.params)"),
        }

    def _image_of(self, step: Step) -> str:
        """Return the image of a step: on Spark AWS's own."""
        return spark_image(self._config) if step.engine == "spark" else self._image

    def _input(self, name: str, source: Input, step: Step) -> Any:
        from sagemaker.processing import ProcessingInput

        return ProcessingInput(
            # Spark reads S3 itself: nothing is downloaded.
            app_managed=step.engine == "spark",
            # The slash at the end counts: "run=a" is a prefix of "run=ab" too.
            source=self._work(source.step, "/") if source.step else source.s3,
            destination=f"{INPUT_FOLDER}/{name}",
            input_name=name,
            s3_data_type="S3Prefix",
            s3_input_mode="File",
            s3_data_distribution_type="ShardedByS3Key" if source.sharded else "FullyReplicated",
        )

    def _output(self, step: Step) -> Any:
        """Return where a step's output goes: to the results, or to a place of this very run."""
        from sagemaker.processing import ProcessingOutput

        last, place = self._settings.last_steps, self._work(step.name)
        if step.name in last:
            results = f"s3://{self._config.result_s3_bucket}/{self._names.result_prefix}"
            place = results if len(last) == 1 else f"{results}/{step.name}"
        return ProcessingOutput(source=_OUTPUT_FOLDER, destination=place, output_name="result")

    def _work(self, step: str, end: str = "") -> str:
        """Return the place of a step's output in this very run, so that no two runs mix."""
        prefix = f"s3://{self._config.result_s3_bucket}/{self._names.work_prefix(step)}"
        return Dynamic(f"States.Format('{prefix}/run={{}}{end}', $$.Execution.Name)")


@cache
def _sagemaker_session(region: str, bucket: str) -> Any:
    """Return a session of the SDK: without one, it would look for credentials and for a bucket."""
    import boto3
    from sagemaker import Session

    return Session(boto_session=boto3.Session(region_name=region), default_bucket=bucket)
