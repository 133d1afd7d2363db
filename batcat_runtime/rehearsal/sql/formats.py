"""How each storage format is read: from files to a SELECT that yields the declared columns.

`scan` writes the SELECT. Files lie in folders `batcat_file=<n>`, so that every row knows which file
it came from; partition values hang on that number (`catalogue.py`). What a value becomes that
does not fit its column follows the SerDe: LazySimpleSerDe makes it NULL, OpenCSVSerde and the
JSON SerDes fail the query, Parquet files must have the declared type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from batcat_runtime.errors import DataFormatError

from .hive_types import HiveType, literal, quoted
from .tables import Column, Storage

if TYPE_CHECKING:
    import duckdb

FILE_NUMBER = "batcat_file"
_MAX_LINE_BYTES = 64 * 1024 * 1024
_INTEGERS = ("tinyint", "smallint", "int", "bigint")
# What the escape character and the delimiter after it become while a line is split.
_ESCAPED_ESCAPE, _ESCAPED_DELIMITER = literal("\ue000"), literal("\ue001")
_NAMED_CHARACTERS = {"\\t": "\t", "\\n": "\n", "\\r": "\r", "\\\\": "\\", "TAB": "\t"}
_INTEGER_RANGES = {
    "TINYINT": "tinyint",
    "SMALLINT": "smallint",
    "INTEGER": "int",
    "BIGINT": "bigint",
    "UTINYINT": "smallint",
    "USMALLINT": "int",
    "UINTEGER": "bigint",
    "UBIGINT": "bigint",
}


def scan(
    connection: duckdb.DuckDBPyConnection,
    storage: Storage,
    columns: Sequence[Column],
    files: Sequence[Path],
    *,
    milliseconds: bool = False,
) -> str:
    """Return a SELECT of the declared columns and the file's number over some files.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        To look into Parquet files.
    storage : Storage
        How the files are written.
    columns : sequence of Column
        What to yield, without partition keys.
    files : sequence of pathlib.Path
        Each in a folder ``batcat_file=<n>``.
    milliseconds : bool, default False
        Round timestamps to milliseconds, as Athena's Hive tables do.

    Raises
    ------
    DataFormatError
        When a file does not hold what the table declares.
    """
    form = storage.format
    if form in ("parquet", "orc"):
        by_place = storage.parameters.get("parquet.column.index.access", "").lower() == "true"
        values = _parquet_values(connection, columns, files, by_place and form == "parquet")
        source = f"read_parquet({_list(files)}, union_by_name=true, {_NUMBERED})"
    elif form == "csv":
        values = {one.name: _open_csv_value(one, n) for n, one in enumerate(columns, 1)}
        source = _open_csv_source(storage, files)
    elif form == "json":
        values = {one.name: quoted(one.name) for one in columns}
        source = _json_source(storage, columns, files)
    elif form == "regex":
        values = _regex_values(storage, columns)
        source = _lines(storage, files)
    else:
        values = _text_values(storage, columns)
        source = f"(SELECT {_split(storage)} AS f, {FILE_NUMBER} FROM {_lines(storage, files)})"
    chosen = ", ".join(
        f"{_rounded(one.type, values[one.name], milliseconds)} AS {quoted(one.name)}"
        for one in columns
    )
    return f"SELECT {chosen}{', ' if chosen else ''}{FILE_NUMBER} FROM {source}"


_NUMBERED = f"hive_partitioning=true, hive_types={{'{FILE_NUMBER}': 'INTEGER'}}"


def _list(files: Sequence[Path]) -> str:
    return "[" + ", ".join(literal(str(file)) for file in files) + "]"


def _rounded(kind: HiveType, value: str, milliseconds: bool) -> str:
    if kind.name == "timestamp" and milliseconds:
        # make_timestamp counts microseconds; + 500 and the floor round half up.
        return f"make_timestamp(CAST(floor((epoch_us({value}) + 500) / 1000) AS BIGINT) * 1000)"
    if kind.name == "char":
        return f"rpad({value}, {kind.numbers[0]}, ' ')"
    return value


# Parquet and ORC.


def _parquet_values(
    connection: duckdb.DuckDBPyConnection,
    columns: Sequence[Column],
    files: Sequence[Path],
    by_place: bool,
) -> dict[str, str]:
    described = connection.execute(
        f"DESCRIBE SELECT * FROM read_parquet({_list(files)}, union_by_name=true)"
    ).fetchall()
    found = {str(row[0]).lower(): (str(row[0]), str(row[1])) for row in described}
    if by_place:
        there = [(str(row[0]), str(row[1])) for row in described if row[0] != FILE_NUMBER]
        found = dict(zip([one.name for one in columns], there, strict=False))
    values = {}
    for column in columns:
        if column.name not in found:
            values[column.name] = f"CAST(NULL AS {column.type.duckdb})"
            continue
        name, kind = found[column.name]
        if not _may_become(kind, column.type):
            raise DataFormatError(
                f"HIVE_BAD_DATA: Field {name}'s type {_parquet_name(kind)} in parquet file "
                f"{files[0].name} is incompatible with type {column.type.trino} defined in "
                "table schema"
            )
        values[column.name] = f"CAST({quoted(name)} AS {column.type.duckdb})"
    return values


def _may_become(kind: str, declared: HiveType) -> bool:
    """Tell whether Athena reads a Parquet field of a DuckDB type into a declared column."""
    base = kind.partition("(")[0] if not kind.endswith("]") else "LIST"
    accepted = {
        "string": ("VARCHAR", "BLOB", "ENUM", "JSON", "UUID"),
        "varchar": ("VARCHAR", "BLOB", "ENUM"),
        "char": ("VARCHAR", "BLOB", "ENUM"),
        "binary": ("BLOB", "VARCHAR"),
        "boolean": ("BOOLEAN",),
        "date": ("DATE",),
        "timestamp": ("TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP WITH TIME ZONE"),
        "float": ("FLOAT",),
        "double": ("DOUBLE", "FLOAT"),
        "decimal": ("DECIMAL", *_INTEGER_RANGES),
        "array": ("LIST",),
        "map": ("MAP",),
        "struct": ("STRUCT",),
    }
    if declared.name in _INTEGERS:
        return base in _INTEGER_RANGES
    if kind == '"NULL"' or kind == "NULL":
        return True
    return base in accepted[declared.name]


def _parquet_name(kind: str) -> str:
    names = {"VARCHAR": "BINARY", "INTEGER": "INT32", "BIGINT": "INT64", "DATE": "INT32"}
    return names.get(kind, "INT64" if kind.startswith("TIMESTAMP") else kind.partition("(")[0])


# Text by LazySimpleSerDe: no quotes, one record a line, what does not parse is NULL.


def _lines(storage: Storage, files: Sequence[Path]) -> str:
    # A delimiter that no line holds makes a line one value.
    return (
        f"read_csv({_list(files)}, columns={{'line': 'VARCHAR'}}, header=false, quote='', "
        "escape='', delim=chr(2) || chr(3) || chr(2) || chr(3), nullstr=chr(3) || chr(2), "
        f"auto_detect=false, strict_mode=false, skip={storage.skipped_lines}, "
        f"max_line_size={_MAX_LINE_BYTES}, compression='none', {_NUMBERED})"
    )


def _split(storage: Storage) -> str:
    delimiter = _character(storage.parameters, ("field.delim", "serialization.format"), "\x01")
    if "escape.delim" not in storage.parameters:
        return f"string_split(line, {literal(delimiter)})"
    escape = _character(storage.parameters, ("escape.delim",), "\\")
    hidden = f"replace(line, {literal(escape * 2)}, {_ESCAPED_ESCAPE})"
    hidden = f"replace({hidden}, {literal(escape + delimiter)}, {_ESCAPED_DELIMITER})"
    shown = f"replace(x, {literal(escape)}, '')"
    shown = f"replace({shown}, {_ESCAPED_ESCAPE}, {literal(escape)})"
    shown = f"replace({shown}, {_ESCAPED_DELIMITER}, {literal(delimiter)})"
    return f"list_transform(string_split({hidden}, {literal(delimiter)}), lambda x: {shown})"


def _text_values(storage: Storage, columns: Sequence[Column]) -> dict[str, str]:
    null = literal(storage.parameters.get("serialization.null.format", "\\N"))
    delimiters = [
        _character(storage.parameters, ("collection.delim", "colelction.delim"), "\x02"),
        _character(storage.parameters, ("mapkey.delim",), "\x03"),
    ]
    return {
        column.name: _text_value(column.type, f"nullif(f[{place}], {null})", delimiters)
        for place, column in enumerate(columns, 1)
    }


def _text_value(kind: HiveType, text: str, delimiters: list[str]) -> str:
    """Return an expression that reads a text as LazySimpleSerDe does."""
    if kind.name == "array":
        parts = f"string_split({text}, {literal(delimiters[0])})"
        inner = _text_value(kind.arguments[0], "e", delimiters[1:] or [""])
        return f"CASE WHEN {text} = '' THEN [] ELSE list_transform({parts}, lambda e: {inner}) END"
    if kind.name == "map":
        parts = f"string_split({text}, {literal(delimiters[0])})"
        pair = f"string_split(e, {literal(delimiters[1])})"
        key = _text_value(kind.arguments[0], f"{pair}[1]", [""])
        value = _text_value(kind.arguments[1], f"{pair}[2]", [""])
        entry = f"{{'k': {key}, 'v': {value}}}"
        filled = f"map_from_entries(list_transform({parts}, lambda e: {entry}))"
        empty = f"CAST(MAP {{}} AS {kind.duckdb})"
        return f"CASE WHEN {text} = '' THEN {empty} ELSE {filled} END"
    if kind.name == "struct":
        parts = f"string_split({text}, {literal(delimiters[0])})"
        fields = ", ".join(
            f"{literal(name)}: {_text_value(inner, f'{parts}[{place}]', delimiters[1:] or [''])}"
            for place, (name, inner) in enumerate(zip(kind.fields, kind.arguments, strict=True), 1)
        )
        return f"CASE WHEN {text} IS NULL THEN NULL ELSE {{{fields}}} END"
    return _simple_text_value(kind, text)


def _simple_text_value(kind: HiveType, text: str) -> str:
    cast = f"TRY_CAST({text} AS {kind.duckdb})"
    if kind.name in ("string", "char"):
        return text
    if kind.name == "varchar":
        return f"left({text}, {kind.numbers[0]})"
    if kind.name in _INTEGERS:
        return f"CASE WHEN regexp_full_match({text}, '[+-]?[0-9]+') THEN {cast} END"
    if kind.name == "boolean":
        return f"CASE lower({text}) WHEN 'true' THEN true WHEN 'false' THEN false END"
    if kind.name == "date":
        return f"CASE WHEN regexp_full_match({text}, '[0-9]{{4}}-[0-9]+-[0-9]+') THEN {cast} END"
    if kind.name == "timestamp":
        form = "[0-9]{4}-[0-9]{1,2}-[0-9]{1,2} [0-9]{1,2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?"
        return f"CASE WHEN regexp_full_match({text}, '{form}') THEN {cast} END"
    if kind.name == "binary":
        return f"coalesce(TRY(from_base64({text})), encode({text}))"
    return cast


def _regex_values(storage: Storage, columns: Sequence[Column]) -> dict[str, str]:
    pattern = storage.parameters.get("input.regex")
    if not pattern:
        raise DataFormatError(
            "The table's SerDe has no property input.regex.",
            fix="Give it: WITH SERDEPROPERTIES ('input.regex' = '([^ ]*) (.*)').",
        )
    matched = f"regexp_full_match(line, {literal(pattern)})"
    return {
        column.name: _simple_text_value(
            column.type,
            f"CASE WHEN {matched} THEN regexp_extract(line, {literal(pattern)}, {place}) END",
        )
        for place, column in enumerate(columns, 1)
    }


# CSV by OpenCSVSerde: quotes and escapes, all values text, numbers must parse.


def _open_csv_source(storage: Storage, files: Sequence[Path]) -> str:
    """Return lines as lists of cells: a line is a row, whatever its quotes and its width."""
    separator = _character(storage.parameters, ("separatorChar",), ",")
    quote = _character(storage.parameters, ("quoteChar",), '"')
    s, q = (f"\\x{{{ord(one):x}}}" for one in (separator, quote))
    enclosed = f"{s}[[:blank:]]*{q}((?:[^{q}]|{q}{q})*){q}"
    # Each cell with the separator before it, so that no match is empty.
    cell = literal(f"{enclosed}[^{s}]*|{s}[^{s}]*")
    start = literal(f"^{enclosed}")
    cells = f"regexp_extract_all({literal(separator)} || line, {cell})"
    inner = f"replace(regexp_extract(x, {start}, 1), {literal(quote * 2)}, {literal(quote)})"
    value = f"CASE WHEN regexp_matches(x, {start}) THEN {inner} ELSE substr(x, 2) END"
    values = f"list_transform({cells}, lambda x: {value})"
    return f"(SELECT {values} AS f, {FILE_NUMBER} FROM {_lines(storage, files)})"


def _open_csv_value(column: Column, place: int) -> str:
    value, kind = f"f[{place}]", column.type
    if kind.name in ("string", "varchar", "char"):
        return value
    if kind.is_nested:
        raise DataFormatError(
            f"HIVE_INVALID_METADATA: OpenCSVSerde cannot read column {column.name} of type "
            f"{kind.trino}."
        )
    number = f"TRY_CAST({value} AS BIGINT)"
    parsed = {
        "date": f"DATE '1970-01-01' + CAST({number} AS INTEGER)",
        "timestamp": f"make_timestamp({number} * 1000)",
        "boolean": f"CASE lower({value}) WHEN 'true' THEN true WHEN 'false' THEN false END",
    }.get(kind.name, f"TRY_CAST({value} AS {kind.duckdb})")
    if kind.name in _INTEGERS:
        parsed = f"CASE WHEN regexp_full_match({value}, '[+-]?[0-9]+') THEN {parsed} END"
    complaint = "HIVE_BAD_DATA: Error Parsing a column in the table: For input string: "
    failed = f"error({literal(complaint)} || '\"' || {value} || '\"')"
    return f"CASE WHEN {value} IS NULL THEN NULL ELSE coalesce({parsed}, {failed}) END"


# JSON, one record a line.


def _json_source(storage: Storage, columns: Sequence[Column], files: Sequence[Path]) -> str:
    declared = ", ".join(f"{literal(one.name)}: {literal(one.type.duckdb)}" for one in columns)
    ignore = storage.parameters.get("ignore.malformed.json", "").lower() == "true"
    return (
        f"read_json({_list(files)}, columns={{{declared}}}, format='newline_delimited', "
        f"ignore_errors={str(ignore).lower()}, maximum_object_size={_MAX_LINE_BYTES}, "
        f"compression='none', {_NUMBERED})"
    )


def _character(parameters: Mapping[str, str], names: tuple[str, ...], default: str) -> str:
    for name in names:
        value = parameters.get(name)
        if value:
            if value in _NAMED_CHARACTERS:
                return _NAMED_CHARACTERS[value]
            octal = re.fullmatch(r"\\u?0*([0-9a-fA-F]+)", value)
            if octal:
                return chr(int(octal[1], 16 if "u" in value else 8))
            # A number is a character's code, which is how Hive spells Ctrl-A: "1".
            return chr(int(value)) if value.isdigit() and name == "serialization.format" else value
    return default
