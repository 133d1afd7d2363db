"""A prefix of its own for one query's results, which is gone when the query has been read.

UNLOAD writes Parquet files, many at once. They lie under ``<staging>/batcat-<uuid>/``, so that no
other query can meet them, and are deleted however the reading ends: done, failed or interrupted.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import BatcatError, UserError
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.clients import client
from batcat_runtime.io.fetch import PART_BYTES, ObjectReader
from batcat_runtime.io.parquet_read import Source, read_table
from batcat_runtime.io.places import Place, check_bucket
from batcat_runtime.io.ranges import RangeFile
from batcat_runtime.log import get_logger

if TYPE_CHECKING:
    import boto3
    import pyarrow as pa

_PIECE_ROWS = 65_536
_TAIL = 512 << 10  # holds the footer of all but the widest files
_DELETED_AT_ONCE = 1000


class Staging:
    """A fresh prefix; a context manager that deletes everything below it in the end.

    Parameters
    ----------
    s3_staging_dir : str
        Where to make it, such as ``s3://bucket/prefix``.
    region : str, optional
        Of the bucket; by default the session's.
    boto3_session : boto3.Session, optional
        Whose credentials to use; by default those of the environment.

    Attributes
    ----------
    uri : str
        The prefix, with a slash at its end.

    Raises
    ------
    UserError
        The staging place is no ``s3://`` address.
    """

    def __init__(
        self,
        s3_staging_dir: str,
        *,
        region: str | None = None,
        boto3_session: boto3.Session | None = None,
    ) -> None:
        self.bucket, prefix = split_uri(s3_staging_dir, "s3_staging_dir")
        self._prefix = f"{prefix}batcat-{uuid.uuid4()}/"
        self.uri = f"s3://{self.bucket}/{self._prefix}"
        self._region, self._session = region, boto3_session

    def __enter__(self) -> Staging:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.clear()

    def tables(self, folder: str, *, whole: bool) -> Iterator[pa.Table]:
        """Give the rows of the Parquet files below a folder, in the order of the files' keys.

        Parameters
        ----------
        folder : str
            Below the prefix, with a slash at its end.
        whole : bool
            Whether all files are read side by side into one table; otherwise one after the other,
            in pieces, so that memory holds a row group and no more.
        """
        places = [place for place in self._listed(folder) if place.size]
        if not places:
            return
        if whole:
            yield read_table(Source(self._s3(), places))
            return
        for place in places:
            yield from self._pieces(place)

    def clear(self) -> None:
        """Delete everything below the prefix; what cannot be deleted is named in the log."""
        try:
            keys = [{"Key": place.key} for place in self._listed("")]
            delete_keys(self._s3(), self.bucket, keys)
        except BatcatError as error:
            get_logger().warning("%s was not cleaned up: %s", self.uri, error.message)

    def _s3(self) -> Any:
        return client("s3", self._session, self._region)

    def _listed(self, folder: str) -> list[Place]:
        with translated(self.uri, "s3:ListBucket"):
            pages = (
                self._s3()
                .get_paginator("list_objects_v2")
                .paginate(Bucket=self.bucket, Prefix=self._prefix + folder)
            )
            return [
                Place(self.bucket, one["Key"], one["Size"])
                for page in pages
                for one in page.get("Contents", ())
            ]

    def _pieces(self, place: Place) -> Iterator[pa.Table]:
        import pyarrow as pa
        from pyarrow import parquet

        reader = ObjectReader(self._s3(), place, tail=place.size if _is_small(place) else _TAIL)
        with RangeFile(reader) as ranges:
            file = parquet.ParquetFile(pa.PythonFile(ranges, mode="r"), pre_buffer=False)
            for batch in file.iter_batches(_PIECE_ROWS):
                yield pa.Table.from_batches([batch])


def _is_small(place: Place) -> bool:
    return place.size is not None and place.size <= PART_BYTES


def split_uri(uri: str, name: str) -> tuple[str, str]:
    """Return bucket and prefix of an ``s3://`` address; the prefix is empty or ends in a slash.

    Examples
    --------
    >>> split_uri("s3://apac-athena-queryresult/ATHENA_QUERY", "s3_staging_dir")
    ('apac-athena-queryresult', 'ATHENA_QUERY/')
    """
    if not isinstance(uri, str) or not uri.startswith("s3://"):
        raise UserError(
            f"{name}={uri!r} is no place in S3.", fix="For example 's3://bucket/athena-results'."
        )
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    check_bucket(bucket)
    prefix = prefix.strip("/")
    return bucket, f"{prefix}/" if prefix else ""


def split_key(uri: str) -> tuple[str, str]:
    """Return bucket and key of one object's ``s3://`` address."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def delete_keys(s3: Any, bucket: str, keys: list[dict[str, str]]) -> None:
    """Delete objects, a thousand with each request."""
    for start in range(0, len(keys), _DELETED_AT_ONCE):
        batch = keys[start : start + _DELETED_AT_ONCE]
        with translated(f"s3://{bucket}/{batch[0]['Key']}", "s3:DeleteObject"):
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
        for failed in answer.get("Errors", ())[:1]:
            get_logger().warning(
                "s3://%s/%s was not deleted: %s", bucket, failed["Key"], failed.get("Message")
            )
