"""Steps on Spark: AWS's own image, and the code that such a step gets through S3.

No image is built for Spark. The script, and a zip archive of the runtime and the project's modules,
lie in the result bucket beside the definition, under keys that follow from their content; SageMaker
puts them into the container as it does with any input, and ``smspark-submit`` starts the script
with them. The image has pyspark, boto3, numpy and pandas (`IN_SPARK_IMAGE`); the contract of a job
needs no more.

Source: https://github.com/aws/sagemaker-spark-container, tag 3.5-cpu-py312-v1.3.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from batcat_runtime.config import Config, Step
from batcat_runtime.deploy.cloudformation import key_of
from batcat_runtime.deploy.context import modules_of, script_of
from batcat_runtime.errors import ConfigError
from batcat_runtime.names import partition_of

INPUT_FOLDER = "/opt/ml/processing/input"
SUBMIT = ("smspark-submit", "--py-files", f"{INPUT_FOLDER}/py-files")
_VERSION, _CONTAINER = "3.5", "v1.3"


def spark_image(config: Config) -> str:
    """Return the address of AWS's Spark image in a project's region.

    Raises
    ------
    ConfigError
        AWS has none there.
    """
    from sagemaker import image_uris

    known = image_uris.config_for_framework("spark")["processing"]["versions"][_VERSION]
    if config.region not in known["registries"]:
        there = [one for one in known["registries"] if partition_of(one) == config.partition]
        raise ConfigError(
            f"AWS has no image of Spark {_VERSION} in {config.region}.",
            fix=f"It has one in {', '.join(there)}.",
        )
    return str(
        image_uris.retrieve(
            "spark",
            config.region,
            version=_VERSION,
            instance_type="ml.m5.xlarge",
            py_version="py312",
            container_version=_CONTAINER,
        )
    )


def artifacts_of(config: Config, purpose: str) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of what a purpose's steps on Spark find in the result bucket."""
    steps = [step for step in config.purposes[purpose].steps if step.engine == "spark"]
    found = [one for step in steps for one in _artifacts(config, purpose, step).values()]
    yield from dict(found).items()


def code_inputs(config: Config, purpose: str, step: Step) -> list[Any]:
    """Return the inputs that bring a step its code; no input of a user's has such a name."""
    from sagemaker.processing import ProcessingInput

    return [
        ProcessingInput(
            source=f"s3://{config.result_s3_bucket}/{key_of(config, *artifact)}",
            destination=f"{INPUT_FOLDER}/{name}",
            input_name=f"spark.{name}",
        )
        for name, artifact in _artifacts(config, purpose, step).items()
    ]


def _artifacts(config: Config, purpose: str, step: Step) -> dict[str, tuple[str, bytes]]:
    """Return name and content of what a step gets, by the folder that its image looks for it in."""
    found = {
        "code": (f"spark/{step.script}", script_of(config, step.script)),
        "py-files": ("spark/modules.zip", modules_of(config)),
        "conf": _settings(config, purpose, step),
    }
    return {name: artifact for name, artifact in found.items() if artifact}


def _settings(config: Config, purpose: str, step: Step) -> tuple[str, bytes] | None:
    """Return the settings of Hadoop that encrypt with the step's key what Spark writes itself."""
    key = config.kms_of(purpose, step).output
    if key is None:
        return None
    properties = {"fs.s3a.encryption.algorithm": "SSE-KMS", "fs.s3a.encryption.key": key}
    content = [{"Classification": "core-site", "Properties": properties}]
    return f"spark/{step.name}/configuration.json", json.dumps(content).encode()
