"""Uploads start the workflow: bucket, EventBridge, rule, the generated function; each once."""

from __future__ import annotations

import json
import random
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest

from batcat_runtime.config import Config, parse_config
from batcat_runtime.deploy.cloudformation import zipped
from batcat_runtime.deploy.parameters import parameters_of
from batcat_runtime.deploy.stack import Stack, deploy_stack
from batcat_runtime.deploy.trigger import let_bucket_report
from batcat_runtime.errors import UserError
from batcat_runtime.log import reporting
from batcat_runtime.names import Names
from tests.conftest import CONFIG, REPOSITORY
from tests.rehearsal.conftest import REGION, Cloud, until
from tests.rehearsal.records import rehearsed

DEPLOY = REPOSITORY / "{{cookiecutter.project_slug}}" / "deploy"
SOON = 30.0


class Pipeline:
    """The real trigger of a purpose, over a workflow that only ends."""

    def __init__(self, cloud: Cloud, *, enabled: bool = True) -> None:
        self.cloud = cloud
        self.bucket = cloud.bucket()
        project = f"up{uuid.uuid4().hex[:8]}"
        trigger = {"prefix": f"s3://{self.bucket}/in/", "enabled": enabled}
        content: dict[str, Any] = json.loads(json.dumps(CONFIG))
        content |= {"project": project, "result_s3_bucket": f"{project}-result"}
        content["purposes"]["usage-analysis"]["s3_trigger"] = trigger
        self.config: Config = parse_config(content)
        self.names = Names.of(self.config)
        self.states = cloud.client("stepfunctions")
        self.machine = self.states.create_state_machine(
            name=self.names.state_machine,
            definition=json.dumps({"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}),
            roleArn=cloud.role("states"),
        )["stateMachineArn"]
        self.deploy()

    def deploy(self) -> str:
        s3 = self.cloud.client("s3")
        s3.put_object(Bucket=self.bucket, Key="code.zip", Body=zipped(DEPLOY / "lambda"))
        code = f"Code: {{S3Bucket: {self.bucket}, S3Key: code.zip}}"
        body = (DEPLOY / "trigger.yaml").read_text("utf-8").replace("Code: lambda/", code)
        roles = {
            "TriggerRoleArn": self.cloud.role("lambda"),
            "ScheduleRoleArn": self.cloud.role("scheduler"),
        }
        parameters = {**parameters_of(self.config, "usage-analysis"), **roles}
        stack = Stack(self.names.trigger_stack, {"TemplateBody": body}, parameters, {})
        return deploy_stack(self.cloud.client("cloudformation"), stack).outcome

    def put(self, key: str, body: bytes = b"x") -> None:
        self.cloud.client("s3").put_object(Bucket=self.bucket, Key=key, Body=body)

    def invoke(self, event: Any) -> Any:
        answer = self.cloud.client("lambda").invoke(
            FunctionName=self.names.function, Payload=json.dumps(event).encode()
        )
        reply = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, reply
        return reply

    def executions(self) -> list[dict[str, Any]]:
        pages = self.states.get_paginator("list_executions").paginate(stateMachineArn=self.machine)
        return [one for page in pages for one in page["executions"]]

    def keys(self) -> list[str]:
        """Return the keys that executions were started for."""
        given = [
            json.loads(self.states.describe_execution(executionArn=one["executionArn"])["input"])
            for one in self.executions()
        ]
        return sorted(one["params"]["s3_key"] for one in given)


@pytest.fixture(scope="module")
def pipeline(cloud: Cloud) -> Pipeline:
    made = Pipeline(cloud)
    let_bucket_report(cloud.client("s3"), made.bucket)
    return made


def eventbridge(key: str, sequencer: str, bucket: str = "landing") -> dict[str, Any]:
    return {
        "version": "0",
        "id": str(uuid.uuid4()),  # another one for each delivery of a publisher that tries again
        "source": "aws.s3",
        "detail-type": "Object Created",
        "detail": {
            "bucket": {"name": bucket},
            "object": {"key": key, "size": 1, "etag": "e", "sequencer": sequencer},
        },
    }


def record(key: str, sequencer: str) -> dict[str, Any]:
    """Return a record of S3's own notification: the key is URL-encoded."""
    thing = {"key": quote_plus(key), "sequencer": sequencer}
    return {"s3": {"bucket": {"name": "landing"}, "object": thing}}


def test_an_empty_event_starts_a_run_of_all_data_each_time(cloud: Cloud) -> None:
    pipeline = Pipeline(cloud)
    replies = [pipeline.invoke({}) for _ in range(2)]
    assert [one["started"] for one in replies] == [True, True]
    assert {one["date_start"] for one in replies} == {""}
    assert len(pipeline.executions()) == 2


def test_duplicate_and_reordered_events_start_each_execution_once(cloud: Cloud) -> None:
    pipeline = Pipeline(cloud)
    uploads = [(f"in/day={one % 4}/电 池+{one}.csv", f"{one:016X}") for one in range(10)]
    # Each upload is told four times: once by EventBridge, three times by S3, in any order.
    shuffle = random.Random(4)
    records = [record(*one) for one in uploads for _ in range(3)]
    shuffle.shuffle(records)
    events = [eventbridge(*one) for one in uploads]
    events += [{"Records": records[start : start + 5]} for start in range(0, 30, 5)]
    shuffle.shuffle(events)
    assert sum(len(one.get("Records", [one])) for one in events) == 40
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(pipeline.invoke, events))
    assert pipeline.keys() == sorted(key for key, _ in uploads)
    told = [one for reply in replies for one in reply.get("executions", [reply])]
    assert len(told) == 40
    assert len({one["execution"] for one in told}) == 10 == len(pipeline.executions())
    # Another upload of the same key is another run.
    again = pipeline.invoke(eventbridge(uploads[0][0], "F" * 16))
    assert again["started"]
    assert len(pipeline.executions()) == 11


def test_an_object_that_arrives_starts_the_workflow(pipeline: Pipeline) -> None:
    pipeline.put("in/a b+c.csv")
    pipeline.put("other/x.csv")
    pipeline.put("in/_SUCCESS")
    pipeline.put("in/.part/x.csv")
    until(pipeline.keys, lambda keys: "in/a b+c.csv" in keys, SOON)
    pipeline.put("in/last.csv")
    until(pipeline.keys, lambda keys: "in/last.csv" in keys, SOON)
    assert pipeline.keys() == ["in/a b+c.csv", "in/last.csv"]
    given = json.loads(
        pipeline.states.describe_execution(executionArn=pipeline.executions()[0]["executionArn"])[
            "input"
        ]
    )
    assert given == {
        "date_start": "",
        "date_end": "",
        "params": {"s3_bucket": pipeline.bucket, "s3_key": "in/last.csv"},
    }


def test_a_large_object_in_parts_is_one_upload(pipeline: Pipeline) -> None:
    s3 = pipeline.cloud.client("s3")
    place = {"Bucket": pipeline.bucket, "Key": "in/large.bin"}
    upload = s3.create_multipart_upload(**place)["UploadId"]
    part = s3.upload_part(**place, UploadId=upload, PartNumber=1, Body=b"x" * 100)
    s3.complete_multipart_upload(
        **place,
        UploadId=upload,
        MultipartUpload={"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]},
    )
    until(pipeline.keys, lambda keys: "in/large.bin" in keys, SOON)
    assert pipeline.keys().count("in/large.bin") == 1


def test_a_rule_that_is_switched_off_starts_nothing(cloud: Cloud) -> None:
    pipeline = Pipeline(cloud, enabled=False)
    let_bucket_report(cloud.client("s3"), pipeline.bucket)
    events = cloud.client("events")
    assert events.describe_rule(Name=pipeline.names.rule)["State"] == "DISABLED"
    pipeline.put("in/early.csv")
    events.enable_rule(Name=pipeline.names.rule)
    pipeline.put("in/late.csv")
    until(pipeline.keys, bool, SOON)
    assert pipeline.keys() == ["in/late.csv"]
    assert pipeline.deploy() == "unchanged"


def test_without_its_permission_a_rule_invokes_nothing(cloud: Cloud) -> None:
    pipeline = Pipeline(cloud)
    let_bucket_report(cloud.client("s3"), pipeline.bucket)
    functions = cloud.client("lambda")
    policy = json.loads(functions.get_policy(FunctionName=pipeline.names.function)["Policy"])
    [statement] = policy["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    functions.remove_permission(FunctionName=pipeline.names.function, StatementId=statement["Sid"])
    pipeline.put("in/a.csv")
    log = cloud.aws.log_path
    until(log.read_text, lambda text: f"may not invoke {pipeline_function(pipeline)}" in text, SOON)
    assert pipeline.executions() == []


def pipeline_function(pipeline: Pipeline) -> str:
    return pipeline.names.arn("lambda", f"function:{pipeline.names.function}", "123456789012")


def test_what_a_bucket_reports_elsewhere_stays(cloud: Cloud) -> None:
    bucket, s3 = cloud.bucket(), cloud.client("s3")
    queue = cloud.client("sqs").create_queue(QueueName=f"q-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    arn = f"arn:aws-cn:sqs:{REGION}:123456789012:{queue.rpartition('/')[2]}"
    rule = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "raw/"}]}}
    mine = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"], "Filter": rule}
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [mine]}
    )
    lines: list[str] = []
    with reporting(lines.append):
        assert let_bucket_report(s3, bucket)
    assert lines == [f"bucket {bucket}: now sends its events to EventBridge"]
    found = s3.get_bucket_notification_configuration(Bucket=bucket)
    assert "EventBridgeConfiguration" in found
    [kept] = found["QueueConfigurations"]
    assert (kept["QueueArn"], kept["Events"]) == (arn, mine["Events"])
    assert kept["Filter"]["Key"]["FilterRules"][0]["Value"] == "raw/"
    with reporting(lines.append):
        assert not let_bucket_report(s3, bucket)


def test_a_key_that_is_too_long_is_refused(pipeline: Pipeline) -> None:
    answer = pipeline.cloud.client("lambda").invoke(
        FunctionName=pipeline.names.function,
        Payload=json.dumps(eventbridge("in/" + "x" * 250, "1")).encode(),
    )
    assert "the key is too long" in json.loads(answer["Payload"].read())["errorMessage"]


def test_an_upload_starts_a_rehearsal(tmp_path: Path) -> None:
    from batcat_runtime.project import new_project

    project = new_project({}, no_input=True, output_dir=tmp_path)
    file = project / "script" / "config.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    purpose = content["purposes"]["usage-analysis"]
    purpose["schedule"] = None
    purpose["s3_trigger"] = {"prefix": "s3://project-battery-result/raw/usage/"}
    file.write_text(json.dumps(content), encoding="utf-8")
    started = time.time()
    done = rehearsed(project)
    assert done.record.status == "succeeded", done.said
    assert "object arrives in S3" in done.said
    [manifest] = (project / "data" / "result" / "rehearsal").rglob("_manifest.json")
    told = json.loads(manifest.read_text())
    assert told["parameters"] == {
        "s3_bucket": "project-battery-result",
        "s3_key": "raw/usage/usage.csv.gz",
    }
    assert manifest.stat().st_mtime >= started

    purpose["s3_trigger"] = {"prefix": "s3://project-battery-result/elsewhere/"}
    file.write_text(json.dumps(content), encoding="utf-8")
    wrong = "No sample in data/raw/ goes to s3://project-battery-result/elsewhere/"
    with pytest.raises(UserError, match=wrong):
        rehearsed(project)
