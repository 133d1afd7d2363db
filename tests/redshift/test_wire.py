"""Redshift over its own protocol, on a real server: cursors, time, refusals, interrupts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
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
from .conftest import Wire, until


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
def test_the_other_families_of_dtypes(wire: Wire, backend: Any) -> None:
    found = wire.read("SELECT 1::int4 AS n, 'a'::text AS t", dtype_backend=backend)
    assert str(found.dtypes["n"]) == {"numpy_nullable": "Int32"}.get(backend, "int32[pyarrow]")
    assert "string" in str(found.dtypes["t"])


def test_chunks_are_of_even_size_and_in_order(wire: Wire) -> None:
    query = "SELECT g AS n FROM generate_series(1, 25007) g ORDER BY 1"
    chunks = list(wire.read(query, chunksize=10_001))
    assert [len(chunk) for chunk in chunks] == [10_001, 10_001, 5_005]
    assert pd.concat(chunks)["n"].tolist() == list(range(1, 25_008))
    assert wire.read(query)["n"].tolist() == list(range(1, 25_008))


def test_chunks_come_before_the_query_is_done(wire: Wire) -> None:
    """A cursor: rows are made as they are asked for, so that memory never holds them all."""
    query = "SELECT 1 / (g < 30000)::int AS n FROM generate_series(1, 30000) g"
    chunks = iter(wire.read(query, chunksize=1000))
    assert len(next(chunks)) == 1000
    with pytest.raises(QueryError, match="division by zero"):
        list(chunks)


def test_nothing_is_committed_by_reading(wire: Wire) -> None:
    wire.run("DROP TABLE IF EXISTS kept", "CREATE TABLE kept (n int)")
    wire.read("INSERT INTO kept VALUES (1)")
    assert wire.run("SELECT count(*) FROM kept") == [[0]]


def test_an_error_shows_the_column_that_it_is_about(wire: Wire) -> None:
    query = "SELECT\n    vin,\n\tusge\nFROM (SELECT 'a' AS vin, '{}' AS usage) t"
    for chunksize in (None, 5):
        with pytest.raises(QueryError, match='column "usge" does not exist') as caught:
            list(wire.read(query, date_start="2022-01-01", chunksize=chunksize))
        assert (caught.value.line, caught.value.column) == (3, 2)
        assert "\n  3 |  usge\n    |  ^" in str(caught.value)


def test_a_query_that_takes_too_long_is_ended_by_the_server(wire: Wire) -> None:
    with pytest.raises(QueryTimeoutError, match="longer `timeout`"):
        wire.read("SELECT pg_sleep(60)", timeout=0.3)
    assert not wire.is_running("pg_sleep(60)")


def test_a_missing_privilege(wire: Wire) -> None:
    wire.run(
        "DROP TABLE IF EXISTS secrets",
        "CREATE TABLE secrets (n int)",
        "DROP ROLE IF EXISTS intern",
        "CREATE ROLE intern LOGIN PASSWORD 'weak'",
    )
    with pytest.raises(AccessDeniedError, match="permission denied for table secrets"):
        wire.read("SELECT * FROM secrets", user="intern", password="weak")


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
    wire: Wire, changes: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said) as caught:
        wire.read("SELECT 1", **changes)
    error: BaseException | None = caught.value
    while error is not None:  # nor in any cause
        for canary in ("wrong-canary", postgres.PASSWORD):
            assert canary not in f"{error} {error!r} {error.args}"
        error = error.__cause__ or error.__context__


SCRIPT = """
    import json, signal, sys
    import batcat_runtime as bc

    class GaveUp(Exception):
        pass

    def give_up(*_):
        raise GaveUp

    signal.signal(signal.SIGTERM, give_up)
    bc.read_data_from_redshift("SELECT pg_sleep(61)", **json.load(sys.stdin))
"""


@pytest.mark.parametrize(
    ("sent", "said"), [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGTERM, "GaveUp")]
)
def test_who_gives_up_cancels_the_query_on_the_server(wire: Wire, sent: int, said: str) -> None:
    cancels = wire.proxy.cancels
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdin
    assert child.stderr
    child.stdin.write(json.dumps(wire.login))
    child.stdin.close()
    until(lambda: wire.is_running("pg_sleep(61)"))
    os.kill(child.pid, sent)
    child.wait(30)
    shown = child.stderr.read()
    assert said in shown
    assert postgres.PASSWORD not in shown
    until(lambda: not wire.is_running("pg_sleep(61)"))
    assert wire.proxy.cancels == cancels + 1


def test_without_the_driver_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redshift_connector", None)
    with pytest.raises(UserError, match=r"pip install 'batcat-runtime\[redshift\]'"):
        bc.read_data_from_redshift("SELECT 1", "127.0.0.1", "password")
