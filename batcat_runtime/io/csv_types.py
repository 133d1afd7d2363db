"""What the text of a CSV column is: the types that it may have, and those that `dtype` asks for.

Arrow infers types while it parses, from all values, and that is what a column is, but where Arrow
takes for a number what pandas keeps as text, or rounds: then the column's text is read, and decided
here. The table of spellings says how; in short, what pandas takes for a number is one, integers are
never rounded, and dates and times are those of ISO 8601.

Text in quotes is never missing, so that what `save_to_bucket` writes comes back: ``""`` is the
empty text, nothing a missing value. Only where all other values are numbers, dates or booleans is
``""`` missing too: writers that put everything in quotes have no other way to say so; nor has a
table of one column, in which an empty line is no row.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from batcat_runtime.errors import DataFormatError, UserError

if TYPE_CHECKING:
    import pandas as pd

# what pandas takes for a missing value
NULL_VALUES = (
    "",
    *("#N/A", "#N/A N/A", "#NA", "<NA>", "N/A", "NA", "n/a"),
    *("NULL", "null", "None", "NaN", "nan", "-NaN", "-nan"),
    *("-1.#IND", "-1.#QNAN", "1.#IND", "1.#QNAN"),
)
TRUE, FALSE = ["true", "True", "TRUE"], ["false", "False", "FALSE"]
_INTEGER = r"[ \t]*[+-]?[0-9]+[ \t]*"
_FLOAT = r"[ \t]*[+-]?([0-9]+{0}?[0-9]*|{0}[0-9]+)([eE][+-]?[0-9]+)?[ \t]*|[+-]?(?i:inf(inity)?)"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?"
_ZONE = r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)"
# A column is of the first kind that is how all its values are spelled, in the first type that holds
# them; where none does, as with integers beyond 64 bits, it is text.
_SPELLINGS: list[tuple[str, list[pa.DataType]]] = [
    (_INTEGER, [pa.int64(), pa.uint64()]),
    (_FLOAT, [pa.float64()]),
    ("|".join([*TRUE, *FALSE]), [pa.bool_()]),
    (_DATE, [pa.date32()]),
    (f"{_DATE}([ T]{_TIME})?", [pa.timestamp("us"), pa.timestamp("ns")]),
    (f"{_DATE}[ T]{_TIME}{_ZONE}", [pa.timestamp("us", "UTC"), pa.timestamp("ns", "UTC")]),
    (_TIME, [pa.time64("us")]),
]
_BEYOND_INT64 = 2.0**63


class Dtype(NamedTuple):
    """What a column shall be: parsed as, and in the end (None: what the type table says)."""

    arrow: pa.DataType
    pandas: Any = None


def given(dtype: Any) -> Dtype:
    """Return what a `dtype` means for a CSV column.

    Parameters
    ----------
    dtype : str, type, numpy, pandas or Arrow type
        As `pandas.read_csv` takes it: ``"Int64"``, ``"str"``, ``"category"``,
        ``"datetime64[us]"``; or an Arrow type such as ``pyarrow.decimal128(10, 2)``.

    Raises
    ------
    UserError
        There is no such dtype, or text cannot be parsed as it.
    """
    import pandas as pd

    if isinstance(dtype, pa.DataType):
        return Dtype(dtype)
    with contextlib.suppress(TypeError, ValueError, pa.ArrowNotImplementedError):
        kind: Any = pd.api.types.pandas_dtype(dtype)
        if isinstance(kind, pd.ArrowDtype):
            return Dtype(kind.pyarrow_dtype, kind)
        if isinstance(kind, (pd.StringDtype, pd.CategoricalDtype)) or kind.kind == "O":
            return Dtype(pa.string(), kind)
        if isinstance(kind, pd.DatetimeTZDtype):
            return Dtype(pa.timestamp(kind.unit, str(kind.tz)), kind)
        if kind.kind in "US":
            return Dtype(pa.string())
        if kind.kind in "iufbM":
            return Dtype(pa.from_numpy_dtype(getattr(kind, "numpy_dtype", kind)), kind)
    raise UserError(
        f"There is no dtype {dtype!r} for a CSV column.",
        fix="For example 'str', 'category', 'Int64', 'float32', 'boolean' or 'datetime64[us]'.",
    )


def given_by_column(dtype: Any, names: list[str], uri: str) -> dict[str, Dtype]:
    """Return what columns shall be, for those of which it is said: one dtype for all, or by name.

    Raises
    ------
    DataFormatError
        It names a column that is not there.
    """
    if not isinstance(dtype, Mapping):
        return {} if dtype is None else dict.fromkeys(names, given(dtype))
    by_name = {str(name): given(kind) for name, kind in dtype.items()}
    if unknown := sorted(set(by_name) - set(names)):
        raise DataFormatError(
            f"{uri} has no column {', '.join(map(repr, unknown))}, for which `dtype` was given.",
            fix=f"It has {', '.join(map(repr, names))}.",
        )
    return by_name


def doubtful(table: pa.Table, dtypes: Mapping[str, Dtype], hexed: bool, plus: bool) -> list[str]:
    """Return the columns whose numbers may be spelled as pandas spells none, or be rounded.

    Parameters
    ----------
    table : pyarrow.Table
        As Arrow parsed it.
    dtypes : mapping from column to Dtype
        Those that were given.
    hexed, plus : bool
        Whether ``0x`` or ``+`` is anywhere in the text: Arrow takes ``0x1F`` for 31, and ``+5``
        for a float.
    """
    return [
        name
        for name, column in zip(table.column_names, table.columns, strict=True)
        if (hexed and pa.types.is_integer(column.type))
        or (name not in dtypes and pa.types.is_float64(column.type) and _strange(column, plus))
    ]


def _strange(column: pa.ChunkedArray, plus: bool) -> bool:
    """Whether floats may be integers, beyond 64 bits or with a plus, or text such as NAN."""
    if pc.all(pc.is_finite(column)).as_py() is False:
        return True
    ends = [abs(end or 0) for end in pc.min_max(column).as_py().values()]
    return (plus or max(ends) >= _BEYOND_INT64) and (
        pc.all(pc.equal(column, pc.trunc(column))).as_py() is True
    )


def typed(
    table: pa.Table, types: Mapping[str, pa.DataType], decimal: str, *, lone: bool, where: str
) -> pa.Table:
    """Return a table whose text is what it should be, or else what all of it is spelled as.

    Parameters
    ----------
    table : pyarrow.Table
        Columns as Arrow parsed them, or text.
    types : mapping from column to pyarrow.DataType
        What columns should be.
    decimal : str
        What marks fractions.
    lone : bool
        Whether the object has but one column.
    where : str
        The object, for errors.

    Raises
    ------
    DataFormatError
        A column is no UTF-8, or is not what it should be.
    """
    for place, name in enumerate(table.column_names):
        column, kind = table[name], types.get(name)
        if pa.types.is_binary(column.type) and kind is None:
            raise DataFormatError(
                f"{where} cannot be read as CSV: column {name!r} is not in UTF-8.",
                fix="Give its `encoding`, for example 'gb18030' or 'latin-1'.",
            )
        if lone and pa.types.is_string(column.type):
            column = _values(column)
        try:
            if pa.types.is_string(column.type) and kind not in (None, column.type):
                column = _cast(_values(column), kind, decimal)
            elif pa.types.is_string(column.type) and kind is None:
                column = _spelled(column, decimal)
            elif kind is None:
                column = _steady(column)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataFormatError(
                f"Column {name!r} of {where} is not of {kind} throughout: {error}.",
                fix=f"Give a type that holds all its values, such as dtype={{{name!r}: 'str'}}.",
            ) from error
        table = table.set_column(place, name, column)
    return table


def _spelled(text: pa.ChunkedArray, decimal: str) -> pa.ChunkedArray:
    """Return text as the first kind of the table that fits all of it."""
    sample = next(_filled(text), None)
    if sample is None:
        return text if text.null_count < len(text) else pa.nulls(len(text))
    for pattern, kinds in _SPELLINGS:
        spelling = pattern.format(re.escape(decimal)) if pattern is _FLOAT else pattern
        if not re.fullmatch(spelling, sample):
            continue
        values = _values(text)
        if pc.all(pc.match_substring_regex(values, f"^({spelling})$")).as_py():
            for kind in kinds:
                with contextlib.suppress(pa.ArrowInvalid):
                    return _cast(values, kind, decimal)
            return text
    return text


def _filled(text: pa.ChunkedArray) -> Iterator[str]:
    return (value for chunk in text.chunks for item in chunk if (value := item.as_py()))


def _values(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return text that is to be something else: then ``""`` is missing."""
    return pc.if_else(pc.equal(text, ""), None, text)


def _cast(values: pa.ChunkedArray, kind: pa.DataType, decimal: str) -> pa.ChunkedArray:
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):  # not as Arrow spells them
        pattern = _INTEGER if pa.types.is_integer(kind) else _FLOAT.format(re.escape(decimal))
        wrong = pc.invert(pc.match_substring_regex(values, f"^({pattern})$"))
        if sample := next(_filled(values.filter(wrong)), None):
            raise pa.ArrowInvalid(f"{sample!r} is no {kind}")
    if pa.types.is_time(kind):
        # there is no way from text to a time of day but through a day
        day = pc.binary_join_element_wise(pa.scalar("1970-01-01"), values, pa.scalar(" "))
        return day.cast(pa.timestamp("ns")).cast(pa.time64("ns")).cast(kind)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = pc.utf8_ltrim(pc.utf8_trim(values, " \t"), "+")
        values = pc.replace_substring(values, decimal, ".")
    return values.cast(kind)


def _steady(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return times in microseconds, so that later ones fit too; finer ones as they are."""
    kind = column.type
    with contextlib.suppress(pa.ArrowInvalid):
        if pa.types.is_timestamp(kind):
            return column.cast(pa.timestamp("us", kind.tz))
        if pa.types.is_time(kind):
            return column.cast(pa.time64("us"))
    return column


def as_given(frame: pd.DataFrame, dtypes: Mapping[str, Dtype], where: str) -> pd.DataFrame:
    """Return a frame whose columns have the dtypes that were asked for."""
    different = {
        name: dtype.pandas
        for name, dtype in dtypes.items()
        if dtype.pandas is not None and name in frame and frame[name].dtype != dtype.pandas
    }
    try:
        return frame.astype(different) if different else frame
    except (ValueError, TypeError, OverflowError) as error:
        columns = ", ".join(f"{name!r} to {kind}" for name, kind in different.items())
        raise DataFormatError(
            f"{where} does not hold what `dtype` asks for ({columns}): {error}.",
            fix="Give one that holds all values, such as 'Int64' or 'boolean' where some are "
            "missing, or none.",
        ) from error
