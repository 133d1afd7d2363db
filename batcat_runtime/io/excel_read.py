"""Excel objects as DataFrames, with the same column types as elsewhere.

awswrangler fetches and openpyxl parses. pandas is told to infer nothing: a cell has a type in Excel
(a text ``007`` is one, and no number), so what a column becomes follows from its cells.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import BatcatError, ConnectError, DataFormatError, ServiceError
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.clients import aws_session, client
from batcat_runtime.io.places import Place, advice_on
from batcat_runtime.io.types import DtypeBackend, to_pandas

if TYPE_CHECKING:
    import boto3
    import pandas as pd


def read_excel(
    session: boto3.Session | None,
    places: list[Place],
    sheet_name: str | int | None,
    columns: Sequence[str] | None,
    dtype: Any,
    skiprows: int,
    dtype_backend: DtypeBackend | None,
) -> dict[Any, pd.DataFrame]:
    """Read one sheet of Excel objects, or all, by their names; see `read_excel_from_bucket`."""
    import pandas as pd

    try:
        import openpyxl  # noqa: F401
    except ImportError as error:
        raise BatcatError(
            "Excel files are read by openpyxl, which is not installed.",
            fix="pip install 'batcat-runtime[excel]'",
        ) from error
    asked = None if sheet_name is None else [sheet_name]
    found: dict[Any, list[pd.DataFrame]] = {}
    for place in places:
        for name, sheet in _sheets(session, place, asked, skiprows).items():
            others = found.setdefault(name, [])
            wanted = columns if columns is not None else (others or [sheet])[0].columns
            others.append(_selected(sheet, list(wanted), place, whole=columns is None))
    return {
        name: _typed(pd.concat(sheets, ignore_index=True), dtype, dtype_backend)
        for name, sheets in found.items()
    }


def _sheets(
    session: boto3.Session | None,
    place: Place,
    sheet_name: list[str | int] | None,
    skiprows: int,
    tries: int = 3,
) -> dict[Any, pd.DataFrame]:
    """Return sheets by name, with cells as they are."""
    import awswrangler as wr

    try:
        with translated(place.uri, "s3:GetObject"):
            return wr.s3.read_excel(  # type: ignore[no-any-return]
                place.uri,
                use_threads=False,  # several requests could meet several versions
                boto3_session=aws_session(session),
                engine="openpyxl",
                sheet_name=sheet_name,
                dtype=object,
                skiprows=skiprows,
            )
    except BatcatError as error:
        if isinstance(error, ConnectError) and tries > 1:
            time.sleep(1)  # awswrangler does not ask again when a body breaks off
            return _sheets(session, place, sheet_name, skiprows, tries - 1)
        _start(session, place)  # it asks by HEAD first, whose refusal has no words
        raise
    except wr.exceptions.InvalidArgumentValue as error:
        raise ServiceError(
            f"{place.uri} cannot be read as Excel: the answer does not say how long it is.",
            fix="Look who answers in place of S3: see AWS_ENDPOINT_URL and the proxy's settings.",
        ) from error
    # what is damaged makes openpyxl fail with zlib's, XML's, ZIP's or Python's own errors
    except Exception as error:
        start = _start(session, place)
        said, fix = str(error), "Check `sheet_name`, or that this is the right object."
        if not start.startswith(b"PK\x03\x04"):
            said, fix = "it is no .xlsx file" if start else "it is empty", advice_on(start)
        elif not isinstance(error, ValueError) or isinstance(error, UnicodeError):
            said = f"it is damaged ({type(error).__name__}: {error})"
            fix = "Save it in Excel again, and upload that."
        raise DataFormatError(f"{place.uri} cannot be read as Excel: {said}.", fix=fix) from error


def _start(session: boto3.Session | None, place: Place) -> bytes:
    """Return an object's first bytes, or raise what S3 says of it in its own words."""
    with translated(place.uri, "s3:GetObject"):
        answer = client("s3", session).get_object(Bucket=place.bucket, Key=place.key)
        with answer["Body"] as body:
            return bytes(body.read(64))


def _selected(sheet: pd.DataFrame, wanted: list[Any], place: Place, *, whole: bool) -> pd.DataFrame:
    """Return the columns that are wanted; all objects must have them, and no others if `whole`."""
    missing = [name for name in wanted if name not in sheet.columns]
    more = [name for name in sheet.columns if name not in wanted] if whole else []
    if missing or more:
        what = f"has no column {missing[0]!r}" if missing else f"has another column {more[0]!r}"
        raise DataFormatError(
            f"{place.uri} cannot be read as Excel: it {what}.",
            fix=f"There are {', '.join(map(repr, sheet.columns))}. Name those that are wanted, or "
            "that several objects have, with `columns`.",
        )
    return sheet[wanted]


def _typed(sheet: pd.DataFrame, dtype: Any, dtype_backend: DtypeBackend | None) -> pd.DataFrame:
    """Give columns the types of every other reader, unless `dtype` says which."""
    for label, column in sheet.items():
        told = dtype.get(label) if isinstance(dtype, Mapping) else dtype
        try:
            typed = _typed_column(column, dtype_backend) if told is None else column.astype(told)
        except (TypeError, ValueError) as error:
            raise DataFormatError(
                f"Column {label!r} cannot be read as {told}: {error}.",
                fix="Give it another `dtype`, or none: then it is what its cells are.",
            ) from error
        sheet[label] = typed
    return sheet


def _typed_column(column: pd.Series[Any], dtype_backend: DtypeBackend | None) -> pd.Series[Any]:
    import pyarrow as pa

    try:
        values = pa.array(column, from_pandas=True)
    except OverflowError:  # beyond 64 bits: Excel's own numbers are floats, other digits are text
        floats = column.astype("float64")
        is_exact = (floats.dropna() == column.dropna()).all()
        return floats if is_exact else column.map(str, na_action="ignore").astype("str")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return column  # of several types
    return to_pandas(pa.table({"value": values}), dtype_backend=dtype_backend)["value"]
