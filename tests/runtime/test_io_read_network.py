"""Reading while the network breaks and objects change: all of one version, or an error."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import (
    BatcatError,
    ConnectError,
    DataFormatError,
    ObjectChangedError,
)
from tests.flakyserver import FlakyObject, serve_flaky

BUCKET = "2022-rnd-battery"
ROWS = 1_000_000
LARGE = b"n,s\n" + b"".join(b"%d,LSV%06d\n" % (n, n % 1000) for n in range(ROWS))

Point = Callable[[FlakyObject], None]


def read(chunksize: int | None = None, key: str = "usage") -> pd.DataFrame:
    return pd.concat(bc.read_csv_from_bucket(BUCKET, key, chunksize=chunksize or ROWS))


@pytest.mark.parametrize("chunksize", [None, 300_000])
def test_a_table_read_over_a_bad_network(point: Point, chunksize: int | None) -> None:
    served = FlakyObject(LARGE, break_after=lambda number: 3_000_000 if number < 3 else None)
    with serve_flaky(served):
        point(served)
        found = read(chunksize)
    assert len(found) == ROWS
    assert found["n"].sum() == sum(range(ROWS))
    versions = [version for _, version in served.requests]
    assert versions[0] is None
    assert set(versions[2:]) == {served.etag}


def fault(served: FlakyObject, seed: int) -> None:
    """Let one request in six be reset, cut off, late, or answered 500 or 503."""

    def kind(number: int) -> str:
        kinds = ["reset", "cut", "late", "500", "503", *[""] * 25]
        return random.Random(f"{seed} {number}").choice(kinds)

    answers = {"500": (500, "InternalError"), "503": (503, "SlowDown")}
    served.break_after = lambda number: {"reset": 0, "cut": 70_000}.get(kind(number))
    served.refusal = lambda number: answers.get(kind(number))
    served.before = lambda _, number: time.sleep(0.1 if kind(number) == "late" else 0)


@pytest.mark.parametrize("seed", range(17))
def test_reads_through_faults(point: Point, seed: int) -> None:
    wanted = pd.DataFrame({"n": range(40_000), "s": "LSV" * 40})
    content = wanted.to_csv(index=False).encode()
    assert len(content) > 5_000_000

    def outcome(number: int) -> str:
        try:
            found = read(15_000 if number % 2 else None)
        except BatcatError as error:
            return type(error).__name__
        pd.testing.assert_frame_equal(found, wanted)
        return "read"

    with serve_flaky(FlakyObject(content)) as served, ThreadPoolExecutor(5) as pool:
        fault(served, seed)
        point(served)
        outcomes = list(pool.map(outcome, range(10), timeout=60))
    assert outcomes.count("read") >= 2
    assert set(outcomes) <= {"read", "ConnectError", "ServiceError", "ThrottledError"}


@pytest.mark.parametrize("heeds_if_match", [True, False])
@pytest.mark.parametrize("chunksize", [None, 100_000])
def test_an_object_that_is_replaced_meanwhile(
    point: Point, heeds_if_match: bool, chunksize: int | None
) -> None:
    def replace(served: FlakyObject, number: int) -> None:
        if number == 1:
            served.content = LARGE.replace(b"LSV", b"WVW")

    with serve_flaky(FlakyObject(LARGE, before=replace, heeds_if_match=heeds_if_match)) as served:
        point(served)
        with pytest.raises(ObjectChangedError, match="was replaced or deleted"):
            list(bc.read_csv_from_bucket(BUCKET, "usage", chunksize=chunksize or ROWS))


def test_an_object_that_is_replaced_before_it_is_read_again(point: Point) -> None:
    def replace(served: FlakyObject, number: int) -> None:
        served.content = b"n\n0x1F\n+2\n" if number else b"n\n1\n+2\n"

    with serve_flaky(FlakyObject(b"", before=replace)) as served:
        point(served)
        with pytest.raises(ObjectChangedError, match="was replaced"):
            bc.read_csv_from_bucket(BUCKET, "usage")


def test_a_parquet_object_that_is_replaced_meanwhile(point: Point) -> None:
    def parquet(seed: int) -> bytes:
        frame = pd.DataFrame({"a": [f"{seed}-{n}" for n in range(300_000)]})
        frame["b"] = frame["a"].str[::-1]
        file = io.BytesIO()
        frame.to_parquet(file, compression="none", row_group_size=50_000)
        return file.getvalue()

    first, second = parquet(1), parquet(2)
    with serve_flaky(FlakyObject(first, break_after=lambda n: 5000 if n == 1 else None)) as served:
        point(served)
        assert bc.read_parquet_from_bucket(BUCKET, "usage")["b"].iloc[-1] == "999992-1"
        served.requests.clear()
        served.before = lambda served, number: setattr(
            served, "content", second if number else first
        )
        with pytest.raises(ObjectChangedError):
            bc.read_parquet_from_bucket(BUCKET, "usage")


def test_an_empty_object(point: Point) -> None:
    with serve_flaky(FlakyObject(b"")) as served:
        point(served)
        with pytest.raises(DataFormatError, match="cannot be read as CSV: it is empty"):
            bc.read_csv_from_bucket(BUCKET, "usage")


def saved(kind: str) -> bytes:
    """Return a table as an object of some kind."""
    file = io.BytesIO()
    frame = pd.DataFrame({"n": range(2_000), "s": [f"{n * 7919:09}x" for n in range(2_000)]})
    {"csv": frame.to_csv, "parquet": frame.to_parquet, "excel": frame.to_excel}[kind](
        file, index=False
    )
    return file.getvalue()


@pytest.mark.parametrize("kind", ["csv", "parquet", "excel"])
def test_a_connection_that_breaks(point: Point, kind: Any) -> None:
    served = FlakyObject(saved(kind), break_after=lambda n: 5000 if n == 0 else None)
    with serve_flaky(served):
        point(served)
        assert bc.read_from_bucket(BUCKET, "usage", format=kind)["n"].sum() == sum(range(2_000))
        served.break_after = lambda n: 5000
        with pytest.raises(ConnectError, match=r"Reading s3://.*/usage broke off 5 times"):
            bc.read_from_bucket(BUCKET, "usage", format=kind)


@pytest.mark.parametrize("kind", ["csv", "parquet", "excel"])
def test_an_answer_without_its_length(point: Point, kind: Any) -> None:
    with serve_flaky(FlakyObject(saved(kind), is_proxy=True)) as served:
        point(served)
        assert bc.read_from_bucket(BUCKET, "usage", format=kind)["n"].sum() == sum(range(2_000))
        if kind != "excel":
            chunks = bc.read_from_bucket(BUCKET, "usage", format=kind, chunksize=900)
            assert [len(chunk) for chunk in chunks] == [900, 900, 200]
        served.content = b"<!DOCTYPE html>\n<title>Log in</title>"
        with pytest.raises(DataFormatError, match="HTML"):
            bc.read_from_bucket(BUCKET, "usage", format=kind)


def test_a_chunked_read_that_is_given_up_stops_fetching(point: Point) -> None:
    with serve_flaky(FlakyObject(LARGE * 9)) as served:
        point(served)
        chunks = bc.read_csv_from_bucket(BUCKET, "usage", chunksize=10, dtype="str")
        assert len(next(iter(chunks))) == 10
        del chunks
        assert len(served.requests) < len(LARGE * 9) // (4 << 20) - 8
