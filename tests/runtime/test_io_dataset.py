"""`save_dataset`: what Athena and Glue know after it, while it runs, and after it failed."""

from __future__ import annotations

import datetime as dt
import decimal
import io
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import (
    AccessDeniedError,
    BatcatError,
    DataFormatError,
    ObjectChangedError,
    UserError,
)
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

    def schemas(self) -> list[pa.Schema]:
        bodies = [self.s3.get_object(Bucket=BUCKET, Key=key)["Body"] for key in self.keys("data/")]
        return [pq.read_schema(io.BytesIO(body.read())) for body in bodies]

    def by_prefix(self, order: str = "usage") -> pd.DataFrame:
        return bc.read_parquet_from_bucket(BUCKET, "data/usage/").sort_values(
            order, ignore_index=True
        )

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
    assert [key.split("/")[3] for key in cloud.keys("data/")] == [
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


DAY, NOON = dt.date(2022, 1, 1), pd.Timestamp("2022-01-01 12:00")
FOLDERS = [
    ["x/y", "x%2Fy", "x", "X", " ", None],
    ["true", "None", "007", "7", "-0", "1.0"],
    [".", "..", "a=b", "%", "\n", " a"],
    ["7", "1", "2", "3", "4", "5"],
    ["2022-01-01", "2022-01-02", "电池", "é", "+", None],
    [DAY, None, *(dt.date(1999, 1, day) for day in range(1, 5))],
    [True, False, None, True, False, None],
    pd.array([7, None, -7, 0, 1, 2], "Int64"),
    np.array([7, -7, 0, 1, 2, 3], "int16"),
]


@pytest.mark.parametrize("values", FOLDERS, ids=str)
def test_a_partition_for_each_value_and_of_one_type_whichever_way(
    cloud: Cloud, values: Sequence[Any]
) -> None:
    frame = pd.DataFrame({"v": range(6), "p": values})
    cloud.save(frame, partition_columns=["p"])
    assert len(cloud.partitions()) == len(set(map(str, values)))
    found = cloud.query(f"SELECT * FROM {DATABASE}.usage ORDER BY v")
    texts = [str(value) for value in found["p"].astype(object).fillna("gap")]
    assert [text.removesuffix(" 00:00:00") for text in texts] == [
        str(value) for value in frame["p"].astype(object).fillna("gap")
    ]
    pd.testing.assert_frame_equal(cloud.by_prefix("v"), found)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["", None], "holds the text '', which Athena cannot tell from no value"),
        (["__HIVE_DEFAULT_PARTITION__", "a"], "holds the text '__HIVE_DEFAULT_PARTITION__'"),
        ([1.0, float("nan")], "of type double cannot name folders"),
        ([True, "true"], "cannot be written as Parquet: it holds"),
        ([1, "1"], "cannot be written as Parquet: it holds"),
        ([dt.date(2022, 1, 1), "2022-01-01"], "cannot be written as Parquet: it holds"),
    ],
)
def test_values_that_would_share_a_folder_are_refused(
    cloud: Cloud, values: list[Any], words: str
) -> None:
    with pytest.raises(DataFormatError, match=words):
        cloud.save(pd.DataFrame({"v": [1, 2], "p": values}), partition_columns=["p"])
    assert cloud.keys("data/") == []


ADDED: list[tuple[Any, Any, Any]] = [
    (np.array([1], "int64"), np.array([2], "int32"), [1, 2]),
    (np.array([1], "int32"), np.array([2], "int64"), [1, 2]),
    ([1], [2.0, np.nan], [1, 2, None]),
    ([1.5], [2], [1.5, 2]),
    (np.array([1.5], "float32"), [0.5, np.nan], [1.5, 0.5, None]),
    ([decimal.Decimal("1.50")], [2], [decimal.Decimal("1.50"), decimal.Decimal("2.00")]),
    ([NOON], [DAY], [NOON, pd.Timestamp(DAY)]),
    *(([value], [None], [value, None]) for value in (1, "a", 1.5, True, b"a", NOON)),
    ([[1, 2]], [None], None),
    ([{"a": 1}], [None], None),
]


@pytest.mark.parametrize(("first", "then", "expected"), ADDED, ids=str)
def test_rows_are_added_in_the_types_of_the_table(
    cloud: Cloud, first: Any, then: Any, expected: list[Any] | None
) -> None:
    cloud.save(pd.DataFrame({"n": [0], "v": first}))
    cloud.save(pd.DataFrame({"n": range(1, len(then) + 1), "v": then}))
    kinds = {str(schema.field("v").type).removeprefix("large_") for schema in cloud.schemas()}
    assert len(kinds) == 1
    if expected is not None:
        found = cloud.query(f"SELECT v FROM {DATABASE}.usage ORDER BY n")["v"]
        assert [None if pd.isna(value) else value for value in found] == expected


REFUSED: list[tuple[Any, Any, str]] = [
    ([1], [1.5], "'v' is double in the data and bigint in the Glue table dw_bms.usage"),
    (np.array([1], "int8"), [300], "'v' is bigint in the data and tinyint"),
    ([1.5], [2**53 + 1], "'v' is bigint in the data and double"),
    (np.array([1.5], "float32"), [0.1], "'v' is double in the data and float"),
    ([decimal.Decimal("1.50")], [0.125], "'v' is double in the data and decimal"),
    ([1], ["7"], "'v' is string in the data and bigint"),
    (["7"], [7], "'v' is bigint in the data and string"),
    ([True], [1], "'v' is bigint in the data and boolean"),
    ([DAY], [NOON], "'v' is timestamp in the data and date"),
    ([NOON], pd.array([1], "datetime64[ns]"), "'v' does not fit Athena's timestamp"),
]


@pytest.mark.parametrize(("first", "then", "words"), REFUSED, ids=str)
def test_values_that_would_change_are_refused(
    cloud: Cloud, first: Any, then: Any, words: str
) -> None:
    cloud.save(pd.DataFrame({"v": first}))
    keys = cloud.keys("data/")
    with pytest.raises(DataFormatError, match=words):
        cloud.save(pd.DataFrame({"v": then}))
    assert cloud.keys("data/") == keys


def test_names_of_columns_and_of_structures_keep_their_values(cloud: Cloud) -> None:
    cloud.save(pd.DataFrame({"电压": [3.7, 3.8], "pack": [{"Id": 1}, {"Id": 2}]}))
    found = cloud.query(f'SELECT "电压" AS v, pack.id FROM {DATABASE}.usage ORDER BY v')
    assert found.to_dict("list") == {"v": [3.7, 3.8], "id": [1, 2]}


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
        (days(11, soc=1), ["day"], "'soc' is in the data, and missing in the Glue table"),
        (days(11).drop(columns="vin"), ["day"], "'vin' is in the Glue table dw_bms.usage, and m"),
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
        ("overwrite_partitions", "batch_create_partition"),
        ("overwrite_partitions", "batch_update_partition"),
    ],
)
def test_a_refused_switch_is_taken_back(cloud: Cloud, mode: Any, operation: str) -> None:
    cloud.save(days(11, 21), partition_columns=["day"])
    keys, partitions, table = cloud.keys("data/"), cloud.partitions(), cloud.table()
    session: Any = Session(operation)
    with pytest.raises(AccessDeniedError, match="denied"):
        cloud.save(days(12, 39), partition_columns=["day"], mode=mode, boto3_session=session)
    assert cloud.keys("data/") == keys
    assert cloud.partitions() == partitions
    assert cloud.table()["StorageDescriptor"] == table["StorageDescriptor"]
    assert usage(cloud) == [11, 21]


@pytest.mark.parametrize(
    ("mode", "operation"),
    [("overwrite", "batch_delete_partition"), ("overwrite", "batch_create_partition")],
)
def test_a_switch_that_broke_off_says_so_and_the_next_one_mends_it(
    cloud: Cloud, mode: Any, operation: str
) -> None:
    cloud.save(days(11, 21), partition_columns=["day"])
    session: Any = Session(operation)
    with pytest.raises(BatcatError, match="may point to some of them already"):
        cloud.save(days(12, 39), partition_columns=["day"], mode=mode, boto3_session=session)
    assert set(usage(cloud)) in ({11, 21}, {12, 21, 39})
    assert cloud.by_prefix()["usage"].tolist() == [11, 21]
    cloud.save(days(12, 39), partition_columns=["day"], mode=mode)
    assert usage(cloud) == cloud.by_prefix()["usage"].tolist() == [12, 39]
    assert len(cloud.keys("data/")) == 2


def at_once(*saves: Callable[[], Any]) -> list[Any]:
    """Run saves at the same time, and return what each returned or raised."""
    start = threading.Barrier(len(saves))

    def run(save: Callable[[], Any]) -> Any:
        start.wait()
        try:
            return save()
        except BatcatError as error:
            return error

    with ThreadPoolExecutor(len(saves)) as pool:
        return list(pool.map(run, saves))


@pytest.mark.parametrize("partition_columns", [[], ["day"]])
def test_first_saves_at_once_all_add_their_rows(cloud: Cloud, partition_columns: list[str]) -> None:
    frames = [days(10 + number, 20 + number) for number in range(4)]
    given = {"partition_columns": partition_columns}
    done = at_once(*(lambda frame=frame: cloud.save(frame, **given) for frame in frames))
    assert [error for error in done if isinstance(error, Exception)] == []
    expected = [10, 11, 12, 13, 20, 21, 22, 23]
    assert usage(cloud) == cloud.by_prefix()["usage"].tolist() == expected


@pytest.mark.parametrize("partition_columns", [[], ["day"]])
def test_of_overwrites_at_once_one_wins_whole(cloud: Cloud, partition_columns: list[str]) -> None:
    cloud.save(days(11, 21), partition_columns=partition_columns)
    given = {"partition_columns": partition_columns, "mode": "overwrite"}
    frames = [days(12, 32), days(13, 23), days(14, 44)]
    done = at_once(*(lambda frame=frame: cloud.save(frame, **given) for frame in frames))
    winners = [number for number, result in enumerate(done) if isinstance(result, list)]
    assert winners
    assert all(isinstance(error, (list, ObjectChangedError)) for error in done)
    rows = usage(cloud)
    assert rows in [frames[number]["usage"].tolist() for number in winners]
    assert cloud.by_prefix()["usage"].tolist() == rows
    assert len(cloud.keys("data/")) == (2 if partition_columns else 1)


def test_partitions_can_be_overwritten_at_once_each_by_its_own_save(cloud: Cloud) -> None:
    cloud.save(days(11, 21, 31), partition_columns=["day"])
    given = {"partition_columns": ["day"], "mode": "overwrite_partitions"}
    frames = [days(number) for number in (12, 22, 32, 42)]
    done = at_once(*(lambda frame=frame: cloud.save(frame, **given) for frame in frames))
    assert [error for error in done if isinstance(error, Exception)] == []
    assert usage(cloud) == cloud.by_prefix()["usage"].tolist() == [12, 22, 32, 42]


def save_until(request: int, environment: dict[str, str], settings: dict[str, Any]) -> None:
    """Save, and be killed right before a certain request to AWS."""
    os.environ.update(environment)
    session, sent = boto3.Session(), iter(range(request))

    def count(**_: Any) -> None:
        if next(sent, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    session.events.register("before-send", count)
    place = {"database": DATABASE, "table": "usage"}
    bc.save_dataset(bucket=BUCKET, prefix="data/usage/", boto3_session=session, **place, **settings)


def killed_at(request: int, server: EmbeddedAWS, **settings: Any) -> bool:
    """Save in a process that is killed right before a request; tell whether it came so far."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["awswrangler", "tests.runtime.test_io_dataset"])
    arguments = (request, server.environment(), settings)
    process = context.Process(target=save_until, args=arguments)
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def test_a_killed_overwrite_loses_and_mixes_nothing(cloud: Cloud, server: EmbeddedAWS) -> None:
    cloud.save(days(11, 12))
    for request in itertools.count():
        came_so_far = killed_at(request, server, df=days(request + 30), mode="overwrite")
        known, listed = usage(cloud), cloud.by_prefix()["usage"].tolist()
        assert known in ([11, 12], [request + 30])
        assert listed in ([11, 12], [request + 30])
        # the next save clears up, or adds to what there is
        cloud.save(days(11, 12), mode="overwrite")
        assert cloud.by_prefix()["usage"].tolist() == [11, 12]
        assert len(cloud.keys("data/")) == 1
        if not came_so_far:
            break
    assert known == listed == [request + 30]
    assert request >= 7


def test_rows_can_be_added_after_a_killed_overwrite(cloud: Cloud, server: EmbeddedAWS) -> None:
    for request in range(3, 8):
        cloud.save(days(11), mode="overwrite")
        killed_at(request, server, df=days(12), mode="overwrite")
        cloud.save(days(13))
        assert usage(cloud) == cloud.by_prefix()["usage"].tolist()
        assert usage(cloud) in ([11, 13], [12, 13])


@pytest.mark.parametrize("mode", ["overwrite", "overwrite_partitions"])
def test_a_killed_overwrite_leaves_each_partition_old_or_new(
    cloud: Cloud, server: EmbeddedAWS, mode: Any
) -> None:
    given: dict[str, Any] = {"partition_columns": ["day"], "mode": mode}
    cloud.save(days(11, 12, 21, 22), partition_columns=["day"])
    for request in [*range(6, 12), 99]:
        came_so_far = killed_at(request, server, df=days(13, 14, 31), **given)
        known, listed = usage(cloud), cloud.by_prefix()["usage"].tolist()
        for rows in (known, listed):
            assert [row for row in rows if row < 20] in ([11, 12], [13, 14])
            assert [row for row in rows if 20 < row < 30] in ([], [21, 22])
        if not came_so_far:
            break
        cloud.save(days(11, 12, 21, 22), **given)
        assert set(cloud.by_prefix()["usage"]) - {31} == {11, 12, 21, 22}
        if mode == "overwrite":
            assert len(cloud.keys("data/")) == 2
    assert known == listed
    assert not came_so_far


def test_settings_reach_the_objects(cloud: Cloud) -> None:
    cloud.save(days(11), encryption="aws:kms", kms_key_id="alias/cells", metadata={"run": "7"})
    head = cloud.s3.head_object(Bucket=BUCKET, Key=cloud.keys("data/")[0])
    assert head["ServerSideEncryption"] == "aws:kms"
    assert head["Metadata"] == {"run": "7"}
