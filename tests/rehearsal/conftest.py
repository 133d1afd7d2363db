"""One embedded AWS for the whole session, and what most tests need in it."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from batcat_runtime.rehearsal import EmbeddedAWS
from batcat_runtime.rehearsal.container.build import build
from batcat_runtime.rehearsal.container.images import MANIFEST_TYPE, Image, ImageStore

REGIONS = ("us-east-1", "cn-northwest-1", "us-gov-west-1")
REGION = "cn-northwest-1"
_SCRIPT = """
import os, sys, time
root = os.environ.get("BATCAT_ML_ROOT", "/opt/ml")
what, seconds = sys.argv[1], float(sys.argv[2])
print("input", sorted(os.listdir(root + "/processing/input/usage")), flush=True)
print("greeting", os.environ.get("GREETING"), flush=True)
if what == "fail":
    print("boom", file=sys.stderr)
    open(root + "/output/message", "w").write("the script's own last words")
    sys.exit(3)
time.sleep(seconds)
open(root + "/processing/output/result.csv", "w").write("a,b\\n1,2\\n")
"""


def trust(service: str) -> dict[str, Any]:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": f"{service}.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def until(look: Callable[[], Any], done: Callable[[Any], bool], seconds: float = 30) -> Any:
    end = time.monotonic() + seconds
    while True:
        found = look()
        if done(found):
            return found
        assert time.monotonic() < end, f"still {found}"
        time.sleep(0.05)


def error_of(call: Callable[..., Any], **arguments: Any) -> tuple[str, str]:
    """Return code and message of the error that a call must give."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error.get("Message", "")


class Cloud:
    """An embedded AWS with clients for it, independent of the environment."""

    def __init__(self, aws: EmbeddedAWS) -> None:
        self.aws = aws
        self.endpoint_url = aws.endpoint_url
        self.client = cache(self._client)
        self.role = cache(self._role)
        self.image_uri = cache(self._image_uri)

    def _client(self, service: str, region: str = REGION) -> Any:
        return boto3.Session().client(
            service,
            region_name=region,
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.aws.keys[0],
            aws_secret_access_key=self.aws.keys[1],
            # What is tested is the server's own examination, not botocore's.
            config=Config(
                parameter_validation=False,
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"},
            ),
        )

    def partition(self, region: str = REGION) -> str:
        starts = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
        return next((p for start, p in starts.items() if region.startswith(start)), "aws")

    def bucket(self, region: str = REGION, **objects: str) -> str:
        name = f"test-{uuid.uuid4().hex[:12]}"
        s3 = self.client("s3", region)
        place = {"CreateBucketConfiguration": {"LocationConstraint": region}}
        s3.create_bucket(Bucket=name, **({} if region == "us-east-1" else place))
        for key, body in objects.items():
            s3.put_object(Bucket=name, Key=key, Body=body.encode())
        return name

    def _role(self, service: str, region: str = REGION) -> str:
        answer = self.client("iam", region).create_role(
            RoleName=f"{service}-{uuid.uuid4().hex[:8]}",
            AssumeRolePolicyDocument=json.dumps(trust(service)),
        )
        return str(answer["Role"]["Arn"])

    def _image_uri(self, region: str = REGION) -> str:
        return self.image(_SCRIPT, region=region)

    def image(self, script: str, dockerfile: str = "", *, region: str = REGION, **more: str) -> str:
        """Push an image that holds a script, run.py, and other files; return its address."""
        context = self.aws.home / f"context-{uuid.uuid4().hex}"
        context.mkdir()
        content = {"run.py": script, "Dockerfile": dockerfile or "FROM python\n", **more}
        if not dockerfile:
            content["Dockerfile"] += "WORKDIR /opt/batcat\nCOPY run.py .\n"
        for name, text in content.items():
            (context / name).write_text(text)
        image: Image = build(context, ImageStore(self.aws.home))
        ecr = self.client("ecr", region)
        made = ecr.create_repository(repositoryName=f"test/{uuid.uuid4().hex[:8]}")["repository"]
        ecr.put_image(
            repositoryName=made["repositoryName"],
            imageManifest=image.manifest,
            imageManifestMediaType=MANIFEST_TYPE,
            imageTag="latest",
            imageDigest=image.digest,
        )
        return f"{made['repositoryUri']}@{image.digest}"

    def run(self, script: str, dockerfile: str = "", **changes: Any) -> tuple[dict[str, Any], Any]:
        """Run a job whose image holds a script; return its description and its log."""
        words = ["python3", "/opt/batcat/run.py"]
        specification = {"ImageUri": self.image(script, dockerfile), "ContainerEntrypoint": words}
        count = changes.pop("instances", 1)
        request = self.job(**{"AppSpecification": specification, **changes})
        request["ProcessingResources"]["ClusterConfig"]["InstanceCount"] = count
        self.client("sagemaker").create_processing_job(**request)
        job = self.ended_job(request["ProcessingJobName"])
        try:
            lines = self.log_lines("/aws/sagemaker/ProcessingJobs", request["ProcessingJobName"])
        except ClientError:  # nothing was ever logged
            lines = []
        return job, lines

    def objects(self, bucket: str, prefix: str = "out/") -> dict[str, bytes]:
        """Return what a bucket holds below a prefix."""
        s3 = self.client("s3")
        found = s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        return {
            one["Key"]: s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read() for one in found
        }

    def job(self, *arguments: str, region: str = REGION, **changes: Any) -> dict[str, Any]:
        """Return a CreateProcessingJob request that is sound until changed."""
        bucket = changes.pop("bucket", None) or self.bucket(region, **{"in/a.csv": "1"})
        source = {
            "S3Uri": f"s3://{bucket}/in/",
            "LocalPath": "/opt/ml/processing/input/usage",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
        }
        target = {
            "S3Uri": f"s3://{bucket}/out",
            "LocalPath": "/opt/ml/processing/output",
            "S3UploadMode": "EndOfJob",
        }
        cluster = {"InstanceCount": 1, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 30}
        words = ["python3", "/opt/batcat/run.py", *(arguments or ("ok", "0"))]
        return {
            "ProcessingJobName": f"job-{uuid.uuid4().hex[:8]}",
            "RoleArn": self.role("sagemaker", region),
            "AppSpecification": {
                "ImageUri": self.image_uri(region),
                "ContainerEntrypoint": words,
            },
            "Environment": {"GREETING": "hello"},
            "ProcessingInputs": [{"InputName": "usage", "S3Input": source}],
            "ProcessingOutputConfig": {"Outputs": [{"OutputName": "result", "S3Output": target}]},
            "ProcessingResources": {"ClusterConfig": cluster},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
            "Tags": [{"Key": "team", "Value": "battery"}],
            **changes,
        }

    def ended_job(self, name: str, region: str = REGION, seconds: float = 30) -> dict[str, Any]:
        describe = self.client("sagemaker", region).describe_processing_job
        return dict(
            until(
                lambda: describe(ProcessingJobName=name),
                lambda job: job["ProcessingJobStatus"] in ("Completed", "Failed", "Stopped"),
                seconds,
            )
        )

    def log_lines(self, group: str, prefix: str = "", region: str = REGION) -> list[str]:
        logs = self.client("logs", region)
        streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
        return [
            event["message"]
            for stream in streams
            if stream["logStreamName"].startswith(prefix)
            for event in logs.get_log_events(
                logGroupName=group, logStreamName=stream["logStreamName"]
            )["events"]
        ]


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    home: Path = tmp_path_factory.mktemp("aws")
    with EmbeddedAWS(region=REGION, home=home, set_environment=False) as aws:
        yield Cloud(aws)


@pytest.fixture(scope="session")
def enforcing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One that enforces IAM's policies."""
    home: Path = tmp_path_factory.mktemp("enforcing")
    with EmbeddedAWS(region=REGION, home=home, set_environment=False, enforce_policies=True) as aws:
        yield Cloud(aws)
