"""`batcat run`: one execution, its states as they go, its result; and `batcat stop`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batcat_runtime.commands import terminal
from batcat_runtime.errors import JobError, UserError

if TYPE_CHECKING:
    from batcat_runtime.operate.connection import Project
    from batcat_runtime.operate.executions import Execution, Look
    from batcat_runtime.operate.run import Run


@click.command()
@click.option("--local", is_flag=True, help="Run its scripts here, without AWS and containers.")
@click.option("--date-start", help="The window's start: 2022-01-08, or 2022-01-08T05:00.")
@click.option("--date-end", help="Its end, exclusive.  [default: all data]")
@terminal.param_option
@click.option("--wait/--no-wait", default=True, help="Follow it to its end.")
@click.option(
    "--timeout", type=click.FloatRange(min=1), help="Seconds to wait; it goes on after that."
)
@terminal.project_options
def run(
    local: bool,
    date_start: str | None,
    date_end: str | None,
    params: dict[str, Any],
    wait: bool,
    timeout: float | None,
    as_json: bool,
    folder: Path,
    purpose: str | None,
) -> None:
    """Run a pipeline once: the deployed one, or its scripts here.

    Shows its states as they go, then the result's place and first rows. Exit code 1: it failed, and
    the reason is shown. Ctrl-C ends the waiting only.
    """
    from batcat_runtime.operate.executions import describe, input_of, window_of

    given = input_of(window_of(date_start, date_end), params)
    if local:
        if not wait or timeout or as_json:
            raise UserError("--no-wait, --timeout and --json are for a run on AWS.")
        raise click.exceptions.Exit(_run_here(folder, purpose, given))
    from batcat_runtime.operate.connection import open_project
    from batcat_runtime.operate.run import NAME, Run, begin, followed, outcome_of

    project = open_project(folder)
    purpose = project.config.purpose_name(purpose)
    arn = begin(project, purpose, NAME, given)
    if not wait:
        name = arn.rpartition(":")[2]
        if as_json:
            terminal.print_json(Run(describe(project, purpose, arn)))
            return
        click.echo(name)
        terminal.say(
            f"It goes on. Come back with `batcat status {name}` or `batcat logs {name} -f`."
        )
        return
    watch = _shown if terminal.err.is_terminal else followed
    done = outcome_of(project, watch(project, purpose, arn, timeout))
    terminal.show(done, as_json, _print)
    if not done.succeeded:
        raise click.exceptions.Exit(1)


@click.command()
@terminal.execution_argument("the one that runs")
@terminal.project_options
def stop(as_json: bool, **given: Any) -> None:
    """Stop a run, and the job that it is at.

    What it has written so far does not count as a result. A whole backfill is stopped with `batcat
    backfill stop`.
    """
    from batcat_runtime.operate.stop import stop as end

    terminal.show(end(**given), as_json, _print_stopped)


def _run_here(folder: Path, purpose: str | None, given: Mapping[str, Any]) -> int:
    """Run the scripts of a purpose in order, and return the exit code of the one that fails, or 0.

    Each script runs as it would by hand, with its step's arguments and environment; ``data/raw``
    goes in, ``data/result`` comes out, and between the steps is ``data/tmp``. Steps that run side
    by side on AWS run one after the other here.
    """
    from batcat_runtime.config import find_project, get_config
    from batcat_runtime.job import MANIFESTS, NO_RESULT, Laptop, run_name
    from batcat_runtime.job_spark import check_spark

    folder = find_project(folder)
    config = get_config(folder)
    purpose = config.purpose_name(purpose)
    steps = config.purposes[purpose].steps
    names = {"date_start": "BATCAT_DATE_START", "date_end": "BATCAT_DATE_END"}
    run = {
        "BATCAT_RUN_ID": run_name(),
        "BATCAT_RUN_STARTED": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    window = {variable: given[name] for name, variable in names.items() if given.get(name)}
    if given.get("params"):
        window["BATCAT_PARAMETERS"] = json.dumps(given["params"])
    for number, step in enumerate(steps, start=1):
        if len(steps) > 1:
            click.echo(f"step {number} of {len(steps)}: {step.name}")
        if step.engine == "spark":
            check_spark()
        mine = {"BATCAT_PURPOSE": purpose, "BATCAT_STEP": step.name}
        environment = {**run, **os.environ, **step.environment, **window, **mine}
        script = folder / "script" / step.script
        done = subprocess.run([sys.executable, str(script), *step.arguments], env=environment)
        if done.returncode:
            return done.returncode if done.returncode > 0 else 128 - done.returncode
        output = Laptop(folder, config, purpose, step.name).output
        name = run_name(environment["BATCAT_RUN_ID"])
        if not any(output.glob(f"date=*/run={name}/{MANIFESTS}")):
            # A processing job would be failed for it.
            raise JobError(f"script/{step.script}: {NO_RESULT}")
    return 0


def _print(done: Run) -> None:
    if done.failure:
        terminal.print_failure(done.failure, err=True)
    elif done.result:
        terminal.print_result(done.result, done.result_uri, done.preview)
    else:
        terminal.say(
            "It succeeded, but left no result: there is no manifest for it in the result bucket. "
            f"Read what it wrote with `batcat logs {done.execution.name}`."
        )


def _print_stopped(done: Execution | None) -> None:
    if done is not None and done.status == "ABORTED":
        click.echo(f"{done.name} leaves no result of {done.window or 'all data'}.")


def _shown(project: Project, purpose: str, arn: str, timeout: float | None) -> Look:
    """Follow an execution to its end in a live table, whose durations go on between two looks."""
    from rich.live import Live

    from batcat_runtime.operate.executions import follow
    from batcat_runtime.operate.history import states_of

    seen: list[Look] = []
    with Live(
        console=terminal.err,
        get_renderable=lambda: terminal.states_table(states_of(seen[-1].states) if seen else ()),
        refresh_per_second=4,
    ):
        for look in follow(project, purpose, arn, timeout=timeout):
            seen[:] = [look]
    return look
