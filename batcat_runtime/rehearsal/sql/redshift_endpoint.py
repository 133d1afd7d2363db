"""Where clients of Redshift's own protocol connect: a port on 127.0.0.1 for each cluster.

`DescribeClusters` and `GetWorkgroup` name the port, as AWS's name the cluster's host. It is opened
when it is first asked for. Accepted are the administrator, the users that `CREATE USER` made, and
the temporary passwords that `GetClusterCredentials` and its kin gave out, until they expire.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from ..wire import ServiceError

if TYPE_CHECKING:
    from .redshift_external import World
    from .redshift_session import Session
    from .redshift_targets import Target, Targets

HOST = "127.0.0.1"
Kind = Literal["cluster", "workgroup"]
Door = tuple[Kind, str, str]


class Endpoints:
    """The ports of all clusters and workgroups of one embedded AWS.

    Parameters
    ----------
    engine : callable
        Returns the warehouses, and what sessions share; asked when the first client connects.
    """

    def __init__(self, engine: Callable[[], tuple[Targets, World]]) -> None:
        self._engine = engine
        self._servers: dict[Door, socket.socket] = {}
        self._temporary: dict[tuple[Door, str], tuple[str, datetime]] = {}
        self._lock = threading.Lock()

    def port(self, kind: Kind, region: str, name: str) -> int:
        """Return the port of a cluster or workgroup, opened if need be."""
        door = (kind, region, name)
        with self._lock:
            server = self._servers.get(door)
            if server is None:
                server = socket.create_server((HOST, 0))
                self._servers[door] = server
                arguments = (server, door)
                threading.Thread(target=self._accept, args=arguments, daemon=True).start()
            return int(server.getsockname()[1])

    def temporary_password(
        self, kind: Kind, region: str, name: str, user: str, seconds: int
    ) -> tuple[str, datetime]:
        """Make a password for a user of a cluster or workgroup that is good for a while.

        Returns
        -------
        tuple of (str, datetime)
            The password and when it expires.
        """
        password = secrets.token_urlsafe(48)
        expires = datetime.now(UTC) + timedelta(seconds=seconds)
        with self._lock:
            self._temporary[(kind, region, name), user] = (password, expires)
        return password, expires

    def close(self) -> None:
        """Close every port; open connections end with the process."""
        with self._lock:
            for server in self._servers.values():
                server.close()

    def _accept(self, server: socket.socket, door: Door) -> None:
        from .redshift_wire import Cancels, WireConnection

        cancels = Cancels()

        def login(user: str, password: str, database: str) -> Session:
            return self._session(door, user, password, database)

        def serve(client: socket.socket) -> None:
            with client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                WireConnection(client, login, cancels).serve()

        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    def _session(self, door: Door, user: str, password: str, database: str) -> Session:
        from batcat_runtime.config import partition_of

        from .redshift_external import External
        from .redshift_session import Session

        targets, world = self._engine()
        target = self._target(targets, door)
        warehouse = targets.warehouse(target)
        right = target.password if user == target.admin else warehouse.users.get(user)
        temporary, expires = self._temporary.get((door, user), ("", datetime.now(UTC)))
        known = [right or "", temporary if datetime.now(UTC) < expires else ""]
        if not any(one and secrets.compare_digest(one, password) for one in known):
            raise _refused(f'password authentication failed for user "{user}"')
        name = user
        if user.startswith(("IAM:", "IAMA:")) and door[0] == "cluster":
            name = user.partition(":")[2]
            exists = name == target.admin or name in warehouse.users
            if not exists and user.startswith("IAM:"):
                raise _refused(f'user "{name}" does not exist')
        partition = partition_of(target.region)
        external = External(world, target.region, partition, lambda: list(target.roles))
        return Session(warehouse, database.lower(), name, external)

    def _target(self, targets: Targets, door: Door) -> Target:
        kind, region, name = door
        try:
            find = targets.cluster if kind == "cluster" else targets.workgroup
            return find(region, name)
        except ServiceError as error:
            raise _refused(error.message) from None


def _refused(reason: str) -> Exception:
    from .redshift_words import RedshiftError

    return RedshiftError(f"FATAL: {reason}")
