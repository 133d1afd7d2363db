"""After and during an execution: what happened, read back through AWS's own API.

Nothing here looks into the embedded AWS from behind. States and their times come from the
execution's history, jobs from SageMaker, log lines from CloudWatch Logs, the result from S3: what
is shown is what the real services would have shown.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from batcat_runtime.config import Config
from batcat_runtime.names import Names
from batcat_runtime.operate.failures import failure_of
from batcat_runtime.operate.history import StateRun
from batcat_runtime.operate.history import read_jobs as read_jobs
from batcat_runtime.operate.loglines import LogLine, source_of_job
from batcat_runtime.operate.manifests import missing_of, parse_manifest
from batcat_runtime.rehearsal.record import ResultTable, Step, StepStatus

_HEAD_ROWS = 8
_PICTURES = {".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg"}


@dataclass(frozen=True)
class Result:
    """What a run left in the result bucket.

    `manifest` is the manifest, or all of them by name when several steps or instances wrote one;
    `missing` says which is not there.
    """

    table: ResultTable | None = None
    manifest: dict[str, Any] | None = None
    images: tuple[tuple[str, bytes], ...] = ()
    missing: str = ""
    files: dict[str, bytes] = field(default_factory=dict)


def steps_of(runs: list[StateRun], jobs: list[dict[str, Any]]) -> list[Step]:
    """Return states, and the jobs within them, as steps of the record."""
    described = {job["ProcessingJobName"]: job for job in jobs}
    return list(_steps_inside(None, runs, described))


def _steps_inside(
    whole: StateRun | None, runs: list[StateRun], jobs: dict[str, dict[str, Any]]
) -> Iterator[Step]:
    """Yield the steps of one level, each followed by what is inside it."""
    for run in runs:
        if run.inside is not whole or run.kind in {"Pass", "Choice", "Succeed"}:
            continue
        left = run.left or datetime.now(UTC)
        status: StepStatus = "succeeded" if run.status == "running" else run.status
        if run.kind != "Fail":
            took, deep = _seconds(run.entered, left), run.depth
            yield Step(run.name, "state", status, run.entered, took, run.reason, deep)
        for name in run.jobs:
            if name in jobs:
                yield _job_step(jobs[name], run.depth)
        yield from _steps_inside(run, runs, jobs)


def _job_step(job: dict[str, Any], depth: int) -> Step:
    started = job.get("ProcessingStartTime", job["CreationTime"])
    ended = job.get("ProcessingEndTime") or datetime.now(UTC)
    # What still runs when its execution has ended is about to be stopped.
    status: StepStatus = "stopped"
    if job["ProcessingJobStatus"] in ("Completed", "Failed"):
        status = "succeeded" if job["ProcessingJobStatus"] == "Completed" else "failed"
    cluster = job["ProcessingResources"]["ClusterConfig"]
    detail = job.get("FailureReason") or f"{job['ProcessingJobStatus']}"
    if cluster["InstanceCount"] > 1:
        detail = f"{cluster['InstanceCount']} x {cluster['InstanceType']}: {detail}"
    took = _seconds(started, ended)
    return Step(job["ProcessingJobName"], "job", status, started, took, detail, depth)


def reason_of(execution: dict[str, Any], jobs: list[dict[str, Any]], lines: list[LogLine]) -> str:
    """Return why an execution did not succeed, with the script's own last lines."""
    described = {job["ProcessingJobName"]: job for job in jobs}

    def log_of(job: dict[str, Any]) -> list[tuple[str, str]]:
        source = source_of_job(described, job)
        return [
            (line.source, line.text)
            for line in lines
            if line.source == source or line.source.startswith(f"{source},")
        ]

    error, cause = execution.get("error") or "", execution.get("cause") or ""
    failure = failure_of(execution["status"], error, cause, jobs, log_of)
    written = failure.log or tuple(failure.exit_message.splitlines())
    summary, said = failure.summary, _exception_in(written)
    if said and failure.reason.startswith("AlgorithmError"):
        # The script's log may have gone on after its exception.
        summary = f"{summary.partition('):')[0]}): {said}"
    if re.search(r"No such file or directory: .*\bdata/raw\b", said):
        summary += " Fix: read it with job.input_files; a container has no data/raw."
    return "\n".join([summary, *written])


def _exception_in(lines: Sequence[str]) -> str:
    """Return the exception's own line: the first after the last traceback that is not indented."""
    starts = [number for number, line in enumerate(lines) if line.startswith("Traceback (most")]
    after = lines[starts[-1] + 1 :] if starts else ()
    return next((line for line in after if line and not line[0].isspace()), "")


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
    manifests = {
        name: json.loads(data)
        for name, data in files.items()
        if PurePosixPath(name).name.startswith("_manifest")
    }
    if not manifests:
        return Result(files=files)
    tables = [name for name in files if name.endswith((".csv", ".csv.gz", ".parquet"))]
    return Result(
        table=_read_table(config, prefix, tables, files),
        manifest=next(iter(manifests.values())) if len(manifests) == 1 else manifests,
        missing=missing_of(
            config.purposes[purpose].last_steps,
            [read for name in manifests if (read := parse_manifest(files[name]))],
        ),
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
