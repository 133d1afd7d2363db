"""What a project has in AWS: its stacks with their resources, what runs, and what is not theirs.

`batcat destroy` shows it before it removes anything. Only stacks of the project's own names are
looked at, and of these only the ones that BatCat made for this very project are listed to go, those
of pipelines that the configuration has no longer among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from botocore.exceptions import ClientError

from batcat_runtime.errors import AccessDeniedError, BatcatError
from batcat_runtime.names import Names, slug
from batcat_runtime.operate.connection import (
    DeployedStack,
    Project,
    find_stack,
    is_ours,
    removed_stacks,
)
from batcat_runtime.operate.result_tables import ListedTables, find_tables

Kind = Literal["trigger", "workflow", "roles", "builder", "project"]
# What starts things goes first, and what others build on last.
ORDER: tuple[Kind, ...] = ("trigger", "workflow", "roles", "builder", "project")
_MOST_OBJECTS = 100_000
_MACHINE = "AWS::StepFunctions::StateMachine"
_NO_MACHINE = {"StateMachineDoesNotExist", "StateMachineDeleting"}
_ROLES = (
    *("workflow_execution_role", "job_role", "trigger_role", "schedule_role", "build_role"),
    "permissions_boundary",
)


@dataclass(frozen=True)
class Resource:
    """A resource of a stack.

    Attributes
    ----------
    type, name : str
        ``AWS::Lambda::Function``, and what it is called in AWS.
    detail : str
        Such as how many images a repository holds; often empty.
    """

    type: str
    name: str
    detail: str = ""


@dataclass(frozen=True)
class ListedStack:
    """A stack that is to go.

    Attributes
    ----------
    kind : {"trigger", "workflow", "roles", "builder", "project"}
        What it is for.
    purpose : str
        Whose; empty when all pipelines share it.
    name, arn, status : str
        CloudFormation's.
    resources : tuple of Resource
        What it holds; what AWS has removed already is left out.
    """

    kind: Kind
    purpose: str
    name: str
    arn: str
    status: str
    resources: tuple[Resource, ...]


@dataclass(frozen=True)
class Running:
    """An execution that has not ended.

    Attributes
    ----------
    purpose, name, arn : str
        The pipeline, and the execution's own.
    backfill : bool
        Whether it is a backfill, which starts others.
    """

    purpose: str
    name: str
    arn: str
    backfill: bool = False


@dataclass(frozen=True)
class Kept:
    """Something that stays.

    Attributes
    ----------
    what, why : str
        For a reader.
    objects, bytes : int or None
        Of a bucket: how much of the project's data lies in it.
    """

    what: str
    why: str
    objects: int | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Inventory:
    """What a project has in AWS.

    Attributes
    ----------
    project, account, region : str
        Whose, and where.
    stacks : tuple of ListedStack
        What is to go, in the order in which it goes.
    running : tuple of Running
        Executions that have not ended.
    tables : ListedTables or None
        Athena tables of the results, which go last.
    kept : tuple of Kept
        What stays.
    """

    project: str
    account: str
    region: str
    stacks: tuple[ListedStack, ...]
    running: tuple[Running, ...]
    kept: tuple[Kept, ...]
    tables: ListedTables | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is to go."""
        return not self.stacks and self.tables is None


def take_inventory(project: Project, purpose: str | None = None) -> Inventory:
    """Return what the project has in AWS, or what one of its pipelines has.

    Raises
    ------
    StackError
        A stack must not be removed, or somebody is changing one.
    """
    found, foreign = [], []
    for kind, owner, name in _names(project, purpose):
        try:
            stack = find_stack(project, name)
        except AccessDeniedError:
            if kind not in ("roles", "builder"):
                raise
            # Not everybody who deploys may do that; those may not remove it either.
            why = "if there is one, it stays: these credentials may not look at it"
            foreign.append(Kept(f"the stack {name}", f"{why} (cloudformation:DescribeStacks)"))
            continue
        if stack is None or stack.status == "DELETE_COMPLETE":
            continue
        if is_ours(project, stack):
            found.append(_listed(project, kind, owner, stack))
        else:
            foreign.append(
                Kept(f"the stack {name}", "BatCat did not make it for this project: not touched")
            )
    if purpose not in project.config.purposes:
        try:
            dropped = [one for one in removed_stacks(project) if purpose in (None, one.purpose)]
            found += [_listed(project, one.kind, one.purpose, one.stack) for one in dropped]
        except AccessDeniedError as error:
            foreign.append(
                Kept(
                    "pipelines that script/config.json has no longer",
                    f"if there are any, they stay: {error.message}",
                )
            )
        found.sort(key=lambda one: ORDER.index(one.kind))
    tables = None
    try:
        tables = find_tables(project, purpose)
    except AccessDeniedError as error:
        foreign.append(
            Kept("Athena tables of results", f"if there are any, they stay: {error.message}")
        )
    anything = found or foreign or tables
    kept = (*_kept(project, purpose), *foreign) if anything else ()
    return Inventory(
        project=project.config.project,
        account=project.account,
        region=project.config.region,
        stacks=tuple(found),
        running=tuple(one for stack in found for one in running_in(project, stack)),
        kept=kept,
        tables=tables,
    )


def running_in(project: Project, stack: ListedStack) -> Iterator[Running]:
    """Yield the executions of a stack's state machine that have not ended, newest first."""
    pages = project.client("stepfunctions").get_paginator("list_executions")
    machines = [one.name for one in stack.resources if one.type == _MACHINE]
    its = Names(project.config.project, stack.purpose or "-", project.config.region)
    # A backfill first: it would start what is stopped anew.
    for arn in sorted(machines, key=lambda arn: not arn.endswith(f":{its.backfill_machine}")):
        backfill = arn.endswith(f":{its.backfill_machine}")
        with project.asked(f"the state machine {arn}", "states:ListExecutions"):
            try:
                for page in pages.paginate(stateMachineArn=arn, statusFilter="RUNNING"):
                    for one in page["executions"]:
                        yield Running(stack.purpose, one["name"], one["executionArn"], backfill)
            except ClientError as error:
                if error.response["Error"]["Code"] not in _NO_MACHINE:
                    raise


def _names(project: Project, purpose: str | None) -> Iterator[tuple[Kind, str, str]]:
    """Yield every stack that the project may have, in the order in which they go."""
    for kind in ORDER[:3]:
        for owner in _configured(project, purpose):
            yield kind, owner, project.names(owner).stack(kind)
    if purpose is None:
        names = project.names(next(iter(project.config.purposes)))
        yield "builder", "", names.builder_stack
        yield "project", "", names.project_stack


def _configured(project: Project, purpose: str | None) -> list[str]:
    """Return the purposes that are meant; none when the one named is not configured any more."""
    return [one for one in project.config.purposes if purpose in (None, one)]


def _listed(project: Project, kind: Kind, purpose: str, stack: DeployedStack) -> ListedStack:
    client = project.client("cloudformation")
    resources = []
    with project.asked(f"the stack {stack.name}", "cloudformation:ListStackResources"):
        pages = client.get_paginator("list_stack_resources").paginate(StackName=stack.arn)
        for page in pages:
            for one in page["StackResourceSummaries"]:
                if one["ResourceStatus"] not in ("DELETE_COMPLETE", "DELETE_SKIPPED"):
                    resources.append(_resource(project, one))
    return ListedStack(kind, purpose, stack.name, stack.arn, stack.status, tuple(resources))


def _resource(project: Project, summary: dict[str, Any]) -> Resource:
    kind = summary["ResourceType"]
    name = summary.get("PhysicalResourceId") or summary["LogicalResourceId"]
    if kind != "AWS::ECR::Repository":
        return Resource(kind, name)
    client = project.client("ecr")
    with project.asked(f"the repository {name}", "ecr:DescribeImages"):
        try:
            pages = client.get_paginator("describe_images").paginate(repositoryName=name)
            count = sum(len(page["imageDetails"]) for page in pages)
        except client.exceptions.RepositoryNotFoundException:
            return Resource(kind, name, "not there any more")
    return Resource(kind, name, f"with {count} image{'' if count == 1 else 's'}")


def _kept(project: Project, purpose: str | None) -> Iterator[Kept]:
    config = project.config
    yield _data(project, purpose)
    for name in _ROLES:
        given = getattr(config, name)
        if given:
            yield Kept(given, f"given as {name}; BatCat did not make it")
    watched = {
        trigger.bucket
        for one in _configured(project, purpose)
        if (trigger := config.purposes[one].s3_trigger)
    }
    for one in sorted(watched):
        yield Kept(
            f"the events of s3://{one}", "it goes on sending them to EventBridge, for other rules"
        )
    yield Kept(
        "the log group /aws/sagemaker/ProcessingJobs",
        "the account's processing jobs share it; streams of old jobs stay",
    )
    if purpose is not None:
        yield Kept("the image repository", "all pipelines of the project share it")


def _data(project: Project, purpose: str | None) -> Kept:
    """Return the bucket, and how much data of the project's lies in it."""
    bucket = project.config.result_s3_bucket
    prefix = slug(project.config.project)
    prefix = f"{prefix}/{slug(purpose)}/" if purpose else f"{prefix}/"
    pages = project.client("s3").get_paginator("list_objects_v2")
    objects = (
        one
        for page in pages.paginate(Bucket=bucket, Prefix=prefix)
        for one in page.get("Contents", [])
    )
    try:
        with project.asked(f"s3://{bucket}/{prefix}", "s3:ListBucket"):
            sizes = [one["Size"] for one in islice(objects, _MOST_OBJECTS)]
    except BatcatError as error:
        return Kept(f"s3://{bucket}", f"all of its data stays (not counted: {error.message})")
    more = "; there is more" if len(sizes) == _MOST_OBJECTS else ""
    why = f"all of its data stays; counted under {prefix}{more}"
    return Kept(f"s3://{bucket}", why, len(sizes), sum(sizes))
