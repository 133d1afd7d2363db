"""Results of queries: values as Athena writes them, the file in S3, the pages of GetQueryResults.

DuckDB renders a SELECT's rows to text once, into a Parquet file on this machine; the CSV file in S3
and every page come from that. Other statements leave lines of text.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from .athena_query import Plan
from .engine import literal
from .objects import split_location
from .types import base, fields, numbers

if TYPE_CHECKING:
    import duckdb

_PAGE = 1000
_PRECISIONS = {
    **{"tinyint": 3, "smallint": 5, "integer": 10, "bigint": 19, "real": 17, "double": 17},
    **{"varchar": 2147483647, "varbinary": 1073741824, "time": 3, "timestamp": 3},
    "timestamp with time zone": 3,
}


@dataclass
class Result:
    """What a statement leaves.

    Attributes
    ----------
    names, types : list
        The columns.
    rows_file : pathlib.Path or None
        Rows of a SELECT, rendered to text.
    lines : list of str or None
        What a statement on the catalogue prints.
    written : list of str
        Addresses of the data files that INSERT, CTAS and UNLOAD wrote.
    count : int
        Rows in the file, or written.
    scanned : int
        Bytes of the objects of the tables that were asked.
    """

    names: list[str] = field(default_factory=list)
    types: list[exp.DataType] = field(default_factory=list)
    rows_file: Path | None = None
    lines: list[str] | None = None
    written: list[str] = field(default_factory=list)
    count: int = 0
    scanned: int = 0


def printed(lines: Sequence[str], *names: str) -> Result:
    """Return the result of a statement that prints lines; columns in them are set off by tabs."""
    types = [exp.DataType.build("VARCHAR")] * len(names)
    return Result(list(names), types, lines=list(lines))


def render(connection: duckdb.DuckDBPyConnection, plan: Plan, target: Path) -> Result:
    """Run a query, and keep its rows as text in a Parquet file."""
    inner = [f"c{number}" for number in range(len(plan.names))]
    texts = [f"{text_of(kind, n)} AS {n}" for n, kind in zip(inner, plan.types, strict=True)]
    copied = connection.execute(
        f"COPY (SELECT {', '.join(texts)} FROM ({plan.sql}) AS batcat_rows ({', '.join(inner)})) "
        f"TO {literal(str(target))} (FORMAT parquet)"
    )
    count = int((copied.fetchone() or [0])[0])
    return Result(plan.names, plan.types, target, count=count, scanned=plan.scanned)


def text_of(kind: exp.DataType, value: str, depth: int = 0) -> str:
    """Return an SQL expression for the text that Athena writes for a value.

    Parameters
    ----------
    kind : sqlglot.exp.DataType
        The value's type.
    value : str
        An SQL expression.
    depth : int
        How deep inside nested types; names the lambdas' variables.
    """
    name, variable = base(kind), f"v{depth}"

    def inner(one: exp.DataType, at: str) -> str:
        return f"coalesce({text_of(one, at, depth + 1)}, 'null')"

    if name == "array":
        items = (
            f"list_transform({value}, lambda {variable}: {inner(kind.expressions[0], variable)})"
        )
        return f"('[' || array_to_string({items}, ', ') || ']')"
    if name == "map":
        key, held = kind.expressions
        pair = f"{inner(key, f'{variable}.key')} || '=' || {inner(held, f'{variable}.value')}"
        items = f"list_transform(map_entries({value}), lambda {variable}: {pair})"
        return f"('{{' || array_to_string({items}, ', ') || '}}')"
    if name == "row":
        parts = [
            f"{literal(field + '=')} || {inner(one, f'struct_extract({value}, {literal(field)})')}"
            for field, one in fields(kind)
        ]
        joined = " || ', ' || ".join(parts)
        return f"CASE WHEN {value} IS NULL THEN NULL ELSE '{{' || {joined} || '}}' END"
    if name in ("double", "real"):
        return f"batcat_shown({value})"
    if name in ("timestamp", "timestamp with time zone"):
        return f"batcat_text({value})"
    if name == "varbinary":
        return f"trim(regexp_replace(lower(hex({value})), '(..)', '\\1 ', 'g'))"
    if name == "interval day to second":
        return f"batcat_interval_text({value})"
    if name == "time":
        return f"strftime(DATE '1970-01-01' + ({value}), '%H:%M:%S.%g')"
    return f"CAST({value} AS VARCHAR)"


def publish(
    connection: duckdb.DuckDBPyConnection,
    s3: Any,
    result: Result,
    address: str,
    encryption: dict[str, str],
    folder: Path,
) -> None:
    """Write the result file and what Athena puts beside it.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Writes the CSV file: all values in quotes, NULL as nothing.
    s3 : boto3 client
        Uploads.
    result : Result
        What the statement left.
    address : str
        Where to, without a suffix.
    encryption : dict
        The result's EncryptionConfiguration.
    folder : pathlib.Path
        For the file before it is uploaded.
    """
    bucket, key = split_location(address)
    extra: dict[str, Any] = {"Bucket": bucket}
    if encryption.get("EncryptionOption") == "SSE_S3":
        extra["ServerSideEncryption"] = "AES256"
    elif encryption.get("EncryptionOption"):
        extra |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": encryption["KmsKey"]}
    if result.rows_file is not None:
        file = folder / "result.csv"
        connection.execute(
            f"COPY (FROM read_parquet({literal(str(result.rows_file))})) TO {literal(str(file))} "
            "(FORMAT csv, HEADER false, FORCE_QUOTE *)"
        )
        head = ",".join('"' + name.replace('"', '""') + '"' for name in result.names) + "\n"
        whole = folder / "whole.csv"
        with whole.open("wb") as target, file.open("rb") as rows:
            target.write(head.encode())
            shutil.copyfileobj(rows, target)
        with whole.open("rb") as body:
            s3.put_object(Key=f"{key}.csv", Body=body, **extra)
        told = zip(result.names, map(base, result.types), strict=True)
        described = "\n".join(f"{name}\t{kind}" for name, kind in told)
        s3.put_object(Key=f"{key}.csv.metadata", Body=described.encode(), **extra)
    elif result.lines is not None:
        text = "".join(f"{line}\n" for line in result.lines)
        s3.put_object(Key=f"{key}.txt", Body=text.encode(), **extra)
        s3.put_object(Key=f"{key}.txt.metadata", Body="\n".join(result.names).encode(), **extra)
    else:
        manifest = "\n".join(result.written).encode()
        s3.put_object(Key=f"{key}-manifest.csv", Body=manifest, **extra)
        s3.put_object(Key=f"{key}.metadata", Body=b"", **extra)


def page(
    connection: duckdb.DuckDBPyConnection, result: Result, start: int, size: int | None
) -> tuple[dict[str, Any], int | None]:
    """Return a page of GetQueryResults, and where the next one begins, if there is one.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        May read the file of the rows.
    result : Result
        A finished statement's.
    start : int
        Which row to begin with; a SELECT's first row names the columns.
    size : int or None
        How many rows; 1,000 by default.
    """
    size = size or _PAGE
    header = result.rows_file is not None
    rows: list[list[str | None]] = [list(result.names)] if header and start == 0 else []
    offset = max(start - header, 0)
    total = header + (result.count if header else len(result.lines or []))
    if result.rows_file is not None:
        source = f"FROM read_parquet({literal(str(result.rows_file))})"
        found = connection.execute(f"{source} LIMIT {size - len(rows)} OFFSET {offset}")
        rows += map(list, found.fetchall())
    else:
        rows += [[line] for line in (result.lines or [])[offset : offset + size]]
    end = start + len(rows)
    columns = [_column(*one) for one in zip(result.names, result.types, strict=True)]
    answer: dict[str, Any] = {
        "ResultSet": {
            "Rows": [{"Data": [_datum(value) for value in row]} for row in rows],
            "ResultSetMetadata": {"ColumnInfo": columns},
        },
        "UpdateCount": 0 if header else result.count,
    }
    return answer, end if end < total else None


def _column(name: str, kind: exp.DataType) -> dict[str, Any]:
    given, spelt = numbers(kind), base(kind)
    precision, scale = (*given, 0, 0)[:2]
    return {
        "Name": name,
        "Label": name,
        "Type": "float" if spelt == "real" else spelt,
        "Precision": precision or _PRECISIONS.get(spelt, 0),
        "Scale": scale,
        "Nullable": "UNKNOWN",
        "CaseSensitive": spelt in ("varchar", "char", "json"),
    }


def _datum(value: str | None) -> dict[str, str]:
    return {} if value is None else {"VarCharValue": value}
