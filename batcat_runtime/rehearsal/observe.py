"""After and during an execution: what happened, read back through AWS's own API.

Nothing here looks into the embedded AWS from behind. States and their times come from the
execution's history, jobs from SageMaker, log lines from CloudWatch Logs, the result from S3: what
is shown is what the real services would have shown.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from batcat_runtime.config import Config
from batcat_runtime.deploy.naming import Names
from batcat_runtime.rehearsal.record import LogLine, ResultTable, Step, StepStatus

_HEAD_ROWS = 8
_PICTURES = {".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg"}
_LAST_LINES = 20


@dataclass
class StateRun:
    """One visit to a state of the workflow."""

    name: str
    kind: str
    entered: datetime
    left: datetime | None = None
    status: str = "running"
    reason: str = ""


@dataclass(frozen=True)
class Result:
    """What a run left in the result bucket."""

    table: ResultTable | None = None
    manifest: dict[str, Any] | None = None
    images: tuple[tuple[str, bytes], ...] = ()
    files: dict[str, bytes] = field(default_factory=dict)


def read_states(states: Any, execution: str) -> list[StateRun]:
    """Return the states that an execution visited so far, in order of entering."""
    runs: list[StateRun] = []
    pages = states.get_paginator("get_execution_history").paginate(executionArn=execution)
    for event in (event for page in pages for event in page["events"]):
        kind = event["type"]
        current = next((run for run in reversed(runs) if run.left is None), None)
        if kind.endswith("StateEntered"):
            detail = event["stateEnteredEventDetails"]
            runs.append(
                StateRun(detail["name"], kind.removesuffix("StateEntered"), event["timestamp"])
            )
        elif kind.endswith("StateExited"):
            name = event["stateExitedEventDetails"]["name"]
            run = next(run for run in reversed(runs) if run.name == name)
            run.left = event["timestamp"]
            if run.status == "running":
                run.status = "succeeded"
        elif kind.startswith("Task") and kind.endswith(("Failed", "TimedOut")) and current:
            detail = next(value for key, value in event.items() if key.startswith("task"))
            current.status = "failed"
            current.reason = detail.get("error", "")
        elif kind.startswith("Execution") and kind != "ExecutionStarted":
            for run in runs:
                if run.left is None:
                    run.left = event["timestamp"]
                    run.status = "failed" if kind != "ExecutionSucceeded" else "succeeded"
    return runs


def read_jobs(sagemaker: Any, config: Config, purpose: str) -> list[dict[str, Any]]:
    """Return the descriptions of the purpose's processing jobs, oldest first."""
    names = Names.of(config, purpose)
    prefixes = tuple(f"{names.job_prefix(step.name)}-" for step in config.purposes[purpose].steps)
    found = [
        summary["ProcessingJobName"]
        for page in sagemaker.get_paginator("list_processing_jobs").paginate()
        for summary in page["ProcessingJobSummaries"]
        if summary["ProcessingJobName"].startswith(prefixes)
    ]
    jobs = [sagemaker.describe_processing_job(ProcessingJobName=name) for name in found]
    return sorted(jobs, key=lambda job: job["CreationTime"])


def steps_of(runs: list[StateRun], jobs: list[dict[str, Any]]) -> list[Step]:
    """Return states, and the jobs within them, as steps of the record."""
    waiting = {job["ProcessingJobName"]: job for job in jobs}
    steps = []
    for run in runs:
        if run.kind in {"Pass", "Choice", "Succeed"}:
            continue
        left = run.left or datetime.now(UTC)
        status: StepStatus = "failed" if run.status == "failed" else "succeeded"
        if run.kind != "Fail":
            steps.append(
                Step(
                    run.name, "state", status, run.entered, _seconds(run.entered, left), run.reason
                )
            )
        for name, job in list(waiting.items()):
            if run.entered <= job["CreationTime"] <= left:
                del waiting[name]
                steps.append(_job_step(job))
    return steps


def _job_step(job: dict[str, Any]) -> Step:
    started = job.get("ProcessingStartTime", job["CreationTime"])
    ended = job.get("ProcessingEndTime", started)
    ends: dict[str, StepStatus] = {"Completed": "succeeded", "Stopped": "stopped"}
    status = ends.get(job["ProcessingJobStatus"], "failed")
    detail = job.get("FailureReason") or f"{job['ProcessingJobStatus']}"
    return Step(
        job["ProcessingJobName"],
        "job",
        status,
        started,
        _seconds(started, ended),
        detail,
    )


def read_logs(logs: Any, groups: Mapping[str, str]) -> list[LogLine]:
    """Return every line of the log groups; `groups` maps a group's name to what to call it."""
    lines = []
    for group, source in groups.items():
        try:
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
            for event in (event for page in pages for event in page["events"]):
                moment = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
                lines.append(LogLine(moment, source, event["message"].rstrip("\n")))
        except logs.exceptions.ResourceNotFoundException:
            continue  # nothing was ever written there
    return lines


def reason_of(execution: dict[str, Any], jobs: list[dict[str, Any]], lines: list[LogLine]) -> str:
    """Return why an execution did not succeed, with the script's own last lines."""
    error, cause = execution.get("error") or execution["status"], execution.get("cause") or ""
    failed = next(
        (job for job in reversed(jobs) if job["ProcessingJobStatus"] != "Completed"), None
    )
    if failed is None:
        return f"The execution ended as {execution['status']}: {error}: {_plain(cause)}"
    reason = failed.get("FailureReason") or _plain(cause) or error
    written = [line.text for line in lines if line.source == "job"][-_LAST_LINES:]
    written = written or (failed.get("ExitMessage") or "").splitlines()
    step = failed.get("Environment", {}).get("BATCAT_STEP") or failed["ProcessingJobName"]
    if failed["ProcessingJobStatus"] == "Stopped":
        return "\n".join([f"The step {step} was stopped: {reason}", *written])
    if reason.startswith("AlgorithmError") and written:
        # SageMaker knows no more than the exit code; the script's last line says what it was.
        code = reason.rpartition(", ")[2]
        return "\n".join([f"The script of {step} failed ({code}): {written[-1]}", *written])
    return "\n".join([f"The step {step} failed: {reason}", *written])


def _plain(cause: str) -> str:
    """Return the reason within a cause, which for a job is its description as JSON."""
    try:
        description = json.loads(cause)
        return str(description.get("FailureReason") or description.get("ExitMessage") or cause)
    except (json.JSONDecodeError, AttributeError):
        return cause


def read_result(s3: Any, config: Config, purpose: str, run_id: str) -> Result:
    """Return what the run `run_id` left in the result bucket; empty without a manifest."""
    prefix = f"{Names.of(config, purpose).result_prefix}/"
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=config.result_s3_bucket, Prefix=prefix
    )
    keys = [one["Key"] for page in pages for one in page.get("Contents", [])]
    mine = [key for key in keys if f"/run={run_id}/" in key]
    files = {
        key.removeprefix(prefix): s3.get_object(Bucket=config.result_s3_bucket, Key=key)[
            "Body"
        ].read()
        for key in mine
    }
    manifests = [name for name in files if PurePosixPath(name).name.startswith("_manifest")]
    if not manifests:
        return Result(files=files)
    tables = [name for name in files if name.endswith((".csv", ".csv.gz", ".parquet"))]
    return Result(
        table=_read_table(config, prefix, tables, files),
        manifest=json.loads(files[manifests[0]]),
        images=tuple(
            (PurePosixPath(name).name, data)
            for name, data in files.items()
            if PurePosixPath(name).suffix.lower() in _PICTURES
        ),
        files=files,
    )


def _read_table(
    config: Config, prefix: str, tables: list[str], files: Mapping[str, bytes]
) -> ResultTable | None:
    if not tables:
        return None
    import pandas as pd

    def read(name: str) -> pd.DataFrame:
        stream = io.BytesIO(files[name])
        if name.endswith(".parquet"):
            return pd.read_parquet(stream)
        return pd.read_csv(stream, compression="gzip" if name.endswith(".gz") else None)

    # Shards of one table, or one table: the files that share the first one's name up to its number.
    first = PurePosixPath(tables[0])
    stem = first.name.split(".")[0].rstrip("0123456789")
    shards = [name for name in tables if PurePosixPath(name).name.startswith(stem)]
    frame = pd.concat([read(name) for name in shards], ignore_index=True)
    head = frame.head(_HEAD_ROWS)
    return ResultTable(
        uri=f"s3://{config.result_s3_bucket}/{prefix}{first if len(shards) == 1 else first.parent}",
        rows=len(frame),
        columns=tuple(map(str, frame.columns)),
        head=tuple(
            tuple("" if pd.isna(value) else str(value) for value in row)
            for row in head.itertuples(index=False)
        ),
        frame=frame,
    )


def _seconds(start: datetime, end: datetime) -> float:
    return max(0.0, (end - start).total_seconds())
