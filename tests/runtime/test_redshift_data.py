"""Redshift by the Data API and a secret, against the embedded AWS, which executes the SQL."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pandas as pd
import pytest
from botocore.stub import Stubber

import batcat_runtime as bc
from batcat_runtime.errors import (
    NoSuchSecretError,
    QueryError,
    QueryTimeoutError,
    ResultTooLargeError,
    ThrottledError,
    UserError,
)
from batcat_runtime.io.clients import client
from batcat_runtime.io.redshift_data_api import DataApi
from tests import embedded_redshift as embedded
from tests.embedded_redshift import CLUSTER, PASSWORD, REGION, SECRET, WORKGROUP, Warehouse

TYPES = """
    SELECT 1::int2 AS i2, 2::int4 AS i4, 9007199254740993::int8 AS i8, 1.5::float4 AS f4,
           0.1::float8 AS f8, true AS b, 'a'::varchar AS v, 'b'::char(5) AS c,
           12345678901234567890.123::numeric(38, 3) AS n, date '2022-01-31' AS d,
           time '23:59:59.5' AS t, timestamp '2022-01-31 23:59:59.123456' AS ts,
           timestamptz '2022-01-31 23:59:59+08' AS tz
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
"""
DTYPES = {
    "i2": "Int16",
    "i4": "Int32",
    "i8": "Int64",
    "f4": "float32",
    "f8": "float64",
    "b": "boolean",
    "v": "str",
    "c": "str",
    "n": "object",
    "d": "datetime64[us]",
    "t": "object",
    "ts": "datetime64[us]",
    "tz": "datetime64[us, UTC]",
}


@pytest.fixture(scope="module")
def started() -> Iterator[Warehouse]:
    with embedded.running() as running:
        yield running


@pytest.fixture
def warehouse(started: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    for name, value in started.aws.environment().items():
        monkeypatch.setenv(name, value)
    return started


@pytest.mark.parametrize("unload", [False, True])
def test_every_column_has_the_type_that_redshift_declares(
    warehouse: Warehouse, unload: bool
) -> None:
    options = warehouse.unloading() if unload else {}
    found = warehouse.read(f"SELECT * FROM ({TYPES}) ORDER BY i2", **options)
    assert {name: str(kind) for name, kind in found.dtypes.items()} == DTYPES
    first = found.iloc[0].to_dict()
    assert first["i8"] == 9007199254740993
    assert first["n"] == decimal.Decimal("12345678901234567890.123")
    assert first["c"] == "b"
    assert first["d"] == pd.Timestamp("2022-01-31")
    assert first["t"] == dt.time(23, 59, 59, 500000)
    assert first["ts"] == pd.Timestamp("2022-01-31 23:59:59.123456")
    assert first["tz"] == pd.Timestamp("2022-01-31 15:59:59", tz="UTC")
    assert found.iloc[1].isna().all()
    assert warehouse.staged() == []


@pytest.mark.parametrize("unload", [False, True])
def test_no_rows_keep_columns_and_types(warehouse: Warehouse, unload: bool) -> None:
    options = warehouse.unloading() if unload else {}
    found = warehouse.read(f"SELECT * FROM ({TYPES}) WHERE i2 = :n", params={"n": 5}, **options)
    assert len(found) == 0
    names = {"Int16": "int16", "Int32": "int32", "Int64": "int64", "boolean": "bool"}
    wanted = {name: names.get(kind, kind) for name, kind in DTYPES.items()}
    assert {name: str(kind) for name, kind in found.dtypes.items()} == wanted


def test_the_tutorials_query(warehouse: Warehouse) -> None:
    warehouse.read("CREATE SCHEMA IF NOT EXISTS dw_bms")
    warehouse.read("CREATE TABLE dw_bms.battery_usage (vin varchar, usage float8, time date)")
    warehouse.read(
        "INSERT INTO dw_bms.battery_usage VALUES ('a', 1.5, '2021-12-31'), "
        "('b', 2.5, '2022-01-01'), ('c', NULL, '2022-08-01'), ('d', 4.5, '2022-08-02')"
    )
    query = """
    SELECT
        vin,
        usage,
        time
    FROM
        dw_bms.battery_usage
    WHERE
        time >= '{}' and time <= '{}'
    ORDER BY vin
    """
    found = bc.read_data_from_redshift_by_secret(
        secret_name=SECRET,
        region=REGION,
        query=query,
        date_start="2022-01-01",
        date_end="2022-08-01",
    )
    assert found["vin"].tolist() == ["b", "c"]
    assert found["time"].tolist() == [pd.Timestamp("2022-01-01"), pd.Timestamp("2022-08-01")]
    positional = bc.read_data_from_redshift_by_secret(
        SECRET, REGION, query, "2022-01-01", "2022-08-01"
    )
    pd.testing.assert_frame_equal(positional, found)


HOSTILE = ["it's", "\\", "' OR ''='", "a :b ? $1", "--", "/*", '"', "中文", "", " x ", None]


@pytest.mark.parametrize("unload", [False, True])
def test_parameters_arrive_as_they_are(warehouse: Warehouse, unload: bool) -> None:
    query = "SELECT " + ", ".join(f":p{i}::varchar AS c{i}" for i in range(len(HOSTILE)))
    params = {f"p{i}": text for i, text in enumerate(HOSTILE)}
    options = warehouse.unloading() if unload else {}
    found = warehouse.read(query, params=params, **options)
    assert found.iloc[0].astype(object).where(found.iloc[0].notna(), None).tolist() == HOSTILE


def test_pages_and_chunks(warehouse: Warehouse) -> None:
    query = (
        "SELECT n, 'x' AS t FROM (SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3) ORDER BY 1"
    )
    chunks = list(warehouse.read(query, chunksize=2))
    assert [chunk["n"].tolist() for chunk in chunks] == [[1, 2], [3]]
    chunks = list(warehouse.read(query, chunksize=2, **warehouse.unloading()))
    assert [chunk["n"].tolist() for chunk in chunks] == [[1, 2], [3]]
    assert warehouse.staged() == []


def test_chunks_that_nobody_finishes_are_cleaned_up(warehouse: Warehouse) -> None:
    chunks = warehouse.read(
        "SELECT 1 AS n UNION ALL SELECT 2", chunksize=1, **warehouse.unloading()
    )
    next(chunks)
    assert warehouse.staged() != []
    chunks.close()
    assert warehouse.staged() == []


def test_a_result_that_cannot_be_unloaded_comes_all_the_same(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    logger = bc.get_logger()
    logger.addHandler(caplog.handler)
    found = warehouse.read("SELECT 1 AS a, 2 AS a", **warehouse.unloading())
    logger.removeHandler(caplog.handler)
    assert list(found.columns) == ["a", "a.1"]
    assert "cannot UNLOAD" in caplog.text
    assert warehouse.staged() == []


@pytest.mark.parametrize("unload", [False, True])
def test_an_error_shows_the_line_that_it_is_about(warehouse: Warehouse, unload: bool) -> None:
    options = warehouse.unloading() if unload else {}
    with pytest.raises(QueryError, match="syntax error at or near") as caught:
        warehouse.read("SELECT vin\nFORM\n  usage_table u", **options)
    assert re.search(r"\n  [23] \| .*\n    \| +\^", str(caught.value))
    assert caught.value.line in (2, 3)
    with pytest.raises(QueryError, match='relation "nowhere" does not exist'):
        warehouse.read("SELECT vin FROM nowhere", **options)
    assert warehouse.staged() == []


def test_a_secret_says_which_warehouse_it_is_for(warehouse: Warehouse) -> None:
    secrets = warehouse.client("secretsmanager")
    login = {"username": "awsuser", "password": PASSWORD}
    serverless = warehouse.client("redshift-serverless")
    serverless.create_namespace(
        namespaceName="battery",
        adminUsername="awsuser",
        adminUserPassword=PASSWORD,
        dbName="dev",
    )
    serverless.create_workgroup(workgroupName=WORKGROUP, namespaceName="battery")
    hosts = {
        "by-host": f"{CLUSTER}.abc123.{REGION}.redshift.amazonaws.com.cn",
        "by-serverless-host": f"{WORKGROUP}.123456789012.{REGION}.redshift-serverless."
        "amazonaws.com.cn",
    }
    for name, host in hosts.items():
        secrets.create_secret(Name=name, SecretString=json.dumps({**login, "host": host}))
        found = bc.read_data_from_redshift_by_secret(name, REGION, "SELECT 1 AS a")
        assert found["a"].tolist() == [1]
    secrets.create_secret(Name="bare", SecretString=json.dumps(login))
    with pytest.raises(UserError, match="names neither a cluster nor a workgroup") as caught:
        bc.read_data_from_redshift_by_secret("bare", REGION, "SELECT 1 AS a")
    assert PASSWORD not in str(caught.value)
    for target in ({"cluster_identifier": CLUSTER}, {"workgroup_name": WORKGROUP}):
        found = bc.read_data_from_redshift_by_secret(
            "bare", REGION, "SELECT 1 AS a", database="dev", **target
        )
        assert found["a"].tolist() == [1]


def test_a_secret_that_is_not_there(warehouse: Warehouse) -> None:
    with pytest.raises(NoSuchSecretError, match="'nothing'"):
        bc.read_data_from_redshift_by_secret("nothing", REGION, "SELECT 1")


@pytest.mark.parametrize(
    "options",
    [
        {"date_start": "yesterday"},
        {"date_start": "2022-01-01"},
        {"params": {"a": 1}},
        {"chunksize": 0},
        {"timeout": 0},
        {"dtype_backend": "polars"},
        {"s3_staging_dir": "s3://bucket/x"},
        {"query": ";"},
        {"cluster_identifier": "a", "workgroup_name": "b"},
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_asked(options: dict[str, Any]) -> None:
    # no environment: any request would fail with another error
    with pytest.raises(UserError):
        bc.read_data_from_redshift_by_secret(
            **{"secret_name": SECRET, "region": REGION, "query": "SELECT 1", **options}
        )


def test_a_statement_that_takes_too_long_is_cancelled(warehouse: Warehouse) -> None:
    slow = "SELECT count(*) FROM {0} a, {0} b, {0} c, {0} d".format(_numbers(warehouse))
    with pytest.raises(QueryTimeoutError, match=r"longer than 0\.5 s"):
        warehouse.read(slow, timeout=0.5)
    _until(lambda: warehouse.statements()[0]["Status"] == "ABORTED")


def test_an_interrupt_cancels_the_statement(warehouse: Warehouse) -> None:
    slow = "SELECT count(*) + 1 FROM {0} a, {0} b, {0} c, {0} d".format(_numbers(warehouse))
    script = "import sys; import batcat_runtime as bc;"
    script += f"bc.read_data_from_redshift_by_secret({SECRET!r}, {REGION!r}, sys.argv[1])"
    child = subprocess.Popen(
        [sys.executable, "-c", script, slow], stderr=subprocess.PIPE, text=True, env=os.environ
    )
    _until(lambda: _status_of(warehouse, slow) == "STARTED")
    os.kill(child.pid, signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert "KeyboardInterrupt" in said
    assert PASSWORD not in said
    _until(lambda: _status_of(warehouse, slow) == "ABORTED")


def test_waiting_asks_less_and_less_often() -> None:
    service = boto3.client(
        "redshift-data", REGION, aws_access_key_id="x", aws_secret_access_key="x"
    )
    pauses: list[float] = []
    api = DataApi(service, {"ClusterIdentifier": "c"}, sleep=pauses.append)
    described = {"Id": "i", "HasResultSet": False}
    with Stubber(service) as stub:
        stub.add_response("execute_statement", {"Id": "i"})
        for status in ["SUBMITTED", "PICKED", *["STARTED"] * 12, "FINISHED"]:
            stub.add_response("describe_statement", {**described, "Status": status})
        assert list(api.tables(api.run("SELECT 1"))) == []
    assert pauses == sorted(pauses)
    assert pauses[-1] == 2.0


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("ERROR: Query result is too large: it exceeds 100 MB", ResultTooLargeError),
        ('ERROR: relation "x" does not exist', QueryError),
    ],
)
def test_what_redshift_says_becomes_a_typed_error(error: str, kind: type[QueryError]) -> None:
    service = boto3.client(
        "redshift-data", REGION, aws_access_key_id="x", aws_secret_access_key="x"
    )
    with Stubber(service) as stub:
        stub.add_response("execute_statement", {"Id": "i"})
        answer = {"Id": "i", "Status": "FAILED", "Error": error}
        stub.add_response("describe_statement", answer)
        with pytest.raises(QueryError) as caught:
            DataApi(service, {"ClusterIdentifier": "c"}).run("SELECT 1")
    assert type(caught.value) is kind


def test_too_many_statements_at_once() -> None:
    session = boto3.Session("x", "x", region_name=REGION)
    service = client("redshift-data", session)
    with Stubber(service) as stub:
        code = "ActiveStatementsExceededException"
        stub.add_client_error("execute_statement", service_error_code=code)
        with pytest.raises(ThrottledError, match="Too many statements"):
            DataApi(service, {"ClusterIdentifier": "c"}).run("SELECT 1")


def test_no_password_is_shown_anywhere(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("botocore").setLevel(logging.DEBUG)
    try:
        with caplog.at_level(logging.DEBUG):
            warehouse.read("SELECT 1")
            with pytest.raises(QueryError):
                warehouse.read("SELECT x FROM nowhere")
    finally:
        logging.getLogger("botocore").setLevel(logging.NOTSET)
    assert "ExecuteStatement" in caplog.text
    assert PASSWORD not in caplog.text
    assert PASSWORD not in warehouse.aws.log_path.read_text()


def _numbers(warehouse: Warehouse) -> str:
    warehouse.read("CREATE TABLE IF NOT EXISTS numbers (n int)")
    if warehouse.read("SELECT count(*) AS n FROM numbers")["n"].iloc[0] == 0:
        rows = ", ".join(f"({n})" for n in range(1000))
        warehouse.read(f"INSERT INTO numbers VALUES {rows}")
    return "numbers"


def _status_of(warehouse: Warehouse, query: str) -> str:
    found = [one["Status"] for one in warehouse.statements() if one.get("QueryString") == query]
    return found[0] if found else ""


def _until(done: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)
