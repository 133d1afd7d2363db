"""From an API call to the permissions that it needs: action, resource and condition keys.

Most operations need the action of their own name, on the one resource that their parameters name.
The tables below say where that resource stands, and what is different or needed besides: passing a
role on, tagging while creating. They follow the service authorization reference. A service that is
not in them still needs the action; its resource is unknown (``""``) unless a parameter is an ARN.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from moto.utilities.utils import get_partition

from ...wire import ACCOUNT_ID, Call
from .conditions import listed
from .evaluation import Need
from .needs_s3 import s3_needs

# From a kind of resource and its name to its ARN, where the name alone does not tell.
Locate = Callable[[str, str, str], str | None]

_FIELD = re.compile(r"\{([\w.]+)\}")


@dataclass(frozen=True)
class _Service:
    """How a service names its actions and resources.

    `resources` are tried in order; the first whose parameters are all there counts. A template
    without ``arn:`` gets the service's prefix in front; a parameter that is an ARN stands as it is.
    """

    prefix: str
    resources: tuple[str, ...] = ()
    operations: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    actions: Mapping[str, str] = field(default_factory=dict)
    regional: bool = True


_ANY = ("*",)
_OF_CATALOG = ("GetDatabase", "GetTableMetadata", "ListDatabases", "ListTableMetadata")
_SERVICES: dict[str, _Service] = {
    "athena": _Service(
        "athena",
        ("{ResourceARN}", "workgroup/{WorkGroup}", "workgroup/{WorkGroupName}"),
        {
            "StartQueryExecution": ("workgroup/{WorkGroup}", "workgroup/primary"),
            "CreateWorkGroup": ("workgroup/{Name}",),
            "ListWorkGroups": _ANY,
            "GetDataCatalog": ("datacatalog/{Name}",),
            **dict.fromkeys(_OF_CATALOG, ("datacatalog/{CatalogName}",)),
        },
    ),
    "cloudformation": _Service(
        "cloudformation",
        ("{StackName}", "stack/{StackName}/*"),
        {
            "ListStacks": _ANY,
            "ValidateTemplate": _ANY,
            "DescribeStacks": ("{StackName}", "stack/{StackName}/*", "*"),
        },
    ),
    "cloudwatch": _Service(
        "cloudwatch",
        ("{ResourceARN}", "alarm:{AlarmName}", "alarm:{AlarmNames}"),
        {"PutMetricData": _ANY, "DescribeAlarms": ("alarm:{AlarmNames}", "alarm:*")},
    ),
    "codebuild": _Service(
        "codebuild",
        ("project/{projectName}", "project/{name}", "project/{names}", "{arn}"),
        {"BatchGetBuilds": ("project/{ids}",), "ListProjects": _ANY},
    ),
    "ec2": _Service("ec2", _ANY),
    "ecr": _Service(
        "ecr",
        ("{resourceArn}", "repository/{repositoryName}", "repository/{repositoryNames}"),
        {
            "GetAuthorizationToken": _ANY,
            "DescribeRepositories": ("repository/{repositoryNames}", "repository/*"),
        },
    ),
    "events": _Service(
        "events",
        (
            "{ResourceARN}",
            "rule/{EventBusName}/{Rule}",
            "rule/{EventBusName}/{Name}",
            "rule/{Rule}",
            "rule/{Name}",
        ),
        {"PutEvents": ("event-bus/default",)},
    ),
    "glue": _Service("glue", ("{ResourceArn}",)),
    "iam": _Service(
        "iam",
        ("{PolicyArn}", "role/{RoleName}", "user/{UserName}", "group/{GroupName}"),
        {
            "CreatePolicy": ("policy/{PolicyName}",),
            "AttachRolePolicy": ("role/{RoleName}",),
            "DetachRolePolicy": ("role/{RoleName}",),
            "ListRoles": ("role/",),
            "SimulatePrincipalPolicy": ("{PolicySourceArn}",),
            "ListPolicies": ("policy/",),
        },
        regional=False,
    ),
    "kms": _Service("kms", ("{KeyId}", "key/{KeyId}", "key/*")),
    "lambda": _Service(
        "lambda",
        ("{Resource}", "function:{FunctionName}"),
        {"ListFunctions": _ANY},
        {"Invoke": "lambda:InvokeFunction", "InvokeAsync": "lambda:InvokeFunction"},
    ),
    "logs": _Service(
        "logs",
        (
            "{resourceArn}",
            "log-group:{logGroupName}:log-stream:{logStreamName}",
            # A group by itself ends like this in IAM's eyes: so say its refusals.
            "log-group:{logGroupName}:log-stream:",
            "log-group:{logGroupIdentifier}:log-stream:",
        ),
        {
            "DescribeLogGroups": ("log-group::log-stream:",),
            "DescribeLogStreams": ("log-group:{logGroupName}:log-stream:",),
        },
    ),
    "redshift-data": _Service(
        "redshift-data",
        ("arn:{partition}:redshift:{region}:{account}:cluster:{ClusterIdentifier}",),
        {
            **dict.fromkeys(("CancelStatement", "DescribeStatement", "ListStatements"), _ANY),
            **dict.fromkeys(("GetStatementResult", "GetStatementResultV2"), _ANY),
        },
        {"GetStatementResultV2": "redshift-data:GetStatementResult"},
    ),
    "sagemaker": _Service(
        "sagemaker",
        ("{ResourceArn}", "processing-job/{ProcessingJobName}"),
        {"ListProcessingJobs": _ANY},
    ),
    "scheduler": _Service(
        "scheduler",
        ("{ResourceArn}", "schedule/{GroupName}/{Name}", "schedule/default/{Name}"),
        {"ListSchedules": _ANY},
    ),
    "secretsmanager": _Service("secretsmanager", ("secret:{SecretId}", "secret:{Name}")),
    "stepfunctions": _Service(
        "states",
        ("{resourceArn}", "{stateMachineArn}", "{executionArn}", "{mapRunArn}"),
        {
            "CreateStateMachine": ("stateMachine:{name}",),
            "ValidateStateMachineDefinition": _ANY,
            "ListStateMachines": _ANY,
        },
    ),
    "sns": _Service(
        "sns",
        ("{TopicArn}", "{ResourceArn}", "{TargetArn}", "{Name}"),
        # An address that has not answered yet has no ARN of its own to be named by.
        dict.fromkeys(("Unsubscribe", "GetSubscriptionAttributes", "ListTopics"), _ANY),
    ),
    "service-quotas": _Service("servicequotas", _ANY),
    "sts": _Service("sts", ("{RoleArn}",)),
}
_FREE = {("sts", "GetCallerIdentity"), ("sts", "GetSessionToken")}
# Where a role stands that a call hands on, and to which service.
_ROLES = {
    "cloudformation": ("RoleARN", "cloudformation"),
    "codebuild": ("serviceRole", "codebuild"),
    "events": ("RoleArn", "events"),
    "lambda": ("Role", "lambda"),
    "sagemaker": ("RoleArn", "sagemaker"),
    "scheduler": ("Target.RoleArn", "scheduler"),
    "stepfunctions": ("roleArn", "states"),
}
# Calls on a role that IAM decides with the boundary that the role has.
_BOUNDED = {
    *("AttachRolePolicy", "DeleteRolePermissionsBoundary", "DeleteRolePolicy"),
    *("DetachRolePolicy", "PutRolePolicy"),
}
# Services where a call that brings tags along needs this besides; in IAM it has the thing's name.
_TAGGING = {"iam": "Tag", "sagemaker": "AddTags"} | dict.fromkeys(
    ("cloudwatch", "ecr", "events", "lambda", "logs", "secretsmanager", "sns", "stepfunctions"),
    "TagResource",
)


def needs(call: Call, locate: Locate = lambda kind, name, region: None) -> list[Need]:
    """Return every permission that a call needs; none for one that needs none.

    Parameters
    ----------
    call : Call
        What is asked of the service.
    locate : callable
        From a kind of resource (``role``, ``secret``), its name and a region to its ARN, for names
        that do not tell the whole ARN; from ``boundary`` and a role's name to its boundary's ARN.
    """
    which = (call.service, call.operation)
    if which in _FREE:
        return []
    if call.service == "s3":
        return s3_needs(call)
    if call.service == "glue":
        return list(_glue_needs(call))
    context = _tags_of(call)
    found = [Need(action_of(call), one, context) for one in _resources(call, locate)]
    if context and call.service in _TAGGING and call.operation.startswith(("Create", "Put")):
        action = f"{_SERVICES[call.service].prefix}:{_TAGGING[call.service]}"
        action += call.operation.removeprefix("Create") if call.service == "iam" else ""
        found += [Need(action, _ungrouped(one.resource), context) for one in found]
    role, principal = role_of(call)
    if role:
        passed = {"iam:PassedToService": principal}
        found.append(Need("iam:PassRole", role, passed))
    boundary = call.params.get("PermissionsBoundary")
    if call.service == "iam" and not boundary and call.operation in _BOUNDED:
        boundary = locate("boundary", str(call.params.get("RoleName")), call.region)
    if call.service == "iam" and boundary:
        extra = {"iam:PermissionsBoundary": boundary}
        found = [Need(one.action, one.resource, {**one.context, **extra}) for one in found]
    return found


def role_of(call: Call) -> tuple[str | None, str]:
    """Return the role that a call hands on, or None, and the principal that is to have it."""
    path, service = _ROLES.get(call.service, ("", ""))
    hands_on = call.operation.startswith(("Create", "Update", "Put"))
    role = _at(call.params, path) if path and hands_on else None
    return (str(role) if role else None), f"{service}.amazonaws.com"


def action_of(call: Call) -> str:
    """Return the action that a call is named for, such as ``states:StartExecution``."""
    service = _SERVICES.get(call.service)
    if service is None:
        model = call.model.service_model
        return f"{model.metadata.get('signingName') or call.service}:{call.operation}"
    return service.actions.get(call.operation, f"{service.prefix}:{call.operation}")


def _resources(call: Call, locate: Locate) -> list[str]:
    service = _SERVICES.get(call.service)
    if service is None:
        arns = [value for value in call.params.values() if str(value).startswith("arn:")]
        return [str(arns[0])] if arns else [""]
    for template in service.operations.get(call.operation, service.resources):
        found = _filled(template, call, service, locate)
        if found:
            return found
    return [""]


def _filled(template: str, call: Call, service: _Service, locate: Locate) -> list[str]:
    """Return the ARNs that a template comes to; nothing when a parameter is missing."""
    partition, region = get_partition(call.region), call.region if service.regional else ""
    if template == "*":
        return ["*"]
    fixed = {"partition": partition, "region": region, "account": ACCOUNT_ID}
    names = [name for name in _FIELD.findall(template) if name not in fixed]
    values = {name: listed(_at(call.params, name)) for name in names}
    if not all(values.values()):
        return []
    many = max(values, key=lambda name: len(values[name])) if values else ""
    results = []
    for value in values.get(many, [""]):
        known = {name: str(found[0]) for name, found in values.items()} | fixed
        known |= {many: str(value)} if many else {}
        if template == f"{{{many}}}" and not str(value).startswith("arn:"):
            return []
        text = _FIELD.sub(lambda match, known=known: known[match[1]], template)  # type: ignore[misc]
        results.append(_whole(text, str(value), call, service, locate))
    return results


def _whole(text: str, value: str, call: Call, service: _Service, locate: Locate) -> str:
    if value.startswith("arn:") and call.service not in ("logs",):
        return value.removesuffix(":*") if call.service == "lambda" else value
    if text.startswith("arn:"):
        return text
    kind = re.split("[/:]", text)[0]
    if kind in ("role", "secret") and not call.operation.startswith("Create"):
        found = locate(kind, value, call.region)
        if found:
            return found
    if call.operation == "CreateRole":
        text = f"role{call.params.get('Path') or '/'}{value}"
    if call.operation == "CreatePolicy":
        text = f"policy{call.params.get('Path') or '/'}{value}"
    if call.service == "codebuild" and call.operation == "BatchGetBuilds":
        text = text.split(":")[0]
    if call.service == "secretsmanager" and call.operation == "CreateSecret":
        text += "-??????"
    region = call.region if service.regional else ""
    return f"arn:{get_partition(call.region)}:{service.prefix}:{region}:{ACCOUNT_ID}:{text}"


def _ungrouped(resource: str) -> str:
    # Tags belong to the group itself, whose ARN has no stream at its end.
    return resource.removesuffix(":log-stream:") if ":log-group:" in resource else resource


def _tags_of(call: Call) -> dict[str, Any]:
    """Return the condition keys for tags that a call brings along."""
    given = next((call.params[key] for key in ("Tags", "tags") if call.params.get(key)), None)
    if not given:
        return {}
    pairs = (
        given.items()
        if isinstance(given, Mapping)
        else [(tag.get("Key", tag.get("key")), tag.get("Value", tag.get("value"))) for tag in given]
    )
    tags = {str(key): str(value) for key, value in pairs}
    return {f"aws:RequestTag/{key}": value for key, value in tags.items()} | {
        "aws:TagKeys": sorted(tags)
    }


def _at(params: Mapping[str, Any], path: str) -> Any:
    value: Any = params
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _glue_needs(call: Call) -> Iterator[Need]:
    """Glue wants the action on the catalogue, the database and the table alike."""
    params = call.params
    prefix = f"arn:{get_partition(call.region)}:glue:{call.region}:{ACCOUNT_ID}"
    name = params.get("Name")
    of_database = "Database" in call.operation
    database = params.get("DatabaseName") or (name if of_database else None)
    database = database or _at(params, "DatabaseInput.Name")
    of_table = "Table" in call.operation
    table = params.get("TableName") or (name if of_table else None)
    table = table or _at(params, "TableInput.Name") or ("*" if of_table else None)
    yield Need(action_of(call), f"{prefix}:catalog")
    if database:
        yield Need(action_of(call), f"{prefix}:database/{database}")
    if database and table:
        yield Need(action_of(call), f"{prefix}:table/{database}/{table}")
