"""What can be looked at without AWS: the configuration, the files beside it, what is installed."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shutil
import subprocess
from pathlib import Path

from batcat_runtime.config import CONFIG_PATH
from batcat_runtime.deploy.builders import CODEBUILD, TOOLS, VARIABLE
from batcat_runtime.deploy.context import scripts_of
from batcat_runtime.deploy.limits import check_limits
from batcat_runtime.deploy.lock import LOCK, check_lock
from batcat_runtime.errors import ConfigError, ImageError
from batcat_runtime.operate.checks.finding import Finding, failed, ok, skipped, warning
from batcat_runtime.operate.checks.patient import Patient

_TOOL_SECONDS = 6


def config_is_valid(patient: Patient) -> Finding:
    """script/config.json is valid."""
    if patient.broken is not None:
        return failed(patient.broken.message, patient.broken.fix)
    config = patient.settings
    try:
        check_limits(config)
    except ConfigError as error:
        return failed(error.message, error.fix)
    return ok(f"project {config.project}: {', '.join(config.purposes)}, in {config.region}")


def scripts_are_there(patient: Patient) -> Finding:
    """Every step's script is there."""
    wanted = scripts_of(patient.settings)
    # A step may run a script of the project's own folder, too.
    places = (patient.folder / "script", patient.folder)
    missing = [one for one in wanted if not any((place / one).is_file() for place in places)]
    if missing:
        return failed(
            f"script/{missing[0]} is missing" + _and_more(missing),
            f"git checkout -- script/{missing[0]}   (or name another script in "
            f"{CONFIG_PATH.as_posix()})",
        )
    return ok(", ".join(f"script/{one}" for one in wanted))


def lock_is_in_step(patient: Patient) -> Finding:
    """The image's lock is of the present requirements."""
    docker = patient.folder / "deploy" / "docker"
    dockerfile = docker / "Dockerfile"
    if not dockerfile.is_file():
        return failed("deploy/docker/Dockerfile is missing", "git checkout -- deploy/docker")
    if LOCK not in dockerfile.read_text("utf-8"):
        return skipped("deploy/docker/Dockerfile uses no lock")
    try:
        check_lock(docker)
    except (ImageError, FileNotFoundError):
        return failed(f"deploy/docker/{LOCK} is missing or of other requirements", "batcat lock")
    return ok(f"deploy/docker/{LOCK}")


def packages_fit(patient: Patient) -> Finding:
    """The installed packages are those of requirements.txt."""
    from packaging.requirements import InvalidRequirement, Requirement

    runtime = importlib.metadata.version("batcat-runtime")
    versions = f"batcat-runtime {runtime}, Python {platform.python_version()}"
    path = patient.folder / "requirements.txt"
    if not path.is_file():
        return skipped(f"there is no requirements.txt ({versions})")
    wrong = []
    for line in path.read_text("utf-8").splitlines():
        text = re.sub(r"(^|\s)#.*", "", line).strip()
        if not text or text.startswith("-"):
            continue
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            continue  # pip knows more forms than a requirement: a path, a URL
        try:
            present = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{wanted.name} is not installed")
            continue
        tag = re.search(r"@v?(\d+(?:\.\d+)+)$", wanted.url or "")
        if tag and tag[1] != present:
            wrong.append(f"{wanted.name} is {present}, the project was made with {tag[1]}")
        elif present not in wanted.specifier:
            wrong.append(f"{wanted.name} is {present}, wanted is {wanted.specifier}")
    if wrong:
        return warning(f"{wrong[0]}{_and_more(wrong)} ({versions})", _install(path))
    return ok(versions)


def image_can_be_built(patient: Patient) -> Finding:
    """Something can build the container image."""
    wanted = patient.environment.get(VARIABLE, "")
    if wanted and wanted not in (*TOOLS, CODEBUILD):
        return failed(f"{VARIABLE} is {wanted!r}, which is no builder", f"unset {VARIABLE}")
    if wanted == CODEBUILD:
        return ok("AWS CodeBuild builds it, as BATCAT_IMAGE_BUILDER says")
    search = patient.environment.get("PATH")
    for name in [wanted] if wanted else TOOLS:
        path = shutil.which(name, path=search)
        if path is None:
            continue
        problem = _tool_problem(name, path)
        if problem:
            return failed(
                f"{name} is here, and would be taken, but does not answer: {problem}",
                f"{_start(name)}   (or let AWS build it: export {VARIABLE}={CODEBUILD})",
            )
        return ok(f"{name} ({path})")
    if wanted:
        return failed(f"{VARIABLE} is {wanted!r}, but that is not on the PATH", f"unset {VARIABLE}")
    return ok(
        f"no container tool here ({', '.join(TOOLS)}), so AWS CodeBuild builds it; that needs the "
        "rights of deploy/iam/deployer.json"
    )


def _tool_problem(name: str, path: str) -> str:
    """Return what a tool says when it does not work; Docker asks its daemon, buildah has none."""
    words = ["version"] if name == "buildah" else ["info"]
    try:
        done = subprocess.run(
            [path, *words],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TOOL_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {_TOOL_SECONDS} s"
    except OSError as error:
        return str(error)
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return (lines[-1] if lines else f"exit code {done.returncode}") if done.returncode else ""


def _start(name: str) -> str:
    if platform.system() == "Linux":
        return f"sudo systemctl start {name}"
    return "open -a Docker" if name == "docker" else f"{name} machine start"


def _install(path: Path) -> str:
    return f"python -m pip install -r {path.name}"


def _and_more(found: list[str]) -> str:
    return f", and {len(found) - 1} more" if found[1:] else ""
