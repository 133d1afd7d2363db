"""From an object's bytes to UTF-8 text: what is compressed is unpacked, other encodings converted.

The bytes decide, not the key: a gzip file is known by how it begins, whatever it is called, and so
are the files that are no text at all. All of it streams; nothing is held but the piece at hand.
"""

from __future__ import annotations

import codecs
import lzma
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from batcat_runtime.errors import BatcatError, DataFormatError, UserError
from batcat_runtime.io.fetch import ObjectReader, PartStream

if TYPE_CHECKING:
    import pyarrow as pa

READ_BYTES = 4 << 20
# enough for a header; what follows is passed on without a copy
HEAD_BYTES = 64 << 10

_MAGIC = (
    ("gzip", (b"\x1f\x8b",)),
    ("zstd", (b"\x28\xb5\x2f\xfd",)),
    ("bz2", tuple(b"BZh%d1AY&SY" % level for level in range(1, 10))),
    ("xz", (b"\xfd7zXZ\x00",)),
)
_NO_CSV = (
    (b"PAR1", "a Parquet file", "Read it with read_parquet_from_bucket."),
    (b"\xd0\xcf\x11\xe0", "an Excel file of the old kind (.xls)", "Save it as .xlsx or as CSV."),
    (b"PK\x03\x04", "a ZIP archive", "Unpack it, and upload what is in it."),
    (b"ORC", "an ORC file", "Convert it to Parquet, for example with Athena."),
    (b"Obj\x01", "an Avro file", "Convert it to Parquet, for example with Athena."),
    (b"%PDF", "a PDF", "Check the key."),
)


class Readable(Protocol):
    """A file to read from: `read` gives at most so many bytes, none at the end."""

    def read(self, length: int = -1, /) -> Any:
        """Read at most so many bytes."""


def check_compression(compression: str | None) -> None:
    """Refuse a compression that is unknown, before anything is asked of AWS."""
    known = [name for name, _ in _MAGIC]
    if compression not in ("infer", None, *known):
        raise UserError(
            f"There is no compression {compression!r}.",
            fix=f"Give one of {', '.join(map(repr, known))}, None for none, or leave it out.",
        )


def check_encoding(encoding: str) -> str:
    """Return Python's name of a text encoding, such as ``utf-8``; refuse what is none."""
    try:
        "".encode(encoding)
        return codecs.lookup(encoding).name
    except (LookupError, TypeError) as error:
        raise UserError(
            f"There is no text encoding {encoding!r}.",
            fix="For example 'utf-8', 'gb18030', 'utf-16' or 'latin-1'.",
        ) from error


@contextmanager
def open_text(reader: ObjectReader, compression: str | None, encoding: str) -> Iterator[Readable]:
    """Open an object as a stream of UTF-8.

    Parameters
    ----------
    reader : ObjectReader
        The opened object.
    compression : str or None
        ``"infer"``: what the bytes say. None: none, whatever they say.
    encoding : str
        What the unpacked bytes are in, by Python's name.

    Raises
    ------
    DataFormatError
        This is no text; raised by `read` where it shows late.
    """
    uri = reader.place.uri
    start = bytes(memoryview(reader.first)[:16])
    found = next((name for name, magic in _MAGIC if start.startswith(magic)), None)
    if compression not in ("infer", None, found) and reader.size:
        raise DataFormatError(
            f"{uri} is not compressed with {compression}.",
            fix="Leave `compression` out: the bytes tell.",
        )
    if compression is None or found is None:
        found = None
        check_text(uri, start, encoding)
    with PartStream(reader) as parts, _unpacking(uri):
        stream: Readable = parts if found is None else _unpacked(parts, found)
        if encoding not in ("utf-8", "utf-8-sig"):
            stream = Converted(stream, encoding, uri)
        yield stream


def check_text(uri: str, start: bytes, encoding: str) -> None:
    """Refuse what is known to be no CSV by how it begins, and say what it is."""
    for magic, what, fix in _NO_CSV:
        if start.startswith(magic):
            raise DataFormatError(f"{uri} cannot be read as CSV: it is {what}.", fix=fix)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and encoding == "utf-8":
        raise DataFormatError(
            f"{uri} cannot be read as CSV: it looks like UTF-16.", fix="Give encoding='utf-16'."
        )


@contextmanager
def _unpacking(uri: str) -> Iterator[None]:
    """Name the object in what the decompressors have to say."""
    import pyarrow as pa

    try:
        yield
    except BatcatError:
        raise
    except (EOFError, lzma.LZMAError) as error:
        raise damaged(uri, error) from error
    except OSError as error:
        if isinstance(error, pa.ArrowException) or type(error) is OSError:
            raise damaged(uri, error) from error
        raise


def damaged(uri: str, error: Exception) -> DataFormatError:
    """Return the error for a compressed object that cannot be unpacked."""
    return DataFormatError(
        f"{uri} cannot be unpacked: {error}.",
        fix="It is damaged or was not uploaded whole; write it again.",
    )


def _unpacked(parts: PartStream, compression: str) -> Readable:
    import pyarrow as pa

    if compression == "xz":
        return lzma.LZMAFile(_BytesFile(parts))  # type: ignore[arg-type]
    return Native(pa.CompressedInputStream(pa.PythonFile(parts, mode="r"), compression))


class Native:
    """One of Arrow's files, read without a copy into Python's bytes."""

    def __init__(self, file: pa.NativeFile) -> None:
        self._file = file

    def read(self, length: int = -1, /) -> pa.Buffer:
        """Read at most so many bytes."""
        return self._file.read_buffer(length if length >= 0 else None)


class _BytesFile:
    """What lzma wants: a file that gives bytes."""

    def __init__(self, parts: PartStream) -> None:
        self._parts = parts

    def read(self, length: int = -1, /) -> bytes:
        return bytes(memoryview(self._parts.read(length)))

    def seek(self, *_: int) -> int:
        raise OSError("a stream cannot go back")


class Converted:
    """Text in another encoding as UTF-8."""

    def __init__(self, stream: Readable, encoding: str, uri: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._encoding = encoding
        self._uri = uri
        self._left = b""
        self._ended = False

    def read(self, length: int = -1, /) -> bytes:
        """Read at most so many bytes of UTF-8; all that are left if `length` < 0."""
        while not self._ended and (length < 0 or not self._left):
            raw = bytes(memoryview(self._stream.read(READ_BYTES)))
            self._ended = not raw
            try:
                text = self._decoder.decode(raw, final=self._ended)
            except UnicodeError as error:
                raise DataFormatError(
                    f"{self._uri} cannot be read as CSV: it is not in {self._encoding} ({error}).",
                    fix="Give another `encoding`, for example 'utf-8' or 'gb18030'.",
                ) from error
            self._left += text.encode()
        if length < 0:
            length = len(self._left)
        found, self._left = self._left[:length], self._left[length:]
        return found


class Chain:
    """Bytes that were read already, and then the file that they came from; pyarrow can read it."""

    closed = False

    def __init__(self, first: bytes, rest: Readable) -> None:
        self._first = memoryview(first)
        self._rest = rest

    def read(self, length: int = -1, /) -> Any:
        """Read at most so many bytes; all that are left if `length` < 0."""
        if length < 0:
            return bytes(self._first) + bytes(memoryview(self._rest.read(-1)))
        if len(self._first):
            found, self._first = self._first[:length], self._first[length:]
            return found
        return self._rest.read(length)

    def close(self) -> None:
        """Do nothing: whoever opened the file closes it."""

    def readable(self) -> bool:
        """Whether it can be read from: always."""
        return True

    def writable(self) -> bool:
        """Whether it can be written to: never."""
        return False

    def seekable(self) -> bool:
        """Whether it can go back: never."""
        return False
