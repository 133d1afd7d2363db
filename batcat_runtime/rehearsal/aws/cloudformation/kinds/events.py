"""Schedules, rules, topics and alarms for the embedded CloudFormation."""

from __future__ import annotations

from typing import Any, ClassVar

from ..resources import Kind, Place
from ..template import words


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
    defaults: ClassVar[dict[str, Any]] = {"GroupName": "default", "State": "ENABLED"}
    service, creates, removes = "scheduler", "CreateSchedule", "DeleteSchedule"
    updates = ("UpdateSchedule",)
    arn = "schedule/{GroupName}/{id}"


class Rule(Kind):
    """AWS::Events::Rule on the default bus."""

    type = "AWS::Events::Rule"
    properties = words(
        "Description EventPattern Name RoleArn ScheduleExpression State Tags Targets"
    )
    replacing = frozenset({"Name"})
    named_by = "Name"
    service, creates, removes = "events", "PutRule", "DeleteRule"
    updates, reads = ("PutRule",), "DescribeRule"
    arn = "rule/{id}"

    def settle(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> None:
        """Bring its targets and tags to what the template says."""
        wanted = new.get("Targets") or []
        gone = {one["Id"] for one in old.get("Targets") or []} - {one["Id"] for one in wanted}
        if wanted:
            place.call("events", "PutTargets", {"Rule": physical_id, "Targets": wanted})
        if gone:
            place.call("events", "RemoveTargets", {"Rule": physical_id, "Ids": sorted(gone)})
        if old and old.get("Tags") != new.get("Tags"):
            place.retag("events", new, ResourceARN=self.arn_of(place, physical_id, new))

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it after its targets."""
        targets = [target["Id"] for target in props.get("Targets") or []]
        if targets:
            place.call("events", "RemoveTargets", {"Rule": physical_id, "Ids": targets})
        super().delete(place, physical_id, props)


class Topic(Kind):
    """AWS::SNS::Topic; of those without subscriptions in line."""

    type = "AWS::SNS::Topic"
    properties = words("DisplayName KmsMasterKeyId SignatureVersion Tags TopicName TracingConfig")
    replacing = frozenset({"TopicName"})
    named_by, longest = "TopicName", 256
    found_by, tagged_by = "TopicArn", "ResourceArn"
    service, creates, removes, reads = "sns", "CreateTopic", "DeleteTopic", "GetTopicAttributes"
    arn, is_arn = "{id}", True

    def settings(self, place: Place, props: dict[str, Any]) -> dict[str, Any]:
        """Put what the API calls attributes together."""
        return {"Attributes": self._attributes(props), "Tags": props.get("Tags")}

    def settle(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> None:
        """Change its attributes one by one."""
        wanted = dict.fromkeys(self._attributes(old), "") | self._attributes(new)
        for key, value in wanted.items() if old else ():
            given = {"TopicArn": physical_id, "AttributeName": key, "AttributeValue": value}
            place.call("sns", "SetTopicAttributes", given)

    def attributes(self, place: Place, physical_id: str, props: dict[str, Any]) -> dict[str, Any]:
        """Return its ARN and name."""
        return {"TopicArn": physical_id, "TopicName": physical_id.rpartition(":")[2]}

    def _attributes(self, props: dict[str, Any]) -> dict[str, str]:
        named = self.properties - {"TopicName", "Tags"}
        return {name: str(value) for name, value in props.items() if name in named}


class TopicPolicy(Kind):
    """AWS::SNS::TopicPolicy."""

    type = "AWS::SNS::TopicPolicy"
    properties = words("PolicyDocument Topics")
    required = ("PolicyDocument", "Topics")

    def create(self, place: Place, props: dict[str, Any]) -> str:
        """Give it to its topics."""
        name = place.new_name(64)
        self.update(place, name, {}, props)
        place.exists(name)
        return name

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> None:
        """Give it to its topics in the place of what they had."""
        for topic in new["Topics"]:
            self._set(place, topic, new["PolicyDocument"])

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

    def _set(self, place: Place, topic: str, policy: Any) -> None:
        given = {"TopicArn": topic, "AttributeName": "Policy", "AttributeValue": policy}
        place.call("sns", "SetTopicAttributes", given)


class Subscription(Kind):
    """AWS::SNS::Subscription; any change makes a new one."""

    type = "AWS::SNS::Subscription"
    properties = words("Endpoint Protocol TopicArn")
    required = ("Protocol", "TopicArn")
    replacing = properties
    service, removes, found_by = "sns", "Unsubscribe", "SubscriptionArn"
    arn = "{id}"

    def create(self, place: Place, props: dict[str, Any]) -> str:
        """Make it; SNS gives its name."""
        arn = str(place.call("sns", "Subscribe", props, ReturnSubscriptionArn=True)[self.found_by])
        place.exists(arn)
        return arn


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
    named_by = named = "AlarmName"
    longest, tagged_by = 255, "ResourceARN"
    service, creates, updates = "cloudwatch", "PutMetricAlarm", ("PutMetricAlarm",)
    arn = "alarm:{id}"

    def is_there(self, place: Place, physical_id: str) -> bool:
        """Tell whether PutMetricAlarm would take over somebody's alarm."""
        given = {"AlarmNames": [physical_id]}
        return bool(place.call("cloudwatch", "DescribeAlarms", given)["MetricAlarms"])

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it."""
        place.call("cloudwatch", "DeleteAlarms", {"AlarmNames": [physical_id]})
