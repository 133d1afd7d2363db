"""What a deployment would change: the project's own deploy.sh, run without changing anything.

The script finds `batcat_runtime.deploy.planning` switched on and writes what it would do; here it
is read, compared and summed up.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from batcat_runtime.deploy.planning import VARIABLE
from batcat_runtime.deploy.project import run_to_its_end
from batcat_runtime.deploy.readiness import never_worked
from batcat_runtime.operate.differences import Difference, differences
from batcat_runtime.operate.dropped import dropped_told
from batcat_runtime.operate.project import open_project

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
class PlannedImage:
    """The image that a deployment would build.

    Attributes
    ----------
    repository, tag : str
        Where it would be in ECR.
    builder : str
        Who would build it: ``docker``, ``AWS CodeBuild``, ...
    """

    repository: str
    tag: str
    builder: str


@dataclass(frozen=True)
class Plan:
    """What a deployment would change.

    Attributes
    ----------
    stacks : dict of str to str
        From each stack to ``create``, ``update`` or ``unchanged``, in the order of the script.
    changes : tuple of PlannedChange
        One for each resource that would change.
    differences : tuple of Difference
        What would change in definitions, policies, code and other properties.
    image : PlannedImage or None
        None when the image of the present content is in ECR already.
    notes : tuple of str
        What else would happen.
    dropped : tuple of str
        What is deployed but not configured any more, which a deployment leaves alone.
    """

    stacks: dict[str, str]
    changes: tuple[PlannedChange, ...] = ()
    differences: tuple[Difference, ...] = ()
    image: PlannedImage | None = None
    notes: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything would change."""
        anything = self.image or self.notes or self.changes
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
        Called with each line that the script prints, as it comes.

    Returns
    -------
    Plan
        The changes; before a first deployment, all that would be made.

    Raises
    ------
    ConfigError
        There is no project, or its configuration is wrong.
    StackError
        A stack is stuck, or somebody is changing it right now.

    Examples
    --------
    >>> print(bc.plan("project_battery"))  # doctest: +SKIP
    Plan: 9 to add, 0 to change, 0 to remove, and an image to build. ...
    """
    project = open_project(folder)
    with tempfile.TemporaryDirectory(prefix="batcat-plan-") as temporary:
        path = Path(temporary) / "plan.jsonl"
        path.touch()
        run_to_its_end(project.folder, {VARIABLE: str(path)}, progress)
        entries = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return replace(plan_of(entries), dropped=tuple(dropped_told(project)))


def plan_of(entries: list[dict[str, Any]]) -> Plan:
    """Return the plan that the entries of a plan's file make."""
    stacks: dict[str, str] = {}
    changes: list[PlannedChange] = []
    found: list[Difference] = []
    image, notes = None, []
    for one in entries:
        if one["kind"] == "image":
            image = PlannedImage(one["repository"], one["tag"], one["builder"])
        elif one["kind"] == "bucket":
            notes.append(f"The bucket {one['bucket']} would send its events to EventBridge.")
        elif one["kind"] == "stack":
            name, status = one["stack"], one["status"]
            new = not one["before"]
            stacks[name] = "create" if new else "update" if one["changes"] else "unchanged"
            changes += [_change(name, change) for change in one["changes"]]
            if stacks[name] != "unchanged":
                found += differences(name, one["before"], one["after"])
            if never_worked(status):
                notes.append(
                    f"The stack {name} is what a failed first deployment has left ({status}); it "
                    "would be removed first."
                )
    return Plan(stacks, tuple(changes), tuple(found), image, tuple(notes))


def _change(stack: str, change: dict[str, Any]) -> PlannedChange:
    return PlannedChange(
        action=_ACTIONS.get(change["Action"], change["Action"].lower()),
        resource=change["LogicalResourceId"],
        type=change["ResourceType"],
        stack=stack,
        name=change.get("PhysicalResourceId") or "",
        replaced=_REPLACED.get(change.get("Replacement", ""), ""),
    )
