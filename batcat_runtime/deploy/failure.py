"""A deployment that failed, told whole: the resource, why, what AWS undid, and what to do."""

from __future__ import annotations

from typing import Any

from batcat_runtime.deploy.reasons import Failed, explain, failed_of
from batcat_runtime.errors import StackError

_STACK = "AWS::CloudFormation::Stack"
_MOST = 5


def failures(events: list[dict[str, Any]], template: dict[str, Any]) -> list[Failed]:
    """Return the resources that failed on the way there, in the order of time.

    Parameters
    ----------
    events : list of dict
        Of one operation on a stack, oldest first.
    template : dict
        What was to be deployed.
    """
    return [
        failed_of(event, template)
        for event in events[: _turned_back(events)]
        if event["ResourceStatus"].endswith("_FAILED")
        and event["ResourceType"] != _STACK
        and "cancelled" not in event.get("ResourceStatusReason", "")
    ]


def failure(
    name: str, status: str, events: list[dict[str, Any]], template: dict[str, Any]
) -> StackError:
    """Return the error for a stack that CloudFormation could not bring to its template."""
    if status.startswith("DELETE"):
        return StackError(
            f"The stack {name} was deleted by somebody else while it was being deployed.",
            fix="Deploy again.",
        )
    failed = failures(events, template)
    lines = [f"The stack {name} was not deployed ({status})."]
    lines += [f"  {one.type} {one.logical_id}: {one.said}" for one in failed[:_MOST]]
    words, fix = explain(failed[0]) if failed else ("", "")
    if words:
        lines.append(f"  In short: {words[0].upper()}{words[1:]}")
    lines.append(f"  {_undone(status, events)}")
    fix = fix or "Mend what the first resource above complains about, then deploy again."
    if status.endswith("ROLLBACK_FAILED"):
        fix += " That begins with undoing the rest."
    return StackError("\n".join(lines), fix=fix)


def _turned_back(events: list[dict[str, Any]]) -> int:
    """Return where the way back begins."""
    for number, event in enumerate(events):
        if event["ResourceType"] == _STACK and "ROLLBACK" in event["ResourceStatus"]:
            return number
    return len(events)


def _undone(status: str, events: list[dict[str, Any]]) -> str:
    back = [one for one in events[_turned_back(events) :] if one["ResourceType"] != _STACK]
    done = ("DELETE_COMPLETE", "UPDATE_COMPLETE")
    names = dict.fromkeys(one["LogicalResourceId"] for one in back if one["ResourceStatus"] in done)
    left = dict.fromkeys(
        f"{one['LogicalResourceId']} ({one.get('ResourceStatusReason', 'no reason given')})"
        for one in back
        if one["ResourceStatus"].endswith("_FAILED")
    )
    listed = f": {', '.join(names)}" if names else ""
    if status == "ROLLBACK_COMPLETE":
        return f"Rolled back: AWS has removed all that it had made{listed}."
    if status == "UPDATE_ROLLBACK_COMPLETE":
        return f"Rolled back: AWS has undone its changes{listed}. The stack is as it was."
    if status.endswith("ROLLBACK_FAILED"):
        return f"Not rolled back: AWS could not undo {', '.join(left) or 'all of it'}."
    return f"AWS has left it as it is{listed}."
