"""A table as CSV text, made slice by slice, so that memory stays flat however long the table is.

pyarrow's writer formats the values, several slices at once. What it would print in a way that reads
back as something else is put right before: floats without a fraction keep a ``.0``,
instants get a ``Z``, a text that would read as no value is quoted. Other texts are quoted only
where the slice that they are in needs it.

Not `wr.s3.to_csv`: it takes 5.9 times as long (benchmark row save-csv), and it publishes what an
interrupt leaves (`batcat_runtime.io.upload`).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandas.api.types import infer_dtype
from pyarrow import csv

from batcat_runtime.io.csv_types import NULL_VALUES
from batcat_runtime.io.parquet_write import CONVERSION_ERRORS, arrow_column, unfit_column

Columns = list[tuple[str, Any]]

_LONGEST_NULL = max(map(len, NULL_VALUES))

# Of text: what a slice aims at, and the rows that tell how long a row is.
_SLICE_BYTES = 2_000_000
_SAMPLE_ROWS = 1_000


def csv_slices(
    columns: Columns, rows: int, *, compression: str | None = None
) -> Generator[Any, None, None]:
    """Make the CSV of some columns, a piece at a time.

    Parameters
    ----------
    columns : list of (str, pandas.Series or pyarrow.ChunkedArray)
        The header and the values, all of the same length; a header may occur twice.
    rows : int
        That length.
    compression : {"gzip", "zstd"}, optional
        Each piece becomes a member (gzip) or frame (zstd) of its own, which readers join; both have
        checksums.

    Yields
    ------
    bytes or pyarrow.Buffer
        UTF-8 without a byte order mark, lines end in a line feed.

    Raises
    ------
    DataFormatError
        A column holds what CSV cannot: bytes.
    """
    header = ",".join(_quoted(name) for name, _ in columns) + "\n"

    def piece(start: int, stop: int) -> Any:
        text = _formatted(columns, start, stop)
        if start == 0:
            text = header.encode() + text.to_pybytes()
        return _compressed(text, compression)

    sample = min(rows, _SAMPLE_ROWS)
    size = _formatted(columns, 0, sample).size
    step = max(1, _SLICE_BYTES * sample // max(size, 1))
    workers = min(os.cpu_count() or 1, 4)
    waiting: deque[Future[Any]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="batcat-csv")
    try:
        for start in range(0, max(rows, 1), step):
            waiting.append(pool.submit(piece, start, min(start + step, rows)))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _quoted(name: str) -> str:
    if name and not set(name) & set('",\r\n'):
        return name
    return '"' + name.replace('"', '""') + '"'


def _formatted(columns: Columns, start: int, stop: int) -> pa.Buffer:
    values = [_printable(name, column, start, stop) for name, column in columns]
    if len(values) == 1 and values[0].null_count:
        # a line with nothing on it would be skipped by readers
        values = [pc.fill_null(values[0].cast(pa.large_string()), "")]
    table = pa.Table.from_arrays(values, names=[str(place) for place in range(len(values))])
    # alone on its line, a text of blanks would be skipped too
    quotes = len(values) == 1 or any(map(_reads_as_null, values))
    # Arrow's own allocators keep what was freed, a lot for each thread; the system's gives it back
    memory = pa.system_memory_pool()
    for style in ["needed"] if quotes else ["none", "needed"]:
        sink = pa.BufferOutputStream(memory)
        options = csv.WriteOptions(include_header=False, quoting_style=style)
        try:
            csv.write_csv(table, sink, options, memory)
            break
        except pa.ArrowInvalid:  # a text needs quotes
            if style == "needed":
                raise
    return sink.getvalue()


def _reads_as_null(column: pa.ChunkedArray) -> bool:
    if column.type != pa.large_string():
        return False
    shortest = pc.min(pc.binary_length(column)).as_py()
    if shortest is None or shortest > _LONGEST_NULL:  # much faster told than by `is_in`
        return False
    return bool(pc.any(pc.is_in(column, pa.array(NULL_VALUES, column.type))).as_py())


def _compressed(text: Any, compression: str | None) -> Any:
    if compression == "gzip":
        return pa.Codec("gzip", compression_level=6).compress(text)  # zlib's default; Arrow's is 9
    if compression == "zstd":  # pyarrow's frames have no checksum
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        return zstd.compress(text, options={zstd.CompressionParameter.checksum_flag: True})
    return text


def _printable(name: str, values: Any, start: int, stop: int) -> pa.ChunkedArray:
    """Return some rows of a column as what the CSV writer prints right."""
    try:
        name.encode()
        if isinstance(values, pd.Series):
            return _of_arrow(_of_pandas(values.iloc[start:stop]))
        return _of_arrow(values.slice(start, stop - start))
    except CONVERSION_ERRORS as error:
        raise unfit_column(name, "CSV", error) from error


def _of_pandas(values: pd.Series[Any]) -> pa.ChunkedArray:
    if values.dtype == object:
        is_text = infer_dtype(values, skipna=True) == "string"
        return arrow_column(values, pa.large_string()) if is_text else _texts(values)
    with contextlib.suppress(*CONVERSION_ERRORS):  # complex numbers, sparse columns
        column = arrow_column(values)
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        # periods, intervals, and a dictionary of nothing, which Arrow cannot decode
        if not (isinstance(kind, pa.BaseExtensionType) or pa.types.is_null(kind)):
            return column
    return _texts(values)


def _of_arrow(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind, types = column.type, pa.types
    if types.is_dictionary(kind) and not types.is_nested(kind.value_type):
        return _of_arrow(column.cast(kind.value_type))
    if types.is_floating(kind):
        return _with_point(column)
    if types.is_timestamp(kind):
        return _instant(column)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return column.cast(pa.large_string())
    if types.is_duration(kind):
        return _texts(column.to_pandas())
    if types.is_primitive(kind) or types.is_decimal(kind) or types.is_null(kind):
        return column
    return _texts(pd.Series(column.to_pylist(maps_as_pydicts="strict"), dtype=object))


def _with_point(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Print 1.0 as ``1.0`` where every value would be printed like 1: they read as integers."""
    values = column.to_numpy()
    values = values[np.isfinite(values)]
    if (values != np.trunc(values)).any():
        return column
    return pc.replace_substring_regex(column.cast(pa.string()), r"^(-?\d+)$", r"\1.0")


def _instant(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Print an instant in UTC: Arrow's own way needs a time zone database, which images lack."""
    naive = column.cast(pa.timestamp(column.type.unit))
    with contextlib.suppress(pa.ArrowInvalid):  # there are nanoseconds
        naive = naive.cast(pa.timestamp("us")) if column.type.unit == "ns" else naive
    if column.type.tz is None:
        return naive
    return pc.binary_join_element_wise(naive.cast(pa.string()), "Z", "")


def _texts(values: pd.Series[Any]) -> pa.ChunkedArray:
    objects = values.astype(object)
    texts = [
        None if missing else _text(value)
        for value, missing in zip(objects, pd.isna(objects), strict=True)
    ]
    return pa.chunked_array([pa.array(texts, pa.large_string())])


def _text(value: Any) -> str:
    if isinstance(value, (bytes, bytearray)):
        raise TypeError("it holds bytes")
    if isinstance(value, (np.ndarray, np.bool_)):
        value = value.tolist()
    if isinstance(value, (bool, dict, list, tuple)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
