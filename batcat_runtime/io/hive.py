"""A table as Athena and Hive know it: types, names of columns, folders of partitions."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from batcat_runtime.errors import DataFormatError, UserError
from batcat_runtime.io.parquet_write import arrow_column, parquet_schema

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_UNSAFE = re.compile(r"\W")
_PARTITION_TYPES = ("tinyint", "smallint", "int", "bigint", "string", "date", "boolean")


@dataclass(frozen=True)
class HiveColumn:
    """A column's name and type, in Hive's words and in Arrow's."""

    name: str
    type: str
    arrow: pa.DataType


@dataclass(frozen=True)
class HiveTable:
    """What a DataFrame is as a Hive table.

    Attributes
    ----------
    columns, partition_columns : tuple of HiveColumn
        Those in the files and those in the folders' names.
    """

    columns: tuple[HiveColumn, ...]
    partition_columns: tuple[HiveColumn, ...]


def hive_table(frame: pd.DataFrame, partition_columns: Sequence[str]) -> HiveTable:
    """Return a DataFrame's columns as Athena will know them.

    Parameters
    ----------
    frame : pandas.DataFrame
        Its column names are taken in lower case, as Glue keeps them.
    partition_columns : sequence of str
        Those that become folders, outermost first.

    Raises
    ------
    UserError
        A partition column is none of the frame's, or no other column is left.
    DataFormatError
        A column's name or type is not for Athena.
    """
    missing = [name for name in partition_columns if name not in set(frame.columns)]
    if missing:
        raise UserError(
            f"There is no column {missing[0]!r} to partition by.",
            fix=f"Choose from: {', '.join(map(str, frame.columns))}.",
        )
    schema = parquet_schema(frame, index=False)
    names = [_name(name) for name in schema.names]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataFormatError(
            f"Column {twice[0]!r} occurs twice for Athena, which knows lower case only.",
            fix="Rename one of them.",
        )
    columns, folders = [], {}
    for name, field, original in zip(names, schema, frame.columns, strict=True):
        column = HiveColumn(name, *hive_type(str(original), field.type))
        if original in partition_columns:
            folders[original] = _partition_column(column)
        else:
            columns.append(column)
    if not columns:
        raise UserError(
            "All columns are partition columns, so the files would be empty.",
            fix="Leave at least one column out of partition_columns.",
        )
    return HiveTable(tuple(columns), tuple(folders[name] for name in partition_columns))


def partitions(
    frame: pd.DataFrame, hive: HiveTable, partition_columns: Sequence[str]
) -> Iterator[tuple[tuple[str, ...], pa.Table]]:
    """Split a DataFrame by its partition columns.

    Yields
    ------
    tuple of (tuple of str, pyarrow.Table)
        The partition's values, as text, and its rows without them; only one partition at a time is
        converted. Without partition columns there is one partition, without values.
    """
    if not partition_columns:
        yield (), _rows(frame, hive)
        return
    kept = [name for name in frame.columns if name not in set(partition_columns)]
    parts = frame.groupby(list(partition_columns), dropna=False, observed=True, sort=True)
    for values, part in parts:
        yield tuple(map(_partition_value, values)), _rows(part[kept], hive)


def partition_values(
    frame: pd.DataFrame, partition_columns: Sequence[str]
) -> list[tuple[str, ...]]:
    """Return the values of all partitions that occur, as text."""
    if not partition_columns:
        return []
    found = frame[list(partition_columns)].drop_duplicates()
    rows = found.itertuples(index=False, name=None)
    return list(dict.fromkeys(tuple(map(_partition_value, row)) for row in rows))


def folder(hive: HiveTable, values: Sequence[str]) -> str:
    """Return a partition's folder, such as ``day=2022-01-01/``; ``""`` without values."""
    pairs = zip(hive.partition_columns, values, strict=True)
    return "".join(f"{column.name}={quote(value, safe=' ._-+')}/" for column, value in pairs)


def _rows(frame: pd.DataFrame, hive: HiveTable) -> pa.Table:
    import pyarrow as pa

    columns = []
    for place, column in enumerate(hive.columns):
        values = arrow_column(frame.iloc[:, place])
        try:
            columns.append(values.cast(column.arrow))
        except pa.ArrowInvalid as error:
            raise DataFormatError(
                f"Column {column.name!r} does not fit Athena's {column.type}: {error}.",
                fix="Round or convert it first; for timestamps with .dt.floor('us').",
            ) from error
    return pa.Table.from_arrays(columns, names=[column.name for column in hive.columns])


def _name(name: str) -> str:
    if not name or _UNSAFE.search(name):
        raise DataFormatError(
            f"Athena cannot use {name!r} as the name of a column.",
            fix=f"Rename it, for example to {_UNSAFE.sub('_', name).lower() or 'value'!r}.",
        )
    return name.lower()


def _partition_column(column: HiveColumn) -> HiveColumn:
    if column.type not in _PARTITION_TYPES:
        raise DataFormatError(
            f"Column {column.name!r} of type {column.type} cannot name folders.",
            fix="Partition by texts, integers, dates or booleans.",
        )
    return column


def _partition_value(value: Any) -> str:
    import numpy as np
    import pandas as pd

    if pd.isna(value) or value == "":
        return NO_VALUE
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, dt.date):
        return value.isoformat()
    return str(value)


def hive_type(name: str, kind: pa.DataType) -> tuple[str, pa.DataType]:
    """Return Hive's type for one of Arrow's, and the Arrow type to write it as."""
    import pyarrow as pa

    plain = {
        pa.int8(): ("tinyint", pa.int8()),
        pa.int16(): ("smallint", pa.int16()),
        pa.int32(): ("int", pa.int32()),
        pa.int64(): ("bigint", pa.int64()),
        # Hive has no unsigned types
        pa.uint8(): ("smallint", pa.int16()),
        pa.uint16(): ("int", pa.int32()),
        pa.uint32(): ("bigint", pa.int64()),
        pa.uint64(): ("bigint", pa.int64()),
        pa.float16(): ("float", pa.float32()),
        pa.float32(): ("float", pa.float32()),
        pa.float64(): ("double", pa.float64()),
        pa.bool_(): ("boolean", pa.bool_()),
        pa.string(): ("string", pa.string()),
        pa.large_string(): ("string", pa.large_string()),
        pa.string_view(): ("string", pa.large_string()),
        pa.date32(): ("date", pa.date32()),
        pa.binary(): ("binary", pa.binary()),
        pa.large_binary(): ("binary", pa.large_binary()),
    }
    if kind in plain:
        return plain[kind]
    if pa.types.is_dictionary(kind):
        return hive_type(name, kind.value_type)
    if pa.types.is_timestamp(kind):
        # Athena reads up to microseconds; an instant is kept as one
        return "timestamp", pa.timestamp("us", tz=kind.tz)
    if pa.types.is_decimal(kind) and kind.precision <= 38:
        return f"decimal({kind.precision},{kind.scale})", kind
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner, arrow = hive_type(name, kind.value_type)
        return f"array<{inner}>", pa.list_(arrow)
    if pa.types.is_map(kind):
        (key, key_arrow), (item, item_arrow) = (
            hive_type(name, one) for one in (kind.key_type, kind.item_type)
        )
        return f"map<{key},{item}>", pa.map_(key_arrow, item_arrow)
    if pa.types.is_struct(kind):
        fields = [(field.name.lower(), *hive_type(name, field.type)) for field in kind]
        inner = ",".join(f"{field}:{hive}" for field, hive, _ in fields)
        return f"struct<{inner}>", pa.struct([(field, arrow) for field, _, arrow in fields])
    none = " It holds no value at all." if pa.types.is_null(kind) else ""
    raise DataFormatError(
        f"Column {name!r} is of type {kind}, which Athena does not have.{none}",
        fix=f"Give it another, for example with df[{name!r}] = df[{name!r}].astype('str').",
    )
