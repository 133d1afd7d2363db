"""The rim to AWS: one boto3 session per deployment."""

from __future__ import annotations

from functools import lru_cache
from typing import Any


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
