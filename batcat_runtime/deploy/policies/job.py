"""The jobs' role: inputs in, results out, log, image; VPC and keys where the project has them.

What a script itself asks of AWS (Athena, Redshift, a secret) comes from the purpose's `permissions`
and is in `data`.
"""

from __future__ import annotations

from batcat_runtime.config import Config
from batcat_runtime.deploy.naming import Names
from batcat_runtime.deploy.policies.data import data_statements
from batcat_runtime.deploy.policies.document import (
    NO_RESOURCES,
    Document,
    allow,
    kms_key,
    s3_buckets,
    s3_places,
    steps_of,
)


def job_statements(config: Config, names: Names, account: str) -> list[Document]:
    """Return what the processing jobs of a purpose may do."""
    inputs = [uri for step in steps_of(config, names) for uri in step.places]
    bucket = f"s3://{config.result_s3_bucket}"
    results = f"{bucket}/{names.result_prefix}/"
    work = f"{bucket}/{names.work_prefix('')}"
    log_group = names.arn("logs", "log-group:/aws/sagemaker/ProcessingJobs", account)
    return [
        allow("ListInputs", "s3:ListBucket", s3_buckets(names, [*inputs, bucket])),
        allow("ReadInputs", "s3:GetObject", s3_places(names, [*inputs, work])),
        allow(
            "WriteResults",
            ["s3:AbortMultipartUpload", "s3:PutObject"],
            s3_places(names, [results, work]),
        ),
        allow(
            "Log",
            [
                "logs:CreateLogGroup",
                "logs:CreateLogStream",
                "logs:DescribeLogStreams",
                "logs:PutLogEvents",
            ],
            f"{log_group}:*",
        ),
        allow(
            "PullImage",
            [
                "ecr:BatchCheckLayerAvailability",
                "ecr:BatchGetImage",
                "ecr:GetDownloadUrlForLayer",
            ],
            names.arn("ecr", f"repository/{names.repository}", account),
        ),
        allow(f"RegistryLogins{NO_RESOURCES}", "ecr:GetAuthorizationToken", "*"),
        allow(
            f"Metrics{NO_RESOURCES}",
            "cloudwatch:PutMetricData",
            "*",
            {"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}},
        ),
        *_network_statements(config, names, account),
        *_key_statements(config, names, account),
        *data_statements(config, names, account),
    ]


def _network_statements(config: Config, names: Names, account: str) -> list[Document]:
    """Return what SageMaker needs to put jobs into a VPC.

    Subnets and groups may be another account's, in a VPC that is shared: so their ARNs leave the
    account open and name the id.
    """
    networks = [config.network_of(names.purpose, step) for step in steps_of(config, names)]
    subnets = [one for network in networks if network for one in network.subnets]
    groups = [one for network in networks if network for one in network.security_group_ids]
    if not subnets:
        return []
    interfaces = names.arn("ec2", "network-interface/*", account)
    return [
        allow(
            "MakeNetworkInterfaces",
            "ec2:CreateNetworkInterface",
            [
                interfaces,
                *(names.arn("ec2", f"subnet/{one}", "*") for one in subnets),
                *(names.arn("ec2", f"security-group/{one}", "*") for one in groups),
            ],
        ),
        allow(
            "GiveThemToSageMaker",
            [
                "ec2:CreateNetworkInterfacePermission",
                "ec2:DeleteNetworkInterface",
                "ec2:DeleteNetworkInterfacePermission",
            ],
            interfaces,
        ),
        allow(
            f"NetworkDescriptions{NO_RESOURCES}",
            [
                "ec2:DescribeDhcpOptions",
                "ec2:DescribeNetworkInterfaces",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSubnets",
                "ec2:DescribeVpcs",
            ],
            "*",
        ),
    ]


def _key_statements(config: Config, names: Names, account: str) -> list[Document]:
    keys = [config.kms_of(names.purpose, step) for step in steps_of(config, names)]
    statements = []
    for number, key in enumerate(sorted({one.volume for one in keys if one.volume}), 1):
        one = kms_key(f"EncryptVolumes{number}", ["kms:CreateGrant"], key, names, account)
        condition = {**one.get("Condition", {}), "Bool": {"kms:GrantIsForAWSResource": "true"}}
        statements.append(one | {"Condition": condition})
    for number, key in enumerate(sorted({one.output for one in keys if one.output}), 1):
        # Decrypt: the parts of a multipart upload, and the next step that reads the result.
        actions = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"]
        statements.append(kms_key(f"EncryptResults{number}", actions, key, names, account))
    return statements
