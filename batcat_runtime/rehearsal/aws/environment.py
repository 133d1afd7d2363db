"""The environment that points every AWS client at the embedded AWS, and at nothing else."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

# How moto is set up in the server process. MOTO_ACCOUNT_ID is not among it: moto's default is ours.
MOTO_SETTINGS = {
    "MOTO_DISABLE_GLOBAL_CORS": "1",
    "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
    # Buckets are in the path: a client that is given an IP address never puts them into the host.
    "S3_IGNORE_SUBDOMAIN_BUCKETNAME": "1",
}
# What the server is told, and nobody else: the token, the administrator's key and its secret.
SECRETS_VARIABLE = "BATCAT_EMBEDDED_AWS_SECRETS"
# Variables that would lead a client past the embedded AWS, or to somebody's real account.
REMOVED = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_CA_BUNDLE",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_SECURITY_TOKEN",
)
Keys = tuple[str, str, str]
_LOOPBACK = "127.0.0.1,localhost,::1"


def new_keys() -> Keys:
    """Return an access key as IAM makes them, and its secret; the third, a token, is empty."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    return ("AKIA" + "".join(secrets.choice(letters) for _ in range(16)), secrets.token_hex(20), "")


def job_variables(endpoint_url: str, region: str, keys: Keys) -> dict[str, str]:
    """Return the variables that lead a job, or a function, to the embedded AWS.

    Parameters
    ----------
    endpoint_url, region : str
        Where the embedded AWS listens, and the default region.
    keys : tuple of str
        Access key id, secret and session token.
    """
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        "AWS_ACCESS_KEY_ID": keys[0],
        "AWS_SECRET_ACCESS_KEY": keys[1],
        **({"AWS_SESSION_TOKEN": keys[2]} if keys[2] else {}),
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": _LOOPBACK,
        "no_proxy": _LOOPBACK,
    }


def client_environment(endpoint_url: str, region: str, home: Path, keys: Keys) -> dict[str, str]:
    """Return the variables that a process needs to speak to the embedded AWS.

    Parameters
    ----------
    endpoint_url, region : str
        Where the embedded AWS listens, and the default region.
    home : pathlib.Path
        Its work directory; empty AWS configuration files are kept there.
    keys : tuple of str
        The administrator's.

    Returns
    -------
    dict of str to str
        No key of it may hold a real credential.
    """
    home.mkdir(parents=True, exist_ok=True)
    for name in ("aws-config", "aws-credentials"):
        (home / name).touch()
    return {
        **job_variables(endpoint_url, region, keys),
        "AWS_CONFIG_FILE": str(home / "aws-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "aws-credentials"),
        "BATCAT_REHEARSAL_HOME": str(home),
    }


@contextmanager
def applied(environment: Mapping[str, str]) -> Iterator[None]:
    """Set variables of this process, drop those that would lead astray, and restore all at the end.

    So is boto3's default session, which would go on with the credentials that it has seen first.

    Parameters
    ----------
    environment : mapping of str to str
        What `client_environment` returned.
    """
    import boto3

    names = [name for name in os.environ if name.startswith("AWS_ENDPOINT_URL_")]
    touched = {*environment, *REMOVED, *names}
    before = {name: os.environ[name] for name in touched if name in os.environ}
    # boto3's default session keeps credentials: neither the user's in here, nor ours afterwards
    session, boto3.DEFAULT_SESSION = boto3.DEFAULT_SESSION, None
    for name in touched:
        os.environ.pop(name, None)
    os.environ.update(environment)
    try:
        yield
    finally:
        for name in touched:
            os.environ.pop(name, None)
        os.environ.update(before)
        boto3.DEFAULT_SESSION = session
