"""Look at all that a pipeline depends on, and say of what is wrong what to type.

One function a check, called from one list. A check returns what it found, worst first, or raises
what AWS or the project's files refuse; `_examined` makes a finding of that, and the others go on.
Nothing is changed. What stands in ``fix`` may be typed: no advice keeps `batcat rehearse` from
working afterwards.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

from botocore.exceptions import BotoCoreError

from batcat_runtime.account import account_of, check_bucket
from batcat_runtime.config import Config, find_project, get_config, partition_of
from batcat_runtime.deploy.builders import CODEBUILD, VARIABLE, container_tool
from batcat_runtime.deploy.context import context_of
from batcat_runtime.deploy.limits import check_limits
from batcat_runtime.deploy.parameters import given_roles
from batcat_runtime.deploy.reasons import STUCK
from batcat_runtime.deploy.stack import outputs_of
from batcat_runtime.deploy.workflow import roles_of
from batcat_runtime.errors import (
    AccessDeniedError,
    BatcatError,
    ConfigError,
    CredentialsError,
    StackError,
)
from batcat_runtime.operate.connection import STANDING, Project
from batcat_runtime.operate.estimate import instances_at_once, quotas_of
from batcat_runtime.operate.stacks import ProjectStack, project_stacks, removed_purposes
from batcat_runtime.project import other_runtime

Status = Literal["ok", "warning", "failed", "skipped"]
_TOOL_SECONDS = 6
_SERVICES = {
    "WorkflowRoleArn": "states.amazonaws.com",
    "JobRoleArn": "sagemaker.amazonaws.com",
    "TriggerRoleArn": "lambda.amazonaws.com",
    "ScheduleRoleArn": "scheduler.amazonaws.com",
}


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes
    ----------
    status : {"ok", "warning", "failed", "skipped"}
        Warnings do not keep a pipeline from running; skipped is what could not be looked at.
    found : str
        What is there.
    fix : str
        What to type, or whom to ask; empty when nothing needs to be done.
    check : str
        Which check, such as ``"bucket"``.
    """

    status: Status
    found: str
    fix: str = ""
    check: str = ""


def doctor(*, folder: str | Path | None = None, purpose: str | None = None) -> list[Finding]:
    """Look at configuration, credentials, bucket, image, roles, quota, tools and what is deployed.

    Parameters
    ----------
    folder : path, optional
        The project's folder; by default the one around the working directory.
    purpose : str, optional
        The one pipeline to look at; by default all.

    Returns
    -------
    list of Finding
        In the order of the checks. Without credentials, those that need them are skipped.

    Raises
    ------
    ConfigError
        There is no project here, or no such purpose in it. A broken configuration is a finding.

    Examples
    --------
    >>> [one.found for one in bc.doctor() if one.status == "failed"]  # doctest: +SKIP
    ['The result bucket battery-result does not exist in aws-cn.']
    """
    return list(findings(find_project(folder), purpose))


def findings(folder: Path, purpose: str | None = None) -> Iterator[Finding]:
    """Yield what each check finds, as soon as it does."""
    yield from _examined("versions", lambda: versions(folder))
    yield from _examined("container tool", builder)
    try:
        config = get_config(folder)
    except ConfigError as error:
        yield Finding("failed", error.message, error.fix, "config")
        return
    subject, refused = Subject(config, config.purpose_name(purpose) if purpose else None), False
    for name, check in CHECKS.items():
        if refused:
            yield Finding("skipped", "needs credentials that AWS accepts", "", name)
            continue
        for found in _examined(name, partial(check, subject)):
            yield found
            refused = refused or (name == "credentials" and found.status == "failed")


@dataclass
class Subject:
    """The project that is looked at, with what several checks ask AWS for."""

    config: Config
    purpose: str | None = None

    @cached_property
    def project(self) -> Project:
        """The project with clients that give up soon."""
        return Project(self.config.folder, self.config)

    @property
    def purposes(self) -> list[str]:
        """The pipelines to look at."""
        return self.project.purposes(self.purpose)

    @cached_property
    def stacks(self) -> list[ProjectStack]:
        """The project's stacks."""
        return project_stacks(self.project)

    def stack(self, part: str, purpose: str = "") -> ProjectStack | None:
        """Return one of the project's stacks that stands or should."""
        found = [one for one in self.stacks if one.part == part and one.purpose in ("", purpose)]
        return next((one for one in found if one.ours and one.status != "REVIEW_IN_PROGRESS"), None)


def limits(subject: Subject) -> Iterator[Finding]:
    """Check that script/config.json asks for nothing that AWS refuses."""
    config = subject.config
    check_limits(config)
    yield Finding("ok", f"project {config.project}: {', '.join(config.purposes)}")


def credentials(subject: Subject) -> Iterator[Finding]:
    """Check that AWS accepts the credentials, and that they are of the region's partition."""
    try:
        arn = subject.project.call("sts:GetCallerIdentity", "AWS")["Arn"]
        account_of(subject.config)
    except CredentialsError as error:
        if "InvalidClientTokenId" in error.message:
            error.fix += f" {subject.config.partition} has accounts of its own: see AWS_PROFILE."
        raise
    if arn.endswith(":root"):
        fix = "aws configure sso   (or make a user: aws iam create-user --user-name NAME)"
        yield Finding("warning", f"{arn} is the root user, who may do everything", fix)
    else:
        yield Finding("ok", arn)


def region(subject: Subject) -> Iterator[Finding]:
    """Check that other tools look at the project's region too."""
    wanted = subject.config.region
    wrong = {
        name: os.environ[name]
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION")
        if os.environ.get(name, wanted) != wanted
    }
    for name, value in wrong.items():
        found = f"{name} says {value}, script/config.json says {wanted}; batcat goes by the latter"
        yield Finding("warning", found, f"export {name}={wanted}")
    if not wrong:
        yield Finding("ok", f"{wanted} ({partition_of(wanted)})")


def bucket(subject: Subject) -> Iterator[Finding]:
    """Check that the result bucket exists, is this account's and lies in the region."""
    s3 = subject.project.client("s3")
    name = subject.config.result_s3_bucket
    if check_bucket(subject.config, s3=s3, account=subject.project.account):
        yield Finding("ok", f"s3://{name} in {subject.config.region}")
    else:
        words = f"you lack s3:ListBucket on {name}, so S3 does not tell whose it is"
        yield Finding("skipped", words, "ask your administrator for s3:ListBucket")


def image(subject: Subject) -> Iterator[Finding]:
    """Check that all of the image is there, and that the lock has what the scripts import."""
    context_of(subject.config)
    yield Finding("ok", "the scripts are there, and the lock has all that they import")


def roles(subject: Subject) -> Iterator[Finding]:
    """Check that every role exists and trusts its service."""
    given, project, count = given_roles(subject.config), subject.project, 0
    for purpose in subject.purposes:
        try:
            wanted = roles_of(subject.config, purpose)
        except StackError:
            continue  # the deployment makes them
        for key, service in _SERVICES.items():
            count, name = count + 1, wanted[key].rpartition("/")[2]
            absent = {"NoSuchEntity"}
            role = project.call("iam:GetRole", f"the role {name}", absent=absent, RoleName=name)
            if not role:
                fix = "batcat roles   (it prints how an administrator makes them)"
                if not given:
                    stack = project.names(purpose).stack("roles")
                    fix = f"aws cloudformation delete-stack --stack-name {stack} --region "
                    fix += f"{subject.config.region} && batcat deploy"
                yield Finding("failed", f"the role {wanted[key]} does not exist", fix)
            elif service not in str(role["Role"]["AssumeRolePolicyDocument"]):
                words = f"the role {name} does not trust {service}, which has to take it on"
                fix = "ask its administrator for the trust policy that deploy/roles.yaml gives it"
                yield Finding("failed", words, fix)
    words = f"{count} roles looked at" if count else "the deployment makes them"
    yield Finding("ok" if count else "skipped", words)


def quota(subject: Subject) -> Iterator[Finding]:
    """Check that SageMaker's quotas are large enough for a run."""
    wanted: Counter[str] = Counter()
    for purpose in subject.purposes:
        wanted |= instances_at_once(subject.config.purposes[purpose])
    quotas = quotas_of(subject.project.client("service-quotas"), set(wanted))
    for kind, count in wanted.items():
        if kind not in quotas:
            words = f"Service Quotas tells none for {kind} in {subject.config.region}"
            yield Finding("skipped", words)
        elif quotas[kind]["Value"] < count:
            yield Finding(
                "failed",
                f"{count} {kind} are needed at once, {quotas[kind]['Value']:.0f} are allowed",
                "aws service-quotas request-service-quota-increase --service-code sagemaker "
                f"--quota-code {quotas[kind]['QuotaCode']} --desired-value {count} --region "
                f"{subject.config.region}",
            )
        else:
            yield Finding("ok", f"{count} of {quotas[kind]['Value']:.0f} {kind}")


def deployed(subject: Subject) -> Iterator[Finding]:
    """Check that every stack stands, and that none is of a purpose that was removed."""
    for purpose in removed_purposes(subject.project, subject.stacks):
        words = f"{purpose} is still deployed and runs, though script/config.json does not have it"
        yield Finding("warning", words, f"batcat destroy --purpose {purpose}")
    mine = [one for one in subject.stacks if one.ours]
    if not mine:
        yield Finding("warning", "nothing is deployed yet", "batcat deploy")
        return
    parts = ("workflow", "trigger") if given_roles(subject.config) else _PURPOSE_PARTS
    for purpose in subject.purposes:
        missing = [part for part in parts if subject.stack(part, purpose) is None]
        if missing:
            yield Finding("failed", f"{purpose}: no {', '.join(missing)}", "batcat deploy")
        yield from _image_is_there(subject, subject.stack("workflow", purpose))
    for stack in mine:
        if stack.status in STUCK:
            command = f"{STUCK[stack.status].format(name=stack.name)} --region "
            yield Finding(
                "failed", f"{stack.name}: {stack.status}", command + subject.config.region
            )
        elif stack.status not in STANDING:
            yield Finding("failed", f"{stack.name}: {stack.status}", "batcat deploy")
    yield Finding("ok", f"{len(mine)} stacks looked at")


def alert(subject: Subject) -> Iterator[Finding]:
    """Check that somebody hears of a night that failed."""
    address = subject.config.alert_email
    if not address:
        yield Finding("ok", "no alert_email in script/config.json: nobody is told of a failure")
    for purpose in subject.purposes if address else ():
        stack = subject.stack("workflow", purpose)
        topic = outputs_of(stack.described if stack else {}).get("AlertTopicArn")
        if not topic:
            yield Finding("skipped", f"{purpose} is not deployed with it", "batcat deploy")
            continue
        listed = subject.project.call(
            "sns:ListSubscriptionsByTopic", f"the topic {topic}", TopicArn=topic
        )["Subscriptions"]
        mine = [one["SubscriptionArn"] for one in listed if one["Endpoint"] == address]
        if any(arn.startswith("arn:") for arn in mine):
            yield Finding("ok", f"{address} is told of {purpose}")
        else:
            fix = "follow the link in the mail of AWS Notifications; look for it in spam, too"
            words = f"{address} has not confirmed the alerts of {purpose}"
            yield Finding("warning", words, fix)


def builder() -> Iterator[Finding]:
    """Check that something can build the image."""
    path = container_tool()
    problem = _tool_problem(path) if path else ""
    if problem and path:
        fix = f"start {Path(path).name}; or let AWS build: export {VARIABLE}={CODEBUILD}"
        yield Finding("failed", problem, fix)
    else:
        yield Finding("ok", path or "AWS CodeBuild builds the image: deploy/builder.yaml")


def versions(folder: Path) -> Iterator[Finding]:
    """Check that the installed packages are those of requirements.txt."""
    from packaging.requirements import InvalidRequirement, Requirement

    wrong, runtime = [], importlib.metadata.version("batcat-runtime")
    other = other_runtime(folder)
    if other:
        words = f"this project was made with batcat-runtime {other[0]}; {other[1]} is installed"
        fix = "pip install -r requirements.txt   (or bring the project up to date: cruft update)"
        yield Finding("warning", words, fix)
    path = folder / "requirements.txt"
    for line in path.read_text("utf-8").splitlines() if path.is_file() else []:
        try:
            wanted = Requirement(re.sub(r"(^|\s)#.*", "", line).strip())
            present = importlib.metadata.version(wanted.name)
            if wanted.name != "batcat-runtime" and present not in wanted.specifier:
                wrong.append(f"{wanted.name} is {present}, requirements.txt has {wanted.specifier}")
        except InvalidRequirement:
            continue  # a blank line; or pip knows it: an option, a path, a URL
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{wanted.name} is not installed")
    if wrong:
        yield Finding("warning", "; ".join(wrong), "python -m pip install -r requirements.txt")
    elif not other:
        yield Finding("ok", f"batcat-runtime {runtime}, Python {platform.python_version()}")


_PURPOSE_PARTS = ("roles", "workflow", "trigger")
# Those before the credentials ask nobody.
CHECKS: dict[str, Callable[[Subject], Iterator[Finding]]] = {
    "config": limits,
    "image": image,
    "region": region,
    "credentials": credentials,
    "bucket": bucket,
    "roles": roles,
    "quota": quota,
    "deployed": deployed,
    "alert": alert,
}


def _examined(name: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yield what a check finds; what it stumbles over is a finding as well."""
    try:
        for found in check():
            yield replace(found, check=name)
    except AccessDeniedError as error:
        lacking = re.search(r"[a-z0-9-]+:[A-Z]\w+", error.fix)
        action = lacking[0] if lacking else "a permission"
        fix = f"ask your administrator for {action}; deploy/iam/operator.json has it"
        yield Finding("skipped", f"you lack {action}", fix, name)
    except BatcatError as error:
        yield Finding("failed", error.message, error.fix or "batcat --debug doctor", name)
    except BotoCoreError as error:
        fix = "look at VPN, firewall and proxy: what answered is not AWS"
        yield Finding("failed", f"AWS gave no answer that can be read: {error}", fix, name)
    except Exception as error:  # one that breaks must not keep the others from looking
        words = f"the check itself broke: {type(error).__name__}: {error}"
        fix = "batcat --debug doctor   (and report it: this is not your mistake)"
        yield Finding("failed", words, fix, name)


def _image_is_there(subject: Subject, stack: ProjectStack | None) -> Iterator[Finding]:
    """Find a workflow whose image ECR has no longer."""
    listed = stack.described.get("Parameters", []) if stack else []
    uri = {one["ParameterKey"]: one.get("ParameterValue", "") for one in listed}.get("ImageUri", "")
    pinned = re.fullmatch(r"[^/]+\.dkr\.ecr\.[^/]+/([^@]+)@(sha256:\w+)", uri)
    if stack is None or pinned is None:
        return
    asked = {"repositoryName": pinned[1], "imageIds": [{"imageDigest": pinned[2]}]}
    absent = {"ImageNotFoundException", "RepositoryNotFoundException"}
    place = f"the repository {pinned[1]}"
    if not subject.project.call("ecr:DescribeImages", place, absent=absent, **asked):
        words = f"{stack.purpose} runs {pinned[1]}@{pinned[2][:19]}, which ECR has no more"
        yield Finding("failed", words, "batcat deploy")


def _tool_problem(path: str) -> str:
    """Return what a tool says when it does not work; Docker asks its daemon, buildah has none."""
    words = ["version"] if Path(path).name == "buildah" else ["info"]
    how: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    try:
        done = subprocess.run(
            [path, *words], **how, errors="replace", timeout=_TOOL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{path} does not answer in {_TOOL_SECONDS} s"
    except OSError as error:
        return f"{path}: {error}"
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    said = lines[-1] if lines else f"exit code {done.returncode}"
    return f"{path} does not answer: {said}" if done.returncode else ""
