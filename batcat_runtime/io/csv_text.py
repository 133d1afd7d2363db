"""The text of a CSV object: how it is written, where its rows begin, unpacked and as UTF-8.

The bytes decide, not the key: a gzip file is known by how it begins, whatever it is called, and so
are the files that are no text at all.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import lzma
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from batcat_runtime.errors import BatcatError, DataFormatError, UserError
from batcat_runtime.io.csv_types import NULL_VALUES, given
from batcat_runtime.io.places import known_kind
from batcat_runtime.io.ranged import PART_BYTES, RangedFile
from batcat_runtime.io.types import unique_names

_HEADER_BYTES = 16 << 10  # the header is mostly within
_MAGIC = {
    "gzip": (b"\x1f\x8b",),
    "zstd": (b"\x28\xb5\x2f\xfd",),
    "bz2": tuple(b"BZh%d1AY&SY" % level for level in range(1, 10)),
    "xz": (b"\xfd7zXZ\x00",),
}
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


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
        signs = {"sep": self.sep, "decimal": self.decimal, "quotechar": self.quotechar or '"'}
        for name, sign in signs.items():
            if not isinstance(sign, str) or len(sign) != 1 or not sign.isascii() or sign in "\r\n":
                raise UserError(
                    f"`{name}` is {sign!r}; it must be one ASCII character.",
                    fix="For example ',', ';' or '\\t'.",
                )
        if self.sep in (self.quotechar, self.decimal):
            raise UserError(
                f"`sep` is {self.sep!r}, and so is `quotechar` or `decimal`.",
                fix="Where decimals have a comma, columns are mostly parted by ';': sep=';'.",
            )
        if isinstance(self.skiprows, bool) or self.skiprows < 0:
            message = f"`skiprows` is {self.skiprows!r}."
            raise UserError(message, fix="Give the number of lines to skip.")
        names = self.names
        if names is not None and (isinstance(names, str) or not 0 < len(set(names)) == len(names)):
            message = f"`names` is {names!r}; it must be a list without doubles."
            raise UserError(message, fix="Give each column a name of its own: names=['vin'].")
        if self.compression not in ("infer", None, *_MAGIC):
            raise UserError(
                f"There is no compression {self.compression!r}.",
                fix=f"Give one of {', '.join(map(repr, _MAGIC))}, None for none, or leave it out.",
            )
        try:
            "".encode(self.encoding)
            object.__setattr__(self, "encoding", codecs.lookup(self.encoding).name)
        except (LookupError, TypeError) as error:
            raise UserError(
                f"There is no text encoding {self.encoding!r}.",
                fix="For example 'utf-8', 'gb18030', 'utf-16' or 'latin-1'.",
            ) from error
        for kind in self.dtype.values() if hasattr(self.dtype, "values") else [self.dtype]:
            if kind is not None:
                given(kind)

    @property
    def has_header(self) -> bool:
        """Whether the first row has names; by default if none are given."""
        return self.names is None if self.header is None else self.header

    @property
    def nulls(self) -> Sequence[str]:
        """The spellings of a missing value."""
        return NULL_VALUES if self.null_values is None else self.null_values


def open_text(file: RangedFile, options: CsvOptions) -> tuple[list[str], Iterator[bytes]]:
    """Open an object as CSV; return the names of all its columns, none twice, and its rows.

    Parameters
    ----------
    file : RangedFile
        The object; it is closed once all rows were taken.
    options : CsvOptions
        How it is written.

    Raises
    ------
    DataFormatError
        It is no CSV, or is damaged, which may show only when the rows are taken.
    """
    pieces = _unpacked(file, options)
    head = b""
    while len(head) < PART_BYTES and (piece := next(pieces, b"")):
        head += piece
    names, start = _header(head, options, file.place.uri)
    return names, itertools.chain([head[start:]], pieces)


def _header(
    head: bytes, options: CsvOptions, uri: str, size: int = _HEADER_BYTES
) -> tuple[list[str], int]:
    """Return the names of the columns, and where the rows begin."""
    mark = codecs.BOM_UTF8 if head.startswith(codecs.BOM_UTF8) else b""
    text = head[len(mark) : size].decode(errors="replace")
    lines = io.StringIO(text, newline="")
    for _ in range(options.skiprows):
        lines.readline()
    skipped = mark + text[: lines.tell()].encode()
    reader = csv.reader(
        iter(lines.readline, ""),
        delimiter=options.sep,
        quotechar=options.quotechar,
        quoting=csv.QUOTE_MINIMAL if options.quotechar else csv.QUOTE_NONE,
    )
    try:
        cells = next((row for row in reader if row), [])
        if lines.tell() == len(text) and size < len(head):
            return _header(head, options, uri, len(head))
        if lines.tell() == len(text) and size >= PART_BYTES:
            raise ValueError("its first row does not end within megabytes")
        consumed = mark + text[: lines.tell()].encode()
        if not head.startswith(consumed):
            head[: len(consumed)].decode()
    except (ValueError, csv.Error) as error:
        raise DataFormatError(
            f"{uri} cannot be read as CSV: {error}.",
            fix="Check `encoding`, `sep` and `quotechar`, or that this is the right object.",
        ) from error
    if not cells:
        raise DataFormatError(
            f"{uri} cannot be read as CSV: it is empty.",
            fix="Check the key and `skiprows`; a table without rows has at least a header.",
        )
    names = [str(place) for place in range(len(cells))]
    if options.names is not None:
        names = [str(name) for name in options.names]
    elif options.has_header:
        names = unique_names(cell or f"Unnamed: {place}" for place, cell in enumerate(cells))
    if len(names) != len(cells):
        raise DataFormatError(
            f"{uri} has {len(cells)} columns, and `names` has {len(names)}.",
            fix="Give a name for each column, and `columns` for those that you want.",
        )
    return names, len(consumed if options.has_header else skipped)


def _unpacked(file: RangedFile, options: CsvOptions) -> Iterator[bytes]:
    """Give an object's bytes as UTF-8, some megabytes at a time."""
    uri, encoding = file.place.uri, options.encoding
    start = file.read(512)
    file.seek(0)
    found = next((name for name, magic in _MAGIC.items() if start.startswith(magic)), None)
    if options.compression not in ("infer", None, found) and file.size:
        raise DataFormatError(
            f"{uri} is not compressed with {options.compression}.",
            fix="Leave `compression` out: the bytes tell.",
        )
    if options.compression is None or found is None:
        found = None
        kind = known_kind(start)
        if start.startswith(_UTF_16) and encoding == "utf-8":
            kind = ("UTF-16", "Give encoding='utf-16'.")
        if kind:
            raise DataFormatError(f"{uri} cannot be read as CSV: it is {kind[0]}.", fix=kind[1])
    try:
        with file:
            stream: Any = file
            if found not in (None, "xz"):
                stream = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), found)
            pieces = iter(lambda: stream.read(PART_BYTES), b"") if found != "xz" else _xz(file)
            if encoding in ("utf-8", "utf-8-sig"):
                yield from pieces
            else:
                yield from (text.encode() for text in codecs.iterdecode(pieces, encoding))
    except BatcatError:
        raise
    except UnicodeError as error:
        raise DataFormatError(
            f"{uri} cannot be read as CSV: it is not in {encoding} ({error}).",
            fix="Give another `encoding`, for example 'utf-8' or 'gb18030'.",
        ) from error
    except (OSError, EOFError, lzma.LZMAError, pa.ArrowException) as error:
        raise DataFormatError(
            f"{uri} cannot be unpacked: {error}.",
            fix="It is damaged or was not uploaded whole; write it again.",
        ) from error


def _xz(file: RangedFile) -> Iterator[bytes]:
    """Unpack stream after stream; `lzma.LZMAFile` leaves out damaged ones without a word."""
    unpacker, rest = lzma.LZMADecompressor(), b""
    while packed := rest or file.read(PART_BYTES >> 4):
        unpacker = lzma.LZMADecompressor() if unpacker.eof else unpacker
        if piece := unpacker.decompress(packed):
            yield piece
        rest = unpacker.unused_data.lstrip(b"\0")
    if not unpacker.eof:
        raise EOFError("it ends too early")
