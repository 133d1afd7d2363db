"""Alerts: who is told by SNS, and the mail that would have been sent.

moto keeps topics and subscriptions, and sends no mail; nor does its CloudWatch look at any metric.
What is published to an address is noted (`mails`). Of alarms, those on errors of a Lambda function
go off, when it fails.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from ..clients import Clients
from ..mails import Mail, note_mail
from ..operations import PASS, Operation
from ..wire import Call
from .iam.evaluation import lets_service

log = logging.getLogger(__name__)

_SUBJECT = "AWS Notification Message"


class Alerts:
    """Topics and alarms of one embedded AWS.

    Parameters
    ----------
    clients : Clients
        To reach SNS and CloudWatch.
    home : pathlib.Path
        The work directory.
    """

    def __init__(self, clients: Clients, home: Path) -> None:
        self._clients = clients
        self._home = home

    def operations(self) -> dict[tuple[str, str], Operation]:
        """Return the operations that this room performs."""
        return {("sns", "Publish"): self.publish}

    def publish(self, call: Call) -> Any:
        """Note the mail to each address that has subscribed; moto serves the other protocols."""
        topic = call.params.get("TopicArn") or call.params.get("TargetArn")
        if topic:
            client = self._clients.get("sns", call.region)
            pages = client.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
            try:
                rows = [row for page in pages for row in page["Subscriptions"]]
            except ClientError:
                return PASS  # there is no such topic, which moto says
            subject = str(call.params.get("Subject") or _SUBJECT)
            for row in rows:
                if row["Protocol"] in ("email", "email-json"):
                    mail = Mail(row["Endpoint"], subject, str(call.params["Message"]))
                    note_mail(self._home, mail)
        return PASS

    def tell(self, topic: str, region: str, by: str, source: str, text: str, subject: str) -> None:
        """Publish for a service, if the topic's policy lets it.

        Parameters
        ----------
        topic, region : str
            The topic's ARN, and where it is.
        by, source : str
            The service, such as ``events.amazonaws.com``, and the ARN of what it acts for.
        text, subject : str
            The message.
        """
        client = self._clients.get("sns", region)
        try:
            attributes = client.get_topic_attributes(TopicArn=topic)["Attributes"]
            if not lets_service(json.loads(attributes["Policy"]), by, "sns:Publish", source):
                log.warning("%s may not publish to %s: its policy does not allow it", source, topic)
                return
            client.publish(TopicArn=topic, Message=text, Subject=subject)
        except ClientError as error:
            log.warning("%s could not publish to %s: %s", source, topic, error)

    def function_failed(self, region: str, name: str) -> None:
        """Set off the alarms on errors of a Lambda function."""
        client = self._clients.get("cloudwatch", region)
        for alarm in client.describe_alarms()["MetricAlarms"]:
            dimensions = {one["Name"]: one["Value"] for one in alarm.get("Dimensions", [])}
            watched = (alarm.get("Namespace"), alarm.get("MetricName"), dimensions)
            if watched != ("AWS/Lambda", "Errors", {"FunctionName": name}):
                continue
            reason = "Threshold Crossed: 1 datapoint was greater than the threshold."
            client.set_alarm_state(
                AlarmName=alarm["AlarmName"], StateValue="ALARM", StateReason=reason
            )
            if not alarm["ActionsEnabled"]:
                continue
            told = {
                "AlarmName": alarm["AlarmName"],
                "AlarmDescription": alarm.get("AlarmDescription", ""),
                "NewStateValue": "ALARM",
                "NewStateReason": reason,
            }
            for action in alarm["AlarmActions"]:
                subject = f'ALARM: "{alarm["AlarmName"]}" in {region}'
                source = (action, region, "cloudwatch.amazonaws.com", alarm["AlarmArn"])
                self.tell(*source, json.dumps(told, indent=2), subject)
