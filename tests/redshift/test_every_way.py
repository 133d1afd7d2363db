"""The same from every way into Redshift: its wire, the Data API, and UNLOAD on either."""

from __future__ import annotations

import datetime as dt
import decimal
import functools
from collections.abc import Callable
from typing import Any

import awswrangler as wr
import pandas as pd
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import QueryError, UserError

from .conftest import Wire
from .embedded import BUCKET, CLUSTER, REGION, SECRET, Warehouse

Read = Callable[..., Any]
WAYS = ["wire", "wire, unloaded", "data api", "data api, unloaded"]
TYPES = """
    SELECT * FROM (
        SELECT 1::int2 AS i2, 2::int4 AS i4, 9007199254740993::int8 AS i8, 1.5::float4 AS f4,
               0.1::float8 AS f8, true AS b, 'a'::varchar AS v, 'b'::char(5) AS c,
               12345678901234567890.123::numeric(38, 3) AS n, date '2022-01-31' AS d,
               time '23:59:59.5' AS t, timestamp '2022-01-31 23:59:59.123456' AS ts,
               timestamptz '2022-01-31 23:59:59+08' AS tz
        UNION ALL
        SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    ) AS every
"""
VALUES = {  # column: dtype, value
    "i2": ("Int16", 1),
    "i4": ("Int32", 2),
    "i8": ("Int64", 9007199254740993),  # more than a float holds
    "f4": ("float32", 1.5),
    "f8": ("float64", 0.1),
    "b": ("boolean", True),
    "v": ("str", "a"),
    "c": ("str", "b"),
    "n": ("object", decimal.Decimal("12345678901234567890.123")),
    "d": ("datetime64[us]", pd.Timestamp("2022-01-31")),
    "t": ("object", dt.time(23, 59, 59, 500000)),
    "ts": ("datetime64[us]", pd.Timestamp("2022-01-31 23:59:59.123456")),
    "tz": ("datetime64[us, UTC]", pd.Timestamp("2022-01-31 15:59:59", tz="UTC")),
}
THREE = "SELECT n FROM (SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3) AS t ORDER BY n"


@pytest.fixture(params=WAYS)
def read(request: pytest.FixtureRequest, aws: Warehouse) -> Read:
    if request.param == "wire":
        postgres: Wire = request.getfixturevalue("wire")
        return postgres.read
    unloading = aws.unloading() if "unloaded" in request.param else {}
    if "data api" in request.param:
        return functools.partial(aws.read, **unloading)
    login = {"cluster_identifier": CLUSTER, "region": REGION}
    return functools.partial(bc.read_data_from_redshift, **login, **unloading)


def test_every_column_has_the_type_that_redshift_declares(read: Read, aws: Warehouse) -> None:
    found = read(f"{TYPES} ORDER BY i2")
    assert {name: str(kind) for name, kind in found.dtypes.items()} == {
        name: kind for name, (kind, _) in VALUES.items()
    }
    assert found.iloc[0].to_dict() == {name: value for name, (_, value) in VALUES.items()}
    assert found.iloc[1].isna().all()
    assert aws.staged() == []


def test_no_rows_keep_columns_and_types(read: Read) -> None:
    without_gaps = {"Int16": "int16", "Int32": "int32", "Int64": "int64", "boolean": "bool"}
    wanted = [without_gaps.get(kind, kind) for kind, _ in VALUES.values()]
    none = read(f"{TYPES} WHERE i2 = :n", params={"n": 5})
    (chunk,) = read(f"{TYPES} WHERE i2 = :n", params={"n": 5}, chunksize=9)
    for frame in (none, chunk):
        assert len(frame) == 0
        assert [str(kind) for kind in frame.dtypes] == wanted


def test_bytes_are_those_that_were_saved(aws: Warehouse) -> None:
    """As the wire, the Data API and UNLOAD give them; and text that looks like them stays text."""
    digits = ["6162", "616", "", "00ff", "616263"]
    query = " UNION ALL ".join(
        f"SELECT {place} AS n, to_varbyte('{text}', 'hex') AS b, '{text}'::varchar AS t"
        for place, text in enumerate(digits)
        if text != "616"  # no whole bytes
    )
    query = f"SELECT b, t FROM ({query}) AS t ORDER BY n"
    login = {"cluster_identifier": CLUSTER, "region": REGION}
    for found in (
        bc.read_data_from_redshift(query, **login),
        bc.read_data_from_redshift(query, chunksize=9, **login, **aws.unloading()),
        aws.read(query),
        aws.read(query, **aws.unloading()),
    ):
        frame = found if isinstance(found, pd.DataFrame) else next(found)
        assert frame["b"].tolist() == [b"ab", b"", b"\x00\xff", b"abc"]
        assert frame["t"].tolist() == ["6162", "", "00ff", "616263"]


HOSTILE = ["it's", "\\", "\\'", "' OR ''='", "a ? b :c $1", "--", "/*", '"', "中文", "", " x "]


@pytest.mark.parametrize("chunksize", [None, 5])
def test_parameters_arrive_as_they_are(read: Read, chunksize: int | None) -> None:
    query = "SELECT " + ", ".join(f"(:p{i})::varchar AS c{i}" for i in range(len(HOSTILE)))
    params = {f"p{i}": text for i, text in enumerate(HOSTILE)}
    found = read(query, params=params, chunksize=chunksize)
    frame = found if chunksize is None else next(iter(found))
    assert frame.iloc[0].tolist() == HOSTILE


def test_parameters_of_every_type(read: Read) -> None:
    given: dict[str, Any] = {
        "int8": 2**40,
        "float8": 0.1,
        "bool": True,
        "numeric(5, 2)": decimal.Decimal("1.50"),
        "date": dt.date(2022, 1, 31),
        "timestamp": dt.datetime(2022, 1, 31, 1, 2, 3, 4),
        "timestamptz": dt.datetime(2022, 1, 31, tzinfo=dt.UTC),
        "varchar": None,
    }
    columns = [f"(:p{place})::{kind} AS a{place}" for place, kind in enumerate(given)]
    params = {f"p{place}": value for place, value in enumerate(given.values())}
    row = read("SELECT " + ", ".join(columns), params=params).iloc[0].tolist()
    assert row[:4] == list(given.values())[:4]
    assert row[4:7] == [pd.Timestamp(value) for value in list(given.values())[4:7]]
    assert pd.isna(row[7])


def test_lists_and_question_marks(read: Read) -> None:
    query = f"SELECT n, '?' AS q FROM ({THREE}) AS t WHERE n IN"
    assert read(f"{query} :some ORDER BY n", params={"some": [2, 3, 9]})["n"].tolist() == [2, 3]
    assert read(f"{query} (?, ?)", params=[3, 9]).iloc[0].tolist() == [3, "?"]
    # the driver's scanner knows no backslash in a literal
    assert read(r"SELECT 'it\'s ?' AS t, :n AS n", params={"n": 1})["t"].tolist() == ["it's ?"]


def test_names_twice_and_names_in_chinese(read: Read) -> None:
    found = read('SELECT 1 AS a, 2 AS a, 3 AS "电压"')
    assert list(found.columns) == ["a", "a.1", "电压"]


def test_chunks_are_of_even_size_and_those_unread_are_cleaned_up(
    read: Read, aws: Warehouse
) -> None:
    chunks = read(THREE, chunksize=2)
    assert [chunk["n"].tolist() for chunk in chunks] == [[1, 2], [3]]
    chunks = read(THREE, chunksize=1)
    next(chunks)
    chunks.close()
    assert aws.staged() == []


def test_an_error_shows_the_line_that_it_is_about(read: Read, aws: Warehouse) -> None:
    with pytest.raises(QueryError, match="syntax error at or near") as caught:
        read("SELECT vin\nFORM\n  usage_table u")
    assert caught.value.line in (2, 3)
    assert f"\n  {caught.value.line} | " in str(caught.value)
    with pytest.raises(QueryError, match='relation "nowhere" does not exist'):
        read("SELECT vin FROM nowhere")
    assert aws.staged() == []


def test_the_tutorials_query(read: Read) -> None:
    query = """
    SELECT vin, time FROM (
        SELECT 'a' AS vin, date '2021-12-31' AS time
        UNION ALL SELECT 'b', date '2022-01-01' UNION ALL SELECT 'c', date '2022-08-01'
    ) AS battery_usage
    WHERE time >= '{}' and time <= '{}'
    ORDER BY vin
    """
    found = read(query, date_start="2022-01-01", date_end="2022-08-01")
    assert found["vin"].tolist() == ["b", "c"]
    assert found["time"].tolist() == [pd.Timestamp("2022-01-01"), pd.Timestamp("2022-08-01")]


@pytest.mark.parametrize(
    "options",
    [
        {"date_start": "yesterday"},
        {"date_start": "2022-01-01"},
        {"params": {"a": 1}},
        {"chunksize": 0},
        {"timeout": -1},
        {"dtype_backend": "polars"},
        {"iam_role": "default"},
        {"iam_role": "role'; DROP TABLE t; --", "s3_staging_dir": "s3://bucket/x"},
        {"iam_role": "default", "s3_staging_dir": "bucket/x"},
        {"query": "SELECT 1; SELECT 2"},
        {"query": " "},
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_asked(options: dict[str, Any]) -> None:
    given = {"query": "SELECT 1", "region": REGION, **options}
    for login in ({"host": "127.0.0.1", "port": 1, "password": "x"}, {"secret_name": SECRET}):
        with pytest.raises(UserError):
            bc.read_data_from_redshift(**login, **given)
    with pytest.raises(UserError):
        bc.read_data_from_redshift_by_secret(SECRET, **given)


WANTED = pd.DataFrame(
    {
        "vin": ["LSV1", "", "电池", 'it\'s "d", \\e'],
        "n": pd.array([1, None, 9007199254740993, -4], dtype="Int64"),
        "whole": pd.array([1, 2, 3, 4], dtype="int64"),
        "usage": [1.5, float("nan"), -0.25, 1e300],
        "healthy": pd.array([True, False, None, True], dtype="boolean"),
        "day": pd.to_datetime(["2022-01-01", None, "1970-01-01", "2022-12-31"]).as_unit("us"),
        "at": pd.to_datetime(
            ["2022-01-01 12:34:56.789", "2022-01-02", None, "1999-12-31 23:59:59"],
            format="ISO8601",
        ).as_unit("us"),
        "amount": [decimal.Decimal("1.50"), decimal.Decimal("-2.25"), None, decimal.Decimal("3")],
    }
)
KINDS = {
    "vin": "string",
    "n": "bigint",
    "whole": "bigint",
    "usage": "double",
    "healthy": "boolean",
    "day": "date",
    "at": "timestamp",
    "amount": "decimal(3,2)",
}


def test_one_table_is_the_same_from_s3_athena_and_redshift(aws: Warehouse) -> None:
    frame = WANTED.assign(day=WANTED["day"].dt.date.where(WANTED["day"].notna(), None))
    key = "lake/usage/usage.parquet"
    bc.save_to_bucket(frame, BUCKET, key)
    bc.save_to_bucket(frame.drop(columns="amount"), BUCKET, "usage.csv")

    def athena(query: str, **options: Any) -> Any:
        return bc.read_data_from_athena(query, REGION, f"s3://{BUCKET}/athena", **options)

    wr.catalog.create_database("lake")
    wr.catalog.create_parquet_table("lake", "usage", f"s3://{BUCKET}/lake/usage/", KINDS)
    login = {"secret_name": SECRET, "region": REGION}
    bc.save_df_to_redshift(frame, "usage_saved", **aws.unloading(), **login)

    query = f"SELECT {', '.join(KINDS)} FROM {{}} ORDER BY whole"
    by_wire = {"cluster_identifier": CLUSTER, "region": REGION}
    unordered = athena(query.format("lake.usage").partition(" ORDER")[0])
    csv = WANTED.drop(columns="amount")
    for found, wanted in (
        (unordered.sort_values("whole", ignore_index=True), WANTED),
        (athena(query.format("lake.usage"), unload=False), WANTED),
        (aws.read(query.format("usage_saved")), WANTED),
        (aws.read(query.format("usage_saved"), **aws.unloading()), WANTED),
        (bc.read_data_from_redshift(query.format("usage_saved"), **by_wire), WANTED),
        (bc.read_csv_from_bucket(BUCKET, "usage.csv"), csv),
        (bc.read_parquet_from_bucket(BUCKET, key), frame),
    ):
        pd.testing.assert_frame_equal(found, wanted)
    listed = aws.s3.list_objects_v2(Bucket=BUCKET)["Contents"]
    assert [each["Key"] for each in listed] == [key, "usage.csv"]
