"""CloudFormation of the embedded AWS: its API over stacks, change sets and deployments.

moto's own CloudFormation makes resources behind the services' backs: without validation, with
`arn:aws:` in every partition, without rollback, and with empty outputs after a change set. This one
calls the services as AWS does, works in the background, and keeps events and reasons.
"""

from __future__ import annotations

from typing import Any

from moto.core.utils import get_service_model
from moto.utilities.utils import get_partition

from ...clients import Clients
from ...operations import Operation, without_nones
from ...wire import Call, ServiceError
from .changesets import ChangeSets, parameter_rows
from .stacks import Stack
from .store import StackStore, invalid, parameters_of, refuse_busy, tags_of
from .template import Template


class CloudFormation:
    """CloudFormation in all regions of one embedded AWS.

    Parameters
    ----------
    clients : Clients
        To reach the services that the resources belong to.
    """

    def __init__(self, clients: Clients) -> None:
        self._store = StackStore(clients)
        self._change_sets = ChangeSets(self._store)
        self.shut_down = self._store.shut_down

    def operations(self) -> dict[tuple[str, str], Operation]:
        """Return all operations of CloudFormation; those that are missing say so."""
        mine: dict[str, Operation] = {
            **self._change_sets.operations(),
            "CreateStack": self.create_stack,
            "UpdateStack": self.update_stack,
            "DeleteStack": self.delete_stack,
            "ContinueUpdateRollback": self.continue_update_rollback,
            "DescribeStacks": self.describe_stacks,
            "ListStacks": self.list_stacks,
            "DescribeStackEvents": self.describe_events,
            "DescribeStackResources": self.describe_resources,
            "GetTemplate": self.get_template,
            "GetTemplateSummary": self.get_template_summary,
            "UpdateTerminationProtection": self.protect,
        }
        names = get_service_model("cloudformation").operation_names
        return {("cloudformation", name): mine.get(name, _missing) for name in names}

    def create_stack(self, call: Call) -> dict[str, Any]:
        """Make a stack at once, without a change set."""
        asked = call.params
        template = self._store.template(call)
        parameters = parameters_of(template, asked, {})
        with self._store.lock:
            if self._store.find(call.region, asked["StackName"]) is not None:
                raise ServiceError(
                    "AlreadyExistsException", f"Stack [{asked['StackName']}] already exists"
                )
            stack = Stack(asked["StackName"], call.region, get_partition(call.region))
            self._store.stacks.append(stack)
        self._store.settle(stack, asked)
        stack.protected = bool(asked.get("EnableTerminationProtection"))
        stack.status = "CREATE_IN_PROGRESS"
        self._store.start(call, stack, lambda work: work.create(template, parameters))
        return {"StackId": stack.stack_id}

    def update_stack(self, call: Call) -> dict[str, Any]:
        """Move a stack to another template at once."""
        asked = call.params
        stack = self._store.stack(call, asked["StackName"])
        refuse_busy(stack)
        template = self._store.template(call, stack)
        parameters = parameters_of(template, asked, stack.parameters)
        tags = tags_of(asked, stack.tags)
        if not self._store.differs(stack, template, parameters, tags):
            raise invalid("No updates are to be performed.")
        with self._store.lock:
            refuse_busy(stack)
            stack.status = "UPDATE_IN_PROGRESS"
        self._store.start(call, stack, lambda work: work.update(template, parameters, tags))
        return {"StackId": stack.stack_id}

    def delete_stack(self, call: Call) -> dict[str, Any]:
        """Remove a stack; one that does not exist is fine, as AWS sees it."""
        stack = self._store.find(call.region, call.params["StackName"])
        if stack is None:
            return {}
        if stack.protected:
            raise invalid(
                f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled"
            )
        retained = frozenset(call.params.get("RetainResources") or [])
        with self._store.lock:
            if retained and stack.status != "DELETE_FAILED":
                raise invalid(
                    f"Invalid operation on stack [{stack.stack_id}]. Specify which resources to "
                    "retain only when the stack is in the DELETE_FAILED state."
                )
            _check_known(stack, retained)
            refuse_busy(stack, but="REVIEW_IN_PROGRESS")
            self._change_sets.forget(stack)
            stack.status = "DELETE_IN_PROGRESS"
        self._store.start(call, stack, lambda work: work.delete(retained))
        return {}

    def continue_update_rollback(self, call: Call) -> dict[str, Any]:
        """Go on undoing a failed update, where something kept that from being done."""
        stack = self._store.stack(call, call.params["StackName"])
        with self._store.lock:
            if stack.status != "UPDATE_ROLLBACK_FAILED" or stack.way_back is None:
                raise invalid(
                    f"Stack:{stack.stack_id} is in {stack.status} state and can not continue "
                    "update rollback."
                )
            stack.status = "UPDATE_ROLLBACK_IN_PROGRESS"
        self._store.start(call, stack, lambda work: work.continue_rollback())
        return {}

    def describe_stacks(self, call: Call) -> dict[str, Any]:
        """Describe one stack, or all that have not been deleted."""
        name = call.params.get("StackName")
        if name:
            return {"Stacks": [_description(self._store.stack(call, name, deleted=True))]}
        return {
            "Stacks": [_description(one) for one in self._store.all(call) if one.deleted is None]
        }

    def list_stacks(self, call: Call) -> dict[str, Any]:
        """List stacks, deleted ones included."""
        wanted = call.params.get("StackStatusFilter")
        rows = [_description(one) for one in reversed(list(self._store.all(call)))]
        # What a summary does not have is left out when the answer is written.
        return {
            "StackSummaries": [
                row
                | ({"TemplateDescription": row["Description"]} if row.get("Description") else {})
                for row in rows
                if not wanted or row["StackStatus"] in wanted
            ]
        }

    def describe_events(self, call: Call) -> dict[str, Any]:
        """List a stack's events, newest first."""
        stack = self._store.stack(call, call.params["StackName"], deleted=True)
        return {"StackEvents": stack.events[::-1]}

    def describe_resources(self, call: Call) -> dict[str, Any]:
        """Describe a stack's resources."""
        stack = self._store.stack(call, call.params["StackName"], deleted=True)
        only = call.params.get("LogicalResourceId")
        rows = [_resource(stack, name) for name in stack.resources if only in (None, name)]
        return {"StackResources": rows}

    def get_template(self, call: Call) -> dict[str, Any]:
        """Return a stack's template as it was given."""
        if call.params.get("ChangeSetName"):
            return {"TemplateBody": self._change_sets.find(call).template.returned}
        stack = self._store.stack(call, call.params["StackName"], deleted=True)
        return {
            "TemplateBody": stack.template.returned,
            "StagesAvailable": ["Original", "Processed"],
        }

    def get_template_summary(self, call: Call) -> dict[str, Any]:
        """Say what a template declares."""
        name = call.params.get("StackName")
        template = self._store.stack(call, name).template if name else self._store.template(call)
        types = sorted({one["Type"] for one in template.resources.values()})
        summary: dict[str, Any] = {"ResourceTypes": types, "Parameters": _parameters(template)}
        if template.body.get("Description"):
            summary["Description"] = template.body["Description"]
        if any(name.startswith("AWS::IAM::") for name in types):
            summary["Capabilities"] = ["CAPABILITY_NAMED_IAM"]
            summary["CapabilitiesReason"] = "The template holds IAM resources."
        return summary

    def protect(self, call: Call) -> dict[str, Any]:
        """Switch termination protection."""
        stack = self._store.stack(call, call.params["StackName"])
        stack.protected = bool(call.params["EnableTerminationProtection"])
        return {"StackId": stack.stack_id}


def _check_known(stack: Stack, names: frozenset[str]) -> None:
    unknown = sorted(names - stack.resources.keys())
    if unknown:
        raise invalid(f"Resources [{', '.join(unknown)}] do not exist in stack {stack.name}")


def _missing(call: Call) -> Any:
    raise ServiceError(
        "NotInEmbeddedAWS", f"The embedded AWS does not have cloudformation:{call.operation}.", 501
    )


def _description(stack: Stack) -> dict[str, Any]:
    return without_nones(
        {
            "StackId": stack.stack_id,
            "StackName": stack.name,
            "ChangeSetId": stack.change_set_id,
            "Description": stack.template.body.get("Description"),
            "Parameters": parameter_rows(stack.template, stack.parameters),
            "CreationTime": stack.created,
            "LastUpdatedTime": stack.updated,
            "DeletionTime": stack.deleted,
            "StackStatus": stack.status,
            "StackStatusReason": stack.reason,
            "DisableRollback": False,
            "Capabilities": stack.capabilities,
            "Outputs": list(stack.outputs.values()),
            "RoleARN": stack.role_arn,
            "Tags": [{"Key": key, "Value": value} for key, value in stack.tags.items()],
            "EnableTerminationProtection": stack.protected,
        }
    )


def _resource(stack: Stack, name: str) -> dict[str, Any]:
    placed = stack.resources[name]
    return {
        "StackName": stack.name,
        "StackId": stack.stack_id,
        "LogicalResourceId": name,
        "PhysicalResourceId": placed.physical_id,
        "ResourceType": placed.type,
        "Timestamp": placed.updated,
        "ResourceStatus": placed.status,
    }


def _parameters(template: Template) -> list[dict[str, Any]]:
    return [
        without_nones(
            {
                "ParameterKey": key,
                "DefaultValue": None if "Default" not in one else str(one["Default"]),
                "NoEcho": bool(one.get("NoEcho")),
                "Description": one.get("Description"),
            }
        )
        for key, one in template.section("Parameters").items()
    ]
