"""``docker inspect``: what is known of an image, and the simple ones of Go's templates over it."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from batcat_runtime.errors import ImageError
from batcat_runtime.rehearsal.images import Image, ImageStore


def describe(store: ImageStore, image: Image) -> dict[str, Any]:
    """Describe an image as docker does, as far as deployments ask."""
    names = store.references(image)
    return {
        "Id": image.config_digest,
        "RepoTags": [name for name in names if "@" not in name],
        "RepoDigests": [name for name in names if "@" in name],
        "Os": "linux",
        "Config": {
            "Env": [f"{name}={value}" for name, value in image.env.items()],
            "Entrypoint": image.entrypoint or None,
            "Cmd": image.cmd or None,
            "WorkingDir": image.workdir,
            "User": image.user,
        },
    }


def formatted(template: str, entry: dict[str, Any]) -> str:
    """Fill the simple templates: ``{{.Id}}``, ``{{json .Config.Env}}``, ``{{index .X 0}}``."""

    def replace(match: re.Match[str]) -> str:
        action, path, number = match[1] or "", match[2], match[3]
        value: Any = entry
        try:
            for name in path.strip(".").split("."):
                value = value[name] if name else value
            value = value[int(number)] if number is not None else value
        except (KeyError, TypeError, IndexError):
            _fail_template(template, f"no {match[0]}")
        if action == "json":
            return json.dumps(value)
        return f"[{' '.join(map(str, value))}]" if isinstance(value, list) else str(value)

    expression = re.compile(r"\{\{\s*(json|index)?\s*(\.[A-Za-z.]*)(?:\s+(\d+))?\s*\}\}")
    filled = expression.sub(replace, template)
    if "{{" in filled:
        _fail_template(template, "unsupported expression")
    return filled


def _fail_template(template: str, reason: str) -> NoReturn:
    raise ImageError(f"template parsing error: {template!r}: {reason} (in the rehearsal)")
