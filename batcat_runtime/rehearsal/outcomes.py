"""What CloudFormation says of a resource or a stack after an operation: reasons and outputs."""

from __future__ import annotations

import uuid
from typing import Any

from botocore.exceptions import ClientError

from .scope import Scope
from .template import Template


def policies_of(resource: dict[str, Any]) -> dict[str, str]:
    """Return what a resource says of its own deletion."""
    names = ("DeletionPolicy", "UpdateReplacePolicy")
    return {name: resource[name] for name in names if name in resource}


def outputs_of(template: Template, scope: Scope) -> dict[str, dict[str, Any]]:
    """Return a template's outputs as DescribeStacks lists them, by name."""
    outputs = {}
    for name, output in template.section("Outputs").items():
        if not scope.holds(output.get("Condition")):
            continue
        entry = {"OutputKey": name, "OutputValue": str(scope.value(output["Value"]))}
        if output.get("Description"):
            entry["Description"] = output["Description"]
        if output.get("Export"):
            entry["ExportName"] = str(scope.value(output["Export"]["Name"]))
        outputs[name] = entry
    return outputs


def reason_of(error: Exception) -> str:
    """Return an error as the reason that an event gives."""
    if isinstance(error, ClientError):
        details, meta = error.response["Error"], error.response["ResponseMetadata"]
        return (
            f'Resource handler returned message: "{details["Message"]} (Status Code: '
            f"{meta.get('HTTPStatusCode')}; Error Code: {details['Code']}; Request ID: "
            f'{meta.get("RequestId", "")})" (RequestToken: {uuid.uuid4()}, HandlerErrorCode: '
            f"{_handler_code(details['Code'])})"
        )
    if isinstance(error, KeyError):
        return f"Property {error} is required."
    return str(error) or type(error).__name__


def _handler_code(code: str) -> str:
    for word, handler in (
        ("AlreadyExists", "AlreadyExists"),
        ("BucketAlreadyOwnedByYou", "AlreadyExists"),
        ("ResourceConflict", "AlreadyExists"),
        ("NotFound", "NotFound"),
        ("NoSuch", "NotFound"),
        ("AccessDenied", "AccessDenied"),
    ):
        if word in code:
            return handler
    return "InvalidRequest"
