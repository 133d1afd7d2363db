"""How a job's result is handed over: whole or not at all, with a manifest that proves it.

Files are written into a staging folder. `hand_over` names every file with its size and SHA-256 in
``_manifest.json``, puts that beside them, and renames the folder into place: a reader who finds a
manifest can tell whether all is there. Of a job on several instances each writes its own files and
its own manifest, all into the same place: the instance's number is in every name.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import JobError

if TYPE_CHECKING:
    from batcat_runtime.job import ProcessingJob

MANIFEST = "_manifest.json"
NO_RESULT = (
    "The script ended without a result: no manifest was written. Do the work inside "
    "`with bc.processing_job() as job:` and call job.save."
)


def shard_name(name: str, job: ProcessingJob) -> str:
    """Return a file's name as this instance writes it: with its number when there are several."""
    if job.shard.count == 1:
        return name
    stem, dot, suffix = name.partition(".")
    return f"{stem}-{job.shard.index:05d}{dot}{suffix}"


def result_folder(job: ProcessingJob, output: Path) -> Path:
    """Return where a job's result lies below a folder."""
    return output / result_name(job.date_start, job.run_id)


def result_name(date_start: date | None, run_id: str) -> str:
    """Return the name of a result: the day that its window begins with, and its run."""
    return f"date={date_start or run_started():%Y-%m-%d}/run={run_id}"


def window_text(value: date | None) -> str | None:
    """Return an end of a window as it travels: ``2022-01-08``, or ``2022-01-08T05:00``."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="minutes")
    return value.isoformat() if value else None


def run_name(environment: Mapping[str, str]) -> str:
    """Return the execution's name, or that of a run on a laptop, as it can stand in a key."""
    name = environment.get("BATCAT_RUN_ID") or (
        f"local-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    )
    return re.sub(r"[^\w.-]", "-", name)


def run_started() -> datetime:
    """Return when the run began, the same for all its steps and instances; else now."""
    text = os.environ.get("BATCAT_RUN_STARTED", "")
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return datetime.now(UTC)


def hand_over(job: ProcessingJob, output: Path, started: datetime) -> int:
    """Write the manifest and rename the staging folder into place; return the number of rows."""
    files = _own_files(job)
    manifest = _manifest(job, files, started)
    folder = result_folder(job, output)
    folder.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    (job.output_path / shard_name(MANIFEST, job)).write_text(text + "\n", encoding="utf-8")
    # mkdtemp makes private folders; results are for everybody who may read the parent.
    job.output_path.chmod(0o755)
    try:
        job.output_path.rename(folder)
    except OSError as error:
        if not folder.exists():
            raise
        raise JobError(
            f"The run {job.run_id} has left a result already: {folder}. It stays as it is.",
            fix="Give this run a name of its own in BATCAT_RUN_ID, or none at all.",
        ) from error
    return int(manifest["rows"])


def saved_files(job: ProcessingJob) -> list[Path]:
    """Return the files of the result so far, at any depth."""
    return sorted(path for path in job.output_path.rglob("*") if path.is_file())


def _own_files(job: ProcessingJob) -> list[Path]:
    """Return the files, after giving those that the script wrote by itself the shard's number."""
    if job.shard.count > 1:
        for path in saved_files(job):
            if path.name not in job.rows:
                path.rename(path.with_name(shard_name(path.name, job)))
    return saved_files(job)


def _manifest(job: ProcessingJob, files: list[Path], started: datetime) -> dict[str, Any]:
    environment = os.environ
    return {
        "purpose": job.purpose,
        "step": job.step,
        "run_id": job.run_id,
        "date_start": window_text(job.date_start),
        "date_end": window_text(job.date_end),
        "parameters": job.parameters,
        "rows": sum(job.rows.values()),
        "files": [
            {
                "name": path.relative_to(job.output_path).as_posix(),
                "rows": job.rows.get(path.name),
                "bytes": path.stat().st_size,
                "sha256": _sha256(path),
            }
            for path in files
        ]
        + job.written,
        "inputs": [
            {
                "name": name,
                "source": job.input_source(name),
                "files": len(paths) or None,
                "bytes": sum(path.stat().st_size for path in paths) or None,
            }
            for name, paths in sorted(job.files_read.items())
        ],
        "shard": {"index": job.shard.index, "count": job.shard.count},
        "script": _script(),
        "image": environment.get("BATCAT_IMAGE", ""),
        "code_sha256": environment.get("BATCAT_CODE_SHA256", ""),
        "config_sha256": environment.get("BATCAT_CONFIG_SHA256", ""),
        "started": started.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _script() -> dict[str, str]:
    path = Path(sys.argv[0]) if sys.argv[0] else None
    if path is None or not path.is_file():
        return {"name": "", "sha256": ""}
    return {"name": path.name, "sha256": _sha256(path)}


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
