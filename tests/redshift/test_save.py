"""A DataFrame into Redshift: by COPY, exactly or not at all, over the Data API and the wire."""

from __future__ import annotations

import datetime as dt
import decimal
import re
from typing import Any

import awswrangler as wr
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import DataFormatError, QueryError, UserError

from .embedded import CLUSTER, REGION, SECRET, Warehouse

WAYS: list[dict[str, Any]] = [{"secret_name": SECRET}, {"cluster_identifier": CLUSTER}]
D, DAY = decimal.Decimal, pd.Timestamp("2022-01-31")


class Saver:
    """Saves into one table, over one of the ways."""

    def __init__(self, aws: Warehouse, way: dict[str, Any]) -> None:
        self.aws = aws
        self._given = {"table_name": "battery_usage", **aws.unloading(), "region": REGION, **way}
        aws.read("DROP TABLE IF EXISTS battery_usage")

    def __call__(self, frame: Any, **options: Any) -> int:
        return bc.save_df_to_redshift(frame, **{**self._given, **options})

    def rows(self, columns: str = "vin, usage") -> list[list[Any]]:
        """Return the rows of the table in order, gaps as None."""
        query = f"SELECT {columns} FROM battery_usage ORDER BY {columns}"
        found = self.aws.read(query, dtype_backend="pyarrow").astype(object)
        rows: list[list[Any]] = found.where(found.notna(), None).to_numpy().tolist()
        return rows


@pytest.fixture(params=WAYS, ids=["data api", "wire"])
def save(request: pytest.FixtureRequest, aws: Warehouse) -> Saver:
    return Saver(aws, request.param)


def frame(**rows: float) -> pd.DataFrame:
    return pd.DataFrame({"vin": list(rows), "usage": list(rows.values())})


def test_a_new_table_has_the_types_of_the_dataframe(save: Saver) -> None:
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
            "n": [D("12345678901234567890.123"), None],
            "c": pd.Categorical(["x", None]),
            "y": [b"\x00ab", None],
            "nothing": [None, None],
            "l": [[1, 2], None],
        }
    )
    assert save(given) == 2
    assert save(given) == 2  # and they fit there again
    found = save.aws.read("SELECT DISTINCT * FROM battery_usage ORDER BY vin")
    kinds = "str int16 int16 int32 Int64 object float32 float64 boolean datetime64[us] object "
    kinds += "datetime64[us] datetime64[us,UTC] object str object str str"
    assert [str(kind).replace(" ", "") for kind in found.dtypes] == kinds.split()
    first, second = found.iloc[0], found.iloc[1]
    for name in ("vin", "i8", "f8", "b", "t", "ts", "n", "c", "y"):
        assert first[name] == given[name].iloc[0], name
    assert first["d"] == pd.Timestamp("2022-01-31")
    assert first["tz"] == pd.Timestamp("2022-01-31 15:59:59", tz="UTC")
    assert first["l"].replace(" ", "") == "[1,2]"
    assert second["u8"] == 2**64 - 1
    assert second[["i8", "f4", *found.columns[8:]]].isna().all()
    assert save.aws.staged() == []


def test_append_overwrite_upsert(save: Saver) -> None:
    save(frame(a=1.0, b=2.0))
    save(frame(b=3.0))
    assert save.rows() == [["a", 1.0], ["b", 2.0], ["b", 3.0]]
    save(frame(x=5.0, y=6.0), mode="overwrite")
    assert save.rows() == [["x", 5.0], ["y", 6.0]]
    save(frame(y=7.0, z=8.0), mode="upsert", primary_keys=["vin"])
    assert save.rows() == [["x", 5.0], ["y", 7.0], ["z", 8.0]]


def test_an_upsert_by_time(save: Saver) -> None:
    times = pd.to_datetime(["2022-01-01T00:00+08:00", "2022-01-02T00:00+08:00"])
    given = pd.DataFrame({"vin": ["a", "a"], "time": times, "usage": [1, 2]})
    save(given)
    save(given.tail(1).assign(usage=3), mode="upsert", primary_keys=["vin", "time"])
    assert save.rows() == [["a", 1], ["a", 3]]


def test_columns_go_by_name_and_others_stay_empty(save: Saver) -> None:
    save(frame(a=1.0))
    save(pd.DataFrame({"USAGE": [2.0], "Vin": ["b"]}))
    save(pd.DataFrame({"vin": ["c"]}))
    assert save.rows() == [["a", 1.0], ["b", 2.0], ["c", None]]


def test_no_rows_make_a_table_too(save: Saver) -> None:
    assert save(frame(a=1.0).head(0)) == 0
    assert save.rows() == []
    save(frame(a=1.0))
    save(frame(a=1.0).head(0), mode="overwrite")
    assert save.rows() == []


def test_only_gaps_take_the_type_of_the_table(save: Saver) -> None:
    save.aws.read("CREATE TABLE battery_usage (vin varchar(9), n bigint, d date, b boolean)")
    gaps = [None]
    save(pd.DataFrame({"vin": ["a"], "n": gaps, "d": gaps, "b": gaps}))
    save(pd.DataFrame({"vin": ["b"], "n": [np.nan], "d": [pd.NaT], "b": pd.array(gaps, "Int64")}))
    assert save.rows("vin, n, d, b") == [["a", None, None, None], ["b", None, None, None]]


@pytest.mark.parametrize(
    ("kind", "fit", "unfit", "said"),
    [
        ("numeric(2, 1)", [D("1.5"), 2, 2.5], [D("1.255")], "1.255"),
        ("numeric(2, 1)", [D("9.9")], [D("100.5")], "100.5"),
        ("numeric(2, 1)", [], [1.5, 1.255], "1.255"),
        ("bigint", [1.0, D("2.0"), np.int8(3), np.uint64(4)], [1.0, 2.7], "2.7"),
        ("bigint", [-(2**63)], np.array([1, 2**63], "uint64"), "9223372036854775808"),
        ("smallint", [-32768], [1, 40_000], "40000"),
        ("real", [1.5, 2, np.nan], [1.5, 0.1], "0.1"),
        ("real", [2**24, np.float16(1.5)], [2**24 + 1], "16777217"),
        ("double precision", [0.1, np.float32(1.5), D("1.5")], [2**53 + 1], "9007199254740993"),
        ("boolean", [True], ["yes"], "yes"),
        ("character varying(4)", ["电", "abcd"], ["abc", "电池"], "电池"),
        ("character(4)", ["abcd"], ["abcde"], "abcde"),
        ("binary varying(2)", [b"ab"], [b"abc"], "abc"),
        ("date", [DAY, "2022-01-31"], ["2022/01/31"], "2022/01/31"),
        ("date", [], [DAY.replace(hour=8)], "2022-01-31 08:00:00"),
        ("timestamp with time zone", [DAY.tz_localize("UTC")], [DAY], "2022-01-31"),
        ("timestamp without time zone", [DAY, DAY.date()], [DAY.tz_localize("UTC")], "2022-01-31"),
        ("timestamp without time zone", [], [DAY.as_unit("ns") + pd.Timedelta(1)], "000000001"),
        ("integer", [], ["007"], "007"),
        ("integer", [], [[1]], "[1]"),
    ],
)
def test_values_fit_exactly_or_are_refused(
    aws: Warehouse, kind: str, fit: list[Any], unfit: list[Any], said: str
) -> None:
    save = Saver(aws, WAYS[0 if "binary" in kind else 1])
    aws.read(f"CREATE TABLE battery_usage (vin {kind})")
    for value in fit:
        save(pd.DataFrame({"vin": [value]}))
    kept = save.rows("vin")
    named = rf"The column 'vin' is .*, and the table's is {re.escape(kind.upper())}: "
    with pytest.raises(DataFormatError, match=named) as caught:
        save(pd.DataFrame({"vin": unfit}), mode="overwrite")
    assert said in str(caught.value)
    assert save.rows("vin") == kept
    assert len(kept) == len(fit)
    assert aws.staged() == []


def test_names_that_need_quotes(save: Saver) -> None:
    save.aws.read('DROP TABLE IF EXISTS public."the table"')
    given = pd.DataFrame({"order": [1], 'say "hi"': [2], "电压": [3], "a b": [4]})
    for _ in range(2):
        save(given, table_name="public.the table")
    found = save.aws.read('SELECT * FROM public."the table"')
    assert list(found.columns) == list(given.columns)
    assert found.to_numpy().tolist() == [[1, 2, 3, 4]] * 2


def test_a_refusal_leaves_the_table_as_it_was(save: Saver) -> None:
    with pytest.raises(QueryError):
        save(frame(a=1.0), iam_role=f"{save.aws.role}-not-there")
    with pytest.raises(QueryError, match="does not exist"):
        save.rows()  # nor was it made
    save(frame(a=1.0))
    for changes in ({"mode": "append"}, {"mode": "overwrite"}):
        with pytest.raises(QueryError, match="unknown"):
            save(pd.DataFrame({"vin": ["b"], "unknown": [1]}), **changes)
    assert save.rows() == [["a", 1.0]]
    assert save.aws.staged() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mode": "replace"}, "no mode 'replace'"),
        ({"mode": "upsert"}, "primary_keys go with mode='upsert'"),
        ({"primary_keys": ["vin"]}, "primary_keys go with mode='upsert'"),
        ({"mode": "upsert", "primary_keys": ["vim"]}, "no column 'vim'"),
        ({"mode": "upsert", "primary_keys": "usage"}, "has gaps"),
        ({"mode": "upsert", "primary_keys": ["vin"]}, "same primary key"),
        ({"iam_role": "me"}, "'me' is no role"),
        ({"s3_staging_dir": "bucket/x"}, "is no place in S3"),
        ({"table_name": "a.b.c"}, "no name of a table"),
        ({"table_name": ""}, "no name of a table"),
        ({"secret_name": None}, "nothing to log in with"),
        ({"df": pd.DataFrame({"vin": ["a"]})[[]]}, "no columns"),
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


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (pd.DataFrame({"a": ["x" * 65_536]}), "65,535 bytes"),
        (pd.DataFrame({"a": [["x" * 65_536]]}), "65,535 bytes"),
        (pd.DataFrame({"a": pd.to_timedelta([1])}), "no type"),
        (pd.DataFrame({"a": pd.period_range("2022-01", periods=1)}), "no type"),
        (pd.DataFrame({"a": [D(10**39)]}), "no type"),
        (pd.DataFrame({"a": [1, "a"]}, dtype=object), "a"),
        (pd.DataFrame({"a": pd.to_datetime([1], unit="ns")}), "does not fit"),
        (pa.table({"a": [1], "A": [2]}), "upper and lower case"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "a"),
        (pd.DataFrame({"a" * 128: [1]}), "127 bytes"),
    ],
)
def test_what_redshift_cannot_hold_is_refused(aws: Warehouse, table: Any, said: str) -> None:
    with pytest.raises(DataFormatError, match=said):
        Saver(aws, WAYS[0])(table)


@pytest.mark.parametrize(
    ("column", "values"),
    [("电压", [1]), ('say "hi"', [1]), ("zero", []), ("time", [dt.time(1)]), ("gaps", [None])],
)
def test_what_awswrangler_does_not_copy(aws: Warehouse, column: str, values: list[Any]) -> None:
    """When this fails, awswrangler has mended it: see why `redshift_save` makes its own SQL."""
    session = aws.session()
    with (
        wr.redshift.connect_temp(
            CLUSTER, "awsuser", "dev", auto_create=False, ssl=False, boto3_session=session
        ) as opened,
        pytest.raises(Exception, match=r"identifier|No files|Unsupported|null object"),
    ):
        wr.redshift.copy(
            pd.DataFrame({column: values}),
            f"{aws.staging}/wr/",
            opened,
            "by_awswrangler",
            "public",
            aws.role,
            boto3_session=session,
        )
