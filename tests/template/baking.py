"""What the template's tests share: a hook as cookiecutter renders it, a project as plain data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cookiecutter.utils import create_env_with_context

ROOT = Path(__file__).resolve().parents[2]
HOOKS = ROOT / "hooks"

Bake = Callable[..., Path]


def load_hook(name: str, answers: dict[str, Any]) -> dict[str, Any]:
    """Return the names that a hook defines, rendered as cookiecutter does it but not run."""
    source = (HOOKS / f"{name}.py").read_text(encoding="utf-8")
    environment = create_env_with_context({"cookiecutter": answers})
    rendered = environment.from_string(source).render(cookiecutter=answers)
    names: dict[str, Any] = {"__name__": name}
    exec(compile(rendered, f"{name}.py", "exec"), names)
    return names


def text_files(project: Path) -> dict[str, str]:
    """Return the text of every file of a project but the sample, by relative path."""
    return {
        path.relative_to(project).as_posix(): path.read_bytes().decode("utf-8")
        for path in sorted(project.rglob("*"))
        if path.is_file() and path.parent != project / "data/raw/usage"
    }


def snapshot(project: Path) -> dict[str, bytes]:
    """Return the bytes of every file of a project, by relative path; folders end in a slash."""
    return {
        path.relative_to(project).as_posix() + ("/" if path.is_dir() else ""): (
            b"" if path.is_dir() else path.read_bytes()
        )
        for path in sorted(project.rglob("*"))
    }
