"""The project, the account that it lives in, and its stacks there: what every command begins with.

`open_project` is the one way in: from a folder to the configuration, its purposes, and clients for
the region that it is deployed in. They give up within half a minute when the network is lost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from batcat_runtime.account import account_of
from batcat_runtime.config import CONFIG_PATH, Config, find_project, get_config
from batcat_runtime.errors import BatcatError
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.clients import client
from batcat_runtime.names import Names, slug

# States in which a stack holds what its template says.
STANDING = frozenset(
    {
        "CREATE_COMPLETE",
        "UPDATE_COMPLETE",
        "UPDATE_ROLLBACK_COMPLETE",
        "IMPORT_COMPLETE",
        "IMPORT_ROLLBACK_COMPLETE",
    }
)
# States in which it holds nothing: it was never executed, or its creation was undone.
EMPTY = frozenset({"REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE"})
_GONE = "DELETE_COMPLETE"

Kind = Literal["trigger", "workflow", "roles"]
KINDS: tuple[Kind, ...] = ("trigger", "workflow", "roles")


@dataclass(frozen=True)
class Project:
    """A project, its configuration, and clients for the region that it is deployed in.

    Attributes
    ----------
    folder : Path
        The project's folder.
    config : Config
        Its configuration, checked.
    """

    folder: Path
    config: Config

    def client(self, service: str) -> Any:
        """Return the boto3 client of a service in the project's region, made once."""
        return client(service, region=self.config.region, hasty=True)

    def names(self, purpose: str) -> Names:
        """Return the AWS names of a purpose."""
        return Names.of(self.config, purpose)

    def purposes(self, purpose: str | None = None) -> list[str]:
        """Return the purpose that was named, or all of them in their order."""
        return [self.config.purpose_name(purpose)] if purpose else list(self.config.purposes)

    @cached_property
    def account(self) -> str:
        """The 12-digit account id of the credentials in use."""
        return account_of(self.config)

    def machine_arn(self, purpose: str) -> str:
        """Return the ARN of a purpose's state machine."""
        names = self.names(purpose)
        return names.arn("states", f"stateMachine:{names.state_machine}", self.account)

    def result_uri(self, purpose: str) -> str:
        """Return the ``s3://`` prefix of a purpose's results, without a slash at its end."""
        return f"s3://{self.config.result_s3_bucket}/{self.names(purpose).result_prefix}"

    def option(self, purpose: str) -> str:
        """Return what a command for this purpose needs: `` --purpose NAME``, or nothing."""
        return f" --purpose {purpose}" if len(self.config.purposes) > 1 else ""

    def asked(self, place: str, action: str) -> contextlib.AbstractContextManager[None]:
        """Turn AWS's refusals into typed errors that name the place and the action needed."""
        return translated(place, action)


def open_project(folder: str | Path | None = None) -> Project:
    """Return the project at or above a folder, by default the working directory.

    Raises
    ------
    ConfigError
        There is none, or its configuration is wrong.
    """
    found = find_project(folder)
    return Project(found, get_config(found))


@dataclass(frozen=True)
class DeployedStack:
    """A stack that exists.

    Attributes
    ----------
    name, arn : str
        The ARN stays valid after the stack was deleted.
    status, reason : str
        Such as ``UPDATE_COMPLETE``; the reason is often empty.
    description : str
        Its template's.
    tags : dict of str to str
        The stack's.
    parameters : dict of str to str
        What its template was given.
    protected : bool
        Whether termination protection is on.
    """

    name: str
    arn: str
    status: str
    reason: str
    description: str
    tags: dict[str, str]
    parameters: dict[str, str]
    protected: bool

    @property
    def busy(self) -> bool:
        """Whether an operation is under way."""
        return self.status.endswith("_IN_PROGRESS") and self.status not in EMPTY


def find_stack(project: Project, name: str) -> DeployedStack | None:
    """Return a stack by name or ARN, or None when there is none.

    Of a deleted stack, only the ARN finds it: its status is ``DELETE_COMPLETE`` then.
    """
    from botocore.exceptions import ClientError

    with project.asked(f"the stack {name}", "cloudformation:DescribeStacks"):
        try:
            found = project.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in error.response["Error"].get("Message", ""):
                return None
            raise
    given = found.get("Parameters", [])
    return DeployedStack(
        name=found["StackName"],
        arn=found["StackId"],
        status=found["StackStatus"],
        reason=found.get("StackStatusReason") or "",
        description=found.get("Description") or "",
        tags={tag["Key"]: tag["Value"] for tag in found.get("Tags", [])},
        parameters={each["ParameterKey"]: each.get("ParameterValue", "") for each in given},
        protected=bool(found.get("EnableTerminationProtection")),
    )


def is_ours(project: Project, stack: DeployedStack) -> bool:
    """Tell whether a stack of one of the project's names was made for this project.

    Its tags say so. A stack that was never executed may have none.
    """
    from batcat_runtime.deploy.parameters import tags_of

    ours = tags_of(project.config)
    if all(stack.tags.get(key) == ours[key] for key in ("batcat:project", "batcat:bucket")):
        return True
    return stack.status == "REVIEW_IN_PROGRESS" and not stack.description and not stack.tags


@dataclass(frozen=True)
class RemovedStack:
    """A stack of a pipeline that was removed from the configuration, and goes on running.

    Attributes
    ----------
    kind : {"trigger", "workflow", "roles"}
        What it is for.
    purpose : str
        The pipeline, as AWS names it.
    stack : DeployedStack
        The stack.
    """

    kind: Kind
    purpose: str
    stack: DeployedStack


def removed_stacks(project: Project) -> Iterator[RemovedStack]:
    """Yield the project's stacks that are of none of its purposes, as their tags say.

    Raises
    ------
    AccessDeniedError
        These credentials may not list stacks, or not look at one whose name begins as ours do.
    """
    mine, known = slug(project.config.project), set(map(slug, project.config.purposes))
    client = project.client("cloudformation")
    # Deleted ones are listed for 90 days, and may be many.
    states = client.meta.service_model.shape_for("StackStatus").enum
    there = [state for state in states if state != _GONE]
    with project.asked("the stacks of this region", "cloudformation:ListStacks"):
        found = [
            listed["StackId"]
            for page in client.get_paginator("list_stacks").paginate(StackStatusFilter=there)
            for listed in page["StackSummaries"]
            if listed["StackName"].startswith(f"batcat-{mine}--")
        ]
    for arn in found:
        stack = find_stack(project, arn)
        purpose = stack.tags.get("batcat:purpose", "") if stack else ""
        if stack is None or not purpose or purpose in known or not is_ours(project, stack):
            continue
        names = Names(project.config.project, purpose, project.config.region)
        kinds = [kind for kind in KINDS if names.stack(kind) == stack.name]
        if kinds:
            yield RemovedStack(kinds[0], purpose, stack)


def removed_purposes(project: Project) -> list[str]:
    """Return the pipelines that are deployed, but that the configuration has no longer."""
    return sorted({each.purpose for each in removed_stacks(project)})


def removed_notes(project: Project) -> list[str]:
    """Return a line for each of them: what it does, and what to do about it.

    Where AWS does not let us look, nothing is said: it is an aside, and `batcat doctor` says why.
    """
    try:
        found = removed_purposes(project)
    except BatcatError:
        return []
    return [
        f"The pipeline {purpose} is still deployed, though {CONFIG_PATH.as_posix()} does not have "
        f"it any more. It goes on running until `batcat destroy --purpose {purpose}`."
        for purpose in found
    ]
