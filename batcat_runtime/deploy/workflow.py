"""The workflow of a purpose: authored with the stepfunctions SDK, deployed by CloudFormation.

Stages: `processing_steps` makes SDK states of the purpose's steps; the project's
``setup_stepfunctions.py`` chains them (and may add states of its own); `definition_of` renders the
chain to Amazon States Language and adds as data what the SDK cannot say; `setup_workflow` validates
it and deploys the stack of roles, log group and state machine.

The SDK's own ``Workflow.create`` is not used: it keeps an old definition without a word.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from batcat_runtime.config import Config, get_config
from batcat_runtime.deploy.bucket import check_bucket
from batcat_runtime.deploy.definition import Definition, definition_of
from batcat_runtime.deploy.naming import Names
from batcat_runtime.deploy.processing import processing_steps
from batcat_runtime.deploy.roles import (
    existing_role,
    role_resource,
    tag_list,
    with_substitutions,
)
from batcat_runtime.deploy.sdk import quiet_sdk
from batcat_runtime.deploy.session import session_for
from batcat_runtime.deploy.stack import StackChange, deploy_stack
from batcat_runtime.errors import WorkflowError

Author = Callable[[Config, str], Any]


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
        stepfunctions SDK. By default the purpose's steps, in their order.
    progress : callable
        Called with a line at each stage.

    Returns
    -------
    StackChange
        ``created``, ``updated`` or ``unchanged``. A changed definition updates the state machine;
        executions that run keep the old one.

    Raises
    ------
    NoSuchBucketError, BucketOwnerError, BucketRegionError
        The result bucket is missing, another account's or in another region; nothing was changed.
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
    check_bucket(config)
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
    """Return the purpose's steps as a chain of SDK states, in their order."""
    from stepfunctions.steps import Chain

    return Chain(processing_steps(config, purpose))


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
                "DefinitionString": with_substitutions(
                    json.dumps(definition, ensure_ascii=False, separators=(",", ":"))
                ),
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
