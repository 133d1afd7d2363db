"""Redshift's column types: how they are spelled, what DuckDB stores, what the Data API says.

DuckDB forgets the length of a VARCHAR and knows no CHAR, so a table's declared types are kept as
comments on its columns (`RedshiftType.comment`), which follow the table through renames and
transactions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_VARCHAR = 65535
_MAX_CHAR = 4096
_MAX_VARBYTE = 16_777_216


class UnknownTypeError(ValueError):
    """Redshift has no type of this name, or not with these arguments."""


@dataclass(frozen=True)
class RedshiftType:
    """A type as Redshift's catalogue knows it.

    Attributes
    ----------
    name : str
        The catalogue's name, such as ``int4``, ``numeric``, ``varchar``, ``timestamptz``.
    length : int or None
        Bytes, for varchar, bpchar and varbyte.
    precision, scale : int or None
        For numeric.
    """

    name: str
    length: int | None = None
    precision: int | None = None
    scale: int | None = None

    @property
    def duck(self) -> str:
        """The DuckDB type that holds the values."""
        if self.name == "numeric":
            return f"DECIMAL({self.precision},{self.scale})"
        return _DUCK[self.name]

    @property
    def comment(self) -> str:
        """The catalogue's spelling, such as ``varchar(10)``; `parse_type` reads it back."""
        if self.name == "numeric":
            return f"numeric({self.precision},{self.scale})"
        return self.name if self.length is None else f"{self.name}({self.length})"

    @property
    def standard_name(self) -> str:
        """The name that `information_schema` uses, such as ``character varying``."""
        return _STANDARD_NAMES.get(self.name, self.name)

    @property
    def display(self) -> str:
        """The name with its arguments, as `pg_table_def` shows it."""
        if self.name == "numeric":
            return f"numeric({self.precision},{self.scale})"
        if self.length is not None:
            return f"{self.standard_name}({self.length})"
        return self.standard_name

    @property
    def is_text(self) -> bool:
        """Whether values are text with a length in bytes."""
        return self.name in ("varchar", "bpchar")


def parse_type(text: str) -> RedshiftType:
    """Read a type as it is written in a statement.

    Parameters
    ----------
    text : str
        Such as ``character varying(10)``, ``DECIMAL``, ``timestamp with time zone``.

    Returns
    -------
    RedshiftType
        With Redshift's defaults filled in: ``varchar`` is varchar(256), ``decimal`` is
        numeric(18,0).

    Raises
    ------
    UnknownTypeError
        When Redshift has no such type; the text is the error's words.
    """
    match = re.fullmatch(r"([a-z0-9_ \"]+?)\s*(?:\(\s*([\w\s,]+?)\s*\))?\s*(with.*)?", text.lower())
    if match is None:
        raise UnknownTypeError(f'type "{text}" does not exist')
    word = " ".join(f"{match[1]} {match[3] or ''}".replace('"', "").split())
    name = _SPELLINGS.get(word)
    if name is None:
        raise UnknownTypeError(f'type "{word}" does not exist')
    arguments = [one.strip() for one in (match[2] or "").split(",") if one.strip()]
    if name == "numeric":
        return _numeric(arguments)
    if name in _LENGTHS:
        default, longest = _LENGTHS[name]
        if word in ("char", "character", "nchar", "varbyte", "varbinary") and not arguments:
            default = 1 if name == "bpchar" else 64000
        length = (
            longest if arguments[:1] == ["max"] else int(arguments[0] if arguments else default)
        )
        if not 0 < length <= longest:
            shown = {"varchar": "varchar", "bpchar": "char"}.get(name, name)
            raise UnknownTypeError(f"length for type {shown} cannot exceed {longest}")
        return RedshiftType(name, length=length)
    return RedshiftType(name)


def from_duck(duck: str) -> RedshiftType:
    """Return the Redshift type for a column of a DuckDB result.

    Parameters
    ----------
    duck : str
        Such as ``DECIMAL(10,2)`` or ``TIMESTAMP WITH TIME ZONE``.
    """
    match = re.fullmatch(r"DECIMAL\((\d+),\s*(\d+)\)", duck)
    if match:
        return RedshiftType("numeric", precision=int(match[1]), scale=int(match[2]))
    if duck in ("HUGEINT", "UHUGEINT", "UBIGINT", "BIGNUM"):
        return RedshiftType("numeric", precision=38, scale=0)
    if duck.endswith("]") or duck.startswith(("STRUCT", "MAP", "JSON", "UNION")):
        return RedshiftType("super")
    return RedshiftType(_FROM_DUCK.get(duck, "varchar"))


def _numeric(arguments: list[str]) -> RedshiftType:
    precision = int(arguments[0]) if arguments else 18
    scale = int(arguments[1]) if len(arguments) > 1 else 0
    if not 1 <= precision <= 38:
        raise UnknownTypeError(f"DECIMAL precision {precision} must be between 1 and 38")
    if not 0 <= scale <= min(precision, 37):
        raise UnknownTypeError(f"DECIMAL scale {scale} must be between 0 and precision {precision}")
    return RedshiftType("numeric", precision=precision, scale=scale)


_LENGTHS = {
    "varchar": (256, MAX_VARCHAR),
    "bpchar": (256, _MAX_CHAR),
    "varbyte": (64000, _MAX_VARBYTE),
}
_SPELLINGS = {
    "smallint": "int2",
    "int2": "int2",
    "integer": "int4",
    "int": "int4",
    "int4": "int4",
    "bigint": "int8",
    "int8": "int8",
    "decimal": "numeric",
    "dec": "numeric",
    "numeric": "numeric",
    "real": "float4",
    "float4": "float4",
    "double precision": "float8",
    "double": "float8",
    "float8": "float8",
    "float": "float8",
    "boolean": "bool",
    "bool": "bool",
    "char": "bpchar",
    "character": "bpchar",
    "nchar": "bpchar",
    "bpchar": "bpchar",
    "varchar": "varchar",
    "character varying": "varchar",
    "nvarchar": "varchar",
    "text": "varchar",
    "date": "date",
    "timestamp": "timestamp",
    "timestamp without time zone": "timestamp",
    "timestamptz": "timestamptz",
    "timestamp with time zone": "timestamptz",
    "time": "time",
    "time without time zone": "time",
    "timetz": "timetz",
    "time with time zone": "timetz",
    "super": "super",
    "varbyte": "varbyte",
    "varbinary": "varbyte",
    "binary varying": "varbyte",
    "interval": "interval",
    "name": "name",
    "oid": "oid",
}
_DUCK = {
    "int2": "SMALLINT",
    "int4": "INTEGER",
    "int8": "BIGINT",
    "float4": "FLOAT",
    "float8": "DOUBLE",
    "bool": "BOOLEAN",
    "bpchar": "VARCHAR",
    "varchar": "VARCHAR",
    "name": "VARCHAR",
    "oid": "BIGINT",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMP WITH TIME ZONE",
    "time": "TIME",
    "timetz": "TIME WITH TIME ZONE",
    "super": "JSON",
    "varbyte": "BLOB",
    "interval": "INTERVAL",
}
_FROM_DUCK = {
    "BOOLEAN": "bool",
    "TINYINT": "int2",
    "UTINYINT": "int2",
    "SMALLINT": "int2",
    "USMALLINT": "int4",
    "INTEGER": "int4",
    "UINTEGER": "int8",
    "BIGINT": "int8",
    "FLOAT": "float4",
    "DOUBLE": "float8",
    "VARCHAR": "varchar",
    "DATE": "date",
    "TIMESTAMP": "timestamp",
    "TIMESTAMP_S": "timestamp",
    "TIMESTAMP_MS": "timestamp",
    "TIMESTAMP_NS": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
    "TIME": "time",
    "TIME WITH TIME ZONE": "timetz",
    "BLOB": "varbyte",
    "INTERVAL": "interval",
}
_STANDARD_NAMES = {
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "float4": "real",
    "float8": "double precision",
    "bool": "boolean",
    "bpchar": "character",
    "varchar": "character varying",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "time": "time without time zone",
    "timetz": "time with time zone",
    "varbyte": "binary varying",
}
