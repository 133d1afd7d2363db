"""The container image: built from ``deploy/docker/``, pushed to ECR, known by its content.

Stages: gather the build context (`context`), take the digest of its content as the tag, stop if
that tag is in ECR already, otherwise have it built and pushed (`builders`).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batcat_runtime.account import check_bucket
from batcat_runtime.config import Config, get_config
from batcat_runtime.deploy.builders import choose_builder
from batcat_runtime.deploy.cloudformation import deploy_part, deployed_stack
from batcat_runtime.deploy.context import context_of, tag_of, write_context
from batcat_runtime.deploy.parameters import parameters_of
from batcat_runtime.deploy.stack import StackChange
from batcat_runtime.errors import ImageError
from batcat_runtime.io import clients
from batcat_runtime.log import report
from batcat_runtime.names import Names

_NEW_ENOUGH = 10


@dataclass(frozen=True)
class Image:
    """The image of the project's present content.

    Attributes
    ----------
    repository, tag : str
        Where it is in ECR.
    uri : str
        Its address with its digest, ``<registry>/<repository>@sha256:...``; one that says that it
        is still to be built, in a plan.
    builder : str
        Who has built it, or would; empty when it was there already.
    """

    repository: str
    tag: str
    uri: str
    builder: str = ""


def setup_image(config: Config | None = None) -> str:
    """Build the project's image and push it to ECR, unless this very image is there already.

    Parameters
    ----------
    config : Config, optional
        By default that of the project around the working directory.

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
    config = config or get_config()
    check_bucket(config)
    deploy_repository(config)
    return build_image(config).uri


def deploy_repository(
    config: Config, *, planned: bool = False, create_bucket: bool = False
) -> StackChange:
    """Deploy the stack that all purposes share; a bucket that it made once stays in it."""
    parameters = parameters_of(config, next(iter(config.purposes)))
    if create_bucket:
        parameters["CreateBucket"] = "yes"
    return deploy_part(config, "project", parameters, planned=planned)


def build_image(config: Config, *, planned: bool = False) -> Image:
    """Build and push the image of the present content unless it is there; see `setup_image`."""
    names = Names.of(config, next(iter(config.purposes)))
    ecr, files = clients.client("ecr", region=config.region), context_of(config)
    tag = tag_of(files)
    found = find_image(ecr, names.repository, tag)
    if found:
        report(f"image {tag}: already in ECR")
        return Image(names.repository, tag, found)
    builder = choose_builder(config)
    if planned:
        uri = f"{names.repository}@sha256:(known once the image {tag} is built)"
        return Image(names.repository, tag, uri, builder.name)
    repository = _repository(ecr, names.repository)["repositoryUri"]
    report(f"image {tag}: building with {builder.name}")
    with tempfile.TemporaryDirectory(prefix="batcat-image-") as temporary:
        write_context(files, Path(temporary))
        try:
            builder.build_and_push(Path(temporary), repository, tag)
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
    report(f"image {tag}: pushed")
    return Image(names.repository, tag, pushed, builder.name)


def pinned_image(config: Config) -> str:
    """Return the address, with digest, of the image that the project's present content makes.

    Raises
    ------
    ImageError
        It was not pushed yet.
    """
    names, tag = Names.of(config, next(iter(config.purposes))), tag_of(context_of(config))
    found = find_image(clients.client("ecr", region=config.region), names.repository, tag)
    if found is None:
        raise ImageError(
            f"ECR has no image {names.repository}:{tag} for the project as it is now.",
            fix="Run `bash deploy/setup_docker.sh` first; it builds and pushes it.",
        )
    return found


def kept_image(config: Config, purpose: str, definition_key: str) -> str:
    """Return the image that a deployed workflow keeps, since nothing of its purpose has changed.

    All purposes share one image, which holds all scripts; a change in one purpose must not touch
    the workflow of another. ECR keeps the newest 20: one that is about to go is not kept.
    """
    names = Names.of(config, purpose)
    stack = deployed_stack(config, names.workflow_stack)
    present = {one["ParameterKey"]: one["ParameterValue"] for one in stack.get("Parameters", [])}
    if present.get("DefinitionKey") != definition_key:
        return ""
    pages = clients.client("ecr", region=config.region).get_paginator("describe_images")
    images = [
        image
        for page in pages.paginate(repositoryName=names.repository)
        for image in page["imageDetails"]
    ]
    images.sort(key=lambda image: image["imagePushedAt"], reverse=True)
    newest = {image["imageDigest"] for image in images[:_NEW_ENOUGH]}
    uri = present.get("ImageUri", "")
    return uri if uri.rpartition("@")[2] in newest else ""


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
