"""S3: tables in and out of a bucket, under the tutorial's names, on awswrangler.

A key is one object, exactly: awswrangler takes a text for a prefix, so it is always given a list.
What S3 refuses becomes one typed error with a fix, see `batcat_runtime.io.aws_errors`.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

from batcat_runtime.config import bucket_problem
from batcat_runtime.errors import DataFormatError, UserError
from batcat_runtime.io.aws_errors import translated

if TYPE_CHECKING:
    import boto3
    import pandas as pd


def read_csv_from_bucket(
    bucket: str, key: str, *, boto3_session: boto3.Session | None = None, **read_csv: Any
) -> pd.DataFrame:
    """Read one CSV object from S3.

    Parameters
    ----------
    bucket : str
        The bucket's name, without ``s3://``.
    key : str
        The object's key. It need not end in ``.csv``; ``.gz``, ``.bz2``, ``.xz``, ``.zip`` and
        ``.zst`` are decompressed.
    boto3_session : boto3.Session, optional
        The default session if left out.
    **read_csv
        Further arguments for `pandas.read_csv`, such as ``dtype`` or ``usecols``.

    Returns
    -------
    pandas.DataFrame
        Types as `pandas.read_csv` infers them.

    Raises
    ------
    NoSuchObjectError
        The bucket or the key does not exist.
    AccessDeniedError, CredentialsError, ServiceError
        AWS refused.
    DataFormatError
        The object is no CSV.

    Examples
    --------
    >>> read_csv_from_bucket("2022-rnd-battery", "usage")  # doctest: +SKIP
    """
    _check_place(bucket, key)
    import awswrangler as wr
    import pandas as pd

    with translated(f"s3://{bucket}/{key}", "s3:GetObject"), warnings.catch_warnings():
        # awswrangler 3.17 passes pandas.concat an argument that pandas 3 no longer wants
        warnings.filterwarnings("ignore", message="The copy keyword", module="awswrangler")
        try:
            found: pd.DataFrame = wr.s3.read_csv(
                [f"s3://{bucket}/{key}"], boto3_session=boto3_session, **read_csv
            )
        except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
            raise DataFormatError(
                f"s3://{bucket}/{key} cannot be read as CSV: {error}.",
                fix="Check `sep`, `encoding` and `skiprows`, or that this is the right object.",
            ) from error
    return found


def save_to_bucket(
    df: pd.DataFrame, bucket: str, key: str, *, boto3_session: boto3.Session | None = None
) -> str:
    """Save a table as one CSV object in S3, without its index.

    Parameters
    ----------
    df : pandas.DataFrame
        The table; it may have no rows.
    bucket, key : str
        Where to; an object that is there already is replaced. Readers see the old object or the new
        one, never a part: S3 makes an upload visible at its end.
    boto3_session : boto3.Session, optional
        The default session if left out.

    Returns
    -------
    str
        The object's ``s3://`` address.

    Raises
    ------
    NoSuchObjectError
        The bucket does not exist.
    AccessDeniedError, CredentialsError, ServiceError
        AWS refused.

    Examples
    --------
    >>> save_to_bucket(frame, "2022-rnd-battery", "usage")  # doctest: +SKIP
    's3://2022-rnd-battery/usage'
    """
    _check_place(bucket, key)
    import boto3

    uri = f"s3://{bucket}/{key}"
    client = (boto3_session or boto3).client("s3")
    with translated(uri, "s3:PutObject"):
        client.upload_fileobj(io.BytesIO(df.to_csv(index=False).encode()), bucket, key)
    return uri


def _check_place(bucket: str, key: str) -> None:
    reason = bucket_problem(bucket)
    if reason:
        raise UserError(
            f"{bucket!r} is no S3 bucket name: {reason}.",
            fix="Give the bucket's name alone, for example '2022-rnd-battery'.",
        )
    if not key or len(key.encode()) > 1024 or key.endswith("/"):
        raise UserError(
            f"{key!r} is no key of an S3 object: it must have 1 to 1,024 bytes and not end in '/'.",
            fix="For example 'usage/2022.csv'.",
        )
