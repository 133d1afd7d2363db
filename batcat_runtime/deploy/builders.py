"""Who builds the image: docker, podman or buildah on this machine, or CodeBuild in the account.

The first tool that is there is taken; with none, AWS CodeBuild builds. The environment variable
``BATCAT_IMAGE_BUILDER`` chooses another one.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batcat_runtime.config import Config
from batcat_runtime.deploy.codebuild import CodeBuild
from batcat_runtime.errors import ImageError, UserError
from batcat_runtime.log import report

TOOLS = ("docker", "podman", "buildah")
VARIABLE = "BATCAT_IMAGE_BUILDER"
CODEBUILD = "codebuild"


def choose_builder(config: Config, session: Any) -> ContainerTool | CodeBuild:
    """Return the builder that is there, or that ``BATCAT_IMAGE_BUILDER`` names."""
    path = container_tool()
    if path is None:
        return CodeBuild(config, session)
    return ContainerTool(Path(path).stem, path, session.client("ecr"))


def container_tool() -> str | None:
    """Return the path of the tool that builds here; None: AWS CodeBuild does.

    Raises
    ------
    UserError
        ``BATCAT_IMAGE_BUILDER`` names no builder, or one that is not on the PATH.
    """
    wanted = os.environ.get(VARIABLE, "")
    tools = [] if wanted == CODEBUILD else [wanted] if wanted in TOOLS else TOOLS
    path = next(filter(None, map(shutil.which, tools)), None)
    if wanted not in ("", CODEBUILD) and (path is None or wanted not in TOOLS):
        what = "is not on the PATH" if wanted in TOOLS else "is no builder"
        raise UserError(
            f"{VARIABLE} is {wanted!r}, which {what}.",
            fix=f"unset {VARIABLE}, or set it to one of {', '.join((*TOOLS, CODEBUILD))}",
        )
    return path


@dataclass(frozen=True)
class ContainerTool:
    """A container tool on this machine.

    Attributes
    ----------
    name : {"docker", "podman", "buildah"}
        Which one.
    path : str
        Its executable.
    ecr : botocore client
        For ECR.
    """

    name: str
    path: str
    ecr: Any

    def build_and_push(self, context: Path, repository: str, tag: str) -> None:
        """Build for linux/amd64, also on Apple silicon, log in, and push."""
        address = f"{repository}:{tag}"
        # Podman and buildah write OCI manifests by default; Docker's are what all of AWS takes.
        form = [] if self.name == "docker" else ["--format", "docker"]
        self._run("build", "--platform", "linux/amd64", *form, "--tag", address, str(context))
        self._login(repository.split("/")[0])
        report(f"image {tag}: pushing to {repository}")
        self._run("push", *([] if self.name == "docker" else ["--format", "v2s2"]), address)

    def _login(self, registry: str) -> None:
        answer = self.ecr.get_authorization_token()
        token = answer["authorizationData"][0]["authorizationToken"]
        user, _, password = base64.b64decode(token).decode().partition(":")
        self._run("login", "--username", user, "--password-stdin", registry, text=password)

    def _run(self, *words: str, text: str | None = None) -> None:
        # An attestation would make a list of manifests, which SageMaker does not take. The flag
        # --provenance=false says the same, but Docker without buildx does not know it.
        environment = {**os.environ, "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
        last = ""

        def say(line: str) -> None:
            nonlocal last
            last = line
            report(f"  | {line}")

        code = run_command([self.path, *words], say, text=text or "", env=environment)
        if code != 0:
            raise ImageError(
                f"`{self.name} {words[0]}` failed with exit code {code}: {last}",
                fix="Mend what the lines above name, and deploy again.",
            )


def run_command(
    words: list[str],
    say: Callable[[str], None],
    *,
    text: str = "",
    env: Mapping[str, str],
    cwd: Path | None = None,
) -> int:
    """Run a command, telling its output line by line as it comes; return its exit code.

    Parameters
    ----------
    words : list of str
        The program and its arguments.
    say : callable
        Receives each line that is not empty, of both its outputs.
    text : str
        What it reads from its standard input.
    env : mapping of str to str
        Its whole environment.
    cwd : pathlib.Path, optional
        Where it runs; by default here.
    """
    with subprocess.Popen(
        words,
        cwd=cwd,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError), child.stdin as given:
                given.write(text)
            for line in filter(None, map(str.rstrip, child.stdout)):
                say(line)
        except BaseException:
            child.terminate()  # it must not go on without us
            raise
    return child.returncode
