"""The stages of a rehearsal, each a step of the record.

Every stage goes through the doors that a user and AWS would use: the deployment as `batcat deploy`
runs it, the schedule's target as the scheduler would invoke it, everything else through boto3.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from batcat_runtime.config import Config
from batcat_runtime.deploy.image import Image
from batcat_runtime.deploy.project import deployment
from batcat_runtime.deploy.stack import StackChange
from batcat_runtime.errors import BatcatError
from batcat_runtime.log import reporting
from batcat_runtime.names import Names
from batcat_runtime.operate.history import StateRun, read_states
from batcat_runtime.operate.loglines import LogLine, read_job_logs, read_logs
from batcat_runtime.rehearsal import EmbeddedAWS, container_tool, observe, prepare, principals
from batcat_runtime.rehearsal.prepare import Sample
from batcat_runtime.rehearsal.record import Step, StepKind, StepStatus

_UPLOAD_WAIT_SECONDS = 30.0
_SERVICES = (
    "s3",
    "events",
    "iam",
    "ecr",
    "lambda",
    "scheduler",
    "stepfunctions",
    "sagemaker",
    "logs",
    "cloudformation",
    "sts",
)
_SCHEDULED_TIME = "<aws.scheduler.scheduled-time>"


class EndedError(Exception):
    """A stage failed: the rehearsal ends, its record is complete."""


@contextmanager
def _variables(given: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment within the block."""
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@dataclass
class Notes:
    """What the rehearsal has seen so far."""

    steps: list[Step] = field(default_factory=list)
    logs: list[LogLine] = field(default_factory=list)
    resources: list[tuple[str, str]] = field(default_factory=list)
    definition: dict[str, Any] = field(default_factory=dict)
    state_status: dict[str, str] = field(default_factory=dict)
    window: tuple[str, str] | None = None
    result: observe.Result = field(default_factory=observe.Result)
    error: str = ""


class Rehearser:
    """The stages of one rehearsal, over one embedded AWS."""

    def __init__(
        self,
        config: Config,
        purpose: str,
        folder: Path,
        aws: EmbeddedAWS,
        notes: Notes,
        progress: Callable[[str], None],
    ) -> None:
        import boto3

        self.config = config
        self.purpose = purpose
        self.names = Names.of(config, purpose)
        self.folder = folder
        self.aws = aws
        self.notes = notes
        self.progress = progress
        self.runs: list[StateRun] = []
        self.deployer = ""
        session = boto3.Session(region_name=config.region)
        self.clients = {name: session.client(name) for name in _SERVICES}

    def prepare(self, samples: tuple[prepare.Sample, ...]) -> None:
        """Put buckets, sample data, existing roles and the deployer in place."""
        with self._step("sample data in S3", "data") as done:
            iam, account = self.clients["iam"], self.aws.account_id
            principals.create_boundary(iam, self.config)
            principals.create_given_roles(iam, self.config, account)
            self.deployer = principals.create_deployer(iam, self.config, account)
            done(prepare.put_in_place(self.clients, self.config, samples))

    def deploy(self) -> None:
        """Deploy the project as `batcat deploy` does, one step a part of it."""
        tools = self.aws.home / "bin"
        tools.mkdir(exist_ok=True)
        container_tool.install(tools)
        environment = {
            **principals.credentials_of(self.clients["sts"], self.deployer, "deploy"),
            "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        last = datetime.now(UTC)

        def heard(line: str) -> None:
            self.notes.logs.append(LogLine(datetime.now(UTC), "deploy", line))
            self.progress(line)

        try:
            with _variables(environment), reporting(heard):
                for part in deployment(self.config):
                    now = datetime.now(UTC)
                    self._note(*self._told(part), last, now)
                    last = now
        except BatcatError as error:
            heard(str(error))
            self._note("deployment", "deploy", error.message.split("\n")[0], last, failed=True)
            self._end("The deployment failed.", *str(error).split("\n"))

    def _told(self, part: Image | StackChange) -> tuple[str, StepKind, str]:
        if isinstance(part, Image):
            return "container image", "image", f"{part.repository}:{part.tag}"
        what = {
            self.names.project_stack: "image repository",
            self.names.stack("roles"): "roles",
            self.names.workflow_stack: "workflow",
            self.names.trigger_stack: "trigger",
        }
        return what.get(part.stack, part.stack), "deploy", f"stack {part.stack} {part.outcome}"

    def fire(self, moment: datetime) -> str:
        """Invoke the schedule's target as the scheduler would; return the execution's ARN."""
        with self._step("schedule fires", "trigger") as done:
            text = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            function, payload = self.names.function, json.dumps({"scheduled_time": text})
            client = self.clients["lambda"]
            if self.config.purposes[self.purpose].schedule is not None:
                schedule = self.clients["scheduler"].get_schedule(Name=self.names.schedule)
                function = schedule["Target"]["Arn"]
                client = self._lambda_as(schedule["Target"]["RoleArn"])
                payload = schedule["Target"]["Input"].replace(
                    "<aws.scheduler.scheduled-time>", text
                )
            try:
                answer = client.invoke(FunctionName=function, Payload=payload.encode())
            except ClientError as error:
                self._end(f"The schedule could not invoke the Lambda function: {error}")
            reply = json.loads(answer["Payload"].read() or b"null")
            if answer.get("FunctionError"):
                self._end(
                    f"The Lambda function failed: {reply.get('errorType')}: "
                    f"{reply.get('errorMessage')}"
                )
            if not isinstance(reply, dict) or "executionArn" not in reply:
                self._end(f"The Lambda function started no execution; it answered {reply!r}.")
            if "date_start" in reply:
                self.notes.window = (reply["date_start"], reply["date_end"])
            done(f"at {moment.isoformat(timespec='minutes')}")
        return str(reply["executionArn"])

    def _lambda_as(self, role: str) -> Any:
        """Return a Lambda client with the rights of the schedule's role, as Scheduler has them."""
        import boto3

        keys = principals.credentials_of(self.clients["sts"], role, "schedule")
        return boto3.Session(region_name=self.config.region).client(
            "lambda",
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=keys["AWS_SESSION_TOKEN"],
        )

    def upload(self, sample: Sample, path: Path) -> str:
        """Put a sample's file into S3 once more, with the rule on; return the execution's ARN."""
        with self._step("object arrives in S3", "trigger") as done:
            self.clients["events"].enable_rule(Name=self.names.rule)
            bucket, key = sample.address(path)
            self.clients["s3"].upload_file(str(path), bucket, key)
            execution = self._started_execution(_UPLOAD_WAIT_SECONDS)
            if execution is None:
                lines = read_logs(self.clients["logs"], self._log_groups())
                self._end(
                    f"s3://{bucket}/{key} arrived, but no execution was started.",
                    *[line.text for line in lines][-20:],
                )
            done(f"s3://{bucket}/{key}")
        return str(execution)

    def _started_execution(self, seconds: float) -> str | None:
        states = self.clients["stepfunctions"]
        machines = states.list_state_machines()["stateMachines"]
        mine = [one for one in machines if one["name"] == self.names.state_machine]
        deadline = time.monotonic() + seconds
        while mine and time.monotonic() < deadline:
            found = states.list_executions(stateMachineArn=mine[0]["stateMachineArn"])["executions"]
            if found:
                return str(found[0]["executionArn"])
            time.sleep(0.1)
        return None

    def follow(self, execution: str, timeout: float) -> None:
        """Wait until the execution ends; say which state it is in; stop it when time is up."""
        states = self.clients["stepfunctions"]
        deadline, told, stopped = time.monotonic() + timeout, 0, False
        while True:
            answer = states.describe_execution(executionArn=execution)
            runs = read_states(states, execution)
            for run in runs[told:]:
                if run.kind == "Task":
                    self.progress(f"state {run.name} entered")
            told = len(runs)
            if answer["status"] != "RUNNING":
                break
            if time.monotonic() > deadline and not stopped:
                stopped = True
                self.progress(f"stopping the execution after {timeout:.0f} s")
                states.stop_execution(
                    executionArn=execution, error="RehearsalTimeout", cause="stopped by --timeout"
                )
            time.sleep(0.1)
        self._conclude(execution, answer, runs, stopped, timeout)

    def _conclude(
        self,
        execution: str,
        answer: dict[str, Any],
        runs: list[StateRun],
        stopped: bool,
        timeout: float,
    ) -> None:
        self.runs = runs
        jobs = self._jobs()
        succeeded = answer["status"] == "SUCCEEDED"
        self.notes.state_status = {
            run.name: "succeeded" if run.status == "running" else run.status for run in runs
        }
        self._note(
            self.names.state_machine,
            "workflow",
            answer["name"],
            answer["startDate"],
            answer.get("stopDate"),
            failed=not succeeded,
        )
        self.notes.steps.extend(observe.steps_of(runs, jobs))
        if not succeeded:
            lines = read_job_logs(self.clients["logs"], jobs)
            reason = observe.reason_of(answer, jobs, lines)
            late = f"It was stopped after {timeout:.0f} s (--timeout). " if stopped else ""
            self._end(late + reason)
        with self._step("result", "result") as done:
            found = observe.read_result(
                self.clients["s3"], self.config, self.purpose, answer["name"]
            )
            self.notes.result = found
            if found.manifest is None:
                self._end("The execution succeeded, but its result has no manifest in the bucket.")
            if found.missing:
                self._end(f"The execution succeeded, but its result is not whole: {found.missing}.")
            rows = found.table.rows if found.table else 0
            done(f"{rows} rows" if found.table else f"{len(found.files)} files")
            self._keep(found)

    def read_back(self) -> None:
        """Collect what was deployed and what was logged, as far as the rehearsal came."""
        cloudformation = self.clients["cloudformation"]
        pages = cloudformation.get_paginator("list_stacks").paginate()
        stacks = [one for page in pages for one in page["StackSummaries"]]
        for stack in reversed(stacks):
            if stack["StackStatus"] == "DELETE_COMPLETE":
                continue
            listed = cloudformation.describe_stack_resources(StackName=stack["StackName"])
            self.notes.resources += [
                (one["ResourceType"], one.get("PhysicalResourceId") or "")
                for one in listed["StackResources"]
            ]
        machines = self.clients["stepfunctions"].list_state_machines()["stateMachines"]
        for machine in machines:
            if machine["name"] == self.names.state_machine:
                described = self.clients["stepfunctions"].describe_state_machine(
                    stateMachineArn=machine["stateMachineArn"]
                )
                self.notes.definition = json.loads(described["definition"])
        self.notes.logs += read_logs(self.clients["logs"], self._log_groups())
        self.notes.logs += read_job_logs(self.clients["logs"], self._jobs())

    def _jobs(self) -> list[dict[str, Any]]:
        return observe.read_jobs(self.clients["sagemaker"], self.runs)

    def _log_groups(self) -> dict[str, str]:
        return {
            self.names.function_log_group: "trigger",
            self.names.workflow_log_group: "workflow",
        }

    def _keep(self, found: observe.Result) -> None:
        """Copy the result out of the embedded S3, which is about to vanish."""
        target = self.folder / "data" / "result" / "rehearsal" / self.purpose
        shutil.rmtree(target, ignore_errors=True)
        for name, data in found.files.items():
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    @contextmanager
    def _step(self, name: str, kind: StepKind) -> Iterator[Callable[[str], None]]:
        started, said = datetime.now(UTC), [""]

        def done(detail: str) -> None:
            said[0] = detail

        self.progress(name)
        try:
            yield done
        except BaseException:
            self._note(name, kind, said[0] or self.notes.error.split("\n")[0], started, failed=True)
            raise
        self._note(name, kind, said[0], started)

    def _note(
        self,
        name: str,
        kind: StepKind,
        detail: str,
        started: datetime,
        ended: datetime | None = None,
        *,
        failed: bool = False,
    ) -> None:
        seconds = ((ended or datetime.now(UTC)) - started).total_seconds()
        status: StepStatus = "failed" if failed else "succeeded"
        self.notes.steps.append(Step(name, kind, status, started, max(0.0, seconds), detail))

    def _end(self, reason: str, *lines: str) -> None:
        self.notes.error = "\n".join([reason, *lines])
        raise EndedError(reason)
