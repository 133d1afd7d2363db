"""Who acts in a rehearsal: the deployer without admin rights, and roles that exist already.

The project is deployed with a role that has the policy in deploy/iam/deployer.json, and nothing
else; what it may not do, the embedded AWS refuses as AWS would. A role that script/config.json
names by its ARN is made beforehand with what deploy/roles.yaml says. What the real role may do, no
rehearsal can know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from batcat_runtime.config import Config
from batcat_runtime.deploy.cloudformation import template_file
from batcat_runtime.deploy.parameters import given_roles, parameters_of
from batcat_runtime.errors import UserError
from batcat_runtime.rehearsal.aws.cloudformation.scope import Scope
from batcat_runtime.rehearsal.aws.cloudformation.template import read_template

DEPLOYER = "deployer"
_SERVICES = ("states", "sagemaker", "lambda", "scheduler", "codebuild")


def create_deployer(iam: Any, config: Config, account: str) -> str:
    """Make the role that deploys, with the deployer's policies; return its ARN.

    Parameters
    ----------
    iam : botocore client
        The administrator's.
    config : Config
        The project.
    account : str
        The account's id.
    """
    owner = f"arn:{config.partition}:iam::{account}:root"
    role = iam.create_role(
        RoleName=DEPLOYER,
        AssumeRolePolicyDocument=_trust({"AWS": owner}),
        Description="Deploys the project, and may do nothing else",
    )["Role"]
    document = person_policy(config, DEPLOYER, account)
    made = iam.create_policy(PolicyName=DEPLOYER, PolicyDocument=document)["Policy"]
    iam.attach_role_policy(RoleName=DEPLOYER, PolicyArn=made["Arn"])
    roles = sorted(set(given_roles(config).values()) | {config.build_role or ""} - {""})
    if roles:  # which the policy cannot know
        passing = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": roles}
        iam.put_role_policy(
            RoleName=DEPLOYER, PolicyName="given-roles", PolicyDocument=_document([passing])
        )
    return str(role["Arn"])


def person_policy(config: Config, who: str, account: str) -> str:
    """Return the policy of ``deployer`` or ``operator`` as the project's deploy/iam has it."""
    path = config.folder / "deploy" / "iam" / f"{who}.json"
    if not path.is_file():
        raise UserError(f"There is no {path}.", fix="Restore it from git or from the template.")
    return path.read_text(encoding="utf-8").replace("${AccountId}", account)


def create_boundary(iam: Any, config: Config) -> None:
    """Make the permissions boundary that the configuration names; here it limits nothing.

    A boundary of AWS's own is there already.
    """
    arn = config.permissions_boundary
    if arn is None or ":iam::aws:" in arn:
        return
    path, _, name = arn.partition(":policy/")[2].rpartition("/")
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    iam.create_policy(
        PolicyName=name,
        Path=f"/{path}/" if path else "/",
        PolicyDocument=_document([everything]),
        Description="Stands in for the boundary that script/config.json names",
    )


def create_given_roles(iam: Any, config: Config, account: str) -> None:
    """Make the roles that the configuration says exist, with what they are asked to allow."""
    documents: dict[str, dict[str, Any]] = {}
    given = given_roles(config)
    for purpose in config.purposes if given else ():
        made = _policies_in(config, "roles", purpose, account, given["JobRoleArn"])
        for key, arn in given.items():
            role = "TriggerRole" if key == "ScheduleRoleArn" else key.removesuffix("Arn")
            documents.setdefault(arn, {})[f"{purpose}-{role}"] = made[role]
    if config.build_role:
        made = _policies_in(config, "builder", next(iter(config.purposes)), account, "")
        documents.setdefault(config.build_role, {})["build"] = made["BuildRole"]
    for arn, wanted in sorted(documents.items()):
        path, _, name = arn.partition(":role/")[2].rpartition("/")
        iam.create_role(
            RoleName=name,
            Path=f"/{path}/" if path else "/",
            AssumeRolePolicyDocument=_trust({"Service": [f"{s}.amazonaws.com" for s in _SERVICES]}),
            Description="Stands in for the role that script/config.json names",
        )
        for title, document in wanted.items():
            iam.put_role_policy(
                RoleName=name, PolicyName=title, PolicyDocument=json.dumps(document)
            )


def _policies_in(
    config: Config, part: str, purpose: str, account: str, job_role: str
) -> dict[str, Any]:
    """Return what the roles of a template may do, by their names in it."""
    template = read_template(template_file(config, part, purpose).read_text(encoding="utf-8"))
    declared = template.section("Parameters")
    defaults = {key: str(one.get("Default", "")) for key, one in declared.items()}
    scope = Scope(
        template,
        {
            "AWS::AccountId": account,
            "AWS::Region": config.region,
            "AWS::Partition": config.partition,
        },
        {**defaults, **parameters_of(config, purpose)},
        ids={"JobRole": job_role},
        attributes={"JobRole": {"Arn": job_role}},
    )
    return {
        name: scope.value(resource["Properties"]["Policies"])[0]["PolicyDocument"]
        for name, resource in template.resources.items()
        if resource["Type"] == "AWS::IAM::Role"
    }


def credentials_of(sts: Any, role_arn: str, session: str) -> dict[str, str]:
    """Return the variables with which a process acts as a role.

    Parameters
    ----------
    sts : botocore client
        The administrator's.
    role_arn : str
        The role.
    session : str
        The session's name, which refusals show.
    """
    given: Mapping[str, Any] = sts.assume_role(RoleArn=role_arn, RoleSessionName=session)
    keys = given["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": str(keys["AccessKeyId"]),
        "AWS_SECRET_ACCESS_KEY": str(keys["SecretAccessKey"]),
        "AWS_SESSION_TOKEN": str(keys["SessionToken"]),
    }


def _trust(principal: dict[str, Any]) -> str:
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    return _document([statement])


def _document(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})
