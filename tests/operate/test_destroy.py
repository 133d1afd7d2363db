"""`batcat destroy`: what goes, what stays, and how it ends when something is in the way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from batcat_runtime.deploy import parameters
from batcat_runtime.errors import StackError, WaitInterruptedError
from batcat_runtime.operate.connection import Project
from batcat_runtime.operate.destroy import _check_stacks, destroy
from batcat_runtime.operate.inventory import Inventory, ListedStack
from tests.faultproxy import Fault
from tests.operate.world import PURPOSE, REGIONS, DeployedProject, World

DENIED = "User: arn:aws-cn:sts::1:assumed-role/analyst/me is not authorized to perform: "


@pytest.fixture
def bare(chinese: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[DeployedProject]:
    """Return a project of which nothing is deployed; tests put stacks of their own in place."""
    project = chinese.project(deploy=False)
    for name, value in chinese.aws.environment().items():
        monkeypatch.setenv(name, value)
    yield project
    chinese.wire.set()


def group(project: DeployedProject, name: str) -> dict[str, Any]:
    properties = {"LogGroupName": f"/{project.config.project}/{name}"}
    return {"Type": "AWS::Logs::LogGroup", "Properties": properties}


def put(
    project: DeployedProject,
    name: str,
    tags: dict[str, str] | None = None,
    **resources: Any,
) -> str:
    """Create a stack and wait for the end of that; return its status."""
    resources = resources or {"Group": group(project, name)}
    cloudformation = project.client("cloudformation")
    template = {"Resources": resources}
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=json.dumps(template),
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Tags=[{"Key": key, "Value": text} for key, text in (tags or tags_of(project)).items()],
    )
    return settled(project, name)


def tags_of(project: DeployedProject, purpose: str = PURPOSE) -> dict[str, str]:
    return parameters.tags_of(project.config, purpose)


def settled(project: DeployedProject, name: str) -> str:
    cloudformation = project.client("cloudformation")
    for _ in range(300):
        status = str(cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"])
        if not status.endswith("_IN_PROGRESS") or status == "REVIEW_IN_PROGRESS":
            return status
        time.sleep(0.1)
    raise AssertionError(status)


def stacks(project: DeployedProject) -> dict[str, str]:
    """Return the project's stacks that are there, with their status."""
    pages = project.client("cloudformation").get_paginator("describe_stacks").paginate()
    found = (one for page in pages for one in page["Stacks"])
    mine = f"batcat-{project.config.project}"
    return {
        one["StackName"]: one["StackStatus"]
        for one in found
        if one["StackName"] == mine or one["StackName"].startswith(f"{mine}-")
    }


# ---- a whole project


@pytest.mark.parametrize("region", REGIONS)
def test_a_project_goes_when_its_name_was_typed_and_its_data_stays(
    worlds: Callable[[str], World], region: str
) -> None:
    project = worlds(region).project()
    names, name = project.names, project.config.project
    s3 = project.client("s3")
    place = {"Bucket": project.config.result_s3_bucket, "Key": f"{names.result_prefix}/a.csv"}
    s3.put_object(**place, Body=b"12345")
    before = stacks(project)
    shown = project.batcat("destroy", code=2)
    assert f"stack {names.workflow_stack} (CREATE_COMPLETE)" in shown.stdout
    assert f"Lambda Function     {names.function}" in shown.stdout
    assert f"ECR Repository  {names.repository} with 1 image" in shown.stdout
    # The result, the workflow's definition and the function's code.
    assert f"counted under {name}/: 3 objects, " in shown.stdout
    assert f"batcat destroy --confirm {name}" in shown.stderr
    terminal = project.terminal("destroy")
    terminal.read_until("Type the project's name")
    terminal.type("cells\n")
    assert terminal.wait() == 2
    assert "'cells' is another name" in terminal.shown
    assert project.batcat("destroy", "--yes", name.upper(), code=2).stdout == ""
    assert stacks(project) == before
    terminal = project.terminal("destroy")
    terminal.read_until(f"Type the project's name ({name}) to remove it")
    terminal.type(f"{name}\n")
    assert terminal.wait() == 0
    assert f"removed  {names.project_stack}" in terminal.shown
    assert stacks(project) == {}
    assert s3.get_object(**place)["Body"].read() == b"12345"
    roles = project.client("iam").get_paginator("list_roles").paginate()
    assert not [one for page in roles for one in page["Roles"] if name in one["RoleName"]]
    again = project.batcat("destroy")
    assert f"Nothing of {name} is deployed" in again.stdout
    assert project.json("destroy")["removed"] == []


def test_what_runs_is_stopped_only_with_leave(chinese: World) -> None:
    project = chinese.project()
    names, name = project.names, project.config.project
    begun = datetime.now(UTC)
    project.execute("long", wait=False, params={"seconds": 120})
    refused = project.batcat("destroy", "--confirm", name, code=2)
    assert "Execution long is still running; nothing was removed" in refused.stderr
    assert "--stop-running" in refused.stderr
    assert len(stacks(project)) == 4
    done = project.json("destroy", "--purpose", PURPOSE, "--stop-running", "--confirm", name)
    assert done["removed"] == [names.trigger_stack, names.workflow_stack, names.stack("roles")]
    assert (done["stopped"], done["left"]) == (["long"], [])
    assert list(stacks(project)) == [names.project_stack]
    jobs = project.client("sagemaker").list_processing_jobs(NameContains=names.job_prefix)
    mine = [one for one in jobs["ProcessingJobSummaries"] if one["CreationTime"] >= begun]
    assert {one["ProcessingJobStatus"] for one in mine} <= {"Stopped", "Stopping"}


# ---- half of a project, and what is in the way


def test_what_a_failed_or_unfinished_deployment_has_left_goes_too(bare: DeployedProject) -> None:
    names, cloudformation = bare.names, bare.client("cloudformation")
    taken = group(bare, "taken")
    bare.client("logs").create_log_group(logGroupName=taken["Properties"]["LogGroupName"])
    assert put(bare, names.trigger_stack, Group=taken) == "ROLLBACK_COMPLETE"
    cloudformation.create_change_set(
        StackName=names.workflow_stack,
        ChangeSetName="batcat-1",
        ChangeSetType="CREATE",
        TemplateBody=json.dumps({"Resources": {"Group": group(bare, "new")}}),
    )
    assert settled(bare, names.workflow_stack) == "REVIEW_IN_PROGRESS"
    done = bare.batcat("destroy", "--confirm", bare.config.project)
    assert f"removed  {names.trigger_stack}\nremoved  {names.workflow_stack}" in done.stdout
    assert stacks(bare) == {}


def test_what_blocks_is_left_behind_and_told_with_a_command(bare: DeployedProject) -> None:
    name, repository = bare.names.project_stack, bare.names.repository
    kept = {"Type": "AWS::ECR::Repository", "Properties": {"RepositoryName": repository}}
    assert put(bare, name, Repository=kept, Group=group(bare, "a")) == "CREATE_COMPLETE"
    ecr = bare.client("ecr")
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}
    ecr.put_image(repositoryName=repository, imageManifest=json.dumps(manifest), imageTag="1")
    done = bare.batcat("destroy", "--confirm", bare.config.project)
    assert f"removed  {name}\n" in done.stdout
    assert f"ECR Repository {repository}: The repository with name" in done.stdout
    command = f"aws ecr delete-repository --force --repository-name {repository} --region"
    assert command in done.stdout
    assert stacks(bare) == {}
    assert ecr.describe_repositories(repositoryNames=[repository])["repositories"]


def test_a_stack_of_somebody_else_is_left_alone(bare: DeployedProject) -> None:
    put(bare, bare.names.trigger_stack, tags_of(bare) | {"batcat:bucket": "another-result"})
    put(bare, bare.names.project_stack)
    done = bare.json("destroy", "--confirm", bare.config.project)
    assert done["removed"] == [bare.names.project_stack]
    assert {
        "what": f"the stack {bare.names.trigger_stack}",
        "why": "BatCat did not make it for this project: not touched",
        "objects": None,
        "bytes": None,
    } in done["inventory"]["kept"]
    assert stacks(bare) == {bare.names.trigger_stack: "CREATE_COMPLETE"}
    again = bare.batcat("destroy")
    assert "there is nothing to remove" in again.stdout
    assert "not touched" in again.stdout


def test_protection_against_deletion_is_respected(bare: DeployedProject) -> None:
    put(bare, bare.names.trigger_stack)
    put(bare, bare.names.project_stack)
    cloudformation = bare.client("cloudformation")
    cloudformation.update_termination_protection(
        StackName=bare.names.project_stack, EnableTerminationProtection=True
    )
    refused = bare.batcat("destroy", "--confirm", bare.config.project, code=1)
    assert "is protected against deletion; nothing was removed" in refused.stderr
    assert "update-termination-protection --no-enable-termination-protection" in refused.stderr
    assert len(stacks(bare)) == 2


def test_missing_rights_leave_nothing_behind_and_a_second_run_goes_on(
    bare: DeployedProject,
) -> None:
    for name in (bare.names.trigger_stack, bare.names.workflow_stack):
        put(bare, name)
    denied = Fault("logs", "DeleteLogGroup", "AccessDeniedException", "", after=1, times=0)
    words = f"{DENIED}logs:DeleteLogGroup on resource: arn:aws-cn:logs:::log-group:x"
    bare.world.wire.set(Fault(**{**vars(denied), "message": words}))
    stopped = bare.batcat("destroy", "--confirm", bare.config.project, code=1)
    assert "The role analyst may not logs:DeleteLogGroup" in stopped.stderr
    assert f"Removed so far: {bare.names.trigger_stack}." in stopped.stderr
    assert stacks(bare) == {bare.names.workflow_stack: "DELETE_FAILED"}
    bare.world.wire.set()
    done = bare.json("destroy", "--confirm", bare.config.project)
    assert (done["removed"], done["left"]) == ([bare.names.workflow_stack], [])
    assert stacks(bare) == {}


def test_ctrl_c_says_what_goes_on_and_a_second_run_finishes(bare: DeployedProject) -> None:
    for name in (bare.names.trigger_stack, bare.names.workflow_stack):
        put(bare, name)

    def interrupted(line: str) -> None:
        if line.startswith("DELETE_"):
            raise KeyboardInterrupt

    with pytest.raises(WaitInterruptedError) as caught:
        destroy(bare.config.project, folder=bare.folder, progress=interrupted)
    said = str(caught.value)
    assert f"goes on removing the stack {bare.names.trigger_stack}. 1 more is still" in said
    assert "`batcat destroy` again goes on" in said
    assert destroy(bare.config.project, folder=bare.folder).removed[-1] == bare.names.workflow_stack
    assert stacks(bare) == {}


def test_credentials_that_expire_say_what_goes_on(bare: DeployedProject) -> None:
    put(bare, bare.names.trigger_stack)
    expired = Fault("cloudformation", "DescribeStackEvents", "ExpiredToken", "too old", after=1)
    bare.world.wire.set(expired)
    stopped = bare.batcat("destroy", "--confirm", bare.config.project, code=130)
    assert "The credentials in use have expired. CloudFormation goes on" in stopped.stderr


def test_a_change_by_somebody_else_is_not_cut_off(bare: DeployedProject) -> None:
    arn = "arn:aws-cn:cloudformation:cn-northwest-1:1:stack/a/1"
    client = boto3.client("cloudformation")
    answer = {"StackName": "a", "StackId": arn, "StackStatus": "UPDATE_IN_PROGRESS"}
    listed = ListedStack("trigger", PURPOSE, "a", arn, "UPDATE_IN_PROGRESS", ())
    inventory = Inventory("p", "1", "cn-northwest-1", (listed,), (), ())

    class Watched(Project):
        def client(self, service: str) -> Any:
            return client

    with Stubber(client) as stub:
        stub.add_response(
            "describe_stacks",
            {"Stacks": [{**answer, "CreationTime": "2022-01-08T00:00:00Z"}]},
            {"StackName": arn},
        )
        with pytest.raises(StackError, match=r"changing the stack a right now \(UPDATE_IN_PRO"):
            _check_stacks(Watched(bare.folder, bare.config), inventory)
