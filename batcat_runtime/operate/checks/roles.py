"""The roles: those that the configuration names, and those that the deployment has made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from batcat_runtime.deploy.parameters import given_roles
from batcat_runtime.deploy.workflow import roles_of
from batcat_runtime.errors import StackError
from batcat_runtime.operate.checks.finding import Finding, failed, ok, skipped, warning
from batcat_runtime.operate.checks.patient import Patient

_SERVICES = {
    "WorkflowRoleArn": "states.amazonaws.com",
    "JobRoleArn": "sagemaker.amazonaws.com",
    "TriggerRoleArn": "lambda.amazonaws.com",
    "ScheduleRoleArn": "scheduler.amazonaws.com",
}


def roles_trust_their_services(patient: Patient) -> list[Finding]:
    """Every role exists and trusts its service."""
    findings, sound = [], 0
    for purpose in patient.purposes:
        for key, arn in _roles(patient, purpose).items():
            found = _role(patient, purpose, key, arn)
            findings += [found] if found else []
            sound += not found
    if findings:
        return list(dict.fromkeys(findings))
    if not sound:
        return [skipped(f"the deployment makes the roles of {', '.join(patient.purposes)}")]
    return [ok(f"the roles of {', '.join(patient.purposes)}")]


def roles_may_be_handed_on(patient: Patient) -> Finding:
    """You may hand the roles on to AWS's services (iam:PassRole), as a deployment does."""
    me = _entity(patient)
    if not me:
        return skipped(f"{patient.identity['Arn']} is neither a user nor a role")
    refused = []
    for purpose in patient.purposes:
        for key, arn in _roles(patient, purpose).items():
            # A job's role is handed on by the workflow's, not by who deploys.
            may = key == "JobRoleArn" or _may_pass(patient, me, arn, _SERVICES[key])
            if may is None:
                return skipped(f"IAM does not find {me}")
            if not may:
                refused.append(f"{arn.rpartition('/')[2]} to {_SERVICES[key]}")
    if refused:
        return warning(
            f"you may not hand {refused[0]}{_and_more(refused)}: so you cannot deploy",
            "ask your administrator for deploy/iam/deployer.json",
        )
    return ok(f"as {me.rpartition('/')[2]}")


def _roles(patient: Patient, purpose: str) -> dict[str, str]:
    """Return the ARNs of a purpose's roles; empty before the first deployment."""
    try:
        found = roles_of(patient.settings, purpose)
    except StackError:
        return {}
    return {key: found[key] for key in _SERVICES if key in found}


def _role(patient: Patient, purpose: str, key: str, arn: str) -> Finding | None:
    """Return what is wrong with a role; None when nothing is."""
    name, which = arn.rpartition("/")[2], key.removesuffix("RoleArn").lower()
    stack = patient.names(purpose).stack("roles")
    again = f"aws cloudformation delete-stack --stack-name {stack} && batcat deploy"
    present = _described(patient, name)
    if present is None or present["Arn"] != arn:
        if given_roles(patient.settings):
            return failed(
                f"{which} of {purpose}: script/config.json names {arn}, which does not exist",
                "batcat roles   (it prints how an administrator makes them)",
            )
        return failed(
            f"{which} of {purpose}: the role {name} has been deleted since the deployment", again
        )
    if _trusts(present["AssumeRolePolicyDocument"], _SERVICES[key]):
        return None
    return failed(
        f"{which} of {purpose}: the role {name} does not trust {_SERVICES[key]}, which has to "
        "take it on",
        "have its trust policy changed to that in deploy/roles.yaml",
    )


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


def _listed(value: Any) -> Iterator[Any]:
    if value is not None:
        yield from value if isinstance(value, list) else [value]
