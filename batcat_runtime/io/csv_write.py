"""A table as CSV text, made slice by slice, so that memory stays flat however long the table is.

pyarrow's writer formats the values, several slices at once. What it would print in a way that reads
back as something else is put right before: a column of floats without a fraction keeps a ``.0``,
instants get a ``Z``, an empty text is ``""`` where nothing is no value. A text is quoted only where
the slice that it is in needs it.

How a column is printed is decided once, on all its rows, before the first slice is made.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from batcat_runtime.errors import DataFormatError
from batcat_runtime.io.parquet_write import arrow_column

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    Rows = Callable[[int, int], pa.ChunkedArray]
    Printer = Callable[[pa.ChunkedArray], pa.ChunkedArray]

# Of text: what a slice aims at, and the rows that tell how long a row is.
_SLICE_BYTES = 2_000_000
_SAMPLE_ROWS = 1_000
_CHECKED_ROWS = 65_536
_SPECIAL = frozenset('",\r\n')

Item = TypeVar("Item")
Result = TypeVar("Result")


def csv_slices(
    columns: list[tuple[str, Any]], rows: int, *, compression: str | None = None
) -> Iterator[Any]:
    """Make the CSV of some columns, a piece at a time.

    Parameters
    ----------
    columns : list of (str, pandas.Series or pandas.Index or pyarrow.ChunkedArray)
        The header and the values, all of the same length; a header may occur twice.
    rows : int
        That length.
    compression : {"gzip", "zstd"}, optional
        Each piece becomes a member (gzip) or frame (zstd) of its own, which readers join.

    Yields
    ------
    bytes or pyarrow.Buffer
        UTF-8 without a byte order mark, lines end in a line feed.

    Raises
    ------
    DataFormatError
        A column holds what CSV cannot: bytes.
    """
    takes = [_printed(name, _taken(name, values), rows) for name, values in columns]
    header = ",".join(_quoted(name) for name, _ in columns) + "\n"

    def piece(span: tuple[int, int]) -> Any:
        text = _formatted([take(*span) for take in takes])
        if span[0] == 0:
            text = header.encode() + text.to_pybytes()
        return _compressed(text, compression)

    yield from in_order(piece, _spans(takes, rows))


def in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Work on items in threads, a few at a time, and give the results in the items' order."""
    workers = min(os.cpu_count() or 1, 4)
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="batcat-csv")
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _spans(takes: list[Rows], rows: int) -> Iterator[tuple[int, int]]:
    sample = min(rows, _SAMPLE_ROWS)
    size = _formatted([take(0, sample) for take in takes]).size if sample else 0
    step = max(1, _SLICE_BYTES * sample // max(size, 1)) if sample else 1
    for start in range(0, max(rows, 1), step):
        yield start, min(start + step, rows)


def _formatted(columns: list[pa.ChunkedArray]) -> pa.Buffer:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    if len(columns) == 1 and columns[0].null_count:
        # a line with nothing on it would be skipped by readers
        columns = [pc.fill_null(columns[0].cast(pa.large_string()), "")]
    table = pa.Table.from_arrays(columns, names=[str(place) for place in range(len(columns))])
    styles = ["none", "needed"]
    # alone on its line, a text of blanks would be skipped too
    if len(columns) == 1 or any(_has_empty_text(column) for column in columns):
        styles = ["needed"]
    # Arrow's own allocators keep what was freed, a lot for each thread; the system's gives it back
    memory = pa.system_memory_pool()
    for style in styles:
        sink = pa.BufferOutputStream(memory)
        options = csv.WriteOptions(include_header=False, quoting_style=style)
        try:
            csv.write_csv(table, sink, options, memory)
            break
        except pa.ArrowInvalid as error:
            if style == "needed" or "structural characters" not in str(error):
                raise
    return sink.getvalue()


def _has_empty_text(column: pa.ChunkedArray) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return False
    return bool(pc.min(pc.binary_length(column)).as_py() == 0)


def _compressed(text: Any, compression: str | None) -> Any:
    import pyarrow as pa

    if compression is None:
        return text
    # zlib's own default; Arrow's is the slowest
    level = 6 if compression == "gzip" else None
    return pa.Codec(compression, compression_level=level).compress(text)


def _quoted(name: str) -> str:
    if name and not _SPECIAL & set(name):
        return name
    return '"' + name.replace('"', '""') + '"'


def _taken(name: str, values: Any) -> Rows:
    """Return how some rows of a column become Arrow's, in whatever form they are kept."""
    import pandas as pd
    import pyarrow as pa
    from pandas.api.types import infer_dtype, is_object_dtype

    if isinstance(values, pa.ChunkedArray):
        return lambda start, stop: values.slice(start, stop - start)
    dtype = values.dtype
    known = {"string": pa.large_string(), "empty": pa.large_string(), "boolean": pa.bool_()}
    kind = known.get(infer_dtype(values, skipna=True)) if is_object_dtype(dtype) else None
    series = values if isinstance(values, pd.Series) else values.to_series()
    inner = dtype.categories.dtype if isinstance(dtype, pd.CategoricalDtype) else dtype
    as_text = (
        (is_object_dtype(inner) and kind is None)
        or inner.kind in "cm"
        or isinstance(inner, (pd.PeriodDtype, pd.IntervalDtype, pd.SparseDtype))
    )
    if as_text:
        return lambda start, stop: _texts(name, series.iloc[start:stop])

    def rows(start: int, stop: int) -> pa.ChunkedArray:
        try:
            return arrow_column(series.iloc[start:stop], kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError) as error:
            raise DataFormatError(
                f"Column {name!r} cannot be written as CSV: {error}.",
                fix="Mend its values, or change its type with `astype`.",
            ) from error

    return rows


def _printed(name: str, take: Rows, rows: int) -> Rows:
    """Return how some rows of a column become what the CSV writer prints right."""
    import pyarrow as pa

    kind = take(0, min(rows, 1)).type
    steps: list[Printer] = []
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        decoded = kind
        steps.append(lambda column: column.cast(decoded))
    printer = _printer(name, kind, lambda: _checked(take, rows))
    if printer is not None:
        steps.append(printer)

    def printed(start: int, stop: int) -> pa.ChunkedArray:
        column = take(start, stop)
        for step in steps:
            column = step(column)
        return column

    return printed


def _checked(take: Rows, rows: int) -> Iterator[pa.ChunkedArray]:
    for start in range(0, rows, _CHECKED_ROWS):
        yield take(start, min(start + _CHECKED_ROWS, rows))


def _printer(
    name: str, kind: pa.DataType, all_rows: Callable[[], Iterator[pa.ChunkedArray]]
) -> Printer | None:
    import pyarrow as pa

    types = pa.types
    if types.is_floating(kind):
        return _with_point if all(map(_is_whole, all_rows())) else None
    if types.is_timestamp(kind):
        exact = "us" if kind.unit == "ns" and all(map(_is_micro, all_rows())) else kind.unit
        return lambda column: _instant(column, exact)
    if types.is_string_view(kind):
        return lambda column: column.cast(pa.large_string())
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        raise _no_bytes(name)
    if types.is_duration(kind):
        return lambda column: _texts(name, column.to_pandas())
    if types.is_nested(kind):
        return lambda column: _texts(name, _nested(column))
    return None


def _is_whole(column: pa.ChunkedArray) -> bool:
    import numpy as np

    values = column.to_numpy()
    values = values[np.isfinite(values)]
    return bool((values == np.trunc(values)).all())


def _is_micro(column: pa.ChunkedArray) -> bool:
    import pyarrow as pa

    values = column.cast(pa.timestamp("ns")).cast(pa.int64()).fill_null(0).to_numpy()
    return not (values % 1_000).any()


def _with_point(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Print 1.0 as ``1.0``: a column of which every value is printed like 1 reads as integers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.replace_substring_regex(column.cast(pa.string()), r"^(-?\d+)$", r"\1.0")


def _instant(column: pa.ChunkedArray, unit: str) -> pa.ChunkedArray:
    """Print an instant in UTC: Arrow's own way needs a time zone database, which images lack."""
    import pyarrow as pa
    import pyarrow.compute as pc

    zone = column.type.tz
    naive = column.cast(pa.timestamp(column.type.unit)).cast(pa.timestamp(unit))
    return pc.binary_join_element_wise(naive.cast(pa.string()), "Z", "") if zone else naive


def _texts(name: str, values: pd.Series[Any]) -> pa.ChunkedArray:
    import pandas as pd
    import pyarrow as pa

    objects = values.astype(object)
    texts = [
        None if missing else _text(name, value)
        for value, missing in zip(objects, pd.isna(objects), strict=True)
    ]
    return pa.chunked_array([pa.array(texts, pa.large_string())])


def _nested(column: pa.ChunkedArray) -> pd.Series[Any]:
    import pandas as pd

    return pd.Series(column.to_pylist(maps_as_pydicts="strict"), dtype=object)


def _text(name: str, value: Any) -> str:
    import numpy as np

    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray)):
        raise _no_bytes(name)
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _no_bytes(name: str) -> DataFormatError:
    return DataFormatError(
        f"Column {name!r} holds bytes, which CSV cannot carry.",
        fix="Save as Parquet, with a key that ends in .parquet, or encode them as text first.",
    )
