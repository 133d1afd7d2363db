"""What every check looks at: a project, its configuration, and AWS, asked with little patience."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batcat_runtime.config import Config
from batcat_runtime.errors import BatcatError, ConfigError, CredentialsError
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.names import Names

_CONNECT_SECONDS = 3
_READ_SECONDS = 8


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Patient:
    """A project that is looked at.

    Attributes
    ----------
    folder : Path
        The project's folder.
    config : Config or None
        Its configuration; None when it is broken.
    broken : ConfigError or None
        What is wrong with the configuration.
    purpose : str or None
        The one pipeline to look at; None for all.
    environment : mapping
        The environment's variables.
    clock : callable
        Returns the present time, with time zone.
    """

    folder: Path
    config: Config | None
    broken: ConfigError | None = None
    purpose: str | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    clock: Callable[[], datetime] = _now
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _session: Any = field(default=None, repr=False)
    _clients: dict[tuple[str, str], Any] = field(default_factory=dict, repr=False)
    _anonymous: Any = field(default=None, repr=False)
    _identity: dict[str, Any] | BatcatError | None = field(default=None, repr=False)

    @property
    def settings(self) -> Config:
        """The configuration.

        Raises
        ------
        ConfigError
            It is broken.
        """
        if self.config is None:
            raise self.broken or ConfigError("script/config.json is not valid.")
        return self.config

    @property
    def purposes(self) -> list[str]:
        """The pipelines to look at."""
        return [self.purpose] if self.purpose else list(self.settings.purposes)

    def names(self, purpose: str | None = None) -> Names:
        """Return the AWS names of a purpose, by default of the first."""
        return Names.of(self.settings, purpose or next(iter(self.settings.purposes)))

    @property
    def session(self) -> Any:
        """The boto3 session of the credentials in use, in the project's region."""
        import boto3

        with self._lock, translated("AWS", "sts:GetCallerIdentity"):
            if self._session is None:
                self._session = boto3.Session(region_name=self.settings.region)
            return self._session

    def client(self, service: str, region: str | None = None) -> Any:
        """Return the client of a service; it gives up sooner than those of other commands."""
        from botocore.config import Config as Settings

        place = region or self.settings.region
        with self._lock:  # making a client is not thread-safe
            if (service, place) not in self._clients:
                settings = Settings(
                    connect_timeout=_CONNECT_SECONDS,
                    read_timeout=_READ_SECONDS,
                    retries={"mode": "standard", "total_max_attempts": 3},
                )
                self._clients[service, place] = self.session.client(
                    service, region_name=place, config=settings
                )
            return self._clients[service, place]

    def endpoint(self, service: str) -> str:
        """Return the URL at which a service is asked; no credentials are looked for."""
        import botocore.session

        with self._lock:
            if self._anonymous is None:
                # Of its own: a profile that does not exist is not the network's fault.
                self._anonymous = botocore.session.Session()
                self._anonymous.set_config_variable("profile", None)
                self._anonymous.set_credentials("nobody", "nobody")
            client = self._anonymous.create_client(service, region_name=self.settings.region)
            return str(client.meta.endpoint_url)

    @property
    def identity(self) -> dict[str, Any]:
        """What AWS says of the credentials in use; asked once, by whoever comes first.

        Raises
        ------
        CredentialsError
            There are none, or AWS does not accept them.
        ConnectError
            AWS is out of reach.
        """
        with self._lock:
            if self._identity is None:
                try:
                    self._identity = self._asked_identity()
                except BatcatError as error:
                    self._identity = error
            if isinstance(self._identity, BatcatError):
                raise self._identity
            return self._identity

    @property
    def account(self) -> str:
        """The 12-digit account id of the credentials in use."""
        return str(self.identity["Account"])

    def asked(self, place: str, action: str) -> contextlib.AbstractContextManager[None]:
        """Turn AWS's refusals into typed errors; see `batcat_runtime.operate.project`."""
        return translated(place, action)

    def _asked_identity(self) -> dict[str, Any]:
        try:
            with translated("AWS", "sts:GetCallerIdentity"):
                return dict(self.client("sts").get_caller_identity())
        except RuntimeError as error:  # botocore, of credentials that say themselves they are old
            raise CredentialsError(f"The credentials in use have expired: {error}") from error
