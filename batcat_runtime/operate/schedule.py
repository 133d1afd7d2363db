"""`batcat schedule`: whether a purpose runs by itself, when next, and the switch for it.

The switch is in two places: `enabled` in script/config.json, which the next deployment follows, and
the deployed schedule itself. Both are set. The deployed one is set through its stack, with the
template that is deployed and one word of it changed: so no other pending change slips in, and the
next deployment finds nothing to do.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from batcat_runtime.config import CONFIG_PATH, get_config, parse_config
from batcat_runtime.deploy.firing import Rate, next_firings, parse_expression
from batcat_runtime.deploy.stack import deploy_stack
from batcat_runtime.errors import (
    ConfigError,
    StackError,
    UserError,
    WaitInterruptedError,
)
from batcat_runtime.jsontext import set_member, write_whole
from batcat_runtime.operate.deployed import (
    EMPTY,
    DeployedStack,
    find_stack,
    is_ours,
    template_of,
)
from batcat_runtime.operate.project import Project, open_project
from batcat_runtime.operate.windows import Window

Action = Literal["show", "on", "off"]
State = Literal["on", "off", "none"]
_FIRINGS = 5
_UPDATABLE = (
    *("Name", "GroupName", "ScheduleExpression", "ScheduleExpressionTimezone", "StartDate"),
    *("EndDate", "Description", "KmsKeyArn", "Target", "FlexibleTimeWindow"),
    "ActionAfterCompletion",
)


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


def schedule(
    action: Action = "show",
    *,
    folder: str | Path | None = None,
    purpose: str | None = None,
    now: datetime | None = None,
    progress: Callable[[str], None] = lambda line: None,
    sleep: Callable[[float], None] = time.sleep,
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
    sleep : callable
        Waits, in seconds.

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
        return [_state(project, one, now) for one in project.purposes(purpose)]
    name = project.config.purpose_name(purpose)
    changed = _switch(project, name, action, progress, sleep)
    after = Project(project.folder, get_config(project.folder))
    return [replace(_state(after, name, now), changed=changed)]


# ---- what there is


@dataclass(frozen=True)
class _Deployed:
    """What AWS has of a purpose's trigger."""

    stack: DeployedStack
    template: dict[str, Any]
    schedule: dict[str, Any] | None  # as GetSchedule describes it

    @property
    def state(self) -> State:
        return "none" if self.schedule is None else _word(self.schedule["State"] == "ENABLED")

    @property
    def templates_state(self) -> State:
        """What the template says, which somebody may have overruled by hand."""
        properties = self.resource("Schedule")
        return _word(properties.get("State", "ENABLED") == "ENABLED") if properties else "none"

    @property
    def window_days(self) -> int:
        variables = self.resource("Function").get("Environment", {}).get("Variables", {})
        return int(variables.get("WINDOW_DAYS", 1))

    def resource(self, name: str) -> dict[str, Any]:
        properties: dict[str, Any] = (
            self.template.get("Resources", {}).get(name, {}).get("Properties", {})
        )
        return properties


def _look(project: Project, purpose: str) -> _Deployed | None:
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
    return _Deployed(stack, template_of(project, name), _scheduled(project, purpose))


def _scheduled(project: Project, purpose: str) -> dict[str, Any] | None:
    client, name = project.client("scheduler"), project.names(purpose).schedule
    with project.asked(f"the schedule {name}", "scheduler:GetSchedule"):
        try:
            found: dict[str, Any] = client.get_schedule(Name=name)
        except client.exceptions.ResourceNotFoundException:
            return None
    return found


def _state(project: Project, purpose: str, now: datetime) -> ScheduleState:
    configured = project.config.purposes[purpose].schedule
    deployed = _look(project, purpose)
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
        configured=_word(configured.enabled) if configured else "none",
        deployed=deployed.state if deployed else "none",
        next=firings,
        upload=upload,
        notes=notes,
    )


def _window(fires: datetime, days: int) -> Window:
    """Return the whole days that end at the day on which it fires, as the function has them."""
    day = fires.date()
    return Window((day - timedelta(days=days)).isoformat(), day.isoformat())


def _notes(project: Project, purpose: str, deployed: _Deployed | None) -> tuple[str, ...]:
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
    if deployed.state != deployed.templates_state:
        notes.append(
            f"Somebody has switched it {deployed.state} by hand, where its stack says "
            f"{deployed.templates_state}: `batcat schedule on` or `off` brings both together."
        )
    mine = (configured.expression, configured.timezone, configured.window_days)
    theirs = (
        there["ScheduleExpression"],
        there.get("ScheduleExpressionTimezone") or "UTC",
        deployed.window_days,
    )
    if _word(configured.enabled) != deployed.state:
        notes.append(
            f"{place} says {_word(configured.enabled)}: the next `batcat deploy` switches it."
        )
    if mine != theirs:
        notes.append(
            f"{place} says {mine[0]} in {mine[1]}, {_days(mine[2])}: the next `batcat deploy` "
            "brings that."
        )
    return tuple(notes)


def _upload(project: Project, purpose: str, deployed: _Deployed | None) -> UploadRule | None:
    trigger = project.config.purposes[purpose].s3_trigger
    if trigger is None:
        return None
    state: State = "none"
    if deployed and deployed.resource("UploadRule"):
        client, name = project.client("events"), project.names(purpose).rule
        with project.asked(f"the rule {name}", "events:DescribeRule"):
            try:
                state = _word(client.describe_rule(Name=name)["State"] == "ENABLED")
            except client.exceptions.ResourceNotFoundException:
                state = "none"
    return UploadRule(trigger.prefix, _word(trigger.enabled), state)


def _word(enabled: bool) -> State:
    return "on" if enabled else "off"


def _days(count: int) -> str:
    return f"a window of {count} day{'s' if count > 1 else ''}"


# ---- the switch


def _switch(
    project: Project,
    purpose: str,
    action: Literal["on", "off"],
    progress: Callable[[str], None],
    sleep: Callable[[float], None],
) -> tuple[str, ...]:
    """Switch what is not as wanted; return what was changed."""
    configured = project.config.purposes[purpose].schedule
    if configured is None:
        raise ConfigError(
            f"The purpose {purpose} has no schedule in {CONFIG_PATH.as_posix()}.",
            fix=f"Add this to `purposes`, `{purpose}`, and deploy:\n{_example(project)}",
        )
    deployed = _look(project, purpose)
    there = deployed is not None and deployed.templates_state != "none"
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
    if _word(configured.enabled) != action:
        after = _edited(before, purpose, action == "on")
        write_whole(path, after)
        changed.append(CONFIG_PATH.as_posix())
        progress(f"{CONFIG_PATH.as_posix()}: schedule of {purpose} switched {action}")
    if deployed is not None and there and action != deployed.templates_state:
        try:
            _switch_stack(project, deployed, purpose, action, progress, sleep)
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
    deployed: _Deployed,
    purpose: str,
    action: Literal["on", "off"],
    progress: Callable[[str], None],
    sleep: Callable[[float], None],
) -> None:
    """Deploy the stack as it is, with the schedule's state changed and nothing else."""
    template = json.loads(json.dumps(deployed.template))
    state = "ENABLED" if action == "on" else "DISABLED"
    template["Resources"]["Schedule"]["Properties"]["State"] = state
    name = deployed.stack.name
    # The stack's own tags: those of the configuration may be a change that is pending.
    tags = [{"Key": key, "Value": value} for key, value in deployed.stack.tags.items()]
    client = project.client("cloudformation")
    try:
        change = deploy_stack(client, name, template, tags=tags, progress=progress, sleep=sleep)
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
