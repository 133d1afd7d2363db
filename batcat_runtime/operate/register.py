"""`batcat results register`: a pipeline's results as tables of Athena.

Two things are entered in Glue. The table `<name>_runs` has every run that lies in the bucket: its
days are projected, so that nobody adds partitions. CSV is read as text only, since the SerDe that
knows quotes (OpenCSVSerde) fails on an empty number and takes no ISO 8601 date. The view `<name>`
has what counts, in the types of our own readers: the newest whole result of each window. It lists
the runs that do not count, so it is renewed by the next call.

wr.catalog.create_csv_table renames 电压 to _, and takes a table that is there already in silence;
so the table is put by `io.catalogue.GlueTable`, which makes sure that it is still as we saw it.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batcat_runtime.errors import AccessDeniedError, DataFormatError, UserError
from batcat_runtime.io.athena import read_data_from_athena
from batcat_runtime.io.catalogue import GlueTable, athena_type
from batcat_runtime.log import report
from batcat_runtime.operate.connection import Project
from batcat_runtime.operate.results import (
    WindowResult,
    chosen_file,
    no_result_yet,
    opened,
    stated_results,
    table_file,
)
from batcat_runtime.operate.stacks import marks_of

RUNS = "_runs"
_SAMPLES, _ROWS = 20, 10_000
_LONGEST_QUERY = 262_144
_HADOOP = "org.apache.hadoop."
_STORED: dict[str, tuple[str, str, str, dict[str, str]]] = {
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


@dataclass(frozen=True)
class ResultTable:
    """An Athena table of results.

    Attributes
    ----------
    database, name : str
        The view of what counts: the newest whole result of each window.
    runs_table : str
        The table of every run, below it.
    file : str
        The name of the files that it is made of.
    columns : dict of str to str
        The columns with their types, in Hive's words; besides there are `run` and `date`.
    excluded : int
        How many runs do not count, so that the view leaves them out.
    notes : tuple of str
        What a person should know of it.
    example : str
        A query to begin with.
    """

    database: str
    name: str
    runs_table: str
    file: str
    columns: dict[str, str]
    excluded: int
    notes: tuple[str, ...]
    example: str

    def __repr__(self) -> str:
        return f"<ResultTable {self.database}.{self.name}: {self.example}>"


def register_results(
    *,
    database: str | None = None,
    table: str | None = None,
    file: str | None = None,
    workgroup: str = "primary",
    folder: str | Path | None = None,
    purpose: str | None = None,
) -> list[ResultTable]:
    """Enter the Athena tables of a pipeline's results in the Glue catalogue, or renew them.

    Parameters
    ----------
    database, table : str, optional
        What they are called; by default after the project and the pipeline.
    file : str, optional
        Which file of a result, such as ``usage-analysis.csv``; needed when it has several tables.
    workgroup : str
        Athena's workgroup, which makes the view.
    folder : str or Path, optional
        The project's folder; by default that of the working directory.
    purpose : str, optional
        The pipeline; needed when there are several.

    Returns
    -------
    list of ResultTable
        One, or one for each of several last steps. Ask them with `read_data_from_athena`.

    Raises
    ------
    NoSuchResultError
        There is no whole result yet.
    UserError
        A table of that name is not this project's; or the result has several tables.
    DataFormatError
        Athena cannot have what the files hold.
    AccessDeniedError
        Glue or Athena refused; names the action that is needed.

    Examples
    --------
    >>> register_results()[0].example  # doctest: +SKIP
    """
    project, name = opened(folder, purpose)
    names = project.names(name)
    base = _checked(database or names.database, "database")
    found = list(stated_results(project, name))
    if not any(result.state == "newest" and result.files for result in found):
        raise no_result_yet(project, name)
    steps = project.config.purposes[name].last_steps
    shapes = []
    for step in [""] if len(steps) == 1 else steps:
        prefix = f"{names.result_prefix}/{step}/" if step else f"{names.result_prefix}/"
        shapes.append(_shape(project, name, found, prefix, file))
    _have_database(project, base)
    tables = []
    for step, shape in zip(steps, shapes, strict=True):
        parts = ("" if len(steps) == 1 else step, shape.file.rpartition(".")[0])
        called = names.table("-".join(part for part in parts if part not in ("", name)))
        if table:
            called = table if len(steps) == 1 else f"{table}_{step}"
        tables.append(_entered(project, name, shape, base, _checked(called, "table"), workgroup))
    return tables


@dataclass(frozen=True)
class _Column:
    """A column: its name in Athena, that in the files, and its type in Arrow."""

    name: str
    source: str
    kind: Any

    @property
    def hive(self) -> str:
        """Its type in Hive's words, as the view gives it."""
        return "int" if str(self.kind) == "null" else athena_type(self.name, self.kind)


@dataclass(frozen=True)
class _Shape:
    """What a table is made of: the files of one name below a prefix."""

    prefix: str
    first_day: str
    file: str
    columns: tuple[_Column, ...]
    excluded: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def form(self) -> str:
        """What the files are: ``csv`` or ``parquet``."""
        return self.file.rpartition(".")[2]


def _shape(
    project: Project, purpose: str, found: Sequence[WindowResult], prefix: str, file: str | None
) -> _Shape:
    """Look into the newest results, and into one of each version of the code."""
    counted = [result for result in found if result.state == "newest" and result.files]
    excluded = [_run(result) for result in found if result.state != "newest"]
    keys = [stored.key for stored in counted[-1].files if stored.key.startswith(prefix)]
    name = chosen_file(keys, file, purpose)
    csv = name.endswith(".csv")
    notes = [*_neighbours(keys, name, purpose), *_overlaps(counted)]
    versions = {result.code_sha256: result for result in counted}
    samples = {result.run_id: result for result in (*versions.values(), *counted[-_SAMPLES:])}
    schemas: dict[str, tuple[str, Any]] = {}
    for run, result in samples.items():
        files = [stored.key for stored in result.files if stored.key.startswith(prefix)]
        key = next((key for key in files if table_file(key) == name), None)
        if key:
            schemas[run] = (result.code_sha256, _schema(project, key))
    version, newest = schemas[counted[-1].run_id]
    legal = _legal_names(newest.names)
    # Glue's names are in lower case, and Parquet's are compared so; else the places count.
    by_place = csv or [source.lower() for source in newest.names] != legal
    others = {code for code, one in schemas.values() if by_place and one.names != newest.names}
    if others and (version in others or not csv):
        raise DataFormatError(
            f"Some results of {purpose} have other columns than {', '.join(newest.names)}, and "
            f"Athena finds those of {name} by their places.",
            fix="Save the same columns every day; in Parquet they may differ, if all names are "
            "lower-case letters, digits and _. bc.read_results() reads all as they are.",
        )
    for code in sorted(others):
        runs = [_run(result) for result in counted if result.code_sha256 == code]
        excluded += runs
        notes.append(
            f"{len(runs)} results of the code {code[:8]} have other columns and are left out; "
            "bc.read_results() reads them."
        )
    kinds = _kinds([one for code, one in schemas.values() if code not in others], csv=csv)
    columns = [
        _Column(new, source, kinds[source])
        for source, new in zip(kinds, _legal_names(kinds), strict=True)
    ]
    empty = [column.source for column in columns if str(column.kind) == "null"]
    if empty and not by_place:
        columns = [column for column in columns if column.source not in empty]
        notes.append(f"{', '.join(empty)}: left out, since no value is in the newest runs.")
    renamed = [f"{one.source} is {one.name}" for one in columns if one.source != one.name]
    if renamed:
        notes.append(f"In Athena {', '.join(renamed)}.")
    first_day = min(result.day for result in found)
    return _Shape(prefix, first_day, name, tuple(columns), tuple(excluded), tuple(notes))


def _run(result: WindowResult) -> str:
    return f"{result.day}/run={result.run_id}"


def _neighbours(keys: Sequence[str], name: str, purpose: str) -> Iterator[str]:
    """Yield a note on what lies beside a table's own files, which Athena reads as well."""
    others = sorted(set(map(table_file, keys)) - {name})
    if others and name.endswith(".parquet"):
        strangers = [other for other in others if not other.endswith(".parquet")]
        if strangers:
            raise DataFormatError(
                f"{strangers[0]} lies beside {name} in the results of {purpose}. Athena reads "
                "every file of a folder as the table's, and fails on one that is no Parquet.",
                fix="Give it a name that begins with '_': Athena skips those. The results that "
                f"are there can be read with bc.read_results(file={name!r}).",
            )
    if others:
        yield (
            f"{', '.join(others)} beside {name}: the view leaves the rows out, but Athena reads "
            "(and charges for) the files. It skips names that begin with '_'."
        )


def _overlaps(counted: Sequence[WindowResult]) -> Iterator[str]:
    """Yield a note on windows that have days in common; they come in the order of their days."""
    until = ("", "")
    for result in counted:
        window = result.window
        start, end = (window.start, window.end) if window else ("", "9999-12-31")
        if start.removesuffix("T00:00") < until[0]:
            yield f"Windows overlap ({until[1]} and {result.title}): days in both are there twice."
            return
        until = max(until, (end.removesuffix("T00:00"), result.title))


def _schema(project: Project, key: str) -> Any:
    """Return the names and types of a file's columns; of CSV from its first rows."""
    import pyarrow as pa

    from batcat_runtime.io.parquet_read import read_schema
    from batcat_runtime.io.places import Place
    from batcat_runtime.io.s3 import read_csv_from_bucket

    bucket = project.config.result_s3_bucket
    if key.endswith(".parquet"):
        return read_schema(project.client("s3"), Place(bucket, key))
    parts = read_csv_from_bucket(bucket, key, chunksize=_ROWS, dtype_backend="pyarrow")
    with contextlib.closing(parts):  # type: ignore[type-var]
        frame = next(parts)
    schema = pa.Schema.from_pandas(frame, preserve_index=False)
    for name in (field.name for field in schema if str(field.type).endswith("string")):
        if frame[name].str.contains("\n").any():
            raise DataFormatError(
                f"Column {name!r} of s3://{bucket}/{key} has line breaks within a cell, where "
                "Athena sees the end of a row.",
                fix="Save it as .parquet, or take the line breaks out. bc.read_results() reads it "
                "as it is.",
            )
    return schema


def _kinds(schemas: Sequence[Any], *, csv: bool) -> dict[str, Any]:
    """Return the type of each column that holds the values of all files."""
    import pyarrow as pa

    kinds: dict[str, Any] = {}
    for field in (field for schema in schemas for field in schema):
        there = pa.schema([(field.name, kinds.get(field.name, pa.null()))])
        try:
            both = pa.unify_schemas(
                [there, pa.schema([(field.name, field.type)])],
                promote_options="permissive" if csv else "default",
            )
            kinds[field.name] = both[0].type
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            if not csv:
                raise DataFormatError(
                    f"Column {field.name!r} is {kinds[field.name]} in some Parquet results and "
                    f"{field.type} in others, which Athena cannot read as one table.",
                    fix="Give it one type in the script with .astype(...), and compute the others "
                    "again. bc.read_results() reads them as they are.",
                ) from error
            kinds[field.name] = pa.string()
    # In CSV a column of times of day, or without a value, is text.
    plain = {pa.null(): pa.string(), pa.time64("ns"): pa.string()} if csv else {}
    return {name: plain.get(kind, kind) for name, kind in kinds.items()}


def _legal_names(sources: Iterable[str]) -> list[str]:
    """Return names that Athena can have: lower case, none twice, no signs.

    Examples
    --------
    >>> _legal_names(["VIN", "usage-kWh", "vin", "date"])
    ['vin', 'usage_kwh', 'vin_1', 'date_1']
    """
    used, names = {"date", "run"}, []  # those of the partition, and of the view's own column
    for source in sources:
        plain = re.sub(r"\W", "_", source).lower() or "column"
        numbered = (f"{plain}_{number}" for number in itertools.count(1))
        name = next(name for name in itertools.chain([plain], numbered) if name not in used)
        used.add(name)
        names.append(name)
    return names


def _have_database(project: Project, name: str) -> None:
    """Create the database if there is none."""
    place, there = f"the Glue database {name}", {"AlreadyExistsException"}
    if project.call("glue:GetDatabase", place, absent={"EntityNotFoundException"}, Name=name):
        return
    try:
        given = {"Name": name, "Parameters": marks_of(project)}
        project.call("glue:CreateDatabase", place, absent=there, DatabaseInput=given)
    except AccessDeniedError as error:
        raise AccessDeniedError(
            f"There is no Glue database {name}, and it may not be created: {error.message}",
            fix="Ask an administrator for it: aws glue create-database --region "
            f"{project.config.region} --database-input Name={name}   Or name another that is "
            "there: --database NAME",
        ) from error


def _entered(
    project: Project, purpose: str, shape: _Shape, database: str, name: str, workgroup: str
) -> ResultTable:
    """Put the table of all runs and make the view over it, if no other has their names."""
    glue, marks = project.client("glue"), marks_of(project, purpose)
    runs, view = GlueTable(glue, database, name + RUNS), GlueTable(glue, database, name)
    there, over = runs.found(), view.found()
    # The view gets its marks a moment after it was made; the table below it tells whose it is.
    unmarked = bool(there and over and over.get("TableType") == "VIRTUAL_VIEW")
    for table, found in ((runs, there), (view, None if unmarked else over)):
        if found is not None and not marks.items() <= found.get("Parameters", {}).items():
            raise UserError(
                f"Glue has a table {database}.{table.name} already, which was not made for the "
                f"results of {purpose}. It stays as it is.",
                fix="Choose another name: `batcat results register --table NAME`, or `--database "
                "NAME`.",
            )
    sql = _view_sql(shape, database, name)
    if len(sql) > _LONGEST_QUERY:
        raise UserError(
            f"{len(shape.excluded)} runs of {purpose} do not count, which is too many to list in a "
            "view of Athena's.",
            fix="Delete them: `batcat results --runs` tells which are superseded. Or read by "
            "manifest in Python: bc.read_results().",
        )
    report(f"entering {database}.{name} in Glue")
    location = f"s3://{project.config.result_s3_bucket}/{shape.prefix}"
    runs.put(_definition(shape, location, marks), there)
    read_data_from_athena(
        sql,
        project.config.region,
        f"s3://{project.config.result_s3_bucket}/{project.names(purpose).query_prefix}/",
        database=database,
        workgroup=workgroup,
    )
    view.put({"Parameters": marks}, view.found())
    return ResultTable(
        database=database,
        name=name,
        runs_table=name + RUNS,
        file=shape.file,
        columns={column.name: column.hive for column in shape.columns},
        excluded=len(shape.excluded),
        notes=shape.notes,
        example=f"SELECT * FROM {name} WHERE date >= DATE '{shape.first_day}' LIMIT 10",
    )


def _definition(shape: _Shape, location: str, marks: Mapping[str, str]) -> dict[str, Any]:
    """Return what Glue is to know of the table of all runs."""
    reads, writes, serde, settings = _STORED[shape.form]
    csv = shape.form == "csv"
    if any(column.source.lower() != column.name for column in shape.columns) and not csv:
        settings = {**settings, "parquet.column.index.access": "true"}
    return {
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
            "storage.location.template": f"{location}date=${{date}}/",
            **marks,
        },
        "PartitionKeys": [{"Name": "date", "Type": "date"}],
        "StorageDescriptor": {
            "Columns": [
                {"Name": column.name, "Type": "string" if csv else column.hive}
                for column in shape.columns
            ],
            "Location": location,
            "InputFormat": reads,
            "OutputFormat": writes,
            "SerdeInfo": {"SerializationLibrary": serde, "Parameters": settings},
        },
    }


def _view_sql(shape: _Shape, database: str, name: str) -> str:
    """Return the statement that makes the view of what counts."""
    chosen = [
        _cast(column) if shape.form == "csv" else _quoted(column.name) for column in shape.columns
    ]
    chosen += ['regexp_extract("$path", \'/run=([^/]+)/\', 1) AS "run"', '"date"']
    stem, _, ending = shape.file.rpartition(".")
    # Other files may lie beside the table's own.
    pattern = f"/{re.escape(stem)}(-[0-9]{{5}})?\\.{ending}(\\.gz)?$"
    conditions = [f'regexp_like("$path", {_text(pattern)})']
    if shape.excluded:
        run = "regexp_extract(\"$path\", '/date=([^/]+/run=[^/]+)/', 1)"
        conditions.append(f"{run} NOT IN ({', '.join(map(_text, shape.excluded))})")
    view, table = (f"{_quoted(database)}.{_quoted(part)}" for part in (name, name + RUNS))
    lines, where = ",\n  ".join(chosen), "\n  AND ".join(conditions)
    return f"CREATE OR REPLACE VIEW {view} AS SELECT\n  {lines}\nFROM {table}\nWHERE {where}"


def _cast(column: _Column) -> str:
    """Return a column of CSV, which is text, in its own type; what our reader takes for missing."""
    import pyarrow as pa

    from batcat_runtime.io.csv_types import NULL_VALUES

    name, kind = _quoted(column.name), column.hive
    cast = name
    if pa.types.is_timestamp(column.kind) and column.kind.tz:
        instant = f"CAST(replace({name}, 'T', ' ') AS timestamp with time zone)"
        cast = f"CAST({instant} AT TIME ZONE 'UTC' AS timestamp)"
    elif kind == "timestamp":
        cast = f"CAST(replace({name}, 'T', ' ') AS timestamp)"
    elif kind != "string":
        cast = f"CAST({name} AS {kind})"
    missing = ", ".join(map(_text, NULL_VALUES))
    return f"CASE WHEN {name} NOT IN ({missing}) THEN {cast} END AS {name}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _checked(name: str, what: str) -> str:
    if not re.fullmatch(r"[a-z0-9_]{1,250}", name):
        raise UserError(
            f"{name!r} is no name of a {what} for Athena.",
            fix="Take lower-case letters, digits and underscores: usage_analysis",
        )
    return name
