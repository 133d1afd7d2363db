"""`save_to_bucket`: formats, index, settings and refusals, against the embedded AWS."""

from __future__ import annotations

import gzip
import io
import logging
from collections.abc import Iterator
from typing import Any

import boto3
import pandas as pd
import pyarrow as pa
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import DataFormatError, NoSuchBucketError, UserError
from batcat_runtime.rehearsal import EmbeddedAWS
from tests.runtime.saver import big_frame

BUCKET = "2022-rnd-battery"
FRAME = pd.DataFrame({"vin": ["a", None], "usage": [1.5, 2.0]})


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedAWS]:
    with EmbeddedAWS(region="cn-northwest-1", set_environment=False) as aws:
        yield aws


@pytest.fixture
def s3(server: EmbeddedAWS, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the keys of another test
    client = boto3.client("s3")
    if BUCKET not in [one["Name"] for one in client.list_buckets()["Buckets"]]:
        place = {"LocationConstraint": "cn-northwest-1"}
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
    return client


def saved(s3: Any, frame: Any, key: str, **settings: Any) -> bytes:
    assert bc.save_to_bucket(frame, BUCKET, key, **settings) == f"s3://{BUCKET}/{key}"
    return bytes(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())


def test_the_tutorials_key_without_a_suffix_is_csv(s3: Any) -> None:
    assert saved(s3, FRAME, "usage") == b"vin,usage\na,1.5\n,2\n"
    assert s3.head_object(Bucket=BUCKET, Key="usage")["ContentType"] == "text/csv; charset=utf-8"


def test_the_suffix_chooses_the_format(s3: Any) -> None:
    found = pd.read_parquet(io.BytesIO(saved(s3, FRAME, "usage.parquet")))
    pd.testing.assert_frame_equal(found, FRAME)
    found = pd.read_excel(io.BytesIO(saved(s3, FRAME, "usage.xlsx")))
    pd.testing.assert_frame_equal(found, FRAME)
    kind = s3.head_object(Bucket=BUCKET, Key="usage.parquet")["ContentType"]
    assert kind == "application/vnd.apache.parquet"


def test_an_argument_chooses_the_format_against_the_suffix(s3: Any) -> None:
    assert saved(s3, FRAME, "by-argument", format="parquet")[:4] == b"PAR1"
    assert saved(s3, FRAME, "by-argument.parquet", format="csv")[:3] == b"vin"


@pytest.mark.parametrize(
    ("key", "compression", "opened"),
    [
        ("a.csv.gz", "infer", gzip.decompress),
        ("a", "gzip", gzip.decompress),
        ("a.csv.zst", "infer", lambda data: pa.input_stream(pa.py_buffer(data), "zstd").read()),
        ("b.csv.gz", None, bytes),
    ],
)
def test_text_is_compressed_by_suffix_or_argument(
    s3: Any, key: str, compression: str | None, opened: Any
) -> None:
    # more than one slice
    frame = pd.DataFrame({"vin": ["a", None] * 200_000, "usage": [1.5, 2.0] * 200_000})
    data = saved(s3, frame, key, compression=compression)
    text = b"vin,usage\n" + b"a,1.5\n,2\n" * 200_000
    assert opened(data) == text
    assert (len(data) < len(text) / 10) == (opened is not bytes)


@pytest.mark.parametrize("codec", ["snappy", "zstd", "gzip", "lz4", "brotli", None])
def test_parquet_is_compressed_inside(s3: Any, codec: str | None) -> None:
    import pyarrow.parquet as pq

    data = saved(s3, FRAME, "a.parquet", compression=codec)
    used = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(0).compression
    assert used == ("UNCOMPRESSED" if codec is None else codec.upper())


@pytest.mark.parametrize(
    ("index", "wanted", "header"),
    [
        (None, None, "v"),
        ([5, 3], None, "v"),
        ([5, 3], True, "index,v"),
        (pd.Index(["x", "y"]), None, "index,v"),
        (pd.Index(["x", "y"], name="vin"), None, "vin,v"),
        (pd.Index(["x", "y"], name="vin"), False, "v"),
        (pd.Index([5, 3], name="cycle"), None, "cycle,v"),
        (pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["vin", None]), None,
         "vin,level_1,v"),
    ],
)  # fmt: skip
def test_an_index_that_holds_data_becomes_columns(
    s3: Any, index: Any, wanted: bool | None, header: str
) -> None:
    frame = pd.DataFrame({"v": [1, 2]}, index=index)
    lines = saved(s3, frame, "indexed", index=wanted).decode().splitlines()
    assert lines[0] == header
    assert lines[1].count(",") == header.count(",")


def test_an_index_named_like_a_column_is_refused(s3: Any) -> None:
    frame = pd.DataFrame({"v": [1]}, index=pd.Index(["x"], name="v"))
    with pytest.raises(UserError, match="'v' is the name of a column and of the index"):
        bc.save_to_bucket(frame, BUCKET, "clash")


def test_parquet_keeps_the_index_as_an_index(s3: Any) -> None:
    frame = pd.DataFrame({"v": [1, 2]}, index=pd.Index(["x", "y"], name="vin"))
    found = pd.read_parquet(io.BytesIO(saved(s3, frame, "indexed.parquet")))
    pd.testing.assert_frame_equal(found, frame)
    filtered = pd.DataFrame({"v": [1, 2, 3, 4]})[lambda df: df["v"] != 2]
    found = pd.read_parquet(io.BytesIO(saved(s3, filtered, "filtered.parquet")))
    pd.testing.assert_frame_equal(found, filtered.reset_index(drop=True))
    for frame in (
        filtered,
        filtered.iloc[1::-1],
        pd.DataFrame({"v": [1, 2]}, index=range(9, 5, -2)),
    ):
        found = pd.read_parquet(io.BytesIO(saved(s3, frame, "indexed.parquet", index=True)))
        pd.testing.assert_frame_equal(found, frame)


def test_arrow_tables_and_what_speaks_arrow(s3: Any) -> None:
    table = pa.table({"a": [1, None], "b": ["x", ""]})
    assert saved(s3, table, "arrow") == b'a,b\n1,"x"\n,""\n'
    assert pd.read_parquet(io.BytesIO(saved(s3, table, "arrow.parquet")))["b"].tolist() == ["x", ""]

    class Foreign:
        def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
            return table.__arrow_c_stream__(requested_schema)

    assert saved(s3, Foreign(), "foreign") == b'a,b\n1,"x"\n,""\n'


def test_settings_reach_the_object_small_or_large(s3: Any) -> None:
    key_id = boto3.client("kms").create_key()["KeyMetadata"]["KeyId"]
    for rows in (2, 50_000):  # the latter is uploaded in parts
        bc.save_to_bucket(
            big_frame(rows),
            BUCKET,
            "kept",
            encryption="aws:kms",
            kms_key_id=key_id,
            storage_class="STANDARD_IA",
            metadata={"run": "2022-01-01"},
            tags={"team": "cells and packs"},
        )
        head = s3.head_object(Bucket=BUCKET, Key="kept")
        assert head["ServerSideEncryption"] == "aws:kms"
        assert key_id in head["SSEKMSKeyId"]
        assert head["StorageClass"] == "STANDARD_IA"
        assert head["Metadata"] == {"run": "2022-01-01"}
        assert head["ContentType"] == "text/csv; charset=utf-8"
        tags = s3.get_object_tagging(Bucket=BUCKET, Key="kept")["TagSet"]
        assert tags == [{"Key": "team", "Value": "cells and packs"}]


def test_a_key_in_kms_means_kms(s3: Any) -> None:
    bc.save_to_bucket(FRAME, BUCKET, "kms", kms_key_id="alias/cells")
    assert s3.head_object(Bucket=BUCKET, Key="kms")["ServerSideEncryption"] == "aws:kms"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"format": "json"}, "no format 'json'"),
        ({"compression": "bzip2"}, "no compression 'bzip2' for csv"),
        ({"key": "a.parquet", "compression": "xz"}, "no compression 'xz' for parquet"),
        ({"key": "a.xlsx", "compression": "gzip"}, "no compression 'gzip' for excel"),
        ({"key": "a.csv.bz2"}, "does not write"),
        ({"key": "a.parquet.gz"}, "compressed inside"),
        ({"encryption": "AES512"}, "no encryption 'AES512'"),
        ({"encryption": "AES256", "kms_key_id": "k"}, "kms_key_id cannot be given"),
        ({"expected_bucket_owner": "12345"}, "no AWS account"),
        ({"bucket": "A_b"}, "no S3 bucket name"),
        ({"key": "folder/"}, "no key of an S3 object"),
        ({"df": pd.Series([1])}, "A Series is no table"),
        ({"df": [1]}, "A list is no table"),
    ],
)
def test_the_impossible_is_refused_before_any_request(
    arguments: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=words) as caught:
        bc.save_to_bucket(**{"df": FRAME, "bucket": BUCKET, "key": "a", **arguments})
    assert caught.value.fix


@pytest.mark.parametrize(
    ("frame", "key", "words"),
    [
        (pd.DataFrame({"b": [b"\xff"]}), "bad", "Column 'b' holds bytes, which CSV"),
        (pd.DataFrame(), "bad", "no columns"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "bad.parquet", "'a' occurs 2 times"),
        (pd.DataFrame({"m": [1, "one"]}), "bad.parquet", "'m' .* 1 beside 'one'"),
        (pd.DataFrame({"m": [{"a": 1}, "one"]}), "bad.parquet", "'m' .* beside 'one'"),
        (pd.DataFrame({"m": [1j]}), "bad.parquet", "'m' is of type complex128"),
        (pd.DataFrame({"m": [2**70]}), "bad.parquet", "Column 'm' holds values that do not fit"),
        (pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])), "bad", "2 levels"),
        (pd.DataFrame({"t": pd.to_datetime(["2022"]).tz_localize("UTC")}), "bad.xlsx", "timezone"),
    ],
)
def test_what_a_format_cannot_carry_is_named(
    s3: Any, frame: pd.DataFrame, key: str, words: str
) -> None:
    with pytest.raises(DataFormatError, match=words) as caught:
        bc.save_to_bucket(frame, BUCKET, key)
    assert caught.value.fix
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix="bad").get("Contents") is None


def test_a_missing_bucket(s3: Any) -> None:
    for rows in (1, 50_000):
        with pytest.raises(NoSuchBucketError, match="The bucket of s3://no-such-bucket-here/a"):
            bc.save_to_bucket(big_frame(rows), "no-such-bucket-here", "a")


def test_long_saves_show_progress(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from batcat_runtime.io import progress

    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    bc.get_logger().addHandler(handler)
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    try:
        bc.save_to_bucket(big_frame(50_000), BUCKET, "long")
    finally:
        bc.get_logger().removeHandler(handler)
    assert any(line.startswith(f"Saving s3://{BUCKET}/long  ") for line in lines)
