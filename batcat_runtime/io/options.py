"""The keyword arguments of the readers, for type checkers: with and without `chunksize`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from batcat_runtime.io.types import DtypeBackend

if TYPE_CHECKING:
    import boto3


class ParquetReading(TypedDict, total=False):
    """Those of `read_parquet_from_bucket`."""

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
