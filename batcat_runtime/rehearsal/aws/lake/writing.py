"""Rows of a query into files: what UNLOAD, CREATE TABLE AS and INSERT of both services write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .engine import literal, quoted

if TYPE_CHECKING:
    import duckdb


def write_files(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    folder: Path,
    *,
    form: str = "parquet",
    compression: str = "snappy",
    partitioned_by: Sequence[str] = (),
    options: str = "",
) -> int:
    """Run a query and write its rows; none at all leave no file.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        May write into the folder.
    sql : str
        The query, in DuckDB's dialect, whose columns have the names and types to be written.
    folder : pathlib.Path
        Gets the files, in folders ``column=value`` when there are partitions.
    form : str
        ``parquet``, ``csv`` or ``json``.
    compression : str
        DuckDB's name: snappy, gzip, zstd, lz4_raw, uncompressed; of text gzip, zstd, none.
    partitioned_by : sequence of str
        Columns that become folders, and are not written into the files.
    options : str
        Further options of DuckDB's COPY, such as ``DELIMITER '|'``.

    Returns
    -------
    int
        How many rows were written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    said = [f"FORMAT {form}", f"COMPRESSION {compression}", *([options] if options else [])]
    target = folder / "data"
    if partitioned_by:
        said.append(f"PARTITION_BY ({', '.join(map(quoted, partitioned_by))})")
        said.append("OVERWRITE_OR_IGNORE true")
        target = folder
    copied = connection.execute(f"COPY ({sql}) TO {literal(str(target))} ({', '.join(said)})")
    rows = int((copied.fetchone() or [0])[0])
    if not rows:
        target.unlink(missing_ok=True) if not partitioned_by else None
    return rows
