"""Clusters and workgroups of the embedded AWS: who may connect to which warehouse, and where.

A cluster is moto's; a workgroup, which moto has not, is kept here with its namespace. Each owns a
warehouse for as long as it exists, and a port on 127.0.0.1 for Redshift's own protocol, opened when
it is first asked for. Who connects is the administrator, or has a temporary password.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from moto.utilities.utils import get_partition

from ...clients import Clients
from ...operations import PASS, Operation
from ...wire import ACCOUNT_ID, Call, ServiceError
from .redshift_login import Login, Target

if TYPE_CHECKING:
    from .data_api import DataApi
    from .redshift import Session
    from .redshift_s3 import TrustPolicy
    from .redshift_warehouse import Warehouse

_HOST = "127.0.0.1"
_NO_ENDPOINT = "Redshift endpoint doesn't exist in this region."
_DATA_API = (
    "BatchExecuteStatement",
    "CancelStatement",
    "DescribeStatement",
    "ExecuteStatement",
    "GetStatementResult",
    "ListStatements",
)


class Redshift:
    """Clusters' credentials, Redshift Serverless's workgroups and the Data API.

    Parameters
    ----------
    clients : Clients
        To ask the other services.
    home : pathlib.Path
        The server's work directory.
    trust_policy : callable
        From region and role ARN to the role's trust policy, or None.
    cluster : callable
        From region and identifier to moto's cluster, or None.
    identity : callable
        From an access key to the ARN of who holds it, or None.
    all_clusters : callable
        From a region and a host to moto's clusters there, which take the host for theirs.
    """

    def __init__(
        self,
        clients: Clients,
        home: Path,
        trust_policy: TrustPolicy,
        cluster: Callable[[str, str], Any],
        identity: Callable[[str], str | None],
        all_clusters: Callable[[str, str], list[Any]],
    ) -> None:
        self._clients, self._home, self._trust_policy = clients, home, trust_policy
        self._cluster, self._identity, self._all_clusters = cluster, identity, all_clusters
        self._namespaces: dict[tuple[str, str], Target] = {}
        self._workgroups: dict[tuple[str, str], dict[str, Any]] = {}
        self._warehouses: dict[tuple[str, ...], Warehouse] = {}
        self._servers: dict[tuple[str, str, str], socket.socket] = {}
        self._temporary: dict[tuple[tuple[str, ...], str], tuple[str, datetime]] = {}
        self._lock = threading.RLock()
        self._data_api: DataApi | None = None

    def operations(self) -> dict[tuple[str, str], Operation]:
        """Return the operations that this room performs."""
        return {
            ("redshift", "DescribeClusters"): self._describe_clusters,
            ("redshift", "GetClusterCredentials"): self._cluster_credentials,
            ("redshift-serverless", "CreateNamespace"): self._create_namespace,
            ("redshift-serverless", "CreateWorkgroup"): self._create_workgroup,
            ("redshift-serverless", "GetCredentials"): self._credentials,
            ("redshift-serverless", "GetWorkgroup"): self._get_workgroup,
            **{("redshift-data", name): self._statement for name in _DATA_API},
        }

    def login(self, call: Call) -> Login:
        """Find out where a call of the Data API wants to go, and as whom.

        Raises
        ------
        ServiceError
            When the combination of parameters is none that AWS takes, or what they name is not
            there.
        """
        asked = call.params
        cluster, workgroup = asked.get("ClusterIdentifier"), asked.get("WorkgroupName")
        secret, user = asked.get("SecretArn"), asked.get("DbUser")
        if bool(cluster) == bool(workgroup):
            raise _invalid("Exactly one of ClusterIdentifier and WorkgroupName must be specified.")
        if user and (secret or workgroup):
            raise _invalid("DbUser cannot be specified with SecretArn or WorkgroupName.")
        if not asked.get("Database"):
            raise _invalid("Database must be specified.")
        target = self._target(call.region, cluster, workgroup)
        refusal = None
        if secret:
            user, refusal = self._user_of_secret(call.region, secret, target, cluster)
        elif user and user != target.admin:
            refusal = f'FATAL: user "{user}" does not exist'
        user = str(user or self._iam_user(call))
        database = str(asked["Database"]).lower()
        return Login(target, database, user, cluster, workgroup, secret, refusal)

    def connect(self, login: Login) -> Session:
        """Open a session. Raises `RedshiftError` in the database's words."""
        from .redshift import Session
        from .redshift_errors import RedshiftError
        from .redshift_s3 import Access
        from .redshift_warehouse import Warehouse

        if login.refusal:
            raise RedshiftError(login.refusal)
        target = login.target
        folders = (self._home / "redshift", self._home / "sql-objects")
        with self._lock:
            warehouse = self._warehouses.get(target.key)
            if warehouse is None:
                for folder in folders:
                    folder.mkdir(exist_ok=True)
                warehouse = self._warehouses[target.key] = Warehouse(target.database, *folders)
        partition = get_partition(target.region)
        s3 = Access(
            self._clients, self._home, target.region, partition, target.roles, self._trust_policy
        )
        return Session(warehouse, login.database, login.user, s3)

    def shut_down(self, timeout: float) -> None:
        """End what runs."""
        for server in self._servers.values():
            server.close()
        if self._data_api is not None:
            self._data_api.shut_down(timeout)
        for warehouse in self._warehouses.values():
            warehouse.close()

    def _statement(self, call: Call) -> Any:
        from .data_api import DataApi  # DuckDB and sqlglot take half a second to load

        with self._lock:
            if self._data_api is None:
                self._data_api = DataApi(self.login, self.connect)
        return self._data_api.perform(call)

    def _describe_clusters(self, call: Call) -> Any:
        """Have moto describe the clusters, with the ports at which they can be reached."""
        for cluster in self._all_clusters(call.region, _HOST):
            cluster.port = self._port("cluster", call.region, cluster.cluster_identifier)
        return PASS

    def _cluster_credentials(self, call: Call) -> dict[str, Any]:
        """Give a temporary password for a database user, who may be made at log-in."""
        identifier = str(call.params.get("ClusterIdentifier") or "")
        if self._cluster(call.region, identifier) is None:
            raise ServiceError("ClusterNotFound", f"Cluster {identifier} not found.", 404)
        kind = "IAMA" if call.params.get("AutoCreate") else "IAM"
        user = f"{kind}:{call.params['DbUser']}"
        target = self._target(call.region, identifier, None)
        password, expires = self._temporary_password(
            target, user, call.params.get("DurationSeconds")
        )
        return {"DbUser": user, "DbPassword": password, "Expiration": expires}

    def _create_namespace(self, call: Call) -> dict[str, Any]:
        asked, name = call.params, str(call.params["namespaceName"])
        if (call.region, name) in self._namespaces:
            raise ServiceError("ConflictException", f"Namespace {name} already exists.")
        number = str(uuid.uuid4())
        roles = [asked.get("defaultIamRoleArn"), *(asked.get("iamRoles") or [])]
        target = Target(
            ("namespace", call.region, number),
            call.region,
            str(asked.get("dbName") or "dev").lower(),
            str(asked.get("adminUsername") or "admin"),
            str(asked.get("adminUserPassword") or secrets.token_urlsafe(24)),
            tuple(dict.fromkeys(role for role in roles if role)),
        )
        self._namespaces[call.region, name] = target
        shown = {"namespaceId": number, "namespaceName": name, "dbName": target.database}
        return {"namespace": {**shown, "adminUsername": target.admin, "status": "AVAILABLE"}}

    def _create_workgroup(self, call: Call) -> dict[str, Any]:
        name, namespace = str(call.params["workgroupName"]), str(call.params["namespaceName"])
        if (call.region, namespace) not in self._namespaces:
            raise _absent("Namespace", namespace)
        if (call.region, name) in self._workgroups:
            raise ServiceError("ConflictException", f"Workgroup {name} already exists.")
        partition = get_partition(call.region)
        port = self._port("workgroup", call.region, name)
        self._workgroups[call.region, name] = {
            "workgroupName": name,
            "workgroupArn": f"arn:{partition}:redshift-serverless:{call.region}:{ACCOUNT_ID}:"
            f"workgroup/{uuid.uuid4()}",
            "namespaceName": namespace,
            "port": port,
            "status": "AVAILABLE",
            "endpoint": {"address": _HOST, "port": port, "vpcEndpoints": []},
        }
        return self._get_workgroup(call)

    def _get_workgroup(self, call: Call) -> dict[str, Any]:
        name = str(call.params["workgroupName"])
        if (call.region, name) not in self._workgroups:
            raise _absent("Workgroup", name)
        return {"workgroup": self._workgroups[call.region, name]}

    def _credentials(self, call: Call) -> dict[str, Any]:
        """Give a temporary password for the database user of the calling identity."""
        self._get_workgroup(call)
        user = self._iam_user(call)
        target = self._target(call.region, None, str(call.params["workgroupName"]))
        password, expires = self._temporary_password(
            target, user, call.params.get("durationSeconds")
        )
        return {"dbUser": user, "dbPassword": password, "expiration": expires}

    def _temporary_password(self, target: Target, user: str, seconds: Any) -> tuple[str, datetime]:
        password = secrets.token_urlsafe(48)
        expires = datetime.now(UTC) + timedelta(seconds=int(seconds or 900))
        self._temporary[target.key, user] = (password, expires)
        return password, expires

    def _iam_user(self, call: Call) -> str:
        """Return the database user that stands for who calls."""
        arn = self._identity(call.access_key)
        if arn is None:
            return "IAM:root"
        kind, _, rest = arn.rpartition(":")[2].partition("/")
        if kind == "assumed-role":
            return f"IAMR:{rest.partition('/')[0]}"
        return f"IAM:{rest.rpartition('/')[2]}"

    def _target(self, region: str, cluster: str | None, workgroup: str | None) -> Target:
        if workgroup:
            for (where, name), group in self._workgroups.items():
                if where == region and workgroup in (name, group["workgroupArn"]):
                    return self._namespaces[region, group["namespaceName"]]
            raise _invalid(_NO_ENDPOINT)
        found = self._cluster(region, str(cluster))
        if found is None:
            raise _invalid(_NO_ENDPOINT)
        return Target(
            ("cluster", region, str(cluster), found.create_time.isoformat()),
            region,
            str(found.db_name).lower(),
            str(found.master_username),
            str(found.master_user_password or ""),
            tuple(found.iam_roles_arn),
        )

    def _user_of_secret(
        self, region: str, secret: str, target: Target, cluster: str | None
    ) -> tuple[str, str | None]:
        """Return a secret's user, and why the database refuses it, if it does."""
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
        right = user == target.admin and secrets.compare_digest(
            password.encode(), target.password.encode()
        )
        refusal = f'FATAL: password authentication failed for user "{user}"'
        return user, None if right else refusal

    def _port(self, kind: str, region: str, name: str) -> int:
        """Return the port of a cluster or workgroup, opened if need be."""
        with self._lock:
            server = self._servers.get((kind, region, name))
            if server is None:
                server = self._servers[kind, region, name] = socket.create_server((_HOST, 0))
                login = partial(self._wire_session, kind, region, name)
                threading.Thread(target=_accept, args=(server, login), daemon=True).start()
            return int(server.getsockname()[1])

    def _wire_session(
        self, kind: str, region: str, name: str, user: str, password: str, database: str
    ) -> Session:
        from .redshift_errors import RedshiftError

        try:
            named = (name, None) if kind == "cluster" else (None, name)
            target = self._target(region, *named)
        except ServiceError as error:
            raise RedshiftError(f"FATAL: {error.message}") from None
        temporary, expires = self._temporary.get((target.key, user), ("", datetime.now(UTC)))
        known = [target.password if user == target.admin else ""]
        known.append(temporary if datetime.now(UTC) < expires else "")
        if not any(
            right and secrets.compare_digest(right.encode(), password.encode()) for right in known
        ):
            raise RedshiftError(f'FATAL: password authentication failed for user "{user}"')
        if kind == "cluster" and user.startswith(("IAM:", "IAMA:")):
            made, user = user.startswith("IAMA:"), user.partition(":")[2]
            if user != target.admin and not made:
                raise RedshiftError(f'FATAL: user "{user}" does not exist')
        return self.connect(Login(target, database.lower(), user))


def _accept(server: socket.socket, login: Callable[[str, str, str], Session]) -> None:
    from .redshift_wire import Cancels, WireConnection

    cancels: Cancels = {}

    def serve(client: socket.socket) -> None:
        with client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            WireConnection(client, login, cancels).serve()

    with contextlib.suppress(OSError):
        while True:
            client, _ = server.accept()
            threading.Thread(target=serve, args=(client,), daemon=True).start()


def _absent(kind: str, name: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", f"{kind} {name} was not found.", 404)


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)
