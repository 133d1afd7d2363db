"""A sandbox's files: where they are on this machine, and where its process expects them.

`Layout` says it; `mount_plan` turns it into the steps by which `sandbox_init` builds a new root.
What the host has stays visible in its system directories, and wherever this Python lives;
elsewhere (``/opt/batcat``, ``/app``) only the image's files are there, as in the container.
"""

from __future__ import annotations

import posixpath
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ML = "/opt/ml"
MountPlan = list[list[Any]]

# Directories of any Linux system: an image that copies into one adds to it, it does not replace it.
SYSTEM_DIRECTORIES = frozenset(
    {"/", "/bin", "/dev", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt", "/proc"}
    | {"/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var"}
)
_SYSTEM_PREFIXES = ("/bin/", "/dev/", "/etc/", "/lib", "/run/", "/sbin/", "/sys/", "/usr/", "/var/")


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
    """

    directory: Path
    copies: Mapping[str, Path] = field(default_factory=dict)
    workdir: str = "/"

    @property
    def ml_root(self) -> Path:
        """The directory that the process sees as ``/opt/ml``."""
        return self.directory / "opt" / "ml"

    def make_directories(self) -> None:
        """Create ``/opt/ml``, a home and a directory for temporary files."""
        for path in (self.ml_root, self.home, self.temporary):
            path.mkdir(parents=True, exist_ok=True)

    @property
    def home(self) -> Path:
        """The process's home: empty, so that no file of the user's is found through ``~``."""
        return self.directory / "home"

    @property
    def temporary(self) -> Path:
        """The process's directory for temporary files."""
        return self.directory / "tmp"


def mount_plan(layout: Layout, *, needed: Iterable[str] = ()) -> MountPlan:
    """Compute how the sandbox's root is laid out, as steps for `sandbox_init`.

    Parameters
    ----------
    layout : Layout
        What has to be there.
    needed : Iterable[str]
        Host paths that must stay visible, whatever the image copies over their parents.

    Returns
    -------
    list
        ``["dir", path]``, ``["symlink", path, target]``, ``["proc", path]`` and
        ``["bind", path, source, read_only, required]``, in order.
    """
    keep = {str(ancestor) for path in needed for ancestor in [Path(path), *Path(path).parents]}
    tree = _Tree()
    tree.add(layout.workdir)
    tree.add(ML, layout.ml_root, read_only=False)
    within_ml: MountPlan = []
    for container_path, source in sorted(layout.copies.items()):
        path = _host_path(container_path)
        if is_within(path, ML):
            parts = sorted(source.iterdir()) if path == ML else [source]
            where = [posixpath.join(ML, part.name) if path == ML else path for part in parts]
            within_ml += [
                ["bind", w, str(p), True, True] for w, p in zip(where, parts, strict=True)
            ]
        else:
            tree.add_copy(path, source, keep)
    plan: MountPlan = []
    tree.emit(plan, "/", keep)
    return plan + within_ml


@dataclass
class _Tree:
    """A directory of the new root that must be remade, or (with a source) bound as it is."""

    source: Path | None = None
    read_only: bool = True
    children: dict[str, _Tree] = field(default_factory=dict)

    def add(self, path: str, source: Path | None = None, *, read_only: bool = True) -> None:
        node = self
        for name in _names(_host_path(path)):
            if node.source is not None:
                # A snapshot of one image: what lies within a copied directory is in it already.
                return
            node = node.children.setdefault(name, _Tree())
        if source is not None:
            node.source, node.read_only, node.children = source, read_only, {}

    def add_copy(self, path: str, source: Path, keep: set[str]) -> None:
        if source.is_dir() and Path(path).is_dir() and _is_shared(path, keep):
            for child in sorted(source.iterdir()):
                self.add_copy(posixpath.join(path, child.name), child, keep)
        else:
            self.add(path, source)

    def emit(self, plan: MountPlan, path: str, keep: set[str]) -> None:
        if self.source is not None:
            plan.append(["bind", path, str(self.source), self.read_only, True])
            return
        plan.append(["dir", path])
        for name in _entries(path) if _is_shared(path, keep) else []:
            if name not in self.children:
                _emit_host_entry(plan, posixpath.join(path, name))
        for name, child in sorted(self.children.items()):
            child.emit(plan, posixpath.join(path, name), keep)


def _is_shared(path: str, keep: set[str]) -> bool:
    """Say whether the host's entries stay beside the image's: in system directories they do."""
    return path in keep or path in SYSTEM_DIRECTORIES or path.startswith(_SYSTEM_PREFIXES)


def is_within(path: str, directory: str) -> bool:
    """Say whether an absolute path is a directory or below it."""
    return path == directory or path.startswith(f"{directory}/")


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name]


def _emit_host_entry(plan: MountPlan, path: str) -> None:
    if path == "/proc":
        plan.append(["proc", path])
    elif Path(path).is_symlink():
        plan.append(["symlink", path, str(Path(path).readlink())])
    else:
        plan.append(["bind", path, path, False, False])


def _entries(path: str) -> list[str]:
    try:
        return sorted(entry.name for entry in Path(path).iterdir())
    except OSError:
        return []


def _host_path(path: str) -> str:
    """Follow the host's own symbolic links (``/bin`` is often one), as the new root keeps them."""
    return str(Path(posixpath.normpath(path)).resolve())


def needed_paths(layout: Layout) -> list[str]:
    """List the host paths without which nothing starts: this Python, and the sandbox itself."""
    python = [sys.prefix, sys.base_prefix, sys.executable, str(Path(__file__).parent)]
    python += [sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), *sys.path]
    return [_host_path(path) for path in [*python, str(layout.directory)] if path]
