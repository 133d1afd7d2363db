"""`batcat run`: one execution, its states as they go, its result or why it failed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from batcat_runtime.commands.terminal import (
    err,
    folder_option,
    json_option,
    param_option,
    params_of,
    print_failure,
    print_json,
    print_result,
    purpose_option,
    say,
    states_table,
    wait_option,
)
from batcat_runtime.errors import UserError

if TYPE_CHECKING:
    from batcat_runtime.operate.connection import Project
    from batcat_runtime.operate.executions import Look
    from batcat_runtime.operate.run import Run


@click.command("run")
@click.option("--local", is_flag=True, help="Run its scripts here, without AWS and containers.")
@click.option("--date-start", help="The window's start: 2022-01-08, or 2022-01-08T05:00.")
@click.option("--date-end", help="Its end, exclusive.  [default: all data]")
@param_option
@wait_option
@click.option(
    "--timeout", type=click.FloatRange(min=1), help="Seconds to wait; it goes on after that."
)
@json_option
@folder_option
@purpose_option
def command(
    local: bool,
    date_start: str | None,
    date_end: str | None,
    param: tuple[str, ...],
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
    from batcat_runtime.operate.executions import input_of, window_of

    params = params_of(param)
    given = input_of(window_of(date_start, date_end), params)
    if local:
        if not wait or timeout or as_json:
            raise UserError("--no-wait, --timeout and --json are for a run on AWS.")
        from batcat_runtime.config import find_project
        from batcat_runtime.laptop import run_steps

        code = run_steps(find_project(folder), purpose, date_start, date_end, params)
        raise click.exceptions.Exit(code)
    from batcat_runtime.operate.connection import open_project
    from batcat_runtime.operate.run import NAME, begin, followed, outcome_of

    project = open_project(folder)
    purpose = project.config.purpose_name(purpose)
    arn = begin(project, purpose, NAME, given)
    if not wait:
        _print_started(project, purpose, arn, as_json)
        return
    watch = _shown if err.is_terminal else followed
    done = outcome_of(project, watch(project, purpose, arn, timeout))
    if as_json:
        print_json(done)
    else:
        _print(done)
    if not done.succeeded:
        raise click.exceptions.Exit(1)


def _print_started(project: Project, purpose: str, arn: str, as_json: bool) -> None:
    from batcat_runtime.operate.executions import describe
    from batcat_runtime.operate.run import Run

    name = arn.rpartition(":")[2]
    if as_json:
        print_json(Run(describe(project, purpose, arn)))
        return
    click.echo(name)
    say(f"It goes on. Come back with `batcat status {name}` or `batcat logs {name} -f`.")


def _print(done: Run) -> None:
    if done.failure:
        print_failure(done.failure, err=True)
    elif done.result:
        print_result(done.result, done.result_uri, done.preview)
    else:
        say(
            "It succeeded, but left no result: there is no manifest for it in the result bucket. "
            f"Read what it wrote with `batcat logs {done.execution.name}`."
        )


def _shown(project: Project, purpose: str, arn: str, timeout: float | None) -> Look:
    """Follow an execution to its end in a live table, whose durations go on between two looks."""
    from rich.live import Live

    from batcat_runtime.operate.executions import follow
    from batcat_runtime.operate.history import states_of

    seen: list[Look] = []
    with Live(
        console=err,
        get_renderable=lambda: states_table(states_of(seen[-1].states) if seen else ()),
        refresh_per_second=4,
    ):
        for look in follow(project, purpose, arn, timeout=timeout):
            seen[:] = [look]
    return look
