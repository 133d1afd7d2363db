"""The `dtype` of a CSV reader: what Arrow shall parse, and what pandas shall hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import DataFormatError, UserError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True)
class Wanted:
    """What one column shall be.

    Attributes
    ----------
    arrow : pyarrow.DataType
        What its text is parsed as.
    pandas : dtype or None
        What it is in the end; None for what the type table says.
    gaps : bool
        Whether a value may be missing.
    """

    arrow: pa.DataType
    pandas: Any = None
    gaps: bool = True


def wanted(dtype: Any) -> Wanted:
    """Return what a dtype means for a CSV column.

    Parameters
    ----------
    dtype : str, type, numpy, pandas or Arrow type
        As `pandas.read_csv` takes it: ``"Int64"``, ``"str"``, ``"category"``,
        ``"datetime64[us]"``; or an Arrow type such as ``pyarrow.decimal128(10, 2)``.

    Raises
    ------
    UserError
        There is no such dtype, or text cannot be parsed as it.
    """
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    if isinstance(dtype, pa.DataType):
        return Wanted(dtype)
    try:
        kind: Any = pd.api.types.pandas_dtype(dtype)
    except (TypeError, ValueError) as error:
        raise _unknown(dtype) from error
    if isinstance(kind, pd.ArrowDtype):
        return Wanted(kind.pyarrow_dtype, kind)
    if isinstance(kind, pd.StringDtype) or kind == np.dtype(object) or kind.kind in "US":
        return Wanted(pa.string(), None if kind.kind in "US" else kind)
    if isinstance(kind, pd.CategoricalDtype):
        return Wanted(pa.string(), kind)
    if isinstance(kind, pd.DatetimeTZDtype):
        return Wanted(pa.timestamp(kind.unit, str(kind.tz)), kind)
    if isinstance(kind, pd.BooleanDtype):
        return Wanted(pa.bool_(), kind)
    numpy = getattr(kind, "numpy_dtype", kind)
    if isinstance(numpy, np.dtype) and numpy.kind in "iufb":
        own = isinstance(kind, np.dtype) and numpy.kind in "iub"
        return Wanted(pa.from_numpy_dtype(numpy), kind, gaps=not own)
    if isinstance(numpy, np.dtype) and numpy.kind == "M":
        unit = np.datetime_data(numpy)[0]
        if unit in ("s", "ms", "us", "ns"):
            return Wanted(pa.timestamp(unit), kind)
    raise _unknown(dtype)


def wanted_by_column(dtype: Any, names: list[str], uri: str) -> dict[str, Wanted]:
    """Return what each column shall be, for those of which it is said.

    Parameters
    ----------
    dtype : None, dtype or mapping from column to dtype
        One for all columns, or one for each named column.
    names : list of str
        The columns that there are.
    uri : str
        Where, for the error.
    """
    if dtype is None:
        return {}
    if not isinstance(dtype, Mapping):
        one = wanted(dtype)
        return dict.fromkeys(names, one)
    by_name = {str(name): kind for name, kind in dtype.items()}
    unknown = sorted(set(by_name) - set(names))
    if unknown:
        raise DataFormatError(
            f"{uri} has no column {', '.join(map(repr, unknown))}, for which `dtype` was given.",
            fix=f"It has {', '.join(map(repr, names))}.",
        )
    return {name: wanted(kind) for name, kind in by_name.items()}


def refuse_gaps(table: pa.Table, kinds: Mapping[str, Wanted], uri: str) -> None:
    """Refuse missing values in a column whose dtype has no room for them."""
    for name, kind in kinds.items():
        if name in table.column_names and not kind.gaps and table[name].null_count:
            better = "boolean" if kind.pandas.kind == "b" else str(kind.pandas).replace("i", "I", 1)
            better = better.replace("uI", "UI")
            raise DataFormatError(
                f"Column {name!r} of {uri} has {table[name].null_count:,} missing values, and "
                f"{kind.pandas} has no room for them.",
                fix=f"Give dtype={{{name!r}: {better!r}}}.",
            )


def as_wanted(frame: pd.DataFrame, kinds: Mapping[str, Wanted], uri: str) -> pd.DataFrame:
    """Return a frame whose columns have the dtypes that were asked for."""
    different = {
        name: kind.pandas
        for name, kind in kinds.items()
        if kind.pandas is not None and name in frame.columns and frame[name].dtype != kind.pandas
    }
    if not different:
        return frame
    try:
        return frame.astype(different)
    except (ValueError, TypeError, OverflowError) as error:
        columns = ", ".join(f"{name!r} to {kind}" for name, kind in different.items())
        raise DataFormatError(
            f"{uri} does not hold what `dtype` asks for ({columns}): {error}.",
            fix="Leave that dtype out, and convert the column once it is read.",
        ) from error


def _unknown(dtype: Any) -> UserError:
    return UserError(
        f"There is no dtype {dtype!r} for a CSV column.",
        fix="For example 'str', 'category', 'Int64', 'float32', 'boolean' or 'datetime64[us]'.",
    )
