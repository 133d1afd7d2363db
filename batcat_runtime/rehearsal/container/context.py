"""The files that a Dockerfile may copy: a directory, less what ``.dockerignore`` names.

Paths cannot leave it, neither by ``..`` nor through a symbolic link. Patterns follow docker: ``*``
and ``?`` stop at a slash, ``**`` does not, a directory's exclusion covers what is in it, ``!``
brings back, and the last rule that matches decides.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
from pathlib import Path


class BuildContext:
    """A build context.

    Parameters
    ----------
    directory : Path
        Its root.
    file : Path
        The Dockerfile: ``<file>.dockerignore`` beside it goes before ``.dockerignore``.
    """

    def __init__(self, directory: Path, file: Path) -> None:
        self.directory = directory.resolve()
        own = file.with_name(f"{file.name}.dockerignore")
        ignore = own if own.is_file() else self.directory / ".dockerignore"
        lines = ignore.read_text("utf-8").splitlines() if ignore.is_file() else []
        self._rules = [rule for line in lines if (rule := _ignore_rule(line))]
        self._has_exceptions = any(not excluded for excluded, _ in self._rules)

    def has(self, path: Path) -> bool:
        """Say whether a path is part of the context."""
        relative = path.relative_to(self.directory).as_posix()
        parents = [relative, *(parent.as_posix() for parent in Path(relative).parents)]
        included = True
        for excluded, pattern in self._rules:
            if any(pattern.fullmatch(parent) for parent in parents if parent != "."):
                included = not excluded
        return included

    def exists(self, wanted: str) -> bool:
        """Say whether a path is there at all, excluded or not."""
        return (self.directory / wanted).exists()

    def match(self, wanted: str) -> list[Path]:
        """Return the paths of the context that a COPY source names, in order."""
        found = [self.directory]
        for part in wanted.split("/") if wanted else []:
            following: list[Path] = []
            for parent in found:
                if any(character in part for character in "*?["):
                    entries = sorted(parent.iterdir()) if parent.is_dir() else []
                    following += [e for e in entries if fnmatch.fnmatchcase(e.name, part)]
                elif (parent / part).exists():
                    following.append(parent / part)
            found = following
        return [inside for path in found if (inside := self._inside(path)) is not None]

    def _inside(self, path: Path) -> Path | None:
        # A source that is a link is followed, but never out of the context.
        real = path.resolve()
        if not real.is_relative_to(self.directory):
            return None
        kept = self.has(path) or (path.is_dir() and self._has_exceptions)
        return (real if path.is_symlink() else path) if kept else None


def _ignore_rule(line: str) -> tuple[bool, re.Pattern[str]] | None:
    """Turn a line of .dockerignore into (excludes, pattern)."""
    line = line.strip()
    if not line or line.startswith("#"):
        return None
    excludes = not line.startswith("!")
    path = posixpath.normpath(line.removeprefix("!").strip()).strip("/")
    if path in ("", "."):
        return None
    expression, index = "", 0
    while index < len(path):
        if path.startswith("**/", index):
            expression, index = expression + "(?:.*/)?", index + 3
        elif path.startswith("**", index):
            expression, index = expression + ".*", index + 2
        elif path[index] == "*":
            expression, index = expression + "[^/]*", index + 1
        elif path[index] == "?":
            expression, index = expression + "[^/]", index + 1
        elif path[index] == "[" and "]" in path[index:]:
            end = path.index("]", index) + 1
            expression, index = expression + path[index:end].replace("[!", "[^"), end
        else:
            expression, index = expression + re.escape(path[index]), index + 1
    return excludes, re.compile(expression)
