"""The image's lock: every package that it gets, pinned and with its hashes.

``deploy/docker/requirements.txt`` says what the scripts need, in a few lines that people write.
`write_lock` resolves these, and what the runtime itself needs, into ``requirements.lock``; pip
installs from that alone (``--require-hashes``), so tonight's image is last month's image until
somebody locks again. The resolver is uv: it resolves for Linux on any machine, and writes one lock
for all Python versions. A lock that is not of the present requirements stops the build.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

from batcat_runtime.errors import ImageError, UserError

LOCK = "requirements.lock"
_DIGEST = re.compile(r"^# sha256 of the requirements: ([0-9a-f]{64})$", re.MULTILINE)
_HEADER = """\
# Every package of the image, pinned and with its hashes. `make lock` writes it, from
# requirements.txt and from what batcat-runtime needs.
# sha256 of the requirements: {digest}
"""


def check_lock(folder: Path) -> None:
    """Refuse a lock that is missing, or was made from other requirements.

    Parameters
    ----------
    folder : Path
        ``deploy/docker`` of a project.

    Raises
    ------
    ImageError
        It is missing or out of step.
    """
    lock = folder / LOCK
    fix = "Run `make lock` (or `batcat lock`) in the project's folder, and commit the file."
    if not lock.is_file():
        raise ImageError(f"There is no {lock}.", fix=fix)
    found = _DIGEST.search(lock.read_text("utf-8"))
    if found is None or found[1] != _digest(folder):
        raise ImageError(
            f"{lock} was made from other requirements than {folder / 'requirements.txt'} and this "
            "runtime have now.",
            fix=fix,
        )


def write_lock(folder: Path, *, upgrade: bool = False) -> Path:
    """Resolve the image's requirements and write the lock; needs a package index.

    Parameters
    ----------
    folder : Path
        ``deploy/docker`` of a project.
    upgrade : bool
        Take the newest versions, instead of keeping what the present lock has where that fits.

    Returns
    -------
    Path
        The lock.

    Raises
    ------
    UserError
        The requirements cannot be met together, or the index is out of reach; the old lock stays.
    """
    requirements = folder / "requirements.txt"
    if not requirements.is_file():
        raise UserError(f"There is no {requirements}.", fix="Restore it from git.")
    dockerfile = (folder / "Dockerfile").read_text("utf-8")
    lock, draft = folder / LOCK, folder / f".{LOCK}.draft"
    if lock.is_file() and not upgrade:
        draft.write_bytes(lock.read_bytes())
    command = [
        *(_uv(), "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-header"),
        *("--python-version", _argument(dockerfile, "PYTHON_VERSION") or "3.11"),
        *("--output-file", draft.name, requirements.name, "-"),
    ]
    index = os.environ.get("PIP_INDEX_URL") or _argument(dockerfile, "PIP_INDEX_URL")
    try:
        done = subprocess.run(
            [*command, *(["--default-index", index] if index else [])],
            cwd=folder,
            input="\n".join(_runtime_requirements()),
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            check=False,
        )
        if done.returncode != 0:
            raise UserError(
                f"{requirements} cannot be locked:\n{done.stderr.strip()}",
                fix="Change the line that it names; if the index is out of reach, try again later "
                "or set PIP_INDEX_URL to a mirror.",
            )
        text = draft.read_text("utf-8").replace("-r -", "batcat-runtime")
        draft.write_text(_HEADER.format(digest=_digest(folder)) + text, "utf-8", newline="\n")
        draft.replace(lock)
    finally:
        draft.unlink(missing_ok=True)
    return lock


def _uv() -> str:
    try:
        from uv import find_uv_bin
    except ImportError as error:
        raise UserError(
            "Locking needs uv, which is not installed.", fix="Run `pip install uv`."
        ) from error
    return str(find_uv_bin())


def _argument(dockerfile: str, name: str) -> str:
    found = re.search(rf"^ARG {name}=(\S+)", dockerfile, re.MULTILINE)
    return found[1] if found else ""


def _runtime_requirements() -> list[str]:
    from packaging.requirements import Requirement

    listed = importlib.metadata.requires("batcat-runtime") or []
    # Each tool that writes metadata spells specifiers in an order of its own.
    return sorted(str(Requirement(line)) for line in listed if "extra ==" not in line)


def _digest(folder: Path) -> str:
    """Return the digest of what is asked for; comments and blank lines do not count."""
    text = (folder / "requirements.txt").read_text("utf-8")
    lines = [re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines()]
    asked = [*filter(None, lines), "", *_runtime_requirements()]
    return hashlib.sha256("\n".join(asked).encode()).hexdigest()


if __name__ == "__main__":
    from batcat_runtime.config import find_project
    from batcat_runtime.deploy.command import run_as_script

    def main() -> None:
        """Write the lock of the project around the working directory."""
        print(write_lock(find_project() / "deploy" / "docker"))

    sys.exit(run_as_script(main))
