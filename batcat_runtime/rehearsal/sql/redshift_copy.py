"""COPY: objects of S3 into a table.

Every format becomes an Arrow table of the target's columns, text formats as raw text that DuckDB
then converts (`redshift_load.py`). Parquet is as strict as Redshift: a file's type must be the
column's own.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from .redshift_dialect import Words
from .redshift_load import load_text, load_typed
from .redshift_options import (
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
from .redshift_outcome import Outcome
from .redshift_query import ColumnOf, Relation
from .redshift_raw import RawFile, read_delimited, read_json
from .redshift_types import RedshiftType
from .redshift_words import RedshiftError

if TYPE_CHECKING:
    import pyarrow as pa

    from .redshift_session import Session

_FORMATS = ("CSV", "PARQUET", "ORC", "JSON", "AVRO", "FIXEDWIDTH", "SHAPEFILE")
_FLAGS = {
    "ACCEPTANYDATE",
    "BLANKSASNULL",
    "EMPTYASNULL",
    "ESCAPE",
    "EXPLICIT_IDS",
    "FILLRECORD",
    "IGNOREBLANKLINES",
    "NOLOAD",
    "REMOVEQUOTES",
    "ROUNDEC",
    "SERIALIZETOJSON",
    "TRIMBLANKS",
    "TRUNCATECOLUMNS",
}


@dataclass
class CopyPlan:
    """A COPY as it was read.

    Attributes
    ----------
    flags : set of str
        The options without a value that were given.
    """

    table: tuple[str, ...]
    columns: list[str]
    place: Place
    role: str | None = None
    format: str = "DELIMITED"
    delimiter: str = "|"
    quote: str = '"'
    compression: str | None = None
    header: int = 0
    null: str = "\\N"
    date_format: str = "auto"
    time_format: str = "auto"
    max_errors: int = 0
    region: str | None = None
    manifest: bool = False
    json_path: str = "auto"
    flags: set[str] = field(default_factory=set)


def copy(session: Session, words: Words) -> Outcome:
    """Perform COPY, from after its first word."""
    plan = read_copy(words)
    relation = session.find(plan.table)
    if relation is None:
        raise RedshiftError(f'ERROR: relation "{".".join(plan.table)}" does not exist')
    names = _target_columns(plan, relation)
    session.external.assume(plan.role)
    keys = _keys(session, plan)
    if plan.format in ("PARQUET", "ORC"):
        columns = [_column(relation, name) for name in names]
        tables = [_typed(session, plan, bucket, key, columns) for bucket, key in keys]
        return Outcome(rows=load_typed(session, relation, names, tables, words.sql))
    files = [_raw(session, plan, bucket, key, names) for bucket, key in keys]
    return Outcome(rows=load_text(session, relation, names, files, plan, words.sql))


def read_copy(words: Words) -> CopyPlan:
    """Read COPY, from after its first word.

    Raises
    ------
    RedshiftError
        When it is not as Redshift's grammar has it.
    """
    table = words.names()
    columns = quoted_list(words.group().split(",")) if words.starts("(") else []
    words.expect("FROM")
    plan = CopyPlan(table, columns, read_place(words))
    authorised = False
    while not words.done:
        found, role = read_authorisation(words)
        if found:
            authorised, plan.role = True, role
        else:
            _read_option(words, plan)
    if not authorised:
        raise RedshiftError("ERROR: COPY requires an IAM_ROLE: none was given")
    return plan


def _read_option(words: Words, plan: CopyPlan) -> None:
    if words.take("FORMAT"):
        words.take("AS")
        _read_format(words, plan)
    elif words.peek() in _FORMATS:
        _read_format(words, plan)
    elif words.peek() in ("GZIP", "BZIP2", "ZSTD", "LZOP"):
        plan.compression = words.next().text.upper()
    elif words.peek() in _FLAGS:
        plan.flags.add(words.next().text.upper())
    elif words.take("DELIMITER"):
        plan.delimiter = character(words)
    elif words.take("QUOTE"):
        plan.quote = character(words)
    elif words.take("IGNOREHEADER"):
        words.take("AS")
        plan.header = words.number()
    elif words.take("NULL"):
        plan.null = character(words)
    elif words.take("DATEFORMAT"):
        words.take("AS")
        plan.date_format = words.text()
    elif words.take("TIMEFORMAT"):
        words.take("AS")
        plan.time_format = words.text()
    elif words.take("MAXERROR"):
        words.take("AS")
        plan.max_errors = words.number()
    elif words.take("REGION"):
        words.take("AS")
        plan.region = words.text()
    elif words.take("MANIFEST"):
        plan.manifest = True
    elif words.take("COMPUPDATE") or words.take("STATUPDATE"):
        if not words.take("PRESET"):
            switched(words)
    elif words.take("ACCEPTINVCHARS") or words.take("ENCODING"):
        words.take("AS")
        if words.is_text():
            words.text()
        elif words.peek().startswith(("UTF", "ISO")):
            words.next()
    elif words.take("COMPROWS") or words.take("READRATIO"):
        words.number()
    else:
        raise words.error()


def _read_format(words: Words, plan: CopyPlan) -> None:
    name = words.next().text.upper()
    if name not in _FORMATS:
        words.at -= 1
        raise words.error()
    if name in ("AVRO", "FIXEDWIDTH", "SHAPEFILE"):
        raise RedshiftError(f"ERROR: The embedded AWS does not perform COPY of {name}")
    plan.format = name
    if name == "CSV":
        plan.delimiter = "," if plan.delimiter == "|" else plan.delimiter
    elif name == "JSON":
        words.take("AS")
        plan.json_path = words.text() if words.is_text() else "auto"
        if plan.json_path.lower() not in ("auto", "auto ignorecase", "noshred"):
            raise RedshiftError(
                "ERROR: The embedded AWS does not perform COPY with a JSONPaths file"
            )


def _target_columns(plan: CopyPlan, relation: Relation) -> list[str]:
    if relation.place[0].startswith("ext_") or relation.definition is not None:
        raise RedshiftError(f'ERROR: cannot copy into "{relation.name}": it is no table')
    for name in plan.columns:
        if relation.column(name) is None:
            raise RedshiftError(
                f'ERROR: column "{name}" of relation "{relation.name}" does not exist'
            )
    explicit = "EXPLICIT_IDS" in plan.flags
    return plan.columns or [one.name for one in relation.columns if explicit or not one.identity]


def _keys(session: Session, plan: CopyPlan) -> list[tuple[str, str]]:
    """Return bucket and key of every object to load."""
    check_region(session.external, plan.place, plan.region)
    if plan.manifest:
        return _keys_of_manifest(session, plan)
    found = [one["Key"] for one in objects_under(session.external, plan.place)]
    keys = [key for key in found if not key.endswith("/")]
    if not keys:
        raise RedshiftError(f"ERROR: The specified S3 prefix '{plan.place.prefix}' does not exist")
    return [(plan.place.bucket, key) for key in keys]


def _keys_of_manifest(session: Session, plan: CopyPlan) -> list[tuple[str, str]]:
    body = _body(session, plan.place.bucket, plan.place.prefix)
    try:
        entries = json.loads(body)["entries"]
        urls = [(str(one["url"]), bool(one.get("mandatory"))) for one in entries]
    except (ValueError, KeyError, TypeError) as error:
        raise RedshiftError(f"ERROR: Problem reading manifest file - {plan.place.uri}") from error
    keys = []
    for url, mandatory in urls:
        bucket, _, key = url.removeprefix("s3://").partition("/")
        found = objects_under(session.external, Place(bucket, key))
        if any(one["Key"] == key for one in found):
            keys.append((bucket, key))
        elif mandatory:
            raise RedshiftError(f"ERROR: Mandatory url is not present in manifest file - {url}")
    return keys


def _body(session: Session, bucket: str, key: str) -> bytes:
    try:
        answer = session.external.s3.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        raise s3_failure(error) from error
    return bytes(answer["Body"].read())


def _typed(
    session: Session, plan: CopyPlan, bucket: str, key: str, columns: list[ColumnOf]
) -> pa.Table:
    import pyarrow as pa

    body = io.BytesIO(_body(session, bucket, key))
    try:
        if plan.format == "PARQUET":
            import pyarrow.parquet as pq

            table = pq.read_table(body, partitioning=None)
        else:
            from pyarrow import orc

            table = orc.read_table(body)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise RedshiftError(
            f"ERROR: Spectrum Scan Error\n  Detail: File 'https://s3.amazonaws.com/{bucket}/{key}' "
            f"has an invalid version number or is no {plan.format.lower()} file"
        ) from error
    if table.num_columns != len(columns):
        raise RedshiftError(
            "ERROR: Spectrum Scan Error\n  Detail: Unmatched number of columns between table and "
            f"file. Table columns: {len(columns)}, Data columns: {table.num_columns}, File name: "
            f"https://s3.amazonaws.com/{bucket}/{key}"
        )
    for column, found in zip(columns, table.schema, strict=True):
        if not is_compatible(column.type, found.type):
            raise RedshiftError(
                f"ERROR: Spectrum Scan Error\n  Detail: File 'https://s3.amazonaws.com/{bucket}/"
                f"{key}' has an incompatible Parquet schema for column 's3://{bucket}/{key}."
                f"{column.name}'. Column type: {column.type.comment.upper()}, Parquet schema: "
                f"optional {found.type} {found.name}"
            )
    return table


def is_compatible(kind: RedshiftType, found: pa.DataType) -> bool:
    """Tell whether COPY loads a Parquet column of this type into a column of that.

    Parameters
    ----------
    kind : RedshiftType
        The table's column.
    found : pyarrow.DataType
        The file's column.
    """
    import pyarrow.types as t

    if t.is_dictionary(found):
        found = found.value_type
    if t.is_null(found):
        return True
    checks: dict[str, Callable[[Any], bool]] = {
        "int2": lambda x: bool(t.is_int8(x) or t.is_int16(x) or t.is_int32(x)),
        "int4": lambda x: bool(t.is_int8(x) or t.is_int16(x) or t.is_int32(x)),
        "int8": lambda x: bool(t.is_int64(x)),
        "float4": lambda x: bool(t.is_float32(x)),
        "float8": lambda x: bool(t.is_float64(x)),
        "bool": lambda x: bool(t.is_boolean(x)),
        "varchar": lambda x: bool(t.is_string(x) or t.is_large_string(x)),
        "bpchar": lambda x: bool(t.is_string(x) or t.is_large_string(x)),
        "date": lambda x: bool(t.is_date(x)),
        "timestamp": lambda x: bool(t.is_timestamp(x)),
        "timestamptz": lambda x: bool(t.is_timestamp(x)),
        "numeric": lambda x: bool(t.is_decimal(x) and x.scale == kind.scale),
        "varbyte": lambda x: bool(t.is_binary(x) or t.is_large_binary(x)),
        "super": lambda x: bool(t.is_nested(x) or t.is_string(x) or t.is_large_string(x)),
    }
    check = checks.get(kind.name)
    return check(found) if check is not None else False


def _raw(session: Session, plan: CopyPlan, bucket: str, key: str, names: list[str]) -> RawFile:
    body = _decompressed(plan, _body(session, bucket, key), key)
    uri = f"s3://{bucket}/{key}"
    if plan.format == "JSON":
        return read_json(uri, body, names, plan)
    return read_delimited(uri, body, names, plan)


def _decompressed(plan: CopyPlan, body: bytes, key: str) -> bytes:
    if plan.compression is None:
        return body
    try:
        if plan.compression == "GZIP":
            return gzip.decompress(body)
        if plan.compression == "BZIP2":
            return bz2.decompress(body)
        if plan.compression == "ZSTD":
            import pyarrow as pa

            with pa.input_stream(pa.BufferReader(body), compression="zstd") as stream:
                return bytes(stream.read())
    except (OSError, EOFError, ValueError) as error:
        raise RedshiftError(
            f"ERROR: The file {key} is not compressed with {plan.compression}"
        ) from error
    raise RedshiftError(f"ERROR: The embedded AWS does not perform COPY with {plan.compression}")


def _column(relation: Relation, name: str) -> ColumnOf:
    found = relation.column(name)
    assert found is not None
    return found
