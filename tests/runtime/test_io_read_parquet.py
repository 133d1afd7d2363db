"""Reading Parquet and Excel from S3, on a real server."""

from __future__ import annotations

import datetime as dt
import decimal
import io
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import boto3
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import DataFormatError, NoSuchObjectError, UserError
from tests.flakyserver import FlakyObject, serve_flaky
from tests.s3server import S3Server, serve_s3

BUCKET = "2022-rnd-battery"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    folder = tmp_path_factory.mktemp("s3")
    (folder / BUCKET).mkdir()
    with serve_s3(folder) as running:
        yield running


@pytest.fixture
def s3(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return boto3.client("s3")


def put(s3: Any, key: str, table: pa.Table | pd.DataFrame, **options: Any) -> None:
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table)
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    s3.put_object(Bucket=BUCKET, Key=key, Body=file.getvalue())


def large(rows: int = 400_000) -> pd.DataFrame:
    """Return a table whose Parquet is larger than what comes with opening it."""
    return pd.DataFrame(
        {
            "n": range(rows),
            "text": [f"{n * 2654435761 % 2**32:08x}" for n in range(rows)],
            "f": [n / 7 for n in range(rows)],
        }
    )


@pytest.mark.parametrize("row_group_size", [400_000, 90_000])
def test_a_large_object_comes_back(s3: Any, row_group_size: int) -> None:
    frame = large()
    put(s3, "large.parquet", frame, row_group_size=row_group_size)
    pd.testing.assert_frame_equal(bc.read_parquet_from_bucket(BUCKET, "large.parquet"), frame)
    some = bc.read_from_bucket(BUCKET, "large.parquet", columns=["f", "n"])
    pd.testing.assert_frame_equal(some, frame[["f", "n"]])


@pytest.mark.parametrize("rows", [1_000, 400_000])
def test_chunks(s3: Any, rows: int) -> None:
    frame = large(rows)
    put(s3, "chunks", frame, row_group_size=90_000)
    size = rows * 3 // 10
    found = list(bc.read_parquet_from_bucket(BUCKET, "chunks", chunksize=size))
    assert [len(chunk) for chunk in found] == [size, size, size, rows - 3 * size]
    pd.testing.assert_frame_equal(pd.concat(found), frame)


def test_only_what_is_wanted_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    large().to_parquet(file, compression="none")
    with serve_flaky(FlakyObject(file.getvalue())) as one:
        for name, value in one.environment().items():
            monkeypatch.setenv(name, value)
        found = bc.read_parquet_from_bucket(BUCKET, "large", columns=["n"])
    assert found["n"].sum() == sum(range(400_000))
    fetched = [str(wanted).removeprefix("bytes=").split("-") for wanted, _ in one.requests]
    assert fetched[0][0] == ""
    total = sum(int(last) - int(first or 0) + 1 for first, last in fetched)
    assert total < len(one.content) / 2


def test_types_keep_what_the_file_says(s3: Any) -> None:
    table = pa.table(
        {
            "i": pa.array([1, None], pa.int32()),
            "big": pa.array([2**64 - 1, None], pa.uint64()),
            "ns": pa.array([1, None], pa.timestamp("ns")),
            "zone": pa.array([0, None], pa.timestamp("ms", "Asia/Shanghai")),
            "date": pa.array([dt.date(2022, 1, 1), None]),
            "d": pa.array([decimal.Decimal("1.10"), None]),
            "l": pa.array([[1], None]),
            "c": pa.array(["a", None]).dictionary_encode(),
        }
    )
    put(s3, "types", table)
    found = bc.read_parquet_from_bucket(BUCKET, "types")
    assert found.dtypes.astype(str).to_dict() == {
        **{"i": "Int32", "big": "UInt64", "ns": "datetime64[ns]"},
        **{"zone": "datetime64[ms, Asia/Shanghai]", "date": "datetime64[us]"},
        **{"d": "object", "l": "object", "c": "category"},
    }
    arrow = bc.read_parquet_from_bucket(BUCKET, "types", dtype_backend="pyarrow")
    assert str(arrow["date"].dtype) == "date32[day][pyarrow]"


def test_an_index_comes_back(s3: Any) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [3, 4]}, index=pd.Index(["x", "y"], name="cell"))
    put(s3, "index", frame)
    pd.testing.assert_frame_equal(bc.read_parquet_from_bucket(BUCKET, "index"), frame)
    some = bc.read_parquet_from_bucket(BUCKET, "index", columns=["b"])
    pd.testing.assert_frame_equal(some, frame[["b"]])


def test_folders_become_columns(s3: Any) -> None:
    for day, cell, number in (("2022-01-01", "A%2F1", 1), ("2022-01-02", "B", 2)):
        put(s3, f"hive/day={day}/cell={cell}/n={number}/x.parquet", pd.DataFrame({"a": [number]}))
    s3.put_object(Bucket=BUCKET, Key="hive/day=2022-01-02/_SUCCESS", Body=b"x")
    found = bc.read_parquet_from_bucket(BUCKET, "hive/")
    assert found.to_dict("list") == {
        "a": [1, 2],
        "day": [pd.Timestamp("2022-01-01"), pd.Timestamp("2022-01-02")],
        "cell": ["A/1", "B"],
        "n": [1, 2],
    }
    (chunk,) = bc.read_parquet_from_bucket(BUCKET, "hive/", chunksize=9)
    pd.testing.assert_frame_equal(chunk, found)
    some = bc.read_parquet_from_bucket(BUCKET, "hive/**/*.parquet", columns=["cell", "a"])
    assert some.to_dict("list") == {"cell": ["A/1", "B"], "a": [1, 2]}
    only = bc.read_parquet_from_bucket(BUCKET, "hive/", columns=["n"])
    assert only.to_dict("list") == {"n": [1, 2]}
    one = bc.read_parquet_from_bucket(BUCKET, "hive/day=2022-01-02/cell=B/n=2/x.parquet")
    assert list(one.columns) == ["a"]


@pytest.mark.parametrize("chunksize", [None, 1])
def test_objects_that_grew_over_the_years(s3: Any, chunksize: int | None) -> None:
    put(s3, "grew/1", pa.table({"a": pa.array([1], pa.int32()), "s": ["x"]}))
    put(s3, "grew/2", pa.table({"new": [True], "a": [2**40]}))
    put(s3, "grew/3", pa.table({"a": [2.5], "s": pa.array(["y"]).dictionary_encode()}))
    found: Any = bc.read_parquet_from_bucket(BUCKET, "grew/", chunksize=chunksize)
    found = pd.concat(found) if chunksize else found
    assert found["a"].tolist() == [1.0, 2.0**40, 2.5]
    assert found["s"].fillna("-").tolist() == ["x", "-", "y"]
    assert found["new"].tolist() == [pd.NA, True, pd.NA]


def test_objects_that_do_not_go_together(s3: Any) -> None:
    put(s3, "apart/1", pa.table({"a": [1], "b": [1]}))
    put(s3, "apart/2", pa.table({"a": ["x"], "b": [2]}))
    for chunksize in (None, 1):
        with pytest.raises(DataFormatError, match=r"'a' is int64 in .*apart/1 and string in .*/2"):
            list(bc.read_parquet_from_bucket(BUCKET, "apart/", chunksize=chunksize or 1))
    found = bc.read_parquet_from_bucket(BUCKET, "apart/", columns=["b"])
    assert found["b"].tolist() == [1, 2]


def test_integers_that_a_float_would_round(s3: Any) -> None:
    put(s3, "round/1", pa.table({"a": [2**60 + 1]}))
    put(s3, "round/2", pa.table({"a": [0.5]}))
    with pytest.raises(DataFormatError, match=r"'a' of s3://.*round/1 cannot become double"):
        bc.read_parquet_from_bucket(BUCKET, "round/")


@pytest.mark.parametrize(
    "content", [b"a,b\n1,2\n", b"PK\x03\x04", b"PAR1", b"PAR1....\0\0\0\x7fPAR1"]
)
def test_what_is_no_parquet(s3: Any, content: bytes) -> None:
    s3.put_object(Bucket=BUCKET, Key="text", Body=content)
    with pytest.raises(DataFormatError, match=r"s3://.*/text cannot be read as Parquet"):
        bc.read_parquet_from_bucket(BUCKET, "text")


def test_a_damaged_page(s3: Any) -> None:
    file = io.BytesIO()
    large(1000).to_parquet(file, compression="snappy")
    content = file.getvalue()
    s3.put_object(Bucket=BUCKET, Key="hurt", Body=content[:50] + b"\xff" * 3000 + content[3050:])
    for chunksize in (None, 10):
        with pytest.raises(DataFormatError, match=r"s3://.*/hurt cannot be read as Parquet"):
            list(bc.read_parquet_from_bucket(BUCKET, "hurt", chunksize=chunksize or 10))
        with pytest.raises(DataFormatError, match=r"s3://.*/hurt cannot be read as Parquet"):
            bc.read_parquet_from_bucket(BUCKET, "hurt")


def test_a_missing_column_and_a_missing_key(s3: Any) -> None:
    put(s3, "one", pa.table({"a": [1]}))
    with pytest.raises(DataFormatError, match=r"(?s)no column .z. .*There are 'a'"):
        bc.read_parquet_from_bucket(BUCKET, "one", columns=["a", "z"])
    with pytest.raises(NoSuchObjectError):
        bc.read_parquet_from_bucket(BUCKET, "none")


def test_no_rows(s3: Any) -> None:
    put(s3, "zero", pa.table({"a": pa.array([], pa.int64())}))
    found = bc.read_parquet_from_bucket(BUCKET, "zero")
    assert (len(found), found["a"].dtype) == (0, "int64")
    (chunk,) = bc.read_parquet_from_bucket(BUCKET, "zero", chunksize=5)
    pd.testing.assert_frame_equal(chunk, found)


def test_the_general_door(s3: Any) -> None:
    put(s3, "door/a.PARQUET", pa.table({"a": [1]}))
    put(s3, "plain", pa.table({"a": [1]}))
    s3.put_object(Bucket=BUCKET, Key="text.parquet.csv", Body="a\n1\n")
    for key, options in (
        ("door/", {}),
        ("door/*", {}),
        ("plain", {"format": "parquet"}),
        ("text.parquet.csv", {}),
        (["text.parquet.csv"], {"format": "csv"}),
    ):
        assert bc.read_from_bucket(BUCKET, key, **options)["a"].tolist() == [1]
    with pytest.raises(UserError, match="no format 'json'"):
        bc.read_from_bucket(BUCKET, "plain", format="json")


def test_keys(s3: Any) -> None:
    for key in ("k/a.csv", "k/_b.csv", "k/c/d.csv", "k/c/e.txt", "kk"):
        s3.put_object(Bucket=BUCKET, Key=key, Body="a\n")
    assert list(bc.list_keys(BUCKET, "k/")) == ["k/_b.csv", "k/a.csv", "k/c/d.csv", "k/c/e.txt"]
    assert list(bc.list_keys(BUCKET, "k/", pattern="*.csv")) == ["k/_b.csv", "k/a.csv"]
    assert list(bc.list_keys(BUCKET, "k/", pattern="**/*.csv"))[-1] == "k/c/d.csv"
    assert list(bc.list_keys(BUCKET, pattern="k?")) == ["kk"]
    with pytest.raises(UserError):
        bc.list_keys("Not A Bucket")


def test_excel(s3: Any) -> None:
    frame = pd.DataFrame(
        {"n": [1, None], "f": [1.5, None], "s": ["x", None], "t": [dt.datetime(2022, 1, 1)] * 2}
    )
    file = io.BytesIO()
    with pd.ExcelWriter(file, engine="openpyxl") as book:
        frame.to_excel(book, sheet_name="cells", index=False)
        pd.DataFrame({"mixed": [1, "x"]}).to_excel(book, sheet_name="other", index=False)
    s3.put_object(Bucket=BUCKET, Key="book.xlsx", Body=file.getvalue())
    found = bc.read_from_bucket(BUCKET, "book.xlsx")
    assert found.dtypes.astype(str).to_dict() == {
        **{"n": "Int64", "f": "float64", "s": "str", "t": "datetime64[us]"},
    }
    assert found["n"].tolist() == [1, pd.NA]
    sheets = bc.read_excel_from_bucket(BUCKET, "book.xlsx", sheet_name=None)
    assert list(sheets) == ["cells", "other"]
    assert sheets["other"]["mixed"].tolist() == [1, "x"]
    some = bc.read_excel_from_bucket(BUCKET, "book.xlsx", columns=["s"], dtype_backend="pyarrow")
    assert str(some["s"].dtype) == "string[pyarrow]"
    for options in ({"sheet_name": "none"}, {"sheet_name": 7}, {"columns": ["zz"]}):
        with pytest.raises(DataFormatError, match=r"book.xlsx cannot be read as Excel"):
            bc.read_excel_from_bucket(BUCKET, "book.xlsx", **options)
    s3.put_object(Bucket=BUCKET, Key="text.xlsx", Body="a\n1\n")
    with pytest.raises(DataFormatError, match="read_csv_from_bucket"):
        bc.read_excel_from_bucket(BUCKET, "text.xlsx")
    with pytest.raises(DataFormatError, match="it is a ZIP archive"):
        bc.read_csv_from_bucket(BUCKET, "book.xlsx")


def test_excel_without_openpyxl(server: S3Server) -> None:
    code = (
        "import sys; sys.modules['openpyxl'] = None\n"
        "import batcat_runtime as bc\n"
        f"bc.read_excel_from_bucket({BUCKET!r}, 'book.xlsx')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=server.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "pip install 'batcat-runtime[excel]'" in done.stderr
