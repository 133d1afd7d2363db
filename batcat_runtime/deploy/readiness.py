"""A stack as it is found: ready, in somebody else's hands, or stuck, and how it gets unstuck.

What cannot do harm is done, and said: a first deployment that failed is removed, since it holds
nothing that ever worked; an update that could not be undone is undone; somebody else's operation
is waited for. What could do harm is left to the reader, as a command. A stack is always removed by
its id: the name may be somebody else's new stack by then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from batcat_runtime.errors import StackError

PATIENCE_SECONDS = 1800.0
_FRESH = {"", "REVIEW_IN_PROGRESS", "DELETE_COMPLETE"}
_NEVER_WORKED = {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED"}
_BY_HAND = {
    "CREATE_FAILED": "It was created with rollback switched off, and failed. Remove it with "
    "`aws cloudformation delete-stack --stack-name {name}`, then deploy again.",
    "UPDATE_FAILED": "It was updated with rollback switched off, and failed. Undo that with "
    "`aws cloudformation rollback-stack --stack-name {name}`, then deploy again.",
    "DELETE_FAILED": "Mend that and finish the deletion with `aws cloudformation delete-stack "
    "--stack-name {name}`, adding `--retain-resources {blocking}` for what is to stay; then "
    "deploy again.",
    "UPDATE_ROLLBACK_FAILED": "Mend that, then deploy again: it begins with undoing the rest. If "
    "it cannot be mended, `aws cloudformation continue-update-rollback --stack-name {name} "
    "--resources-to-skip {blocking}` leaves it as it is, for you to look after.",
}


def describe_stack(client: Any, name: str) -> dict[str, Any] | None:
    """Return a stack by name or id as DescribeStacks has it, or None when there is none."""
    try:
        found: dict[str, Any] = client.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in error.response["Error"].get("Message", ""):
            return None
        raise
    return found


def is_fresh(status: str) -> bool:
    """Tell whether a stack of this status (``""``: no stack) is still to be created."""
    return status in _FRESH


def never_worked(status: str) -> bool:
    """Tell whether a stack is what a first deployment that failed has left."""
    return status in _NEVER_WORKED


def needs_a_person(status: str) -> bool:
    """Tell whether a stack of this status is stuck, until somebody has mended what blocks it."""
    return status in _BY_HAND


def make_ready(
    client: Any,
    name: str,
    *,
    progress: Callable[[str], None],
    wait: Callable[[Callable[[], str], Callable[[str], bool]], str],
) -> bool:
    """Bring a stack into a state in which it can be deployed; return whether it is to be created.

    Parameters
    ----------
    client : botocore client
        For CloudFormation.
    name : str
        The stack's name.
    progress : callable
        Called with a line about what is done.
    wait : callable
        Takes how to look and when that is enough, and returns what was seen.

    Raises
    ------
    StackError
        It is stuck, or somebody else does not let go of it.
    """
    tried: set[str] = set()
    while True:
        stack = describe_stack(client, name) or {}
        status, stack_id = stack.get("StackStatus", ""), stack.get("StackId", name)
        if is_fresh(status):
            return True
        if status.endswith("_IN_PROGRESS"):
            progress(f"stack {name}: somebody is changing it ({status}); waiting for the end")
        elif status in _BY_HAND and (status != "UPDATE_ROLLBACK_FAILED" or status in tried):
            raise stuck(client, name, stack_id, status)
        elif never_worked(status):
            progress(f"stack {name}: removing what a failed first deployment has left ({status})")
            client.delete_stack(StackName=stack_id)
        elif status == "UPDATE_ROLLBACK_FAILED":
            progress(f"stack {name}: going on with undoing an update that failed ({status})")
            tried.add(status)
            _continue_rollback(client, stack_id)
        else:
            return False
        wait(lambda of=stack_id: _status(client, of), lambda now: not now.endswith("_IN_PROGRESS"))  # type: ignore[misc]


def stuck(client: Any, name: str, stack_id: str, status: str) -> StackError:
    """Return the error for a stack that only a person can free."""
    blocking = _blocking(client, stack_id)
    lines = [f"The stack {name} is stuck ({status})."]
    lines += [f"  {resource}: {reason}" for resource, reason in blocking.items()]
    fix = _BY_HAND[status].format(name=name, blocking=" ".join(blocking) or "RESOURCE")
    return StackError("\n".join(lines), fix=fix)


def _status(client: Any, stack_id: str) -> str:
    return str((describe_stack(client, stack_id) or {}).get("StackStatus", ""))


def _continue_rollback(client: Any, stack_id: str) -> None:
    try:
        client.continue_update_rollback(StackName=stack_id)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        # Somebody else was quicker; the next look shows what they did.


def _blocking(client: Any, stack_id: str) -> dict[str, str]:
    """Return the resources that failed last, each with AWS's reason."""
    found: dict[str, str] = {}
    done: set[str] = set()
    pages = client.get_paginator("describe_stack_events").paginate(StackName=stack_id)
    for event in (event for page in pages for event in page["StackEvents"]):
        resource, status = event["LogicalResourceId"], event["ResourceStatus"]
        if event["ResourceType"] == "AWS::CloudFormation::Stack":
            if event.get("ResourceStatusReason") == "User Initiated":
                break
        elif status.endswith("_FAILED") and resource not in done:
            found.setdefault(resource, event.get("ResourceStatusReason", "no reason given"))
        elif not status.endswith("_IN_PROGRESS"):
            done.add(resource)
    return dict(reversed(found.items()))
