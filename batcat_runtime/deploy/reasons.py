"""Why a resource failed, in plain words, and what to do: a table from AWS's reasons to ours.

AWS's own words always stand beside ours. A reason that the table does not know is shown as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_HANDLER = re.compile(
    r'Resource handler returned message: "(?P<said>.*?)'
    r'(?: \([^()"]*(?:Status Code|Error Code|Request ID)[^"]*\))?" \(RequestToken.*',
    re.DOTALL,
)
# A role that exists but cannot be taken on: of a new role, the services may not have heard yet.
_NOT_ASSUMED = re.compile(
    r"authorized to assume the provided role|cannot be assumed by|must allow AWS EventBridge "
    r"Scheduler to assume|not authorized to perform: sts:AssumeRole|"
    r"IAM Role is not authorized to access the Log Destination|not authorized to create managed"
)
_NAME_PROPERTIES = (
    *("RoleName", "LogGroupName", "StateMachineName", "FunctionName", "RepositoryName"),
    *("BucketName", "Name"),
)
_WORDS = {
    "AWS::CodeBuild::Project": "build project",
    "AWS::ECR::Repository": "image repository",
    "AWS::Events::Rule": "event rule",
    "AWS::IAM::Role": "role",
    "AWS::Lambda::Function": "Lambda function",
    "AWS::Lambda::Permission": "permission of the Lambda function",
    "AWS::Logs::LogGroup": "log group",
    "AWS::Scheduler::Schedule": "schedule",
    "AWS::StepFunctions::StateMachine": "state machine",
}
_REMOVAL = {
    "AWS::CodeBuild::Project": "aws codebuild delete-project --name",
    "AWS::ECR::Repository": "aws ecr delete-repository --repository-name",
    "AWS::Events::Rule": "aws events delete-rule --name",
    "AWS::IAM::Role": "aws iam delete-role --role-name",
    "AWS::Lambda::Function": "aws lambda delete-function --function-name",
    "AWS::Logs::LogGroup": "aws logs delete-log-group --log-group-name",
    "AWS::Scheduler::Schedule": "aws scheduler delete-schedule --name",
}
# The service that takes a resource's role on, what it is called, and the role's use.
_ASSUMES = {
    "AWS::CodeBuild::Project": ("codebuild", "AWS CodeBuild", "build"),
    "AWS::Lambda::Function": ("lambda", "AWS Lambda", "trigger"),
    "AWS::Scheduler::Schedule": ("scheduler", "EventBridge Scheduler", "schedule"),
    "AWS::StepFunctions::StateMachine": ("states", "AWS Step Functions", "workflow"),
}
_AGAIN = "Deploy again in a minute: what is done already is skipped."


@dataclass(frozen=True)
class Failed:
    """A resource that failed.

    Attributes
    ----------
    type, logical_id : str
        ``AWS::Logs::LogGroup`` and its name in the template.
    name : str
        What it is called in AWS, or its logical id where the template gives no name.
    role : str
        The ARN of the role that it was given, ``""`` when the stack makes the role itself.
    reason : str
        AWS's words, as they came.
    """

    type: str
    logical_id: str
    name: str
    role: str
    reason: str

    @property
    def what(self) -> str:
        """The resource as a reader calls it."""
        return f"{_WORDS.get(self.type, self.type)} {self.name}"

    @property
    def said(self) -> str:
        """AWS's words without what surrounds them."""
        found = _HANDLER.fullmatch(self.reason.strip())
        return (found["said"] if found else self.reason).strip()

    @property
    def not_assumed(self) -> bool:
        """Whether a service could not take the role on, or not use what it allows."""
        return _NOT_ASSUMED.search(self.reason) is not None


def failed_of(event: dict[str, Any], template: dict[str, Any]) -> Failed:
    """Return the failure that an event of a stack tells, with what the template says of it."""
    logical_id = event["LogicalResourceId"]
    resource = template.get("Resources", {}).get(logical_id) or {}
    properties = resource.get("Properties") or {}
    names = (properties.get(one) for one in _NAME_PROPERTIES)
    target = properties.get("Target") or {}
    roles = (
        *(properties.get(one) for one in ("RoleArn", "Role", "ServiceRole")),
        target.get("RoleArn") if isinstance(target, dict) else None,
    )
    return Failed(
        type=event["ResourceType"],
        logical_id=logical_id,
        name=next((one for one in names if isinstance(one, str)), logical_id),
        role=next((one for one in roles if isinstance(one, str)), ""),
        reason=event.get("ResourceStatusReason") or "no reason given",
    )


def explain(failed: Failed) -> tuple[str, str]:
    """Return why a resource failed in plain words, and what to do; empty when we do not know."""
    for pattern, told in _TABLE:
        found = re.search(pattern, failed.reason, re.IGNORECASE)
        if found:
            return told(failed, found)
    return "", ""


def _taken(failed: Failed, _: re.Match[str]) -> tuple[str, str]:
    words = (
        f"There is a {failed.what} already, and it does not belong to this stack. It was neither "
        "changed nor taken over."
    )
    command = _REMOVAL.get(failed.type)
    removal = f" if nobody does, remove it with `{command} {failed.name}`." if command else ""
    return words, (
        f"Find out who needs it:{removal or ' remove it if nobody does.'} Otherwise choose another "
        "`project` or another name of the purpose in script/config.json."
    )


def _no_trust(failed: Failed, _: re.Match[str]) -> tuple[str, str]:
    service, name, use = _ASSUMES.get(failed.type, ("?", "The service", "role"))
    if not failed.role:
        return f"{name} does not know the new role of the {failed.what} yet.", _AGAIN
    return (
        f"{name} may not take on the role {failed.role}: its trust policy does not name "
        f"{service}.amazonaws.com.",
        f"Have that role's trust policy changed to the one that `batcat roles --print` shows as "
        f"`{use}`, then deploy again.",
    )


def _role_too_weak(failed: Failed, _: re.Match[str]) -> tuple[str, str]:
    if not failed.role:
        return f"The new role of the {failed.what} is not in force everywhere yet.", _AGAIN
    return (
        f"The role {failed.role} does not allow what the {failed.what} needs.",
        "Have it given the permissions that `batcat roles --print` shows as `workflow`, then "
        "deploy again.",
    )


def _denied(failed: Failed, found: re.Match[str]) -> tuple[str, str]:
    on = f" on {found['on'].strip(chr(34))}" if found["on"] and found["on"] != "*" else ""
    who = who_is(found["who"] or "")
    return (
        f"{who} may not {found['action']}{on}.",
        f"Ask the administrator to let {who} do that. All that is needed stands in deploy/iam/ "
        "(`batcat roles` writes it anew); then deploy again.",
    )


def _limit(failed: Failed, _: re.Match[str]) -> tuple[str, str]:
    return (
        f"The account has as many of these as it may have ({_WORDS.get(failed.type, failed.type)}"
        ").",
        "Remove what nobody needs, or ask for more in the Service Quotas console; then deploy "
        "again.",
    )


def _throttled(failed: Failed, _: re.Match[str]) -> tuple[str, str]:
    return "AWS had too many requests at once from this account.", _AGAIN


def who_is(arn: str) -> str:
    """Return whom an ARN names, as a reader says it: ``the role deployer``.

    Examples
    --------
    >>> who_is("arn:aws:sts::123456789012:assumed-role/deployer/session")
    'the role deployer'
    """
    kind, _, rest = arn.rpartition(":")[2].partition("/")
    if kind == "assumed-role":
        return f"the role {rest.partition('/')[0]}"
    return f"the {kind} {rest}" if rest else "whoever deploys"


_TABLE: tuple[tuple[str, Callable[[Failed, re.Match[str]], tuple[str, str]]], ...] = (
    (r"already ?exists", _taken),
    (
        r"authorized to assume the provided role|cannot be assumed by|must allow AWS EventBridge "
        r"Scheduler to assume|not authorized to perform: sts:AssumeRole",
        _no_trust,
    ),
    (r"not authorized to access the Log Destination|to create managed", _role_too_weak),
    (
        r"(?:User: (?P<who>\S+) is )?not authorized to perform:? (?P<action>[a-z0-9-]+:[a-z0-9]+)"
        r"(?: on resource: (?P<on>\S+))?",
        _denied,
    ),
    (r"limit ?exceeded|quota|too many (?!requests)", _limit),
    (r"rate exceeded|throttl|too ?many ?requests", _throttled),
)
