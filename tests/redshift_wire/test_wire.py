"""Redshift over its own protocol: types, parameters, chunks, errors, on a real server."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import Any

import pandas as pd
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import (
    AccessDeniedError,
    ConnectError,
    CredentialsError,
    QueryError,
    QueryTimeoutError,
    UserError,
)

from . import postgres
from .conftest import Warehouse

TYPES = """
    SELECT * FROM (VALUES
        (1::int2, 2::int4, 9007199254740993::int8, 1.5::float4, 0.1::float8, true,
         'a'::varchar, 'b'::char(5), 12345678901234567890.123::numeric(38, 3),
         date '2022-01-31', time '23:59:59.5', timestamp '2022-01-31 23:59:59.123456',
         timestamptz '2022-01-31 23:59:59+08'),
        (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
    ) AS t(i2, i4, i8, f4, f8, b, v, c, n, d, t, ts, tz)
"""


def test_every_column_has_the_type_that_the_server_declares(warehouse: Warehouse) -> None:
    found = bc.read_data_from_redshift(TYPES, **warehouse.login)
    assert {name: str(kind) for name, kind in found.dtypes.items()} == {
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
    first = found.iloc[0].to_dict()
    assert first["i8"] == 9007199254740993  # more than a float holds
    assert first["c"] == "b"
    assert first["n"] == decimal.Decimal("12345678901234567890.123")
    assert first["d"] == pd.Timestamp("2022-01-31")
    assert first["t"] == dt.time(23, 59, 59, 500000)
    assert first["ts"] == pd.Timestamp("2022-01-31 23:59:59.123456")
    assert first["tz"] == pd.Timestamp("2022-01-31 15:59:59", tz="UTC")
    assert found.iloc[1].isna().all()


def test_no_rows_keep_columns_and_types(warehouse: Warehouse) -> None:
    every = bc.read_data_from_redshift(f"{TYPES} WHERE i2 = 1", **warehouse.login)
    none = bc.read_data_from_redshift(f"{TYPES} WHERE i2 = 5", **warehouse.login)
    assert len(none) == 0
    pd.testing.assert_series_equal(none.dtypes, every.dtypes)
    (chunk,) = bc.read_data_from_redshift(f"{TYPES} WHERE i2 = 5", chunksize=9, **warehouse.login)
    pd.testing.assert_series_equal(chunk.dtypes, every.dtypes)


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
def test_the_other_families_of_dtypes(warehouse: Warehouse, backend: Any) -> None:
    found = bc.read_data_from_redshift(
        "SELECT 1::int4 AS n, 'a'::text AS t", dtype_backend=backend, **warehouse.login
    )
    wanted = {"numpy_nullable": ["Int32", "string"], "pyarrow": ["int32[pyarrow]"] * 2}[backend]
    assert str(found.dtypes["n"]) == wanted[0]
    assert "string" in str(found.dtypes["t"])


def test_names_twice_and_names_in_chinese(warehouse: Warehouse) -> None:
    found = bc.read_data_from_redshift('SELECT 1 AS a, 2 AS a, 3 AS "电压"', **warehouse.login)
    assert list(found.columns) == ["a", "a.1", "电压"]


def test_the_tutorials_query(warehouse: Warehouse) -> None:
    warehouse.run(
        "CREATE SCHEMA IF NOT EXISTS dw_bms",
        "DROP TABLE IF EXISTS dw_bms.battery_usage",
        "CREATE TABLE dw_bms.battery_usage (vin text, usage float8, time date)",
        "INSERT INTO dw_bms.battery_usage VALUES ('a', 1.5, '2021-12-31'), "
        "('b', 2.5, '2022-01-01'), ('c', NULL, '2022-08-01'), ('d', 4.5, '2022-08-02')",
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
    """
    where = {"date_start": "2022-01-01", "date_end": "2022-08-01"}
    found = bc.read_data_from_redshift(query=query, **warehouse.login, **where)
    assert found["vin"].tolist() == ["b", "c"]
    assert found["time"].tolist() == [pd.Timestamp("2022-01-01"), pd.Timestamp("2022-08-01")]


HOSTILE = ["it's", "\\", "\\'", "' OR ''='", "a ? b :c $1", "--", "/*", '"', "中文", "", " x "]


@pytest.mark.parametrize("chunksize", [None, 5])
def test_parameters_arrive_as_they_are(warehouse: Warehouse, chunksize: int | None) -> None:
    query = "SELECT " + ", ".join(f"(:p{i})::text AS c{i}" for i in range(len(HOSTILE)))
    params = {f"p{i}": text for i, text in enumerate(HOSTILE)}
    found = bc.read_data_from_redshift(query, params=params, chunksize=chunksize, **warehouse.login)
    frame = found if chunksize is None else next(iter(found))
    assert frame.iloc[0].tolist() == HOSTILE


@pytest.mark.parametrize("chunksize", [None, 5])
def test_parameters_of_every_type(warehouse: Warehouse, chunksize: int | None) -> None:
    given: dict[str, Any] = {
        "int8": 2**40,
        "float8": 0.1,
        "bool": True,
        "numeric": decimal.Decimal("1.50"),
        "date": dt.date(2022, 1, 31),
        "timestamp": dt.datetime(2022, 1, 31, 1, 2, 3, 4),
        "timestamptz": dt.datetime(2022, 1, 31, tzinfo=dt.UTC),
        "text": None,
    }
    query = "SELECT " + ", ".join(f"(:{kind})::{kind} AS a_{kind}" for kind in given)
    found = bc.read_data_from_redshift(query, params=given, chunksize=chunksize, **warehouse.login)
    row = (found if chunksize is None else next(iter(found))).iloc[0].tolist()
    assert row[:4] == list(given.values())[:4]
    assert row[4:7] == [pd.Timestamp(value) for value in list(given.values())[4:7]]
    assert pd.isna(row[7])


def test_a_list_and_question_marks(warehouse: Warehouse) -> None:
    found = bc.read_data_from_redshift(
        "SELECT g FROM generate_series(1, 9) g WHERE g IN :some",
        params={"some": [2, 3, 99]},
        **warehouse.login,
    )
    assert found["g"].tolist() == [2, 3]
    found = bc.read_data_from_redshift(
        "SELECT '?' AS q, ?::int AS n", params=[7], **warehouse.login
    )
    assert found.iloc[0].tolist() == ["?", 7]


def test_a_literal_that_the_driver_would_misread_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(UserError, match="question mark"):
        bc.read_data_from_redshift(r"SELECT 'it\'s ?', :n", params={"n": 1}, **warehouse.login)
    found = bc.read_data_from_redshift(r"SELECT 'it\'s ?' AS t", **warehouse.login)
    assert found["t"].tolist() == ["it's ?"]


def test_chunks_are_of_even_size_and_in_order(warehouse: Warehouse) -> None:
    query = "SELECT g AS n FROM generate_series(1, 25007) g ORDER BY 1"
    chunks = list(bc.read_data_from_redshift(query, chunksize=10_001, **warehouse.login))
    assert [len(chunk) for chunk in chunks] == [10_001, 10_001, 5_005]
    assert pd.concat(chunks)["n"].tolist() == list(range(1, 25_008))


def test_chunks_come_before_the_query_is_done(warehouse: Warehouse) -> None:
    """A cursor: rows are made as they are asked for, so that memory never holds them all."""
    query = (
        "SELECT 1 / (CASE WHEN g < 30000 THEN 1 ELSE 0 END) AS n FROM generate_series(1, 30000) g"
    )
    chunks = iter(bc.read_data_from_redshift(query, chunksize=1000, **warehouse.login))
    assert len(next(chunks)) == 1000
    with pytest.raises(QueryError, match="division by zero"):
        list(chunks)


def test_nothing_is_committed_by_reading(warehouse: Warehouse) -> None:
    warehouse.run("DROP TABLE IF EXISTS kept", "CREATE TABLE kept (n int)")
    bc.read_data_from_redshift("INSERT INTO kept VALUES (1)", **warehouse.login)
    assert warehouse.rows("SELECT count(*) FROM kept") == [[0]]


def test_an_error_shows_the_line_that_it_is_about(warehouse: Warehouse) -> None:
    query = "SELECT\n    vin,\n\tusge\nFROM (SELECT 'a' AS vin, '{}' AS usage) t"
    for options in ({}, {"chunksize": 5}, {"iam_role": None}):
        with pytest.raises(QueryError, match='column "usge" does not exist') as caught:
            list(
                bc.read_data_from_redshift(
                    query, date_start="2022-01-01", **options, **warehouse.login
                )
            )
        assert (caught.value.line, caught.value.column) == (3, 2)
        assert "\n  3 |  usge\n    |  ^" in str(caught.value)


def test_a_query_that_takes_too_long_is_ended_by_the_server(warehouse: Warehouse) -> None:
    with pytest.raises(QueryTimeoutError, match="longer `timeout`"):
        bc.read_data_from_redshift("SELECT pg_sleep(60)", timeout=0.3, **warehouse.login)
    assert _running(warehouse, "pg_sleep(60)") == 0


def test_a_missing_privilege(warehouse: Warehouse) -> None:
    warehouse.run(
        "DROP TABLE IF EXISTS secrets",
        "CREATE TABLE secrets (n int)",
        "DROP ROLE IF EXISTS intern",
        "CREATE ROLE intern LOGIN PASSWORD 'weak'",
    )
    login = {**warehouse.login, "user": "intern", "password": "weak"}
    with pytest.raises(AccessDeniedError, match="permission denied for table secrets"):
        bc.read_data_from_redshift("SELECT * FROM secrets", **login)


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"password": "wrong-canary"}, CredentialsError, "does not accept the user 'awsuser'"),
        ({"user": "nobody"}, CredentialsError, "does not accept the user 'nobody'"),
        ({"database": "prod"}, ConnectError, 'database "prod" does not exist'),
        ({"port": 1}, ConnectError, "cannot be reached"),
        ({"host": "redshift.invalid"}, ConnectError, "cannot be reached"),
        ({"ssl": True}, ConnectError, "does not encrypt"),
        ({"password": None}, UserError, "nothing to log in with"),
        ({"host": None}, UserError, "host is missing"),
        ({"secret_name": "s"}, UserError, "password and secret_name to log in with"),
    ],
)
def test_what_keeps_one_from_connecting(
    warehouse: Warehouse, changes: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said) as caught:
        bc.read_data_from_redshift("SELECT 1", **{**warehouse.login, **changes})
    error: BaseException | None = caught.value
    while error is not None:  # nor in any cause
        for canary in ("wrong-canary", postgres.PASSWORD):
            assert canary not in f"{error} {error!r} {error.args}"
        error = error.__cause__ or error.__context__


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
def test_what_is_wrong_is_refused_before_a_connection_opens(
    warehouse: Warehouse, options: dict[str, Any]
) -> None:
    before = len(warehouse.proxy.started)
    with pytest.raises(UserError):
        bc.read_data_from_redshift(**{"query": "SELECT 1", **warehouse.login, **options})
    assert len(warehouse.proxy.started) == before


def test_an_interrupt_cancels_the_query_on_the_server(warehouse: Warehouse) -> None:
    script = """
        import json, sys
        import batcat_runtime as bc
        bc.read_data_from_redshift("SELECT pg_sleep(61)", **json.load(sys.stdin))
    """
    cancels = warehouse.proxy.cancels
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdin
    child.stdin.write(json.dumps(warehouse.login))
    child.stdin.close()
    _until(lambda: _running(warehouse, "pg_sleep(61)") == 1)
    os.kill(child.pid, signal.SIGINT)
    child.wait(30)
    assert child.stderr
    said = child.stderr.read()
    assert "KeyboardInterrupt" in said
    assert postgres.PASSWORD not in said
    _until(lambda: _running(warehouse, "pg_sleep(61)") == 0)
    assert warehouse.proxy.cancels == cancels + 1


def test_two_readers_at_once(warehouse: Warehouse) -> None:
    found: dict[int, int] = {}

    def read(number: int) -> None:
        frame = bc.read_data_from_redshift(
            "SELECT :n::int AS n, pg_sleep(0.2)::text", params={"n": number}, **warehouse.login
        )
        found[number] = int(frame["n"].iloc[0])

    threads = [threading.Thread(target=read, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {0: 0, 1: 1, 2: 2}


def test_without_the_driver_the_error_says_how_to_get_it(warehouse: Warehouse) -> None:
    script = """
        import json, sys
        sys.modules["redshift_connector"] = None
        import batcat_runtime as bc
        try:
            bc.read_data_from_redshift("SELECT 1", **json.load(sys.stdin))
        except bc.BatcatError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        input=json.dumps(warehouse.login),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pip install 'batcat-runtime[redshift]'" in done.stdout


def _running(warehouse: Warehouse, what: str) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%{}%'"
    count = warehouse.rows(query.format(f"{what}%' AND query NOT LIKE '%stat_activity"))
    return int(count[0][0])


def _until(done: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)
