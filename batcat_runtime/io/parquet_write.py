"""A table as Parquet, written row group by row group, so that memory stays flat.

The types of all columns are decided first, on all rows, and pandas' own notes about them go into
the file, so that every dtype comes back as it went. Then slices of the table are converted and
encoded one after the other. Every page carries a checksum, so that damage is seen.

Not `wr.s3.to_parquet`: it publishes what an interrupt leaves (`batcat_runtime.io.upload`).
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from batcat_runtime.errors import DataFormatError

# Of Arrow memory: small enough to be held twice, large enough for engines to scan well.
_GROUP_BYTES = 24_000_000
_MAX_GROUP_ROWS = 1_048_576
_CHECKED_ROWS = 65_536
_SAMPLE_ROWS = 20_000

# What pandas and pyarrow raise for values that do not fit; pyarrow's own are of these, too.
CONVERSION_ERRORS = (ValueError, TypeError, NotImplementedError, OverflowError)


def parquet_pieces(
    table: pd.DataFrame | pa.Table, *, index: bool, compression: str | None
) -> Generator[bytes, None, None]:
    """Make a Parquet file of a table, a piece at a time.

    Parameters
    ----------
    table : pandas.DataFrame or pyarrow.Table
        What to write; see `parquet_schema` for what it may hold.
    index : bool
        Whether a DataFrame's index is kept; one that only counts rows takes no room.
    compression : {"snappy", "zstd", "gzip", "lz4", "brotli"} or None
        Of the pages inside the file.

    Raises
    ------
    DataFormatError
        See `parquet_schema`.
    """
    schema = parquet_schema(table, index=index)

    def write_alone(column: pd.DataFrame | pa.Table) -> None:
        for _ in _written(column, parquet_schema(column, index=False), compression):
            pass

    with unfit_named(table, "Parquet", write_alone):
        yield from _written(table, schema, compression)


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
    twice = [name for name, count in Counter(_names(table)).items() if count > 1]
    if twice:
        raise DataFormatError(
            f"Column {twice[0]!r} occurs more than once; Parquet needs names of their own.",
            fix="Rename one of them, for example with `df.columns = [...]`, or save as CSV.",
        )
    if isinstance(table, pa.Table):
        return table.schema
    with unfit_named(table, "Parquet", lambda column: _frame_schema(column, index=False)):
        return _frame_schema(table, index=index)


def arrow_column(
    values: pd.Series[Any] | pd.Index[Any], kind: pa.DataType | None = None
) -> pa.ChunkedArray:
    """Return a column's values as Arrow's, of a type; without a copy where that is possible.

    What pandas takes for missing becomes null.
    """
    if isinstance(kind, pa.BaseExtensionType) and isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.dtype.categories.dtype)
    found = pa.array(values, type=kind, from_pandas=True)
    return found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])


@contextmanager
def unfit_named(
    table: pd.DataFrame | pa.Table, form: str, write_alone: Callable[[Any], object]
) -> Iterator[None]:
    """Name the first column that cannot be written alone either, if the table cannot be written."""
    try:
        yield
    except CONVERSION_ERRORS as error:
        for place, name in enumerate(_names(table)):
            column = (
                table.select([place]) if isinstance(table, pa.Table) else table.iloc[:, [place]]
            )
            try:
                write_alone(column)
            except CONVERSION_ERRORS as its_error:
                raise unfit_column(name, form, _reason(column, its_error)) from error
        raise DataFormatError(
            f"The table cannot be written as {form}: {error}.",
            fix="Look at its index; index=False leaves that out.",
        ) from error


def unfit_column(name: str, form: str, why: object) -> DataFormatError:
    """Return the error that names a column."""
    return DataFormatError(
        f"Column {name!r} cannot be written as {form}: {why}.",
        fix="Change its values or its type, for example to text with `astype(str)`, or choose "
        "another format.",
    )


def _names(table: pd.DataFrame | pa.Table) -> list[str]:
    names = table.column_names if isinstance(table, pa.Table) else table.columns
    return [str(name) for name in names]


def _reason(column: pd.DataFrame | pa.Table, error: Exception) -> str:
    """Say which values are of different types, if any are; else what pandas or pyarrow says."""
    if isinstance(column, pa.Table):
        return str(error)
    values = column.iloc[:, 0]
    present = values.dropna().astype(object)
    for other in present:
        if type(other) is not type(present.iloc[0]):
            return f"it holds {present.iloc[0]!r:.60} beside {other!r:.60}"
    return f"{error} (its type is {values.dtype})"


def _frame_schema(frame: pd.DataFrame, *, index: bool) -> pa.Schema:
    if isinstance(frame.columns.dtype, (pd.CategoricalDtype, pd.PeriodDtype, pd.IntervalDtype)):
        frame = frame.set_axis(_names(frame), axis=1)  # pandas cannot read its own notes of them
    if not index:
        frame = frame.reset_index(drop=True)
    drawn = [
        pa.Schema.from_pandas(frame.iloc[start : start + _CHECKED_ROWS])
        for start in range(0, max(len(frame), 1), _CHECKED_ROWS)
    ]
    schema = pa.unify_schemas(drawn, promote_options="permissive")
    for place, field in enumerate(schema):
        if pa.types.is_dictionary(field.type) and isinstance(
            field.type.value_type, pa.BaseExtensionType
        ):
            schema = schema.set(place, field.with_type(field.type.value_type))
        column = frame.iloc[:, place] if place < frame.shape[1] else frame.index
        if pa.types.is_date32(field.type) and column.dtype == object:
            # instants among dates: Arrow takes them, and they would lose their time of day
            kinds = {*map(type, column)} - {type(pd.NaT)}
            if any(issubclass(kind, dt.datetime) for kind in kinds):
                raise ValueError("it holds dates and times of day")
    notes = drawn[0].pandas_metadata
    for note in notes["index_columns"]:
        if isinstance(note, dict):  # a range, drawn from the first rows
            note["stop"] = note["start"] + note["step"] * len(frame)
    return schema.with_metadata({**drawn[0].metadata, b"pandas": json.dumps(notes).encode()})


def _written(
    table: pd.DataFrame | pa.Table, schema: pa.Schema, compression: str | None
) -> Iterator[bytes]:
    sample = _slice(table, 0, _SAMPLE_ROWS, schema)
    row_bytes = sample.nbytes / max(sample.num_rows, 1)
    step = min(max(int(_GROUP_BYTES / max(row_bytes, 1)), 1), _MAX_GROUP_ROWS)
    pieces: list[bytes] = []
    nothing = lambda: None  # noqa: E731
    sink = SimpleNamespace(write=pieces.append, flush=nothing, close=nothing, closed=False)
    writer = parquet.ParquetWriter(
        pa.PythonFile(sink, mode="w"),
        schema,
        compression=compression or "none",
        use_dictionary=_repetitive(sample),
        write_page_checksum=True,
    )
    for start in range(0, max(len(table), 1), step):
        part = _slice(table, start, step, schema)
        writer.write_table(part, row_group_size=max(part.num_rows, 1))
        yield from pieces
        pieces.clear()
    writer.close()
    yield from pieces


def _slice(table: pd.DataFrame | pa.Table, start: int, rows: int, schema: pa.Schema) -> pa.Table:
    if isinstance(table, pa.Table):
        return table.slice(start, rows)
    part = table.iloc[start : start + rows]
    width = len(part.columns)
    values = [part.iloc[:, place] for place in range(width)]
    values += [part.index.get_level_values(place) for place in range(len(schema) - width)]
    return pa.Table.from_arrays(list(map(arrow_column, values, schema.types)), schema=schema)


def _repetitive(sample: pa.Table) -> list[str] | bool:
    """Return the columns worth a dictionary: trying one on a column of unique values costs half."""
    try:
        return [
            name
            for name, column in zip(sample.column_names, sample.columns, strict=True)
            if not pa.types.is_null(column.type)
            and pc.count_distinct(column).as_py() <= sample.num_rows / 2
        ] or False
    except pa.ArrowNotImplementedError:  # nested, or an extension: pyarrow's own choice
        return True
