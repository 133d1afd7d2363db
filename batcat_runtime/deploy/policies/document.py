"""Statements and documents of IAM, and the names of resources that several roles share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from batcat_runtime.config import Config
from batcat_runtime.deploy.naming import Names

Document = dict[str, Any]
# A Sid that ends like this stands over a `*`: the actions have no resource to name.
NO_RESOURCES = "HaveNoResources"


def allow(
    sid: str,
    actions: Iterable[str] | str,
    resources: Iterable[str] | str,
    condition: Document | None = None,
) -> Document:
    """Return a statement that allows; a list of one is written as itself.

    Actions are sorted. Resources keep their order, so that it does not depend on their names.

    Examples
    --------
    >>> allow("Start", "states:StartExecution", ["arn:aws:states:eu-west-1:1:stateMachine:a"])
    {'Sid': 'Start', 'Effect': 'Allow', 'Action': 'states:StartExecution', \
'Resource': 'arn:aws:states:eu-west-1:1:stateMachine:a'}
    """
    statement: Document = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": _short(actions if isinstance(actions, str) else sorted(actions)),
        "Resource": _short(resources),
    }
    return statement | ({"Condition": condition} if condition else {})


def document(statements: Iterable[Document]) -> Document:
    """Return a policy document."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def pass_role(sid: str, roles: Iterable[str] | str, service: str) -> Document:
    """Return the statement that lets a role be handed on, to one service only."""
    passed = {"StringEquals": {"iam:PassedToService": f"{service}.amazonaws.com"}}
    return allow(sid, "iam:PassRole", roles, passed)


def s3_places(names: Names, uris: Iterable[str]) -> list[str]:
    """Return the ARNs of all objects under ``s3://`` prefixes.

    The slash after the bucket always stands: ``bucket*`` would open other buckets too.
    """
    s3 = names.arn("s3", "", "", region="")
    places = ("/".join(uri.removeprefix("s3://").partition("/")[::2]) for uri in uris)
    return list(dict.fromkeys(f"{s3}{place}*" for place in places))


def s3_buckets(names: Names, uris: Iterable[str]) -> list[str]:
    """Return the ARNs of the buckets of ``s3://`` prefixes."""
    s3 = names.arn("s3", "", "", region="")
    buckets = (uri.removeprefix("s3://").partition("/")[0] for uri in uris)
    return list(dict.fromkeys(f"{s3}{bucket}" for bucket in buckets))


def kms_key(sid: str, actions: Iterable[str], key: str, names: Names, account: str) -> Document:
    """Return the statement for a KMS key, given by ARN, id or alias.

    An alias is no resource of a policy: then any key of the account may be used that has it.
    """
    alias = key.partition(":alias/")[2] if ":alias/" in key else key.removeprefix("alias/")
    if "alias/" in key:
        has_alias = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": f"alias/{alias}"}}
        owner = key.split(":")[4] if key.startswith("arn:") else account
        return allow(sid, actions, names.arn("kms", "key/*", owner), has_alias)
    arn = key if key.startswith("arn:") else names.arn("kms", f"key/{key}", account)
    return allow(sid, actions, arn)


def result_tables(names: Names, account: str) -> list[str]:
    """Return the ARNs of the Glue database of results: catalogue, database and tables, as asked."""
    return [
        names.arn("glue", "catalog", account),
        names.arn("glue", f"database/{names.database}", account),
        names.arn("glue", f"table/{names.database}/*", account),
    ]


def steps_of(config: Config, names: Names) -> list[Any]:
    """Return the steps of the purpose that the names are for."""
    return list(config.purposes[names.purpose].steps)


def _short(values: Iterable[str] | str) -> list[str] | str:
    if isinstance(values, str):
        return values
    listed = list(dict.fromkeys(values))
    return listed[0] if len(listed) == 1 else listed
