"""Saving a table as one object in S3: CSV, Parquet or Excel.

A save is checked as a whole before the first request. Then the text or the row groups are made in
slices and streamed (`batcat_runtime.io.upload`), so memory stays flat and no reader sees a part.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from batcat_runtime.errors import DataFormatError, UserError
from batcat_runtime.io.places import check_bucket

if TYPE_CHECKING:
    import boto3
    import pandas as pd
    import pyarrow as pa

    from batcat_runtime.io.upload import ObjectSink

Format = Literal["csv", "parquet", "excel"]
Encryption = Literal["AES256", "aws:kms", "aws:kms:dsse"]

_FORMATS = {".parquet": "parquet", ".pq": "parquet", ".xlsx": "excel"}
_TEXT_CODECS = {".gz": "gzip", ".zst": "zstd"}
_UNKNOWN_CODECS = (".bz2", ".xz", ".zip", ".lz4", ".br", ".7z")
_PARQUET_CODECS = ("snappy", "zstd", "gzip", "lz4", "brotli")
_CONTENT_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "excel": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "gzip": "application/gzip",
    "zstd": "application/zstd",
}
_EXCEL_ROWS = 1_048_576


def save_to_bucket(
    df: pd.DataFrame | pa.Table,
    bucket: str,
    key: str,
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
    made and uploaded in slices, with some 64 MB of memory beside the table itself. What a killed
    save left unfinished at the same key is cleared away.

    Parameters
    ----------
    df : pandas.DataFrame or pyarrow.Table
        The table; it may have no rows. So may anything else that hands over Arrow's C stream, such
        as a polars DataFrame.
    bucket, key : str
        Where to: the bucket's name without ``s3://``, and the object's key.
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
        AWS refused or was out of reach; nothing was changed.
    ObjectChangedError
        Other processes kept saving to the same key at the same time.

    Notes
    -----
    CSV is UTF-8 without a byte order mark. No value is printed as nothing and an empty text as
    ``""``; a text is quoted where that is needed. Floats are printed with all the digits that they
    need to come back the same, timestamps as ISO 8601 (with a time zone: in UTC, with a ``Z``),
    dates as ``2022-01-31``, booleans as ``true`` and ``false``, decimals exactly, lists and dicts
    as JSON. CSV does not carry types: a text such as ``007`` is read as a number unless `dtype`
    says otherwise. Parquet carries them all.

    Examples
    --------
    >>> save_to_bucket(frame, "2022-rnd-battery", "usage")  # doctest: +SKIP
    's3://2022-rnd-battery/usage'
    >>> save_to_bucket(frame, "2022-rnd-battery", "usage.parquet")  # doctest: +SKIP
    's3://2022-rnd-battery/usage.parquet'
    """
    from batcat_runtime.io.upload import object_settings, owner_of
    _check_place(bucket, key)
    chosen, codec = _format_and_codec(key, format, compression)
    settings = object_settings(
        encryption=encryption,
        kms_key_id=kms_key_id,
        bucket_key=bucket_key,
        storage_class=storage_class,
        metadata=metadata,
        tags=tags,
    )
    owner = owner_of(expected_bucket_owner)
    table = _as_table(df)
    write = _writer(table, chosen, codec, _keeps_index(table, index))

    from batcat_runtime.io.clients import client
    from batcat_runtime.io.upload import Target, stream_object

    kind = codec if chosen == "csv" and codec else chosen
    settings["ContentType"] = _CONTENT_TYPES[kind]
    target = Target(client("s3", boto3_session), bucket, key, owner, settings)
    stream_object(target, write)
    return target.uri


def _check_place(bucket: str, key: str) -> None:
    check_bucket(bucket)
    if not key or len(key.encode()) > 1024 or key.endswith("/"):
        raise UserError(
            f"{key!r} is no key of an S3 object: it must have 1 to 1,024 bytes and not end in '/'.",
            fix="For example 'usage/2022.csv'.",
        )


def _format_and_codec(
    key: str, wanted: str | None, compression: str | None
) -> tuple[str, str | None]:
    name = key.lower()
    suffix = next((one for one in _TEXT_CODECS if name.endswith(one)), "")
    inner = name.removesuffix(suffix)
    chosen = wanted or next((kind for end, kind in _FORMATS.items() if inner.endswith(end)), "csv")
    if chosen not in ("csv", "parquet", "excel"):
        raise UserError(f"There is no format {chosen!r}.", fix="Give 'csv', 'parquet' or 'excel'.")
    if chosen == "csv":
        unknown = next((one for one in _UNKNOWN_CODECS if name.endswith(one)), None)
        if unknown and compression == "infer":
            raise UserError(
                f"{key!r} ends in {unknown}, a compression that BatCat does not write.",
                fix="Let it end in .gz or .zst.",
            )
        codec = _TEXT_CODECS.get(suffix) if compression == "infer" else compression
        allowed: tuple[str, ...] = tuple(_TEXT_CODECS.values())
    else:
        if suffix and compression == "infer":
            raise UserError(
                f"{key!r}: a {chosen.capitalize()} file is compressed inside, so {suffix} would "
                "mislead its readers.",
                fix=f"Leave out {suffix}; for Parquet, choose with compression='zstd'.",
            )
        default = "snappy" if chosen == "parquet" else None
        codec = default if compression == "infer" else compression
        allowed = _PARQUET_CODECS if chosen == "parquet" else ()
    if codec is not None and codec not in allowed:
        choices = ", ".join(map(repr, allowed)) or "none"
        raise UserError(
            f"There is no compression {codec!r} for {chosen}.", fix=f"Choose from: {choices}."
        )
    return chosen, codec


def _as_table(df: Any) -> pd.DataFrame | pa.Table:
    import pandas as pd
    import pyarrow as pa

    if isinstance(df, pd.DataFrame):
        if df.columns.nlevels > 1:
            raise DataFormatError(
                f"The table has {df.columns.nlevels} levels of column names; files have one.",
                fix="Join them: df.columns = ['_'.join(map(str, names)) for names in df.columns].",
            )
        return df
    if isinstance(df, pa.Table):
        return df
    if not isinstance(df, pd.Series) and hasattr(df, "__arrow_c_stream__"):
        return pa.table(df)
    raise UserError(
        f"A {type(df).__name__} is no table.",
        fix="Give a pandas DataFrame; a Series becomes one with `.to_frame()`.",
    )


def _keeps_index(table: pd.DataFrame | pa.Table, wanted: bool | None) -> bool:
    import pyarrow as pa
    from pandas.api.types import is_integer_dtype

    if isinstance(table, pa.Table):
        return False
    if wanted is not None:
        return wanted
    index = table.index
    if any(name is not None for name in index.names):
        return True
    nothing = len(index) == 0 and index.dtype == "object"
    return not (nothing or is_integer_dtype(index.dtype))


def _writer(
    table: pd.DataFrame | pa.Table, chosen: str, codec: str | None, index: bool
) -> Callable[[ObjectSink], None]:
    """Return what writes the table to a sink, after checking that it can."""
    width = table.shape[1] + index
    if not width and (chosen != "parquet" or len(table)):
        raise DataFormatError(
            f"The table has {len(table):,} rows and no columns; no file can say that.",
            fix="Look whether it is the right table.",
        )
    if chosen == "parquet":
        from batcat_runtime.io.parquet_write import write_parquet

        return lambda sink: write_parquet(table, sink, index=index, compression=codec)
    if chosen == "excel":
        return lambda sink: _write_excel(table, sink, index)
    columns = _columns(table, index)
    rows = len(table)

    def write(sink: ObjectSink) -> None:
        from batcat_runtime.io.csv_write import csv_slices

        for piece in csv_slices(columns, rows, compression=codec):
            sink.write(piece)

    return write


def _columns(table: pd.DataFrame | pa.Table, index: bool) -> list[tuple[str, Any]]:
    import pandas as pd

    if not isinstance(table, pd.DataFrame):
        return list(zip(table.column_names, table.columns, strict=True))
    columns: list[tuple[str, Any]] = [
        (str(name), table.iloc[:, place]) for place, name in enumerate(table.columns)
    ]
    if not index:
        return columns
    levels = table.index.nlevels
    names = [
        str(name) if name is not None else "index" if levels == 1 else f"level_{place}"
        for place, name in enumerate(table.index.names)
    ]
    taken = sorted(set(names) & {name for name, _ in columns})
    if taken:
        raise UserError(
            f"{taken[0]!r} is the name of a column and of the index.",
            fix="Rename one with `df.rename_axis(...)`, or leave the index out with index=False.",
        )
    values = [table.index.get_level_values(place) for place in range(levels)]
    return [*zip(names, values, strict=True), *columns]


def _write_excel(table: pd.DataFrame | pa.Table, sink: ObjectSink, index: bool) -> None:
    import pandas as pd

    frame = table if isinstance(table, pd.DataFrame) else table.to_pandas()
    if len(frame) >= _EXCEL_ROWS:
        raise DataFormatError(
            f"The table has {len(frame):,} rows; an Excel sheet holds {_EXCEL_ROWS - 1:,}.",
            fix="Save as Parquet or CSV.",
        )
    book = io.BytesIO()
    try:
        frame.to_excel(book, index=index, engine="openpyxl")
    except ModuleNotFoundError as error:
        raise UserError(
            "Writing Excel needs the package openpyxl.", fix="pip install openpyxl"
        ) from error
    except (ValueError, TypeError) as error:
        raise DataFormatError(
            f"The table cannot be written as Excel: {error}.", fix="Save as CSV or Parquet."
        ) from error
    sink.write(book.getbuffer())
