"""CSV in chunks of rows, in memory that does not grow with the file.

The text is cut into blocks at row ends; each block is parsed by itself, with all processors, while
the next one is on its way. A column's kind can only widen from chunk to chunk: once a column had a
float in it, the integers of later chunks are floats too. What was handed out stays as it was, so a
reader who needs the same types throughout gives `dtype`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import DataFormatError
from batcat_runtime.io.csv_layout import CsvOptions, find_layout
from batcat_runtime.io.csv_read import (
    Columns,
    explained,
    find_columns,
    finished,
    no_rows,
    parse,
    same_columns,
)
from batcat_runtime.io.csv_rows import last_row_end
from batcat_runtime.io.decode import READ_BYTES, Readable, open_text
from batcat_runtime.io.dtypes import refuse_gaps
from batcat_runtime.io.fetch import ObjectReader
from batcat_runtime.io.kinds import Kind, Piece, joined, settled, together, widened
from batcat_runtime.io.places import Place
from batcat_runtime.io.types import DtypeBackend, to_pandas

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

BLOCK_BYTES = 8 << 20
_PARSE_BYTES = 1 << 20
_LONGEST_ROW = 1 << 30


def csv_chunks(
    s3: Any,
    places: list[Place],
    options: CsvOptions,
    chunksize: int,
    dtype_backend: DtypeBackend | None,
) -> Iterator[pd.DataFrame]:
    """Read CSV objects, one after the other, in DataFrames of so many rows.

    Parameters
    ----------
    s3 : botocore client
        Of S3.
    places : list of Place
        The objects; all with the same columns, in any order.
    options : CsvOptions
        How they are written, and what is wanted of them.
    chunksize : int
        Rows; only the last chunk has fewer.
    dtype_backend : {"numpy_nullable", "pyarrow"}, optional
        See `to_pandas`.

    Yields
    ------
    pandas.DataFrame
        Indexed on, as if the chunks were one table. Without any row, one that is empty.
    """
    chunks = _Chunks(dtype_backend)
    for block in _blocks(s3, places, options):
        chunks.add(block)
        while chunks.rows >= chunksize:
            yield chunks.frame(chunksize)
    if chunks.rows or not chunks.done:
        yield chunks.frame(chunks.rows)


class _Chunks:
    """The blocks that wait to be handed out, and what is known from those that were."""

    def __init__(self, dtype_backend: DtypeBackend | None) -> None:
        self._backend = dtype_backend
        self._waiting: deque[_Block] = deque()
        self._kinds: dict[str, Kind] = {}
        self.rows = 0
        self.done = 0

    def add(self, block: _Block) -> None:
        """Take in the next block."""
        if not self._waiting and not self.done:
            self._columns, self._uri = block.columns, block.uri
        same_columns(block.columns, self._columns, block.uri, self._uri)
        # an empty block only tells of columns
        if block.left or not self._waiting:
            self._waiting.append(block)
        self.rows += block.left

    def frame(self, rows: int) -> pd.DataFrame:
        """Hand out the next rows."""
        covered, reach = [], 0
        for block in self._waiting:
            covered.append(block)
            reach += block.left
            if reach >= rows:
                break
        self._kinds = joined([self._kinds, *(block.piece.kinds for block in covered)])
        pieces = []
        for block in covered:
            count = min(block.left, rows)
            pieces.append(block.take(count, self._kinds, self._columns.names))
            rows -= count
        uri = covered[0].uri
        while self._waiting and not self._waiting[0].left:
            self._waiting.popleft()
        table = together(pieces)
        del pieces, covered, block
        refuse_gaps(table, self._columns.wanted, uri)
        frame = to_pandas(table, dtype_backend=self._backend)
        frame.index = frame.index + self.done
        self.done += len(frame)
        self.rows -= len(frame)
        return finished(frame, self._columns, uri)


@dataclass
class _Block:
    """Some whole rows: their text, kept to be read again, and what they are."""

    text: bytes
    columns: Columns
    options: CsvOptions
    uri: str
    rows_before: int
    piece: Piece = field(init=False)
    taken: int = 0

    def __post_init__(self) -> None:
        table = self._table(self.columns.given, self.columns.names)
        self.piece = settled(table, self.columns.given, self.again, self.uri)

    @property
    def left(self) -> int:
        """How many rows have not been handed out."""
        return int(self.piece.table.num_rows) - self.taken

    def again(self, types: Mapping[str, pa.DataType]) -> pa.Table:
        """Return some columns once more, as other types."""
        return self._table(types, list(types))

    def take(self, rows: int, kinds: Mapping[str, Kind], names: list[str]) -> Piece:
        """Hand out the next rows, in the given kinds and order."""
        if self.piece.kinds != kinds:
            self.piece = widened(self.piece, kinds, self.again)
        found = self.piece.table.select(names).slice(self.taken, rows)
        self.taken += rows
        return Piece(found, kinds)

    def _table(self, types: Mapping[str, pa.DataType], only: list[str]) -> pa.Table:
        import pyarrow as pa

        if not self.text:
            return no_rows(only, types)
        size, threads = _PARSE_BYTES, True
        while True:
            try:
                return parse(
                    pa.BufferReader(self.text),
                    self.columns,
                    self.options,
                    types,
                    only=only,
                    threads=threads,
                    block_bytes=size,
                )
            except pa.ArrowInvalid as error:
                if "straddling" in str(error) and size <= len(self.text):
                    size = len(self.text) + 1
                elif threads:
                    threads = False  # then Arrow tells the row's number
                else:
                    raise explained(error, self.uri, self.rows_before) from error


def _blocks(s3: Any, places: list[Place], options: CsvOptions) -> Iterator[_Block]:
    for place in places:
        reader = ObjectReader(s3, place)
        with open_text(reader, options.compression, options.encoding) as text:
            reader.forget()
            layout = find_layout(text, options, place.uri)
            columns = find_columns(layout, options, place.uri)
            rows = layout.rows_before
            for data in _cut(layout.start, text, options, place.uri):
                block = _Block(data, columns, options, place.uri, rows)
                rows += block.left
                yield block


def _cut(data: bytes, text: Readable, options: CsvOptions, uri: str) -> Iterator[bytes]:
    """Cut text at row ends; at least one block, be it empty."""
    is_last = some = False
    while not is_last:
        pieces, size = [data], len(data)
        while size < BLOCK_BYTES or len(pieces) == 1:
            piece = bytes(memoryview(text.read(READ_BYTES)))
            if not piece:
                is_last = True
                break
            pieces.append(piece)
            size += len(piece)
        data = b"".join(pieces)
        end = len(data) if is_last else last_row_end(data, options.sep, options.quotechar)
        if end or (is_last and not some):
            some = True
            yield data[:end]
            data = data[end:]
        elif len(data) > _LONGEST_ROW:
            raise DataFormatError(
                f"{uri} cannot be read as CSV: a row does not end within {_LONGEST_ROW >> 30} GiB.",
                fix="Check its `quotechar`, and that it is text.",
            )
