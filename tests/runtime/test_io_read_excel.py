"""Reading Excel from S3: cells are what they are in Excel, whatever they look like."""

from __future__ import annotations

import datetime as dt
import io
import sys
import zipfile
from collections.abc import Callable
from typing import Any

import openpyxl
import pandas as pd
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import BatcatError, DataFormatError
from tests.flakyserver import FlakyObject, serve_flaky

BUCKET = "2022-rnd-battery"
NEW_YEAR = dt.datetime(2022, 1, 1)


def workbook(**sheets: list[list[Any]]) -> bytes:
    """Return a workbook with these rows in its sheets."""
    book, file = openpyxl.Workbook(), io.BytesIO()
    book.remove(book.worksheets[0])
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(file)
    return file.getvalue()


def put(bucket: Any, key: str, *rows: list[Any]) -> None:
    bucket.put_object(Key=key, Body=workbook(cells=list(rows)))


@pytest.mark.parametrize(
    ("cells", "dtype", "values"),
    [
        (["007", "8"], "str", ["007", "8"]),
        (["1e3", "0x10"], "str", ["1e3", "0x10"]),
        (["2022-01-01", "x"], "str", ["2022-01-01", "x"]),
        (["True", "False"], "str", ["True", "False"]),
        ([1, 2], "int64", [1, 2]),
        ([1, None], "Int64", [1, pd.NA]),
        ([1, 2.5], "float64", [1.0, 2.5]),
        ([1e20, 3], "float64", [1e20, 3.0]),
        ([True, None, False], "boolean", [True, pd.NA, False]),
        ([True, False], "bool", [True, False]),
        ([NEW_YEAR, None], "datetime64[us]", [NEW_YEAR, pd.NaT]),
        ([dt.date(2022, 1, 1)], "datetime64[us]", [NEW_YEAR]),
        ([dt.time(1, 2), None], "object", [dt.time(1, 2), None]),
        ([dt.timedelta(hours=30)], "timedelta64[us]", [dt.timedelta(hours=30)]),
        (["#N/A", 1.5], "float64", [pd.NA, 1.5]),
        (["#DIV/0!", "x"], "str", [pd.NA, "x"]),
        ([1, "x", 2.5], "object", [1, "x", 2.5]),
        ([True, 1], "object", [True, 1]),
        ([NEW_YEAR, "later"], "object", [NEW_YEAR, "later"]),
        ([None, None], "float64", [pd.NA, pd.NA]),
    ],
    ids=str,
)
def test_a_column_is_what_its_cells_are(
    bucket: Any, cells: list[Any], dtype: str, values: list[Any]
) -> None:
    put(bucket, "cells.xlsx", ["a", "number"], *([cell, 0] for cell in cells))
    found = bc.read_excel_from_bucket(BUCKET, "cells.xlsx")["a"]
    assert str(found.dtype) == dtype
    for value, wanted in zip(found.tolist(), values, strict=True):
        assert pd.isna(value) if pd.isna(wanted) else (value == wanted)
        assert pd.isna(wanted) or isinstance(value, bool) == isinstance(wanted, bool)


def test_sheets_columns_and_types_can_be_chosen(bucket: Any) -> None:
    content = workbook(
        cells=[["note"], ["n", "s", "n"], [1, "x", 2], [None, "007", 3]], other=[["m"], [1]]
    )
    bucket.put_object(Key="book.xlsx", Body=content)
    frame = bc.read_from_bucket(BUCKET, "book.xlsx", skiprows=1, columns=["s", "n.1", "n"])
    assert frame.to_dict("list") == {"s": ["x", "007"], "n.1": [2, 3], "n": [1, None]}
    sheets = bc.read_excel_from_bucket(f"s3://{BUCKET}/book.xlsx", sheet_name=None)
    assert list(sheets) == ["cells", "other"]
    for number, name in ((1, "other"), (0, "cells")):
        by_number = bc.read_excel_from_bucket(BUCKET, "book.xlsx", sheet_name=number)
        pd.testing.assert_frame_equal(by_number, sheets[name])
    types: Any = {"dtype": {"n": "str", "s": "category"}, "dtype_backend": "pyarrow"}
    told = bc.read_excel_from_bucket(BUCKET, "book.xlsx", skiprows=1, **types)
    assert told.dtypes.astype(str).tolist() == ["str", "category", "int64[pyarrow]"]
    for options in ({"sheet_name": "none"}, {"sheet_name": 7}, {"columns": ["zz"]}):
        with pytest.raises(DataFormatError, match=r"book.xlsx cannot be read as Excel"):
            bc.read_excel_from_bucket(BUCKET, "book.xlsx", **options)
    with pytest.raises(DataFormatError, match="'s' cannot be read as int64"):
        bc.read_excel_from_bucket(BUCKET, "book.xlsx", skiprows=1, dtype={"s": "int64"})


def test_several_workbooks_follow_each_other(bucket: Any) -> None:
    put(bucket, "books/1.xlsx", ["vin", "n"], ["007", 1])
    put(bucket, "books/2.xlsx", ["n", "vin"], [None, "8"])
    whole = {"vin": ["007", "8"], "n": [1, None]}
    for key in ("books/", "books/*.xlsx", ["books/1.xlsx", "books/2.xlsx"]):
        assert bc.read_excel_from_bucket(BUCKET, key).to_dict("list") == whole
        assert bc.read_from_bucket(BUCKET, key).index.tolist() == [0, 1]
    sheets = bc.read_excel_from_bucket(BUCKET, "books/", sheet_name=None)
    assert sheets["cells"].to_dict("list") == whole
    put(bucket, "books/3.xlsx", ["vin", "m"], ["9", 1])
    with pytest.raises(DataFormatError, match=r"books/3.xlsx .* has no column 'n'"):
        bc.read_excel_from_bucket(BUCKET, "books/")
    assert len(bc.read_excel_from_bucket(BUCKET, "books/", columns=["vin"])) == 3


def damaged(content: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Return a workbook whose sheet's XML is changed."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            text = old.read(name)
            new.writestr(name, change(text) if name.endswith("sheet1.xml") else text)
    return file.getvalue()


BOOK = workbook(cells=[["a"], *([n] for n in range(500))])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"a\n1\n", "read_csv_from_bucket"),
        (b"PAR1", "read_parquet_from_bucket"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, r"\(\.xls\)"),
        (b"<!DOCTYPE html>", "HTML"),
        (BOOK[:-1000], "damaged"),
        (BOOK[:600] + b"\xff" * 200 + BOOK[800:], "damaged"),
        (BOOK.replace(b"xl/worksheets", b"xl/workshelvs"), "0 worksheets"),
        (damaged(BOOK, lambda xml: xml[: len(xml) // 2]), r"damaged \(ParseError"),
        (damaged(BOOK, lambda xml: xml.replace(b"<v>7</v>", b"<v>seven</v>")), "seven"),
    ],
    ids=["empty", "csv", "parquet", "xls", "html", "cut", "zlib", "parts", "xml", "cell"],
)
def test_what_is_no_workbook(bucket: Any, content: bytes, said: str) -> None:
    bucket.put_object(Key="no.xlsx", Body=content)
    with pytest.raises(DataFormatError, match=f"(?s)no.xlsx cannot be read as Excel.*{said}"):
        bc.read_excel_from_bucket(BUCKET, "no.xlsx")


def test_integers_beyond_64_bits_are_text(bucket: Any) -> None:
    digits = "12345678901234567890123"
    content = damaged(BOOK, lambda xml: xml.replace(b"<v>7</v>", f"<v>{digits}</v>".encode()))
    bucket.put_object(Key="big.xlsx", Body=content)
    found = bc.read_excel_from_bucket(BUCKET, "big.xlsx")["a"]
    assert found.tolist()[6:8] == ["6", digits]


def test_every_flipped_byte_ends_typed_or_right(point: Callable[[FlakyObject], None]) -> None:
    with serve_flaky(FlakyObject(BOOK)) as served:
        point(served)
        for place in range(0, len(BOOK), len(BOOK) // 60):
            served.content = BOOK[:place] + bytes([BOOK[place] ^ 0x55]) + BOOK[place + 1 :]
            try:
                found = bc.read_excel_from_bucket(BUCKET, "book.xlsx")
            except DataFormatError:
                continue
            assert found["a"].tolist() == list(range(500))


def test_without_openpyxl(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(BatcatError, match=r"pip install 'batcat-runtime\[excel\]'"):
        bc.read_excel_from_bucket(BUCKET, "book.xlsx")
