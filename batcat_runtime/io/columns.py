"""One column of a DataFrame as an Arrow array, without loss and, where possible, without a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def arrow_column(
    values: pd.Series[Any] | pd.Index[Any], kind: pa.DataType | None = None
) -> pa.ChunkedArray:
    """Return a column's values in Arrow's form.

    Parameters
    ----------
    values : pandas.Series or pandas.Index
        A whole column or some rows of it; what pandas takes for missing becomes null.
    kind : pyarrow.DataType, optional
        The type to have; by default the one that Arrow infers.

    Raises
    ------
    pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, UnicodeEncodeError, OverflowError
        The values do not fit the type.
    """
    import pyarrow as pa

    found = pa.array(values, type=kind, from_pandas=True)
    return found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])
