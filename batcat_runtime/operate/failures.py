"""Why an execution failed, in the order in which a newcomer wants it.

First the step and what its script said itself, then the last lines of the log, then what to do.
What went wrong is in several places: the execution's error and cause, its history (which state),
the job's description (FailureReason, and ExitMessage, which `batcat_runtime.job_container` fills
with the script's last lines), and CloudWatch Logs. `failure_of` judges over plain data and serves
the rehearsal too; `explain` fetches the data.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import shlex
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from batcat_runtime.errors import AccessDeniedError
from batcat_runtime.log import exception_in
from batcat_runtime.operate.connection import Project
from batcat_runtime.operate.executions import Execution, history, object_of
from batcat_runtime.operate.history import (
    JOB_LOG_GROUP,
    Job,
    StateRun,
    read_jobs,
    step_of,
)

LAST_LINES = 20
_READ_LINES = 200  # to find the exception's own line, which a long message pushes up
_AT_ONCE = 16
_MOST_JOBS = 20
# What the Java SDK, which Step Functions uses, puts behind the service's own words.
_JAVA = re.compile(r"\s*\(Service: [^()]*(?:\([^()]*\)[^()]*)*\)\s*$")
_EXCEPTION = re.compile(r"[\w.]+(Error|Exception|Interrupt|Exit)\b")
_STOPPED_AT = re.compile(r"The script was ended by signal \d+ \(\w+\)( at .+)\.")
Lines = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Failure:
    """Why an execution did not succeed.

    Attributes
    ----------
    summary : str
        What happened in one line: which step, and what it said itself.
    step, job : str
        The step and its processing job; empty when it was none's fault, or there never was one.
    error, reason : str
        The name of the error as Step Functions has it, and AWS's own words.
    exit_message : str
        What the job said itself at its end: the script's last lines.
    log : tuple of str
        The last lines of the container that failed.
    log_stream : str
        Where they are in CloudWatch Logs, in the group ``/aws/sagemaker/ProcessingJobs``.
    log_error : str
        Why its log could not be read.
    meaning, fix : str
        What a known cause means in plain words, and what to do about it.
    """

    summary: str
    step: str = ""
    job: str = ""
    error: str = ""
    reason: str = ""
    exit_message: str = ""
    log: tuple[str, ...] = ()
    log_stream: str = ""
    log_error: str = ""
    meaning: str = ""
    fix: str = ""


def explain(
    project: Project, execution: Execution, states: Sequence[StateRun] | None = None
) -> Failure | None:
    """Return why an execution did not succeed, with what to do; None when it runs or succeeded.

    Parameters
    ----------
    project : Project
        Where.
    execution : Execution
        Which.
    states : sequence of StateRun, optional
        What it did, if that was read already.
    """
    if execution.running or execution.status == "SUCCEEDED":
        return None
    trouble = ""
    if states is None:
        try:
            states = history(project, execution.arn)
        except AccessDeniedError as error:  # its cause is worth telling without its history
            trouble, states = error.message, []
    bad = [run for run in states if run.kind == "Task" and run.status in ("failed", "stopped")]
    state = next((run for run in bad if run.status == "failed"), bad[0] if bad else None)
    jobs = _jobs(project, execution, bad)

    def log_of(job: Job) -> Lines:
        nonlocal trouble
        try:
            return log_tail(project, job["ProcessingJobName"])
        except AccessDeniedError as error:  # the rest is worth telling without it
            trouble = error.message
            return []

    found = failure_of(
        execution.status,
        execution.error,
        execution.cause,
        jobs,
        log_of,
        step=state.name if state else "",
    )
    job = next((job for job in jobs if job["ProcessingJobName"] == found.job), {})
    meaning, fix = advice(found, _words(project, execution, found.step, job))
    return replace(found, log_error=trouble, meaning=meaning, fix=fix)


def failure_of(
    status: str,
    error: str,
    cause: str,
    jobs: Sequence[Job],
    log_of: Callable[[Job], Lines],
    *,
    step: str = "",
) -> Failure:
    """Judge why an execution did not succeed.

    Parameters
    ----------
    status, error, cause : str
        The execution's.
    jobs : sequence of dict
        Its jobs, those of states that succeeded may be left out.
    log_of : callable
        From a job to the last lines of its containers, each with its log stream, in order of time.
    step : str
        The state that failed, for when no job is to blame.
    """
    error = error or status
    # A state that could not even start a job is not the fault of those that ran before.
    job = None if error.startswith("SageMaker.") else _to_blame(jobs)
    if job is None:
        return _without_job(status, error, reason_in(cause), step)
    failed = job["ProcessingJobStatus"] == "Failed"
    # A job that was stopped says so in its exit message; why, only AWS knows.
    why = "" if _job_in(cause) and not failed else reason_in(cause)
    reason, said = job.get("FailureReason") or why, job.get("ExitMessage") or ""
    lines = _of_one_container(log_of(job))
    written = [text for _, text in lines] or said.splitlines()
    name = step_of(job)
    if failed and reason.startswith("AlgorithmError") and written:
        # SageMaker knows no more than the exit code; the script itself says what it was.
        code = reason.partition(";")[0].rpartition(", ")[2]
        own = exception_in(written) or _exception_of(said) or written[-1]
        summary = f"The script of {name} failed ({code}): {own}"
    elif failed:
        summary = f"The step {name} failed: {reason or error}"
    else:
        stood = [found[1] for text in written if (found := _STOPPED_AT.search(text))]
        where = stood[-1] if stood else ""
        summary = f"The step {name} was stopped{where}: {reason or 'before its end'}"
    return Failure(
        summary=summary,
        step=name,
        job=job["ProcessingJobName"],
        error=error,
        reason=reason,
        exit_message=said,
        log=tuple(text for _, text in lines[-LAST_LINES:]),
        log_stream=lines[-1][0] if lines else "",
    )


def reason_in(cause: str) -> str:
    """Return the reason within a cause, which for a processing job is its description as JSON."""
    described = object_of(cause)
    found = [str(text) for key in ("FailureReason", "ExitMessage") if (text := described.get(key))]
    if "ProcessingJobName" in described or found:
        return "; ".join(found)
    return cause if described else _JAVA.sub("", cause)


def own_words(exit_message: str) -> str:
    """Return the line of an exit message that names the exception, else its last."""
    return _exception_of(exit_message) or exit_message.strip().rpartition("\n")[2]


def _exception_of(exit_message: str) -> str:
    """Return the line that names the exception: of a long message it stands first."""
    lines = exit_message.strip().splitlines() or [""]
    return exception_in(lines) or (lines[0] if _EXCEPTION.match(lines[0]) else "")


def _without_job(status: str, error: str, reason: str, step: str) -> Failure:
    if step and status == "FAILED":
        summary = f"The step {step} could not be started: {reason or error}"
    else:
        parts = [f"The execution ended as {status}", *([error] if error != status else []), reason]
        summary = ": ".join(text for text in parts if text)
    return Failure(summary=summary, step=step, error=error, reason=reason or error)


def _to_blame(jobs: Sequence[Job]) -> Job | None:
    """Return the last job that failed; one that was stopped only if none did.

    A job that fails takes along those that run beside it.
    """
    for status in ("Failed", "Stopped"):
        found = [job for job in jobs if job["ProcessingJobStatus"] == status]
        if found:  # one that is known from a cause has no times, and is alone
            return max(
                found,
                key=lambda job: (
                    job.get("ProcessingEndTime") or job.get("CreationTime") or datetime.min
                ),
            )
    return next((job for job in reversed(jobs) if job["ProcessingJobStatus"] != "Completed"), None)


def _job_in(cause: str) -> Job | None:
    """Return the job that a cause describes; its times are milliseconds there, and left out."""
    found = object_of(cause)
    if "ProcessingJobName" not in found:
        return None
    return {key: value for key, value in found.items() if not key.endswith("Time")}


def _jobs(project: Project, execution: Execution, states: Sequence[StateRun]) -> list[Job]:
    """Return the jobs of states that did not succeed; the cause alone has the one that failed."""
    named = [replace(run, jobs=run.jobs[-_MOST_JOBS:]) for run in states[-_MOST_JOBS:]]
    described = _job_in(execution.cause)
    found: list[Job] = []
    with (
        contextlib.suppress(AccessDeniedError),
        project.asked("sagemaker:DescribeProcessingJob", f"the jobs of {execution.name}"),
    ):
        found = read_jobs(project.client("sagemaker"), named)
    return found or ([described] if described else [])


def _of_one_container(lines: Lines) -> list[tuple[str, str]]:
    """Return the lines of one of several instances: of that which wrote an error last."""
    sources = list(dict.fromkeys(source for source, _ in lines))
    loud = [source for source, text in lines if "Error" in text or "Traceback" in text]
    wanted = (loud or sources or [""])[-1]
    return [line for line in lines if line[0] == wanted]


def log_tail(project: Project, job: str, count: int = _READ_LINES) -> list[tuple[str, str]]:
    """Return the last lines of each of a job's containers, with its stream, in order of time."""
    place, nothing = f"the log of {job}", {"ResourceNotFoundException"}
    asked: dict[str, Any] = {"logGroupName": JOB_LOG_GROUP}
    listed = project.pages(
        "logs:DescribeLogStreams", place, absent=nothing, logStreamNamePrefix=f"{job}/", **asked
    )

    def tail(stream: str) -> list[tuple[int, str, str]]:
        given = asked | {"logStreamName": stream, "limit": count}
        events: list[dict[str, Any]] = []
        while not events:  # a page may be empty although there are some
            page = project.call("logs:GetLogEvents", place, absent=nothing, **given)
            events, token = page.get("events", []), page.get("nextBackwardToken")
            if token == given.get("nextToken"):
                break
            given["nextToken"] = token
        return [(event["timestamp"], stream, event["message"].rstrip("\n")) for event in events]

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(tail, [stream["logStreamName"] for stream in listed]))
    lines = sorted(itertools.chain(*found), key=lambda line: line[0])
    return [(stream, text) for _, stream, text in lines]


def _words(project: Project, execution: Execution, step: str, job: Job) -> dict[str, Any]:
    """Return what advice needs to know of a failed execution, its step and its job."""
    config, purpose = project.config, execution.purpose
    which = project.option(purpose)
    again = f"batcat run{which}"
    if execution.window:
        again += f" --date-start {execution.window.start} --date-end {execution.window.end}"
    for name, value in execution.params.items():
        text = value if isinstance(value, str) else json.dumps(value)
        again += f" --param {shlex.quote(f'{name}={text}')}"
    known = next((each for each in config.purposes[purpose].steps if each.name == step), None)
    cluster = job.get("ProcessingResources", {}).get("ClusterConfig", {})
    limit = job.get("StoppingCondition", {}).get("MaxRuntimeInSeconds")
    limit = int(limit or (known.max_runtime_seconds if known else 0))
    started, ended = job.get("ProcessingStartTime"), job.get("ProcessingEndTime")
    given = config.workflow_execution_role is not None
    stack = project.names(purpose).stack("roles")
    return {
        "region": config.region,
        "execution": execution.name,
        "status": execution.status,
        "job_status": job.get("ProcessingJobStatus", ""),
        "over": bool(started and ended and limit and (ended - started).total_seconds() >= limit),
        "script": f"script/{known.script}" if known else "script/",
        "kind": cluster.get("InstanceType")
        or (known.instance_type if known else "")
        or "such instance",
        "limit": limit,
        "job_role": str(job.get("RoleArn") or config.job_role or "").rpartition("/")[2],
        "trust": "Ask its administrator for the trust policy of JobRole in deploy/roles.yaml;"
        if given
        else "Have it made anew: aws cloudformation delete-stack --stack-name "
        f"{stack}, then `batcat deploy`,",
        "grant": "Ask the roles' administrator; what each needs stands in deploy/roles.yaml."
        if given
        else "If a step's own code needs it, give it to JobRole in deploy/roles.yaml (much is "
        "there, commented out), then `batcat deploy`.",
        "again": again,
        "rehearse": f"batcat rehearse{which}",
    }


def advice(failure: Failure, words: dict[str, Any]) -> tuple[str, str]:
    """Return what a failure means in plain words, if its cause is known, and what to do.

    The first cause wins whose pattern is found in what AWS and the script wrote, or in how the
    execution and its job ended.
    """
    text = "\n".join(
        (
            f"{failure.error}: {failure.reason}",
            failure.exit_message,
            *failure.log,
            f"execution={words['status']}",
            f"job={words['job_status']}" + (" MaxRuntime" if words["over"] else ""),
        )
    )
    for pattern, meaning, fix in _CAUSES:
        found = re.search(pattern, text, re.DOTALL)
        if found:
            named = {name: part for name, part in found.groupdict().items() if part}
            if "used" in named:
                named["wanted"] = str(int(named["used"]) + int(named["delta"]))
            action = named.pop("action", "") or named.get("actions", "")
            lacking = f"the permission {action}" if action else "a permission"
            said = {"role": words["job_role"], "lacking": lacking, **words, **named}
            return meaning.format(**said), fix.format(**said)
    return "", f"Read all that it wrote with `batcat logs {words['execution']}`."


_LARGER = (
    "Take a larger instance_type in script/config.json, or read less at once (chunksize); then "
    "`batcat deploy` and `{again}`."
)
_LESS = (
    "or take an instance_type in script/config.json that the account may use, then `batcat deploy` "
    "and `{again}`. `batcat doctor` shows the quotas."
)
_CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        r"ResourceLimitExceeded.*?'(?P<name>(?P<type>[^' ]+)[^']*)' is (?P<most>\d+)[^,]*, with "
        r"current utilization of (?P<used>\d+)\D.*?request delta of (?P<delta>\d+)",
        "The account may use {most} of {type} at once in this region, uses {used}, and the step "
        "wants {delta} more.",
        "Ask AWS for more, which can take a day:\n"
        "  aws service-quotas request-service-quota-increase --region {region} "
        '--service-code sagemaker --desired-value {wanted} --quota-code "$(aws service-quotas '
        "list-aws-default-service-quotas --region {region} --service-code sagemaker --output text "
        '--query "Quotas[?QuotaName==\'{name}\'].QuotaCode")"\n' + _LESS,
    ),
    (
        "ResourceLimitExceeded",
        "The account's quota for such instances is used up.",
        "Ask AWS for more, in the console under Service Quotas, which can take a day;\n" + _LESS,
    ),
    (
        "CapacityError|InsufficientInstanceCapacity|InsufficientCapacity",
        "AWS has no {kind} to give at this moment. It is not your quota, and not your code.",
        "Run it again later: `{again}`. If it happens often, take another instance_type in "
        "script/config.json, then `batcat deploy`.",
    ),
    (
        r"Could not assume role(?:.*?:role/(?:[^\s/]*/)*(?P<role>[\w+=,.@-]*[\w+=,@-]))?|cannot be "
        "assumed",
        "SageMaker may not act as the role {role}: it is gone, or no longer trusts "
        "sagemaker.amazonaws.com.",
        "{trust} then `{again}`. `batcat doctor` checks all roles.",
    ),
    (
        "manifest unknown|name unknown|manifest for .* not found",
        "The container image that the workflow names is no longer in ECR: somebody deleted it, or "
        "its repository.",
        "Build and push it again with `batcat deploy`, then `{again}`.",
    ),
    (
        r'No S3 objects found under S3 URL "(?P<uri>[^"]+)"',
        "There is nothing to read: the input's prefix is empty, or the job's role may not list it.",
        "Look with `aws s3 ls {uri} --region {region}`; put data there, or correct the step's "
        "`inputs` in script/config.json and `batcat deploy`. Then `{again}`.",
    ),
    ("execution=ABORTED", "Somebody stopped the execution.", "Run it again with `{again}`."),
    (
        "States.Timeout|execution=TIMED_OUT",
        "The state took longer than its time limit: the step's max_runtime_seconds ({limit}) and "
        "half an hour for starting instances and moving data.",
        "Run it again with `{again}`. If it happens again, raise max_runtime_seconds in "
        "script/config.json, then `batcat deploy`.",
    ),
    (
        "MaxRuntime",
        "It ran for as long as it may: max_runtime_seconds is {limit}.",
        "Raise max_runtime_seconds of the step in script/config.json, or take a larger "
        "instance_type; then `batcat deploy` and `{again}`.",
    ),
    (
        "job=Stop(ping|ped)",
        "Somebody stopped the job by hand, in the console or with StopProcessingJob.",
        "Run it again with `{again}`.",
    ),
    (
        "exit code: 137|SIGKILL|MemoryError|Unable to allocate|std::bad_alloc",
        "The memory of {kind} was not enough.",
        _LARGER,
    ),
    (
        "No space left on device",
        "The instance's disk is full.",
        "Raise volume_size_gb in script/config.json, then `batcat deploy` and `{again}`.",
    ),
    (
        r"not authorized to perform:? (?P<action>[\w-]+:\w+)|AccessDenied|Access Denied"
        r"|does not allow (?P<actions>[\w:, -]+) on",
        "A role lacks {lacking}.",
        "{grant} Then `{again}`.",
    ),
    (
        "AlgorithmError",
        "",
        "Correct {script} and try it here with `{rehearse}`; then `batcat deploy` and `{again}`. "
        "All that it wrote: `batcat logs {execution}`.",
    ),
    (
        "InternalServerError|InternalFailure|ServiceUnavailable|Throttling",
        "AWS failed by itself.",
        "Run it again with `{again}`.",
    ),
)
