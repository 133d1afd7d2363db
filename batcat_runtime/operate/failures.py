"""Why an execution failed, in the order in which a newcomer wants it.

First the step and what its job said itself, then the last lines of the log, then what to do. What
went wrong is in several places: the execution's error and cause, its history (which state), the
job's description (FailureReason, and ExitMessage, which `batcat_runtime.job` fills with the
script's last lines), and CloudWatch Logs. `failure_of` judges over plain data and serves the
rehearsal too; `explain` fetches the data.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from batcat_runtime.errors import AccessDeniedError
from batcat_runtime.operate.causes import About, advice
from batcat_runtime.operate.connection import Project
from batcat_runtime.operate.executions import Execution
from batcat_runtime.operate.history import StateRun, read_states
from batcat_runtime.operate.jobs import Job, culprit, job_in, read_jobs, step_of
from batcat_runtime.operate.loglines import JOB_LOG_GROUP

LAST_LINES = 20
_AT_ONCE = 16
_MOST_JOBS = 20
# What the Java SDK, which Step Functions uses, puts behind the service's own words.
_JAVA = re.compile(r"\s*\(Service: [^()]*(?:\([^()]*\)[^()]*)*\)\s*$")
Lines = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Failure:
    """Why an execution did not succeed.

    Attributes
    ----------
    summary : str
        What happened in one line: which step, and what it said itself.
    step : str
        The step; empty when it was none's fault.
    job : str
        The processing job; empty when there never was one.
    error : str
        The name of the error, as Step Functions has it.
    reason : str
        AWS's own words.
    exit_message : str
        What the job said itself at its end: the script's last lines.
    log : tuple of str
        The last lines of the container that failed.
    log_stream : str
        Where they are in CloudWatch Logs, in the group ``/aws/sagemaker/ProcessingJobs``.
    log_error : str
        Why its log could not be read.
    meaning : str
        What a known cause means, in plain words.
    fix : str
        What to do about it.
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
    refused = error.startswith("SageMaker.")
    job = None if refused else culprit(jobs)
    if job is None:
        return _without_job(status, error, reason_in(cause), step)
    # A job that was stopped says so in its exit message; why, only AWS knows.
    told = "" if job_in(cause) and job["ProcessingJobStatus"] != "Failed" else reason_in(cause)
    reason = job.get("FailureReason") or told
    lines = last_lines(log_of(job))
    written = [text for _, text in lines] or (job.get("ExitMessage") or "").splitlines()
    name = step_of(job)
    if job["ProcessingJobStatus"] == "Failed" and reason.startswith("AlgorithmError") and written:
        # SageMaker knows no more than the exit code; the script's last line says what it was.
        code = reason.partition(";")[0].rpartition(", ")[2]
        summary = f"The script of {name} failed ({code}): {written[-1]}"
    elif job["ProcessingJobStatus"] == "Failed":
        summary = f"The step {name} failed: {reason or error}"
    else:
        summary = f"The step {name} was stopped: {reason or 'before its end'}"
    return Failure(
        summary=summary,
        step=name,
        job=job["ProcessingJobName"],
        error=error,
        reason=reason,
        exit_message=job.get("ExitMessage") or "",
        log=tuple(text for _, text in lines),
        log_stream=lines[-1][0] if lines else "",
    )


def _without_job(status: str, error: str, reason: str, step: str) -> Failure:
    if step and status == "FAILED":
        summary = f"The step {step} could not be started: {reason or error}"
    else:
        told = [f"The execution ended as {status}", *([error] if error != status else []), reason]
        summary = ": ".join(text for text in told if text)
    return Failure(summary=summary, step=step, error=error, reason=reason or error)


def last_lines(lines: Lines, count: int = LAST_LINES) -> list[tuple[str, str]]:
    """Return the last lines; of several instances, those of the one that wrote an error last."""
    sources = list(dict.fromkeys(source for source, _ in lines))
    if len(sources) > 1:
        loud = [source for source, text in lines if "Error" in text or "Traceback" in text]
        wanted = loud[-1] if loud else sources[-1]
        lines = [line for line in lines if line[0] == wanted]
    return list(lines)[-count:]


def reason_in(cause: str) -> str:
    """Return the reason within a cause, which for a processing job is its description as JSON."""
    try:
        description = json.loads(cause)
    except ValueError:
        return _JAVA.sub("", cause)
    if not isinstance(description, dict):
        return cause
    told = (description.get("FailureReason"), description.get("ExitMessage"))
    if "ProcessingJobName" in description or any(told):
        return "; ".join(str(text) for text in told if text)
    return cause


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
            with project.asked(f"the execution {execution.name}", "states:GetExecutionHistory"):
                states = read_states(project.client("stepfunctions"), execution.arn)
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
    about = About.of(
        project, execution, found.step, next((one for one in jobs if _is(one, found)), None)
    )
    told = advice(f"{found.error}: {found.reason}\n{found.exit_message}\n{_text(found.log)}", about)
    return replace(found, log_error=trouble, meaning=told.meaning, fix=told.fix)


def _jobs(project: Project, execution: Execution, states: Sequence[StateRun]) -> list[Job]:
    """Return the jobs of states that did not succeed; the cause alone has the one that failed."""
    named = [replace(run, jobs=run.jobs[-_MOST_JOBS:]) for run in states[-_MOST_JOBS:]]
    told = job_in(execution.cause)
    found: list[Job] = []
    with (
        contextlib.suppress(AccessDeniedError),
        project.asked(f"the jobs of {execution.name}", "sagemaker:DescribeProcessingJob"),
    ):
        found = read_jobs(project.client("sagemaker"), named)
    return found or ([told] if told else [])


def log_tail(project: Project, job: str, count: int = LAST_LINES) -> list[tuple[str, str]]:
    """Return the last lines of each of a job's containers, with its stream, in order of time."""
    logs = project.client("logs")
    with project.asked(f"the log of {job}", "logs:DescribeLogStreams"):
        try:
            pages = logs.get_paginator("describe_log_streams").paginate(
                logGroupName=JOB_LOG_GROUP, logStreamNamePrefix=f"{job}/"
            )
            streams = [one["logStreamName"] for page in pages for one in page["logStreams"]]
        except logs.exceptions.ResourceNotFoundException:
            return []  # no job has ever written a line
    if not streams:
        return []

    def tail(stream: str) -> list[tuple[int, str, str]]:
        with project.asked(f"the log of {job}", "logs:GetLogEvents"):
            events = _newest(logs, stream, count)
        return [(one["timestamp"], stream, one["message"].rstrip("\n")) for one in events]

    with ThreadPoolExecutor(min(_AT_ONCE, len(streams))) as pool:
        lines = [line for found in pool.map(tail, streams) for line in found]
    return [(stream, text) for _, stream, text in sorted(lines, key=lambda line: line[0])]


def _newest(logs: Any, stream: str, count: int) -> list[dict[str, Any]]:
    """Return the newest events of a stream; a page may be empty although there are some."""
    asked: dict[str, Any] = {"logGroupName": JOB_LOG_GROUP, "logStreamName": stream}
    token = ""
    while True:
        more = {"nextToken": token} if token else {}
        try:
            page = logs.get_log_events(**asked, limit=count, startFromHead=False, **more)
        except logs.exceptions.ResourceNotFoundException:
            return []
        if page["events"] or page["nextBackwardToken"] == token:
            return list(page["events"])
        token = page["nextBackwardToken"]


def _is(job: Job, failure: Failure) -> bool:
    return bool(failure.job) and job["ProcessingJobName"] == failure.job


def _text(lines: Sequence[str]) -> str:
    return "\n".join(lines)
