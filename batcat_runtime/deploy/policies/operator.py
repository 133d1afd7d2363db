"""Whoever operates a pipeline: looks at it, starts and stops runs, reads results. Changes nothing.

An operator needs no rights of a deployer. `PARTS` says what each command of `batcat` asks of AWS;
the policy of a purpose is all of it together. A new command adds its parts here, and a test that
runs every command with this policy alone sees whether they are enough, and whether one is idle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from batcat_runtime.config import Config
from batcat_runtime.deploy.naming import Names
from batcat_runtime.deploy.policies.document import (
    NO_RESOURCES,
    Document,
    allow,
    kms_key,
    steps_of,
)

JOB_LOG_GROUP = "/aws/sagemaker/ProcessingJobs"


@dataclass(frozen=True)
class Scope:
    """What resources are made of: a purpose, its account and the ARNs of its roles."""

    config: Config
    names: Names
    account: str
    roles: dict[str, str]

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of a resource of the account and region."""
        return self.names.arn(service, resource, self.account)


@dataclass(frozen=True)
class Part:
    """Actions on the same resources.

    Attributes
    ----------
    sid : str
        What the statement is for.
    commands : tuple of str
        The commands of `batcat` that need it.
    actions : tuple of str
        Of IAM.
    resources : callable
        From the scope to their ARNs.
    """

    sid: str
    commands: tuple[str, ...]
    actions: tuple[str, ...]
    resources: Callable[[Scope], list[str]]


def _machine(scope: Scope) -> list[str]:
    return [scope.arn("states", f"stateMachine:{scope.names.state_machine}")]


def _lists(scope: Scope) -> list[str]:
    # A list is of a state machine's executions, or of a Map Run's.
    return [*_machine(scope), scope.arn("states", f"mapRun:{scope.names.state_machine}/*:*")]


def _executions(scope: Scope) -> list[str]:
    return [scope.arn("states", f"execution:{scope.names.state_machine}:*")]


def _described(scope: Scope) -> list[str]:
    # The other form is that of Express workflows; without it, linters miss a resource.
    return [*_executions(scope), scope.arn("states", f"express:{scope.names.state_machine}:*:*")]


def _jobs(scope: Scope) -> list[str]:
    steps = steps_of(scope.config, scope.names)
    prefixes = (scope.names.job_prefix(step.name) for step in steps)
    return [scope.arn("sagemaker", f"processing-job/{prefix}-*") for prefix in prefixes]


def _logs(scope: Scope) -> list[str]:
    names = scope.names
    groups = (JOB_LOG_GROUP, names.function_log_group, names.workflow_log_group)
    return [scope.arn("logs", f"log-group:{one}:*") for one in groups]


def _bucket(scope: Scope) -> list[str]:
    return [scope.names.arn("s3", scope.config.result_s3_bucket, "", region="")]


def _results(scope: Scope) -> list[str]:
    place = f"{scope.config.result_s3_bucket}/{scope.names.result_prefix}/*"
    return [scope.names.arn("s3", place, "", region="")]


def _stacks(scope: Scope) -> list[str]:
    names = scope.names
    stacks = (names.project_stack, names.workflow_stack, names.trigger_stack, names.backfill_stack)
    return [scope.arn("cloudformation", f"stack/{one}/*") for one in stacks]


def _trigger(scope: Scope) -> list[str]:
    return [scope.arn("cloudformation", f"stack/{scope.names.trigger_stack}/*")]


def _repository(scope: Scope) -> list[str]:
    return [scope.arn("ecr", f"repository/{scope.names.repository}")]


def _roles(scope: Scope) -> list[str]:
    return list(dict.fromkeys(scope.roles.values()))


def _schedule(scope: Scope) -> list[str]:
    scheduled = scope.config.purposes[scope.names.purpose].schedule is not None
    name = f"schedule/default/{scope.names.schedule}"
    return [scope.arn("scheduler", name)] if scheduled else []


def _rule(scope: Scope) -> list[str]:
    watched = scope.config.purposes[scope.names.purpose].s3_trigger is not None
    return [scope.arn("events", f"rule/{scope.names.rule}")] if watched else []


def _everything(scope: Scope) -> list[str]:
    return ["*"]


_ALL = ("run", "status", "logs", "results")
PARTS: tuple[Part, ...] = (
    Part(
        "ListRuns",
        ("stop", "status", "logs", "results", "open"),
        ("states:ListExecutions",),
        _lists,
    ),
    Part("StartRuns", ("run",), ("states:StartExecution",), _machine),
    Part("SeeTheWorkflow", ("doctor",), ("states:DescribeStateMachine",), _machine),
    Part(
        "SeeRuns",
        ("run", "stop", "status", "logs", "open"),
        ("states:DescribeExecution", "states:GetExecutionHistory"),
        _described,
    ),
    Part("StopRuns", ("stop",), ("states:StopExecution",), _executions),
    Part("SeeJobs", ("run", "status"), ("sagemaker:DescribeProcessingJob",), _jobs),
    Part(
        "ReadTheLastLines",
        ("run", "status"),
        ("logs:DescribeLogStreams", "logs:GetLogEvents"),
        _logs,
    ),
    Part("ReadLogs", ("logs",), ("logs:FilterLogEvents",), _logs),
    Part("ListResults", (*_ALL, "doctor"), ("s3:ListBucket",), _bucket),
    Part("ReadResults", ("run", "status", "results"), ("s3:GetObject",), _results),
    Part(
        "SeeTheBucket",
        ("doctor",),
        (
            "s3:GetBucketPublicAccessBlock",
            "s3:GetBucketVersioning",
            "s3:GetEncryptionConfiguration",
        ),
        _bucket,
    ),
    Part("SeeStacks", ("doctor", "open", "schedule"), ("cloudformation:DescribeStacks",), _stacks),
    Part(f"StackLists{NO_RESOURCES}", ("doctor",), ("cloudformation:ListStacks",), _everything),
    Part("SeeTheImage", ("doctor",), ("ecr:DescribeImages",), _repository),
    Part("SeeRoles", ("doctor",), ("iam:GetRole", "iam:GetRolePolicy"), _roles),
    Part(f"Quotas{NO_RESOURCES}", ("doctor",), ("servicequotas:ListServiceQuotas",), _everything),
    Part("SeeTheSchedule", ("doctor", "schedule", "status"), ("scheduler:GetSchedule",), _schedule),
    Part("SeeTheTriggersTemplate", ("schedule",), ("cloudformation:GetTemplate",), _trigger),
    Part("SeeTheEventRule", ("schedule",), ("events:DescribeRule",), _rule),
)


def operator_statements(
    config: Config, names: Names, account: str, roles: dict[str, str]
) -> list[Document]:
    """Return what operating a purpose takes; `roles` are the ARNs of its roles, by their use."""
    scope = Scope(config, names, account, roles)
    found = [
        allow(one.sid, one.actions, one.resources(scope)) for one in PARTS if one.resources(scope)
    ]
    return [*found, *decrypt_results(config, names, account)]


def decrypt_results(config: Config, names: Names, account: str) -> list[Document]:
    """Return what reading results takes that are encrypted with keys of one's own."""
    outputs = {config.kms_of(names.purpose, step).output for step in steps_of(config, names)}
    return [
        kms_key(f"DecryptResults{number}", ["kms:Decrypt"], key, names, account)
        for number, key in enumerate(sorted(one for one in outputs if one), 1)
    ]
