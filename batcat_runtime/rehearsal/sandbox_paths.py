"""Rewrites container paths into host paths, where nothing can be mounted.

The fallback of `sandbox` for macOS and for systems that forbid namespaces.
"""

from __future__ import annotations

import functools
import posixpath
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from batcat_runtime.rehearsal.sandbox_layout import ML, SYSTEM_DIRECTORIES, Layout, is_within


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
        paths: dict[str, str] = {}
        for container_path, source in sorted(layout.copies.items()):
            target = _within_sandbox(layout, container_path)
            if source.is_dir():
                shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
            # Of a system directory only the image's own entries move: /usr/bin/env stays itself.
            whole = not source.is_dir() or container_path not in SYSTEM_DIRECTORIES
            names = [""] if whole else [entry.name for entry in sorted(source.iterdir())]
            for name in names:
                moved = posixpath.join(container_path, name) if name else container_path
                paths[moved] = str(target / name)
        workdir = _within_sandbox(layout, layout.workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        if layout.workdir not in SYSTEM_DIRECTORIES:
            paths[layout.workdir] = str(workdir)
        return cls({**paths, ML: str(layout.ml_root)}, str(workdir))

    def __call__(self, word: str) -> str:
        """Return the word with container paths replaced."""
        return self._pattern.sub(lambda match: self.paths[match[1]], word)

    @functools.cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self.paths, key=len, reverse=True)
        choices = "|".join(re.escape(path) for path in longest_first)
        return re.compile(rf"""(?:(?<=^)|(?<=[=:,;\s"'\[(]))({choices})(?=$|[/:,;\s"'\])])""")


def _within_sandbox(layout: Layout, container_path: str) -> Path:
    path = posixpath.normpath(container_path)
    if is_within(path, ML):
        return layout.ml_root / posixpath.relpath(path, ML)
    return layout.directory / "image" / path.strip("/")
