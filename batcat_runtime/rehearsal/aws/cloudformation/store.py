"""The stacks of one embedded AWS, and what all operations on them share."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

from ...clients import Clients
from ...wire import Call, ServiceError
from . import kinds as _kinds
from .deployment import Deployment
from .stacks import Stack, check_types, plan
from .template import Template, TemplateError, parameter_values, read_template

log = logging.getLogger(__name__)

_MAX_BODY = 51_200
_IAM = "AWS::IAM::"
_BUSY = "_IN_PROGRESS"
_STUCK = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED", "UPDATE_ROLLBACK_FAILED")
_ABSENT = (
    *("DisableRollback", "NotificationARNs", "OnFailure", "OnStackFailure", "ResourcesToImport"),
    *("RollbackConfiguration", "StackPolicyBody", "StackPolicyURL"),
)
_KINDS = _kinds  # imported for what it registers


class StackStore:
    """Keeps stacks and performs deployments in the background.

    Parameters
    ----------
    clients : Clients
        To reach the services that the resources belong to.
    """

    def __init__(self, clients: Clients) -> None:
        self.stacks: list[Stack] = []
        self.lock = threading.RLock()
        self._clients = clients
        self._threads: list[threading.Thread] = []

    def shut_down(self, timeout: float) -> None:
        """Wait a moment for what is under way."""
        for thread in self._threads:
            thread.join(timeout / 10)

    def start(self, call: Call, stack: Stack, work: Any) -> None:
        """Do something to a stack in the background.

        CloudFormation calls the services with the rights of whoever called it, or with those of the
        stack's own role.
        """
        clients = (
            self._clients.as_role(stack.role_arn, stack.region, "cloudformation")
            if stack.role_arn
            else self._clients.acting_for(call.access_key, "cloudformation")
        )
        deployment = Deployment(stack, clients)

        def run() -> None:
            try:
                work(deployment)
            except Exception as error:
                log.exception("Stack %s", stack.name)
                word = stack.status.removesuffix(_BUSY)
                stack.note(f"{word}_FAILED", f"Internal failure: {error!r}")

        thread = threading.Thread(target=run, daemon=True, name=f"stack {stack.name}")
        self._threads.append(thread)
        thread.start()

    def settle(self, stack: Stack, asked: dict[str, Any]) -> None:
        """Take over what a request says of the stack itself."""
        stack.tags = tags_of(asked, {})
        stack.capabilities = list(asked.get("Capabilities") or [])
        stack.role_arn = asked.get("RoleARN")

    def differs(
        self, stack: Stack, template: Template, parameters: dict[str, Any], tags: dict[str, str]
    ) -> bool:
        """Tell whether a template would change anything."""
        outputs = template.section("Outputs") != stack.template.section("Outputs")
        return outputs or bool(plan(stack, template, parameters, tags))

    def template(self, call: Call, stack: Stack | None = None) -> Template:
        """Read and check the template that a request brings or names."""
        asked = call.params
        refuse_absent(call)
        if asked.get("UsePreviousTemplate") and stack is not None:
            return stack.template
        text = asked.get("TemplateBody")
        if asked.get("TemplateURL"):
            text = self._fetch(call.region, str(asked["TemplateURL"]))
        elif text is None:
            raise invalid("Either Template URL or Template Body must be specified.")
        elif len(text.encode()) > _MAX_BODY:
            raise invalid(
                "1 validation error detected: Value at 'templateBody' failed to satisfy "
                f"constraint: Member must have length less than or equal to {_MAX_BODY}"
            )
        try:
            template = read_template(text)
            check_types(template)
        except TemplateError as error:
            raise invalid(str(error)) from error
        if call.operation in ("CreateStack", "UpdateStack", "CreateChangeSet"):
            _check_capabilities(template, asked.get("Capabilities") or [])
        return template

    def _fetch(self, region: str, url: str) -> str:
        path = url.partition("://")[2]
        host, _, rest = path.partition("/")
        bucket, _, key = rest.partition("/")
        if host.partition(".")[0] not in ("s3", "127", "localhost"):
            bucket, key = host.partition(".s3")[0], rest
        answer = self._clients.get("s3", region).get_object(Bucket=bucket, Key=key)
        return str(answer["Body"].read().decode())

    def all(self, call: Call) -> Iterator[Stack]:
        """Return the stacks of the region, oldest first."""
        return (stack for stack in list(self.stacks) if stack.region == call.region)

    def find(self, region: str, name: str, *, deleted: bool = False) -> Stack | None:
        """Return a stack by name or id, or None."""
        for stack in reversed(self.stacks):
            if stack.region != region:
                continue
            if stack.stack_id == name and (deleted or stack.deleted is None):
                return stack
            if stack.name == name and stack.deleted is None:
                return stack
        return None

    def stack(self, call: Call, name: str, *, deleted: bool = False) -> Stack:
        """Return a stack by name or id, or raise."""
        stack = self.find(call.region, name, deleted=deleted)
        if stack is None:
            raise invalid(f"Stack with id {name} does not exist")
        return stack


def invalid(message: str) -> ServiceError:
    """Return a ValidationError, CloudFormation's answer to most mistakes."""
    return ServiceError("ValidationError", message)


def refuse_absent(call: Call) -> None:
    """Raise when a request asks for what the embedded AWS would silently leave out."""
    for name in _ABSENT:
        if call.params.get(name):
            text = f"The embedded AWS does not have {name} of {call.operation}."
            raise ServiceError("NotInEmbeddedAWS", text, 501)


def refuse_busy(stack: Stack, but: str = "") -> None:
    """Raise when a stack is in a state that allows no operation."""
    stuck = stack.status in _STUCK and not but
    if stuck or (stack.status.endswith(_BUSY) and stack.status != but):
        raise invalid(f"Stack:{stack.stack_id} is in {stack.status} state and can not be updated.")


def _check_capabilities(template: Template, given: list[str]) -> None:
    iam = [one for one in template.resources.values() if one["Type"].startswith(_IAM)]
    names = ("RoleName", "ManagedPolicyName", "UserName", "GroupName")
    named = any(name in (one.get("Properties") or {}) for one in iam for name in names)
    enough = {"CAPABILITY_NAMED_IAM"} if named else {"CAPABILITY_NAMED_IAM", "CAPABILITY_IAM"}
    if iam and not enough & set(given):
        needed = "CAPABILITY_NAMED_IAM" if named else "CAPABILITY_IAM"
        raise ServiceError(
            "InsufficientCapabilitiesException", f"Requires capabilities : [{needed}]"
        )


def parameters_of(
    template: Template, asked: dict[str, Any], previous: dict[str, Any]
) -> dict[str, Any]:
    """Return the parameters that a request gives, checked."""
    try:
        return parameter_values(template, asked.get("Parameters") or [], previous)
    except TemplateError as error:
        raise invalid(str(error)) from error


def tags_of(asked: dict[str, Any], present: dict[str, str]) -> dict[str, str]:
    """Return the tags that a request gives, or the present ones."""
    if "Tags" not in asked:
        return dict(present)
    return {tag["Key"]: tag["Value"] for tag in asked["Tags"]}
