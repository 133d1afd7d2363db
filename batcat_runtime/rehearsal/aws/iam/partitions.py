"""Accounts of one partition are unknown in another: an access key of China opens nothing elsewhere.

moto knows every key everywhere. The words are those that each protocol's services use for a key
that they do not know.
"""

from __future__ import annotations

from collections.abc import Callable

from moto.utilities.utils import get_partition

from ...wire import Call, ServiceError

_INVALID = "The security token included in the request is invalid."


def key_rule(partition_of_key: Callable[[str], str | None]) -> Callable[[Call], None]:
    """Make the rule that a key is known in its own partition only.

    Parameters
    ----------
    partition_of_key : callable
        From an access key to the partition that gave it out; None for one that none did.
    """

    def keys_have_a_partition(call: Call) -> None:
        if partition_of_key(call.access_key) in (None, get_partition(call.region)):
            return
        if call.service == "s3":
            raise ServiceError(
                "InvalidAccessKeyId",
                "The AWS Access Key Id you provided does not exist in our records.",
                403,
                {"AWSAccessKeyId": call.access_key},
            )
        if call.protocol in ("query", "ec2"):
            raise ServiceError("InvalidClientTokenId", _INVALID, 403)
        raise ServiceError("UnrecognizedClientException", _INVALID)

    return keys_have_a_partition
