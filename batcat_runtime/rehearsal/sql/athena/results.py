"""Results of queries: the file in S3, and the pages of GetQueryResults.

A SELECT's rows are rendered to text once, into a Parquet file on this machine; the CSV file in S3
and every page come from that. Other statements leave lines of text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..hive_types import literal
from .planning import Plan
from .rendering import ResultType, result_type, text_of

if TYPE_CHECKING:
    import duckdb

_TEXT = result_type("VARCHAR")
_PAGE = 1000


@dataclass
class Result:
    """What a statement leaves.

    Attributes
    ----------
    names, types : list
        The columns.
    rows_file : pathlib.Path or None
        Rows rendered to text, of a SELECT.
    lines : list of str
        What other statements print.
    has_header : bool
        Whether the first row of the first page names the columns.
    update_count : int or None
        Rows written by INSERT, CTAS and UNLOAD.
    manifest : list of str
        Addresses of the data files that were written.
    scanned : int
        Bytes read.
    """

    names: list[str] = field(default_factory=list)
    types: list[ResultType] = field(default_factory=list)
    rows_file: Path | None = None
    lines: list[str] = field(default_factory=list)
    has_header: bool = False
    update_count: int | None = None
    manifest: list[str] = field(default_factory=list)
    scanned: int = 0
    row_count: int = 0
    suffix: str = ".csv"


def text_result(lines: Sequence[str], *names: str) -> Result:
    """Return the result of a statement that prints lines of text.

    Parameters
    ----------
    lines : sequence of str
        The lines; columns in them are separated by tabs.
    *names : str
        Names of the columns.
    """
    return Result(list(names), [_TEXT] * len(names), lines=list(lines), suffix=".txt")


def render_rows(connection: duckdb.DuckDBPyConnection, plan: Plan, target: Path) -> Result:
    """Run a query, and keep its rows as text.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        In which the query was planned.
    plan : Plan
        The query.
    target : pathlib.Path
        The Parquet file to write.
    """
    inner = ", ".join(f"c{number}" for number in range(len(plan.names)))
    texts = ", ".join(
        f"{text_of(kind, f'c{number}')} AS c{number}" for number, kind in enumerate(plan.types)
    )
    copied = connection.execute(
        f"COPY (SELECT {texts} FROM ({plan.sql}) AS batcat_rows ({inner})) "
        f"TO {literal(str(target))} (FORMAT parquet)"
    ).fetchone()
    return Result(
        plan.names,
        plan.types,
        rows_file=target,
        has_header=True,
        scanned=plan.scanned,
        row_count=int(copied[0]) if copied else 0,
    )


def write_csv(connection: duckdb.DuckDBPyConnection, result: Result, target: Path) -> None:
    """Write a result as Athena's CSV file: all values in quotes, NULL as nothing.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Does the writing.
    result : Result
        With rows.
    target : pathlib.Path
        The file to write.
    """
    header = ",".join('"' + name.replace('"', '""') + '"' for name in result.names) + "\n"
    body = target.with_suffix(".body")
    connection.execute(
        f"COPY (FROM read_parquet({literal(str(result.rows_file))})) TO {literal(str(body))} "
        "(FORMAT csv, HEADER false, FORCE_QUOTE *)"
    )
    with target.open("wb") as file:
        file.write(header.encode())
        with body.open("rb") as rows:
            while block := rows.read(4 * 1024 * 1024):
                file.write(block)
    body.unlink()


def page(result: Result, start: int, size: int | None) -> tuple[dict[str, Any], int | None]:
    """Return a page of a result, and where the next one begins.

    Parameters
    ----------
    result : Result
        The result.
    start : int
        Which row to begin with, the header being the first.
    size : int or None
        How many rows; 1,000 by default and at most.
    """
    size = size or _PAGE
    rows: list[list[str | None]] = []
    total = len(result.lines) + result.row_count + result.has_header
    if result.has_header and start == 0:
        rows.append(list(result.names))
    offset = max(start - result.has_header, 0)
    if result.rows_file is not None:
        rows += _rows(result.rows_file, offset, size - len(rows), len(result.names))
    else:
        rows += [[line] for line in result.lines[offset : offset + size - len(rows)]]
    end = start + len(rows)
    answer: dict[str, Any] = {
        "ResultSet": {
            "Rows": [{"Data": [_datum(value) for value in row]} for row in rows],
            "ResultSetMetadata": {
                "ColumnInfo": [
                    column_info(name, kind)
                    for name, kind in zip(result.names, result.types, strict=True)
                ]
            },
        },
        "UpdateCount": result.update_count or 0,
    }
    return answer, end if end < total else None


def column_info(name: str, kind: ResultType) -> dict[str, Any]:
    """Return the member `ColumnInfo` of a result's metadata for one column."""
    return {
        "CatalogName": "hive",
        "SchemaName": "",
        "TableName": "",
        "Name": name,
        "Label": name,
        "Type": kind.name,
        "Precision": kind.precision,
        "Scale": kind.scale,
        "Nullable": "UNKNOWN",
        "CaseSensitive": kind.name in ("varchar", "char", "json"),
    }


def _datum(value: str | None) -> dict[str, str]:
    return {} if value is None else {"VarCharValue": value}


def _rows(path: Path, offset: int, size: int, width: int) -> list[list[str | None]]:
    if size <= 0 or not width:
        return []
    import pyarrow.parquet as parquet

    file = parquet.ParquetFile(path)
    found: list[list[str | None]] = []
    passed = 0
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        if passed + count > offset:
            first = max(offset - passed, 0)
            part = file.read_row_group(group).slice(first, size - len(found))
            columns = [column.to_pylist() for column in part.columns]
            found += [list(row) for row in zip(*columns, strict=True)]
            if len(found) >= size:
                break
        passed += count
    return found
