"""The Python of an image: this machine's, with the packages that the image's lock names.

An image's RUN lines are not run. What its ``pip install`` lines name is looked up among what is
installed here, and put together as a virtual environment of symbolic links; wheels that the image
brings are unpacked. What the lock does not name is not importable, here as on AWS; a locked package
that is not installed here is missing, and one in another version differs: `differences` tells.

In the same place is the hook that keeps what Python opens on this machine (`network_guard`).
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_GUARD = Path(__file__).with_name("network_guard.py")


def python_for(
    requirements: Iterable[str] | None, wheels: Iterable[Path], folder: Path
) -> tuple[Path, tuple[Path, ...]]:
    """Make the Python of an image, unless it is there already.

    Parameters
    ----------
    requirements : iterable of str or None
        Lines of requirements; None: nobody knows, and everything that is installed counts.
    wheels : iterable of Path
        What the image brings along.
    folder : Path
        Where it goes.

    Returns
    -------
    tuple of (Path, tuple of Path)
        The environment, and the folders that its links lead to.
    """
    if os.name == "nt":  # where links take a privilege, a job has all that is installed
        return Path(sys.prefix), ()
    installed = _installed()
    wanted = set(installed) if requirements is None else _with_needs(_pinned(requirements))
    sites = {_site(installed[name]) for name in wanted}
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=folder.parent))
        _make(partial, [installed[name] for name in sorted(wanted)], wheels)
        try:
            partial.rename(folder)
        except OSError:  # another job was first
            shutil.rmtree(partial)
    return folder, tuple(sorted(sites))


def _make(folder: Path, found: Iterable[Distribution], wheels: Iterable[Path]) -> None:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    base = Path(getattr(sys, "_base_executable", sys.executable))
    settings = ("include-system-site-packages = false", f"home = {base.parent}", "")
    (folder / "pyvenv.cfg").write_text("\n".join(settings))
    (folder / "bin").mkdir()
    for name in ("python", "python3", version):
        (folder / "bin" / name).symlink_to(base)
    packages = folder / "lib" / version / "site-packages"
    packages.mkdir(parents=True)
    shutil.copy2(_GUARD, packages / f"_batcat_{_GUARD.name}")
    (packages / "_batcat.pth").write_text(f"import _batcat_{_GUARD.stem}\n")
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(packages)
    for distribution in found:
        site = _site(distribution)
        for name in _top_level(distribution):
            if not (packages / name).exists() and (site / name).exists():
                (packages / name).symlink_to(site / name)


def differences(lock: str) -> list[str]:
    """Say which packages of a lock are not installed here in the same version."""
    installed, found = _installed(), []
    for name, requirement in sorted(_pinned(lock.splitlines()).items()):
        here = installed[name].version if name in installed else None
        if here is None or not requirement.specifier.contains(here, prereleases=True):
            locked = str(requirement.specifier).removeprefix("==")
            there = f"is {here} here" if here else "is not installed here"
            found.append(f"{name} {locked} {there}")
    return found


def _pinned(lines: Iterable[str]) -> dict[str, Requirement]:
    """Return the requirements of a file that are for this Python, by their normal names."""
    from packaging.requirements import InvalidRequirement, Requirement

    found = {}
    for line in lines:
        text = line.partition(" #")[0].partition("--hash")[0].rstrip(" \\")
        try:
            requirement = Requirement(text)
        except InvalidRequirement:  # an option, a comment, a path
            continue
        if requirement.marker is None or requirement.marker.evaluate({"sys_platform": "linux"}):
            found[_normal(requirement.name)] = requirement
    return found


def _with_needs(requirements: Mapping[str, Requirement]) -> set[str]:
    """Return the names of what is installed here of these, and of what they need in turn.

    A lock is whole; a requirements.txt without one is not.
    """
    from packaging.requirements import Requirement

    installed, found = _installed(), set()
    waiting = [(name, frozenset(one.extras)) for name, one in requirements.items()]
    while waiting:
        name, extras = waiting.pop()
        if name not in installed or name in found:
            continue
        found.add(name)
        for text in installed[name].requires or []:
            need = Requirement(text)
            wanted = need.marker is None or any(
                need.marker.evaluate({"extra": extra}) for extra in (*extras, "")
            )
            if wanted:
                waiting.append((_normal(need.name), frozenset(need.extras)))
    return found


@cache
def _installed() -> Mapping[str, Distribution]:
    found: dict[str, Distribution] = {}
    for one in distributions():
        found.setdefault(_normal(one.name), one)
    return found


def _site(distribution: Distribution) -> Path:
    return Path(str(distribution.locate_file(""))).resolve()


def _top_level(distribution: Distribution) -> set[str]:
    record = distribution.read_text("RECORD") or ""
    names = {line.partition(",")[0].partition("/")[0].strip('"') for line in record.splitlines()}
    return names - {"", "..", "__pycache__"}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
