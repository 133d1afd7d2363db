"""The container image: built from ``deploy/docker/``, pushed to ECR, known by its content.

Stages: gather the build context in a temporary folder (Dockerfile, requirements, scripts, and the
runtime that is installed here as a wheel), take the digest of its content as the tag, stop if that
tag is in ECR already, otherwise build with the container tool at hand and push.

The runtime in the image is the one that deploys: a wheel made from the installed package, so that
no index is asked for a name that somebody else could own.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from batcat_runtime.config import Config, find_project, get_config
from batcat_runtime.deploy.naming import Names
from batcat_runtime.deploy.roles import tag_list
from batcat_runtime.deploy.session import session_for
from batcat_runtime.deploy.stack import deploy_stack
from batcat_runtime.errors import ImageError

SCRIPT_FOLDER = "/opt/batcat/script"
_TOOLS = ("docker", "podman", "buildah")
_EPOCH = (1980, 1, 1, 0, 0, 0)
_NOT_IN_IMAGE = {"__pycache__", "_template"}


def setup_image(
    config: Config | None = None,
    *,
    project_folder: Path | None = None,
    progress: Callable[[str], None] = print,
) -> str:
    """Build the project's image and push it to ECR, unless this very image is there already.

    Parameters
    ----------
    config : Config, optional
        By default that of the project around the working directory.
    project_folder : Path, optional
        Likewise.
    progress : callable
        Called with one line at each stage.

    Returns
    -------
    str
        The image's address with its digest, ``<registry>/<repository>@sha256:...``.

    Raises
    ------
    ImageError
        There is no container tool, or it could not build or push.
    """
    folder = project_folder or find_project()
    config = config or get_config(folder)
    session = session_for(config.region)
    names = Names.of(config, next(iter(config.purposes)))
    change = deploy_stack(
        session.client("cloudformation"),
        names.project_stack,
        project_template(config, names),
        tags=tag_list(config),
        progress=progress,
    )
    progress(f"stack {change.stack}: {change.outcome}")
    ecr = session.client("ecr")
    with tempfile.TemporaryDirectory(prefix="batcat-image-") as temporary:
        context = Path(temporary)
        tag = gather_context(folder, context)
        found = find_image(ecr, names.repository, tag)
        if found:
            progress(f"image {tag}: already in ECR")
            return found
        tool = _container_tool()
        repository = _repository(ecr, names.repository)
        address = f"{repository['repositoryUri']}:{tag}"
        progress(f"image {tag}: building with {Path(tool).name}")
        _run([tool, "build", "--platform", "linux/amd64", "--tag", address, str(context)])
        _login(tool, ecr, repository["repositoryUri"].split("/")[0])
        progress(f"image {tag}: pushing to {repository['repositoryUri']}")
        _run([tool, "push", address])
    pushed = find_image(ecr, names.repository, tag)
    if pushed is None:
        raise ImageError(
            f"{Path(tool).name} pushed {address}, but ECR does not have it.",
            fix="Look at the output above, and try again.",
        )
    progress(f"image {tag}: pushed")
    return pushed


def pinned_image(config: Config, project_folder: Path | None = None) -> str:
    """Return the address, with digest, of the image that the project's present content makes.

    Raises
    ------
    ImageError
        It was not pushed yet.
    """
    names = Names.of(config, next(iter(config.purposes)))
    with tempfile.TemporaryDirectory(prefix="batcat-image-") as temporary:
        tag = gather_context(project_folder or find_project(), Path(temporary))
    found = find_image(session_for(config.region).client("ecr"), names.repository, tag)
    if found is None:
        raise ImageError(
            f"ECR has no image {names.repository}:{tag} for the project as it is now.",
            fix="Run `bash deploy/setup_docker.sh` first; it builds and pushes it.",
        )
    return found


def project_template(config: Config, names: Names) -> dict[str, Any]:
    """Return the stack that all purposes share: the ECR repository."""
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"BatCat project {names.project}: the image repository",
        "Resources": {
            "Repository": {
                "Type": "AWS::ECR::Repository",
                "Properties": {
                    "RepositoryName": names.repository,
                    # Images can be built again from the project; a full repository blocks `delete`.
                    "EmptyOnDelete": True,
                    "ImageScanningConfiguration": {"ScanOnPush": True},
                    "ImageTagMutability": "IMMUTABLE",
                    "LifecyclePolicy": {"LifecyclePolicyText": _LIFECYCLE},
                    "Tags": tag_list(config),
                },
            }
        },
    }


_LIFECYCLE = (
    '{"rules":[{"rulePriority":1,"description":"Keep the newest 20 images",'
    '"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":20},'
    '"action":{"type":"expire"}}]}'
)


def gather_context(folder: Path, context: Path) -> str:
    """Fill the build context and return its content's digest, the image's tag (16 hex digits).

    Parameters
    ----------
    folder : Path
        The project.
    context : Path
        An empty folder.
    """
    docker = folder / "deploy" / "docker"
    for name in ("Dockerfile", "requirements.txt"):
        if not (docker / name).is_file():
            raise ImageError(
                f"There is no {docker / name}.", fix="Restore it from git or from the template."
            )
        shutil.copyfile(docker / name, context / name)
    shutil.copytree(
        folder / "script",
        context / "script",
        ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".*"),
    )
    write_wheel(context / "wheels")
    digest = hashlib.sha256()
    for path in sorted(path for path in context.rglob("*") if path.is_file()):
        digest.update(path.relative_to(context).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


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


def find_image(ecr: Any, repository: str, tag: str) -> str | None:
    """Return the address with digest of a tag in ECR, or None when it is not there."""
    try:
        image = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])
    except (ecr.exceptions.ImageNotFoundException, ecr.exceptions.RepositoryNotFoundException):
        return None
    uri = _repository(ecr, repository)["repositoryUri"]
    return f"{uri}@{image['imageDetails'][0]['imageDigest']}"


def _repository(ecr: Any, name: str) -> dict[str, str]:
    found: dict[str, str] = ecr.describe_repositories(repositoryNames=[name])["repositories"][0]
    return found


def _package_files() -> Iterator[tuple[str, bytes]]:
    package = Path(__file__).resolve().parents[1]
    for path in sorted(package.rglob("*")):
        inside = path.relative_to(package)
        if path.is_file() and not _NOT_IN_IMAGE & set(inside.parts):
            yield f"{package.name}/{inside.as_posix()}", path.read_bytes()


def _record_hash(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"sha256={digest}"


def _container_tool() -> str:
    for name in _TOOLS:
        path = shutil.which(name)
        if path:
            return path
    raise ImageError(
        f"No container tool is here: none of {', '.join(_TOOLS)} is on the PATH.",
        fix="Install Docker or Podman. A rehearsal needs none: `batcat rehearse`.",
    )


def _login(tool: str, ecr: Any, registry: str) -> None:
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    user, _, password = base64.b64decode(token).decode().partition(":")
    _run([tool, "login", "--username", user, "--password-stdin", registry], text=password)


def _run(command: list[str], text: str | None = None) -> None:
    done = subprocess.run(command, input=text, text=True, check=False)
    if done.returncode != 0:
        raise ImageError(
            f"`{Path(command[0]).name} {command[1]}` failed with exit code {done.returncode}.",
            fix="Its own message stands above.",
        )


if __name__ == "__main__":
    from batcat_runtime.deploy.command import run_as_script

    sys.exit(run_as_script(setup_image))
