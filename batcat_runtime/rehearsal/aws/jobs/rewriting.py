"""Rewrites container paths into host paths, where nothing can be mounted.

The fallback of `sandbox` for macOS and for systems that forbid namespaces.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .layout import ML, PYTHON, Layout, is_within, put

# What an image copies into one of these is found by its own name; the rest stays the system's.
_SHARED = {"/", "/bin", "/etc", "/lib", "/opt", "/sbin", "/tmp", "/usr", "/usr/bin", "/usr/local"}


@dataclass(frozen=True)
class PathRewriter:
    """Replaces container paths by host paths in words of a command or an environment.

    A path counts where a word starts with it, or where it follows one of ``= : , ;``, a quote, a
    bracket or white space (``--input=/opt/ml/x``, ``PYTHONPATH=/opt/a:/opt/b``, JSON), and where it
    ends at ``/`` or at a boundary: ``/opt/mlx`` and ``s3://bucket/opt/ml`` are left alone.
    """

    paths: Mapping[str, str]
    workdir: str = "/"

    @classmethod
    def for_layout(cls, layout: Layout) -> PathRewriter:
        """Copy the image's files into the sandbox and map their container paths to them.

        They are copied, not shared, so that a job cannot change the image for the next one.
        """
        image = layout.directory / "image"
        paths = {ML: str(layout.ml_root), PYTHON: str(layout.python)}
        if os.name == "nt":
            paths[f"{PYTHON}/bin"] = str(Path(sys.executable).parent)
        for path, source in sorted(layout.copies.items()):
            if is_within(path, ML):
                continue
            target = image / path.strip("/")
            put(source, target)
            names = [entry.name for entry in source.iterdir()] if path in _SHARED else [""]
            paths |= {f"{path}/{name}".rstrip("/"): str(target / name) for name in names}
        workdir = image / layout.workdir.strip("/")
        if is_within(layout.workdir, ML):
            workdir = Path(f"{layout.ml_root}{layout.workdir.removeprefix(ML)}")
        workdir.mkdir(parents=True, exist_ok=True)
        if layout.workdir not in _SHARED:
            paths.setdefault(layout.workdir, str(workdir))
        return cls(paths, str(workdir))

    def __call__(self, word: str) -> str:
        """Return the word with container paths replaced."""
        return self._pattern.sub(lambda match: self.paths[match[1]], word)

    @functools.cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self.paths, key=len, reverse=True)
        choices = "|".join(re.escape(path) for path in longest_first)
        return re.compile(rf"""(?:(?<=^)|(?<=[=:,;\s"'\[(]))({choices})(?=$|[/:,;\s"'\])])""")
