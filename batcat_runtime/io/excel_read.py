"""Excel objects as DataFrames, with the same column types as elsewhere.

openpyxl parses, and pandas is told to infer nothing: a cell has a type in Excel (a text ``007`` is
one, and no number), so what a column becomes follows from its cells.

The ranged file fetches: `wr.s3.read_excel` does not ask again when a body breaks off, and refuses
an answer that does not say how long it is (`test_a_connection_that_breaks` and
`test_an_answer_without_its_length` of each format).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import BatcatError, DataFormatError
from batcat_runtime.io.places import MAYBE_CSV, Place, known_kind
from batcat_runtime.io.ranged import RangedFile
from batcat_runtime.io.types import DtypeBackend, to_pandas

if TYPE_CHECKING:
    import pandas as pd


def read_excel(
    s3: Any,
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
        for name, sheet in _sheets(s3, place, asked, skiprows).items():
            others = found.setdefault(name, [])
            wanted = columns if columns is not None else (others or [sheet])[0].columns
            others.append(_selected(sheet, list(wanted), place, whole=columns is None))
    return {
        name: _typed(pd.concat(sheets, ignore_index=True), dtype, dtype_backend)
        for name, sheets in found.items()
    }


def _sheets(
    s3: Any, place: Place, names: list[str | int] | None, skiprows: int
) -> dict[Any, pd.DataFrame]:
    """Return sheets by name, with cells as they are."""
    import pandas as pd

    with RangedFile(s3, place) as file:
        content = file.read()
    options: Any = {"sheet_name": names, "dtype": object, "skiprows": skiprows}
    try:
        sheets: dict[Any, pd.DataFrame] = pd.read_excel(
            io.BytesIO(content), engine="openpyxl", **options
        )
        return sheets
    # what is damaged makes openpyxl fail with zlib's, XML's, ZIP's or Python's own errors
    except Exception as error:
        said, fix = str(error), "Check `sheet_name`, or that this is the right object."
        if not content.startswith(b"PK\x03\x04"):
            kind, fix = known_kind(content[:64]) or MAYBE_CSV
            said = f"it is {kind}" if content else "it is empty"
        elif not isinstance(error, ValueError) or isinstance(error, UnicodeError):
            said = f"it is damaged ({type(error).__name__}: {error})"
            fix = "Save it in Excel again, and upload that."
        raise DataFormatError(f"{place.uri} cannot be read as Excel: {said}.", fix=fix) from error


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
