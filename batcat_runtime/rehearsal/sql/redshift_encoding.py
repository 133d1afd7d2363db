"""Values on Redshift's wire: numbers of types, and each value as text or in binary.

The formats are PostgreSQL's (its documentation, "Message Formats", and the send and receive
functions of each type), which Redshift kept: times are counted in microseconds and days from
2000-01-01, a numeric is written in digits of base 10,000.
"""

from __future__ import annotations

import datetime as dt
import decimal
import json
import struct
from collections.abc import Callable
from typing import Any

from .redshift_outcome import ResultColumn
from .redshift_types import RedshiftType

OIDS = {
    "bool": (16, 1),
    "int8": (20, 8),
    "int2": (21, 2),
    "int4": (23, 4),
    "oid": (26, 4),
    "float4": (700, 4),
    "float8": (701, 8),
    "bpchar": (1042, -1),
    "varchar": (1043, -1),
    "name": (19, 64),
    "date": (1082, 4),
    "time": (1083, 8),
    "timestamp": (1114, 8),
    "timestamptz": (1184, 8),
    "interval": (1186, 16),
    "timetz": (1266, 12),
    "numeric": (1700, -1),
    "super": (4000, -1),
    "varbyte": (6551, -1),
}
_NAMES = {oid: name for name, (oid, _) in OIDS.items()} | {25: "varchar"}
_EPOCH = dt.datetime(2000, 1, 1)
_EPOCH_UTC = _EPOCH.replace(tzinfo=dt.UTC)
_EPOCH_DAY = _EPOCH.date()


def row_description(columns: list[ResultColumn], formats: list[int]) -> bytes:
    """Return the body of RowDescription.

    Parameters
    ----------
    columns : list of ResultColumn
    formats : list of int
        0 (text) or 1 (binary) for each; or one for all; or none, which is text.
    """
    body = struct.pack("!h", len(columns))
    for number, column in enumerate(columns):
        oid, size = OIDS.get(column.type.name, OIDS["varchar"])
        form = format_of(formats, number)
        body += column.name.encode() + b"\0"
        body += struct.pack("!ihihih", 0, 0, oid, size, _modifier(column.type), form)
    return body


def format_of(formats: list[int], number: int) -> int:
    """Return the format of a value: formats may be given for none, for all at once, or for each."""
    if not formats:
        return 0
    return formats[0] if len(formats) == 1 else formats[number]


def data_row(columns: list[ResultColumn], values: tuple[Any, ...], formats: list[int]) -> bytes:
    """Return the body of DataRow."""
    parts = [struct.pack("!h", len(values))]
    for number, (column, value) in enumerate(zip(columns, values, strict=True)):
        if value is None:
            parts.append(struct.pack("!i", -1))
            continue
        binary = format_of(formats, number) == 1
        data = to_binary(column.type, value) if binary else to_text(column.type, value).encode()
        parts += [struct.pack("!i", len(data)), data]
    return b"".join(parts)


def to_text(kind: RedshiftType, value: Any) -> str:
    """Write a value as Redshift shows it."""
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, dt.datetime):
        return _timestamp_text(value, zoned=kind.name == "timestamptz")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float):
        return _float_text(value, 9 if kind.name == "float4" else 17)
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    if isinstance(value, dt.timedelta):
        return _interval_text(value)
    return format(value, "f") if isinstance(value, decimal.Decimal) else str(value)


def to_binary(kind: RedshiftType, value: Any) -> bytes:
    """Write a value as a client asks for it with format 1; text is the same in both."""
    write = _BINARY.get(kind.name)
    return write(value) if write else to_text(kind, value).encode()


def from_wire(oid: int, data: bytes, binary: bool) -> str:
    """Read a parameter as text, as the engine casts it.

    Parameters
    ----------
    oid : int
        The number of its type, 0 or 705 where the client leaves it open.
    data : bytes
    binary : bool
        Whether it came in binary.
    """
    read = _READ.get(_NAMES.get(oid, "")) if binary else None
    return read(data) if read else data.decode()


def parameter_type(oid: int) -> str:
    """Return what a parameter is cast to, or ``""`` where the client leaves its type open."""
    name = _NAMES.get(oid, "")
    if name in ("", "varchar", "bpchar", "name"):
        return ""
    return "decimal(38,10)" if name == "numeric" else name


def _modifier(kind: RedshiftType) -> int:
    if kind.name == "numeric" and kind.precision is not None:
        return ((kind.precision << 16) | (kind.scale or 0)) + 4
    if kind.name in ("varchar", "bpchar") and kind.length is not None:
        return kind.length + 4
    return -1


def _timestamp_text(value: dt.datetime, *, zoned: bool) -> str:
    moment = value.astimezone(dt.UTC).replace(tzinfo=None) if value.tzinfo else value
    fraction = f".{moment.microsecond:06d}".rstrip("0") if moment.microsecond else ""
    return f"{moment:%Y-%m-%d %H:%M:%S}{fraction}{'+00' if zoned else ''}"


def _float_text(value: float, digits: int) -> str:
    if value != value or value in (float("inf"), float("-inf")):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    text = repr(value) if digits == 17 else f"{value:.{digits}g}"
    return text.removesuffix(".0")


def _interval_text(value: dt.timedelta) -> str:
    hours, rest = divmod(value.seconds, 3600)
    clock = f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"
    return f"{value.days} days {clock}" if value.days else clock


def _microseconds(moment: dt.datetime) -> int:
    since = moment - (_EPOCH_UTC if moment.tzinfo else _EPOCH)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _clock(value: dt.time) -> int:
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return seconds * 1_000_000 + value.microsecond


def _numeric(value: Any) -> bytes:
    number = decimal.Decimal(value)
    sign, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int):
        return struct.pack("!hhHh", 0, 0, 0xC000, 0)
    scale = max(-exponent, 0)
    text = "".join(map(str, digits)) + "0" * max(exponent, 0)
    whole, fraction = (text[:-scale] or "0", text.zfill(scale)[-scale:]) if scale else (text, "")
    whole = whole.zfill(-(-len(whole) // 4) * 4)
    fraction = fraction.ljust(-(-len(fraction) // 4) * 4, "0")
    groups = [int((whole + fraction)[at : at + 4]) for at in range(0, len(whole + fraction), 4)]
    weight = len(whole) // 4 - 1
    while groups and groups[0] == 0:
        groups.pop(0)
        weight -= 1
    while groups and groups[-1] == 0:
        groups.pop()
    head = struct.pack("!hhHh", len(groups), weight if groups else 0, 0x4000 * sign, scale)
    return head + struct.pack(f"!{len(groups)}h", *groups)


def _timetz(value: dt.time) -> bytes:
    offset = value.utcoffset() or dt.timedelta()
    # PostgreSQL counts the zone westwards
    return struct.pack("!qi", _clock(value), -int(offset.total_seconds()))


def _interval(value: dt.timedelta) -> bytes:
    return struct.pack("!qii", value.seconds * 1_000_000 + value.microseconds, value.days, 0)


_BINARY: dict[str, Callable[[Any], bytes]] = {
    "bool": lambda value: b"\1" if value else b"\0",
    "int2": lambda value: struct.pack("!h", value),
    "int4": lambda value: struct.pack("!i", value),
    "oid": lambda value: struct.pack("!I", value),
    "int8": lambda value: struct.pack("!q", value),
    "float4": lambda value: struct.pack("!f", value),
    "float8": lambda value: struct.pack("!d", value),
    "date": lambda value: struct.pack("!i", (value - _EPOCH_DAY).days),
    "time": lambda value: struct.pack("!q", _clock(value)),
    "timetz": _timetz,
    "timestamp": lambda value: struct.pack("!q", _microseconds(value)),
    "timestamptz": lambda value: struct.pack("!q", _microseconds(value)),
    "interval": _interval,
    "numeric": _numeric,
}


def _read_moment(data: bytes) -> str:
    return str(_EPOCH + dt.timedelta(microseconds=struct.unpack("!q", data)[0]))


_READ: dict[str, Callable[[bytes], str]] = {
    "bool": lambda data: "true" if data == b"\1" else "false",
    "int2": lambda data: str(struct.unpack("!h", data)[0]),
    "int4": lambda data: str(struct.unpack("!i", data)[0]),
    "int8": lambda data: str(struct.unpack("!q", data)[0]),
    "float4": lambda data: str(struct.unpack("!f", data)[0]),
    "float8": lambda data: str(struct.unpack("!d", data)[0]),
    "date": lambda data: str(_EPOCH_DAY + dt.timedelta(days=struct.unpack("!i", data)[0])),
    "timestamp": _read_moment,
    "timestamptz": lambda data: f"{_read_moment(data)}+00",
}
