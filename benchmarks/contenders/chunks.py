"""Reading a CSV object in chunks: what counts is that memory does not grow with the object."""

from __future__ import annotations

from typing import Any

from benchmarks.job import Job


def batcat(job: Job) -> int:
    """Call BatCat's own."""
    import batcat_runtime as bc

    chunks: Any = bc.read_csv_from_bucket(job.bucket, job.key, chunksize=job.chunk)
    return sum(len(chunk) for chunk in chunks)


def wrangler(job: Job) -> int:
    """Let awswrangler do it."""
    import awswrangler as wr

    options: dict[str, Any] = {"dtype_backend": "pyarrow", "low_memory": False}
    return sum(len(chunk) for chunk in wr.s3.read_csv(job.uri, chunksize=job.chunk, **options))
