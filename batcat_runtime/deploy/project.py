"""A whole deployment: the project's own ``deploy/deploy.sh``, run and summed up.

The script is the truth, since users edit what it calls; `batcat deploy` adds what a person wants to
know at its end: what has changed, or that nothing has; or which resource failed, why, what was
undone and what to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from batcat_runtime.config import find_project, get_config
from batcat_runtime.deploy.script import IMAGE_LINE, RESOURCE_LINE, STACK_LINE, run_deploy_script
from batcat_runtime.errors import BatcatError, StackError, UserError, WaitInterruptedError

_LAST_LINES = 12
_DONE = {"CREATE": "created", "UPDATE": "updated", "DELETE": "removed"}


@dataclass(frozen=True)
class DeployedResource:
    """A resource that a deployment made, changed or removed.

    Attributes
    ----------
    resource, type : str
        Its name in the template, and its type.
    outcome : {"created", "updated", "removed"}
        What happened to it.
    """

    resource: str
    type: str
    outcome: str


@dataclass(frozen=True)
class DeployedStack:
    """A stack after a deployment.

    Attributes
    ----------
    name : str
        The stack.
    outcome : {"created", "updated", "unchanged"}
        What happened to it.
    resources : tuple of DeployedResource
        What of it is not as it was.
    """

    name: str
    outcome: str
    resources: tuple[DeployedResource, ...] = ()


@dataclass(frozen=True)
class Deployed:
    """What a deployment did.

    Attributes
    ----------
    stacks : tuple of DeployedStack
        In the order of the script.
    image : str
        ``"0123456789abcdef pushed"``, or that it was there; empty if the script said nothing.
    """

    stacks: tuple[DeployedStack, ...] = ()
    image: str = ""

    @property
    def changed(self) -> bool:
        """Whether anything is not as it was."""
        return self.image.endswith("pushed") or any(
            one.outcome != "unchanged" for one in self.stacks
        )

    def __str__(self) -> str:
        if not self.changed:
            return "Nothing has changed: everything was deployed as it is."
        done = [f"{one.name} {one.outcome}" for one in self.stacks]
        if self.image.endswith("pushed"):
            done.insert(0, f"image {self.image}")
        return "Deployed: " + ", ".join(done) + "."


def deploy(
    folder: str | Path | None = None, *, progress: Callable[[str], None] = print
) -> Deployed:
    """Deploy the project at or above a folder, with the credentials in use.

    Parameters
    ----------
    folder : path, optional
        By default the working directory.
    progress : callable
        Called with each line that the deployment prints, as it comes.

    Returns
    -------
    Deployed
        What it did to each stack.

    Raises
    ------
    ConfigError
        There is no project, or its configuration is wrong; nothing was done.
    UserError
        There is no bash, or no deploy/deploy.sh.
    StackError
        The deployment failed; the message tells the resource, why, and what was undone.
    WaitInterruptedError
        Ctrl-C, or lost credentials, while CloudFormation was at work: it goes on.

    Examples
    --------
    >>> bc.deploy("project_battery")  # doctest: +SKIP
    """
    project = find_project(folder)
    get_config(project)
    return summed_up(run_to_its_end(project, {}, progress))


def run_to_its_end(
    project: Path, variables: Mapping[str, str], progress: Callable[[str], None]
) -> list[str]:
    """Run a project's deploy.sh and return what it printed, line by line.

    Raises
    ------
    BatcatError
        It failed; the error is the one that the script ended with, told once more.
    """
    lines: list[str] = []

    def heard(line: str) -> None:
        lines.append(line)
        progress(line)

    try:
        code = run_deploy_script(project, {**os.environ, **variables}, heard)
    except KeyboardInterrupt:
        raise _error(lines, 130) from None
    if code:
        raise _error(lines, code)
    return lines


def summed_up(lines: list[str]) -> Deployed:
    """Return what the lines of a deployment say that it did."""
    stacks, image = [], ""
    resources: dict[str, DeployedResource] = {}
    for line in lines:
        resource, stack = RESOURCE_LINE.fullmatch(line), STACK_LINE.fullmatch(line)
        pushed = IMAGE_LINE.fullmatch(line)
        if resource and resource[2] == "COMPLETE" and resource[1] in _DONE:
            what = DeployedResource(resource[4], resource[3], _DONE[resource[1]])
            resources[what.resource] = what
        elif stack:
            stacks.append(DeployedStack(stack[1], stack[2], tuple(resources.values())))
            resources = {}
        elif pushed:
            image = f"{pushed[1]} {pushed[2]}"
    return Deployed(tuple(stacks), image)


def _error(lines: list[str], code: int) -> BatcatError:
    kind: type[BatcatError] = {2: UserError, 130: WaitInterruptedError}.get(code, StackError)
    starts = [number for number, line in enumerate(lines) if line.startswith("Error: ")]
    if starts:
        text = "\n".join(lines[starts[-1] :]).removeprefix("Error: ")
        message, _, fix = text.partition("\n  Fix: ")
    elif code == 130:
        message, fix = "Stopped.", "Run it again: what has not changed is skipped."
    else:
        last = "\n".join(f"  {line}" for line in lines[-_LAST_LINES:])
        message = f"deploy/deploy.sh failed with exit code {code}:\n{last}"
        fix = "Mend what its last lines name, and deploy again: what has not changed is skipped."
    done = [f"{one.name} ({one.outcome})" for one in summed_up(lines).stacks]
    before = [name for name in done if not name.endswith(("(planned)", "(unchanged)"))]
    if before:
        message += f"\n  Deployed before that, and left in place: {', '.join(before)}."
    return kind(message, fix=fix)
