"""A table's objects as a view in DuckDB: how each format is read, and what its SerDe makes of it.

What a value becomes that does not fit its column follows the SerDe: LazySimpleSerDe makes it NULL,
OpenCSVSerde and the JSON SerDes fail the query, Parquet files must have the declared type.
"""

from __future__ import annotations

import gzip
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .catalogue import Catalogue
from .engine import literal, quoted
from .failures import QueryFailure
from .tables import Column, Table
from .types import base, duckdb_name, from_duckdb, numbers, trino_name

if TYPE_CHECKING:
    import duckdb

PATH_COLUMN = "$path"
_FORMATS = {
    # A part of the SerDe's class name, in lower case: what the objects hold.
    "parquethiveserde": "parquet",
    "lazysimpleserde": "text",
    "opencsvserde": "csv",
    "jsonserde": "json",
}
# A file's number is the name of its folder, so that every row knows which object it came from.
_NUMBER = "batcat_file"
_NUMBERED = f"hive_partitioning=true, hive_types={{'{_NUMBER}': 'INTEGER'}}"
_MAX_LINE_BYTES = 64 * 1024 * 1024
_INTEGERS = ("tinyint", "smallint", "integer", "bigint")
# Fields of Parquet files that Athena reads into a declared column.
_READABLE = {
    **dict.fromkeys(_INTEGERS, _INTEGERS),
    "double": ("double", "real"),
    "decimal": ("decimal", *_INTEGERS),
    "varchar": ("varchar", "char", "varbinary", "json", "uuid"),
    "char": ("varchar", "char", "varbinary"),
    "varbinary": ("varbinary", "varchar"),
    "timestamp": ("timestamp", "timestamp with time zone"),
}
_PARQUET_NAMES = {"varchar": "BINARY", "integer": "INT32", "bigint": "INT64", "date": "INT32"}


def format_of(table: Table) -> str:
    """Return what a table's objects hold: parquet, text, csv or json.

    Raises
    ------
    QueryFailure
        When the embedded AWS does not read it.
    """
    for part, found in _FORMATS.items():
        if part in table.serde.lower():
            return found
    raise QueryFailure(
        f"NOT_SUPPORTED: The embedded AWS does not read what {table.serde or 'no SerDe'} writes. "
        "Use Parquet, CSV (LazySimpleSerDe, OpenCSVSerde) or JSON."
    )


def expose(
    connection: duckdb.DuckDBPyConnection,
    catalogue: Catalogue,
    region: str,
    table: Table,
    workspace: Path,
    under: str,
) -> int:
    """Make a table queryable as ``under."catalogue.database".table``, with ``"$path"`` as a column.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        May read the workspace; gets the view.
    catalogue : Catalogue
        Knows the table's objects.
    region : str
        The region of both.
    table : Table
        What `Catalogue.find` returned; not a view.
    workspace : pathlib.Path
        Gets the files, and must outlive the query.
    under : str
        A DuckDB database that is attached.

    Returns
    -------
    int
        The bytes of the objects.

    Raises
    ------
    QueryFailure
        When objects are not what the table declares.
    """
    form = format_of(table)
    found = catalogue.data(region, table)
    folder = workspace / f"table-{uuid.uuid4().hex}"
    files = []
    for number, (stored, _) in enumerate(found):
        path = folder / f"{_NUMBER}={number}" / "data"
        if form == "parquet":
            path = catalogue.objects.linked(region, stored, path)
        else:
            path.parent.mkdir(parents=True)
            text = _decoded(catalogue.objects.file(region, stored), stored.key)
            path.write_text(_as_duckdb_reads(text, form, table), encoding="utf-8", newline="")
        files.append(path)
    names = [quoted(one.name) for one in table.columns]
    for place, key in enumerate(table.keys):
        values = [values[place] for _, values in found]
        names.append(f"{_by_file(values, key)} AS {quoted(key.name)}")
    paths = [stored.uri for stored, _ in found]
    names.append(f"{_by_file(paths)} AS {quoted(PATH_COLUMN)}")
    source = _scan(connection, form, table, files) if files else _nothing(table)
    schema = f"{quoted(under)}.{quoted(f'{table.catalog}.{table.database}')}"
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    connection.execute(
        f"CREATE OR REPLACE VIEW {schema}.{quoted(table.name)} AS "
        f"SELECT {', '.join(names)} FROM ({source})"
    )
    return sum(stored.size for stored, _ in found)


def _by_file(values: Sequence[str | None], key: Column | None = None) -> str:
    """Return an expression for the value that belongs to a row's file."""
    if key is not None:
        for value in values:
            _check_partition(value, key)
    kind = duckdb_name(key.type) if key else "VARCHAR"
    listed = ", ".join("NULL" if value is None else literal(value) for value in values)
    return f"CAST([{listed}] AS {kind}[])[{_NUMBER} + 1]"


def _check_partition(value: str | None, key: Column) -> None:
    pattern = {"date": r"\d{4}-\d\d?-\d\d?", **dict.fromkeys(_INTEGERS, r"[+-]?\d+")}
    wanted = pattern.get(base(key.type))
    if value is not None and wanted and not re.fullmatch(wanted, value):
        raise QueryFailure(
            f"HIVE_INVALID_PARTITION_VALUE: Invalid partition value '{value}' for "
            f"{trino_name(key.type).upper()} partition key: {key.name}={value}"
        )


def _nothing(table: Table) -> str:
    nulls = [
        f"CAST(NULL AS {duckdb_name(one.type)}) AS {quoted(one.name)}" for one in table.columns
    ]
    return f"SELECT {', '.join([*nulls, f'0 AS {_NUMBER}'])} WHERE false"


def _scan(
    connection: duckdb.DuckDBPyConnection, form: str, table: Table, files: Sequence[Path]
) -> str:
    """Return a SELECT of the declared columns and the file's number."""
    listed = "[" + ", ".join(literal(str(file)) for file in files) + "]"
    if form == "parquet":
        source = f"read_parquet({listed}, union_by_name=true, {_NUMBERED})"
        values = _parquet_values(connection, table, source)
    elif form == "json":
        declared = ", ".join(
            f"{literal(one.name)}: {literal(duckdb_name(one.type))}" for one in table.columns
        )
        ignored = table.parameters.get("ignore.malformed.json", "").lower() == "true"
        values = {one.name: quoted(one.name) for one in table.columns}
        source = (
            f"read_json({listed}, columns={{{declared}}}, format='newline_delimited', "
            f"ignore_errors={str(ignored).lower()}, maximum_object_size={_MAX_LINE_BYTES}, "
            f"compression='none', {_NUMBERED})"
        )
    else:
        cells, value_of = (_lazy, _lazy_value) if form == "text" else (_open_csv, _open_csv_value)
        values = {
            one.name: value_of(table, one, f"f[{n}]") for n, one in enumerate(table.columns, 1)
        }
        # A delimiter that no line holds makes a line one value.
        lines = (
            f"read_csv({listed}, columns={{'line': 'VARCHAR'}}, header=false, quote='', escape='', "
            "delim=chr(2) || chr(3) || chr(2) || chr(3), nullstr=chr(3) || chr(2), "
            "auto_detect=false, strict_mode=false, compression='none', "
            f"skip={int(table.parameters.get('skip.header.line.count') or 0)}, "
            f"max_line_size={_MAX_LINE_BYTES}, {_NUMBERED})"
        )
        source = f"(SELECT {cells(table)} AS f, {_NUMBER} FROM {lines})"
    chosen = [f"{_shaped(one, values[one.name])} AS {quoted(one.name)}" for one in table.columns]
    return f"SELECT {', '.join([*chosen, _NUMBER])} FROM {source}"


def _shaped(column: Column, value: str) -> str:
    if base(column.type) == "timestamp":
        # Athena has milliseconds, and rounds half up.
        return f"make_timestamp(CAST(floor((epoch_us({value}) + 500) / 1000) AS BIGINT) * 1000)"
    if base(column.type) == "char":
        return f"rpad({value}, {numbers(column.type)[0]}, ' ')"
    return value


def _parquet_values(
    connection: duckdb.DuckDBPyConnection, table: Table, source: str
) -> dict[str, str]:
    described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    there = [(str(row[0]), str(row[1])) for row in described if row[0] != _NUMBER]
    found = {name.lower(): (name, kind) for name, kind in there}
    if table.parameters.get("parquet.column.index.access", "").lower() == "true":
        found = dict(zip([one.name for one in table.columns], there, strict=False))
    values = {}
    for column in table.columns:
        kind = duckdb_name(column.type)
        if column.name not in found:
            values[column.name] = f"CAST(NULL AS {kind})"
            continue
        name, text = found[column.name]
        held, declared = base(from_duckdb(text)), base(column.type)
        if held not in ("unknown", declared, *_READABLE.get(declared, ())):
            raise QueryFailure(
                f"HIVE_BAD_DATA: Field {name}'s type {_PARQUET_NAMES.get(held, held.upper())} in "
                f"parquet file of {table.location} is incompatible with type "
                f"{trino_name(column.type)} defined in table schema"
            )
        values[column.name] = f"CAST({quoted(name)} AS {kind})"
    return values


# Text by LazySimpleSerDe: no quotes, one record a line, what does not parse is NULL.


def _lazy(table: Table) -> str:
    """Return lines as lists of cells; a delimiter behind the escape character does not split."""
    delimiter = _character(table.parameters, "field.delim", "\x01")
    escape = _character(table.parameters, "escape.delim", "")
    if not escape:
        return f"string_split(line, {literal(delimiter)})"
    hidden = f"replace(line, {literal(escape * 2)}, '\ue000')"
    hidden = f"replace({hidden}, {literal(escape + delimiter)}, '\ue001')"
    shown = f"replace(replace(lambda_cell, {literal(escape)}, ''), '\ue000', {literal(escape)})"
    shown = f"replace({shown}, '\ue001', {literal(delimiter)})"
    cells = f"string_split({hidden}, {literal(delimiter)})"
    return f"list_transform({cells}, lambda lambda_cell: {shown})"


def _lazy_value(table: Table, column: Column, cell: str) -> str:
    kind = base(column.type)
    null = table.parameters.get("serialization.null.format", "\\N")
    text = f"nullif({cell}, {literal(null)})"
    cast = f"TRY_CAST({text} AS {duckdb_name(column.type)})"
    forms = {
        "date": r"[0-9]{4}-[0-9]+-[0-9]+",
        "timestamp": r"[0-9]{4}-[0-9]+-[0-9]+ [0-9]+:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?",
        "boolean": "(?i)true|false",
        **dict.fromkeys(_INTEGERS, "[+-]?[0-9]+"),
    }
    if kind in ("varchar", "char"):
        return f"left({text}, {numbers(column.type)[0]})" if numbers(column.type) else text
    if kind in forms:
        return f"CASE WHEN regexp_full_match({text}, {literal(forms[kind])}) THEN {cast} END"
    if kind in ("real", "double", "decimal"):
        return cast
    return _unreadable(table, column, cell)


# CSV by OpenCSVSerde: quotes and escapes, all values text, numbers must parse.


def _open_csv(table: Table) -> str:
    """Return lines as lists of cells: a line is a row, whatever its quotes and its width."""
    separator = _character(table.parameters, "separatorChar", ",")
    quote = _character(table.parameters, "quoteChar", '"')
    s, q = (f"\\x{{{ord(one):x}}}" for one in (separator, quote))
    enclosed = f"{s}[[:blank:]]*{q}((?:[^{q}]|{q}{q})*){q}"
    # Each cell with the separator before it, so that no match is empty.
    cell, start = literal(f"{enclosed}[^{s}]*|{s}[^{s}]*"), literal(f"^{enclosed}")
    cells = f"regexp_extract_all({literal(separator)} || line, {cell})"
    inner = f"replace(regexp_extract(x, {start}, 1), {literal(quote * 2)}, {literal(quote)})"
    value = f"CASE WHEN regexp_matches(x, {start}) THEN {inner} ELSE substr(x, 2) END"
    return f"list_transform({cells}, lambda x: {value})"


def _open_csv_value(table: Table, column: Column, cell: str) -> str:
    kind = base(column.type)
    if kind in ("varchar", "char"):
        return cell
    number = f"TRY_CAST({cell} AS BIGINT)"
    cast = f"TRY_CAST({cell} AS {duckdb_name(column.type)})"
    parsed = {
        "date": f"DATE '1970-01-01' + CAST({number} AS INTEGER)",
        "timestamp": f"make_timestamp({number} * 1000)",
        "boolean": f"CASE lower({cell}) WHEN 'true' THEN true WHEN 'false' THEN false END",
        **dict.fromkeys(
            _INTEGERS, f"CASE WHEN regexp_full_match({cell}, '[+-]?[0-9]+') THEN {cast} END"
        ),
        **dict.fromkeys(("real", "double", "decimal"), cast),
    }.get(kind)
    if parsed is None:
        return _unreadable(table, column, cell)
    complaint = "HIVE_BAD_DATA: Error Parsing a column in the table: For input string: "
    failed = f"error({literal(complaint)} || '\"' || {cell} || '\"')"
    return f"CASE WHEN {cell} IS NULL THEN NULL ELSE coalesce({parsed}, {failed}) END"


def _unreadable(table: Table, column: Column, cell: str) -> str:
    """Return an expression that fails for whoever asks for the column."""
    said = (
        f"NOT_SUPPORTED: The embedded AWS does not read {trino_name(column.type)} from text: "
        f"column {column.name} of {table.database}.{table.name}. Use Parquet or JSON."
    )
    kind = duckdb_name(column.type)
    return f"CASE WHEN {cell} IS NULL THEN NULL ELSE CAST(error({literal(said)}) AS {kind}) END"


def _decoded(path: Path, key: str) -> str:
    """Return an object's text, unpacked as its suffix says; what is no UTF-8 is replaced."""
    data = path.read_bytes()
    try:
        if key.endswith(".gz"):
            data = gzip.decompress(data)
    except (OSError, EOFError) as error:
        raise QueryFailure(f"HIVE_CURSOR_ERROR: {key} is not packed as it is named") from error
    return data.decode(errors="replace")


def _as_duckdb_reads(text: str, form: str, table: Table) -> str:
    """Write quotes in one way, doubled, where OpenCSVSerde escapes; keys of JSON in lower case."""
    if form == "csv":
        escape = table.parameters.get("escapeChar", "\\") or "\\"
        if escape != '"' and escape in text:
            pattern = re.compile(re.escape(escape) + '(["' + re.escape(escape) + "])?")
            return pattern.sub(lambda m: '""' if m[1] == '"' else (m[1] or ""), text)
    if form == "json":
        return "\n".join(map(_lower_keys, text.split("\n")))
    return text


def _lower_keys(line: str) -> str:
    def lower(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {key.lower(): value for key, value in pairs}

    try:
        return json.dumps(json.loads(line, object_pairs_hook=lower), ensure_ascii=False)
    except ValueError:
        return line


def _character(parameters: Mapping[str, str], name: str, default: str) -> str:
    value = parameters.get(name) or default
    named = {"\\t": "\t", "\\001": "\x01", "\\u0001": "\x01", "\\\\": "\\"}
    return named.get(value, value)
