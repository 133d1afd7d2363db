"""`batcat plan`: what a deployment would change, as a table and a diff; what would be used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.text import Text

from batcat_runtime.commands.terminal import (
    folder_option,
    json_option,
    print_json,
    print_table,
    progress,
)
from batcat_runtime.text import clean

if TYPE_CHECKING:
    from batcat_runtime.operate.estimate import Estimate
    from batcat_runtime.operate.plan import Plan

_CHANGED = 3
_STYLES = {"+": "green", "-": "red", "@": "cyan"}
_ACTIONS = {"Add": "add", "Modify": "change", "Remove": "remove"}
_REPLACED = {"True": "yes", "Conditional": "maybe"}


@click.command("plan")
@folder_option
@click.option("--diff/--no-diff", default=True, help="Show how the definitions change, too.")
@click.option(
    "detailed", "--detailed-exitcode", is_flag=True, help="Exit with 3 when anything would change."
)
@click.option(
    "estimated", "--estimate", is_flag=True, help="Count jobs, instance hours and quotas instead."
)
@click.option("start", "--date-start", metavar="DATE", help="Of a backfill to estimate.")
@click.option("end", "--date-end", metavar="DATE", help="Its end, exclusive.")
@click.option("--every", default="day", metavar="day|hour|week", help="How long a window is.")
@click.option("--concurrency", "-n", type=int, default=4, help="Windows at once.")
@json_option
def command(
    folder: Path,
    diff: bool,
    detailed: bool,
    estimated: bool,
    start: str | None,
    end: str | None,
    every: str,
    concurrency: int,
    as_json: bool,
) -> None:
    """Show what a deployment would change.

    Every resource that would be added, changed, replaced or removed, and what would differ in the
    workflow's definition. Nothing is changed. With --estimate: the jobs and instance hours of the
    schedule's next thirty days, or of a backfill, and the quotas that bind.
    """
    if estimated or start or end:
        from batcat_runtime.operate.estimate import estimate

        with progress():
            found = estimate(folder, start=start, end=end, every=every, concurrency=concurrency)
        print_json(found) if as_json else _print_estimates(found)
        return
    from batcat_runtime.operate.plan import plan

    with progress() as show:
        show("looking at what is deployed")
        planned = plan(folder)
    if as_json:
        print_json(planned)
    else:
        _print(planned, diff)
    if detailed and planned.changed:
        raise click.exceptions.Exit(_CHANGED)


def _print(found: Plan, diff: bool) -> None:
    rows = [
        (
            _ACTIONS.get(row.action, row.action),
            row.resource,
            row.type,
            _REPLACED.get(row.replaced),
            stack.stack,
        )
        for stack in found.stacks
        for row in stack.changes
    ]
    if found.image.builder:
        image = found.image
        rows.insert(0, ("build", f"{image.repository}:{image.tag}", "image", None, image.builder))
    if rows:
        print_table(("ACTION", "RESOURCE", "TYPE", "REPLACED", "STACK"), rows)
    console = Console(highlight=False, soft_wrap=True)
    for purpose, text in found.diffs.items() if diff else ():
        console.print(Text(f"\nThe workflow of {purpose}", "bold"))
        for line in clean(text).split("\n"):
            console.print(Text(line, _STYLES.get(line[:1], "")))
    for line in (*found.notes, *found.removed, str(found)):
        click.echo(f"\n{line}" if rows or found.notes else line)


def _print_estimates(found: list[Estimate]) -> None:
    for number, one in enumerate(found):
        together = f", {one.at_once} at once" if one.at_once > 1 else ""
        click.echo(
            f"{chr(10) if number else ''}{one.purpose}: {one.of}, {one.runs:,} runs{together}"
        )
        if one.runs:
            _print_estimate(one)
        if one.note:
            click.echo(one.note)
    if any(one.runs for one in found):
        click.echo("\nHours are the most: as if every job ran to its max_runtime_seconds.")


def _print_estimate(one: Estimate) -> None:
    rows = [
        (
            step.step,
            f"{step.instances} x {step.instance_type}",
            f"{step.jobs:,}" + (f" to {step.most_jobs:,}" if step.most_jobs > step.jobs else ""),
            f"{step.hours:,.1f}",
        )
        for step in one.steps
    ]
    total = ("all", None, f"{sum(step.jobs for step in one.steps):,}", f"{one.hours:,.1f}")
    right = ("JOBS", "HOURS AT MOST")
    print_table(("STEP", "INSTANCES", *right), [*rows, *([total] if rows[1:] else [])], right=right)
    for quota in one.quotas:
        verdict = "too few: jobs beyond it fail after 300 s" if quota.binds else "enough"
        click.echo(
            f"{quota.needed} {quota.instance_type} at once, {quota.allowed} allowed "
            f"({quota.source}): {verdict}"
        )
