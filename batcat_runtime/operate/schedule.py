"""`batcat schedule`: whether a purpose runs by itself, when next, and the switch for it.

The switch is in two places: `enabled` in script/config.json, which the next deployment follows, and
the deployed schedule itself. Both are set. The deployed one is set through its stack, with the
template that is deployed and one parameter changed: so no other pending change slips in, and the
next deployment finds nothing to do.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from batcat_runtime.config import CONFIG_PATH, get_config, parse_config
from batcat_runtime.deploy.firing import parse_expression
from batcat_runtime.deploy.stack import Stack, deploy_stack
from batcat_runtime.errors import ConfigError, StackError, UserError, WaitInterruptedError
from batcat_runtime.jsontext import set_member, write_whole
from batcat_runtime.operate.connection import Project, open_project
from batcat_runtime.operate.schedule_state import Deployed, ScheduleState, look, state_of, word

Action = Literal["show", "on", "off"]
_UPDATABLE = (
    *("Name", "GroupName", "ScheduleExpression", "ScheduleExpressionTimezone", "StartDate"),
    *("EndDate", "Description", "KmsKeyArn", "Target", "FlexibleTimeWindow"),
    "ActionAfterCompletion",
)


def schedule(
    action: Action = "show",
    *,
    folder: str | Path | None = None,
    purpose: str | None = None,
    now: datetime | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> list[ScheduleState]:
    """Show when purposes run by themselves, or switch that on or off.

    Parameters
    ----------
    action : {"show", "on", "off"}
        What to do.
    folder : path, optional
        The project's folder; by default the one around the working directory.
    purpose : str, optional
        Which pipeline. `show` takes all by default; a switch needs it when there are several.
    now : datetime, optional
        With a time zone; firing times after it are shown. By default the time that it is.
    progress : callable
        Called with a line when something happens.

    Returns
    -------
    list of ScheduleState
        One for each purpose asked for; after a switch, as it is then.

    Raises
    ------
    UserError
        The purpose is unknown or has no schedule, or there is no such action; nothing was changed.
    StackError
        CloudFormation could not switch it; the configuration is as it was.
    WaitInterruptedError
        Nobody waited to the end; CloudFormation goes on.

    Examples
    --------
    >>> schedule()[0].next[0].time  # doctest: +SKIP
    datetime.datetime(2022, 1, 9, 2, 0, tzinfo=zoneinfo.ZoneInfo(key='Asia/Shanghai'))
    """
    if action not in ("show", "on", "off"):
        raise UserError(f"A schedule cannot be switched {action!r}.", fix="Say on, off or show.")
    project = open_project(folder)
    now = now or datetime.now(UTC)
    if action == "show":
        return [state_of(project, one, now) for one in project.purposes(purpose)]
    name = project.config.purpose_name(purpose)
    changed = _switch(project, name, action, progress)
    after = Project(project.folder, get_config(project.folder))
    return [replace(state_of(after, name, now), changed=changed)]


def _switch(
    project: Project,
    purpose: str,
    action: Literal["on", "off"],
    progress: Callable[[str], None],
) -> tuple[str, ...]:
    """Switch what is not as wanted; return what was changed."""
    configured = project.config.purposes[purpose].schedule
    if configured is None:
        raise ConfigError(
            f"The purpose {purpose} has no schedule in {CONFIG_PATH.as_posix()}.",
            fix=f"Add this to `purposes`, `{purpose}`, and deploy:\n{_example(project)}",
        )
    deployed = look(project, purpose)
    there = deployed is not None and deployed.stacks_state != "none"
    if action == "on" and not there:
        parse_expression(configured.expression)  # what is deployed was accepted by AWS itself
    if deployed is not None and deployed.stack.busy:
        raise StackError(
            f"Somebody is changing the stack {deployed.stack.name} right now "
            f"({deployed.stack.status}).",
            fix="Nothing was changed. Wait until that has ended, then try again.",
        )
    changed = []
    path = project.folder / CONFIG_PATH
    before = path.read_bytes().decode("utf-8")
    after = before
    if word(configured.enabled) != action:
        after = _edited(before, purpose, action == "on")
        write_whole(path, after)
        changed.append(CONFIG_PATH.as_posix())
        progress(f"{CONFIG_PATH.as_posix()}: schedule of {purpose} switched {action}")
    if deployed is not None and there and action != deployed.stacks_state:
        try:
            _switch_stack(project, deployed, purpose, action, progress)
        except WaitInterruptedError:
            raise
        except BaseException:
            if _put_back(path, before, after):
                progress(f"{CONFIG_PATH.as_posix()}: as it was")
            raise
        changed.append(project.names(purpose).schedule)
    elif deployed is not None and there and action != deployed.state:
        _switch_by_hand(project, purpose, action)
        progress(
            f"schedule {project.names(purpose).schedule}: switched {action}, as its stack says"
        )
        changed.append(project.names(purpose).schedule)
    return tuple(changed)


def _edited(text: str, purpose: str, enabled: bool) -> str:
    """Return the configuration's text with one word changed, checked."""
    after = set_member(text, ["purposes", purpose, "schedule", "enabled"], enabled)
    expected = json.loads(text)
    expected["purposes"][purpose]["schedule"]["enabled"] = enabled
    if json.loads(after) != expected:
        raise ConfigError(
            f"{CONFIG_PATH.as_posix()} is laid out in a way that BatCat cannot edit.",
            fix=f'Write "enabled": {json.dumps(enabled)} into the schedule of {purpose} by hand, '
            "and deploy.",
        )
    parse_config(expected, source=CONFIG_PATH.as_posix())
    return after


def _put_back(path: Path, before: str, after: str) -> bool:
    # Unless somebody has edited it meanwhile: theirs is not ours to undo.
    if after == before or path.read_bytes().decode("utf-8") != after:
        return False
    write_whole(path, before)
    return True


def _switch_stack(
    project: Project,
    deployed: Deployed,
    purpose: str,
    action: Literal["on", "off"],
    progress: Callable[[str], None],
) -> None:
    """Deploy the stack as it is, with one parameter changed and nothing else."""
    stack = Stack(
        name=deployed.stack.name,
        template={"UsePreviousTemplate": True},
        parameters={"ScheduleState": "ENABLED" if action == "on" else "DISABLED"},
        # Its own tags: those of the configuration may be a change that is pending.
        tags=deployed.stack.tags,
    )
    try:
        change = deploy_stack(project.client("cloudformation"), stack)
    except WaitInterruptedError as error:
        raise WaitInterruptedError(
            f"{error.message} {CONFIG_PATH.as_posix()} says {action}.",
            fix="Look at how it ended with `batcat schedule show`.",
        ) from error
    progress(f"stack {change.stack}: {change.outcome}")


def _switch_by_hand(project: Project, purpose: str, action: Literal["on", "off"]) -> None:
    """Set a schedule back to what its stack says; CloudFormation would see nothing to do."""
    client, name = project.client("scheduler"), project.names(purpose).schedule
    with project.asked(f"the schedule {name}", "scheduler:UpdateSchedule"):
        there = client.get_schedule(Name=name)
        keep = {key: there[key] for key in _UPDATABLE if key in there}
        client.update_schedule(**keep, State="ENABLED" if action == "on" else "DISABLED")


def _example(project: Project) -> str:
    zones = [one.schedule.timezone for one in project.config.purposes.values() if one.schedule]
    zone = zones[0] if zones else "Asia/Shanghai" if project.config.partition == "aws-cn" else "UTC"
    entry = {"expression": "cron(0 2 * * ? *)", "timezone": zone, "enabled": True}
    lines = json.dumps({**entry, "window_days": 1}, indent=2)
    return f'"schedule": {lines}'
