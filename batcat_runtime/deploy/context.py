"""The build context: everything that goes into the image, and a tag that follows from it.

The Dockerfile, the requirements with their lock, the scripts, and the runtime that is installed
here, as a wheel. The runtime in the image is the one that deploys, so that no index is asked for a
name that somebody else could own. Of the runtime it holds what a job needs and nothing else
(`IN_IMAGE`), so that a change elsewhere leaves images alone. The same content gives the same tag,
on every machine.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import zipfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from batcat_runtime.config import CONFIG_PATH, Config
from batcat_runtime.deploy.lock import LOCK, check_imports, check_lock
from batcat_runtime.errors import ImageError

SCRIPT_FOLDER = "/opt/batcat/script"
# Files and folders of batcat_runtime: what `python -m batcat_runtime.job` and a script import.
IN_IMAGE = (
    *("__init__.py", "config.py", "errors.py", "events.py", "io", "job.py", "job_container.py"),
    *("log.py", "names.py", "window.py"),
)
_EPOCH = (1980, 1, 1, 0, 0, 0)
Files = Mapping[str, bytes]


def context_of(config: Config) -> dict[str, bytes]:
    """Return the files of the build context by their names, sorted.

    Raises
    ------
    ImageError
        A file is missing, the lock is not of these requirements, or a script imports what the lock
        does not have.
    """
    docker = config.folder / "deploy" / "docker"
    files = {name: _read(docker / name) for name in ("Dockerfile", "requirements.txt")}
    scripts = dict(_scripts(config))
    if LOCK.encode() in files["Dockerfile"]:
        check_lock(docker)
        files[LOCK] = _read(docker / LOCK)
        check_imports(scripts, files[LOCK].decode("utf-8"))
    files |= {f"script/{name}": data for name, data in scripts.items()}
    name, wheel = wheel_of_runtime()
    files[f"wheels/{name}"] = wheel
    return dict(sorted(files.items()))


def tag_of(files: Files) -> str:
    """Return the image's tag: 16 hex digits that follow from the content of the context."""
    return _digest(files)[:16]


def code_sha256(config: Config, purpose: str) -> str:
    """Return the hex digest of everything in the image that a purpose may use.

    All purposes share an image; scripts that only other purposes run do not count, nor does the
    configuration of the others.
    """
    mine = {step.script for step in config.purposes[purpose].steps}
    others = {f"script/{name}" for name in set(scripts_of(config)) - mine}
    left_out = {*others, CONFIG_PATH.as_posix()}
    files = {name: data for name, data in context_of(config).items() if name not in left_out}
    return _digest(files | {"config": config.sha256_of(purpose).encode()})


def write_context(files: Files, folder: Path) -> None:
    """Write a build context into a folder, for a container tool."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def scripts_of(config: Config) -> list[str]:
    """Return the file names of the scripts that a project's steps run, each once."""
    return sorted({step.script for purpose in config.purposes.values() for step in purpose.steps})


@cache
def wheel_of_runtime() -> tuple[str, bytes]:
    """Return the installed runtime as a wheel, behind its file's name: the same for the same code.

    The format is that of the "Binary distribution format" specification (PEP 427): a zip archive
    of the package, and a ``.dist-info`` folder with METADATA, WHEEL and RECORD.
    """
    distribution = importlib.metadata.distribution("batcat-runtime")
    version = distribution.version
    info = f"batcat_runtime-{version}.dist-info"
    files = dict(_package_files())
    # The headers alone: behind them stands the README.
    headers = (distribution.read_text("METADATA") or "").split("\n\n")[0]
    files[f"{info}/METADATA"] = f"{headers}\n".encode()
    files[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: batcat\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = [f"{name},{_record_hash(data)},{len(data)}" for name, data in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, date_time=_EPOCH), data, zipfile.ZIP_DEFLATED)
    return f"batcat_runtime-{version}-py3-none-any.whl", buffer.getvalue()


def _scripts(config: Config) -> Iterator[tuple[str, bytes]]:
    """Yield what lies in ``script/``, and the scripts of steps that lie in the project's folder."""
    folder = config.folder / "script"
    names = set()
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if any(part.startswith(".") or part == "__pycache__" for part in inside.parts):
            continue
        if path.is_dir() or path.suffix == ".pyc":
            continue
        names.add(inside.as_posix())
        yield inside.as_posix(), _read(path)
    for name in scripts_of(config):
        if name in names:
            continue
        if not (config.folder / name).is_file():
            raise ImageError(
                f"The script {name} is missing from {folder}.",
                fix=f"Put it there, or name another script in {folder / 'config.json'}.",
            )
        yield name, _read(config.folder / name)


def _read(path: Path) -> bytes:
    if path.is_symlink() and not path.exists():
        raise ImageError(
            f"{path} is a symbolic link to {path.readlink()}, which does not exist.",
            fix="Remove the link, or mend it.",
        )
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ImageError(
            f"There is no {path}.", fix="Restore it from git or from the template."
        ) from error
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error}.", fix="Mend its permissions.") from error


def _package_files() -> Iterator[tuple[str, bytes]]:
    package = Path(__file__).resolve().parents[1]
    for name in IN_IMAGE:
        found = package / name
        for path in sorted(found.rglob("*.py")) if found.is_dir() else [found]:
            yield f"{package.name}/{path.relative_to(package).as_posix()}", path.read_bytes()


def _digest(files: Files) -> str:
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
    return digest.hexdigest()


def _record_hash(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"sha256={digest}"
