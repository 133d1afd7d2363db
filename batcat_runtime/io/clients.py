"""boto3 clients, made once: each costs a tenth of a second, and most calls want the same one.

A client is kept for as long as the environment that it was made from stays as it is, so a changed
profile, region or endpoint is never answered by an old client. Throttling is retried by botocore's
standard mode, with exponential back-off and jitter.
"""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import boto3

MAX_ATTEMPTS = 8
MAX_CONNECTIONS = 32

_lock = threading.Lock()
_made_in: object = None  # the settings and the process that what is kept was made in


def client(
    service: str,
    session: boto3.Session | None = None,
    region: str | None = None,
    *,
    hasty: bool = False,
) -> Any:
    """Return a client for a service; the same one for the same session, region and environment.

    Parameters
    ----------
    service : str
        botocore's name of the service, such as ``s3``.
    session : boto3.Session, optional
        Whose credentials to use; by default those of the environment.
    region : str, optional
        By default the session's own.
    hasty : bool
        Whether to give up within half a minute, for a person who waits.

    Returns
    -------
    botocore client
        Safe to share between threads.
    """
    import boto3

    global _made_in
    if isinstance(session, _KeptClients):
        return session.client(service)
    maker = session or boto3.DEFAULT_SESSION
    with _lock:  # boto3 makes one client at a time
        if _made_in != (made_in := (aws_settings(), os.getpid())):  # a fork's parent's are not ours
            _kept.cache_clear()
            _made_in = made_in
        return _kept(service, maker, region, hasty)


@lru_cache(maxsize=32)
def _kept(service: str, session: boto3.Session | None, region: str | None, hasty: bool) -> Any:
    import boto3
    from botocore.config import Config

    retries = retry_settings(4 if hasty else MAX_ATTEMPTS)
    # With four attempts and the pauses between them, a lost network is told within half a minute.
    timeouts = {"connect_timeout": 4, "read_timeout": 10} if hasty else {}
    config = Config(retries=retries, max_pool_connections=MAX_CONNECTIONS, **timeouts)
    return (session or boto3.Session()).client(service, region_name=region, config=config)


def aws_session(session: boto3.Session | None = None, region: str | None = None) -> Any:
    """Return what awswrangler takes as `boto3_session`, with the clients that are kept here.

    Given none, awswrangler makes a client for every call, which takes 70 to 220 ms each time.

    Parameters
    ----------
    session : boto3.Session, optional
        Whose credentials to use; by default those of the environment.
    region : str, optional
        By default the session's own.
    """
    return _KeptClients(session, region)


class _KeptClients:
    """The part of a boto3 session that awswrangler asks for."""

    def __init__(self, session: boto3.Session | None, region: str | None) -> None:
        self._session = session
        self._region = region

    @property
    def region_name(self) -> str:
        return str(self.client("s3").meta.region_name)

    def client(self, service_name: str, **_: Any) -> Any:
        """Return the kept client; how often it tries again is our setting, not awswrangler's."""
        return client(service_name, self._session, self._region)


def aws_settings() -> tuple[tuple[str, str], ...]:
    """Return the environment's AWS settings: whatever is kept is kept for as long as they stay."""
    return tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))


def retry_settings(attempts: int = MAX_ATTEMPTS) -> Any:
    """Return how often botocore tries again, with back-off; the environment has the say."""
    if "AWS_MAX_ATTEMPTS" in os.environ:  # a config would overrule it
        return {"mode": "standard"}
    return {"mode": "standard", "max_attempts": attempts}
