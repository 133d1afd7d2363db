"""Which image a purpose runs: pinned by digest, and left alone while nothing of it has changed.

All purposes of a project share one image, since it holds all scripts. But a change in one purpose
must not touch the workflow of another. So every workflow says what its purpose's code is
(`code_sha256`: the Dockerfile, the requirements, the runtime and all scripts, but for those that
only other purposes run). A purpose whose code is what its deployed workflow says keeps the image
that it has; a changed one gets the newest.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batcat_runtime.config import CONFIG_PATH, Config, find_project
from batcat_runtime.deploy.context import gather_context
from batcat_runtime.deploy.image import pinned_image, scripts_of
from batcat_runtime.deploy.naming import Names
from batcat_runtime.deploy.session import session_for

# ECR keeps the newest 20. A workflow must not hang on to one that is about to go.
_NEW_ENOUGH = 10


@dataclass(frozen=True)
class PinnedImage:
    """An image by its digest, and the code of a purpose that it holds.

    Attributes
    ----------
    uri : str
        ``<registry>/<repository>@sha256:...``.
    code_sha256 : str
        Hex digest of what the purpose runs; empty when it is not known.
    """

    uri: str
    code_sha256: str


def image_for(config: Config, purpose: str, project_folder: Path | None = None) -> PinnedImage:
    """Return the image that a purpose runs.

    Raises
    ------
    ImageError
        The image of the present content was not pushed yet.
    """
    folder = project_folder or find_project()
    present = pinned_image(config, folder)
    code = code_sha256(config, purpose, folder)
    session = session_for(config.region)
    deployed = _deployed_image(session, Names.of(config, purpose), code)
    if deployed and _is_new_enough(session.client("ecr"), Names.of(config, purpose), deployed):
        return PinnedImage(deployed, code)
    return PinnedImage(present, code)


def code_sha256(config: Config, purpose: str, folder: Path) -> str:
    """Return the hex digest of everything in the image that a purpose may use."""
    mine = {step.script for step in config.purposes[purpose].steps}
    others = {f"script/{name}" for name in set(scripts_of(config)) - mine}
    digest = hashlib.sha256(config.sha256_of(purpose).encode())
    with tempfile.TemporaryDirectory(prefix="batcat-code-") as temporary:
        context = Path(temporary)
        gather_context(folder, context, scripts_of(config))
        for path in sorted(path for path in context.rglob("*") if path.is_file()):
            name = path.relative_to(context).as_posix()
            if name not in others and name != CONFIG_PATH.as_posix():
                digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _deployed_image(session: Any, names: Names, code: str) -> str:
    """Return the image of the deployed workflow if it is of this very code, else ``""``."""
    from botocore.exceptions import ClientError

    try:
        stack = session.client("cloudformation").describe_stacks(StackName=names.workflow_stack)
        outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Stacks"][0]["Outputs"]}
        machine = session.client("stepfunctions").describe_state_machine(
            stateMachineArn=outputs["StateMachineArn"]
        )
    except (ClientError, KeyError) as error:
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else "KeyError"
        if code in {"KeyError", "ValidationError", "StateMachineDoesNotExist"}:
            return ""  # never deployed, or half: there is nothing to keep
        raise
    return next(_images_of(json.loads(machine["definition"]), code), "")


def _images_of(node: Any, code: str) -> Any:
    """Yield the image of every job in a definition that runs this code."""
    if isinstance(node, dict):
        environment = node.get("Environment")
        if isinstance(environment, dict) and environment.get("BATCAT_CODE_SHA256") == code:
            yield str(environment["BATCAT_IMAGE"])
        for item in node.values():
            yield from _images_of(item, code)
    elif isinstance(node, list):
        for item in node:
            yield from _images_of(item, code)


def _is_new_enough(ecr: Any, names: Names, uri: str) -> bool:
    pages = ecr.get_paginator("describe_images").paginate(repositoryName=names.repository)
    try:
        images = [image for page in pages for image in page["imageDetails"]]
    except ecr.exceptions.RepositoryNotFoundException:
        return False  # in a plan: the deployment makes it anew
    images.sort(key=lambda image: image["imagePushedAt"], reverse=True)
    newest = [image["imageDigest"] for image in images[:_NEW_ENOUGH]]
    return uri.rpartition("@")[2] in newest
