"""Column types of the Glue catalogue, and what they are called elsewhere.

Glue keeps Hive's spelling (`array<struct<a:int>>`), DuckDB executes `STRUCT("a" INTEGER)[]`, and
Athena reports `array(row(a integer))`. One parsed type knows all three.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from batcat_runtime.errors import DataFormatError

_TOKEN = re.compile(r"\s*(?:(`[^`]+`|[^\s<>(),:`][^<>(),:`]*)|([<>(),:]))")
_SIMPLE = {
    # Hive: (DuckDB, Trino)
    "boolean": ("BOOLEAN", "boolean"),
    "tinyint": ("TINYINT", "tinyint"),
    "smallint": ("SMALLINT", "smallint"),
    "int": ("INTEGER", "integer"),
    "bigint": ("BIGINT", "bigint"),
    "float": ("FLOAT", "real"),
    "double": ("DOUBLE", "double"),
    "string": ("VARCHAR", "varchar"),
    "binary": ("BLOB", "varbinary"),
    "date": ("DATE", "date"),
    "timestamp": ("TIMESTAMP", "timestamp(3)"),
}
_SYNONYMS = {
    "integer": "int",
    "real": "float",
    "long": "bigint",
    "varbinary": "binary",
    "numeric": "decimal",
    "dec": "decimal",
    "bool": "boolean",
}


@dataclass(frozen=True)
class HiveType:
    """A type of the Glue catalogue.

    Attributes
    ----------
    name : str
        Hive's name without arguments, such as ``decimal`` or ``struct``.
    arguments : tuple of HiveType
        Types of an array's elements, of a map's key and value, or of a struct's fields.
    fields : tuple of str
        Names of a struct's fields.
    numbers : tuple of int
        Precision and scale of a decimal, length of a varchar or char.
    """

    name: str
    arguments: tuple[HiveType, ...] = ()
    fields: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()

    @property
    def hive(self) -> str:
        """The type as Glue spells it."""
        inner = [one.hive for one in self.arguments]
        if self.name == "struct":
            pairs = zip(self.fields, inner, strict=True)
            return f"struct<{','.join(f'{field}:{kind}' for field, kind in pairs)}>"
        if inner:
            return f"{self.name}<{','.join(inner)}>"
        return self.name + _parenthesised(self.numbers)

    @property
    def duckdb(self) -> str:
        """The type that DuckDB computes with."""
        inner = [one.duckdb for one in self.arguments]
        if self.name == "array":
            return f"{inner[0]}[]"
        if self.name == "map":
            return f"MAP({inner[0]}, {inner[1]})"
        if self.name == "struct":
            pairs = zip(self.fields, inner, strict=True)
            return f"STRUCT({', '.join(f'{quoted(field)} {kind}' for field, kind in pairs)})"
        if self.name == "decimal":
            return f"DECIMAL({self.numbers[0]}, {self.numbers[1]})"
        if self.name in ("varchar", "char"):
            return "VARCHAR"
        return _SIMPLE[self.name][0]

    @property
    def trino(self) -> str:
        """The type as Athena's engine names it."""
        inner = [one.trino for one in self.arguments]
        if self.name == "struct":
            pairs = zip(self.fields, inner, strict=True)
            return f"row({', '.join(f'{field} {kind}' for field, kind in pairs)})"
        if inner:
            return f"{self.name}({', '.join(inner)})"
        if self.name in _SIMPLE:
            return _SIMPLE[self.name][1]
        return self.name + _parenthesised(self.numbers)

    @property
    def is_nested(self) -> bool:
        """Whether it is an array, a map or a struct."""
        return bool(self.arguments)


def parse_hive_type(text: str) -> HiveType:
    """Read a type as Glue spells it.

    Parameters
    ----------
    text : str
        Such as ``decimal(10,2)`` or ``array<struct<a:int,b:map<string,double>>>``.

    Raises
    ------
    DataFormatError
        When it is no type of Hive's.

    Examples
    --------
    >>> parse_hive_type("map<string,array<int>>").duckdb
    'MAP(VARCHAR, INTEGER[])'
    """
    tokens = _tokens(text)
    try:
        found = _read(tokens)
    except (IndexError, ValueError, KeyError) as error:
        raise _refusal(text) from error
    if tokens:
        raise _refusal(text)
    return found


def quoted(name: str) -> str:
    """Return a name as an SQL identifier in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def _parenthesised(numbers: tuple[int, ...]) -> str:
    return f"({','.join(map(str, numbers))})" if numbers else ""


def _refusal(text: str) -> DataFormatError:
    return DataFormatError(
        f"{text!r} is no column type of the Glue catalogue.",
        fix="Use Hive's spelling, such as bigint, decimal(10,2) or array<string>.",
    )


def _tokens(text: str) -> list[str]:
    tokens, place = [], 0
    text = text.strip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise _refusal(text)
        tokens.append((match[1] or match[2]).strip())
        place = match.end()
    return tokens


def _read(tokens: list[str]) -> HiveType:
    spelt = tokens.pop(0).lower()
    name = _SYNONYMS.get(spelt, spelt)
    if name == "array":
        _expect(tokens, "<")
        element = _read(tokens)
        _expect(tokens, ">")
        return HiveType("array", (element,))
    if name == "map":
        _expect(tokens, "<")
        key = _read(tokens)
        _expect(tokens, ",")
        value = _read(tokens)
        _expect(tokens, ">")
        return HiveType("map", (key, value))
    if name == "struct":
        return _read_struct(tokens)
    numbers: list[int] = []
    if tokens and tokens[0] == "(":
        tokens.pop(0)
        numbers.append(int(tokens.pop(0)))
        while tokens[0] == ",":
            tokens.pop(0)
            numbers.append(int(tokens.pop(0)))
        _expect(tokens, ")")
    if name == "decimal":
        precision, scale = (*numbers, 10, 0)[:2] if not numbers else (*numbers, 0)[:2]
        if not 1 <= precision <= 38 or not 0 <= scale <= precision:
            raise ValueError(f"decimal({precision},{scale})")
        return HiveType("decimal", numbers=(precision, scale))
    if name in ("varchar", "char"):
        return HiveType(name, numbers=tuple(numbers)) if numbers else HiveType("string")
    if name not in _SIMPLE:
        raise KeyError(name)
    return HiveType(name)


def _read_struct(tokens: list[str]) -> HiveType:
    fields, kinds = [], []
    _expect(tokens, "<")
    while True:
        fields.append(tokens.pop(0).strip("`"))
        _expect(tokens, ":")
        kinds.append(_read(tokens))
        if tokens[0] != ",":
            break
        tokens.pop(0)
    _expect(tokens, ">")
    return HiveType("struct", tuple(kinds), tuple(fields))


def _expect(tokens: list[str], wanted: str) -> None:
    found = tokens.pop(0)
    if found != wanted:
        raise ValueError(f"{found!r} where {wanted!r} is due")
