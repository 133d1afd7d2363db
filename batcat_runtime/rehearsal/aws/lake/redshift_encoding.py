"""Values as clients of Redshift get them: as text, in binary on the wire, as the Data API's fields.

The wire's formats are PostgreSQL's (its documentation, "Message Formats", and each type's send and
receive functions). Which types come in binary is the client's choice: redshift_connector wants
booleans, whole and floating numbers and timestamps so, and all others as text.
"""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math
import struct
from collections.abc import Sequence
from typing import Any

from sqlglot import exp

from .redshift_types import Columns, RedshiftType

_OIDS = {  # the number of a type, and how many bytes it has; -1 where that varies
    "bool": (16, 1),
    "int8": (20, 8),
    "int2": (21, 2),
    "int4": (23, 4),
    "float4": (700, 4),
    "float8": (701, 8),
    "bpchar": (1042, -1),
    "varchar": (1043, -1),
    "date": (1082, 4),
    "time": (1083, 8),
    "timestamp": (1114, 8),
    "timestamptz": (1184, 8),
    "numeric": (1700, -1),
    "super": (4000, -1),
    "varbyte": (6551, -1),
}
_NAMES = {oid: name for name, (oid, _) in _OIDS.items()}
_NUMBERS = {"bool": "!?", "int2": "!h", "int4": "!i", "int8": "!q", "float4": "!f", "float8": "!d"}
_MOMENTS = ("timestamp", "timestamptz")
_EPOCH = dt.datetime(2000, 1, 1)
_INTEGERS = ("int2", "int4", "int8")
_PRECISIONS = {"int2": 5, "int4": 10, "int8": 19, "float4": 8, "float8": 17}
_LONGEST = 65_535


def row_description(columns: Columns) -> bytes:
    """Return the body of RowDescription."""
    body = struct.pack("!h", len(columns))
    for name, kind in columns:
        oid, size = _OIDS.get(kind.name, _OIDS["varchar"])
        modifier = -1
        if kind.name == "numeric":
            modifier = ((kind.precision << 16) | kind.scale) + 4
        elif kind.is_text and kind.length:
            modifier = kind.length + 4
        body += name.encode() + b"\0"
        body += struct.pack("!ihihih", 0, 0, oid, size, modifier, 0)
    return body


def data_row(columns: Columns, values: Sequence[Any], formats: Sequence[int]) -> bytes:
    """Return the body of DataRow; formats are 0 (text) or 1 (binary), for each or for all."""
    parts = [struct.pack("!h", len(values))]
    for number, ((_, kind), value) in enumerate(zip(columns, values, strict=True)):
        if value is None:
            parts.append(struct.pack("!i", -1))
            continue
        binary = _format(formats, number) == 1
        data = _binary(kind, value) if binary else text_of(kind, value).encode()
        parts += [struct.pack("!i", len(data)), data]
    return b"".join(parts)


def parameter(oid: int, data: bytes | None, form: int) -> exp.Expression:
    """Return a parameter's value as a literal, cast to the type that the client names."""
    name = _NAMES.get(oid, "varchar")
    value: exp.Expression = exp.Null()
    if data is not None:
        text = data.decode() if form == 0 or name not in (*_NUMBERS, *_MOMENTS) else ""
        if not text and name in _NUMBERS:
            text = str(struct.unpack(_NUMBERS[name], data)[0]).lower()
        elif not text and name in _MOMENTS:
            moment = _EPOCH + dt.timedelta(microseconds=struct.unpack("!q", data)[0])
            text = f"{moment}{'+00' if name == 'timestamptz' else ''}"
        value = exp.Literal.string(text)
    if name in ("varchar", "bpchar", "super", "varbyte"):
        return value
    kind = "decimal(38,10)" if name == "numeric" else name
    return exp.Cast(this=value, to=exp.DataType.build(kind, dialect="redshift"))


def text_of(kind: RedshiftType, value: Any) -> str:
    """Return a value as Redshift writes it."""
    if isinstance(value, bool):
        return "t" if value else "f"
    if kind.name == "bpchar":
        return str(value).ljust(kind.length)
    if isinstance(value, float):
        names = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}
        return names.get(str(value)) or repr(_short(kind, value))
    if isinstance(value, decimal.Decimal):
        return f"{value:f}"
    if isinstance(value, dt.datetime):
        zone = "+00" if value.tzinfo else ""
        return f"{value:%Y-%m-%d %H:%M:%S}{_fraction(value.microsecond)}{zone}"
    if isinstance(value, dt.time):
        return f"{value:%H:%M:%S}{_fraction(value.microsecond)}"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | dict):
        return json.dumps(value, default=str, separators=(",", ":"), ensure_ascii=False)
    return str(value)


def field_of(kind: RedshiftType, value: Any) -> dict[str, Any]:
    """Return a value as the Data API's `Field`."""
    if value is None:
        return {"isNull": True}
    if kind.name == "bool":
        return {"booleanValue": bool(value)}
    if kind.name in _INTEGERS:
        return {"longValue": int(value)}
    if isinstance(value, float) and math.isfinite(value):
        return {"doubleValue": _short(kind, value)}
    if kind.name == "varbyte":
        return {"blobValue": bytes(value)}
    return {"stringValue": text_of(kind, value)}


def metadata_of(name: str, kind: RedshiftType) -> dict[str, Any]:
    """Return a column's `ColumnMetadata`."""
    length = kind.length or (_LONGEST if kind.is_text else 0)
    return {
        "isCaseSensitive": kind.is_text or kind.name == "super",
        "isCurrency": False,
        "isSigned": kind.name in _PRECISIONS or kind.name == "numeric",
        "label": name,
        "length": length,
        "name": name,
        "nullable": 1,
        "precision": kind.precision or _PRECISIONS.get(kind.name, length),
        "scale": kind.scale,
        "schemaName": "",
        "tableName": "",
        "typeName": kind.name,
    }


def _format(formats: Sequence[int], number: int) -> int:
    return formats[number if len(formats) > 1 else 0] if formats else 0


def _binary(kind: RedshiftType, value: Any) -> bytes:
    if kind.name in _NUMBERS:
        return struct.pack(_NUMBERS[kind.name], value)
    if kind.name in _MOMENTS:
        since = value.replace(tzinfo=None) - _EPOCH
        return struct.pack("!q", since // dt.timedelta(microseconds=1))
    return text_of(kind, value).encode()


def _fraction(microseconds: int) -> str:
    return f".{microseconds:06d}".rstrip("0") if microseconds else ""


def _short(kind: RedshiftType, value: float) -> float:
    """Return, for a real, the shortest decimal that is the same single-precision number."""
    texts = [f"{value:.{digits}g}" for digits in range(6, 10)] if kind.name == "float4" else []
    same = (text for text in texts if struct.pack("!f", float(text)) == struct.pack("!f", value))
    return float(next(same, value))
