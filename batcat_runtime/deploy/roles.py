"""The roles of a purpose: whom they trust, what they may do, and how a stack creates them.

Four roles carry a purpose. `workflow` is the state machine's: it starts processing jobs. `job` is
the jobs': it reads the inputs, writes the results and logs. `trigger` is the Lambda function's: it
starts the state machine. `schedule` is EventBridge Scheduler's: it invokes the function. A fifth,
`backfill`, comes into being with the first backfill: it runs the state machine for many windows.
What each may do is in `policies`, as data; the stacks embed it with ``${AWS::AccountId}`` for the
account, and `policy_files` puts it where an administrator can read it. Where the configuration
names a role that exists, nothing creates one.
"""

from __future__ import annotations

import re
from typing import Any

from batcat_runtime.config import Config
from batcat_runtime.deploy.naming import Names, slug
from batcat_runtime.deploy.policies.analyst import analyst_statements
from batcat_runtime.deploy.policies.backfill import backfill_statements, backfiller_statements
from batcat_runtime.deploy.policies.deployer import (
    builder_statements,
    project_statements,
    purpose_statements,
)
from batcat_runtime.deploy.policies.document import Document, document
from batcat_runtime.deploy.policies.job import job_statements
from batcat_runtime.deploy.policies.operator import operator_statements
from batcat_runtime.deploy.policies.trigger import schedule_statements, trigger_statements
from batcat_runtime.deploy.policies.workflow import workflow_statements

ACCOUNT = "${AWS::AccountId}"
ROLES = ("workflow", "job", "trigger", "schedule")
BACKFILL = "backfill"
_SERVICE = {
    "backfill": "states",
    "workflow": "states",
    "job": "sagemaker",
    "trigger": "lambda",
    "schedule": "scheduler",
}


def existing_role(config: Config, role: str) -> str | None:
    """Return the ARN of the role that the configuration names for `role`, or None to create one."""
    given = {
        "workflow": config.workflow_execution_role,
        "job": config.job_role,
        "trigger": config.trigger_role,
        "schedule": config.schedule_role,
        "backfill": None,
    }[role]
    return given or config.workflow_execution_role


def roles_of(config: Config, purpose: str) -> tuple[str, ...]:
    """Return the roles that a purpose needs: without a schedule, none for the schedule."""
    scheduled = config.purposes[purpose].schedule is not None
    return tuple(role for role in ROLES if scheduled or role != "schedule")


def trust(role: str, names: Names, account: str = ACCOUNT) -> Document:
    """Return who may assume a role: its AWS service, on behalf of this account's own resources.

    The conditions guard against the confused deputy, a service that another account makes use our
    role. Step Functions and SageMaker name what they act for, Scheduler names the schedule's group;
    Lambda sends neither key. A service principal reads ``<service>.amazonaws.com`` in every
    partition.
    """
    statement: Document = {
        "Effect": "Allow",
        "Principal": {"Service": f"{_SERVICE[role]}.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    source = {
        "workflow": names.arn("states", f"stateMachine:{names.state_machine}", account),
        "backfill": names.arn("states", f"stateMachine:{names.backfill_machine}", account),
        "job": names.arn("sagemaker", "*", account),
        "schedule": names.arn("scheduler", "schedule-group/default", account),
    }.get(role)
    if source is not None:
        statement["Condition"] = {
            "StringEquals": {"aws:SourceAccount": account},
            "ArnLike": {"aws:SourceArn": source},
        }
    return document([statement])


def policy(role: str, config: Config, names: Names, account: str = ACCOUNT) -> Document:
    """Return the permissions of a role of a purpose."""
    if role == "workflow":
        own = workflow_statements(config, names, account, role_arn("job", config, names, account))
        added = config.purposes[names.purpose].permissions.workflow_statements
        return document([*own, *(dict(one) for one in added)])
    if role == "job":
        return document(job_statements(config, names, account))
    if role == BACKFILL:
        return document(backfill_statements(config, names, account))
    return document(
        {"trigger": trigger_statements, "schedule": schedule_statements}[role](names, account)
    )


def deployer_policies(config: Config, account: str = ACCOUNT) -> dict[str, Document]:
    """Return what whoever deploys may do: a document for the project, and one for each purpose.

    Returns
    -------
    dict of str to dict
        By the purpose's name; ``""`` is the project's own, ``"build"`` is for who has no
        container tool and lets AWS CodeBuild make the image.
    """
    first = Names.of(config, next(iter(config.purposes)))
    found = {"": document(project_statements(first, account, config.result_s3_bucket))}
    for purpose in config.purposes:
        names = Names.of(config, purpose)
        needed = roles_of(config, purpose)
        arns = {role: role_arn(role, config, names, account) for role in needed}
        created = [arns[role] for role in needed if existing_role(config, role) is None]
        found[purpose] = document(purpose_statements(config, names, account, arns, created))
    found["build"] = document(builder_statements(config, first, account))
    return found


def operator_policy(config: Config, purpose: str, account: str = ACCOUNT) -> Document:
    """Return what whoever operates a purpose may do: look, run, read; nothing of a deployer's."""
    names = Names.of(config, purpose)
    needed = roles_of(config, purpose)
    arns = {role: role_arn(role, config, names, account) for role in needed}
    return document(operator_statements(config, names, account, arns))


def analyst_policy(config: Config, purpose: str, account: str = ACCOUNT) -> Document:
    """Return what whoever asks a purpose's results in Athena may do."""
    return document(analyst_statements(config, Names.of(config, purpose), account))


def backfill_policies(config: Config, account: str = ACCOUNT) -> dict[str, Document]:
    """Return what whoever runs `batcat backfill` may do, by purpose."""
    found = {}
    for purpose in config.purposes:
        names = Names.of(config, purpose)
        role = role_arn(BACKFILL, config, names, account)
        created = existing_role(config, BACKFILL) is None
        found[purpose] = document(
            backfiller_statements(config, names, account, role, created=created)
        )
    return found


def role_resource(role: str, config: Config, names: Names) -> Document:
    """Return a role as a CloudFormation resource."""
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            **boundary(config),
            "RoleName": names.role(role),
            "Description": f"BatCat: {role} of {names.state_machine}",
            "AssumeRolePolicyDocument": with_substitutions(trust(role, names)),
            "Policies": [
                {
                    "PolicyName": role,
                    "PolicyDocument": with_substitutions(policy(role, config, names)),
                }
            ],
            "Tags": tag_list(config),
        },
    }


def boundary(config: Config) -> dict[str, str]:
    """Return the property that limits a role, where the configuration names a boundary."""
    arn = config.permissions_boundary
    return {"PermissionsBoundary": arn} if arn else {}


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
