"""`batcat plan`: what a deployment would change, as a table and a diff; what would be used."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from batcat_runtime.commands import terminal
from batcat_runtime.text import clean

if TYPE_CHECKING:
    from batcat_runtime.operate.estimate import Estimate
    from batcat_runtime.operate.plan import Plan

_CHANGED = 3
_STYLES = {"+": "green", "-": "red", "@": "cyan"}
_ACTIONS = {"Add": "add", "Modify": "change", "Remove": "remove"}
_REPLACED = {"True": "yes", "Conditional": "maybe"}


@click.command()
@terminal.folder_option
@click.option("--diff/--no-diff", default=True, help="Show how the definitions change, too.")
@click.option(
    "detailed", "--detailed-exitcode", is_flag=True, help="Exit with 3 when anything would change."
)
@click.option(
    "estimated", "--estimate", is_flag=True, help="Count jobs, instance hours and quotas instead."
)
@click.option("start", "--date-start", metavar="DATE", help="Of a backfill to estimate.")
@click.option("end", "--date-end", metavar="DATE", help="Its end, exclusive.")
@terminal.every_option
@click.option("--concurrency", "-n", type=int, default=4, help="Windows at once.")
@terminal.json_option
def plan(
    folder: Path, diff: bool, detailed: bool, estimated: bool, as_json: bool, **backfill: Any
) -> None:
    """Show what a deployment would change.

    Every resource that would be added, changed, replaced or removed, and what would differ in the
    workflow's definition. Nothing is changed. With --estimate: the jobs and instance hours of the
    schedule's next thirty days, or of a backfill, and the quotas that bind.
    """
    if estimated or backfill["start"] or backfill["end"]:
        from batcat_runtime.operate.estimate import estimate

        with terminal.progress():
            found = estimate(folder, **backfill)
        terminal.show(found, as_json, _print_estimates)
        return
    from batcat_runtime.operate.plan import plan

    with terminal.progress() as show:
        show("looking at what is deployed")
        planned = plan(folder)
    terminal.show(planned, as_json, partial(_print, diff=diff))
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
        terminal.print_table(("ACTION", "RESOURCE", "TYPE", "REPLACED", "STACK"), rows)
    console = Console(highlight=False, soft_wrap=True)
    for purpose, text in found.diffs.items() if diff else ():
        console.print(Text(f"\nThe workflow of {purpose}", "bold"))
        for line in clean(text).split("\n"):
            console.print(Text(line, _STYLES.get(line[:1], "")))
    for line in (*found.notes, *found.removed, str(found)):
        click.echo(f"\n{line}" if rows or found.notes else line)


def _print_estimates(found: list[Estimate]) -> None:
    for number, estimate in enumerate(found):
        together = f", {estimate.at_once} at once" if estimate.at_once > 1 else ""
        if number:
            click.echo()
        click.echo(f"{estimate.purpose}: {estimate.of}, {estimate.runs:,} runs{together}")
        if estimate.runs:
            _print_estimate(estimate)
        if estimate.note:
            click.echo(estimate.note)
    if any(estimate.runs for estimate in found):
        click.echo("\nHours are the most: as if every job ran to its max_runtime_seconds.")


def _print_estimate(estimate: Estimate) -> None:
    rows = [
        (
            step.step,
            f"{step.instances} x {step.instance_type}",
            f"{step.jobs:,}" + (f" to {step.most_jobs:,}" if step.most_jobs > step.jobs else ""),
            f"{step.hours:,.1f}",
        )
        for step in estimate.steps
    ]
    jobs = sum(step.jobs for step in estimate.steps)
    total = ("all", None, f"{jobs:,}", f"{estimate.hours:,.1f}")
    right = ("JOBS", "HOURS AT MOST")
    terminal.print_table(
        ("STEP", "INSTANCES", *right), [*rows, *([total] if rows[1:] else [])], right=right
    )
    for quota in estimate.quotas:
        verdict = "too few: jobs beyond it fail after 300 s" if quota.binds else "enough"
        click.echo(
            f"{quota.needed} {quota.instance_type} at once, {quota.allowed} allowed "
            f"({quota.source}): {verdict}"
        )
