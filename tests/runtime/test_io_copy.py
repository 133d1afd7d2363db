"""`copy_objects`, against the embedded AWS and a server that changes things in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import (
    AccessDeniedError,
    NoSuchBucketError,
    NoSuchObjectError,
    ObjectChangedError,
    UserError,
)
from batcat_runtime.rehearsal import EmbeddedAWS
from tests.s3proxy import Request, error, proxy_to
from tests.s3server import S3Server

RAW, RESULT = "raw-cells", "2022-rnd-battery"


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedAWS]:
    with EmbeddedAWS(region="cn-northwest-1", set_environment=False) as aws:
        yield aws


@pytest.fixture
def s3(server: EmbeddedAWS, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    client = boto3.client("s3")
    for bucket in (RAW, RESULT):
        if bucket not in [one["Name"] for one in client.list_buckets()["Buckets"]]:
            place = {"LocationConstraint": "cn-northwest-1"}
            client.create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for one in page.get("Contents", []):
                client.delete_object(Bucket=bucket, Key=one["Key"])
    return client


def put(s3: Any, *keys: str) -> None:
    for key in keys:
        s3.put_object(Bucket=RAW, Key=key, Body=key.encode())


def kept(s3: Any, bucket: str = RESULT) -> dict[str, bytes]:
    listed = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {
        one["Key"]: s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read() for one in listed
    }


def test_one_object_to_a_name_or_a_folder(s3: Any) -> None:
    put(s3, "usage/a b+c%.csv")
    source = f"s3://{RAW}/usage/a b+c%.csv"
    assert bc.copy_objects(source, f"s3://{RESULT}/x.csv") == {source: f"s3://{RESULT}/x.csv"}
    bc.copy_objects(source, f"s3://{RESULT}/in/")
    bc.copy_objects(source, f"s3://{RESULT}")
    body = b"usage/a b+c%.csv"
    assert kept(s3) == {"x.csv": body, "in/a b+c%.csv": body, "a b+c%.csv": body}


def test_a_list_of_objects(s3: Any) -> None:
    put(s3, "usage/a", "other/b")
    done = bc.copy_objects([f"s3://{RAW}/usage/a", f"s3://{RAW}/other/b"], f"s3://{RESULT}/in/")
    assert list(done.values()) == [f"s3://{RESULT}/in/a", f"s3://{RESULT}/in/b"]
    assert kept(s3) == {"in/a": b"usage/a", "in/b": b"other/b"}


def test_all_below_a_prefix(s3: Any) -> None:
    keys = [f"usage/day={day}/电压 {day}.csv" for day in range(30)]
    put(s3, *keys, "usage2/not.csv")
    done = bc.copy_objects(f"s3://{RAW}/usage/", f"s3://{RESULT}/copy/")
    assert len(done) == 30
    assert kept(s3) == {key.replace("usage", "copy", 1): key.encode() for key in keys}


def test_metadata_and_tags_come_along(s3: Any) -> None:
    s3.put_object(Bucket=RAW, Key="a", Metadata={"run": "7"}, ContentType="text/csv", Tagging="t=1")
    bc.copy_objects(f"s3://{RAW}/a", f"s3://{RESULT}/a")
    head = s3.head_object(Bucket=RESULT, Key="a")
    assert (head["Metadata"], head["ContentType"]) == ({"run": "7"}, "text/csv")
    assert s3.get_object_tagging(Bucket=RESULT, Key="a")["TagSet"] == [{"Key": "t", "Value": "1"}]


def test_what_is_too_large_for_one_request_is_copied_in_parts(
    rclone_server: tuple[S3Server, Any], bucket: Any
) -> None:
    with proxy_to(rclone_server[0], six_gigabytes) as proxy:
        bc.copy_objects(f"s3://{RAW}/big", f"s3://{RESULT}/big")
    begun = next(sent for sent in proxy.requests if "uploads" in sent.query)
    assert (begun.headers["x-amz-meta-run"], begun.headers["content-type"]) == ("7", "text/csv")
    parts = [sent.headers for sent in proxy.requests if "partNumber" in sent.query]
    assert len(parts) == 12
    assert all(part["x-amz-copy-source-if-match"] for part in parts)
    tagged = [(sent.method, sent.path) for sent in proxy.requests if "tagging" in sent.query]
    assert tagged == [("GET", f"/{RAW}/big"), ("PUT", f"/{RESULT}/big")]


def six_gigabytes(request: Request) -> Any:
    """Say that the object is large, and that what is asked about parts of it is done."""
    if request.method == "HEAD":
        described = {"x-amz-meta-run": "7", "Content-Type": "text/csv", "ETag": '"e"'}
        return 200, b"", {"Content-Length": "6000000000", **described}
    if "uploads" in request.query:
        return 200, b"<Result><UploadId>u</UploadId></Result>"
    if request.method == "GET":
        return 200, b"<Tagging><TagSet><Tag><Key>t</Key><Value>1</Value></Tag></TagSet></Tagging>"
    return 200, b"<Result><ETag>e</ETag></Result>"


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        (f"s3://{RAW}/a", f"s3://{RAW}/a", "onto itself"),
        (f"s3://{RAW}/usage/a", f"s3://{RAW}/usage/", "onto itself"),
        (f"s3://{RAW}/usage/", f"s3://{RAW}/usage/", "lies within"),
        (f"s3://{RAW}/usage/", f"s3://{RAW}/usage/copy/", "lies within"),
        (f"s3://{RAW}/", f"s3://{RAW}/copy/", "lies within"),
        (f"s3://{RAW}/usage/", f"s3://{RESULT}/one", "is one object"),
        ([f"s3://{RAW}/a"], f"s3://{RESULT}/one", "is one object"),
        ([f"s3://{RAW}/a", f"s3://{RAW}/b/a"], f"s3://{RESULT}/in/", "Two sources"),
        ([f"s3://{RAW}/b/"], f"s3://{RESULT}/in/", "is no object"),
        ([], f"s3://{RESULT}/in/", "No source"),
        (f"s3://{RAW}", f"s3://{RESULT}/in/", "is no object"),
        ("usage/a", f"s3://{RESULT}/in/", "no address in S3"),
        (f"s3://{RAW}/a", "/local/file", "no address in S3"),
        ("s3://A_b/a", f"s3://{RESULT}/a", "no S3 bucket name"),
    ],
)
def test_the_impossible_is_refused_before_any_request(
    source: Any, target: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=words):
        bc.copy_objects(source, target)


def test_what_is_missing_is_named(s3: Any) -> None:
    put(s3, "a")
    with pytest.raises(NoSuchObjectError, match=f"s3://{RAW}/nothing does not exist"):
        bc.copy_objects([f"s3://{RAW}/a", f"s3://{RAW}/nothing"], f"s3://{RESULT}/in/")
    with pytest.raises(NoSuchObjectError, match=f"Nothing lies below s3://{RAW}/none/"):
        bc.copy_objects(f"s3://{RAW}/none/", f"s3://{RESULT}/in/")
    with pytest.raises(NoSuchBucketError):
        bc.copy_objects("s3://no-such-bucket-here/usage/", f"s3://{RESULT}/in/")
    assert kept(s3) == {}


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (error("PreconditionFailed", "changed", 412), ObjectChangedError, "was changed while"),
        (error("AccessDenied", "no"), AccessDeniedError, "s3:GetObject and s3:PutObject"),
    ],
)
def test_a_failure_tells_how_far_it_came(
    rclone_server: tuple[S3Server, Any],
    bucket: Any,
    answer: tuple[int, bytes],
    kind: type[Exception],
    words: str,
) -> None:
    for name in ("a", "b", "c"):
        bucket.put_object(Key=f"three/{name}", Body=name.encode())

    def rule(request: Request) -> tuple[int, bytes] | None:
        return answer if request.method == "PUT" and request.path.endswith("/b") else None

    with proxy_to(rclone_server[0], rule), pytest.raises(kind, match=words) as caught:
        bc.copy_objects(f"s3://{bucket.name}/three/", f"s3://{bucket.name}/failed/")
    assert "of 3 objects were copied" in str(caught.value)
