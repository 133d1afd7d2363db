"""A whole deployment: the project's own ``deploy/deploy.sh``, run and summed up.

The script is the truth, since users edit what it calls; `batcat deploy` adds what a person wants to
know at its end: what has changed, or that nothing has.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from batcat_runtime.config import find_project, get_config
from batcat_runtime.errors import StackError, UserError

_STACK = re.compile(r"stack (\S+): (created|updated|unchanged)")
_LAST_LINES = 12


@dataclass(frozen=True)
class Deployed:
    """What a deployment did.

    Attributes
    ----------
    stacks : dict of str to str
        From each stack to ``created``, ``updated`` or ``unchanged``, in the order of the script.
    """

    stacks: dict[str, str] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether anything is not as it was."""
        return any(outcome != "unchanged" for outcome in self.stacks.values())

    def __str__(self) -> str:
        if not self.changed:
            return "Nothing has changed: everything was deployed as it is."
        done = [f"{name} {outcome}" for name, outcome in self.stacks.items()]
        return "Deployed: " + ", ".join(done) + "."


def deploy_project(
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
        The deployment failed; the message holds its last lines. CloudFormation has taken back what
        the failed stack had begun.
    """
    project = find_project(folder)
    get_config(project)
    script = project / "deploy" / "deploy.sh"
    bash = shutil.which("bash")
    if bash is None:
        raise UserError("deploy/deploy.sh needs bash.", fix="On Windows use WSL or Git Bash.")
    if not script.is_file():
        raise UserError(f"There is no {script}.", fix="Restore it from git or from the template.")
    lines: list[str] = []
    with subprocess.Popen(
        [bash, str(script)],
        cwd=project,
        env={**os.environ, "PYTHON": sys.executable, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as child:
        assert child.stdout is not None
        for line in map(str.rstrip, child.stdout):
            lines.append(line)
            progress(line)
    if child.returncode:
        raise StackError(
            f"deploy/deploy.sh failed with exit code {child.returncode}:\n"
            + "\n".join(f"  {line}" for line in lines[-_LAST_LINES:]),
            fix="Mend what its last lines name, and deploy again: what has not changed is skipped.",
        )
    found = (_STACK.fullmatch(line) for line in lines)
    return Deployed({match[1]: match[2] for match in found if match})
