"""The build context: everything that goes into the image, and a tag that follows from it.

The Dockerfile, the requirements with their lock, the scripts, and the runtime that is installed
here, as a wheel. The runtime in the image is the one that deploys, so that no index is asked for a
name that somebody else could own. The same content gives the same tag, on every machine.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from batcat_runtime.deploy.lock import LOCK, check_lock
from batcat_runtime.errors import ImageError

_EPOCH = (1980, 1, 1, 0, 0, 0)
_NOT_IN_IMAGE = {"__pycache__", "_template"}


def gather_context(folder: Path, context: Path, scripts: Iterable[str] = ()) -> str:
    """Fill the build context and return its content's digest, the image's tag (16 hex digits).

    Parameters
    ----------
    folder : Path
        The project.
    context : Path
        An empty folder, or where to make it.
    scripts : iterable of str
        File names that the steps run. They lie in ``script/``; one that does not is taken from the
        project's own folder.

    Raises
    ------
    ImageError
        A file is missing, or the lock is not of these requirements.
    """
    docker = folder / "deploy" / "docker"
    context.mkdir(parents=True, exist_ok=True)
    for name in ("Dockerfile", "requirements.txt"):
        if not (docker / name).is_file():
            raise ImageError(
                f"There is no {docker / name}.", fix="Restore it from git or from the template."
            )
        shutil.copyfile(docker / name, context / name)
    if LOCK in (docker / "Dockerfile").read_text("utf-8"):
        check_lock(docker)
        shutil.copyfile(docker / LOCK, context / LOCK)
    _gather_scripts(folder, context / "script", scripts)
    write_wheel(context / "wheels")
    digest = hashlib.sha256()
    for path in sorted(path for path in context.rglob("*") if path.is_file()):
        digest.update(path.relative_to(context).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _gather_scripts(folder: Path, target: Path, names: Iterable[str]) -> None:
    unwanted = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
    shutil.copytree(folder / "script", target, ignore=unwanted)
    for name in names:
        if (target / name).exists():
            continue
        if not (folder / name).is_file():
            raise ImageError(
                f"The script {name} is missing from {folder / 'script'}.",
                fix=f"Put it there, or name another script in {folder / 'script' / 'config.json'}.",
            )
        shutil.copyfile(folder / name, target / name)


def write_wheel(folder: Path) -> Path:
    """Write the installed runtime as a wheel, the same bytes for the same files.

    The format is that of the "Binary distribution format" specification (PEP 427): a zip archive
    of the package, and a ``.dist-info`` folder with METADATA, WHEEL and RECORD.
    """
    distribution = importlib.metadata.distribution("batcat-runtime")
    version = distribution.version
    info = f"batcat_runtime-{version}.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"batcat_runtime-{version}-py3-none-any.whl"
    files = dict(_package_files())
    files[f"{info}/METADATA"] = (distribution.read_text("METADATA") or "").encode()
    files[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: batcat\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = [f"{name},{_record_hash(data)},{len(data)}" for name, data in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, date_time=_EPOCH), data, zipfile.ZIP_DEFLATED)
    return wheel


def _package_files() -> Iterator[tuple[str, bytes]]:
    package = Path(__file__).resolve().parents[1]
    for path in sorted(package.rglob("*")):
        inside = path.relative_to(package)
        if path.is_file() and not _NOT_IN_IMAGE & set(inside.parts):
            yield f"{package.name}/{inside.as_posix()}", path.read_bytes()


def _record_hash(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"sha256={digest}"
