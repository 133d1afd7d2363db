"""Change sets: a template compared with a stack, kept until somebody executes it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from moto.utilities.utils import get_partition

from ...operations import Operation, without_nones
from ...wire import ACCOUNT_ID, Call, ServiceError
from .deployment import Deployment
from .stacks import Stack, plan
from .store import StackStore, invalid, parameters_of, refuse_absent, refuse_busy, tags_of
from .template import Template, TemplateError

NO_CHANGES = (
    "The submitted information didn't contain changes. Submit different information to create a "
    "change set."
)


@dataclass
class ChangeSet:
    """A change set: a template on its way into a stack."""

    name: str
    change_set_id: str
    stack: Stack
    kind: str
    template: Template
    parameters: dict[str, Any]
    tags: dict[str, str]
    capabilities: list[str]
    changes: list[dict[str, Any]]
    description: str | None = None
    status: str = "CREATE_COMPLETE"
    execution_status: str = "AVAILABLE"
    reason: str | None = None
    created: datetime = field(default_factory=lambda: datetime.now(UTC))


class ChangeSets:
    """The change sets of one embedded AWS.

    Parameters
    ----------
    store : StackStore
        The stacks that they are for.
    """

    def __init__(self, store: StackStore) -> None:
        self._store = store
        self._change_sets: list[ChangeSet] = []

    def operations(self) -> dict[str, Operation]:
        """Return the operations on change sets by name."""
        return {
            "CreateChangeSet": self.create_change_set,
            "DescribeChangeSet": self.describe_change_set,
            "ExecuteChangeSet": self.execute_change_set,
            "DeleteChangeSet": self.delete_change_set,
            "ListChangeSets": self.list_change_sets,
        }

    def find(self, call: Call) -> ChangeSet:
        """Return the change set that a call names, by name or ARN."""
        name, of = call.params["ChangeSetName"], call.params.get("StackName")
        # The newest first: an executed change set keeps its name, and may have a successor.
        for one in reversed(self._change_sets):
            mine = of in (None, one.stack.name, one.stack.stack_id)
            if one.change_set_id == name or (one.name == name and mine):
                return one
        raise ServiceError("ChangeSetNotFound", f"ChangeSet [{name}] does not exist", 404)

    def forget(self, stack: Stack) -> None:
        """Forget the change sets of a stack."""
        with self._store.lock:
            self._change_sets = [one for one in self._change_sets if one.stack is not stack]

    def create_change_set(self, call: Call) -> dict[str, Any]:
        """Compare a stack with a template and keep the difference."""
        asked = call.params
        kind = str(asked.get("ChangeSetType") or "UPDATE")
        if kind not in ("CREATE", "UPDATE"):
            raise ServiceError("NotInEmbeddedAWS", f"The embedded AWS has no {kind} change sets.")
        stack = self._stack_for(call, kind)
        try:
            template = self._store.template(call, stack)
            parameters = parameters_of(template, asked, stack.parameters)
            changes = plan(
                stack,
                template,
                parameters,
                tags_of(asked, stack.tags),
            )
        except TemplateError as error:
            raise invalid(str(error)) from error
        region, name = call.region, asked["ChangeSetName"]
        arn = f"arn:{stack.partition}:cloudformation:{region}:{ACCOUNT_ID}:changeSet/{name}"
        with self._store.lock:
            # Somebody else may have been quicker since we looked.
            stack = self._stack_for(call, kind, stack)
            if any(one.name == name for one in self._waiting(stack)):
                raise ServiceError(
                    "AlreadyExistsException",
                    f"ChangeSet {name} cannot be created due to a "
                    "mismatch with existing attributes",
                )
            if stack not in self._store.stacks:
                self._store.stacks.append(stack)
                stack.note("REVIEW_IN_PROGRESS", "User Initiated")
            change_set = ChangeSet(
                name,
                f"{arn}/{uuid.uuid4()}",
                stack,
                kind,
                template,
                parameters,
                tags_of(asked, stack.tags),
                list(asked.get("Capabilities") or []),
                changes,
                description=asked.get("Description"),
            )
            self._change_sets.append(change_set)
            if kind == "CREATE":
                self._store.settle(stack, asked)
        changed = self._store.differs(stack, template, parameters, change_set.tags)
        if kind == "UPDATE" and not changed:
            change_set.status, change_set.execution_status = "FAILED", "UNAVAILABLE"
            change_set.reason = NO_CHANGES
        return {"Id": change_set.change_set_id, "StackId": stack.stack_id}

    def describe_change_set(self, call: Call) -> dict[str, Any]:
        """Describe a change set with its changes."""
        one = self.find(call)
        return without_nones(
            _change_set_row(one)
            | {
                "Parameters": parameter_rows(one.template, one.parameters),
                "Tags": [{"Key": key, "Value": value} for key, value in one.tags.items()],
                "Capabilities": one.capabilities,
                "Changes": [{"Type": "Resource", "ResourceChange": c} for c in one.changes],
            }
        )

    def list_change_sets(self, call: Call) -> dict[str, Any]:
        """List a stack's change sets."""
        stack = self._store.stack(call, call.params["StackName"])
        return {"Summaries": [without_nones(_change_set_row(one)) for one in self._waiting(stack)]}

    def delete_change_set(self, call: Call) -> dict[str, Any]:
        """Forget a change set; one that does not exist is fine."""
        try:
            one = self.find(call)
        except ServiceError:
            return {}
        with self._store.lock:
            self._change_sets.remove(one)
        return {}

    def execute_change_set(self, call: Call) -> dict[str, Any]:
        """Do what a change set says."""
        refuse_absent(call)
        with self._store.lock:
            one = self._claim(call)

        def work(deployment: Deployment) -> None:
            if one.kind == "CREATE":
                deployment.create(one.template, one.parameters)
            else:
                deployment.update(one.template, one.parameters, one.tags)
            failed = one.stack.status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE")
            one.execution_status = "EXECUTE_FAILED" if failed else "EXECUTE_COMPLETE"

        self._store.start(call, one.stack, work)
        return {}

    def _claim(self, call: Call) -> ChangeSet:
        """Return the change set that is to be executed; only one caller gets it."""
        one = self.find(call)
        if one.execution_status != "AVAILABLE":
            raise ServiceError(
                "InvalidChangeSetStatus",
                f"ChangeSet [{one.change_set_id}] cannot be executed in its current status of "
                f"[{one.status}]",
            )
        refuse_busy(one.stack, but="REVIEW_IN_PROGRESS")
        one.execution_status = "EXECUTE_IN_PROGRESS"
        one.stack.change_set_id = one.change_set_id
        one.stack.capabilities = one.capabilities
        one.stack.status = f"{one.kind}_IN_PROGRESS"
        # As on AWS, the stack keeps no change sets that were made for its former state.
        self._change_sets = [
            other for other in self._change_sets if other.stack is not one.stack or other is one
        ]
        return one

    def _stack_for(self, call: Call, kind: str, mine: Stack | None = None) -> Stack:
        """Return the stack for a change set: what is there, `mine`, or a new one."""
        name = call.params["StackName"]
        stack = self._store.find(call.region, name)
        if kind == "UPDATE":
            if stack is None or stack.status == "REVIEW_IN_PROGRESS":
                raise invalid(f"Stack [{name}] does not exist")
            refuse_busy(stack)
            return stack
        if stack is not None and stack.status != "REVIEW_IN_PROGRESS":
            raise invalid(
                f"Stack [{name}] already exists and cannot be created again with the changeSet "
                f"[{call.params['ChangeSetName']}]."
            )
        return stack or mine or Stack(name, call.region, get_partition(call.region))

    def _waiting(self, stack: Stack) -> list[ChangeSet]:
        """Return a stack's change sets that have not been executed."""
        return [
            one
            for one in self._change_sets
            if one.stack is stack and not one.execution_status.startswith("EXECUTE")
        ]


def parameter_rows(template: Template, values: dict[str, Any]) -> list[dict[str, Any]]:
    """Write parameters as CloudFormation lists them, secrets hidden."""
    declared = template.section("Parameters")
    return [
        {
            "ParameterKey": key,
            "ParameterValue": "****" if declared[key].get("NoEcho") else str(value),
        }
        for key, value in values.items()
    ]


def _change_set_row(one: ChangeSet) -> dict[str, Any]:
    return {
        "ChangeSetName": one.name,
        "ChangeSetId": one.change_set_id,
        "StackId": one.stack.stack_id,
        "StackName": one.stack.name,
        "Description": one.description,
        "CreationTime": one.created,
        "ExecutionStatus": one.execution_status,
        "Status": one.status,
        "StatusReason": one.reason,
    }
