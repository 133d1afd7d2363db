"""Pipelines that are deployed, but that script/config.json has no longer.

They go on running: taking a purpose out of the configuration changes nothing in AWS.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from batcat_runtime.config import CONFIG_PATH
from batcat_runtime.errors import BatcatError
from batcat_runtime.names import Names, slug
from batcat_runtime.operate.deployed import DeployedStack, find_stack, is_ours
from batcat_runtime.operate.project import Project

Kind = Literal["trigger", "workflow", "roles"]
KINDS: tuple[Kind, ...] = ("trigger", "workflow", "roles")
_GONE = "DELETE_COMPLETE"


@dataclass(frozen=True)
class DroppedStack:
    """A stack of a pipeline that the configuration has no longer.

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


def dropped_stacks(project: Project) -> Iterator[DroppedStack]:
    """Yield the project's stacks that are of none of its purposes, as their tags say.

    Raises
    ------
    AccessDeniedError
        These credentials may not list stacks, or not look at one whose name begins as ours do.
    """
    mine, known = slug(project.config.project), set(map(slug, project.config.purposes))
    client = project.client("cloudformation")
    # Deleted ones are listed for 90 days, and may be many.
    there = [one for one in client.meta.service_model.shape_for("StackStatus").enum if one != _GONE]
    with project.asked("the stacks of this region", "cloudformation:ListStacks"):
        found = [
            one["StackId"]
            for page in client.get_paginator("list_stacks").paginate(StackStatusFilter=there)
            for one in page["StackSummaries"]
            if one["StackName"].startswith(f"batcat-{mine}--")
        ]
    for arn in found:
        stack = find_stack(project, arn)
        purpose = stack.tags.get("batcat:purpose", "") if stack else ""
        if stack is None or not purpose or purpose in known or not is_ours(project, stack):
            continue
        names = Names(project.config.project, purpose, project.config.region)
        kinds = [kind for kind in KINDS if names.stack(kind) == stack.name]
        if kinds:
            yield DroppedStack(kinds[0], purpose, stack)


def dropped_purposes(project: Project) -> list[str]:
    """Return the pipelines that are deployed, but that the configuration has no longer."""
    return sorted({one.purpose for one in dropped_stacks(project)})


def dropped_told(project: Project) -> list[str]:
    """Return a line for each of them: what it does, and what to do about it.

    Where AWS does not let us look, nothing is told: it is an aside, and `batcat doctor` says why.
    """
    try:
        found = dropped_purposes(project)
    except BatcatError:
        return []
    return [
        f"The pipeline {one} is still deployed, though {CONFIG_PATH.as_posix()} does not have it "
        f"any more. It goes on running until `batcat destroy --purpose {one}`."
        for one in found
    ]
