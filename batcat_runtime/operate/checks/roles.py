"""The roles: those that the configuration names, and those that the deployment has made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from batcat_runtime.deploy.naming import Names
from batcat_runtime.deploy.roles import existing_role, policy, role_arn, roles_of, trust
from batcat_runtime.deploy.stack import stack_status
from batcat_runtime.operate.checks.finding import Finding, failed, ok, skipped, warning
from batcat_runtime.operate.checks.patient import Patient


def roles_trust_their_services(patient: Patient) -> list[Finding]:
    """Every role exists, trusts its service, and may do what it needs."""
    findings, sound = [], 0
    for purpose in patient.purposes:
        names = patient.names(purpose)
        stacks = {
            one: _is_deployed(patient, one) for one in (names.workflow_stack, names.trigger_stack)
        }
        for role in roles_of(patient.settings, purpose):
            stack = names.workflow_stack if role in ("workflow", "job") else names.trigger_stack
            found = _role(patient, purpose, role, stacks[stack])
            findings += [found] if found else []
            sound += not found
    if not findings:
        return [ok(f"{sound} roles of {', '.join(patient.purposes)}")]
    return list(dict.fromkeys(findings))


def roles_may_be_handed_on(patient: Patient) -> Finding:
    """You may hand the roles on to AWS's services (iam:PassRole), as a deployment does."""
    me = _entity(patient)
    if not me:
        return skipped(f"{patient.identity['Arn']} is neither a user nor a role")
    refused = []
    for purpose in patient.purposes:
        names = patient.names(purpose)
        for role in roles_of(patient.settings, purpose):
            arn = role_arn(role, patient.settings, names, patient.account)
            service = str(trust(role, names)["Statement"][0]["Principal"]["Service"])
            # A job's role is handed on by the workflow's, not by who deploys.
            may = role == "job" or _may_pass(patient, me, arn, service)
            if may is None:
                return skipped(f"IAM does not find {me}")
            if not may:
                refused.append(f"{arn.rpartition('/')[2]} to {service}")
    if refused:
        return warning(
            f"you may not hand {refused[0]}{_and_more(refused)}: so you cannot deploy",
            "ask your administrator for deploy/iam/deployer.policy.json and "
            f"deploy/iam/{patient.purposes[0]}/deployer.policy.json",
        )
    return ok(f"as {me.rpartition('/')[2]}")


def _role(patient: Patient, purpose: str, role: str, deployed: bool) -> Finding | None:
    """Return what is wrong with a role; None when nothing is."""
    config, names = patient.settings, patient.names(purpose)
    given = existing_role(config, role)
    arn = role_arn(role, config, names, patient.account)
    name = arn.rpartition("/")[2]
    present = _described(patient, name)
    if present is None or present["Arn"] != arn:
        if given:
            return failed(
                f"{role} of {purpose}: script/config.json names {arn}, which does not exist",
                _create(patient, names, role, name),
            )
        if not deployed:
            return skipped(f"the deployment makes the roles of {purpose}")
        return failed(
            f"{role} of {purpose}: the role {name} has been deleted since the deployment",
            _create(patient, names, role, name),
        )
    wanted = trust(role, names, patient.account)
    service = str(wanted["Statement"][0]["Principal"]["Service"])
    if not _trusts(present["AssumeRolePolicyDocument"], service):
        return failed(
            f"{role} of {purpose}: the role {name} does not trust {service}, which has to take it "
            "on",
            f"batcat roles --account {patient.account} && aws iam update-assume-role-policy "
            f"--role-name {name} --policy-document file://deploy/iam/{purpose}/{role}.trust.json",
        )
    if given:
        return None
    inline = _inline_policy(patient, name, role)
    if inline != policy(role, config, names, patient.account):
        return warning(
            f"{role} of {purpose}: the permissions of {name} are not those of script/config.json",
            "batcat plan && batcat deploy",
        )
    return None


def _is_deployed(patient: Patient, stack: str) -> bool:
    with patient.asked(f"the stack {stack}", "cloudformation:DescribeStacks"):
        return stack_status(patient.client("cloudformation"), stack) is not None


def _described(patient: Patient, name: str) -> dict[str, Any] | None:
    from botocore.exceptions import ClientError

    with patient.asked(f"the role {name}", "iam:GetRole"):
        try:
            return dict(patient.client("iam").get_role(RoleName=name)["Role"])
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchEntity":
                return None
            raise


def _entity(patient: Patient) -> str:
    """Return the ARN of the user or role that the credentials are of; "" for none of both."""
    arn = str(patient.identity["Arn"])
    if ":assumed-role/" not in arn:
        return arn if ":iam::" in arn and ":user/" in arn else ""
    # A session does not tell the path of its role; most have none.
    return patient.names().arn("iam", f"role/{arn.split('/')[1]}", patient.account, region="")


def _may_pass(patient: Patient, source: str, role: str, service: str) -> bool | None:
    """Tell whether a user or role may hand a role on; None when IAM does not find who it is."""
    from botocore.exceptions import ClientError

    passed = {
        "ContextKeyName": "iam:PassedToService",
        "ContextKeyValues": [service],
        "ContextKeyType": "string",
    }
    with patient.asked(source, "iam:SimulatePrincipalPolicy"):
        try:
            answer = patient.client("iam").simulate_principal_policy(
                PolicySourceArn=source,
                ActionNames=["iam:PassRole"],
                ResourceArns=[role],
                ContextEntries=[passed],
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchEntity":
                return None
            raise
    return all(one["EvalDecision"] == "allowed" for one in answer["EvaluationResults"])


def _and_more(found: list[str]) -> str:
    return f", and {len(found) - 1} more" if found[1:] else ""


def _inline_policy(patient: Patient, name: str, role: str) -> Any:
    from botocore.exceptions import ClientError

    with patient.asked(f"the role {name}", "iam:GetRolePolicy"):
        try:
            answer = patient.client("iam").get_role_policy(RoleName=name, PolicyName=role)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchEntity":
                return None
            raise
    return answer["PolicyDocument"]


def _trusts(document: dict[str, Any], service: str) -> bool:
    """Tell whether a trust policy lets a service take the role on; conditions are not weighed."""
    for statement in _listed(document.get("Statement")):
        principal = statement.get("Principal")
        named = principal.get("Service") if isinstance(principal, dict) else principal
        actions = {str(one).lower() for one in _listed(statement.get("Action"))}
        if (
            statement.get("Effect") == "Allow"
            and {service, "*"} & set(_listed(named))
            and actions & {"sts:assumerole", "sts:*", "*"}
        ):
            return True
    return False


def _create(patient: Patient, names: Names, role: str, name: str) -> str:
    files = f"file://deploy/iam/{names.purpose}/{role}"
    return (
        f"batcat roles --account {patient.account} && aws iam create-role --role-name {name} "
        f"--assume-role-policy-document {files}.trust.json && aws iam put-role-policy "
        f"--role-name {name} --policy-name {role} --policy-document {files}.policy.json"
    )


def _listed(value: Any) -> Iterator[Any]:
    if value is not None:
        yield from value if isinstance(value, list) else [value]
