"""The image's lock: every package that it gets, pinned and with its hashes.

``deploy/docker/requirements.txt`` says what the scripts need, in a few lines that people write.
`write_lock` resolves these, and what the runtime itself needs, into ``requirements.lock``; pip
installs from that alone (``--require-hashes``), so tonight's image is last month's image until
somebody locks again. The resolver is uv: it resolves for Linux on any machine, and writes one lock
for all Python versions. A lock that is not of the present requirements stops the build.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from batcat_runtime.errors import ImageError, UserError

LOCK = "requirements.lock"
# What a script may want of AWS's Spark image (3.5-cpu-py312-v1.3): its Pipfile.runtime.lock, and
# what Spark itself brings. pyarrow is not there.
IN_SPARK_IMAGE = {
    *("boto3", "botocore", "numpy", "packaging", "pandas", "psutil", "py4j", "pydantic", "pyspark"),
    *("python-dateutil", "pyyaml", "regex", "requests", "tenacity", "typing-extensions"),
}
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


def check_imports(
    scripts: Mapping[str, bytes], lock: str, steps: Iterable[tuple[str, str]] = ()
) -> None:
    """Refuse scripts that import a package which their image does not have.

    On this machine it may be installed, and everything works; the image would not hold it. An
    import within a ``try`` that catches its failure is the script's own business.

    Parameters
    ----------
    scripts : mapping of str to bytes
        The files of ``script/`` by their names; those that are Python import each other, too.
    lock : str
        The lock's text.
    steps : iterable of (str, str)
        Engine and script of each step. What scripts on Spark import is in AWS's image.

    Raises
    ------
    ImageError
        The message names the package and every line.
    """
    locked = set(re.findall(r"^([a-z0-9][a-z0-9._-]*)(?:\[.*\])? *==", lock.lower(), re.MULTILINE))
    on_spark = _reached(scripts, {script for engine, script in steps if engine == "spark"})
    others = {script for engine, script in steps if engine != "spark"} | (set(scripts) - on_spark)
    if missing := _missing(scripts, on_spark, IN_SPARK_IMAGE):
        raise ImageError(
            f"AWS's Spark image does not have what these lines import:\n{_lines(missing)}",
            fix=f"It has {', '.join(sorted(IN_SPARK_IMAGE))}. What needs more goes into a step of "
            'its own without "engine": "spark".',
        )
    known = {re.sub(r"[-_.]+", "-", name) for name in locked}
    if missing := _missing(scripts, _reached(scripts, others), known):
        raise ImageError(
            f"The image would not have what these lines import:\n{_lines(missing)}",
            fix=f"Add {', '.join(missing)} to deploy/docker/requirements.txt, and run `make lock`.",
        )


def _reached(scripts: Mapping[str, bytes], starts: Collection[str]) -> set[str]:
    """Return the names of scripts, and of the modules beside them that they import."""
    found: set[str] = set()
    waiting = list(starts)
    while waiting:
        name = waiting.pop()
        if name in scripts and name not in found:
            found.add(name)
            waiting += [f"{module}.py" for module, _ in _imports(name, scripts[name])]
    return found


def _missing(
    scripts: Mapping[str, bytes], names: Collection[str], known: Collection[str]
) -> dict[str, list[str]]:
    """Return the packages that scripts import and that are not known, with the lines."""
    own = {Path(name).parts[0].removesuffix(".py") for name in scripts}
    own |= {"batcat_runtime", *sys.stdlib_module_names}
    providers = _providers()
    missing: dict[str, list[str]] = {}
    for name in sorted(names):
        for module, line in sorted(_imports(name, scripts[name]), key=lambda found: found[1]):
            makers = {
                re.sub(r"[-_.]+", "-", one.lower()) for one in providers.get(module, [module])
            }
            if module not in own and not makers & set(known):
                missing.setdefault(min(makers), []).append(f"script/{name}, line {line}")
    return missing


def _lines(missing: Mapping[str, list[str]]) -> str:
    return "\n".join(f"  {package}: {'; '.join(places)}" for package, places in missing.items())


@cache
def _providers() -> Mapping[str, list[str]]:
    """Return which installed distributions a module comes from."""
    return importlib.metadata.packages_distributions()


def _imports(name: str, data: bytes) -> Iterator[tuple[str, int]]:
    """Yield the first name of each module that a script imports for sure, and the line."""
    if not name.endswith(".py"):
        return
    try:
        tree = ast.parse(data, name)
    except SyntaxError as error:
        raise ImageError(
            f"script/{name} is no Python: line {error.lineno}: {error.msg}.", fix="Mend that line."
        ) from error
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Try):
            waiting += [*node.handlers, *node.orelse, *node.finalbody]
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0], node.lineno
        waiting += ast.iter_child_nodes(node)


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
        *(
            sys.executable,
            "-m",
            "uv",
            "pip",
            "compile",
            "--quiet",
            "--universal",
            "--generate-hashes",
            "--no-header",
        ),
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
