"""From Arrow to pandas: the one place that decides what type a column has in the end.

Every reader (CSV, Parquet, Athena, Redshift) first makes an Arrow table whose schema says what its
source declares, and then comes here, so that the same data has the same types whichever way it
came. Nothing is rounded on the way: integers with gaps become pandas' nullable integers instead of
floats, decimals stay exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

from batcat_runtime.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

DtypeBackend = Literal["numpy_nullable", "pyarrow"]

# Among the notes of a Parquet file: the types of the columns that only its folders' names hold.
FOLDER_TYPES = "batcat.folders"


def to_pandas(
    table: pa.Table, *, dtype_backend: DtypeBackend | None = None, pandas_metadata: bool = False
) -> pd.DataFrame:
    """Turn an Arrow table into a DataFrame with BatCat's column types.

    Parameters
    ----------
    table : pyarrow.Table
        Its schema is the truth. Memory is freed column by column if the caller keeps no reference,
        as in ``to_pandas(read())``; a table that is kept stays as it is.
    dtype_backend : {"numpy_nullable", "pyarrow"}, optional
        pandas' other two families of types. By default numpy's, and nullable ones only where a
        column of integers or booleans has gaps.
    pandas_metadata : bool
        For Parquet: units and zones of timestamps stay as in the file, and index, categories and
        columns of `datetime.date` come back as pandas wrote them. For CSV and SQL leave it out:
        timestamps become microseconds (UTC if they have a zone), dates midnights.

    Returns
    -------
    pandas.DataFrame
        Writable. A column name that occurs twice becomes ``a``, ``a.1``.

    Raises
    ------
    UserError
        There is no such `dtype_backend`.

    Examples
    --------
    >>> import pyarrow as pa
    >>> to_pandas(pa.table({"n": [1, None]})).dtypes.to_dict()
    {'n': Int64Dtype()}
    """
    import pyarrow as pa

    check_backend(dtype_backend)
    names = unique_names(table.column_names)
    metadata = table.schema.metadata if pandas_metadata else None
    stored, index = _noted(table.schema.pandas_metadata if pandas_metadata else None)
    columns: list[pa.ChunkedArray] = []
    replaced: list[Any] = []
    rows, sources = table.num_rows, table.columns
    del table  # the columns are all that is kept, and each is given up once it is converted
    column: Any = None
    for place, name in enumerate(names):
        column, sources[place] = sources[place], None
        column = _in_units(column, stored.get(name), pandas_metadata, dtype_backend)
        if name not in index:
            replaced.append(_beside_numpy(column, stored.get(name), dtype_backend))
            if replaced[-1] is not None:
                column = pa.chunked_array([pa.nulls(rows, pa.bool_()).fill_null(False)])
        columns.append(column)
    del column
    arrow = pa.Table.from_arrays(columns, names, metadata=metadata)
    del columns, sources
    # blocks are not split: a split block may share Arrow's memory, which cannot be written to
    frame: pd.DataFrame = arrow.to_pandas(
        types_mapper=_mapper(dtype_backend),
        ignore_metadata=not pandas_metadata,
        self_destruct=True,
        split_blocks=False,
    )
    del arrow  # after self_destruct nothing may touch it
    for position, series in enumerate(replaced):
        if series is not None:
            frame.isetitem(position, series.set_axis(frame.index))
    return frame


def unique_names(names: Iterable[str]) -> list[str]:
    """Return column names as pandas makes them unique: ``a``, ``a.1``, ``a.2``.

    Parameters
    ----------
    names : iterable of str
        In the order of the columns.

    Examples
    --------
    >>> unique_names(["a", "b", "a", "a.1"])
    ['a', 'b', 'a.2', 'a.1']
    """
    given = list(names)
    taken, seen = set(given), set[str]()
    result = []
    for name in given:
        new, number = name, 0
        while new in seen or (number and new in taken):
            number += 1
            new = f"{name}.{number}"
        seen.add(new)
        result.append(new)
    return result


def check_backend(dtype_backend: str | None) -> None:
    """Refuse a `dtype_backend` that pandas does not have."""
    if dtype_backend not in (None, "numpy_nullable", "pyarrow"):
        raise UserError(
            f"There is no dtype_backend {dtype_backend!r}.",
            fix="Give 'numpy_nullable' or 'pyarrow', or leave it out.",
        )


def partition_values(texts: Iterable[str | None]) -> pa.Array:
    """Return the values that folders such as ``day=2022-01-01`` have in a column, by their texts.

    They are integers or dates if every text is just how that value is written; ``007`` is not how
    7 is written, so a column with it is text, and so is one without any value.

    Parameters
    ----------
    texts : iterable of str or None
        Of all objects, decoded; None where there is no value.

    Examples
    --------
    >>> [str(partition_values(texts).type) for texts in (["7", None], ["7", "007"])]
    ['int64', 'string']
    """
    import pyarrow as pa

    column = pa.array(texts, pa.string())
    for kind in (pa.int64(), pa.date32()):
        try:
            values = column.cast(kind)
        except pa.ArrowInvalid:
            continue
        if column.null_count < len(column) and values.cast(pa.string()).equals(column):
            return values
    return column


def _in_units(
    column: pa.ChunkedArray, stored: str | None, pandas_metadata: bool, dtype_backend: str | None
) -> pa.ChunkedArray:
    """Return timestamps in microseconds unless the file's units stay, and dates as midnights."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_timestamp(kind) and not pandas_metadata:
        zone = "UTC" if kind.tz else None
        try:
            return column.cast(pa.timestamp("us", zone))
        except pa.ArrowInvalid:  # finer than a microsecond: nothing is rounded
            return column.cast(pa.timestamp(kind.unit, zone))
    if pa.types.is_date(kind) and stored is None and dtype_backend != "pyarrow":
        return column.cast(pa.timestamp("us"))
    if pa.types.is_null(kind) and stored is None and dtype_backend is None:
        return column.cast(pa.float64())
    return column


def _beside_numpy(
    column: pa.ChunkedArray, stored: str | None, dtype_backend: str | None
) -> pd.Series[Any] | None:
    """Return lists, dicts, and integers or booleans with gaps as they shall be, else None."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    # pandas itself brings back these dtypes from the file's metadata
    is_extension = stored is not None and (
        stored.endswith("[pyarrow]") or stored[:1].isupper() or stored == "boolean"
    )
    if is_extension or dtype_backend == "pyarrow":
        return None
    if pa.types.is_nested(column.type):
        values = np.empty(len(column), dtype=object)
        values[:] = column.to_pylist(maps_as_pydicts="strict")
        return pd.Series(values, dtype=object)
    dtype = _nullable_dtypes().get(column.type)
    if dtype is None or not column.null_count or dtype_backend:
        return None
    if pa.types.is_boolean(column.type) and stored == "object":
        return None
    return pd.Series(dtype.__from_arrow__(column))


def _mapper(dtype_backend: str | None) -> Callable[[pa.DataType], Any] | None:
    import pandas as pd
    import pyarrow as pa

    if dtype_backend is None:
        return None
    if dtype_backend == "pyarrow":
        return pd.ArrowDtype
    texts = (pa.string(), pa.large_string(), pa.string_view())
    known = {
        **_nullable_dtypes(),
        pa.float32(): pd.Float32Dtype(),
        pa.float64(): pd.Float64Dtype(),
        pa.null(): pd.Int64Dtype(),
        **dict.fromkeys(texts, pd.StringDtype()),
    }
    return known.get


def _nullable_dtypes() -> dict[pa.DataType, Any]:
    import pandas as pd
    import pyarrow as pa

    widths = [f"{kind}{bits}" for kind in ("Int", "UInt") for bits in (8, 16, 32, 64)]
    integers = {pa.type_for_alias(name.lower()): pd.api.types.pandas_dtype(name) for name in widths}
    return {**integers, pa.bool_(): pd.BooleanDtype()}


def _noted(metadata: dict[str, Any] | None) -> tuple[dict[str, str], set[str]]:
    """Return what pandas noted when it wrote the file: dtypes by column, and the index columns.

    A date counts as stored only if it was a `datetime.date`; what another writer calls a date is
    one to compute with. Indexes of ranges are kept as dicts, and are no columns.
    """
    metadata = metadata or {}
    dtypes = {
        str(column.get("field_name") or column.get("name")): str(column["numpy_type"])
        for column in metadata.get("columns", [])
        if column.get("numpy_type")
    }
    return dtypes, {name for name in metadata.get("index_columns", []) if isinstance(name, str)}
