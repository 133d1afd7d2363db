"""What a deployment would change: run through without executing anything.

CloudFormation itself compares each stack with its template: a change set is made, read and deleted.
What differs in a workflow is shown as a diff of its definition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from batcat_runtime.deploy.image import Image
from batcat_runtime.deploy.project import deployment
from batcat_runtime.deploy.stack import ResourceChange, StackChange
from batcat_runtime.deploy.trigger import silent_buckets
from batcat_runtime.deploy.workflow import definition_diff
from batcat_runtime.operate.connection import open_project, removed_notes

_REPLACED = {"True": "yes", "Conditional": "maybe"}
_ACTIONS = {"Add": "add", "Modify": "change", "Remove": "remove", "Import": "import"}


@dataclass(frozen=True)
class PlannedChange:
    """What would happen to one resource.

    Attributes
    ----------
    action : {"add", "change", "remove"}
        What.
    resource, type, stack : str
        Its name in the template, its type, and its stack.
    name : str
        What it is called in AWS now; empty for a new one.
    replaced : {"", "yes", "maybe"}
        Whether a new one would take its place.
    """

    action: str
    resource: str
    type: str
    stack: str
    name: str = ""
    replaced: str = ""


@dataclass(frozen=True)
class Difference:
    """What would change in the definition of a workflow.

    Attributes
    ----------
    purpose : str
        Whose.
    diff : str
        A unified diff without its two lines of file names.
    """

    purpose: str
    diff: str


@dataclass(frozen=True)
class Plan:
    """What a deployment would change.

    Attributes
    ----------
    stacks : dict of str to str
        From each stack to ``create``, ``update`` or ``unchanged``, in their order.
    changes : tuple of PlannedChange
        One for each resource that would change.
    differences : tuple of Difference
        What would change in the workflows.
    image : Image or None
        The image that would be built; None when that of the present content is in ECR already.
    notes : tuple of str
        What else would happen.
    dropped : tuple of str
        What is deployed but not configured any more, which a deployment leaves alone.
    """

    stacks: dict[str, str]
    changes: tuple[PlannedChange, ...] = ()
    differences: tuple[Difference, ...] = ()
    image: Image | None = None
    notes: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything would change."""
        anything = self.image or self.changes or self.notes
        return bool(anything) or any(one != "unchanged" for one in self.stacks.values())

    def __str__(self) -> str:
        if not self.changed:
            return "Nothing would change: everything is deployed as it is."
        count = {
            action: sum(one.action == action for one in self.changes)
            for action in ("add", "change", "remove")
        }
        told = f"{count['add']} to add, {count['change']} to change, {count['remove']} to remove"
        image = ", and an image to build" if self.image else ""
        return f"Plan: {told}{image}. Nothing has been changed; `batcat deploy` does it."


def plan(folder: str | Path | None = None, *, progress: Callable[[str], None] = print) -> Plan:
    """Find out what a deployment of the project at or above a folder would change.

    Nothing in the account is different afterwards. The credentials need what deploying needs, and
    use only what reads, and what makes and deletes change sets.

    Parameters
    ----------
    folder : path, optional
        By default the working directory.
    progress : callable
        Called with a line for each stack.

    Returns
    -------
    Plan
        The changes; before a first deployment, all that would be made.

    Raises
    ------
    ConfigError
        There is no project, or its configuration is wrong.
    StackError
        A stack is stuck, or not ours.

    Examples
    --------
    >>> print(bc.plan("project_battery"))  # doctest: +SKIP
    Plan: 9 to add, 0 to change, 0 to remove, and an image to build. ...
    """
    project = open_project(folder)
    stacks: dict[str, str] = {}
    changes: list[PlannedChange] = []
    image: Image | None = None
    for part in deployment(project.config, progress=progress, planned=True):
        if isinstance(part, Image):
            image = part
            continue
        found = [_change(part, row) for row in part.changes]
        stacks[part.stack] = part.outcome
        changes += found
    differences = []
    for purpose in project.config.purposes:
        diff = definition_diff(project.config, purpose)
        if diff:
            differences.append(Difference(purpose, diff))
    return Plan(
        stacks=stacks,
        changes=tuple(changes),
        differences=tuple(differences),
        image=image if image and image.builder else None,
        notes=tuple(
            f"The bucket {bucket} would send its events to EventBridge."
            for bucket in silent_buckets(project.config)
        ),
        dropped=tuple(removed_notes(project)),
    )


def _change(part: StackChange, row: ResourceChange) -> PlannedChange:
    return PlannedChange(
        action=_ACTIONS.get(row.action, row.action.lower()),
        resource=row.resource,
        type=row.type,
        stack=part.stack,
        name=row.name,
        replaced=_REPLACED.get(row.replaced, ""),
    )
