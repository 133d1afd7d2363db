"""What the files of a pipeline's results hold, told by a few of them: names and types of columns.

A version of the code writes the same columns every day, so one result of each version is looked
into, and the newest ones: a column of whole numbers may have a fraction on another day.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from batcat_runtime.errors import DataFormatError, UserError
from batcat_runtime.operate.connection import Project
from batcat_runtime.operate.manifests import ResultFile
from batcat_runtime.operate.results import WindowResult
from batcat_runtime.operate.results_table import (
    BIG,
    Column,
    form_of,
    legal_names,
    table_name_of,
    wider,
)

_NEWEST, _AT_ONCE, _ROWS = 20, 8, 10_000


@dataclass
class Seen:
    """What is kept of a stream of results: who does not count, and whom to look into.

    Attributes
    ----------
    first_day : str
        The first day that has a run at all.
    newest : deque of WindowResult
        The last few that count.
    versions : dict of str to WindowResult
        The last that counts of each version of the code.
    runs : dict of str to list of str
        The runs that count, by version, as ``2022-01-08/run=<run id>``.
    excluded : list of str
        The runs that do not count, likewise.
    overlap : str
        Two windows that count and have days in common, if there are any.
    """

    first_day: str = ""
    newest: deque[WindowResult] = field(default_factory=lambda: deque(maxlen=_NEWEST))
    versions: dict[str, WindowResult] = field(default_factory=dict)
    runs: dict[str, list[str]] = field(default_factory=dict)
    excluded: list[str] = field(default_factory=list)
    overlap: str = ""
    _until: tuple[str, str] = ("", "")

    def take(self, results: Iterable[WindowResult]) -> Seen:
        """Go through the results, in order."""
        for one in results:
            self.first_day = min(self.first_day or one.day, one.day)
            run = f"{one.day}/run={one.run_id}"
            if one.state == "newest":
                self.newest.append(one)
                self.versions[one.code_sha256] = one
                self.runs.setdefault(one.code_sha256, []).append(run)
                self._note_overlap(one)
            else:
                self.excluded.append(run)
        return self

    def _note_overlap(self, one: WindowResult) -> None:
        """Compare a window with the latest end so far; results come in the order of their days."""
        start, end = (one.window.start, one.window.end) if one.window else ("", "9999-12-31")
        start, end = start.removesuffix("T00:00"), end.removesuffix("T00:00")
        name = str(one.window or "all data")
        if self._until[0] and start < self._until[0] and not self.overlap:
            self.overlap = f"{self._until[1]} and {name}"
        self._until = max(self._until, (end, name))

    @property
    def last(self) -> WindowResult | None:
        """The newest result that counts and has a file, by day."""
        return next((one for one in reversed(self.newest) if one.files), None)


@dataclass(frozen=True)
class Columns:
    """The columns of the files of one name.

    Attributes
    ----------
    columns : tuple of Column
        In their order.
    by_place : bool
        Whether Parquet's must be found by their places.
    other : dict of str to list of str
        The versions of the code whose files have other columns, with these.
    notes : tuple of str
        What a person should know of it.
    """

    columns: tuple[Column, ...]
    by_place: bool
    other: dict[str, list[str]]
    notes: tuple[str, ...]


def chosen_file(files: Sequence[ResultFile], wanted: str | None, what: str) -> tuple[str, str]:
    """Return the name and the form of the files that the table is made of.

    Parameters
    ----------
    files : sequence of ResultFile
        Those of one result.
    wanted : str, optional
        The name that a person gave.
    what : str
        Whose result it is, for errors.

    Raises
    ------
    UserError
        There are several tables, and none was named; or none of that name.
    DataFormatError
        No file is a table; or Parquet lies beside what is none, which Athena cannot read.
    """
    names = sorted({table_name_of(one.key) for one in files})
    tables = [name for name in names if form_of(name)]
    listed = ", ".join(names)
    if not tables:
        raise DataFormatError(
            f"A result of {what} has no table: {listed}.",
            fix="Save one with job.save(frame, '....csv') or '....parquet'.",
        )
    if wanted is not None and table_name_of(wanted) not in tables:
        raise UserError(
            f"A result of {what} has no table {wanted!r}.", fix=f"There is: {', '.join(tables)}."
        )
    if wanted is None and len(tables) > 1:
        raise UserError(
            f"A result of {what} has several tables: {', '.join(tables)}.",
            fix=f"Say which one; each becomes a table of its own: --file {tables[0]}",
        )
    name = table_name_of(wanted) if wanted is not None else tables[0]
    return name, form_of(name)


def check_neighbours(files: Sequence[ResultFile], name: str, what: str) -> str:
    """Return a note on what lies beside a table's own files, which Athena reads as well.

    Raises
    ------
    DataFormatError
        It is Parquet beside something else: Athena would fail on that.
    """
    form = form_of(name)
    others = sorted({table_name_of(one.key) for one in files} - {name})
    if not others:
        return ""
    strangers = [other for other in others if form_of(other) != form]
    if strangers and form == "parquet":
        raise DataFormatError(
            f"{strangers[0]} lies beside {name} in the results of {what}. Athena reads every file "
            "of a folder as the table's, and fails on one that is no Parquet.",
            fix="Give it a name that begins with '_': Athena skips those. The results that are "
            f"there can be read with bc.read_results(file={name!r}).",
        )
    return (
        f"{', '.join(others)} beside {name}: the view leaves the rows out, but Athena reads (and "
        "charges for) the files. It skips names that begin with '_'."
    )


def find_columns(project: Project, seen: Seen, name: str, part: str) -> Columns:
    """Look into the files of a name, and return their columns.

    Parameters
    ----------
    project : Project
        Where.
    seen : Seen
        The results.
    name : str
        As `chosen_file` gives it.
    part : str
        What the keys of the table's files begin with.

    Raises
    ------
    DataFormatError
        Athena cannot have what they hold.
    """
    last = seen.last
    assert last is not None
    looked = {one.run_id: one for one in (*seen.versions.values(), *seen.newest)}
    samples = [
        (one.code_sha256, next((f.key for f in one.files if _is(f.key, name, part)), None))
        for one in looked.values()
    ]
    present = [(version, key) for version, key in samples if key is not None]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(lambda one: _fields(project, one[1]), present))
    order = [number for number, (version, _) in enumerate(present) if version == last.code_sha256]
    first = found[order[-1] if order else -1]
    names = list(first)
    legal = legal_names(names)
    csv = form_of(name) == "csv"
    renamed = [
        f"{source} is {new}" for source, new in zip(names, legal, strict=True) if source != new
    ]
    # Glue's names are in lower case, and Parquet's are compared so; nothing else may differ.
    by_place = not csv and [one.lower() for one in names] != legal
    kinds, other = dict.fromkeys(names, ""), {}
    for (version, _), fields in zip(present, found, strict=True):
        if (csv or by_place) and list(fields) != names:
            other[version] = list(fields)
            continue
        for source, kind in fields.items():
            if source in kinds:
                kinds[source] = _joined(kinds[source], kind, source, csv)
    notes = [f"In Athena {', '.join(renamed)}."] if renamed else []
    if not csv and not by_place:
        lost = [source for source, kind in kinds.items() if not kind]
        if lost:
            notes.append(f"{', '.join(lost)}: left out, since it has no value in the newest runs.")
        kinds = {source: kind for source, kind in kinds.items() if kind}
    columns = tuple(
        Column(new, source, *_stored(kinds[source], csv))
        for source, new in zip(names, legal, strict=True)
        if source in kinds
    )
    return Columns(columns, by_place, other, tuple(notes))


def _is(key: str, name: str, part: str) -> bool:
    return key.startswith(part) and table_name_of(key) == name


def _joined(one: str, other: str, source: str, csv: bool) -> str:
    if csv or not one or not other or one == other:
        return wider(one, other)
    raise DataFormatError(
        f"Column {source!r} is {one} in some Parquet results and {other} in others, which Athena "
        "cannot read as one table.",
        fix="Give it one type in the script with .astype(...), and compute the others again. "
        "bc.read_results() reads them as they are.",
    )


def _stored(kind: str, csv: bool) -> tuple[str, bool]:
    """Return the type as the view gives it, and whether the files have a zone."""
    if kind == "zoned":
        return "timestamp", True
    return kind or ("string" if csv else "int"), False


def _fields(project: Project, key: str) -> dict[str, str]:
    """Return the columns of a file with their types; empty for one without a value."""
    if key.endswith(".parquet"):
        return _parquet_fields(project, key)
    import pyarrow as pa

    from batcat_runtime.io.catalogue import athena_type
    from batcat_runtime.io.s3 import read_csv_from_bucket

    bucket = project.config.result_s3_bucket
    parts = read_csv_from_bucket(bucket, key, chunksize=_ROWS, dtype_backend="pyarrow")
    frame = next(iter(parts))
    fields = {}
    for place, column in enumerate(frame.columns):
        kind = pa.array(frame.iloc[:, place]).type
        name = str(column)
        if pa.types.is_null(kind):
            fields[name] = ""
        elif pa.types.is_time(kind):
            fields[name] = "string"
        elif pa.types.is_timestamp(kind) and kind.tz:
            fields[name] = "zoned"
        elif pa.types.is_uint64(kind):
            fields[name] = BIG
        else:
            fields[name] = athena_type(name, kind)
        if fields[name] == "string" and frame.iloc[:, place].str.contains("\n").any():
            raise DataFormatError(
                f"Column {name!r} of s3://{bucket}/{key} has line breaks within a cell, where "
                "Athena sees the end of a row.",
                fix="Save it as .parquet, or take the line breaks out. bc.read_results() reads it "
                "as it is.",
            )
    return fields


def _parquet_fields(project: Project, key: str) -> dict[str, str]:
    import pyarrow as pa

    from batcat_runtime.io.catalogue import athena_type
    from batcat_runtime.io.parquet_read import read_schema
    from batcat_runtime.io.places import Place

    schema = read_schema(project.client("s3"), Place(project.config.result_s3_bucket, key))
    return {
        one.name: "" if pa.types.is_null(one.type) else athena_type(one.name, one.type)
        for one in schema
    }
