"""AWS CodeBuild as the image's builder, for a machine without a container tool.

``deploy/builder.yaml`` is a stack of its own, which comes with the first such build. A build is
four steps: put the context, zipped, into the result bucket; start the build; follow it, printing
its log; take the context away again.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batcat_runtime.config import Config
from batcat_runtime.deploy.artifacts import zipped
from batcat_runtime.deploy.cloudformation import deploy_part
from batcat_runtime.deploy.parameters import parameters_of
from batcat_runtime.deploy.stack import wait_until
from batcat_runtime.errors import ImageError, UserError
from batcat_runtime.log import report
from batcat_runtime.names import Names


@dataclass(frozen=True)
class CodeBuild:
    """The builder for machines without a container tool.

    Attributes
    ----------
    config : Config
        The project.
    session : boto3.Session
        For its region.
    """

    config: Config
    session: Any
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
        s3 = self.session.client("s3")
        s3.put_object(Bucket=bucket, Key=key, Body=zipped(context))
        try:
            self._build(names.builder, f"{bucket}/{key}", repository, tag)
        finally:
            s3.delete_object(Bucket=bucket, Key=key)

    def _build(self, project: str, source: str, repository: str, tag: str) -> None:
        client, log = self.session.client("codebuild"), _Log(self.session.client("logs"))
        started = client.start_build(
            projectName=project,
            sourceTypeOverride="S3",
            sourceLocationOverride=source,
            environmentVariablesOverride=[
                {"name": "REPOSITORY", "value": repository, "type": "PLAINTEXT"},
                {"name": "TAG", "value": tag, "type": "PLAINTEXT"},
            ],
        )["build"]["id"]
        report(f"image {tag}: {started}")

        def look() -> dict[str, Any]:
            found: dict[str, Any] = client.batch_get_builds(ids=[started])["builds"][0]
            for line in log.new_lines(found.get("logs", {})):
                report(f"  | {line.rstrip()}")
            return found

        build = wait_until(look, lambda found: bool(found["buildComplete"]))
        if build["buildStatus"] != "SUCCEEDED":
            raise ImageError(
                f"The build {started} ended {build['buildStatus']}: {_reason(build)}",
                fix="Its last lines stand above; the whole log is in CodeBuild's console.",
            )


class _Log:
    """A build's log, read as it grows."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._token: str | None = None

    def new_lines(self, place: dict[str, Any]) -> list[str]:
        if not place.get("groupName") or not place.get("streamName"):
            return []
        lines: list[str] = []
        while True:
            try:
                page = self._client.get_log_events(
                    logGroupName=place["groupName"],
                    logStreamName=place["streamName"],
                    startFromHead=True,
                    **({"nextToken": self._token} if self._token else {}),
                )
            except self._client.exceptions.ResourceNotFoundException:
                return lines
            lines += [event["message"] for event in page["events"]]
            if page["nextForwardToken"] == self._token:
                return lines
            self._token = page["nextForwardToken"]


def _reason(build: dict[str, Any]) -> str:
    failed = [phase for phase in build.get("phases", []) if phase.get("phaseStatus") == "FAILED"]
    contexts = [context for phase in failed for context in phase.get("contexts", [])]
    text = "; ".join(context.get("message", "") for context in contexts).strip()
    phase = failed[0]["phaseType"] if failed else build.get("currentPhase", "")
    return f"{phase}: {text}" if text else phase
