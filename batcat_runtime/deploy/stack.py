"""One CloudFormation stack, brought to the state that a template describes.

Stages: make the stack ready (`readiness`), make a change set, execute it, follow its events, report
(`failure`, `reasons`). Update, rollback and shared state are CloudFormation's own. A change set
without changes is a normal outcome. Whoever is overtaken by another deployment of the same stack
starts over; a service that does not know a new role yet is asked again. Under `batcat plan`
nothing is executed (`planning`).
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from botocore.exceptions import ClientError

from batcat_runtime.deploy import planning
from batcat_runtime.deploy.failure import failure, failures
from batcat_runtime.deploy.following import (
    events_since,
    follow,
    goes_on_without_us,
    newest_event,
)
from batcat_runtime.deploy.following import wait_until as wait_until
from batcat_runtime.deploy.readiness import PATIENCE_SECONDS, describe_stack, make_ready
from batcat_runtime.errors import StackError
from batcat_runtime.io.aws_errors import translated

_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
_TEMPLATE_BYTES = 51_200  # CloudFormation's limit for a template in the request
_ENDS_WELL = {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
_OVERTAKEN = {"ChangeSetNotFound", "InvalidChangeSetStatus"}
_OVERTAKEN_WORDS = ("_IN_PROGRESS", "already exists", "does not exist", "can not be updated")
_STARTS = 6
_ROLE_PAUSES = (10.0, 20.0, 40.0)  # IAM says that a new role is known everywhere within seconds
Outcome = Literal["created", "updated", "unchanged", "planned"]


@dataclass(frozen=True)
class StackChange:
    """What a deployment did to a stack.

    Attributes
    ----------
    stack : str
        Its name.
    outcome : {"created", "updated", "unchanged", "planned"}
        What happened; ``planned`` under `batcat plan`, which does nothing.
    changes : tuple of str
        ``"Add AWS::IAM::Role WorkflowRole"`` and the like.
    outputs : dict of str to str
        The stack's outputs.
    """

    stack: str
    outcome: Outcome
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
        The stack is stuck, or a resource failed; the message names it, why, and what was undone.
    WaitInterruptedError
        Ctrl-C, lost credentials or a lost network while CloudFormation was at work: it goes on.
    """
    # In ASCII, other letters as \uXXXX: GetTemplate gives back a question mark for each of them.
    body = json.dumps(template, indent=1)
    if len(body.encode()) > _TEMPLATE_BYTES:
        raise StackError(
            f"The template of {name} is too large: {len(body.encode()):,} bytes, where AWS takes "
            f"{_TEMPLATE_BYTES:,}.",
            fix="Make the workflow or the Lambda function shorter.",
        )
    work = _Work(client, name, template, body, tags, progress, sleep)
    with translated(f"the stack {name}", "cloudformation:*"):
        return work.plan() if planning.is_planning() else work.deploy()


def stack_status(client: Any, name: str) -> str | None:
    """Return a stack's status, or None when there is no such stack."""
    found = describe_stack(client, name)
    return None if found is None else str(found["StackStatus"])


class _OvertakenError(Exception):
    """Somebody else has changed the stack since we looked at it."""


@dataclass(frozen=True)
class _Work:
    """One deployment of one stack."""

    client: Any
    name: str
    template: dict[str, Any]
    body: str
    tags: list[dict[str, str]]
    progress: Callable[[str], None]
    sleep: Callable[[float], None]

    def deploy(self) -> StackChange:
        pauses, starts = list(_ROLE_PAUSES), _STARTS
        while True:
            try:
                done = self._once(last=not pauses)
            except _OvertakenError as error:
                starts -= 1
                if not starts:
                    raise StackError(
                        f"Somebody else keeps changing the stack {self.name}: {error}.",
                        fix="Let one deployment come to its end, then deploy again.",
                    ) from error
                self.progress(f"stack {self.name}: somebody else was quicker; looking again")
                self.sleep(0.5)
                continue
            if done is not None:
                return done
            pause = pauses.pop(0)
            self.progress(
                f"stack {self.name}: its new role is not known everywhere yet; trying again in "
                f"{pause:.0f} s"
            )
            self.sleep(pause)

    def plan(self) -> StackChange:
        """Write what a deployment would change to the plan's file; change nothing."""
        found = describe_stack(self.client, self.name) or {}
        rows, before = planning.compared(self.client, self.name, found, self._change_set)
        if rows is None:
            rows = [
                {"Action": "Add", "LogicalResourceId": key, "ResourceType": one["Type"]}
                for key, one in self.template["Resources"].items()
            ]
        planning.note_stack(self.name, found.get("StackStatus", ""), rows, before, self.template)
        return StackChange(self.name, "planned", tuple(map(_change, rows)), _outputs(found))

    def _once(self, *, last: bool) -> StackChange | None:
        """Deploy; None when a new role was not known yet and it is worth while to try again."""
        fresh = make_ready(
            self.client, self.name, progress=self.progress, wait=self._wait_for_others
        )
        change_set = f"batcat-{uuid.uuid4().hex[:12]}"
        try:
            described = self._change_set(change_set, "CREATE" if fresh else "UPDATE")
            if described["Status"] == "FAILED":
                return self._without_changes(change_set, described.get("StatusReason") or "", fresh)
            stack_id = described["StackId"]
            since = newest_event(self.client, stack_id)
            self.client.execute_change_set(StackName=self.name, ChangeSetName=change_set)
        except ClientError as error:
            if not _is_overtaken(error):
                raise
            self._forget(change_set)
            raise _OvertakenError(error.response["Error"]["Message"]) from error
        with goes_on_without_us(
            f"CloudFormation goes on with the stack {self.name}, and undoes its changes if one of "
            "them fails.",
            "Run `batcat deploy` again: it waits for the end of that and does the rest.",
        ):
            status = follow(self.client, stack_id, since, self.progress, self.sleep)
            events = events_since(self.client, stack_id, since)
        if status in _ENDS_WELL:
            rows = [one["ResourceChange"] for one in described.get("Changes", [])]
            changes = tuple(map(_change, rows))
            outputs = _outputs(describe_stack(self.client, stack_id) or {})
            return StackChange(self.name, "created" if fresh else "updated", changes, outputs)
        if not last and self._role_was_not_known(events):
            return None
        raise failure(self.name, status, events, self.template)

    def _change_set(self, name: str, kind: str) -> dict[str, Any]:
        """Make a change set, and return it when it is there or has failed."""
        self.client.create_change_set(
            StackName=self.name,
            ChangeSetName=name,
            ChangeSetType=kind,
            TemplateBody=self.body,
            Capabilities=["CAPABILITY_NAMED_IAM"],
            Tags=self.tags,
            ClientToken=name,
        )
        found: dict[str, Any] = wait_until(
            lambda: self.client.describe_change_set(StackName=self.name, ChangeSetName=name),
            lambda answer: not answer["Status"].endswith(("IN_PROGRESS", "PENDING")),
            self.sleep,
        )
        if found["Status"] == "FAILED" and planning.is_planning():
            reason = found.get("StatusReason") or ""
            if not any(text in reason for text in _NO_CHANGES):
                raise self._not_accepted(reason)
        return found

    def _without_changes(self, change_set: str, reason: str, fresh: bool) -> StackChange:
        self._forget(change_set)
        if any(text in reason for text in _NO_CHANGES):
            found = describe_stack(self.client, self.name) or {}
            return StackChange(self.name, "unchanged", (), _outputs(found))
        if fresh and stack_status(self.client, self.name) == "REVIEW_IN_PROGRESS":
            self.client.delete_stack(StackName=self.name)
        raise self._not_accepted(reason)

    def _not_accepted(self, reason: str) -> StackError:
        return StackError(f"CloudFormation does not accept the template of {self.name}: {reason}")

    def _forget(self, change_set: str) -> None:
        with contextlib.suppress(ClientError):
            self.client.delete_change_set(StackName=self.name, ChangeSetName=change_set)

    def _wait_for_others(self, look: Callable[[], str], done: Callable[[str], bool]) -> str:
        waited = 0.0

        def rest(seconds: float) -> None:
            nonlocal waited
            waited += seconds
            if waited > PATIENCE_SECONDS:
                raise StackError(
                    f"The stack {self.name} has been in somebody else's hands for "
                    f"{PATIENCE_SECONDS / 60:.0f} minutes; it was left alone.",
                    fix="See what goes on in the CloudFormation console, then deploy again.",
                )
            self.sleep(seconds)

        return str(wait_until(look, done, rest))

    def _role_was_not_known(self, events: list[dict[str, Any]]) -> bool:
        """Tell whether a service could not take on a role that this very deployment has made."""
        made = any(
            event["ResourceType"] == "AWS::IAM::Role"
            and event["ResourceStatus"] == "CREATE_COMPLETE"
            for event in events
        )
        failed = failures(events, self.template)
        return made and bool(failed) and all(one.not_assumed and not one.role for one in failed)


def _is_overtaken(error: ClientError) -> bool:
    details = error.response["Error"]
    if details["Code"] in _OVERTAKEN:
        return True
    message = details.get("Message", "")
    return details["Code"] == "ValidationError" and any(
        words in message for words in _OVERTAKEN_WORDS
    )


def _change(change: dict[str, Any]) -> str:
    replaced = " (replaced)" if change.get("Replacement") == "True" else ""
    return f"{change['Action']} {change['ResourceType']} {change['LogicalResourceId']}{replaced}"


def _outputs(stack: dict[str, Any]) -> dict[str, str]:
    return {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}
