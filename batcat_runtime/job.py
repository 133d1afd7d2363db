"""The processing-job contract: where a script finds its inputs and how it hands over its result.

The same script runs on a laptop, in the rehearsal and in SageMaker. This module finds out where it
is and gives paths, date window, parameters and shard. Two doors:

- In the script, ``with processing_job(purpose) as job:``. Results are written into a staging
  folder; leaving the block cleanly writes ``_manifest.json`` into it and then renames the folder
  into place. So a result is there whole or not at all: no manifest, no result.
- In the container, ``python -m batcat_runtime.job SCRIPT``. It runs the script as a child process,
  passes its output through, and fails the job if the script failed or left no result. The last
  lines go to ``/opt/ml/output/message``, which SageMaker reports as the job's exit message.

Paths are SageMaker's (developer guide, "How Amazon SageMaker Processing configures your
container"). ``BATCAT_ML_ROOT`` moves ``/opt/ml``, for machines where nothing can be mounted there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from batcat_runtime.errors import JobError
from batcat_runtime.log import get_logger

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = "_manifest.json"
_MESSAGE_BYTES = 1024  # SageMaker's limit for ExitMessage
_LAST_LINES = 20


@dataclass(frozen=True)
class Shard:
    """The share of this instance in a job that runs on several.

    Attributes
    ----------
    index : int
        From 0.
    count : int
        The number of instances, 1 or more.
    """

    index: int = 0
    count: int = 1


@dataclass(frozen=True)
class ProcessingJob:
    """What a script needs to know of the job that it runs in; made by `processing_job`.

    Attributes
    ----------
    purpose : str
        The pipeline that this job belongs to.
    run_id : str
        The execution's name, or ``local-<time>`` on a laptop.
    date_start, date_end : datetime.date or None
        The half-open window ``[date_start, date_end)`` to compute; None means everything.
    parameters : dict
        The execution's further parameters, as JSON scalars.
    shard : Shard
        This instance's share.
    output_path : Path
        The folder to write results into; it becomes the result when the job ends well.
    """

    purpose: str
    run_id: str
    date_start: date | None
    date_end: date | None
    parameters: dict[str, str | int | float | bool]
    shard: Shard
    output_path: Path
    _input_root: Path
    _rows: dict[str, int] = field(default_factory=dict)
    _read: dict[str, list[Path]] = field(default_factory=dict)

    def input_path(self, name: str) -> Path:
        """Return the folder that holds the input `name`.

        Raises
        ------
        JobError
            There is no such folder.
        """
        folder = self._input_root / name
        if not folder.is_dir():
            raise JobError(
                f"There is no input {name!r}: {folder} does not exist.",
                fix="On a laptop put its files there; in a job declare it under `inputs` of the "
                "step in script/config.json.",
            )
        return folder

    def input_files(self, name: str, pattern: str = "*") -> list[Path]:
        """Return the files of the input `name`, at any depth, sorted by path.

        Files and folders whose names begin with a dot or an underscore are left out, as in Hive,
        Athena and Spark.

        Raises
        ------
        JobError
            The input does not exist or has no such file.
        """
        folder = self.input_path(name)
        found = sorted(
            path
            for path in folder.rglob(pattern)
            if path.is_file()
            and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
        )
        if not found:
            raise JobError(
                f"The input {name!r} is empty: {folder} holds no file that matches {pattern!r}.",
                fix="Check this input's S3 prefix in script/config.json, and that data are there.",
            )
        self._read[name] = found
        return found

    def save(self, frame: pd.DataFrame, file_name: str) -> Path:
        """Write a table as one file of the result.

        Parameters
        ----------
        frame : pandas.DataFrame
            Written without its index.
        file_name : str
            Ends in ``.csv``, ``.csv.gz`` or ``.parquet``, which decides the format.

        Returns
        -------
        Path
            Where it is until the job ends; it moves with `output_path` then.

        Raises
        ------
        JobError
            Another suffix, or a name with a folder in it.
        """
        if Path(file_name).name != file_name or file_name.startswith((".", "_")):
            raise JobError(
                f"{file_name!r} is no plain file name.", fix="For example 'usage-analysis.csv'."
            )
        if self.shard.count > 1:
            stem, dot, suffix = file_name.partition(".")
            file_name = f"{stem}-{self.shard.index:05d}{dot}{suffix}"
        target = self.output_path / file_name
        partial = target.with_name(f".{file_name}.partial")
        if file_name.endswith(".parquet"):
            frame.to_parquet(partial, index=False)
        elif file_name.endswith(".csv"):
            frame.to_csv(partial, index=False)
        elif file_name.endswith(".csv.gz"):
            frame.to_csv(partial, index=False, compression="gzip")
        else:
            raise JobError(
                f"{file_name!r} has an unknown format.", fix="Use .csv, .csv.gz or .parquet."
            )
        partial.replace(target)
        self._rows[file_name] = len(frame)
        return target


@contextlib.contextmanager
def processing_job(purpose: str) -> Iterator[ProcessingJob]:
    """Open the job that this script runs in; the result is handed over when the block ends well.

    Parameters
    ----------
    purpose : str
        The pipeline's name, as in ``script/config.json``.

    Yields
    ------
    ProcessingJob
        Inputs, date window, parameters, and `save` for results.

    Raises
    ------
    JobError
        The date window or the parameters are impossible, or the block ended without a result.

    Notes
    -----
    The result is the folder ``date=<window start>/run=<run id>`` below `processing_output_path`,
    with ``_manifest.json`` in it: code, image and configuration versions, inputs, files with their
    SHA-256, rows. An exception in the block leaves nothing behind.

    Examples
    --------
    >>> with processing_job("usage-analysis") as job:  # doctest: +SKIP
    ...     usage = pd.concat(map(pd.read_csv, job.input_files("usage")))
    ...     job.save(usage.groupby("vin", as_index=False).sum(), "usage-analysis.csv")
    """
    started = datetime.now(UTC)
    environment = os.environ
    root = ml_root()
    output = processing_output_path(purpose)
    window = (_date("BATCAT_DATE_START", environment), _date("BATCAT_DATE_END", environment))
    if window[0] and window[1] and window[0] >= window[1]:
        raise JobError(
            f"The date window is empty: {window[0]} is not before {window[1]}.",
            fix="The end is exclusive: for one day give the next day as its end.",
        )
    run_id = (
        environment.get("BATCAT_RUN_ID") or f"local-{started:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    )
    run_id = re.sub(r"[^\w.-]", "-", run_id)
    output.mkdir(parents=True, exist_ok=True)
    # Inside the output folder, which can be a mount of its own: so the final rename stays within
    # one file system. Athena and Spark do not read names that begin with a dot.
    staging = Path(tempfile.mkdtemp(prefix=".batcat-", dir=output))
    job = ProcessingJob(
        purpose=purpose,
        run_id=run_id,
        date_start=window[0],
        date_end=window[1],
        parameters=_parameters(environment),
        shard=_shard(root),
        output_path=staging,
        _input_root=root / "processing" / "input" if root else _project() / "data" / "raw",
    )
    try:
        yield job
        rows = _hand_over(job, output, started, environment)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    get_logger(purpose).info("result: %d rows in %s", rows, _result_folder(job, output))


def processing_output_path(purpose: str) -> Path:
    """Return the folder below which the results of `purpose` are written.

    ``/opt/ml/processing/output`` in a container, ``data/result/<purpose>`` on a laptop.
    """
    root = ml_root()
    return root / "processing" / "output" if root else _project() / "data" / "result" / purpose


def ml_root() -> Path | None:
    """Return SageMaker's ``/opt/ml``, or None where there is none (a laptop)."""
    root = Path(os.environ.get("BATCAT_ML_ROOT") or "/opt/ml")
    return root if (root / "processing").is_dir() else None


def _project() -> Path:
    from batcat_runtime.config import find_project

    return find_project(Path(sys.argv[0]).resolve().parent if sys.argv[0] else None)


def _date(name: str, environment: Mapping[str, str]) -> date | None:
    text = environment.get(name, "").strip()
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise JobError(f"{name}={text!r} is no date.", fix="Write it as 2022-01-31.") from error


def _parameters(environment: Mapping[str, str]) -> dict[str, str | int | float | bool]:
    text = environment.get("BATCAT_PARAMETERS") or "{}"
    try:
        parameters = json.loads(text)
    except json.JSONDecodeError as error:
        raise JobError(f"BATCAT_PARAMETERS is no JSON: {text!r}.") from error
    if not isinstance(parameters, dict) or not all(
        isinstance(value, str | int | float | bool) for value in parameters.values()
    ):
        raise JobError(
            f"BATCAT_PARAMETERS must be an object of texts, numbers and booleans, not {text!r}."
        )
    return parameters


def _shard(root: Path | None) -> Shard:
    file = root / "config" / "resourceconfig.json" if root else None
    if file is None or not file.is_file():
        return Shard()
    resources = json.loads(file.read_text(encoding="utf-8"))
    # algo-10 comes after algo-9: hosts are ordered by their number, not by their text.
    hosts = sorted(resources["hosts"], key=lambda host: (len(host), host))
    return Shard(hosts.index(resources["current_host"]), len(hosts))


def _result_folder(job: ProcessingJob, output: Path) -> Path:
    day = job.date_start or datetime.now(UTC).date()
    return output / f"date={day.isoformat()}" / f"run={job.run_id}"


def _hand_over(
    job: ProcessingJob, output: Path, started: datetime, environment: Mapping[str, str]
) -> int:
    files = sorted(path for path in job.output_path.rglob("*") if path.is_file())
    if not files:
        raise JobError(
            "The script ended without a result: it saved no file.",
            fix=f"Call job.save(frame, '{job.purpose}.csv') before the block ends.",
        )
    manifest = {
        "purpose": job.purpose,
        "step": environment.get("BATCAT_STEP", ""),
        "run_id": job.run_id,
        "date_start": job.date_start.isoformat() if job.date_start else None,
        "date_end": job.date_end.isoformat() if job.date_end else None,
        "parameters": job.parameters,
        "rows": sum(job._rows.values()),
        "files": [
            {
                "name": path.relative_to(job.output_path).as_posix(),
                "rows": job._rows.get(path.name),
                "bytes": path.stat().st_size,
                "sha256": _sha256(path),
            }
            for path in files
        ],
        "inputs": [
            {"name": name, "files": len(paths), "bytes": sum(path.stat().st_size for path in paths)}
            for name, paths in sorted(job._read.items())
        ],
        "shard": {"index": job.shard.index, "count": job.shard.count},
        "script": _script(),
        "image": environment.get("BATCAT_IMAGE", ""),
        "config_sha256": environment.get("BATCAT_CONFIG_SHA256", ""),
        "started": started.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    folder = _result_folder(job, output)
    folder.parent.mkdir(parents=True, exist_ok=True)
    name = MANIFEST if job.shard.count == 1 else f"_manifest-{job.shard.index:05d}.json"
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    (job.output_path / name).write_text(text + "\n", encoding="utf-8")
    # mkdtemp makes private folders; results are for everybody who may read the parent.
    job.output_path.chmod(0o755)
    job.output_path.rename(folder)
    return int(sum(job._rows.values()))


def _script() -> dict[str, str]:
    path = Path(sys.argv[0]) if sys.argv[0] else None
    if path is None or not path.is_file():
        return {"name": "", "sha256": ""}
    return {"name": path.name, "sha256": _sha256(path)}


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# --- the container's entry point ------------------------------------------------------------------


def run_script(script: str, arguments: list[str]) -> int:
    """Run a job script as a child process and check that it left a result.

    Returns
    -------
    int
        The exit code: the script's own, 128 + n if signal n ended it, 1 if it left no result.
    """
    root = ml_root()
    lines: deque[str] = deque(maxlen=_LAST_LINES)
    if root is None:
        lines.append("This is no processing container: there is no /opt/ml/processing.")
        return _fail(None, lines, 2)
    if not Path(script).is_file():
        lines.append(f"The image holds no script {script}: check `script` in script/config.json.")
        return _fail(root, lines, 2)
    child = subprocess.Popen(
        [sys.executable, "-u", script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    signal.signal(signal.SIGTERM, lambda number, frame: child.send_signal(number))
    assert child.stdout is not None
    for raw in child.stdout:
        sys.stdout.buffer.write(raw)
        sys.stdout.buffer.flush()
        lines.append(raw.decode("utf-8", "replace").rstrip())
    code = child.wait()
    if code < 0:
        lines.append(f"The script was ended by signal {-code} ({signal.Signals(-code).name}).")
        return _fail(root, lines, 128 - code)
    if code > 0:
        return _fail(root, lines, code)
    if not any((root / "processing" / "output").rglob("_manifest*.json")):
        lines.append(
            "The script ended without a result: no manifest was written. Do the work inside "
            "`with bc.processing_job(PURPOSE) as job:` and call job.save."
        )
        print(lines[-1], file=sys.stderr, flush=True)
        return _fail(root, lines, 1)
    return 0


def _fail(root: Path | None, lines: deque[str], code: int) -> int:
    """Leave the last lines as SageMaker's exit message; the end counts most."""
    text = "\n".join(lines).encode()[-_MESSAGE_BYTES:].decode("utf-8", "ignore").strip()
    if root is None:
        print(text, file=sys.stderr)
        return code
    folder = root / "output"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "message").write_text(text, encoding="utf-8")
    return code


def _main(arguments: list[str]) -> int:
    if not arguments:
        print("usage: python -m batcat_runtime.job SCRIPT [ARGUMENT ...]", file=sys.stderr)
        return 2
    return run_script(arguments[0], arguments[1:])


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
