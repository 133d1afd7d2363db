"""Clusters and workgroups: which warehouse a call means, and as whom it connects.

A cluster is moto's; a workgroup and its namespace are `redshift_serverless.py`'s. Both become a
`Target`, which owns a warehouse for as long as it exists: a cluster that is deleted and made anew
is empty.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from ..clients import Clients
from ..wire import Call, ServiceError
from .redshift_serverless import Serverless, iam_user
from .redshift_warehouse import Warehouse
from .redshift_words import RedshiftError

NO_ENDPOINT = "Redshift endpoint doesn't exist in this region."


@dataclass(frozen=True)
class Target:
    """A cluster or a workgroup.

    Attributes
    ----------
    key : tuple of str
        Names it for ever: another one of the same name has another key.
    database : str
        The database that it was made with.
    admin : str
        The administrator's user name.
    password : str
        The administrator's password; empty when it has none that we know.
    roles : tuple of str
        ARNs of the associated roles, the default one first.
    """

    key: tuple[str, ...]
    region: str
    database: str
    admin: str
    password: str = field(repr=False)
    roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Login:
    """As whom a statement connects, and where.

    Attributes
    ----------
    refusal : str or None
        Why the database will refuse the connection, in its words.
    """

    target: Target
    database: str
    user: str
    cluster: str | None = None
    workgroup: str | None = None
    secret: str | None = None
    refusal: str | None = None


class Targets:
    """All clusters and workgroups of one embedded AWS, with their warehouses.

    Parameters
    ----------
    clients : Clients
        To ask Redshift and Secrets Manager.
    serverless : Serverless
        The workgroups.
    home : pathlib.Path
        Where warehouses are kept.
    cluster : callable
        From region and identifier to moto's cluster, or None.
    identity : callable
        From an access key to the ARN of its holder, or None.
    """

    def __init__(
        self,
        clients: Clients,
        serverless: Serverless,
        home: Path,
        cluster: Callable[[str, str], Any],
        identity: Callable[[str], str | None],
    ) -> None:
        self._clients = clients
        self._serverless = serverless
        self._home = home
        self._cluster = cluster
        self._identity = identity
        self._warehouses: dict[tuple[str, ...], Warehouse] = {}
        self._lock = threading.Lock()

    def login(self, call: Call) -> Login:
        """Find out where a call wants to go, and as whom.

        Raises
        ------
        ServiceError
            When the combination of parameters is none that AWS takes, or what they name is not
            there.
        """
        asked = call.params
        cluster, workgroup = asked.get("ClusterIdentifier"), asked.get("WorkgroupName")
        if bool(cluster) == bool(workgroup):
            raise _invalid("Exactly one of ClusterIdentifier and WorkgroupName must be specified.")
        if asked.get("SecretArn") and asked.get("DbUser"):
            raise _invalid("SecretArn and DbUser cannot be specified together.")
        if workgroup and asked.get("DbUser"):
            raise _invalid("DbUser cannot be specified with WorkgroupName.")
        database = asked.get("ConnectedDatabase") or asked.get("Database")
        if not database:
            raise _invalid("Database must be specified.")
        target = (
            self.workgroup(call.region, str(workgroup))
            if workgroup
            else self.cluster(call.region, str(cluster))
        )
        user, refusal = self._user(call, target, cluster)
        return Login(
            target,
            str(database).lower(),
            user,
            cluster,
            workgroup,
            asked.get("SecretArn"),
            refusal,
        )

    def warehouse(self, target: Target) -> Warehouse:
        """Return the warehouse of a target, made when it is first asked for."""
        with self._lock:
            found = self._warehouses.get(target.key)
            if found is None:
                folder = self._home / "redshift" / re.sub(r"[^\w-]", "_", "-".join(target.key))
                found = Warehouse(folder, target.database, self._home)
                self._warehouses[target.key] = found
            return found

    def close(self) -> None:
        """Close every warehouse."""
        with self._lock:
            for one in self._warehouses.values():
                one.close()

    def cluster(self, region: str, identifier: str) -> Target:
        """Return a cluster. Raises `ServiceError` when it is not there or not available."""
        cluster = self._cluster(region, identifier)
        if cluster is None:
            raise _invalid(NO_ENDPOINT)
        if cluster.status != "available":
            raise _invalid(f"Cluster {identifier} is not available: it is {cluster.status}.")
        return Target(
            ("cluster", region, identifier, cluster.create_time.isoformat()),
            region,
            str(cluster.db_name).lower(),
            str(cluster.master_username),
            str(cluster.master_user_password or ""),
            tuple(cluster.iam_roles_arn),
        )

    def workgroup(self, region: str, name: str) -> Target:
        """Return a workgroup's namespace. Raises `ServiceError` when it is not there."""
        found = self._serverless.find(region, name)
        if found is None:
            raise _invalid(NO_ENDPOINT)
        _, namespace = found
        roles = [one for one in (namespace.default_role, *namespace.roles) if one]
        return Target(
            ("namespace", region, namespace.id),
            region,
            namespace.database,
            namespace.admin,
            namespace.password,
            tuple(dict.fromkeys(roles)),
        )

    def _user(self, call: Call, target: Target, cluster: Any) -> tuple[str, str | None]:
        """Return the database user, and why the database refuses it, if it does."""
        secret = call.params.get("SecretArn")
        if secret:
            return self._user_of_secret(call.region, str(secret), target, cluster)
        named = call.params.get("DbUser")
        if named:
            known = named == target.admin or named in self.warehouse(target).users
            refusal = None if known else f'FATAL: user "{named}" does not exist'
            return str(named), refusal
        return iam_user(self._identity(call.access_key)), None

    def _user_of_secret(
        self, region: str, secret: str, target: Target, cluster: Any
    ) -> tuple[str, str | None]:
        try:
            answer = self._clients.get("secretsmanager", region).get_secret_value(SecretId=secret)
        except ClientError as error:
            raise _invalid(error.response["Error"]["Message"]) from None
        try:
            content = json.loads(answer.get("SecretString") or "")
            user, password = str(content["username"] or ""), str(content["password"] or "")
        except (ValueError, KeyError, TypeError):
            user = password = ""
        if not user or not password:
            raise _invalid("username and password in secret cannot be empty")
        meant = content.get("dbClusterIdentifier")
        if cluster and meant and meant != cluster:
            raise _invalid(
                "ClusterIdentifier does not match the dbClusterIdentifier that is in the secret."
            )
        if user == target.admin:
            right: str | None = target.password
        else:
            right = self.warehouse(target).users.get(user)
        wrong = right is None or password != right
        return user, f'FATAL: password authentication failed for user "{user}"' if wrong else None


def admitted(login: Login) -> None:
    """Raise what the database says to who may not connect."""
    if login.refusal:
        raise RedshiftError(login.refusal)


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)
