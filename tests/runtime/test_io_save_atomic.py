"""A save is whole or not at all, whatever happens to the process, the network or the neighbours."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pandas as pd
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import AccessDeniedError, DataFormatError, ObjectChangedError
from batcat_runtime.io.clients import client
from batcat_runtime.io.upload import PART_BYTES, ObjectSink, Target, stream_object
from batcat_runtime.rehearsal import EmbeddedAWS
from tests.relay import Relay, relay_to
from tests.runtime.saver import big_frame
from tests.s3proxy import HANG_UP, Request, error, proxy_to
from tests.s3server import S3Server, serve_s3

BUCKET = "2022-rnd-battery"
REPOSITORY = Path(__file__).resolve().parents[2]
SMALL = pd.DataFrame({"a": [1]})
BIG = big_frame(150_000)  # four parts


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    folder = tmp_path_factory.mktemp("s3")
    (folder / BUCKET).mkdir()
    with serve_s3(folder) as server:
        yield server


@pytest.fixture
def s3(fast: S3Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in fast.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the keys of another test
    return boto3.client("s3")


def content(s3: Any, key: str) -> bytes:
    return bytes(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())


def unfinished(s3: Any, key: str) -> list[str]:
    """Return the unfinished uploads of a key; rclone has an error for a bucket without any."""
    try:
        found = s3.list_multipart_uploads(Bucket=BUCKET, Prefix=key).get("Uploads", [])
    except s3.exceptions.NoSuchUpload:
        return []
    return [one["UploadId"] for one in found if one["Key"] == key]


class Saver:
    """A process that saves big tables and can be killed while it does."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.runtime.saver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env={**os.environ, **environment},
        )

    def __enter__(self) -> Saver:
        return self

    def __exit__(self, *args: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def begin(self, key: str, rows: int) -> int:
        """Start a save and return its process."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{BUCKET} {key} {rows}\n")
        self._process.stdin.flush()
        return self._number()

    def end(self) -> int:
        """Return the exit status of the save that began last, once it has ended."""
        return self._number()

    def _number(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


def killed_at(points: int, environment: dict[str, str], s3: Any, rows: int) -> None:
    """Kill a save at points spread over its whole length, and look at the object after each.

    The savers talk through a relay, which tells when the server is done with a dead one's last
    request: rclone, which keeps its objects in files, empties the old one to write the new one.
    """
    with (
        relay_to(environment["AWS_ENDPOINT_URL"]) as relay,
        Saver({**environment, "http_proxy": relay.endpoint, "no_proxy": ""}) as saver,
    ):
        _killed_at(points, saver, relay, s3, rows)
        assert relay.accepted > points


def _killed_at(points: int, saver: Saver, relay: Relay, s3: Any, rows: int) -> None:
    took = []
    for _ in range(3):
        began = time.monotonic()
        saver.begin("whole", rows)
        assert saver.end() == 0
        took.append(time.monotonic() - began)
    new = content(s3, "whole")
    assert len(new) > 2 * PART_BYTES
    bc.save_to_bucket(SMALL, BUCKET, "usage")
    old = content(s3, "usage")
    chance = random.Random(20)
    left, seen = 0, set()
    for point in range(points):
        process = saver.begin("usage", rows)
        time.sleep(min(took) * (point + chance.random()) / points)
        with contextlib.suppress(ProcessLookupError):  # it was faster than the ones before
            os.kill(process, signal.SIGKILL)
        killed = saver.end() == -signal.SIGKILL
        relay.settle()
        found = content(s3, "usage")
        assert found in ((old, new) if killed else (new,)), "a part of an object"
        seen.add(found == new)
        left += bool(unfinished(s3, "usage"))
        bc.save_to_bucket(SMALL, BUCKET, "usage")
        assert unfinished(s3, "usage") == [], "the next save leaves no unfinished upload"
        assert content(s3, "usage") == old
    assert left, "no kill fell into an upload"
    assert False in seen


def test_killed_at_20_points_on_rclone(fast: S3Server, s3: Any) -> None:
    killed_at(20, fast.environment(), s3, 90_000)
    with Saver(fast.environment()) as saver:
        saver.begin("usage", 90_000)
        saver.end()
        assert content(s3, "usage") == content(s3, "whole")


def test_killed_at_8_points_on_the_embedded_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    with EmbeddedAWS(region="cn-northwest-1", set_environment=False) as aws:
        for name, value in aws.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        s3 = boto3.client("s3")
        place = {"LocationConstraint": "cn-northwest-1"}
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
        killed_at(8, aws.environment(), s3, 90_000)


def test_a_big_save_clears_away_what_a_killed_one_left(fast: S3Server, s3: Any) -> None:
    with Saver(fast.environment()) as saver:
        process = saver.begin("cleared", 90_000)
        while not unfinished(s3, "cleared"):
            time.sleep(0.005)
        os.kill(process, signal.SIGKILL)
        assert saver.end() == -signal.SIGKILL
    assert unfinished(s3, "cleared")
    bc.save_to_bucket(BIG, BUCKET, "cleared2")
    assert unfinished(s3, "cleared"), "another key, though it begins alike"
    bc.save_to_bucket(BIG, BUCKET, "cleared")
    assert unfinished(s3, "cleared") == []
    assert content(s3, "cleared") == content(s3, "cleared2")


def test_ctrl_c_leaves_nothing_behind(fast: S3Server, s3: Any) -> None:
    bc.save_to_bucket(SMALL, BUCKET, "interrupted")
    with Saver(fast.environment()) as saver:
        process = saver.begin("interrupted", 200_000)
        while not unfinished(s3, "interrupted"):
            time.sleep(0.005)
        os.kill(process, signal.SIGINT)
        assert saver.end() == 130
    assert unfinished(s3, "interrupted") == []
    assert content(s3, "interrupted") == b"a\n1\n"


def test_a_table_that_turns_out_bad_leaves_the_old_object(s3: Any) -> None:
    bc.save_to_bucket(SMALL, BUCKET, "turned")
    values = np.empty(50_000, dtype=object)
    values[:] = [{"n": number, "text": "x" * 500} for number in range(len(values))]
    values[-1] = b"bytes"
    with pytest.raises(DataFormatError, match="Column 'v' holds bytes"):
        bc.save_to_bucket(pd.DataFrame({"v": values}), BUCKET, "turned")
    assert content(s3, "turned") == b"a\n1\n"
    assert unfinished(s3, "turned") == []


def target(key: str) -> Target:
    return Target(client("s3"), BUCKET, key)


def test_a_saver_whose_upload_is_cleared_away_starts_over(s3: Any) -> None:
    saves = []

    def write(sink: ObjectSink) -> None:
        saves.append(sink)
        for _ in range(4):
            sink.write(b"first" * (PART_BYTES // 5))
        if len(saves) == 1:
            assert unfinished(s3, "shared")
            bc.save_to_bucket(BIG, BUCKET, "shared")

    stream_object(target("shared"), write)
    assert len(saves) == 2
    assert content(s3, "shared") == b"first" * (PART_BYTES // 5) * 4
    assert unfinished(s3, "shared") == []


def test_a_saver_gives_up_when_others_never_let_it_end(s3: Any) -> None:
    bc.save_to_bucket(SMALL, BUCKET, "fought")

    def write(sink: ObjectSink) -> None:
        sink.write(bytes(2 * PART_BYTES))
        for upload_id in unfinished(s3, "fought"):
            s3.abort_multipart_upload(Bucket=BUCKET, Key="fought", UploadId=upload_id)

    with pytest.raises(ObjectChangedError, match="kept saving s3://2022-rnd-battery/fought"):
        stream_object(target("fought"), write)
    assert content(s3, "fought") == b"a\n1\n"


def test_uploads_of_other_tools_are_left_alone(s3: Any) -> None:
    theirs = s3.create_multipart_upload(Bucket=BUCKET, Key="theirs")["UploadId"]
    part = s3.upload_part(
        Bucket=BUCKET, Key="theirs", UploadId=theirs, PartNumber=1, Body=bytes(5 * 2**20)
    )
    bc.save_to_bucket(BIG, BUCKET, "theirs")
    assert unfinished(s3, "theirs") == [theirs]
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(
        Bucket=BUCKET, Key="theirs", UploadId=theirs, MultipartUpload=parts
    )
    assert content(s3, "theirs") == bytes(5 * 2**20)


def test_parts_are_tried_again(fast: S3Server, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: dict[str, int] = {}

    def fail_twice(request: Request) -> tuple[int, bytes] | None:
        number = request.query.get("partNumber")
        if request.method != "PUT" or number is None:
            return None
        tried[number] = tried.get(number, 0) + 1
        answers = (error("SlowDown", "Please reduce your request rate.", 503), HANG_UP, None)
        return answers[min(tried[number], 3) - 1]

    with proxy_to(fast, fail_twice) as proxy, monkeypatch.context() as there:
        there.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        bc.save_to_bucket(BIG, BUCKET, "flaky")
    bc.save_to_bucket(BIG, BUCKET, "steady")
    assert set(tried.values()) == {3}
    assert content(s3, "flaky") == content(s3, "steady")


@pytest.fixture
def logged() -> Iterator[list[str]]:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = bc.get_logger()
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


def test_a_save_needs_no_permission_to_list_uploads(
    fast: S3Server, s3: Any, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    denied = error("AccessDenied", "not authorized to perform: s3:ListBucketMultipartUploads")
    with (
        proxy_to(
            fast,
            lambda request: (
                denied if "uploads" in request.query and request.method == "GET" else None
            ),
        ) as proxy,
        monkeypatch.context() as there,
    ):
        there.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        bc.save_to_bucket(BIG, BUCKET, "unlisted")
    assert len(content(s3, "unlisted")) > 3 * PART_BYTES
    assert len([line for line in logged if "Cannot look for unfinished uploads" in line]) == 1


def test_a_denied_part_says_which_permission_and_aborts(
    fast: S3Server, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bc.save_to_bucket(SMALL, BUCKET, "denied")
    words = "User: arn:aws-cn:iam::1:user/a is not authorized to perform: kms:GenerateDataKey on it"

    def deny(request: Request) -> tuple[int, bytes] | None:
        return error("AccessDenied", words) if request.query.get("partNumber") == "3" else None

    with proxy_to(fast, deny) as proxy, monkeypatch.context() as there:
        there.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        with pytest.raises(AccessDeniedError, match="needs kms:GenerateDataKey"):
            bc.save_to_bucket(BIG, BUCKET, "denied")
    assert unfinished(s3, "denied") == []
    assert content(s3, "denied") == b"a\n1\n"


def test_a_failed_abort_is_logged_and_the_failure_stays_the_first_one(
    fast: S3Server, s3: Any, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    denied = error("AccessDenied", "Access Denied")

    def deny(request: Request) -> tuple[int, bytes] | None:
        wrong = request.method == "DELETE" or request.query.get("partNumber") == "2"
        return denied if wrong else None

    with proxy_to(fast, deny) as proxy, monkeypatch.context() as there:
        there.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        with pytest.raises(AccessDeniedError, match="needs s3:PutObject"):
            bc.save_to_bucket(BIG, BUCKET, "stuck")
    assert unfinished(s3, "stuck")
    assert any("s3:AbortMultipartUpload" in line for line in logged)
    bc.save_to_bucket(SMALL, BUCKET, "stuck")
    assert unfinished(s3, "stuck") == []


def test_every_request_names_the_owner_that_is_expected(
    fast: S3Server, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy_to(fast) as proxy, monkeypatch.context() as there:
        there.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        for frame in (SMALL, BIG):
            bc.save_to_bucket(
                frame, BUCKET, "owned", expected_bucket_owner="123456789012", bucket_key=True
            )
    owners = {request.headers.get("x-amz-expected-bucket-owner") for request in proxy.requests}
    assert owners == {"123456789012"}
    begun = [
        request.headers.get("x-amz-server-side-encryption-bucket-key-enabled")
        for request in proxy.requests
        if request.query == {} or (request.method == "POST" and "uploads" in request.query)
    ]
    assert begun == ["true", "true"]
