"""The processing-job contract: where a script finds its inputs and how it hands over its result.

The same script runs on a laptop, in the rehearsal and in SageMaker. This module finds out where it
is and gives paths, date window, parameters and shard. Two doors:

- In the script, ``with processing_job() as job:``. Results are written into a staging folder;
  leaving the block cleanly writes ``_manifest.json`` into it, which names every file with its size
  and SHA-256, and then renames the folder into place. So a result is there whole or not at all: no
  manifest, no result. Of a job on several instances each writes its own files and its own manifest,
  all into the same place: the instance's number is in every name.
- In the container, ``python -m batcat_runtime.job SCRIPT``; see `batcat_runtime.job_container`.

In a container everything is below ``/opt/ml``, laid out by SageMaker (developer guide, "How Amazon
SageMaker Processing configures your container"); ``BATCAT_ML_ROOT`` moves it, for machines where
nothing can be mounted there. On a laptop it is the project's ``data/``: an S3 input ``usage`` is
``data/raw/usage``; what a step hands on to the next lies in ``data/tmp/<purpose>/<step>``; results
are in ``data/result/<purpose>``. Which purpose and which step this is, a container is told by its
environment. On a laptop it follows from the script's name; ``make run`` says it, as a container is
told.
"""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import JobError, UserError
from batcat_runtime.log import get_logger
from batcat_runtime.window import ends_of, text_of

if TYPE_CHECKING:
    import pandas as pd

    from batcat_runtime.config import Config

MANIFEST, MANIFESTS = "_manifest.json", "_manifest*.json"
NO_RESULT = (
    "The script ended without a result: no manifest was written. Do the work inside "
    "`with bc.processing_job() as job:` and call job.save."
)


class _NothingToDoError(Exception):
    """No key of a sharded input for this instance: the block ends here, and that is fine."""


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
    step : str
        The step of the pipeline.
    run_id : str
        The execution's name, or ``local-<time>`` on a laptop.
    date_start, date_end : datetime.date or None
        The half-open window ``[date_start, date_end)`` to compute; None means everything. Both are
        dates; of a window with hours both are `datetime.datetime` (which is a date too) without a
        zone, in the schedule's own: ``2022-01-08T05:00`` is 05:00 there. ``pandas.Timestamp``
        takes either.
    parameters : dict
        The execution's further parameters, as JSON scalars.
    shard : Shard
        This instance's share.
    output_path : Path
        The folder to write results into; it becomes the result when the job ends well.
    rows : dict of str to int
        The rows of each file that `save` wrote.
    files_read : dict of str to list of Path
        What `input_files` has given, by input.
    """

    purpose: str
    step: str
    run_id: str
    date_start: date | None
    date_end: date | None
    parameters: dict[str, str | int | float | bool]
    shard: Shard
    output_path: Path
    _place: Container | Laptop
    rows: dict[str, int] = field(default_factory=dict)
    files_read: dict[str, list[Path]] = field(default_factory=dict)

    def input_path(self, name: str) -> Path:
        """Return the folder that holds the input `name`.

        The output of another step is an input under that step's name, unless the configuration
        calls it something else.

        Raises
        ------
        JobError
            There is no such folder.
        """
        folder = self._place.input_folder(name)
        if not folder.is_dir():
            raise JobError(
                f"There is no input {name!r}: {folder} does not exist.",
                fix="On a laptop put its files there; in a job declare it under `inputs` of the "
                "step in script/config.json.",
            )
        return folder

    def input_source(self, name: str) -> str:
        """Return where an input came from: an S3 prefix, or a folder of the project."""
        return self._place.source(name)

    def input_files(self, name: str, pattern: str = "*") -> list[Path]:
        """Return the files of the input `name`, at any depth, sorted by path.

        Files and folders whose names begin with a dot or an underscore are left out, as in Hive,
        Athena and Spark.

        Of a sharded input these are this instance's own. An instance that got none has nothing to
        do: the block of `processing_job` ends here, and the instance's manifest lists no file.

        Raises
        ------
        JobError
            The input does not exist or has no such file.
        """
        if self.shard.count > 1 and not _data_files(self._place.input_folder(name), "*"):
            raise _NothingToDoError(name)
        folder = self.input_path(name)
        found = _data_files(folder, pattern)
        if not found:
            raise JobError(
                f"The input {name!r} is empty: {folder} holds no file that matches {pattern!r}.",
                fix="Check this input's S3 prefix in script/config.json, and that data are there.",
            )
        self.files_read[name] = found
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
        file_name = _shard_name(file_name, self)
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
        self.rows[file_name] = len(frame)
        return target


@contextlib.contextmanager
def processing_job(name: str | None = None) -> Iterator[ProcessingJob]:
    """Open the job that this script runs in; the result is handed over when the block ends well.

    Parameters
    ----------
    name : str, optional
        The pipeline, or the step. It may be left out: purpose and step follow from where this runs,
        on a laptop from the script's name, which ``script/config.json`` names.

    Yields
    ------
    ProcessingJob
        Inputs, date window, parameters, and `save` for results.

    Raises
    ------
    JobError
        The date window or the parameters are impossible, the block ended without a result, or no
        step is known that runs this script.

    Notes
    -----
    The result is the folder ``date=<window start>/run=<run id>`` below `processing_output_path`,
    with ``_manifest.json`` in it: code, image and configuration versions, inputs, files with their
    SHA-256, rows. An exception in the block leaves nothing behind.

    Examples
    --------
    >>> with processing_job() as job:  # doctest: +SKIP
    ...     usage = pd.concat(map(pd.read_csv, job.input_files("usage")))
    ...     job.save(usage.groupby("vin", as_index=False).sum(), "usage-analysis.csv")
    """
    started = datetime.now(UTC)
    place = place_of(name)
    output = place.output
    date_start, date_end = _window()
    output.mkdir(parents=True, exist_ok=True)
    # Inside the output folder, which can be a mount of its own: so the final rename stays within
    # one file system. Athena and Spark do not read names that begin with a dot.
    _remove_unfinished(output)
    staging = Path(tempfile.mkdtemp(prefix=f".batcat-{os.getpid()}-", dir=output))
    # Whoever stops the job learns from its log where the script stood.
    if threading.current_thread() is threading.main_thread() and sys.stderr is not None:
        with contextlib.suppress(AttributeError, ValueError, OSError):  # Windows; no file
            faulthandler.register(signal.SIGTERM, all_threads=False, chain=True)
    log = get_logger(place.purpose)
    job = ProcessingJob(
        purpose=place.purpose,
        step=place.step,
        run_id=run_name(os.environ.get("BATCAT_RUN_ID")),
        date_start=date_start,
        date_end=date_end,
        parameters=_parameters(),
        shard=place.shard,
        output_path=staging,
        _place=place,
    )
    try:
        try:
            yield job
            if not _saved_files(job):
                raise JobError(
                    "The script ended without a result: it saved no file.",
                    fix=f"Call job.save(frame, '{job.purpose}.csv') before the block ends.",
                )
        except _NothingToDoError as nothing:
            log.warning(
                "instance %d of %d got no file of the input %s: there are fewer than instances",
                *(job.shard.index + 1, job.shard.count, nothing),
            )
        rows = _hand_over(job, output, started)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    log.info("result: %d rows in %s", rows, _result_folder(job, output))


def processing_output_path(name: str | None = None) -> Path:
    """Return the folder below which this script writes its results.

    ``/opt/ml/processing/output`` in a container; on a laptop ``data/result/<purpose>``, or
    ``data/tmp/<purpose>/<step>`` for a step whose output is only the next one's input. `name` is as
    in `processing_job`.
    """
    return place_of(name).output


def run_name(given: str | None = None) -> str:
    """Return an execution's name, or one for a run on a laptop, as it can stand in a key."""
    name = given or f"local-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    return re.sub(r"[^\w.-]", "-", name)


def place_of(name: str | None = None) -> Container | Laptop:
    """Return the place that this process is in.

    `name`, a purpose or a step, matters only where nothing else tells them apart.
    """
    root = ml_root()
    return Container(root, name) if root else _place_of_script(name)


def ml_root() -> Path | None:
    """Return SageMaker's ``/opt/ml``, or None where there is none (a laptop)."""
    root = Path(os.environ.get("BATCAT_ML_ROOT") or "/opt/ml")
    return root if (root / "processing").is_dir() else None


def _place_of_script(name: str | None) -> Laptop:
    from batcat_runtime.config import find_project, get_config

    script = Path(sys.argv[0]).resolve()
    project = find_project(script.parent if sys.argv[0] else None)
    config = get_config(project)
    purpose_given, wanted = os.environ.get("BATCAT_PURPOSE"), os.environ.get("BATCAT_STEP")
    found = [
        (purpose, step.name)
        for purpose, settings in config.purposes.items()
        for step in settings.steps
        if purpose_given in (None, purpose)
        and (step.name == wanted if wanted else step.script == script.name)
    ]
    if len(found) > 1 and name:
        found = [place for place in found if name in place] or found
    if not found:
        raise JobError(
            f"No step in script/config.json runs {script.name}, so there is no job.",
            fix="Name it as the `script` of a step, under `purposes`.",
        )
    if len(found) > 1:
        names = ", ".join(f"{step} of {purpose}" for purpose, step in found)
        raise JobError(
            f"Several steps run {script.name}: {names}.",
            fix="Say which one this is, in the environment: "
            f"BATCAT_PURPOSE={found[0][0]} BATCAT_STEP={found[0][1]}.",
        )
    return Laptop(project, config, *found[0])


class Container:
    """A processing container: SageMaker has put inputs and configuration below `root`."""

    def __init__(self, root: Path, name: str | None) -> None:
        self._root = root
        self.output = root / "processing" / "output"
        self.step = os.environ.get("BATCAT_STEP", "")
        self.purpose = os.environ.get("BATCAT_PURPOSE") or name or ""
        if not self.purpose:
            raise JobError(
                "This container was not told its purpose: BATCAT_PURPOSE is not set.",
                fix="Start it by the deployed workflow, or say processing_job('my-purpose').",
            )

    @property
    def shard(self) -> Shard:
        """The share of this instance."""
        resources = self._configuration("resourceconfig.json")
        if not resources:
            return Shard()
        # algo-10 comes after algo-9: hosts are ordered by their number, not by their text.
        hosts = sorted(resources["hosts"], key=lambda host: (len(host), host))
        return Shard(hosts.index(resources["current_host"]), len(hosts))

    def input_folder(self, name: str) -> Path:
        """Return where an input is; it may not exist."""
        return self._root / "processing" / "input" / name

    def source(self, name: str) -> str:
        """Return where an input came from: its S3 prefix, as far as the container knows it."""
        job = self._configuration("processingjobconfig.json")
        for source in job.get("ProcessingInputs") or []:
            if isinstance(source, dict) and source.get("InputName") == name:
                return str((source.get("S3Input") or {}).get("S3Uri") or "")
        return ""

    def _configuration(self, name: str) -> dict[str, Any]:
        file = self._root / "config" / name
        if not file.is_file():
            return {}
        content = json.loads(file.read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}


class Laptop:
    """The project's own folders, as a step of a purpose sees them."""

    shard = Shard()

    def __init__(self, project: Path, config: Config, purpose: str, step: str) -> None:
        self.purpose, self.step = purpose, step
        self._project = project
        self._settings = config.purposes[purpose]
        self.output = self._output_of(step)

    def input_folder(self, name: str) -> Path:
        """Return where an input is: data/raw, or the newest output of the step that makes it."""
        inputs = self._settings.inputs_of(self._settings.step(self.step))
        if name not in inputs:
            raise JobError(
                f"There is no input {name!r}: the step {self.step!r} of {self.purpose} has "
                f"{', '.join(inputs) or 'none'}.",
                fix="Declare it under `inputs` of the step in script/config.json.",
            )
        maker = inputs[name].step
        if maker is None:
            return self._project / "data" / "raw" / name
        runs = {path.parent for path in self._output_of(maker).rglob(MANIFESTS)}
        if not runs:
            raise JobError(
                f"The input {name!r} is the output of the step {maker!r}, which has not run on "
                "this machine.",
                fix=f"Run script/{self._settings.step(maker).script} first; `make run` runs all "
                "steps in order.",
            )
        return max(runs, key=lambda folder: folder.stat().st_mtime_ns)

    def source(self, name: str) -> str:
        """Return where an input came from, relative to the project."""
        return self.input_folder(name).relative_to(self._project).as_posix()

    def _output_of(self, step: str) -> Path:
        last = self._settings.last_steps
        if step not in last:
            return self._project / "data" / "tmp" / self.purpose / step
        results = self._project / "data" / "result" / self.purpose
        return results if len(last) == 1 else results / step


def _data_files(folder: Path, pattern: str) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob(pattern)
        if path.is_file()
        and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    )


def _remove_unfinished(output: Path) -> None:
    """Remove what runs have left that were killed: their process is gone."""
    for folder in output.glob(".batcat-*-*"):
        number = folder.name.split("-")[1]
        if not number.isdigit() or os.name == "nt":  # where a signal 0 is a Ctrl-C
            continue
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # somebody else's, and running


def _window() -> tuple[date | None, date | None]:
    names = ("BATCAT_DATE_START", "BATCAT_DATE_END")
    start, end = (os.environ.get(name, "").strip() or None for name in names)
    try:
        return ends_of(start, end, names)
    except UserError as error:
        raise JobError(error.message, fix=error.fix) from error


def _parameters() -> dict[str, str | int | float | bool]:
    text = os.environ.get("BATCAT_PARAMETERS") or "{}"
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


def _shard_name(name: str, job: ProcessingJob) -> str:
    """Return a file's name as this instance writes it: with its number when there are several."""
    if job.shard.count == 1:
        return name
    stem, dot, suffix = name.partition(".")
    return f"{stem}-{job.shard.index:05d}{dot}{suffix}"


def _result_folder(job: ProcessingJob, output: Path) -> Path:
    """Return where a job's result lies: below the day that its window begins with, and its run."""
    day = job.date_start or _run_started()
    return output / f"date={day:%Y-%m-%d}" / f"run={job.run_id}"


def _run_started() -> datetime:
    """Return when the run began, the same for all its steps and instances; else now."""
    text = os.environ.get("BATCAT_RUN_STARTED", "")
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return datetime.now(UTC)


def _hand_over(job: ProcessingJob, output: Path, started: datetime) -> int:
    """Write the manifest and rename the staging folder into place; return the number of rows."""
    files = _own_files(job)
    manifest = _manifest(job, files, started)
    folder = _result_folder(job, output)
    folder.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    (job.output_path / _shard_name(MANIFEST, job)).write_text(text + "\n", encoding="utf-8")
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


def _saved_files(job: ProcessingJob) -> list[Path]:
    """Return the files of the result so far, at any depth."""
    return sorted(path for path in job.output_path.rglob("*") if path.is_file())


def _own_files(job: ProcessingJob) -> list[Path]:
    """Return the files, after giving those that the script wrote by itself the shard's number."""
    if job.shard.count > 1:
        for path in _saved_files(job):
            if path.name not in job.rows:
                path.rename(path.with_name(_shard_name(path.name, job)))
    return _saved_files(job)


def _manifest(job: ProcessingJob, files: list[Path], started: datetime) -> dict[str, Any]:
    return {
        "purpose": job.purpose,
        "step": job.step,
        "run_id": job.run_id,
        "date_start": text_of(job.date_start) if job.date_start else None,
        "date_end": text_of(job.date_end) if job.date_end else None,
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
        ],
        "inputs": [
            {
                "name": name,
                "source": job.input_source(name),
                "files": len(paths),
                "bytes": sum(path.stat().st_size for path in paths),
            }
            for name, paths in sorted(job.files_read.items())
        ],
        "shard": {"index": job.shard.index, "count": job.shard.count},
        "script": _script(),
        "image": os.environ.get("BATCAT_IMAGE", ""),
        "code_sha256": os.environ.get("BATCAT_CODE_SHA256", ""),
        "config_sha256": os.environ.get("BATCAT_CONFIG_SHA256", ""),
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


def _main(arguments: list[str]) -> int:
    if not arguments:
        print("usage: python -m batcat_runtime.job SCRIPT [ARGUMENT ...]", file=sys.stderr)
        return 2
    from batcat_runtime.job_container import run_script

    return run_script(arguments[0], arguments[1:])


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
