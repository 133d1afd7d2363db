"""UNLOAD: the result of a query into objects of S3."""

from __future__ import annotations

import bz2
import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from botocore.exceptions import ClientError
from sqlglot import exp

from .data_api_results import text_of
from .redshift_dialect import Words
from .redshift_options import (
    COMPRESSIONS,
    Place,
    character,
    check_region,
    objects_under,
    quoted_list,
    read_authorisation,
    read_place,
    s3_failure,
    switched,
)
from .redshift_outcome import Outcome, ResultColumn
from .redshift_words import RedshiftError

if TYPE_CHECKING:
    import pyarrow as pa

    from .redshift_session import Session

_SLICES = 2
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_NOT_EMPTY = (
    "ERROR: Specified unload destination on S3 is not empty. Consider using a different bucket / "
    "prefix, manually removing the target files in S3, or using the ALLOWOVERWRITE option."
)


@dataclass
class UnloadPlan:
    """An UNLOAD as it was read."""

    query: str
    place: Place
    role: str | None = None
    format: str = "TEXT"
    delimiter: str = "|"
    compression: str | None = None
    header: bool = False
    null: str = ""
    add_quotes: bool = False
    escape: bool = False
    partition_by: list[str] = field(default_factory=list)
    include: bool = False
    manifest: bool = False
    verbose: bool = False
    allow_overwrite: bool = False
    clean_path: bool = False
    parallel: bool = True
    max_file_bytes: int | None = None
    region: str | None = None
    extension: str | None = None
    kms_key: str | None = None


def unload(session: Session, words: Words) -> Outcome:
    """Perform UNLOAD, from after its first word."""
    plan = read_unload(words)
    tree = session.parse(plan.query)
    if not isinstance(tree, exp.Query):
        raise RedshiftError("ERROR: UNLOAD requires a SELECT statement")
    if tree.args.get("limit") is not None:
        raise RedshiftError("ERROR: Limit clause is not supported")
    session.external.assume(plan.role)
    _prepare(session, plan)
    outcome = session.select(plan.query)
    columns, table = outcome.columns or [], outcome.table
    assert table is not None
    _check_columns(plan, columns)
    written: list[dict[str, Any]] = []
    for folder, part_columns, part in _partitions(plan, columns, table):
        for number, piece in enumerate(_slices(plan, part)):
            body = _encoded(plan, part_columns, piece)
            key = _key(plan, folder, number)
            _put(session, plan, key, body)
            written.append(
                {
                    "url": f"s3://{plan.place.bucket}/{key}",
                    "meta": {"content_length": len(body), "record_count": piece.num_rows},
                }
            )
    if plan.manifest:
        _put(session, plan, f"{plan.place.prefix}manifest", _manifest(plan, columns, written))
    return Outcome(rows=table.num_rows)


def read_unload(words: Words) -> UnloadPlan:
    """Read UNLOAD, from after its first word.

    Raises
    ------
    RedshiftError
        When it is not as Redshift's grammar has it.
    """
    words.expect("(")
    query = words.text()
    words.expect(")")
    words.expect("TO")
    plan = UnloadPlan(query, read_place(words))
    authorised = False
    while not words.done:
        found, role = read_authorisation(words)
        if found:
            authorised, plan.role = True, role
        else:
            _read_option(words, plan)
    if not authorised:
        raise RedshiftError("ERROR: UNLOAD requires an IAM_ROLE: none was given")
    if plan.clean_path and plan.allow_overwrite:
        raise RedshiftError("ERROR: CLEANPATH and ALLOWOVERWRITE cannot be specified together")
    if plan.format == "PARQUET" and (plan.header or plan.compression or plan.add_quotes):
        raise RedshiftError(
            "ERROR: HEADER, ADDQUOTES and compression options are not supported with PARQUET"
        )
    return plan


def _read_option(words: Words, plan: UnloadPlan) -> None:
    if words.take("FORMAT"):
        words.take("AS")
        if words.peek() not in ("CSV", "PARQUET", "JSON"):
            raise words.error()
    if words.peek() in ("CSV", "PARQUET", "JSON"):
        plan.format = words.next().text.upper()
        plan.delimiter = "," if plan.format == "CSV" else plan.delimiter
    elif words.peek() in COMPRESSIONS:
        plan.compression = words.next().text.upper()
    elif words.take("DELIMITER"):
        plan.delimiter = character(words)
    elif words.take("HEADER"):
        plan.header = True
    elif words.take("ADDQUOTES"):
        plan.add_quotes = True
    elif words.take("ESCAPE"):
        plan.escape = True
    elif words.take("NULL"):
        plan.null = character(words)
    elif words.take("PARTITION", "BY"):
        plan.partition_by = quoted_list(words.group().split(","))
        plan.include = words.take("INCLUDE")
    elif words.take("MANIFEST"):
        plan.manifest = True
        plan.verbose = words.take("VERBOSE")
    elif words.take("ALLOWOVERWRITE"):
        plan.allow_overwrite = True
    elif words.take("CLEANPATH"):
        plan.clean_path = True
    elif words.take("PARALLEL"):
        plan.parallel = switched(words)
    elif words.take("MAXFILESIZE"):
        _read_file_size(words, plan)
    elif words.take("ROWGROUPSIZE"):
        words.take("AS")
        words.number()
        _ = words.take("MB") or words.take("GB")
    elif words.take("REGION"):
        words.take("AS")
        plan.region = words.text()
    elif words.take("EXTENSION"):
        plan.extension = words.text().lstrip(".")
    elif words.take("KMS_KEY_ID"):
        plan.kms_key = words.text()
    elif words.take("ENCRYPTED"):
        words.take("AUTO")
    else:
        raise words.error()


def _read_file_size(words: Words, plan: UnloadPlan) -> None:
    words.take("AS")
    text = words.next().text
    unit = 1024**3 if words.take("GB") else 1024**2
    words.take("MB")
    size = int(float(text) * unit)
    if not 5 * 1024**2 <= size <= int(6.2 * 1024**3):
        raise RedshiftError("ERROR: MAXFILESIZE must be between 5 MB and 6.2 GB")
    plan.max_file_bytes = size


def _prepare(session: Session, plan: UnloadPlan) -> None:
    """See that the destination may be written to, and empty it if asked to."""
    check_region(session.external, plan.place, plan.region)
    existing = objects_under(session.external, plan.place)
    if not existing or plan.allow_overwrite:
        return
    if not plan.clean_path:
        raise RedshiftError(_NOT_EMPTY)
    for one in existing:
        try:
            session.external.s3.delete_object(Bucket=plan.place.bucket, Key=one["Key"])
        except ClientError as error:
            raise s3_failure(error) from error


def _check_columns(plan: UnloadPlan, columns: list[ResultColumn]) -> None:
    names = [one.name for one in columns]
    for name in plan.partition_by:
        if name not in names:
            raise RedshiftError(
                f'ERROR: partition column "{name}" is not in the result of the query'
            )
    if len(plan.partition_by) == len(names):
        raise RedshiftError("ERROR: at least one column must not be a partition column")
    if plan.format in ("PARQUET", "JSON"):
        for name in names:
            if names.count(name) > 1:
                raise RedshiftError(
                    f'ERROR: duplicate column name "{name}" is not supported with {plan.format}'
                )


def _partitions(
    plan: UnloadPlan, columns: list[ResultColumn], table: pa.Table
) -> Iterator[tuple[str, list[ResultColumn], pa.Table]]:
    """Yield folder, columns and rows of each partition; one folder '' without partitions."""
    if not plan.partition_by:
        yield "", columns, table
        return
    import pyarrow as pa

    places = [[one.name for one in columns].index(name) for name in plan.partition_by]
    texts = [_partition_texts(columns[place], table.column(place)) for place in places]
    groups: dict[tuple[str, ...], list[int]] = {}
    for row, values in enumerate(zip(*texts, strict=True)):
        groups.setdefault(values, []).append(row)
    kept = [n for n in range(len(columns)) if plan.include or n not in places]
    for values, rows in sorted(groups.items()):
        folder = "".join(
            f"{name}={quote(value, safe=' ')}/"
            for name, value in zip(plan.partition_by, values, strict=True)
        )
        yield folder, [columns[n] for n in kept], table.take(pa.array(rows)).select(kept)


def _partition_texts(column: ResultColumn, values: Any) -> list[str]:
    return [_HIVE_NULL if value is None else text_of(column, value) for value in values.to_pylist()]


def _slices(plan: UnloadPlan, table: pa.Table) -> list[pa.Table]:
    """Divide rows among the files that the slices of a cluster would write."""
    count = table.num_rows
    if count == 0:
        return [] if plan.format == "PARQUET" else [table]
    parts = min(_SLICES, count) if plan.parallel else 1
    if plan.max_file_bytes:
        parts = max(parts, -(-int(table.nbytes) // plan.max_file_bytes))
    size = -(-count // parts)
    return [table.slice(start, size) for start in range(0, count, size)]


def _key(plan: UnloadPlan, folder: str, number: int) -> str:
    prefix = plan.place.prefix
    if folder and prefix and not prefix.endswith("/"):
        prefix += "/"
    name = f"{number:04d}_part_00" if plan.parallel else f"{number:03d}"
    end = ".parquet" if plan.format == "PARQUET" else COMPRESSIONS.get(plan.compression or "", "")
    if plan.extension is not None:
        end = f".{plan.extension}"
    return f"{prefix}{folder}{name}{end}"


def _encoded(plan: UnloadPlan, columns: list[ResultColumn], table: pa.Table) -> bytes:
    if plan.format == "PARQUET":
        import pyarrow.parquet as pq

        out = io.BytesIO()
        pq.write_table(table, out, compression="snappy")
        return out.getvalue()
    if plan.format == "JSON":
        text = "".join(f"{line}\n" for line in _json_lines(columns, table))
    else:
        text = "".join(f"{line}\n" for line in _text_lines(plan, columns, table))
    body = text.encode()
    if plan.compression == "GZIP":
        return gzip.compress(body)
    if plan.compression == "BZIP2":
        return bz2.compress(body)
    if plan.compression == "ZSTD":
        import pyarrow as pa

        return bytes(pa.Codec("zstd").compress(body, asbytes=True))
    return body


def _json_lines(columns: list[ResultColumn], table: pa.Table) -> Iterator[str]:
    for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
        values = {}
        for column, value in zip(columns, row, strict=True):
            plain = isinstance(value, int | float | bool) or value is None
            if column.type.name == "super" and value is not None:
                values[column.name] = json.loads(value)
            else:
                values[column.name] = value if plain else text_of(column, value)
        yield json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def _text_lines(plan: UnloadPlan, columns: list[ResultColumn], table: pa.Table) -> Iterator[str]:
    if plan.header:
        yield plan.delimiter.join(one.name for one in columns)
    for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
        texts = [
            plan.null if value is None else _written(plan, text_of(column, value))
            for column, value in zip(columns, row, strict=True)
        ]
        yield plan.delimiter.join(texts)


def _written(plan: UnloadPlan, text: str) -> str:
    if plan.format == "CSV":
        if any(char in text for char in (plan.delimiter, '"', "\n", "\r")):
            return '"' + text.replace('"', '""') + '"'
        return text
    if plan.escape:
        for char in ("\\", plan.delimiter, "\n", "\r", '"', "'"):
            text = text.replace(char, "\\" + char)
    return f'"{text}"' if plan.add_quotes else text


def _manifest(
    plan: UnloadPlan, columns: list[ResultColumn], written: list[dict[str, Any]]
) -> bytes:
    if not plan.verbose:
        entries = [{"url": one["url"], "mandatory": True} for one in written]
        if plan.format == "PARQUET":
            entries = [
                {"url": one["url"], "meta": {"content_length": one["meta"]["content_length"]}}
                for one in written
            ]
        return json.dumps({"entries": entries}).encode()
    schema = [{"name": one.name, "type": {"base": one.type.standard_name}} for one in columns]
    total = {
        "content_length": sum(one["meta"]["content_length"] for one in written),
        "record_count": sum(one["meta"]["record_count"] for one in written),
    }
    author = {"name": "Amazon Redshift", "version": "1.0.0"}
    return json.dumps(
        {"entries": written, "schema": {"elements": schema}, "meta": total, "author": author}
    ).encode()


def _put(session: Session, plan: UnloadPlan, key: str, body: bytes) -> None:
    encryption = (
        {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": plan.kms_key} if plan.kms_key else {}
    )
    try:
        session.external.s3.put_object(Bucket=plan.place.bucket, Key=key, Body=body, **encryption)
    except ClientError as error:
        raise s3_failure(error) from error
