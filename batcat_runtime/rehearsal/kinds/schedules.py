"""Schedules of EventBridge Scheduler, and event rules, for the embedded CloudFormation."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from ..resources import Kind, Made, Place, ResourceError, chosen, tag_list, words


class Schedule(Kind):
    """AWS::Scheduler::Schedule."""

    type = "AWS::Scheduler::Schedule"
    properties = words(
        "ActionAfterCompletion Description EndDate FlexibleTimeWindow GroupName KmsKeyArn Name "
        "ScheduleExpression ScheduleExpressionTimezone StartDate State Target"
    )
    required = ("FlexibleTimeWindow", "ScheduleExpression", "Target")
    replacing = frozenset({"GroupName", "Name"})
    named_by = "Name"

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        name = props.get("Name") or place.generated_name(64)
        answer = place.client("scheduler").create_schedule(Name=name, **self._settings(props))
        place.exists(name)
        return Made(name, {"Arn": answer["ScheduleArn"]})

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        scheduler = place.client("scheduler")
        answer = scheduler.update_schedule(Name=physical_id, **self._settings(new))
        return Made(physical_id, {"Arn": answer["ScheduleArn"]})

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it."""
        place.client("scheduler").delete_schedule(Name=physical_id, **chosen(props, "GroupName"))

    def _settings(self, props: dict[str, Any]) -> dict[str, Any]:
        names = sorted(self.properties - {"Name"})
        settings = chosen(props, *names)
        settings.setdefault("State", "ENABLED")
        window = dict(settings["FlexibleTimeWindow"])
        if window.get("MaximumWindowInMinutes") is not None:
            window["MaximumWindowInMinutes"] = int(window["MaximumWindowInMinutes"])
        settings["FlexibleTimeWindow"] = window
        target = dict(settings["Target"])
        if target.get("RetryPolicy"):
            target["RetryPolicy"] = {k: int(v) for k, v in target["RetryPolicy"].items()}
        settings["Target"] = target
        return settings


class ScheduleGroup(Kind):
    """AWS::Scheduler::ScheduleGroup."""

    type = "AWS::Scheduler::ScheduleGroup"
    properties = frozenset({"Name", "Tags"})
    replacing = frozenset({"Name"})
    named_by = "Name"

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        name = props.get("Name") or place.generated_name(64)
        tags = tag_list(place.all_tags(props.get("Tags")))
        arn = place.client("scheduler").create_schedule_group(Name=name, Tags=tags)
        place.exists(name)
        return Made(name, {"Arn": arn["ScheduleGroupArn"], "State": "ACTIVE"})

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        scheduler = place.client("scheduler")
        arn = scheduler.get_schedule_group(Name=physical_id)["Arn"]
        tags = tag_list(place.all_tags(new.get("Tags")))
        if tags:
            scheduler.tag_resource(ResourceArn=arn, Tags=tags)
        return Made(physical_id, {"Arn": arn, "State": "ACTIVE"})

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it."""
        place.client("scheduler").delete_schedule_group(Name=physical_id)


class Rule(Kind):
    """AWS::Events::Rule."""

    type = "AWS::Events::Rule"
    properties = words(
        "Description EventBusName EventPattern Name RoleArn ScheduleExpression State Tags Targets"
    )
    replacing = frozenset({"Name", "EventBusName"})
    named_by = "Name"

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        name = props.get("Name") or place.generated_name(64)
        # PutRule itself would take over a rule of that name, whosever it is.
        events = place.client("events")
        with contextlib.suppress(events.exceptions.ResourceNotFoundException):
            events.describe_rule(Name=name)
            raise ResourceError(
                f"Resource of type 'AWS::Events::Rule' with identifier '{name}' already exists. "
                "(HandlerErrorCode: AlreadyExists)"
            )
        return self._put(place, name, {}, props)

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        return self._put(place, physical_id, old, new)

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it."""
        events = place.client("events")
        targets = [target["Id"] for target in props.get("Targets") or []]
        if targets:
            events.remove_targets(Rule=physical_id, Ids=targets)
        events.delete_rule(Name=physical_id)

    def _put(self, place: Place, name: str, old: dict[str, Any], new: dict[str, Any]) -> Made:
        events = place.client("events")
        settings = chosen(
            new, "Description", "EventBusName", "RoleArn", "ScheduleExpression", "State"
        )
        if new.get("EventPattern"):
            settings["EventPattern"] = json.dumps(new["EventPattern"])
        arn = events.put_rule(Name=name, **settings)["RuleArn"]
        place.exists(name)
        wanted = new.get("Targets") or []
        gone = {one["Id"] for one in old.get("Targets") or []} - {one["Id"] for one in wanted}
        if wanted:
            events.put_targets(Rule=name, Targets=wanted)
        if gone:
            events.remove_targets(Rule=name, Ids=sorted(gone))
        tags = place.all_tags(new.get("Tags"))
        if tags:
            events.tag_resource(ResourceARN=arn, Tags=tag_list(tags))
        return Made(name, {"Arn": arn})
