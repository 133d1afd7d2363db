"""Where a bucket lies and whose it is: S3 serves it in its own region, to its own account.

moto answers for any bucket in any region and to everyone. S3 sends a client of another region away
(clients then follow by themselves, since the answer names the bucket's region), knows no bucket of
another partition, and lets in another account only where the bucket's policy says so.

Sources: S3 user guide, "Request redirection and the REST API", "Verifying bucket ownership with
bucket owner condition", "Cross-account policy evaluation logic" of the IAM user guide.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from moto.utilities.utils import get_partition

from .aws.iam.conditions import listed
from .aws.iam.evaluation import decide
from .aws.iam.needs_s3 import s3_needs
from .wire import Call, ServiceError


@dataclass(frozen=True)
class BucketPlace:
    """Where a bucket lies, whose it is, and its policy as JSON, or ``""``."""

    partition: str
    region: str
    account: str
    policy: str = ""


# From a bucket's name to its place, and from an access key to its account.
Locate = Callable[[str], BucketPlace | None]
AccountOf = Callable[[str], str]


def bucket_rule(locate: Locate, account_of: AccountOf) -> Callable[[Call], None]:
    """Make the rule that a bucket is there for its own region and its own account.

    Parameters
    ----------
    locate : callable
        From a bucket's name to where it lies; None when there is none.
    account_of : callable
        From an access key to the account that it belongs to.
    """

    def buckets_have_a_place(call: Call) -> None:
        name = call.params.get("Bucket")
        if call.service != "s3" or call.operation == "CreateBucket" or not isinstance(name, str):
            return
        place = locate(name)
        if place is None:
            return  # moto says that there is none
        if place.partition != get_partition(call.region):
            raise ServiceError(
                "NoSuchBucket", "The specified bucket does not exist", 404, {"BucketName": name}
            )
        if place.region != call.region:
            _send_away(call, name, place.region)
        expected = call.params.get("ExpectedBucketOwner") or place.account
        if expected != place.account or not _lets_in(place, call, account_of(call.access_key)):
            headers = {"x-amz-bucket-region": place.region}
            raise ServiceError("AccessDenied", "Access Denied", 403, headers=headers)

    return buckets_have_a_place


def _send_away(call: Call, bucket: str, region: str) -> None:
    """Answer a client of another region, as the endpoint that it speaks to does."""
    if call.region == "us-east-1":
        # Its endpoint is the global one: DNS leads to the bucket, where only the signature is wrong
        if call.operation == "GetBucketLocation":
            return
        raise ServiceError(
            "AuthorizationHeaderMalformed",
            f"The authorization header is malformed; the region 'us-east-1' is wrong; expecting "
            f"'{region}'",
            400,
            {"Region": region},
            headers={"x-amz-bucket-region": region},
        )
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    raise ServiceError(
        "PermanentRedirect",
        "The bucket you are attempting to access must be addressed using the specified endpoint. "
        "Please send all future requests to this endpoint.",
        301,
        {"Endpoint": f"{bucket}.s3.{region}.{suffix}", "Bucket": bucket},
        headers={"x-amz-bucket-region": region},
    )


def _lets_in(place: BucketPlace, call: Call, account: str) -> bool:
    """Tell whether a caller of this account gets in; what roles of the own one may, IAM says."""
    if account == place.account:
        return True
    if not place.policy:
        return False
    statements = [
        one for one in listed(json.loads(place.policy).get("Statement")) if _names(one, account)
    ]
    document = {"Version": "2012-10-17", "Statement": statements}
    return bool(statements) and all(decide([document], need).allowed for need in s3_needs(call))


def _names(statement: dict[str, Any], account: str) -> bool:
    named = statement.get("Principal")
    principals = named.get("AWS") if isinstance(named, dict) else named
    return any(one in ("*", account) or f":{account}:" in str(one) for one in listed(principals))
