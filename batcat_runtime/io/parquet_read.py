"""Parquet objects as tables: only the columns that are wanted, decoded while the rest is coming.

Files under one prefix may differ as files do that were written over the years: a column more or
less, int32 here and int64 there. They are brought to common types where no value changes by it;
where none exist the error names both files. Folders such as ``day=2022-01-01`` become columns.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import BatcatError, DataFormatError
from batcat_runtime.io.fetch import PART_BYTES, ObjectReader
from batcat_runtime.io.parquet_schema import common_schema, fitted, folder_columns
from batcat_runtime.io.places import Place
from batcat_runtime.io.progress import Progress
from batcat_runtime.io.ranges import RangeFile
from batcat_runtime.io.types import DtypeBackend, to_pandas

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

FILES_AT_ONCE = 16
# holds the footer of all but the widest files, and all of a small one
_TAIL_BYTES = 512 << 10


@dataclass(frozen=True)
class Source:
    """Parquet objects that are read as one table.

    Attributes
    ----------
    s3 : botocore client
        Of S3.
    places : list of Place
        The objects, in order.
    root : str or None
        The folder below which ``name=value`` folders are columns; None: they are not.
    columns : sequence of str or None
        What is wanted, also of these; None: all.
    """

    s3: Any
    places: list[Place]
    root: str | None = None
    columns: Sequence[str] | None = None


def read_parquet(source: Source, dtype_backend: DtypeBackend | None) -> pd.DataFrame:
    """Read Parquet objects as one DataFrame; see `read_parquet_from_bucket`."""
    return to_pandas(read_table(source), dtype_backend=dtype_backend, pandas_metadata=True)


def read_table(source: Source) -> pa.Table:
    """Read Parquet objects as one Arrow table.

    Raises
    ------
    DataFormatError
        An object is no Parquet, or does not go with the others; a column is missing in all.
    """
    import pyarrow as pa

    folders = folder_columns(source.places, source.root)
    places, total = source.places, sum(place.size or 0 for place in source.places) or None
    one_large = threading.Lock()

    def read(place: Place) -> pa.Table:
        with _Object(source, place, progress) as one:
            if one.is_small:
                return one.table(threads=len(places) == 1)
            with one_large:
                return one.table(threads=True)

    with (
        Progress(_what(places), total) as progress,
        ThreadPoolExecutor(min(FILES_AT_ONCE, len(places))) as pool,
    ):
        try:
            tables = [read(places[0])] if len(places) == 1 else list(pool.map(read, places))
        finally:
            pool.shutdown(cancel_futures=True)
    schema = common_schema([table.schema for table in tables], places)
    _check_columns(source, schema, folders)
    for number, place in enumerate(places):
        tables[number] = fitted(tables[number], schema, place)
        tables[number] = _with_folders(tables[number], folders, number, source)
    return pa.concat_tables(tables)


def parquet_chunks(
    source: Source, chunksize: int, dtype_backend: DtypeBackend | None
) -> Iterator[pd.DataFrame]:
    """Read Parquet objects, one after the other, in DataFrames of so many rows.

    No more is held than the compressed bytes of two row groups and the rows of a chunk. The types
    are the same in every chunk: with several objects their footers are read first.
    """
    import pyarrow as pa

    folders = folder_columns(source.places, source.root)
    schema = common_schema(schemas(source), source.places)
    _check_columns(source, schema, folders)
    waiting: list[pa.Table] = []
    rows = done = 0

    def frame(count: int) -> pd.DataFrame:
        nonlocal rows, done, waiting
        table = pa.concat_tables(waiting)
        waiting, rows = [table.slice(count)], rows - count
        found = to_pandas(table.slice(0, count), dtype_backend=dtype_backend, pandas_metadata=True)
        if isinstance(found.index, pd.RangeIndex):
            found.index = pd.RangeIndex(done, done + count)
        done += count
        return found

    import pandas as pd

    for number, place in enumerate(source.places):
        with _Object(source, place, None) as one:
            for batch in one.batches(chunksize):
                table = fitted(batch, schema, place)
                waiting.append(_with_folders(table, folders, number, source))
                rows += table.num_rows
                while rows >= chunksize:
                    yield frame(chunksize)
    if rows or not done:
        if not waiting:
            empty = _with_folders(schema.empty_table(), folders, 0, source)
            waiting.append(empty)
        yield frame(rows)


class _Object:
    """One Parquet object, opened at its end, where its footer is."""

    def __init__(self, source: Source, place: Place, progress: Progress | None) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        self.uri = place.uri
        tail = place.size if place.size and place.size <= PART_BYTES else _TAIL_BYTES
        self._reader = ObjectReader(source.s3, place, tail=tail, progress=progress)
        self.is_small = self._reader.is_whole
        self._ranges = None if self.is_small else RangeFile(self._reader)
        if self.is_small and progress is not None:
            progress.add(self._reader.size)
        file = (
            pa.BufferReader(self._reader.first)
            if self._ranges is None
            else pa.PythonFile(self._ranges, mode="r")
        )
        with self._errors():
            self._file = parquet.ParquetFile(file, pre_buffer=False)
        self._columns = self._present(source.columns)

    def __enter__(self) -> _Object:
        return self

    def __exit__(self, *_: object) -> None:
        if self._ranges is not None:
            self._ranges.close()

    @property
    def schema(self) -> pa.Schema:
        """What the columns that are wanted are."""
        whole = self._file.schema_arrow
        if self._columns is None:
            return whole
        fields = [whole.field(name) for name in self._columns]
        import pyarrow as pa

        return pa.schema(fields, metadata=whole.metadata)

    def table(self, *, threads: bool) -> pa.Table:
        """Return all rows."""
        import pyarrow as pa

        if self._ranges is None or self._columns == []:  # without columns there are rows still
            with self._errors():
                return self._file.read(self._columns, use_threads=threads)
        with self._errors():
            groups = [
                self._file.read_row_group(group, self._columns, use_threads=threads)
                for group in self._fetched()
            ]
        return pa.concat_tables(groups) if groups else self.schema.empty_table()

    def batches(self, rows: int) -> Iterator[pa.Table]:
        """Give the rows in tables of at most so many."""
        import pyarrow as pa

        for group in self._fetched():
            batches = self._file.iter_batches(
                rows, row_groups=[group], columns=self._columns, use_threads=True
            )
            while True:
                with self._errors():
                    batch = next(batches, None)
                if batch is None:
                    break
                yield pa.Table.from_batches([batch])

    def _fetched(self) -> Iterator[int]:
        """Give the numbers of the row groups, each when its bytes are coming, and the next's."""
        groups = range(self._file.metadata.num_row_groups)
        for group in groups:
            if self._ranges is not None:
                for coming in [0, 1] if group == 0 else [group + 1]:
                    if coming in groups:
                        self._ranges.fetch(self._chunks(coming))
            yield group
            if self._ranges is not None:
                self._ranges.forget(max((end for _, end in self._chunks(group)), default=0))

    def _chunks(self, group: int) -> list[tuple[int, int]]:
        """Return where the wanted columns of a row group lie."""
        described = self._file.metadata.row_group(group)
        found = []
        for number in range(described.num_columns):
            column = described.column(number)
            if self._columns is not None and not any(
                column.path_in_schema == name or column.path_in_schema.startswith(f"{name}.")
                for name in self._columns
            ):
                continue
            start = column.data_page_offset
            if column.has_dictionary_page and column.dictionary_page_offset is not None:
                start = min(start, column.dictionary_page_offset)
            found.append((start, start + column.total_compressed_size))
        return found

    def _present(self, wanted: Sequence[str] | None) -> list[str] | None:
        """Return those wanted columns that this object has, and what pandas kept as its index."""
        if wanted is None:
            return None
        schema = self._file.schema_arrow
        index = (schema.pandas_metadata or {}).get("index_columns", [])
        names = [*wanted, *(name for name in index if isinstance(name, str))]
        return [name for name in dict.fromkeys(names) if name in schema.names]

    @contextmanager
    def _errors(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except BatcatError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(self.uri, self._reader, error) from error


def _unreadable(uri: str, reader: ObjectReader, error: Exception) -> DataFormatError:
    said = str(error).split("\n")[0].removesuffix(".")
    fix = "It is damaged or was not written whole; write it again."
    if not reader.size:
        said, fix = "it is empty", "Check the key."
    elif "magic bytes not found" in said:
        start = bytes(memoryview(reader.read_range(0, min(4, reader.size))))
        said, fix = "it is another format", "If it is CSV, read it with read_csv_from_bucket."
        if start == b"PK\x03\x04":
            fix = "If it is an Excel file, read it with read_excel_from_bucket."
    return DataFormatError(f"{uri} cannot be read as Parquet: {said}.", fix=fix)


def schemas(source: Source) -> list[pa.Schema]:
    """Return the schema of each object, from its footer."""

    def schema(place: Place) -> pa.Schema:
        with _Object(source, place, None) as one:
            return one.schema

    with ThreadPoolExecutor(min(FILES_AT_ONCE, len(source.places))) as pool:
        try:
            return list(pool.map(schema, source.places))
        finally:
            pool.shutdown(cancel_futures=True)


def _with_folders(
    table: pa.Table, folders: Mapping[str, pa.Array], number: int, source: Source
) -> pa.Table:
    import pyarrow as pa

    for name, values in folders.items():
        if name in table.column_names or (source.columns and name not in source.columns):
            continue  # what the file itself says of it is more exact
        column = pa.repeat(values[number], table.num_rows)
        table = table.append_column(name, column)
    if source.columns is not None and folders:
        extra = [name for name in table.column_names if name not in source.columns]
        table = table.select([*source.columns, *extra])
    return table


def _check_columns(source: Source, schema: pa.Schema, folders: Mapping[str, pa.Array]) -> None:
    known = {*schema.names, *folders}
    missing = [name for name in source.columns or () if name not in known]
    if missing:
        with _Object(Source(source.s3, source.places[:1]), source.places[0], None) as first:
            names = [*first.schema.names, *folders]
        raise DataFormatError(
            f"{_what(source.places).removeprefix('Reading ')} has no column "
            f"{', '.join(map(repr, missing))}.",
            fix=f"There are {', '.join(map(repr, names))}.",
        )


def _what(places: list[Place]) -> str:
    if len(places) == 1:
        return f"Reading {places[0].uri}"
    return f"Reading {len(places)} objects of s3://{places[0].bucket}"
