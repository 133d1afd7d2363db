"""All of Redshift on the embedded AWS, put together: what `server.py` starts."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..clients import Clients
from ..operations import PASS, Operation
from ..wire import Call, ServiceError
from .catalogue import Catalogue
from .redshift_endpoint import HOST, Endpoints
from .redshift_serverless import Serverless, iam_user

if TYPE_CHECKING:
    from .data_api import DataApi
    from .redshift_external import TrustPolicy, World
    from .redshift_targets import Targets

_DATA_API = (
    "BatchExecuteStatement",
    "CancelStatement",
    "DescribeStatement",
    "DescribeTable",
    "ExecuteStatement",
    "GetStatementResult",
    "GetStatementResultV2",
    "ListDatabases",
    "ListSchemas",
    "ListSessions",
    "ListStatements",
    "ListTables",
)


class Redshift:
    """Clusters' credentials, Redshift Serverless and the Data API.

    Parameters
    ----------
    clients : Clients
        To ask the other services.
    home : pathlib.Path
        The server's work directory.
    catalogue : Catalogue
        The Glue catalogue and its data.
    trust_policy : callable
        From region and role ARN to the role's trust policy, or None.
    cluster : callable
        From region and identifier to moto's cluster, or None.
    identity : callable
        From an access key to the ARN of who holds it, or None.
    all_clusters : callable
        From a region to moto's clusters there, which take the given host for theirs.
    """

    def __init__(
        self,
        clients: Clients,
        home: Path,
        catalogue: Catalogue,
        trust_policy: TrustPolicy,
        cluster: Callable[[str, str], Any],
        identity: Callable[[str], str | None],
        all_clusters: Callable[[str, str], list[Any]],
    ) -> None:
        # moto's clusters end with the server, so what an earlier one left belongs to nothing.
        shutil.rmtree(home / "redshift", ignore_errors=True)
        self._clients = clients
        self._home = home
        self._catalogue = catalogue
        self._trust_policy = trust_policy
        self._cluster = cluster
        self._identity = identity
        self._all_clusters = all_clusters
        self._endpoints = Endpoints(lambda: self.engine()[:2])
        self._serverless = Serverless(
            lambda key: iam_user(identity(key)),
            partial(self._endpoints.port, "workgroup"),
            partial(self._endpoints.temporary_password, "workgroup"),
        )
        self._lock = threading.Lock()
        self._engine: tuple[Targets, World, DataApi] | None = None

    def operations(self) -> dict[tuple[str, str], Operation]:
        """Return the operations that this room performs."""
        return {
            **self._serverless.operations(),
            **{("redshift-data", name): self._perform for name in _DATA_API},
            ("redshift", "DescribeClusters"): self.describe_clusters,
            ("redshift", "GetClusterCredentials"): self.credentials,
            ("redshift", "GetClusterCredentialsWithIAM"): self.credentials_with_iam,
        }

    def describe_clusters(self, call: Call) -> Any:
        """Have moto describe the clusters, with the ports at which they can be reached."""
        for one in self._all_clusters(call.region, HOST):
            one.port = self._endpoints.port("cluster", call.region, one.cluster_identifier)
        return PASS

    def credentials(self, call: Call) -> dict[str, Any]:
        """Give a temporary password for a database user, who may be made at log-in."""
        kind = "IAMA" if call.params.get("AutoCreate") else "IAM"
        return self._temporary(call, f"{kind}:{call.params['DbUser']}")

    def credentials_with_iam(self, call: Call) -> dict[str, Any]:
        """Give a temporary password for the database user of the calling identity."""
        user = iam_user(self._identity(call.access_key))
        answer = self._temporary(call, user)
        seconds = int(call.params.get("DurationSeconds") or 900)
        return {
            **answer,
            "NextRefreshTime": answer["Expiration"] - timedelta(seconds=seconds // 4),
        }

    def _temporary(self, call: Call, user: str) -> dict[str, Any]:
        identifier = str(call.params.get("ClusterIdentifier") or "")
        if self._cluster(call.region, identifier) is None:
            raise ServiceError("ClusterNotFound", f"Cluster {identifier} not found.", 404)
        seconds = int(call.params.get("DurationSeconds") or 900)
        if not 900 <= seconds <= 3600:
            raise ServiceError(
                "InvalidParameterValue", "Token duration must be between 900 and 3600 seconds"
            )
        password, expires = self._endpoints.temporary_password(
            "cluster", call.region, identifier, user, seconds
        )
        return {"DbUser": user, "DbPassword": password, "Expiration": expires}

    def engine(self) -> tuple[Targets, World, DataApi]:
        """Return what executes SQL; made when it is first asked for.

        DuckDB and sqlglot take half a second to load, which a rehearsal without Redshift saves.
        """
        from .data_api import DataApi
        from .redshift_external import World
        from .redshift_targets import Targets

        with self._lock:
            if self._engine is None:
                targets = Targets(
                    self._clients, self._serverless, self._home, self._cluster, self._identity
                )
                workspace = self._home / "redshift" / "statements"
                world = World(self._clients, self._catalogue, workspace, self._trust_policy)
                self._engine = targets, world, DataApi(targets, world)
            return self._engine

    def shut_down(self, timeout: float) -> None:
        """End what runs."""
        self._endpoints.close()
        if self._engine is not None:
            self._engine[2].shut_down(timeout)

    def _perform(self, call: Call) -> Any:
        _, _, data_api = self.engine()
        return data_api.operations()["redshift-data", call.operation](call)
