"""The project's stacks, as their tags say: those of purposes that were removed from the config too.

A purpose that is taken out of script/config.json goes on running in AWS until it is destroyed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batcat_runtime.config import CONFIG_PATH
from batcat_runtime.deploy.parameters import tags_of
from batcat_runtime.deploy.stack import describe_stack
from batcat_runtime.errors import BatcatError
from batcat_runtime.names import Names, slug
from batcat_runtime.operate.connection import Project

# In the order in which they are removed: what starts things first, what all share last.
PARTS = ("trigger", "workflow", "roles", "builder", "project")
_GONE = "DELETE_COMPLETE"


@dataclass(frozen=True)
class ProjectStack:
    """A stack that bears one of the project's names.

    Attributes
    ----------
    part : str
        Its template in ``deploy/``: one of `PARTS`.
    purpose : str
        Whose it is, as AWS names it; empty when all purposes share it.
    ours : bool
        Whether it carries the tags of this project and bucket.
    described : mapping
        As CloudFormation's DescribeStacks has it.
    """

    part: str
    purpose: str
    ours: bool
    described: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name, which another stack may have after it was deleted."""
        return str(self.described["StackName"])

    @property
    def arn(self) -> str:
        """Its id, which no other stack ever has."""
        return str(self.described["StackId"])

    @property
    def status(self) -> str:
        """Such as ``CREATE_COMPLETE``."""
        return str(self.described["StackStatus"])


def project_stacks(project: Project) -> list[ProjectStack]:
    """Return the stacks that bear the project's names, in the order in which they are removed.

    Raises
    ------
    AccessDeniedError
        These credentials may not list stacks, or not look at one of these.
    """
    client = project.client("cloudformation")
    first = project.names(next(iter(project.config.purposes))).project_stack
    # Deleted ones are listed for 90 days, and may be many.
    there = [one for one in client.meta.service_model.shape_for("StackStatus").enum if one != _GONE]
    place, found = "the stacks of this region", []
    for summary in project.pages("cloudformation:ListStacks", place, StackStatusFilter=there):
        name = summary["StackName"]
        if name == first or name.startswith(f"{first}--"):
            with project.asked("cloudformation:DescribeStacks", f"the stack {name}"):
                described = describe_stack(client, summary["StackId"])
            found += [one for one in [_named(project, described)] if one]
    return sorted(found, key=lambda stack: PARTS.index(stack.part))


def removed_purposes(project: Project, stacks: list[ProjectStack]) -> list[str]:
    """Return the purposes that are deployed, but that the configuration has no longer."""
    known = {"", *map(slug, project.config.purposes)}
    return sorted({stack.purpose for stack in stacks if stack.ours} - known)


def removed_notes(project: Project) -> list[str]:
    """Return a line for each purpose that the configuration has no longer: how it is removed.

    Where AWS does not let us look, nothing is told: it is an aside, and `batcat doctor` says why.
    """
    try:
        found = removed_purposes(project, project_stacks(project))
    except BatcatError:
        return []
    return [
        f"The pipeline {purpose} is still deployed, though {CONFIG_PATH.as_posix()} does not have "
        f"it any more. It goes on running until `batcat destroy --purpose {purpose}`."
        for purpose in found
    ]


def marks_of(project: Project, purpose: str | None = None) -> dict[str, str]:
    """Return the parameters that tell whose a table or a database is; as tags of stacks do."""
    tags = tags_of(project.config, purpose)
    return {key: value for key, value in tags.items() if key.startswith("batcat:")}


def _named(project: Project, described: Mapping[str, Any]) -> ProjectStack | None:
    """Return a stack with its part and purpose; None when it does not bear a name of ours."""
    if described.get("StackStatus", _GONE) == _GONE:
        return None
    tags = {tag["Key"]: tag["Value"] for tag in described.get("Tags", [])}
    wanted = tags_of(project.config)
    ours = all(tags.get(key) == wanted[key] for key in ("batcat:project", "batcat:bucket"))
    # A change set that nobody has executed leaves a stack without tags.
    ours = ours or (described["StackStatus"] == "REVIEW_IN_PROGRESS" and not tags)
    for purpose in [tags.get("batcat:purpose", ""), *map(slug, project.config.purposes)]:
        names = Names(project.config.project, purpose or "-", project.config.region)
        own = {part: names.stack(part) for part in PARTS[:3]} if purpose else {}
        shared = {"builder": names.builder_stack, "project": names.project_stack}
        for part, name in {**own, **shared}.items():
            if name == described["StackName"]:
                return ProjectStack(part, purpose if part in own else "", ours, described)
    return None
