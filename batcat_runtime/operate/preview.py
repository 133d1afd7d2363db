"""The first rows of a result, without reading it whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from batcat_runtime.deploy.session import session_for
from batcat_runtime.operate.connection import Project
from batcat_runtime.operate.manifests import Result

_TABLES = (".csv", ".csv.gz", ".parquet")


@dataclass(frozen=True)
class Preview:
    """The first rows of one file of a result.

    Attributes
    ----------
    uri : str
        The file's ``s3://`` address.
    columns : tuple of str
        Column names, in order.
    rows : tuple of tuple of str
        Cells as text; empty where a value is missing.
    """

    uri: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def preview_of(project: Project, result: Result, count: int = 5) -> Preview | None:
    """Return the first rows of a result's first table; None when it has no table.

    Only the beginning of the file is fetched, or the first row group of Parquet.

    Raises
    ------
    BatcatError
        The file cannot be read.
    """
    bucket = project.config.result_s3_bucket
    key = next((one.key for one in result.files if one.key.endswith(_TABLES)), None)
    if key is None:
        return None
    from batcat_runtime.io.s3 import read_from_bucket

    session = session_for(project.config.region)
    chunks: Iterator[Any] = read_from_bucket(bucket, key, chunksize=count, boto3_session=session)
    try:
        frame = next(chunks, None)
    finally:
        getattr(chunks, "close", lambda: None)()
    if frame is None:
        return Preview(f"s3://{bucket}/{key}", (), ())
    rows = frame.head(count).itertuples(index=False, name=None)
    return Preview(
        uri=f"s3://{bucket}/{key}",
        columns=tuple(map(str, frame.columns)),
        rows=tuple(tuple(_text(cell) for cell in row) for row in rows),
    )


def _text(cell: Any) -> str:
    import pandas as pd

    missing = pd.api.types.is_scalar(cell) and pd.isna(cell)
    return "" if missing else str(cell)
