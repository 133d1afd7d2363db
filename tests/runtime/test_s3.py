"""The tutorial's S3 functions, against a real server on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pandas as pd
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import (
    ConnectError,
    DataFormatError,
    NoSuchObjectError,
    UserError,
)
from batcat_runtime.rehearsal import EmbeddedAWS

BUCKET = "2022-rnd-battery"


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedAWS]:
    with EmbeddedAWS(region="cn-northwest-1") as aws:
        yield aws


@pytest.fixture
def s3(server: EmbeddedAWS, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    if BUCKET not in [one["Name"] for one in client.list_buckets()["Buckets"]]:
        client.create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "cn-northwest-1"}
        )
    return client


def test_a_table_comes_back_as_it_went(s3: Any) -> None:
    frame = pd.DataFrame(
        {"vin": ["a", "b,c", '"d"\n'], "usage": [1.5, None, -2.25], "电压": [1, 2, 3]}
    )
    assert bc.save_to_bucket(frame, BUCKET, "usage") == f"s3://{BUCKET}/usage"
    pd.testing.assert_frame_equal(bc.read_csv_from_bucket(BUCKET, "usage"), frame)


def test_a_key_is_one_object_and_no_prefix(s3: Any) -> None:
    bc.save_to_bucket(pd.DataFrame({"a": [1]}), BUCKET, "exact")
    bc.save_to_bucket(pd.DataFrame({"a": [2]}), BUCKET, "exact2")
    assert bc.read_csv_from_bucket(BUCKET, "exact")["a"].tolist() == [1]


def test_saving_again_replaces(s3: Any) -> None:
    for value in (1, 2):
        bc.save_to_bucket(pd.DataFrame({"a": [value]}), BUCKET, "again.csv")
    assert bc.read_csv_from_bucket(BUCKET, "again.csv")["a"].tolist() == [2]


def test_a_table_without_rows_keeps_its_columns(s3: Any) -> None:
    bc.save_to_bucket(pd.DataFrame({"a": [], "b": []}), BUCKET, "empty.csv")
    found = bc.read_csv_from_bucket(BUCKET, "empty.csv")
    assert list(found.columns) == ["a", "b"]
    assert len(found) == 0


def test_further_arguments_reach_pandas(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="semicolon", Body="a;b\n01;2\n".encode("gb18030"))
    found = bc.read_csv_from_bucket(
        BUCKET, "semicolon", sep=";", dtype={"a": str}, encoding="gb18030"
    )
    assert found.loc[0, "a"] == "01"


@pytest.mark.parametrize(("bucket", "key"), [(BUCKET, "nothing"), ("no-such-bucket-here", "usage")])
def test_what_is_missing_is_named(s3: Any, bucket: str, key: str) -> None:
    with pytest.raises(NoSuchObjectError, match=f"s3://{bucket}/{key} does not exist"):
        bc.read_csv_from_bucket(bucket, key)


def test_saving_into_a_missing_bucket(s3: Any) -> None:
    with pytest.raises(NoSuchObjectError, match="no-such-bucket-here"):
        bc.save_to_bucket(pd.DataFrame({"a": [1]}), "no-such-bucket-here", "usage")


@pytest.mark.parametrize("bucket", ["2022-RnD-battery", "a_b", ""])
def test_impossible_buckets_are_refused_before_any_request(bucket: str) -> None:
    with pytest.raises(UserError, match="no S3 bucket name"):
        bc.read_csv_from_bucket(bucket, "usage")


@pytest.mark.parametrize(
    ("bucket", "key"),
    [
        (f"s3://{BUCKET}/usage", "usage"),
        (f"s3://{BUCKET}", "usage"),
        (BUCKET, f"s3://{BUCKET}/usage"),
        ([f"s3://{BUCKET}/usage"], "usage"),
    ],
)
def test_bucket_and_key_beside_an_address_are_refused(bucket: Any, key: str) -> None:
    for reader in (
        bc.read_csv_from_bucket,
        bc.read_parquet_from_bucket,
        bc.read_excel_from_bucket,
        bc.read_from_bucket,
    ):
        with pytest.raises(UserError, match="two ways to say where"):
            reader(bucket, key)
    if isinstance(bucket, str):
        with pytest.raises(UserError, match="two ways to say where"):
            bc.list_keys(bucket, key)


def test_an_address_alone_says_where(s3: Any) -> None:
    frame = pd.DataFrame({"a": [1, 2]})
    csv, parquet, excel = (
        bc.save_to_bucket(frame, BUCKET, f"address/{name}")
        for name in ("x.csv", "x.parquet", "x.xlsx")
    )
    for reader, address in (
        (bc.read_csv_from_bucket, csv),
        (bc.read_parquet_from_bucket, parquet),
        (bc.read_excel_from_bucket, excel),
        (bc.read_from_bucket, csv),
        (bc.read_from_bucket, parquet),
        (bc.read_from_bucket, excel),
    ):
        pd.testing.assert_frame_equal(reader(address), frame)


def test_addresses_of_prefixes_patterns_and_lists(s3: Any) -> None:
    for number in (1, 2):
        bc.save_to_bucket(pd.DataFrame({"a": [number]}), BUCKET, f"many/{number}.csv")
    where = f"s3://{BUCKET}/many/"
    copied = bc.copy_objects(where, f"s3://{BUCKET}/kept/")
    for given in (where, f"{where}*.csv", [f"{where}1.csv", f"{where}2.csv"], copied.values()):
        found = bc.read_csv_from_bucket(given)
        assert found["a"].tolist() == [1, 2]
    assert list(bc.list_keys(where)) == ["many/1.csv", "many/2.csv"]
    assert list(bc.list_keys(where, pattern="2*")) == ["many/2.csv"]


@pytest.mark.parametrize("address", [f"s3://{BUCKET}", f"s3://{BUCKET}/", []])
def test_an_address_without_a_key_is_refused(address: Any) -> None:
    with pytest.raises(UserError, match=r"no key|No key"):
        bc.read_csv_from_bucket(address)


@pytest.mark.parametrize("key", ["", "folder/", "x" * 1025])
def test_impossible_keys_are_refused_before_any_request(key: str) -> None:
    with pytest.raises(UserError, match="no key of an S3 object"):
        bc.save_to_bucket(pd.DataFrame({"a": [1]}), BUCKET, key)


def test_what_is_no_table_says_so(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="nothing-in-it", Body=b"")
    s3.put_object(Bucket=BUCKET, Key="picture", Body=b"\x89PNG\xff\xfe\x00\n\xff")
    for key in ("nothing-in-it", "picture"):
        with pytest.raises(DataFormatError, match=f"s3://{BUCKET}/{key} cannot be read as CSV"):
            bc.read_csv_from_bucket(BUCKET, key)


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch, server: EmbeddedAWS) -> None:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    session = boto3.Session()
    with pytest.raises(ConnectError, match="could not be reached"):
        bc.read_csv_from_bucket(BUCKET, "usage", boto3_session=session)
