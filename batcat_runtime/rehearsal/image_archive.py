"""An image's files as one layer: an archive that is hashed as it is written and never kept.

The same files give the same digest on every machine: names in order, no times, no owners, modes
reduced to executable or not, and no compression, whose bytes differ between libraries.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any


class Layer(io.RawIOBase):
    """Takes an archive as it is written, and keeps its digest and size only.

    Attributes
    ----------
    size : int
        Bytes so far.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: Any) -> int:
        """Take some bytes."""
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    @property
    def digest(self) -> str:
        """The digest of what was written, as registries write it."""
        return f"sha256:{self._hash.hexdigest()}"


def archive(rootfs: Path) -> Layer:
    """Pack a directory in order of name, with times and owners left out.

    Not compressed: compressed bytes differ between machines, and with them the digest would.
    """
    layer = Layer()
    with tarfile.open(None, "w|", layer, format=tarfile.PAX_FORMAT) as packed:
        for path in sorted(rootfs.rglob("*"), key=lambda item: item.as_posix()):
            member = packed.gettarinfo(path, path.relative_to(rootfs).as_posix())
            member.mtime = member.uid = member.gid = 0
            member.uname = member.gname = ""
            executable = member.isdir() or member.mode & 0o100
            member.mode = 0o755 if executable else 0o644
            # Two names of one file are two files here, as they are in a fresh clone.
            if member.islnk():
                member.type, member.linkname, member.size = tarfile.REGTYPE, "", path.stat().st_size
            with contextlib.ExitStack() as stack:
                content = stack.enter_context(path.open("rb")) if member.isreg() else None
                packed.addfile(member, content)
    return layer


def digest_of(data: bytes) -> str:
    """Return the digest of some bytes, as registries write it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
