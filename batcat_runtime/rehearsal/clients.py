"""boto3 clients of the server itself, one per service and region.

What runs inside the server (CloudFormation's resources, jobs, state machine tasks) reaches the
other services over HTTP like any client, so that every request passes the same examination, and as
the role that it would have on AWS: `as_role` for a role that a service was given, `acting_for` for
a service that calls on with its caller's rights.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.loaders import Loader
from moto.core.utils import get_service_model

from .aws.iam.sessions import token_via

Keys = tuple[str, str, str]
_SESSION_SECONDS = 43_200
_RENEWED_BEFORE = timedelta(hours=11)


class _SharedModels(Loader):  # type: ignore[misc,unused-ignore]
    """The services' models as moto has read them already: reading them anew takes 40 MB."""

    def load_service_model(
        self, service_name: str, type_name: str, api_version: str | None = None
    ) -> Any:
        # botocore takes the bucket out of the paths of S3's model, where moto's router needs it.
        if type_name == "service-2" and service_name != "s3":
            return get_service_model(service_name)._service_description
        return super().load_service_model(service_name, type_name, api_version)


class Clients:
    """A cache of boto3 clients for one endpoint.

    Parameters
    ----------
    endpoint_url : str
        The server's own address.
    keys : tuple of str
        Access key id, secret and session token of whom the clients call for.
    """

    def __init__(self, endpoint_url: str, keys: Keys) -> None:
        self.endpoint_url = endpoint_url
        self.keys = keys
        # Shared with the clients of other keys: it keeps the service models that it has read.
        core = botocore.session.get_session()
        core.register_component("data_loader", _SharedModels(include_default_search_paths=True))
        self._session: Any = boto3.Session(botocore_session=core)
        self._lock = threading.RLock()
        self._clients: dict[tuple[str, str], Any] = {}
        self._others: dict[Keys, Clients] = {}
        self._roles: dict[tuple[str, str], tuple[Keys, datetime]] = {}

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
                    aws_access_key_id=self.keys[0],
                    aws_secret_access_key=self.keys[1],
                    aws_session_token=self.keys[2] or None,
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

    def as_role(self, role_arn: str, region: str, service: str = "states") -> Clients:
        """Return clients that call with a role that a service was given.

        Parameters
        ----------
        role_arn : str
            The role.
        region : str
            Any region of its partition.
        service : str
            Who uses it: ``states``, ``sagemaker``, ``lambda``, ``scheduler`` or another.
        """
        return self._other(self.keys_of(role_arn, service, region))

    def acting_for(self, access_key: str, service: str) -> Clients:
        """Return clients of a service that calls on with the rights of whoever called it."""
        return self._other((access_key, "forwarded", token_via(f"{service}.amazonaws.com")))

    def keys_of(self, role_arn: str, service: str, region: str) -> Keys:
        """Take on a role for a service; the same session until shortly before it expires.

        Returns
        -------
        tuple of str
            Access key id, secret and session token.
        """
        # A session's name has two characters or more, a function's may have one.
        name = _SESSIONS.get(service, service).ljust(2, "-")
        with self._lock:
            key = (role_arn, name)
            if key not in self._roles or datetime.now(UTC) > self._roles[key][1] - _RENEWED_BEFORE:
                sts = self.get("sts", region)
                # As long as STS allows: a job keeps the keys that it was started with.
                given = sts.assume_role(
                    RoleArn=role_arn, RoleSessionName=name, DurationSeconds=_SESSION_SECONDS
                )["Credentials"]
                self._roles[key] = (
                    (
                        str(given["AccessKeyId"]),
                        str(given["SecretAccessKey"]),
                        str(given["SessionToken"]),
                    ),
                    given["Expiration"],
                )
            return self._roles[key][0]

    def _other(self, keys: Keys) -> Clients:
        with self._lock:
            if keys not in self._others:
                other = self._others[keys] = Clients(self.endpoint_url, keys)
                other._session, other._lock = self._session, self._lock
            return self._others[keys]


# Session names as the services choose them; Step Functions' own is a random one.
_SESSIONS = {"sagemaker": "SageMaker", "states": "StepFunctions"}
