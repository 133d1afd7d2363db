"""Pipelines that are deployed, but that script/config.json has no longer.

They go on running: taking a purpose out of the configuration changes nothing in AWS.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

from batcat_runtime.config import CONFIG_PATH
from batcat_runtime.deploy.naming import slug
from batcat_runtime.errors import BatcatError
from batcat_runtime.operate.deployed import DeployedStack, find_stack
from batcat_runtime.operate.project import Project

Kind = Literal["trigger", "workflow", "backfill"]
_GONE = "DELETE_COMPLETE"
# The descriptions of the stacks that a purpose has, each with the state machine's name.
_OF_A_PURPOSE = re.compile(r"BatCat (trigger|workflow|backfill)(?: of)? (\S+)")


@dataclass(frozen=True)
class DroppedStack:
    """A stack of a pipeline that the configuration has no longer.

    Attributes
    ----------
    kind : {"trigger", "workflow", "backfill"}
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
    """Yield the project's stacks that are of none of its purposes.

    The tag ``batcat:project`` tells whose they are: the names of ``battery`` and of another project
    ``battery-2`` begin alike.

    Raises
    ------
    AccessDeniedError
        These credentials may not list stacks, or not look at one whose name begins as ours do.
    """
    mine = slug(project.config.project)
    known = {
        name
        for names in map(project.names, project.config.purposes)
        for name in (names.workflow_stack, names.trigger_stack, names.backfill_stack)
    }
    client = project.client("cloudformation")
    # Deleted ones are listed for 90 days, and may be many.
    there = [one for one in client.meta.service_model.shape_for("StackStatus").enum if one != _GONE]
    with project.asked("the stacks of this region", "cloudformation:ListStacks"):
        found = [
            (one, told)
            for page in client.get_paginator("list_stacks").paginate(StackStatusFilter=there)
            for one in page["StackSummaries"]
            if one["StackName"].startswith(f"batcat-{mine}-")
            and one["StackName"] not in known
            and (told := _OF_A_PURPOSE.fullmatch(one.get("TemplateDescription") or ""))
        ]
    for one, told in found:
        stack = find_stack(project, one["StackId"])
        if stack is not None and stack.tags.get("batcat:project") == mine:
            kind, machine = cast(Kind, told[1]), told[2]
            purpose = machine.removeprefix(f"{mine}-")
            yield DroppedStack(
                kind, purpose.removesuffix("-backfill") if kind == "backfill" else purpose, stack
            )


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
