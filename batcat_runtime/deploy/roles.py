"""Least privilege: who may do what, as plain policy documents, one function a role.

Four roles carry a purpose. `workflow` is the state machine's: it starts processing jobs. `job` is
the jobs': it reads the inputs, writes the results and logs. `trigger` is the Lambda function's: it
starts the state machine. `schedule` is EventBridge Scheduler's: it invokes the function. Each
statement names its resources; `*` stands only where the service offers no resource, and says so in
its `Sid`.

Documents are data: the stacks embed them with ``${AWS::AccountId}`` for the account, and
`write_policies` puts them, with the account filled in, where an administrator can read them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from batcat_runtime.config import Config
from batcat_runtime.deploy.naming import Names, slug

ACCOUNT = "${AWS::AccountId}"
ROLES = ("workflow", "job", "trigger", "schedule")
_SERVICE = {
    "workflow": "states.amazonaws.com",
    "job": "sagemaker.amazonaws.com",
    "trigger": "lambda.amazonaws.com",
    "schedule": "scheduler.amazonaws.com",
}

Document = dict[str, Any]


def existing_role(config: Config, role: str) -> str | None:
    """Return the ARN of the role that the configuration names for `role`, or None to create one."""
    given = {
        "workflow": config.workflow_execution_role,
        "job": config.job_role,
        "trigger": config.trigger_role,
        "schedule": config.schedule_role,
    }[role]
    return given or config.workflow_execution_role


def trust(role: str, account: str = ACCOUNT) -> Document:
    """Return who may assume a role: its AWS service, on behalf of this account only.

    The account condition guards against the confused deputy (IAM user guide). Lambda does not send
    it, and a service principal reads ``<service>.amazonaws.com`` in every partition.
    """
    statement: Document = {
        "Effect": "Allow",
        "Principal": {"Service": _SERVICE[role]},
        "Action": "sts:AssumeRole",
    }
    if role != "trigger":
        statement["Condition"] = {"StringEquals": {"aws:SourceAccount": account}}
    return {"Version": "2012-10-17", "Statement": [statement]}


def policy(role: str, config: Config, names: Names, account: str = ACCOUNT) -> Document:
    """Return the permissions of a role of a purpose."""
    statements = {
        "workflow": _workflow,
        "job": _job,
        "trigger": _trigger,
        "schedule": _schedule,
    }[role](config, names, account)
    return {"Version": "2012-10-17", "Statement": statements}


def role_resource(role: str, config: Config, names: Names) -> Document:
    """Return a role as a CloudFormation resource."""
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "RoleName": names.role(role),
            "Description": f"BatCat: {role} of {names.state_machine}",
            "AssumeRolePolicyDocument": with_substitutions(trust(role)),
            "Policies": [
                {
                    "PolicyName": role,
                    "PolicyDocument": with_substitutions(policy(role, config, names)),
                }
            ],
            "Tags": tag_list(config),
        },
    }


def role_arn(role: str, config: Config, names: Names, account: str) -> str:
    """Return the ARN of a purpose's role, whether it exists already or a stack creates it."""
    return existing_role(config, role) or names.arn(
        "iam", f"role/{names.role(role)}", account, region=""
    )


def tag_list(config: Config) -> list[dict[str, str]]:
    """Return the configured tags, and the project's name, as CloudFormation writes tags."""
    tags = {"batcat:project": slug(config.project), **config.tags}
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def with_substitutions(value: Any) -> Any:
    """Wrap every text that holds a ``${AWS::...}`` in ``Fn::Sub``, at any depth.

    Any other ``${`` in it is a user's own and stays as it is (``${!`` is CloudFormation's escape).
    """
    if isinstance(value, dict):
        return {key: with_substitutions(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_substitutions(item) for item in value]
    if isinstance(value, str) and "${AWS::" in value:
        return {"Fn::Sub": re.sub(r"\$\{(?!AWS::)", "${!", value)}
    return value


def write_policies(config: Config, folder: Path, account: str) -> list[Path]:
    """Write every role's trust and permissions as readable JSON, one file a role and purpose.

    Parameters
    ----------
    config : Config
        The project.
    folder : Path
        By custom ``deploy/iam``; made if missing.
    account : str
        The 12-digit account id.

    Returns
    -------
    list of Path
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for purpose in config.purposes:
        names = Names.of(config, purpose)
        for role in ROLES:
            content = {
                "RoleName": names.role(role),
                "TrustPolicy": trust(role, account),
                "PermissionsPolicy": policy(role, config, names, account),
            }
            path = folder / f"{purpose}-{role}.json"
            path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            written.append(path)
    return written


def _workflow(config: Config, names: Names, account: str) -> list[Document]:
    purpose = config.purposes[names.purpose]
    jobs = [
        names.arn("sagemaker", f"processing-job/{names.job_prefix(step.name)}-*", account)
        for step in purpose.steps
    ]
    rule = "rule/StepFunctionsGetEventsForSageMakerProcessingJobsRule"
    return [
        {
            "Sid": "RunProcessingJobs",
            "Effect": "Allow",
            "Action": [
                "sagemaker:AddTags",
                "sagemaker:CreateProcessingJob",
                "sagemaker:DescribeProcessingJob",
                "sagemaker:StopProcessingJob",
            ],
            "Resource": jobs,
        },
        {
            "Sid": "GiveJobsTheirRole",
            "Effect": "Allow",
            "Action": "iam:PassRole",
            "Resource": role_arn("job", config, names, account),
            "Condition": {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
        },
        {
            "Sid": "HearWhenJobsEnd",
            "Effect": "Allow",
            "Action": ["events:DescribeRule", "events:PutRule", "events:PutTargets"],
            "Resource": names.arn("events", rule, account),
        },
        {
            "Sid": "LogDeliveryHasNoResources",
            "Effect": "Allow",
            "Action": [
                "logs:CreateLogDelivery",
                "logs:DeleteLogDelivery",
                "logs:DescribeLogGroups",
                "logs:DescribeResourcePolicies",
                "logs:GetLogDelivery",
                "logs:ListLogDeliveries",
                "logs:PutResourcePolicy",
                "logs:UpdateLogDelivery",
            ],
            "Resource": "*",
        },
    ]


def _job(config: Config, names: Names, account: str) -> list[Document]:
    purpose = config.purposes[names.purpose]
    results = f"{config.result_s3_bucket}/{names.result_prefix}/*"
    work = f"{config.result_s3_bucket}/{names.work_prefix('')}*"
    inputs = sorted({uri for step in purpose.steps for uri in step.inputs.values()})
    # "bucket/prefix", the slash always: "bucket*" would open other buckets too
    places = ["/".join(uri.removeprefix("s3://").partition("/")[::2]) for uri in inputs]
    buckets = sorted({place.split("/")[0] for place in [*places, config.result_s3_bucket]})
    s3 = names.arn("s3", "", "", region="")
    repository = names.arn("ecr", f"repository/{names.repository}", account)
    log_group = names.arn("logs", "log-group:/aws/sagemaker/ProcessingJobs", account)
    statements: list[Document] = [
        {
            "Sid": "ListBuckets",
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": [f"{s3}{bucket}" for bucket in buckets],
        },
        {
            "Sid": "ReadInputs",
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": [f"{s3}{place}*" for place in places] + [f"{s3}{work}"],
        },
        {
            "Sid": "WriteResults",
            "Effect": "Allow",
            "Action": ["s3:AbortMultipartUpload", "s3:PutObject"],
            "Resource": [f"{s3}{results}", f"{s3}{work}"],
        },
        {
            "Sid": "Log",
            "Effect": "Allow",
            "Action": [
                "logs:CreateLogGroup",
                "logs:CreateLogStream",
                "logs:DescribeLogStreams",
                "logs:PutLogEvents",
            ],
            "Resource": [log_group, f"{log_group}:log-stream:*"],
        },
        {
            "Sid": "PullImage",
            "Effect": "Allow",
            "Action": [
                "ecr:BatchCheckLayerAvailability",
                "ecr:BatchGetImage",
                "ecr:GetDownloadUrlForLayer",
            ],
            "Resource": repository,
        },
        {
            "Sid": "LoginHasNoResources",
            "Effect": "Allow",
            "Action": "ecr:GetAuthorizationToken",
            "Resource": "*",
        },
        {
            "Sid": "MetricsHaveNoResources",
            "Effect": "Allow",
            "Action": "cloudwatch:PutMetricData",
            "Resource": "*",
            "Condition": {"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}},
        },
    ]
    if config.network is not None:
        statements.append(_vpc_statement())
    return statements


def _vpc_statement() -> Document:
    """Return what SageMaker needs to put a job into a VPC (developer guide, "SageMaker roles")."""
    return {
        "Sid": "NetworkInterfacesHaveNoNamesYet",
        "Effect": "Allow",
        "Action": [
            "ec2:CreateNetworkInterface",
            "ec2:CreateNetworkInterfacePermission",
            "ec2:DeleteNetworkInterface",
            "ec2:DeleteNetworkInterfacePermission",
            "ec2:DescribeDhcpOptions",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcs",
        ],
        "Resource": "*",
    }


def _trigger(config: Config, names: Names, account: str) -> list[Document]:
    log_group = names.arn("logs", f"log-group:{names.function_log_group}", account)
    return [
        {
            "Sid": "StartTheWorkflow",
            "Effect": "Allow",
            "Action": "states:StartExecution",
            "Resource": names.arn("states", f"stateMachine:{names.state_machine}", account),
        },
        {
            "Sid": "Log",
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": [log_group, f"{log_group}:*"],
        },
    ]


def _schedule(config: Config, names: Names, account: str) -> list[Document]:
    return [
        {
            "Sid": "InvokeTheTrigger",
            "Effect": "Allow",
            "Action": "lambda:InvokeFunction",
            "Resource": names.arn("lambda", f"function:{names.function}", account),
        }
    ]
