"""Athena through the public function, against the embedded AWS, which executes the SQL."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import logging
import os
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
    AccessDeniedError,
    NoSuchBucketError,
    QueryError,
    QueryTimeoutError,
    ResultTooLargeError,
    ThrottledError,
    UserError,
)
from batcat_runtime.io.athena_query import Settings, run_query
from batcat_runtime.io.clients import client
from batcat_runtime.rehearsal import EmbeddedAWS

REGION = "cn-northwest-1"
LAKE, STAGING_BUCKET = "battery-lake", "apac-athena-queryresult"
STAGING = f"s3://{STAGING_BUCKET}/ATHENA_QUERY"
USAGE = pd.DataFrame(
    {
        "vin": ["a", "b", "c", "d"],
        "usage": [1.5, 2.5, None, 4.5],
        "n": pd.array([1, None, 3, 4], dtype="Int64"),
        "time": ["2021-12-31", "2022-01-01", "2022-08-01", "2022-08-02"],
    }
)
TYPES = """
    SELECT CAST(1 AS tinyint) AS i1, CAST(2 AS smallint) AS i2, 3 AS i4, 9007199254740993 AS i8,
           CAST(1.5 AS real) AS f4, 0.1e0 AS f8, true AS b, 'it''s "a", b' AS v,
           decimal '12345678901234567890.123' AS n, date '2022-01-31' AS d,
           timestamp '2022-01-31 23:59:59.123' AS ts, X'01ff' AS x
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    UNION ALL
    SELECT CAST(0 AS tinyint), CAST(0 AS smallint), 0, 0, CAST(0 AS real), 0e0, false, '',
           decimal '0', date '1970-01-01', timestamp '1970-01-01 00:00:00', X''
"""
DTYPES = {
    "i1": "Int8",
    "i2": "Int16",
    "i4": "Int32",
    "i8": "Int64",
    "f4": "float32",
    "f8": "float64",
    "b": "boolean",
    "v": "str",
    "n": "object",
    "d": "datetime64[us]",
    "ts": "datetime64[us]",
    "x": "object",
}


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedAWS]:
    with EmbeddedAWS(region=REGION) as aws:
        s3 = boto3.client("s3")
        for bucket in (LAKE, STAGING_BUCKET, "workgroup-results"):
            place = {"LocationConstraint": REGION}
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
        bc.save_to_bucket(USAGE, LAKE, "usage/part.parquet")
        athena = boto3.client("athena")
        account = "210987654321"
        athena.create_data_catalog(Name="cdc", Type="GLUE", Parameters={"catalog-id": account})
        athena.create_work_group(
            Name="enforced",
            Configuration={
                "EnforceWorkGroupConfiguration": True,
                "ResultConfiguration": {"OutputLocation": "s3://workgroup-results/kept/"},
            },
        )
        columns = {"vin": "string", "usage": "double", "n": "bigint", "time": "string"}
        storage = {
            "Columns": [{"Name": name, "Type": kind} for name, kind in columns.items()],
            "Location": f"s3://{LAKE}/usage/",
            "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
            "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
            "SerdeInfo": {
                "SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde."
                "ParquetHiveSerDe"
            },
        }
        glue = boto3.client("glue")
        for catalog, database in ((account, "dw_bms"), (aws.account_id, "lab")):
            glue.create_database(CatalogId=catalog, DatabaseInput={"Name": database})
            glue.create_table(
                CatalogId=catalog,
                DatabaseName=database,
                TableInput={
                    "Name": "battery_usage",
                    "StorageDescriptor": storage,
                    "TableType": "EXTERNAL_TABLE",
                },
            )
        yield aws


@pytest.fixture(autouse=True)
def environment(server: EmbeddedAWS, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)


def read(query: str, **options: Any) -> Any:
    return bc.read_data_from_athena(
        **{"query": query, "region": REGION, "s3_staging_dir": STAGING, **options}
    )


def staged(bucket: str = STAGING_BUCKET) -> list[str]:
    listed = boto3.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])
    return [one["Key"] for one in listed]


def executions(state: str = "") -> list[dict[str, Any]]:
    athena = boto3.client("athena")
    found = athena.list_query_executions()["QueryExecutionIds"]
    every = [athena.get_query_execution(QueryExecutionId=one)["QueryExecution"] for one in found]
    return [one for one in every if state in one["Status"]["State"]]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    logger = bc.get_logger()
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def test_the_tutorials_query(log: pytest.LogCaptureFixture) -> None:
    query = """
    SELECT
        vin,
        usage,
        time
    FROM
        cdc.dw_bms.battery_usage
    WHERE
        time >= '{}' and time <= '{}'
    """
    date_start = "2022-01-01"
    date_end = "2022-08-01"
    region = "cn-northwest-1"
    s3_staging_dir = "s3://apac-athena-queryresult/ATHENA_QUERY"
    found = bc.read_data_from_athena(
        query=query,
        region=region,
        s3_staging_dir=s3_staging_dir,
        date_start=date_start,
        date_end=date_end,
    )
    assert sorted(found["vin"]) == ["b", "c"]
    assert list(found.columns) == ["vin", "usage", "time"]
    assert staged() == []
    assert "Athena succeeded after" in log.text
    assert " B scanned" in log.text


@pytest.mark.parametrize("unload", [True, False])
def test_every_column_has_the_type_that_athena_declares(unload: bool) -> None:
    found = read(TYPES, unload=unload).sort_values("i8", ascending=False, ignore_index=True)
    assert {name: str(kind) for name, kind in found.dtypes.items()} == DTYPES
    first, zero, gap = found.iloc[0], found.iloc[1], found.iloc[2]
    assert first["i8"] == 9007199254740993
    assert first["v"] == 'it\'s "a", b'
    assert first["n"] == decimal.Decimal("12345678901234567890.123")
    assert first["d"] == pd.Timestamp("2022-01-31")
    assert first["ts"] == pd.Timestamp("2022-01-31 23:59:59.123")
    assert first["x"] == b"\x01\xff"
    assert (zero["v"], zero["x"]) == ("", b"")  # an empty text is no gap
    assert gap.isna().all()
    assert staged() == []


def test_unload_and_the_result_file_give_the_same() -> None:
    pd.testing.assert_frame_equal(
        read(f"SELECT * FROM ({TYPES}) WHERE i8 > 0"),
        read(f"SELECT * FROM ({TYPES}) WHERE i8 > 0", unload=False),
    )


@pytest.mark.parametrize("unload", [True, False])
def test_no_rows_keep_columns_and_types(unload: bool) -> None:
    found = read(f"SELECT * FROM ({TYPES}) WHERE v = :v", params={"v": "none"}, unload=unload)
    assert len(found) == 0
    names = {"Int8": "int8", "Int16": "int16", "Int32": "int32", "Int64": "int64"}
    wanted = {name: {**names, "boolean": "bool"}.get(kind, kind) for name, kind in DTYPES.items()}
    assert {name: str(kind) for name, kind in found.dtypes.items()} == wanted


def test_nested_values() -> None:
    found = read("SELECT array['a', NULL] AS l, map(array['k'], array[1]) AS m")
    assert found.iloc[0].tolist() == [["a", None], {"k": 1}]


def test_what_parquet_cannot_hold_comes_by_the_result_file(log: pytest.LogCaptureFixture) -> None:
    found = read(
        "SELECT timestamp '2022-01-31 23:59:59.123 Asia/Shanghai' AS tz, "
        "timestamp '2022-01-31 15:59:59.123 UTC' AS utc, time '01:02:03.500' AS t, 1 AS a, 2 AS a"
    )
    assert {name: str(kind) for name, kind in found.dtypes.items()} == {
        "tz": "datetime64[us, UTC]",
        "utc": "datetime64[us, UTC]",
        "t": "object",
        "a": "int32",
        "a.1": "int32",
    }
    assert found["tz"].iloc[0] == found["utc"].iloc[0]
    assert found["utc"].iloc[0] == pd.Timestamp("2022-01-31 15:59:59.123", tz="UTC")
    assert found["t"].iloc[0] == dt.time(1, 2, 3, 500000)
    assert "cannot UNLOAD" in log.text
    assert staged() == []


def test_an_order_is_kept() -> None:
    values = ", ".join(f"({n})" for n in range(50))
    found = read(f"SELECT n FROM (VALUES {values}) AS t(n) ORDER BY n DESC")
    assert found["n"].tolist() == list(range(49, -1, -1))


def test_statements_that_are_no_select() -> None:
    read("CREATE DATABASE IF NOT EXISTS scratch")
    assert "scratch" in read("SHOW DATABASES").iloc[:, 0].tolist()
    read(f"CREATE EXTERNAL TABLE scratch.u (vin string) LOCATION 's3://{LAKE}/none/'")
    assert read("SHOW TABLES IN scratch").iloc[:, 0].tolist() == ["u"]
    assert len(read("DESCRIBE scratch.u")) >= 1
    assert len(read("DROP TABLE scratch.u")) == 0
    assert staged() == []


HOSTILE = ["it's", "\\", "' OR ''='", "a :b ? $1", "--", "/*", '"', "中文", " x ", "y" * 1500]


@pytest.mark.parametrize("unload", [True, False])
def test_parameters_arrive_as_they_are(unload: bool) -> None:
    values = ", ".join(f"(CAST(:p{i} AS varchar), {i})" for i in range(len(HOSTILE)))
    params = {f"p{i}": text for i, text in enumerate(HOSTILE)}
    found = read(f"SELECT v, n FROM (VALUES {values}) AS t(v, n)", params=params, unload=unload)
    assert found.sort_values("n")["v"].tolist() == HOSTILE


def test_parameters_in_order_lists_and_catalogs() -> None:
    query = """
        WITH early AS (SELECT * FROM battery_usage WHERE time < :day)
        SELECT vin FROM early WHERE vin IN :vins AND n >= :n
    """
    params = {"n": 1, "vins": ["a", "c", "it's"], "day": "2022-08-02"}
    for catalog, database in ((None, "lab"), ("cdc", "dw_bms")):
        found = read(query, params=params, catalog=catalog, database=database)
        assert sorted(found["vin"]) == ["a", "c"]
    found = read("SELECT vin FROM lab.battery_usage WHERE n = ? AND vin = ?", params=[4, "d"])
    assert found["vin"].tolist() == ["d"]


@pytest.mark.parametrize("unload", [True, False])
def test_chunks(unload: bool) -> None:
    chunks = read("SELECT vin FROM lab.battery_usage", chunksize=3, unload=unload)
    frames = [next(chunks)]
    assert staged() != []
    frames += list(chunks)
    assert [len(frame) for frame in frames] == [3, 1]
    assert sorted(pd.concat(frames)["vin"]) == ["a", "b", "c", "d"]
    assert staged() == []


def test_chunks_that_nobody_finishes_are_cleaned_up() -> None:
    chunks = read("SELECT vin FROM lab.battery_usage", chunksize=1)
    next(chunks)
    chunks.close()
    assert staged() == []


@pytest.mark.parametrize("unload", [True, False])
def test_an_error_shows_the_line_that_it_is_about(unload: bool) -> None:
    with pytest.raises(QueryError, match="COLUMN_NOT_FOUND") as caught:
        read("SELECT vin,\n       usge\nFROM lab.battery_usage", unload=unload)
    assert (caught.value.line, caught.value.column) == (2, 8)
    assert "line 2:8" in str(caught.value)
    assert "\n  2 |        usge\n    |        ^" in str(caught.value)
    with pytest.raises(QueryError, match=r"(?s)TABLE_NOT_FOUND.*Fix: .*`database`"):
        read("SELECT 1 FROM lab.nothing", unload=unload)
    with pytest.raises(QueryError, match="mismatched input"):
        read("SELECT 1 FORM x y", unload=unload)
    assert staged() == []


def test_a_workgroup_that_insists_on_its_own_place() -> None:
    for unload in (True, False):
        found = read("SELECT 1 AS a", workgroup="enforced", unload=unload)
        assert found["a"].tolist() == [1]
        assert staged() + staged("workgroup-results") == []
    found = read("SELECT 2 AS a", workgroup="enforced", s3_staging_dir=None)
    assert found["a"].tolist() == [2]


def test_no_place_for_results() -> None:
    with pytest.raises(QueryError, match=r"(?s)output location.*Fix: Give `s3_staging_dir`"):
        read("SELECT 1 AS a", s3_staging_dir=None)


def test_an_earlier_result_is_used_again(log: pytest.LogCaptureFixture) -> None:
    query = "SELECT count(*) AS n FROM lab.battery_usage"
    reuse = {"reuse_minutes": 60, "s3_staging_dir": f"s3://{STAGING_BUCKET}/reuse"}
    assert read(query, **reuse)["n"].tolist() == [4]
    assert "used again" not in log.text
    assert read(query, **reuse)["n"].tolist() == [4]
    assert "used again" in log.text
    s3 = boto3.client("s3")
    for key in staged():
        s3.delete_object(Bucket=STAGING_BUCKET, Key=key)


def test_a_missing_bucket_is_named() -> None:
    with pytest.raises((NoSuchBucketError, QueryError), match="no-such-bucket-here"):
        read("SELECT 1 AS a", s3_staging_dir="s3://no-such-bucket-here/x")


SLOW = "SELECT count(*) + {} AS n FROM " + ", ".join(
    f"UNNEST(sequence(1, 3000)) AS t{n}(x{n})" for n in range(4)
)


def test_a_query_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(QueryTimeoutError, match="longer than `timeout`"):
        read(SLOW.format(1), timeout=0.5)
    _until(lambda: any(SLOW.format(1) in one["Query"] for one in executions("CANCELLED")))
    assert staged() == []


def test_an_interrupt_stops_the_query_and_cleans_up() -> None:
    script = "import sys; import batcat_runtime as bc;"
    script += f"bc.read_data_from_athena(sys.argv[1], {REGION!r}, {STAGING!r})"
    child = subprocess.Popen(
        [sys.executable, "-c", script, SLOW.format(2)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    _until(lambda: any(SLOW.format(2) in one["Query"] for one in executions("RUNNING")))
    os.kill(child.pid, signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert "KeyboardInterrupt" in said
    _until(lambda: any(SLOW.format(2) in one["Query"] for one in executions("CANCELLED")))
    assert staged() == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"date_start": "yesterday"}, "is no date"),
        ({"date_start": "2022-01-01"}, "0 places"),
        ({"params": {"a": 1}}, "no place in the query"),
        ({"chunksize": 0}, "no number of rows"),
        ({"timeout": 0}, "no number of seconds"),
        ({"dtype_backend": "polars"}, "no dtype_backend"),
        ({"s3_staging_dir": "apac/x"}, "no place in S3"),
        ({"s3_staging_dir": "s3://A_b/x"}, "no S3 bucket name"),
        ({"query": "SELECT 1; SELECT 2"}, "more than one statement"),
        ({"reuse_minutes": 99_999}, "out of range"),
        ({"max_bytes_scanned": 0}, "lets no query run"),
        ({"encryption": "rot13"}, "no encryption"),
        ({"encryption": "SSE_KMS"}, "kms_key goes with"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], said: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=said):
        read(**{"query": "SELECT 1", **options})


def _settings(**changes: Any) -> tuple[Settings, Stubber, list[float]]:
    pauses: list[float] = []
    athena = client("athena", boto3.Session("x", "x", region_name=REGION))
    return Settings(athena, "primary", sleep=pauses.append, **changes), Stubber(athena), pauses


def _status(state: str, scanned: int = 0, reason: str = "") -> dict[str, Any]:
    status = {"State": state, **({"StateChangeReason": reason} if reason else {})}
    numbers = {"DataScannedInBytes": scanned}
    return {"QueryExecution": {"QueryExecutionId": "i", "Status": status, "Statistics": numbers}}


def test_waiting_asks_less_and_less_often() -> None:
    settings, stub, pauses = _settings()
    with stub:
        stub.add_response("start_query_execution", {"QueryExecutionId": "i"})
        for state in ["QUEUED", *["RUNNING"] * 12, "SUCCEEDED"]:
            stub.add_response("get_query_execution", _status(state))
        run_query("SELECT 1", [], settings)
    assert pauses == sorted(pauses)
    assert pauses[-1] == 2.0


def test_a_query_that_scans_too_much_is_stopped() -> None:
    settings, stub, _ = _settings(max_bytes=1_000_000)
    with stub:
        stub.add_response("start_query_execution", {"QueryExecutionId": "i"})
        stub.add_response("get_query_execution", _status("RUNNING", 900_000))
        stub.add_response("get_query_execution", _status("RUNNING", 2_000_000))
        stub.add_response("stop_query_execution", {}, {"QueryExecutionId": "i"})
        for state in ("RUNNING", "CANCELLED"):  # and waits for its end
            stub.add_response("get_query_execution", _status(state))
        with pytest.raises(ResultTooLargeError, match=r"scanned 2\.0 MB"):
            run_query("SELECT 1", [], settings)
        stub.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("state", "reason", "kind", "said"),
    [
        ("FAILED", "SYNTAX_ERROR: line 2:3: no", QueryError, "line 1:3"),
        ("FAILED", "HIVE_CANNOT_OPEN_SPLIT: Access Denied", AccessDeniedError, "s3:GetObject"),
        ("CANCELLED", "Bytes scanned limit was exceeded", QueryError, "cancelled .*exceeded"),
    ],
)
def test_what_athena_says_becomes_a_typed_error(
    state: str, reason: str, kind: type[Exception], said: str
) -> None:
    settings, stub, _ = _settings()
    with stub:
        stub.add_response("start_query_execution", {"QueryExecutionId": "i"})
        stub.add_response("get_query_execution", _status(state, reason=reason))
        with pytest.raises(kind, match=said) as caught:
            run_query("SELECT 1", [], settings, wrapper="UNLOAD (\n{}\n) TO 'x'")
    assert type(caught.value) is kind


def test_throttling() -> None:
    settings, stub, _ = _settings()
    with stub:
        stub.add_client_error(
            "start_query_execution", service_error_code="TooManyRequestsException"
        )
        with pytest.raises(ThrottledError):
            run_query("SELECT 1", [], settings)


def test_parameters_are_bound_and_never_pasted() -> None:
    canary = "canary' OR 1=1 --"
    read("SELECT vin FROM lab.battery_usage WHERE vin = :vin", params={"vin": canary})
    last = max(executions(), key=lambda one: one["Status"]["SubmissionDateTime"])
    text = next(one["Query"] for one in executions() if "canary" in json.dumps(one, default=str))
    assert "canary" not in text
    assert last["Status"]["State"] == "SUCCEEDED"


def test_a_notice_of_what_it_cost_goes_to_the_log_only(
    log: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    read("SELECT sum(n) AS n FROM lab.battery_usage")
    assert capsys.readouterr().out == ""
    lines = [one for one in log.records if "scanned" in one.getMessage()]
    assert [one.levelno for one in lines] == [logging.INFO]
    assert "0 B scanned" not in lines[0].getMessage()


def _until(done: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)
