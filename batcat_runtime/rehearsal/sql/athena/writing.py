"""Statements that write data: UNLOAD, CREATE TABLE AS, INSERT INTO.

DuckDB writes files of the wanted format, one folder per partition; they are uploaded under the
names that Athena gives, and new tables and partitions are entered in Glue.
"""

from __future__ import annotations

import gzip
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import duckdb

from ..hive_types import literal, quoted
from ..objects import split_location
from .failures import TYPE_NOT_EMPTY, TYPE_SEMANTIC, QueryFailure
from .planning import Plan
from .storing import refuse_types, stored

_FORMATS = ("PARQUET", "TEXTFILE", "JSON", "ORC", "AVRO")
_CODECS = {
    "PARQUET": ("GZIP", "SNAPPY", "ZSTD", "LZ4", "NONE"),
    "TEXTFILE": ("GZIP", "NONE", "ZSTD"),
    "JSON": ("GZIP", "NONE", "ZSTD"),
}
_DEFAULT_CODEC = "GZIP"
_SUFFIXES = {"GZIP": ".gz", "ZSTD": ".zst", "NONE": "", "SNAPPY": ""}
_ROWS_PER_FILE = 2_000_000
_MAX_PARTITIONS = 100


@dataclass(frozen=True)
class Target:
    """Where and how rows are written.

    Attributes
    ----------
    location : str
        An S3 prefix that ends in a slash.
    format : str
        PARQUET, TEXTFILE or JSON.
    codec : str
        GZIP, SNAPPY, ZSTD, LZ4 or NONE.
    delimiter : str
        Between the fields of text.
    partitioned_by : tuple of str
        The last columns of the query.
    """

    location: str
    format: str
    codec: str
    delimiter: str = "\x01"
    partitioned_by: tuple[str, ...] = ()
    null: str = "\\N"


@dataclass
class Written:
    """What was written.

    Attributes
    ----------
    addresses : list of str
        Of the objects.
    partitions : dict of tuple to str
        From partition values to location.
    """

    rows: int = 0
    addresses: list[str] = field(default_factory=list)
    partitions: dict[tuple[str, ...], str] = field(default_factory=dict)


def target_of(location: str, properties: Mapping[str, Any], what: str) -> Target:
    """Read format, compression and partitioning from a statement's properties.

    Parameters
    ----------
    location : str
        The S3 prefix.
    properties : mapping of str to Any
        By their names in lower case; texts, and lists of texts.
    what : str
        ``UNLOAD`` or ``CTAS``, for messages.

    Raises
    ------
    QueryFailure
        When a property does not exist or has an impossible value.
    """
    form = str(properties.get("format", "PARQUET")).upper()
    if form not in _FORMATS:
        raise QueryFailure(
            f"INVALID_PROPERTY_VALUE: Unsupported format '{form}' for {what}. Supported formats: "
            f"{', '.join(_FORMATS)}"
        )
    if form in ("ORC", "AVRO"):
        raise QueryFailure(f"NOT_SUPPORTED: The embedded AWS does not write {form}; use PARQUET.")
    named = properties.get("compression", properties.get("write_compression"))
    own = properties.get(f"{form.lower()}_compression")
    codec = str(named or own or _DEFAULT_CODEC).upper()
    if codec not in _CODECS[form]:
        raise QueryFailure(
            f"INVALID_PROPERTY_VALUE: Unsupported compression '{codec}' for format '{form}'"
        )
    keys = tuple(str(one).lower() for one in properties.get("partitioned_by", ()))
    return Target(
        location if location.endswith("/") else location + "/",
        form,
        codec,
        str(properties.get("field_delimiter", "\x01")),
        keys,
    )


def write(
    connection: duckdb.DuckDBPyConnection,
    s3: Any,
    plan: Plan,
    target: Target,
    workspace: Path,
    stem: str,
) -> Written:
    """Run a query and write its rows.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        In which the query was planned.
    s3 : boto3 client
        Uploads.
    plan : Plan
        The query.
    target : Target
        Where and how.
    workspace : pathlib.Path
        For the files before they are uploaded.
    stem : str
        How the names of the objects begin.
    """
    refuse_types(plan, target.format)
    folder = workspace / f"out-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    keys = target.partitioned_by
    names = [name.lower() for name in plan.names]
    inner = ", ".join(f"c{number}" for number in range(len(names)))
    chosen = ", ".join(
        f"{stored(kind, f'c{number}', target.format, name in keys)} AS {quoted(name)}"
        for number, (name, kind) in enumerate(zip(names, plan.types, strict=True))
    )
    query = f"SELECT {chosen} FROM ({plan.sql}) AS batcat_rows ({inner})"
    written = Written(rows=_copy(connection, query, folder, target, workspace))
    bucket, prefix = split_location(target.location)
    for file in sorted(one for one in folder.rglob("*") if one.is_file()):
        inside = file.parent.relative_to(folder).as_posix()
        inside = "" if inside == "." else f"{inside}/"
        suffix = "" if target.format == "PARQUET" else _SUFFIXES[target.codec]
        key = f"{prefix}{inside}{stem}_{uuid.uuid4()}{suffix}"
        if suffix == ".gz" and file.suffix != ".gz":
            file.write_bytes(gzip.compress(file.read_bytes(), 6))
        s3.upload_file(str(file), bucket, key)
        written.addresses.append(f"s3://{bucket}/{key}")
        if keys:
            values = tuple(
                unquote(part.partition("=")[2]) for part in inside.split("/")[: len(keys)]
            )
            written.partitions[values] = f"s3://{bucket}/{prefix}{inside}"
    return written


def check_empty(s3: Any, location: str) -> None:
    """Refuse a place where objects lie already.

    Raises
    ------
    QueryFailure
        In Athena's words.
    """
    bucket, prefix = split_location(location if location.endswith("/") else location + "/")
    if s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1).get("KeyCount"):
        raise QueryFailure(
            f"HIVE_PATH_ALREADY_EXISTS: Target directory for table '{location}' already exists: "
            f"{location}. You may need to manually clean the data at this location before "
            "retrying. Athena will not delete data in your account.",
            type=TYPE_NOT_EMPTY,
        )


def partition_columns(plan: Plan, keys: Sequence[str]) -> None:
    """Refuse partition columns that are not the query's last ones.

    Raises
    ------
    QueryFailure
        In Athena's words.
    """
    names = [name.lower() for name in plan.names]
    missing = [key for key in keys if key not in names]
    if missing:
        raise QueryFailure(
            f"INVALID_TABLE_PROPERTY: Partition columns {missing} not present in schema".replace(
                "'", ""
            )
        )
    if keys and names[-len(keys) :] != list(keys):
        raise QueryFailure(
            "HIVE_COLUMN_ORDER_MISMATCH: Partition keys must be the last columns in the table and "
            f"in the same order as the table properties: [{', '.join(keys)}]"
        )
    if keys and len(keys) == len(names):
        raise QueryFailure(
            "INVALID_TABLE_PROPERTY: Table contains only partition columns", type=TYPE_SEMANTIC
        )


def _copy(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    folder: Path,
    target: Target,
    workspace: Path,
) -> int:
    """Write files of the target's format into a folder; return the number of rows."""
    keys = target.partitioned_by
    if keys:
        # Athena writes at most so many partitions at once; and the query must run only once.
        rows = workspace / f"rows-{uuid.uuid4().hex}.parquet"
        connection.execute(f"COPY ({query}) TO {literal(str(rows))} (FORMAT parquet)")
        query = f"SELECT * FROM read_parquet({literal(str(rows))})"
        listed = ", ".join(quoted(key) for key in keys)
        counted = connection.execute(
            f"SELECT count(*) FROM (SELECT DISTINCT {listed} FROM ({query}))"
        ).fetchone()
        if counted and counted[0] > _MAX_PARTITIONS:
            raise QueryFailure(
                f"HIVE_TOO_MANY_OPEN_PARTITIONS: Exceeded limit of {_MAX_PARTITIONS} open writers "
                "for partitions/buckets."
            )
    options = {
        "PARQUET": f"FORMAT parquet, COMPRESSION {_parquet_codec(target.codec)}",
        "TEXTFILE": (
            f"FORMAT csv, HEADER false, DELIMITER {literal(target.delimiter)}, QUOTE '', "
            f"ESCAPE '', NULLSTR {literal(target.null)}"
        ),
        "JSON": "FORMAT json",
    }[target.format]
    if target.format != "PARQUET" and target.codec == "ZSTD":
        options += ", COMPRESSION zstd"
    if keys:
        parts = ", ".join(quoted(key) for key in keys)
        options += f", PARTITION_BY ({parts}), OVERWRITE_OR_IGNORE true"
        place = str(folder)
    else:
        place = str(folder / "data")
    copied = connection.execute(f"COPY ({query}) TO {literal(place)} ({options})").fetchone()
    count = int(copied[0]) if copied else 0
    if count == 0 and not keys:
        (folder / "data").unlink(missing_ok=True)
    return count


def _parquet_codec(codec: str) -> str:
    return {"NONE": "uncompressed", "LZ4": "lz4_raw"}.get(codec, codec.lower())
