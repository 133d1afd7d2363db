"""What AWS refuses by fixed limits, found before anything starts.

Jobs, schedules and stacks would be refused by AWS half-way through a deployment, or in the night.
`check_limits` runs in `batcat deploy`, `plan`, `doctor` and `rehearse`; a job does not check again.
Each rule yields its findings; a finding names the key, and a value that is legal.

Limits: SageMaker's and Step Functions' service models in botocore, and the AWS general reference.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import botocore.loaders

from batcat_runtime.config import CONFIG_PATH, Config
from batcat_runtime.deploy.parameters import parameters_of, tags_of
from batcat_runtime.deploy.processing import quiet_sdk
from batcat_runtime.deploy.schedule_expression import check_expression
from batcat_runtime.deploy.spark import spark_image
from batcat_runtime.errors import ConfigError

_PARTITIONS = ("aws", "aws-cn", "aws-us-gov")
_MOST_TAGS = 50
_MOST_PARAMETER = 4096
_MOST_INPUTS = 10
_CODE_INPUTS = 3  # a step on Spark gets its code as inputs


def check_limits(config: Config) -> None:
    """Refuse a configuration that AWS would refuse later.

    Raises
    ------
    ConfigError
        Every finding is listed, each with its key.
    """
    found = [finding for rule in RULES for finding in rule(config)]
    if found:
        raise ConfigError(
            f"AWS would refuse what {CONFIG_PATH.as_posix()} asks for:\n"
            + "\n".join(f"  - {finding}" for finding in found),
            fix="Mend the keys named above; nothing was changed.",
        )


def regions(config: Config) -> Iterator[str]:
    """Refuse a region that AWS does not have."""
    known = _regions()
    if config.region not in known:
        near = difflib.get_close_matches(config.region, known, n=1) or ["eu-central-1"]
        yield f"region: AWS has no region {config.region!r}; {near[0]!r} is one"


def tags(config: Config) -> Iterator[str]:
    """Refuse more than 50 tags on a resource; three of them are BatCat's."""
    count = len(tags_of(config, next(iter(config.purposes))))
    if count > _MOST_TAGS:
        more = count - _MOST_TAGS
        yield f"tags: AWS takes {_MOST_TAGS}, and three are BatCat's own; remove {more} or more"


def inputs(config: Config) -> Iterator[str]:
    """Refuse more than ten inputs of a processing job."""
    for key, purpose, step in _steps(config):
        count = len(config.purposes[purpose].inputs_of(step))
        most = _MOST_INPUTS - (_CODE_INPUTS if step.engine == "spark" else 0)
        if count > most:
            yield (
                f"{key}.inputs: SageMaker takes {most} inputs for this job, which has "
                f"{count}; put some under one prefix, or read them in the script"
            )


def spark(config: Config) -> Iterator[str]:
    """Refuse steps on Spark where AWS has no image for them, or where they reach no S3."""
    for key, purpose, step in _steps(config):
        if step.engine != "spark":
            continue
        try:
            with quiet_sdk(config.region):
                spark_image(config)
        except ConfigError as error:
            yield f"{key}.engine: {error.message} {error.fix}"
        network = config.network_of(purpose, step)
        if network and network.isolation:
            yield f"{key}.network.isolation: Spark reads S3 itself; use subnets with an endpoint"


def instance_types(config: Config) -> Iterator[str]:
    """Refuse an instance type that SageMaker does not have for processing jobs."""
    known = _instance_types()
    for key, _, step in _steps(config):
        if step.instance_type not in known:
            near = difflib.get_close_matches(step.instance_type, known, n=1) or ["ml.m5.xlarge"]
            yield (
                f"{key}.instance_type: SageMaker has no {step.instance_type!r} for processing "
                f"jobs; {near[0]!r} is one"
            )


def schedules(config: Config) -> Iterator[str]:
    """Refuse an expression that EventBridge Scheduler cannot read."""
    for name, purpose in config.purposes.items():
        if purpose.schedule is not None:
            try:
                check_expression(purpose.schedule.expression)
            except ConfigError as error:
                yield f"purposes.{name}.schedule.expression: {error.message} {error.fix}"


def parameter_lengths(config: Config) -> Iterator[str]:
    """Refuse what does not fit into a parameter of CloudFormation: 4,096 characters."""
    for name in config.purposes:
        if len(parameters_of(config, name)["Inputs"]) > _MOST_PARAMETER:
            yield (
                f"purposes.{name}: the inputs' prefixes are longer than {_MOST_PARAMETER} "
                "characters together; use fewer, shorter or common ones"
            )


Rule = Callable[[Config], Iterator[str]]
RULES: tuple[Rule, ...] = (
    *(regions, tags, inputs, spark, instance_types, schedules, parameter_lengths),
)


def _steps(config: Config) -> Iterator[tuple[str, str, Any]]:
    for name, purpose in config.purposes.items():
        for step in purpose.steps:
            yield f"purposes.{name}.steps.{step.name}", name, step


# Loaders, not sessions: what botocore knows does not depend on the profile in use.
@cache
def _instance_types() -> list[str]:
    model = botocore.loaders.create_loader().load_service_model("sagemaker", "service-2")
    return list(model["shapes"]["ProcessingInstanceType"]["enum"])


@cache
def _regions() -> list[str]:
    endpoints = botocore.loaders.create_loader().load_data("endpoints")
    known = [one for one in endpoints["partitions"] if one["partition"] in _PARTITIONS]
    return [region for partition in known for region in partition["regions"]]
