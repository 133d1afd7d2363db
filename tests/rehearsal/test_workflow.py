"""State machines, their tasks, functions and registries, where moto alone would not do."""

from __future__ import annotations

import base64
import io
import json
import re
import time
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from batcat_runtime.rehearsal.wire import ACCOUNT_ID
from tests.rehearsal.conftest import REGION, REGIONS, Cloud, error_of, until

END = {"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"}


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


class Machine:
    """A state machine in the cloud, and what becomes of its executions."""

    def __init__(
        self, cloud: Cloud, states: dict[str, Any], region: str = REGION, **top: Any
    ) -> None:
        self.states = cloud.client("stepfunctions", region)
        definition = {"StartAt": next(iter(states)), "States": states, **top}
        self.arn = self.states.create_state_machine(
            name=unique("machine"),
            definition=json.dumps(definition),
            roleArn=cloud.role("states", region),
        )["stateMachineArn"]

    def start(self, given: Any = None, **options: Any) -> str:
        return str(
            self.states.start_execution(
                stateMachineArn=self.arn, input=json.dumps(given or {}), **options
            )["executionArn"]
        )

    def ended(self, arn: str) -> dict[str, Any]:
        return dict(
            until(
                lambda: self.states.describe_execution(executionArn=arn),
                lambda answer: answer["status"] in END,
            )
        )

    def run(self, given: Any = None) -> dict[str, Any]:
        return self.ended(self.start(given))

    def history(self, arn: str) -> list[str]:
        return [
            one["type"] for one in self.states.get_execution_history(executionArn=arn)["events"]
        ]


def job_state(
    cloud: Cloud, region: str = REGION, sync: str = ".sync", **more: Any
) -> dict[str, Any]:
    """Return a Task state that runs a processing job: input {"do": ..., "seconds": ...}."""
    request = cloud.job(region=region, **more.pop("request", {}))
    request.pop("ProcessingJobName")
    words = "States.Array('python3', '/opt/batcat/run.py', $.do, $.seconds)"
    request["AppSpecification"] = {
        "ImageUri": request["AppSpecification"]["ImageUri"],
        "ContainerEntrypoint.$": words,
    }
    name = "States.Format('{}-{}', $$.Execution.Name, $$.State.RetryCount)"
    partition = cloud.partition(region)
    return {
        "Type": "Task",
        "Resource": f"arn:{partition}:states:::sagemaker:createProcessingJob{sync}",
        "Parameters": {"ProcessingJobName.$": name, **request},
        "End": True,
        **more,
    }


# ---- the SageMaker task


@pytest.mark.parametrize("region", REGIONS)
def test_a_processing_job_of_a_state_machine_really_runs(cloud: Cloud, region: str) -> None:
    machine = Machine(cloud, {"Run": job_state(cloud, region)}, region)
    answer = machine.run({"do": "ok", "seconds": "0"})
    assert answer["status"] == "SUCCEEDED"
    job = json.loads(answer["output"])
    partition = cloud.partition(region)
    name = f"{answer['name']}-0"
    assert job["ProcessingJobStatus"] == "Completed"
    assert job["ProcessingJobArn"] == (
        f"arn:{partition}:sagemaker:{region}:{ACCOUNT_ID}:processing-job/{name}"
    )
    # As the Java SDK writes it: milliseconds since the epoch.
    assert abs(job["ProcessingEndTime"] / 1000 - time.time()) < 60
    assert machine.history(answer["executionArn"]) == [
        "ExecutionStarted",
        "TaskStateEntered",
        "TaskScheduled",
        "TaskStarted",
        "TaskSubmitted",
        "TaskSucceeded",
        "TaskStateExited",
        "ExecutionSucceeded",
    ]
    lines = cloud.log_lines("/aws/sagemaker/ProcessingJobs", f"{name}/algo-1-", region)
    assert lines == ["input ['a.csv']", "greeting hello"]


def test_a_job_that_fails_fails_the_task_with_its_description(cloud: Cloud) -> None:
    states = {
        "Run": job_state(
            cloud, Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Bad", "ResultPath": "$.error"}]
        ),
        "Bad": {"Type": "Fail", "ErrorPath": "$.error.Error", "CausePath": "$.error.Cause"},
    }
    answer = Machine(cloud, states).run({"do": "fail", "seconds": "0"})
    assert (answer["status"], answer["error"]) == ("FAILED", "States.TaskFailed")
    job = json.loads(answer["cause"])
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["ExitMessage"] == "the script's own last words"
    assert "exit code: 3" in job["FailureReason"]


def test_errors_of_sagemaker_are_named_and_retried_as_step_functions_does(cloud: Cloud) -> None:
    role = cloud.role("states")  # a role that SageMaker cannot assume
    retry = {
        "ErrorEquals": ["SageMaker.AmazonSageMakerException"],
        "IntervalSeconds": 1,
        "MaxAttempts": 1,
        "BackoffRate": 1.0,
    }
    machine = Machine(cloud, {"Run": job_state(cloud, request={"RoleArn": role}, Retry=[retry])})
    answer = machine.run({"do": "ok", "seconds": "0"})
    assert answer["error"] == "SageMaker.AmazonSageMakerException"
    assert answer["cause"].startswith(f"Could not assume role {role}.")
    assert "(Service: AmazonSageMaker; Status Code: 400; Error Code: Valid" in answer["cause"]
    assert machine.history(answer["executionArn"]).count("TaskFailed") == 2


def test_a_job_name_in_use_has_its_own_error_name(cloud: Cloud) -> None:
    state = job_state(cloud)
    taken = cloud.job()
    cloud.client("sagemaker").create_processing_job(**taken)
    state["Parameters"].pop("ProcessingJobName.$")
    state["Parameters"]["ProcessingJobName"] = taken["ProcessingJobName"]
    answer = Machine(cloud, {"Run": state}).run({"do": "ok", "seconds": "0"})
    assert answer["error"] == "SageMaker.ResourceInUseException"


def test_a_stopped_execution_is_aborted_and_takes_its_job_along(cloud: Cloud) -> None:
    selector = {"arn.$": "$.ProcessingJobArn"}
    machine = Machine(cloud, {"Run": job_state(cloud, ResultSelector=selector)})
    arn = machine.start({"do": "ok", "seconds": "60"}, name="stop-me")
    sagemaker = cloud.client("sagemaker")
    until(
        lambda: sagemaker.list_processing_jobs(NameContains="stop-me")["ProcessingJobSummaries"],
        bool,
    )
    stopped = machine.states.stop_execution(executionArn=arn, error="Why", cause="Because")
    answer = machine.ended(arn)
    assert (answer["status"], answer["error"], answer["cause"]) == ("ABORTED", "Why", "Because")
    assert answer["stopDate"] == stopped["stopDate"]
    assert cloud.ended_job("stop-me-0")["ProcessingJobStatus"] == "Stopped"
    # Stopping it again changes nothing.
    again = machine.states.stop_execution(executionArn=arn, error="Other")
    assert again["stopDate"] == answer["stopDate"]
    assert machine.ended(arn)["error"] == "Why"


def test_a_time_out_of_the_state_or_of_the_machine_stops_the_job(cloud: Cloud) -> None:
    given = {"do": "ok", "seconds": "60"}
    state = Machine(cloud, {"Run": job_state(cloud, TimeoutSeconds=1)})
    whole = Machine(cloud, {"Run": job_state(cloud)}, TimeoutSeconds=1)
    arns = state.start(given), whole.start(given)
    first, second = state.ended(arns[0]), whole.ended(arns[1])
    assert (first["status"], first["error"]) == ("FAILED", "States.Timeout")
    assert second["status"] == "TIMED_OUT"
    assert second["stopDate"] > second["startDate"]
    listed = whole.states.list_executions(stateMachineArn=whole.arn, statusFilter="TIMED_OUT")
    assert [one["stopDate"] for one in listed["executions"]] == [second["stopDate"]]
    for answer in (first, second):
        assert cloud.ended_job(f"{answer['name']}-0")["ProcessingJobStatus"] == "Stopped"


# ---- state machines and executions


def test_the_context_object_has_what_aws_says(cloud: Cloud) -> None:
    parameters = {"redrives.$": "$$.Execution.RedriveCount", "start.$": "$$.Execution.StartTime"}
    state = {"Type": "Pass", "Parameters": parameters, "End": True}
    result = json.loads(Machine(cloud, {"A": state}).run()["output"])
    assert result["redrives"] == 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", result["start"])


def test_a_branch_that_fails_stops_the_others_and_hands_up_its_error(cloud: Cloud) -> None:
    failed = {"Type": "Fail", "ErrorPath": "$.error.Error", "CausePath": "$.error.Cause"}
    caught = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Lost"}]
    branches = [
        {
            "StartAt": "Bad",
            "States": {"Bad": {**job_state(cloud), "Catch": caught}, "Lost": failed},
        },
        {"StartAt": "Slow", "States": {"Slow": {"Type": "Wait", "Seconds": 60, "End": True}}},
    ]
    up = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Failed"}]
    both = {"Type": "Parallel", "Branches": branches, "Catch": up, "End": True}
    started = time.monotonic()
    answer = Machine(cloud, {"Both": both, "Failed": failed}).run({"do": "fail", "seconds": "0"})
    assert time.monotonic() - started < 45
    assert (answer["status"], answer["error"]) == ("FAILED", "States.TaskFailed")
    assert json.loads(answer["cause"])["ExitMessage"] == "the script's own last words"


def test_one_name_starts_one_execution_whoever_comes_first(cloud: Cloud) -> None:
    machine = Machine(cloud, {"A": {"Type": "Succeed"}})

    def start(number: int) -> str:
        try:
            return machine.start({"number": number}, name="the-one")
        except machine.states.exceptions.ExecutionAlreadyExists:
            return ""

    with ThreadPoolExecutor(8) as pool:
        arns = [arn for arn in pool.map(start, range(16)) if arn]
    assert len(arns) == 1
    found = machine.states.list_executions(stateMachineArn=machine.arn)["executions"]
    assert [one["executionArn"] for one in found] == arns


def test_execution_names_are_used_once(cloud: Cloud) -> None:
    machine = Machine(cloud, {"A": {"Type": "Wait", "Seconds": 1, "End": True}})
    unnamed = {machine.start().rpartition(":")[2] for _ in range(2)}
    assert len({uuid.UUID(name) for name in unnamed}) == 2
    arn = machine.start({"a": 1}, name="once")
    # The same name and input while it runs is the same execution.
    assert machine.start({"a": 1}, name="once") == arn
    start = machine.states.start_execution
    other = error_of(start, stateMachineArn=machine.arn, name="once", input="{}")
    assert other[0] == "ExecutionAlreadyExists"
    machine.ended(arn)
    same = error_of(start, stateMachineArn=machine.arn, name="once", input='{"a": 1}')
    assert same == ("ExecutionAlreadyExists", f"Execution Already Exists: '{arn}'")


def test_a_state_machine_is_created_once(cloud: Cloud) -> None:
    states = cloud.client("stepfunctions")
    one = {"name": unique("twice"), "roleArn": cloud.role("states")}
    definition = {"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}
    first = states.create_state_machine(**one, definition=json.dumps(definition))
    again = states.create_state_machine(**one, definition=json.dumps(definition, indent=1))
    assert first["stateMachineArn"] == again["stateMachineArn"]
    definition["States"] = {"A": {"Type": "Pass", "End": True}}
    code, message = error_of(states.create_state_machine, **one, definition=json.dumps(definition))
    assert code == "StateMachineAlreadyExists"
    assert first["stateMachineArn"] in message


def test_a_definition_can_be_validated(cloud: Cloud) -> None:
    validate = cloud.client("stepfunctions").validate_state_machine_definition
    good = validate(definition='{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}')
    assert (good["result"], good["diagnostics"]) == ("OK", [])
    bad = validate(definition='{"StartAt": "B", "States": {"A": {"Type": "Succeed"}}}')
    assert bad["result"] == "FAIL"
    assert {one["code"] for one in bad["diagnostics"]} == {"MISSING_TRANSITION_TARGET"}


# ---- ECR and Lambda


@pytest.mark.parametrize(
    ("region", "suffix"),
    [("us-east-1", ""), ("cn-northwest-1", ".cn"), ("us-gov-west-1", "")],
)
def test_registry_hosts_carry_the_partition(cloud: Cloud, region: str, suffix: str) -> None:
    ecr = cloud.client("ecr", region)
    made = ecr.create_repository(repositoryName="a_b/c")["repository"]
    assert made["repositoryUri"] == (f"{ACCOUNT_ID}.dkr.ecr.{region}.amazonaws.com{suffix}/a_b/c")
    ecr.delete_repository(repositoryName="a_b/c")
    login = ecr.get_authorization_token()["authorizationData"][0]
    assert login["proxyEndpoint"] == f"https://{made['repositoryUri'].partition('/')[0]}"
    assert base64.b64decode(login["authorizationToken"]).startswith(b"AWS:")


CODE = """
import json, os, time
import boto3

def handler(event, context):
    print("got", json.dumps(event), flush=True)
    time.sleep(event.get("seconds", 0))
    if event.get("bad"):
        raise ValueError("no good")
    buckets = boto3.client("s3").list_buckets()["Buckets"]
    return {"region": os.environ["AWS_REGION"], "word": os.environ["WORD"], "s3": len(buckets) >= 0}
"""


@pytest.fixture(scope="module")
def function(cloud: Cloud) -> str:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("code.py", CODE)
    name = unique("function")
    cloud.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.11",
        Role=cloud.role("lambda"),
        Handler="code.handler",
        Code={"ZipFile": archive.getvalue()},
        Environment={"Variables": {"WORD": "hello"}},
        Timeout=20,
    )
    return name


def test_an_invocation_runs_the_code_that_was_deployed(cloud: Cloud, function: str) -> None:
    invoke = cloud.client("lambda").invoke
    answer = invoke(FunctionName=function, Payload=b'{"a": 1}')
    expected = {"region": REGION, "word": "hello", "s3": True}
    assert json.loads(answer["Payload"].read()) == expected
    assert (answer["StatusCode"], answer.get("FunctionError")) == (200, None)
    assert answer["ExecutedVersion"] == "$LATEST"
    lines = cloud.log_lines(f"/aws/lambda/{function}")
    assert 'got {"a": 1}' in "\n".join(lines)
    assert any(line.startswith("REPORT RequestId") for line in lines)


def test_kinds_of_invocation_and_their_errors(cloud: Cloud, function: str) -> None:
    invoke = cloud.client("lambda").invoke
    arn = f"arn:aws-cn:lambda:{REGION}:{ACCOUNT_ID}:function:{function}"
    answer = invoke(FunctionName=arn, Payload=b'{"bad": true}')
    assert answer["FunctionError"] == "Unhandled"
    payload = json.loads(answer["Payload"].read())
    assert (payload["errorType"], payload["errorMessage"]) == ("ValueError", "no good")
    answer = invoke(FunctionName=function, InvocationType="Event", Payload=b'{"later": 1}')
    assert answer["StatusCode"] == 202
    until(
        lambda: "\n".join(cloud.log_lines(f"/aws/lambda/{function}")),
        lambda text: 'got {"later": 1}' in text,
    )
    wrong = error_of(invoke, FunctionName=function, Payload=b"{")
    assert wrong[0] == "InvalidRequestContentException"
    assert error_of(invoke, FunctionName="nobody")[0] == "ResourceNotFoundException"


def test_functions_that_moto_invokes_run_too(cloud: Cloud, function: str) -> None:
    """SNS calls moto's own method, which would start Docker."""
    sns = cloud.client("sns")
    arn = f"arn:aws-cn:lambda:{REGION}:{ACCOUNT_ID}:function:{function}"
    topic = sns.create_topic(Name="to-function")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn)
    sns.publish(TopicArn=topic, Message="from a topic")
    text = "\n".join(cloud.log_lines(f"/aws/lambda/{function}"))
    assert "from a topic" in text


def test_a_state_machine_invokes_functions(cloud: Cloud, function: str) -> None:
    state = {
        "Type": "Task",
        "Resource": "arn:aws-cn:states:::lambda:invoke",
        "Parameters": {"FunctionName": function, "Payload.$": "$"},
        "OutputPath": "$.Payload",
        "End": True,
    }
    answer = Machine(cloud, {"A": state}).run({"b": 2})
    assert json.loads(answer["output"])["word"] == "hello"


def test_a_task_that_fails_after_the_stop_leaves_the_execution_aborted(
    cloud: Cloud, function: str
) -> None:
    state = {
        "Type": "Task",
        "Resource": "arn:aws-cn:states:::lambda:invoke",
        "Parameters": {"FunctionName": function, "Payload": {"bad": True, "seconds": 1.5}},
        "End": True,
    }
    machine = Machine(cloud, {"A": state})
    arn = machine.start()
    until(lambda: "TaskStarted" in machine.history(arn), bool)
    machine.states.stop_execution(executionArn=arn, error="Why")
    answer = machine.ended(arn)
    assert (answer["status"], answer["error"]) == ("ABORTED", "Why")


def test_services_that_share_moto_batch_still_work(cloud: Cloud) -> None:
    """Step Functions is imported past moto.batch; the package must still be whole."""
    assert cloud.client("batch").describe_job_queues()["jobQueues"] == []


def test_what_moto_lacks_is_said_so(cloud: Cloud) -> None:
    code, message = error_of(cloud.client("cloudformation").list_types)
    assert code == "NotInEmbeddedAWS"
    assert "cloudformation:ListTypes" in message


def test_a_retry_does_not_wait_out_its_interval(cloud: Cloud) -> None:
    # no such function: the invocation fails, is retried twice, and then caught
    invoke = {
        "Type": "Task",
        "Resource": f"arn:{cloud.partition(REGION)}:states:::lambda:invoke",
        "Parameters": {"FunctionName": "nobody"},
        "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 600, "MaxAttempts": 2}],
        "End": True,
    }
    machine = Machine(cloud, {"Call": invoke})
    started = time.monotonic()
    arn = machine.start()
    assert machine.ended(arn)["status"] == "FAILED"
    assert 1.0 < time.monotonic() - started < 20
    assert machine.history(arn).count("TaskFailed") == 3


def test_a_part_of_an_upload_that_was_aborted_is_refused(cloud: Cloud) -> None:
    s3, bucket = cloud.client("s3"), cloud.bucket()
    upload = s3.create_multipart_upload(Bucket=bucket, Key="a")["UploadId"]
    given = {"Bucket": bucket, "Key": "a", "UploadId": upload, "PartNumber": 1}
    s3.upload_part(**given, Body=b"1")
    s3.abort_multipart_upload(Bucket=bucket, Key="a", UploadId=upload)
    code, message = error_of(s3.upload_part, **given, Body=b"2")
    assert code == "NoSuchUpload"
    assert "may have been aborted" in message


@pytest.mark.parametrize("region", REGIONS)
def test_new_buckets_are_encrypted_and_closed(cloud: Cloud, region: str) -> None:
    s3, bucket = cloud.client("s3", region), cloud.bucket(region, key="content")
    rule = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
    assert s3.head_object(Bucket=bucket, Key="key")["ServerSideEncryption"] == "AES256"
    s3.delete_public_access_block(Bucket=bucket)
    code, _ = error_of(s3.get_public_access_block, Bucket=bucket)
    assert code == "NoSuchPublicAccessBlockConfiguration"


@pytest.mark.parametrize("region", REGIONS)
def test_sagemakers_quotas_are_listed(cloud: Cloud, region: str) -> None:
    quotas = cloud.client("service-quotas", region)
    listed = quotas.list_service_quotas(ServiceCode="sagemaker")["Quotas"]
    values = {one["QuotaName"]: one["Value"] for one in listed}
    assert values["ml.m5.xlarge for processing job usage"] == 20


def test_a_history_has_pages_from_either_end(cloud: Cloud) -> None:
    machine = Machine(cloud, {"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Succeed"}})
    arn = machine.start()
    machine.ended(arn)
    pages = machine.states.get_paginator("get_execution_history").paginate(
        executionArn=arn, PaginationConfig={"PageSize": 2}
    )
    forwards = [[event["id"] for event in page["events"]] for page in pages]
    assert forwards == [[1, 2], [3, 4], [5, 6]]
    newest = machine.states.get_execution_history(executionArn=arn, reverseOrder=True, maxResults=1)
    assert [event["type"] for event in newest["events"]] == ["ExecutionSucceeded"]
    assert newest["nextToken"]
