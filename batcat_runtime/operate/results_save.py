"""Rows of a query as a file on this machine: there whole or not at all, in flat memory."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from batcat_runtime.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


def save_rows(
    frames: Iterator[pd.DataFrame], *, csv: Path | None = None, parquet: Path | None = None
) -> dict[Path, int]:
    """Write DataFrames one after the other, and return how many rows each file has.

    Parameters
    ----------
    frames : iterator of pandas.DataFrame
        With Arrow's types, the same in each; at least one, also if there are no rows.
    csv, parquet : Path, optional
        Where to; an existing file is replaced when the new one is whole.

    Raises
    ------
    UserError
        The folder does not exist; nothing was written.
    """
    import pyarrow as pa
    from pyarrow import parquet as pq

    rows = 0
    with contextlib.ExitStack() as stack:
        stack.callback(getattr(frames, "close", lambda: None))
        parts = {path: stack.enter_context(_replacing(path)) for path in (csv, parquet) if path}
        writer: pq.ParquetWriter | None = None
        for frame in frames:
            if csv:
                frame.to_csv(parts[csv], index=False, header=not rows, mode="a")
            if parquet:
                table = pa.Table.from_pandas(frame, preserve_index=False)
                if writer is None:
                    writer = pq.ParquetWriter(parts[parquet], table.schema)
                    stack.callback(writer.close)
                writer.write_table(table)
            rows += len(frame)
    return dict.fromkeys(parts, rows)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    if not path.absolute().parent.is_dir():
        raise UserError(f"There is no folder {path.absolute().parent}.", fix="Create it first.")
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.absolute().parent)
    partial = Path(name)
    try:
        os.close(descriptor)
        yield partial
        partial.chmod(0o644)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
