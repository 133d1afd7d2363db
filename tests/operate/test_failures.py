"""Why an execution failed, judged over what AWS says; and what is advised."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batcat_runtime.operate.failures import Failure, advice, failure_of, log_tail
from tests.operate.world import DeployedProject

WORDS: dict[str, Any] = {
    "region": "cn-northwest-1",
    "execution": "run-1",
    "status": "FAILED",
    "job_status": "",
    "over": False,
    "script": "script/clean.py",
    "kind": "ml.m5.xlarge",
    "limit": 3600,
    "job_role": "role-of-jobs",
    "trust": "delete-stack",
    "grant": "see the roles.",
    "again": "batcat run",
    "rehearse": "batcat rehearse",
}
QUOTA = (
    "The account-level service limit 'ml.m5.xlarge for processing job usage' is 2 Instances, with "
    "current utilization of 1 Instances and a request delta of 4 Instances. Please use AWS Service "
    "Quotas to request an increase for this quota. (Service: AmazonSageMaker; Status Code: 400; "
    "Error Code: ResourceLimitExceeded; Request ID: 1-2; Proxy: null)"
)


def job(status: str, **more: Any) -> dict[str, Any]:
    name = more.pop("name", "clean-0-1")
    return {
        "ProcessingJobName": name,
        "ProcessingJobStatus": status,
        "Environment": {"BATCAT_STEP": name.partition("-")[0]},
        "ProcessingEndTime": more.pop("end", 1),
        **more,
    }


def no_log(one: dict[str, Any]) -> list[tuple[str, str]]:
    return []


def test_a_scripts_last_line_comes_first() -> None:
    bad = job("Failed", FailureReason="AlgorithmError: , exit code: 3", ExitMessage="a\nb: c")
    failure = failure_of("FAILED", "States.TaskFailed", "{}", [bad], no_log)
    assert failure.summary == "The script of clean failed (exit code: 3): b: c"
    logged = failure_of("FAILED", "", "", [bad], lambda one: [("s/algo-1", "d: e")])
    assert logged.summary == "The script of clean failed (exit code: 3): d: e"
    assert (logged.log, logged.log_stream) == (("d: e",), "s/algo-1")


def test_the_job_that_failed_is_blamed_and_not_what_it_took_along() -> None:
    jobs = [
        job("Failed", name="clean-0-1", FailureReason="ClientError: no image", end=2),
        job("Stopped", name="other-0-1", end=3),
    ]
    assert failure_of("FAILED", "", "", jobs, no_log).summary == (
        "The step clean failed: ClientError: no image"
    )
    stopped = failure_of("FAILED", "ProcessingJobStopped", json.dumps(jobs[1]), jobs[1:], no_log)
    assert stopped.summary == "The step other was stopped: before its end"
    said = json.dumps({**jobs[1], "ExitMessage": "ended by signal 15"})
    assert failure_of("FAILED", "", said, jobs[1:], no_log).summary == stopped.summary
    by_hand = failure_of("ABORTED", "Mine", "too late", jobs[1:], no_log)
    assert by_hand.summary == "The step other was stopped: too late"


def test_a_step_that_could_not_start_is_not_the_fault_of_those_before() -> None:
    before = job("Stopped", name="before-0-1")
    failure = failure_of(
        "FAILED", "SageMaker.ResourceLimitExceededException", QUOTA, [before], no_log, step="clean"
    )
    assert failure.summary.startswith("The step clean could not be started: The account-level")
    assert failure.summary.endswith("request an increase for this quota.")
    assert (failure.job, failure.step) == ("", "clean")


def test_an_execution_that_was_stopped_or_failed_by_itself() -> None:
    assert failure_of("ABORTED", "", "", [], no_log).summary == "The execution ended as ABORTED"
    failure = failure_of("FAILED", "States.Runtime", "no such path", [], no_log)
    assert failure.summary == "The execution ended as FAILED: States.Runtime: no such path"


def test_of_several_instances_the_one_with_the_error_is_shown() -> None:
    lines = [("one", "ValueError: x"), ("two", "fine"), ("two", "stopped")]
    bad = job("Failed", FailureReason="AlgorithmError: , exit code: 1")
    shown = failure_of("FAILED", "", "", [bad], lambda _: lines)
    assert (shown.log, shown.log_stream) == (("ValueError: x",), "one")
    many = [("one", str(number)) for number in range(30)]
    assert failure_of("FAILED", "", "", [bad], lambda _: many).log[0] == "10"


def test_of_an_exception_of_many_lines_the_first_is_told() -> None:
    bad = job("Failed", FailureReason="AlgorithmError: , exit code: 1", ExitMessage="")
    written = [
        "Traceback (most recent call last):",
        '  File "script/clean.py", line 3, in <module>',
        "ValueError: these columns are missing:",
        *(f"  column {number}" for number in range(40)),
        "see the data sheet",
    ]
    summary = "The script of clean failed (exit code: 1): ValueError: these columns are missing:"
    assert failure_of("FAILED", "", "", [bad], lambda _: [("s", x) for x in written]).summary == (
        summary
    )
    # Whoever may not read logs has the exit message.
    told = bad | {"ExitMessage": "\n".join([written[2], *written[-9:]])}
    assert failure_of("FAILED", "", "", [told], no_log).summary == summary


KNOWN = {
    f"SageMaker.ResourceLimitExceededException: {QUOTA}": (
        "may use 2 of ml.m5.xlarge at once",
        "--desired-value 5",
    ),
    "CapacityError: Unable to provision requested ML": ("AWS has no ml.m5", "later"),
    "Could not assume role arn:aws-cn:iam::1:role/x.": ("may not act as", "delete-stack"),
    "API error (404): manifest for x not found: manifest unknown": ("no longer in ECR", "deploy"),
    'No S3 objects found under S3 URL "s3://b/p/" given': ("nothing to read", "ls s3://b/p/"),
    "runtime exceeded MaxRuntimeInSeconds (3600)": ("max_runtime_seconds is 3600", "Raise"),
    "States.Timeout: States.Timeout": ("longer than its time limit", "max_runtime_seconds"),
    "AlgorithmError: , exit code: 137": ("memory of ml.m5.xlarge", "larger instance_type"),
    "OSError: [Errno 28] No space left on device": ("disk is full", "volume_size_gb"),
    "User: x is not authorized to perform: s3:GetObject on": (
        "lacks the permission s3:Get",
        "roles",
    ),
    "role x does not allow ecr:BatchGetImage, ecr:A on y": ("ecr:BatchGetImage, ecr:A", "roles"),
    "AlgorithmError: , exit code: 1": ("", "Correct script/clean.py"),
    "InternalServerError: We encountered": ("AWS failed by itself", "again"),
    "something new": ("", "batcat logs run-1"),
}


def advised(text: str, **words: Any) -> tuple[str, str]:
    return advice(Failure("", reason=text), {**WORDS, **words})


@pytest.mark.parametrize("text", KNOWN)
def test_what_is_known_is_advised(text: str) -> None:
    words, command = KNOWN[text]
    meaning, fix = advised(text)
    assert words in meaning
    assert bool(words) == bool(meaning)
    assert command in fix


def test_who_stopped_it_makes_the_difference() -> None:
    text = "States.TaskFailed: "
    assert "by hand" in advised(text, job_status="Stopped")[0]
    assert "max_runtime_seconds is 3600" in advised(text, job_status="Stopped", over=True)[0]
    aborted = advised(text, job_status="Stopped", status="ABORTED")
    assert aborted[0] == "Somebody stopped the execution."
    assert "role x:" in advised("Could not assume role arn:aws:iam::1:role/a/x. Do so.")[0]


def test_a_log_that_does_not_exist_yet_is_empty(project: DeployedProject) -> None:
    assert log_tail(project.opened, "no-such-job") == []
    # Before the first job of an account and region there is no log group either.
    logs = project.client("logs")
    logs.create_log_group(logGroupName="/aws/other")
    found = {one["logGroupName"] for one in logs.describe_log_groups()["logGroups"]}
    if "/aws/sagemaker/ProcessingJobs" in found:
        logs.delete_log_group(logGroupName="/aws/sagemaker/ProcessingJobs")
    assert log_tail(project.opened, "no-such-job") == []
