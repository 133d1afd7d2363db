"""Saving a DataFrame as one object."""

from __future__ import annotations

import io
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from benchmarks.job import Job

_PART = 8 << 20


def batcat(job: Job) -> None:
    """Call BatCat's own: CSV or Parquet by suffix."""
    import batcat_runtime as bc

    bc.save_to_bucket(job.frame, job.bucket, job.key)


def floor_csv(job: Job) -> None:
    """Write CSV to the local disk."""
    import pyarrow as pa
    from pyarrow import csv

    csv.write_csv(pa.Table.from_pandas(job.frame, preserve_index=False), job.path)


def multipart_stream(job: Job) -> None:
    """Let Arrow write CSV into a multipart upload."""
    import boto3
    import pyarrow as pa
    from pyarrow import csv

    with ThreadPoolExecutor(2) as pool:
        upload = _Upload(boto3.client("s3"), job, pool)
        csv.write_csv(pa.Table.from_pandas(job.frame, preserve_index=False), upload)
        upload.complete()


class _Upload(io.RawIOBase):
    """A file-like thing that sends what is written to it as parts."""

    def __init__(self, s3: Any, job: Job, pool: ThreadPoolExecutor) -> None:
        self._s3, self._pool = s3, pool
        self._to = {"Bucket": job.bucket, "Key": job.key}
        self._to["UploadId"] = s3.create_multipart_upload(**self._to)["UploadId"]
        self._parts: list[Future[Any]] = []
        self._buffer = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._buffer += data
        if len(self._buffer) >= _PART:
            self._send()
        return len(data)

    def complete(self) -> None:
        self._send()
        parts = [
            {"PartNumber": number, "ETag": part.result()["ETag"]}
            for number, part in enumerate(self._parts, 1)
        ]
        self._s3.complete_multipart_upload(**self._to, MultipartUpload={"Parts": parts})

    def _send(self) -> None:
        if len(self._parts) >= 2:
            self._parts[-2].result()
        body, self._buffer = bytes(self._buffer), bytearray()
        number = len(self._parts) + 1
        send = self._s3.upload_part
        self._parts.append(self._pool.submit(send, PartNumber=number, Body=body, **self._to))


def wrangler_csv(job: Job) -> None:
    """Let awswrangler write CSV."""
    import awswrangler as wr

    wr.s3.to_csv(job.frame, job.uri, index=False)


def wrangler_parquet(job: Job) -> None:
    """Let awswrangler write Parquet."""
    import awswrangler as wr

    wr.s3.to_parquet(job.frame, job.uri, index=False)


def original(job: Job) -> None:
    """Do what BatCat did before: a text in memory, one request."""
    import boto3

    text = io.StringIO()
    job.frame.to_csv(text, index=False)
    boto3.client("s3").put_object(Bucket=job.bucket, Key=job.key, Body=text.getvalue())
