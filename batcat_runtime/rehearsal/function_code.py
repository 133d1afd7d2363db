"""What a Lambda function is before it runs: its unpacked code and its environment."""

from __future__ import annotations

import importlib.util
import io
import os
import posixpath
import shutil
import sys
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

from batcat_runtime.rehearsal.function_bootstrap import PROVIDED

MAX_UNZIPPED = 262_144_000


def lambda_environment(
    handler: str, runtime: str, memory_mb: int, arn: str, stream: str, task_root: Path
) -> dict[str, str]:
    """Build the variables that Lambda reserves for itself."""
    parts = arn.split(":")
    region = parts[3] if len(parts) > 6 else ""
    name = parts[6] if len(parts) > 6 else arn
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin:/usr/bin:/bin"]),
        "LANG": "en_US.UTF-8",
        "PYTHONUTF8": "1",
        "TZ": ":UTC",
        "LAMBDA_TASK_ROOT": str(task_root),
        "LAMBDA_RUNTIME_DIR": str(Path(__file__).parent),
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}",
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb),
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": stream,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "_HANDLER": handler,
        **({"AWS_REGION": region, "AWS_DEFAULT_REGION": region} if region else {}),
    }


def refusal(runtime: str) -> dict[str, Any] | None:
    """Return an error payload for a runtime that cannot be rehearsed."""
    if runtime.startswith("python3."):
        return None
    return {
        "errorType": "Runtime.Unsupported",
        "errorMessage": f"The rehearsal runs functions of the python3.* runtimes, and this one's is"
        f" {runtime!r}. Deploy it with a Python runtime to rehearse it.",
    }


def unpack(code_zip: bytes, target: Path) -> dict[str, Any] | None:
    """Unpack a deployment package; return an error payload if it is none, or a hostile one."""
    target.mkdir()
    try:
        with zipfile.ZipFile(io.BytesIO(code_zip)) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) >= MAX_UNZIPPED:
                return _bad_zip(f"Unzipped size must be smaller than {MAX_UNZIPPED} bytes")
            for member in members:
                # The name as stored: zipfile has already tidied `filename`.
                name = member.orig_filename.replace("\\", "/")
                inside = posixpath.normpath(name)
                if name.startswith("/") or inside.startswith("..") or ":" in name or "\0" in name:
                    return _bad_zip(f"the entry {member.orig_filename!r} would leave its directory")
                if (member.external_attr >> 16) & 0o170000 == 0o120000:
                    return _bad_zip(f"the entry {name!r} is a symbolic link")
                _extract(archive, member, target / inside)
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError) as error:
        return _bad_zip(str(error))
    return None


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    if member.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as source, path.open("wb") as file:
        shutil.copyfileobj(source, file)
    if mode := (member.external_attr >> 16) & 0o777:
        path.chmod(mode | 0o600)


def _bad_zip(reason: str) -> dict[str, Any]:
    return {
        "errorType": "InvalidZipFileException",
        "errorMessage": f"Could not unzip the function's code: {reason}",
    }


@cache
def provided_directories() -> list[str]:
    """Find where this Python keeps the packages that Lambda ships."""
    found = []
    for name in sorted(PROVIDED):
        spec = importlib.util.find_spec(name)
        if spec and spec.origin:
            path = Path(spec.origin)
            found.append(str(path.parent.parent if path.name == "__init__.py" else path.parent))
    return list(dict.fromkeys(found))
