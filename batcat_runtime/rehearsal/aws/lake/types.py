"""Column types in three spellings: Glue's (Hive's), Athena's (Trino's) and DuckDB's.

A type is sqlglot's `DataType`. Glue keeps `array<struct<a:int>>`, Athena reports
`array(row(a integer))`, and DuckDB computes with `STRUCT("a" INTEGER)[]`.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp
from sqlglot.errors import SqlglotError

from batcat_runtime.errors import DataFormatError

from .engine import quoted

_T = exp.DataType.Type
_BASES = {
    **{_T.TINYINT: "tinyint", _T.BIGINT: "bigint", _T.FLOAT: "real", _T.DOUBLE: "double"},
    **{_T.BOOLEAN: "boolean", _T.DECIMAL: "decimal", _T.CHAR: "char", _T.DATE: "date"},
    **{_T.TIME: "time", _T.JSON: "json", _T.UUID: "uuid", _T.NULL: "unknown"},
    **{_T.MAP: "map", _T.STRUCT: "row", _T.INTERVAL: "interval day to second"},
    **dict.fromkeys((_T.SMALLINT, _T.UTINYINT), "smallint"),
    **dict.fromkeys((_T.INT, _T.USMALLINT), "integer"),
    **dict.fromkeys((_T.UINT, _T.UBIGINT, _T.INT128, _T.UINT128), "bigint"),
    **dict.fromkeys((_T.VARCHAR, _T.TEXT), "varchar"),
    **dict.fromkeys((_T.BINARY, _T.VARBINARY), "varbinary"),
    **dict.fromkeys((_T.TIMESTAMP, _T.TIMESTAMPNTZ, _T.DATETIME), "timestamp"),
    **dict.fromkeys((_T.TIMESTAMP_S, _T.TIMESTAMP_MS, _T.TIMESTAMP_NS), "timestamp"),
    **dict.fromkeys((_T.TIMESTAMPTZ, _T.TIMESTAMPLTZ), "timestamp with time zone"),
    **dict.fromkeys((_T.ARRAY, _T.LIST), "array"),
}
_HIVE = {
    "integer": "int",
    "real": "float",
    "varchar": "string",
    "varbinary": "binary",
    "json": "string",
    "unknown": "string",
}
_DUCKDB = {
    "real": "FLOAT",
    "varbinary": "BLOB",
    "char": "VARCHAR",
    "timestamp with time zone": "TIMESTAMPTZ",
    "interval day to second": "INTERVAL",
    "unknown": "VARCHAR",
}
# What Glue's tables hold; sqlglot reads many more.
_IN_GLUE = {
    *("tinyint", "smallint", "integer", "bigint", "real", "double", "boolean", "varchar", "char"),
    *("varbinary", "date", "timestamp", "decimal", "array", "map", "row"),
}


def from_hive(text: str) -> exp.DataType:
    """Read a type as Glue spells it.

    Raises
    ------
    DataFormatError
        When it is no type of Hive's.

    Examples
    --------
    >>> duckdb_name(from_hive("map<string,array<int>>"))
    'MAP(VARCHAR, INTEGER[])'
    """
    try:
        kind = exp.DataType.build(text, dialect="hive")
        if any(base(one) not in _IN_GLUE for one in kind.find_all(exp.DataType)):
            raise KeyError(text)
    except (SqlglotError, KeyError, IndexError, ValueError) as error:
        raise DataFormatError(
            f"{text!r} is no column type of the Glue catalogue.",
            fix="Use Hive's spelling, such as bigint, decimal(10,2) or array<string>.",
        ) from error
    for one in kind.find_all(exp.DataType):
        if one.this == _T.DECIMAL and not one.expressions:
            one.set("expressions", exp.DataType.build("DECIMAL(10, 0)").expressions)
    return kind


def from_duckdb(text: str) -> exp.DataType:
    """Read a type as DuckDB's DESCRIBE spells it."""
    if text in ('"NULL"', "NULL"):
        return exp.DataType(this=_T.NULL)
    if text.startswith("ENUM("):
        text = "VARCHAR"
    return exp.DataType.build(text, dialect="duckdb")


def base(kind: exp.DataType) -> str:
    """Return a type's name in Athena, without what is in parentheses behind it.

    Raises
    ------
    KeyError
        When Athena has no such type.
    """
    return _BASES[kind.this]


def trino_name(kind: exp.DataType) -> str:
    """Return a type as Athena's messages spell it."""
    names = {"timestamp": "timestamp(3)", "timestamp with time zone": "timestamp(3) with time zone"}
    shapes = ("array({})", "map({}, {})", "row({})", "{} {}")
    return _spelt(kind, names, shapes, lambda name: name, lengths=True)


def hive_name(kind: exp.DataType) -> str:
    """Return a type as Glue spells it."""
    shapes = ("array<{}>", "map<{},{}>", "struct<{}>", "{}:{}")
    return _spelt(kind, _HIVE, shapes, lambda name: name, lengths=True).replace(", ", ",")


def duckdb_name(kind: exp.DataType) -> str:
    """Return the DuckDB type that values of a type are computed and written with."""
    shapes = ("{}[]", "MAP({}, {})", "STRUCT({})", "{} {}")
    names = {name: _DUCKDB.get(name, name.upper()) for name in _BASES.values()}
    return _spelt(kind, names, shapes, quoted, lengths=False)


def numbers(kind: exp.DataType) -> tuple[int, ...]:
    """Return precision and scale of a decimal, or the length of a varchar or char."""
    return tuple(int(one.name) for one in kind.expressions if isinstance(one, exp.DataTypeParam))


def fields(kind: exp.DataType) -> list[tuple[str, exp.DataType]]:
    """Return names and types of a row's fields."""
    return [(one.name, one.args["kind"]) for one in kind.expressions]


def _spelt(
    kind: exp.DataType,
    names: dict[str, str],
    shapes: tuple[str, str, str, str],
    named: Callable[[str], str],
    *,
    lengths: bool,
) -> str:
    def inner(one: exp.DataType) -> str:
        return _spelt(one, names, shapes, named, lengths=lengths)

    name = base(kind)
    if name == "array":
        return shapes[0].format(inner(kind.expressions[0]))
    if name == "map":
        return shapes[1].format(*map(inner, kind.expressions))
    if name == "row":
        pairs = [shapes[3].format(named(field), inner(one)) for field, one in fields(kind)]
        return shapes[2].format(", ".join(pairs))
    given = numbers(kind)
    if given and name == "decimal":
        return f"{names.get(name, name)}({','.join(map(str, given))})"
    if given and lengths and name in ("varchar", "char"):
        return f"{name}({given[0]})"
    return names.get(name, name)
