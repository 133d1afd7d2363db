"""S3: tables out of a bucket, under the tutorial's names.

Each function takes one key, a list of keys, a prefix that ends in ``/``, or a pattern
(`batcat_runtime.io.places`), as bucket and key or as one ``s3://`` address. Each gives the same
column types whichever way the data came (`batcat_runtime.io.types`), and turns what S3 refuses into
one typed error with a fix.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

from batcat_runtime.errors import UserError
from batcat_runtime.io.clients import client
from batcat_runtime.io.places import Where, find_places, partition_root
from batcat_runtime.io.results import check_result_options
from batcat_runtime.io.types import DtypeBackend

if TYPE_CHECKING:
    import boto3
    import pandas as pd

_FORMATS = {".parquet": "parquet", ".pq": "parquet", ".xlsx": "excel", ".xlsm": "excel"}


class ParquetReading(TypedDict, total=False):
    """The keyword arguments of `read_parquet_from_bucket`, for type checkers."""

    columns: Sequence[str] | None
    dtype_backend: DtypeBackend | None
    boto3_session: boto3.Session | None


class CsvReading(ParquetReading, total=False):
    """Those of `read_csv_from_bucket`."""

    dtype: Any
    sep: str
    quotechar: str | None
    header: bool | None
    names: Sequence[str] | None
    skiprows: int
    encoding: str
    decimal: str
    null_values: Sequence[str] | None
    compression: str | None


@overload
def read_csv_from_bucket(
    bucket: Where, key: Where = "", *, chunksize: None = None, **options: Unpack[CsvReading]
) -> pd.DataFrame: ...
@overload
def read_csv_from_bucket(
    bucket: Where, key: Where = "", *, chunksize: int, **options: Unpack[CsvReading]
) -> Iterator[pd.DataFrame]: ...
def read_csv_from_bucket(
    bucket: Where,
    key: Where = "",
    *,
    columns: Sequence[str] | None = None,
    dtype: Any = None,
    chunksize: int | None = None,
    dtype_backend: DtypeBackend | None = None,
    sep: str = ",",
    quotechar: str | None = '"',
    header: bool | None = None,
    names: Sequence[str] | None = None,
    skiprows: int = 0,
    encoding: str = "utf-8",
    decimal: str = ".",
    null_values: Sequence[str] | None = None,
    compression: str | None = "infer",
    boto3_session: boto3.Session | None = None,
) -> pd.DataFrame | Iterator[pd.DataFrame]:
    """Read CSV from S3, whatever the key is called.

    Parameters
    ----------
    bucket : str
        The bucket's name. Or where to read from in one: ``s3://bucket/key``, or several of these.
    key : str or sequence of str
        One key, several, a prefix that ends in ``/``, or a pattern with ``*``, ``**``, ``?`` or
        ``[ab]``; left out if `bucket` says it all. All objects must have the same columns, in any
        order; name the common ones with `columns` if they do not. Under a prefix, names that begin
        with ``_`` or ``.`` are skipped.
    columns : sequence of str, optional
        Read these, in this order.
    dtype : dtype or mapping from column to dtype, optional
        As in pandas: ``"str"``, ``"category"``, ``"Int64"``, ``"float32"``, ``"datetime64[us]"``;
        or an Arrow type, such as ``pyarrow.decimal128(10, 2)``. All others are inferred from all
        values: integers (never rounded: beyond 64 bits they stay text), floats, booleans, ISO 8601
        dates and timestamps, text.
    chunksize : int, optional
        Give an iterator of DataFrames with so many rows, in memory that does not grow with the
        file. A column has the type of the first 8 MB in all of them; give `dtype` where later
        values do not fit it.
    dtype_backend : {"numpy_nullable", "pyarrow"}, optional
        pandas' other families of types; by default numpy's, nullable where integers or booleans
        have gaps.
    sep, quotechar, decimal : str
        What parts cells, encloses them (None: nothing does), and marks fractions.
    header : bool, optional
        Whether the first row has the names; by default if `names` are not given. Without either,
        columns are numbered from 0.
    names : sequence of str, optional
        A name for each column.
    skiprows : int
        How many lines to skip before the header.
    encoding : str
        Such as ``"gb18030"``, ``"utf-16"`` or ``"latin-1"``. A byte order mark is dropped.
    null_values : sequence of str, optional
        Spellings of a missing value, in place of pandas' own: empty, ``NA``, ``null`` and so on.
    compression : {"infer", "gzip", "zstd", "bz2", "xz"}, optional
        By default the bytes tell; None: it is not compressed.
    boto3_session : boto3.Session, optional
        Whose credentials to use; by default those of the environment.

    Returns
    -------
    pandas.DataFrame or iterator of pandas.DataFrame
        The iterator with `chunksize`.

    Raises
    ------
    UserError
        An argument is impossible; nothing was read.
    NoSuchBucketError, NoSuchObjectError
        The bucket or key does not exist, or nothing lies under the prefix.
    DataFormatError
        It is no CSV, or not as the arguments say: names the object, and the column or row.
    ObjectChangedError
        Somebody replaced the object while it was being read.
    AccessDeniedError, CredentialsError, ThrottledError, ConnectError, ServiceError
        AWS refused, or cannot be reached.

    Examples
    --------
    >>> read_csv_from_bucket("2022-rnd-battery", "usage")  # doctest: +SKIP
    >>> read_csv_from_bucket("s3://2022-rnd-battery/usage")  # doctest: +SKIP
    >>> for part in read_csv_from_bucket(
    ...     "2022-rnd-battery", "raw/usage/", columns=["vin", "usage"], chunksize=100_000
    ... ):  # doctest: +SKIP
    ...     print(len(part))
    """
    from batcat_runtime.io.csv_read import CsvObjects, CsvOptions

    _check_common(columns, chunksize, dtype_backend)
    options = CsvOptions(
        columns=columns,
        dtype=dtype,
        sep=sep,
        quotechar=quotechar,
        header=header,
        names=names,
        skiprows=skiprows,
        encoding=encoding,
        decimal=decimal,
        null_values=null_values,
        compression=compression,
    )
    s3 = client("s3", boto3_session)
    objects = CsvObjects(s3, find_places(s3, bucket, key), options)
    if chunksize is not None:
        return objects.frames(chunksize, dtype_backend)
    return objects.frame(dtype_backend)


@overload
def read_parquet_from_bucket(
    bucket: Where, key: Where = "", *, chunksize: None = None, **options: Unpack[ParquetReading]
) -> pd.DataFrame: ...
@overload
def read_parquet_from_bucket(
    bucket: Where, key: Where = "", *, chunksize: int, **options: Unpack[ParquetReading]
) -> Iterator[pd.DataFrame]: ...
def read_parquet_from_bucket(
    bucket: Where,
    key: Where = "",
    *,
    columns: Sequence[str] | None = None,
    chunksize: int | None = None,
    dtype_backend: DtypeBackend | None = None,
    boto3_session: boto3.Session | None = None,
) -> pd.DataFrame | Iterator[pd.DataFrame]:
    """Read Parquet from S3, whatever the key is called.

    Parameters
    ----------
    bucket, key, boto3_session
        As for `read_csv_from_bucket`. Below a prefix, or the fixed folders of a pattern, folders
        such as ``day=2022-01-01`` become columns: integers or dates if all values are, else text.
        Columns that only some objects have are empty in the rest, and types that differ are
        brought to one that holds the values of all.
    columns : sequence of str, optional
        Read these, in this order; of the others nothing is fetched.
    chunksize : int, optional
        Give an iterator of DataFrames with so many rows, in memory that does not grow with the
        file beyond two of its row groups.
    dtype_backend : {"numpy_nullable", "pyarrow"}, optional
        As for `read_csv_from_bucket`.

    Returns
    -------
    pandas.DataFrame or iterator of pandas.DataFrame
        Types are the file's; what pandas wrote comes back with its index and dtypes.

    Raises
    ------
    DataFormatError
        It is no Parquet, a column is missing, or objects do not go together: names both.
    UserError, NoSuchBucketError, NoSuchObjectError, ObjectChangedError, AccessDeniedError, \
CredentialsError, ThrottledError, ConnectError, ServiceError
        As for `read_csv_from_bucket`.

    Examples
    --------
    >>> read_parquet_from_bucket("2022-rnd-battery", "usage/")  # doctest: +SKIP
    """
    from batcat_runtime.io.parquet_read import Source, parquet_chunks, read_parquet

    _check_common(columns, chunksize, dtype_backend)
    s3 = client("s3", boto3_session)
    source = Source(s3, find_places(s3, bucket, key), partition_root(bucket, key), columns)
    if chunksize is not None:
        return parquet_chunks(source, chunksize, dtype_backend)
    return read_parquet(source, dtype_backend)


def read_excel_from_bucket(
    bucket: Where,
    key: Where = "",
    *,
    sheet_name: str | int | None = 0,
    columns: Sequence[str] | None = None,
    dtype: Any = None,
    skiprows: int = 0,
    dtype_backend: DtypeBackend | None = None,
    boto3_session: boto3.Session | None = None,
) -> pd.DataFrame | dict[str, pd.DataFrame]:
    """Read a sheet of an Excel file (.xlsx) from S3; needs the extra ``batcat-runtime[excel]``.

    Parameters
    ----------
    bucket, key, boto3_session
        As for `read_csv_from_bucket`. The rows of several objects follow each other.
    sheet_name : str, int or None
        A sheet's name, or its number from 0; None for all sheets.
    columns : sequence of str, optional
        Read these, in this order.
    dtype : dtype or mapping from column to dtype, optional
        As for `pandas.read_excel`. All others are what the cells are: a text that looks like a
        number stays text, dates are dates, and a column of several kinds keeps them as they are.
    skiprows, dtype_backend
        As for `read_csv_from_bucket`.

    Returns
    -------
    pandas.DataFrame or dict of str to pandas.DataFrame
        The dict, from names to sheets, if `sheet_name` is None.

    Raises
    ------
    BatcatError
        openpyxl is not installed.
    DataFormatError
        It is no Excel file, is damaged, has no such sheet or column, or objects do not go together.
    UserError, NoSuchBucketError, NoSuchObjectError, AccessDeniedError, CredentialsError, \
ThrottledError, ConnectError, ServiceError
        As for `read_csv_from_bucket`.

    Examples
    --------
    >>> read_excel_from_bucket("2022-rnd-battery", "cells.xlsx")  # doctest: +SKIP
    """
    from batcat_runtime.io.excel_read import read_excel

    _check_common(columns, None, dtype_backend)
    s3 = client("s3", boto3_session)
    places = find_places(s3, bucket, key)
    sheets = read_excel(s3, places, sheet_name, columns, dtype, skiprows, dtype_backend)
    return sheets if sheet_name is None else next(iter(sheets.values()))


def read_from_bucket(
    bucket: Where,
    key: Where = "",
    *,
    format: Literal["csv", "parquet", "excel"] | None = None,  # noqa: A002 - the term everywhere
    boto3_session: boto3.Session | None = None,
    **options: Any,
) -> Any:
    """Read CSV, Parquet or Excel from S3: what the argument says, else what the key ends in.

    Parameters
    ----------
    bucket, key, boto3_session
        As for `read_csv_from_bucket`.
    format : {"csv", "parquet", "excel"}, optional
        By default Parquet for ``.parquet`` and ``.pq``, Excel for ``.xlsx``, else CSV. Of a prefix
        or pattern the first object counts.
    **options
        Those of the reader: `read_csv_from_bucket`, `read_parquet_from_bucket` or
        `read_excel_from_bucket`, which also say what is returned and raised.

    Examples
    --------
    >>> read_from_bucket("2022-rnd-battery", "usage.parquet")  # doctest: +SKIP
    """
    readers: dict[str, Any] = {
        "csv": read_csv_from_bucket,
        "parquet": read_parquet_from_bucket,
        "excel": read_excel_from_bucket,
    }
    kind: str | None = format
    if kind is None:
        first = find_places(client("s3", boto3_session), bucket, key)[0]
        kind = _FORMATS.get(PurePosixPath(first.key).suffix.lower(), "csv")
    if kind not in readers:
        raise UserError(f"There is no format {format!r}.", fix="Give 'csv', 'parquet' or 'excel'.")
    return readers[kind](bucket, key, boto3_session=boto3_session, **options)


def _check_common(
    columns: Sequence[str] | None, chunksize: int | None, dtype_backend: str | None
) -> None:
    check_result_options(chunksize, dtype_backend, None)
    if columns is not None and (isinstance(columns, str) or not len(columns)):
        raise UserError(f"`columns` is {columns!r}.", fix="Give a list: columns=['vin'].")
