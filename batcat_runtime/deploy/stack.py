"""One CloudFormation stack, brought to what a template and its parameters say.

Stages: look at the stack and refuse one that is not ours or stuck; make a change set; execute it;
follow its events; report what has changed, or the first failure with its reason and what was
undone. Update, rollback and shared state are CloudFormation's own. A change set without changes is
a normal outcome, and `planned` ends before anything is executed.

A stack is ours when it carries all of our tags: two projects, or two people with the same project
name and other buckets, never touch each other's.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from botocore.exceptions import ClientError

from batcat_runtime.deploy.reasons import STUCK, failure, role_was_not_known, stuck
from batcat_runtime.errors import (
    ConnectError,
    CredentialsError,
    StackError,
    ThrottledError,
    WaitInterruptedError,
)
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.log import report

_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
_FRESH = {"", "REVIEW_IN_PROGRESS", "DELETE_COMPLETE"}
_NEVER_WORKED = {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED"}
_ENDS_WELL = {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
_STACK = "AWS::CloudFormation::Stack"
_STARTS = 6
_TRIES = 40
_OVERTAKEN = {"ChangeSetNotFound", "InvalidChangeSetStatus"}
_OVERTAKEN_WORDS = ("_IN_PROGRESS", "already exists", "does not exist", "can not be updated")
NEW_ROLE = (10.0, 20.0, 40.0)  # IAM says that a new role is known everywhere within seconds
Outcome = Literal["created", "updated", "unchanged", "create", "update"]


@dataclass(frozen=True)
class Stack:
    """A stack as it is to be.

    Attributes
    ----------
    name : str
        Its name.
    template : dict of str to str
        ``TemplateBody``, ``TemplateURL`` or ``UsePreviousTemplate``, as CloudFormation takes them.
    parameters : mapping of str to str
        More may be given than the template declares. One that is not given keeps its value.
    tags : mapping of str to str
        Put on the stack and on all in it. Those that begin with ``batcat:`` say whose it is.
    """

    name: str
    template: Mapping[str, Any]
    parameters: Mapping[str, str]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class ResourceChange:
    """What happens to one resource: a row of a change set.

    Attributes
    ----------
    action : str
        ``Add``, ``Modify`` or ``Remove``.
    type, resource, name : str
        Its type, its name in the template, and what it is called in AWS; empty for a new one.
    replaced : str
        ``True`` or ``Conditional`` where a new one takes its place.
    """

    action: str
    type: str
    resource: str
    name: str = ""
    replaced: str = ""

    def __str__(self) -> str:
        replaced = " (replaced)" if self.replaced == "True" else ""
        return f"{self.action} {self.type} {self.resource}{replaced}"


@dataclass(frozen=True)
class StackChange:
    """What a deployment did to a stack, or would do.

    Attributes
    ----------
    stack : str
        Its name.
    outcome : {"created", "updated", "unchanged", "create", "update"}
        What happened; ``create`` and ``update`` are what would happen, in a plan.
    changes : tuple of ResourceChange
        The rows of the change set.
    outputs : dict of str to str
        The stack's outputs; those of before, if it was only planned.
    """

    stack: str
    outcome: Outcome
    changes: tuple[ResourceChange, ...] = ()
    outputs: dict[str, str] = field(default_factory=dict)


def deploy_stack(
    client: Any,
    stack: Stack,
    *,
    planned: bool = False,
    pauses: Sequence[float] = (),
) -> StackChange:
    """Create or update a stack through a change set, and wait until it stands.

    Parameters
    ----------
    client : botocore client
        For CloudFormation.
    stack : Stack
        What it is to be.
    planned : bool
        Only find out what would change: the change set is deleted again.
    pauses : sequence of float
        Seconds after which to try again when a service does not know a role; see `NEW_ROLE`.

    Returns
    -------
    StackChange
        What was done.

    Raises
    ------
    StackError
        It is somebody else's, or stuck, or a resource failed; the message names it, why, and what
        was undone.
    WaitInterruptedError
        Ctrl-C, lost credentials or a lost network while CloudFormation was at work: it goes on.
    """
    waits, starts = list(pauses), _STARTS
    with translated(f"the stack {stack.name}", "cloudformation:*"):
        while True:
            try:
                return _deploy_once(client, stack, planned=planned)
            except _FailedError as error:
                if not waits or not role_was_not_known(error.events):
                    raise failure(stack.name, error.status, error.events) from None
                report(
                    f"stack {stack.name}: a new role is not known everywhere yet; trying again in "
                    f"{waits[0]:.0f} s"
                )
                time.sleep(waits.pop(0))
            except ClientError as error:
                starts -= 1
                _check_overtaken(error, stack.name, starts)
                time.sleep(0.5)


class _FailedError(Exception):
    """CloudFormation could not bring the stack to its template."""

    def __init__(self, status: str, events: list[dict[str, Any]]) -> None:
        super().__init__(status)
        self.status = status
        self.events = events


def _check_overtaken(error: ClientError, name: str, starts: int) -> None:
    """Raise, unless somebody else has changed the stack since we looked and we may look again."""
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    invalid = code == "ValidationError"
    overtaken = invalid and any(words in message for words in _OVERTAKEN_WORDS)
    if code not in _OVERTAKEN and not overtaken:
        raise _not_accepted(name, message) if invalid else error
    if not starts:
        raise StackError(
            f"Somebody else keeps changing the stack {name}: {message}.",
            fix="Let one deployment come to its end, then deploy again.",
        ) from error


def _deploy_once(client: Any, stack: Stack, *, planned: bool) -> StackChange:
    found = _ready(client, stack, planned=planned)
    fresh, executed = _status(found) in _FRESH, False
    change_set = {"StackName": stack.name, "ChangeSetName": f"batcat-{uuid.uuid4().hex[:12]}"}
    try:
        described = _change_set(client, stack, found, change_set)
        rows, outputs = tuple(map(_row, described.get("Changes", []))), outputs_of(found)
        if described["Status"] == "FAILED":
            return StackChange(stack.name, "unchanged", rows, outputs)
        if planned:
            return StackChange(stack.name, "create" if fresh else "update", rows, outputs)
        arn, since = described["StackId"], newest_event(client, described["StackId"])
        executed = True
    finally:
        if not executed:
            _forget(client, change_set, fresh=fresh)
    client.execute_change_set(**change_set)
    with goes_on_without_us(
        f"CloudFormation goes on with the stack {stack.name}, and undoes its changes if one of "
        "them fails.",
        "Run `batcat deploy` again: it waits for the end of that and does the rest.",
    ):
        status = follow(client, arn, since)
        if status not in _ENDS_WELL:
            raise _FailedError(status, events_since(client, arn, since))
    outputs = outputs_of(describe_stack(client, arn))
    return StackChange(stack.name, "created" if fresh else "updated", rows, outputs)


def describe_stack(client: Any, name: str) -> dict[str, Any]:
    """Return a stack by name or id as DescribeStacks has it; empty when there is none."""
    try:
        return dict(client.describe_stacks(StackName=name)["Stacks"][0])
    except ClientError as error:
        if "does not exist" in error.response["Error"].get("Message", ""):
            return {}
        raise


def outputs_of(stack: Mapping[str, Any]) -> dict[str, str]:
    """Return the outputs of a stack that was described."""
    return {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}


def refuse_foreign(stack: Mapping[str, Any], tags: Mapping[str, str]) -> None:
    """Refuse a stack that does not carry all of our tags.

    Raises
    ------
    StackError
        The message names its owner.
    """
    present = {one["Key"]: one["Value"] for one in stack.get("Tags", [])}
    ours = {key: value for key, value in tags.items() if key.startswith("batcat:")}
    if all(present.get(key) == value for key, value in ours.items()):
        return
    name, owner = stack["StackName"], present.get("batcat:project")
    whose = (
        f"belongs to the project {owner} with the bucket {present.get('batcat:bucket')}"
        if owner
        else "is there already, and BatCat did not make it"
    )
    raise StackError(
        f"The stack {name} {whose}: it was left alone.",
        fix="Choose another `project` in script/config.json; or have its owner remove it: "
        f"aws cloudformation delete-stack --stack-name {name}",
    )


def _ready(client: Any, stack: Stack, *, planned: bool) -> dict[str, Any]:
    """Return the stack once it can be deployed; remove what a failed first creation has left."""
    while True:
        found = describe_stack(client, stack.name)
        status = _status(found)
        if status in _FRESH and not found.get("Tags"):
            return found  # a change set that nobody has executed may have no tags yet
        refuse_foreign(found, stack.tags)
        if status in _FRESH:
            return found
        if status in STUCK:
            raise stuck(stack.name, status, events_since(client, found["StackId"], None))
        if status.endswith("_IN_PROGRESS"):
            report(f"stack {stack.name}: somebody is changing it ({status}); waiting")
        elif status in _NEVER_WORKED:
            if planned:
                raise StackError(
                    f"The stack {stack.name} is what a failed first deployment left ({status}).",
                    fix="`batcat deploy` removes it and makes it anew.",
                )
            report(f"stack {stack.name}: removing what a failed first deployment has left")
            client.delete_stack(StackName=found["StackId"])
        else:
            return found
        _wait_for_end(client, found["StackId"])


def _wait_for_end(client: Any, arn: str) -> None:
    """Wait until nobody changes a stack any more."""
    wait_until(lambda: _status(describe_stack(client, arn)), _has_ended)


def _change_set(
    client: Any, stack: Stack, found: Mapping[str, Any], named: Mapping[str, str]
) -> dict[str, Any]:
    """Make a change set, and return it when it is there or there is nothing to change."""
    client.create_change_set(
        **named,
        **stack.template,
        ChangeSetType="CREATE" if _status(found) in _FRESH else "UPDATE",
        Parameters=_parameters(client, stack, found),
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Tags=[{"Key": key, "Value": value} for key, value in sorted(stack.tags.items())],
    )
    described: dict[str, Any] = wait_until(
        lambda: client.describe_change_set(**named),
        lambda answer: not answer["Status"].endswith(("IN_PROGRESS", "PENDING")),
    )
    reason = described.get("StatusReason") or ""
    if described["Status"] == "FAILED" and not any(text in reason for text in _NO_CHANGES):
        raise _not_accepted(stack.name, reason)
    return described


def _parameters(client: Any, stack: Stack, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the parameters that the template declares: ours, else those that the stack has."""
    present = [one["ParameterKey"] for one in found.get("Parameters", [])]
    if "UsePreviousTemplate" in stack.template:
        declared = present
    else:
        summary = client.get_template_summary(**stack.template)
        declared = [one["ParameterKey"] for one in summary["Parameters"]]
    given = stack.parameters
    return [
        {"ParameterKey": key, "ParameterValue": given[key]}
        if key in given
        else {"ParameterKey": key, "UsePreviousValue": True}
        for key in declared
        if key in given or key in present
    ]


def follow(client: Any, stack_id: str, since: str | None) -> str:
    """Show what happens to the resources of a stack; return the status in which that ends.

    Parameters
    ----------
    client : botocore client
        For CloudFormation.
    stack_id : str
        The stack's id: its name may be another stack's before long.
    since : str or None
        The newest event before it began.
    """
    told: set[str] = set()

    def look() -> str:
        try:
            with translated("the stack", "cloudformation:DescribeStacks"):
                # The status before the events: all that led to it is among them then.
                status = _status(describe_stack(client, stack_id)) or "DELETE_COMPLETE"
                events = events_since(client, stack_id, since)
        except ThrottledError:
            return "_IN_PROGRESS"  # to look is all we want, and later will do
        for event in events:
            if event["ResourceType"] == _STACK:
                if not event["ResourceStatus"].endswith("_IN_PROGRESS"):
                    return str(event["ResourceStatus"])  # of our own operation
                continue
            resource = f"{event['ResourceType']} {event['LogicalResourceId']}"
            line = f"{event['ResourceStatus']} {resource}"
            if line not in told:
                told.add(line)
                report(line)
        return status

    return str(wait_until(look, _has_ended))


def newest_event(client: Any, stack_id: str) -> str | None:
    """Return the id of the newest event of a stack."""
    return next(_events(client, stack_id), {}).get("EventId")


def events_since(client: Any, stack_id: str, since: str | None) -> list[dict[str, Any]]:
    """Return the events after one that is known, oldest first."""
    found = []
    for event in _events(client, stack_id):
        if event["EventId"] == since:
            break
        found.append(event)
    return found[::-1]


def _events(client: Any, stack_id: str) -> Iterator[dict[str, Any]]:
    pages = client.get_paginator("describe_stack_events").paginate(StackName=stack_id)
    return (event for page in pages for event in page["StackEvents"])


@contextlib.contextmanager
def goes_on_without_us(what: str, fix: str) -> Iterator[None]:
    """Say what goes on when the waiting for it ends before its time.

    Parameters
    ----------
    what : str
        ``"CloudFormation goes on with the stack x."``
    fix : str
        How to come back to it.
    """
    try:
        with translated("the stack", "cloudformation:DescribeStacks"):
            yield
    except KeyboardInterrupt:
        raise WaitInterruptedError(f"Stopped waiting. {what}", fix=fix) from None
    except (CredentialsError, ConnectError) as error:
        raise WaitInterruptedError(f"{error.message} {what}", fix=f"{error.fix} {fix}") from error


def wait_until(
    look: Callable[[], Any], done: Callable[[Any], bool], *, seconds: float = float("inf")
) -> Any:
    """Look again and again, each time a little later, until `done` says so; return what was seen.

    Parameters
    ----------
    look : callable
        Returns what is there now.
    done : callable
        Takes that, and says whether the waiting is over.
    seconds : float
        How long to wait at most.
    """
    pause, end = 0.1, time.monotonic() + seconds
    while True:
        found = look()
        if done(found) or time.monotonic() > end:
            return found
        time.sleep(pause)
        pause = min(5.0, pause * 1.5)


def _forget(client: Any, change_set: Mapping[str, str], *, fresh: bool) -> None:
    """Delete a change set, and the empty stack that it was made for."""
    for _ in range(_TRIES):
        try:
            client.delete_change_set(**change_set)
            break
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidChangeSetStatus":
                return
            time.sleep(0.5)  # it is still being made
    found = describe_stack(client, change_set["StackName"])
    if fresh and _status(found) == "REVIEW_IN_PROGRESS":
        client.delete_stack(StackName=found["StackId"])


def _not_accepted(name: str, reason: str) -> StackError:
    return StackError(
        f"CloudFormation does not accept the template of {name}: {reason}",
        fix="Look at what was changed in the template, deploy/*.yaml.",
    )


def _has_ended(status: str) -> bool:
    return not status.endswith("_IN_PROGRESS")


def _status(stack: Mapping[str, Any]) -> str:
    return str(stack.get("StackStatus", ""))


def _row(change: dict[str, Any]) -> ResourceChange:
    row = change["ResourceChange"]
    return ResourceChange(
        action=row["Action"],
        type=row["ResourceType"],
        resource=row["LogicalResourceId"],
        name=row.get("PhysicalResourceId") or "",
        replaced=row.get("Replacement", "").replace("False", ""),
    )
