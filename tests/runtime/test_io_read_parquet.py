"""Reading Parquet from S3, on a real server: types, what differs from file to file, damage."""

from __future__ import annotations

import datetime as dt
import decimal
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import DataFormatError
from tests.flakyserver import FlakyObject, serve_flaky

BUCKET = "2022-rnd-battery"
NAN = float("nan")
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
NEW_YEAR = dt.datetime(2022, 1, 1)
ZONED = "datetime64[ms, Asia/Shanghai] datetime64[ms, Asia/Shanghai] timestamp[ms,"


def parquet(table: pa.Table | pd.DataFrame, **options: Any) -> bytes:
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table)
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def put(bucket: Any, key: str, table: pa.Table | pd.DataFrame, **options: Any) -> None:
    bucket.put_object(Key=key, Body=parquet(table, **options))


def large(rows: int = 400_000) -> pd.DataFrame:
    """Return a table whose Parquet is larger than what comes with opening it."""
    numbers = range(rows)
    texts = [f"{n * 2654435761 % 2**32:08x}" for n in numbers]
    return pd.DataFrame({"n": numbers, "text": texts, "f": [n / 7 for n in numbers]})


@pytest.mark.parametrize("row_group_size", [400_000, 90_000])
def test_a_large_object_comes_back(bucket: Any, row_group_size: int) -> None:
    frame = large()
    put(bucket, "large.parquet", frame, row_group_size=row_group_size)
    pd.testing.assert_frame_equal(bc.read_parquet_from_bucket(BUCKET, "large.parquet"), frame)
    some = bc.read_from_bucket(BUCKET, "large.parquet", columns=["f", "n"])
    pd.testing.assert_frame_equal(some, frame[["f", "n"]])
    chunks = list(bc.read_parquet_from_bucket(BUCKET, "large.parquet", chunksize=120_000))
    assert [len(chunk) for chunk in chunks] == [120_000, 120_000, 120_000, 40_000]
    pd.testing.assert_frame_equal(pd.concat(chunks), frame)


def test_only_what_is_wanted_is_fetched(point: Callable[[FlakyObject], None]) -> None:
    with serve_flaky(FlakyObject(parquet(large(), compression="none"))) as served:
        point(served)
        found = bc.read_parquet_from_bucket(BUCKET, "large", columns=["n"])
    assert found["n"].sum() == sum(range(400_000))
    fetched = [str(wanted).removeprefix("bytes=").split("-") for wanted, _ in served.requests]
    total = sum(int(last) - int(first or 0) + 1 for first, last in fetched)
    opening = 4 << 20  # what comes with the footer
    assert total - opening < len(served.content) / 3


@pytest.mark.parametrize(
    ("arrow", "dtypes", "values"),
    [
        (pa.array([1, 2], pa.int8()), "int8 Int8 int8[pyarrow]", [1, 2]),
        (pa.array([1, None], pa.int8()), "Int8 Int8 int8[pyarrow]", [1, pd.NA]),
        (pa.array([2**63 - 1, None]), "Int64 Int64 int64[pyarrow]", [2**63 - 1, pd.NA]),
        (pa.array([2**64 - 1, None], pa.uint64()), "UInt64 UInt64 uint64[pyarrow]", [2**64 - 1]),
        (pa.array([0.1], pa.float32()), "float32 Float32 float[pyarrow]", [np.float32(0.1)]),
        (pa.array([0.1, None]), "float64 Float64 double[pyarrow]", [0.1, NAN]),
        (pa.array([True, None]), "boolean boolean bool[pyarrow]", [True, pd.NA]),
        (pa.array(["a", None]), "str string string[pyarrow]", ["a", NAN]),
        (pa.array(["a"], pa.large_string()), "str string large_string[pyarrow]", ["a"]),
        (pa.array([1], pa.timestamp("ns")), "datetime64[ns] datetime64[ns] timestamp[ns]", None),
        (pa.array([0, None], pa.timestamp("ms", "Asia/Shanghai")), ZONED, [EPOCH, pd.NaT]),
        (pa.array([dt.date(2022, 1, 1), None]), "datetime64[us] datetime64[us] date32", [NEW_YEAR]),
        (pa.array([dt.time(1, 2, 3, 4), None]), "object object time64", [dt.time(1, 2, 3, 4)]),
        (pa.array([decimal.Decimal("1.10")]), "object object decimal", [decimal.Decimal("1.10")]),
        (pa.array([b"\0", None]), "object object binary[pyarrow]", [b"\0", None]),
        (pa.array([[1, None], None]), "object object list", [[1, None], None]),
        (pa.array([{"a": [1]}, None]), "object object struct", [{"a": [1]}, None]),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), "object object map", [{"k": 1}]),
        (pa.nulls(2), "float64 Int64 null[pyarrow]", [NAN, NAN]),
        (pa.array([], pa.int32()), "int32 Int32 int32[pyarrow]", []),
        (pa.array(["a", None]).dictionary_encode(), "category category dictionary", ["a", NAN]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_each_line_of_the_type_table(
    bucket: Any, arrow: pa.Array, dtypes: str, values: list[Any] | None
) -> None:
    put(bucket, "types", pa.table({"a": arrow}))
    found = bc.read_parquet_from_bucket(BUCKET, "types")["a"]
    nullable = bc.read_parquet_from_bucket(BUCKET, "types", dtype_backend="numpy_nullable")["a"]
    backed = bc.read_parquet_from_bucket(BUCKET, "types", dtype_backend="pyarrow")["a"]
    assert f"{found.dtype} {nullable.dtype} {backed.dtype}".startswith(dtypes)
    for value, wanted in zip(found.tolist(), values or (), strict=False):
        is_gap = pd.api.types.is_scalar(wanted) and pd.isna(wanted)
        assert pd.isna(value) if is_gap else value == wanted


def test_every_column_can_be_written_to(bucket: Any) -> None:
    columns = {"i": [1, 2], "f": [1.5, 2.5], "s": ["a", "b"], "b": [True, False], "n": [1, None]}
    put(bucket, "writable", pa.table(columns))
    frame = bc.read_parquet_from_bucket(BUCKET, "writable")
    for name in frame.columns:
        frame.loc[0, name] = frame.loc[1, name]
        assert len(frame[name].dropna().unique()) <= 1


def test_what_pandas_wrote_comes_back_as_it_was(bucket: Any) -> None:
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
    put(bucket, "index", frame)
    pd.testing.assert_frame_equal(bc.read_parquet_from_bucket(BUCKET, "index"), frame)
    some = bc.read_parquet_from_bucket(BUCKET, "index", columns=["gaps"])
    pd.testing.assert_frame_equal(some, frame[["gaps"]])


def test_an_index_of_floats_beside_columns_with_gaps(bucket: Any) -> None:
    frame = pd.DataFrame({"a": [[1], [2]], "b": [1, 2], "c": [1.0, 2.0]}).set_index("c")
    written = pa.Table.from_pandas(frame).select(["a", "c", "b"])
    put(bucket, "gaps", written.set_column(2, "b", pa.array([1, None])))
    found = bc.read_parquet_from_bucket(BUCKET, "gaps")
    assert found.index.name == "c"
    assert found["a"].tolist() == [[1], [2]]
    assert found["b"].dtype == "Int64"


@pytest.mark.parametrize("chunksize", [None, 5])
@pytest.mark.parametrize(
    ("table", "columns"),
    [
        (pa.table({"a": pa.array([], pa.int64())}), {"a": "int64"}),
        (pa.table({}), {}),
        (pa.table([pa.array([1]), pa.array(["x"])], ["a", "a"]), {"a": "int64", "a.1": "str"}),
    ],
    ids=["no rows", "no columns", "one name twice"],
)
def test_unusual_tables(
    bucket: Any, table: pa.Table, columns: dict[str, str], chunksize: int | None
) -> None:
    put(bucket, "unusual", table)
    chunksize = chunksize if columns else None  # without columns there are no chunks
    found: Any = bc.read_parquet_from_bucket(BUCKET, "unusual", chunksize=chunksize)
    found = pd.concat(found) if chunksize else found
    assert found.dtypes.astype(str).to_dict() == columns
    assert len(found) == table.num_rows
    if columns:
        last = list(columns)[-1]
        some = bc.read_parquet_from_bucket(BUCKET, "unusual", columns=[last])
        assert some.dtypes.astype(str).to_dict() == {last: columns[last]}


def test_folders_become_columns(bucket: Any) -> None:
    for day, cell, number in (("2022-01-01", "A%2F1", 1), ("2022-01-02", "B", 2)):
        key = f"hive/day={day}/cell={cell}/n={number}/x.parquet"
        put(bucket, key, pd.DataFrame({"a": [number]}))
    bucket.put_object(Key="hive/day=2022-01-02/_SUCCESS", Body=b"x")
    found = bc.read_parquet_from_bucket(BUCKET, "hive/")
    assert found.to_dict("list") == {
        "a": [1, 2],
        "day": [pd.Timestamp("2022-01-01"), pd.Timestamp("2022-01-02")],
        "cell": ["A/1", "B"],
        "n": [1, 2],
    }
    (chunk,) = bc.read_parquet_from_bucket(f"s3://{BUCKET}/hive/", chunksize=9)
    pd.testing.assert_frame_equal(chunk, found)
    some = bc.read_parquet_from_bucket(BUCKET, "hive/**/*.parquet", columns=["cell", "a"])
    assert some.to_dict("list") == {"cell": ["A/1", "B"], "a": [1, 2]}
    only = bc.read_parquet_from_bucket(BUCKET, "hive/", columns=["n"])
    assert only.to_dict("list") == {"n": [1, 2]}
    one = bc.read_parquet_from_bucket(BUCKET, "hive/day=2022-01-02/cell=B/n=2/x.parquet")
    assert list(one.columns) == ["a"]


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["-7", "0", "__HIVE_DEFAULT_PARTITION__"], [-7, 0, None]),
        (["007", "7"], ["007", "7"]),
        (["-0", "7"], ["-0", "7"]),
        (["9223372036854775808", "7"], ["9223372036854775808", "7"]),
        (["2022-01-01", "2022-1-2"], ["2022-01-01", "2022-1-2"]),
        (["2022-01-01", "7"], ["2022-01-01", "7"]),
        (["__HIVE_DEFAULT_PARTITION__"], [None]),
    ],
)
def test_folders_are_numbers_only_if_written_so(
    bucket: Any, texts: list[str], values: list[Any]
) -> None:
    bucket.objects.filter(Prefix="typed/").delete()
    for number, text in enumerate(texts):
        put(bucket, f"typed/n={number}/v={text}/x", pa.table({"a": [number]}))
    found = bc.read_parquet_from_bucket(BUCKET, "typed/", columns=["v"])["v"]
    assert found.astype(object).where(found.notna(), None).tolist() == values


@pytest.mark.parametrize("chunksize", [None, 1])
def test_objects_that_grew_over_the_years(bucket: Any, chunksize: int | None) -> None:
    put(bucket, "grew/1", pa.table({"a": pa.array([1], pa.int32()), "s": ["x"], "t": pa.nulls(1)}))
    put(bucket, "grew/2", pa.table({"new": [True], "a": [2**40], "t": ["text"]}))
    put(bucket, "grew/3", pa.table({"a": [2.5], "s": pa.array(["y"]).dictionary_encode()}))
    found: Any = bc.read_parquet_from_bucket(BUCKET, "grew/", chunksize=chunksize)
    found = pd.concat(found) if chunksize else found
    assert found["a"].tolist() == [1.0, 2.0**40, 2.5]
    assert found["s"].fillna("-").tolist() == ["x", "-", "y"]
    assert found["t"].fillna("-").tolist() == ["-", "text", "-"]
    assert found["new"].tolist() == [pd.NA, True, pd.NA]


@pytest.mark.parametrize("chunksize", [None, 1])
def test_objects_that_do_not_go_together(bucket: Any, chunksize: int | None) -> None:
    put(bucket, "apart/1", pa.table({"a": [1], "b": [1]}))
    put(bucket, "apart/2", pa.table({"a": ["x"], "b": [2]}))
    with pytest.raises(DataFormatError, match=r"'a' is int64 in .*apart/1 and string in .*/2"):
        list(bc.read_parquet_from_bucket(BUCKET, "apart/", chunksize=chunksize))
    found = bc.read_parquet_from_bucket(BUCKET, "apart/", columns=["b"])
    assert found["b"].tolist() == [1, 2]
    put(bucket, "round/1", pa.table({"a": [2**60 + 1]}))
    put(bucket, "round/2", pa.table({"a": [0.5]}))
    with pytest.raises(DataFormatError, match=r"'a' of s3://.*round/1 cannot become double"):
        list(bc.read_parquet_from_bucket(BUCKET, "round/", chunksize=chunksize))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"a,b\n1,2\n", "read_csv_from_bucket"),
        (b"PK\x03\x04", "read_excel_from_bucket"),
        (b"\n<!DOCTYPE html><html>Log in</html>", "HTML"),
        (b"PAR1", "damaged"),
        (b"PAR1....\0\0\0\x7fPAR1", "damaged"),
    ],
)
def test_what_is_no_parquet(bucket: Any, content: bytes, said: str) -> None:
    bucket.put_object(Key="text", Body=content)
    with pytest.raises(DataFormatError, match=rf"(?s)/text cannot be read as Parquet.*{said}"):
        bc.read_parquet_from_bucket(BUCKET, "text")


def test_a_flipped_bit_is_noticed(point: Callable[[FlakyObject], None]) -> None:
    content = parquet(large(3_000), write_page_checksum=True, row_group_size=1_000)
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    with serve_flaky(FlakyObject(content)) as served:
        point(served)
        for number in range(200):
            damaged = bytearray(content)
            damaged[100 + number * (footer - 100) // 200] ^= 1 << number % 8
            served.content = bytes(damaged)
            with pytest.raises(DataFormatError, match=f"s3://{BUCKET}/hurt"):
                bc.read_parquet_from_bucket(BUCKET, "hurt")


def test_a_damaged_page_in_chunks(bucket: Any) -> None:
    content = parquet(large(1000))
    bucket.put_object(Key="hurt", Body=content[:50] + b"\xff" * 3000 + content[3050:])
    with pytest.raises(DataFormatError, match=r"s3://.*/hurt cannot be read as Parquet"):
        list(bc.read_parquet_from_bucket(BUCKET, "hurt", chunksize=10))


def test_a_missing_column(bucket: Any) -> None:
    put(bucket, "one", pa.table({"a": [1]}))
    with pytest.raises(DataFormatError, match=r"(?s)no column 'z'.*There are 'a'"):
        bc.read_parquet_from_bucket(BUCKET, "one", columns=["a", "z"])
