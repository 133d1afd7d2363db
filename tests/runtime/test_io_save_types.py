"""What is saved comes back: Parquet as it went, CSV value by value. Read by pandas and pyarrow.

These readers are not BatCat's own, so a mistake cannot cancel itself out.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from pyarrow import csv, parquet

import batcat_runtime as bc
PART_BYTES = 16 << 20
from tests.s3server import S3Server, serve_s3

BUCKET = "2022-rnd-battery"
many = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    folder = tmp_path_factory.mktemp("s3")
    (folder / BUCKET).mkdir()
    with serve_s3(folder) as found:
        yield found


@pytest.fixture
def folder(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    return server.folder / BUCKET


# what pyarrow asks of pandas for columns with a time zone
pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning")

texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=8)
awkward = st.sampled_from(["", " ", '"', ",", "\n", "\r\n", "a,b", 'x"y', "电压", "NA", "1"])
words = texts | awkward
times = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1))
whole = st.integers(-(2**63), 2**63 - 1)
decimals = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9),
                       max_value=10**9)  # fmt: skip


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


def column(values: st.SearchStrategy[Any], dtype: Any, size: int) -> st.SearchStrategy[Any]:
    lists = st.lists(values, min_size=size, max_size=size)
    return lists.map(lambda found: pd.Series(found, dtype=dtype))


def zoned(size: int) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda found, zone: found.dt.tz_localize("UTC").dt.tz_convert(zone),
        column(optional(times), "datetime64[us]", size),
        st.sampled_from(["UTC", "Asia/Shanghai", "America/New_York", "+05:30"]),
    )


def categories(size: int) -> st.SearchStrategy[Any]:
    kinds = st.lists(words, min_size=1, max_size=4, unique=True)
    return st.builds(
        lambda kinds, places, ordered: pd.Series(
            pd.Categorical.from_codes(
                [place % (len(kinds) + 1) - 1 for place in places], kinds, ordered=ordered
            )
        ),
        kinds,
        st.lists(st.integers(0, 100), min_size=size, max_size=size),
        st.booleans(),
    )


def parquet_columns(size: int) -> st.SearchStrategy[Any]:
    return st.one_of(
        column(whole, "int64", size),
        column(st.integers(0, 2**64 - 1), "uint64", size),
        column(st.integers(-128, 127), "int8", size),
        column(optional(whole), "Int64", size),
        column(optional(st.integers(0, 255)), "UInt8", size),
        column(st.floats(), "float64", size),
        column(st.floats(width=32), "float32", size),
        column(optional(st.floats(allow_nan=False)), "Float64", size),
        column(st.booleans(), "bool", size),
        column(optional(st.booleans()), "boolean", size),
        column(optional(words), "str", size),
        column(optional(words), "string", size),
        column(optional(st.integers(0, 9)), pd.ArrowDtype(pa.int32()), size),
        column(optional(times), "datetime64[us]", size),
        column(optional(times), "datetime64[ns]", size),
        column(optional(st.timedeltas(dt.timedelta(-9999), dt.timedelta(9999))), "m8[us]", size),
        column(optional(st.dates()), object, size),
        column(optional(st.times()), object, size),
        column(optional(decimals), object, size),
        column(optional(st.binary(max_size=6)), object, size),
        zoned(size),
        # without a row there is no dictionary in the file, and so no categories
        *([categories(size)] if size else []),
    )


@st.composite
def parquet_frames(draw: st.DrawFn) -> pd.DataFrame:
    names = draw(st.lists(texts, max_size=5, unique=True))
    size = draw(st.integers(0, 5)) if names else 0
    return pd.DataFrame(
        {name: draw(parquet_columns(size)) for name in names}, index=pd.RangeIndex(size)
    )


@many
@given(frame=parquet_frames())
def test_parquet_comes_back_as_it_went(folder: Path, frame: pd.DataFrame) -> None:
    bc.save_to_bucket(frame, BUCKET, "a.parquet")
    found = pd.read_parquet(folder / "a.parquet")
    pd.testing.assert_frame_equal(found, frame, check_exact=True, check_column_type=False)


def csv_columns(size: int) -> st.SearchStrategy[Any]:
    return st.one_of(
        column(optional(whole), "Int64", size),
        column(st.integers(0, 2**64 - 1), "uint64", size),
        column(st.floats(allow_nan=False), "float64", size),
        column(optional(st.floats(allow_nan=False)), "Float64", size),
        column(st.floats(width=32, allow_nan=False), "float32", size),
        column(optional(st.booleans()), "boolean", size),
        column(optional(words), "str", size),
        column(optional(words), object, size),
        column(optional(times), "datetime64[us]", size),
        column(optional(times), "datetime64[ns]", size),
        column(optional(st.dates()), object, size),
        column(optional(decimals), object, size),
        zoned(size),
        categories(size),
    )


@st.composite
def csv_frames(draw: st.DrawFn) -> pd.DataFrame:
    size = draw(st.integers(1, 5))
    columns = [draw(csv_columns(size)) for _ in range(draw(st.integers(1, 4)))]
    return pd.DataFrame({f"c{place}": values for place, values in enumerate(columns)})


def arrow_type(values: pd.Series[Any]) -> pa.DataType:
    if values.dtype == object:
        kinds = {dt.date: pa.date32(), decimal.Decimal: pa.decimal128(30, 4)}
        present = [type(value) for value in values if value is not None]
        return kinds.get(present[0] if present else str, pa.string())
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return pa.timestamp("us", "UTC")
    if isinstance(values.dtype, (pd.CategoricalDtype, pd.StringDtype)):
        return pa.string()
    return pa.array(values).type


@many
@given(frame=csv_frames())
def test_csv_carries_every_value(folder: Path, frame: pd.DataFrame) -> None:
    bc.save_to_bucket(frame, BUCKET, "a.csv")
    kinds = {name: arrow_type(frame[name]) for name in frame}
    found = csv.read_csv(
        folder / "a.csv",
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=kinds,
            null_values=[""],
            strings_can_be_null=True,
            # of a single column, a line with no value is written as ""
            quoted_strings_can_be_null=len(frame.columns) == 1,
        ),
    )
    for name, kind in kinds.items():
        expected = pa.array(frame[name], from_pandas=True).cast(kind).to_pylist()
        got = found[name].to_pylist()
        if len(frame.columns) == 1:
            expected = [None if value == "" else value for value in expected]
        assert list(map(repr, got)) == list(map(repr, expected)), name


def test_floats_stay_floats(folder: Path) -> None:
    frame = pd.DataFrame({"whole": [1.0, -0.0, None], "part": [1.0, 2.5, 1e300], "i": [1, 2, 3]})
    bc.save_to_bucket(frame, BUCKET, "a.csv")
    lines = (folder / "a.csv").read_text().splitlines()
    assert lines == ["whole,part,i", "1.0,1,1", "-0.0,2.5,2", ",1e+300,3"]
    assert csv.read_csv(folder / "a.csv").schema.types == [pa.float64(), pa.float64(), pa.int64()]


def test_everything_else_has_a_text_form(folder: Path) -> None:
    zone = dt.timezone(dt.timedelta(hours=8))
    values = {
        "mixed": [1, "one", None],
        "large": [2**70, None, 1],
        "list": [[1, "é"], None, {"a": dt.date(2022, 1, 1)}],
        "truth": [True, None, False],
        "time": [dt.time(1, 2, 3), None, dt.time(0)],
        "zones": [dt.datetime(2022, 1, 1, tzinfo=zone), None, dt.datetime(2022, 1, 1)],
        "took": pd.to_timedelta([1, None, 90_000], unit="s"),
        "month": pd.period_range("2022-01", periods=3, freq="M"),
        "bin": pd.cut([1, np.nan, 5], [0, 2, 10]),
        "sparse": pd.arrays.SparseArray([0, 1, 0]),
        "half": np.array([1.5, np.nan, 2], "f2"),
    }
    bc.save_to_bucket(pd.DataFrame(values), BUCKET, "a.csv")
    found = pd.read_csv(folder / "a.csv", dtype=str, keep_default_na=False)
    assert found.to_dict("list") == {
        "mixed": ["1", "one", ""],
        "large": ["1180591620717411303424", "", "1"],
        "list": ['[1, "é"]', "", '{"a": "2022-01-01"}'],
        "truth": ["true", "", "false"],
        "time": ["01:02:03", "", "00:00:00"],
        "zones": ["2022-01-01 00:00:00+08:00", "", "2022-01-01 00:00:00"],
        "took": ["0 days 00:00:01", "", "1 days 01:00:00"],
        "month": ["2022-01", "2022-02", "2022-03"],
        "bin": ["(0, 2]", "", "(2, 10]"],
        "sparse": ["0", "1", "0"],
        "half": ["1.5", "", "2"],
    }


def test_arrow_columns_that_csv_has_no_type_for(folder: Path) -> None:
    table = pa.table(
        {
            "map": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
            "list": [[1, None], []],
            "took": pa.array([dt.timedelta(1), None]),
            "view": pa.array(["x", None], pa.string_view()),
            "none": pa.nulls(2),
            "exact": pa.array([decimal.Decimal("1.10"), None]),
        }
    )
    bc.save_to_bucket(table, BUCKET, "a.csv")
    assert (folder / "a.csv").read_text() == (
        "map,list,took,view,none,exact\n"
        '"{""a"": 1}","[1, null]","1 days 00:00:00","x",,1.10\n'
        ',"[]",,,,\n'
    )


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (["x", None, ""], 'a\n"x"\n""\n""\n'),
        ([1, None], 'a\n"1.0"\n""\n'),
        ([" ", "x"], 'a\n" "\n"x"\n'),
        ([], "a\n"),
    ],
)
def test_a_single_column_has_no_empty_lines(folder: Path, values: list[Any], text: str) -> None:
    bc.save_to_bucket(pd.DataFrame({"a": values}), BUCKET, "a.csv")
    assert (folder / "a.csv").read_text() == text
    assert len(pd.read_csv(folder / "a.csv")) == len(values)


def test_names_of_columns(folder: Path) -> None:
    frame = pd.DataFrame([[1, 2, 3, 4, 5]], columns=["a", "a", "电压, V", "", 7])
    bc.save_to_bucket(frame, BUCKET, "a.csv")
    assert (folder / "a.csv").read_bytes() == 'a,a,"电压, V","",7\n1,2,3,4,5\n'.encode()
    whole_numbers = pd.DataFrame([[1, 2]], columns=[10, 20])
    bc.save_to_bucket(whole_numbers, BUCKET, "a.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "a.parquet"), whole_numbers)


def test_many_slices_are_one_table(folder: Path) -> None:
    rows = 400_000
    frame = pd.DataFrame(
        {
            "n": np.arange(rows),
            "text": pd.Series([f"row {row}" if row % 7 else None for row in range(rows)]),
            "late": pd.Series([None] * (rows - 1) + [math.pi]),
            "object": pd.Series([None] * (rows - 1) + [dt.date(2022, 1, 1)], dtype=object),
            "exact": pd.Series([decimal.Decimal("0.1")] * (rows - 1) + [decimal.Decimal(10**9)]),
            "comma": pd.Series(["plain"] * (rows - 1) + ['a "quoted", one']),
        }
    )
    bc.save_to_bucket(frame, BUCKET, "many.csv")
    text = (folder / "many.csv").read_bytes()
    assert len(text) > PART_BYTES, "more than one part"
    nulls = csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)
    found = csv.read_csv(folder / "many.csv", convert_options=nulls).to_pandas()
    for name in ("n", "text", "late", "comma"):
        pd.testing.assert_series_equal(found[name], frame[name])
    assert text.endswith(b'"2022-01-01","1000000000","a ""quoted"", one"\n')
    bc.save_to_bucket(frame, BUCKET, "many.parquet")
    stored = parquet.ParquetFile(folder / "many.parquet")
    assert stored.num_row_groups > 1
    found = pd.read_parquet(folder / "many.parquet")
    pd.testing.assert_frame_equal(found.drop(columns="exact"), frame.drop(columns="exact"))
    assert found["exact"].tolist() == frame["exact"].tolist()


def test_the_same_table_gives_the_same_bytes(folder: Path) -> None:
    frame = pd.DataFrame({"a": np.arange(1_500_000) / 7, "b": "x"})
    for key in ("one.csv.gz", "two.csv.gz"):
        bc.save_to_bucket(frame, BUCKET, key)
    assert (folder / "one.csv.gz").read_bytes() == (folder / "two.csv.gz").read_bytes()
