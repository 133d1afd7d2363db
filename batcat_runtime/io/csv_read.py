"""CSV objects as Arrow tables: one streamed into Arrow's parser, many side by side.

One large object goes through Arrow's parser, which uses all processors, while its next parts are on
their way. Many small ones are fetched and parsed by a pool of threads, a file each; Arrow and the
network both leave Python's lock alone. Then their columns are brought to common kinds.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import DataFormatError
from batcat_runtime.io.csv_layout import CsvOptions, Layout, find_layout
from batcat_runtime.io.csv_rows import seems_to_go_over_lines
from batcat_runtime.io.decode import Chain, Readable, open_text
from batcat_runtime.io.dtypes import Wanted, as_wanted, refuse_gaps, wanted_by_column
from batcat_runtime.io.fetch import PART_BYTES, ObjectReader, PartStream
from batcat_runtime.io.kinds import Piece, joined, settled, together, widened
from batcat_runtime.io.places import Place
from batcat_runtime.io.progress import Progress
from batcat_runtime.io.types import DtypeBackend, to_pandas

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

FILES_AT_ONCE = 16
# of what Arrow parses as one block; a row must fit into it
_BLOCK_BYTES = 4 << 20
_LARGEST_BLOCK_BYTES = 1 << 30
_ROW = re.compile(r"Row #(\d+): ")


@dataclass(frozen=True)
class Columns:
    """Which columns of a CSV object are read, and as what.

    Attributes
    ----------
    layout : Layout
        Of the object.
    names : list of str
        Those that are read, in the order of the result.
    wanted : mapping from column to Wanted
        Those whose dtype was given.
    """

    layout: Layout
    names: list[str]
    wanted: Mapping[str, Wanted]

    @property
    def given(self) -> dict[str, pa.DataType]:
        """The Arrow types of the columns whose dtype was given."""
        return {name: one.arrow for name, one in self.wanted.items()}


def read_csv(
    s3: Any, places: list[Place], options: CsvOptions, dtype_backend: DtypeBackend | None
) -> pd.DataFrame:
    """Read CSV objects as one DataFrame.

    Parameters
    ----------
    s3 : botocore client
        Of S3.
    places : list of Place
        The objects; all with the same columns, in any order.
    options : CsvOptions
        How they are written, and what is wanted of them.
    dtype_backend : {"numpy_nullable", "pyarrow"}, optional
        See `to_pandas`.
    """
    if len(places) == 1:
        columns, piece = _Object(ObjectReader(s3, places[0]), options).piece(threads=True)
        tables = [piece.table]
        del piece
    else:
        columns, tables = _read_many(s3, places, options)
    where = places[0].uri if len(places) == 1 else f"one of {len(places)} objects"
    refuse_gaps(tables[0], columns.wanted, where)
    frame = to_pandas(tables.pop(), dtype_backend=dtype_backend)
    return finished(frame, columns, where)


def finished(frame: pd.DataFrame, columns: Columns, where: str) -> pd.DataFrame:
    """Give a frame the dtypes and column labels that were asked for."""
    frame = as_wanted(frame, columns.wanted, where)
    if columns.layout.is_numbered:
        frame.columns = [int(name) for name in frame.columns]
    return frame


def find_columns(layout: Layout, options: CsvOptions, uri: str) -> Columns:
    """Return which columns are read, and as what.

    Raises
    ------
    DataFormatError
        A column that was asked for is not there.
    """
    names = layout.names
    if options.columns is not None:
        names = list(dict.fromkeys(str(name) for name in options.columns))
        missing = [name for name in names if name not in layout.names]
        if missing:
            raise DataFormatError(
                f"{uri} has no column {', '.join(map(repr, missing))}.",
                fix=f"It has {', '.join(map(repr, layout.names))}.",
            )
    wanted = wanted_by_column(options.dtype, layout.names, uri)
    return Columns(layout, names, {name: one for name, one in wanted.items() if name in names})


def same_columns(columns: Columns, first: Columns, uri: str, first_uri: str) -> None:
    """Refuse an object whose columns are not those of the first one; their order may differ."""
    if set(columns.names) == set(first.names):
        return
    lacks = [name for name in first.names if name not in columns.names]
    has = [name for name in columns.names if name not in first.names]
    said = [f"lacks {', '.join(map(repr, lacks))}"] if lacks else []
    said += [f"has {', '.join(map(repr, has))} besides"] if has else []
    raise DataFormatError(
        f"{uri} has other columns than {first_uri}: it {' and '.join(said)}.",
        fix="Read what belongs together, or name the columns that all have with `columns`.",
    )


def parse(
    body: Any,
    columns: Columns,
    options: CsvOptions,
    types: Mapping[str, pa.DataType],
    *,
    only: list[str] | None = None,
    threads: bool = True,
    newlines: bool = True,
    block_bytes: int = _BLOCK_BYTES,
) -> pa.Table:
    """Parse rows, without a header, with Arrow.

    Parameters
    ----------
    body : file or pyarrow.Buffer
        UTF-8.
    columns : Columns
        What there is.
    options : CsvOptions
        How it is written.
    types : mapping from column to pyarrow.DataType
        What is not to be inferred.
    only : list of str, optional
        Read these columns; by default those that are wanted.
    threads : bool
        Whether to use all processors.
    newlines : bool
        Whether a cell may go over lines.
    block_bytes : int
        How much to parse at once.
    """
    import pyarrow as pa
    from pyarrow import csv

    wanted = columns.names if only is None else only
    try:
        return csv.read_csv(
            body,
            csv.ReadOptions(
                use_threads=threads, block_size=block_bytes, column_names=columns.layout.names
            ),
            csv.ParseOptions(
                delimiter=options.sep,
                quote_char=options.quotechar or False,
                newlines_in_values=newlines and options.quotechar is not None,
            ),
            csv.ConvertOptions(
                column_types=dict(types),
                include_columns=wanted,
                null_values=options.nulls,
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                true_values=["true", "True", "TRUE"],
                false_values=["false", "False", "FALSE"],
                decimal_point=options.decimal,
            ),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV file" not in str(error):
            raise
        return no_rows(wanted, types)


def no_rows(names: list[str], types: Mapping[str, pa.DataType]) -> pa.Table:
    """Return a table without rows."""
    import pyarrow as pa

    return pa.table({name: pa.array([], types.get(name, pa.null())) for name in names})


def explained(error: Exception, uri: str, rows_before: int) -> DataFormatError:
    """Return Arrow's complaint with the object's name and the row's number in the file."""
    said = str(error).split("\n")[0][:400]
    row = _ROW.search(said)
    where = f", row {int(row[1]) + rows_before}" if row else ""
    return DataFormatError(
        f"{uri}{where} cannot be read as CSV: {_ROW.sub('', said)}.",
        fix="Check `sep`, `quotechar`, `encoding`, `skiprows` and `dtype`, or that this is the "
        "right object.",
    )


def _rows_of(text: Readable, start: bytes) -> pa.NativeFile:
    """Return the rows as a file for Arrow: those that were read already, and what follows.

    A small object that is here whole is read without Python, whose lock all threads would want.
    """
    import pyarrow as pa

    whole = text.rest_with(len(start)) if isinstance(text, PartStream) else None
    if whole is not None:
        return pa.BufferReader(whole)
    return pa.PythonFile(Chain(start, text), mode="r")


class _Object:
    """One CSV object, which can be parsed again and again as long as nobody replaces it."""

    def __init__(self, reader: ObjectReader, options: CsvOptions) -> None:
        self.uri = reader.place.uri
        self._reader = reader
        self._options = options
        self._columns: Columns | None = None

    def piece(self, *, threads: bool) -> tuple[Columns, Piece]:
        """Return what it holds, its kinds decided."""
        table = self._table(None, threads=threads)
        columns = self._columns
        assert columns is not None
        return columns, settled(table, columns.given, self.again, self.uri)

    def again(self, types: Mapping[str, pa.DataType]) -> pa.Table:
        """Return some columns once more, as other types."""
        return self._table(types, threads=True)

    def _table(self, types: Mapping[str, pa.DataType] | None, *, threads: bool) -> pa.Table:
        """Parse, first in the fastest way, and more carefully if that did not work.

        Arrow is fastest when it need not look for line ends within quotes. Where it meets one
        after all, it says so, and is told to.
        """
        import pyarrow as pa

        block, newlines = _BLOCK_BYTES, False
        while True:
            try:
                return self._parsed(types, threads=threads, newlines=newlines, block_bytes=block)
            except pa.ArrowInvalid as error:
                rows_before = self._columns.layout.rows_before if self._columns else 0
                if "straddling" in str(error) and block < _LARGEST_BLOCK_BYTES:
                    block *= 16
                elif not newlines:
                    newlines = True
                elif threads:
                    threads = False  # then Arrow tells the row's number
                else:
                    raise explained(error, self.uri, rows_before) from error

    def _parsed(
        self,
        types: Mapping[str, pa.DataType] | None,
        *,
        threads: bool,
        newlines: bool,
        block_bytes: int,
    ) -> pa.Table:

        options = self._options
        with open_text(self._reader, options.compression, options.encoding) as text:
            layout = find_layout(text, options, self.uri)
            if self._columns is None:
                self._columns = find_columns(layout, options, self.uri)
            newlines = newlines or seems_to_go_over_lines(layout.start, options.quotechar)
            return parse(
                _rows_of(text, layout.start),
                self._columns,
                options,
                self._columns.given if types is None else types,
                only=None if types is None else list(types),
                threads=threads,
                newlines=newlines,
                block_bytes=block_bytes,
            )


def _read_many(s3: Any, places: list[Place], options: CsvOptions) -> tuple[Columns, list[pa.Table]]:
    total = sum(place.size or 0 for place in places) or None
    one_large = threading.Lock()
    # Waiting for the network takes many threads. Of parsers there are two for each processor: while
    # one waits for Python's lock, the other works; more would only have each other wait.
    parsing = threading.BoundedSemaphore(2 * (os.cpu_count() or 1))

    def read(place: Place) -> tuple[Columns, Piece, _Object]:
        reader = ObjectReader(s3, place, progress=progress)
        one = _Object(reader, options)
        if reader.size <= PART_BYTES:
            with parsing:
                columns, piece = one.piece(threads=False)
        else:
            with one_large:
                columns, piece = one.piece(threads=True)
        reader.forget()
        return columns, piece, one

    with (
        Progress(f"Reading {len(places)} objects of s3://{places[0].bucket}", total) as progress,
        ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="batcat-read") as pool,
    ):
        try:
            found = list(pool.map(read, places))
        finally:
            pool.shutdown(cancel_futures=True)
        first, objects = found[0][0], [one for _, _, one in found]
        for columns, _, one in found:
            same_columns(columns, first, one.uri, objects[0].uri)
        kinds = joined(piece.kinds for _, piece, _ in found)
        pieces = [piece for _, piece, _ in found]
        del found
        for place, (piece, one) in enumerate(zip(pieces, objects, strict=True)):
            if piece.kinds != kinds:
                pieces[place] = widened(piece, kinds, one.again)
        ordered = [Piece(piece.table.select(first.names), kinds) for piece in pieces]
        del pieces
        return first, [together(ordered)]
