"""Other clients of Athena's API are content: awswrangler and PyAthena."""

from __future__ import annotations

import datetime
import decimal
import uuid
from pathlib import Path
from typing import Any

import boto3
import pandas as pd
import pytest

from batcat_runtime.rehearsal.aws.environment import applied
from tests.rehearsal.athena_world import World
from tests.rehearsal.conftest import REGION, Cloud

wr = pytest.importorskip("awswrangler")
_POLL_SECONDS = 0.05


@pytest.fixture(scope="module")
def world(cloud: Cloud) -> World:
    return World(cloud)


@pytest.fixture
def environment(cloud: Cloud, tmp_path: Path) -> Any:
    settings = cloud.aws.environment()
    with applied(settings):
        yield settings


@pytest.fixture
def session(environment: Any) -> boto3.Session:
    return boto3.Session(region_name=REGION)


FRAME = pd.DataFrame(
    {
        "i": pd.array([1, 2, None], dtype="Int64"),
        "f": [1.5, None, 1e10],
        "s": ["a", 'é"x,\n', None],
        "b": pd.array([True, False, None], dtype="boolean"),
        "d": [datetime.date(2020, 1, 1), None, datetime.date(2021, 1, 1)],
        "t": pd.to_datetime(["2020-01-01 00:00:00.123", None, "2021-01-01 00:00:00.000"]),
        "dec": [decimal.Decimal("1.20"), None, decimal.Decimal("3.40")],
        "p": ["x", "y", "y"],
    }
)
WAYS = {
    "result file": {"ctas_approach": False},
    "ctas": {"ctas_approach": True},
    "unload": {"ctas_approach": False, "unload_approach": True},
}


@pytest.fixture
def frame(world: World, session: boto3.Session) -> pd.DataFrame:
    wr.s3.to_parquet(
        FRAME,
        path=f"s3://{world.bucket}/frame/",
        dataset=True,
        mode="overwrite",
        database=world.database,
        table="frame",
        partition_cols=["p"],
        boto3_session=session,
    )
    return FRAME


def _read(world: World, session: boto3.Session, query: str, **more: Any) -> Any:
    place = f"s3://{world.bucket}/wr/{uuid.uuid4().hex}/"
    return wr.athena.read_sql_query(
        query,
        database=world.database,
        s3_output=place,
        boto3_session=session,
        athena_query_wait_polling_delay=_POLL_SECONDS,
        **more,
    )


@pytest.mark.parametrize("way", WAYS)
def test_awswrangler_reads(
    world: World, session: boto3.Session, frame: pd.DataFrame, way: str
) -> None:
    found = _read(world, session, "select * from frame order by coalesce(i, 9)", **WAYS[way])
    assert list(found.columns) == list(frame.columns)
    for name in ("i", "f", "s", "b", "d", "t", "dec", "p"):
        got, wanted = found[name].tolist(), frame[name].tolist()
        assert [None if pd.isna(one) else one for one in got] == [
            None if pd.isna(one) else one for one in wanted
        ], name
    assert str(found["i"].dtype) == "Int64"
    assert found.query_metadata["Statistics"]["DataScannedInBytes"] > 0


@pytest.mark.parametrize("way", WAYS)
def test_awswrangler_chunks_and_parameters(
    world: World, session: boto3.Session, frame: pd.DataFrame, way: str
) -> None:
    chunks = _read(world, session, "select i, s from frame", chunksize=2, **WAYS[way])
    assert sum(len(one) for one in chunks) == 3
    query = "select i from frame where s = ?"
    found = _read(world, session, query, params=["'a'"], paramstyle="qmark", **WAYS[way])
    assert found["i"].tolist() == [1]
    named = _read(
        world, session, "select i from frame where s = :s", params={"s": "a"}, **WAYS[way]
    )
    assert named["i"].tolist() == [1]


def test_awswrangler_statements(world: World, session: boto3.Session, frame: pd.DataFrame) -> None:
    place = f"s3://{world.bucket}/wr/{uuid.uuid4().hex}/"
    common = {
        "database": world.database,
        "s3_output": place,
        "boto3_session": session,
        "athena_query_wait_polling_delay": _POLL_SECONDS,
    }
    described = wr.athena.describe_table(table="frame", **common)
    assert described["Column Name"].tolist() == list(frame.columns)
    assert described["Partition"].tolist() == [False] * 7 + [True]
    assert wr.athena.repair_table(table="frame", **common) == "SUCCEEDED"
    made = wr.athena.create_ctas_table("select * from frame", wait=True, ctas_table="c", **common)
    assert made["ctas_table"] == "c"
    place = common["s3_output"]
    read = wr.athena.read_sql_table(
        "c", world.database, ctas_approach=False, s3_output=place, boto3_session=session
    )
    assert len(read) == 3
    written = wr.athena.unload(
        "select i, s from frame",
        path=f"s3://{world.bucket}/wr-unload/",
        database=world.database,
        boto3_session=session,
        athena_query_wait_polling_delay=_POLL_SECONDS,
    )
    assert written.raw_payload["Status"]["State"] == "SUCCEEDED"
    with pytest.raises(wr.exceptions.QueryFailed, match="COLUMN_NOT_FOUND: line 1:8"):
        _read(world, session, "select nope from frame", ctas_approach=False)


def test_awswrangler_datasets_of_text(world: World, session: boto3.Session) -> None:
    common = {"dataset": True, "database": world.database, "index": False, "boto3_session": session}
    text = FRAME[["i", "f", "d"]]
    wr.s3.to_csv(text, path=f"s3://{world.bucket}/wr-csv/", table="wr_csv", **common)
    found = _read(world, session, "select * from wr_csv order by i", ctas_approach=False)
    assert found["i"].tolist()[:2] == [1, 2]
    assert found["d"].tolist()[0] == datetime.date(2020, 1, 1)


def test_pyathena(world: World, environment: Any, frame: pd.DataFrame) -> None:
    pyathena = pytest.importorskip("pyathena")
    from pyathena.pandas.cursor import PandasCursor

    connection = pyathena.connect(
        s3_staging_dir=f"s3://{world.bucket}/py/",
        region_name=REGION,
        schema_name=world.database,
        poll_interval=_POLL_SECONDS,
    )
    query = "select i, f, s, b, d, t, dec, array[1, 2] as a, x'6162' as bin from frame where i = 1"
    assert connection.cursor().execute(query).fetchall() == [
        (
            1,
            1.5,
            "a",
            True,
            datetime.date(2020, 1, 1),
            datetime.datetime(2020, 1, 1, 0, 0, 0, 123000),
            decimal.Decimal("1.20"),
            [1, 2],
            b"ab",
        )
    ]
    bound = connection.cursor().execute("select s from frame where i = %(i)d", {"i": 1})
    assert bound.fetchall() == [("a",)]
    for unload in (False, True):
        cursor = connection.cursor(PandasCursor, unload=unload)
        found = cursor.execute("select i, s from frame order by i").as_pandas()
        assert found["i"].tolist()[:2] == [1, 2]
    assert connection.cursor().execute("show partitions frame").fetchall() == [("p=x",), ("p=y",)]
