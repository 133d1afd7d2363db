"""The Athena table of a pipeline's results, as data: from columns to what Glue is told.

Two things are entered in Glue. The table `<name>_runs` has every run that lies in the bucket: its
days are projected, so that nobody adds partitions. CSV is read as text only, since the SerDe that
knows quotes (OpenCSVSerde) fails on an empty number and takes no ISO 8601 date. The view `<name>`
has what counts: the newest whole result of each window, in the types of our own readers.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from batcat_runtime.errors import UserError

OURS = "batcat.project"
PURPOSE = "batcat.purpose"
RUNS = "_runs"
BIG = "decimal(20,0)"  # whole numbers, some beyond 64 bits
# Glue takes 409,600 characters as a view's text, of which Base64 needs a third.
_LONGEST_VIEW = 300_000
_UNSAFE = re.compile(r"\W")
_SHARD = re.compile(r"-\d{5}(?=\.)")
_HADOOP = "org.apache.hadoop."
_STORED = {
    "csv": (
        f"{_HADOOP}mapred.TextInputFormat",
        f"{_HADOOP}hive.ql.io.HiveIgnoreKeyTextOutputFormat",
        f"{_HADOOP}hive.serde2.OpenCSVSerde",
        # pandas escapes nothing: a backslash is one. So the escape is what no text has.
        {"separatorChar": ",", "quoteChar": '"', "escapeChar": "\x01"},
    ),
    "parquet": (
        f"{_HADOOP}hive.ql.io.parquet.MapredParquetInputFormat",
        f"{_HADOOP}hive.ql.io.parquet.MapredParquetOutputFormat",
        f"{_HADOOP}hive.ql.io.parquet.serde.ParquetHiveSerDe",
        {"serialization.format": "1"},
    ),
}
_WIDER = {
    frozenset({"bigint", "double"}): "double",
    frozenset({"bigint", BIG}): BIG,
    frozenset({BIG, "double"}): "double",
    frozenset({"date", "timestamp"}): "timestamp",
}
_PLAIN = {
    "string": "varchar",
    "int": "integer",
    "float": "real",
    "binary": "varbinary",
    "timestamp": "timestamp(3)",
}


@dataclass(frozen=True)
class Column:
    """A column of the files.

    Attributes
    ----------
    name : str
        In Athena.
    source : str
        In the files.
    type : str
        In Hive's words, as the view gives it.
    zoned : bool
        Whether the files have timestamps with a zone, which a view gives in UTC.
    """

    name: str
    source: str
    type: str
    zoned: bool = False


@dataclass(frozen=True)
class Shape:
    """What a table is made of.

    Attributes
    ----------
    project, purpose : str
        Whose it is.
    database, name : str
        Of the view; the table below it has the ending ``_runs``.
    location : str
        The ``s3://`` folder above the days, with a slash at its end.
    first_day : str
        The first day that has a result.
    file : str
        The name of the files, as `table_name_of` gives it.
    form : {"csv", "parquet"}
        What they are.
    columns : tuple of Column
        In their order.
    by_place : bool
        Whether Parquet's columns are known by their places, since a name had to be changed.
    excluded : tuple of str
        The runs that do not count, as ``2022-01-08/run=<run id>``.
    """

    project: str
    purpose: str
    database: str
    name: str
    location: str
    first_day: str
    file: str
    form: str
    columns: tuple[Column, ...]
    by_place: bool = False
    excluded: tuple[str, ...] = ()


def table_name_of(key: str) -> str:
    """Return what a file of a result is called in every run, whichever instance wrote it.

    Examples
    --------
    >>> table_name_of("a/b/date=2022-01-08/run=r/usage-00001.csv.gz")
    'usage.csv'
    """
    return _SHARD.sub("", key.rpartition("/")[2]).removesuffix(".gz")


def form_of(name: str) -> str:
    """Return what a file is: ``csv``, ``parquet``, or empty for what is no table."""
    return next((form for form in _STORED if name.endswith(f".{form}")), "")


def legal_names(sources: Iterable[str], taken: Iterable[str] = ("date", "run")) -> list[str]:
    """Return names for columns that Athena can have: lower case, none twice, no signs.

    Parameters
    ----------
    sources : iterable of str
        As they are in the files.
    taken : iterable of str
        Names that are others' already: that of the day's partition, and of the run.

    Examples
    --------
    >>> legal_names(["VIN", "usage-kWh", "vin", "date"])
    ['vin', 'usage_kwh', 'vin_1', 'date_1']
    """
    used, names = set(taken), []
    for source in sources:
        plain = _UNSAFE.sub("_", source).lower() or "column"
        name, number = plain, 0
        while name in used:
            number += 1
            name = f"{plain}_{number}"
        used.add(name)
        names.append(name)
    return names


def wider(one: str, other: str) -> str:
    """Return the type of a column that is one type here and another there; empty is neither."""
    if one == other or not other:
        return one
    if not one:
        return other
    return _WIDER.get(frozenset({one, other}), "string")


def runs_table(shape: Shape) -> dict[str, Any]:
    """Return the table of all runs as Glue's ``TableInput``."""
    reads, writes, serde, settings = _STORED[shape.form]
    if shape.by_place:
        settings = {**settings, "parquet.column.index.access": "true"}
    csv = shape.form == "csv"
    return {
        "Name": shape.name + RUNS,
        "Description": f"Every run's results of {shape.purpose}; {shape.name} has what counts.",
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {
            "EXTERNAL": "TRUE",
            "classification": shape.form,
            **({"skip.header.line.count": "1"} if csv else {}),
            "projection.enabled": "true",
            "projection.date.type": "date",
            "projection.date.format": "yyyy-MM-dd",
            # Glue's clock is in UTC; a window may begin on a day that starts earlier elsewhere.
            "projection.date.range": f"{shape.first_day},NOW+1DAYS",
            "projection.date.interval": "1",
            "projection.date.interval.unit": "DAYS",
            "storage.location.template": f"{shape.location}date=${{date}}/",
            **_mark(shape),
        },
        "PartitionKeys": [{"Name": "date", "Type": "date"}],
        "StorageDescriptor": {
            "Columns": [
                {"Name": one.name, "Type": "string" if csv else one.type} for one in shape.columns
            ],
            "Location": shape.location,
            "InputFormat": reads,
            "OutputFormat": writes,
            "SerdeInfo": {"SerializationLibrary": serde, "Parameters": settings},
        },
    }


def view(shape: Shape) -> dict[str, Any]:
    """Return the view of what counts as Glue's ``TableInput``, as Athena keeps its own views.

    Raises
    ------
    UserError
        So many runs do not count that Glue would not take the view.
    """
    columns = [(one.name, one.type) for one in shape.columns]
    columns += [("run", "string"), ("date", "date")]
    stored = {
        "originalSql": view_sql(shape),
        "catalog": "awsdatacatalog",
        "schema": shape.database,
        "columns": [{"name": name, "type": trino_type(kind)} for name, kind in columns],
    }
    text = json.dumps(stored)
    if len(text) > _LONGEST_VIEW:
        raise UserError(
            f"{len(shape.excluded)} runs of {shape.purpose} do not count, which is too many to "
            "list in a view of Athena's.",
            fix="Delete them: `batcat results --runs` tells which are superseded. Or read by "
            "manifest in Python: bc.read_results().",
        )
    return {
        "Name": shape.name,
        "Description": f"The newest whole result of each window of {shape.purpose}.",
        "TableType": "VIRTUAL_VIEW",
        "Parameters": {"presto_view": "true", "comment": "Presto View", **_mark(shape)},
        "PartitionKeys": [],
        "ViewOriginalText": f"/* Presto View: {base64.b64encode(text.encode()).decode()} */",
        "ViewExpandedText": "/* Presto View */",
        "StorageDescriptor": {
            "Columns": [{"Name": name, "Type": kind} for name, kind in columns],
            "Location": "",
            "SerdeInfo": {},
        },
    }


def view_sql(shape: Shape) -> str:
    """Return the view's query."""
    chosen = [_value(one, shape.form) for one in shape.columns]
    chosen.append('regexp_extract("$path", \'/run=([^/]+)/\', 1) AS "run"')
    chosen.append('"date"')
    stem, _, ending = shape.file.rpartition(".")
    # Other files may lie beside the table's own.
    name = f"/{re.escape(stem)}(-[0-9]{{5}})?\\.{ending}(\\.gz)?$"
    asked = [f'regexp_like("$path", {_text(name)})']
    if shape.excluded:
        listed = ", ".join(map(_text, shape.excluded))
        asked.append(f"regexp_extract(\"$path\", '/date=([^/]+/run=[^/]+)/', 1) NOT IN ({listed})")
    table = f"{_name(shape.database)}.{_name(shape.name + RUNS)}"
    lines = ",\n  ".join(chosen)
    return f"SELECT\n  {lines}\nFROM {table}\nWHERE " + "\n  AND ".join(asked)


def trino_type(hive: str) -> str:
    """Return Athena's name, in queries, of a type that Hive has.

    Examples
    --------
    >>> trino_type("array<struct<a:int,b:map<string,double>>>")
    'array(row("a" integer, "b" map(varchar, double)))'
    """
    outer, opened, inner = hive.partition("<")
    if not opened:
        return _PLAIN.get(hive, hive)
    parts = _parts(inner.removesuffix(">"))
    if outer == "struct":
        fields = [part.partition(":") for part in parts]
        return f"row({', '.join(f'{_name(name)} {trino_type(kind)}' for name, _, kind in fields)})"
    return f"{outer}({', '.join(map(trino_type, parts))})"


def _parts(text: str) -> Sequence[str]:
    """Part a list of types at the commas that are not inside one of them."""
    parts, depth = [""], 0
    for char in text:
        depth += (char in "<(") - (char in ">)")
        if char == "," and not depth:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def _value(column: Column, form: str) -> str:
    name = _name(column.name)
    if form == "parquet":
        return name
    cast = name
    if column.zoned:
        instant = f"CAST(replace({name}, 'T', ' ') AS timestamp with time zone)"
        cast = f"CAST({instant} AT TIME ZONE 'UTC' AS timestamp)"
    elif column.type == "timestamp":
        cast = f"CAST(replace({name}, 'T', ' ') AS timestamp)"
    elif column.type != "string":
        cast = f"CAST({name} AS {trino_type(column.type)})"
    # what our own reader takes for missing; imported here, since it brings pyarrow
    from batcat_runtime.io.csv_types import NULL_VALUES

    missing = ", ".join(map(_text, NULL_VALUES))
    return f"CASE WHEN {name} NOT IN ({missing}) THEN {cast} END AS {name}"


def _mark(shape: Shape) -> dict[str, str]:
    return {OURS: shape.project, PURPOSE: shape.purpose}


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
