"""A query's own prefix: read whole or in pieces, and deleted whatever happens."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batcat_runtime.errors import UserError
from batcat_runtime.io.results import chunks, whole
from batcat_runtime.io.staging import Staging, split_uri
from batcat_runtime.log import get_logger
from batcat_runtime.rehearsal import EmbeddedAWS

ROWS = 1_200_000


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedAWS]:
    with EmbeddedAWS(set_environment=False) as aws:
        yield aws


@pytest.fixture
def bucket(server: EmbeddedAWS, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    name = f"staging-{uuid.uuid4().hex[:8]}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name


def unloaded(staging: Staging) -> pa.Table:
    """Write what an engine would: a large file, a small one, one without a byte, and others."""
    s3 = boto3.client("s3")

    def put(name: str, body: bytes) -> None:
        _, prefix = split_uri(staging.uri, "uri")
        s3.put_object(Bucket=staging.bucket, Key=prefix + name, Body=body)

    numbers = np.random.default_rng(0).permutation(ROWS)
    table = pa.table({"n": numbers, "half": numbers / 2})
    for number, part in enumerate((table.slice(0, ROWS - 5), table.slice(ROWS - 5))):
        body = io.BytesIO()
        pq.write_table(part, body, row_group_size=400_000)
        put(f"data/000{number}_part", body.getvalue())
        assert number or len(body.getvalue()) > 10 << 20
    put("data/0002_part", b"")
    put("query/id.csv", b"not to be read")
    return table


def files(bucket: str) -> list[str]:
    listed = boto3.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])
    return [one["Key"] for one in listed]


@pytest.mark.parametrize("in_one", [True, False])
def test_all_rows_in_the_order_of_the_files(bucket: str, in_one: bool) -> None:
    with Staging(f"s3://{bucket}/athena/") as staging:
        wanted = unloaded(staging)
        pieces = list(staging.tables("data/", whole=in_one))
        assert (len(pieces) == 1) == in_one
        assert all(in_one or piece.num_rows <= 65_536 for piece in pieces)
        assert pa.concat_tables(pieces).equals(wanted)
        assert list(staging.tables("nothing/", whole=in_one)) == []
        assert len(files(bucket)) == 4
    assert files(bucket) == []


def test_chunks_cross_the_ends_of_files(bucket: str) -> None:
    with Staging(f"s3://{bucket}") as staging:
        unloaded(staging)
        found = list(chunks(staging.tables("data/", whole=False), 500_000, None))
        assert [len(one) for one in found] == [500_000, 500_000, 200_000]
        assert sum(int(one["n"].sum()) for one in found) == ROWS * (ROWS - 1) // 2


@pytest.mark.parametrize("how", [ValueError, KeyboardInterrupt, SystemExit])
def test_everything_is_deleted_whatever_happens(bucket: str, how: type[BaseException]) -> None:
    def fail() -> None:
        with Staging(f"s3://{bucket}/x") as staging:
            unloaded(staging)
            raise how

    with pytest.raises(how):
        fail()
    assert files(bucket) == []


def test_what_cannot_be_deleted_is_said_and_hides_no_error(
    bucket: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        with Staging("s3://no-such-bucket-here/x"):
            raise ValueError("the reason")

    logger = get_logger()
    logger.addHandler(caplog.handler)
    with pytest.raises(ValueError, match="the reason"):
        fail()
    logger.removeHandler(caplog.handler)
    assert "s3://no-such-bucket-here/x/batcat-" in caplog.text
    assert "was not cleaned up" in caplog.text


def test_each_query_has_a_prefix_of_its_own() -> None:
    one, other = Staging("s3://staging/x"), Staging("s3://staging/x/")
    assert one.uri != other.uri
    assert all(each.uri.startswith("s3://staging/x/batcat-") for each in (one, other))


@pytest.mark.parametrize("uri", ["staging/x", "s3:/staging", "s3://", "s3://Under_Score/x", 5, ""])
def test_a_staging_place_must_be_in_s3(uri: Any) -> None:
    with pytest.raises(UserError, match=r"is no place in S3|no S3 bucket name"):
        split_uri(uri, "s3_staging_dir")


def test_no_table_at_all_is_an_empty_dataframe() -> None:
    assert whole([], None).shape == (0, 0)
    assert whole([pa.table({})], None).shape == (0, 0)
    assert list(chunks([], 5, None)) == []
    assert [one.shape for one in chunks([pa.table({"a": pa.array([], pa.int8())})], 5, None)] == [
        (0, 1)
    ]
