"""Parquet objects as tables: only the columns that are wanted, decoded while the rest is coming.

Files under one prefix may differ as files do that were written over the years: a column more or
less, int32 here and int64 there. They are brought to common types where no value changes by it;
where none exist the error names both files. Folders such as ``day=2022-01-01`` become columns.
Where pages carry checksums, they are checked.

pyarrow reads the ranged file: wr.s3.read_parquet takes twice its time (benchmark rows
``parquet-one``, ``parquet-columns`` and ``parquet-many``) and refuses int32 beside int64
(``test_objects_that_grew_over_the_years``).
"""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from batcat_runtime.errors import BatcatError, DataFormatError
from batcat_runtime.io.places import MAYBE_CSV, Place, known_kind
from batcat_runtime.io.progress import Progress, reading
from batcat_runtime.io.ranged import RangedFile
from batcat_runtime.io.results import chunks
from batcat_runtime.io.types import (
    FOLDER_TYPES,
    DtypeBackend,
    partition_values,
    to_pandas,
    unique_names,
)

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyarrow import parquet

_Found = TypeVar("_Found")
_FILES_AT_ONCE = 16
_LARGE_BYTES = 32 << 20
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_APART = "Read them one by one, or name the columns that go together with `columns`."


@dataclass(frozen=True)
class Source:
    """Parquet objects that are read as one table.

    Attributes
    ----------
    s3 : botocore client
        Of S3.
    places : list of Place
        The objects, in order.
    root : str or None
        The folder below which ``name=value`` folders are columns; None: they are not.
    columns : sequence of str or None
        What is wanted, also of these; None: all.
    """

    s3: Any
    places: list[Place]
    root: str | None = None
    columns: Sequence[str] | None = None


def read_parquet(source: Source, dtype_backend: DtypeBackend | None) -> pd.DataFrame:
    """Read Parquet objects as one DataFrame; see `read_parquet_from_bucket`."""
    with _metadata_of(source.places[0]):
        return to_pandas(read_table(source), dtype_backend=dtype_backend, pandas_metadata=True)


def read_table(source: Source) -> pa.Table:
    """Read Parquet objects as one Arrow table, several at once.

    Raises
    ------
    DataFormatError
        An object is no Parquet, or does not go with the others; a column is missing in all.
    """
    import pyarrow as pa

    places = source.places
    one_large = threading.Lock()  # beside the table, the compressed bytes of one are held

    def read(place: Place) -> pa.Table:
        with _opened(source.s3, place, progress) as file:
            groups = (file.metadata.row_group(number) for number in range(file.num_row_groups))
            decoded = sum(group.total_byte_size for group in groups)
            is_small = len(places) > 1 and decoded < _LARGE_BYTES
            with nullcontext() if is_small else one_large:
                asked = _asked(file.schema_arrow, source.columns)
                table = file.read(asked, use_threads=not is_small)
            return _renamed(table, file.schema_arrow, source.columns)

    with reading(places) as progress:
        tables = _side_by_side(read, places)
    together = _Together(source, [table.schema for table in tables])
    for number in range(len(places)):
        tables[number] = together.fitted(tables[number], number)
    return pa.concat_tables(tables)


def parquet_chunks(
    source: Source, chunksize: int, dtype_backend: DtypeBackend | None
) -> Iterator[pd.DataFrame]:
    """Read Parquet objects, one after the other, in DataFrames of so many rows.

    No more is held than the compressed bytes of a row group, what the file reads ahead, and the
    rows of a chunk. The types are the same in every chunk: all footers are read first.
    """
    import pandas as pd

    def schema_of(place: Place) -> pa.Schema:
        schema = read_schema(source.s3, place)
        return _renamed(schema.empty_table(), schema, source.columns).schema

    together = _Together(source, _side_by_side(schema_of, source.places))

    def tables() -> Iterator[pa.Table]:
        yield together.fitted(together.schema.empty_table(), 0)
        with reading(source.places) as progress:
            for number, place in enumerate(source.places):
                with _opened(source.s3, place, progress) as file:
                    for batch in _batches(file, source.columns, chunksize):
                        yield together.fitted(batch, number)

    done = 0
    with _metadata_of(source.places[0]):
        for frame in chunks(tables(), chunksize, dtype_backend, pandas_metadata=True):
            if isinstance(frame.index, pd.RangeIndex):
                frame.index = pd.RangeIndex(done, done + len(frame))
            done += len(frame)
            yield frame


def table_pieces(s3: Any, places: list[Place], rows: int) -> Iterator[pa.Table]:
    """Give the rows of objects, one after the other, in tables of at most so many."""
    for place in places:
        with _opened(s3, place) as file:
            yield from _batches(file, None, rows)


def read_schema(s3: Any, place: Place) -> pa.Schema:
    """Return an object's columns with their types, from its footer."""
    with _opened(s3, place) as file:
        return file.schema_arrow


class _Together:
    """What the columns of all objects are together; `fitted` makes the rows of each fit.

    Raises a `DataFormatError` if their types do not go together, or a wanted column is in none.
    """

    def __init__(self, source: Source, schemas: list[pa.Schema]) -> None:
        self._source, places = source, source.places
        self.schema = _common_schema(schemas, places)
        self._folders = _folder_columns(places, source.root, self.schema)
        known = {*self.schema.names, *self._folders}
        if missing := [name for name in source.columns or () if name not in known]:
            names = [*unique_names(read_schema(source.s3, places[0]).names), *self._folders]
            more = f" and {len(places) - 1} objects more" if len(places) > 1 else ""
            raise DataFormatError(
                f"There is no column {', '.join(map(repr, missing))} in {places[0].uri}{more}.",
                fix=f"There are {', '.join(map(repr, names))}.",
            )

    def fitted(self, table: pa.Table, number: int) -> pa.Table:
        """Return an object's rows with all columns of the schema, and with those of its folders."""
        import pyarrow as pa

        wanted = self._source.columns
        columns: dict[str, pa.Array | pa.ChunkedArray] = {}
        for field in self.schema:
            if field.name not in table.column_names:
                columns[field.name] = pa.nulls(table.num_rows, field.type)
                continue
            try:
                columns[field.name] = table[field.name].cast(field.type)
            except pa.ArrowException as error:
                raise DataFormatError(
                    f"Column {field.name!r} of {self._source.places[number].uri} cannot become "
                    f"{field.type}, which other objects need: {error}.",
                    fix=_APART,
                ) from error
        for name, values in self._folders.items():
            # what the file itself says of it is more exact
            if name not in columns and (wanted is None or name in wanted):
                columns[name] = pa.repeat(values[number], table.num_rows)
        ordered = {name: columns[name] for name in [*(wanted or ()), *columns]}
        return pa.table(ordered, metadata=self.schema.metadata)


def _folder_columns(
    places: list[Place], root: str | None, schema: pa.Schema
) -> dict[str, pa.Array]:
    """Return the columns that folders such as ``day=2022-01-01`` make: a value for each object.

    They have the types that `save_dataset` noted in the file, which are those of Athena; others go
    by their values.
    """
    import pyarrow as pa

    if root is None:
        return {}
    found: list[dict[str, str | None]] = []
    for place in places:
        values: dict[str, str | None] = {}
        for folder in place.key.removeprefix(root).split("/")[:-1]:
            name, is_one, value = folder.partition("=")
            if is_one and name:
                value = urllib.parse.unquote(value)
                values[urllib.parse.unquote(name)] = None if value == _NO_VALUE else value
        found.append(values)
    noted = json.loads((schema.metadata or {}).get(FOLDER_TYPES.encode(), b"{}"))
    columns = {}
    for name in dict.fromkeys(name for values in found for name in values):
        columns[name] = partition_values(values.get(name) for values in found)
        with suppress(pa.ArrowInvalid):  # a folder that is not of that save
            columns[name] = columns[name].cast(noted.get(name, columns[name].type))
    return columns


def _side_by_side(read: Callable[[Place], _Found], places: list[Place]) -> list[_Found]:
    if len(places) == 1:
        return [read(places[0])]
    with ThreadPoolExecutor(min(_FILES_AT_ONCE, len(places))) as pool:
        return list(pool.map(read, places))  # an error cancels those that wait


@contextmanager
def _opened(
    s3: Any, place: Place, progress: Progress | None = None
) -> Iterator[parquet.ParquetFile]:
    """Open an object at its footer; an error in the block that comes from the file names it."""
    import pyarrow as pa
    from pyarrow import parquet

    with RangedFile(s3, place, tail=True, progress=progress) as ranged:
        try:
            yield parquet.ParquetFile(
                pa.PythonFile(ranged, mode="r"), pre_buffer=True, page_checksum_verification=True
            )
        except BatcatError:
            raise
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _unreadable(ranged, error) from error


@contextmanager
def _metadata_of(place: Place) -> Iterator[None]:
    """Name the object if what pandas noted in its footer makes no sense."""
    try:
        yield
    except BatcatError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise DataFormatError(
            f"{place.uri} cannot be read as Parquet: its metadata of pandas is damaged ({error}).",
            fix="Write it again.",
        ) from error


def _unreadable(ranged: RangedFile, error: Exception) -> DataFormatError:
    said = str(error).split("\n")[0].removesuffix(".")
    fix = "It is damaged or was not written whole; write it again."
    ranged.seek(0)
    start = ranged.read(64)
    if not start:
        said, fix = "it is empty", "Check the key."
    elif not start.startswith(b"PAR1"):
        kind, fix = known_kind(start) or MAYBE_CSV
        said = f"it is {kind}"
    return DataFormatError(f"{ranged.place.uri} cannot be read as Parquet: {said}.", fix=fix)


def _present(schema: pa.Schema, columns: Sequence[str] | None) -> list[str]:
    """Return those of the wanted columns that an object has, and its index."""
    names = unique_names(schema.names)
    if columns is None:
        return names
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    wanted = dict.fromkeys([*columns, *(name for name in index if isinstance(name, str))])
    return [name for name in wanted if name in names]


def _asked(schema: pa.Schema, columns: Sequence[str] | None) -> list[str] | None:
    """Return what to ask Arrow for; all where a name occurs twice, since it asks by name."""
    if columns is None or len(set(schema.names)) < len(schema.names):
        return None
    return _present(schema, columns)


def _batches(
    file: parquet.ParquetFile, columns: Sequence[str] | None, rows: int
) -> Iterator[pa.Table]:
    """Give the rows in tables of at most so many, a row group after the other."""
    import pyarrow as pa

    asked = _asked(file.schema_arrow, columns)
    for group in range(file.num_row_groups):  # all at once would be buffered at once
        for batch in file.iter_batches(rows, row_groups=[group], columns=asked):
            yield _renamed(pa.Table.from_batches([batch]), file.schema_arrow, columns)


def _renamed(table: pa.Table, schema: pa.Schema, columns: Sequence[str] | None) -> pa.Table:
    """Return the columns that are wanted, each with a name of its own."""
    names = unique_names(table.column_names)
    if names != table.column_names:
        table = table.rename_columns(names)
    return table.select(_present(schema, columns))


def _common_schema(schemas: list[pa.Schema], places: list[Place]) -> pa.Schema:
    """Return the columns of all objects, in the first one's order, with types that fit all."""
    import pyarrow as pa

    common: dict[str, tuple[pa.Field, Place]] = {}
    for schema, place in zip(schemas, places, strict=True):
        for field in schema:
            known, first = common.setdefault(field.name, (field, place))
            if known.type != field.type:
                common[field.name] = (_wider(known, field, first, place), first)
    fields = [field.with_nullable(True) for field, _ in common.values()]
    return pa.schema(fields, metadata=schemas[0].metadata)


def _wider(known: pa.Field, other: pa.Field, first: Place, place: Place) -> pa.Field:
    import pyarrow as pa

    kinds = [
        field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        for field in (known, other)
    ]
    try:
        schemas = [pa.schema([(known.name, kind)]) for kind in kinds]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0)
    except pa.ArrowException as error:
        raise DataFormatError(
            f"Column {known.name!r} is {known.type} in {first.uri} and {other.type} in "
            f"{place.uri}.",
            fix=_APART,
        ) from error
