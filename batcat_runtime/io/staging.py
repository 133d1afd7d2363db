"""A prefix of its own for one query's results, which is gone when the query has been read.

UNLOAD writes Parquet files, many at once. They lie under ``<staging>/batcat-<uuid>/``, so that no
other query can meet them, and are deleted however the reading ends: done, failed or interrupted.
"""

from __future__ import annotations

import glob
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

from batcat_runtime.errors import UserError
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.clients import aws_session
from batcat_runtime.io.parquet_read import Source, read_table, table_pieces
from batcat_runtime.io.places import place_of
from batcat_runtime.io.upload import delete_objects

if TYPE_CHECKING:
    import boto3
    import pyarrow as pa

_PIECE_ROWS = 65_536


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
    bucket : str
    uri : str
        The prefix, with a slash at its end.
    outside : list of str
        Addresses of objects elsewhere that belong to it.

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
        self.uri = f"s3://{self.bucket}/{prefix}batcat-{uuid.uuid4()}/"
        self.outside: list[str] = []
        self._session = aws_session(boto3_session, region)

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *_: object) -> None:
        delete_objects(f"{glob.escape(self.uri)}*", self._session)
        delete_objects(self.outside, self._session)

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
        import awswrangler as wr

        with translated(self.uri, "s3:ListBucket"):
            found = wr.s3.list_objects(
                f"{glob.escape(self.uri)}{folder}*", ignore_empty=True, boto3_session=self._session
            )
        places, s3 = [place_of(uri) for uri in found], self._session.client("s3")
        if not whole:
            yield from table_pieces(s3, places, _PIECE_ROWS)
        elif places:
            yield read_table(Source(s3, places))


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
    place = place_of(uri)
    prefix = place.key.strip("/")
    return place.bucket, f"{prefix}/" if prefix else ""
