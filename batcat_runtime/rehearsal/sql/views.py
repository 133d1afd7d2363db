"""The view that stands for a table in DuckDB, and the files below it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .formats import FILE_NUMBER
from .hive_types import literal, quoted
from .tables import Partition, Storage, Table

if TYPE_CHECKING:
    import duckdb

PATH_COLUMN = "$path"


def place(connection: duckdb.DuckDBPyConnection, table: Table, under: str | None = None) -> str:
    """Make sure that the table's catalogue and schema exist, and return its full name."""
    catalog, database = quoted(under or table.catalog.lower()), quoted(table.database)
    connection.execute(f"ATTACH IF NOT EXISTS ':memory:' AS {catalog}")
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {catalog}.{database}")
    return f"{catalog}.{database}.{quoted(table.name)}"


def linked(cached: Path, folder: Path, storage: Storage) -> Path:
    """Give a fetched file a name that carries its number; a hard link, so it cannot vanish."""
    suffix = ".parquet" if storage.format in ("parquet", "orc") else ".txt"
    folder.mkdir(parents=True)
    target = folder / f"data{suffix}"
    try:
        os.link(cached, target)
    except OSError:
        shutil.copyfile(cached, target)
    return target


def view_of(
    table: Table,
    scanned: Sequence[str],
    owners: Sequence[Partition],
    paths: Sequence[str] | None,
) -> str:
    """Return the query of a table's view: its columns, its partition keys, and the path."""
    names = [quoted(one.name) for one in table.columns]
    for place, key in enumerate(table.keys):
        values = [one.values[place] for one in owners]
        names.append(f"{_by_file(values, key.type.duckdb)} AS {quoted(key.name)}")
    if paths is not None:
        names.append(f"{_by_file(paths, 'VARCHAR')} AS {quoted(PATH_COLUMN)}")
    if not scanned:
        nothing = [
            f"CAST(NULL AS {one.type.duckdb}) AS {quoted(one.name)}" for one in table.columns
        ]
        nothing += names[len(table.columns) :]
        return f"SELECT {', '.join(nothing)} FROM (SELECT 0 AS {FILE_NUMBER}) WHERE false"
    return f"SELECT {', '.join(names)} FROM ({' UNION ALL '.join(scanned)})"


def _by_file(values: Sequence[str | None], kind: str) -> str:
    """Return an expression for the value that belongs to a row's file."""
    listed = ", ".join("NULL" if value is None else literal(value) for value in values)
    return f"CAST([{listed}] AS {kind}[])[{FILE_NUMBER} + 1]"
