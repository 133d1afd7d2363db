"""Athena through the public function, against the embedded AWS, which executes the SQL."""

from __future__ import annotations

import datetime as dt
import decimal
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import boto3
import pandas as pd
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import (
    AccessDeniedError,
    DataFormatError,
    NoSuchBucketError,
    QueryError,
    QueryTimeoutError,
    ResultTooLargeError,
    ThrottledError,
    UserError,
)
from batcat_runtime.rehearsal import EmbeddedAWS
from tests.athena_server import ScriptedAthena, serve_athena, state

REGION = "cn-northwest-1"
LAKE, STAGING_BUCKET = "battery-lake", "apac-athena-queryresult"
STAGING = f"s3://{STAGING_BUCKET}/ATHENA_QUERY"
USAGE = pd.DataFrame(
    {"vin": ["a", "b", "c", "d"], "n": [1, 2, 3, 4], "time": ["2021", "2022", "2023", "2024"]}
)


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedAWS]:
    with EmbeddedAWS(region=REGION) as aws:
        for bucket in (LAKE, STAGING_BUCKET, "workgroup-results"):
            place = {"LocationConstraint": REGION}
            boto3.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
        boto3.client("glue").create_database(DatabaseInput={"Name": "lab"})
        bc.save_dataset(USAGE, LAKE, "usage/", database="lab", table="battery_usage")
        athena = boto3.client("athena")
        athena.create_data_catalog(
            Name="cdc", Type="GLUE", Parameters={"catalog-id": aws.account_id}
        )
        results = {"OutputLocation": "s3://workgroup-results/kept/"}
        athena.create_work_group(
            Name="enforced",
            Configuration={"EnforceWorkGroupConfiguration": True, "ResultConfiguration": results},
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


def test_nested_values() -> None:
    found = read("SELECT array['a', NULL] AS l, map(array['k'], array[1]) AS m")
    assert found.iloc[0].tolist() == [["a", None], {"k": 1}]


def test_what_parquet_cannot_hold_comes_by_the_result_file(log: pytest.LogCaptureFixture) -> None:
    found = read("SELECT timestamp '2022-01-31 23:59:59.123 Asia/Shanghai' AS tz, 1 AS a, 2 AS a")
    assert list(found) == ["tz", "a", "a.1"]
    assert found["tz"].iloc[0] == pd.Timestamp("2022-01-31 15:59:59.123", tz="UTC")
    assert "cannot UNLOAD" in log.text
    assert staged() == []


def test_an_order_is_kept() -> None:
    values = ", ".join(f"({n})" for n in range(50))
    found = read(f"SELECT n FROM (VALUES {values}) AS t(n) ORDER BY n DESC")
    assert found["n"].tolist() == list(range(49, -1, -1))


def test_statements_that_are_no_select() -> None:
    assert "lab" in read("SHOW DATABASES").iloc[:, 0].tolist()
    assert "battery_usage" in read("SHOW TABLES IN lab").iloc[:, 0].tolist()
    assert len(read("DESCRIBE lab.battery_usage")) >= 1
    assert len(read("DROP TABLE IF EXISTS lab.nothing")) == 0
    assert staged() == []


def test_a_catalog_and_a_database() -> None:
    query = "WITH early AS (SELECT * FROM {} WHERE n < :n) SELECT vin FROM early"
    for table, catalog, database in (
        ("battery_usage", None, "lab"),
        ("battery_usage", "cdc", "lab"),
        ("lab.battery_usage", "cdc", None),
    ):
        found = read(query.format(table), params={"n": 3}, catalog=catalog, database=database)
        assert sorted(found["vin"]) == ["a", "b"]
        last = max(executions(), key=lambda one: one["Status"]["SubmissionDateTime"])
        assert last["QueryExecutionContext"].get("Catalog", "").lower() == (catalog or "")


@pytest.mark.parametrize("unload", [True, False])
def test_chunks(unload: bool) -> None:
    chunks = read("SELECT vin FROM lab.battery_usage", chunksize=3, unload=unload)
    frames = [next(chunks)]
    assert staged() != []
    frames += list(chunks)
    assert [len(frame) for frame in frames] == [3, 1]
    assert sorted(pd.concat(frames)["vin"]) == ["a", "b", "c", "d"]
    assert staged() == []
    given_up = read("SELECT vin FROM lab.battery_usage", chunksize=1, unload=unload)
    next(given_up)
    given_up.close()
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
    _, said = child.communicate(timeout=120)
    assert "KeyboardInterrupt" in said
    _until(lambda: any(SLOW.format(2) in one["Query"] for one in executions("CANCELLED")))
    assert staged() == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"chunksize": 0}, "no number of rows"),
        ({"timeout": 0}, "no number of seconds"),
        ({"dtype_backend": "polars"}, "no dtype_backend"),
        ({"s3_staging_dir": "apac/x"}, "no place in S3"),
        ({"s3_staging_dir": "s3://A_b/x"}, "no S3 bucket name"),
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


@pytest.fixture
def athena(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedAthena]:
    """Athena as it is told to be; S3 stays the embedded one."""
    with serve_athena(ScriptedAthena()) as athena:
        monkeypatch.setenv("AWS_ENDPOINT_URL_ATHENA", athena.endpoint)
        yield athena


def test_a_query_that_scans_too_much_is_stopped(athena: ScriptedAthena) -> None:
    athena.states = [state("QUEUED"), state("RUNNING", 900_000), state("RUNNING", 2_000_000)]
    with pytest.raises(ResultTooLargeError, match=r"scanned 2\.0 MB"):
        read("SELECT 1", max_bytes_scanned=1_000_000)
    asked = [action for action, _ in athena.asked]
    assert asked[-2:] == ["StopQueryExecution", "GetQueryExecution"]  # its end is waited for


@pytest.mark.parametrize(
    ("name", "reason", "kind", "said"),
    [
        ("FAILED", "SYNTAX_ERROR: line 2:3: no", QueryError, "line 1:3"),
        ("FAILED", "HIVE_CANNOT_OPEN_SPLIT: Access Denied", AccessDeniedError, "s3:GetObject"),
        ("CANCELLED", "Bytes scanned limit was exceeded", QueryError, "cancelled .*exceeded"),
    ],
)
def test_what_athena_says_becomes_a_typed_error(
    athena: ScriptedAthena, name: str, reason: str, kind: type[Exception], said: str
) -> None:
    athena.states = [state(name, reason=reason)]
    with pytest.raises(kind, match=said) as caught:
        read("SELECT 1")
    assert type(caught.value) is kind


def test_throttling(athena: ScriptedAthena, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    athena.refusal = "TooManyRequestsException"
    with pytest.raises(ThrottledError):
        read("SELECT 1")


TEXT = "2022-01-31 01:02:03.123"
TIMES = ["datetime64[us]", "datetime64[us, UTC]"]
# Athena's name of a type, what it prints, what pandas shall hold and as which type: what UNLOAD
# carries, and what it does not
CARRIED: list[tuple[str, str, Any, str]] = [
    ("boolean", "true", True, "boolean"),
    ("tinyint", "-128", -128, "Int8"),
    ("smallint", "7", 7, "Int16"),
    ("integer", "7", 7, "Int32"),
    ("bigint", "9007199254740993", 9007199254740993, "Int64"),
    ("real", "1.5", 1.5, "float32"),
    ("double", "-Infinity", float("-inf"), "float64"),
    ("decimal", "1.10", decimal.Decimal("1.10"), "object"),
    ("varchar", "", "", "str"),
    ("varchar", "NaN", "NaN", "str"),
    ("char", 'it"', 'it"', "str"),
    ("varbinary", "01 ff", b"\x01\xff", "object"),
    ("date", "2022-01-31", pd.Timestamp("2022-01-31"), TIMES[0]),
    ("timestamp", TEXT, pd.Timestamp(TEXT), TIMES[0]),
]
NOT_CARRIED: list[tuple[str, str, Any, str]] = [
    ("time", "01:02:03.500", dt.time(1, 2, 3, 500000), "object"),
    ("timestamp with time zone", f"{TEXT} UTC", pd.Timestamp(f"{TEXT}Z"), TIMES[1]),
    ("timestamp with time zone", f"{TEXT} Asia/Kolkata", pd.Timestamp(f"{TEXT}+05:30"), TIMES[1]),
    ("uuid", UUID := "12151fd2-7586-11e9-8f9e-2a86e4085a59", UUID, "str"),
]
PRINTED_ONLY = [  # not by the embedded Athena
    ("timestamp with time zone", f"{TEXT} +05:30", pd.Timestamp(f"{TEXT}+05:30"), TIMES[1]),
    ("timestamp with time zone", f"{TEXT}-00:30", pd.Timestamp(f"{TEXT}-00:30"), TIMES[1]),
    *(
        (kind, text, text, "str")
        for kind, text in (
            ("interval day to second", "2 00:00:00.000"),
            ("time with time zone", "01:02:03.500+05:30"),
            ("ipaddress", "10.0.0.1"),
            ("json", '{"a":1}'),
            ("array", "[a, null]"),
            ("map", "{k=1}"),
            ("row", "{a=1, b=x}"),
        )
    ),
]


@pytest.mark.parametrize("from_file", [True, False])
@pytest.mark.parametrize("rows", [2, 1, 0])
def test_what_athena_prints_has_its_type(
    athena: ScriptedAthena, from_file: bool, rows: int
) -> None:
    kinds, texts, values, dtypes = zip(*CARRIED, *NOT_CARRIED, *PRINTED_ONLY, strict=True)
    athena.columns = [
        {"Name": f"c{n}", "Type": kind, "Precision": 3, "Scale": 2} for n, kind in enumerate(kinds)
    ]
    header = [column["Name"] for column in athena.columns]
    lines: list[list[str | None]] = [[None] * len(kinds), [*texts]][:rows]
    athena.pages = [[header, *lines[:1]], lines[1:]]
    if from_file:
        athena.states = [state("SUCCEEDED", output=f"s3://{STAGING_BUCKET}/own/number.csv")]
        content = "".join(f"{','.join(map(_quoted, line))}\n" for line in [header, *lines])
        boto3.client("s3").put_object(Bucket=STAGING_BUCKET, Key="own/number.csv", Body=content)
    _check(read("SELECT 1 ORDER BY 1"), values, dtypes, rows)
    assert staged() == []


@pytest.mark.parametrize("unload", [True, False])
@pytest.mark.parametrize("printed", [CARRIED, NOT_CARRIED])
def test_unload_and_the_result_file_give_the_same_types(printed: list[Any], unload: bool) -> None:
    sized = {"decimal": "decimal(3, 2)", "char": "char(3)"}
    kinds, texts, wanted, dtypes = zip(*printed, strict=True)
    kinds = tuple(sized.get(kind, kind) for kind in kinds)
    values = [
        "X'01ff'" if kind == "varbinary" else f"CAST('{text}' AS {kind})"
        for kind, text in zip(kinds, texts, strict=True)
    ]
    nulls = ", ".join(f"CAST(NULL AS {kind}) AS c{n}" for n, kind in enumerate(kinds))
    for query, rows in (
        (f"SELECT {nulls} UNION ALL SELECT {', '.join(values)}", 2),
        (f"SELECT {nulls}", 1),
        (f"SELECT {nulls} WHERE 1 = 0", 0),
    ):
        _check(read(query, unload=unload), wanted, dtypes, rows)
    assert staged() == []


def _check(found: pd.DataFrame, values: Sequence[Any], dtypes: Sequence[str], rows: int) -> None:
    """Compare the columns, of which the first row is missing, if there is one."""
    filled = {"boolean": "bool", **{f"Int{bits}": f"int{bits}" for bits in (8, 16, 32, 64)}}
    assert [str(dtype) for dtype in found.dtypes] == [
        dtype if rows else filled.get(dtype, dtype) for dtype in dtypes
    ]
    assert len(found) == rows
    kept = [found.iloc[:, column].dropna().tolist() for column in range(found.shape[1])]
    assert kept == [[value] * (rows - 1) for value in values]


def _quoted(text: str | None) -> str:
    return "" if text is None else '"' + text.replace('"', '""') + '"'


def test_what_is_not_of_its_type_is_an_error(athena: ScriptedAthena) -> None:
    for kind in ("timestamp with time zone", "bigint", "varbinary", "time"):
        athena.columns = [{"Name": "c", "Type": kind}]
        athena.pages = [[["c"], ["2022-01-31 nowhere"]]]
        with pytest.raises(DataFormatError, match=rf"(?s)'c' holds a {kind} .*Fix: .*varchar"):
            read("SELECT 1 ORDER BY 1")


@pytest.mark.parametrize("end", ["", " WHERE 1 = 0"])
def test_nested_and_untyped_columns_of_nulls(end: str) -> None:
    query = f"SELECT CAST(NULL AS array(integer)) AS l, CAST(NULL AS row(a integer)) AS r{end}"
    assert [str(dtype) for dtype in read(query).dtypes] == ["object", "object"]
    assert [str(dtype) for dtype in read(query, unload=False).dtypes] == ["str", "str"]
    assert str(read(f"SELECT NULL AS n{end}")["n"].dtype) == "float64"


def test_a_notice_of_what_it_cost_goes_to_the_log_only(
    log: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    read("SELECT sum(n) AS n FROM lab.battery_usage")
    [line] = [record for record in log.records if "scanned" in record.getMessage()]
    assert line.levelno == logging.INFO
    assert "Athena succeeded after" in line.getMessage()
    assert "0 B scanned" not in line.getMessage()
    assert capsys.readouterr().out == ""


def _until(done: Any, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)
