"""Known causes of a failed execution: what AWS's words mean, and what to do about it.

One function a cause, in one table, the first that knows the words wins. Each looks for words that
AWS or the script wrote and gives a meaning in plain words with a fix as commands.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from batcat_runtime.operate.connection import Project
from batcat_runtime.operate.executions import Execution


@dataclass(frozen=True)
class About:
    """What a fix needs to know of the failed execution.

    Attributes
    ----------
    region, purpose, step, execution, status : str
        Where and what.
    script : str
        The step's script.
    instance_type : str
        Of the step's instances.
    max_runtime : int
        Seconds that the step's job may take; 0 when unknown.
    seconds : float
        How long the job ran; 0 when it did not, or when that is unknown.
    job_status : str
        How the job ended; empty without one.
    job_role : str
        The name of the job's role.
    given_roles : bool
        Whether roles are an administrator's, not the project's.
    again : str
        The command that runs the same again.
    rehearse : str
        The command that rehearses the pipeline.
    """

    region: str
    purpose: str
    step: str
    execution: str
    status: str
    script: str = ""
    instance_type: str = ""
    max_runtime: int = 0
    seconds: float = 0.0
    job_status: str = ""
    job_role: str = ""
    roles_stack: str = ""
    given_roles: bool = False
    again: str = "batcat run"
    rehearse: str = "batcat rehearse"

    @classmethod
    def of(
        cls, project: Project, execution: Execution, step: str, job: dict[str, Any] | None
    ) -> About:
        """Return what is known of a failed execution, its step and its job."""
        config, purpose = project.config, execution.purpose
        known = [one for one in config.purposes[purpose].steps if one.name == step]
        role = str((job or {}).get("RoleArn") or config.job_role or "")
        started, ended = ((job or {}).get(f"Processing{one}Time") for one in ("Start", "End"))
        cluster = (job or {}).get("ProcessingResources", {}).get("ClusterConfig", {})
        limit = (job or {}).get("StoppingCondition", {}).get("MaxRuntimeInSeconds")
        which = f" --purpose {purpose}" if len(config.purposes) > 1 else ""
        again = f"batcat run{which}"
        if execution.window:
            start, end = execution.window.start, execution.window.end
            again += f" --date-start {start} --date-end {end}"
        for name, value in execution.params.items():
            text = value if isinstance(value, str) else json.dumps(value)
            again += f" --param {shlex.quote(f'{name}={text}')}"
        return cls(
            region=config.region,
            purpose=purpose,
            step=step,
            execution=execution.name,
            status=execution.status,
            script=f"script/{known[0].script}" if known else "script/",
            instance_type=cluster.get("InstanceType") or (known[0].instance_type if known else ""),
            max_runtime=int(limit or (known[0].max_runtime_seconds if known else 0)),
            seconds=(ended - started).total_seconds() if started and ended else 0.0,
            job_status=str((job or {}).get("ProcessingJobStatus", "")),
            job_role=role.rpartition("/")[2],
            roles_stack=project.names(purpose).stack("roles"),
            given_roles=config.workflow_execution_role is not None,
            again=again,
            rehearse=f"batcat rehearse{which}",
        )


@dataclass(frozen=True)
class Advice:
    """What a cause means, in plain words, and what to do."""

    meaning: str
    fix: str


Cause = Callable[[str, About], Advice | None]
_LIMIT = re.compile(
    r"'(?P<name>[^']+)' is (?P<limit>\d+)[^,]*, with current utilization of (?P<used>\d+)\D.*?"
    r"request delta of (?P<delta>\d+)",
    re.DOTALL,
)
_DENIED = re.compile(
    r"not authorized to perform:? (?P<action>[\w-]+:\w+)|does not allow (?P<list>[\w:, -]+) on"
)
_NO_OBJECTS = re.compile(r'No S3 objects found under S3 URL "(?P<uri>[^"]+)"')


def advice(text: str, about: About) -> Advice:
    """Return what is known about a failure.

    Parameters
    ----------
    text : str
        The error's name, AWS's words, the job's exit message and the end of its log.
    about : About
        Of which execution.
    """
    for cause in _CAUSES:
        found = cause(text, about)
        if found is not None:
            return found
    return Advice("", f"Read all that it wrote with `batcat logs {about.execution}`.")


def _quota(text: str, about: About) -> Advice | None:
    if "ResourceLimitExceeded" not in text:
        return None
    found = _LIMIT.search(text)
    name = found["name"] if found else f"{about.instance_type} for processing job usage"
    wanted = int(found["used"]) + int(found["delta"]) if found else 1
    meaning = "The account's quota for such instances is used up."
    if found:
        meaning = (
            f"The account may use {found['limit']} of {name.partition(' for ')[0]} at once in this "
            f"region, uses {found['used']}, and the step wants {found['delta']} more."
        )
    return Advice(
        meaning,
        "Ask AWS for more, which can take a day:\n"
        f"  aws service-quotas request-service-quota-increase --region {about.region} "
        f"--service-code sagemaker --desired-value {wanted} --quota-code "
        f'"$(aws service-quotas list-aws-default-service-quotas --region {about.region} '
        "--service-code sagemaker --output text --query "
        f'"Quotas[?QuotaName==\'{name}\'].QuotaCode")"\n'
        "or take an instance_type in script/config.json that the account may use, then "
        f"`batcat deploy` and `{about.again}`. `batcat doctor` shows the quotas.",
    )


def _capacity(text: str, about: About) -> Advice | None:
    if not re.search(r"CapacityError|InsufficientInstanceCapacity|InsufficientCapacity", text):
        return None
    return Advice(
        f"AWS has no {about.instance_type or 'such instance'} to give at this moment. It is not "
        "your quota, and not your code.",
        f"Run it again later: `{about.again}`. If it happens often, take another instance_type in "
        "script/config.json, then `batcat deploy`.",
    )


def _role(text: str, about: About) -> Advice | None:
    if "Could not assume role" not in text and "cannot be assumed" not in text:
        return None
    named = re.search(r":role/(?:\S*/)?([\w+=,.@-]+[\w+=,@-])", text)
    role = named[1] if named else about.job_role
    mend = (
        "Ask its administrator for the trust policy of JobRole in deploy/roles.yaml;"
        if about.given_roles
        else "Have it made anew: aws cloudformation delete-stack --stack-name "
        f"{about.roles_stack}, then `batcat deploy`,"
    )
    return Advice(
        f"SageMaker may not act as the role {role}: it is gone, or no longer trusts "
        "sagemaker.amazonaws.com.",
        f"{mend} then `{about.again}`. `batcat doctor` checks all roles.",
    )


def _image(text: str, about: About) -> Advice | None:
    if not re.search(r"manifest unknown|name unknown|manifest for .* not found", text):
        return None
    return Advice(
        "The container image that the workflow names is no longer in ECR: somebody deleted it, or "
        "its repository.",
        f"Build and push it again with `batcat deploy`, then `{about.again}`.",
    )


def _input(text: str, about: About) -> Advice | None:
    found = _NO_OBJECTS.search(text)
    if not found:
        return None
    return Advice(
        "There is nothing to read: the input's prefix is empty, or the job's role may not list it.",
        f"Look with `aws s3 ls {found['uri']} --region {about.region}`; put data there, or correct "
        f"the step's `inputs` in script/config.json and `batcat deploy`. Then `{about.again}`.",
    )


def _permission(text: str, about: About) -> Advice | None:
    found = _DENIED.search(text)
    if not found and not re.search(r"AccessDenied|Access Denied", text):
        return None
    action = (found["action"] or found["list"]) if found else ""
    wanted = f"the permission {action}" if action else "a permission"
    fix = (
        "Ask the roles' administrator; what each needs stands in deploy/roles.yaml."
        if about.given_roles
        else "If a step's own code needs it, give it to JobRole in deploy/roles.yaml (much is "
        "there, commented out), then `batcat deploy`."
    )
    return Advice(f"A role lacks {wanted}.", f"{fix} Then `{about.again}`.")


def _stopped(text: str, about: About) -> Advice | None:
    if about.job_status not in ("Stopping", "Stopped") and "MaxRuntime" not in text:
        return None
    limit = about.max_runtime
    if "MaxRuntime" in text or (limit and about.seconds >= limit):
        return Advice(
            f"It ran for as long as it may: max_runtime_seconds is {limit}.",
            "Raise max_runtime_seconds of the step in script/config.json, or take a larger "
            f"instance_type; then `batcat deploy` and `{about.again}`.",
        )
    return Advice(
        "Somebody stopped the job by hand, in the console or with StopProcessingJob.",
        f"Run it again with `{about.again}`.",
    )


def _aborted(text: str, about: About) -> Advice | None:
    if about.status != "ABORTED":
        return None
    return Advice("Somebody stopped the execution.", f"Run it again with `{about.again}`.")


def _time_out(text: str, about: About) -> Advice | None:
    if "States.Timeout" not in text and about.status != "TIMED_OUT":
        return None
    return Advice(
        "The state took longer than its time limit: the step's max_runtime_seconds "
        f"({about.max_runtime}) and half an hour for starting instances and moving data.",
        f"Run it again with `{about.again}`. If it happens again, raise max_runtime_seconds in "
        "script/config.json, then `batcat deploy`.",
    )


def _memory(text: str, about: About) -> Advice | None:
    if not re.search(r"exit code: 137|SIGKILL|MemoryError|Unable to allocate|std::bad_alloc", text):
        return None
    return Advice(
        f"The memory of {about.instance_type or 'the instance'} was not enough.",
        "Take a larger instance_type in script/config.json, or read less at once (chunksize); then "
        f"`batcat deploy` and `{about.again}`.",
    )


def _disk(text: str, about: About) -> Advice | None:
    if "No space left on device" not in text:
        return None
    return Advice(
        "The instance's disk is full.",
        f"Raise volume_size_gb in script/config.json, then `batcat deploy` and `{about.again}`.",
    )


def _script(text: str, about: About) -> Advice | None:
    if "AlgorithmError" not in text:
        return None
    return Advice(
        "",
        f"Correct {about.script} and try it here with `{about.rehearse}`; then "
        f"`batcat deploy` and `{about.again}`. All that it wrote: `batcat logs {about.execution}`.",
    )


def _internal(text: str, about: About) -> Advice | None:
    if not re.search(r"InternalServerError|InternalFailure|ServiceUnavailable|Throttling", text):
        return None
    return Advice("AWS failed by itself.", f"Run it again with `{about.again}`.")


_CAUSES: tuple[Cause, ...] = (
    *(_quota, _capacity, _role, _image, _input, _aborted, _time_out, _stopped),
    *(_memory, _disk, _permission, _script, _internal),
)
