"""The state machine of a purpose's backfills: one Distributed Map over a list of windows in S3.

Each window is a child execution that starts one execution of the purpose's own workflow and waits
for it. That execution's name follows from the window, the parameters and the attempt, and Step
Functions starts a name once: whoever comes second with the same input waits for the same execution,
or finds that it has ended, which is fine too. The stepfunctions SDK has no word for any of this, so
the definition is data.

Limits that shape it (Step Functions, service quotas): 10,000 children at once; 256 KiB for what a
state returns, so a child returns one digit; 25,000 events of history, of which a Distributed Map
needs a handful whatever its size.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

from batcat_runtime.config import Config
from batcat_runtime.deploy.naming import Names
from batcat_runtime.deploy.policies.backfill import LABEL
from batcat_runtime.deploy.roles import (
    BACKFILL,
    existing_role,
    role_resource,
    tag_list,
    with_substitutions,
)
from batcat_runtime.deploy.stack import deploy_stack, stack_status
from batcat_runtime.errors import StackError

MOST_AT_ONCE = 10_000
MOST_WINDOWS = 100_000
_ACCOUNT = "${AWS::AccountId}"
_RETRIED = [
    "StepFunctions.AWSStepFunctionsException",
    "StepFunctions.ExecutionLimitExceededException",
    "StepFunctions.SdkClientException",
]


def backfill_definition(names: Names, account: str = _ACCOUNT) -> dict[str, Any]:
    """Return the definition in Amazon States Language.

    An execution's input has ``bucket`` and ``key`` of the list, ``concurrency`` and ``params``.
    """
    resource = f"arn:{names.partition}:states:::"
    run = {
        "Type": "Task",
        "Resource": f"{resource}states:startExecution.sync:2",
        "Parameters": {
            "StateMachineArn": names.arn("states", f"stateMachine:{names.state_machine}", account),
            "Name.$": "$.name",
            # Nothing of this backfill's own: the same input again is the same execution.
            "Input": {
                "date_start.$": "$.date_start",
                "date_end.$": "$.date_end",
                "params.$": "$.params",
            },
        },
        "Retry": [
            {
                "ErrorEquals": _RETRIED,
                "IntervalSeconds": 5,
                "BackoffRate": 2,
                "MaxAttempts": 6,
                "JitterStrategy": "FULL",
            }
        ],
        "Catch": [
            {
                "ErrorEquals": ["StepFunctions.ExecutionAlreadyExistsException"],
                "ResultPath": None,
                "Next": "Done",
            }
        ],
        "ResultPath": None,
        "Next": "Done",
    }
    windows = {
        "Type": "Map",
        "Label": LABEL,
        "ItemReader": {
            "Resource": f"{resource}s3:getObject",
            "ReaderConfig": {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"},
            "Parameters": {"Bucket.$": "$.bucket", "Key.$": "$.key"},
        },
        "ItemSelector": {
            "name.$": "$$.Map.Item.Value.name",
            "date_start.$": "$$.Map.Item.Value.date_start",
            "date_end.$": "$$.Map.Item.Value.date_end",
            "params.$": "$.params",
        },
        "MaxConcurrencyPath": "$.concurrency",
        "ToleratedFailurePercentage": 100,
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "Run",
            "States": {"Run": run, "Done": {"Type": "Pass", "Result": 0, "End": True}},
        },
        "ResultPath": None,
        "End": True,
    }
    return {
        "Comment": f"Backfills of {names.state_machine}",
        "StartAt": "Windows",
        "States": {"Windows": windows},
    }


def backfill_template(config: Config, purpose: str) -> dict[str, Any]:
    """Return the CloudFormation template of a purpose's backfill."""
    names = Names.of(config, purpose)
    given = existing_role(config, BACKFILL)
    definition = json.dumps(backfill_definition(names), separators=(",", ":"))
    resources: dict[str, Any] = {
        "StateMachine": {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {
                "StateMachineName": names.backfill_machine,
                "RoleArn": given or {"Fn::GetAtt": ["BackfillRole", "Arn"]},
                "DefinitionString": with_substitutions(definition),
                "Tags": tag_list(config),
            },
        }
    }
    if given is None:
        resources["BackfillRole"] = role_resource(BACKFILL, config, names)
    template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"BatCat backfill {names.backfill_machine}",
        "Resources": resources,
    }
    said = json.dumps([template, tag_list(config)], sort_keys=True)
    digest = hashlib.sha256(said.encode()).hexdigest()
    return template | {"Outputs": {"Digest": {"Value": digest}}}


def ensure_backfill(
    config: Config,
    purpose: str,
    client: Any,
    *,
    progress: Callable[[str], None] = lambda line: None,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Bring a purpose's backfill stack to what the configuration asks for; say whether it changed.

    A stack that is up to date is only looked at. Of several callers at once one makes it, and the
    others wait until it stands.

    Raises
    ------
    StackError
        CloudFormation rolled back, or the stack is stuck.
    """
    from botocore.exceptions import ClientError

    name = Names.of(config, purpose).backfill_stack
    template = backfill_template(config, purpose)
    wanted = template["Outputs"]["Digest"]["Value"]
    if _settled(client, name, sleep) == wanted:
        return False
    try:
        deploy_stack(client, name, template, tags=tag_list(config), progress=progress, sleep=sleep)
    except (StackError, ClientError):
        # Somebody else may have been quicker by a moment.
        if _settled(client, name, sleep) == wanted:
            return False
        raise
    return True


def _settled(client: Any, name: str, sleep: Callable[[float], None]) -> str:
    """Wait until nobody changes the stack; return the digest of the template that it stands for."""
    pause = 0.2
    while True:
        status = stack_status(client, name) or ""
        if not status.endswith("_IN_PROGRESS") or status == "REVIEW_IN_PROGRESS":
            break
        sleep(pause)
        pause = min(5.0, pause * 1.5)
    if not status.endswith("_COMPLETE") or status in {"ROLLBACK_COMPLETE", "DELETE_COMPLETE"}:
        return ""
    stack = client.describe_stacks(StackName=name)["Stacks"][0]
    outputs = {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}
    return str(outputs.get("Digest", ""))
