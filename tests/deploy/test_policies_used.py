"""Policies against what really happens: deployments and a run, on an embedded AWS that enforces.

One story for the whole module: a first deployment that fails and is rolled back, the same mended,
again unchanged, one run, the schedule switched on, backfills, planned, changed after a change that
failed, with its schedule taken away, and all of it removed while a job runs. Whoever deploys has
the deployer's policies and nothing else, and so has whoever backfills. Every call is recorded with
the role that made it.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

import batcat_runtime as bc
from batcat_runtime.config import Config, get_config
from batcat_runtime.deploy import planning
from batcat_runtime.deploy.codebuild import CodeBuild, build_policy, build_role_name
from batcat_runtime.deploy.context import gather_context
from batcat_runtime.deploy.naming import Names
from batcat_runtime.deploy.policies.sources import SOURCES
from batcat_runtime.deploy.roles import (
    BACKFILL,
    ROLES,
    backfill_policies,
    deployer_policies,
    policy,
)
from batcat_runtime.deploy.script import STACK_LINE
from batcat_runtime.errors import StackError
from batcat_runtime.operate.destroy import destroy
from batcat_runtime.operate.schedule import schedule
from batcat_runtime.project import new_project
from batcat_runtime.rehearsal import EmbeddedAWS, container_tool, prepare, principals
from batcat_runtime.rehearsal.access.evaluation import Need, decide
from batcat_runtime.rehearsal.access.trail import Entry, read_trail
from batcat_runtime.rehearsal.environment import applied
from batcat_runtime.rehearsal.faults import Fault, set_faults

ACCOUNT = "123456789012"
PURPOSE = "usage-analysis"
BACKFILLER = "backfiller"
GLOBAL = {"aws:PrincipalAccount": ACCOUNT, "aws:RequestedRegion": "cn-northwest-1"}
Change = Callable[[dict[str, Any]], None]


@dataclass
class Story:
    """What happened: the calls, and the documents of every configuration on the way."""

    entries: list[Entry]
    documents: dict[str, list[dict[str, Any]]]
    outcomes: list[list[str]]


class Stage:
    """A baked project, an embedded AWS that enforces, and a deployer without other rights."""

    def __init__(self, project: Path, aws: EmbeddedAWS) -> None:
        self.project, self.aws = project, aws
        self.clients = {name: boto3.client(name) for name in ("s3", "iam", "sts", "scheduler")}
        config = get_config(project)
        samples = prepare.find_samples(config, PURPOSE, project)
        prepare.put_in_place(self.clients, config, samples)
        role = principals.create_deployer(self.clients["iam"], config, ACCOUNT)
        # For building without a container tool; a rehearsal's deployer does not have it.
        self.clients["iam"].put_role_policy(
            RoleName=principals.DEPLOYER,
            PolicyName="build",
            PolicyDocument=json.dumps(deployer_policies(config, ACCOUNT)["build"]),
        )
        backfiller = self._backfiller(config)
        tools = container_tool.install(aws.home / "bin").parent
        self.deployer = {
            **aws.environment(),
            **principals.credentials_of(self.clients["sts"], role, "deploy.sh"),
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        }
        self.backfiller = {
            **aws.environment(),
            **principals.credentials_of(self.clients["sts"], backfiller, "ada"),
        }

    def _backfiller(self, config: Config) -> str:
        iam, owner = self.clients["iam"], {"AWS": f"arn:aws-cn:iam::{ACCOUNT}:root"}
        trust = {"Effect": "Allow", "Principal": owner, "Action": "sts:AssumeRole"}
        role = iam.create_role(
            RoleName=BACKFILLER,
            AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        )["Role"]
        document = backfill_policies(config, ACCOUNT)[PURPOSE]
        iam.put_role_policy(
            RoleName=BACKFILLER, PolicyName="own", PolicyDocument=json.dumps(document)
        )
        return str(role["Arn"])

    def backfill(self, *arguments: str, **options: Any) -> str:
        """Do what `batcat backfill` does, with its document alone; return the status."""
        with applied(self.backfiller):
            state = bc.backfill(*arguments, folder=self.project, **options)
        return state.status

    def deploy(self) -> list[str]:
        """Do what deploy/deploy.sh does, as the deployer; return the stacks' outcomes."""
        config, said = get_config(self.project), []
        with applied(self.deployer), contextlib.chdir(self.project):
            bc.setup_image(config, progress=said.append)
            for setup in (bc.setup_workflow, bc.setup_trigger):
                setup(config, PURPOSE, progress=said.append)
        return [line for line in said if STACK_LINE.fullmatch(line)]

    def plan(self) -> list[str]:
        """Have the same steps say what they would do; return the stacks' outcomes."""
        with applied({planning.VARIABLE: str(self.aws.home / "plan.jsonl")}):
            return self.deploy()

    def fail_half_way_and_back(self) -> None:
        """Fail an update, and the way back too."""
        denied = "User: d is not authorized to perform: states:UpdateStateMachine"
        set_faults(
            self.aws.home,
            Fault("stepfunctions", "UpdateStateMachine", "AccessDeniedException", denied, times=2),
        )
        with pytest.raises(StackError, match="UPDATE_ROLLBACK_FAILED"):
            self.deploy()

    def build_with_codebuild(self) -> None:
        """Have the image built in the account, as the deployer."""
        config = get_config(self.project)
        context = self.aws.home / "context"
        context.mkdir()
        with applied(self.deployer), contextlib.chdir(self.project):
            gather_context(self.project, context, ["usage-analysis.py"])
            session = boto3.Session()
            builder = CodeBuild(config, session, progress=print, sleep=time.sleep)
            ecr = session.client("ecr")
            found = ecr.describe_repositories(repositoryNames=[Names.of(config).repository])
            uri = found["repositories"][0]["repositoryUri"]
            builder.build_and_push(context, uri, "built-in-the-account")

    def switch_on(self) -> None:
        """Do what `batcat schedule on` does, as the deployer."""
        with applied(self.deployer):
            schedule("on", folder=self.project)

    def remove_backfills(self) -> None:
        """Delete the backfill's stack, as an administrator: the deployer has no right to it."""
        stacks, name = boto3.client("cloudformation"), Names.of(get_config(self.project))
        stacks.delete_stack(StackName=name.backfill_stack)
        stacks.get_waiter("stack_delete_complete").wait(
            StackName=name.backfill_stack, WaiterConfig={"Delay": 1}
        )

    def destroy(self) -> None:
        """Do what `batcat destroy --stop-running` does while a job runs, as the deployer."""
        config = get_config(self.project)
        names = Names.of(config, PURPOSE)
        machine = names.arn("states", f"stateMachine:{names.state_machine}", ACCOUNT)
        bc.register_results(folder=self.project)
        boto3.client("stepfunctions").start_execution(stateMachineArn=machine, input="{}")
        with applied(self.deployer):
            done = destroy(config.project, folder=self.project, stop_running=True)
        assert (len(done.removed), len(done.stopped), done.left) == (4, 1, ())
        assert len(done.tables) == 2

    def configure(self, edit: Change) -> None:
        change(self.project, edit)

    def wait_for_a_run(self) -> None:
        """Wait until an execution of the workflow is running."""
        names = Names.of(get_config(self.project))
        machine = names.arn("states", f"stateMachine:{names.state_machine}", ACCOUNT)
        states = boto3.client("stepfunctions")
        for _ in range(600):
            asked = {"stateMachineArn": machine, "statusFilter": "RUNNING"}
            if states.list_executions(**asked)["executions"]:
                return
            time.sleep(0.05)
        raise AssertionError("nothing runs")

    def run(self) -> str:
        """Let the schedule fire, with its role, and wait until the execution has ended."""
        names = Names.of(get_config(self.project))
        target = self.clients["scheduler"].get_schedule(Name=names.schedule)["Target"]
        keys = principals.credentials_of(self.clients["sts"], target["RoleArn"], "schedule")
        with applied({**self.aws.environment(), **keys}):
            payload = json.dumps({"scheduled_time": "2022-01-07T18:00:00Z"}).encode()
            function = boto3.Session().client("lambda")  # the default session keeps its keys
            answer = function.invoke(FunctionName=target["Arn"], Payload=payload)
        execution = json.loads(answer["Payload"].read())["executionArn"]
        states = boto3.client("stepfunctions")
        for _ in range(600):
            status = str(states.describe_execution(executionArn=execution)["status"])
            if status != "RUNNING":
                break
            time.sleep(0.1)
        return status


def change(project: Path, edit: Change) -> None:
    """Edit a project's configuration."""
    path = project / "script" / "config.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def documents_of(config: Config) -> dict[str, list[dict[str, Any]]]:
    """Return the documents by the name of the role that has them."""
    names = Names.of(config, PURPOSE)
    found = {names.role(role): [policy(role, config, names, ACCOUNT)] for role in ROLES}
    found[names.role(BACKFILL)] = [policy(BACKFILL, config, names, ACCOUNT)]
    found[BACKFILLER] = [backfill_policies(config, ACCOUNT)[PURPOSE]]
    found[build_role_name(names)] = [build_policy(config, names, ACCOUNT)]
    return found | {principals.DEPLOYER: list(deployer_policies(config, ACCOUNT).values())}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    home = tmp_path_factory.mktemp("aws")
    project = new_project({}, no_input=True, output_dir=tmp_path_factory.mktemp("project"))
    outcomes = []

    def purpose(content: dict[str, Any]) -> dict[str, Any]:
        return dict.__getitem__(content["purposes"], PURPOSE)

    def no_such_hour(content: dict[str, Any]) -> None:
        purpose(content)["schedule"]["expression"] = "cron(0 25 * * ? *)"

    def mended(content: dict[str, Any]) -> None:
        purpose(content)["schedule"]["expression"] = "cron(0 2 * * ? *)"
        content["tags"] = {"team": "cells", "stage": "test"}

    def changed(content: dict[str, Any]) -> None:
        content["tags"] = {"team": "packs"}
        purpose(content)["schedule"]["window_days"] = 3
        purpose(content)["schedule"]["expression"] = "cron(0 3 * * ? *)"
        purpose(content)["steps"][0]["max_runtime_seconds"] = 1800

    def unscheduled(content: dict[str, Any]) -> None:
        purpose(content)["schedule"] = None
        purpose(content)["s3_trigger"] = None

    def triggered(content: dict[str, Any]) -> None:
        purpose(content)["s3_trigger"] = {"prefix": "s3://project-battery-result/raw/usage/"}

    change(project, triggered)
    with EmbeddedAWS(region="cn-northwest-1", home=home, enforce_policies=True) as aws:
        stage = Stage(project, aws)
        stage.configure(no_such_hour)
        with pytest.raises(StackError, match="Invalid Schedule Expression"):
            stage.deploy()
        stage.configure(mended)
        outcomes.append(stage.deploy())
        documents = documents_of(get_config(project))
        outcomes.append(stage.deploy())
        outcomes.append([stage.run()])
        stage.switch_on()
        backfills = [stage.backfill("2022-01-05", "2022-01-06")]
        backfills.append(stage.backfill("2022-01-02", "2022-01-03", wait=False))
        stage.wait_for_a_run()
        backfills.append(stage.backfill("stop"))
        stage.build_with_codebuild()
        function = project / "deploy" / "lambda" / "lambda_function.py"
        function.write_text(function.read_text() + "\n# changed\n")
        stage.configure(changed)
        outcomes.append(stage.plan())
        stage.fail_half_way_and_back()
        outcomes.append(stage.deploy())
        backfills.append(stage.backfill("resume"))
        outcomes.append(backfills)
        script = project / "script" / f"{PURPOSE}.py"
        script.write_text("import time\ntime.sleep(60)\n")  # runs until it is stopped
        stage.configure(unscheduled)
        outcomes.append(stage.deploy())
        stage.remove_backfills()
        stage.destroy()
        yield Story(read_trail(home), documents, outcomes)


def test_the_deployers_policies_are_enough(story: Story) -> None:
    first, second, run, planned, changed, backfills, unscheduled = story.outcomes
    assert backfills == ["SUCCEEDED", "RUNNING", "ABORTED", "SUCCEEDED"]
    assert [line.split(": ")[1] for line in first] == ["updated", "updated", "created"]
    assert [line.split(": ")[1] for line in second] == ["unchanged"] * 3
    assert run == ["SUCCEEDED"]
    assert [line.split(": ")[1] for line in planned] == ["planned"] * 3
    # The first stack was updated before the second one failed, which then was put right.
    assert [line.split(": ")[1] for line in changed] == ["unchanged", "updated", "updated"]
    assert unscheduled[-1].endswith("updated")


def test_every_call_is_allowed_by_the_policy_of_the_role_that_makes_it(story: Story) -> None:
    assert [entry for entry in story.entries if entry.reason != "allowed"] == []
    roles = {entry.role.rpartition("/")[2] for entry in story.entries}
    assert roles == set(story.documents)
    for entry in story.entries:
        documents = story.documents[entry.role.rpartition("/")[2]]
        assert decide(documents, need_of(entry), context=GLOBAL).allowed, entry


def test_without_any_one_action_something_fails(story: Story) -> None:
    """No action is idle: a recorded call needs it, or a page of AWS's that `SOURCES` names does."""
    idle = set()
    for role, documents in story.documents.items():
        entries = [entry for entry in story.entries if entry.role.endswith(f"/{role}")]
        for action in sorted(actions_of(documents)):
            reduced = [without(one, action) for one in documents]
            if all(decide(reduced, need_of(one), context=GLOBAL).allowed for one in entries):
                idle.add((kind_of(role), action))
    known = set(SOURCES)
    # Whether the backfill that is stopped has begun its job is a matter of moments.
    sometimes = {("workflow", "sagemaker:StopProcessingJob")}
    assert sorted(idle - known - sometimes) == []
    assert sorted(known - idle - sometimes) == [], "these do happen: SOURCES need not name them"


def test_a_deployer_can_do_nothing_more(story: Story) -> None:
    documents = story.documents[principals.DEPLOYER]
    for action, resource in (
        ("iam:CreateRole", f"arn:aws-cn:iam::{ACCOUNT}:role/other"),
        ("iam:CreateUser", f"arn:aws-cn:iam::{ACCOUNT}:user/other"),
        ("iam:AttachRolePolicy", f"arn:aws-cn:iam::{ACCOUNT}:role/{PURPOSE}"),
        ("s3:GetObject", "arn:aws-cn:s3:::project-battery-result/raw/usage/usage.csv.gz"),
        ("states:StartExecution", "*"),
        ("sagemaker:CreateProcessingJob", "*"),
        ("cloudformation:CreateChangeSet", "arn:aws-cn:cloudformation:cn-northwest-1:1:stack/o/*"),
        ("lambda:InvokeFunction", "*"),
        ("sts:AssumeRole", f"arn:aws-cn:iam::{ACCOUNT}:role/other"),
    ):
        assert decide(documents, Need(action, resource)).reason == "implicit", action
    other = {"iam:PassedToService": "ec2.amazonaws.com"}
    for entry in story.entries:
        if entry.action == "iam:PassRole" and entry.role.endswith(principals.DEPLOYER):
            elsewhere = Need(entry.action, entry.resource, other)
            assert not decide(documents, elsewhere).allowed


def need_of(entry: Entry) -> Need:
    return Need(entry.action, entry.resource, entry.context)


def kind_of(role: str) -> str:
    return next((one for one in (*ROLES, BACKFILL, "build") if f"-{one}-" in role), role)


def actions_of(documents: list[dict[str, Any]]) -> set[str]:
    return {action for one in documents for each in one["Statement"] for action in listed(each)}


def listed(statement: dict[str, Any]) -> list[str]:
    actions = statement["Action"]
    return [actions] if isinstance(actions, str) else list(actions)


def without(document: dict[str, Any], action: str) -> dict[str, Any]:
    statements = []
    for one in document["Statement"]:
        left = [each for each in listed(one) if each != action]
        if left:
            statements.append({**one, "Action": left})
    return {**document, "Statement": statements}
