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
    stored = _stored_dtypes(table.schema) if pandas_metadata else {}
    index = _index_columns(table.schema) if pandas_metadata else set()
    columns: list[pa.ChunkedArray] = []
    replaced: dict[int, Any] = {}
    fields = [field.with_name(name) for field, name in zip(table.schema, names, strict=True)]
    metadata = table.schema.metadata if pandas_metadata else None
    rows = table.num_rows
    sources = table.columns
    del table  # the columns are all that is kept, and each is given up once it is converted
    for place in range(len(sources)):
        column, sources[place] = sources[place], None
        kind = stored.get(names[place])
        if not pandas_metadata:
            column = _sql_time(column)
        column = _plain_date(column, kind, dtype_backend)
        if dtype_backend != "pyarrow" and names[place] not in index:
            series = _python_values(column, kind)
            if series is None and dtype_backend is None:
                series = _nullable(column, kind)
            if series is not None:
                replaced[place - sum(name in index for name in names[:place])] = series
                column = pa.chunked_array([pa.nulls(rows, pa.bool_()).fill_null(False)])
            elif pa.types.is_null(column.type) and kind is None and dtype_backend is None:
                column = column.cast(pa.float64())
        columns.append(column)
        fields[place] = fields[place].with_type(column.type)
    del column
    arrow = pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata=metadata))
    del columns, sources
    # blocks are not split: a split block may share Arrow's memory, which cannot be written to
    frame: pd.DataFrame = arrow.to_pandas(
        types_mapper=_mapper(dtype_backend),
        ignore_metadata=not pandas_metadata,
        self_destruct=True,
        split_blocks=False,
    )
    del arrow  # after self_destruct nothing may touch it
    for place, series in replaced.items():
        frame.isetitem(place, series.set_axis(frame.index))
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


def _sql_time(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa

    kind = column.type
    if not pa.types.is_timestamp(kind):
        return column
    zone = "UTC" if kind.tz else None
    try:
        return column.cast(pa.timestamp("us", zone))
    except pa.ArrowInvalid:  # finer than a microsecond: nothing is rounded
        return column.cast(pa.timestamp(kind.unit, zone))


def _plain_date(
    column: pa.ChunkedArray, stored: str | None, dtype_backend: str | None
) -> pa.ChunkedArray:
    import pyarrow as pa

    if pa.types.is_date(column.type) and stored is None and dtype_backend != "pyarrow":
        return column.cast(pa.timestamp("us"))
    return column


def _python_values(column: pa.ChunkedArray, stored: str | None) -> pd.Series[Any] | None:
    """Return nested values as lists and dicts, or None for a column of another kind."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    if not pa.types.is_nested(column.type) or _is_extension(stored):
        return None
    values = np.empty(len(column), dtype=object)
    values[:] = column.to_pylist(maps_as_pydicts="strict")
    return pd.Series(values, dtype=object)


def _nullable(column: pa.ChunkedArray, stored: str | None) -> pd.Series[Any] | None:
    """Return integers or booleans with gaps in pandas' nullable types, or None if neither."""
    import pandas as pd
    import pyarrow as pa

    if not column.null_count or _is_extension(stored):
        return None
    dtype = _nullable_dtypes().get(column.type)
    if dtype is None or (pa.types.is_boolean(column.type) and stored == "object"):
        return None
    return pd.Series(dtype.__from_arrow__(column))


def _mapper(dtype_backend: str | None) -> Callable[[pa.DataType], Any] | None:
    import pandas as pd
    import pyarrow as pa

    if dtype_backend is None:
        return None
    if dtype_backend == "pyarrow":
        return pd.ArrowDtype
    known = {
        **_nullable_dtypes(),
        pa.float32(): pd.Float32Dtype(),
        pa.float64(): pd.Float64Dtype(),
        pa.string(): pd.StringDtype(),
        pa.large_string(): pd.StringDtype(),
        pa.string_view(): pd.StringDtype(),
        pa.null(): pd.Int64Dtype(),
    }
    return known.get


def _nullable_dtypes() -> dict[pa.DataType, Any]:
    import pandas as pd
    import pyarrow as pa

    return {
        pa.int8(): pd.Int8Dtype(),
        pa.int16(): pd.Int16Dtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(),
        pa.uint8(): pd.UInt8Dtype(),
        pa.uint16(): pd.UInt16Dtype(),
        pa.uint32(): pd.UInt32Dtype(),
        pa.uint64(): pd.UInt64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
    }


def _stored_dtypes(schema: pa.Schema) -> dict[str, str]:
    """Return what pandas noted of each column when it wrote the file: its dtype by column name.

    A date counts as stored only if it was a `datetime.date`; what another writer calls a date is
    one to compute with.
    """
    noted = (schema.pandas_metadata or {}).get("columns", [])
    return {
        str(one.get("field_name") or one.get("name")): str(one["numpy_type"])
        for one in noted
        if one.get("numpy_type")
    }


def _index_columns(schema: pa.Schema) -> set[str]:
    """Return the columns that become the index; ranges, kept as dicts, are no columns."""
    noted = (schema.pandas_metadata or {}).get("index_columns", [])
    return {one for one in noted if isinstance(one, str)} & set(schema.names)


def _is_extension(stored: str | None) -> bool:
    """Whether pandas itself brings back this dtype from the file's metadata."""
    if stored is None:
        return False
    return stored.endswith("[pyarrow]") or stored[:1].isupper() or stored == "boolean"


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
