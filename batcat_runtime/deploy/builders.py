"""Who builds the image: docker, podman or buildah on this machine, or CodeBuild in the account.

The first tool that is there is taken; with none, AWS CodeBuild builds. The environment variable
``BATCAT_IMAGE_BUILDER`` chooses another one. ``deploy/builder.yaml`` is a stack of its own, which
comes with the first build by CodeBuild. Such a build is four steps: put the context, zipped, into
the result bucket; start the build; follow it, printing its log; take the context away again.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batcat_runtime.config import Config
from batcat_runtime.deploy.cloudformation import deploy_part, zipped
from batcat_runtime.deploy.parameters import parameters_of
from batcat_runtime.deploy.stack import wait_until
from batcat_runtime.errors import ImageError, UserError
from batcat_runtime.io import clients
from batcat_runtime.log import report
from batcat_runtime.names import Names

TOOLS = ("docker", "podman", "buildah")
VARIABLE = "BATCAT_IMAGE_BUILDER"
CODEBUILD = "codebuild"


def choose_builder(config: Config) -> ContainerTool | CodeBuild:
    """Return the builder that is there, or that ``BATCAT_IMAGE_BUILDER`` names."""
    path = container_tool()
    if path is None:
        return CodeBuild(config)
    return ContainerTool(Path(path).stem, path, clients.client("ecr", region=config.region))


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


@dataclass(frozen=True)
class CodeBuild:
    """AWS CodeBuild as the builder, for machines without a container tool.

    Attributes
    ----------
    config : Config
        The project.
    """

    config: Config
    name: str = "AWS CodeBuild"

    def build_and_push(self, context: Path, repository: str, tag: str) -> None:
        """Have the context built and pushed in the account, and wait for it."""
        config, purpose = self.config, next(iter(self.config.purposes))
        if config.build_role is None and config.workflow_execution_role is not None:
            raise UserError(
                "No container tool is here, and script/config.json names no `build_role`, which "
                "AWS CodeBuild would need: with `workflow_execution_role` given, no role is made.",
                fix="Install Docker or Podman; or have a role made from the BuildRole in "
                "deploy/builder.yaml, and put its ARN into `build_role`.",
            )
        names, bucket = Names.of(config, purpose), config.result_s3_bucket
        deploy_part(config, "builder", parameters_of(config, purpose))
        # A key of its own: whoever builds the same content meanwhile takes only theirs away.
        key = f"{names.build_prefix}/context/{tag}-{uuid.uuid4().hex[:8]}.zip"
        s3 = clients.client("s3", region=config.region)
        s3.put_object(Bucket=bucket, Key=key, Body=zipped(context))
        try:
            self._build(names.builder, f"{bucket}/{key}", repository, tag)
        finally:
            s3.delete_object(Bucket=bucket, Key=key)

    def _build(self, project: str, source: str, repository: str, tag: str) -> None:
        codebuild = clients.client("codebuild", region=self.config.region)
        given = {"REPOSITORY": repository, "TAG": tag}
        started = codebuild.start_build(
            projectName=project,
            sourceTypeOverride="S3",
            sourceLocationOverride=source,
            environmentVariablesOverride=[
                {"name": name, "value": text, "type": "PLAINTEXT"} for name, text in given.items()
            ],
        )["build"]["id"]
        report(f"image {tag}: {started}")
        next_page: dict[str, str] = {}

        def look() -> dict[str, Any]:
            found: dict[str, Any] = codebuild.batch_get_builds(ids=[started])["builds"][0]
            self._show_log(found.get("logs", {}), next_page)
            return found

        build = wait_until(look, lambda found: bool(found["buildComplete"]))
        if build["buildStatus"] != "SUCCEEDED":
            raise ImageError(
                f"The build {started} ended {build['buildStatus']}: {_reason(build)}",
                fix="Its last lines stand above; the whole log is in CodeBuild's console.",
            )

    def _show_log(self, place: dict[str, Any], next_page: dict[str, str]) -> None:
        """Show what a build has written since the last time, at most 1 MB."""
        logs = clients.client("logs", region=self.config.region)
        stream = (place.get("groupName"), place.get("streamName"))
        if not all(stream):
            return
        with contextlib.suppress(logs.exceptions.ResourceNotFoundException):
            page = logs.get_log_events(
                logGroupName=stream[0], logStreamName=stream[1], startFromHead=True, **next_page
            )
            next_page["nextToken"] = page["nextForwardToken"]
            for event in page["events"]:
                report(f"  | {event['message'].rstrip()}")


def _reason(build: dict[str, Any]) -> str:
    failed = [phase for phase in build.get("phases", []) if phase.get("phaseStatus") == "FAILED"]
    contexts = [context for phase in failed for context in phase.get("contexts", [])]
    text = "; ".join(context.get("message", "") for context in contexts).strip()
    phase = failed[0]["phaseType"] if failed else build.get("currentPhase", "")
    return f"{phase}: {text}" if text else phase


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
