"""Everything in an account that a deployment or a plan could change, and a deployer's rights."""

from __future__ import annotations

import json
from typing import Any

from batcat_runtime.rehearsal.aws.iam import principals
from tests.operate.world import PURPOSE, DeployedProject

# What a plan could leave behind, and how to list it.
LISTED = {
    "cloudformation": ("describe_stacks", "Stacks"),
    "ecr": ("describe_repositories", "repositories"),
    "events": ("list_rules", "Rules"),
    "iam": ("list_roles", "Roles"),
    "lambda": ("list_functions", "Functions"),
    "logs": ("describe_log_groups", "logGroups"),
    "scheduler": ("list_schedules", "Schedules"),
    "stepfunctions": ("list_state_machines", "stateMachines"),
}


def account(project: DeployedProject) -> dict[str, Any]:
    """Return everything in the account that a plan could change."""
    found: dict[str, Any] = {}
    for service, (operation, member) in LISTED.items():
        found[service] = getattr(project.client(service), operation)()[member]
    formation = project.client("cloudformation")
    for stack in found["cloudformation"]:
        name = stack["StackName"]
        found[name] = [
            formation.list_change_sets(StackName=name)["Summaries"],
            formation.describe_stack_events(StackName=name)["StackEvents"],
            formation.get_template(StackName=name)["TemplateBody"],
        ]
    ecr, s3 = project.client("ecr"), project.client("s3")
    found["images"] = [
        ecr.describe_images(repositoryName=one["repositoryName"])["imageDetails"]
        for one in found["ecr"]
    ]
    bucket = project.config.result_s3_bucket
    found["objects"] = s3.list_objects_v2(Bucket=bucket).get("Contents")
    reports = s3.get_bucket_notification_configuration(Bucket=bucket)
    found["reports"] = {key: reports[key] for key in reports if key != "ResponseMetadata"}
    return found


def configure(project: DeployedProject, **purpose: Any) -> None:
    path = project.folder / "script" / "config.json"
    content = json.loads(path.read_text("utf-8"))
    content["purposes"][PURPOSE] |= purpose
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def as_deployer(project: DeployedProject) -> None:
    """Let commands run with the deployer's policies, and nothing else."""
    iam, sts = project.client("iam"), project.client("sts")
    for policy in iam.list_policies(Scope="Local")["Policies"]:
        if policy["PolicyName"] == principals.DEPLOYER:
            iam.detach_role_policy(RoleName=principals.DEPLOYER, PolicyArn=policy["Arn"])
            iam.delete_policy(PolicyArn=policy["Arn"])
    for role in iam.list_roles()["Roles"]:
        if role["RoleName"] == principals.DEPLOYER:
            for name in iam.list_role_policies(RoleName=principals.DEPLOYER)["PolicyNames"]:
                iam.delete_role_policy(RoleName=principals.DEPLOYER, PolicyName=name)
            iam.delete_role(RoleName=principals.DEPLOYER)
    role = principals.create_deployer(iam, project.opened.config, project.world.aws.account_id)
    project.environment |= principals.credentials_of(sts, role, "ada")
