"""Copies of objects that DuckDB reads as Athena would read the originals.

Text is unpacked, quotes are written in one way, keys of JSON in lower case; ORC becomes Parquet.
"""

from __future__ import annotations

import bz2
import gzip
import json
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batcat_runtime.errors import DataFormatError

from .objects import Rewrite
from .tables import Storage


def rewrite_of(storage: Storage, key: str) -> Rewrite | None:
    """Return the form into which an object must be brought before DuckDB reads it.

    Parameters
    ----------
    storage : Storage
        How the object is written.
    key : str
        Its key; text is compressed as its suffix says.
    """
    form = storage.format
    if form == "orc":
        return Rewrite("orc.parquet", _orc_as_parquet)
    if form == "parquet":
        return None
    packed = next((end for end in (".gz", ".zst", ".bz2", ".deflate") if key.endswith(end)), "")
    if form == "csv":
        escape = storage.parameters.get("escapeChar", "\\") or "\\"

        def plain(source: Path, target: Path) -> bool:
            return _unescaped(_unpack(source, packed), escape, bool(packed), target)

        return Rewrite(f"csv-{ord(escape[0])}{packed}", plain)
    if form == "json":
        names = {
            value: name.removeprefix("mapping.")
            for name, value in storage.parameters.items()
            if name.startswith("mapping.")
        }
        sensitive = storage.parameters.get("case.insensitive", "").lower() == "false"

        def lower(source: Path, target: Path) -> bool:
            return _lower_keys(_unpack(source, packed), names, sensitive, bool(packed), target)

        form = f"json-{zlib.crc32(json.dumps([sorted(names.items()), sensitive]).encode()):08x}"
        return Rewrite(f"{form}{packed}", lower)
    if packed:

        def unpacked(source: Path, target: Path) -> bool:
            target.write_bytes(_unpack(source, packed))
            return True

        return Rewrite(f"plain{packed}", unpacked)
    return None


def _orc_as_parquet(source: Path, target: Path) -> bool:
    import pyarrow.orc as orc
    import pyarrow.parquet as parquet

    file = orc.ORCFile(str(source))
    with parquet.ParquetWriter(str(target), file.schema) as writer:
        for number in range(file.nstripes):
            writer.write_batch(file.read_stripe(number))
    return True


def _unescaped(data: bytes, escape: str, changed: bool, target: Path) -> bool:
    """Write quotes in one way, doubled, where OpenCSVSerde also takes an escape character.

    What is no UTF-8 becomes replacement characters, as in Hadoop's `Text`.
    """
    try:
        data.decode()
    except UnicodeDecodeError:
        data, changed = data.decode(errors="replace").encode(), True
    mark = escape[0].encode()
    if escape[0] != '"' and mark in data:
        pattern = re.compile(re.escape(mark) + b'(["' + re.escape(mark) + b"])?")
        data = pattern.sub(lambda m: b'""' if m[1] == b'"' else (m[1] or b""), data)
        changed = True
    if changed:
        target.write_bytes(data)
    return changed


def _lower_keys(
    data: bytes, names: Mapping[str, str], sensitive: bool, changed: bool, target: Path
) -> bool:
    """Write keys as the SerDe compares them: in lower case, and by their mapping."""
    if names or (not sensitive and re.search(rb'"[^"]*[A-Z][^"]*"\s*:', data)):

        def renamed(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            found = {}
            for key, value in pairs:
                name = names.get(key, key)
                found[name if sensitive else name.lower()] = value
            return found

        lines = []
        for line in data.split(b"\n"):
            try:
                record = json.loads(line, object_pairs_hook=renamed)
                lines.append(json.dumps(record, ensure_ascii=False).encode())
            except ValueError:
                lines.append(line)
        data, changed = b"\n".join(lines), True
    if changed:
        target.write_bytes(data)
    return changed


def _unpack(source: Path, suffix: str) -> bytes:
    data = source.read_bytes()
    try:
        if suffix == ".gz":
            return gzip.decompress(data)
        if suffix == ".bz2":
            return bz2.decompress(data)
        if suffix == ".deflate":
            return zlib.decompress(data)
        if suffix == ".zst":
            import pyarrow

            with pyarrow.CompressedInputStream(pyarrow.BufferReader(data), "zstd") as stream:
                return bytes(stream.read())
    except (OSError, EOFError, zlib.error) as error:
        raise DataFormatError(
            f"HIVE_CURSOR_ERROR: An object ending in {suffix} is not compressed so: {error}"
        ) from error
    return data
