"""What `batcat plan` asks of the deploy scripts: find out what they would do, and do nothing.

`batcat plan` runs the project's own ``deploy/deploy.sh`` with the environment variable
``BATCAT_PLAN``, a file's path. Whatever would change something then writes to that file what it
would do, one JSON object a line, and does nothing. For a stack that exists, AWS itself compares it
with the template: a change set is made, read, and taken away, also when that fails or is
interrupted. For a stack that does not exist, all would be added; no change set is made, since
AWS would make an empty stack for it, which nobody could take away without the risk of taking away
the stack that somebody else deploys under the same name in that moment.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from batcat_runtime.deploy.readiness import is_fresh, needs_a_person, never_worked, stuck
from batcat_runtime.errors import StackError

VARIABLE = "BATCAT_PLAN"
_BUSY = "InvalidChangeSetStatus"


def is_planning() -> bool:
    """Tell whether nothing may be changed: `batcat plan` runs the script."""
    return bool(os.environ.get(VARIABLE))


def note(kind: str, **what: Any) -> None:
    """Add something that a deployment would do to the plan's file."""
    with Path(os.environ[VARIABLE]).open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"kind": kind, **what}) + "\n")


def note_stack(
    name: str,
    status: str,
    changes: list[dict[str, Any]],
    before: dict[str, Any],
    after: dict[str, Any],
) -> None:
    """Add a stack: its status, AWS's list of changes, and the templates of now and then."""
    note("stack", stack=name, status=status, changes=changes, before=before, after=after)


def compared(
    client: Any,
    name: str,
    stack: dict[str, Any],
    make: Callable[[str, str], dict[str, Any]],
) -> tuple[list[dict[str, Any]] | None, dict[str, Any]]:
    """Return what AWS would change in a stack, and its present template.

    Parameters
    ----------
    client : botocore client
        For CloudFormation.
    name : str
        The stack's name.
    stack : dict
        The stack, empty when there is none.
    make : callable
        Takes the name and the kind of a change set, makes it and returns it.

    Returns
    -------
    tuple of (list of dict or None, dict)
        The ``ResourceChange`` of each resource; None when all of it would be new.

    Raises
    ------
    StackError
        The stack is stuck, or somebody is changing it: nobody can tell what a deployment would do.
    """
    status = stack.get("StackStatus", "")
    if is_fresh(status) or never_worked(status):
        return None, {}
    if needs_a_person(status):
        raise stuck(client, name, stack["StackId"], status)
    if status.endswith("_IN_PROGRESS"):
        raise StackError(
            f"Somebody is changing the stack {name} ({status}).",
            fix="Plan again when that has ended.",
        )
    before = template_of(client.get_template(StackName=name)["TemplateBody"])
    change_set = f"batcat-plan-{uuid.uuid4().hex[:12]}"
    try:
        described = make(change_set, "UPDATE")
    finally:
        _take_away(client, name, change_set)
    return [one["ResourceChange"] for one in described.get("Changes", [])], before


def template_of(body: Any) -> dict[str, Any]:
    """Return a template as GetTemplate gives it, parsed; botocore parses some of them itself."""
    return dict(json.loads(body)) if isinstance(body, str) else dict(body)


def _take_away(client: Any, stack: str, change_set: str) -> None:
    """Delete a change set; one that is still being made cannot be deleted yet."""
    for _ in range(40):
        try:
            client.delete_change_set(StackName=stack, ChangeSetName=change_set)
        except ClientError as error:
            if error.response["Error"]["Code"] != _BUSY:
                if error.response["Error"]["Code"] == "ChangeSetNotFound":
                    return
                raise
            time.sleep(0.25)
        else:
            return
    with contextlib.suppress(ClientError):
        client.delete_change_set(StackName=stack, ChangeSetName=change_set)
