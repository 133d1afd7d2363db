"""Redshift's column types: how they are spelled, what DuckDB stores, what clients are told.

DuckDB forgets the length of a VARCHAR and knows neither CHAR nor SUPER, so the declared type of a
table's column is kept as a comment on it (`RedshiftType.sql`), which transactions roll back too.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.errors import SqlglotError

from .redshift_errors import RedshiftError

_T = exp.DataType.Type
# Redshift's short name: its name in information_schema, and what DuckDB stores
_KINDS = {
    "int2": ("smallint", "SMALLINT"),
    "int4": ("integer", "INTEGER"),
    "int8": ("bigint", "BIGINT"),
    "float4": ("real", "FLOAT"),
    "float8": ("double precision", "DOUBLE"),
    "numeric": ("numeric", "DECIMAL"),
    "bool": ("boolean", "BOOLEAN"),
    "bpchar": ("character", "VARCHAR"),
    "varchar": ("character varying", "VARCHAR"),
    "date": ("date", "DATE"),
    "timestamp": ("timestamp without time zone", "TIMESTAMP"),
    "timestamptz": ("timestamp with time zone", "TIMESTAMP WITH TIME ZONE"),
    "time": ("time without time zone", "TIME"),
    "timetz": ("time with time zone", "TIME WITH TIME ZONE"),
    "interval": ("interval", "INTERVAL"),
    "super": ("super", "JSON"),
    "varbyte": ("binary varying", "BLOB"),
}
_DECLARED = {
    **{_T.SMALLINT: "int2", _T.INT: "int4", _T.BIGINT: "int8", _T.FLOAT: "float4"},
    **{_T.DOUBLE: "float8", _T.DECIMAL: "numeric", _T.BOOLEAN: "bool", _T.DATE: "date"},
    **{_T.TIMESTAMPTZ: "timestamptz", _T.TIME: "time", _T.TIMETZ: "timetz"},
    **{_T.INTERVAL: "interval", _T.SUPER: "super", _T.VARBINARY: "varbyte"},
    **dict.fromkeys((_T.TIMESTAMP, _T.TIMESTAMPNTZ), "timestamp"),
    **dict.fromkeys((_T.CHAR, _T.NCHAR, _T.BPCHAR), "bpchar"),
    **dict.fromkeys((_T.VARCHAR, _T.NVARCHAR, _T.TEXT), "varchar"),
}
# the length without one, and the longest; in bytes
_LENGTHS = {"bpchar": (1, 4096), "varchar": (256, 65_535), "varbyte": (64_000, 16_777_216)}
_OF_DUCKDB = {
    **{duck: name for name, (_, duck) in _KINDS.items()},
    **{"TINYINT": "int2", "UTINYINT": "int2", "USMALLINT": "int4", "UINTEGER": "int8"},
    **dict.fromkeys(("TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"), "timestamp"),
}
_WIDE = ("HUGEINT", "UHUGEINT", "UBIGINT")
_TEXTS = ("varchar", "bpchar")


@dataclass(frozen=True)
class RedshiftType:
    """A type.

    Attributes
    ----------
    name : str
        The catalogue's short name, such as ``int4``, ``numeric``, ``varchar``, ``timestamptz``.
    length : int
        Bytes of a varchar, bpchar or varbyte; 0 where nothing is known of it.
    precision, scale : int
        Of a numeric.
    """

    name: str
    length: int = 0
    precision: int = 0
    scale: int = 0

    @property
    def is_text(self) -> bool:
        """Whether its values are text."""
        return self.name in _TEXTS

    @property
    def words(self) -> str:
        """The name in messages, such as ``character varying``."""
        return _KINDS[self.name][0]

    @property
    def sql(self) -> str:
        """The type as CREATE TABLE has it, such as ``character varying(10)``."""
        if self.name == "numeric":
            return f"numeric({self.precision},{self.scale})"
        return f"{self.words}({self.length})" if self.length else self.words

    @property
    def duck(self) -> str:
        """The DuckDB type that holds its values."""
        stored = _KINDS[self.name][1]
        return f"{stored}({self.precision},{self.scale})" if self.name == "numeric" else stored


Columns = list[tuple[str, RedshiftType]]


def declared(kind: exp.DataType) -> RedshiftType:
    """Return the type that a statement names, with Redshift's defaults filled in.

    Raises
    ------
    RedshiftError
        When Redshift has no such type, or not with these arguments.
    """
    name = _DECLARED.get(kind.this)
    if name is None:
        raise RedshiftError(f'ERROR: type "{kind.sql("redshift").lower()}" does not exist')
    given = [one.name.lower() for one in kind.expressions]
    if name == "numeric":
        precision, scale = ([int(one) for one in given] + [0] * 2)[:2] if given else (18, 0)
        if not 1 <= precision <= 38 or not 0 <= scale <= precision:
            raise RedshiftError(
                f"ERROR: DECIMAL precision {precision} must be between 1 and 38, and its scale "
                f"{scale} between 0 and that"
            )
        return RedshiftType(name, precision=precision, scale=scale)
    if name not in _LENGTHS:
        return RedshiftType(name)
    default, longest = _LENGTHS[name]
    length = (longest if given[0] == "max" else int(given[0])) if given else default
    if not 0 < length <= longest:
        shown = "char" if name == "bpchar" else name
        raise RedshiftError(f"ERROR: length for type {shown} cannot exceed {longest}")
    return RedshiftType(name, length=length)


@functools.cache
def from_comment(text: str) -> RedshiftType | None:
    """Return the type that a column's comment names; None when it names none."""
    try:
        return declared(exp.DataType.build(text, dialect="redshift"))
    except (SqlglotError, RedshiftError, ValueError):
        return None


@functools.cache
def from_duck(duck: str) -> RedshiftType:
    """Return what a column of a DuckDB result is, such as of ``DECIMAL(10,2)``."""
    if sizes := re.fullmatch(r"DECIMAL\((\d+),\s*(\d+)\)", duck):
        return RedshiftType("numeric", precision=int(sizes[1]), scale=int(sizes[2]))
    if duck in _WIDE:
        return RedshiftType("numeric", precision=38)
    if duck.endswith("]") or duck.startswith(("STRUCT", "MAP")):
        return RedshiftType("super")
    return RedshiftType(_OF_DUCKDB.get(duck, "varchar"))
