"""What starts a workflow: a small Lambda function, and what invokes it.

The function is the project's own ``deploy/lambda/``, which needs nothing but boto3. EventBridge
Scheduler invokes it with the time that was scheduled, not the time that it is, so a late run
computes the day that it was meant for. The schedule is created switched off unless the
configuration says ``"enabled": true``; so is the rule of EventBridge that invokes the function for
each object that arrives under an S3 prefix. For that, the bucket must hand its events to
EventBridge, which `let_bucket_report` switches on without touching what else is set.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from batcat_runtime.config import Config, get_config
from batcat_runtime.deploy.cloudformation import check_python, deploy_part
from batcat_runtime.deploy.parameters import given_roles, parameters_of
from batcat_runtime.deploy.stack import NEW_ROLE, StackChange
from batcat_runtime.deploy.workflow import roles_of
from batcat_runtime.io import clients
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.log import report

HANDLER_FILE = Path("deploy") / "lambda" / "lambda_function.py"


def setup_trigger(
    config: Config | None = None,
    purpose: str | None = None,
    *,
    planned: bool = False,
) -> StackChange:
    """Deploy what starts a purpose's workflow: the Lambda function, its log group, schedule, rule.

    Parameters
    ----------
    config : Config, optional
        By default that of the project around the working directory.
    purpose : str, optional
        May be left out when the project has one.
    planned : bool
        Only find out what would change.

    Returns
    -------
    StackChange
        ``created``, ``updated`` or ``unchanged``.

    Raises
    ------
    ConfigError
        The handler's file is missing or no Python.
    StackError
        CloudFormation rolled back.
    """
    config = config or get_config()
    purpose = config.purpose_name(purpose)
    check_python(config.folder / HANDLER_FILE)
    uploads = config.purposes[purpose].s3_trigger
    if uploads is not None and not planned:
        let_bucket_report(clients.client("s3", region=config.region), uploads.bucket)
    return deploy_part(
        config,
        "trigger",
        {**parameters_of(config, purpose), **roles_of(config, purpose, planned=planned)},
        purpose=purpose,
        planned=planned,
        pauses=() if given_roles(config) else NEW_ROLE,
    )


def let_bucket_report(s3: Any, bucket: str) -> bool:
    """Let a bucket send its events to EventBridge, unless it does so already.

    Parameters
    ----------
    s3 : botocore client
        For S3.
    bucket : str
        The bucket.

    Returns
    -------
    bool
        Whether it was switched on now. Notifications that were there stay.

    Raises
    ------
    AccessDeniedError
        The bucket is not ours to configure.
    """
    with translated(f"the events of the bucket {bucket}", "s3:PutBucketNotification"):
        present = s3.get_bucket_notification_configuration(Bucket=bucket)
        present.pop("ResponseMetadata", None)
        if "EventBridgeConfiguration" in present:
            return False
        s3.put_bucket_notification_configuration(
            Bucket=bucket,
            NotificationConfiguration={**present, "EventBridgeConfiguration": {}},
            # What was there was accepted before; it is not for us to test it again.
            SkipDestinationValidation=True,
        )
    report(f"bucket {bucket}: now sends its events to EventBridge")
    return True


def silent_buckets(config: Config) -> list[str]:
    """Return the buckets that purposes watch and that do not send their events yet."""
    s3 = clients.client("s3", region=config.region)
    watched = {one.s3_trigger.bucket for one in config.purposes.values() if one.s3_trigger}
    found = []
    for bucket in sorted(watched):
        with translated(f"s3://{bucket}", "s3:GetBucketNotification"):
            present = s3.get_bucket_notification_configuration(Bucket=bucket)
        if "EventBridgeConfiguration" not in present:
            found.append(bucket)
    return found
