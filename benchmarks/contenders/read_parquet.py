"""Reading Parquet: one large object, and many small ones under a prefix, into a DataFrame."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.contenders.listing import keys_of
from benchmarks.contenders.read_csv import arrow_s3
from benchmarks.job import Job

_TWO = ["pack", "resistance"]  # those that are looked at, see `benchmarks.worker`


def batcat(job: Job) -> Any:
    """Call BatCat's own."""
    import batcat_runtime as bc

    return bc.read_parquet_from_bucket(job.bucket, job.key)


def batcat_columns(job: Job) -> Any:
    """Read two columns."""
    import batcat_runtime as bc

    return bc.read_parquet_from_bucket(job.bucket, job.key, columns=_TWO)


def floor(job: Job) -> Any:
    """Read the local file, or folder of files."""
    from pyarrow import parquet

    return parquet.read_table(job.path).to_pandas()


def arrow(job: Job) -> Any:
    """Read with Arrow's own S3 client."""
    from pyarrow import parquet

    place = f"{job.bucket}/{job.key.rstrip('/')}"
    return parquet.read_table(place, filesystem=arrow_s3(job)).to_pandas()


def wrangler_download(job: Job) -> Any:
    """Let awswrangler download into memory, then decode."""
    import awswrangler as wr
    import pyarrow as pa
    from pyarrow import parquet

    sink = io.BytesIO()
    wr.s3.download(job.uri, sink, use_threads=False)
    return parquet.read_table(pa.BufferReader(sink.getbuffer())).to_pandas()


def wrangler(job: Job) -> Any:
    """Let awswrangler do it all."""
    import awswrangler as wr

    return wr.s3.read_parquet(job.uri)


def wrangler_tuned(job: Job) -> Any:
    """Let it keep its clients, and spare it numpy's types: that is when it is fastest."""
    import awswrangler as wr

    from batcat_runtime.io.clients import aws_session

    return wr.s3.read_parquet(job.uri, dtype_backend="pyarrow", boto3_session=aws_session())


def wrangler_columns(job: Job) -> Any:
    """Let awswrangler read two columns."""
    import awswrangler as wr

    return wr.s3.read_parquet(job.uri, columns=_TWO)


def boto3_pool(job: Job) -> Any:
    """Get many objects at once, decode each when it is there."""
    import boto3
    import pyarrow as pa
    from pyarrow import parquet

    s3 = boto3.client("s3")

    def table(key: str) -> Any:
        body = s3.get_object(Bucket=job.bucket, Key=key)["Body"].read()
        return parquet.read_table(pa.BufferReader(body), use_threads=False)

    with ThreadPoolExecutor(8) as pool:
        return pa.concat_tables(list(pool.map(table, keys_of(job)))).to_pandas()
