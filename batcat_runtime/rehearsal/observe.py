"""What happened in an execution, and what it left, for the record.

Nothing here looks into the embedded AWS from behind. States and their times come from the
execution's history, jobs from SageMaker, the result from S3, all by the ways that `batcat status`
and `batcat results` take: what is shown is what the real services would have shown.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batcat_runtime.errors import UserError
from batcat_runtime.operate.connection import Project
from batcat_runtime.operate.executions import Execution
from batcat_runtime.operate.failures import explain
from batcat_runtime.operate.history import StateRun
from batcat_runtime.operate.results import get_results, results, table_file
from batcat_runtime.rehearsal.record import Rehearsal, ResultTable, Step, StepStatus

_HEAD_ROWS = 8
_PICTURES = {".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg"}
_TABLES = (".csv", ".csv.gz", ".parquet")


def steps_of(runs: Sequence[StateRun], jobs: Sequence[dict[str, Any]]) -> Iterator[Step]:
    """Yield states, each followed by its jobs and by what is inside it, as steps of the record."""
    described = {job["ProcessingJobName"]: job for job in jobs}

    def inside(whole: StateRun | None) -> Iterator[Step]:
        for run in runs:
            if run.inside is not whole or run.kind in {"Pass", "Choice", "Succeed"}:
                continue
            if run.kind != "Fail":
                status: StepStatus = "succeeded" if run.status == "running" else run.status
                took = _seconds(run.entered, run.left)
                yield Step(run.name, "state", status, run.entered, took, run.reason, run.depth)
            yield from (
                _job_step(described[one], run.depth) for one in run.jobs if one in described
            )
            yield from inside(run)

    return inside(None)


def _job_step(job: dict[str, Any], depth: int) -> Step:
    started, status = (
        job.get("ProcessingStartTime", job["CreationTime"]),
        job["ProcessingJobStatus"],
    )
    # What still runs when its execution has ended is about to be stopped.
    ended: dict[str, StepStatus] = {"Completed": "succeeded", "Failed": "failed"}
    cluster = job["ProcessingResources"]["ClusterConfig"]
    detail = job.get("FailureReason") or status
    if cluster["InstanceCount"] > 1:
        detail = f"{cluster['InstanceCount']} x {cluster['InstanceType']}: {detail}"
    took = _seconds(started, job.get("ProcessingEndTime"))
    name = job["ProcessingJobName"]
    return Step(name, "job", ended.get(status, "stopped"), started, took, detail, depth)


def _seconds(start: datetime, end: datetime | None) -> float:
    return max(0.0, ((end or datetime.now(UTC)) - start).total_seconds())


def reason_of(project: Project, execution: Execution, runs: Sequence[StateRun]) -> str:
    """Return why an execution did not succeed, with the script's own last lines."""
    failure = explain(project, execution, runs)
    if failure is None:
        return f"The execution is {execution.status}."
    summary, written = failure.summary, failure.log or failure.exit_message.splitlines()
    if re.search(r"No such file or directory: .*\bdata/raw\b", summary):
        summary += " Fix: read it with job.input_files; a container has no data/raw."
    return "\n".join([summary, *written])


def keep_result(record: Rehearsal, project: Project) -> str:
    """Copy the result out of the embedded S3, which is about to vanish, and note what it is.

    Returns
    -------
    str
        How much it is.

    Raises
    ------
    UserError
        There is none, or it is not whole.
    """
    purpose, folder = record.purpose, project.folder
    target = folder / "data" / "result" / "rehearsal" / purpose
    shutil.rmtree(target, ignore_errors=True)
    found = results(runs=True, folder=folder, purpose=purpose)
    if not found or not found[0].ended:
        raise UserError(
            "The execution succeeded, but its result has no manifest in the bucket.",
            fix="Write it within `with bc.processing_job()`, which leaves one at its end.",
        )
    if found[0].missing:
        raise UserError(
            f"The execution succeeded, but its result is not whole: {found[0].missing}.",
            fix="Let each last step write its result.",
        )
    get_results(to=target, folder=folder, purpose=purpose)
    files = sorted(path for path in target.rglob("*") if path.is_file())
    manifests = {
        path.relative_to(target).as_posix(): json.loads(path.read_text("utf-8"))
        for path in files
        if path.name.startswith("_manifest")
    }
    record.manifest = next(iter(manifests.values())) if len(manifests) == 1 else manifests
    record.images = [
        (path.name, path.read_bytes()) for path in files if path.suffix.lower() in _PICTURES
    ]
    tables = [path for path in files if path.name.endswith(_TABLES)]
    if not tables:
        return f"{len(files)} files"
    uri = f"{project.result_uri(purpose)}/{tables[0].relative_to(target).as_posix()}"
    shards = [path for path in tables if table_file(path.name) == table_file(tables[0].name)]
    record.result = _read_table(uri if len(shards) == 1 else uri.rpartition("/")[0], shards)
    return f"{record.result.rows} rows"


def _read_table(uri: str, shards: Sequence[Path]) -> ResultTable:
    """Read the files of one table."""
    import pandas as pd

    frame = pd.concat(
        [
            pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
            for path in shards
        ],
        ignore_index=True,
    )
    head = frame.head(_HEAD_ROWS)
    return ResultTable(
        uri=uri,
        rows=len(frame),
        columns=tuple(map(str, frame.columns)),
        head=tuple(
            tuple("" if pd.isna(value) else str(value) for value in row)
            for row in head.itertuples(index=False)
        ),
        frame=frame,
    )
