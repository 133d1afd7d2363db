"""What starts a workflow: a small Lambda function, and what invokes it.

The function is the project's own ``deploy/lambda/lambda_function.py``, sent inline (it needs
nothing but boto3). EventBridge Scheduler invokes it with the time that was scheduled, not the time
that it is, so a late run computes the day that it was meant for. The schedule is created switched
off unless the configuration says ``"enabled": true``; so is the rule of EventBridge that invokes
the function for each object that arrives under an S3 prefix. For that, the bucket must hand its
events to EventBridge, which `let_bucket_report` switches on without touching what else is set.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from batcat_runtime.config import Config, find_project, get_config
from batcat_runtime.deploy import planning
from batcat_runtime.deploy.naming import Names
from batcat_runtime.deploy.roles import (
    existing_role,
    role_resource,
    tag_list,
    with_substitutions,
)
from batcat_runtime.deploy.session import session_for
from batcat_runtime.deploy.stack import StackChange, deploy_stack
from batcat_runtime.errors import AccessDeniedError, ConfigError

HANDLER_FILE = Path("deploy") / "lambda" / "lambda_function.py"
_INLINE_CHARACTERS = 4_194_304  # CloudFormation's limit for Code.ZipFile
_RUNTIME = "python3.12"
_TIMEOUT_SECONDS = 30


def setup_trigger(
    config: Config | None = None,
    purpose: str | None = None,
    *,
    handler: Path | None = None,
    progress: Callable[[str], None] = print,
) -> StackChange:
    """Deploy what starts a purpose's workflow: the Lambda function, its role, log group, schedule.

    Parameters
    ----------
    config : Config, optional
        By default that of the project around the working directory.
    purpose : str, optional
        May be left out when the project has one.
    handler : Path, optional
        The Python file with ``lambda_handler(event, context)``; by default the project's
        ``deploy/lambda/lambda_function.py``.
    progress : callable
        Called with a line at each stage.

    Returns
    -------
    StackChange
        ``created``, ``updated`` or ``unchanged``.

    Raises
    ------
    ConfigError
        The handler's file is missing, too long or no Python.
    StackError
        CloudFormation rolled back.
    """
    config = config or get_config()
    purpose = config.purpose_name(purpose)
    names = Names.of(config, purpose)
    code = _read_handler(handler or find_project() / HANDLER_FILE)
    uploads = config.purposes[purpose].s3_trigger
    if uploads is not None:
        let_bucket_report(session_for(config.region).client("s3"), uploads.bucket, progress)
    change = deploy_stack(
        session_for(config.region).client("cloudformation"),
        names.trigger_stack,
        trigger_template(config, purpose, code),
        tags=tag_list(config),
        progress=progress,
    )
    progress(f"stack {change.stack}: {change.outcome}")
    return change


def trigger_template(config: Config, purpose: str, code: str) -> dict[str, Any]:
    """Return the CloudFormation template of a purpose's trigger.

    Parameters
    ----------
    config : Config
        The project.
    purpose : str
        The purpose's name.
    code : str
        The Lambda function's source.
    """
    names = Names.of(config, purpose)
    schedule, uploads = config.purposes[purpose].schedule, config.purposes[purpose].s3_trigger
    arn = names.arn("states", f"stateMachine:{names.state_machine}", "${AWS::AccountId}")
    resources: dict[str, Any] = {
        "FunctionLogGroup": {
            "Type": "AWS::Logs::LogGroup",
            "Properties": {
                "LogGroupName": names.function_log_group,
                "RetentionInDays": 90,
                "Tags": tag_list(config),
            },
        },
        "Function": {
            "Type": "AWS::Lambda::Function",
            "DependsOn": ["FunctionLogGroup"],
            "Properties": {
                "FunctionName": names.function,
                "Description": f"Starts {names.state_machine}",
                "Runtime": _RUNTIME,
                # Inline code always lands in index.py.
                "Handler": "index.lambda_handler",
                "Code": {"ZipFile": code},
                "Timeout": _TIMEOUT_SECONDS,
                "MemorySize": 128,
                "Role": _role(config, "trigger"),
                "Environment": {
                    "Variables": {
                        "STATE_MACHINE_ARN": with_substitutions(arn),
                        "TIMEZONE": schedule.timezone if schedule else "UTC",
                        "WINDOW_DAYS": str(schedule.window_days if schedule else 1),
                        **({"UPLOAD_PREFIX": uploads.key_prefix} if uploads else {}),
                    }
                },
                "Tags": tag_list(config),
            },
        },
    }
    if existing_role(config, "trigger") is None:
        resources["TriggerRole"] = role_resource("trigger", config, names)
    if schedule is not None:
        resources["Schedule"] = {
            "Type": "AWS::Scheduler::Schedule",
            "Properties": {
                "Name": names.schedule,
                "Description": f"When {names.state_machine} runs",
                "ScheduleExpression": schedule.expression,
                "ScheduleExpressionTimezone": schedule.timezone,
                "State": "ENABLED" if schedule.enabled else "DISABLED",
                "FlexibleTimeWindow": {"Mode": "OFF"},
                "Target": {
                    "Arn": {"Fn::GetAtt": ["Function", "Arn"]},
                    "RoleArn": _role(config, "schedule"),
                    "Input": json.dumps({"scheduled_time": "<aws.scheduler.scheduled-time>"}),
                },
            },
        }
        if existing_role(config, "schedule") is None:
            resources["ScheduleRole"] = role_resource("schedule", config, names)
    resources |= _upload_rule(config, names)
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"BatCat trigger of {names.state_machine}",
        "Resources": resources,
        "Outputs": {"FunctionArn": {"Value": {"Fn::GetAtt": ["Function", "Arn"]}}},
    }


def _upload_rule(config: Config, names: Names) -> dict[str, Any]:
    """Return the rule that invokes the function for uploads, and its permission to do so."""
    trigger = config.purposes[names.purpose].s3_trigger
    if trigger is None:
        return {}
    detail: dict[str, Any] = {"bucket": {"name": [trigger.bucket]}}
    if trigger.key_prefix:
        detail["object"] = {"key": [{"prefix": trigger.key_prefix}]}
    function = {"Fn::GetAtt": ["Function", "Arn"]}
    return {
        "UploadRule": {
            "Type": "AWS::Events::Rule",
            "Properties": {
                "Name": names.rule,
                "Description": f"Starts {names.state_machine} for objects under {trigger.prefix}",
                "State": "ENABLED" if trigger.enabled else "DISABLED",
                "EventPattern": {
                    "source": ["aws.s3"],
                    "detail-type": ["Object Created"],
                    "detail": detail,
                },
                "Targets": [{"Id": "trigger", "Arn": function}],
            },
        },
        "UploadPermission": {
            "Type": "AWS::Lambda::Permission",
            "Properties": {
                "Action": "lambda:InvokeFunction",
                "FunctionName": function,
                "Principal": "events.amazonaws.com",
                "SourceArn": {"Fn::GetAtt": ["UploadRule", "Arn"]},
            },
        },
    }


def let_bucket_report(s3: Any, bucket: str, progress: Callable[[str], None] = print) -> bool:
    """Let a bucket send its events to EventBridge, unless it does so already.

    Parameters
    ----------
    s3 : botocore client
        For S3.
    bucket : str
        The bucket.
    progress : callable
        Called with a line when something was changed.

    Returns
    -------
    bool
        Whether it was switched on now. Notifications that were there stay.

    Raises
    ------
    AccessDeniedError
        The bucket is not ours to configure.
    """
    from botocore.exceptions import ClientError

    try:
        present = s3.get_bucket_notification_configuration(Bucket=bucket)
        present.pop("ResponseMetadata", None)
        if "EventBridgeConfiguration" in present:
            return False
        if planning.is_planning():
            planning.note("bucket", bucket=bucket)
            return False
        s3.put_bucket_notification_configuration(
            Bucket=bucket,
            NotificationConfiguration={**present, "EventBridgeConfiguration": {}},
            # What was there was accepted before; it is not for us to test it again.
            SkipDestinationValidation=True,
        )
    except ClientError as error:
        raise AccessDeniedError(
            f"The events of the bucket {bucket} cannot be switched on: {error}",
            fix="Ask its owner to send them to EventBridge (bucket properties, Amazon "
            "EventBridge: on), or take s3_trigger out of script/config.json.",
        ) from error
    progress(f"bucket {bucket}: now sends its events to EventBridge")
    return True


def _role(config: Config, role: str) -> Any:
    return existing_role(config, role) or {"Fn::GetAtt": [f"{role.capitalize()}Role", "Arn"]}


def _read_handler(path: Path) -> str:
    try:
        code = path.read_text(encoding="utf-8")
        compile(code, str(path), "exec")
    except FileNotFoundError as error:
        raise ConfigError(
            f"There is no {path}.", fix="Restore it from git or from the template."
        ) from error
    except SyntaxError as error:
        raise ConfigError(f"{path} is no Python: line {error.lineno}: {error.msg}.") from error
    if len(code) > _INLINE_CHARACTERS:
        raise ConfigError(f"{path} is too long for an inline function ({len(code):,} characters).")
    return code
