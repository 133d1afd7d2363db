"""Running a project's own ``deploy/deploy.sh``, and the lines by which it tells what it does.

`batcat deploy`, `batcat plan` and the rehearsal all run the very script that its user may edit. It
runs in a process group of its own, so that an interruption reaches it once, from here, and it can
end in order: take away what it made for looking, say what goes on without it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from batcat_runtime.errors import UserError

STACK_LINE = re.compile(r"stack (\S+): (created|updated|unchanged|planned)")
IMAGE_LINE = re.compile(r"image (\w+): (pushed|already in ECR)")
RESOURCE_LINE = re.compile(r"([A-Z]+)_(IN_PROGRESS|COMPLETE|FAILED|SKIPPED) (AWS::\S+) (\S+)")
_GRACE_SECONDS = 20.0


def run_deploy_script(
    folder: Path, environment: Mapping[str, str], heard: Callable[[str], None]
) -> int:
    """Run a project's deploy.sh to its end, and return its exit code.

    Parameters
    ----------
    folder : Path
        The project.
    environment : mapping of str to str
        All variables that it runs with.
    heard : callable
        Called with each line that it prints, as it comes.

    Raises
    ------
    UserError
        There is no bash, or no deploy/deploy.sh.
    """
    script = folder / "deploy" / "deploy.sh"
    bash = shutil.which("bash")
    if bash is None:
        raise UserError("deploy/deploy.sh needs bash.", fix="On Windows use WSL or Git Bash.")
    if not script.is_file():
        raise UserError(f"There is no {script}.", fix="Restore it from git or from the template.")
    with subprocess.Popen(
        [bash, str(script)],
        cwd=folder,
        env={**environment, "PYTHON": sys.executable, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        try:
            for line in map(str.rstrip, child.stdout):
                heard(line)
        except BaseException:
            for line in _end(child):
                with contextlib.suppress(Exception):
                    heard(line)
            raise
    return child.returncode


def _end(child: subprocess.Popen[str]) -> list[str]:
    """Ask the script to end, insist if it does not, and return its last lines."""
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        _signal(child, number)
        try:
            written, _ = child.communicate(timeout=_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        except KeyboardInterrupt:  # they really mean it
            continue
        return [line.rstrip() for line in written.splitlines()]
    return []


def _signal(child: subprocess.Popen[str], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(child.pid, number)
        else:
            child.terminate()
