"""One table, read in every way that there is: the same DataFrame each time, dtypes included."""

from __future__ import annotations

import decimal
from collections.abc import Callable, Iterator

import boto3
import pandas as pd
import pytest

import batcat_runtime as bc
from tests import embedded_redshift as embedded
from tests.embedded_redshift import REGION

from .conftest import Warehouse

WANTED = pd.DataFrame(
    {
        "vin": ["LSV1", "", "电池", 'it\'s "d", \\e'],
        "n": pd.array([1, None, 9007199254740993, -4], dtype="Int64"),
        "whole": pd.array([1, 2, 3, 4], dtype="int64"),
        "usage": [1.5, float("nan"), -0.25, 1e300],
        "healthy": pd.array([True, False, None, True], dtype="boolean"),
        "day": pd.to_datetime(["2022-01-01", None, "1970-01-01", "2022-12-31"]).astype(
            "datetime64[us]"
        ),
        "at": pd.to_datetime(
            ["2022-01-01 12:34:56.789", "2022-01-02", None, "1999-12-31 23:59:59"],
            format="ISO8601",
        ).astype("datetime64[us]"),
        "amount": [decimal.Decimal("1.50"), decimal.Decimal("-2.25"), None, decimal.Decimal("3")],
    }
)
QUERY = "SELECT vin, n, whole, usage, healthy, day, at, amount FROM {} ORDER BY whole"


@pytest.fixture(scope="module")
def lake() -> Iterator[embedded.Warehouse]:
    with pytest.MonkeyPatch.context() as patch, embedded.running() as running:
        for name, value in running.aws.environment().items():
            patch.setenv(name, value)
        frame = WANTED.assign(day=WANTED["day"].dt.date.where(WANTED["day"].notna(), None))
        bc.save_to_bucket(frame, running.bucket, "lake/usage/usage.parquet")
        bc.save_to_bucket(frame.drop(columns="amount"), running.bucket, "usage.csv")
        types = {
            "vin": "string",
            "n": "bigint",
            "whole": "bigint",
            "usage": "double",
            "healthy": "boolean",
            "day": "date",
            "at": "timestamp",
            "amount": "decimal(3,2)",
        }
        columns = ", ".join(f"{name} {kind}" for name, kind in types.items())
        athena(running)("CREATE DATABASE lake")
        athena(running)(
            f"CREATE EXTERNAL TABLE lake.usage ({columns}) STORED AS PARQUET "
            f"LOCATION 's3://{running.bucket}/lake/usage/'"
        )
        bc.save_df_to_redshift(
            frame, "usage_saved", **running.unloading(), secret_name=embedded.SECRET, region=REGION
        )
        yield running


@pytest.fixture
def aws(lake: embedded.Warehouse, monkeypatch: pytest.MonkeyPatch) -> embedded.Warehouse:
    for name, value in lake.aws.environment().items():
        monkeypatch.setenv(name, value)
    return lake


def athena(aws: embedded.Warehouse) -> Callable[..., pd.DataFrame]:
    def read(query: str, **options: bool) -> pd.DataFrame:
        return bc.read_data_from_athena(query, REGION, f"s3://{aws.bucket}/athena", **options)

    return read


def on_the_wire(warehouse: Warehouse) -> None:
    rows = ", ".join(
        "("
        + ", ".join(
            "NULL"
            if pd.isna(value)
            else f"E'{str(value).translate({39: chr(39) * 2, 92: chr(92) * 2})}'"
            for value in row
        )
        + ")"
        for row in WANTED.itertuples(index=False)
    )
    warehouse.run(
        "DROP TABLE IF EXISTS usage_saved",
        "CREATE TABLE usage_saved (vin varchar(256), n int8, whole int8, usage float8, "
        "healthy boolean, day date, at timestamp, amount numeric(3, 2))",
        f"INSERT INTO usage_saved VALUES {rows}",
    )


def check(found: pd.DataFrame, wanted: pd.DataFrame = WANTED) -> None:
    pd.testing.assert_frame_equal(found, wanted)


def test_athena_by_unload(aws: embedded.Warehouse) -> None:
    found = athena(aws)(QUERY.format("lake.usage").partition(" ORDER")[0])
    check(found.sort_values("whole", ignore_index=True))


def test_athena_by_its_result_file(aws: embedded.Warehouse) -> None:
    check(athena(aws)(QUERY.format("lake.usage"), unload=False))


def test_redshift_by_the_data_api(aws: embedded.Warehouse) -> None:
    check(aws.read(QUERY.format("usage_saved")))


def test_redshift_by_unload(aws: embedded.Warehouse) -> None:
    check(aws.read(QUERY.format("usage_saved"), **aws.unloading()))


@pytest.mark.parametrize("chunksize", [None, 4])
def test_redshift_on_the_wire(warehouse: Warehouse, chunksize: int | None) -> None:
    on_the_wire(warehouse)
    found = bc.read_data_from_redshift(
        QUERY.format("usage_saved"), chunksize=chunksize, **warehouse.login
    )
    check(found if chunksize is None else next(iter(found)))


def test_csv_from_s3(aws: embedded.Warehouse) -> None:
    wanted = WANTED.drop(columns="amount")
    # to CSV an empty text is no text, as pandas has it
    wanted["vin"] = wanted["vin"].replace("", float("nan"))
    check(bc.read_csv_from_bucket(aws.bucket, "usage.csv"), wanted)


def test_parquet_from_s3(aws: embedded.Warehouse) -> None:
    wanted = WANTED.assign(day=WANTED["day"].dt.date.where(WANTED["day"].notna(), None))
    found = bc.read_parquet_from_bucket(aws.bucket, "lake/usage/usage.parquet")
    check(found, wanted)


def test_nothing_is_left_behind(aws: embedded.Warehouse) -> None:
    athena(aws)("SELECT 1 AS a")
    aws.read("SELECT 1 AS a", **aws.unloading())
    listed = boto3.client("s3").list_objects_v2(Bucket=aws.bucket)["Contents"]
    assert sorted(one["Key"] for one in listed) == ["lake/usage/usage.parquet", "usage.csv"]
