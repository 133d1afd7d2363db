"""Redshift Serverless: namespaces, workgroups, and their temporary credentials.

moto has none of it. A namespace holds what a cluster would: databases, users, roles. A workgroup is
its door. They are ready as soon as they are made.
"""

from __future__ import annotations

import secrets
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from moto.utilities.utils import get_partition

from ..operations import Operation, without_nones
from ..wire import ACCOUNT_ID, Call, ServiceError
from .redshift_endpoint import HOST

_PAGE = 100


@dataclass
class Namespace:
    """A namespace: who administers it, which roles it has, what its first database is called."""

    id: str
    name: str
    arn: str
    database: str
    admin: str
    password: str = field(repr=False)
    roles: list[str] = field(default_factory=list)
    default_role: str | None = None
    kms_key: str | None = None
    exports: list[str] = field(default_factory=list)
    created: datetime = field(default_factory=lambda: datetime.now(UTC))

    def description(self) -> dict[str, Any]:
        """Return what GetNamespace answers."""
        return without_nones(
            {
                "namespaceId": self.id,
                "namespaceName": self.name,
                "namespaceArn": self.arn,
                "dbName": self.database,
                "adminUsername": self.admin,
                "iamRoles": list(self.roles),
                "defaultIamRoleArn": self.default_role,
                "kmsKeyId": self.kms_key or "AWS_OWNED_KMS_KEY",
                "logExports": list(self.exports),
                "status": "AVAILABLE",
                "creationDate": self.created,
            }
        )


@dataclass
class Workgroup:
    """A workgroup: the request that made it, as changed since."""

    id: str
    name: str
    arn: str
    namespace: str
    asked: dict[str, Any]
    port: Callable[[], int]
    created: datetime = field(default_factory=lambda: datetime.now(UTC))

    def description(self) -> dict[str, Any]:
        """Return what GetWorkgroup answers."""
        port = self.port()
        return {
            "baseCapacity": 128,
            "enhancedVpcRouting": False,
            "publiclyAccessible": False,
            "subnetIds": [],
            "securityGroupIds": [],
            "configParameters": [],
            **{key: value for key, value in self.asked.items() if key != "tags"},
            "workgroupId": self.id,
            "workgroupName": self.name,
            "workgroupArn": self.arn,
            "namespaceName": self.namespace,
            "port": port,
            "status": "AVAILABLE",
            "endpoint": {"address": HOST, "port": port, "vpcEndpoints": []},
            "creationDate": self.created,
        }


class Serverless:
    """All namespaces and workgroups of one embedded AWS.

    Parameters
    ----------
    user_of : callable
        From an access key to the database user that stands for its holder.
    port : callable
        From region and workgroup to the port on this machine where clients connect.
    password : callable
        From region, workgroup, user and seconds to a password for so long, and when it expires.
    """

    def __init__(
        self,
        user_of: Callable[[str], str],
        port: Callable[[str, str], int],
        password: Callable[[str, str, str, int], tuple[str, datetime]],
    ) -> None:
        self._user_of = user_of
        self._port = port
        self._password = password
        self._namespaces: dict[tuple[str, str], Namespace] = {}
        self._workgroups: dict[tuple[str, str], Workgroup] = {}
        self._tags: dict[str, dict[str, str]] = {}
        self._lock = threading.RLock()

    def operations(self) -> dict[tuple[str, str], Operation]:
        """Return the operations that this room performs."""
        mine: dict[str, Operation] = {
            "CreateNamespace": self.create_namespace,
            "GetNamespace": lambda call: {"namespace": self._namespace(call).description()},
            "UpdateNamespace": self.update_namespace,
            "DeleteNamespace": self.delete_namespace,
            "ListNamespaces": lambda call: self._listed(call, "namespaces", self._namespaces),
            "CreateWorkgroup": self.create_workgroup,
            "GetWorkgroup": lambda call: {"workgroup": self._workgroup(call).description()},
            "UpdateWorkgroup": self.update_workgroup,
            "DeleteWorkgroup": self.delete_workgroup,
            "ListWorkgroups": lambda call: self._listed(call, "workgroups", self._workgroups),
            "GetCredentials": self.credentials,
            "TagResource": self.tag,
            "UntagResource": self.untag,
            "ListTagsForResource": self.tags,
        }
        return {("redshift-serverless", name): perform for name, perform in mine.items()}

    def find(self, region: str, name: str) -> tuple[Workgroup, Namespace] | None:
        """Return a workgroup, by name or ARN, with its namespace; None if there is none."""
        with self._lock:
            for (where, _), group in self._workgroups.items():
                if where == region and name in (group.name, group.arn):
                    return group, self._namespaces[region, group.namespace]
        return None

    def create_namespace(self, call: Call) -> dict[str, Any]:
        """Create a namespace."""
        asked = call.params
        name = str(asked["namespaceName"])
        if bool(asked.get("adminUsername")) != bool(
            asked.get("adminUserPassword") or asked.get("manageAdminPassword")
        ):
            raise _invalid("adminUsername and adminUserPassword must be given together.")
        with self._lock:
            if (call.region, name) in self._namespaces:
                raise ServiceError("ConflictException", f"Namespace {name} already exists.")
            identifier = str(uuid.uuid4())
            made = Namespace(
                identifier,
                name,
                _arn(call, "namespace", identifier),
                str(asked.get("dbName") or "dev").lower(),
                str(asked.get("adminUsername") or "admin"),
                str(asked.get("adminUserPassword") or secrets.token_urlsafe(24)),
                [str(one) for one in asked.get("iamRoles") or []],
                asked.get("defaultIamRoleArn"),
                asked.get("kmsKeyId"),
                [str(one) for one in asked.get("logExports") or []],
            )
            self._namespaces[call.region, name] = made
            self._keep_tags(made.arn, asked)
        return {"namespace": made.description()}

    def update_namespace(self, call: Call) -> dict[str, Any]:
        """Change a namespace's administrator, roles or settings."""
        namespace = self._namespace(call)
        asked = call.params
        with self._lock:
            namespace.admin = str(asked.get("adminUsername") or namespace.admin)
            namespace.password = str(asked.get("adminUserPassword") or namespace.password)
            namespace.default_role = asked.get("defaultIamRoleArn", namespace.default_role)
            namespace.kms_key = asked.get("kmsKeyId", namespace.kms_key)
            if "iamRoles" in asked:
                namespace.roles = [str(one) for one in asked["iamRoles"]]
            if "logExports" in asked:
                namespace.exports = [str(one) for one in asked["logExports"]]
        return {"namespace": namespace.description()}

    def delete_namespace(self, call: Call) -> dict[str, Any]:
        """Delete a namespace that no workgroup is attached to."""
        namespace = self._namespace(call)
        with self._lock:
            for (region, _), group in self._workgroups.items():
                if region == call.region and group.namespace == namespace.name:
                    raise ServiceError(
                        "ConflictException",
                        f"Namespace {namespace.name} can't be deleted while workgroup "
                        f"{group.name} is associated with it.",
                    )
            del self._namespaces[call.region, namespace.name]
        return {"namespace": {**namespace.description(), "status": "DELETING"}}

    def create_workgroup(self, call: Call) -> dict[str, Any]:
        """Create a workgroup for a namespace that has none."""
        asked = dict(call.params)
        name = str(asked.pop("workgroupName"))
        namespace = str(asked.pop("namespaceName"))
        with self._lock:
            if (call.region, namespace) not in self._namespaces:
                raise _absent("Namespace", namespace)
            if (call.region, name) in self._workgroups:
                raise ServiceError("ConflictException", f"Workgroup {name} already exists.")
            for (region, _), other in self._workgroups.items():
                if region == call.region and other.namespace == namespace:
                    raise ServiceError(
                        "ConflictException",
                        f"Namespace {namespace} is already associated with a workgroup.",
                    )
            identifier = str(uuid.uuid4())
            made = Workgroup(
                identifier,
                name,
                _arn(call, "workgroup", identifier),
                namespace,
                asked,
                partial(self._port, call.region, name),
            )
            self._workgroups[call.region, name] = made
            self._keep_tags(made.arn, asked)
        return {"workgroup": made.description()}

    def update_workgroup(self, call: Call) -> dict[str, Any]:
        """Change a workgroup's settings."""
        group = self._workgroup(call)
        with self._lock:
            group.asked |= {k: v for k, v in call.params.items() if k != "workgroupName"}
        return {"workgroup": group.description()}

    def delete_workgroup(self, call: Call) -> dict[str, Any]:
        """Delete a workgroup; its namespace keeps the data."""
        group = self._workgroup(call)
        with self._lock:
            del self._workgroups[call.region, group.name]
        return {"workgroup": {**group.description(), "status": "DELETING"}}

    def credentials(self, call: Call) -> dict[str, Any]:
        """Give a temporary password for the database user of the calling identity."""
        seconds = int(call.params.get("durationSeconds") or 900)
        if not 900 <= seconds <= 3600:
            raise _invalid("durationSeconds must be between 900 and 3600")
        if not call.params.get("workgroupName"):
            raise _invalid("Either workgroupName or customDomainName must be given.")
        group = self._workgroup(call)
        user = self._user_of(call.access_key)
        password, expires = self._password(call.region, group.name, user, seconds)
        return {
            "dbUser": user,
            "dbPassword": password,
            "expiration": expires,
            "nextRefreshTime": expires - timedelta(seconds=seconds // 4),
        }

    def tag(self, call: Call) -> dict[str, Any]:
        """Tag a namespace or workgroup."""
        self._tags_of(call)
        self._keep_tags(str(call.params["resourceArn"]), call.params)
        return {}

    def untag(self, call: Call) -> dict[str, Any]:
        """Remove tags."""
        for key in call.params["tagKeys"]:
            self._tags_of(call).pop(key, None)
        return {}

    def tags(self, call: Call) -> dict[str, Any]:
        """List tags."""
        return {
            "tags": [{"key": key, "value": value} for key, value in self._tags_of(call).items()]
        }

    def _tags_of(self, call: Call) -> dict[str, str]:
        arn = str(call.params["resourceArn"])
        if arn not in self._tags:
            raise ServiceError("ResourceNotFoundException", f"Resource {arn} was not found.")
        return self._tags[arn]

    def _keep_tags(self, arn: str, asked: dict[str, Any]) -> None:
        kept = self._tags.setdefault(arn, {})
        kept.update({str(one["key"]): str(one["value"]) for one in asked.get("tags") or []})

    def _namespace(self, call: Call) -> Namespace:
        name = str(call.params["namespaceName"])
        found = self._namespaces.get((call.region, name))
        if found is None:
            raise _absent("Namespace", name)
        return found

    def _workgroup(self, call: Call) -> Workgroup:
        name = str(call.params["workgroupName"])
        found = self._workgroups.get((call.region, name))
        if found is None:
            raise _absent("Workgroup", name)
        return found

    def _listed(self, call: Call, member: str, kept: dict[tuple[str, str], Any]) -> dict[str, Any]:
        rows = [one.description() for (region, _), one in kept.items() if region == call.region]
        token = str(call.params.get("nextToken") or "0")
        if not token.isdigit():
            raise _invalid("nextToken is not valid.")
        start, size = int(token), int(call.params.get("maxResults") or _PAGE)
        answer: dict[str, Any] = {member: rows[start : start + size]}
        if start + size < len(rows):
            answer["nextToken"] = str(start + size)
        return answer


def iam_user(arn: str | None) -> str:
    """Return the database user that stands for an IAM identity.

    Parameters
    ----------
    arn : str or None
        Of a user or of a role's session; None for credentials that IAM did not give out.
    """
    if arn is None:
        return "IAM:root"
    kind, _, rest = arn.rpartition(":")[2].partition("/")
    if kind == "assumed-role":
        return f"IAMR:{rest.partition('/')[0]}"
    return f"IAM:{rest.rpartition('/')[2]}"


def _arn(call: Call, kind: str, identifier: str) -> str:
    partition = get_partition(call.region)
    return f"arn:{partition}:redshift-serverless:{call.region}:{ACCOUNT_ID}:{kind}/{identifier}"


def _absent(kind: str, name: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", f"{kind} {name} was not found.", 404)


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)
