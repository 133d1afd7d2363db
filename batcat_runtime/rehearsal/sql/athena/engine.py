"""A DuckDB connection that behaves as Athena's engine: its clock, its functions, no way out."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import duckdb

from ..hive_types import literal
from . import functions

THREADS = 2
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "threads": THREADS,
    "memory_limit": "4GB",
    # An embedded AWS never asks the network for an extension.
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
}


class Engine:
    """Opens connections, each with all functions.

    Parameters
    ----------
    home : pathlib.Path
        Where a database with the functions is kept: opening a copy of it takes a fifth of the time
        that defining them takes.
    """

    def __init__(self, home: Path) -> None:
        self._template = home / "batcat-functions.duckdb"
        self._lock = threading.Lock()

    def connect(self, workspace: Path, *others: Path) -> duckdb.DuckDBPyConnection:
        """Open a connection for one query.

        Parameters
        ----------
        workspace : pathlib.Path
            The query's folder; what does not fit into memory goes there too.
        *others : pathlib.Path
            Further folders that may be read and written.
        """
        own = workspace / "batcat-engine.duckdb"
        shutil.copyfile(self._made(), own)
        connection = duckdb.connect(str(own), config={**_CONFIG, "temp_directory": str(workspace)})
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET lambda_syntax = 'ENABLE_SINGLE_ARROW'")
        folders = ", ".join(literal(str(one)) for one in (workspace, *others))
        connection.execute(f"SET allowed_directories = [{folders}]")
        connection.execute("SET enable_external_access = false")
        return connection

    def _made(self) -> Path:
        with self._lock:
            if not self._template.exists():
                self._template.parent.mkdir(parents=True, exist_ok=True)
                partial = self._template.with_suffix(".partial")
                partial.unlink(missing_ok=True)
                connection = duckdb.connect(str(partial), config=_CONFIG)
                functions.install(connection)
                connection.close()
                partial.replace(self._template)
        return self._template
