"""The rehearsal: a project's whole deployment, run once against an embedded AWS.

Stages, each a step of the record: put in place what a real account would hold (buckets, sample
data, roles, the tables and secrets of `world`); deploy as `batcat deploy` does; invoke the Lambda
function as its schedule would, or upload an object; follow the execution; read the result back.
Every stage goes through the doors that a user and AWS would use. One that fails ends the rehearsal,
and the record says where and why. The embedded AWS is gone at the end, whatever happened.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

from botocore.exceptions import ClientError

from batcat_runtime.config import Config
from batcat_runtime.data import Sample, find_samples
from batcat_runtime.deploy.cloudformation import template_file
from batcat_runtime.deploy.image import Image
from batcat_runtime.deploy.limits import check_limits
from batcat_runtime.deploy.lock import LOCK
from batcat_runtime.deploy.project import deployment
from batcat_runtime.deploy.stack import StackChange
from batcat_runtime.errors import BatcatError, UserError
from batcat_runtime.log import reporting
from batcat_runtime.operate.connection import Project, open_project
from batcat_runtime.operate.executions import Execution, describe
from batcat_runtime.operate.history import StateRun, read_jobs, read_states
from batcat_runtime.operate.loglines import LogLine, read_job_logs, read_logs

from . import EmbeddedAWS, observe, world
from .aws.environment import applied
from .aws.iam import principals
from .aws.iam.denials import denied_calls
from .aws.jobs.packages import differences
from .aws.jobs.sandbox import choose_way, why_no_namespaces
from .container import tool
from .mails import read_mails
from .record import Rehearsal, Step, StepKind

DEFAULT_TIMEOUT = 900.0
_UPLOAD_WAIT_SECONDS = 30.0
_SCHEDULED_TIME = "<aws.scheduler.scheduled-time>"
_MOST_DIFFERENCES = 12


class _EndedError(Exception):
    """A stage failed: the rehearsal ends, its record is complete."""


def rehearse(
    folder: Path,
    purpose: str | None = None,
    *,
    fire_at: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    progress: Callable[[str], None] = lambda line: None,
    unsealed: str = "",
) -> Rehearsal:
    """Rehearse one purpose of a project, from deployment to result.

    Parameters
    ----------
    folder : Path
        The project's folder.
    purpose : str, optional
        May be left out when the project has one.
    fire_at : str, optional
        The local time, in the schedule's zone, at which the schedule fires: ``2022-01-08T02:00``.
        By default ``rehearsal.fire_at`` of the purpose, else now.
    timeout : float
        Seconds that the execution may take before it is stopped.
    progress : callable
        Called with one line whenever something happened.
    unsealed : str
        Why `seal` could not take the network away; the record tells it.

    Returns
    -------
    Rehearsal
        The record; its `status` says whether the pipeline succeeded.

    Raises
    ------
    ConfigError, UserError
        The project cannot be rehearsed as it is; nothing was started.
    EmbeddedAWSError
        The embedded AWS did not start.
    """
    project = open_project(folder)
    config = project.config
    check_limits(config)
    purpose = config.purpose_name(purpose)
    moment = _firing_time(config, purpose, fire_at)
    samples = find_samples(config, purpose, project.folder)
    upload = _find_upload(config, purpose, samples)
    wanted = world.find_world(config, purpose)
    if upload:
        moment = datetime.now(UTC)  # an object arrives when it does
    record = Rehearsal(
        title=config.title,
        project=config.project,
        purpose=purpose,
        region=config.region,
        partition=config.partition,
        account_id=EmbeddedAWS.account_id,
        fired_at=moment.isoformat(timespec="minutes"),
        started=datetime.now(UTC),
        versions=_versions(),
        hints=list(_hints(config, unsealed)),
    )
    for hint in record.hints:
        progress(hint)
    progress(f"starting an embedded AWS for {config.region} ({config.partition})")
    with EmbeddedAWS(region=config.region, enforce_policies=True) as aws:
        rehearsal = _Rehearser(project, record, aws, progress)
        try:
            rehearsal.prepare(samples, wanted)
            rehearsal.deploy()
            execution = rehearsal.upload(*upload) if upload else rehearsal.fire(moment)
            rehearsal.follow(execution, timeout)
        except _EndedError:
            pass
        finally:
            rehearsal.read_back()
        _tell_denials(record, denied_calls(aws.home, template_file(config, "roles", purpose)))
        record.mails = read_mails(aws.home)
    record.status = "failed" if record.error else "succeeded"
    record.logs.sort(key=lambda line: line.time)
    record.seconds = (datetime.now(UTC) - record.started).total_seconds()
    return record


def _hints(config: Config, unsealed: str) -> Iterator[str]:
    """Yield what is not as on AWS here: packages in other versions, a sandbox that is weaker."""
    docker = config.folder / "deploy" / "docker"
    lock = docker / LOCK
    if lock.is_file() and LOCK in (docker / "Dockerfile").read_text("utf-8"):
        found = differences(lock.read_text("utf-8"))
        if found:
            more = len(found) - _MOST_DIFFERENCES
            rest = f"; and {more} more" if more > 0 else ""
            yield f"Packages differ from the lock: {'; '.join(found[:_MOST_DIFFERENCES])}{rest}."
    if unsealed:
        yield f"Jobs could reach the network: {unsealed}. See docs/rehearsal.md."
    if choose_way() == "paths":
        reason = why_no_namespaces() or "BATCAT_SANDBOX asks for it"
        yield f"Jobs could read all files of this machine: {reason}. See docs/rehearsal.md."


def _firing_time(config: Config, purpose: str, fire_at: str | None) -> datetime:
    settings = config.purposes[purpose]
    zone = ZoneInfo(settings.schedule.timezone if settings.schedule else "UTC")
    text = fire_at or (settings.rehearsal.fire_at if settings.rehearsal else None)
    if text is None:
        return datetime.now(zone)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UserError(f"{text!r} is no time.", fix="Write it as 2022-01-08T02:00.") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    if moment - datetime.now(UTC) > timedelta(days=3660):
        raise UserError(f"{text} is more than ten years ahead.", fix="Take a time near your data.")
    return moment.astimezone(zone)


def _find_upload(
    config: Config, purpose: str, samples: tuple[Sample, ...]
) -> tuple[Sample, Path] | None:
    """Return the sample file whose arrival starts the purpose; None when a schedule does.

    Raises
    ------
    UserError
        The purpose has nothing but an S3 trigger, and no sample lies under its prefix.
    """
    settings = config.purposes[purpose]
    if settings.s3_trigger is None or settings.schedule is not None:
        return None
    for sample in samples:
        for path in sample.files:
            if "s3://{}/{}".format(*sample.address(path)).startswith(settings.s3_trigger.prefix):
                return sample, path
    raise UserError(
        f"No sample in data/raw/ goes to {settings.s3_trigger.prefix}, the prefix of the S3 "
        f"trigger of {purpose}, so nothing would start it.",
        fix="Give an input with that prefix, and put a file into its folder in data/raw/.",
    )


def _versions() -> dict[str, str]:
    packages = ("batcat-runtime", "awswrangler", "boto3", "moto", "pandas", "stepfunctions")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def _tell_denials(record: Rehearsal, denied: list[str]) -> None:
    """Name what roles were refused: in the log, and behind the reason of a failure."""
    now = datetime.now(UTC)
    record.logs += [LogLine(now, "permissions", line) for line in denied]
    if denied and record.error:
        record.error = "\n".join([record.error, "Refused for want of a permission:", *denied])
    elif denied:
        record.steps.append(Step("permissions", "result", "failed", now, 0.0, denied[0]))


@dataclass
class _Rehearser:
    """The stages of one rehearsal, over one embedded AWS."""

    project: Project
    record: Rehearsal
    aws: EmbeddedAWS
    progress: Callable[[str], None]
    runs: list[StateRun] = field(default_factory=list)
    deployer: str = ""

    def __post_init__(self) -> None:
        self.config, self.purpose = self.project.config, self.record.purpose
        self.names = self.project.names(self.purpose)
        self.machine = self.project.machine_arn(self.purpose)
        self.client = self.project.client  # the administrator's

    def prepare(self, samples: tuple[Sample, ...], wanted: world.World) -> None:
        """Put buckets, sample data, existing roles, the deployer and the world in place."""
        with self._step("sample data in S3", "data") as done:
            iam, account = self.client("iam"), self.aws.account_id
            principals.create_boundary(iam, self.config)
            principals.create_given_roles(iam, self.config, account)
            self.deployer = principals.create_deployer(iam, self.config, account)
            done(world.put_samples(self.client("s3"), self.config, samples))
        if wanted.tables or wanted.secrets:
            import boto3

            with self._step("tables and secrets", "data") as done:
                done(world.put_world(boto3.Session(region_name=self.config.region), wanted))

    def deploy(self) -> None:
        """Deploy the project as `batcat deploy` does, one step a part of it."""
        tools = tool.install(self.aws.home / "bin").parent
        environment = {
            **principals.credentials_of(self.client("sts"), self.deployer, "deploy"),
            "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        last = datetime.now(UTC)

        def heard(line: str) -> None:
            self.record.logs.append(LogLine(datetime.now(UTC), "deploy", line))
            self.progress(line)

        try:
            with applied(environment), reporting(heard):
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
        import boto3

        with self._step("schedule fires", "trigger") as done:
            text = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            function, payload = self.names.function, json.dumps({"scheduled_time": text})
            keys: dict[str, str] = {}
            if self.config.purposes[self.purpose].schedule is not None:
                schedule = self.client("scheduler").get_schedule(Name=self.names.schedule)
                function = schedule["Target"]["Arn"]
                role = schedule["Target"]["RoleArn"]
                given = principals.credentials_of(self.client("sts"), role, "schedule")
                keys = {name.lower(): value for name, value in given.items()}
                payload = schedule["Target"]["Input"].replace(_SCHEDULED_TIME, text)
            # With the rights of the schedule's role, as Scheduler has them.
            client = boto3.client("lambda", region_name=self.config.region, **keys)
            try:
                answer = client.invoke(FunctionName=function, Payload=payload.encode())
            except ClientError as error:
                self._end(f"The schedule could not invoke the Lambda function: {error}")
            reply = json.loads(answer["Payload"].read() or b"null")
            if answer.get("FunctionError"):
                kind, message = reply.get("errorType"), reply.get("errorMessage")
                self._end(f"The Lambda function failed: {kind}: {message}")
            if not isinstance(reply, dict) or "executionArn" not in reply:
                self._end(f"The Lambda function started no execution; it answered {reply!r}.")
            done(f"at {moment.isoformat(timespec='minutes')}")
        return str(reply["executionArn"])

    def upload(self, sample: Sample, path: Path) -> str:
        """Put a sample's file into S3 once more, with the rule on; return the execution's ARN."""
        with self._step("object arrives in S3", "trigger") as done:
            self.client("events").enable_rule(Name=self.names.rule)
            bucket, key = sample.address(path)
            self.client("s3").upload_file(str(path), bucket, key)
            deadline, found = time.monotonic() + _UPLOAD_WAIT_SECONDS, list[dict[str, Any]]()
            while not found and time.monotonic() < deadline:
                time.sleep(0.1)
                found = self.client("stepfunctions").list_executions(stateMachineArn=self.machine)[
                    "executions"
                ]
            if not found:
                lines = read_logs(self.client("logs"), self._log_groups())
                self._end(
                    f"s3://{bucket}/{key} arrived, but no execution was started.",
                    *[line.text for line in lines][-20:],
                )
            done(f"s3://{bucket}/{key}")
        return str(found[0]["executionArn"])

    def follow(self, execution: str, timeout: float) -> None:
        """Wait until the execution ends; say which state it is in; stop it when time is up."""
        states = self.client("stepfunctions")
        deadline, told, late = time.monotonic() + timeout, 0, ""
        while True:
            answer = describe(self.project, self.purpose, execution)
            runs = read_states(states, execution)
            for run in runs[told:]:
                if run.kind == "Task":
                    self.progress(f"state {run.name} entered")
            told = len(runs)
            if not answer.running:
                break
            if time.monotonic() > deadline and not late:
                late = f"It was stopped after {timeout:.0f} s (--timeout). "
                self.progress(f"stopping the execution after {timeout:.0f} s")
                states.stop_execution(
                    executionArn=execution, error="RehearsalTimeout", cause="stopped by --timeout"
                )
            time.sleep(0.1)
        self._conclude(answer, runs, late)

    def _conclude(self, execution: Execution, runs: list[StateRun], late: str) -> None:
        self.runs = runs
        if execution.window:
            self.record.window = (execution.window.start, execution.window.end)
        self.record.state_status = {
            run.name: "succeeded" if run.status == "running" else run.status for run in runs
        }
        succeeded = execution.succeeded
        times = execution.started, execution.stopped
        self._note(
            self.names.state_machine, "workflow", execution.name, *times, failed=not succeeded
        )
        self.record.steps += observe.steps_of(runs, self._jobs())
        if not succeeded:
            self._end(late + observe.reason_of(self.project, execution, runs))
        with self._step("result", "result") as done:
            try:
                with reporting(self.progress):
                    done(observe.keep_result(self.record, self.project))
            except BatcatError as error:
                self._end(*str(error).split("\n"))

    def read_back(self) -> None:
        """Collect what was deployed and what was logged, as far as the rehearsal came."""
        cloudformation = self.client("cloudformation")
        pages = cloudformation.get_paginator("describe_stacks").paginate()
        stacks = [stack for page in pages for stack in page["Stacks"]]
        for stack in sorted(stacks, key=lambda stack: stack["CreationTime"]):
            listed = cloudformation.describe_stack_resources(StackName=stack["StackName"])
            self.record.resources += [
                (found["ResourceType"], found.get("PhysicalResourceId") or "")
                for found in listed["StackResources"]
            ]
        states = self.client("stepfunctions")
        with contextlib.suppress(states.exceptions.StateMachineDoesNotExist):
            described = states.describe_state_machine(stateMachineArn=self.machine)
            self.record.definition = json.loads(described["definition"])
        self.record.logs += read_logs(self.client("logs"), self._log_groups())
        self.record.logs += read_job_logs(self.client("logs"), self._jobs())

    def _jobs(self) -> list[dict[str, Any]]:
        return read_jobs(self.client("sagemaker"), self.runs)

    def _log_groups(self) -> dict[str, str]:
        return {
            self.names.function_log_group: "trigger",
            self.names.workflow_log_group: "workflow",
        }

    @contextlib.contextmanager
    def _step(self, name: str, kind: StepKind) -> Iterator[Callable[[str], None]]:
        started, said = datetime.now(UTC), [""]

        def done(detail: str) -> None:
            said[0] = detail

        self.progress(name)
        try:
            yield done
        except BaseException:
            self._note(
                name, kind, said[0] or self.record.error.split("\n")[0], started, failed=True
            )
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
        status: Any = "failed" if failed else "succeeded"
        self.record.steps.append(Step(name, kind, status, started, max(0.0, seconds), detail))

    def _end(self, reason: str, *lines: str) -> NoReturn:
        self.record.error = "\n".join([reason, *lines])
        raise _EndedError(reason)
