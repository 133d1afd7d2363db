"""Listing keys: all contenders count what they list, without keeping it."""

from __future__ import annotations

from typing import Any

from benchmarks.job import Job


def batcat(job: Job) -> int:
    """Call BatCat's own."""
    import batcat_runtime as bc

    return sum(1 for _ in bc.list_keys(job.bucket, job.key))


def paginator(job: Job) -> int:
    """Page through with boto3."""
    import boto3

    pages = boto3.client("s3").get_paginator("list_objects_v2")
    found = pages.paginate(Bucket=job.bucket, Prefix=job.key)
    return sum(1 for page in found for _ in page.get("Contents", []))


def wrangler(job: Job) -> int:
    """Let awswrangler make its list."""
    import awswrangler as wr

    return len(wr.s3.list_objects(job.uri))


def read_all(job: Job) -> int:
    """Read every object once: then the server knows their digests, and the kernel their bytes."""
    import boto3

    s3 = boto3.client("s3")
    keys = keys_of(job)
    for key in keys:
        for _ in s3.get_object(Bucket=job.bucket, Key=key)["Body"].iter_chunks(1 << 20):
            pass
    return len(keys)


def keys_of(job: Job) -> list[Any]:
    """Return the keys under a prefix, for contenders that read them one by one."""
    import boto3

    answer = boto3.client("s3").list_objects_v2(Bucket=job.bucket, Prefix=job.key)
    return [found["Key"] for found in answer["Contents"]]
