"""What the project's CloudFormation is told: one set of parameters for all templates of a purpose.

Each template takes those that it declares. All but the roles' ARNs, the image and the definition
follow from ``script/config.json`` alone. A deployment writes the whole set to
``deploy/build/<purpose>.parameters.json``, as ``aws cloudformation deploy --parameter-overrides
file://...`` reads it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from batcat_runtime.config import Config
from batcat_runtime.names import Names, slug

BUILD = Path("deploy") / "build"


def parameters_of(config: Config, purpose: str) -> dict[str, str]:
    """Return the parameters that follow from the configuration."""
    names, settings = Names.of(config, purpose), config.purposes[purpose]
    schedule, uploads = settings.schedule, settings.s3_trigger
    networks = [config.network_of(purpose, step) for step in settings.steps]
    return {
        "Bucket": config.result_s3_bucket,
        "BuildPrefix": names.build_prefix,
        "Repository": names.repository,
        "BuilderName": names.builder,
        "ResultPrefix": names.result_prefix,
        "WorkPrefix": names.work_prefix("").rstrip("/"),
        "JobPrefix": names.job_prefix,
        "StateMachineName": names.state_machine,
        "BackfillMachineName": names.backfill_machine,
        "FunctionName": names.function,
        "ScheduleName": names.schedule,
        "UploadRuleName": names.rule,
        **_places(config, purpose, names),
        "KmsKeys": ",".join(sorted(_keys(config, purpose, names))),
        "InVpc": "yes" if any(one and one.subnets for one in networks) else "no",
        "OnSpark": "yes" if any(step.engine == "spark" for step in settings.steps) else "no",
        "PermissionsBoundary": config.permissions_boundary or "",
        "BuildRoleArn": config.build_role or "",
        "AlertEmail": config.alert_email or "",
        "ScheduleExpression": schedule.expression if schedule else "",
        "ScheduleState": "ENABLED" if schedule and schedule.enabled else "DISABLED",
        "Timezone": schedule.timezone if schedule else "UTC",
        "WindowDays": str(schedule.window_days if schedule else 1),
        "UploadBucket": uploads.bucket if uploads else "",
        "UploadPrefix": uploads.key_prefix if uploads else "",
        "UploadState": "ENABLED" if uploads and uploads.enabled else "DISABLED",
    }


def given_roles(config: Config) -> dict[str, str]:
    """Return the ARNs of the roles that the configuration names; empty when they are to be made."""
    workflow = config.workflow_execution_role
    if workflow is None:
        return {}
    trigger = config.trigger_role or workflow
    return {
        "WorkflowRoleArn": workflow,
        "JobRoleArn": config.job_role or workflow,
        "TriggerRoleArn": trigger,
        "ScheduleRoleArn": config.schedule_role or trigger,
    }


def tags_of(config: Config, purpose: str | None = None) -> dict[str, str]:
    """Return the tags of a stack and all in it: whose it is, and those of the configuration."""
    tags = {
        "batcat:project": slug(config.project),
        "batcat:bucket": config.result_s3_bucket,
        **({"batcat:purpose": slug(purpose)} if purpose else {}),
    }
    return {**config.tags, **tags}


def write_parameters(config: Config, purpose: str, parameters: Mapping[str, str]) -> Path:
    """Write a purpose's parameters where the AWS CLI finds them."""
    path = config.folder / BUILD / f"{purpose}.parameters.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{key}={value}" for key, value in sorted(parameters.items())]
    path.write_text(json.dumps(lines, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read_parameters(config: Config, purpose: str) -> dict[str, str]:
    """Return what was written last."""
    path = config.folder / BUILD / f"{purpose}.parameters.json"
    lines = (line.partition("=") for line in json.loads(path.read_text(encoding="utf-8")))
    return {key: value for key, _, value in lines}


def _places(config: Config, purpose: str, names: Names) -> dict[str, str]:
    """Return the ARNs of what the jobs read: buckets, and the keys in them."""
    steps = config.purposes[purpose].steps
    inputs = {uri for step in steps for uri in step.places}
    if any(step.engine == "spark" for step in steps):  # SageMaker fetches their code as an input
        inputs.add(f"s3://{config.result_s3_bucket}/{names.build_prefix}/")
    places = sorted({uri.removeprefix("s3://") for uri in inputs})
    buckets = sorted({config.result_s3_bucket, *(one.partition("/")[0] for one in places)})
    if not places:
        places = [f"{config.result_s3_bucket}/{names.work_prefix('')}"]
    start = f"arn:{names.partition}:s3:::"
    return {
        "InputBuckets": ",".join(f"{start}{one}" for one in buckets),
        "Inputs": ",".join(f"{start}{one if '/' in one else f'{one}/'}*" for one in places),
    }


def _keys(config: Config, purpose: str, names: Names) -> set[str]:
    """Return the ARNs of the keys that the jobs use, whichever account they are of.

    IAM takes no alias for a key: an alias opens all keys to the role, and each key's own policy
    says who may use it.
    """
    kms = [config.kms_of(purpose, step) for step in config.purposes[purpose].steps]
    given = {one for pair in kms for one in (pair.volume, pair.output) if one}
    arns = {key for key in given if key.startswith("arn:")}
    for key in given - arns:
        alias = key.startswith("alias/")
        arns.add(names.arn("kms", key if alias else f"key/{key}", "*"))
    if any(":alias/" in arn for arn in arns):
        arns.add(names.arn("kms", "key/*", "*"))
    return arns
