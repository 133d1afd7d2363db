"""Why a stack failed, from its events: the resource, why, what AWS undid, and what to do.

A table leads from AWS's reasons to ours. AWS's own words always stand beside ours, and a reason
that the table does not know is shown as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from batcat_runtime.errors import StackError

Events = list[dict[str, Any]]
STUCK = {
    "CREATE_FAILED": "aws cloudformation delete-stack --stack-name {name}",
    "UPDATE_FAILED": "aws cloudformation rollback-stack --stack-name {name}",
    "DELETE_FAILED": "aws cloudformation delete-stack --stack-name {name}",
    "UPDATE_ROLLBACK_FAILED": "aws cloudformation continue-update-rollback --stack-name {name}",
}
_STACK = "AWS::CloudFormation::Stack"
_MOST = 5

_HANDLER = re.compile(
    r'Resource handler returned message: "(?P<said>.*?)'
    r'(?: \([^()"]*(?:Status Code|Error Code|Request ID)[^"]*\))?" \(RequestToken.*',
    re.DOTALL,
)
# A role that exists but cannot be taken on: of a new role, the services may not have heard yet.
_ASSUME = (
    r"authorized to assume the provided role|cannot be assumed by|must allow AWS EventBridge "
    r"Scheduler to assume|not authorized to perform: sts:AssumeRole"
)
_WEAK = r"not authorized to access the Log Destination|not authorized to create managed"
_TABLE = (
    (
        r"already ?exists",
        "There is one of this name already, and it does not belong to this stack. It was neither "
        "changed nor taken over.",
        "Find out who needs it, and remove it if nobody does; or choose another `project` or "
        "another name of the purpose in script/config.json.",
    ),
    (
        f"{_ASSUME}|{_WEAK}",
        "The role's trust policy does not name the service, or the role does not allow what the "
        "resource needs; or it is so new that the service has not heard of it.",
        "Deploy again in a minute. For a role of your own, compare it and its trust policy with "
        "deploy/roles.yaml.",
    ),
    (
        r"(?:User: (?P<who>\S+) is )?not authorized to perform:? (?P<action>[a-z0-9-]+:[a-z0-9]+)"
        r"(?: on resource: (?P<on>\S+))?",
        "{who} may not {action}{on}.",
        "Ask the administrator to let {who} do that: all that deploying needs stands in "
        "deploy/iam/deployer.json. Then deploy again.",
    ),
    (
        r"limit ?exceeded|quota|rate exceeded|throttl|too ?many ?requests",
        "The account has as many of these as it may have, or AWS has too many requests from it.",
        "Remove what nobody needs, or ask for more in the Service Quotas console; then deploy "
        "again: what is done already is skipped.",
    ),
)


def failure(name: str, status: str, events: Events) -> StackError:
    """Return the error for a stack that CloudFormation could not bring to its template."""
    if status.startswith("DELETE"):
        return StackError(
            f"The stack {name} was deleted by somebody else while it was being deployed.",
            fix="Deploy again.",
        )
    failed = _failures(events)
    lines, fix = explained(failed)
    undone = {
        one["LogicalResourceId"]
        for one in events[_turned_back(events) :]
        if one["ResourceStatus"] in ("DELETE_COMPLETE", "UPDATE_COMPLETE")
        and one["ResourceType"] != _STACK
    }
    listed = f": {', '.join(sorted(undone))}" if undone else ""
    lines.append(
        f"  Not rolled back: AWS could not undo all of it{listed}."
        if status.endswith("ROLLBACK_FAILED")
        else f"  Rolled back: AWS has undone what it did{listed}."
    )
    return StackError(
        "\n".join([f"The stack {name} was not deployed ({status}).", *lines]),
        fix=fix or "Mend what the first resource above complains about, then deploy again.",
    )


def stuck(name: str, status: str, events: Events) -> StackError:
    """Return the error for a stack that only a person can free."""
    blocking = {
        event["LogicalResourceId"]: _said(event)
        for event in events
        if event["ResourceStatus"].endswith("_FAILED") and event["ResourceType"] != _STACK
    }
    lines = [f"The stack {name} is stuck ({status})."]
    lines += [f"  {resource}: {reason}" for resource, reason in blocking.items()]
    command = STUCK[status].format(name=name)
    return StackError("\n".join(lines), fix=f"Mend that, run `{command}`, then deploy again.")


def role_was_not_known(events: Events) -> bool:
    """Tell whether services could not take a role on, or not use what it allows: it may be new."""
    failed = _failures(events)
    return bool(failed) and all(re.search(f"{_ASSUME}|{_WEAK}", _reason(one)) for one in failed)


def explained(failed: Events) -> tuple[list[str], str]:
    """Return a line for each resource that failed and why in plain words, and what to do.

    What to do is empty where we do not know.

    Parameters
    ----------
    failed : list of dict
        The stack's events that tell the failures.
    """
    lines = [
        f"  {one['ResourceType']} {one['LogicalResourceId']}: {_said(one)}"
        for one in failed[:_MOST]
    ]
    reason = _reason(failed[0]) if failed else ""
    for pattern, words, fix in _TABLE:
        found = re.search(pattern, reason, re.IGNORECASE)
        if found:
            parts = {"who": "", "action": "", "on": "", **found.groupdict("")}
            on = parts["on"].strip('"')
            parts["on"] = f" on {on}" if on not in ("", "*") else ""
            parts["who"] = _who_is(parts["who"])
            words = words.format(**parts)
            return [*lines, f"  In short: {words[0].upper()}{words[1:]}"], fix.format(**parts)
    return lines, ""


def _said(event: Mapping[str, Any]) -> str:
    """Return AWS's words without what surrounds them."""
    reason = _reason(event)
    found = _HANDLER.fullmatch(reason.strip())
    return (found["said"] if found else reason).strip()


def _who_is(arn: str) -> str:
    """Return whom an ARN names, as a reader says it: ``the role deployer``."""
    kind, _, rest = arn.rpartition(":")[2].partition("/")
    if kind == "assumed-role":
        return f"the role {rest.partition('/')[0]}"
    return f"the {kind} {rest}" if rest else "whoever deploys"


def _reason(event: Mapping[str, Any]) -> str:
    return str(event.get("ResourceStatusReason") or "no reason given")


def _failures(events: Events) -> Events:
    """Return the events of resources that failed on the way there, in the order of time."""
    return [
        event
        for event in events[: _turned_back(events)]
        if event["ResourceStatus"].endswith("_FAILED")
        and event["ResourceType"] != _STACK
        and "cancelled" not in event.get("ResourceStatusReason", "")
    ]


def _turned_back(events: Events) -> int:
    """Return where the way back begins."""
    for number, event in enumerate(events):
        if event["ResourceType"] == _STACK and "ROLLBACK" in event["ResourceStatus"]:
            return number
    return len(events)
