"""A purpose's schedule as it is: in the configuration, in AWS, and when it fires next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from batcat_runtime.config import CONFIG_PATH
from batcat_runtime.deploy.firing import Rate, next_firings, parse_expression
from batcat_runtime.errors import ConfigError, StackError
from batcat_runtime.operate.connection import (
    EMPTY,
    DeployedStack,
    Project,
    find_stack,
    is_ours,
)
from batcat_runtime.operate.executions import Window

State = Literal["on", "off", "none"]
_FIRINGS = 5


@dataclass(frozen=True)
class Firing:
    """One time at which a schedule fires.

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
class UploadRule:
    """The other thing that may start a purpose: uploads under an S3 prefix.

    Attributes
    ----------
    prefix : str
        ``s3://bucket/prefix/``.
    configured, deployed : {"on", "off", "none"}
        In script/config.json, and in AWS; ``none``: it is not there.
    """

    prefix: str
    configured: State
    deployed: State


@dataclass(frozen=True)
class ScheduleState:
    """A purpose's schedule, in the configuration and in AWS.

    Attributes
    ----------
    purpose : str
        The pipeline.
    expression, timezone, window_days : str, str, int
        As deployed; as configured where nothing is deployed. Empty and 0 without a schedule.
    configured, deployed : {"on", "off", "none"}
        In script/config.json, and in AWS; ``none``: it is not there.
    next : tuple of Firing
        The next times at which it fires; while it is off, those at which it would.
    upload : UploadRule or None
        The rule for uploads, if the purpose has one.
    notes : tuple of str
        What is not as one might think: a difference, a missing deployment.
    changed : tuple of str
        What this call has changed: ``script/config.json``, the schedule's name.
    """

    purpose: str
    expression: str
    timezone: str
    window_days: int
    configured: State
    deployed: State
    next: tuple[Firing, ...] = ()
    upload: UploadRule | None = None
    notes: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Deployed:
    """What AWS has of a purpose's trigger.

    Attributes
    ----------
    stack : DeployedStack
        Its stack.
    schedule : dict or None
        The schedule as GetSchedule describes it.
    """

    stack: DeployedStack
    schedule: dict[str, Any] | None

    @property
    def state(self) -> State:
        """Whether the schedule is on."""
        return "none" if self.schedule is None else word(self.schedule["State"] == "ENABLED")

    @property
    def stacks_state(self) -> State:
        """What the stack says, which somebody may have overruled by hand."""
        if not self.stack.parameters.get("ScheduleExpression"):
            return "none"
        return word(self.stack.parameters.get("ScheduleState") == "ENABLED")

    @property
    def window_days(self) -> int:
        """How many days a run covers."""
        return int(self.stack.parameters.get("WindowDays") or 1)


def look(project: Project, purpose: str) -> Deployed | None:
    """Return what is deployed, or None."""
    name = project.names(purpose).trigger_stack
    stack = find_stack(project, name)
    if stack is None or stack.status in EMPTY or stack.status == "DELETE_COMPLETE":
        return None
    if not is_ours(project, stack):
        raise StackError(
            f"The stack {name} was not made by BatCat for the project {project.config.project}.",
            fix="Nothing was changed. Choose another `project` in script/config.json, or have that "
            "stack removed by its owner.",
        )
    return Deployed(stack, _scheduled(project, purpose))


def _scheduled(project: Project, purpose: str) -> dict[str, Any] | None:
    client, name = project.client("scheduler"), project.names(purpose).schedule
    with project.asked(f"the schedule {name}", "scheduler:GetSchedule"):
        try:
            found: dict[str, Any] = client.get_schedule(Name=name)
        except client.exceptions.ResourceNotFoundException:
            return None
    return found


def state_of(project: Project, purpose: str, now: datetime) -> ScheduleState:
    """Return a purpose's schedule as it is, with the times after `now`."""
    configured = project.config.purposes[purpose].schedule
    deployed = look(project, purpose)
    there = deployed.schedule if deployed else None
    notes = _notes(project, purpose, deployed)
    upload = _upload(project, purpose, deployed)
    if there is None and configured is None:
        return ScheduleState(purpose, "", "", 0, "none", "none", upload=upload, notes=notes)
    if there is not None and deployed is not None:
        expression, zone = there["ScheduleExpression"], there.get("ScheduleExpressionTimezone")
        days, since = deployed.window_days, there.get("CreationDate")
    else:
        assert configured is not None
        expression, zone = configured.expression, configured.timezone
        days, since = configured.window_days, None
    zone = zone or "UTC"
    firings: tuple[Firing, ...] = ()
    try:
        read = parse_expression(expression)
        times = next_firings(read, zone, now, _FIRINGS, counted_from=since)
        firings = tuple(Firing(one, _window(one, days)) for one in times)
        if isinstance(read, Rate):
            notes += (
                "The times are counted from when the schedule was made; after a change of it, AWS "
                "may count anew."
                if since
                else "The times are counted from now; AWS counts from when the schedule is made.",
            )
        elif not firings:
            notes += (f"{expression} means no time to come: it never fires.",)
    except ConfigError as error:
        notes += (error.message,)
    return ScheduleState(
        purpose=purpose,
        expression=expression,
        timezone=zone,
        window_days=days,
        configured=word(configured.enabled) if configured else "none",
        deployed=deployed.state if deployed else "none",
        next=firings,
        upload=upload,
        notes=notes,
    )


def _window(fires: datetime, days: int) -> Window:
    """Return the whole days that end at the day on which it fires, as the function has them."""
    day = fires.date()
    return Window((day - timedelta(days=days)).isoformat(), day.isoformat())


def _notes(project: Project, purpose: str, deployed: Deployed | None) -> tuple[str, ...]:
    configured, place = project.config.purposes[purpose].schedule, CONFIG_PATH.as_posix()
    if configured is None and (deployed is None or deployed.schedule is None):
        return (f"{place} has no schedule for it; `batcat schedule on` shows what to add.",)
    if deployed is None:
        return ("Nothing is deployed yet: `batcat deploy`.",)
    there = deployed.schedule
    if there is None:
        return ("The deployed trigger has no schedule; the next `batcat deploy` makes it.",)
    if configured is None:
        return (f"{place} has no schedule any more; the next `batcat deploy` removes it.",)
    notes = []
    if deployed.state != deployed.stacks_state:
        notes.append(
            f"Somebody has switched it {deployed.state} by hand, where its stack says "
            f"{deployed.stacks_state}: `batcat schedule on` or `off` brings both together."
        )
    mine = (configured.expression, configured.timezone, configured.window_days)
    theirs = (
        there["ScheduleExpression"],
        there.get("ScheduleExpressionTimezone") or "UTC",
        deployed.window_days,
    )
    if word(configured.enabled) != deployed.state:
        notes.append(
            f"{place} says {word(configured.enabled)}: the next `batcat deploy` switches it."
        )
    if mine != theirs:
        notes.append(
            f"{place} says {mine[0]} in {mine[1]}, {_days(mine[2])}: the next `batcat deploy` "
            "brings that."
        )
    return tuple(notes)


def _upload(project: Project, purpose: str, deployed: Deployed | None) -> UploadRule | None:
    trigger = project.config.purposes[purpose].s3_trigger
    if trigger is None:
        return None
    state: State = "none"
    if deployed and deployed.stack.parameters.get("UploadBucket"):
        client, name = project.client("events"), project.names(purpose).rule
        with project.asked(f"the rule {name}", "events:DescribeRule"):
            try:
                state = word(client.describe_rule(Name=name)["State"] == "ENABLED")
            except client.exceptions.ResourceNotFoundException:
                state = "none"
    return UploadRule(trigger.prefix, word(trigger.enabled), state)


def word(enabled: bool) -> State:
    """Return what a switch says."""
    return "on" if enabled else "off"


def _days(count: int) -> str:
    return f"a window of {count} day{'s' if count > 1 else ''}"
