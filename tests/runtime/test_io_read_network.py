"""Reading while the network breaks and objects change: all of one version, or an error."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import (
    AccessDeniedError,
    BatcatError,
    ConnectError,
    CredentialsError,
    DataFormatError,
    NoSuchBucketError,
    ObjectChangedError,
    ThrottledError,
)
from batcat_runtime.io.clients import client
from batcat_runtime.io.fetch import ObjectReader, PartStream
from batcat_runtime.io.places import Place
from tests.flakyserver import FlakyObject, serve_flaky

BUCKET = "2022-rnd-battery"
ROWS = 1_000_000
LARGE = b"n,s\n" + b"".join(b"%d,LSV%06d\n" % (n, n % 1000) for n in range(ROWS))


@pytest.fixture
def point(monkeypatch: pytest.MonkeyPatch) -> Any:
    def to(one: FlakyObject) -> None:
        for name, value in one.environment().items():
            monkeypatch.setenv(name, value)

    return to


def stream(sleeps: list[float]) -> bytes:
    reader = ObjectReader(client("s3"), Place(BUCKET, "usage"), sleep=sleeps.append)
    with PartStream(reader) as parts:
        return bytes(memoryview(parts.read()))


def test_a_broken_connection_is_resumed_where_it_broke(point: Any) -> None:
    one = FlakyObject(LARGE, break_after=lambda number: 100_000 if number % 2 else None)
    sleeps: list[float] = []
    with serve_flaky(one) as one:
        point(one)
        assert stream(sleeps) == LARGE
    assert sleeps
    assert one.requests[0] == ("bytes=0-8388607", None)
    assert {version for _, version in one.requests[1:]} == {one.etag}
    starts = {int(str(wanted)[6:].split("-")[0]) for wanted, _ in one.requests}
    assert any(start % (8 << 20) == 100_000 for start in starts)


def test_a_table_read_over_a_bad_network(point: Any) -> None:
    with serve_flaky(FlakyObject(LARGE, break_after=lambda n: 3_000_000 if n < 3 else None)) as one:
        point(one)
        found = bc.read_csv_from_bucket(BUCKET, "usage")
    assert len(found) == ROWS
    assert found["n"].sum() == sum(range(ROWS))


def test_a_connection_that_never_holds(point: Any) -> None:
    sleeps: list[float] = []
    with serve_flaky(FlakyObject(LARGE, break_after=lambda n: 0 if n else None)) as one:
        point(one)
        with pytest.raises(ConnectError, match=r"broke 5 times in a row while reading s3://"):
            stream(sleeps)
    # several parts are under way at once, each waiting twice as long before every further try
    assert set(sleeps) == {0.2, 0.4, 0.8, 1.6}


@pytest.mark.parametrize("heeds_if_match", [True, False])
@pytest.mark.parametrize("chunksize", [None, 100_000])
def test_an_object_that_is_replaced_meanwhile(
    point: Any, heeds_if_match: bool, chunksize: int | None
) -> None:
    def replace(one: FlakyObject, number: int) -> None:
        if number == 1:
            one.content = LARGE.replace(b"LSV", b"WVW")

    one = FlakyObject(LARGE, before=replace, heeds_if_match=heeds_if_match)
    with serve_flaky(one) as one:
        point(one)
        with pytest.raises(ObjectChangedError, match="was replaced or deleted"):
            pd.concat(bc.read_csv_from_bucket(BUCKET, "usage", chunksize=chunksize or ROWS))
        if chunksize is None:
            one.requests.clear()
            one.content = LARGE
            with pytest.raises(ObjectChangedError, match="was replaced or deleted"):
                bc.read_csv_from_bucket(BUCKET, "usage")


def test_a_parquet_object_that_is_replaced_meanwhile(point: Any) -> None:
    def parquet(seed: int) -> bytes:
        frame = pd.DataFrame({"a": [f"{seed}-{n}" for n in range(300_000)]})
        frame["b"] = frame["a"].str[::-1]
        file = io.BytesIO()
        frame.to_parquet(file, compression="none", row_group_size=50_000)
        return file.getvalue()

    first = parquet(1)
    assert len(first) > 1 << 20

    def replace(one: FlakyObject, number: int) -> None:
        if number == 2:
            one.content = parquet(2)

    with serve_flaky(FlakyObject(first, break_after=lambda n: 5000 if n == 1 else None)) as one:
        point(one)
        assert bc.read_parquet_from_bucket(BUCKET, "usage")["b"].iloc[-1] == "999992-1"
        one.before = replace
        one.requests.clear()
        with pytest.raises(ObjectChangedError):
            bc.read_parquet_from_bucket(BUCKET, "usage")


def test_an_empty_object(point: Any) -> None:
    with serve_flaky(FlakyObject(b"")) as one:
        point(one)
        with pytest.raises(DataFormatError, match="cannot be read as CSV: it is empty"):
            bc.read_csv_from_bucket(BUCKET, "usage")
        with pytest.raises(DataFormatError, match="cannot be read as Parquet: it is empty"):
            bc.read_parquet_from_bucket(BUCKET, "usage")


def test_a_chunked_read_that_is_given_up_stops_fetching(point: Any) -> None:
    with serve_flaky(FlakyObject(LARGE * 6)) as one:
        point(one)
        chunks = bc.read_csv_from_bucket(BUCKET, "usage", chunksize=10, dtype="str")
        assert len(next(iter(chunks))) == 10
        del chunks
        asked = len(one.requests)
        assert asked < 12


@pytest.mark.parametrize(
    ("status", "code", "kind", "said"),
    [
        (403, "AccessDenied", AccessDeniedError, "needs {action} on it"),
        (400, "ExpiredToken", CredentialsError, "Renew them"),
        (404, "NoSuchBucket", NoSuchBucketError, "The bucket of s3://"),
        (503, "SlowDown", ThrottledError, "asks to slow down"),
    ],
)
def test_what_s3_refuses(
    point: Any, status: int, code: str, kind: type[BatcatError], said: str
) -> None:
    with serve_flaky(FlakyObject(b"", refusal=(status, code))) as one:
        point(one)
        for action, read in (
            ("s3:GetObject", lambda: bc.read_csv_from_bucket(BUCKET, "usage")),
            ("s3:GetObject", lambda: bc.read_parquet_from_bucket(BUCKET, "usage")),
            ("s3:ListBucket", lambda: bc.read_csv_from_bucket(BUCKET, "usage/")),
            ("s3:ListBucket", lambda: list(bc.list_keys(BUCKET, "usage/"))),
        ):
            with pytest.raises(kind, match=said.format(action=action)):
                read()
