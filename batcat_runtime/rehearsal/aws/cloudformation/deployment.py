"""From template to template: the operations that CloudFormation performs on a stack.

A `Deployment` brings one resource after the other to what the template says, in the order of their
dependencies, notes an event for every step, and undoes everything when one of them fails: a failed
creation leaves nothing behind, a failed update leaves the stack as it was.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ...clients import Clients
from .resources import GONE, KINDS, Kind, Place, ResourceError
from .scope import Scope
from .stacks import Before, Placed, Stack, changed_properties, wanted
from .template import Template, TemplateError

_FAILURES: tuple[type[Exception], ...] = (
    *(ClientError, BotoCoreError, ResourceError, TemplateError),
    *(KeyError, TypeError, ValueError, AttributeError),
)


@dataclass(frozen=True)
class Undo:
    """One step of a rollback; `step` tells whether it succeeded.

    It takes the deployment that goes the way back, which may be a later one, by somebody else.
    """

    logical_id: str
    step: Callable[[Deployment], bool]


class Deployment:
    """One operation on one stack: create, update or delete.

    Parameters
    ----------
    stack : Stack
        The stack, whose record is kept up to date as the operation goes.
    clients : Clients
        To reach the services.
    """

    def __init__(self, stack: Stack, clients: Clients) -> None:
        self._stack = stack
        self._clients = clients
        self._undo: list[Undo] = []
        self._made_halfway: str | None = None

    def create(self, template: Template, parameters: dict[str, Any]) -> None:
        """Make all resources; on failure remove what was made."""
        stack = self._stack
        stack.template, stack.parameters = template, parameters
        stack.note("CREATE_IN_PROGRESS", "User Initiated")
        failed = self._make_all(template, parameters, "CREATE")
        if failed is None:
            stack.note("CREATE_COMPLETE")
        else:
            reason = f"The following resource(s) failed to create: [{failed}]. "
            stack.note("ROLLBACK_IN_PROGRESS", reason + "Rollback requested by user.")
            self._end_delete("ROLLBACK", self._delete_all(rollback=True))

    def update(self, template: Template, parameters: dict[str, Any], tags: dict[str, str]) -> None:
        """Move the stack to a template; on failure move it back."""
        stack = self._stack
        before = Before(stack.template, stack.parameters, stack.tags, dict(stack.resources))
        stack.tags = tags
        stack.note("UPDATE_IN_PROGRESS", "User Initiated")
        failed = self._make_all(template, parameters, "UPDATE")
        if failed is not None:
            stack.note(
                "UPDATE_ROLLBACK_IN_PROGRESS",
                f"The following resource(s) failed to update: [{failed}]. ",
            )
            stack.way_back = (before, self._undo[::-1])
            self._roll_back()
            return
        stack.template, stack.parameters = template, parameters
        stack.updated = datetime.now(UTC)
        stack.note("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
        scope = stack.scope(template, parameters)
        target = wanted(template, scope)
        for placed in [*reversed(before.resources.values())]:
            now = stack.resources.get(placed.logical_id)
            replaced = placed.logical_id in target
            if replaced and now is not None and now.physical_id == placed.physical_id:
                continue
            policy = placed.policies.get("UpdateReplacePolicy" if replaced else "DeletionPolicy")
            self._remove(placed, keep=policy == "Retain")
            if not replaced:
                stack.resources.pop(placed.logical_id, None)
        stack.note("UPDATE_COMPLETE")

    def continue_rollback(self) -> None:
        """Try again what could not be undone."""
        self._stack.note("UPDATE_ROLLBACK_IN_PROGRESS", "User Initiated")
        self._roll_back()

    def _roll_back(self) -> None:
        stack = self._stack
        assert stack.way_back is not None
        before, steps = stack.way_back
        left = [one for one in steps if not one.step(self)]
        if left:
            stack.way_back = (before, left)
            names = ", ".join(dict.fromkeys(one.logical_id for one in left))
            stack.note(
                "UPDATE_ROLLBACK_FAILED", f"The following resource(s) failed to update: [{names}]. "
            )
            return
        stack.way_back = None
        stack.template, stack.parameters = before.template, before.parameters
        stack.tags, stack.resources = before.tags, before.resources
        stack.note("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS")
        stack.note("UPDATE_ROLLBACK_COMPLETE")

    def delete(self, retained: frozenset[str] = frozenset()) -> None:
        """Remove all resources but those that are retained."""
        self._stack.note("DELETE_IN_PROGRESS", "User Initiated")
        self._end_delete("DELETE", self._delete_all(rollback=False, retained=retained))

    def _end_delete(self, word: str, failed: list[str]) -> None:
        if failed:
            names = ", ".join(failed)
            self._stack.note(
                f"{word}_FAILED", f"The following resource(s) failed to delete: [{names}]. "
            )
            return
        self._stack.note(f"{word}_COMPLETE")
        if word == "DELETE":
            self._stack.deleted = datetime.now(UTC)

    def _delete_all(self, *, rollback: bool, retained: frozenset[str] = frozenset()) -> list[str]:
        failed = []
        for name in reversed(list(self._stack.resources)):
            placed = self._stack.resources[name]
            policy = placed.policies.get("DeletionPolicy", "Delete")
            keep = policy == "Retain" or (policy == "RetainExceptOnCreate" and not rollback)
            keep = keep or name in retained
            if self._remove(placed, keep=keep):
                del self._stack.resources[name]
            else:
                failed.append(name)
        self._stack.outputs = {}
        return failed

    def _make_all(self, template: Template, parameters: dict[str, Any], word: str) -> str | None:
        """Bring every resource to the template; return the logical id that failed."""
        stack = self._stack
        scope = stack.scope(template, parameters)
        try:
            for name, resource in wanted(template, scope).items():
                try:
                    self._make(name, resource, scope)
                except _FAILURES as error:
                    present = stack.resources.get(name)
                    stack.note(
                        f"{'UPDATE' if present and word == 'UPDATE' else 'CREATE'}_FAILED",
                        _reason_of(error),
                        logical_id=name,
                        type=resource["Type"],
                        physical_id=present.physical_id if present else self._made_halfway or "",
                    )
                    self._remove_half_made(name, resource)
                    return name
            stack.outputs = _outputs_of(template, scope)
        except TemplateError as error:
            return f"{stack.name}: {error}"
        return None

    def _make(self, name: str, resource: dict[str, Any], scope: Scope) -> None:
        stack, kind = self._stack, KINDS[resource["Type"]]
        present = stack.resources.get(name)
        label = {"logical_id": name, "type": resource["Type"]}
        self._made_halfway = None
        properties = scope.value(resource.get("Properties") or {})
        if present is None or present.type != resource["Type"]:
            stack.note("CREATE_IN_PROGRESS", physical_id="", **label)
            placed = self._create(name, resource, kind, properties)
            self._undo.append(Undo(name, lambda work: work._forget(placed)))
            word = "CREATE"
        else:
            changed = changed_properties(present.properties, properties)
            if not changed and present.tags == stack.tags:
                stack.resources[name] = replace(present, policies=_policies_of(resource))
                return
            stack.note("UPDATE_IN_PROGRESS", physical_id=present.physical_id, **label)
            placed = self._change(name, resource, kind, present, properties, changed)
            word = "UPDATE"
        stack.resources[name] = placed
        scope.ids[name], scope.attributes[name] = placed.physical_id, placed.attributes
        stack.note(f"{word}_COMPLETE", physical_id=placed.physical_id, **label)

    def _create(
        self, name: str, resource: dict[str, Any], kind: Kind, properties: dict[str, Any]
    ) -> Placed:
        kind.check(name, properties)

        def exists(physical_id: str) -> None:
            self._made_halfway = physical_id
            self._stack.note(
                "CREATE_IN_PROGRESS",
                "Resource creation Initiated",
                logical_id=name,
                type=kind.type,
                physical_id=physical_id,
            )

        made = kind.create(replace(self._place(name), exists=exists), properties)
        return self._placed(name, resource, made, properties)

    def _change(
        self,
        name: str,
        resource: dict[str, Any],
        kind: Kind,
        present: Placed,
        properties: dict[str, Any],
        changed: set[str],
    ) -> Placed:
        kind.check(name, properties)
        if kind.is_replaced(changed):
            fixed = kind.named_by
            if fixed and fixed in properties and fixed not in changed:
                raise ResourceError(
                    "CloudFormation cannot update a stack when a custom-named resource requires "
                    f"replacing. Rename {properties[fixed]} and update the stack again."
                )
            placed = self._create(name, resource, kind, properties)
            self._undo.append(Undo(name, lambda work: work._forget(placed)))
            return placed
        place = self._place(name)
        self._undo.append(Undo(name, lambda work: work._change_back(kind, present, properties)))
        kind.update(place, present.physical_id, present.properties, properties)
        return self._placed(name, resource, present.physical_id, properties)

    def _change_back(self, kind: Kind, present: Placed, properties: dict[str, Any]) -> bool:
        label = present.label
        place = replace(self._place(present.logical_id), tags=present.tags)
        self._stack.note("UPDATE_IN_PROGRESS", **label)
        try:
            kind.update(place, present.physical_id, properties, present.properties)
        except _FAILURES as error:
            self._stack.note("UPDATE_FAILED", _reason_of(error), **label)
            return False
        self._stack.note("UPDATE_COMPLETE", **label)
        return True

    def _forget(self, placed: Placed) -> bool:
        # What a clean-up cannot remove is no reason for AWS to keep a stack from its way back.
        self._remove(placed, keep=False)
        if self._stack.resources.get(placed.logical_id) is placed:
            del self._stack.resources[placed.logical_id]
        return True

    def _remove_half_made(self, name: str, resource: dict[str, Any]) -> None:
        """Remove what was made before the resource failed, unless a rollback will."""
        if self._made_halfway is None:
            return
        properties = resource.get("Properties") or {}
        placed = self._placed(name, resource, self._made_halfway, properties)
        self._remove(placed, keep=False)

    def _remove(self, placed: Placed, *, keep: bool) -> bool:
        label = placed.label
        if keep:
            self._stack.note("DELETE_SKIPPED", **label)
            return True
        self._stack.note("DELETE_IN_PROGRESS", **label)
        try:
            KINDS[placed.type].delete(
                self._place(placed.logical_id), placed.physical_id, placed.properties
            )
        except _FAILURES as error:
            code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
            if not any(word in code for word in GONE):
                self._stack.note("DELETE_FAILED", _reason_of(error), **label)
                return False
        self._stack.note("DELETE_COMPLETE", **label)
        return True

    def _place(self, name: str) -> Place:
        stack = self._stack
        return Place(
            self._clients, stack.region, stack.partition, stack.name, name, dict(stack.tags)
        )

    def _placed(
        self, name: str, resource: dict[str, Any], physical_id: str, properties: dict[str, Any]
    ) -> Placed:
        kind = KINDS[resource["Type"]]
        return Placed(
            name,
            resource["Type"],
            physical_id,
            properties,
            kind.attributes(self._place(name), physical_id, properties),
            dict(self._stack.tags),
            _policies_of(resource),
        )


def _policies_of(resource: dict[str, Any]) -> dict[str, str]:
    """Return what a resource says of its own deletion."""
    names = ("DeletionPolicy", "UpdateReplacePolicy")
    return {name: resource[name] for name in names if name in resource}


def _outputs_of(template: Template, scope: Scope) -> dict[str, dict[str, Any]]:
    """Return a template's outputs as DescribeStacks lists them, by name."""
    outputs = {}
    for name, output in template.section("Outputs").items():
        if not scope.holds(output.get("Condition")):
            continue
        entry = {"OutputKey": name, "OutputValue": str(scope.value(output["Value"]))}
        if output.get("Description"):
            entry["Description"] = output["Description"]
        outputs[name] = entry
    return outputs


def _reason_of(error: Exception) -> str:
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
