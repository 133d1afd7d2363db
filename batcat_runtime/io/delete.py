"""Deleting objects that nothing refers to any more; a failure is only logged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from batcat_runtime.errors import BatcatError
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.log import get_logger

if TYPE_CHECKING:
    from batcat_runtime.io.upload import Target

_AT_ONCE = 1000


def keys_below(target: Target, prefix: str) -> list[str]:
    """Return all keys under a prefix; none, and a line in the log, if AWS refuses."""
    where = f"s3://{target.bucket}/{prefix}"
    try:
        with translated(where, "s3:ListBucket"):
            pages = target.client.get_paginator("list_objects_v2").paginate(
                Bucket=target.bucket, Prefix=prefix, **target.owner
            )
            return [one["Key"] for page in pages for one in page.get("Contents", [])]
    except BatcatError as error:
        get_logger().warning("What lies under %s cannot be deleted: %s", where, error)
        return []


def delete_keys(target: Target, keys: Sequence[str]) -> None:
    """Delete objects of the target's bucket; what cannot be deleted is logged."""
    for start in range(0, len(keys), _AT_ONCE):
        some = [{"Key": key} for key in keys[start : start + _AT_ONCE]]
        try:
            with translated(f"s3://{target.bucket}/{some[0]['Key']}", "s3:DeleteObject"):
                answer = target.client.delete_objects(
                    Bucket=target.bucket, Delete={"Objects": some, "Quiet": True}, **target.owner
                )
        except BatcatError as error:
            get_logger().warning("%d objects could not be deleted: %s", len(some), error)
            continue
        for one in answer.get("Errors", []):
            get_logger().warning(
                "s3://%s/%s could not be deleted: %s", target.bucket, one["Key"], one.get("Message")
            )
