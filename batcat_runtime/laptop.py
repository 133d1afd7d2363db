"""Run a purpose on this machine, without containers: its steps' scripts, one after the other.

This is `batcat run --local`, and what `make run` types. Each script runs as it would by hand, with
its step's arguments and environment; ``data/raw`` goes in, ``data/result`` comes out, and between
the steps is ``data/tmp``. Steps that run side by side on AWS run one after the other here. The
first script that fails, or leaves no result, ends it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from batcat_runtime.config import find_project, get_config
from batcat_runtime.errors import BatcatError, JobError
from batcat_runtime.job_place import MANIFESTS, Laptop
from batcat_runtime.job_result import NO_RESULT, run_name
from batcat_runtime.job_spark import check_spark


def run_steps(
    folder: Path,
    purpose: str | None = None,
    date_start: str | None = None,
    date_end: str | None = None,
    params: Mapping[str, object] | None = None,
) -> int:
    """Run the scripts of a purpose in order.

    Parameters
    ----------
    folder : Path
        The project.
    purpose : str, optional
        May be left out when the project has one.
    date_start, date_end : str, optional
        The window, as in the environment variables ``BATCAT_DATE_START`` and ``BATCAT_DATE_END``.
    params : mapping, optional
        Further parameters, as the script finds them in ``job.parameters``.

    Returns
    -------
    int
        0, or the exit code of the script that failed.

    Raises
    ------
    JobError
        A script ended well but left no result, which a processing job would be failed for.
    """
    config = get_config(folder)
    purpose = config.purpose_name(purpose)
    steps = config.purposes[purpose].steps
    now = datetime.now(UTC)
    run = {
        "BATCAT_RUN_ID": run_name({}),
        "BATCAT_RUN_STARTED": now.isoformat(timespec="milliseconds"),
    }
    window = {"BATCAT_DATE_START": date_start, "BATCAT_DATE_END": date_end}
    given = {name: value for name, value in window.items() if value}
    if params:
        given["BATCAT_PARAMETERS"] = json.dumps(params)
    for number, step in enumerate(steps, start=1):
        if len(steps) > 1:
            print(f"step {number} of {len(steps)}: {step.name}", flush=True)
        if step.engine == "spark":
            check_spark()
        told = {"BATCAT_PURPOSE": purpose, "BATCAT_STEP": step.name}
        environment = {**run, **os.environ, **step.environment, **given, **told}
        script = folder / "script" / step.script
        done = subprocess.run([sys.executable, str(script), *step.arguments], env=environment)
        if done.returncode:
            return done.returncode if done.returncode > 0 else 128 - done.returncode
        output = Laptop(folder, config, purpose, step.name).output
        if not any(output.glob(f"date=*/run={run_name(environment)}/{MANIFESTS}")):
            raise JobError(f"script/{step.script}: {NO_RESULT}")
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
