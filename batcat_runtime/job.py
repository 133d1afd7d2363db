"""The processing-job contract: where a script finds its inputs and how it hands over its result.

The same script runs on a laptop, in the rehearsal and in SageMaker. This module finds out where it
is and gives paths, date window, parameters and shard. Two doors:

- In the script, ``with processing_job() as job:``. Results are written into a staging
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
import faulthandler
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import JobError
from batcat_runtime.job_place import Container, Laptop, Shard, place_of
from batcat_runtime.job_result import (
    hand_over,
    result_folder,
    result_name,
    run_name,
    saved_files,
    shard_name,
)
from batcat_runtime.log import get_logger

if TYPE_CHECKING:
    import pandas as pd
    import pyspark.sql


class _NothingToDoError(Exception):
    """No key of a sharded input for this instance: the block ends here, and that is fine."""


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
    output_uri : str
        The same as a URI, ``file:///...``; where a step on Spark runs in its container it is the
        result's own folder in S3, empty when the job starts. Spark writes what is below it.
    rows : dict of str to int
        The rows of each file that `save` wrote.
    files_read : dict of str to list of Path
        What `input_files` has given, by input; of an input that Spark reads, none.
    written : list of dict
        The files that Spark wrote to S3, as the manifest has them.
    """

    purpose: str
    step: str
    run_id: str
    date_start: date | None
    date_end: date | None
    parameters: dict[str, str | int | float | bool]
    shard: Shard
    output_path: Path
    output_uri: str
    _place: Container | Laptop
    rows: dict[str, int] = field(default_factory=dict)
    files_read: dict[str, list[Path]] = field(default_factory=dict)
    written: list[dict[str, Any]] = field(default_factory=list)

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

    def input_uri(self, name: str) -> str:
        """Return where the input `name` is, as a URI: for ``spark.read``.

        It is ``file:///...``, and ``s3://...`` where a step on Spark runs in its container. The
        output of another step is the folder of its result in this run.

        Raises
        ------
        JobError
            There is no such input.
        """
        uri = self.input_source(name) if self._place.results else _uri(self.input_path(name))
        if not uri:
            raise JobError(
                f"There is no input {name!r}.",
                fix="Declare it under `inputs` of the step in script/config.json.",
            )
        self.files_read.setdefault(name, [])
        by_a_step = self._place.results and uri.endswith(f"/run={os.environ.get('BATCAT_RUN_ID')}/")
        return uri + result_name(self.date_start, self.run_id) if by_a_step else uri

    def input_files(self, name: str, pattern: str = "*") -> list[Path]:
        """Return the files of the input `name`, at any depth, sorted by path.

        Files and folders whose names begin with a dot or an underscore are left out, as in Hive,
        Athena and Spark.

        Of a sharded input these are this instance's own. An instance that got none has nothing to
        do: the block of `processing_job` ends here, and the instance's manifest lists no file.

        Raises
        ------
        JobError
            The input does not exist or has no such file, or the step runs on Spark.
        """
        if self._place.engine == "spark":
            raise JobError(
                "On Spark there are no files to list: each instance reads its share from S3.",
                fix=f"Read them with Spark: spark.read.csv(job.input_uri({name!r}), header=True).",
            )
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

    def save(self, frame: pd.DataFrame | pyspark.sql.DataFrame, file_name: str) -> Path:
        """Write a table as one file of the result; of Spark's as one for each partition.

        Parameters
        ----------
        frame : pandas.DataFrame or pyspark.sql.DataFrame
            Written without its index. Spark's partitions are numbered as the files of several
            instances are: ``usage-00000.csv``, ``usage-00001.csv``.
        file_name : str
            Ends in ``.csv``, ``.csv.gz`` or ``.parquet``, which decides the format.

        Returns
        -------
        Path
            Where it is until the job ends; it moves with `output_path` then. Of Spark's files it is
            the name that they have in common, below `output_uri`.

        Raises
        ------
        JobError
            Another suffix, or a name with a folder in it.
        """
        if Path(file_name).name != file_name or file_name.startswith((".", "_")):
            raise JobError(
                f"{file_name!r} is no plain file name.", fix="For example 'usage-analysis.csv'."
            )
        if not file_name.endswith((".csv", ".csv.gz", ".parquet")):
            raise JobError(
                f"{file_name!r} has an unknown format.", fix="Use .csv, .csv.gz or .parquet."
            )
        if type(frame).__module__.startswith("pyspark."):
            from batcat_runtime.job_spark import save

            self.rows[file_name] = save(frame, self.output_uri, file_name)
            return self.output_path / file_name
        file_name = shard_name(file_name, self)
        target = self.output_path / file_name
        partial = target.with_name(f".{file_name}.partial")
        if file_name.endswith(".parquet"):
            frame.to_parquet(partial, index=False)
        elif file_name.endswith(".csv"):
            frame.to_csv(partial, index=False)
        else:
            frame.to_csv(partial, index=False, compression="gzip")
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
    environment = os.environ
    place = place_of(name)
    output = place.output
    window = _window(environment)
    if window[0] and window[1] and window[0] >= window[1]:
        raise JobError(
            f"The date window is empty: {window[0]} is not before {window[1]}.",
            fix="The end is exclusive: for one day give the next day as its end.",
        )
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
    run_id = run_name(environment)
    uri = f"{place.results}/{result_name(window[0], run_id)}" if place.results else _uri(staging)
    job = ProcessingJob(
        purpose=place.purpose,
        step=place.step,
        run_id=run_id,
        date_start=window[0],
        date_end=window[1],
        parameters=_parameters(environment),
        shard=place.shard,
        output_path=staging,
        output_uri=uri,
        _place=place,
    )
    if place.engine == "spark":
        from batcat_runtime import job_spark
    if place.results:
        job_spark.clear(uri)
    try:
        try:
            yield job
            if place.engine == "spark":
                job.written.extend(job_spark.finish(uri, staging))
            _check_result(job)
        except _NothingToDoError as nothing:
            log.warning(
                "instance %d of %d got no file of the input %s: there are fewer than instances",
                *(job.shard.index + 1, job.shard.count, nothing),
            )
        rows = hand_over(job, output, started)
    except BaseException:
        if place.results:
            with contextlib.suppress(Exception):  # a retry clears it as well
                job_spark.clear(uri)
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    what = f"result: {rows} rows" if job.rows else "result"
    log.info("%s in %s", what, uri if place.results else result_folder(job, output))


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


def processing_output_path(name: str | None = None) -> Path:
    """Return the folder below which this script writes its results.

    ``/opt/ml/processing/output`` in a container; on a laptop ``data/result/<purpose>``, or
    ``data/tmp/<purpose>/<step>`` for a step whose output is only the next one's input. `name` is as
    in `processing_job`.
    """
    return place_of(name).output


def _uri(folder: Path) -> str:
    """Return a folder's URI as Hadoop reads it: ``=`` stays as it is."""
    return f"file:///{folder.absolute().as_posix().lstrip('/')}"


def _data_files(folder: Path, pattern: str) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob(pattern)
        if path.is_file()
        and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    )


def _check_result(job: ProcessingJob) -> None:
    if not saved_files(job) and not job.written:
        raise JobError(
            "The script ended without a result: it saved no file.",
            fix=f"Call job.save(frame, '{job.purpose}.csv') before the block ends.",
        )


def _window(environment: Mapping[str, str]) -> tuple[date | None, date | None]:
    """Return both ends, as dates or, when one has a time of day, as date-times."""
    start, end = (_date(f"BATCAT_DATE_{name}", environment) for name in ("START", "END"))
    if isinstance(start, datetime) or isinstance(end, datetime):
        return _at_midnight(start), _at_midnight(end)
    return start, end


def _date(name: str, environment: Mapping[str, str]) -> date | None:
    text = environment.get(name, "").strip()
    if not text:
        return None
    try:
        if len(text) == len("2022-01-31"):
            return date.fromisoformat(text)
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise JobError(
            f"{name}={text!r} is no date.", fix="Write it as 2022-01-31, or 2022-01-31T05:00."
        ) from error
    if moment.tzinfo is not None:
        raise JobError(
            f"{name}={text!r} has an offset.",
            fix="Write it in the schedule's own time zone: 2022-01-31T05:00.",
        )
    return moment


def _at_midnight(value: date | None) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    return datetime(value.year, value.month, value.day)


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


def _main(arguments: list[str]) -> int:
    if not arguments:
        print("usage: python -m batcat_runtime.job SCRIPT [ARGUMENT ...]", file=sys.stderr)
        return 2
    from batcat_runtime.job_container import run_script

    return run_script(arguments[0], arguments[1:])


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
