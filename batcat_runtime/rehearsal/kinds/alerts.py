"""Topics of SNS, and alarms of CloudWatch, for the embedded CloudFormation."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from ..resources import (
    Kind,
    Made,
    Place,
    ResourceError,
    chosen,
    policy_text,
    tag_changes,
    tag_list,
    truth,
    words,
)


class Topic(Kind):
    """AWS::SNS::Topic; of those without subscriptions in line."""

    type = "AWS::SNS::Topic"
    properties = words("DisplayName KmsMasterKeyId SignatureVersion Tags TopicName TracingConfig")
    replacing = frozenset({"TopicName"})
    named_by = "TopicName"

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        client = place.client("sns")
        name = props.get("TopicName") or place.generated_name(256)
        arn = place.arn("sns", name)
        # CreateTopic itself would give back a topic of that name, whosever it is.
        with contextlib.suppress(client.exceptions.NotFoundException):
            client.get_topic_attributes(TopicArn=arn)
            raise ResourceError(
                f"Resource of type 'AWS::SNS::Topic' with identifier '{arn}' already exists. "
                "(HandlerErrorCode: AlreadyExists)"
            )
        tags = tag_list(place.all_tags(props.get("Tags")))
        client.create_topic(Name=name, Attributes=_attributes(props), Tags=tags)
        place.exists(arn)
        return Made(arn, {"TopicArn": arn, "TopicName": name})

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        client = place.client("sns")
        for key, value in (dict.fromkeys(_attributes(old), "") | _attributes(new)).items():
            client.set_topic_attributes(
                TopicArn=physical_id, AttributeName=key, AttributeValue=value
            )
        listed = client.list_tags_for_resource(ResourceArn=physical_id)["Tags"]
        present = {tag["Key"]: tag["Value"] for tag in listed}
        added, removed = tag_changes(present, place.all_tags(new.get("Tags")))
        if added:
            client.tag_resource(ResourceArn=physical_id, Tags=tag_list(added))
        if removed:
            client.untag_resource(ResourceArn=physical_id, TagKeys=removed)
        return Made(
            physical_id, {"TopicArn": physical_id, "TopicName": physical_id.rpartition(":")[2]}
        )

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it."""
        place.client("sns").delete_topic(TopicArn=physical_id)


class TopicPolicy(Kind):
    """AWS::SNS::TopicPolicy."""

    type = "AWS::SNS::TopicPolicy"
    properties = words("PolicyDocument Topics")
    required = ("PolicyDocument", "Topics")

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        return self._put(place, place.generated_name(64), props)

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
        place.client("sns").set_topic_attributes(
            TopicArn=topic, AttributeName="Policy", AttributeValue=policy_text(policy)
        )


class Subscription(Kind):
    """AWS::SNS::Subscription."""

    type = "AWS::SNS::Subscription"
    properties = words(
        "DeliveryPolicy Endpoint FilterPolicy FilterPolicyScope Protocol RawMessageDelivery "
        "RedrivePolicy Region SubscriptionRoleArn TopicArn"
    )
    required = ("Protocol", "TopicArn")
    replacing = frozenset({"Endpoint", "Protocol", "TopicArn"})

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        client = place.client("sns")
        arn = client.subscribe(
            **chosen(props, "TopicArn", "Protocol", "Endpoint"), ReturnSubscriptionArn=True
        )["SubscriptionArn"]
        place.exists(arn)
        self._set(client, arn, props)
        return Made(arn, {"Arn": arn})

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        self._set(place.client("sns"), physical_id, new)
        return Made(physical_id, {"Arn": physical_id})

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it."""
        place.client("sns").unsubscribe(SubscriptionArn=physical_id)

    def _set(self, client: Any, arn: str, props: dict[str, Any]) -> None:
        attributes = chosen(props, *(self.properties - {"Endpoint", "Protocol", "TopicArn"}))
        for name, value in attributes.items():
            text = value if isinstance(value, str) else json.dumps(value)
            client.set_subscription_attributes(
                SubscriptionArn=arn, AttributeName=name, AttributeValue=text
            )


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
        client = place.client("cloudwatch")
        name = props.get("AlarmName") or place.generated_name(255)
        # PutMetricAlarm itself would take over an alarm of that name, whosever it is.
        if client.describe_alarms(AlarmNames=[name])["MetricAlarms"]:
            raise ResourceError(f"{name} already exists")
        tags = tag_list(place.all_tags(props.get("Tags")))
        client.put_metric_alarm(AlarmName=name, **self._settings(props), Tags=tags)
        place.exists(name)
        return self._made(place, name)

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        client, made = place.client("cloudwatch"), self._made(place, physical_id)
        client.put_metric_alarm(AlarmName=physical_id, **self._settings(new))
        arn = made.attributes["Arn"]
        listed = client.list_tags_for_resource(ResourceARN=arn)["Tags"]
        present = {tag["Key"]: tag["Value"] for tag in listed}
        added, removed = tag_changes(present, place.all_tags(new.get("Tags")))
        if added:
            client.tag_resource(ResourceARN=arn, Tags=tag_list(added))
        if removed:
            client.untag_resource(ResourceARN=arn, TagKeys=removed)
        return made

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it."""
        place.client("cloudwatch").delete_alarms(AlarmNames=[physical_id])

    def _made(self, place: Place, name: str) -> Made:
        return Made(name, {"Arn": place.arn("cloudwatch", f"alarm:{name}")})

    def _settings(self, props: dict[str, Any]) -> dict[str, Any]:
        settings = chosen(props, *sorted(self.properties - {"AlarmName", "Tags"}))
        for name in ("DatapointsToAlarm", "EvaluationPeriods", "Period"):
            if name in settings:
                settings[name] = int(settings[name])
        if "Threshold" in settings:
            settings["Threshold"] = float(settings["Threshold"])
        if "ActionsEnabled" in settings:
            settings["ActionsEnabled"] = truth(settings["ActionsEnabled"])
        return settings


def _attributes(props: dict[str, Any]) -> dict[str, str]:
    given = chosen(props, "DisplayName", "KmsMasterKeyId", "SignatureVersion", "TracingConfig")
    return {name: str(value) for name, value in given.items()}
