"""DuckDB as both services use it: connections without a way out, and how SQL text is quoted."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb


def connect(*folders: Path, settings: str = "") -> duckdb.DuckDBPyConnection:
    """Open a DuckDB in memory that reads and writes nothing but some folders.

    Statements come from whoever may call the API; their SQL must not read this machine, and an
    embedded AWS never asks the network for an extension.

    Parameters
    ----------
    *folders : pathlib.Path
        The folders; what does not fit into memory goes to the first.
    settings : str
        Statements to run first, such as macros. It is UTC already.
    """
    import duckdb

    connection = duckdb.connect(
        f":memory:{uuid.uuid4().hex}",
        config={
            "threads": 2,
            "memory_limit": "4GB",
            "temp_directory": str(folders[0]),
            "python_enable_replacements": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
        },
    )
    allowed = ", ".join(literal(f"{folder}/") for folder in folders)
    connection.execute(
        f"SET GLOBAL TimeZone = 'UTC'; SET GLOBAL allowed_directories = [{allowed}]; "
        f"SET GLOBAL enable_external_access = false; {settings}"
    )
    return connection


def quoted(name: str) -> str:
    """Return a name as an SQL identifier in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"
