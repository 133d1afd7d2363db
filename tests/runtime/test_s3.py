"""Where data lies in S3, how one says so, and what is said when it is out of reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
import pandas as pd
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import (
    AccessDeniedError,
    BatcatError,
    ConnectError,
    CredentialsError,
    NoSuchBucketError,
    NoSuchObjectError,
    ServiceError,
    ThrottledError,
    UserError,
)
from batcat_runtime.rehearsal import EmbeddedAWS
from tests.flakyserver import FlakyObject, serve_flaky

BUCKET = "2022-rnd-battery"
READERS: tuple[Any, ...] = (
    bc.read_csv_from_bucket,
    bc.read_parquet_from_bucket,
    bc.read_excel_from_bucket,
    bc.read_from_bucket,
)


def test_readers_take_the_address_that_a_writer_returns(bucket: Any) -> None:
    frame = pd.DataFrame({"a": [1, 2]})
    for number, suffix in enumerate(("csv", "parquet", "xlsx")):
        address = bc.save_to_bucket(frame, BUCKET, f"address/x.{suffix}")
        assert address == f"s3://{BUCKET}/address/x.{suffix}"
        for reader in (READERS[number], bc.read_from_bucket):
            pd.testing.assert_frame_equal(reader(address), frame)
            pd.testing.assert_frame_equal(reader([address]), frame)


def test_addresses_of_prefixes_patterns_and_lists(bucket: Any) -> None:
    for number in (1, 2):
        bc.save_to_bucket(pd.DataFrame({"a": [number]}), BUCKET, f"many/{number}.csv")
    where = f"s3://{BUCKET}/many/"
    copied = bc.copy_objects(where, f"s3://{BUCKET}/kept/")
    for given in (where, f"{where}*.csv", [f"{where}1.csv", f"{where}2.csv"], copied.values()):
        assert bc.read_csv_from_bucket(given)["a"].tolist() == [1, 2]  # type: ignore[arg-type]
    assert list(bc.list_keys(where)) == ["many/1.csv", "many/2.csv"]
    assert list(bc.list_keys(where, pattern="2*")) == ["many/2.csv"]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (("2022-RnD-battery", "usage"), "no S3 bucket name"),
        (("a_b", "usage"), "no S3 bucket name"),
        (("", "usage"), "no S3 bucket name"),
        (("s3://2022-RnD-battery/usage",), "no S3 bucket name"),
        ((BUCKET, ""), "no key of an S3 object"),
        ((BUCKET, "x" * 1025), "no key of an S3 object"),
        ((f"s3://{BUCKET}",), "no key of an S3 object"),
        ((BUCKET, []), "No key was given"),
        (([],), "No key was given"),
        ((BUCKET, 7), "no text"),
        ((BUCKET, "a[z-a]*"), "no pattern of keys"),
        ((f"s3://{BUCKET}/usage", "usage"), "two ways to say where"),
        ((f"s3://{BUCKET}", "usage"), "two ways to say where"),
        ((BUCKET, f"s3://{BUCKET}/usage"), "two ways to say where"),
        (([f"s3://{BUCKET}/usage"], "usage"), "two ways to say where"),
    ],
)
def test_impossible_places_are_refused_before_any_request(where: Any, said: str) -> None:
    for reader in READERS:
        with pytest.raises(UserError, match=said):
            reader(*where)


def test_a_key_is_one_object_and_no_prefix(bucket: Any) -> None:
    for key, value in (("exact", 1), ("exact2", 2), ("exact[2]", 3)):
        bc.save_to_bucket(pd.DataFrame({"a": [value]}), BUCKET, key)
    assert bc.read_csv_from_bucket(BUCKET, "exact")["a"].tolist() == [1]
    assert bc.read_csv_from_bucket(BUCKET, "exact[2]")["a"].tolist() == [3]
    bucket.Object("exact[2]").delete()
    assert bc.read_csv_from_bucket(BUCKET, "exact[2]")["a"].tolist() == [2]


@pytest.mark.parametrize("key", ["nothing", "no/", "n?ne"])
def test_what_is_missing_is_named(bucket: Any, key: str) -> None:
    for reader in READERS:
        with pytest.raises(NoSuchObjectError) as caught:
            reader(BUCKET, key)
        assert f"s3://{BUCKET}/{key}" in str(caught.value)


def test_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["k/", "k/_b.csv", "k/a.csv", "k/c/d.csv", "k/c/e.txt"]
    with EmbeddedAWS(region="us-east-1") as aws:  # rclone's files cannot be folders too
        for name, value in aws.environment().items():
            monkeypatch.setenv(name, value)
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        for key in (*names, "kk"):
            s3.put_object(Bucket=BUCKET, Key=key, Body="a\n1\n")
        assert list(bc.list_keys(BUCKET, "k/")) == names
        for pattern, found in (
            ("*.csv", ["k/_b.csv", "k/a.csv"]),
            ("**.csv", ["k/_b.csv", "k/a.csv", "k/c/d.csv"]),
            ("**/*.csv", ["k/_b.csv", "k/a.csv", "k/c/d.csv"]),
            ("[!_k]*", ["k/a.csv"]),
            ("c/?.[a-t]xt", ["k/c/e.txt"]),
        ):
            assert list(bc.list_keys(BUCKET, "k/", pattern=pattern)) == found
        assert list(bc.list_keys(BUCKET, pattern="k?")) == ["kk"]
        assert len(bc.read_csv_from_bucket(BUCKET, "k/c/")) == 2


def test_the_format_is_what_the_key_or_the_argument_says(bucket: Any) -> None:
    frame = pd.DataFrame({"a": [1]})
    bc.save_to_bucket(frame, BUCKET, "door/a.PARQUET", format="parquet")
    bc.save_to_bucket(frame, BUCKET, "plain", format="parquet")
    bc.save_to_bucket(frame, BUCKET, "text.parquet.csv", format="csv")
    for key in ("door/", "door/*", "text.parquet.csv"):
        assert bc.read_from_bucket(BUCKET, key)["a"].tolist() == [1]
    assert bc.read_from_bucket(BUCKET, "plain", format="parquet")["a"].tolist() == [1]
    with pytest.raises(UserError, match="no format 'json'"):
        bc.read_from_bucket(BUCKET, "plain", format="json")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "code", "kind", "said"),
    [
        (404, "NoSuchKey", NoSuchObjectError, "does not exist"),
        (404, "NoSuchBucket", NoSuchBucketError, "The bucket of s3://"),
        (403, "AccessDenied", AccessDeniedError, "needs s3:GetObject"),
        (400, "ExpiredToken", CredentialsError, "Renew them"),
        (403, "SignatureDoesNotMatch", CredentialsError, "Renew them"),
        (403, "RequestTimeTooSkewed", CredentialsError, "its clock is wrong"),
        (503, "SlowDown", ThrottledError, "SlowDown: said the server"),
        (400, "AuthorizationHeaderMalformed", ServiceError, "in another region"),
        (400, "Strange", ServiceError, "Strange: said the server"),
    ],
)
def test_each_refusal_has_its_class(
    point: Callable[[FlakyObject], None], status: int, code: str, kind: type[BatcatError], said: str
) -> None:
    with serve_flaky(FlakyObject(b"", refusal=(status, code))) as served:
        point(served)
        for reader in READERS:
            with pytest.raises(kind) as caught:
                reader(BUCKET, "usage")
            assert type(caught.value) is kind
            assert said in str(caught.value)
            assert f"s3://{BUCKET}/usage" in str(caught.value)


def test_errors_are_also_those_that_python_users_catch(bucket: Any) -> None:
    with pytest.raises(FileNotFoundError):
        bc.read_parquet_from_bucket(BUCKET, "nothing")
    for option, said in (("chunksize", "no number of rows"), ("dtype_backend", "no dtype_backend")):
        with pytest.raises(ValueError, match=said):
            bc.read_from_bucket(BUCKET, "nothing.parquet", **{option: "arrow"})


def test_no_credentials_and_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_MAX_ATTEMPTS", "1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/nowhere"),
        ("AWS_CONFIG_FILE", "/nowhere"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    with pytest.raises(CredentialsError, match="aws sso login"):
        bc.read_parquet_from_bucket(BUCKET, "usage")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    with pytest.raises(ConnectError, match="could not be reached") as caught:
        bc.read_parquet_from_bucket(BUCKET, "usage")
    assert "canary" not in str(caught.value)
