"""A whole deployment: image, roles, workflow and trigger of every purpose, in one process.

`deployment` is the order; `deploy` runs through it and sums it up, `batcat plan` runs through it
with nothing executed. What users edit is what it reads: the CloudFormation in ``deploy/``, the
Dockerfile, the function, and ``author`` in ``deploy/setup_stepfunctions.py``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from batcat_runtime.account import check_bucket
from batcat_runtime.config import Config, find_project, get_config
from batcat_runtime.deploy.cloudformation import check_python
from batcat_runtime.deploy.image import Image, build_image, deploy_repository
from batcat_runtime.deploy.limits import check_limits
from batcat_runtime.deploy.stack import StackChange
from batcat_runtime.deploy.trigger import HANDLER_FILE, setup_trigger
from batcat_runtime.deploy.workflow import author_of, authored, deploy_workflow
from batcat_runtime.errors import BatcatError, NoSuchBucketError


@dataclass(frozen=True)
class Deployed:
    """What a deployment did.

    Attributes
    ----------
    stacks : tuple of StackChange
        In their order.
    image : Image
        The image that the workflows run.
    """

    stacks: tuple[StackChange, ...]
    image: Image

    @property
    def changed(self) -> bool:
        """Whether anything is not as it was."""
        return bool(self.image.builder) or any(one.outcome != "unchanged" for one in self.stacks)

    def __str__(self) -> str:
        if not self.changed:
            return "Nothing has changed: everything was deployed as it is."
        done = [f"{one.stack} {one.outcome}" for one in self.stacks]
        if self.image.builder:
            done.insert(0, f"image {self.image.tag} pushed")
        return "Deployed: " + ", ".join(done) + "."


def deploy(folder: str | Path | None = None, *, create_bucket: bool = False) -> Deployed:
    """Deploy the project at or above a folder, with the credentials in use.

    Parameters
    ----------
    folder : path, optional
        By default the working directory.
    create_bucket : bool
        Make the result bucket if it does not exist.

    Returns
    -------
    Deployed
        What it did to each stack.

    Raises
    ------
    ConfigError
        There is no project, or its configuration is wrong; nothing was done.
    NoSuchBucketError, BucketOwnerError, BucketRegionError
        The result bucket is missing, not ours or elsewhere; nothing was done.
    StackError
        The deployment failed; the message tells the resource, why, and what was undone.
    WaitInterruptedError
        Ctrl-C, or lost credentials, while CloudFormation was at work: it goes on.

    Examples
    --------
    >>> bc.deploy("project_battery")  # doctest: +SKIP
    """
    config = get_config(find_project(folder))
    done: list[StackChange | Image] = []
    try:
        for part in deployment(config, create_bucket=create_bucket):
            done.append(part)
    except BatcatError as error:
        changed = [
            f"{one.stack} ({one.outcome})"
            for one in done
            if isinstance(one, StackChange) and one.outcome != "unchanged"
        ]
        if changed:
            error.message += f"\n  Deployed before that, and left in place: {', '.join(changed)}."
        raise
    return Deployed(
        stacks=tuple(one for one in done if isinstance(one, StackChange)),
        image=next(one for one in done if isinstance(one, Image)),
    )


def run_as_script(action: Callable[[], Any]) -> int:
    """Run one of the project's deploy scripts; return its exit code.

    2 is the user's mistake, 130 an interruption, 1 anything else. An error is one message without a
    traceback; ``BATCAT_DEBUG=1`` shows the traceback.
    """
    try:
        action()
    except (BatcatError, BotoCoreError, ClientError, KeyboardInterrupt) as error:
        if os.environ.get("BATCAT_DEBUG"):
            raise
        stopped = isinstance(error, KeyboardInterrupt)
        said = (
            "Stopped.\n  Fix: Deploy again: what has not changed is skipped." if stopped else error
        )
        print(f"Error: {said}", file=sys.stderr)
        return 130 if stopped else getattr(error, "exit_code", 1)
    return 0


def deployment(
    config: Config, *, planned: bool = False, create_bucket: bool = False
) -> Iterator[StackChange | Image]:
    """Deploy a project part by part, and yield each when it is done.

    All that can be found wrong without AWS is looked at first, so that nothing is changed when it
    cannot end well: the configuration's limits, the bucket, the function, the definitions.

    Parameters
    ----------
    config : Config
        The project.
    planned : bool
        Execute nothing: find out what would change.
    create_bucket : bool
        Make the result bucket if it does not exist.
    """
    check_limits(config)
    missing = False
    try:
        check_bucket(config)
    except NoSuchBucketError:
        if not create_bucket:
            raise
        missing = True
    check_python(config.folder / HANDLER_FILE)
    author = author_of(config)
    definitions = {purpose: authored(config, purpose, author) for purpose in config.purposes}
    yield deploy_repository(config, planned=planned, create_bucket=missing)
    image = build_image(config, planned=planned)
    yield image
    for purpose, definition in definitions.items():
        yield from deploy_workflow(config, purpose, definition, image.uri, planned=planned)
        yield setup_trigger(config, purpose, planned=planned)
