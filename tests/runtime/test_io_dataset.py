"""`save_dataset`: what Athena and Glue know after it, while it runs, and after it failed."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Iterator
from typing import Any

import boto3
import numpy as np
import pandas as pd
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import BatcatError, DataFormatError, UserError
from batcat_runtime.rehearsal import EmbeddedAWS

BUCKET, DATABASE = "2022-rnd-battery", "dw_bms"
REGION = "cn-northwest-1"


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedAWS]:
    with EmbeddedAWS(region=REGION, set_environment=False) as aws:
        yield aws


@pytest.fixture
def cloud(server: EmbeddedAWS, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    return Cloud()


class Cloud:
    """An empty bucket, an empty database, and questions to both."""

    def __init__(self) -> None:
        self.s3, self.glue = boto3.client("s3"), boto3.client("glue")
        if BUCKET not in [one["Name"] for one in self.s3.list_buckets()["Buckets"]]:
            place = {"LocationConstraint": REGION}
            self.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
        for key in self.keys():
            self.s3.delete_object(Bucket=BUCKET, Key=key)
        if DATABASE in [one["Name"] for one in self.glue.get_databases()["DatabaseList"]]:
            self.glue.delete_database(Name=DATABASE)
        self.glue.create_database(DatabaseInput={"Name": DATABASE})

    def keys(self, prefix: str = "") -> list[str]:
        listed = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return [one["Key"] for one in listed]

    def table(self, name: str = "usage") -> dict[str, Any]:
        return dict(self.glue.get_table(DatabaseName=DATABASE, Name=name)["Table"])

    def partitions(self, name: str = "usage") -> dict[str, str]:
        found = self.glue.get_partitions(DatabaseName=DATABASE, TableName=name)["Partitions"]
        return {"/".join(one["Values"]): one["StorageDescriptor"]["Location"] for one in found}

    def query(self, sql: str) -> pd.DataFrame:
        return bc.read_data_from_athena(sql, REGION, f"s3://{BUCKET}/athena-results/")

    def save(self, frame: pd.DataFrame, **settings: Any) -> list[str]:
        given = {"database": DATABASE, "table": "usage", **settings}
        return bc.save_dataset(frame, BUCKET, "data/usage/", **given)


def days(*values: int, **columns: Any) -> pd.DataFrame:
    """Return one row a value; its day is the value's tens."""
    frame = pd.DataFrame({"vin": [f"v{value}" for value in values], "usage": values})
    return frame.assign(day=[f"2022-01-{value // 10:02}" for value in values], **columns)


def usage(cloud: Cloud, where: str = "") -> list[int]:
    found = cloud.query(f"SELECT usage FROM {DATABASE}.usage {where} ORDER BY usage")
    return [int(value) for value in found["usage"]]


def test_a_new_table_can_be_queried_at_once(cloud: Cloud) -> None:
    written = cloud.save(days(11, 12))
    assert [f"s3://{BUCKET}/{key}" for key in cloud.keys("data/")] == written
    assert len(written) == 1
    assert usage(cloud) == [11, 12]
    cloud.save(days(13))
    assert usage(cloud) == [11, 12, 13]


def test_partitions_are_folders_and_are_pruned(cloud: Cloud) -> None:
    written = cloud.save(days(11, 12, 21, 31), partition_columns=["day"])
    assert [key.split("/")[2] for key in cloud.keys("data/")] == [
        "day=2022-01-01", "day=2022-01-02", "day=2022-01-03",
    ]  # fmt: skip
    assert len(written) == 3
    assert set(cloud.partitions()) == {"2022-01-01", "2022-01-02", "2022-01-03"}
    assert usage(cloud, "WHERE day = '2022-01-01'") == [11, 12]
    cloud.save(days(13, 41), partition_columns=["day"])
    assert usage(cloud, "WHERE day = '2022-01-01'") == [11, 12, 13]
    assert usage(cloud) == [11, 12, 13, 21, 31, 41]


def test_partitions_overwritten_leave_others_alone_and_can_be_appended_to(cloud: Cloud) -> None:
    cloud.save(days(11, 12, 21), partition_columns=["day"])
    before = cloud.partitions()
    cloud.save(days(19, 39), partition_columns=["day"], mode="overwrite_partitions")
    after = cloud.partitions()
    assert after["2022-01-02"] == before["2022-01-02"]
    assert after["2022-01-01"] != before["2022-01-01"]
    assert usage(cloud) == [19, 21, 39]
    assert len(cloud.keys("data/")) == 3, "what was replaced is deleted"
    cloud.save(days(18), partition_columns=["day"])
    assert usage(cloud) == [18, 19, 21, 39]


@pytest.mark.parametrize("partition_columns", [[], ["day"]])
def test_a_table_overwritten_may_change_its_columns(
    cloud: Cloud, partition_columns: list[str]
) -> None:
    cloud.save(days(11, 21), partition_columns=partition_columns)
    frame = days(12, 31, soc=[0.5, 0.7]).drop(columns="vin")
    for _ in range(2):
        cloud.save(frame, partition_columns=partition_columns, mode="overwrite")
        assert usage(cloud) == [12, 31]
        assert cloud.query(f"SELECT sum(soc) AS s FROM {DATABASE}.usage")["s"].tolist() == [1.2]
        assert len(cloud.keys("data/")) == (2 if partition_columns else 1)
    if partition_columns:
        assert set(cloud.partitions()) == {"2022-01-01", "2022-01-03"}


def test_no_rows_make_an_empty_table(cloud: Cloud) -> None:
    cloud.save(days().astype({"vin": "str", "usage": "int64", "day": "str"}))
    assert usage(cloud) == []
    cloud.save(days(11))
    cloud.save(days(11).iloc[:0], mode="overwrite")
    assert usage(cloud) == []
    assert cloud.keys("data/") == []


def test_types_as_athena_knows_them(cloud: Cloud) -> None:
    frame = pd.DataFrame(
        {
            "Small": np.array([1, 2], "int8"),
            "byte": np.array([1, 255], "uint8"),
            "gap": pd.array([1, None], "Int64"),
            "share": np.array([0.5, 2], "float32"),
            "text": ["电压", None],
            "ok": [True, False],
            "at": pd.to_datetime(["2022-01-01 01:02:03.000004", None]),
            "instant": pd.to_datetime(["2022-01-01", None]).tz_localize("Asia/Shanghai"),
            "on": [dt.date(2022, 1, 1), None],
            "exact": [decimal.Decimal("1.10"), decimal.Decimal("22.5")],
            "kind": pd.Categorical(["a", "b"]),
            "cells": [[1, 2], []],
            "pack": [{"Id": 1}, {"Id": 2}],
        },
        index=pd.Index(["x", "y"], name="vin"),
    )
    cloud.save(frame)
    columns = cloud.table()["StorageDescriptor"]["Columns"]
    assert {one["Name"]: one["Type"] for one in columns} == {
        "vin": "string", "small": "tinyint", "byte": "smallint", "gap": "bigint",
        "share": "float", "text": "string", "ok": "boolean", "at": "timestamp",
        "instant": "timestamp", "on": "date", "exact": "decimal(4,2)", "kind": "string",
        "cells": "array<bigint>", "pack": "struct<id:bigint>",
    }  # fmt: skip
    found = cloud.query(f"SELECT vin, byte, gap, text, exact FROM {DATABASE}.usage ORDER BY vin")
    assert found["byte"].tolist() == [1, 255]
    assert found["gap"].tolist() == [1, pd.NA]
    assert found["text"].tolist()[0] == "电压"
    assert found["exact"].tolist() == [decimal.Decimal("1.10"), decimal.Decimal("22.50")]


def test_values_of_partitions(cloud: Cloud) -> None:
    frame = pd.DataFrame(
        {
            "v": range(4),
            "site": ["a/b=c", None, "", "电池"],
            "on": [dt.date(2022, 1, 1)] * 4,
            "n": [1, 2, 3, 4],
        }
    )
    cloud.save(frame, partition_columns=["on", "site", "n"])
    assert set(cloud.partitions()) == {
        "2022-01-01/a/b=c/1", "2022-01-01/__HIVE_DEFAULT_PARTITION__/2",
        "2022-01-01/__HIVE_DEFAULT_PARTITION__/3", "2022-01-01/电池/4",
    }  # fmt: skip
    assert any("/site=a%2Fb%3Dc/" in key for key in cloud.keys("data/"))
    keys = [(one["Name"], one["Type"]) for one in cloud.table()["PartitionKeys"]]
    assert keys == [("on", "date"), ("site", "string"), ("n", "bigint")]


@pytest.mark.parametrize(
    ("frame", "settings", "words"),
    [
        (days(1), {"mode": "replace"}, "no mode 'replace'"),
        (days(1), {"mode": "overwrite_partitions"}, "needs partition_columns"),
        (days(1), {"partition_columns": "day"}, "is one text"),
        (days(1), {"partition_columns": ["week"]}, "no column 'week'"),
        (days(1)[["day"]], {"partition_columns": ["day"]}, "All columns are partition columns"),
        (days(1), {"table": "Usage Table"}, "no name of a table"),
        (days(1), {"database": "no_such_database"}, "no database 'no_such_database'"),
        (pd.Series([1]), {}, "A Series is no DataFrame"),
    ],
)
def test_impossible_arguments_are_refused(
    cloud: Cloud, frame: Any, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words) as caught:
        cloud.save(frame, **settings)
    assert caught.value.fix
    assert cloud.keys("data/") == []


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"a b": 1}, "cannot use 'a b' as the name"),
        ({"USAGE": 1}, "'usage' occurs twice"),
        ({"took": pd.Timedelta(1)}, "'took' is of type duration"),
        ({"none": None}, "'none' is of type null"),
    ],
)
def test_columns_that_athena_lacks_are_named(
    cloud: Cloud, columns: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataFormatError, match=words):
        cloud.save(days(11, **columns))
    assert cloud.keys("data/") == []


@pytest.mark.parametrize(
    ("frame", "partition_columns", "words"),
    [
        (days(11).astype({"usage": float}), ["day"], "'usage' is double in the data and bigint"),
        (days(11, soc=1), ["day"], "'soc' is bigint in the data and missing"),
        (days(11).drop(columns="vin"), ["day"], "'vin' is missing in the data and string"),
        (days(11), [], "is partitioned by day"),
    ],
)
def test_rows_that_do_not_fit_the_table_are_refused(
    cloud: Cloud, frame: pd.DataFrame, partition_columns: list[str], words: str
) -> None:
    cloud.save(days(21), partition_columns=["day"])
    keys = cloud.keys("data/")
    with pytest.raises(DataFormatError, match=words):
        cloud.save(frame, partition_columns=partition_columns)
    assert cloud.keys("data/") == keys


def test_a_table_that_lies_elsewhere_is_not_taken_over(cloud: Cloud) -> None:
    cloud.save(days(11))
    with pytest.raises(UserError, match="lies at s3://2022-rnd-battery/data/usage"):
        bc.save_dataset(days(11), BUCKET, "other/", database=DATABASE, table="usage")


@pytest.mark.parametrize("mode", ["append", "overwrite", "overwrite_partitions"])
def test_a_failure_while_writing_leaves_all_as_it_was(cloud: Cloud, mode: Any) -> None:
    cloud.save(days(11, 21, at=pd.Timestamp(0)), partition_columns=["day"])
    keys, partitions = cloud.keys("data/"), cloud.partitions()
    # found out only when the last partition is written
    bad = days(12, 22, 32, at=pd.array([1_000, 2_000, 3_001], "datetime64[ns]"))
    with pytest.raises(DataFormatError, match="'at' does not fit Athena's timestamp"):
        cloud.save(bad, partition_columns=["day"], mode=mode)
    assert cloud.keys("data/") == keys
    assert cloud.partitions() == partitions
    assert usage(cloud) == [11, 21]


class Refusing:
    """A Glue client that refuses one operation, however often it is asked."""

    def __init__(self, operation: str) -> None:
        self._operation = operation
        self._client = boto3.client("glue")

    def __getattr__(self, name: str) -> Any:
        if name != self._operation:
            return getattr(self._client, name)

        def refuse(**arguments: Any) -> None:
            from botocore.exceptions import ClientError

            detail = {"Code": "AccessDeniedException", "Message": f"no {name}"}
            raise ClientError({"Error": detail}, name)

        return refuse


class Session:
    """A session whose Glue clients refuse one operation."""

    def __init__(self, operation: str) -> None:
        self._operation = operation

    def client(self, service: str, **settings: Any) -> Any:
        return Refusing(self._operation) if service == "glue" else boto3.client(service)


@pytest.mark.parametrize(
    ("mode", "operation"),
    [
        ("append", "batch_create_partition"),
        ("overwrite", "update_table"),
        ("overwrite", "batch_create_partition"),
        ("overwrite", "batch_update_partition"),
        ("overwrite_partitions", "batch_create_partition"),
        ("overwrite_partitions", "batch_update_partition"),
    ],
)
def test_a_refused_switch_is_undone(
    cloud: Cloud, mode: Any, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.save(days(11, 21), partition_columns=["day"])
    keys, partitions, table = cloud.keys("data/"), cloud.partitions(), cloud.table()

    with pytest.raises(BatcatError, match="denied"):
        cloud.save(
            days(12, 39), partition_columns=["day"], mode=mode, boto3_session=Session(operation)
        )
    assert cloud.keys("data/") == keys
    assert cloud.partitions() == partitions
    assert cloud.table()["StorageDescriptor"] == table["StorageDescriptor"]
    assert usage(cloud) == [11, 21]


def test_what_cannot_be_undone_loses_no_rows(cloud: Cloud) -> None:
    cloud.save(days(11, 21), partition_columns=["day"])
    session: Any = Session("batch_delete_partition")
    with pytest.raises(BatcatError, match="glue:BatchDeletePartition"):
        cloud.save(days(12, 39), partition_columns=["day"], mode="overwrite", boto3_session=session)
    # the new partition could not be taken out of the catalogue again, so its file stays
    assert usage(cloud) == [11, 21, 39]


def test_settings_reach_the_objects(cloud: Cloud) -> None:
    cloud.save(days(11), encryption="aws:kms", kms_key_id="alias/cells", metadata={"run": "7"})
    head = cloud.s3.head_object(Bucket=BUCKET, Key=cloud.keys("data/")[0])
    assert head["ServerSideEncryption"] == "aws:kms"
    assert head["Metadata"] == {"run": "7"}
