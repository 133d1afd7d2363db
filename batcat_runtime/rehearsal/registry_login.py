"""The registry's password, with the host that the registry has in its partition.

moto writes `amazonaws.com` into the proxy endpoint in every region; in China that is another host
than the one in `repositoryUri`, and a `docker login` there is no use for a push.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

from .operations import Operation
from .wire import ACCOUNT_ID, Call

_VALID = timedelta(hours=12)


def operations() -> dict[tuple[str, str], Operation]:
    """Return the operations that this room performs."""
    return {("ecr", "GetAuthorizationToken"): authorization_token}


def authorization_token(call: Call) -> dict[str, Any]:
    """Give a password for each registry that is asked for, or for the account's own."""
    suffix = "amazonaws.com.cn" if call.region.startswith("cn-") else "amazonaws.com"
    return {
        "authorizationData": [
            {
                "authorizationToken": base64.b64encode(f"AWS:{one}-auth-token".encode()).decode(),
                "expiresAt": datetime.now(UTC) + _VALID,
                "proxyEndpoint": f"https://{one}.dkr.ecr.{call.region}.{suffix}",
            }
            for one in call.params.get("registryIds") or [ACCOUNT_ID]
        ]
    }
