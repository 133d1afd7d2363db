"""CSV objects as tables: fetched ahead, parsed by Arrow as they come, as one table or in chunks.

Every object is opened and its header read; its rows follow as UTF-8, unpacked and converted.
Objects with the same header go through Arrow's parser as one text, so that a column's type is
decided on all its values, however many objects they lie in. Behind each object follows a row that
no table can have. Arrow reports rows with too many columns, so one that is not reported lies within
quotes: the object ended before they did.

Nothing here is awswrangler's: `wr.s3.read_csv` reads whole objects in twice the time (benchmark row
``csv-one``), and with `chunksize` pandas cannot tell ``""`` from a missing value, which chunks and
whole tables must both do (`test_a_round_trip_keeps_empty_text_and_gaps`).
"""

from __future__ import annotations

import io
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import csv

from batcat_runtime.errors import DataFormatError, ObjectChangedError
from batcat_runtime.io import csv_types
from batcat_runtime.io.csv_text import CsvOptions, open_text
from batcat_runtime.io.places import Place
from batcat_runtime.io.progress import Progress, reading
from batcat_runtime.io.ranged import PART_BYTES, RangedFile
from batcat_runtime.io.results import chunks
from batcat_runtime.io.types import DtypeBackend, to_pandas

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CsvObjects", "CsvOptions"]

_OBJECTS_AT_ONCE, _OBJECTS_AHEAD = 8, 16
_LARGEST_BLOCK_BYTES = 1 << 30
_FIRST_LINES_BYTES = 64 << 10
_SAMPLE_BYTES = 8 << 20  # decides on the types of chunks


class _Way(NamedTuple):
    """How Arrow is told to parse: at first in the fastest way, then as its errors ask for."""

    newlines: bool = False  # whether cells may go over lines, which takes half as long again
    block_bytes: int = PART_BYTES  # a row must fit in
    texts: tuple[str, ...] = ()  # columns that are read as text, for us to type
    types: dict[str, pa.DataType] | None = None  # those of the first rows; None: not yet known


class _Object(NamedTuple):
    """An object that was opened: all its columns, and its rows as UTF-8."""

    uri: str
    names: list[str]
    rows: Iterator[bytes]


class _Rows(io.RawIOBase):
    """The rows of objects with the same header, as one file for Arrow."""

    def __init__(self, names: list[str], objects: Iterator[_Object], options: CsvOptions) -> None:
        self.names = names
        self._quote = (options.quotechar or "").encode()
        self.hexed = self.plus = self.quoted = False
        self.lines = 0  # of all objects
        self._unseen: dict[str, str] = {}
        self._pieces = self._marked(objects, options.sep * (len(names) + 1))
        self._left = self._last = b""

    def readable(self) -> bool:
        """Whether it can be read from: always."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return about `size` bytes, of as many pieces as it takes; one piece is not copied."""
        found = [self._piece(size)]
        while found[-1] and (size := size - len(found[-1])) > PART_BYTES // 4:
            found.append(self._piece(size))
        return b"".join(found)

    def peek(self, size: int) -> bytes:
        """Return what comes first, at least `size` bytes, and leave it there."""
        found: list[bytes] = []
        while sum(map(len, found)) < size and (piece := self._piece(PART_BYTES)):
            found.append(piece)
        self._pieces = itertools.chain(found, [self._left], self._pieces)
        self._left = b""
        return b"".join(found)

    def seem_to_go_over_lines(self) -> bool:
        """Whether quotes are open at the end of one of the first lines."""
        lines = self.peek(1)[:_FIRST_LINES_BYTES].split(b"\n")[:-1]
        return bool(self._quote) and any(line.count(self._quote) % 2 for line in lines)

    def on_bad_row(self, row: Any) -> str:
        """Tell Arrow what to do with a row of too many or too few columns."""
        return "skip" if self._unseen.pop(row.text, None) else "error"

    def check_ends(self) -> None:
        """Refuse an object whose end was not seen."""
        for uri in self._unseen.values():
            raise DataFormatError(
                f"{uri} cannot be read as CSV: it ends within quotes.",
                fix="It was not written whole, or its `quotechar` is another, or None.",
            )

    def _piece(self, size: int) -> bytes:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._left = piece
            self.quoted = self.quoted or (self._quote in piece and self._quote != b"")
            self.plus = self.plus or b"+" in piece
            self.hexed = self.hexed or _has_hexadecimals(self._last, piece)
            self._last = piece[-1:]
        found, self._left = self._left[:size], self._left[size:]
        return found

    def _marked(self, objects: Iterator[_Object], mark: str) -> Iterator[bytes]:
        for number, found in enumerate(objects):
            self._unseen[f"{mark}end {number}"] = found.uri
            last = b"\n"
            for piece in found.rows:
                self.lines += sum(
                    int(np.count_nonzero(part == ord("\n"))) for part in _parts(piece, "u1")
                )
                last = piece[-1:] or last
                yield piece
            self.lines += last != b"\n"
            yield f"\n{mark}end {number}\n".encode()


class CsvObjects:
    """CSV objects that are read as one table, again and again, but only in one version.

    Parameters
    ----------
    s3 : botocore client
        Of S3.
    places : list of Place
        The objects; all with the same columns, in any order.
    options : CsvOptions
        How they are written, and what is wanted of them.
    """

    def __init__(self, s3: Any, places: list[Place], options: CsvOptions) -> None:
        self._s3 = s3
        self._places = places
        self._options = options
        self._etags: dict[Place, str] = {}
        self._where = places[0].uri if len(places) == 1 else f"one of {len(places)} objects"
        self._names: list[str] = []  # of the columns that are wanted
        self._lone = False  # whether there is but one column
        self._dtypes: dict[str, csv_types.Dtype] = {}
        self._types: dict[str, pa.DataType] = {}

    def frame(self, dtype_backend: DtypeBackend | None) -> pd.DataFrame:
        """Return all rows as one DataFrame; see `to_pandas` for its types."""
        return self._finished(to_pandas(self._table(), dtype_backend=dtype_backend))

    def frames(self, chunksize: int, dtype_backend: DtypeBackend | None) -> Iterator[pd.DataFrame]:
        """Give the rows in DataFrames of `chunksize`, indexed on as if they were one table.

        The types are those of the first megabytes; without any row there is one empty chunk.
        """
        done = 0
        for frame in chunks(self._tables(), chunksize, dtype_backend):
            frame.index = frame.index + done
            done += len(frame)
            yield self._finished(frame)

    def _table(self) -> pa.Table:
        """Return all rows."""
        way = _Way()
        while True:
            try:
                return self._decided(self._whole, way)
            except pa.ArrowInvalid as error:
                way = self._other_way(way, error)

    def _tables(self) -> Iterator[pa.Table]:
        """Give all rows in tables of some megabytes, whose types are those of the first ones."""
        way, types, done = _Way(newlines=True), None, -1
        while True:
            try:
                before = 0
                for rows in self._groups():
                    if types is None:
                        types = self._decided(partial(self._first, rows), way).schema
                        self._types |= dict(zip(types.names, types.types, strict=True))
                    for table in self._batches(rows, way):
                        before += table.num_rows
                        if before > done:  # and not given out before an error
                            left = table.num_rows if done < 0 else before - done
                            yield table.slice(table.num_rows - left)
                            done = before
                return
            except pa.ArrowInvalid as error:
                way = self._other_way(way, error)

    def _finished(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Give a frame the dtypes and column labels that were asked for."""
        frame = csv_types.as_given(frame, self._dtypes, self._where)
        if self._options.names is None and not self._options.has_header:
            frame.columns = [int(name) for name in frame.columns]
        return frame

    def _decided(self, parse: Callable[..., tuple[pa.Table, bool, bool]], way: _Way) -> pa.Table:
        """Parse, and decide on types: by their text where Arrow may have gone wrong."""
        table, hexed, plus = parse(way, self._names)
        doubted = csv_types.doubtful(table, self._dtypes, hexed, plus) if not way.texts else []
        if doubted:
            texts, _, _ = parse(way._replace(texts=tuple(doubted)), doubted)
            for name in doubted:
                table = table.set_column(table.column_names.index(name), name, texts[name])
        return self._typed(table)

    def _typed(self, table: pa.Table) -> pa.Table:
        options, lone = self._options, self._lone
        return csv_types.typed(table, self._types, options.decimal, lone=lone, where=self._where)

    def _whole(self, way: _Way, names: list[str]) -> tuple[pa.Table, bool, bool]:
        """Return all rows, and whether their text has ``0x`` and ``+``."""
        tables: list[pa.Table] = []
        for rows in self._groups():
            if tables and not way.texts:
                # columns in another order: Arrow can only decide on types in one text
                return self._whole(way._replace(texts=tuple(self._names)), names)
            way = way._replace(newlines=way.newlines or rows.seem_to_go_over_lines())
            if way.types is None:
                way = way._replace(types=self._first_types(rows, way))
            try:
                tables.append(csv.read_csv(**self._settings(rows, way, names or self._names)))
            except pa.ArrowInvalid as error:
                if not way.types or "conversion error" not in str(error):
                    raise
                return self._whole(way._replace(types={}), names)  # later rows have other types
            if rows.quoted and not way.newlines and tables[-1].num_rows != rows.lines:
                # where a block ends within quotes, Arrow drops what is before without a word
                return self._whole(way._replace(newlines=True, types=None), names)
            rows.check_ends()
        return pa.concat_tables(tables), rows.hexed, rows.plus

    def _first_types(self, rows: _Rows, way: _Way) -> dict[str, pa.DataType]:
        """Return the types that Arrow sees in the first of many rows, else none.

        Arrow's inference only ever goes on from one kind to the next that fits more, so what all
        rows fit is what it would come to by itself. Told of it, Arrow need not keep the text of
        all rows until the end, in case it has to go on: a quarter of the processor's time.
        """
        if (
            way.texts
            or way.block_bytes > PART_BYTES
            or len(rows.peek(_SAMPLE_BYTES + 1)) <= _SAMPLE_BYTES
        ):
            return {}
        schema = self._first(rows, way, self._names)[0].schema
        known = zip(schema.names, schema.types, strict=True)
        return {name: kind for name, kind in known if not pa.types.is_null(kind)}

    def _first(self, rows: _Rows, way: _Way, names: list[str]) -> tuple[pa.Table, bool, bool]:
        """Return the first rows, and leave them there."""
        sample = rows.peek(_SAMPLE_BYTES + 1)
        settings = self._settings(rows, way, names) | {"input_file": pa.BufferReader(sample)}
        settings["read_options"].block_size = max(_SAMPLE_BYTES, way.block_bytes)
        settings["parse_options"].invalid_row_handler = lambda row: "skip"  # its end may be cut off
        reader = csv.open_csv(**settings)
        table = pa.Table.from_batches(itertools.islice(reader, 1), reader.schema)
        return table, rows.hexed, rows.plus

    def _batches(self, rows: _Rows, way: _Way) -> Iterator[pa.Table]:
        reader = csv.open_csv(**self._settings(rows, way, self._names))
        tables = (pa.Table.from_batches([batch]) for batch in reader)
        for table in itertools.chain([reader.schema.empty_table()], tables):
            if not way.texts and csv_types.doubtful(table, self._dtypes, rows.hexed, plus=False):
                raise pa.ArrowInvalid("conversion error of what may be no number")
            yield self._typed(table)
        rows.check_ends()

    def _settings(self, rows: _Rows, way: _Way, names: list[str]) -> dict[str, Any]:
        """Return what Arrow is told of its input."""
        options = self._options
        return {
            "input_file": pa.PythonFile(rows, mode="r"),
            "read_options": csv.ReadOptions(block_size=way.block_bytes, column_names=rows.names),
            "parse_options": csv.ParseOptions(
                delimiter=options.sep,
                quote_char=options.quotechar or False,
                newlines_in_values=way.newlines and options.quotechar is not None,
                invalid_row_handler=rows.on_bad_row,
            ),
            "convert_options": csv.ConvertOptions(
                column_types=(way.types or {})
                | self._types
                | dict.fromkeys(way.texts, pa.string()),
                include_columns=names,
                null_values=options.nulls,
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                true_values=csv_types.TRUE,
                false_values=csv_types.FALSE,
                decimal_point=options.decimal,
            ),
        }

    def _other_way(self, way: _Way, error: pa.ArrowInvalid) -> _Way:
        """Return what to try after an error, or raise what it means."""
        said = str(error).split("\n")[0][:400]
        if "straddling" in said and way.block_bytes < _LARGEST_BLOCK_BYTES:
            return way._replace(block_bytes=way.block_bytes * 16)
        if "conversion error" in said and not way.texts:
            return way._replace(texts=tuple(self._names))
        if not way.newlines and "conversion error" not in said:
            return way._replace(newlines=True)
        if len(self._places) > 1:
            for place in self._places:  # one by one they tell which it is
                CsvObjects(self._s3, [place], self._options)._table()
        raise DataFormatError(
            f"{self._where} cannot be read as CSV: {said}.",
            fix="Check `sep`, `quotechar`, `encoding`, `skiprows` and `dtype`, or that this is the "
            "right object.",
        ) from error

    def _groups(self) -> Iterator[_Rows]:
        """Open all objects, some ahead, and give those with the same header together."""
        with (
            reading(self._places) as progress,
            ThreadPoolExecutor(_OBJECTS_AT_ONCE, "batcat-read") as pool,
        ):
            opened = self._opened(pool, progress)
            for names, group in itertools.groupby(opened, key=lambda found: found.names):
                yield _Rows(names, group, self._options)

    def _opened(self, pool: ThreadPoolExecutor, progress: Progress) -> Iterator[_Object]:
        waiting: deque[Future[_Object]] = deque()
        places = iter(self._places)
        while True:
            for place in itertools.islice(places, _OBJECTS_AHEAD - len(waiting)):
                waiting.append(pool.submit(self._open, place, progress))
            if not waiting:
                return
            found = waiting.popleft().result()
            self._check(found)
            yield found

    def _open(self, place: Place, progress: Progress) -> _Object:
        file = RangedFile(self._s3, place, progress=progress)
        if self._etags.setdefault(place, file.etag) != file.etag:
            raise ObjectChangedError(
                f"{place.uri} was replaced while it was being read.",
                fix="Read it again; let whoever writes it finish first, or write to a new key.",
            )
        names, rows = open_text(file, self._options)
        return _Object(place.uri, names, rows)

    def _check(self, found: _Object) -> None:
        """Refuse an object without the columns that are wanted, or with others than the first."""
        uri, options = found.uri, self._options
        if not self._names:
            self._lone = len(found.names) == 1
            self._names = list(dict.fromkeys(map(str, options.columns or found.names)))
            dtypes = csv_types.given_by_column(options.dtype, found.names, uri)
            self._dtypes = {name: dtypes[name] for name in self._names if name in dtypes}
            self._types = {name: dtype.arrow for name, dtype in self._dtypes.items()}
        lacks = [name for name in self._names if name not in found.names]
        has = [name for name in found.names if name not in self._names and not options.columns]
        if lacks or has:
            said = [f"lacks {', '.join(map(repr, lacks))}"] if lacks else []
            said += [f"has {', '.join(map(repr, has))} besides"] if has else []
            wanted = "are wanted" if options.columns else self._places[0].uri
            raise DataFormatError(
                f"{uri} has other columns than {wanted}: it {' and '.join(said)}.",
                fix=f"It has {', '.join(map(repr, found.names))}. Read what belongs together, or "
                "name the columns that all have with `columns`.",
            )


def _has_hexadecimals(last: bytes, text: bytes) -> bool:
    """Whether ``0x`` or ``0X`` is in it, or begins before it; thrice as fast as asking for both."""
    if b"x" not in text and b"X" not in text:
        return False
    pairs = itertools.chain(_parts(text, "<u2"), _parts(text, "<u2", 1))
    return last + text[:1] in (b"0x", b"0X") or any(
        ((pair | 0x2000) == 0x7830).any() for pair in pairs
    )


def _parts(text: bytes, kind: str, start: int = 0) -> Iterator[Any]:
    """Give text as numbers, so few at a time that what comes of them stays in the cache."""
    numbers = np.frombuffer(text, kind, (len(text) - start) // np.dtype(kind).itemsize, start)
    return (numbers[at : at + (1 << 16)] for at in range(0, len(numbers), 1 << 16))
