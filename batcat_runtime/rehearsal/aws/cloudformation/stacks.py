"""Stacks: what CloudFormation knows of them, and what a template would change in them.

`Stack` is the record: status, resources, outputs, events. `plan` compares it with a template and
says what would change, which is what a change set shows; `deployment.py` does it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ...wire import ACCOUNT_ID
from .resources import KINDS
from .scope import Scope
from .template import EMPTY, Template, TemplateError


@dataclass(frozen=True)
class Placed:
    """A resource of a stack that exists."""

    logical_id: str
    type: str
    physical_id: str
    properties: dict[str, Any]
    attributes: dict[str, Any]
    tags: dict[str, str]
    policies: dict[str, str]
    status: str = "CREATE_COMPLETE"
    updated: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def label(self) -> dict[str, str]:
        """What an event says of it."""
        return {
            "logical_id": self.logical_id,
            "type": self.type,
            "physical_id": self.physical_id,
        }


@dataclass(frozen=True)
class Before:
    """What a stack goes back to when an update fails."""

    template: Template
    parameters: dict[str, Any]
    tags: dict[str, str]
    resources: dict[str, Placed]


@dataclass
class Stack:
    """A stack and everything that is remembered of it."""

    name: str
    region: str
    partition: str
    stack_id: str = ""
    status: str = "REVIEW_IN_PROGRESS"
    reason: str | None = None
    template: Template = EMPTY
    parameters: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    capabilities: list[str] = field(default_factory=list)
    role_arn: str | None = None
    protected: bool = False
    change_set_id: str | None = None
    resources: dict[str, Placed] = field(default_factory=dict)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    updated: datetime | None = None
    deleted: datetime | None = None
    # Of an update that failed: where it goes back to, and the steps that are still to be taken.
    way_back: tuple[Before, list[Any]] | None = None

    def __post_init__(self) -> None:
        where = f"arn:{self.partition}:cloudformation:{self.region}:{ACCOUNT_ID}"
        self.stack_id = self.stack_id or f"{where}:stack/{self.name}/{uuid.uuid4()}"

    def note(self, status: str, reason: str | None = None, **resource: Any) -> None:
        """Add an event, about the stack itself unless a resource is given."""
        if not resource:
            self.status, self.reason = status, reason
        event = {
            "StackId": self.stack_id,
            "StackName": self.name,
            "EventId": str(uuid.uuid4()),
            "LogicalResourceId": resource.get("logical_id", self.name),
            "PhysicalResourceId": resource.get("physical_id", self.stack_id),
            "ResourceType": resource.get("type", "AWS::CloudFormation::Stack"),
            "Timestamp": datetime.now(UTC),
            "ResourceStatus": status,
        }
        if reason:
            event["ResourceStatusReason"] = reason
        self.events.append(event)

    def scope(self, template: Template, parameters: dict[str, Any]) -> Scope:
        """Return what the expressions of a template may refer to now."""
        suffix = "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"
        pseudo = {
            "AWS::AccountId": ACCOUNT_ID,
            "AWS::Partition": self.partition,
            "AWS::Region": self.region,
            "AWS::StackId": self.stack_id,
            "AWS::StackName": self.name,
            "AWS::URLSuffix": suffix,
        }
        return Scope(
            template,
            pseudo,
            parameters,
            ids={name: one.physical_id for name, one in self.resources.items()},
            attributes={name: one.attributes for name, one in self.resources.items()},
        )


def check_types(template: Template) -> None:
    """Refuse resource types that the embedded AWS does not have, before anything is made."""
    unknown = sorted({one["Type"] for one in template.resources.values()} - KINDS.keys())
    if unknown:
        raise TemplateError(
            f"Template format error: Unrecognized resource types: [{', '.join(unknown)}] "
            f"(the embedded AWS has: {', '.join(sorted(KINDS))})"
        )


def wanted(template: Template, scope: Scope) -> dict[str, dict[str, Any]]:
    """Return the resources whose condition holds, in order."""
    resources = template.resources
    return {
        name: resources[name]
        for name in template.order
        if scope.holds(resources[name].get("Condition"))
    }


def plan(
    stack: Stack,
    template: Template,
    parameters: dict[str, Any],
    tags: dict[str, str],
) -> list[dict[str, Any]]:
    """Say what a template would change, as DescribeChangeSet does.

    Parameters
    ----------
    stack : Stack
        As it is.
    template : Template
        As it shall be.
    parameters, tags : dict
        What the template will be evaluated with.

    Returns
    -------
    list of dict
        One ``ResourceChange`` for every resource that would change.
    """
    scope = stack.scope(template, parameters)
    changes = []
    target = wanted(template, scope)
    for name, resource in target.items():
        present = stack.resources.get(name)
        kind = KINDS[resource["Type"]]
        if present is None:
            changes.append(_change("Add", name, resource["Type"]))
            continue
        properties = scope.value(resource.get("Properties") or {})
        changed = changed_properties(present.properties, properties)
        retyped = present.type != resource["Type"]
        if not changed and not retyped and present.tags == tags:
            continue
        replaced = retyped or kind.is_replaced(changed)
        if replaced:
            # What refers to it will get another id, not known yet.
            scope.ids.pop(name, None)
        changes.append(
            _change("Modify", name, resource["Type"], present, replaced, sorted(changed))
        )
    changes += [
        _change("Remove", name, present.type, present)
        for name, present in stack.resources.items()
        if name not in target
    ]
    return changes


def changed_properties(old: dict[str, Any], new: dict[str, Any]) -> set[str]:
    """Return the names of the properties that differ."""
    return {key for key in {*old, *new} if old.get(key) != new.get(key)}


def _change(
    action: str,
    name: str,
    kind: str,
    present: Placed | None = None,
    replaced: bool = False,
    properties: list[str] | None = None,
) -> dict[str, Any]:
    change: dict[str, Any] = {
        "Action": action,
        "LogicalResourceId": name,
        "ResourceType": kind,
        "Scope": [],
        "Details": [
            {"Target": {"Attribute": "Properties", "Name": one}, "Evaluation": "Static"}
            for one in properties or []
        ],
    }
    if present is not None:
        change["PhysicalResourceId"] = present.physical_id
    if action == "Modify":
        change["Replacement"] = "True" if replaced else "False"
        change["Scope"] = ["Properties"] if properties else ["Tags"]
    return change
