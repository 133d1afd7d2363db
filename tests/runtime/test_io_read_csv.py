"""Reading CSV from S3: every type, every spelling, every way to say where, on a real server."""

from __future__ import annotations

import base64
import bz2
import csv
import datetime as dt
import decimal
import gzip
import io
import lzma
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import batcat_runtime as bc
from batcat_runtime.errors import DataFormatError, NoSuchObjectError, UserError

BUCKET = "2022-rnd-battery"


def put(bucket: Any, content: str | bytes, key: str = "table") -> None:
    bucket.put_object(Key=key, Body=content.encode() if isinstance(content, str) else content)


def read(bucket: Any, content: str | bytes, key: str = "table", **options: Any) -> Any:
    put(bucket, content, key)
    return bc.read_csv_from_bucket(BUCKET, key, **options)


def whole_and_chunked(bucket: Any, content: str | bytes, **options: Any) -> Any:
    """Return what was read as a whole; chunks of the same must be the same."""
    found = read(bucket, content, **options)
    chunks = list(bc.read_csv_from_bucket(BUCKET, "table", chunksize=3, **options))
    assert all(len(chunk) == 3 for chunk in chunks[:-1])
    pd.testing.assert_frame_equal(pd.concat(chunks), found)
    return found


def column(bucket: Any, cells: str, **options: Any) -> pd.Series[Any]:
    rows = "".join(f"{cell},x\n" for cell in cells.split("|"))
    found: pd.Series[Any] = read(bucket, f"a,b\n{rows}", **options)["a"]
    return found


@pytest.mark.parametrize(
    ("cells", "dtype", "values"),
    [
        ("-1|18446744073709551615", "str", ["-1", "18446744073709551615"]),
        ("1.5|18446744073709551616", "float64", [1.5, 18446744073709551616.0]),
        ("2022-01-01|10:00", "str", ["2022-01-01", "10:00"]),
        ("007| 5|+1", "int64", [7, 5, 1]),
        ("1||3", "Int64", [1, None, 3]),
        ("9223372036854775807|-9223372036854775808", "int64", [2**63 - 1, -(2**63)]),
        ("9223372036854775808|1", "uint64", [2**63, 1]),
        ("18446744073709551615|", "UInt64", [2**64 - 1, None]),
        ("18446744073709551616|1", "str", ["18446744073709551616", "1"]),
        ("-9223372036854775809|007", "str", ["-9223372036854775809", "007"]),
        ("1.5|", "float64", [1.5, None]),
        ("1.5|111111111111111111111", "float64", [1.5, 111111111111111111111.0]),
        ("0.1|5e-324|1.7976931348623157e308", "float64", [0.1, 5e-324, 1.7976931348623157e308]),
        ("true|False|TRUE", "bool", [True, False, True]),
        ("true|", "boolean", [True, None]),
        ("a|", "str", ["a", None]),
        ("2022-01-01|1500-02-03", "datetime64[us]", ["2022-01-01", "1500-02-03"]),
        ("2022-01-01 10:00|2022-01-02", "datetime64[us]", ["2022-01-01 10:00", "2022-01-02"]),
        (
            "2022-01-01|9999-12-31 23:59:59.999999",
            "datetime64[us]",
            ["2022-01-01", "9999-12-31 23:59:59.999999"],
        ),
        ("2022-01-01 00:00:00.000000001", "datetime64[ns]", ["2022-01-01 00:00:00.000000001"]),
        ("2022-01-01T00:00:00Z", "datetime64[us, UTC]", ["2022-01-01T00:00Z"]),
        (
            "2022-01-01 00:00:00.5+08:00|",
            "datetime64[us, UTC]",
            ["2021-12-31T16:00:00.5Z", None],
        ),
        ("2022-01-01 00:00|2022-01-01 00:00Z", "str", ["2022-01-01 00:00", "2022-01-01 00:00Z"]),
        ("2022-01-01|hello", "str", ["2022-01-01", "hello"]),
        ("2022-13-01", "str", ["2022-13-01"]),
        ("12:34|12:34:56", "object", [dt.time(12, 34), dt.time(12, 34, 56)]),
        ("12:34:56|12:34:56.5", "object", [dt.time(12, 34, 56), dt.time(12, 34, 56, 500_000)]),
        ("||", "float64", [None, None, None]),
        ("NA|null|NaN|None||n/a|<NA>", "float64", [None] * 7),
        ('1|""|', "Int64", [1, None, None]),
        ('"1.5"|""', "float64", [1.5, None]),
        ('x|""|', "str", ["x", "", None]),
        ('""|', "str", ["", None]),
        ('"NA"|NA', "str", ["NA", None]),
    ],
)
def test_what_a_column_becomes(bucket: Any, cells: str, dtype: str, values: list[Any]) -> None:
    rows = "".join(f"{cell},x\n" for cell in cells.split("|"))
    found = whole_and_chunked(bucket, f"a,b\n{rows}")["a"]
    assert str(found.dtype) == dtype
    if dtype.startswith("datetime64"):
        values = [None if value is None else pd.Timestamp(value) for value in values]
    assert [None if pd.isna(value) else value for value in found] == values
    # one by one in objects of their own they are the same column, also in another order
    keys = [f"cells/{number}" for number in range(len(values))]
    for key, cell in zip(keys, cells.split("|"), strict=True):
        put(bucket, f"b,a\nx,{cell}\n" if key == "cells/1" else f"a,b\n{cell},x\n", key)
    pd.testing.assert_series_equal(bc.read_csv_from_bucket(BUCKET, keys)["a"], found)


TOKENS = """
1 -1 +1 007 -0 00 0x1F 0X1f 0x18FF50E5 -0x1F 0xZZ 0b101 0o17 1_000 1e5 1E5 1e+5 1e e5 1d5 1f 1L 1.
. .5 -.5 +.5 +1.5 --1 +-1 1.5 -1.5e-3 1e400 1e-400 0x1p3 0.1000000000000000000001 inf Inf INF -inf
+inf infinity -Infinity iNf NAN nAn +nan -NAN NONE Null nil T F t yes no 1b 5% $5 1-2 1/2 1:2 NaT
- + e x 2022-1-1 2022-01 20220101 1/2/2022 12345678901234567890
"""


@pytest.mark.parametrize("beside", ["{}", "1", "2.5", "true", "x"])
def test_a_number_is_what_pandas_takes_for_one(bucket: Any, beside: str) -> None:
    tokens = TOKENS.split()
    names = [f"c{number}" for number in range(len(tokens))]
    rows = [names, tokens, [beside.format(token) for token in tokens]]
    text = "\n".join(map(",".join, rows))
    found = whole_and_chunked(bucket, text)
    wanted = pd.read_csv(io.StringIO(text))
    for name, token in zip(names, tokens, strict=True):
        known = wanted[name]
        if known.dtype == object:  # integers beyond 64 bits, or of several types
            known = pd.Series([token, beside.format(token)], name=name)
        pd.testing.assert_series_equal(found[name], known, obj=token)


def test_names(bucket: Any) -> None:
    found = read(bucket, '"电压 (V)",a,a,,"x\ny",a.1\n1,2,3,4,5,6\n')
    assert list(found.columns) == ["电压 (V)", "a", "a.2", "Unnamed: 3", "x\ny", "a.1"]
    assert found.iloc[0].tolist() == [1, 2, 3, 4, 5, 6]


def test_a_missing_column(bucket: Any) -> None:
    with pytest.raises(
        DataFormatError, match=r"(?s)s3://.*/table .* it lacks 'd'.*It has 'a', 'b'"
    ):
        read(bucket, "a,b\n1,2\n", columns=["a", "d"])


@pytest.mark.parametrize(
    ("text", "options", "found"),
    [
        (
            'a;b\r\n"x;\r\n""y""\n";1,5\r\n5" pipe;2,25\r\n',
            {"sep": ";", "decimal": ","},
            {"a": ['x;\r\n"y"\n', '5" pipe'], "b": [1.5, 2.25]},
        ),
        ("a\tb\n'x\ty'\t\"\n", {"sep": "\t", "quotechar": "'"}, {"a": ["x\ty"], "b": ['"']}),
        ('a,b\n"x,1\n', {"quotechar": None}, {"a": ['"x'], "b": [1]}),
        ("a,b\r1,2\r3,4\r", {}, {"a": [1, 3], "b": [2, 4]}),
        ("\n\na\n\n1\n\n2\n\n", {}, {"a": [1, 2]}),
        ('about\n"this, file\na,b\n1,2', {"skiprows": 2}, {"a": [1], "b": [2]}),
        ("a,b,c,a\n1,2,3,4\n", {"columns": ["c", "a.1"]}, {"c": [3], "a.1": [4]}),
        (b"a\n\xe9\n", {"encoding": "latin-1"}, {"a": ["\u00e9"]}),
        ("1,x\n2,y\n", {"names": ["n", "s"]}, {"n": [1, 2], "s": ["x", "y"]}),
        ("a,b\n1,x\n", {"names": ["n", "s"], "header": True}, {"n": [1], "s": ["x"]}),
        (
            "1,x\n2,y\n",
            {"header": False, "columns": [1], "dtype": {1: "category"}},
            {1: ["x", "y"]},
        ),
    ],
)
def test_ways_to_write_it(
    bucket: Any, text: str | bytes, options: dict[str, Any], found: dict[Any, list[Any]]
) -> None:
    assert read(bucket, text, **options).to_dict("list") == found


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8", "gb18030", "utf-16", "utf-16-be"])
def test_encodings(bucket: Any, encoding: str) -> None:
    content = ("电压,b\n" + "测量,1\n" * 1000).encode(encoding)
    told = {} if encoding.startswith("utf-8") else {"encoding": encoding}
    found = read(bucket, content, **told)
    assert list(found.columns) == ["电压", "b"]
    assert found["电压"].unique().tolist() == ["测量"]
    assert len(found) == 1000
    chunks = list(bc.read_csv_from_bucket(BUCKET, "table", chunksize=300, **told))
    assert [len(chunk) for chunk in chunks] == [300, 300, 300, 100]


PACKERS = {
    "gz": lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:]),
    "bz2": bz2.compress,
    "xz": lambda data: lzma.compress(data[:9]) + lzma.compress(data[9:]),
    "zst": lambda data: bytes(pa.compress(data, "zstd", asbytes=True)),
}


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("suffix", [True, False])
def test_compressed(bucket: Any, kind: str, suffix: bool) -> None:
    content = b"a,b\n" + b"1,x\n" * 1_000_000
    key = f"table.csv.{kind}" if suffix else "table"
    assert len(read(bucket, PACKERS[kind](content), key)) == 1_000_000
    assert sum(map(len, bc.read_csv_from_bucket(BUCKET, key, chunksize=300_000))) == 1_000_000


# by `zstd --check`: Python 3.11 has no zstd, and Arrow's frames have no checksum
CHECKED = """
KLUv/WQDAWUGALYTKhHApdjGNw7XziK7e6fkrAoHBiYAJAAjAGVcL8qWW0fPT8ZfZorSKSHOzQ2pqBfW1H3abWperyIC
gEEoB4IgZtgtzJLEXGkZi5U3yauUKDKVY2VTEllUypJz9KU55lxetKwBZ9TU4+zQnelXbeZrb5lyNmEyp67GpIk4Meu1
3bRayuadiRoMKmoIK2Z32hdxOx/xq1MsxugcatWcJD45yy/9tJCPzzMZaSeoEexQ4W4H8JUDECD4ASUe8gExMlQLVoqB
m7Ub+GNZBdiWtrE=
"""
NUMBERS = "n,s\n" + "".join(f"{n},LSV{n * 7919:06}\n" for n in range(1, 41))


@pytest.mark.parametrize("kind", PACKERS)
def test_damaged_bytes_are_never_data(bucket: Any, kind: str) -> None:
    packed = base64.b64decode(CHECKED) if kind == "zst" else PACKERS[kind](NUMBERS.encode())
    whole = read(bucket, packed)
    assert whole.to_csv(index=False) == NUMBERS
    random = np.random.default_rng(1)
    for place in random.integers(10, len(packed), 12):
        for damaged in (packed[:place], packed[:place] + b"~" + packed[place + 1 :]):
            try:
                found = read(bucket, damaged, "damaged")
            except DataFormatError:
                continue
            pd.testing.assert_frame_equal(found, whole)


def test_a_suffix_that_lies(bucket: Any) -> None:
    assert read(bucket, "a\n1\n", "table.csv.gz")["a"].tolist() == [1]
    with pytest.raises(DataFormatError, match="is not compressed with gzip"):
        read(bucket, "a\n1\n", compression="gzip")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PAR1....PAR1", "read_parquet_from_bucket"),
        (b"PK\x03\x04....", "ZIP"),
        (
            b"PK\x03\x04....docProps/app.xml....xl/workbook.xml",
            "an Excel file.*read_excel_from_bucket",
        ),
        (b"\xd0\xcf\x11\xe0....", "old kind.*read_excel_from_bucket"),
        (b"\n<!DOCTYPE HTML><title>Log in</title>", "HTML.*HTTPS_PROXY"),
        (b"<html><body>a,b</body></html>", "HTML"),
        (b"a,b\n1,2\n3,4,5\n", "Expected 2 columns, got 3: 3,4,5"),
        (b'a,b\n1,"2\n3,4\n', "it ends within quotes"),
        (b"\xff\xfea\0,\0b\0", "encoding='utf-16'"),
        (b"", "it is empty"),
        (b"\n\r\n", "it is empty"),
        (b"a,b\n1,2\n3\n", "cannot be read as CSV.*Expected 2 columns, got 1"),
        (b"a,b\n1,2\n\xff,4\n", "column 'a' is not in UTF-8"),
        ("电压,b\n1,2\n".encode("gb18030"), "Check `encoding`"),
    ],
)
def test_what_is_no_csv(bucket: Any, content: bytes, said: str) -> None:
    with pytest.raises(DataFormatError, match=rf"(?s)s3://{BUCKET}/table.*{said}"):
        read(bucket, content)
    with pytest.raises(DataFormatError, match=rf"(?s)s3://{BUCKET}/table.*{said}"):
        list(bc.read_csv_from_bucket(BUCKET, "table", chunksize=10))


def test_a_header_alone_is_a_table_without_rows(bucket: Any) -> None:
    for text in ("a,b", "a,b\n", "a,b\r\n\r\n"):
        found = read(bucket, text, dtype={"b": "Int64"})
        assert found.dtypes.astype(str).to_dict() == {"a": "float64", "b": "Int64"}
        assert len(found) == 0
        (chunk,) = bc.read_csv_from_bucket(BUCKET, "table", dtype={"b": "Int64"}, chunksize=5)
        pd.testing.assert_frame_equal(chunk, found)


@pytest.mark.parametrize(
    ("dtype", "found"),
    [
        ("str", ["007", np.nan]),
        (object, ["007", np.nan]),
        ("string", ["007", pd.NA]),
        ("category", ["007", np.nan]),
        ("Int64", [7, pd.NA]),
        ("float32", [7.0, np.nan]),
        ("float", [7.0, np.nan]),
        ("int64[pyarrow]", [7, pd.NA]),
        (pa.decimal128(5, 2), [decimal.Decimal("7.00"), None]),
    ],
)
def test_dtypes_as_in_pandas(bucket: Any, dtype: Any, found: list[Any]) -> None:
    column_found = column(bucket, "007|", dtype={"a": dtype})
    if not isinstance(dtype, pa.DataType):
        assert str(column_found.dtype) == str(pd.api.types.pandas_dtype(dtype))
    assert column_found[0] == found[0]
    assert pd.isna(column_found[1])
    (chunk,) = bc.read_csv_from_bucket(BUCKET, "table", dtype={"a": dtype}, chunksize=9)
    pd.testing.assert_series_equal(chunk["a"], column_found)


def test_dtypes_of_times_and_truth(bucket: Any) -> None:
    text = "t,z,b\n2022-01-01,2022-01-01T00:00Z,true\n"
    dtypes = {"t": "datetime64[ns]", "z": "datetime64[ms, Asia/Shanghai]", "b": "boolean"}
    assert read(bucket, text, dtype=dtypes).dtypes.astype(str).to_dict() == dtypes


def test_a_dtype_that_does_not_fit(bucket: Any) -> None:
    with pytest.raises(DataFormatError, match=r"(?s)'a'.*int8.*300"):
        column(bucket, "1|300", dtype={"a": "int8"})
    with pytest.raises(DataFormatError, match=r"(?s)'a' to int8.* NA .*'Int64'"):
        column(bucket, "1|", dtype={"a": "int8"})
    with pytest.raises(DataFormatError, match="no column 'z'"):
        column(bucket, "1", dtype={"z": "int8"})


def test_null_values_of_ones_own(bucket: Any) -> None:
    found = column(bucket, "NA|-999|x", null_values=["-999"])
    assert found[0] == "NA"
    assert pd.isna(found[1])


@pytest.mark.parametrize(
    "options",
    [
        {"sep": "||"},
        {"sep": "\n"},
        {"sep": ",", "decimal": ","},
        {"quotechar": "«"},
        {"skiprows": -1},
        {"columns": "a"},
        {"columns": []},
        {"dtype": "intt"},
        {"dtype": {"a": "timedelta64[ns]"}},
        {"encoding": "klingon"},
        {"compression": "rar"},
        {"chunksize": 0},
        {"chunksize": 1.5},
        {"dtype_backend": "arrow"},
        {"names": ["a", "a"]},
    ],
    ids=str,
)
def test_impossible_arguments_are_refused_before_any_request(options: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        bc.read_csv_from_bucket(BUCKET, "not-there", **options)


@pytest.fixture
def days(bucket: Any) -> Any:
    for number, text in enumerate(["a,b\n1,x\n", "b,a\ny,2.5\n", "a,b\n,z\n"]):
        bucket.put_object(Key=f"days/{number}.csv", Body=text)
    bucket.put_object(Key="days/_manifest.json", Body="{}")
    bucket.put_object(Key="days/sub/.hidden", Body="{}")
    return bucket


@pytest.mark.parametrize(
    "key",
    [
        "days/",
        "days/*.csv",
        "**/[0-2].csv",
        ["days/0.csv", "days/1.csv", "days/2.csv"],
        ["days/0.csv", "days/[!0].csv"],
    ],
)
@pytest.mark.parametrize("chunksize", [None, 1, 2, 100])
def test_many_objects_are_one_table(days: Any, key: Any, chunksize: int | None) -> None:
    found: Any = bc.read_csv_from_bucket(BUCKET, key, chunksize=chunksize, dtype={"a": "float"})
    if chunksize:
        found = list(found)
        assert all(len(chunk) == min(chunksize, 3) for chunk in found[:-1])
        found = pd.concat(found)
    wanted = pd.DataFrame({"a": [1.0, 2.5, np.nan], "b": ["x", "y", "z"]})
    pd.testing.assert_frame_equal(found, wanted)


def test_nothing_there(days: Any) -> None:
    for key in ("nights/", "days/*.parquet", "days/_*/", "days/sub/"):
        with pytest.raises(NoSuchObjectError, match=r"No object (lies under|matches) s3://"):
            bc.read_csv_from_bucket(BUCKET, key)


def test_objects_with_other_columns_are_named(days: Any) -> None:
    days.put_object(Key="mixed/0", Body="a,b\n1,2\n")
    days.put_object(Key="mixed/1", Body="a,c\n3,4\n")
    for chunksize in (None, 5):
        with pytest.raises(
            DataFormatError,
            match=r"mixed/1 has other columns than .*mixed/0: it lacks 'b' and has 'c'",
        ):
            pd.concat(bc.read_csv_from_bucket(BUCKET, "mixed/", chunksize=chunksize or 1))
    assert bc.read_csv_from_bucket(BUCKET, "mixed/", columns=["a"])["a"].tolist() == [1, 3]


CELLS = st.one_of(
    st.none(),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6),
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=False).map(repr),
    st.sampled_from(["true", "NA", '"', '""', ",", "\n", "\r\n", "2022-01-01", "a\nb", '5" pipe']),
)


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(rows=st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=12), size=st.integers(1, 5))
def test_text_comes_back_letter_by_letter(
    bucket: Any, rows: list[tuple[str | None, ...]], size: int
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b", "c"), *rows])
    found = read(bucket, text.getvalue(), dtype="str")
    assert found.to_numpy().tolist() == [[cell or "" for cell in row] for row in rows]
    whole = bc.read_csv_from_bucket(BUCKET, "table")
    chunks = list(bc.read_csv_from_bucket(BUCKET, "table", chunksize=size))
    assert all(len(chunk) == size for chunk in chunks[:-1])
    pd.testing.assert_frame_equal(pd.concat(chunks), whole)


def test_a_round_trip_keeps_empty_text_and_gaps(bucket: Any) -> None:
    frame = pd.DataFrame({"s": ["", None, "x", " "], "n": pd.array([1, None, 3, 4], "Int64")})
    bc.save_to_bucket(frame, BUCKET, "kept")
    pd.testing.assert_frame_equal(bc.read_csv_from_bucket(BUCKET, "kept"), frame)
    chunks: Any = bc.read_csv_from_bucket(BUCKET, "kept", chunksize=4)
    pd.testing.assert_frame_equal(next(chunks), frame)


@pytest.fixture(scope="module")
def plain() -> str:
    """More rows than decide on the types of chunks."""
    return "".join(f'"{n}",{n / 7:.6f},LSV{n:09}\n' for n in range(330_000))


def test_what_shows_late_in_a_large_object(bucket: Any, plain: str) -> None:
    assert len(plain) > 9 << 20
    late = "".join(f'"",0.5,"two\nlines {n}"\n' for n in range(40_000))
    content = f"n,f,s\n{plain}{late}"
    found = read(bucket, content)
    assert found.dtypes.astype(str).to_dict() == {"n": "Int64", "f": "float64", "s": "str"}
    assert found["n"].sum() == sum(range(330_000))
    assert found["s"].iloc[-1] == "two\nlines 39999"
    chunks = list(bc.read_csv_from_bucket(BUCKET, "table", chunksize=100_000))
    assert [len(chunk) for chunk in chunks] == [100_000] * 3 + [70_000]
    pd.testing.assert_frame_equal(pd.concat(chunks).astype(found.dtypes), found)


def test_a_large_object_has_the_types_of_all_its_rows(bucket: Any) -> None:
    kinds = {  # what most rows have, and what one has in the end
        "whole": ("1", "2.5"),
        "number": ("0.5", "x"),
        "truth": ("true", "2"),
        "day": ("2022-01-01", "2022-01-01 10:00:00"),
        "time": ("10:00:00", "10:00:00.5"),
        "second": ("2022-01-01 10:00:00", "2022-01-01 10:00:00.123456789"),
        "nanosecond": ("2022-01-01 10:00:00.123456789", "2022-01-01 10:00:00Z"),
        "zone": ("2022-01-01 10:00:00Z", "2022-01-01 10:00:00.123456789Z"),
        "gap": ("", "5"),
        "text": ('"x"', '""'),
    }
    header, usual = ",".join(kinds), ",".join(value for value, _ in kinds.values())
    many, few = (f"{usual}\n" * rows for rows in (130_000, 2))
    assert len(many) > 12 << 20
    same = read(bucket, f"{header}\n{many}")
    assert same.dtypes.equals(read(bucket, f"{header}\n{few}").dtypes)
    for name, (_, late) in kinds.items():
        last = ",".join(late if name == other else value for other, (value, _) in kinds.items())
        found = read(bucket, f"{header}\n{many}{last}\n")[name]
        expected = read(bucket, f"{header}\n{few}{last}\n")[name]
        assert found.dtype == expected.dtype, name
        assert found.iloc[-1] == expected.iloc[-1], name


@pytest.mark.parametrize(
    ("name", "row"), [("n", "2.5,1,0x"), ("n", "0x1F,1,x"), ("n", "x,1,x"), ("f", "1,NAN,x")]
)
def test_chunks_keep_the_type_of_the_first(bucket: Any, plain: str, name: str, row: str) -> None:
    value = row.split(",")[0 if name == "n" else 1]
    assert str(read(bucket, f"n,f,s\n{plain}{row}\n")[name].iloc[-1]) == value
    said = rf"(?s)Column '{name}' of .*{value}.*dtype=\{{'{name}': 'str'"
    with pytest.raises(DataFormatError, match=said):
        list(bc.read_csv_from_bucket(BUCKET, "table", chunksize=200_000))
    chunks: Any = bc.read_csv_from_bucket(BUCKET, "table", chunksize=200_000, dtype={name: "str"})
    assert [chunk[name].iloc[-1] for chunk in chunks][1] == value


def test_one_bad_object_of_many_is_named(bucket: Any) -> None:
    for number, row in enumerate(["1,2", '3,"4', "5,6,7"]):
        put(bucket, f"a,b\n{row}\n", f"bad/{number}")
    for keys, said in ((["bad/0", "bad/1"], "bad/1 .* quotes"), (["bad/2", "bad/0"], "bad/2 ")):
        for chunksize in (None, 1):
            with pytest.raises(DataFormatError, match=said):
                list(bc.read_csv_from_bucket(BUCKET, keys, chunksize=chunksize or 1))


def test_a_cell_larger_than_a_block(bucket: Any) -> None:
    large = "x" * (6 << 20)
    for chunksize in (None, 1):
        found: Any = read(bucket, f'a,b\n1,{large}\n2,"{large}\n"\n', chunksize=chunksize)
        found = pd.concat(found) if chunksize else found
        assert found["b"].str.len().tolist() == [6 << 20, (6 << 20) + 1]
