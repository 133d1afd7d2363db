"""A DataFrame into Redshift: by COPY, all or nothing, on the embedded AWS."""

from __future__ import annotations

import datetime as dt
import decimal
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import DataFormatError, QueryError, UserError
from batcat_runtime.io.redshift_columns import prepared
from batcat_runtime.io.redshift_save import load_statements
from tests import embedded_redshift as embedded
from tests.embedded_redshift import REGION, SECRET, Warehouse


@pytest.fixture(scope="module")
def started() -> Iterator[Warehouse]:
    with embedded.running() as running:
        yield running


@pytest.fixture
def warehouse(started: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    for name, value in started.aws.environment().items():
        monkeypatch.setenv(name, value)
    started.read("DROP TABLE IF EXISTS battery_usage")
    return started


def save(warehouse: Warehouse, frame: Any, **options: Any) -> int:
    given = {
        "table_name": "battery_usage",
        "s3_staging_dir": warehouse.staging,
        "iam_role": warehouse.role,
        "secret_name": SECRET,
        "region": REGION,
        **options,
    }
    return bc.save_df_to_redshift(frame, **given)


def table(warehouse: Warehouse) -> pd.DataFrame:
    found: pd.DataFrame = warehouse.read("SELECT vin, usage FROM battery_usage ORDER BY vin, usage")
    return found


def frame(**rows: float) -> pd.DataFrame:
    return pd.DataFrame({"vin": list(rows), "usage": list(rows.values())})


def test_a_new_table_has_the_types_of_the_dataframe(warehouse: Warehouse) -> None:
    given = pd.DataFrame(
        {
            "vin": ["LSV1", "电池"],
            "i1": np.array([1, -2], "int8"),
            "i2": np.array([1, -2], "int16"),
            "i4": np.array([1, -2], "int32"),
            "i8": pd.array([9007199254740993, None], dtype="Int64"),
            "u8": np.array([1, 2**64 - 1], "uint64"),
            "f4": np.array([1.5, np.nan], "float32"),
            "f8": [0.1, -0.0],
            "b": pd.array([True, None], dtype="boolean"),
            "d": [dt.date(2022, 1, 31), None],
            "t": [dt.time(23, 59, 59, 500000), None],
            "ts": pd.to_datetime(["2022-01-31 23:59:59.123456", None]),
            "tz": pd.to_datetime(["2022-01-31 23:59:59+08:00", None]),
            "n": [decimal.Decimal("12345678901234567890.123"), None],
            "c": pd.Categorical(["x", None]),
            "nothing": [None, None],
            "l": [[1, 2], None],
        }
    )
    assert save(warehouse, given) == 2
    found = warehouse.read("SELECT * FROM battery_usage ORDER BY vin")
    assert {name: str(kind) for name, kind in found.dtypes.items()} == {
        "vin": "str",
        "i1": "int16",
        "i2": "int16",
        "i4": "int32",
        "i8": "Int64",
        "u8": "object",
        "f4": "float32",
        "f8": "float64",
        "b": "boolean",
        "d": "datetime64[us]",
        "t": "object",
        "ts": "datetime64[us]",
        "tz": "datetime64[us, UTC]",
        "n": "object",
        "c": "str",
        "nothing": "str",
        "l": "str",
    }
    first, second = found.iloc[0], found.iloc[1]
    for name in ("vin", "i8", "f8", "b", "t", "ts", "n", "c"):
        assert first[name] == given[name].iloc[0], name
    assert first["d"] == pd.Timestamp("2022-01-31")
    assert first["tz"] == pd.Timestamp("2022-01-31 15:59:59", tz="UTC")
    assert first["l"].replace(" ", "") == "[1,2]"
    assert second["u8"] == 2**64 - 1
    assert second[["i8", "f4", "b", "d", "t", "ts", "tz", "n", "c", "nothing", "l"]].isna().all()
    assert warehouse.staged() == []


def test_append_overwrite_upsert(warehouse: Warehouse) -> None:
    save(warehouse, frame(a=1.0, b=2.0))
    save(warehouse, frame(b=3.0))
    assert table(warehouse)["usage"].tolist() == [1.0, 2.0, 3.0]
    save(warehouse, frame(x=5.0, y=6.0), mode="overwrite")
    assert table(warehouse)["vin"].tolist() == ["x", "y"]
    save(warehouse, frame(y=7.0, z=8.0), mode="upsert", primary_keys=["vin"])
    assert table(warehouse).to_numpy().tolist() == [["x", 5.0], ["y", 7.0], ["z", 8.0]]


def test_an_upsert_by_time(warehouse: Warehouse) -> None:
    times = pd.to_datetime(["2022-01-01T00:00+08:00", "2022-01-02T00:00+08:00"])
    given = pd.DataFrame({"vin": ["a", "a"], "time": times, "usage": [1, 2]})
    save(warehouse, given)
    save(
        warehouse,
        given.tail(1).assign(usage=3),
        mode="upsert",
        primary_keys=["vin", "time"],
    )
    assert table(warehouse)["usage"].tolist() == [1, 3]


def test_columns_go_by_name_and_others_stay_empty(warehouse: Warehouse) -> None:
    save(warehouse, frame(a=1.0))
    save(warehouse, pd.DataFrame({"usage": [2.0], "vin": ["b"]}))
    save(warehouse, pd.DataFrame({"vin": ["c"]}))
    assert table(warehouse)["vin"].tolist() == ["a", "b", "c"]
    assert table(warehouse)["usage"].tolist()[:2] == [1.0, 2.0]
    assert pd.isna(table(warehouse)["usage"].iloc[2])


def test_no_rows_make_a_table_too(warehouse: Warehouse) -> None:
    assert save(warehouse, frame(a=1.0).head(0)) == 0
    assert list(table(warehouse).columns) == ["vin", "usage"]
    save(warehouse, frame(a=1.0))
    save(warehouse, frame(a=1.0).head(0), mode="overwrite")
    assert len(table(warehouse)) == 0


def test_names_that_need_quotes(warehouse: Warehouse) -> None:
    warehouse.read('DROP TABLE IF EXISTS public."the table"')
    given = pd.DataFrame({"order": [1], 'say "hi"': [2], "电压": [3], "a b": [4]})
    save(warehouse, given, table_name="public.the table")
    found = warehouse.read('SELECT * FROM public."the table"')
    assert list(found.columns) == list(given.columns)
    assert found.iloc[0].tolist() == [1, 2, 3, 4]


def test_a_refusal_leaves_the_table_as_it_was(warehouse: Warehouse) -> None:
    save(warehouse, frame(a=1.0))
    for mode in ("append", "overwrite"):
        with pytest.raises(QueryError):
            save(warehouse, pd.DataFrame({"vin": ["b"], "unknown": [1]}), mode=mode)
        assert table(warehouse)["vin"].tolist() == ["a"]
    with pytest.raises(QueryError):
        save(warehouse, frame(b=2.0), mode="overwrite", iam_role=warehouse.role + "-not-there")
    assert table(warehouse)["vin"].tolist() == ["a"]
    assert warehouse.staged() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mode": "replace"}, "no mode 'replace'"),
        ({"mode": "upsert"}, "primary_keys go with mode='upsert'"),
        ({"primary_keys": ["vin"]}, "primary_keys go with mode='upsert'"),
        ({"mode": "upsert", "primary_keys": ["vim"]}, "no column 'vim'"),
        ({"mode": "upsert", "primary_keys": "usage"}, "has gaps"),
        ({"iam_role": "me"}, "'me' is no role"),
        ({"s3_staging_dir": "bucket/x"}, "is no place in S3"),
        ({"table_name": "a.b.c"}, "no name of a table"),
        ({"table_name": ""}, "no name of a table"),
        ({"secret_name": None}, "nothing to log in with"),
    ],
)
def test_what_is_wrong_is_refused(changes: dict[str, Any], said: str) -> None:
    given = {
        "df": pd.DataFrame({"vin": ["a", "a"], "usage": [1.0, None]}),
        "table_name": "t",
        "s3_staging_dir": "s3://bucket/x",
        "iam_role": "default",
        "secret_name": SECRET,
        "region": REGION,
    }
    with pytest.raises(UserError, match=re.escape(said)):
        bc.save_df_to_redshift(**{**given, **changes})
    with pytest.raises(UserError, match="same primary key"):
        bc.save_df_to_redshift(**{**given, "mode": "upsert", "primary_keys": ["vin"]})


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pd.Series(["x" * 65_536]), "65,536 bytes"),
        (pd.Series(pd.to_timedelta([1])), "no type"),
        (pd.Series([decimal.Decimal(10**39)]), "no type"),
        (pd.Series([1, "a"], dtype=object), "a"),
        (pd.Series(pd.to_datetime([1], unit="ns")), "does not fit"),
    ],
)
def test_what_redshift_cannot_hold_is_refused(column: pd.Series, said: str) -> None:
    with pytest.raises(DataFormatError, match=said):
        prepared(pd.DataFrame({"a": column}))


def test_columns_that_differ_only_by_case() -> None:
    with pytest.raises(DataFormatError, match="upper and lower case"):
        prepared(pa.table({"a": [1], "A": [2]}))


def test_the_transaction_reads_as_one(warehouse: Warehouse) -> None:
    _, targets = prepared(frame(a=1.0))
    lines = load_statements('"t"', targets, "s3://b/x/", "default", "upsert", ["vin"])
    assert lines == [
        'CREATE TABLE IF NOT EXISTS "t" ("vin" VARCHAR(256), "usage" DOUBLE PRECISION)',
        'CREATE TEMP TABLE "batcat_stage" ("vin" VARCHAR(256), "usage" DOUBLE PRECISION)',
        "COPY \"batcat_stage\" FROM 's3://b/x/' IAM_ROLE default FORMAT AS PARQUET",
        'DELETE FROM "t" USING "batcat_stage" WHERE "t"."vin" = "batcat_stage"."vin"',
        'INSERT INTO "t" ("vin", "usage") SELECT "vin", "usage" FROM "batcat_stage"',
        'DROP TABLE "batcat_stage"',
    ]
