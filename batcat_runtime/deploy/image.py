"""The container image: built from ``deploy/docker/``, pushed to ECR, known by its content.

Stages: gather the build context in a temporary folder (`context`), take the digest of its content
as the tag, stop if that tag is in ECR already, otherwise have it built and pushed (`builders`).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from batcat_runtime.config import Config, find_project, get_config
from batcat_runtime.deploy import planning
from batcat_runtime.deploy.bucket import check_bucket
from batcat_runtime.deploy.builders import choose_builder
from batcat_runtime.deploy.context import gather_context
from batcat_runtime.deploy.naming import Names
from batcat_runtime.deploy.roles import tag_list
from batcat_runtime.deploy.session import session_for
from batcat_runtime.deploy.stack import deploy_stack
from batcat_runtime.errors import ImageError

SCRIPT_FOLDER = "/opt/batcat/script"


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
        A file of the image is missing, or it could not be built or pushed.
    NoSuchBucketError, BucketOwnerError, BucketRegionError
        The result bucket is not there, not ours or elsewhere; nothing was changed.
    """
    folder = project_folder or find_project()
    config = config or get_config(folder)
    session = session_for(config.region)
    # The first that a deployment does, so that nothing is changed when it cannot end well.
    check_bucket(config)
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
        tag = gather_context(folder, context, scripts_of(config))
        found = find_image(ecr, names.repository, tag)
        if found:
            progress(f"image {tag}: already in ECR")
            return found
        builder = choose_builder(config, session, progress)
        if planning.is_planning():
            builder.plan()
            planning.note("image", tag=tag, repository=names.repository, builder=builder.name)
            return _address_to_be(ecr, names.repository, tag)
        repository = _repository(ecr, names.repository)["repositoryUri"]
        progress(f"image {tag}: building with {builder.name}")
        try:
            builder.build_and_push(context, repository, tag)
        except ImageError:
            # Tags are immutable: if somebody else pushed the same content meanwhile, all is well.
            if find_image(ecr, names.repository, tag) is None:
                raise
    pushed = find_image(ecr, names.repository, tag)
    if pushed is None:
        raise ImageError(
            f"{builder.name} pushed {repository}:{tag}, but ECR does not have it.",
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
        folder = project_folder or find_project()
        tag = gather_context(folder, Path(temporary), scripts_of(config))
    found = find_image(session_for(config.region).client("ecr"), names.repository, tag)
    if found is None and planning.is_planning():
        return _address_to_be(session_for(config.region).client("ecr"), names.repository, tag)
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


def scripts_of(config: Config) -> list[str]:
    """Return the file names of the scripts that a project's steps run, each once."""
    return sorted({step.script for purpose in config.purposes.values() for step in purpose.steps})


def find_image(ecr: Any, repository: str, tag: str) -> str | None:
    """Return the address with digest of a tag in ECR, or None when it is not there."""
    try:
        image = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])
    except (ecr.exceptions.ImageNotFoundException, ecr.exceptions.RepositoryNotFoundException):
        return None
    uri = _repository(ecr, repository)["repositoryUri"]
    return f"{uri}@{image['imageDetails'][0]['imageDigest']}"


def _address_to_be(ecr: Any, repository: str, tag: str) -> str:
    """Return what stands in a plan for the address of an image that is still to be built."""
    try:
        uri = _repository(ecr, repository)["repositoryUri"]
    except ecr.exceptions.RepositoryNotFoundException:
        uri = repository
    return f"{uri}@sha256:(known once the image {tag} is built)"


def _repository(ecr: Any, name: str) -> dict[str, str]:
    found: dict[str, str] = ecr.describe_repositories(repositoryNames=[name])["repositories"][0]
    return found


if __name__ == "__main__":
    from batcat_runtime.deploy.command import run_as_script

    sys.exit(run_as_script(setup_image))
