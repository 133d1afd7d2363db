"""The type table: what each Arrow type becomes in pandas, line by line."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batcat_runtime.errors import UserError
from batcat_runtime.io.types import to_pandas, unique_names

NOON = dt.datetime(2022, 1, 1, 12)
ZONED = pa.timestamp("s", "Asia/Shanghai")
NAN = float("nan")


@pytest.mark.parametrize(
    ("arrow", "dtype", "values"),
    [
        (pa.array([1, 2], pa.int8()), "int8", [1, 2]),
        (pa.array([1, None], pa.int8()), "Int8", [1, pd.NA]),
        (pa.array([2**63 - 1, None]), "Int64", [2**63 - 1, pd.NA]),
        (pa.array([2**64 - 1], pa.uint64()), "uint64", [2**64 - 1]),
        (pa.array([2**64 - 1, None], pa.uint64()), "UInt64", [2**64 - 1, pd.NA]),
        (pa.array([0.1, None], pa.float32()), "float32", [np.float32(0.1), NAN]),
        (pa.array([0.1, None]), "float64", [0.1, NAN]),
        (pa.array([True, False]), "bool", [True, False]),
        (pa.array([True, None]), "boolean", [True, pd.NA]),
        (pa.array(["a", None]), "str", ["a", NAN]),
        (pa.array(["a", None], pa.large_string()), "str", ["a", NAN]),
        (pa.array([NOON, None], pa.timestamp("s")), "datetime64[us]", [NOON, pd.NaT]),
        (pa.array([NOON, None], pa.timestamp("ns")), "datetime64[us]", [NOON, pd.NaT]),
        (
            pa.array([NOON, None], ZONED),
            "datetime64[us, UTC]",
            [NOON.replace(tzinfo=dt.UTC), pd.NaT],
        ),
        (
            pa.array([dt.date(2022, 1, 1), None]),
            "datetime64[us]",
            [dt.datetime(2022, 1, 1), pd.NaT],
        ),
        (pa.array([dt.time(1, 2, 3, 4), None]), "object", [dt.time(1, 2, 3, 4), None]),
        (pa.array([decimal.Decimal("1.10"), None]), "object", [decimal.Decimal("1.10"), None]),
        (pa.array([b"\0", None]), "object", [b"\0", None]),
        (pa.array([[1, None], None]), "object", [[1, None], None]),
        (pa.array([{"a": [1]}, None]), "object", [{"a": [1]}, None]),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), "object", [{"k": 1}]),
        (pa.nulls(2), "float64", [NAN, NAN]),
        (pa.array([], pa.int32()), "int32", []),
        (pa.array(["a", None]).dictionary_encode(), "category", ["a", NAN]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else None,
)
def test_each_line_of_the_table(arrow: pa.Array, dtype: str, values: list[Any]) -> None:
    frame = to_pandas(pa.table({"a": arrow}))
    assert str(frame["a"].dtype) == dtype
    for found, wanted in zip(frame["a"].tolist(), values, strict=True):
        assert type(found) is not float or not isinstance(wanted, int)
        if wanted is pd.NA or wanted is pd.NaT or wanted is None or wanted is NAN:
            assert pd.isna(found)
        else:
            assert found == wanted


def test_nanoseconds_are_not_rounded_away() -> None:
    moment = pa.array([1], pa.timestamp("ns"))
    assert to_pandas(pa.table({"a": moment}))["a"].dtype == "datetime64[ns]"


@pytest.mark.parametrize(
    ("arrow", "nullable", "arrow_backed"),
    [
        (pa.array([1, None]), "Int64", "int64[pyarrow]"),
        (pa.array([1.5, None]), "Float64", "double[pyarrow]"),
        (pa.array([True, None]), "boolean", "bool[pyarrow]"),
        (pa.array(["a", None]), "string", "string[pyarrow]"),
        (pa.array([dt.date(2022, 1, 1)]), "datetime64[us]", "date32[day][pyarrow]"),
        (pa.array([[1]]), "object", "list<item: int64>[pyarrow]"),
        (pa.nulls(1), "Int64", "null[pyarrow]"),
    ],
)
def test_the_other_backends(arrow: pa.Array, nullable: str, arrow_backed: str) -> None:
    table = pa.table({"a": arrow})
    assert str(to_pandas(table, dtype_backend="numpy_nullable")["a"].dtype) == nullable
    assert str(to_pandas(table, dtype_backend="pyarrow")["a"].dtype) == arrow_backed


def test_there_are_two_other_backends() -> None:
    with pytest.raises(UserError, match="no dtype_backend 'arrow'"):
        to_pandas(pa.table({}), dtype_backend="arrow")  # type: ignore[arg-type]


def test_with_the_metadata_of_pandas_a_frame_comes_back_as_it_was() -> None:
    frame = pd.DataFrame(
        {
            "date": [dt.date(2022, 1, 1), None],
            "ns": pd.to_datetime(["2022-01-01", None]).astype("datetime64[ns]"),
            "zone": pd.to_datetime(["2022-01-01", None]).tz_localize("Asia/Shanghai"),
            "many": pd.Categorical(["b", "a"], categories=["b", "a"], ordered=True),
            "gaps": pd.array([1, None], dtype="Int16"),
            "list": [[1], None],
            "text": ["a", None],
            "maybe": [True, None],
        },
        index=pd.Index(["x", "y"], name="cell"),
    )
    found = to_pandas(pa.Table.from_pandas(frame), pandas_metadata=True)
    pd.testing.assert_frame_equal(found, frame)


def test_an_index_of_integers_with_gaps_beside_columns_with_gaps() -> None:
    table = pa.table({"a": [[1], [2]], "b": [1, None], "c": [1.0, 2.0]})
    frame = table.to_pandas().set_index("c")
    written = pa.Table.from_pandas(frame).select(["a", "c", "b"])
    found = to_pandas(written.set_column(2, "b", pa.array([1, None])), pandas_metadata=True)
    assert found.index.name == "c"
    assert found["a"].tolist() == [[1], [2]]
    assert found["b"].dtype == "Int64"


def test_every_column_can_be_written_to() -> None:
    frame = to_pandas(
        pa.table(
            {"i": [1, 2], "f": [1.5, 2.5], "s": ["a", "b"], "b": [True, False], "n": [1, None]}
        )
    )
    for name in frame.columns:
        frame.loc[0, name] = frame.loc[1, name]
        assert len(frame[name].dropna().unique()) <= 1


def test_a_table_that_is_kept_stays_as_it_is() -> None:
    table = pa.table({"a": [1.5, 2.5], "b": ["x", None]})
    to_pandas(table)
    assert table.to_pydict() == {"a": [1.5, 2.5], "b": ["x", None]}


def test_a_name_that_occurs_twice_gets_a_number() -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array(["x"]), pa.array([[2]])], ["a", "a", "a"])
    frame = to_pandas(table)
    assert frame.iloc[0].to_dict() == {"a": 1, "a.1": "x", "a.2": [2]}


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "a.1", "a.2", "a.1.1", "電圧", ""])))
def test_names_are_made_unique_in_place(names: list[str]) -> None:
    unique = unique_names(names)
    assert len(set(unique)) == len(names)
    assert all(
        new == old or new.startswith(f"{old}.") for new, old in zip(unique, names, strict=True)
    )
    assert all(unique[names.index(name)] == name for name in names)
