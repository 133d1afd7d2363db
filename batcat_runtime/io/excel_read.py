"""Excel objects as DataFrames, by pandas and openpyxl, with the same column types as elsewhere."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import BatcatError, DataFormatError
from batcat_runtime.io.fetch import ObjectReader, PartStream
from batcat_runtime.io.places import Place
from batcat_runtime.io.types import DtypeBackend, to_pandas

if TYPE_CHECKING:
    import pandas as pd


def read_excel(
    s3: Any,
    place: Place,
    *,
    sheet_name: str | int | None,
    columns: Sequence[str] | None,
    dtype: Any,
    skiprows: int,
    dtype_backend: DtypeBackend | None,
) -> pd.DataFrame | dict[str, pd.DataFrame]:
    """Read one sheet of an Excel object, or all; see `read_excel_from_bucket`."""
    import pandas as pd

    try:
        import openpyxl  # noqa: F401
    except ImportError as error:
        raise BatcatError(
            "Excel files are read by openpyxl, which is not installed.",
            fix="pip install 'batcat-runtime[excel]'",
        ) from error
    with PartStream(ObjectReader(s3, place)) as stream:
        content = bytes(memoryview(stream.read()))
    _check_format(content, place.uri)
    try:
        with pd.ExcelFile(io.BytesIO(content), engine="openpyxl") as book:
            found = pd.read_excel(
                book,
                sheet_name=sheet_name,
                usecols=None if columns is None else list(columns),
                dtype=dtype,
                skiprows=skiprows,
            )
    except (ValueError, KeyError, zipfile.BadZipFile, IndexError) as error:
        raise DataFormatError(
            f"{place.uri} cannot be read as Excel: {error}.",
            fix="Check `sheet_name` and `columns`, or that this is the right object.",
        ) from error
    if isinstance(found, dict):
        return {name: _typed(sheet, dtype, dtype_backend) for name, sheet in found.items()}
    return _typed(found, dtype, dtype_backend)


def _check_format(content: bytes, uri: str) -> None:
    if content.startswith(b"PK\x03\x04"):
        return
    fix = "If it is CSV, read it with read_csv_from_bucket."
    if content.startswith(b"PAR1"):
        fix = "It is Parquet: read it with read_parquet_from_bucket."
    elif content.startswith(b"\xd0\xcf\x11\xe0"):
        fix = "It is of the old kind (.xls) or has a password: save it as .xlsx without one."
    raise DataFormatError(f"{uri} cannot be read as Excel: it is no .xlsx file.", fix=fix)


def _typed(sheet: pd.DataFrame, dtype: Any, dtype_backend: DtypeBackend | None) -> pd.DataFrame:
    """Give columns the types of every other reader, unless `dtype` says which."""
    import pandas as pd

    columns = []
    for label, column in sheet.items():
        told = dtype is not None and (not isinstance(dtype, Mapping) or label in dtype)
        columns.append(column if told else _typed_column(column, dtype_backend))
    typed = pd.concat(columns, axis=1) if columns else sheet
    typed.columns = sheet.columns
    return typed


def _typed_column(column: pd.Series[Any], dtype_backend: DtypeBackend | None) -> pd.Series[Any]:
    import pyarrow as pa

    # Excel knows floats only; pandas makes integers of whole ones, unless some are missing
    if column.dtype == "float64" and column.notna().any() and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")
    try:
        values = pa.array(column, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return column  # of several types
    if pa.types.is_large_string(values.type):
        values = values.cast(pa.string())
    return to_pandas(pa.table({"value": values}), dtype_backend=dtype_backend)["value"]
