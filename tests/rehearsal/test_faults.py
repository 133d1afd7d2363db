"""AWS on its bad days: what the embedded one refuses, loses and runs out of when told to."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batcat_runtime.rehearsal.aws.iam.sessions import Sessions
from batcat_runtime.rehearsal.faults import faults
from tests.rehearsal.conftest import Cloud, error_of, until
from tests.rehearsal.test_access import Role, allow, client

QUOTA = "ml.m5.xlarge for processing job usage"
PASS = {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}


def test_jobs_beyond_the_quota_are_refused_in_awss_words(cloud: Cloud) -> None:
    sagemaker = cloud.client("sagemaker")
    running = cloud.job("ok", "60")
    sagemaker.create_processing_job(**running)
    with faults(cloud.aws.home, quotas={QUOTA: 1}):
        code, message = error_of(sagemaker.create_processing_job, **cloud.job())
        assert code == "ResourceLimitExceeded"
        assert f"'{QUOTA}' is 1 Instances, with current utilization of 1 Instances" in message
        assert "a request delta of 1 Instances" in message
        sagemaker.stop_processing_job(ProcessingJobName=running["ProcessingJobName"])
        cloud.ended_job(running["ProcessingJobName"])
        again = cloud.job()
        sagemaker.create_processing_job(**again)
    assert cloud.ended_job(again["ProcessingJobName"])["ProcessingJobStatus"] == "Completed"


def test_a_job_fails_when_its_instance_type_is_sold_out(cloud: Cloud) -> None:
    request = cloud.job()
    with faults(cloud.aws.home, sold_out=["ml.m5.xlarge"]):
        cloud.client("sagemaker").create_processing_job(**request)
        job = cloud.ended_job(request["ProcessingJobName"])
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("CapacityError: Unable to provision requested ML")
    assert "ProcessingStartTime" not in job


def machine_of(cloud: Cloud) -> str:
    made = cloud.client("stepfunctions").create_state_machine(
        name=f"m-{uuid.uuid4().hex[:8]}",
        definition=json.dumps(PASS),
        roleArn=cloud.role("states"),
    )
    return str(made["stateMachineArn"])


def ended(cloud: Cloud, machine: str) -> str:
    states = cloud.client("stepfunctions")
    arn = states.start_execution(stateMachineArn=machine)["executionArn"]
    until(lambda: states.describe_execution(executionArn=arn)["status"], "SUCCEEDED".__eq__)
    return str(arn)


def test_executions_are_forgotten_after_their_retention(cloud: Cloud) -> None:
    states, machine = cloud.client("stepfunctions"), machine_of(cloud)
    arn = ended(cloud, machine)
    assert states.get_execution_history(executionArn=arn)["events"]
    with faults(cloud.aws.home, retention_seconds=0):
        for call in (states.describe_execution, states.get_execution_history):
            code, message = error_of(call, executionArn=arn)
            assert (code, message) == (
                "ExecutionDoesNotExist",
                f"Execution Does Not Exist: '{arn}'",
            )
        assert states.list_executions(stateMachineArn=machine)["executions"] == []
    assert states.describe_execution(executionArn=arn)["status"] == "SUCCEEDED"


def test_so_many_calls_are_throttled_and_the_next_one_not(cloud: Cloud) -> None:
    states, machine = cloud.client("stepfunctions"), machine_of(cloud)
    with faults(cloud.aws.home, throttled={"stepfunctions:DescribeStateMachine": 2}):
        for _ in range(2):
            code, message = error_of(states.describe_state_machine, stateMachineArn=machine)
            assert (code, message) == ("ThrottlingException", "Rate exceeded")
        states.describe_state_machine(stateMachineArn=machine)
        states.list_executions(stateMachineArn=machine)
    with faults(cloud.aws.home, throttled={"cloudformation:ListStacks": 1}):
        code, _ = error_of(cloud.client("cloudformation").list_stacks)
        assert code == "Throttling"


@pytest.mark.parametrize(
    ("service", "operation", "code", "words"),
    [
        ("s3", "list_buckets", "ExpiredToken", "The provided token has expired."),
        ("sts", "get_caller_identity", "ExpiredToken", "included in the request is expired"),
        (
            "stepfunctions",
            "list_state_machines",
            "ExpiredTokenException",
            "included in the request is expired",
        ),
    ],
)
def test_an_expired_session_is_refused(
    cloud: Cloud, service: str, operation: str, code: str, words: str
) -> None:
    role = Role(cloud, "lambda", allow("*"))
    keys = cloud.client("sts").assume_role(RoleArn=role.arn, RoleSessionName="me")["Credentials"]
    call = getattr(client(cloud, service, keys), operation)
    call()
    with faults(cloud.aws.home, expired_keys=[keys["AccessKeyId"]]):
        found, message = error_of(call)
    assert found == code
    assert words in message


def test_a_session_ends_when_sts_said(cloud: Cloud) -> None:
    role = Role(cloud, "lambda", allow("*"))
    keys: dict[str, Any] = cloud.client("sts").assume_role(
        RoleArn=role.arn, RoleSessionName="me", DurationSeconds=900
    )["Credentials"]
    left = keys["Expiration"] - datetime.now(UTC)
    assert timedelta(seconds=880) < left <= timedelta(seconds=900)
    soon, past = datetime.now(UTC) + timedelta(minutes=1), datetime.now(UTC)
    for end, expected in ((soon, False), (past, True), (None, False)):
        sessions = Sessions(lambda key: None, lambda one: ([], None), lambda key, end=end: end)
        assert sessions.expired("ASIAIOSFODNN7EXAMPLE") is expected
