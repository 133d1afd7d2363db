"""Who acts in a rehearsal: the deployer without admin rights, and roles that exist already.

The project's own deploy.sh runs with a role that has the deployer's policies and nothing else; what
it may not do, the embedded AWS refuses as AWS would. A role that script/config.json names by its
ARN is made beforehand with the policies that an administrator is asked to give it. What the real
role may do, no rehearsal can know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from batcat_runtime.config import Config
from batcat_runtime.deploy.codebuild import build_policy
from batcat_runtime.deploy.naming import Names
from batcat_runtime.deploy.roles import (
    BACKFILL,
    deployer_policies,
    existing_role,
    policy,
    roles_of,
)

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
        Description="Runs deploy/deploy.sh, and may do nothing else",
    )["Role"]
    for part, document in deployer_policies(config, account).items():
        if part == "build":  # the rehearsal has a container tool
            continue
        name = f"deployer-{part or 'project'}"
        made = iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(document))["Policy"]
        iam.attach_role_policy(RoleName=DEPLOYER, PolicyArn=made["Arn"])
    return str(role["Arn"])


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
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [everything]}),
        Description="Stands in for the boundary that script/config.json names",
    )


def create_given_roles(iam: Any, config: Config, account: str) -> None:
    """Make the roles that the configuration says exist, with what they are asked to allow."""
    documents: dict[str, dict[str, Any]] = {}
    for purpose in config.purposes:
        names = Names.of(config, purpose)
        for role in (*roles_of(config, purpose), BACKFILL):
            given = existing_role(config, role)
            if given:
                wanted = documents.setdefault(given, {})
                wanted[f"{purpose}-{role}"] = policy(role, config, names, account)
    if config.build_role:
        first = Names.of(config, next(iter(config.purposes)))
        wanted = documents.setdefault(config.build_role, {})
        wanted["build"] = build_policy(config, first, account)
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
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
