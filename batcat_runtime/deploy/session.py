"""The rim to AWS: clients for a region, kept."""

from __future__ import annotations

from typing import Any


def session_for(region: str) -> Any:
    """Return what has a ``client`` for each service in `region`; those of `io`, made once."""
    from batcat_runtime.io.clients import aws_session

    return aws_session(region=region)
