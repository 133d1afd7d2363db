"""boto3 clients of the server itself, one per service and region.

What runs inside the server (CloudFormation's resources, jobs, state machine tasks) reaches the
other services over HTTP like any client, so that every request passes the same examination.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError


class Clients:
    """A cache of boto3 clients for one endpoint.

    Parameters
    ----------
    endpoint_url : str
        The server's own address.
    """

    def __init__(self, endpoint_url: str) -> None:
        self.endpoint_url = endpoint_url
        self._lock = threading.Lock()
        self._session: Any = boto3.Session()
        self._clients: dict[tuple[str, str], Any] = {}

    def get(self, service: str, region: str) -> Any:
        """Return the client of a service in a region.

        Parameters
        ----------
        service : str
            botocore's name of the service.
        region : str
            The region to sign for.
        """
        # Making a client is not thread-safe in boto3; using one is.
        with self._lock:
            key = (service, region)
            if key not in self._clients:
                self._clients[key] = self._session.client(
                    service,
                    region_name=region,
                    endpoint_url=self.endpoint_url,
                    aws_access_key_id="embedded",
                    aws_secret_access_key="embedded",
                    config=Config(
                        # The server examines what arrives, and answers in the service's words.
                        parameter_validation=False,
                        retries={"total_max_attempts": 1},
                        read_timeout=900,
                        proxies={},
                        max_pool_connections=20,
                        s3={"addressing_style": "path"},
                    ),
                )
            return self._clients[key]

    def warm_up(self, region: str, services: tuple[str, ...]) -> None:
        """Make clients and have them ask once, in the background, so that first calls are quick.

        Parameters
        ----------
        region : str
            The region that is likely to be used.
        services : tuple of str
            botocore's names.
        """

        def work() -> None:
            for service in services:
                client = self.get(service, region)
                operation, arguments = _HARMLESS.get(service, ("", {}))
                if operation:
                    with contextlib.suppress(ClientError, BotoCoreError):
                        getattr(client, operation)(**arguments)

        threading.Thread(target=work, daemon=True, name="warm-up").start()


_HARMLESS: dict[str, tuple[str, dict[str, Any]]] = {
    "ecr": ("describe_repositories", {}),
    "iam": ("list_roles", {"MaxItems": 1}),
    "lambda": ("list_functions", {"MaxItems": 1}),
    "logs": ("describe_log_groups", {"limit": 1}),
    "s3": ("list_buckets", {}),
    "sagemaker": ("list_processing_jobs", {"MaxResults": 1}),
    "scheduler": ("list_schedules", {"MaxResults": 1}),
    "stepfunctions": ("list_state_machines", {"maxResults": 1}),
}
