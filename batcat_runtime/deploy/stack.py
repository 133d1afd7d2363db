"""One CloudFormation stack, brought to the state that a template describes.

Stages: look at the stack as it is, make a change set, execute it, follow its events, report.
Update, rollback and shared state are CloudFormation's own. A change set without changes is a
normal outcome. A failure names the first resource that failed and AWS's reason for it.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from batcat_runtime.errors import StackError

_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
_TEMPLATE_BYTES = 51_200  # CloudFormation's limit for a template in the request
_STUCK = {
    "ROLLBACK_FAILED": "Delete it in the CloudFormation console, then deploy again.",
    "DELETE_FAILED": "Delete it in the CloudFormation console, keeping what blocks it.",
    "UPDATE_ROLLBACK_FAILED": "Run `aws cloudformation continue-update-rollback --stack-name NAME`",
}


@dataclass(frozen=True)
class StackChange:
    """What a deployment did to a stack.

    Attributes
    ----------
    stack : str
        Its name.
    outcome : {"created", "updated", "unchanged"}
        What happened.
    changes : tuple of str
        ``"Add AWS::IAM::Role WorkflowRole"`` and the like.
    outputs : dict of str to str
        The stack's outputs.
    """

    stack: str
    outcome: Literal["created", "updated", "unchanged"]
    changes: tuple[str, ...]
    outputs: dict[str, str]


def deploy_stack(
    client: Any,
    name: str,
    template: dict[str, Any],
    *,
    tags: list[dict[str, str]],
    progress: Callable[[str], None] = lambda line: None,
    sleep: Callable[[float], None] = time.sleep,
) -> StackChange:
    """Create or update a stack through a change set, and wait until it stands.

    Parameters
    ----------
    client : botocore client
        For CloudFormation.
    name : str
        The stack's name.
    template : dict
        The CloudFormation template.
    tags : list of dict
        ``{"Key": ..., "Value": ...}``, put on the stack and so on its resources.
    progress : callable
        Called with a line whenever a resource changes its state.
    sleep : callable
        Waits, in seconds.

    Returns
    -------
    StackChange
        What was done.

    Raises
    ------
    StackError
        The stack is in a state that cannot be updated, or a resource failed; the message names it.
    """
    # In ASCII, other letters as \uXXXX: GetTemplate gives back a question mark for each of them.
    body = json.dumps(template, indent=1)
    if len(body.encode()) > _TEMPLATE_BYTES:
        raise StackError(
            f"The template of {name} is too large: {len(body.encode()):,} bytes, where AWS takes "
            f"{_TEMPLATE_BYTES:,}.",
            fix="Make the workflow or the Lambda function shorter.",
        )
    fresh = _make_ready(client, name, sleep)
    change_set = f"batcat-{uuid.uuid4().hex[:12]}"
    client.create_change_set(
        StackName=name,
        ChangeSetName=change_set,
        ChangeSetType="CREATE" if fresh else "UPDATE",
        TemplateBody=body,
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Tags=tags,
    )
    described = wait_until(
        lambda: client.describe_change_set(StackName=name, ChangeSetName=change_set),
        lambda answer: not answer["Status"].endswith(("IN_PROGRESS", "PENDING")),
        sleep,
    )
    reason = described.get("StatusReason") or ""
    if described["Status"] == "FAILED":
        client.delete_change_set(StackName=name, ChangeSetName=change_set)
        if any(text in reason for text in _NO_CHANGES):
            return StackChange(name, "unchanged", (), _outputs(client, name))
        if fresh:
            client.delete_stack(StackName=name)
        raise StackError(f"CloudFormation does not accept the template of {name}: {reason}")
    changes = tuple(_change(one["ResourceChange"]) for one in described.get("Changes", []))
    seen = _event_ids(client, name)
    client.execute_change_set(StackName=name, ChangeSetName=change_set)
    status = _follow(client, name, seen, progress, sleep)
    if status not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
        raise _failure(client, name, status, seen)
    return StackChange(name, "created" if fresh else "updated", changes, _outputs(client, name))


def stack_status(client: Any, name: str) -> str | None:
    """Return a stack's status, or None when there is no such stack."""
    from botocore.exceptions import ClientError

    try:
        return str(client.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"])
    except ClientError as error:
        if "does not exist" in error.response["Error"].get("Message", ""):
            return None
        raise


def wait_until(
    look: Callable[[], Any], done: Callable[[Any], bool], sleep: Callable[[float], None]
) -> Any:
    """Look again and again, each time a little later, until `done` says so; return what was seen.

    Parameters
    ----------
    look : callable
        Returns what is there now.
    done : callable
        Takes that, and says whether the waiting is over.
    sleep : callable
        Waits, in seconds: a tenth at first, at most five.
    """
    pause = 0.1
    while True:
        found = look()
        if done(found):
            return found
        sleep(pause)
        pause = min(5.0, pause * 1.5)


def _make_ready(client: Any, name: str, sleep: Callable[[float], None]) -> bool:
    """Return whether the stack is to be created; mend or refuse the states between."""
    status = stack_status(client, name)
    if status is None or status in {"REVIEW_IN_PROGRESS", "DELETE_COMPLETE"}:
        return True
    if status == "ROLLBACK_COMPLETE":
        # Its first creation failed and was undone: it holds nothing and cannot be updated.
        client.delete_stack(StackName=name)
        wait_until(
            lambda: stack_status(client, name),
            lambda now: now in {None, "DELETE_COMPLETE", "DELETE_FAILED"},
            sleep,
        )
        return True
    if status in _STUCK:
        raise StackError(
            f"The stack {name} is stuck: {status}.",
            fix=_STUCK[status].replace("NAME", name),
        )
    if status.endswith("IN_PROGRESS"):
        raise StackError(
            f"Somebody is changing the stack {name} right now ({status}).",
            fix="Wait until that has ended, then deploy again.",
        )
    return False


def _follow(
    client: Any,
    name: str,
    seen: set[str],
    progress: Callable[[str], None],
    sleep: Callable[[float], None],
) -> str:
    told = set(seen)
    lines: set[str] = set()  # a resource reports that it has begun twice, with and without its name

    def look() -> str:
        # The status before the events: all that led to it is among them then.
        status = stack_status(client, name) or "DELETE_COMPLETE"
        for event in reversed(_events(client, name)):
            resource = f"{event['ResourceType']} {event['LogicalResourceId']}"
            line = f"{event['ResourceStatus']} {resource}"
            new = event["EventId"] not in told and line not in lines
            told.add(event["EventId"])
            if new and event["ResourceType"] != "AWS::CloudFormation::Stack":
                lines.add(line)
                progress(line)
        return status

    return str(wait_until(look, lambda status: not status.endswith("_IN_PROGRESS"), sleep))


def _failure(client: Any, name: str, status: str, seen: set[str]) -> StackError:
    failed = [
        event
        for event in reversed(_events(client, name))
        if event["EventId"] not in seen
        and event["ResourceStatus"].endswith("_FAILED")
        and "cancelled" not in event.get("ResourceStatusReason", "")
    ]
    lines = [
        f"  {event['ResourceType']} {event['LogicalResourceId']}: "
        f"{event.get('ResourceStatusReason', 'no reason given')}"
        for event in failed
    ]
    return StackError(
        f"The stack {name} was not deployed ({status}); AWS has undone its changes.\n"
        + "\n".join(lines[:5]),
        fix="Mend what the first resource above complains about, then deploy again.",
    )


def _change(change: dict[str, Any]) -> str:
    replaced = " (replaced)" if change.get("Replacement") == "True" else ""
    return f"{change['Action']} {change['ResourceType']} {change['LogicalResourceId']}{replaced}"


def _outputs(client: Any, name: str) -> dict[str, str]:
    stack = client.describe_stacks(StackName=name)["Stacks"][0]
    return {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}


def _events(client: Any, name: str) -> list[dict[str, Any]]:
    """Return the events of the stack in its present life, newest first."""
    pages = client.get_paginator("describe_stack_events").paginate(StackName=name)
    return [event for page in pages for event in page["StackEvents"]]


def _event_ids(client: Any, name: str) -> set[str]:
    return {event["EventId"] for event in _events(client, name)}
