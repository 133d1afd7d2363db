"""How a CSV object is written, as its reader is told, and where its rows begin."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from batcat_runtime.errors import DataFormatError, UserError
from batcat_runtime.io.csv_rows import first_row_end
from batcat_runtime.io.csv_write import NULL_VALUES as NULL_VALUES
from batcat_runtime.io.decode import HEAD_BYTES, Readable, check_compression, check_encoding
from batcat_runtime.io.dtypes import wanted
from batcat_runtime.io.types import unique_names

_BOM = "\ufeff".encode()
_LONGEST_HEADER = 16 << 20


@dataclass(frozen=True)
class CsvOptions:
    """How to read CSV; see `read_csv_from_bucket` for what each is."""

    columns: Sequence[str] | None = None
    dtype: Any = None
    sep: str = ","
    quotechar: str | None = '"'
    header: bool | None = None
    names: Sequence[str] | None = None
    skiprows: int = 0
    encoding: str = "utf-8"
    decimal: str = "."
    null_values: Sequence[str] | None = None
    compression: str | None = "infer"

    def __post_init__(self) -> None:
        for name, value in (("sep", self.sep), ("decimal", self.decimal)):
            _check_character(name, value)
        if self.quotechar is not None:
            _check_character("quotechar", self.quotechar)
        if self.sep in (self.quotechar, self.decimal):
            raise UserError(
                f"`sep` is {self.sep!r}, and so is `quotechar` or `decimal`.",
                fix="Where decimals have a comma, columns are mostly parted by ';': sep=';'.",
            )
        if isinstance(self.skiprows, bool) or self.skiprows < 0:
            raise UserError(
                f"`skiprows` is {self.skiprows!r}.", fix="Give the number of lines to skip."
            )
        for name, several in (("columns", self.columns), ("names", self.names)):
            if isinstance(several, str) or (several is not None and not len(several)):
                raise UserError(f"`{name}` is {several!r}.", fix=f"Give a list: {name}=['vin'].")
        if self.names is not None and len(set(self.names)) < len(self.names):
            raise UserError("`names` has a name twice.", fix="Give each column a name of its own.")
        check_compression(self.compression)
        object.__setattr__(self, "encoding", check_encoding(self.encoding))
        for kind in self.dtype.values() if hasattr(self.dtype, "values") else [self.dtype]:
            if kind is not None:
                wanted(kind)

    @property
    def has_header(self) -> bool:
        """Whether the first row has names; by default if none are given."""
        return self.names is None if self.header is None else self.header

    @property
    def nulls(self) -> list[str]:
        """The spellings of a missing value."""
        return list(NULL_VALUES if self.null_values is None else self.null_values)


@dataclass(frozen=True)
class Layout:
    """What the first rows tell.

    Attributes
    ----------
    names : list of str
        Of all columns, none twice.
    rows_before : int
        How many rows were read to learn it: what Arrow calls row 1 comes after these.
    start : bytes
        What was read of the rows that follow.
    is_numbered : bool
        Whether the columns have no names but numbers.
    """

    names: list[str]
    rows_before: int
    start: bytes
    is_numbered: bool = False


def find_layout(text: Readable, options: CsvOptions, uri: str) -> Layout:
    """Read the first rows: what is skipped, and the header.

    Raises
    ------
    DataFormatError
        It is empty, or what begins it is no row.
    """
    head = bytes(memoryview(text.read(HEAD_BYTES)))
    head = head.removeprefix(_BOM)
    rows = 0
    for _ in range(options.skiprows):
        _, head = _parted(head, text, options.sep, None, uri)
        rows += 1
    first = b""
    while not first.strip(b"\r\n"):
        if not head and not (head := bytes(memoryview(text.read(HEAD_BYTES)))):
            raise DataFormatError(
                f"{uri} cannot be read as CSV: it is empty.",
                fix="Check the key and `skiprows`; a table without rows has at least a header.",
            )
        first, head = _parted(head, text, options.sep, options.quotechar, uri)
        rows += 1
    cells = _cells(first, options, uri)
    if options.names is not None:
        names = [str(name) for name in options.names]
        if len(names) != len(cells):
            raise DataFormatError(
                f"{uri} has {len(cells)} columns, and `names` has {len(names)}.",
                fix="Give a name for each column, and `columns` for those that you want.",
            )
    elif options.has_header:
        names = unique_names(cell or f"Unnamed: {place}" for place, cell in enumerate(cells))
    else:
        names = [str(place) for place in range(len(cells))]
    if options.has_header:
        return Layout(names, rows, head)
    return Layout(names, rows - 1, first + head, is_numbered=options.names is None)


def _parted(
    head: bytes, text: Readable, sep: str, quote: str | None, uri: str
) -> tuple[bytes, bytes]:
    """Part the first row, with its line end, from the rest; read on until it is complete."""
    is_last = False
    while True:
        end = first_row_end(head, sep, quote, is_last=is_last)
        if end is not None:
            return head[:end], head[end:]
        more = bytes(memoryview(text.read(HEAD_BYTES)))
        is_last = not more
        head += more
        if len(head) > _LONGEST_HEADER:
            raise DataFormatError(
                f"{uri} cannot be read as CSV: its first row does not end within "
                f"{_LONGEST_HEADER >> 20} MiB.",
                fix="Check that it is text, and its `quotechar`.",
            )


def _cells(row: bytes, options: CsvOptions, uri: str) -> list[str]:
    try:
        line = row.decode().rstrip("\r\n")
        reader = csv.reader(
            [line],
            delimiter=options.sep,
            quotechar=options.quotechar,
            quoting=csv.QUOTE_MINIMAL if options.quotechar else csv.QUOTE_NONE,
        )
        return next(reader)
    except (UnicodeDecodeError, csv.Error, StopIteration) as error:
        raise DataFormatError(
            f"{uri} cannot be read as CSV: {error}.",
            fix="Check `encoding` and `sep`, or that this is the right object.",
        ) from error


def _check_character(name: str, value: str) -> None:
    if not isinstance(value, str) or len(value) != 1 or not value.isascii() or value in "\r\n":
        raise UserError(
            f"`{name}` is {value!r}; it must be one ASCII character.",
            fix="For example ',', ';' or '\\t'.",
        )
