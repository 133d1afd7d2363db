"""A query's result, which comes as Arrow tables, as one DataFrame or as chunks of even size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from batcat_runtime.errors import UserError
from batcat_runtime.io.types import DtypeBackend, check_backend, to_pandas, unique_names

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def check_result_options(
    chunksize: int | None, dtype_backend: str | None, timeout: float | None
) -> None:
    """Refuse what no result can be like, before a query runs."""
    check_backend(dtype_backend)
    if chunksize is not None and (type(chunksize) is not int or chunksize < 1):
        raise UserError(f"{chunksize=} is no number of rows.", fix="For example 100_000.")
    if timeout is not None and not timeout > 0:
        raise UserError(f"{timeout=} is no number of seconds.", fix="For example timeout=600.")


def whole(tables: Iterable[pa.Table], dtype_backend: DtypeBackend | None) -> pd.DataFrame:
    """Return all tables as one DataFrame; none at all is one without columns."""
    import pandas as pd

    parts = list(tables)
    if not parts or not parts[0].num_columns:
        return pd.DataFrame()
    return to_pandas(_joined(parts), dtype_backend=dtype_backend)


def chunks(
    tables: Iterable[pa.Table],
    chunksize: int,
    dtype_backend: DtypeBackend | None,
    *,
    pandas_metadata: bool = False,
) -> Iterator[pd.DataFrame]:
    """Give DataFrames of `chunksize` rows, the last one of fewer; one at least, if it has columns.

    No more than a chunk and one of the tables is held at a time. See `to_pandas` for
    `pandas_metadata`.
    """
    frame = partial(to_pandas, dtype_backend=dtype_backend, pandas_metadata=pandas_metadata)
    kept: list[pa.Table] = []
    rows, given = 0, False
    for table in tables:
        if not rows:
            kept.clear()
        kept.append(table)
        rows += table.num_rows
        while rows >= chunksize:
            joined = _joined(kept)
            # a slice would keep the memory of what it was cut from
            kept = [joined.slice(chunksize)] if rows > chunksize else []
            rows, given = rows - chunksize, True
            yield frame(joined.slice(0, chunksize))
    if rows or (kept and kept[0].num_columns and not given):
        yield frame(_joined(kept))


def _joined(parts: list[pa.Table]) -> pa.Table:
    import pyarrow as pa

    names = unique_names(parts[0].column_names)  # concat_tables joins by name
    named = [part.rename_columns(names) for part in parts]
    parts.clear()  # so that what is converted can be freed
    # only decimals differ, where the engine does not say how exact they are
    return pa.concat_tables(named, promote_options="permissive")
