"""Reading CSV: one large object, and many small ones under a prefix, into a pandas DataFrame."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.contenders.listing import keys_of
from benchmarks.job import Job


def batcat(job: Job) -> Any:
    """Call BatCat's own."""
    import batcat_runtime as bc

    return bc.read_csv_from_bucket(job.bucket, job.key)


def floor_one(job: Job) -> Any:
    """Parse the local file."""
    from pyarrow import csv

    return csv.read_csv(job.path).to_pandas()


def floor_many(job: Job) -> Any:
    """Parse the local files, one after the other."""
    import pyarrow as pa
    from pyarrow import csv

    return pa.concat_tables([csv.read_csv(path) for path in job.paths]).to_pandas()


def boto3_stream(job: Job) -> Any:
    """Parse an object while it comes."""
    import boto3
    from pyarrow import csv

    body = boto3.client("s3").get_object(Bucket=job.bucket, Key=job.key)["Body"]
    return csv.read_csv(body).to_pandas()


def boto3_pool(job: Job) -> Any:
    """Get many objects at once, parse each when it is there."""
    import boto3
    import pyarrow as pa
    from pyarrow import csv

    s3 = boto3.client("s3")

    def table(key: str) -> Any:
        body = s3.get_object(Bucket=job.bucket, Key=key)["Body"].read()
        return csv.read_csv(pa.BufferReader(body))

    with ThreadPoolExecutor(8) as pool:
        return pa.concat_tables(list(pool.map(table, keys_of(job)))).to_pandas()


def wrangler_download(job: Job) -> Any:
    """Let awswrangler download into memory, then parse."""
    import awswrangler as wr
    import pyarrow as pa
    from pyarrow import csv

    sink = io.BytesIO()
    wr.s3.download(job.uri, sink, use_threads=False)
    return csv.read_csv(pa.BufferReader(sink.getbuffer())).to_pandas()


def wrangler_parallel(job: Job) -> Any:
    """Let awswrangler download over several connections, then parse."""
    import awswrangler as wr
    import pyarrow as pa
    from pyarrow import csv

    sink = io.BytesIO()
    wr.s3.download(job.uri, sink, use_threads=True)
    return csv.read_csv(pa.BufferReader(sink.getbuffer())).to_pandas()


def wrangler(job: Job) -> Any:
    """Let awswrangler do it all."""
    import awswrangler as wr

    return wr.s3.read_csv(job.uri)


def wrangler_tuned(job: Job) -> Any:
    """Let awswrangler do it all, at its best: Arrow's parser, and threads for many objects."""
    import awswrangler as wr

    return wr.s3.read_csv(job.uri, engine="pyarrow", use_threads=True)


def arrow_dataset(job: Job) -> Any:
    """Read with Arrow's own S3 client."""
    from pyarrow import dataset

    place = f"{job.bucket}/{job.key.rstrip('/')}"
    return dataset.dataset(place, format="csv", filesystem=arrow_s3(job)).to_table().to_pandas()


def arrow_s3(job: Job) -> Any:
    """Return Arrow's own S3 client."""
    from pyarrow import fs

    return fs.S3FileSystem(
        access_key=job.access_key,
        secret_key=job.secret_key,
        endpoint_override=job.host,
        scheme="http",
        region="us-east-1",
    )


def original_one(job: Job) -> Any:
    """Do what BatCat did before: the whole body into memory, then pandas."""
    import boto3
    import pandas as pd

    body = boto3.client("s3").get_object(Bucket=job.bucket, Key=job.key)["Body"].read()
    return pd.read_csv(io.BytesIO(body))


def original_many(job: Job) -> Any:
    """Do the same for one object after the other."""
    import boto3
    import pandas as pd

    s3 = boto3.client("s3")
    bodies = (s3.get_object(Bucket=job.bucket, Key=key)["Body"] for key in keys_of(job))
    return pd.concat([pd.read_csv(io.BytesIO(body.read())) for body in bodies])
