"""Run a purpose on this machine, without containers: its steps' scripts, one after the other.

``python -m batcat_runtime.laptop PURPOSE`` is what `make run` types. Each script runs as it would
by hand, with its step's arguments and environment; ``data/raw`` goes in, ``data/result`` comes out,
and between the steps is ``data/tmp``. Steps that run side by side on AWS run one after the other
here. The first script that fails ends it, with its exit code.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

from batcat_runtime.config import find_project, get_config
from batcat_runtime.errors import BatcatError


def run_steps(folder: Path, purpose: str | None = None) -> int:
    """Run the scripts of a purpose in order.

    Parameters
    ----------
    folder : Path
        The project.
    purpose : str, optional
        May be left out when the project has one.

    Returns
    -------
    int
        0, or the exit code of the script that failed.
    """
    config = get_config(folder)
    steps = config.purpose(purpose).steps
    now = datetime.now(UTC)
    run = {
        "BATCAT_RUN_ID": f"local-{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}",
        "BATCAT_RUN_STARTED": now.isoformat(timespec="milliseconds"),
    }
    for number, step in enumerate(steps, start=1):
        if len(steps) > 1:
            print(f"step {number} of {len(steps)}: {step.name}", flush=True)
        environment = {**run, **os.environ, **step.environment, "BATCAT_STEP": step.name}
        script = folder / "script" / step.script
        done = subprocess.run([sys.executable, str(script), *step.arguments], env=environment)
        if done.returncode:
            return done.returncode if done.returncode > 0 else 128 - done.returncode
    return 0


def main(arguments: list[str]) -> int:
    """Run the command line and return its exit code."""
    if len(arguments) > 1:
        print("usage: python -m batcat_runtime.laptop [PURPOSE]", file=sys.stderr)
        return 2
    try:
        return run_steps(find_project(), arguments[0] if arguments else None)
    except BatcatError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
