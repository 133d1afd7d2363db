"""`read_results`: the newest whole results of a range of days as one DataFrame, without Athena."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from batcat_runtime.errors import NoSuchResultError, UserError
from batcat_runtime.io.types import DtypeBackend
from batcat_runtime.operate.connection import open_project
from batcat_runtime.operate.results import days_of, look_at_bucket, newest_results
from batcat_runtime.operate.results_choice import no_result_yet
from batcat_runtime.operate.results_columns import chosen_file
from batcat_runtime.operate.results_table import table_name_of

if TYPE_CHECKING:
    import pandas as pd


def read_results(
    first: str | date | None = None,
    last: str | date | None = None,
    *,
    file: str | None = None,
    step: str | None = None,
    columns: Sequence[str] | None = None,
    dtype_backend: DtypeBackend | None = None,
    folder: str | Path | None = None,
    purpose: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:
    """Read the newest whole result of each window from S3, as the manifests tell.

    Parameters
    ----------
    first, last : str or datetime.date, optional
        The first and the last day that windows begin on, both included; by default all.
    file : str, optional
        Which file of a result, such as ``usage-analysis.csv``; needed when it has several tables.
    step : str, optional
        Which step's; needed when the pipeline has several last ones.
    columns : sequence of str, optional
        Read these only.
    dtype_backend : {"numpy_nullable", "pyarrow"}, optional
        As for `read_from_bucket`.
    folder : str or Path, optional
        The project's folder; by default that of the working directory.
    purpose : str, optional
        The pipeline; needed when there are several.
    progress : callable, optional
        Takes lines on how far it is.

    Returns
    -------
    pandas.DataFrame
        The rows in the order of their windows; the columns are the files' own.

    Raises
    ------
    NoSuchResultError
        There is no whole result of these days.
    UserError
        There are several tables or steps to choose from.
    DataFormatError
        The files do not go together as one table.

    Examples
    --------
    >>> read_results("2022-01-01", "2022-01-31")  # doctest: +SKIP
    """
    from batcat_runtime.io.s3 import read_csv_from_bucket, read_parquet_from_bucket

    project = open_project(folder)
    name = project.config.purpose_name(purpose)
    days = days_of(first, last)
    look_at_bucket(project)
    part = f"{project.names(name).result_prefix}/"
    steps = project.config.purposes[name].last_steps
    if len(steps) > 1:
        if step not in steps:
            raise UserError(
                f"The results of {name} are of several steps.",
                fix=f"Say which: step={steps[0]!r}, of {', '.join(steps)}.",
            )
        part += f"{step}/"
    results = list(newest_results(project, name, *days, progress=progress))
    files = [[stored for stored in one.files if stored.key.startswith(part)] for one in results]
    newest = next((some for some in reversed(files) if some), None)
    if newest is None:
        if not any(days):
            raise no_result_yet(project, name)
        raise NoSuchResultError(
            f"{name} has no whole result of {days[0] or 'the beginning'} to {days[1] or 'today'}.",
            fix="See which days there are with `batcat results`.",
        )
    called, form = chosen_file(newest, file, name)
    keys = [one.key for some in files for one in some if table_name_of(one.key) == called]
    progress(f"reading {len(keys)} files of {len(results)} results")
    read = read_parquet_from_bucket if form == "parquet" else read_csv_from_bucket
    return read(project.config.result_s3_bucket, keys, columns=columns, dtype_backend=dtype_backend)
