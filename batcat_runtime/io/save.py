"""Saving a table as one object in S3: CSV, Parquet or Excel.

A save is checked as a whole before the first request. Then the text or the row groups are made in
slices and streamed (`batcat_runtime.io.upload`), so memory stays flat and no reader sees a part.
"""

from __future__ import annotations

import io
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import pyarrow as pa

from batcat_runtime.errors import DataFormatError, UserError
from batcat_runtime.io.clients import client
from batcat_runtime.io.csv_write import csv_slices
from batcat_runtime.io.parquet_write import parquet_pieces, unfit_named
from batcat_runtime.io.places import check_key, place_of
from batcat_runtime.io.upload import Target, object_settings, owner_of, stream_object

if TYPE_CHECKING:
    import boto3

Format = Literal["csv", "parquet", "excel"]
Encryption = Literal["AES256", "aws:kms", "aws:kms:dsse"]

_SUFFIXES = {".parquet": "parquet", ".pq": "parquet", ".xlsx": "excel"}
_TEXT_CODECS = {".gz": "gzip", ".zst": "zstd"}
_UNKNOWN_CODECS = (".bz2", ".xz", ".zip", ".lz4", ".br", ".7z")
# Of each format: its content type, and how it can be compressed.
_FORMATS: dict[str, tuple[str, tuple[str, ...]]] = {
    "csv": ("text/csv; charset=utf-8", ("gzip", "zstd")),
    "parquet": ("application/vnd.apache.parquet", ("snappy", "zstd", "gzip", "lz4", "brotli")),
    "excel": ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ()),
}
_EXCEL_ROWS = 1_048_576
_EXCEL_TEXT = 32_767


def save_to_bucket(
    df: pd.DataFrame | pa.Table,
    bucket: str,
    key: str = "",
    *,
    format: Format | None = None,  # noqa: A002 - pandas and awswrangler call it so
    index: bool | None = None,
    compression: str | None = "infer",
    encryption: Encryption | None = None,
    kms_key_id: str | None = None,
    bucket_key: bool | None = None,
    storage_class: str | None = None,
    metadata: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    expected_bucket_owner: str | None = None,
    boto3_session: boto3.Session | None = None,
) -> str:
    """Save a table as one object in S3, whole or not at all.

    An object that is there already is replaced. Readers see the old one or the new one, never a
    part, whatever happens to this process: S3 makes an upload visible at its end. Large tables are
    made and uploaded in slices, with some 64 MB of memory beside the table itself; an object may
    have 84 GB. A process that is killed can leave parts that nobody sees but that are paid for: a
    lifecycle rule of the bucket (AbortIncompleteMultipartUpload) removes them.

    Parameters
    ----------
    df : pandas.DataFrame or pyarrow.Table
        The table; it may have no rows. So may anything else that hands over Arrow's C stream, such
        as a polars DataFrame.
    bucket, key : str
        Where to: the bucket's name and the object's key; or, as `bucket`, the one address
        ``s3://bucket/key``.
    format : {"csv", "parquet", "excel"}, optional
        By default what the key ends in: ``.parquet`` or ``.pq``, ``.xlsx``, and CSV for all others.
    index : bool, optional
        Whether the index is saved: in front of the columns (CSV, Excel) or as an index again
        (Parquet). By default one that has names or is not of integers is, since it holds data;
        nameless integers, which number the rows or are what filtering left of that, are not.
    compression : str or None
        ``"infer"``, the default: CSV is compressed if the key ends in ``.gz`` or ``.zst``, Parquet
        with snappy. Otherwise ``"gzip"`` or ``"zstd"`` for CSV; ``"snappy"``, ``"zstd"``,
        ``"gzip"``, ``"lz4"`` or ``"brotli"`` for Parquet; None for none.
    encryption : {"AES256", "aws:kms", "aws:kms:dsse"}, optional
        How S3 encrypts the object. By default as the bucket says; ``"aws:kms"`` if there is a
        `kms_key_id`.
    kms_key_id : str, optional
        Id, ARN or alias of the key in KMS.
    bucket_key : bool, optional
        Whether S3 uses a bucket key, which makes many encrypted objects cheaper.
    storage_class : str, optional
        Such as ``"STANDARD_IA"``.
    metadata, tags : mapping of str to str, optional
        Kept with the object. Tags need the permission s3:PutObjectTagging.
    expected_bucket_owner : str, optional
        The account that must own the bucket: the save is refused if a stranger's bucket has got the
        name. 12 digits.
    boto3_session : boto3.Session, optional
        The default session if left out.

    Returns
    -------
    str
        The object's ``s3://`` address.

    Raises
    ------
    UserError
        An argument is impossible; nothing was sent.
    DataFormatError
        The table holds what the format cannot carry; the message names the column. Nothing was
        changed.
    NoSuchBucketError
        The bucket does not exist.
    AccessDeniedError, CredentialsError, ConnectError, ThrottledError, ServiceError
        AWS refused or was out of reach; nothing was changed, unless the message says that this is
        not known, because the answer to the last request was lost.

    Notes
    -----
    CSV is UTF-8 without a byte order mark. No value is printed as nothing; a text that would read
    as no value, such as an empty one or ``NA``, is quoted, others where that is needed. Floats are
    printed with all the digits that they need to come back the same, timestamps as ISO 8601 (with a
    time zone: in UTC, with a ``Z``), dates as ``2022-01-31``, booleans as ``true`` and ``false``,
    decimals exactly, lists and dicts as JSON. CSV does not carry types: a text such as ``007`` is
    read as a number unless `dtype` says otherwise. Parquet carries them all.

    Examples
    --------
    >>> save_to_bucket(frame, "2022-rnd-battery", "usage")  # doctest: +SKIP
    's3://2022-rnd-battery/usage'
    >>> save_to_bucket(frame, "2022-rnd-battery", "usage.parquet")  # doctest: +SKIP
    's3://2022-rnd-battery/usage.parquet'
    """
    place = place_of(bucket, key)
    check_key(place.key)
    if place.key.endswith("/"):
        raise UserError(
            f"{place.key!r} is no key of an S3 object: it ends in '/'.",
            fix="For example 'usage/2022.csv'.",
        )
    form, codec = _format_and_codec(place.key, format, compression)
    settings = object_settings(
        encryption=encryption,
        kms_key_id=kms_key_id,
        bucket_key=bucket_key,
        storage_class=storage_class,
        metadata=metadata,
        tags=tags,
    )
    is_packed = form == "csv" and codec
    settings["ContentType"] = f"application/{codec}" if is_packed else _FORMATS[form][0]
    owner = owner_of(expected_bucket_owner)
    pieces = _pieces(_as_table(df), form, codec, index)
    s3 = client("s3", boto3_session)
    stream_object(Target(s3, place.bucket, place.key, owner, settings), pieces)
    return place.uri


def _format_and_codec(
    key: str, wanted: str | None, compression: str | None
) -> tuple[str, str | None]:
    name = key.lower()
    suffix = next((end for end in (*_TEXT_CODECS, *_UNKNOWN_CODECS) if name.endswith(end)), "")
    inner = name.removesuffix(suffix)
    form = wanted or next((form for end, form in _SUFFIXES.items() if inner.endswith(end)), "csv")
    if form not in _FORMATS:
        raise UserError(f"There is no format {form!r}.", fix="Give 'csv', 'parquet' or 'excel'.")
    if compression == "infer":
        if suffix and not (form == "csv" and suffix in _TEXT_CODECS):
            raise UserError(
                f"{key!r} ends in {suffix}, a compression that BatCat does not write for {form}.",
                fix="CSV may end in .gz or .zst. The others are compressed inside, so leave it "
                "out; for Parquet, choose with compression='zstd'.",
            )
        return form, "snappy" if form == "parquet" else _TEXT_CODECS.get(suffix)
    choices = _FORMATS[form][1]
    if compression is not None and compression not in choices:
        raise UserError(
            f"There is no compression {compression!r} for {form}.",
            fix=f"Choose from: {', '.join(map(repr, choices)) or 'none'}.",
        )
    return form, compression


def _as_table(df: Any) -> pd.DataFrame | pa.Table:
    if isinstance(df, pd.DataFrame) and df.columns.nlevels > 1:
        raise DataFormatError(
            f"The table has {df.columns.nlevels} levels of column names; files have one.",
            fix="Join them: df.columns = ['_'.join(map(str, names)) for names in df.columns].",
        )
    if isinstance(df, (pd.DataFrame, pa.Table)):
        return df
    if not isinstance(df, pd.Series) and hasattr(df, "__arrow_c_stream__"):
        return pa.table(df)
    raise UserError(
        f"A {type(df).__name__} is no table.",
        fix="Give a pandas DataFrame; a Series becomes one with `.to_frame()`.",
    )


def _pieces(
    table: pd.DataFrame | pa.Table, form: str, codec: str | None, index: bool | None
) -> Generator[Any, None, None]:
    """Return the file of a table, to be made piece by piece."""
    if isinstance(table, pa.Table):
        index = False
    elif index is None:
        holds_data = table.index.inferred_type not in ("integer", "empty")
        index = holds_data or any(name is not None for name in table.index.names)
    if not table.shape[1] + index and (form != "parquet" or len(table)):
        raise DataFormatError(
            f"The table has {len(table):,} rows and no columns; no file can say that.",
            fix="Look whether it is the right table.",
        )
    if form == "parquet":
        return parquet_pieces(table, index=index, compression=codec)
    if form == "excel":
        return _excel(table, index)
    return csv_slices(_columns(table, index), len(table), compression=codec)


def _columns(table: pd.DataFrame | pa.Table, index: bool) -> list[tuple[str, Any]]:
    if isinstance(table, pa.Table):
        return list(zip(table.column_names, table.columns, strict=True))
    try:
        frame = table.reset_index() if index else table
    except ValueError as error:  # cannot insert v, already exists
        raise UserError(
            f"The index has the name of a column: {error}.",
            fix="Rename one with `df.rename_axis(...)`, or leave the index out with index=False.",
        ) from error
    return [(str(name), values) for name, values in frame.items()]


def _excel(table: pd.DataFrame | pa.Table, index: bool) -> Generator[memoryview, None, None]:
    if len(table) >= _EXCEL_ROWS:
        raise DataFormatError(
            f"The table has {len(table):,} rows; an Excel sheet holds {_EXCEL_ROWS - 1:,}.",
            fix="Save as Parquet or CSV.",
        )
    try:
        with unfit_named(table, "Excel", lambda column: _book(column, index=False)):
            yield _book(table, index=index)
    except ModuleNotFoundError as error:
        raise UserError(
            "Writing Excel needs the package openpyxl.", fix="pip install openpyxl"
        ) from error


def _book(table: pd.DataFrame | pa.Table, *, index: bool) -> memoryview:
    from openpyxl.utils.exceptions import IllegalCharacterError

    frame = table.to_pandas() if isinstance(table, pa.Table) else table
    for _, values in frame.items():
        for value in values:
            if isinstance(value, bytes):
                raise TypeError("it holds bytes")
            if isinstance(value, str) and len(value.encode("utf-16-le")) > 2 * _EXCEL_TEXT:
                raise ValueError(f"a cell holds {_EXCEL_TEXT:,} characters, and one has more")
    book = io.BytesIO()
    try:
        with pd.ExcelWriter(book, engine="openpyxl") as writer:
            frame.to_excel(writer, index=index)
            for row in writer.book.active.iter_rows():
                for cell in row:
                    if cell.data_type in ("f", "e"):  # "=1" is a text here, not a formula
                        cell.data_type = "s"
    except IllegalCharacterError as error:
        raise ValueError(f"Excel takes no control characters: {error}") from error
    return book.getbuffer()
