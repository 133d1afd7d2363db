"""Processing jobs as SageMaker's API tells of them; how they run is in test_jobs.py."""

from __future__ import annotations

from typing import Any

import pytest

from batcat_runtime.rehearsal.wire import ACCOUNT_ID
from tests.rehearsal.conftest import REGION, REGIONS, Cloud, error_of, until


@pytest.fixture(scope="module")
def finished(cloud: Cloud) -> dict[str, Any]:
    request = cloud.job()
    cloud.client("sagemaker").create_processing_job(**request)
    return {"request": request, "job": cloud.ended_job(request["ProcessingJobName"])}


def test_a_finished_job_is_described_in_full(cloud: Cloud, finished: dict[str, Any]) -> None:
    request, job = finished["request"], finished["job"]
    for member in (
        *("AppSpecification", "Environment", "ProcessingInputs", "ProcessingOutputConfig"),
        *("ProcessingResources", "RoleArn", "StoppingCondition", "ProcessingJobName"),
    ):
        assert job[member] == request[member]
    assert job["ProcessingJobStatus"] == "Completed"
    created, started = job["CreationTime"], job["ProcessingStartTime"]
    assert created <= started <= job["ProcessingEndTime"] <= job["LastModifiedTime"]
    assert "FailureReason" not in job
    output = job["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    bucket = output.removeprefix("s3://").partition("/")[0]
    found = cloud.client("s3").get_object(Bucket=bucket, Key="out/result.csv")
    assert found["Body"].read() == b"a,b\n1,2\n"


def test_its_log_is_in_cloudwatch(cloud: Cloud, finished: dict[str, Any]) -> None:
    name = finished["job"]["ProcessingJobName"]
    lines = cloud.log_lines("/aws/sagemaker/ProcessingJobs", f"{name}/algo-1-")
    assert lines == ["input ['a.csv']", "greeting hello"]


def test_a_name_is_used_once(cloud: Cloud, finished: dict[str, Any]) -> None:
    sagemaker, request = cloud.client("sagemaker"), finished["request"]
    code, message = error_of(sagemaker.create_processing_job, **request)
    assert code == "ResourceInUse"
    assert message.endswith(f"already exists ({finished['job']['ProcessingJobArn']})")
    # In another region it is free.
    elsewhere = cloud.client("sagemaker", "us-east-1")
    code, message = error_of(
        elsewhere.describe_processing_job, ProcessingJobName=request["ProcessingJobName"]
    )
    assert code == "ValidationException"
    assert message.startswith("Could not find requested job with name:")


@pytest.mark.parametrize("region", REGIONS)
def test_arns_carry_the_partition(cloud: Cloud, region: str) -> None:
    request = cloud.job(region=region)
    made = cloud.client("sagemaker", region).create_processing_job(**request)
    assert made["ProcessingJobArn"] == (
        f"arn:{cloud.partition(region)}:sagemaker:{region}:{ACCOUNT_ID}:processing-job/"
        + request["ProcessingJobName"]
    )
    assert cloud.ended_job(request["ProcessingJobName"], region)["ProcessingJobStatus"] == (
        "Completed"
    )


def test_a_failing_script(cloud: Cloud) -> None:
    request = cloud.job("fail", "0")
    cloud.client("sagemaker").create_processing_job(**request)
    job = cloud.ended_job(request["ProcessingJobName"])
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"] == "AlgorithmError: , exit code: 3"
    assert job["ExitMessage"] == "the script's own last words"


def test_stopping_a_job(cloud: Cloud) -> None:
    sagemaker = cloud.client("sagemaker")
    request = cloud.job("ok", "60")
    name = request["ProcessingJobName"]
    sagemaker.create_processing_job(**request)
    until(
        lambda: sagemaker.describe_processing_job(ProcessingJobName=name),
        lambda job: "ProcessingStartTime" in job,
    )
    sagemaker.stop_processing_job(ProcessingJobName=name)
    assert cloud.ended_job(name)["ProcessingJobStatus"] == "Stopped"
    assert error_of(sagemaker.stop_processing_job, ProcessingJobName=name)[0] == (
        "ValidationException"
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("tag", "ClientError: API error (404): manifest for "),
        ("repository", "ClientError: API error (404): repository "),
        ("elsewhere", "ClientError: API error (404): manifest for docker.io/library/python"),
        ("prefix", 'ClientError: No S3 objects found under S3 URL "s3://'),
        ("bucket", 'ClientError: No S3 objects found under S3 URL "s3://no-such-bucket'),
        ("mode", "ClientError: Input usage missing one or more required fields"),
    ],
)
def test_what_is_missing_fails_the_job(cloud: Cloud, change: str, reason: str) -> None:
    request = cloud.job()
    application, source = request["AppSpecification"], request["ProcessingInputs"][0]["S3Input"]
    uri = application["ImageUri"].partition("@")[0]
    images = {
        "tag": f"{uri}:no",
        "repository": f"{uri}x:1",
        "elsewhere": "docker.io/library/python",
    }
    application["ImageUri"] = images.get(change, application["ImageUri"])
    if change == "prefix":
        source["S3Uri"] += "nothing/"
    if change == "bucket":
        source["S3Uri"] = "s3://no-such-bucket/x/"
    if change == "mode":
        del source["S3InputMode"]
    cloud.client("sagemaker").create_processing_job(**request)
    job = cloud.ended_job(request["ProcessingJobName"])
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith(reason)


def test_paths_outside_opt_ml_processing_are_refused(cloud: Cloud) -> None:
    request = cloud.job(bucket="b-b")
    request["ProcessingInputs"][0]["S3Input"]["LocalPath"] = "/data"
    code, message = error_of(cloud.client("sagemaker").create_processing_job, **request)
    assert code == "ValidationException"
    assert "must start with /opt/ml/processing/" in message


def test_tags(cloud: Cloud, finished: dict[str, Any]) -> None:
    sagemaker, arn = cloud.client("sagemaker"), finished["job"]["ProcessingJobArn"]
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "battery"}]
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "a", "Value": "1"}])
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["team"])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "1"}]


def test_listing(cloud: Cloud, finished: dict[str, Any]) -> None:
    sagemaker, name = cloud.client("sagemaker"), finished["job"]["ProcessingJobName"]
    found = sagemaker.list_processing_jobs(NameContains=name, StatusEquals="Completed")
    assert [one["ProcessingJobName"] for one in found["ProcessingJobSummaries"]] == [name]
    page = sagemaker.list_processing_jobs(MaxResults=1, SortBy="Name", SortOrder="Ascending")
    assert len(page["ProcessingJobSummaries"]) == 1
    if "NextToken" in page:
        after = sagemaker.list_processing_jobs(
            MaxResults=1, SortBy="Name", SortOrder="Ascending", NextToken=page["NextToken"]
        )
        first, second = (one["ProcessingJobSummaries"][0] for one in (page, after))
        assert first["ProcessingJobName"] < second["ProcessingJobName"]
    arn = finished["job"]["ProcessingJobArn"]
    assert arn.startswith(f"arn:aws-cn:sagemaker:{REGION}:")
