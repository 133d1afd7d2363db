"""What AWS services do behind the API with a role that they were given, as the needs it has.

Sources: SageMaker developer guide, "How to use SageMaker AI execution roles" (CreateProcessingJob
API); Step Functions developer guide, "IAM policies for Amazon SageMaker" and "Using CloudWatch Logs
to log execution history".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from moto.utilities.utils import get_partition

from ...wire import ACCOUNT_ID
from .evaluation import Need

_IMAGE = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/([^:@]+)")
_RULES = {
    "sagemaker:createProcessingJob.sync": "StepFunctionsGetEventsForSageMakerProcessingJobsRule",
    "states:startExecution.sync": "StepFunctionsGetEventsForStepFunctionsExecutionRule",
}
_LOG_DELIVERY = (
    "CreateLogDelivery",
    "DeleteLogDelivery",
    "DescribeLogGroups",
    "DescribeResourcePolicies",
    "GetLogDelivery",
    "ListLogDeliveries",
    "PutResourcePolicy",
    "UpdateLogDelivery",
)


def image_pull(uri: str, region: str) -> Iterator[Need]:
    """SageMaker pulls a job's image from ECR."""
    yield Need("ecr:GetAuthorizationToken")
    match = _IMAGE.match(uri)
    if match:
        account, place, repository = match.groups()
        arn = f"arn:{get_partition(region)}:ecr:{place}:{account}:repository/{repository}"
        for action in ("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer"):
            yield Need(f"ecr:{action}", arn)


def spark_moves(request: Mapping[str, Any], region: str) -> Iterator[Need]:
    """Spark writes its files aside, and moves them: it deletes where it writes."""
    environment = request.get("Environment") or {}
    if environment.get("BATCAT_ENGINE") == "spark":
        run = f"date=2022-01-01/run={environment.get('BATCAT_RUN_ID')}/part-00000.csv"
        for output in request["ProcessingOutputConfig"]["Outputs"]:
            place = output["S3Output"]["S3Uri"].removeprefix("s3://")
            yield Need("s3:DeleteObject", f"arn:{get_partition(region)}:s3:::{place}/{run}")


def job_metrics() -> Iterator[Need]:
    """SageMaker writes the metrics of a job's instances."""
    namespace = {"cloudwatch:namespace": "/aws/sagemaker/ProcessingJobs"}
    yield Need("cloudwatch:PutMetricData", "*", namespace)


def job_network(request: Mapping[str, Any], region: str) -> Iterator[Need]:
    """SageMaker puts a job's instances into a VPC, with network interfaces that it makes."""
    vpc = (request.get("NetworkConfig") or {}).get("VpcConfig")
    if not vpc:
        return
    place = f"arn:{get_partition(region)}:ec2:{region}:{ACCOUNT_ID}"
    interface = f"{place}:network-interface/eni-0123456789abcdef0"
    for subnet in vpc["Subnets"]:
        yield Need("ec2:CreateNetworkInterface", f"{place}:subnet/{subnet}")
    for group in vpc["SecurityGroupIds"]:
        yield Need("ec2:CreateNetworkInterface", f"{place}:security-group/{group}")
    for action in (
        "CreateNetworkInterface",
        "CreateNetworkInterfacePermission",
        "DeleteNetworkInterface",
        "DeleteNetworkInterfacePermission",
    ):
        yield Need(f"ec2:{action}", interface)
    for action in (
        "DescribeDhcpOptions",
        "DescribeNetworkInterfaces",
        "DescribeSecurityGroups",
        "DescribeSubnets",
        "DescribeVpcs",
    ):
        yield Need(f"ec2:{action}")


def job_keys(request: Mapping[str, Any], region: str) -> Iterator[Need]:
    """SageMaker encrypts a job's volumes and what it uploads."""
    cluster = request["ProcessingResources"]["ClusterConfig"]
    volume = cluster.get("VolumeKmsKeyId")
    if volume:
        grant = {"kms:GrantIsForAWSResource": "true"}
        yield Need("kms:CreateGrant", _key(str(volume), region), grant)
    output = (request.get("ProcessingOutputConfig") or {}).get("KmsKeyId")
    if output:
        via = {"kms:ViaService": f"s3.{region}.amazonaws.com"}
        for action in ("Decrypt", "Encrypt", "GenerateDataKey"):
            yield Need(f"kms:{action}", _key(str(output), region), via)


def managed_rules(definition: str, region: str) -> list[Need]:
    """Step Functions waits for jobs and workflows with events rules of its own, by the role."""
    place = f"arn:{get_partition(region)}:events:{region}:{ACCOUNT_ID}:rule"
    return [
        Need(f"events:{action}", f"{place}/{rule}")
        for resource, rule in _RULES.items()
        if resource in definition
        for action in ("DescribeRule", "PutRule", "PutTargets")
    ]


def log_delivery(logging: Mapping[str, Any]) -> list[Need]:
    """Step Functions has its log delivered into a log group, set up with the role."""
    if not logging.get("destinations") or logging.get("level", "OFF") == "OFF":
        return []
    return [Need(f"logs:{action}") for action in _LOG_DELIVERY]


def _key(key: str, region: str) -> str:
    if key.startswith("arn:"):
        return key
    kind = key if key.startswith("alias/") else f"key/{key}"
    return f"arn:{get_partition(region)}:kms:{region}:{ACCOUNT_ID}:{kind}"
