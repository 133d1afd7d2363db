"""AWS CodeBuild as the image's builder, for a machine without a container tool.

A stack of its own holds the build project, its role and its log group; it comes into being with the
first such build. A build is four steps: put the context, zipped, into the result bucket; start the
build; follow it, printing its log; take the context away again.
"""

from __future__ import annotations

import io
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batcat_runtime.config import Config
from batcat_runtime.deploy.naming import Names, shorten, slug
from batcat_runtime.deploy.roles import boundary, tag_list, with_substitutions
from batcat_runtime.deploy.stack import deploy_stack
from batcat_runtime.errors import ImageError, UserError

# The standard image of CodeBuild, with docker and the AWS CLI; also in the China regions.
BUILD_IMAGE = "aws/codebuild/amazonlinux-x86_64-standard:5.0"
_MINUTES = 30
_BUILDSPEC = """\
version: 0.2
phases:
  pre_build:
    commands:
      - export REGISTRY="${REPOSITORY%%/*}"
      - aws ecr get-login-password | docker login --username AWS --password-stdin "$REGISTRY"
  build:
    commands:
      - docker build --platform linux/amd64 --tag "$REPOSITORY:$TAG" .
  post_build:
    commands:
      - docker push "$REPOSITORY:$TAG"
"""


@dataclass(frozen=True)
class CodeBuild:
    """The builder for machines without a container tool.

    Attributes
    ----------
    config : Config
        The project.
    session : boto3.Session
        For its region.
    progress : callable
        Called with one line at each stage, and with each line of the build's log.
    sleep : callable
        Waits, in seconds.
    """

    config: Config
    session: Any
    progress: Callable[[str], None]
    sleep: Callable[[float], None] = field(default=time.sleep)
    name: str = "AWS CodeBuild"

    def build_and_push(self, context: Path, repository: str, tag: str) -> None:
        """Have the context built and pushed in the account, and wait for it."""
        self._deploy()
        names = Names.of(self.config, next(iter(self.config.purposes)))
        # A key of its own: whoever builds the same content meanwhile takes only theirs away.
        key = f"{source_prefix(names)}{tag}-{uuid.uuid4().hex[:8]}.zip"
        bucket = self.config.result_s3_bucket
        s3 = self.session.client("s3")
        s3.upload_fileobj(_zipped(context), bucket, key)
        try:
            self._build(builder_project(names), f"{bucket}/{key}", repository, tag)
        finally:
            s3.delete_object(Bucket=bucket, Key=key)

    def plan(self) -> None:
        """Add the stack of the build project to the plan."""
        self._deploy()

    def _deploy(self) -> None:
        """Deploy the stack of the build project, or plan it."""
        _check_role(self.config)
        names = Names.of(self.config, next(iter(self.config.purposes)))
        change = deploy_stack(
            self.session.client("cloudformation"),
            builder_stack(names),
            builder_template(self.config, names),
            tags=tag_list(self.config),
            progress=self.progress,
        )
        self.progress(f"stack {change.stack}: {change.outcome}")

    def _build(self, project: str, source: str, repository: str, tag: str) -> None:
        client = self.session.client("codebuild")
        started = client.start_build(
            projectName=project,
            sourceTypeOverride="S3",
            sourceLocationOverride=source,
            environmentVariablesOverride=[
                {"name": "REPOSITORY", "value": repository, "type": "PLAINTEXT"},
                {"name": "TAG", "value": tag, "type": "PLAINTEXT"},
            ],
        )["build"]["id"]
        self.progress(f"image {tag}: {started}")
        lines = _LogTail(self.session.client("logs"), self.progress)
        pause = 0.2
        while True:
            build = client.batch_get_builds(ids=[started])["builds"][0]
            lines.show(build.get("logs", {}))
            if build["buildComplete"]:
                break
            self.sleep(pause)
            pause = min(pause * 1.5, 5.0)
        if build["buildStatus"] != "SUCCEEDED":
            raise ImageError(
                f"The build {started} ended {build['buildStatus']}: {_reason(build)}",
                fix="Its last lines stand above; the whole log is in CodeBuild's console.",
            )


def builder_stack(names: Names) -> str:
    """Return the name of the stack that holds the build project."""
    return shorten(f"batcat-{slug(names.project)}-builder", 128)


def builder_project(names: Names) -> str:
    """Return the name of the CodeBuild project: at most 150 characters, by IAM's role name 64."""
    return shorten(f"{slug(names.project)}-image", 64)


def build_role_name(names: Names) -> str:
    """Return the name of the role that CodeBuild works with: at most 64 characters."""
    return shorten(f"{builder_project(names)}-build-{names.region}", 64)


def builder_template(config: Config, names: Names) -> dict[str, Any]:
    """Return the stack of the build project, with its role and its log group."""
    project = builder_project(names)
    log_group = f"/aws/codebuild/{project}"
    given = config.build_role
    resources: dict[str, Any] = {
        "BuildLogs": {
            "Type": "AWS::Logs::LogGroup",
            "Properties": {"LogGroupName": log_group, "RetentionInDays": 30},
        },
        "Build": {
            "Type": "AWS::CodeBuild::Project",
            "Properties": {
                "Name": project,
                "Description": f"BatCat project {names.project}: builds the job image",
                "Artifacts": {"Type": "NO_ARTIFACTS"},
                "Environment": {
                    "Type": "LINUX_CONTAINER",
                    "ComputeType": "BUILD_GENERAL1_SMALL",
                    "Image": BUILD_IMAGE,
                    # docker build needs it
                    "PrivilegedMode": True,
                },
                "LogsConfig": {
                    "CloudWatchLogs": {"Status": "ENABLED", "GroupName": {"Ref": "BuildLogs"}}
                },
                "ServiceRole": given or {"Fn::GetAtt": ["BuildRole", "Arn"]},
                "Source": {"Type": "NO_SOURCE", "BuildSpec": _BUILDSPEC},
                "TimeoutInMinutes": _MINUTES,
                "Tags": tag_list(config),
            },
        },
    }
    if not given:
        resources["BuildRole"] = _build_role(config, names)
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"BatCat project {names.project}: builds the job image without a laptop",
        "Resources": resources,
    }


def _build_role(config: Config, names: Names) -> dict[str, Any]:
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            **boundary(config),
            "RoleName": build_role_name(names),
            "Description": f"BatCat: builds the image of {names.project}",
            "AssumeRolePolicyDocument": with_substitutions(build_trust()),
            "Policies": [
                {
                    "PolicyName": "build",
                    "PolicyDocument": with_substitutions(build_policy(config, names)),
                }
            ],
            "Tags": tag_list(config),
        },
    }


def build_trust(account: str = "${AWS::AccountId}") -> dict[str, Any]:
    """Return who may assume the build role: CodeBuild, on behalf of this account only."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "codebuild.amazonaws.com"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"aws:SourceAccount": account}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def build_policy(
    config: Config, names: Names, account: str = "${AWS::AccountId}"
) -> dict[str, Any]:
    """Return what the build role may do: read the context, write its log, push the image."""
    logs = names.arn("logs", f"log-group:/aws/codebuild/{builder_project(names)}", account)
    source = f"{config.result_s3_bucket}/{source_prefix(names)}*"
    statements = [
        {
            "Sid": "ReadTheContext",
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:GetObjectVersion"],
            "Resource": f"arn:{names.partition}:s3:::{source}",
        },
        {
            "Sid": "Log",
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": [logs, f"{logs}:*"],
        },
        {
            "Sid": "RegistryLoginsHaveNoResources",
            "Effect": "Allow",
            "Action": "ecr:GetAuthorizationToken",
            "Resource": "*",
        },
        {
            "Sid": "PushTheImage",
            "Effect": "Allow",
            "Action": [
                "ecr:BatchCheckLayerAvailability",
                "ecr:BatchGetImage",
                "ecr:CompleteLayerUpload",
                "ecr:InitiateLayerUpload",
                "ecr:PutImage",
                "ecr:UploadLayerPart",
            ],
            "Resource": names.arn("ecr", f"repository/{names.repository}", account),
        },
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def source_prefix(names: Names) -> str:
    """Return the start of the keys under which build contexts lie in the result bucket."""
    return f"{slug(names.project)}/_build/"


def _zipped(context: Path) -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in context.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(context).as_posix())
    buffer.seek(0)
    return buffer


def _reason(build: dict[str, Any]) -> str:
    failed = [phase for phase in build.get("phases", []) if phase.get("phaseStatus") == "FAILED"]
    contexts = [context for phase in failed for context in phase.get("contexts", [])]
    text = "; ".join(context.get("message", "") for context in contexts).strip()
    phase = failed[0]["phaseType"] if failed else build.get("currentPhase", "")
    return f"{phase}: {text}" if text else phase


class _LogTail:
    """Prints a build's log as it grows."""

    def __init__(self, client: Any, show: Callable[[str], None]) -> None:
        self._client = client
        self._show = show
        self._token: str | None = None

    def show(self, logs: dict[str, Any]) -> None:
        """Print what is new."""
        for message in self._new(logs.get("groupName"), logs.get("streamName")):
            self._show(f"  | {message.rstrip()}")

    def _new(self, group: str | None, stream: str | None) -> Iterator[str]:
        if not group or not stream:
            return
        place = {"logGroupName": group, "logStreamName": stream, "startFromHead": True}
        while True:
            token = {"nextToken": self._token} if self._token else {}
            try:
                page = self._client.get_log_events(**place, **token)
            except self._client.exceptions.ResourceNotFoundException:
                return
            yield from (event["message"] for event in page["events"])
            if page["nextForwardToken"] == self._token:
                return
            self._token = page["nextForwardToken"]


def _check_role(config: Config) -> None:
    if config.build_role is None and config.workflow_execution_role is not None:
        raise UserError(
            "No container tool is here, and script/config.json names no `build_role`, which AWS "
            "CodeBuild would need: with `workflow_execution_role` given, no role is created.",
            fix="Install Docker or Podman; or have a role made from what `batcat roles --print` "
            "shows as `build`, and put its ARN into `build_role`.",
        )
