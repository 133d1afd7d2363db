"""What an event that a Lambda function receives says of S3: which object, in which bucket.

Two forms come from S3: its own notification, with a list of records, in which keys are URL-encoded;
and the event that EventBridge delivers, one object an event, with the key as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from batcat_runtime.errors import EventError


class BucketKey(NamedTuple):
    """A bucket and a key in it."""

    bucket: str
    key: str


def print_event(event: Any) -> None:
    """Print an event as JSON, one line, which CloudWatch Logs keeps together as one entry.

    Parameters
    ----------
    event : dict
        What a Lambda handler receives.

    Examples
    --------
    >>> print_event({"scheduled_time": "2022-01-08T18:00:00Z"})
    Received event: {"scheduled_time": "2022-01-08T18:00:00Z"}
    """
    print("Received event:", json.dumps(event, ensure_ascii=False, default=str), flush=True)


def get_bucket_key(event: Mapping[str, Any]) -> list[BucketKey]:
    """Return bucket and key of every object that an S3 event is about.

    Parameters
    ----------
    event : dict
        An S3 notification (``{"Records": [...]}``) or an S3 event from EventBridge.

    Returns
    -------
    list of BucketKey
        Pairs of bucket and key, in the event's order; keys as S3 has them, not URL-encoded.

    Raises
    ------
    EventError
        The event is neither, or a record of it is not from S3.

    Examples
    --------
    >>> record = {"s3": {"bucket": {"name": "landing"}, "object": {"key": "a+b%2B.csv"}}}
    >>> for bucket, key in get_bucket_key({"Records": [record]}):
    ...     print(bucket, key)
    landing a b+.csv
    """
    if isinstance(event, Mapping):
        if isinstance(event.get("Records"), list):
            return [_of_record(record) for record in event["Records"]]
        if event.get("source") == "aws.s3":
            detail = event.get("detail")
            return [_pair(detail, decode=False)]
    raise EventError(
        "The event is no S3 event: it has neither Records nor the source aws.s3.",
        fix="Look at it with print_event(event).",
    )


def _of_record(record: Any) -> BucketKey:
    return _pair(record.get("s3") if isinstance(record, Mapping) else None, decode=True)


def _pair(part: Any, *, decode: bool) -> BucketKey:
    try:
        bucket, key = part["bucket"]["name"], part["object"]["key"]
    except (KeyError, TypeError) as error:
        raise EventError(
            "A record of the event names no bucket and key, so it is not from S3.",
            fix="Look at it with print_event(event).",
        ) from error
    return BucketKey(str(bucket), unquote_plus(str(key)) if decode else str(key))
