"""A table as Parquet, written row group by row group, so that memory stays flat.

The types of all columns are decided first, on all rows, and pandas' own notes about them go into
the file, so that every dtype comes back as it went. Then slices of the table are converted and
encoded one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import DataFormatError
from batcat_runtime.io.columns import arrow_column

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

# Of Arrow memory: small enough to be held twice, large enough for engines to scan well.
_GROUP_BYTES = 24_000_000
_MAX_GROUP_ROWS = 1_048_576
_CHECKED_ROWS = 65_536
_SAMPLE_ROWS = 20_000


def write_parquet(
    table: pd.DataFrame | pa.Table,
    sink: Any,
    *,
    index: bool,
    compression: str | None,
    **options: Any,
) -> None:
    """Write a table to a file.

    Parameters
    ----------
    table : pandas.DataFrame or pyarrow.Table
        What to write; see `parquet_schema` for what it may hold.
    sink : file-like
        Open for writing bytes.
    index : bool
        Whether a DataFrame's index is kept; one that only counts rows takes no room.
    compression : {"snappy", "zstd", "gzip", "lz4"} or None
        Of the pages inside the file.
    **options
        Further ones of `pyarrow.parquet.ParquetWriter`.

    Raises
    ------
    DataFormatError
        See `parquet_schema`; nothing has been written then.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = parquet_schema(table, index=index)
    slices = _slices(table, schema)
    writer = pq.ParquetWriter(
        pa.PythonFile(sink, mode="w"),
        schema,
        compression=compression or "none",
        use_dictionary=_repetitive(table, schema),
        **options,
    )
    try:
        for one in slices:
            writer.write_table(one, row_group_size=max(one.num_rows, 1))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataFormatError(
            f"The table cannot be written as Parquet: {error}.",
            fix="Change the column's type with `astype`, or save as CSV.",
        ) from error
    writer.close()


def parquet_schema(table: pd.DataFrame | pa.Table, *, index: bool) -> pa.Schema:
    """Return the Arrow schema of a table, with pandas' notes for the way back.

    Parameters
    ----------
    table : pandas.DataFrame or pyarrow.Table
        All of its rows are looked at where its dtypes say too little (object columns).
    index : bool
        Whether a DataFrame's index is kept.

    Raises
    ------
    DataFormatError
        A column name occurs twice, or a column mixes types; the message names column and value.
    """
    import pandas as pd
    import pyarrow as pa

    names = [
        str(name)
        for name in (table.columns if isinstance(table, pd.DataFrame) else table.column_names)
    ]
    twice = (
        sorted({name for name in names if names.count(name) > 1})
        if len(set(names)) < len(names)
        else []
    )
    if twice:
        raise DataFormatError(
            f"Column {twice[0]!r} occurs {names.count(twice[0])} times; Parquet needs names of "
            "their own.",
            fix="Rename one of them, for example with `df.columns = [...]`, or save as CSV.",
        )
    if isinstance(table, pa.Table):
        return table.schema
    try:
        start = table.iloc[:0] if index else table.iloc[:0].reset_index(drop=True)
        drawn = pa.Table.from_pandas(start).schema
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, TypeError) as error:
        raise _unfit_frame(table, error) from error
    fields = list(drawn)
    for place, name in enumerate(table.columns):
        column = table.iloc[:, place]
        if column.dtype.kind == "O" and not isinstance(
            column.dtype, pd.api.extensions.ExtensionDtype
        ):
            fields[place] = fields[place].with_type(_object_type(str(name), column))
    for place in range(len(table.columns), len(fields)):
        level = table.index.get_level_values(place - len(table.columns))
        if level.dtype == "object":
            fields[place] = fields[place].with_type(
                _object_type(f"index {level.name}", level.to_series())
            )
    kept = table.index if index else pd.RangeIndex(len(table))
    return _with_notes(pa.schema(fields, drawn.metadata), kept)


def _with_notes(schema: pa.Schema, index: pd.Index[Any]) -> pa.Schema:
    """Mend what pandas notes in a file: it was drawn from no rows."""
    import pandas as pd
    from pyarrow.pandas_compat import get_logical_type

    notes = schema.pandas_metadata
    for one in notes["index_columns"]:
        if isinstance(one, dict) and isinstance(index, pd.RangeIndex):
            one.update(start=index.start, stop=index.stop, step=index.step)
    for one in notes["columns"]:
        if one["pandas_type"] == "empty":
            one["pandas_type"] = get_logical_type(schema.field(one["field_name"]).type)
    return schema.with_metadata({**schema.metadata, b"pandas": json.dumps(notes).encode()})


def _object_type(name: str, column: pd.Series[Any]) -> pa.DataType:
    """Return the one Arrow type of a column of Python objects."""
    import pyarrow as pa
    from pandas.api.types import infer_dtype

    known = {"string": pa.string(), "boolean": pa.bool_(), "empty": pa.null()}
    kind = known.get(infer_dtype(column, skipna=True))
    if kind is not None:
        return kind
    found = pa.null()
    for start in range(0, len(column), _CHECKED_ROWS):
        part = column.iloc[start : start + _CHECKED_ROWS]
        try:
            one = pa.array(part, from_pandas=True).type
            if one != found:
                fields = [pa.schema([pa.field("a", kind)]) for kind in (found, one)]
                found = pa.unify_schemas(fields, promote_options="permissive").field(0).type
        except (
            pa.ArrowInvalid,
            pa.ArrowTypeError,
            pa.ArrowNotImplementedError,
            OverflowError,
        ) as error:
            raise _unfit(name, column, error) from error
    return found


def _unfit(name: str, column: pd.Series[Any], error: Exception) -> DataFormatError:
    import pandas as pd

    present = column[~pd.isna(column)]
    first = present.iloc[0]
    others = (value for value in present if type(value) is not type(first))
    other = next(others, None)
    mixed = f": {first!r:.60} beside {other!r:.60}" if other is not None else f": {error}"
    return DataFormatError(
        f"Column {name!r} holds values that do not fit one Parquet type{mixed}.",
        fix=f"Make them alike, for example with df[{name!r}] = df[{name!r}].astype(str).",
    )


def _unfit_frame(frame: pd.DataFrame, error: Exception) -> DataFormatError:
    import pyarrow as pa

    for place, name in enumerate(frame.columns):
        try:
            pa.Schema.from_pandas(frame.iloc[:0, [place]], preserve_index=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, TypeError):
            return DataFormatError(
                f"Column {str(name)!r} is of type {frame.dtypes.iloc[place]}, which Parquet does "
                "not have.",
                fix="Change it with `astype`, or save as CSV.",
            )
    return DataFormatError(f"The table cannot be written as Parquet: {error}.")


def _slices(table: pd.DataFrame | pa.Table, schema: pa.Schema) -> Iterator[pa.Table]:
    sample = _slice(table, 0, _SAMPLE_ROWS, schema)
    row_bytes = sample.nbytes / max(sample.num_rows, 1)
    step = min(max(int(_GROUP_BYTES / max(row_bytes, 1)), 1), _MAX_GROUP_ROWS)
    for start in range(0, max(len(table), 1), step):
        yield _slice(table, start, step, schema)


def _slice(table: pd.DataFrame | pa.Table, start: int, rows: int, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    if isinstance(table, pa.Table):
        return table.slice(start, rows)
    part = table.iloc[start : start + rows]
    width = len(part.columns)
    values = [part.iloc[:, place] for place in range(width)]
    values += [part.index.get_level_values(place) for place in range(len(schema) - width)]
    columns = [arrow_column(one, field.type) for one, field in zip(values, schema, strict=True)]
    return pa.Table.from_arrays(columns, schema=schema)


def _repetitive(table: pd.DataFrame | pa.Table, schema: pa.Schema) -> list[str] | bool:
    """Return the columns worth a dictionary: trying one on a column of unique values costs half."""
    import pyarrow as pa
    import pyarrow.compute as pc

    sample = _slice(table, 0, _SAMPLE_ROWS, schema)
    worth = []
    for name, column in zip(sample.column_names, sample.columns, strict=True):
        kind = column.type
        if pa.types.is_nested(kind) or pa.types.is_dictionary(kind):
            return True
        if pa.types.is_boolean(kind) or pa.types.is_null(kind):
            continue
        if pc.count_distinct(column).as_py() <= sample.num_rows / 2:
            worth.append(name)
    return worth or False
