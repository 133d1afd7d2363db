"""The rim to AWS: clients for a region, kept, and the account that they belong to."""

from __future__ import annotations

from typing import Any

from batcat_runtime.config import Config
from batcat_runtime.errors import CredentialsError


def session_for(region: str) -> Any:
    """Return what has a ``client`` for each service in `region`; those of `io`, made once."""
    from batcat_runtime.io.clients import aws_session

    return aws_session(region=region)


def account_of(config: Config) -> str:
    """Return the 12-digit account id of the credentials in use.

    Raises
    ------
    CredentialsError
        There are none, they have expired, or they belong to another partition than the region.
    """
    from batcat_runtime.io.aws_errors import translated
    from batcat_runtime.io.clients import client

    with translated("your AWS account", "sts:GetCallerIdentity"):
        identity = client("sts", region=config.region, hasty=True).get_caller_identity()
    partition = identity["Arn"].split(":")[1]
    if partition != config.partition:
        raise CredentialsError(
            f"The credentials belong to {partition}, but {config.region} is in {config.partition}.",
            fix="Take a profile of that partition (AWS_PROFILE), or change `region` in the config.",
        )
    return str(identity["Account"])
