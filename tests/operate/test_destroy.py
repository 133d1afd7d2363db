"""`batcat destroy`: what goes, what stays, and how it ends when something is in the way."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

import batcat_runtime as bc
from batcat_runtime.deploy import parameters
from tests.faultproxy import Fault
from tests.operate.world import PURPOSE, REGIONS, DeployedProject, World, pointed

DENIED = "User: arn:aws-cn:sts::1:assumed-role/analyst/me is not authorized to perform: "
NEW = "forecast"


@pytest.fixture
def bare(chinese: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[DeployedProject]:
    """Return a project of which nothing is deployed; tests put stacks of their own in place."""
    yield pointed(chinese.project(deploy=False), monkeypatch)
    chinese.wire.set()


def group(project: DeployedProject, name: str) -> dict[str, Any]:
    properties = {"LogGroupName": f"/{project.config.project}/{name}"}
    return {"Type": "AWS::Logs::LogGroup", "Properties": properties}


def tags_of(project: DeployedProject, purpose: str | None = PURPOSE) -> dict[str, str]:
    return parameters.tags_of(project.config, purpose)


def put(
    project: DeployedProject, name: str, tags: dict[str, str] | None = None, **resources: Any
) -> str:
    """Create a stack and wait for the end of that; return its status."""
    template = {"Resources": resources or {"Group": group(project, name)}}
    tags = tags_of(project, PURPOSE if "--" in name else None) if tags is None else tags
    project.client("cloudformation").create_stack(
        StackName=name,
        TemplateBody=json.dumps(template),
        Tags=[{"Key": key, "Value": text} for key, text in tags.items()],
    )
    return settled(project, name)


def settled(project: DeployedProject, name: str) -> str:
    cloudformation = project.client("cloudformation")
    for _ in range(300):
        status = str(cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"])
        if not status.endswith("_IN_PROGRESS") or status == "REVIEW_IN_PROGRESS":
            return status
        time.sleep(0.1)
    raise AssertionError(status)


def stacks(project: DeployedProject) -> dict[str, str]:
    """Return the stacks with the project's names that are there, with their status."""
    pages = project.client("cloudformation").get_paginator("describe_stacks").paginate()
    found = {one["StackName"]: one["StackStatus"] for page in pages for one in page["Stacks"]}
    mine = f"batcat-{project.config.project}"
    return {name: found[name] for name in found if name == mine or name.startswith(f"{mine}-")}


def renamed(project: DeployedProject) -> None:
    """Give the project's only purpose another name, as somebody who edits the file does."""
    path = project.folder / "script" / "config.json"
    content = json.loads(path.read_text("utf-8"))
    content["purposes"] = {NEW: content["purposes"][PURPOSE]}
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


# ---- a whole project


@pytest.mark.parametrize("region", REGIONS)
def test_a_project_goes_when_its_name_was_typed_and_its_data_stay(
    worlds: Callable[[str], World], region: str
) -> None:
    project = worlds(region).project()
    names, name = project.names, project.config.project
    s3, glue = project.client("s3"), project.client("glue")
    place = {"Bucket": project.config.result_s3_bucket, "Key": f"{names.result_prefix}/a.csv"}
    s3.put_object(**place, Body=b"12345")
    glue.create_database(DatabaseInput={"Name": names.database})
    table = {"Name": names.table(), "Parameters": tags_of(project)}
    glue.create_table(DatabaseName=names.database, TableInput=table)
    before = stacks(project)
    shown = project.batcat("destroy", code=2)
    for line in (*before, f"{names.database}.{names.table()}"):
        assert f"\n  {line}\n" in shown.stdout
    assert f"This stays:\n  s3://{place['Bucket']}: all of its data" in shown.stdout
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
    assert names.database not in {one["Name"] for one in glue.get_databases()["DatabaseList"]}
    roles = project.client("iam").get_paginator("list_roles").paginate()
    assert not [one for page in roles for one in page["Roles"] if name in one["RoleName"]]
    again = project.batcat("destroy")
    assert f"Nothing of {name} is deployed" in again.stdout


def test_a_purpose_that_was_removed_from_the_config_is_told_and_goes_alone(chinese: World) -> None:
    """And what runs is stopped with leave only."""
    project = chinese.project()
    names, name, begun = project.names, project.config.project, datetime.now(UTC)
    project.execute("long", wait=False, params={"seconds": 120})
    refused = project.batcat("destroy", "--confirm", name, code=2)
    assert "1 still running: long. Nothing was removed" in refused.stderr
    assert "--stop-running" in refused.stderr
    renamed(project)
    neighbour = f"batcat-{name}--{PURPOSE}--other"
    put(project, neighbour, tags_of(project) | {"batcat:bucket": "another-result"})
    told = f"The pipeline {PURPOSE} is still deployed, though script/config.json does not have it"
    assert told in project.batcat("plan").stdout
    assert told in project.batcat("deploy").stderr
    other = project.batcat("destroy", "--purpose", "other", code=2)
    assert "has no purpose 'other'; it has: forecast" in other.stderr
    remove = ("destroy", "--purpose", PURPOSE, "--confirm", name)
    done = project.json(*remove, "--stop-running")
    gone = [names.trigger_stack, names.workflow_stack, names.stack("roles")]
    assert (done["stacks"], done["running"]) == (gone, ["long"])
    assert not set(gone) & set(stacks(project))
    assert {neighbour, names.project_stack} < set(stacks(project))
    jobs = project.client("sagemaker").list_processing_jobs(NameContains=names.job_prefix)
    mine = [one for one in jobs["ProcessingJobSummaries"] if one["CreationTime"] >= begun]
    assert {one["ProcessingJobStatus"] for one in mine} <= {"Stopped", "Stopping"}
    assert "has no purpose" in project.batcat(*remove, code=2).stderr


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


def test_what_blocks_is_told_with_the_command_that_leaves_it_behind(bare: DeployedProject) -> None:
    name, repository = bare.names.project_stack, bare.names.repository
    kept = {"Type": "AWS::ECR::Repository", "Properties": {"RepositoryName": repository}}
    assert put(bare, name, Repository=kept, Group=group(bare, "a")) == "CREATE_COMPLETE"
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}
    bare.client("ecr").put_image(
        repositoryName=repository, imageManifest=json.dumps(manifest), imageTag="1"
    )
    failed = bare.batcat("destroy", "--confirm", bare.config.project, code=1)
    assert f"The stack {name} could not be removed." in failed.stderr
    assert "AWS::ECR::Repository Repository: The repository with name" in failed.stderr
    assert f"--stack-name {name} --retain-resources Repository --region" in failed.stderr


def test_a_stack_of_somebody_else_is_left_alone(bare: DeployedProject) -> None:
    """Two people have kept the default name, with other buckets, in one account."""
    theirs = tags_of(bare) | {"batcat:bucket": "another-result"}
    put(bare, bare.names.trigger_stack, theirs)
    refused = bare.batcat("destroy", "--confirm", bare.config.project, code=1)
    assert f"The stack {bare.names.trigger_stack} belongs to the project" in refused.stderr
    assert "with the bucket another-result" in refused.stderr
    put(bare, bare.names.project_stack)
    done = bare.batcat("destroy", "--confirm", bare.config.project)
    assert done.stdout == f"removed  {bare.names.project_stack}\n"
    assert f"stays    the stack {bare.names.trigger_stack}: another project's" in done.stderr
    assert stacks(bare) == {bare.names.trigger_stack: "CREATE_COMPLETE"}


def test_protection_against_deletion_is_respected(bare: DeployedProject) -> None:
    put(bare, bare.names.trigger_stack)
    put(bare, bare.names.project_stack)
    bare.client("cloudformation").update_termination_protection(
        StackName=bare.names.project_stack, EnableTerminationProtection=True
    )
    refused = bare.batcat("destroy", "--confirm", bare.config.project, code=1)
    assert "is protected against deletion; nothing was removed" in refused.stderr
    assert "update-termination-protection --no-enable-termination-protection" in refused.stderr
    assert len(stacks(bare)) == 2


def test_roles_that_an_administrator_made_stay(bare: DeployedProject) -> None:
    arn = f"arn:aws-cn:iam::{bare.world.aws.account_id}:role/given"
    path = bare.folder / "script" / "config.json"
    content = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(content | {"workflow_execution_role": arn}))
    put(bare, bare.names.stack("roles"))
    put(bare, bare.names.project_stack)
    done = bare.batcat("destroy", "--confirm", bare.config.project)
    assert f"stays    the role {arn}: script/config.json gives it" in done.stderr
    assert list(stacks(bare)) == [bare.names.stack("roles")]


def test_missing_rights_are_told_and_a_second_run_goes_on(bare: DeployedProject) -> None:
    for name in (bare.names.trigger_stack, bare.names.workflow_stack):
        put(bare, name)
    words = f"{DENIED}logs:DeleteLogGroup on resource: arn:aws-cn:logs:::log-group:x"
    denied = Fault("logs", "DeleteLogGroup", "AccessDeniedException", words, after=1, times=0)
    bare.world.wire.set(denied)
    stopped = bare.batcat("destroy", "--confirm", bare.config.project, code=1)
    assert "The role analyst may not logs:DeleteLogGroup" in stopped.stderr
    assert stacks(bare) == {bare.names.workflow_stack: "DELETE_FAILED"}
    bare.world.wire.set()
    done = bare.json("destroy", "--confirm", bare.config.project)
    assert done["stacks"] == [bare.names.workflow_stack]
    assert stacks(bare) == {}


def test_ctrl_c_says_what_goes_on_and_a_second_run_finishes(bare: DeployedProject) -> None:
    for name in (bare.names.trigger_stack, bare.names.workflow_stack):
        put(bare, name)
    removing = bare.start("destroy", "--confirm", bare.config.project)
    assert removing.stderr is not None
    next(line for line in removing.stderr if line.startswith("DELETE_IN_PROGRESS"))
    removing.send_signal(signal.SIGINT)
    _, said = removing.communicate(timeout=60)
    assert removing.returncode == 130, said
    assert "Stopped waiting. CloudFormation goes on" in said
    assert "`batcat destroy` again goes on" in said
    assert bc.destroy(bare.config.project, folder=bare.folder).stacks
    assert stacks(bare) == {}


def test_credentials_that_expire_say_what_goes_on(bare: DeployedProject) -> None:
    put(bare, bare.names.trigger_stack)
    expired = Fault("cloudformation", "DescribeStackEvents", "ExpiredToken", "too old", after=1)
    bare.world.wire.set(expired)
    stopped = bare.batcat("destroy", "--confirm", bare.config.project, code=130)
    assert "AWS does not accept the credentials in use" in stopped.stderr
    assert "CloudFormation goes on" in stopped.stderr
