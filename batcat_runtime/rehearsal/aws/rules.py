"""Rules that AWS enforces and does not put into its service models, one function a rule.

`ALL` lists them; `strict.py` runs them in this order after the model's own constraints. Each raises
`ServiceError` with the code and the words of the service. A rule that must look something up (does
the role exist, whom does it trust) asks the embedded AWS over HTTP, like any client.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from zoneinfo import available_timezones

from moto.utilities.utils import get_partition

from batcat_runtime.deploy.schedule_expression import check_expression
from batcat_runtime.errors import ConfigError
from batcat_runtime.names import bucket_problem

from ..wire import Call, ServiceError
from .iam.conditions import listed
from .iam.evaluation import lets_service
from .iam.needs import role_of
from .workflow_definition import definition_errors

RoleLookup = Callable[[str, str], dict[str, Any] | None]

_SFN_NAME_FORBIDDEN = re.compile(
    r'[\s<>{}\[\]?*"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f\U0010FFFE\U0010FFFF]'
)


def bucket_names(call: Call) -> None:
    """S3: a bucket that cannot exist is refused, whatever is asked of it."""
    name = call.params.get("Bucket")
    if call.service != "s3" or not isinstance(name, str) or name.startswith("arn:"):
        return
    if bucket_problem(name):
        raise ServiceError(
            "InvalidBucketName", "The specified bucket is not valid.", extra={"BucketName": name}
        )


def step_functions_names(call: Call) -> None:
    """Step Functions: names without white space, brackets, wildcards or special characters."""
    if call.service != "stepfunctions":
        return
    if call.operation in ("CreateStateMachine", "StartExecution", "CreateActivity"):
        name = call.params.get("name")
        if isinstance(name, str) and _SFN_NAME_FORBIDDEN.search(name):
            raise ServiceError("InvalidName", f"Invalid Name: '{name}'")
    for member in ("stateMachineArn", "executionArn", "roleArn"):
        arn = call.params.get(member)
        if isinstance(arn, str) and not re.fullmatch(r"arn:aws[a-z-]*:(states|iam):.+", arn):
            raise ServiceError("InvalidArn", f"Invalid Arn: '{arn}'")


def step_functions_definitions(call: Call) -> None:
    """Step Functions: a definition is checked when it is stored, not when it runs."""
    if call.service != "stepfunctions":
        return
    if call.operation in ("CreateStateMachine", "UpdateStateMachine"):
        definition = call.params.get("definition")
        partition = get_partition(call.region)
        problems = definition_errors(definition, partition) if isinstance(definition, str) else []
        if problems:
            text = ", ".join(str(problem) for problem in problems)
            raise ServiceError("InvalidDefinition", f"Invalid State Machine Definition: '{text}'")


def schedules(call: Call) -> None:
    """EventBridge Scheduler: expression, time zone and target."""
    if call.service != "scheduler" or call.operation not in ("CreateSchedule", "UpdateSchedule"):
        return
    expression = str(call.params.get("ScheduleExpression"))
    zone = call.params.get("ScheduleExpressionTimezone")
    target = call.params.get("Target") or {}
    window = call.params.get("FlexibleTimeWindow") or {}
    try:
        check_expression(expression)
    except ConfigError:
        text = f"Invalid Schedule Expression {expression}."
        raise ServiceError("ValidationException", text) from None
    if zone not in (None, "UTC") and zone not in available_timezones():
        raise ServiceError(
            "ValidationException", f"Provided ScheduleExpressionTimezone {zone} is not valid."
        )
    arn = str(target.get("Arn"))
    if not re.fullmatch(r"arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:(\d{12})?:.+", arn):
        raise ServiceError("ValidationException", f"Provided Arn is not in correct format. {arn}")
    flexible = window.get("Mode") == "FLEXIBLE"
    if flexible != (window.get("MaximumWindowInMinutes") is not None):
        raise ServiceError(
            "ValidationException",
            "Flexible time window mode FLEXIBLE needs a maximum window size."
            if flexible
            else "The maximum window size cannot be provided when the flexible time window is OFF.",
        )


def role_rule(lookup: RoleLookup) -> Callable[[Call], None]:
    """Make the rule that a service can assume the role that it is given.

    Parameters
    ----------
    lookup : callable
        From region and role ARN to the trust policy, or None when there is no such role.
    """

    def roles_can_be_assumed(call: Call) -> None:
        arn, principal = role_of(call)
        if arn is None or call.service not in _REFUSALS:
            return
        code, message = _REFUSALS[call.service]
        trust = lookup(call.region, arn)
        if trust is None or not trusts(trust, principal):
            raise ServiceError(code, message.format(arn=arn))

    return roles_can_be_assumed


def trusts(policy: dict[str, Any], principal: str) -> bool:
    """Tell whether a trust policy lets a service principal assume the role.

    Parameters
    ----------
    policy : dict
        The AssumeRolePolicyDocument.
    principal : str
        Such as ``lambda.amazonaws.com``, the same in every partition.
    """
    return lets_service(policy, principal, "sts:AssumeRole")


def policy_documents(call: Call) -> None:
    """IAM: a policy document is JSON with a version and statements."""
    if call.service != "iam":
        return
    for member in ("PolicyDocument", "AssumeRolePolicyDocument"):
        text = call.params.get(member)
        if not isinstance(text, str):
            continue
        try:
            document = json.loads(text)
            statements = listed(document["Statement"])
            sound = bool(statements) and all(
                isinstance(one, dict)
                and one.get("Effect") in ("Allow", "Deny")
                and ("Action" in one or "NotAction" in one)
                for one in statements
            )
        except (ValueError, KeyError, TypeError):
            raise ServiceError("MalformedPolicyDocument", "Syntax errors in policy.") from None
        if not sound:
            raise ServiceError("MalformedPolicyDocument", "Syntax errors in policy.")


# What a service says that cannot assume the role that it is given.
_REFUSALS = {
    "codebuild": (
        "InvalidInputException",
        "CodeBuild is not authorized to perform: sts:AssumeRole on {arn}",
    ),
    "lambda": (
        "InvalidParameterValueException",
        "The role defined for the function cannot be assumed by Lambda.",
    ),
    "sagemaker": (
        "ValidationException",
        "Could not assume role {arn}. Please ensure that the role exists and allows principal "
        "'sagemaker.amazonaws.com' to assume the role.",
    ),
    "scheduler": (
        "ValidationException",
        "The execution role you provide must allow AWS EventBridge Scheduler to assume the role.",
    ),
    "stepfunctions": (
        "AccessDeniedException",
        "Neither the global service principal states.amazonaws.com, nor the regional one is "
        "authorized to assume the provided role.",
    ),
}

ALL: tuple[Callable[[Call], None], ...] = (
    bucket_names,
    step_functions_names,
    step_functions_definitions,
    schedules,
    policy_documents,
)
