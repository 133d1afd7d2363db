"""Values as Athena writes them: `1.0E7`, `2022-01-01 00:00:00.000`, `[1, 2]`, `{a=1}`.

DuckDB renders whole columns: `text_of` returns an SQL expression for a type, and `RenderedType`
says what the result's metadata call that type.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..hive_types import HiveType, literal, quoted

_INTEGER = {
    "TINYINT": ("tinyint", 3),
    "SMALLINT": ("smallint", 5),
    "INTEGER": ("integer", 10),
    "BIGINT": ("bigint", 19),
    "HUGEINT": ("bigint", 19),
    "UTINYINT": ("smallint", 5),
    "USMALLINT": ("integer", 10),
    "UINTEGER": ("bigint", 19),
    "UBIGINT": ("bigint", 19),
    "UHUGEINT": ("bigint", 19),
    "BIGNUM": ("bigint", 19),
}
_OTHERS = {
    "BOOLEAN": ("boolean", 0, 0),
    "FLOAT": ("float", 17, 0),
    "DOUBLE": ("double", 17, 0),
    "VARCHAR": ("varchar", 2147483647, 0),
    "BLOB": ("varbinary", 1073741824, 0),
    "DATE": ("date", 0, 0),
    "TIME": ("time", 3, 0),
    "TIMESTAMP": ("timestamp", 3, 0),
    "TIMESTAMP_MS": ("timestamp", 3, 0),
    "TIMESTAMP_S": ("timestamp", 3, 0),
    "TIMESTAMP_NS": ("timestamp", 3, 0),
    "TIMESTAMP WITH TIME ZONE": ("timestamp with time zone", 3, 0),
    "TIME WITH TIME ZONE": ("time with time zone", 3, 0),
    "INTERVAL": ("interval day to second", 0, 0),
    "JSON": ("json", 0, 0),
    "UUID": ("uuid", 0, 0),
    '"NULL"': ("unknown", 0, 0),
    "NULL": ("unknown", 0, 0),
}
_TIMESTAMP = "'%Y-%m-%d %H:%M:%S.%g'"


@dataclass(frozen=True)
class ResultType:
    """A column's type: DuckDB's, and what Athena's metadata say of it.

    Attributes
    ----------
    name : str
        Such as ``varchar``, ``decimal``, ``array``.
    arguments : tuple of ResultType
        Of an array, a map or a row.
    fields : tuple of str
        Names of a row's fields; empty where it has none.
    """

    duckdb: str
    name: str
    precision: int = 0
    scale: int = 0
    arguments: tuple[ResultType, ...] = ()
    fields: tuple[str, ...] = ()

    @property
    def hive(self) -> str:
        """The type in Glue's spelling, as a table made from the result has it."""
        inner = [one.hive for one in self.arguments]
        if self.name == "row":
            names = [name or f"field{place}" for place, name in enumerate(self.fields)]
            pairs = zip(names, inner, strict=True)
            return f"struct<{','.join(f'{name}:{kind}' for name, kind in pairs)}>"
        if inner:
            return f"{self.name}<{','.join(inner)}>"
        if self.name == "decimal":
            return f"decimal({self.precision},{self.scale})"
        spelt = {"integer": "int", "varchar": "string", "varbinary": "binary", "json": "string"}
        return spelt.get(self.name, self.name)

    @property
    def sql(self) -> str:
        """The DuckDB type to which a value is brought before it is written to a file."""
        inner = [one.sql for one in self.arguments]
        if self.name == "array":
            return f"{inner[0]}[]"
        if self.name == "map":
            return f"MAP({inner[0]}, {inner[1]})"
        if self.name == "row":
            names = [name or f"field{place}" for place, name in enumerate(self.fields)]
            pairs = zip(names, inner, strict=True)
            return f"STRUCT({', '.join(f'{quoted(name)} {kind}' for name, kind in pairs)})"
        if self.name == "bigint":
            return "BIGINT"
        if self.name in ("integer", "smallint"):
            return self.name.upper()
        return "VARCHAR" if self.duckdb in ("JSON", "UUID", '"NULL"', "NULL") else self.duckdb


def result_type(text: str) -> ResultType:
    """Read a type as DuckDB describes it.

    Parameters
    ----------
    text : str
        Such as ``STRUCT(a INTEGER, b VARCHAR[])``.

    Examples
    --------
    >>> result_type("DECIMAL(10,2)").hive
    'decimal(10,2)'
    """
    text = text.strip()
    if text.endswith("]"):
        element = result_type(text[: text.rindex("[")])
        return ResultType(text, "array", arguments=(element,))
    if match := re.fullmatch(r"DECIMAL\((\d+),\s*(\d+)\)", text):
        return ResultType(text, "decimal", int(match[1]), int(match[2]))
    if text.startswith("MAP("):
        key, value = (result_type(part) for part in _parts(text[4:-1]))
        return ResultType(text, "map", arguments=(key, value))
    if text.startswith("STRUCT("):
        pairs = [_named(part) for part in _parts(text[7:-1])]
        kinds = tuple(result_type(kind) for _, kind in pairs)
        return ResultType(text, "row", arguments=kinds, fields=tuple(name for name, _ in pairs))
    if text.startswith("TUPLE("):
        kinds = tuple(result_type(part) for part in _parts(text[6:-1]))
        return ResultType(text, "row", arguments=kinds, fields=("",) * len(kinds))
    if text.startswith("ENUM("):
        return ResultType(text, *_OTHERS["VARCHAR"])
    if text in _INTEGER:
        return ResultType(text, *_INTEGER[text])
    return ResultType(text, *_OTHERS.get(text, ("varchar", 2147483647, 0)))


def from_hive(kind: HiveType) -> ResultType:
    """Return the result type of a table's column."""
    found = result_type(kind.duckdb)
    if kind.name in ("varchar", "char"):
        return ResultType(found.duckdb, kind.name, kind.numbers[0])
    return found


def text_of(kind: ResultType, value: str, depth: int = 0) -> str:
    """Return an SQL expression for the text that Athena writes for a value.

    Parameters
    ----------
    kind : ResultType
        The value's type.
    value : str
        An SQL expression.
    depth : int
        How deep inside nested types; names the lambdas' variables.
    """
    variable = f"v{depth}"
    if kind.name == "array":
        inner = text_of(kind.arguments[0], variable, depth + 1)
        items = f"list_transform({value}, lambda {variable}: coalesce({inner}, 'null'))"
        return f"('[' || array_to_string({items}, ', ') || ']')"
    if kind.name == "map":
        key = text_of(kind.arguments[0], f"{variable}.key", depth + 1)
        inner = text_of(kind.arguments[1], f"{variable}.value", depth + 1)
        pair = f"{key} || '=' || coalesce({inner}, 'null')"
        items = f"list_transform(map_entries({value}), lambda {variable}: {pair})"
        return f"('{{' || array_to_string({items}, ', ') || '}}')"
    if kind.name == "row":
        return _row_text(kind, value, depth)
    if kind.duckdb == "DOUBLE":
        return f"batcat_double_text({value})"
    if kind.duckdb == "FLOAT":
        return f"batcat_real_text({value})"
    if kind.name == "timestamp with time zone":
        return f"(strftime(({value}) AT TIME ZONE 'UTC', {_TIMESTAMP}) || ' UTC')"
    if kind.name == "timestamp":
        return f"strftime(CAST({value} AS TIMESTAMP), {_TIMESTAMP})"
    if kind.name == "varbinary":
        return f"trim(regexp_replace(lower(hex({value})), '(..)', '\\1 ', 'g'))"
    if kind.name == "interval day to second":
        return f"batcat_interval_text({value})"
    if kind.name == "time":
        return f"strftime(DATE '1970-01-01' + ({value}), '%H:%M:%S.%g')"
    return f"CAST({value} AS VARCHAR)"


def _row_text(kind: ResultType, value: str, depth: int) -> str:
    parts = []
    for place, (name, inner) in enumerate(zip(kind.fields, kind.arguments, strict=True)):
        at = f"struct_extract({value}, {literal(name) if name else place + 1})"
        shown = text_of(inner, at, depth + 1)
        parts.append(f"{literal((name or f'field{place}') + '=')} || coalesce({shown}, 'null')")
    joined = " || ', ' || ".join(parts)
    return f"CASE WHEN {value} IS NULL THEN NULL ELSE '{{' || {joined} || '}}' END"


def _named(part: str) -> tuple[str, str]:
    part = part.strip()
    if part.startswith('"'):
        end = 1
        while part[end] != '"' or part[end : end + 2] == '""':
            end += 2 if part[end : end + 2] == '""' else 1
        return part[1:end].replace('""', '"'), part[end + 1 :].strip()
    name, _, kind = part.partition(" ")
    return name, kind


def _parts(text: str) -> list[str]:
    """Split at commas that lie outside brackets and quotes."""
    parts, depth, inside, current = [], 0, False, ""
    for character in text:
        if character == '"':
            inside = not inside
        elif not inside:
            depth += (character in "([") - (character in ")]")
            if character == "," and depth == 0:
                parts.append(current)
                current = ""
                continue
        current += character
    return [*parts, current]
