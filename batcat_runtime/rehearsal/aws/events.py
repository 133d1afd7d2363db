"""Rules of EventBridge that invoke Lambda functions and publish to SNS topics.

moto matches events against rules, but has other targets only. A function is invoked here as
EventBridge invokes it: asynchronously, with the event as it is or as the target words it, and only
if the function's own policy lets the rule do so. AWS says nothing when it does not; the server's
log does. A topic likewise. Step Functions tells EventBridge of every execution that begins or ends,
which moto does not.

And moto, which keeps that a bucket reports to EventBridge, does not tell it to whoever asks.
"""

from __future__ import annotations

import itertools
import json
import logging
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from ..clients import Clients
from ..operations import PASS, Operation
from ..wire import Call
from .alerts import Alerts
from .iam.evaluation import lets_service

log = logging.getLogger(__name__)


class EventRules:
    """Delivers what matches a rule to the rule's Lambda functions and topics.

    Parameters
    ----------
    clients : Clients
        To invoke functions.
    notifications : callable
        From a bucket's name to moto's notification configuration, or None.
    alerts : Alerts
        Publishes to topics.
    """

    def __init__(
        self, clients: Clients, notifications: Callable[[str], Any], alerts: Alerts
    ) -> None:
        self._clients = clients
        self._alerts = alerts
        self._notifications = notifications
        self._numbers = itertools.count(1)

    def operations(self) -> dict[tuple[str, str], Operation]:
        """Return the operations that this room performs."""
        return {("s3", "GetBucketNotificationConfiguration"): self.get_notifications}

    def get_notifications(self, call: Call) -> Any:
        """Tell all of a bucket's notifications; without EventBridge among them, moto does."""
        kept = self._notifications(str(call.params["Bucket"]))
        if kept is None or kept.event_bridge is None:
            return PASS
        told: dict[str, Any] = {"EventBridgeConfiguration": {}}
        for name, arn, notices in (
            ("TopicConfigurations", "TopicArn", kept.topic),
            ("QueueConfigurations", "QueueArn", kept.queue),
            ("LambdaFunctionConfigurations", "LambdaFunctionArn", kept.cloud_function),
        ):
            if notices:
                told[name] = [_notice(one, arn) for one in notices]
        return told

    def complete(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return an event as EventBridge words it; moto leaves S3's half said.

        moto gives every object the same sequencer, an `eTag` that S3 spells `etag`, a time in
        seconds, and tells an upload in parts and a copy twice. The event is changed in place, since
        every rule is to see the same one; one that tells what was told before matches no rule.
        """
        if isinstance(event.get("time"), int | float):
            event["time"] = f"{datetime.fromtimestamp(event['time'], UTC):%Y-%m-%dT%H:%M:%SZ}"
        thing = (event.get("detail") or {}).get("object")
        if event.get("source") == "aws.s3" and isinstance(thing, dict) and "eTag" in thing:
            thing["etag"] = thing.pop("eTag")
            thing["sequencer"] = f"{next(self._numbers):016X}"
            if thing.get("version-id") in (None, "null"):
                thing.pop("version-id", None)
            if event.get("detail-type") == "Object Created":
                event["detail"]["reason"] = _reason()
                if not _is_first(event["detail"]["bucket"]["name"], str(thing["key"])):
                    event["source"] = "batcat.told-before"
        return event

    def deliver(
        self, rule: str, region: str, target: dict[str, Any], event: dict[str, Any]
    ) -> None:
        """Hand an event to a target of a rule, which goes by its ARN."""
        text = _worded(target, event)
        if ":sns:" in target["Arn"]:
            by, subject = "events.amazonaws.com", "AWS Notification Message"
            self._alerts.tell(target["Arn"], region, by, rule, text, subject)
            return
        client, function = self._clients.get("lambda", region), target["Arn"]
        if not self._allowed(client, rule, function):
            log.warning("%s may not invoke %s: its policy does not allow it", rule, function)
            return
        try:
            client.invoke(FunctionName=function, InvocationType="Event", Payload=text.encode())
        except ClientError as error:
            log.warning("%s could not invoke %s: %s", rule, function, error)

    def _allowed(self, client: Any, rule: str, function: str) -> bool:
        try:
            policy = json.loads(client.get_policy(FunctionName=function)["Policy"])
        except ClientError:
            return False
        return lets_service(policy, "events.amazonaws.com", "lambda:InvokeFunction", rule)


def status_change(execution: Any, status: str) -> dict[str, Any]:
    """Return what Step Functions tells EventBridge of an execution of moto's that began or ended.

    Source: Step Functions developer guide, "Step Functions Execution Status Change events".
    """
    ended = execution.stop_date if status != "RUNNING" else None
    failed = status not in ("RUNNING", "SUCCEEDED")
    output = execution.output if status == "SUCCEEDED" else None
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "account": execution.account_id,
        "time": f"{ended or execution.start_date:%Y-%m-%dT%H:%M:%SZ}",
        "region": execution.region_name,
        "resources": [execution.execution_arn],
        "detail": {
            "executionArn": execution.execution_arn,
            "stateMachineArn": execution.state_machine_arn,
            "name": execution.name,
            "status": status,
            "startDate": int(execution.start_date.timestamp() * 1000),
            "stopDate": int(ended.timestamp() * 1000) if ended else None,
            "input": execution.execution_input,
            "inputDetails": {"included": True},
            "output": None if output is None else json.dumps(output),
            "error": execution.error if failed else None,
            "cause": execution.cause if failed else None,
        },
    }


def _worded(target: dict[str, Any], event: dict[str, Any]) -> str:
    """Return what a target gets: the event, a constant, or a text with parts of the event."""
    if target.get("Input"):
        return str(target["Input"])
    transformer = target.get("InputTransformer")
    if not transformer:
        return json.dumps(event, ensure_ascii=False)
    found = {
        name: _at(event, path) for name, path in (transformer.get("InputPathsMap") or {}).items()
    }

    def part(match: re.Match[str]) -> str:
        value = found.get(match[1])
        if isinstance(value, str):
            return json.dumps(value, ensure_ascii=False)[1:-1]  # within quotation marks
        return "" if value is None else json.dumps(value, ensure_ascii=False)

    return re.sub(r"<([\w.-]+)>", part, str(transformer["InputTemplate"]))


def _at(event: Any, path: str) -> Any:
    for key in path.removeprefix("$.").split("."):
        event = event.get(key) if isinstance(event, dict) else None
    return event


def _reason() -> str:
    """Return which operation made the object, as S3 words it; moto does not say."""
    from flask import has_request_context, request

    if has_request_context() and "uploadId" in request.args:
        return "CompleteMultipartUpload"
    if has_request_context() and "x-amz-copy-source" in request.headers:
        return "CopyObject"
    return "PutObject"


def _is_first(bucket: str, key: str) -> bool:
    """Tell whether this request has made this object for the first time."""
    from flask import g, has_request_context

    if not has_request_context():
        return True
    told: set[tuple[str, str]] = g.setdefault("batcat_objects_told", set())
    first = (bucket, key) not in told
    told.add((bucket, key))
    return first


def _notice(notice: Any, arn: str) -> dict[str, Any]:
    told = {"Id": notice.id, arn: notice.arn, "Events": list(notice.events)}
    rules = (notice.filters.get("S3Key") or {}).get("FilterRule")
    if rules:
        told["Filter"] = {"Key": {"FilterRules": list(rules)}}
    return told
