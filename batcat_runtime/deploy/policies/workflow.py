"""The state machine's role: it starts processing jobs, waits for them and writes its log."""

from __future__ import annotations

from batcat_runtime.config import Config
from batcat_runtime.deploy.naming import Names
from batcat_runtime.deploy.policies.document import (
    NO_RESOURCES,
    Document,
    allow,
    pass_role,
    steps_of,
)

_RULE = "rule/StepFunctionsGetEventsForSageMakerProcessingJobsRule"


def workflow_statements(
    config: Config, names: Names, account: str, job_role: str
) -> list[Document]:
    """Return what the state machine of a purpose may do; `job_role` is the jobs' role's ARN."""
    jobs = [
        names.arn("sagemaker", f"processing-job/{names.job_prefix(step.name)}-*", account)
        for step in steps_of(config, names)
    ]
    return [
        allow(
            "RunProcessingJobs",
            [
                "sagemaker:AddTags",
                "sagemaker:CreateProcessingJob",
                "sagemaker:DescribeProcessingJob",
                "sagemaker:StopProcessingJob",
            ],
            jobs,
        ),
        pass_role("GiveJobsTheirRole", job_role, "sagemaker"),
        allow(
            "HearWhenJobsEnd",
            ["events:DescribeRule", "events:PutRule", "events:PutTargets"],
            names.arn("events", _RULE, account),
        ),
        allow(
            f"LogDeliveries{NO_RESOURCES}",
            [
                "logs:CreateLogDelivery",
                "logs:DeleteLogDelivery",
                "logs:DescribeLogGroups",
                "logs:DescribeResourcePolicies",
                "logs:GetLogDelivery",
                "logs:ListLogDeliveries",
                "logs:PutResourcePolicy",
                "logs:UpdateLogDelivery",
            ],
            "*",
        ),
    ]
