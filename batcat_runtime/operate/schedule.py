"""`batcat schedule`: whether a pipeline runs by itself, when next, and the switch for it.

The switch is in two places: `enabled` in script/config.json, which the next deployment follows, and
the deployed schedule itself. Both are set. The deployed one is set through its stack, with the
template that is deployed and one parameter changed: so no other pending change slips in, and the
next deployment finds nothing to do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from batcat_runtime.config import CONFIG_PATH
from batcat_runtime.deploy.parameters import tags_of
from batcat_runtime.deploy.schedule_expression import check_expression, interval_of, next_times
from batcat_runtime.deploy.stack import Stack, deploy_stack, describe_stack, refuse_foreign
from batcat_runtime.errors import ConfigError, StackError, UserError, WaitInterruptedError
from batcat_runtime.jsontext import set_member, write_whole
from batcat_runtime.log import report
from batcat_runtime.operate.connection import Project, open_project
from batcat_runtime.operate.executions import Window

State = Literal["on", "off", "none"]
_TIMES = 5
_NO_STACK = {"", "REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE", "DELETE_COMPLETE"}
# What UpdateSchedule takes of what GetSchedule tells.
_KEPT = (
    *("Name", "GroupName", "ScheduleExpression", "ScheduleExpressionTimezone", "StartDate"),
    *("EndDate", "Description", "KmsKeyArn", "Target", "FlexibleTimeWindow"),
    "ActionAfterCompletion",
)


@dataclass(frozen=True)
class NextRun:
    """A time at which a schedule fires.

    Attributes
    ----------
    time : datetime
        In the schedule's own time zone.
    window : Window
        What that run will compute.
    """

    time: datetime
    window: Window


@dataclass(frozen=True)
class Schedule:
    """A pipeline's schedule, in the configuration and in AWS.

    Attributes
    ----------
    purpose : str
        The pipeline.
    expression, timezone, window_days : str, str, int
        As deployed; as configured where nothing is deployed. Empty and 0 without a schedule.
    configured, deployed : {"on", "off", "none"}
        In script/config.json, and in AWS; ``none``: it is not there.
    next : tuple of NextRun
        The next times at which it fires; while it is off, those at which it would.
    uploads : str
        The ``s3://`` prefix whose uploads start it as well, if the configuration has one.
    uploads_deployed : {"on", "off", "none"}
        Whether they do.
    notes : tuple of str
        What is not as one might think: a difference, a missing deployment.
    changed : tuple of str
        What this call has changed: ``script/config.json``, the schedule's name.
    """

    purpose: str
    expression: str = ""
    timezone: str = ""
    window_days: int = 0
    configured: State = "none"
    deployed: State = "none"
    next: tuple[NextRun, ...] = ()
    uploads: str = ""
    uploads_deployed: State = "none"
    notes: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __repr__(self) -> str:
        first = f", next {self.next[0].time:%Y-%m-%d %H:%M %z}" if self.next else ""
        return f"<Schedule of {self.purpose}: {self.deployed}, {self.expression}{first}>"


def schedule(
    action: Literal["show", "on", "off"] = "show",
    *,
    folder: str | Path | None = None,
    purpose: str | None = None,
) -> list[Schedule]:
    """Show when pipelines run by themselves, or switch that on or off.

    Parameters
    ----------
    action : {"show", "on", "off"}
        What to do.
    folder : path, optional
        The project's folder; by default the one around the working directory.
    purpose : str, optional
        Which pipeline. `show` takes all by default; a switch needs it when there are several.

    Returns
    -------
    list of Schedule
        One for each pipeline asked for; after a switch, as it is then.

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
    if action == "show":
        report("asking AWS for the schedules")
        return [_look(project, name) for name in project.purposes(purpose)]
    name = project.config.purpose_name(purpose)
    changed = _switch(project, name, action)
    return [replace(_look(open_project(project.folder), name), changed=changed)]


def _switch(project: Project, purpose: str, action: Literal["on", "off"]) -> tuple[str, ...]:
    """Switch what is not as wanted, AWS first; return what was changed."""
    configured = project.config.purposes[purpose].schedule
    if configured is None:
        raise ConfigError(
            f"The purpose {purpose} has no schedule in {CONFIG_PATH.as_posix()}.",
            fix=f"Add this to `purposes`, `{purpose}`, and deploy:\n{_example(project)}",
        )
    stack, there = _deployed(project, purpose)
    if there is None and action == "on":
        check_expression(configured.expression)  # what is deployed was accepted by AWS itself
    if stack and stack["StackStatus"].endswith("_IN_PROGRESS"):
        raise StackError(
            f"Somebody is changing the stack {stack['StackName']} right now "
            f"({stack['StackStatus']}).",
            fix="Nothing was changed. Wait until that has ended, then try again.",
        )
    path, changed = project.folder / CONFIG_PATH, []
    text = path.read_bytes().decode("utf-8")
    edited = set_member(text, ["purposes", purpose, "schedule", "enabled"], action == "on")
    if configured.enabled == (action == "on"):
        edited = text
    else:
        changed.append(CONFIG_PATH.as_posix())
    try:
        if there is not None and _switch_deployed(project, purpose, stack, there, action):
            changed.append(project.names(purpose).schedule)
    except WaitInterruptedError as error:
        write_whole(path, edited)
        raise WaitInterruptedError(
            f"{error.message} {CONFIG_PATH.as_posix()} says {action}.",
            fix="Look at how it ended with `batcat schedule show`.",
        ) from error
    write_whole(path, edited)
    return tuple(changed)


def _switch_deployed(
    project: Project,
    purpose: str,
    stack: dict[str, Any],
    there: dict[str, Any],
    action: Literal["on", "off"],
) -> bool:
    """Switch the deployed schedule; return whether it was another."""
    state = "ENABLED" if action == "on" else "DISABLED"
    wanted = Stack(
        name=stack["StackName"],
        template={"UsePreviousTemplate": True},
        parameters={"ScheduleState": state},
        # Its own tags: those of the configuration may be a change that is pending.
        tags={tag["Key"]: tag["Value"] for tag in stack.get("Tags", [])},
    )
    if _parameters(stack).get("ScheduleState") != state:
        deploy_stack(project.client("cloudformation"), wanted)
        return True
    if there["State"] == state:
        return False
    # Somebody has switched it by hand; CloudFormation would see nothing to do.
    name = project.names(purpose).schedule
    kept = {key: there[key] for key in _KEPT if key in there} | {"State": state}
    project.call("scheduler:UpdateSchedule", f"the schedule {name}", **kept)
    return True


def _deployed(project: Project, purpose: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the stack and the schedule that AWS has; empty and None where it has none.

    Raises
    ------
    StackError
        The stack of this name is somebody else's.
    """
    names = project.names(purpose)
    with project.asked("cloudformation:DescribeStacks", f"the stack {names.trigger_stack}"):
        stack = describe_stack(project.client("cloudformation"), names.trigger_stack)
    if stack.get("StackStatus", "") in _NO_STACK:
        return {}, None
    refuse_foreign(stack, tags_of(project.config, purpose))
    place, absent = f"the schedule {names.schedule}", {"ResourceNotFoundException"}
    there = project.call("scheduler:GetSchedule", place, absent=absent, Name=names.schedule)
    return stack, there or None


def _parameters(stack: dict[str, Any]) -> dict[str, str]:
    return {one["ParameterKey"]: one["ParameterValue"] for one in stack.get("Parameters", [])}


def _look(project: Project, purpose: str) -> Schedule:
    """Return a pipeline's schedule as it is."""
    settings = project.config.purposes[purpose]
    stack, there = _deployed(project, purpose)
    given, configured, shown = _parameters(stack), settings.schedule, ("", "", 0)
    if there:
        zone, days = there.get("ScheduleExpressionTimezone"), given.get("WindowDays")
        shown = (there["ScheduleExpression"], zone or "UTC", int(days or 1))
    elif configured:
        shown = (configured.expression, configured.timezone, configured.window_days)
    watched = _word(given.get("UploadState") == "ENABLED")
    found = Schedule(
        purpose,
        *shown,
        configured=_word(configured.enabled) if configured else "none",
        deployed=_word(there["State"] == "ENABLED") if there else "none",
        uploads=settings.s3_trigger.prefix if settings.s3_trigger else "",
        uploads_deployed=watched if given.get("UploadBucket") else "none",
    )
    runs, notes = _next(found, (there or {}).get("CreationDate"))
    return replace(found, next=runs, notes=(*_differences(project, found, stack), *notes))


def _next(found: Schedule, since: datetime | None) -> tuple[tuple[NextRun, ...], list[str]]:
    """Return the next runs of a schedule, and what is to be said of them."""
    if not found.expression:
        return (), []
    now = datetime.now(UTC)
    try:
        times = next_times(found.expression, found.timezone, now, _TIMES, counted_from=since)
        counted = interval_of(found.expression)
    except ConfigError as error:
        return (), [error.message]
    notes = []
    if counted and since:
        notes.append(
            "The times are counted from when the schedule was made; after a change, AWS may count "
            "anew."
        )
    elif counted:
        notes.append("The times are counted from now; AWS counts from when the schedule is made.")
    elif not times:
        notes.append(f"{found.expression} means no time to come: it never fires.")
    return tuple(NextRun(time, _window(time, found.window_days)) for time in times), notes


def _differences(project: Project, found: Schedule, stack: dict[str, Any]) -> list[str]:
    """Return what the next deployment would change, and what somebody has changed by hand."""
    configured, place = project.config.purposes[found.purpose].schedule, CONFIG_PATH.as_posix()
    if configured is None:
        if found.deployed == "none":
            return [f"{place} has no schedule for it; `batcat schedule on` shows what to add."]
        return [f"{place} has no schedule any more; the next `batcat deploy` removes it."]
    if not stack:
        return ["Nothing is deployed yet: `batcat deploy`."]
    if found.deployed == "none":
        return ["The deployed trigger has no schedule; the next `batcat deploy` makes it."]
    notes, theirs = [], _word(_parameters(stack).get("ScheduleState") == "ENABLED")
    if found.deployed != theirs:
        notes.append(
            f"Somebody has switched it {found.deployed} by hand, where its stack says {theirs}: "
            "`batcat schedule on` or `off` brings both together."
        )
    if found.configured != found.deployed:
        notes.append(f"{place} says {found.configured}: the next `batcat deploy` switches it.")
    mine = (configured.expression, configured.timezone, configured.window_days)
    if mine != (found.expression, found.timezone, found.window_days):
        notes.append(
            f"{place} says {mine[0]} in {mine[1]}, a window of {mine[2]} day"
            f"{'s' if mine[2] > 1 else ''}: the next `batcat deploy` brings that."
        )
    return notes


def _window(time: datetime, days: int) -> Window:
    """Return the whole days that end at the day on which it fires, as the function has them."""
    day = time.date()
    return Window((day - timedelta(days=days)).isoformat(), day.isoformat())


def _word(enabled: bool) -> State:
    return "on" if enabled else "off"


def _example(project: Project) -> str:
    zones = [one.schedule.timezone for one in project.config.purposes.values() if one.schedule]
    zone = zones[0] if zones else "Asia/Shanghai" if project.config.partition == "aws-cn" else "UTC"
    entry = {"expression": "cron(0 2 * * ? *)", "timezone": zone, "enabled": True}
    lines = json.dumps({**entry, "window_days": 1}, indent=2)
    return f'"schedule": {lines}'
