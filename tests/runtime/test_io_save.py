"""`save_to_bucket`: formats, index, settings and refusals; and that what is saved comes back.

Files are read by pandas and pyarrow, not by BatCat's own readers, so that a mistake cannot cancel
itself out.
"""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
import logging
import random
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from pyarrow import csv, parquet

import batcat_runtime as bc
from batcat_runtime.errors import DataFormatError, NoSuchBucketError, UserError
from tests.runtime.saver import big_frame
from tests.s3proxy import proxy_to
from tests.s3server import S3Server

BUCKET = "2022-rnd-battery"
FRAME = pd.DataFrame({"vin": ["a", None], "usage": [1.5, 2.0]})
# what pyarrow asks of pandas for columns with a time zone
pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning")


@pytest.fixture
def folder(rclone_server: tuple[S3Server, Any], bucket: Any) -> Path:
    return rclone_server[0].folder / str(bucket.name)


def saved(folder: Path, frame: Any, key: str, **options: Any) -> bytes:
    assert bc.save_to_bucket(frame, BUCKET, key, **options) == f"s3://{BUCKET}/{key}"
    return (folder / key).read_bytes()


def test_the_tutorials_key_or_an_address_without_a_suffix_is_csv(folder: Path) -> None:
    assert saved(folder, FRAME, "usage") == b"vin,usage\na,1.5\n,2\n"
    assert bc.save_to_bucket(FRAME + FRAME, f"s3://{BUCKET}/usage") == f"s3://{BUCKET}/usage"
    assert (folder / "usage").read_bytes() == b"vin,usage\naa,3.0\n,4.0\n"


def test_the_suffix_or_an_argument_chooses_the_format(folder: Path) -> None:
    saved(folder, FRAME, "usage.xlsx")
    pd.testing.assert_frame_equal(pd.read_excel(folder / "usage.xlsx"), FRAME)
    assert saved(folder, FRAME, "by-argument", format="parquet")[:4] == b"PAR1"
    assert saved(folder, FRAME, "by-argument.parquet", format="csv")[:3] == b"vin"


@pytest.mark.parametrize(
    ("key", "compression", "opened"),
    [
        ("a.csv.gz", "infer", gzip.decompress),
        ("a", "gzip", gzip.decompress),
        ("a.csv.zst", "infer", lambda data: pa.input_stream(pa.py_buffer(data), "zstd").read()),
        ("b.csv.gz", None, bytes),
    ],
)
def test_text_is_compressed_by_suffix_or_argument(
    folder: Path, key: str, compression: str | None, opened: Any
) -> None:
    frame = pd.DataFrame({"vin": ["a", None] * 200_000, "usage": [1.5, 2.0] * 200_000})
    data = saved(folder, frame, key, compression=compression)
    text = b"vin,usage\n" + b"a,1.5\n,2\n" * 200_000  # more than one slice
    assert opened(data) == text
    assert (len(data) < len(text) / 10) == (opened is not bytes)
    assert saved(folder, frame, key, compression=compression) == data, "the same each time"


@pytest.mark.parametrize("codec", ["snappy", "zstd", "gzip", "lz4", "brotli", None])
def test_parquet_is_compressed_inside(folder: Path, codec: str | None) -> None:
    saved(folder, FRAME, "a.parquet", compression=codec)
    used = parquet.ParquetFile(folder / "a.parquet").metadata.row_group(0).column(0).compression
    assert used == (codec or "uncompressed").upper()
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "a.parquet"), FRAME)


@pytest.mark.parametrize("key", ["a.csv.gz", "a.csv.zst", "a.parquet"])
def test_damage_is_seen(folder: Path, key: str) -> None:
    frame = pd.DataFrame({"n": np.arange(3_000), "x": np.random.default_rng(1).random(3_000)})
    data = saved(folder, frame, key)
    chance = random.Random(3)
    for _ in range(60):
        damaged = bytearray(data)
        damaged[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        try:
            if key == "a.parquet":
                found = parquet.read_table(pa.py_buffer(damaged), page_checksum_verification=True)
                assert found.equals(parquet.read_table(pa.py_buffer(data)))
            else:
                codec = "gzip" if key.endswith("gz") else "zstd"
                found = pa.input_stream(pa.py_buffer(damaged), codec).read()
                assert found == pa.input_stream(pa.py_buffer(data), codec).read()
        except (OSError, pa.ArrowException):
            continue


@pytest.mark.parametrize(
    ("index", "wanted", "header"),
    [
        (None, None, "v"),
        ([5, 3], None, "v"),
        ([5, 3], True, "index,v"),
        (pd.Index(["x", "y"]), None, "index,v"),
        (pd.Index(["x", "y"], name="vin"), None, "vin,v"),
        (pd.Index(["x", "y"], name="vin"), False, "v"),
        (pd.Index([5, 3], name="cycle"), None, "cycle,v"),
        (pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["vin", None]), None,
         "vin,level_1,v"),
        (range(9, 5, -2), True, "index,v"),
    ],
)  # fmt: skip
def test_an_index_that_holds_data_is_saved(
    folder: Path, index: Any, wanted: bool | None, header: str
) -> None:
    frame = pd.DataFrame({"v": [1, 2]}, index=index)
    lines = saved(folder, frame, "indexed", index=wanted).decode().splitlines()
    assert lines[0] == header
    assert lines[1].count(",") == header.count(",")
    saved(folder, frame, "indexed.parquet", index=wanted)
    expected = frame if header != "v" else frame.reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "indexed.parquet"), expected)


def test_names_of_columns(folder: Path) -> None:
    frame = pd.DataFrame([[1, 2, 3, 4, 5]], columns=["a", "a", "电压, V", "", 7])
    assert saved(folder, frame, "a.csv") == 'a,a,"电压, V","",7\n1,2,3,4,5\n'.encode()
    for names in ([10, 20], pd.to_datetime(["2022", "2023"]), ["a", None]):
        frame = pd.DataFrame([[1, 2]], columns=names)
        saved(folder, frame, "a.parquet")
        pd.testing.assert_frame_equal(pd.read_parquet(folder / "a.parquet"), frame)
    for names in (pd.CategoricalIndex(["a", "b"]), pd.period_range("2022-01", periods=2)):
        saved(folder, pd.DataFrame([[1, 2]], columns=names), "a.parquet")
        assert list(pd.read_parquet(folder / "a.parquet")) == [str(name) for name in names]


def test_what_speaks_arrow(folder: Path) -> None:
    table = pa.table({"a": [1, None], "b": ["x", ""]})
    foreign = SimpleNamespace(__arrow_c_stream__=table.__arrow_c_stream__)
    for frame in (table, foreign):
        assert saved(folder, frame, "arrow") == b'a,b\n1,"x"\n,""\n'


def test_settings_reach_the_object_small_or_large(
    rclone_server: tuple[S3Server, Any], folder: Path
) -> None:
    given: dict[str, Any] = {
        "kms_key_id": "alias/cells",
        "bucket_key": True,
        "storage_class": "STANDARD_IA",
        "metadata": {"run": "2022-01-01"},
        "tags": {"team": "cells and packs"},
        "expected_bucket_owner": "123456789012",
    }
    wanted = {
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "alias/cells",
        "x-amz-server-side-encryption-bucket-key-enabled": "true",
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-meta-run": "2022-01-01",
        "x-amz-tagging": "team=cells+and+packs",
        "content-type": "text/csv; charset=utf-8",
    }
    with proxy_to(rclone_server[0]) as proxy:
        for rows in (2, 45_000):  # the latter is uploaded in parts
            bc.save_to_bucket(big_frame(rows), BUCKET, "kept", **given)
    begun = [sent for sent in proxy.requests if not sent.query or "uploads" in sent.query]
    assert [sent.method for sent in begun] == ["PUT", "POST"]
    for sent in begun:
        assert {name: sent.headers.get(name) for name in wanted} == wanted
    owners = {sent.headers.get("x-amz-expected-bucket-owner") for sent in proxy.requests}
    assert owners == {"123456789012"}, "in every request"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"format": "json"}, "no format 'json'"),
        ({"compression": "bzip2"}, "no compression 'bzip2' for csv"),
        ({"key": "a.parquet", "compression": "xz"}, "no compression 'xz' for parquet"),
        ({"key": "a.xlsx", "compression": "gzip"}, "no compression 'gzip' for excel"),
        ({"key": "a.csv.bz2"}, "does not write"),
        ({"key": "a.parquet.gz"}, "compressed inside"),
        ({"encryption": "AES512"}, "no encryption 'AES512'"),
        ({"encryption": "AES256", "kms_key_id": "k"}, "kms_key_id cannot be given"),
        ({"expected_bucket_owner": "12345"}, "no AWS account"),
        ({"bucket": "A_b"}, "no S3 bucket name"),
        ({"bucket": f"s3://{BUCKET}/a"}, "two ways to say where"),
        ({"key": ""}, "no key of an S3 object"),
        ({"key": "folder/"}, "no key of an S3 object"),
        ({"df": pd.Series([1])}, "A Series is no table"),
        ({"df": [1]}, "A list is no table"),
        ({"df": FRAME.set_index(FRAME["vin"])}, "index has the name of a column"),
    ],
)
def test_the_impossible_is_refused_before_any_request(
    arguments: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=words) as caught:
        bc.save_to_bucket(**{"df": FRAME, "bucket": BUCKET, "key": "a", **arguments})
    assert caught.value.fix


def test_a_missing_bucket(folder: Path) -> None:
    for rows in (1, 45_000):
        with pytest.raises(NoSuchBucketError, match="The bucket of s3://no-such-bucket-here/a"):
            bc.save_to_bucket(big_frame(rows), "no-such-bucket-here", "a")


def test_long_saves_show_progress(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("batcat_runtime.io.progress.QUIET_SECONDS", 0.0)
    monkeypatch.setattr(bc.get_logger(), "propagate", True)
    with caplog.at_level(logging.INFO):
        bc.save_to_bucket(big_frame(50_000), BUCKET, "long")
    assert f"Saving s3://{BUCKET}/long  " in caplog.text


def objects(*values: Any) -> pd.Series[Any]:
    return pd.Series(list(values), dtype=object)


DAY, TIME = dt.date(2022, 1, 1), dt.datetime(2022, 1, 1, 1)
MONTHS, ZONE = pd.period_range("2022-01", periods=2, freq="M"), dt.timezone(dt.timedelta(hours=8))
MONTH_TEXTS, BINS = ["2022-01", "2022-02"], pd.cut([1, 5], [0, 2, 10])
SAME, NO = object(), DataFormatError
UUIDS = pa.array([uuid.UUID(int=1).bytes, None], pa.uuid())
RUNS = pa.array([5, 5], pa.run_end_encoded(pa.int32(), pa.int64()))
MAP = pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64()))
UNION = pa.UnionArray.from_sparse(pa.array([0, 0], "int8"), [pa.array([1, 2])])
# A column, its cells as CSV, and as it is read back from Parquet and from Excel: the same, other
# values, or an error that names it.
COLUMNS: list[tuple[str, Any, Any, Any, Any]] = [
    ("period", MONTHS, MONTH_TEXTS, SAME, MONTH_TEXTS),
    ("interval", pd.interval_range(0, 2), ["(0, 1]", "(1, 2]"], SAME, ["(0, 1]", "(1, 2]"]),
    ("bins", BINS, ["(0, 2]", "(2, 10]"], list(BINS), ["(0, 2]", "(2, 10]"]),
    ("months", pd.Categorical(MONTHS), MONTH_TEXTS, list(MONTHS), MONTH_TEXTS),
    ("mixed categories", pd.Categorical([1, "a"]), ["1", "a"], NO, [1, "a"]),
    ("no categories", pd.Categorical([None, None]), ["", ""], [np.nan] * 2, [np.nan] * 2),
    ("sparse", pd.arrays.SparseArray([0, 1]), ["0", "1"], NO, [0, 1]),
    ("complex", np.array([1j, 2]), ["1j", "(2+0j)"], NO, ["1j", "(2+0j)"]),
    ("long double", np.array([1.5, 2], "longdouble"), ["1.5", "2.0"], NO, [1.5, 2.0]),
    ("half", np.array([1.5, 2], "f2"), ["1.5", "2"], SAME, [1.5, 2.0]),
    ("took", pd.to_timedelta([1, None], unit="D"), ["1 days 00:00:00", ""], SAME, [1.0, np.nan]),
    ("took, nested", objects([dt.timedelta(1)], None), ['["1 day, 0:00:00"]', ""], SAME, ...),
    ("uuid", UUIDS, [str(uuid.UUID(int=1)), ""], SAME, NO),
    ("json", pa.array(["{}", "1"], pa.json_()), ["{}", "1"], SAME, ["{}", "1"]),
    ("encoded runs", RUNS, ["5", "5"], NO, [5, 5]),
    ("view", pa.array(["x", None], pa.string_view()), ["x", ""], SAME, ["x", np.nan]),
    ("map", MAP, ['{"a": 1}', ""], SAME, ...),
    ("union", UNION, ["1", "2"], NO, NO),
    ("empty struct", pa.array([{}, {}], pa.struct([])), ["{}", "{}"], NO, ["{}", "{}"]),
    ("list", objects([1, "é"], {"a": DAY}), ['[1, "é"]', '{"a": "2022-01-01"}'], NO, ...),
    ("array", objects(np.ones(2), None), ["[1.0, 1.0]", ""], SAME, ...),
    ("mixed", objects(1, "one"), ["1", "one"], NO, [1, "one"]),
    ("large", objects(2**70, None), [str(2**70), ""], NO, ...),
    ("truth", objects(True, None), ["true", ""], SAME, [1.0, np.nan]),
    ("time", objects(dt.time(1, 2, 3), None), ["01:02:03", ""], SAME, ["01:02:03", np.nan]),
    ("dates and times", objects(DAY, TIME), ["2022-01-01", "2022-01-01 01:00:00"], NO, ...),
    ("zones", objects(TIME.replace(tzinfo=ZONE), None), ["2022-01-01 01:00:00+08:00", ""], ..., NO),
    ("decimal", objects(decimal.Decimal("1.10"), None), ["1.10", ""], SAME, [1.1, np.nan]),
    ("infinite", objects(decimal.Decimal("Infinity"), None), ["Infinity", ""], NO, ...),
    ("bytes", objects(b"\xff", None), NO, SAME, NO),
    ("no text", objects("\ud800", None), NO, NO, NO),
    ("nul", objects("a\0b", ""), ["a\0b", ""], SAME, NO),
    ("formula", objects("=1+1", "x"), ["=1+1", "x"], SAME, ["=1+1", "x"]),
    ("too long a cell", objects("x" * 32_768, ""), ["x" * 32_768, ""], SAME, NO),
]  # fmt: skip


@pytest.mark.parametrize("column", COLUMNS, ids=[column[0] for column in COLUMNS])
def test_a_column_comes_back_or_is_refused_by_name(folder: Path, column: Any) -> None:
    name, values, *expected = column
    is_arrow = isinstance(values, pa.Array)
    table: Any = pa.table if is_arrow else pd.DataFrame
    frame = table({"n": pa.array([1, 2]) if is_arrow else [1, 2], name: values})
    for suffix, wanted in zip(("csv", "parquet", "xlsx"), expected, strict=True):
        path = folder / f"column.{suffix}"
        path.unlink(missing_ok=True)
        if wanted is NO:
            with pytest.raises(DataFormatError, match=f"^Column '{name}'") as caught:
                bc.save_to_bucket(frame, BUCKET, path.name)
            assert caught.value.fix
            assert not path.exists()
            continue
        bc.save_to_bucket(frame, BUCKET, path.name)
        if suffix == "csv":
            found = pd.read_csv(path, dtype=str, keep_default_na=False)[name].tolist()
        elif wanted is SAME and is_arrow:
            found, wanted = parquet.read_table(path)[name].to_pylist(), values.to_pylist()
        elif suffix == "parquet":
            found = pd.read_parquet(path)[name]
            if wanted is SAME:
                pd.testing.assert_series_equal(
                    found, frame[name], check_dtype=frame[name].dtype != object
                )
        else:
            found = pd.read_excel(path)[name].tolist()
        if wanted is not SAME and wanted is not ...:
            assert repr(list(found)) == repr(wanted)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pd.DataFrame(index=range(3)), "3 rows and no columns"),
        (pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", 1)])), "2 levels"),
    ],
)
def test_a_table_that_no_file_can_say_is_refused(
    folder: Path, frame: pd.DataFrame, words: str
) -> None:
    for key in ("bad.parquet", "bad.csv", "bad.xlsx"):
        with pytest.raises(DataFormatError, match=words) as caught:
            bc.save_to_bucket(frame, BUCKET, key)
        assert caught.value.fix
        assert not (folder / key).exists()


def test_no_columns_a_mixed_index_and_doubled_names(folder: Path) -> None:
    saved(folder, pd.DataFrame(), "none.parquet")
    assert pd.read_parquet(folder / "none.parquet").shape == (0, 0)
    named = pd.DataFrame(index=pd.Index(["x", "y"], name="k"))
    assert saved(folder, named, "named.csv") == b'k\n"x"\n"y"\n'
    saved(folder, named, "named.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "named.parquet"), named)
    mixed = pd.DataFrame({"a": [1, 2]}, index=pd.Index([1, "x"], dtype=object))
    with pytest.raises(DataFormatError, match="Could not convert 'x'"):
        bc.save_to_bucket(mixed, BUCKET, "mixed.parquet")
    with pytest.raises(DataFormatError, match="'a' occurs more than once"):
        bc.save_to_bucket(pd.DataFrame([[1, 2]], columns=["a", "a"]), BUCKET, "twice.parquet")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"a": ["x", None, ""]}, 'a\n"x"\n""\n""\n'),
        ({"a": [1, None]}, 'a\n"1.0"\n""\n'),
        ({"a": [" ", "x"]}, 'a\n" "\n"x"\n'),
        ({"a": []}, "a\n"),
        ({"f": [1.0, -0.0, None], "g": [1, 2.5, 1e300]}, "f,g\n1.0,1\n-0.0,2.5\n,1e+300\n"),
    ],
)
def test_no_empty_lines_and_floats_stay_floats(
    folder: Path, values: dict[str, list[Any]], text: str
) -> None:
    frame = pd.DataFrame(values)
    assert saved(folder, frame, "a.csv").decode() == text
    assert len(pd.read_csv(folder / "a.csv")) == len(frame)


def test_many_slices_are_one_table(folder: Path) -> None:
    rows = 600_000
    frame = pd.DataFrame(
        {
            "n": np.arange(rows),
            "text": pd.Series([f"row {row}" if row % 7 else None for row in range(rows)]),
            "late": pd.Series([None] * (rows - 1) + [3.5]),
            "object": pd.Series([None] * (rows - 1) + [DAY], dtype=object),
            "comma": pd.Series(["plain"] * (rows - 1) + ['a "quoted", one']),
        },
    ).set_axis(pd.RangeIndex(5, 5 + rows))
    assert saved(folder, frame, "many.csv").endswith(b'3.5,"2022-01-01","a ""quoted"", one"\n')
    nulls = csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)
    found = csv.read_csv(folder / "many.csv", convert_options=nulls).to_pandas()
    columns = ["n", "text", "late", "comma"]
    pd.testing.assert_frame_equal(found[columns], frame[columns].reset_index(drop=True))
    saved(folder, frame, "many.parquet", index=True)
    assert parquet.ParquetFile(folder / "many.parquet").num_row_groups > 1
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "many.parquet"), frame)


texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=8)
awkward = ["", " ", '"', ",", "\n", "\r", "\r\n", "a,b", 'x"y', "电压", "NA", "null", "NaN", "007"]
words = texts | st.sampled_from(awkward)
times = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1))
decimals = st.decimals(-(10**9), 10**9, allow_nan=False, places=4)
floats = st.floats(allow_nan=False)
# values, dtype, and the Arrow type that CSV is read as
KINDS: list[tuple[st.SearchStrategy[Any], Any, pa.DataType]] = [
    (st.none() | st.integers(-(2**63), 2**63 - 1), "Int64", pa.int64()),
    (st.integers(0, 2**64 - 1), "uint64", pa.uint64()),
    (floats, "float64", pa.float64()),
    (st.none() | floats, "Float64", pa.float64()),
    (st.floats(width=32, allow_nan=False), "float32", pa.float32()),
    (st.none() | st.booleans(), "boolean", pa.bool_()),
    (st.none() | words, "str", pa.string()),
    (st.none() | words, object, pa.string()),
    (st.none() | st.sampled_from(awkward), pd.CategoricalDtype(awkward, ordered=True), pa.string()),
    (st.none() | times, "datetime64[us]", pa.timestamp("us")),
    (st.none() | times, "datetime64[ns]", pa.timestamp("ns")),
    (st.none() | times, "datetime64[us, Asia/Shanghai]", pa.timestamp("us", "UTC")),
    (st.none() | st.dates(), object, pa.date32()),
    (st.none() | decimals, object, pa.decimal128(30, 4)),
]


@st.composite
def columns_of(draw: st.DrawFn) -> list[tuple[pd.Series[Any], pa.DataType]]:
    size = draw(st.integers(1, 5))
    chosen = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
    return [
        (pd.Series(draw(st.lists(values, min_size=size, max_size=size)), dtype=dtype), kind)
        for values, dtype, kind in chosen
    ]


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(columns=columns_of())
def test_csv_and_parquet_carry_every_value(folder: Path, columns: Any) -> None:
    """CSV also texts that look like no value: those are quoted, and gaps are not."""
    frame = pd.DataFrame({f"c{place}": values for place, (values, _) in enumerate(columns)})
    saved(folder, frame, "a.parquet")
    came = pd.read_parquet(folder / "a.parquet")
    for name, values in frame.items():
        is_text = values.dtype == object and pa.types.is_string(pa.array(values).type)
        pd.testing.assert_series_equal(
            came[name], values, check_exact=True, check_dtype=not is_text
        )
    saved(folder, frame, "a.csv")
    alone = len(columns) == 1  # there, a line with no value is written as ""
    found = csv.read_csv(
        folder / "a.csv",
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types={f"c{place}": kind for place, (_, kind) in enumerate(columns)},
            null_values=[""] if alone else ["", "NA", "null", "NaN"],
            strings_can_be_null=True,
            quoted_strings_can_be_null=alone,
        ),
    )
    for (values, kind), got in zip(columns, found.columns, strict=True):
        expected = pa.array(values, from_pandas=True).cast(kind).to_pylist()
        if alone:
            expected = [None if value == "" else value for value in expected]
        assert list(map(repr, got.to_pylist())) == list(map(repr, expected))
