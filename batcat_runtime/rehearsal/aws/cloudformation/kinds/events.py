"""Schedules, rules, topics and alarms for the embedded CloudFormation."""

from __future__ import annotations

import contextlib
from typing import Any

from ..resources import Kind, Made, Place, ResourceError, taken, words


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
        return self._put(place, "CreateSchedule", place.name(props.get("Name"), 64), props)

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        return self._put(place, "UpdateSchedule", physical_id, new)

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it."""
        place.call("scheduler", "DeleteSchedule", props, Name=physical_id)

    def _put(self, place: Place, operation: str, name: str, props: dict[str, Any]) -> Made:
        settings = {"State": "ENABLED", **props, "Name": name}
        answer = place.call("scheduler", operation, settings)
        place.exists(name)
        return Made(name, {"Arn": answer["ScheduleArn"]})


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
        name = place.name(props.get("Name"), 64)
        # PutRule itself would take over a rule of that name, whosever it is.
        events = place.client("events")
        with contextlib.suppress(events.exceptions.ResourceNotFoundException):
            events.describe_rule(Name=name)
            raise taken(self.type, name)
        return self._put(place, name, {}, props)

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        return self._put(place, physical_id, old, new)

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it."""
        targets = [target["Id"] for target in props.get("Targets") or []]
        if targets:
            place.call("events", "RemoveTargets", {"Rule": physical_id, "Ids": targets})
        place.call("events", "DeleteRule", {"Name": physical_id})

    def _put(self, place: Place, name: str, old: dict[str, Any], new: dict[str, Any]) -> Made:
        settings = {key: value for key, value in new.items() if key != "Tags"}
        tags = {} if old else {"Tags": place.all_tags(new)}
        arn = place.call("events", "PutRule", settings, Name=name, **tags)["RuleArn"]
        place.exists(name)
        wanted = new.get("Targets") or []
        gone = {one["Id"] for one in old.get("Targets") or []} - {one["Id"] for one in wanted}
        if wanted:
            place.call("events", "PutTargets", {"Rule": name, "Targets": wanted})
        if gone:
            place.call("events", "RemoveTargets", {"Rule": name, "Ids": sorted(gone)})
        if old and old.get("Tags") != new.get("Tags"):
            place.retag("events", new, ResourceARN=arn)
        return Made(name, {"Arn": arn})


class Topic(Kind):
    """AWS::SNS::Topic; of those without subscriptions in line."""

    type = "AWS::SNS::Topic"
    properties = words("DisplayName KmsMasterKeyId SignatureVersion Tags TopicName TracingConfig")
    replacing = frozenset({"TopicName"})
    named_by = "TopicName"
    removal = ("sns", "DeleteTopic", "TopicArn")

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        client, name = place.client("sns"), place.name(props.get("TopicName"), 256)
        arn = place.arn("sns", name)
        # CreateTopic itself would give back a topic of that name, whosever it is.
        with contextlib.suppress(client.exceptions.NotFoundException):
            client.get_topic_attributes(TopicArn=arn)
            raise taken(self.type, arn)
        attributes, tags = self._attributes(props), place.all_tags(props)
        place.call("sns", "CreateTopic", {"Name": name, "Attributes": attributes, "Tags": tags})
        place.exists(arn)
        return Made(arn, {"TopicArn": arn, "TopicName": name})

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        wanted = dict.fromkeys(self._attributes(old), "") | self._attributes(new)
        for key, value in wanted.items():
            given = {"TopicArn": physical_id, "AttributeName": key, "AttributeValue": value}
            place.call("sns", "SetTopicAttributes", given)
        place.retag("sns", new, ResourceArn=physical_id)
        name = physical_id.rpartition(":")[2]
        return Made(physical_id, {"TopicArn": physical_id, "TopicName": name})

    def _attributes(self, props: dict[str, Any]) -> dict[str, str]:
        named = self.properties - {"TopicName", "Tags"}
        return {name: str(value) for name, value in props.items() if name in named}


class TopicPolicy(Kind):
    """AWS::SNS::TopicPolicy."""

    type = "AWS::SNS::TopicPolicy"
    properties = words("PolicyDocument Topics")
    required = ("PolicyDocument", "Topics")

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        return self._put(place, place.name(None, 64), props)

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        return self._put(place, physical_id, new)

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Take the policy from its topics, but for what a new topic has."""
        owner = {"StringEquals": {"AWS:SourceOwner": place.arn("sns", "").split(":")[4]}}
        for topic in props["Topics"]:
            statement = {
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": ["SNS:Publish", "SNS:Subscribe"],
                "Resource": topic,
                "Condition": owner,
            }
            self._set(place, topic, {"Version": "2008-10-17", "Statement": [statement]})

    def _put(self, place: Place, name: str, props: dict[str, Any]) -> Made:
        for topic in props["Topics"]:
            self._set(place, topic, props["PolicyDocument"])
        place.exists(name)
        return Made(name, {"Id": name})

    def _set(self, place: Place, topic: str, policy: Any) -> None:
        given = {"TopicArn": topic, "AttributeName": "Policy", "AttributeValue": policy}
        place.call("sns", "SetTopicAttributes", given)


class Subscription(Kind):
    """AWS::SNS::Subscription; any change makes a new one."""

    type = "AWS::SNS::Subscription"
    properties = words("Endpoint Protocol TopicArn")
    required = ("Protocol", "TopicArn")
    replacing = properties
    removal = ("sns", "Unsubscribe", "SubscriptionArn")

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        answer = place.call("sns", "Subscribe", props, ReturnSubscriptionArn=True)
        place.exists(answer["SubscriptionArn"])
        return Made(answer["SubscriptionArn"], {"Arn": answer["SubscriptionArn"]})

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change nothing: only the stack's tags changed, and a subscription has none."""
        return Made(physical_id, {"Arn": physical_id})


class Alarm(Kind):
    """AWS::CloudWatch::Alarm on one metric."""

    type = "AWS::CloudWatch::Alarm"
    properties = words(
        "ActionsEnabled AlarmActions AlarmDescription AlarmName ComparisonOperator "
        "DatapointsToAlarm Dimensions EvaluateLowSampleCountPercentile EvaluationPeriods "
        "ExtendedStatistic InsufficientDataActions MetricName Namespace OKActions Period "
        "Statistic Tags Threshold TreatMissingData Unit"
    )
    required = ("ComparisonOperator", "EvaluationPeriods")
    replacing = frozenset({"AlarmName"})
    named_by = "AlarmName"

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        name = place.name(props.get("AlarmName"), 255)
        # PutMetricAlarm itself would take over an alarm of that name, whosever it is.
        if place.call("cloudwatch", "DescribeAlarms", {"AlarmNames": [name]})["MetricAlarms"]:
            raise ResourceError(f"{name} already exists")
        made = self._put(place, name, {**props, "Tags": place.all_tags(props)})
        place.exists(name)
        return made

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        settings = {key: value for key, value in new.items() if key != "Tags"}
        made = self._put(place, physical_id, settings)
        place.retag("cloudwatch", new, ResourceARN=made.attributes["Arn"])
        return made

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it."""
        place.call("cloudwatch", "DeleteAlarms", {"AlarmNames": [physical_id]})

    def _put(self, place: Place, name: str, settings: dict[str, Any]) -> Made:
        place.call("cloudwatch", "PutMetricAlarm", settings, AlarmName=name)
        return Made(name, {"Arn": place.arn("cloudwatch", f"alarm:{name}")})
