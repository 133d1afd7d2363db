"""The rim to AWS: one boto3 session per deployment, and the account that it belongs to."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from batcat_runtime.config import Config
from batcat_runtime.errors import CredentialsError


def session_for(region: str) -> Any:
    """Return a boto3 session for `region`; kept, since each costs a tenth of a second.

    It is kept for as long as the AWS settings of the environment stay as they are, so that another
    profile in a notebook is never answered with the old one's credentials. Its clients try again
    with back-off when AWS asks to slow down, as often as those of `io`.
    """
    from batcat_runtime.io.clients import aws_settings

    return _session(region, aws_settings())


@lru_cache(maxsize=8)
def _session(region: str, settings: tuple[tuple[str, str], ...]) -> Any:
    import boto3
    import botocore.session
    from botocore.config import Config

    from batcat_runtime.io.clients import retry_settings

    core = botocore.session.get_session()
    core.set_default_client_config(Config(retries=retry_settings()))
    return boto3.Session(region_name=region, botocore_session=core)


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
