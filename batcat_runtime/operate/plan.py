"""What a deployment would change: run through without executing anything.

CloudFormation itself compares each stack with its template: a change set is made, read and deleted.
What differs in a workflow is shown as a diff of its definition.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from batcat_runtime.deploy.image import Image
from batcat_runtime.deploy.project import deployment
from batcat_runtime.deploy.stack import StackChange
from batcat_runtime.deploy.trigger import silent_buckets
from batcat_runtime.deploy.workflow import definition_diff
from batcat_runtime.operate.connection import open_project
from batcat_runtime.operate.stacks import removed_notes


@dataclass(frozen=True)
class Plan:
    """What a deployment would change.

    Attributes
    ----------
    stacks : tuple of StackChange
        One for each stack, in their order, with a row for each resource.
    image : Image
        The image; its `builder` is empty when ECR has it already.
    diffs : dict of str to str
        From each purpose whose workflow would change to a unified diff of its definition.
    notes : tuple of str
        What else would happen.
    removed : tuple of str
        What is deployed but not configured any more, which a deployment leaves alone.
    """

    stacks: tuple[StackChange, ...]
    image: Image
    diffs: dict[str, str]
    notes: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything would change."""
        outcomes = {stack.outcome for stack in self.stacks}
        return bool(self.image.builder or self.notes) or outcomes != {"unchanged"}

    def __str__(self) -> str:
        if not self.changed:
            return "Nothing would change: everything is deployed as it is."
        rows = [row.action for stack in self.stacks for row in stack.changes]
        changes = f"{rows.count('Add')} to add, {rows.count('Modify')} to change, "
        changes += f"{rows.count('Remove')} to remove"
        image = ", and an image to build" if self.image.builder else ""
        return f"Plan: {changes}{image}. Nothing has been changed; `batcat deploy` does it."


def plan(folder: str | Path | None = None) -> Plan:
    """Find out what a deployment of the project at or above a folder would change.

    Nothing in the account is different afterwards. The credentials need what deploying needs, and
    use only what reads, and what makes and deletes change sets.

    Parameters
    ----------
    folder : path, optional
        By default the working directory.

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
    parts = list(deployment(project.config, planned=True))
    diffs = {
        purpose: definition_diff(project.config, purpose) for purpose in project.config.purposes
    }
    return Plan(
        stacks=tuple(part for part in parts if isinstance(part, StackChange)),
        image=next(part for part in parts if isinstance(part, Image)),
        diffs={purpose: diff for purpose, diff in diffs.items() if diff},
        notes=tuple(
            f"The bucket {bucket} would send its events to EventBridge."
            for bucket in silent_buckets(project.config)
        ),
        removed=tuple(removed_notes(project)),
    )
