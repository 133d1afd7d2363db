"""A sandbox's files: where they are on this machine, and where its process expects them.

`Layout` says it; `mount_plan` turns it into the steps by which `init` builds a new root. Of this
machine the root has the system's programs and libraries, read-only, and this Python; nothing of
``/home``, ``/tmp``, ``/run``, ``/var`` or of the rest of ``/etc`` and ``/dev``.
"""

from __future__ import annotations

import posixpath
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ML = "/opt/ml"
# Where the project's Dockerfile puts its packages.
PYTHON = "/opt/venv"
MountPlan = list[list[Any]]
Binds = dict[str, tuple[Path, bool, bool]]  # path -> source, read-only, required

_SYSTEM = ("bin", "lib", "lib32", "lib64", "libx32", "sbin", "usr", "nix", "gnu")
_ETC = (
    *("alternatives", "ca-certificates", "fonts", "group", "hosts", "ld.so.cache", "ld.so.conf"),
    *("ld.so.conf.d", "localtime", "mime.types", "nsswitch.conf", "passwd", "pki", "ssl"),
)
_DEVICES = ("full", "null", "random", "tty", "urandom", "zero")


@dataclass(frozen=True)
class Layout:
    """Where a sandbox's files are on this machine, and where its process expects them.

    Attributes
    ----------
    directory : Path
        The sandbox's own directory; whoever made it removes it.
    copies : Mapping[str, Path]
        Container path to host path, for each file or directory of the image.
    workdir : str
        The container path in which the process starts.
    python : Path
        The Python with the image's packages (`packages`).
    sites : tuple of Path
        The folders that its packages are in.
    """

    directory: Path
    copies: Mapping[str, Path]
    workdir: str
    python: Path
    sites: tuple[Path, ...] = ()

    @property
    def ml_root(self) -> Path:
        """The directory that the process sees as ``/opt/ml``."""
        return self.directory / "opt" / "ml"

    @property
    def home(self) -> Path:
        """The process's home: empty, so that no file of the user's is found through ``~``."""
        return self.directory / "home"

    @property
    def temporary(self) -> Path:
        """The process's directory for temporary files."""
        return self.directory / "tmp"

    def make_directories(self) -> None:
        """Create ``/opt/ml`` with what the image has there, a home, and one for temporary files."""
        for directory in (self.ml_root, self.home, self.temporary):
            directory.mkdir(parents=True, exist_ok=True)
        for path, source in self.copies.items():
            if is_within(path, ML):
                put(source, self.ml_root / posixpath.relpath(path, ML))


def mount_plan(layout: Layout) -> MountPlan:
    """Compute how the sandbox's root is laid out, as steps for `init`.

    Returns
    -------
    list
        ``["dir", path]``, ``["symlink", path, target]``, ``["proc", path]``, ``["tmpfs", path]``
        and ``["bind", path, source, read_only, required]``, in order.
    """
    binds: Binds = {}
    plan: MountPlan = [["proc", "/proc"], ["symlink", "/var/tmp", "/tmp"]]
    for name in _SYSTEM:
        host = Path("/", name)
        if host.is_symlink():
            plan.append(["symlink", f"/{name}", str(host.readlink())])
        elif host.is_dir():
            binds[f"/{name}"] = (host, True, True)
    for name in (*_ETC, *(path.name for path in Path("/etc").glob("java-*"))):
        binds[f"/etc/{name}"] = (Path("/etc", name), True, False)
    for name in _DEVICES:
        binds[f"/dev/{name}"] = (Path("/dev", name), False, False)
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        plan.append(["symlink", f"/dev/{name}", f"/proc/self/fd{target}"])
    plan.append(["tmpfs", "/dev/shm"])
    binds["/sys/devices/system"] = (Path("/sys/devices/system"), True, False)
    for prefix in {sys.base_prefix, sys.base_exec_prefix}:
        if not any(is_within(prefix, outer) for outer in binds):
            binds[prefix] = (Path(prefix), True, True)
    binds |= {str(site): (site, True, True) for site in layout.sites}
    binds[PYTHON] = (layout.python, True, True)
    binds[ML] = (layout.ml_root, False, True)
    binds["/tmp"] = (layout.temporary, False, True)
    binds["/root"] = (layout.home, False, True)
    for path, source in sorted(layout.copies.items()):
        if not is_within(path, ML):
            _add_copy(binds, _without_links(path), source)
    plan = [step for step in plan if step[1] not in binds]
    for path in sorted(path for path in binds if binds[path][0].exists()):
        _bind(plan, path, *binds[path], binds)
    return [*plan, ["dir", layout.workdir]]


def _bind(
    plan: MountPlan, path: str, source: Path, read_only: bool, required: bool, binds: Binds
) -> None:
    """Show a directory of this machine: as it is, or child by child when more goes into it."""
    if not any(is_within(other, path) and other != path for other in binds):
        plan.append(["bind", path, str(source), read_only, required])
        return
    plan.append(["dir", path])
    for entry in sorted(source.iterdir()):
        child = posixpath.join(path, entry.name)
        if child in binds:
            continue
        if entry.is_symlink():
            plan.append(["symlink", child, str(entry.readlink())])
        else:
            _bind(plan, child, entry, read_only, False, binds)


def _add_copy(binds: Binds, path: str, source: Path) -> None:
    """Add a file or directory of the image; in a directory of the system its entries join."""
    shared = path == "/" or any(is_within(other, path) for other in binds)
    shared = shared or (any(is_within(path, outer) for outer in binds) and Path(path).is_dir())
    if source.is_dir() and shared:
        for entry in source.iterdir():
            _add_copy(binds, posixpath.join(path, entry.name), entry)
    else:
        binds[path] = (source, True, True)


def put(source: Path, target: Path) -> None:
    """Copy a file or a directory to where it is wanted."""
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def is_within(path: str, directory: str) -> bool:
    """Say whether an absolute path is a directory or below it."""
    return path == directory or path.startswith(f"{directory}/")


def _without_links(path: str) -> str:
    """Follow the system's own symbolic links: ``/bin`` is often ``/usr/bin``."""
    first, *rest = posixpath.normpath(path).strip("/").split("/")
    if first in _SYSTEM and Path("/", first).is_symlink():
        first = posixpath.normpath(posixpath.join("/", str(Path("/", first).readlink())))
    return posixpath.join("/", first, *rest)
